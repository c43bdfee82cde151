"""How well probabilities match what happened: ECE, ACE, MCE, Brier, Balance and the counts of a reliability diagram.

Everything is a function of integer sums, so that partitions add up: probabilities are taken in billionths.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.statistics.bootstrap import Floats, Ints, add_sums, by_subject, percentiles, ratio, replicate_sums
from pipeline.statistics.table import Statistic, statistics_table

UNIT: Final = 10**9
FINEST: Final = 20
BINS: Final = (5, 10, 20)  # each a whole number of the finest bins


class Calibration(NamedTuple):
    """What is measured of N probabilities; every number 0 to 1 but `balance`."""

    ece: float  # expected calibration error: sum over bins |sum p - sum y| / N
    ace: float  # mean over non-empty bins of |mean p - mean y|
    mce: float  # the largest of them
    brier: float  # mean (p - y)^2
    balance: float  # accuracy of the likelier side - mean confidence in it: -1 to 0.5; above 0 is underconfident


def calibration(p: npt.ArrayLike, y: npt.ArrayLike, bins: int, *, both_orders: bool = False) -> Calibration:
    """Calibration of probabilities that are in memory.

    Args:
        p: probabilities (N,), 0 to 1.
        y: what happened (N,), 0 or 1.
        bins: how many equal bins: 5, 10 or 20.
        both_orders: count each pair in both orders, (p, y) and (1 - p, 1 - y), as MORE (2023) does; right where which side `p`
            speaks of is arbitrary. Then exchanging a pair's sides changes nothing.

    Returns:
        ECE in the form of MORE (On Diversified Preferences, 2023); Balance of "Rethinking Evaluation Metric for Probability
        Estimation Models Using Esports Data" (2023). A half counts half right in Balance. Bins hold the edge that is further
        from one half.

    Raises:
        ValueError: there are no probabilities, one is not between 0 and 1, or y is not 0 or 1.
    """
    rows = _rows(p, y, both_orders)
    if not len(rows["n"]):
        raise ValueError("calibration of no probabilities is not defined.")
    sums = {
        **{f"{name}_{b}": _column(rows[name][rows["bin"] == b].sum()) for name in ("n", "p", "y") for b in range(FINEST)},
        **{name: _column(rows[name].sum()) for name in ("n", "brier", "balance")},
    }
    ece, ace, mce = _by_bins(sums, bins)
    return Calibration(float(ece[0]), float(ace[0]), float(mce[0]), *(float(_mean(sums, name)[0]) for name in ("brier", "balance")))


def summarise_calibration(rows: pl.DataFrame) -> pl.DataFrame:
    """What one partition adds to `calibration_statistics`.

    Args:
        rows: `id` (hex, e.g. pair_id), subject_kind, subject: String, `p`: Float64 0 to 1 (P(high is better)), `y`: 0 or 1.
            Both orders are counted.

    Returns:
        SUMS.
    """
    measured = _rows(rows.get_column("p").to_numpy(), rows.get_column("y").to_numpy(), both_orders=True)
    names = rows.select("id", "subject_kind", "subject")
    long = pl.concat([names, names]).with_columns(pl.Series(name, values) for name, values in measured.items())
    split = [pl.when(pl.col("bin") == b).then(name).otherwise(0).alias(f"{name}_{b}") for name in ("n", "p", "y") for b in range(FINEST)]
    return replicate_sums(long.with_columns(split), [*(one.meta.output_name() for one in split), "n", "brier", "balance"])


def calibration_statistics(parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Calibration with intervals.

    Args:
        parts: results of `summarise_calibration`.

    Returns:
        STATISTIC `ece_5`, `ece_10`, `ece_20`, `ace_10`, `mce_10`, `brier`, `balance`; n = pairs. Intervals are bootstraps over
        pairs. The errors of bins are never negative, so resampling raises them: theirs is the bootstrap interval turned round
        the value (Davison & Hinkley 1997, the basic bootstrap) and cut at 0.
    """
    rows = []
    for subject, sums in by_subject(add_sums(parts)).items():
        pairs = int(sums["n"][0]) // 2
        binned = {f"ece_{bins}": _by_bins(sums, bins)[0] for bins in BINS}
        _, binned["ace_10"], binned["mce_10"] = _by_bins(sums, 10)
        for name, values in binned.items():
            low, high = percentiles(values)
            value = float(values[0])
            rows.append(
                Statistic(name, *subject, value, min(value, max(0.0, 2 * value - high)), max(value, 2 * value - low), pairs, "probability")
            )
        for name in ("brier", "balance"):
            values = _mean(sums, name)
            rows.append(Statistic(name, *subject, float(values[0]), *percentiles(values), pairs, "probability"))
    return statistics_table(rows)


