"""Weights by repetition, for trainers that drop a column of weights."""

import numpy as np
import polars as pl

from pipeline.selection.noise import uniform

_SCALE = 1 << 32  # weights as whole numbers of this fraction, so that their sums are exact


def repetitions(weights: pl.Series, ids: pl.Series, seed: int = 0) -> pl.Series:
    """How many times each row is written so that rows count by their weights.

    A row is written as many times as its weight rounded down or up, and the numbers add up to the sum of the weights, rounded. Which
    rows are rounded up is a systematic draw (Madow, 1949) over the rows in an order of hashes: each one with a chance of the fraction it
    lacks. Giving what is left to the largest fractions instead would never write a row of weight 0.4 beside enough of weight 0.6.

    Args:
        weights: (N,), 0 and up; null counts as 0. Up to 2**31 together.
        ids: (N,) pair ids, one each; an order of rows changes nothing.
        seed: other seeds round other rows up.

    Returns:
        Int64 (N,); a whole weight is met exactly.
    """
    number = weights.cast(pl.Float64).fill_null(0.0).fill_nan(0.0).to_numpy()
    if number.size and (number.min() < 0 or not np.isfinite(number).all()):
        raise ValueError(f"weights must be 0 and up; found {number.min()}")
    fixed = np.round(number * _SCALE).astype(np.int64)
    whole, fraction = fixed // _SCALE, fixed % _SCALE
    order = np.lexsort((ids.to_numpy(), uniform(ids, seed, "repeat")))
    # Half a step of offset rounds the total; the start within the order is random through the order itself.
    running = np.cumsum(fraction[order]) + _SCALE // 2
    up = np.empty(number.size, dtype=np.int64)
    up[order] = np.diff(running // _SCALE, prepend=(_SCALE // 2) // _SCALE)
    return pl.Series("repetitions", whole + up, dtype=pl.Int64)
