"""How good a rationale is, statement by statement.

The Critique of Critique (MetaCritique, 2024) splits a critique into atomic statements. Precision is the share of them that are true,
recall the share of a reference critique's statements that the critique makes too. The reference here is a rationale that the data states.
"""

import math
from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any, Final

import polars as pl

from pipeline.config import EndpointConfig
from pipeline.llm.tables import REQUESTS, Form
from pipeline.prompts import answer_text, chosen_first, conversation_text, form_of, load_template, render, requests, shorten
from pipeline.prompts.replies import replies, strict
from pipeline.rationale.numbered import as_lines, cleaned, in_order
from pipeline.rationale.sides import show_sides
from pipeline.stage import StageResult
from pipeline.statistics.table import Statistic, statistics_table

MOST: Final = 20  # statements of a rationale; what goes beyond is not looked at
STATED: Final = "stated"
FACTORS: Final = "factors"

_SPLIT: Final = strict(statements={"type": "array", "items": {"type": "string"}})
_CHECKED: Final = strict(statements={"type": "array", "items": strict(number={"type": "integer"}, holds={"type": "boolean"})})
SPLIT_FORM: Final[Form] = form_of(load_template("units-split"), _SPLIT)
CHECK_FORM: Final[Form] = form_of(load_template("units-check"), _CHECKED)
ENTAIL_FORM: Final[Form] = form_of(load_template("units-entail"), _CHECKED)

SHARES: Final = ("precision", "recall", "f1")
# Sums over the rationales of a kind, which add up over partitions: in billionths, as whole numbers, so that no order changes them.
_UNIT: Final = 10**9
_SUMS: Final = pl.Schema({"kind": pl.String} | {f"{share}_{part}": pl.Int64 for share in SHARES for part in ("n", "sum", "squares")})
_Z: Final = 1.959963984540054  # the normal distribution's 97.5 % point


def ask_split(rationales: pl.DataFrame, endpoint: EndpointConfig) -> StageResult:
    """Ask what each rationale states.

    Args:
        rationales: RATIONALE. Asked are accepted ones with a text, but for `factors`, which states what was measured.
        endpoint: its context; a text is split whole or not at all.

    Returns:
        Kept: REQUESTS, for `SPLIT_FORM`, and rationale_id. Dropped: rationale_id, pair_id, reason (too_long), detail.
    """
    worded = rationales.filter(pl.col("accepted") & pl.col("text").is_not_null() & (pl.col("kind") != FACTORS))
    rows = worded.select("rationale_id", "pair_id", "prompt_id", "text", _none=pl.lit(""))
    return _asked(rows, SPLIT_FORM, {"text": "text"}, endpoint, ["rationale_id"], prompt="_none", answers=["text"], cut=False)


def read_split(asked: pl.DataFrame, answers: pl.DataFrame) -> pl.DataFrame:
    """What each rationale states.

    Args:
        asked: `kept` of `ask_split`.
        answers: ANSWERS.

    Returns:
        rationale_id, statements (list of texts; null: none are known), reason (null where there are some; no_statements, or as
        `prompts.replies` says), in the order of `asked`.
    """
    rows = replies(asked, answers, _SPLIT).with_columns(statements=cleaned(pl.col("statements"), MOST))
    empty = pl.col("reason").is_null() & (pl.col("statements").list.len() == 0)
    rows = rows.with_columns(reason=pl.when(empty).then(pl.lit("no_statements")).otherwise("reason"))
    return rows.select("rationale_id", pl.when(pl.col("reason").is_null()).then("statements"), "reason")


def ask_check(rationales: pl.DataFrame, split: pl.DataFrame, pairs: pl.DataFrame, endpoint: EndpointConfig) -> StageResult:
    """Ask which statements of a rationale are true, given the prompt and both answers; which answer was chosen is not shown.

    Args:
        rationales: RATIONALE.
        split: of `read_split`.
        pairs: PAIR's pair_id, context, prompt, chosen, rejected, chosen_id, rejected_id, of their pairs.
        endpoint: its context.

    Returns:
        Kept: REQUESTS, for `CHECK_FORM`, with rationale_id and of (how many statements). Dropped: rationale_id, pair_id, reason, detail.
    """
    shown = pairs.select(
        "pair_id", "context", prompt=conversation_text("prompt"), chosen=answer_text("chosen"), rejected=answer_text("rejected")
    ).with_columns(first=chosen_first(pairs, CHECK_FORM.name))
    rows = _with_statements(rationales, split).join(shown, on="pair_id", maintain_order="left")
    statements = show_sides(as_lines(pl.col("statements")), pl.col("first"))
    rows = rows.with_columns(
        statements=statements,
        response_a=pl.when("first").then("chosen").otherwise("rejected"),
        response_b=pl.when("first").then("rejected").otherwise("chosen"),
    )
    slots = {name: name for name in ("context", "prompt", "response_a", "response_b", "statements")}
    answers = ["response_a", "response_b"]
    return _asked(rows, CHECK_FORM, slots, endpoint, ["rationale_id", "of"], "prompt", answers, ["context", "statements"])


