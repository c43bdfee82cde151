"""What a model is asked when criteria are mined, and how its answers are read: propose, judge, refine."""

from typing import Final

import polars as pl

from pipeline.identity import content_hash
from pipeline.llm.tables import REQUESTS, Form
from pipeline.prompts import Template, answer_text, chosen_first, conversation_text, form_of, load_template, render, requests, shorten
from pipeline.prompts.replies import strict
from pipeline.stage import StageResult

CANNOT_SAY: Final = "cannot say"
MISSED: Final = 3  # examples at most that a criterion is refined by
_NAME, _DESCRIPTION = 80, 600  # characters at most
_TEXT: Final = {"type": "string"}
_PROPOSED: Final = strict(criteria={"type": "array", "items": strict(name=_TEXT, description=_TEXT)})
_JUDGED: Final = strict(thought=_TEXT, verdict={"type": "string", "enum": ["A", "B", CANNOT_SAY]})
PROPOSE_FORM: Final[Form] = form_of(load_template("criteria-propose"), _PROPOSED)
JUDGE_FORM: Final[Form] = form_of(load_template("criteria-judge"), _JUDGED)
REFINE_FORM: Final[Form] = form_of(load_template("criteria-refine"), strict(reflection=_TEXT, name=_TEXT, description=_TEXT))


def propose(pairs: pl.DataFrame, known: pl.DataFrame, wanted: int, sample: int, examples: int, context_tokens: int) -> StageResult:
    """Ask for criteria.

    Args:
        pairs: pair_id, prompt_id, prompt, chosen, rejected, chosen_id, rejected_id; as many as `examples` of them are shown, with the
            label, cut alike to fit. Another sample shows others.
        known: name, of the criteria there are or were.
        wanted: how many new ones; 0 asks nothing.
        sample: number of the question.
        examples: pairs shown at most, 1 and up.
        context_tokens: of the model, question and answer together.

    Returns:
        Kept: REQUESTS, for `PROPOSE_FORM`, one row or none; it goes by the ids of its first pair. Dropped: pair_id, reason (too_long).
    """
    template = load_template(PROPOSE_FORM.name)
    shown = _least(pairs if wanted else pairs.clear(), sample, examples)
    tried = known.select(pl.format("- {}", "name").unique(maintain_order=True).str.join("\n")).item() if known.height else None
    left = context_tokens - len((tried or "").encode()) // 3
    fitting = _examples(shown, template, PROPOSE_FORM, max(shown.height, 1), left)
    kept = fitting.kept.select(pl.col("pair_id", "prompt_id").first(), examples=_joined(), tried=pl.lit(tried, pl.String)).head(
        int(fitting.kept.height > 0)
    )
    slots = {"examples": pl.col("examples"), "tried": pl.col("tried")}
    messages = render(kept, template, slots, {"wanted": str(wanted)})
    return StageResult(requests(kept, PROPOSE_FORM, template, messages, sample), fitting.dropped)


def judge(pairs: pl.DataFrame, criteria: pl.DataFrame, context_tokens: int) -> StageResult:
    """Ask which answer of each pair is the better one by each criterion; the label is not shown.

    Args:
        pairs: pair_id, prompt_id, context, prompt, chosen, rejected, chosen_id, rejected_id.
        criteria: criterion_id, name, description.
        context_tokens: of the model, question and answer together.

    Returns:
        Kept: REQUESTS, for `JUDGE_FORM`, with criterion_id and chosen_first. Dropped: pair_id, reason (too_long).
    """
    template = load_template(JUDGE_FORM.name)
    named = criteria.select("criterion_id", criterion=pl.format("{}: {}", "name", "description"))
    rows = pairs.join(named, how="cross", maintain_order="left_right")
    # Each criterion meets a pair in an order of its own.
    rows = _texts(rows, chosen_first(rows.with_columns(pair_id=pl.concat_str("pair_id", "criterion_id")), JUDGE_FORM.name))
    fitting = shorten(
        rows,
        template,
        prompt="prompt",
        answers=["response_a", "response_b"],
        others=["criterion", "context"],
        context_tokens=context_tokens,
        max_output_tokens=JUDGE_FORM.max_output_tokens,
    )
    messages = render(fitting.kept, template, {name: pl.col(name) for name in template.slots})
    asked = requests(fitting.kept, JUDGE_FORM, template, messages)
    return StageResult(asked.hstack(fitting.kept.select("criterion_id", "chosen_first")), fitting.dropped.select("pair_id", "reason"))


