"""Poisson bootstrap over additive integer sums: the same replicates whatever the partitions, threads and row order.

Each unit (a pair, by its id) gets its own Poisson(1) weight in each replicate, drawn from its id alone, so replicate sums of
partitions add up to those of the whole (Hanley & MacGibbon 2006, "Creating non-parametric bootstrap samples using Poisson
frequencies"; Chamandy et al. 2012, "Estimating uncertainty for massive data streams").
"""

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

REPLICATES: Final = 500
COLUMNS: Final = REPLICATES + 1  # column 0 is the sum itself, every weight 1
KEYS: Final = ["subject_kind", "subject", "quantity"]
SUMS: Final = pl.Schema(
    {"subject_kind": pl.String(), "subject": pl.String(), "quantity": pl.String(), "sums": pl.Array(pl.Int64(), COLUMNS)}
)

# Block sums are products of whole float64 numbers, exact below 2**53 in whatever order they are added.
LARGEST: Final = 10**11
_BLOCK: Final = 1024
_HEAVIEST: Final = 8  # P(Poisson(1) > 8) is 1e-6, less than one in 65,536


def _poisson_table() -> npt.NDArray[np.uint8]:
    """Weight of each 16-bit draw: as many of the 65,536 draws give k as Poisson(1) has mass at k."""
    below = np.cumsum([math.exp(-1.0) / math.factorial(k) for k in range(_HEAVIEST)])
    return np.searchsorted(below, (np.arange(65536) + 0.5) / 65536).astype(np.uint8)


_WEIGHT_OF: Final = _poisson_table()


def weights(ids: pl.Series) -> npt.NDArray[np.uint8]:
    """Poisson(1) weights from ids.

    Args:
        ids: String (N,), hex of at least 16 digits (a content hash), not null.

    Returns:
        uint8 (N, 501), 0 to 8; column 0 is 1 everywhere. Four draws of 16 bits come from each 64-bit output of SplitMix64
        (Steele, Lea & Flood 2014) counted from the id.
    """
    keys = ids.str.slice(0, 16).str.to_integer(base=16, dtype=pl.UInt64).to_numpy()
    counters = np.arange(1, REPLICATES // 4 + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    # The key is mixed first: ids a multiple of the step apart would otherwise share draws.
    state = _mixed(_mixed(keys.copy())[:, None] + counters)
    drawn = _WEIGHT_OF[state.astype("<u8", copy=False).view("<u2")]
    return np.concatenate([np.ones((len(keys), 1), np.uint8), drawn], axis=1)


def _mixed(state: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """SplitMix64's finaliser, in place."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        state ^= state >> np.uint64(shift)
        state *= np.uint64(factor)
    state ^= state >> np.uint64(31)
    return state


def replicate_sums(rows: pl.DataFrame, quantities: list[str]) -> pl.DataFrame:
    """Sums of integer columns per subject, plain and in every replicate.

    Args:
        rows: `id` (hex, the unit that is drawn), subject_kind, subject: String, and the quantities: integers, at most 1e11 in
            size; any order, several rows an id allowed.
        quantities: which columns to add up.

    Returns:
        SUMS, sorted by its keys: one row a subject and quantity, `sums` of 501 numbers.

    Raises:
        ValueError: a quantity is too large for exact sums.
    """
    if rows.is_empty():
        return SUMS.to_frame()
    ordered = rows.sort("id", "subject_kind", "subject")
    subjects = ordered.select("subject_kind", "subject").unique().sort("subject_kind", "subject").with_row_index("_subject")
    subject = ordered.join(subjects, on=["subject_kind", "subject"], how="left", maintain_order="left").get_column("_subject").to_numpy()
    values = ordered.select(pl.col(quantities).cast(pl.Float64)).to_numpy()
    if np.abs(values).max(initial=0.0) > LARGEST:
        raise ValueError(f"a quantity of {quantities} is above {LARGEST:.0e}: its sums would not be exact.")
    unit = ordered.get_column("id").rle_id().to_numpy()
    ids = ordered.get_column("id").unique(maintain_order=True)
    totals = np.zeros((len(subjects), len(quantities), COLUMNS), np.int64)
    edges = np.searchsorted(unit, np.arange(0, len(ids) + _BLOCK, _BLOCK))
    for block, (start, end) in enumerate(pairwise(edges.tolist())):
        drawn = weights(ids.slice(block * _BLOCK, _BLOCK)).astype(np.float64)
        here = subject[start:end]
        for one in np.unique(here).tolist():
            at = np.flatnonzero(here == one) + start
            totals[one] += (values[at].T @ drawn[unit[at] - block * _BLOCK]).astype(np.int64)
    named = subjects.drop("_subject").join(pl.DataFrame({"quantity": quantities}), how="cross", maintain_order="left_right")
    return named.with_columns(sums=pl.Series(totals.reshape(-1, COLUMNS), dtype=pl.Array(pl.Int64, COLUMNS))).sort(KEYS)


def add_sums(parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Add SUMS of several partitions; the running total is all that is held."""
    total = SUMS.to_frame()
    for part in parts:
        both = pl.concat([total, part])
        keys = both.select(KEYS).unique().sort(KEYS)
        place = both.select(KEYS).join(keys.with_row_index("_at"), on=KEYS, how="left", maintain_order="left").get_column("_at").to_numpy()
        sums = np.zeros((len(keys), COLUMNS), np.int64)
        np.add.at(sums, place, both.get_column("sums").to_numpy().reshape(-1, COLUMNS))
        total = keys.with_columns(sums=pl.Series(sums, dtype=pl.Array(pl.Int64, COLUMNS)))
    return total


def by_subject(sums: pl.DataFrame) -> dict[tuple[str, str], dict[str, Floats]]:
    """(subject_kind, subject) -> quantity -> float64 (501,), in the order of the names."""
    found: dict[tuple[str, str], dict[str, Floats]] = {}
    ordered = sums.sort(KEYS)
    for (kind, subject, quantity), row in zip(ordered.select(KEYS).iter_rows(), ordered.get_column("sums").to_numpy(), strict=True):
        found.setdefault((kind, subject), {})[quantity] = row.astype(np.float64)
    return found


def percentiles(values: Floats) -> tuple[float, float]:
    """The middle 95 % of the replicates (columns 1 and up) that have a value; nan where fewer than 9 in 10 have one."""
    replicates = values[1:]
    known = replicates[np.isfinite(replicates)]
    if len(known) < 0.9 * len(replicates):
        return math.nan, math.nan
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Quotient, nan where the denominator is 0."""
    undefined = np.full(np.broadcast(numerator, denominator).shape, math.nan)
    return np.asarray(np.divide(numerator, denominator, out=undefined, where=denominator != 0))
