"""Rules that preferences follow, mined from rationales and tried on pairs.

AutoRule (2025): a model extracts rules from explained preferences, merges them into a few, and checks for each answer which it satisfies;
an answer's score is the share. Here every rule also has its coverage and agreement, so that one sees which of them the preferences follow.
"""

from dataclasses import dataclass, field
from typing import Final

import polars as pl

from pipeline.identity import content_hash
from pipeline.llm.tables import Form
from pipeline.prompts import answer_text, conversation_text, form_of, load_template, render, requests, shorten
from pipeline.prompts.rendering import FENCE_BYTES
from pipeline.prompts.replies import Ask, put, strict
from pipeline.prompts.shortening import BYTES_PER_TOKEN
from pipeline.rationale.measured import SIDES, line, measure, scores
from pipeline.rationale.numbered import as_lines, cleaned, in_order
from pipeline.stage import StageResult

_FACTORS: Final = "factors"
_EXTRACTED: Final = 12  # rules of a group, as the template says
_LINE: Final = 3  # bytes that a rule takes besides its text
_TEXTS: Final = {"type": "array", "items": {"type": "string"}}
_RULES: Final = strict(rules=_TEXTS)
_VERIFIED: Final = strict(rules={"type": "array", "items": strict(number={"type": "integer"}, satisfied={"type": "boolean"})})
EXTRACT_FORM: Final[Form] = form_of(load_template("rules-extract"), _RULES)
MERGE_FORM: Final[Form] = form_of(load_template("rules-merge"), _RULES)
VERIFY_FORM: Final[Form] = form_of(load_template("rules-verify"), _VERIFIED)

_FAILED: Final = pl.Schema({"step": pl.String, "reason": pl.String, "questions": pl.Int64})


@dataclass(frozen=True)
class RuleSettings:
    """How rules are mined.

    Attributes:
        rationales: that rules are extracted from, 1 and up.
        group: of these in one question.
        rules: that are left after merging, at most.
        pairs: that the rules are tried on; two questions each.
        context_tokens: of the model, question and answer together.
        seed: another one draws other rationales and pairs.
    """

    rationales: int = 200
    group: int = 10
    rules: int = 10
    pairs: int = 200
    context_tokens: int = 8192
    seed: int = 0


@dataclass(frozen=True)
class Mined:
    """What was mined.

    Attributes:
        rules: MEASURED.
        scores: pair_id, chosen, rejected: share of the rules that each answer satisfies, 0 to 1; null: not known.
        seen: how many of these pairs are on prompts whose rationales the rules come from: there, agreement flatters them.
        left_out: rules extracted that did not fit into the question that merges them.
        failed: step (extract, merge, verify), reason, questions.
    """

    rules: pl.DataFrame
    scores: pl.DataFrame
    seen: int = 0
    left_out: int = 0
    failed: pl.DataFrame = field(default_factory=_FAILED.to_frame)


def mine_rules(pairs: pl.DataFrame, rationales: pl.DataFrame, ask: Ask, settings: RuleSettings) -> Mined:
    """Mine rules from rationales and try them on pairs.

    Args:
        pairs: PAIR's pair_id, prompt_id, context, prompt, chosen, rejected, in any order.
        rationales: RATIONALE.
        ask: puts questions to a model.
        settings: how many of what.
    """
    sample = sample_rationales(rationales, settings)
    grouped = ask_extract(sample, settings)
    extracted = put(ask, EXTRACT_FORM, grouped.kept)
    merging, left_out = ask_merge(rules_of(extracted, _EXTRACTED), sample, settings)
    merged = put(ask, MERGE_FORM, merging)
    rules = rules_of(merged, settings.rules)
    tried, seen = sample_pairs(pairs, sample, settings)
    verifying = ask_verify(tried, rules, settings)
    verdicts = read_verify(put(ask, VERIFY_FORM, verifying.kept), len(rules))
    failed = [
        _failures("extract", grouped.dropped, extracted),
        _failures("merge", merged),
        _failures("verify", verifying.dropped, verdicts),
    ]
    return Mined(measure(verdicts, rules), scores(verdicts), seen, left_out, pl.concat(failed))