def references(rationales: pl.DataFrame) -> pl.DataFrame:
    """Which rationale each is held against: of the other ones that the data states of its pair, accepted, that with the least id.

    Returns:
        rationale_id, reference_id; rationales without one are left out.
    """
    stated = rationales.filter(pl.col("accepted") & (pl.col("kind") == STATED) & pl.col("text").is_not_null()).sort("rationale_id")
    least = stated.group_by("pair_id", maintain_order=True).agg(
        _first=pl.col("rationale_id").first(), _next=pl.col("rationale_id").get(1, null_on_oob=True)
    )
    rows = rationales.select("rationale_id", "pair_id").join(least, on="pair_id", maintain_order="left")
    other = pl.when(pl.col("_first") != pl.col("rationale_id")).then("_first").otherwise("_next")
    return rows.select("rationale_id", reference_id=other).drop_nulls("reference_id")


def f1() -> pl.Expr:
    """F1 of the columns precision and recall, 0 to 1: their harmonic mean, 0 where either is 0, null where either is null."""
    low, total = pl.min_horizontal("precision", "recall"), pl.col("precision") + pl.col("recall")
    harmonic = pl.when(low > 0).then(2 * pl.col("precision") * pl.col("recall") / total).otherwise(0.0)
    return pl.when(total.is_not_null()).then(harmonic)


def ask_entailed(rationales: pl.DataFrame, split: pl.DataFrame, endpoint: EndpointConfig) -> StageResult:
    """Ask which statements of its reference a rationale makes too.

    Args:
        rationales: RATIONALE, whole pairs. Asked are those that state something and have a reference that does.
        split: of `read_split`.
        endpoint: its context; both texts are shown whole or not at all.

    Returns:
        As `ask_check`, for `ENTAIL_FORM`; `of` counts the reference's statements.
    """
    own = _with_statements(rationales, split).drop("statements", "of")
    theirs = split.select(reference_id="rationale_id", statements="statements").drop_nulls("statements")
    rows = own.join(references(rationales), on="rationale_id", maintain_order="left").join(theirs, on="reference_id", maintain_order="left")
    rows = rows.with_columns(of=pl.col("statements").list.len().cast(pl.Int64), statements=as_lines(pl.col("statements")), _none=pl.lit(""))
    slots = {"text": "text", "statements": "statements"}
    return _asked(rows, ENTAIL_FORM, slots, endpoint, ["rationale_id", "of"], "_none", ["text"], ["statements"], cut=False)


def read_check(asked: pl.DataFrame, answers: pl.DataFrame) -> pl.DataFrame:
    """How many statements hold.

    Args:
        asked: `kept` of `ask_check` or `ask_entailed`.
        answers: ANSWERS.

    Returns:
        rationale_id, held, of (held is null where it is not known), reason (null where it is; other_numbers: not one word on each
        statement; or as `prompts.replies` says), in the order of `asked`.
    """
    rows = replies(asked, answers, _CHECKED).with_columns(_held=in_order(pl.col("statements"), "holds", pl.col("of")))
    unlike = pl.col("reason").is_null() & pl.col("_held").is_null()
    held = pl.col("_held").list.sum().cast(pl.Int64)
    return rows.select("rationale_id", "of", held=held, reason=pl.when(unlike).then(pl.lit("other_numbers")).otherwise("reason"))


