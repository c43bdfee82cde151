"""Drawing without replacement: by a score with a temperature, in proportion to an advantage, spread over clusters, in shares of groups.

Every pair gets one key, and of each group the pairs with the highest keys stay. With standard Gumbel noise on log-chances that is a draw
without replacement in proportion to them (Gumbel top-k), and each pair's noise is its own, so that nothing else changes it.
"""

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.selection.noise import Doubles, gumbel, uniform


def standardise(scores: Doubles) -> Doubles:
    """Scores less their mean, over their population standard deviation; 0 where all are equal. nan stays nan.

    Args:
        scores: (N,), in an order that the rows alone decide: a float sum depends on it.
    """
    known = ~np.isnan(scores)
    if not known.any():
        return scores
    middle, spread = float(scores[known].mean()), float(scores[known].std())
    centred: Doubles = np.asarray(scores - middle, dtype=np.float64)
    return centred / spread if spread > 0 else np.where(known, 0.0, np.nan)


def chances(scores: Doubles, temperature: float) -> Doubles:
    """Chance of each row to be drawn first, float64 (N,): in proportion to exp(score / temperature) (QuRating, 2024).

    Args:
        scores: (N,), without nan.
        temperature: above 0; at 0 the highest scores share all of it.
    """
    if temperature == 0:
        highest = scores == scores.max()
        return np.asarray(highest / highest.sum(), dtype=np.float64)
    powers = np.exp((scores - scores.max()) / temperature)
    return np.asarray(powers / powers.sum(), dtype=np.float64)


def advantages(scores: Doubles, usual: Doubles) -> Doubles:
    """How far each score is above what is usual, float64 (N,): 0 where it is not (A-LoL, 2023). nan counts as not above."""
    above = scores - usual
    # Less than rounding makes of a mean is nothing.
    least = 1e-12 * np.maximum(np.abs(scores), np.abs(usual))
    return np.asarray(np.where(above > least, above, 0.0), dtype=np.float64)


def shares_of(above: Doubles) -> Doubles:
    """Chance of each row to be drawn first in proportion to its advantage; all 0 where none has one."""
    total = float(above.sum())
    return above / total if total > 0 else np.zeros_like(above)


def keys(
    ids: pl.Series,
    seed: int,
    *,
    scores: Doubles | None = None,
    temperature: float = 1.0,
    above: Doubles | None = None,
    crowd: Doubles | None = None,
    spread: float = 0.0,
) -> Doubles:
    """What rows are drawn by, float64 (N,), higher first; nan for rows that no draw reaches before all others.

    Args:
        ids: (N,) pair ids, sorted; each one's noise follows from it and the seed.
        seed: other seeds draw other rows.
        scores: (N,) what a temperature applies to, standardised first; nan: unknown.
        temperature: 0: no noise at all, the highest score first.
        above: (N,) advantages, 0 and up, in place of scores. Rows with 0 get nan.
        crowd: (N,) size of each row's cluster, 1 and up.
        spread: the log-chance of a row falls by this times log(crowd): at 1 every cluster is as likely as another.
    """
    key = np.zeros(len(ids))
    drawn = temperature > 0 or scores is None
    if above is not None:
        with np.errstate(divide="ignore"):
            key = np.where(above > 0, np.log(above), np.nan)
    elif scores is not None:
        key = standardise(scores) / (temperature if drawn else 1.0)
    if crowd is not None and spread:
        key = key - spread * np.log(crowd)
    return key + gumbel(ids, seed, "draw") if drawn else key


def best_first(ids: pl.Series, seed: int, key: Doubles) -> npt.NDArray[np.int64]:
    """Which row comes first, second and so on, int64 (N,): the highest key first, nan last; equal keys by a hash of id and seed.

    Args:
        ids: (N,) pair ids, sorted.
        seed: of the hash.
        key: (N,).
    """
    falling = np.where(np.isnan(key), np.inf, -key)
    order = np.argsort(falling)
    ranked = falling[order]
    if (ranked[1:] == ranked[:-1]).any():
        order = np.lexsort((uniform(ids, seed, "ties"), falling))
    return order.astype(np.int64)


def take_of_each(best: pl.DataFrame, quota: pl.DataFrame) -> pl.Series:
    """Which rows are among the first of their group.

    Args:
        best: `group`, best row first.
        quota: group, quota: how many stay of each; 0 of a group that it lacks.
    """
    asked = best.select("group").join(quota, on="group", how="left", maintain_order="left")
    nth = pl.int_range(pl.len()).over("group")
    return asked.select(nth < pl.col("quota").fill_null(0)).to_series()


def take_tokens(best: pl.DataFrame, budget: pl.DataFrame) -> pl.Series:
    """Which rows come before the first of their group that its token budget has no room for.

    Args:
        best: `group` and `tokens` (0 and up), best row first.
        budget: group, quota: tokens for each.
    """
    asked = best.select("group", "tokens").join(budget, on="group", how="left", maintain_order="left")
    return asked.select(pl.col("tokens").cum_sum().over("group") <= pl.col("quota").fill_null(0)).to_series()


def take_with_least(best: pl.DataFrame, least: dict[str, int], total: int) -> pl.Series:
    """Which rows stay of a total when some groups have at least so many of them, each group's best first.

    Args:
        best: `group`, best row first.
        least: the least number of rows of each group named; fewer where it has no more. Together at most `total`.
        total: how many rows in all.
    """
    sure = take_of_each(
        best, pl.DataFrame({"group": list(least), "quota": list(least.values())}, schema={"group": pl.String, "quota": pl.Int64})
    )
    others = (~sure).cum_sum()
    return sure | (~sure & (others <= max(0, total - int(sure.sum()))))
