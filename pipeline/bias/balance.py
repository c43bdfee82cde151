"""Data without a length bias: matched subsets, or weights, in which a difference says nothing about who wins.

Pairs are compared in bins of |signal|, so that large differences are matched with large ones. As with all rules on shares there are
three parts: summarise a partition, reduce the summaries, apply to a partition.
"""

import math
from dataclasses import asdict, dataclass

import numpy as np
import polars as pl

from pipeline.bias.logistic import Z95, fit, scale_of, squash
from pipeline.errors import SchemaError
from pipeline.stage import StageResult, split_by_reason
from pipeline.statistics.intervals import wilson
from pipeline.statistics.table import STATISTIC, Statistic, statistics_table

BINS, MIN_BIN_PAIRS = 20, 50  # finer bins match better and cost more pairs, by chance alone some 0.8 sqrt(n) of n a bin

_BINS = {"upper": pl.Float64, "above": pl.Int64, "below": pl.Int64, "priority": pl.Float64, "pair_id": pl.String} | {
    "weight_above": pl.Float64,
    "weight_below": pl.Float64,
}
_SUMMARY = {"pair_id": pl.String, "value": pl.Float64, "priority": pl.Float64}


@dataclass(frozen=True)
class Balance:
    """A rule that drops the fewest pairs after which the signal is above 0 as often as below, in every bin of its size."""

    name: str
    signal: str  # chosen less rejected: chars_gap, tokens_gap, markdown_gap ...
    drop_first: str | None = (
        None  # the column whose highest values go first, noise_score say; otherwise, and among equals, the least pair ids
    )


@dataclass(frozen=True)
class Bin:
    """Pairs whose |signal| is above the last bin's `upper` and at most this one's; what is dropped is on one side of 0."""

    upper: float
    above: int  # pairs with a signal above 0
    below: int
    priority: float  # of the last pair that is dropped, in the order of dropping
    pair_id: str
    weight_above: float  # see `apply_weights`
    weight_below: float

    @property
    def dropped(self) -> int:
        """How many pairs go."""
        return abs(self.above - self.below)


@dataclass(frozen=True)
class Balanced:
    """What was found over all partitions: the bins, by size, and STATISTIC rows about before and after."""

    bins: tuple[Bin, ...]
    statistics: pl.DataFrame

    def to_table(self) -> pl.DataFrame:
        """The bins as rows."""
        return pl.DataFrame([asdict(one) for one in self.bins], schema=_BINS)

    @classmethod
    def from_table(cls, table: pl.DataFrame) -> "Balanced":
        """The bins that `to_table` wrote, without statistics."""
        return cls(tuple(Bin(**row) for row in table.iter_rows(named=True)), STATISTIC.to_frame())


def summarise_balance(pairs: pl.DataFrame, rule: Balance) -> pl.DataFrame:
    """One partition's pairs that differ in the signal: pair_id, value, priority (float64; 0 where not known).

    Raises:
        SchemaError: the pairs lack a column that the rule names.
    """
    needed = [rule.signal, *([] if rule.drop_first is None else [rule.drop_first])]
    missing = [column for column in needed if column not in pairs.columns]
    if missing:
        raise SchemaError(f"rule {rule.name!r}: the pairs lack the columns {missing}; add the signals first.")
    priority = pl.lit(0.0) if rule.drop_first is None else pl.col(rule.drop_first).cast(pl.Float64).fill_nan(None).fill_null(0.0)
    value = pl.col(rule.signal).cast(pl.Float64).fill_nan(None)
    return pairs.select("pair_id", value=value, priority=priority).filter(pl.col("value") != 0)