def sample_rationales(rationales: pl.DataFrame, settings: RuleSettings) -> pl.DataFrame:
    """Accepted rationales with a text, but for `factors`: one a prompt, the least by a hash of id and seed; in that order."""
    worded = rationales.filter(pl.col("accepted") & pl.col("text").is_not_null() & (pl.col("kind") != _FACTORS))
    return _drawn(worded, "rationale_id", settings.seed).head(settings.rationales).select("rationale_id", "pair_id", "prompt_id", "text")


def sample_pairs(pairs: pl.DataFrame, sample: pl.DataFrame, settings: RuleSettings) -> tuple[pl.DataFrame, int]:
    """Pairs to try rules on, one a prompt, so that they are independent; and how many are on prompts that the rules come from.

    Those prompts are taken only where there are too few others.
    """
    known = pl.col("prompt_id").is_in(sample.get_column("prompt_id").implode())
    drawn = _drawn(pairs, "pair_id", settings.seed).with_columns(_seen=known).sort("_seen", maintain_order=True).head(settings.pairs)
    return drawn.drop("_seen"), int(drawn.get_column("_seen").sum())


def ask_extract(sample: pl.DataFrame, settings: RuleSettings) -> StageResult:
    """Ask which rules rationales follow.

    Args:
        sample: of `sample_rationales`.
        settings: `group` and `context_tokens`.

    Returns:
        Kept: REQUESTS, for `EXTRACT_FORM`, one a group; each goes by the ids of its first rationale. Dropped: pair_id, reason (too_long).
    """
    numbered = sample.with_row_index("_row").with_columns(_group=pl.col("_row") // settings.group)
    groups = numbered.group_by("_group", maintain_order=True).agg(pl.col("pair_id", "prompt_id").first(), pl.col("text"))
    rows = groups.with_columns(explanations=as_lines(pl.col("text")), _none=pl.lit(""))
    return _asked(rows, EXTRACT_FORM, ["explanations"], "_none", ["explanations"], settings, cut=False)


def rules_of(said: pl.DataFrame, most: int) -> pl.Series:
    """The rules in answers, in their order, each once.

    Args:
        said: rows with `rules` (list of texts; null: none).
        most: that count of one answer, the first ones.
    """
    return said.select(rule=cleaned(pl.col("rules"), most)).explode("rule").drop_nulls().to_series().unique(maintain_order=True)


def ask_merge(rules: pl.Series, sample: pl.DataFrame, settings: RuleSettings) -> tuple[pl.DataFrame, int]:
    """Ask for a few rules in the place of many.

    Args:
        rules: of `rules_of`, of all groups.
        sample: of `sample_rationales`; its first row stands for all.
        settings: `rules` and `context_tokens`.

    Returns:
        REQUESTS, for `MERGE_FORM`: one row, or none where there are no rules; and how many rules, the last ones, did not fit.
    """
    template = load_template(MERGE_FORM.name)
    room = (settings.context_tokens - MERGE_FORM.max_output_tokens) * BYTES_PER_TOKEN - template.literal_bytes - 2 * FENCE_BYTES
    fitting = rules.filter((rules.str.len_bytes().cast(pl.Int64) + _LINE).cum_sum() <= room)
    rows = sample.head(1 if len(fitting) else 0).select("pair_id", "prompt_id", rules=pl.lit("\n".join(f"- {rule}" for rule in fitting)))
    messages = render(rows, template, {"rules": pl.col("rules")}, {"most": str(settings.rules)})
    return requests(rows, MERGE_FORM, template, messages), len(rules) - len(fitting)


def ask_verify(pairs: pl.DataFrame, rules: pl.Series, settings: RuleSettings) -> StageResult:
    """Ask which rules each answer satisfies, one question an answer; the other one is not shown.

    Args:
        pairs: of `sample_pairs`.
        rules: texts.
        settings: `context_tokens`.

    Returns:
        Kept: REQUESTS, for `VERIFY_FORM`, and side (chosen, rejected). Dropped: pair_id, reason (too_long). No rows without rules.
    """
    both = [
        pairs.select("pair_id", "prompt_id", "context", prompt=conversation_text("prompt"), response=answer_text(side), side=pl.lit(side))
        for side in SIDES
    ]
    shown = pl.select(as_lines(pl.lit(rules.to_list(), pl.List(pl.String)))).item()
    lines = pl.concat(both).with_columns(rules=pl.lit(shown))
    slots = ["context", "prompt", "response", "rules"]
    return _asked(lines.clear() if rules.is_empty() else lines, VERIFY_FORM, slots, "prompt", ["response"], settings)


def read_verify(said: pl.DataFrame, rules: int) -> pl.DataFrame:
    """Which rules each answer satisfies.

    Args:
        said: `prompts.replies` to `ask_verify`.
        rules: how many there are.

    Returns:
        pair_id, side, satisfied (list of Booleans, one a rule; null: not known), reason (null: known; other_numbers: not one word on each
        rule; or as `prompts.replies` says).
    """
    rows = said.with_columns(satisfied=in_order(pl.col("rules"), "satisfied", pl.lit(rules)))
    unlike = pl.col("reason").is_null() & pl.col("satisfied").is_null()
    return rows.select("pair_id", "side", "satisfied", reason=pl.when(unlike).then(pl.lit("other_numbers")).otherwise("reason"))


def text(mined: Mined) -> str:
    """What was mined, for people to read."""
    lines = [line(row) for row in mined.rules.iter_rows(named=True)]
    notes = [f"{mined.seen} of the pairs are on prompts that the rules come from." if mined.seen else ""]
    notes += [f"{mined.left_out} extracted rules did not fit into the question that merges them." if mined.left_out else ""]
    notes += [f"{row['questions']} questions of the step {row['step']}: {row['reason']}." for row in mined.failed.iter_rows(named=True)]
    return "\n".join([*lines, *filter(None, notes)]) if len(lines) > 1 else "\n".join(["No rules.", *filter(None, notes)])


def _drawn(rows: pl.DataFrame, name: str, seed: int) -> pl.DataFrame:
    """One row a prompt, in the order of a hash of its id and the seed."""
    hashed = rows.with_columns(_place=content_hash(rows.get_column(name), f"rules {seed}")).sort("_place")
    return hashed.unique("prompt_id", keep="first", maintain_order=True).drop("_place")


def _asked(
    rows: pl.DataFrame, form: Form, slots: list[str], prompt: str, answers: list[str], settings: RuleSettings, cut: bool = True
) -> StageResult:
    template = load_template(form.name)
    fitting = shorten(
        rows,
        template,
        prompt=prompt,
        answers=answers,
        others=[name for name in slots if name not in (prompt, *answers)],
        context_tokens=settings.context_tokens,
        max_output_tokens=form.max_output_tokens,
        too_long="shorten" if cut else "refuse",
    )
    asked = requests(fitting.kept, form, template, render(fitting.kept, template, {name: pl.col(name) for name in slots}))
    known = [name for name in ("side",) if name in rows.columns]
    return StageResult(asked.hstack(fitting.kept.select(known)), fitting.dropped.select("pair_id", "reason"))


def _failures(step: str, *tables: pl.DataFrame) -> pl.DataFrame:
    reasons = pl.concat([table.select("reason") for table in tables]).drop_nulls()
    told = reasons.group_by("reason").agg(questions=pl.len().cast(pl.Int64)).sort("reason")
    return told.select(pl.lit(step).alias("step"), "reason", "questions")