def reliability(parts: Iterable[pl.DataFrame], bins: int) -> pl.DataFrame:
    """The counts of a reliability diagram.

    Args:
        parts: results of `summarise_calibration`.
        bins: 5, 10 or 20.

    Returns:
        subject_kind, subject, bin (0 to bins - 1), n (both orders), mean_p, share (of y = 1); means null where n is 0.
    """
    tables = []
    for (kind, subject), sums in by_subject(add_sums(parts)).items():
        n, p, y = ([int(value[0]) for value in _grouped(sums, name, bins)] for name in ("n", "p", "y"))
        table = pl.DataFrame({"bin": range(bins), "n": n, "p": p, "y": y}, schema_overrides={"bin": pl.Int64})
        known = pl.when(pl.col("n") > 0)
        tables.append(
            table.select(
                pl.lit(kind).alias("subject_kind"),
                pl.lit(subject).alias("subject"),
                "bin",
                "n",
                known.then(pl.col("p") / UNIT / pl.col("n")).alias("mean_p"),
                known.then(pl.col("y") / pl.col("n")).alias("share"),
            )
        )
    return pl.concat(tables)


def _rows(p: npt.ArrayLike, y: npt.ArrayLike, both_orders: bool) -> dict[str, Ints]:
    """Integers per probability: n = 1, bin, p, y, and in billionths Brier and Balance."""
    share, happened = np.asarray(p, np.float64), np.asarray(y, np.int64)
    if not (np.all((share >= 0) & (share <= 1)) and np.all((happened == 0) | (happened == 1))):
        raise ValueError("calibration needs probabilities between 0 and 1 and outcomes that are 0 or 1.")
    billionths = np.rint(share * UNIT).astype(np.int64)
    if both_orders:
        billionths, happened = np.concatenate([billionths, UNIT - billionths]), np.concatenate([happened, 1 - happened])
    confident = np.maximum(billionths, UNIT - billionths)
    upper = (confident * FINEST - 1) // UNIT  # (low, high], exactly
    right = np.where(2 * billionths == UNIT, UNIT // 2, np.where((2 * billionths > UNIT) == (happened == 1), UNIT, 0))
    error = np.abs(billionths - happened * UNIT) / UNIT
    return {
        "n": np.ones_like(happened),
        "bin": np.where(2 * billionths >= UNIT, upper, FINEST - 1 - upper),
        "p": billionths,
        "y": happened,
        "brier": np.rint(error**2 * UNIT).astype(np.int64),
        "balance": right - confident,
    }


def _column(total: np.int64) -> Floats:
    return np.array([total], np.float64)


def _grouped(sums: dict[str, Floats], name: str, bins: int) -> list[Floats]:
    width = FINEST // bins
    return [np.sum([sums[f"{name}_{b}"] for b in range(first, first + width)], axis=0) for first in range(0, FINEST, width)]


def _by_bins(sums: dict[str, Floats], bins: int) -> tuple[Floats, Floats, Floats]:
    n, p, y = (np.array(_grouped(sums, name, bins)) for name in ("n", "p", "y"))
    apart = np.abs(p / UNIT - y)
    mean = np.nan_to_num(ratio(apart, n))
    return ratio(apart.sum(axis=0), n.sum(axis=0)), ratio(mean.sum(axis=0), (n > 0).sum(axis=0).astype(np.float64)), mean.max(axis=0)


def _mean(sums: dict[str, Floats], name: str) -> Floats:
    return ratio(sums[name], sums["n"]) / UNIT