def refine(pairs: pl.DataFrame, criteria: pl.DataFrame, said: pl.DataFrame, sample: int, context_tokens: int) -> StageResult:
    """Ask for better words of criteria, given pairs that they were wrong on.

    Args:
        pairs: as for `propose`.
        criteria: criterion_id, line, name, description, right, wrong.
        said: criterion_id, pair_id, verdict.
        sample: number of the question; another one shows other pairs.
        context_tokens: of the model, question and answer together.

    Returns:
        Kept: REQUESTS, for `REFINE_FORM`, with line: one row a criterion that was wrong on something. Dropped: pair_id, reason (too_long).
    """
    template = load_template(REFINE_FORM.name)
    wrong = said.filter(pl.col("verdict") == "rejected").join(criteria.select("criterion_id"), on="criterion_id", how="semi")
    rows = wrong.select("criterion_id", "pair_id").join(pairs, on="pair_id", maintain_order="left").sort("criterion_id")
    shown = pl.concat([rows.clear(), *(_least(one, sample, MISSED) for one in rows.partition_by("criterion_id", maintain_order=True))])
    fitting = _examples(shown, template, REFINE_FORM, MISSED, context_tokens - _DESCRIPTION // 2)
    each = fitting.kept.group_by("criterion_id", maintain_order=True).agg(pl.col("pair_id", "prompt_id").first(), examples=_joined())
    asked = criteria.join(each, on="criterion_id", maintain_order="left").with_columns(criterion=pl.format("{}: {}", "name", "description"))
    slots = {"criterion": pl.col("criterion"), "examples": pl.col("examples")}
    counts = {name: pl.col(name).cast(pl.String) for name in ("right", "wrong")}
    made = requests(asked, REFINE_FORM, template, render(asked, template, slots, counts), sample)
    return StageResult(made.select(REQUESTS.names()).hstack(asked.select("line")), fitting.dropped)


def verdicts(said: pl.DataFrame) -> pl.DataFrame:
    """What criteria say, of the answers that could be read.

    Args:
        said: `prompts.replies` to `judge`.

    Returns:
        criterion_id, pair_id, verdict (chosen, rejected or cannot say).
    """
    first = pl.when("chosen_first").then(pl.lit("chosen")).otherwise(pl.lit("rejected"))
    second = pl.when("chosen_first").then(pl.lit("rejected")).otherwise(pl.lit("chosen"))
    named = pl.when(pl.col("verdict") == "A").then(first).when(pl.col("verdict") == "B").then(second).otherwise("verdict")
    return said.drop_nulls("verdict").select("criterion_id", "pair_id", verdict=named)


def worded(said: pl.DataFrame) -> pl.DataFrame:
    """Criteria as they are kept: name and description each on one line of bounded length, with an id that is a hash of them.

    Args:
        said: rows with name and description; null or blank ones are left out.
    """
    lines = {
        name: pl.col(name).str.replace_all(r"[\s\p{Cc}]+", " ").str.strip_chars().str.head(most)
        for name, most in (("name", _NAME), ("description", _DESCRIPTION))
    }
    rows = said.with_columns(**lines).filter(pl.all_horizontal((pl.col(name) != "").fill_null(False) for name in lines))
    words = rows.select(pl.concat_str("name", pl.lit("\n"), "description")).to_series()
    return rows.with_columns(criterion_id=content_hash(words, "criterion")).unique("criterion_id", keep="first", maintain_order=True)


def _least(rows: pl.DataFrame, sample: int, most: int) -> pl.DataFrame:
    """As many rows, the least by a hash of pair and sample, in that order."""
    hashed = rows.with_columns(_place=content_hash(rows.get_column("pair_id"), f"criteria example {sample}"))
    return hashed.sort("_place").head(most).drop("_place")


def _texts(rows: pl.DataFrame, first: pl.Series) -> pl.DataFrame:
    """The rows with prompt as text, response_a, response_b, and chosen_first."""
    texts = rows.with_columns(
        prompt=conversation_text("prompt"), chosen=answer_text("chosen"), rejected=answer_text("rejected"), chosen_first=first
    )
    return texts.with_columns(
        response_a=pl.when("chosen_first").then("chosen").otherwise("rejected"),
        response_b=pl.when("chosen_first").then("rejected").otherwise("chosen"),
    )


def _examples(rows: pl.DataFrame, template: Template, form: Form, most: int, context_tokens: int) -> StageResult:
    """Rows with `example`, the text of one of `most` examples in a question. Dropped: pair_id, reason."""
    shown = _texts(rows, chosen_first(rows, form.name))
    tokens = form.max_output_tokens
    fitting = shorten(
        shown,
        template,
        prompt="prompt",
        answers=["response_a", "response_b"],
        context_tokens=tokens + (context_tokens - tokens) // most,
        max_output_tokens=tokens,
    )
    preferred = pl.when("chosen_first").then(pl.lit("A")).otherwise(pl.lit("B"))
    told = pl.format(
        "The conversation:\n{}\n\nResponse A:\n{}\n\nResponse B:\n{}\n\nPeople preferred Response {}.",
        "prompt",
        "response_a",
        "response_b",
        preferred,
    )
    return StageResult(fitting.kept.with_columns(example=told), fitting.dropped.select("pair_id", "reason"))


def _joined() -> pl.Expr:
    return pl.format("Example {}\n\n{}", pl.int_range(1, pl.len() + 1), "example").str.join("\n\n---\n\n").alias("examples")
