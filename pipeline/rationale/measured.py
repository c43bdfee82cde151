"""How far preferences follow rules: AutoRule's scores (2025), and coverage and agreement of each rule."""

from typing import Any, Final

import polars as pl

from pipeline.statistics.intervals import wilson

SIDES: Final = ("chosen", "rejected")
# One row = one rule, or (rule null) all of them together, by their scores.
MEASURED: Final = pl.Schema(
    {
        "rule": pl.String,
        "pairs": pl.Int64,  # of which it is known for both answers
        "differs": pl.Int64,  # of those: one answer satisfies it (more) and the other does not (as much)
        "chosen": pl.Int64,  # of those: the chosen one
        "coverage": pl.Float64,  # differs / pairs, 0 to 1, with 95 % intervals; null: of nothing
        "coverage_low": pl.Float64,
        "coverage_high": pl.Float64,
        "agreement": pl.Float64,  # chosen / differs, 0 to 1; one half is chance
        "agreement_low": pl.Float64,
        "agreement_high": pl.Float64,
    }
)


def measure(verdicts: pl.DataFrame, rules: pl.Series) -> pl.DataFrame:
    """How far preferences follow each rule.

    Args:
        verdicts: pair_id, side, satisfied (list of Booleans, one a rule; null: not known): one row an answer.
        rules: texts, in the order of `satisfied`.

    Returns:
        MEASURED: rules by the lower end of agreement, largest first, then coverage and text; then one row for all of them together.
        Pairs of which an answer is not known count nowhere.
    """
    both = _both(verdicts)
    each = both.with_columns(rule=pl.lit(rules.to_list(), pl.List(pl.String))).explode("rule", *SIDES)
    together = both.select("pair_id", *(pl.col(side).list.mean() for side in SIDES), rule=pl.lit(None, pl.String))
    wide = pl.concat([each.select("rule", *(pl.col(side).cast(pl.Float64) for side in SIDES)), together.select("rule", *SIDES)])
    differs = pl.col("chosen") != pl.col("rejected")
    counted = wide.group_by("rule").agg(pairs=pl.len(), differs=differs.sum(), chosen=(pl.col("chosen") > pl.col("rejected")).sum())
    every = pl.DataFrame({"rule": [*rules, None]}, schema={"rule": pl.String})
    told = every.join(counted, on="rule", how="left", nulls_equal=True).with_columns(pl.col("pairs", "differs", "chosen").fill_null(0))
    for name, hits, of in (("coverage", "differs", "pairs"), ("agreement", "chosen", "differs")):
        low, high = wilson(told[hits].to_numpy(), told[of].to_numpy())
        some = pl.when(pl.col(of) > 0)
        told = told.with_columns(
            some.then(pl.col(hits) / pl.col(of)).alias(name),
            some.then(pl.Series(low, dtype=pl.Float64)).alias(f"{name}_low"),
            some.then(pl.Series(high, dtype=pl.Float64)).alias(f"{name}_high"),
        )
    order = [pl.col("rule").is_null(), -pl.col("agreement_low").fill_null(-1.0), -pl.col("coverage").fill_null(-1.0), pl.col("rule")]
    return told.select(MEASURED.names()).cast(MEASURED).sort(order)  # type: ignore[arg-type, unused-ignore]


def scores(verdicts: pl.DataFrame) -> pl.DataFrame:
    """Share of the rules that each answer satisfies: AutoRule's reward.

    Args:
        verdicts: pair_id, side, satisfied (list of Booleans, one a rule; null: not known): one row an answer.

    Returns:
        pair_id, chosen, rejected (0 to 1; null: not known), sorted by pair_id.
    """
    mean = [pl.col("satisfied").filter(pl.col("side") == side).first().list.mean().alias(side) for side in SIDES]
    return verdicts.group_by("pair_id").agg(mean).sort("pair_id")


def line(row: dict[str, Any]) -> str:
    """A row of MEASURED, for people to read."""
    name = row["rule"] or "All rules together, by share satisfied"
    if not row["pairs"]:
        return f"{name}\n    not known of any pair"
    coverage = f"differs on {row['differs']} of {row['pairs']} pairs ({row['coverage']:.2f})"
    if not row["differs"]:
        return f"{name}\n    {coverage}"
    interval = f"{row['agreement']:.2f}, 95 % {row['agreement_low']:.2f} to {row['agreement_high']:.2f}"
    return f"{name}\n    {coverage}; with the preference on {row['chosen']} of these ({interval})"


def _both(verdicts: pl.DataFrame) -> pl.DataFrame:
    """pair_id, chosen, rejected: lists of Booleans, of pairs with both."""
    known = verdicts.drop_nulls("satisfied")
    sides = [known.filter(pl.col("side") == side).select("pair_id", pl.col("satisfied").alias(side)) for side in SIDES]
    return sides[0].join(sides[1], on="pair_id", maintain_order="left")
