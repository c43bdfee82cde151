"""Criteria that people judge by, mined from a few labelled pairs.

CritiQ (2025): a manager proposes criteria, workers judge pairs by each, and a criterion is kept, refined or replaced by how often it is
right where it says something. A pair's verdict is the majority over criteria. In the released code a threshold above 0 is held against
scores with the wrong sign; here a lead counts the same for either answer (`pipeline.consensus.fusing`).

Mining is a machine of pure steps: `ask` says what the state wants to know, `take` makes the next state of what was answered.
"""

from dataclasses import dataclass, replace
from typing import Final, Literal

import polars as pl

from pipeline.identity import content_hash
from pipeline.judging import criteria_forms as forms
from pipeline.judging.criteria_found import FAILED, Criteria, accuracy, found
from pipeline.llm.tables import Form
from pipeline.prompts.replies import Ask, put

Phase = Literal["propose", "judge", "refine", "measure", "done"]

# One row = one criterion as it was worded at one time.
CRITERIA: Final = pl.Schema(
    {
        "criterion_id": pl.String,  # hash of its words
        "line": pl.Int64,  # from 0: a refined criterion is of the line of the one it comes from
        "name": pl.String,
        "description": pl.String,
        "origin": pl.String,  # proposed or refined
        "round": pl.Int64,  # in which it was worded, from 1
        "out": pl.Boolean,  # right too seldom: replaced, or at the end left out
    }
)
# One row = what one criterion says of one pair.
SAID: Final = pl.Schema({"criterion_id": pl.String, "pair_id": pl.String, "verdict": pl.String})  # chosen, rejected or cannot say


@dataclass(frozen=True)
class CriteriaSettings:
    """How criteria are mined. The first two and the last are CritiQ's; the two thresholds it leaves to its caller, so they are ours.

    Attributes:
        criteria: wanted.
        pairs: labelled pairs that they are formed on.
        held_out: further pairs that the result is measured on; none of their prompts is among the others'.
        rounds: of judging and mending.
        keep: a criterion that is right more often than this stays as it is; share, 0 to 1.
        drop: one that is right less often than this is replaced; between the two it is refined.
        examples: pairs that the manager is shown at once.
        context_tokens: of the model, question and answer together.
        seed: another one draws other pairs.
        least_margin: the winner of a pair must lead by more criteria than this, 0 and up.
    """

    criteria: int = 10
    pairs: int = 30
    held_out: int = 30
    rounds: int = 3
    keep: float = 0.8
    drop: float = 0.6
    examples: int = 6
    context_tokens: int = 8192
    seed: int = 0
    least_margin: int = 0


@dataclass(frozen=True)
class State:
    """Where mining stands.

    Attributes:
        phase: what is asked next.
        round: from 1.
        pairs: that criteria are formed on; pair_id, prompt_id, context, prompt, chosen, rejected, chosen_id, rejected_id.
        held_out: likewise, for the measure at the end.
        criteria: CRITERIA, all there ever were.
        said: SAID, of all of them.
        failed: phase, reason, questions: what could not be asked or read.
    """

    phase: Phase
    round: int
    pairs: pl.DataFrame
    held_out: pl.DataFrame
    criteria: pl.DataFrame
    said: pl.DataFrame
    failed: pl.DataFrame


def mine_criteria(pairs: pl.DataFrame, ask: Ask, settings: CriteriaSettings) -> Criteria:
    """Mine criteria from labelled pairs.

    Args:
        pairs: PAIR's pair_id, prompt_id, context, prompt, chosen, rejected, chosen_id, rejected_id, in any order; the more certain their
            labels, the better. One a prompt is taken.
        ask: puts questions to a model.
        settings: how many of what.
    """
    state = start(pairs, settings)
    while state.phase != "done":
        asked = question(state, settings)
        state = take(state, asked, put(ask, asked.form, asked.questions), settings)
    mined = found(living(state), state.said, state.pairs, state.held_out, settings.least_margin)
    return replace(mined, failed=state.failed)


@dataclass(frozen=True)
class Question:
    """What a state wants to know: REQUESTS and what tells them apart, and what did not fit (reason)."""

    form: Form
    questions: pl.DataFrame
    dropped: pl.DataFrame


def start(pairs: pl.DataFrame, settings: CriteriaSettings) -> State:
    """The first state: pairs drawn by a hash of id and seed, one a prompt."""
    named = ["pair_id", "prompt_id", "context", "prompt", "chosen", "rejected", "chosen_id", "rejected_id"]
    hashed = pairs.select(named).with_columns(_place=content_hash(pairs.get_column("pair_id"), f"criteria {settings.seed}"))
    drawn = hashed.sort("_place").unique("prompt_id", keep="first", maintain_order=True).drop("_place")
    formed, rest = drawn.head(settings.pairs), drawn.slice(settings.pairs, settings.held_out)
    return State("propose" if drawn.height else "done", 1, formed, rest, CRITERIA.to_frame(), SAID.to_frame(), FAILED.to_frame())