def add_units(rationales: pl.DataFrame, split: pl.DataFrame, checked: pl.DataFrame, entailed: pl.DataFrame) -> pl.DataFrame:
    """Add precision, recall and F1 to rationales.

    Args:
        rationales: RATIONALE, whole pairs.
        split: of `read_split`.
        checked: of `read_check`, about `ask_check`.
        entailed: of `read_check`, about `ask_entailed`.

    Returns:
        The rows in their order. precision (share of its statements that are true), recall (share of its reference's that it makes), f1
        (harmonic mean; 0 where either is 0), each 0 to 1, or null: of no statements there is no share. `units_reason` says why there is
        no f1: not_split, no_statements, not_checked, no_reference, reference_ and one of these, or a failure's.
    """
    shares = {
        name: table.select("rationale_id", (pl.col("held") / pl.col("of")).alias(name), pl.col("reason").alias(f"_{name}"))
        for name, table in (("precision", checked), ("recall", entailed))
    }
    state = split.select("rationale_id", _split="reason", _known=pl.lit(True))
    reference = references(rationales).join(
        state.select(reference_id="rationale_id", _theirs="_split", _there="_known"), on="reference_id", how="left"
    )
    rows = rationales.drop("precision", "recall", strict=False)
    for table in (*shares.values(), state, reference):
        rows = rows.join(table, on="rationale_id", how="left", maintain_order="left")
    rows = rows.with_columns(f1=f1())
    why = pl.coalesce(
        pl.when(pl.col("_known").is_null()).then(pl.lit("not_split")),
        "_split",
        "_precision",
        pl.when(pl.col("reference_id").is_null()).then(pl.lit("no_reference")),
        pl.when(pl.col("_there").is_null()).then(pl.lit("reference_not_split")),
        pl.format("reference_{}", "_theirs"),
        "_recall",
        pl.lit("not_checked"),
    )
    rows = rows.with_columns(units_reason=pl.when(pl.col("f1").is_null()).then(why))
    order = [name for name in rationales.columns if name not in SHARES]
    return rows.select(*order, *SHARES, "units_reason")


def summarise_units(rationales: pl.DataFrame) -> pl.DataFrame:
    """A partition's sums over rationales by kind, for `reduce_units`.

    Args:
        rationales: rows of `add_units`.
    """
    whole = [(pl.col(share) ** power * _UNIT).round().cast(pl.Int64).sum() for share in SHARES for power in (1, 2)]
    named = [one.alias(f"{share}_{part}") for one, (share, part) in zip(whole, product(SHARES, ("sum", "squares")), strict=True)]
    counts = [pl.col(share).count().alias(f"{share}_n") for share in SHARES]
    return rationales.group_by("kind").agg(*named, *counts).select(_SUMS.names()).cast(_SUMS).sort("kind")  # type: ignore[arg-type, unused-ignore]


def reduce_units(parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """How good the rationales of each kind are.

    Returns:
        STATISTIC of `rationale_kind`s: rationale_precision, rationale_recall, rationale_f1: means of the rationales' own values, as
        MetaCritique has it; the mean of F1 is not the F1 of the means. The interval is the normal one of a mean, null for a single
        rationale. What rests on nothing is left out.
    """
    sums = pl.concat([_SUMS.to_frame(), *parts]).group_by("kind").agg(pl.exclude("kind").sum())
    return statistics_table([_mean(row, share) for row in sums.iter_rows(named=True) for share in SHARES if row[f"{share}_n"]])


def _mean(row: Mapping[str, Any], share: str) -> Statistic:
    n, mean = row[f"{share}_n"], row[f"{share}_sum"] / _UNIT / row[f"{share}_n"]
    spread = max(row[f"{share}_squares"] / _UNIT / n - mean**2, 0.0)
    half = _Z * math.sqrt(spread / (n - 1)) if n > 1 else math.nan
    subject = ("rationale_kind", row["kind"])
    return Statistic(f"rationale_{share}", *subject, mean, mean - half, mean + half, n, "share", "mean of the rationales' values")


def _with_statements(rationales: pl.DataFrame, split: pl.DataFrame) -> pl.DataFrame:
    said = split.drop_nulls("statements").select("rationale_id", "statements", of=pl.col("statements").list.len().cast(pl.Int64))
    return rationales.select("rationale_id", "pair_id", "prompt_id", "text").join(said, on="rationale_id", maintain_order="left")


def _asked(
    rows: pl.DataFrame,
    form: Form,
    slots: Mapping[str, str],
    endpoint: EndpointConfig,
    known: list[str],
    prompt: str,
    answers: list[str],
    others: Iterable[str] = (),
    cut: bool = True,
) -> StageResult:
    template = load_template(form.name)
    fitted = shorten(
        rows,
        template,
        prompt=prompt,
        answers=answers,
        others=list(others),
        context_tokens=endpoint.context_tokens,
        max_output_tokens=form.max_output_tokens,
        too_long="shorten" if cut else "refuse",
    )
    messages = render(fitted.kept, template, {slot: pl.col(name) for slot, name in slots.items()})
    asked = requests(fitted.kept, form, template, messages)
    kept = asked.select(REQUESTS.names()).hstack(fitted.kept.select(known))
    return StageResult(kept, fitted.dropped.select("rationale_id", "pair_id", "reason", "detail"))
