"""How hard a pair is for the model that training starts from.

Preference Learning Algorithms Do Not Learn Preference Rankings (2024). c = logp(rejected) - logp(chosen) under that model, in nats,
summed over each answer's tokens. It grows with the difference of the answers' lengths, so compare pairs of like gaps only.
"""

import math
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.statistics.table import share, statistics_table

Floats = npt.NDArray[np.float64]

DIFFICULTY: Final = ("difficulty", "reference_ranks_right")
# Of the data set or a source: pairs with a difficulty, those the model ranks the other way round, those it cannot tell apart.
SUMS: Final = pl.Schema(
    {
        "subject_kind": pl.String,
        "subject": pl.String,  # null: the data set
        "pairs": pl.Int64,
        "misranked": pl.Int64,
        "equal": pl.Int64,
        "misranked_per_token": pl.Int64,
        "equal_per_token": pl.Int64,
    }
)
_STATISTICS: Final = {
    "reference_misranks": ("misranked", "equal"),
    "reference_misranks_per_token": ("misranked_per_token", "equal_per_token"),
}


def add_difficulty(pairs: pl.DataFrame) -> pl.DataFrame:
    """Add `difficulty` (c, nats, any) and `reference_ranks_right` (c < 0).

    Args:
        pairs: `chosen_logp` and `rejected_logp`: Float64, nats, summed over the answer's tokens; null where unknown.

    Returns:
        The pairs with both columns; null where either is unknown. Where c is exactly 0, as with identical answers, the model ranks
        nothing, neither right nor wrong: `reference_ranks_right` is null.
    """
    gap = pl.col("rejected_logp") - pl.col("chosen_logp")
    return pairs.with_columns(difficulty=gap, reference_ranks_right=pl.when(gap != 0).then(gap < 0))


def loss_bound(difficulty: npt.ArrayLike, beta: float) -> Floats:
    """The DPO loss of a pair at or below which the trained policy ranks it right, and only there: nls(beta c).

    Args:
        difficulty: c, nats, of any shape.
        beta: temperature of DPO, above 0.

    Returns:
        float64 of that shape, nats, above 0; 0 where it is too small for a number.

    Raises:
        ValueError: beta is not above 0.
    """
    _require_beta(beta)
    return np.asarray(np.logaddexp(0.0, -beta * np.asarray(difficulty, np.float64)), np.float64)


def reachable_below(alpha: float, beta: float) -> float:
    """Difficulty below which the ideal policy ranks a pair as its raters do: log(alpha / (1 - alpha)) / beta, nats.

    Args:
        alpha: share of all raters who prefer the chosen answer, above 0 and below 1.
        beta: temperature of DPO, above 0.

    Raises:
        ValueError: beta is not above 0, or alpha is outside its range: raters who all agree have no finite optimum.
    """
    _require_beta(beta)
    if not 0 < alpha < 1:
        raise ValueError(
            f"alpha is {alpha}; expected a share above 0 and below 1. Where all raters agree the optimum is infinite: use 1 - epsilon, "
            "such as the share after one more vote for each side."
        )
    return (math.log(alpha) - math.log1p(-alpha)) / beta


def ideal_log_ratio(difficulty: npt.ArrayLike, alpha: float, beta: float) -> Floats:
    """log(pi*(chosen) / pi*(rejected)) of the ideal policy, -c + log(alpha / (1 - alpha)) / beta; it ranks right where this is above 0.

    Args:
        difficulty: c, nats, of any shape.
        alpha: as for `reachable_below`.
        beta: as for `reachable_below`.

    Returns:
        float64 of that shape, nats.

    Raises:
        ValueError: as `reachable_below`.
    """
    return np.asarray(reachable_below(alpha, beta) - np.asarray(difficulty, np.float64), np.float64)


def summarise_difficulty(pairs: pl.DataFrame) -> pl.DataFrame:
    """What a partition's pairs add to the shares of `reduce_difficulty`.

    Args:
        pairs: sources (List(String)), and difficulty, chosen_logp_mean, rejected_logp_mean (Float64, null where unknown). Leave out
            pairs that another pair absorbed.

    Returns:
        SUMS for the partition and each source in it, sorted. A pair of several sources counts in each.
    """
    gap, mean_gap = pl.col("difficulty"), pl.col("rejected_logp_mean") - pl.col("chosen_logp_mean")
    told = pairs.filter(gap.is_not_null()).select(
        "sources",
        pairs=pl.lit(1),
        misranked=gap > 0,
        equal=gap == 0,
        misranked_per_token=mean_gap > 0,
        equal_per_token=mean_gap == 0,
    )
    whole = told.with_columns(subject_kind=pl.lit("dataset"), subject=pl.lit(None, pl.String))
    sources = told.explode("sources", empty_as_null=False).with_columns(subject_kind=pl.lit("source"), subject="sources")
    rows = pl.concat([one.select(pl.col(name).cast(kind) for name, kind in SUMS.items()) for one in (whole, sources)])
    return _added(rows)


def reduce_difficulty(parts: list[pl.DataFrame], dataset: str) -> pl.DataFrame:
    """How often the model that training starts from prefers the rejected answer.

    Args:
        parts: what `summarise_difficulty` gave for each partition.
        dataset: its name.

    Returns:
        STATISTIC, of the data set and of each source, with Wilson intervals: `reference_misranks`, the share of pairs with c > 0;
        and `reference_misranks_per_token`, the same by the mean log-probability of a token, which length does not push as hard.
        Pairs the model cannot tell apart count among all; the note says how many. Nothing where no pair has a difficulty.
    """
    rows = []
    for sums in _added(pl.concat([SUMS.to_frame(), *parts])).to_dicts():
        subject = (str(sums["subject_kind"]), dataset if sums["subject"] is None else str(sums["subject"]))
        for name, (misranked, equal) in _STATISTICS.items():
            note = f"{sums[equal]} pairs have equal log-probabilities" if sums[equal] else None
            rows.append(share(name, subject, sums[misranked], sums["pairs"], note))
    return statistics_table(rows)


def _added(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.group_by("subject_kind", "subject").agg(pl.all().sum()).sort("subject_kind", "subject").match_to_schema(SUMS)


def _require_beta(beta: float) -> None:
    if not beta > 0:
        raise ValueError(f"beta is {beta}; expected a number above 0")