def reduce_balance(summaries: list[pl.DataFrame], rule: Balance) -> Balanced:
    """Cut the pairs into bins of |signal|, as full as each other, and find what each must lose."""
    rows = pl.concat([pl.DataFrame(schema=_SUMMARY), *summaries]).sort("pair_id")
    size = rows.get_column("value").abs().to_numpy()
    count = int(np.clip(rows.height // MIN_BIN_PAIRS, 1, BINS))
    ends = np.unique(np.sort(size)[np.arange(1, count + 1) * size.size // count - 1] if size.size else size)
    scale = scale_of(rows.get_column("value").to_numpy())
    ranked = rows.with_columns(
        bin=pl.Series(np.searchsorted(ends, size), dtype=pl.Int64),
        above=pl.col("value") > 0,
        pull=pl.Series(squash(size, scale)),
    ).sort(["bin", "above", "priority", "pair_id"], descending=[False, False, True, False])
    bins = tuple(_bin(part, float(upper)) for part, upper in zip(ranked.partition_by("bin", maintain_order=True), ends, strict=True))
    return Balanced(bins, _before_and_after(rows, rule, bins))


def apply_balance(pairs: pl.DataFrame, rule: Balance, found: Balanced) -> StageResult:
    """Drop one partition's surplus pairs; those without a difference stay.

    Returns:
        `dropped` has stage, reason (the rule's name), the signal as `score`, its bin's upper end as `threshold`, the bin's counts in
        `detail`, and witness_pair_id (null).
    """
    keyed = _with_bins(pairs, rule, found)
    more_above = pl.col("_above") > pl.col("_below")
    surplus = pl.when(more_above).then(pl.col("_value") > 0).otherwise((pl.col("_value") < 0) & (pl.col("_above") < pl.col("_below")))
    early = (pl.col("_priority") > pl.col("_last")) | ((pl.col("_priority") == pl.col("_last")) & (pl.col("pair_id") <= pl.col("_last_id")))
    result = split_by_reason(keyed, {rule.name: surplus & early})
    detail = pl.format(
        f"of the pairs with |{rule.signal}| up to {{}}, {{}} are above 0 and {{}} below: {{}} dropped to make them as many",
        pl.col("_upper"),
        pl.col("_above"),
        pl.col("_below"),
        (pl.col("_above") - pl.col("_below")).abs(),
    )
    dropped = result.dropped.with_columns(
        stage=pl.lit("rules"), score=pl.col("_value"), threshold=pl.col("_upper"), detail=detail, witness_pair_id=pl.lit(None, pl.String)
    )
    columns = [*pairs.columns, "stage", "reason", "score", "threshold", "detail", "witness_pair_id"]
    return StageResult(kept=result.kept.select(pairs.columns), dropped=dropped.select(columns))


def apply_weights(pairs: pl.DataFrame, rule: Balance, found: Balanced) -> pl.DataFrame:
    """Add `balance_weight` (0 to 1), which brings the coefficient of tanh(signal / its standard deviation) to 0 and drops no pair.

    In each bin the heavier side is weighted down until both pull as much; pairs without a difference, and those of the lighter side,
    weigh 1. A bin with one side alone weighs 0: nothing there tells quality from the signal.
    """
    keyed = _with_bins(pairs, rule, found)
    weight = pl.when(pl.col("_value") > 0).then("_weight_above").when(pl.col("_value") < 0).then("_weight_below")
    return keyed.with_columns(balance_weight=weight.fill_null(1.0)).select(*pairs.columns, "balance_weight")


def coefficient(value: pl.Series, scale: float, weight: pl.Series | None = None) -> tuple[float, float, float]:
    """How much more likely the side with more of the signal is to be chosen: log-odds per tanh(value / scale), with its 95 % interval.

    Args:
        value: (N,), chosen less rejected.
        scale: `pipeline.bias.logistic.scale_of` the values.
        weight: (N,), 1 each when left out.
    """
    values = value.to_numpy().astype(np.float64)
    found = fit(squash(values, scale)[np.newaxis], np.ones(values.size), None if weight is None else weight.to_numpy())
    middle, sd = float(found.coefficients[0]), float(found.deviations[0])
    return middle, middle - Z95 * sd, middle + Z95 * sd


def _bin(part: pl.DataFrame, upper: float) -> Bin:
    sides = [part.filter(~pl.col("above")), part.filter("above")]
    below, above = sides[0].height, sides[1].height
    pulls = [float(side.get_column("pull").sum()) for side in sides]
    lighter = min(pulls)
    weights = [lighter / pull if pull > 0 else 1.0 for pull in pulls]
    dropped = abs(above - below)
    priority, pair_id = (0.0, "") if dropped == 0 else sides[above > below].select("priority", "pair_id").row(dropped - 1)
    return Bin(upper, above, below, priority, pair_id, weight_above=weights[1], weight_below=weights[0])


def _with_bins(pairs: pl.DataFrame, rule: Balance, found: Balanced) -> pl.DataFrame:
    """The pairs with what their bin says of them, in columns that start with `_`; null where they differ in nothing."""
    known = pl.DataFrame(
        [(n, b.upper, b.above, b.below, b.priority, b.pair_id, b.weight_above, b.weight_below) for n, b in enumerate(found.bins)],
        schema={"_bin": pl.Int64, "_upper": pl.Float64, "_above": pl.Int64, "_below": pl.Int64, "_last": pl.Float64, "_last_id": pl.String}
        | {"_weight_above": pl.Float64, "_weight_below": pl.Float64},
        orient="row",
    )
    summary = summarise_balance(pairs, rule)
    place = np.searchsorted(known.get_column("_upper").to_numpy(), summary.get_column("value").abs().to_numpy())
    binned = summary.rename({"value": "_value", "priority": "_priority"}).with_columns(_bin=pl.Series(place, dtype=pl.Int64))
    joined = binned.join(known, on="_bin", how="left")
    return pairs.join(joined, on="pair_id", how="left", maintain_order="left")


def _before_and_after(rows: pl.DataFrame, rule: Balance, bins: tuple[Bin, ...]) -> pl.DataFrame:
    """The signal's coefficient as the pairs are, matched and weighted, with what either costs."""
    columns = {"value": rule.signal} | ({} if rule.drop_first is None else {"priority": rule.drop_first})
    pairs, found = rows.select("pair_id", *columns).rename(columns), Balanced(bins, STATISTIC.to_frame())
    kept = apply_balance(pairs, rule, found).kept.get_column(rule.signal)
    weight = apply_weights(pairs, rule, found).get_column("balance_weight")
    gap, n = pairs.get_column(rule.signal), rows.height
    scale, squares = scale_of(gap.to_numpy()), float((weight**2).sum())
    low, high = (float(end) for end in wilson(n - kept.len(), n))
    lost = (n - kept.len()) / n if n else math.nan
    wasted = 1 - float(weight.sum()) ** 2 / squares / n if squares > 0 else float(n > 0)

    def told(name: str, numbers: tuple[float, float, float], count: int, unit: str, note: str) -> Statistic:
        return Statistic(f"balance_{name}", "rule", rule.name, *numbers, count, unit, note)

    unit = f"log-odds per tanh({rule.signal} / {scale:.4g})"
    return statistics_table(
        [
            told("coefficient_before", coefficient(gap, scale), n, unit, "of the pairs that differ in the signal"),
            told("coefficient_matched", coefficient(kept, scale), kept.len(), unit, "of those that the rule keeps"),
            told("coefficient_weighted", coefficient(gap, scale, weight), n, unit, "of all that differ, weighted instead of dropped"),
            told("lost_matched", (lost, low, high), n, "share", "dropped, of the pairs that differ in the signal"),
            told(
                "lost_weighted",
                (wasted, math.nan, math.nan),
                n,
                "share",
                "1 - (sum of weights)^2 / sum of squares / pairs: no sample, no interval",
            ),
        ]
    )