def question(state: State, settings: CriteriaSettings) -> Question:
    """What the state wants to know next; no questions where there is nothing to ask.

    Raises:
        ValueError: the state is done.
    """
    match state.phase:
        case "propose":
            wanted = settings.criteria - living(state).height
            asked = forms.propose(state.pairs, state.criteria, wanted, state.round, settings.examples, settings.context_tokens)
            return Question(forms.PROPOSE_FORM, asked.kept, asked.dropped)
        case "judge":
            asked = forms.judge(state.pairs, _unjudged(state), settings.context_tokens)
            return Question(forms.JUDGE_FORM, asked.kept, asked.dropped)
        case "refine":
            asked = forms.refine(state.pairs, _middling(state, settings), state.said, state.round, settings.context_tokens)
            return Question(forms.REFINE_FORM, asked.kept, asked.dropped)
        case "measure":
            asked = forms.judge(state.held_out, living(state), settings.context_tokens)
            return Question(forms.JUDGE_FORM, asked.kept, asked.dropped)
        case "done":
            raise ValueError("mining is done; there is nothing to ask")


def take(state: State, asked: Question, said: pl.DataFrame, settings: CriteriaSettings) -> State:
    """The state that follows from what was answered.

    Args:
        state: the one that asked.
        asked: its `question`.
        said: `prompts.replies` to it.
        settings: the same as before.
    """
    state = replace(state, failed=_failures(state, asked.dropped, said))
    match state.phase:
        case "propose":
            return replace(_with_proposed(state, said, settings), phase="judge")
        case "judge":
            known = replace(state, said=pl.concat([state.said, forms.verdicts(said)]))
            return _weeded(known, settings)
        case "refine":
            return replace(_with_refined(state, said), phase="propose")
        case _:
            return replace(state, said=pl.concat([state.said, forms.verdicts(said)]), phase="done")


def living(state: State) -> pl.DataFrame:
    """The best of each line that is not out, by accuracy on the pairs it was formed on, the older one of equals; by line.

    Returns:
        CRITERIA with right, wrong, unsure, accuracy, low, high.
    """
    known = state.criteria.join(accuracy(state.said, state.pairs), on="criterion_id", how="left", maintain_order="left")
    ordered = known.sort("line", "accuracy", "round", descending=[False, True, False], nulls_last=True)
    return ordered.filter(~pl.col("out")).unique("line", keep="first", maintain_order=True)


def _unjudged(state: State) -> pl.DataFrame:
    return state.criteria.filter(~pl.col("out")).join(state.said, on="criterion_id", how="anti", maintain_order="left")


def _middling(state: State, settings: CriteriaSettings) -> pl.DataFrame:
    return living(state).filter(pl.col("accuracy") <= settings.keep)


def _weeded(state: State, settings: CriteriaSettings) -> State:
    """Lines whose best criterion is right too seldom, or never says anything, are out; then mending, or the end."""
    best = living(state)
    poor = best.filter(pl.col("accuracy").fill_null(0.0) < settings.drop).get_column("line")
    state = replace(state, criteria=state.criteria.with_columns(out=pl.col("out") | pl.col("line").is_in(poor.implode())))
    mended = living(state).height == settings.criteria and _middling(state, settings).is_empty()
    if mended or state.round >= settings.rounds:
        return replace(state, phase="measure")
    return replace(state, phase="refine", round=state.round + 1)


def _with_proposed(state: State, said: pl.DataFrame, settings: CriteriaSettings) -> State:
    """Criteria that were proposed, on lines of their own; no name twice, also of those that are out."""
    listed = said.select("criteria").explode("criteria").drop_nulls().unnest("criteria")
    new = forms.worded(listed).with_columns(_name=pl.col("name").str.to_lowercase())
    known = state.criteria.select(_name=pl.col("name").str.to_lowercase())
    new = new.unique("_name", keep="first", maintain_order=True).join(known, on="_name", how="anti", maintain_order="left")
    first = state.criteria.select((pl.col("line").max() + 1).fill_null(0)).item()
    new = new.head(settings.criteria - living(state).height).with_columns(line=pl.int_range(pl.len()) + first)
    return _added(state, new, "proposed")


def _with_refined(state: State, said: pl.DataFrame) -> State:
    new = forms.worded(said.drop_nulls("name")).join(state.criteria, on="criterion_id", how="anti", maintain_order="left")
    return _added(state, new, "refined")


def _added(state: State, new: pl.DataFrame, origin: str) -> State:
    rows = new.with_columns(origin=pl.lit(origin), round=pl.lit(state.round), out=pl.lit(False))
    return replace(state, criteria=pl.concat([state.criteria, rows.select(CRITERIA.names()).cast(CRITERIA)]))  # type: ignore[arg-type, unused-ignore]


def _failures(state: State, *tables: pl.DataFrame) -> pl.DataFrame:
    reasons = pl.concat([table.select("reason").cast(pl.String) for table in tables]).drop_nulls()
    new = (
        reasons.group_by("reason").agg(questions=pl.len().cast(pl.Int64)).select(pl.lit(state.phase).alias("phase"), "reason", "questions")
    )
    summed = pl.concat([state.failed, new]).group_by("phase", "reason").agg(pl.col("questions").sum())
    return summed.sort("phase", "reason")
