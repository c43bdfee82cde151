"""How many rationales there are, why others were refused, what readers recover from them, and what they cost."""

from typing import Final

import polars as pl

from pipeline.statistics.intervals import wilson
from pipeline.statistics.table import STATISTIC

_UNIT: Final = 10**9  # money and rates are added up in billionths, as whole numbers: then no order of adding changes a sum
# Sums of one kind of rationale, which add up over partitions: a count of what, of how many, or a sum of values.
SUMS: Final = pl.Schema({"kind": pl.String, "figure": pl.String, "value": pl.Int64, "n": pl.Int64})
_SHARES: Final = ("coverage", "own_verdict_agrees", "recovered", "steady", "leaks_label")
_NOTES: Final = {
    "coverage": "pairs with an accepted one, of those that were to have one",
    "own_verdict_agrees": "with the label, of writers that were not told it",
    "recovered": "the label, by readers that were not told it, in both orders",
    "steady": "readers give one verdict in both orders",
    "leaks_label": "accepted ones that name the better answer outright",
}


def summarise(rationales: pl.DataFrame) -> pl.DataFrame:
    """Add up a partition's rationales.

    Args:
        rationales: schema RATIONALE, in any order; whole pairs.

    Returns:
        SUMS, sorted.
    """
    both = pl.col("recovered_first").is_not_null() & pl.col("recovered_second").is_not_null()
    same = pl.col("recovered_first") == pl.col("recovered_second")
    accepted = pl.col("accepted")
    rate = {side: pl.col("items").str.json_path_match(f"$.{side}").cast(pl.Float64, strict=False) for side in ("chosen", "rejected")}
    scored = accepted & pl.col("kind").is_in(["rubric", "checklist"])
    known = pl.col("own_verdict").is_not_null() & (pl.col("kind") != "stated")
    pairs = rationales.group_by("kind", "pair_id").agg(accepted.any()).group_by("kind")
    sums = rationales.group_by("kind").agg(
        own_verdict_agrees=_of((pl.col("own_verdict") == "chosen") & known, known),
        recovered=_of(both & same & (pl.col("recovered_first") == "chosen"), both),
        steady=_of(both & same, both),
        leaks_label=_of(accepted & pl.col("leaks_label"), accepted & pl.col("leaks_label").is_not_null()),
        cost=_total(pl.col("cost"), accepted),
        input_tokens=pl.struct(value=pl.col("input_tokens").sum(), n=accepted.sum().cast(pl.Int64)),
        output_tokens=pl.struct(value=pl.col("output_tokens").sum(), n=accepted.sum().cast(pl.Int64)),
        **{f"score_{side}": _total(pl.when(scored).then(one), scored & one.is_not_null()) for side, one in rate.items()},
    )
    coverage = pairs.agg(coverage=_of(accepted, pl.lit(True)))
    whole = coverage.join(sums, on="kind")
    long = pl.concat(
        [
            whole.select("kind", figure=pl.lit(name), told=pl.col(name)).unnest("told")
            for name in whole.columns
            if name != "kind"
        ]
    )  # fmt: skip
    refused = rationales.filter(pl.col("reason").is_not_null()).group_by("kind", "reason").agg(value=pl.len().cast(pl.Int64))
    every = rationales.group_by("kind").agg(n=pl.len().cast(pl.Int64))
    reasons = refused.join(every, on="kind").select("kind", pl.format("refused_{}", "reason").alias("figure"), "value", "n")
    # A reason's n is of all rationales of the kind, also in partitions without it: a row of its own, so that both add up.
    total = every.select("kind", figure=pl.lit("refused"), value=pl.lit(0, pl.Int64), n="n")
    return pl.concat([long, reasons.with_columns(n=pl.lit(0, pl.Int64)), total]).select(SUMS.names()).cast(SUMS).sort("kind", "figure")  # type: ignore[arg-type, unused-ignore]


def reduce(parts: list[pl.DataFrame]) -> pl.DataFrame:
    """The figures of a data set, from what `summarise` gave for every partition.

    Returns:
        STATISTIC of `rationale_kind`s: `rationale_*` for each share with Wilson's interval (coverage of pairs; recovered, steady,
        leaks_label and own_verdict_agrees of the rationales of which that is known; refused_<reason> of all), and without an interval
        `rationale_cost` and `rationale_*_tokens` (of all attempts, for one accepted), `rationale_score_*` (of rubrics and checklists: mean
        of the rationales' own scores, so that a long checklist counts as much as a short one; TICK, 2024). What rests on nothing, and
        costs of nothing, are left out.
    """
    sums = pl.concat([SUMS.to_frame(), *parts]).group_by("kind", "figure").agg(pl.col("value", "n").sum())
    every = sums.filter(pl.col("figure") == "refused").select("kind", _n="n")
    refused = sums.filter(pl.col("figure").str.starts_with("refused_")).drop("n").join(every, on="kind").rename({"_n": "n"})
    shares = pl.concat([sums.filter(pl.col("figure").is_in(_SHARES)), refused.select(sums.columns)]).filter(pl.col("n") > 0)
    low, high = wilson(shares["value"].to_numpy(), shares["n"].to_numpy())
    told = shares.select(
        "kind", "figure", "n", value=pl.col("value") / pl.col("n"), low=pl.Series(low), high=pl.Series(high), unit=pl.lit("share")
    )
    single = sums.filter(~pl.col("figure").is_in([*_SHARES, "refused"]) & ~pl.col("figure").str.starts_with("refused_"))
    tokens = pl.col("figure").str.ends_with("_tokens")
    nothing = pl.lit(None, pl.Float64)
    paid = pl.col("figure").str.starts_with("score_") | (pl.col("value") > 0)
    values = single.filter((pl.col("n") > 0) & paid).select(
        "kind", "figure", "n",
        value=pl.when(tokens).then(pl.col("value") / pl.col("n")).otherwise(pl.col("value") / _UNIT / pl.col("n")),
        low=nothing, high=nothing,
        unit=pl.when(tokens).then(pl.lit("tokens")).when(pl.col("figure") == "cost").then(pl.lit("money")).otherwise(pl.lit("points")),
    )  # fmt: skip
    rows = pl.concat([told, values.select(told.columns)]).with_columns(
        statistic=pl.format("rationale_{}", "figure"),
        subject_kind=pl.lit("rationale_kind"),
        subject="kind",
        note=pl.col("figure").replace_strict(_NOTES, default=None, return_dtype=pl.String),
    )
    return rows.select(STATISTIC.names()).cast(STATISTIC).sort("statistic", "subject_kind", "subject")  # type: ignore[arg-type, unused-ignore]


def _of(hits: pl.Expr, among: pl.Expr) -> pl.Expr:
    return pl.struct(value=hits.fill_null(False).sum().cast(pl.Int64), n=(hits.is_not_null() & among).sum().cast(pl.Int64))


def _total(value: pl.Expr, among: pl.Expr) -> pl.Expr:
    return pl.struct(value=(value * _UNIT).round().cast(pl.Int64).sum(), n=among.sum().cast(pl.Int64))
