"""How often each model's answers win: plainly, by Borda and by Bradley-Terry, with intervals over prompts.

Plain shares of wins depend on whom a model was compared with. Borda's count (1781) gives each opponent the same weight: the mean share
of votes won against each. Bradley and Terry's model (1952) also allows for how strong the opponents were: a win rate is the chance to
beat another model drawn at random, over all of them.

Intervals are percentiles of 500 bootstraps over prompts. For Bradley-Terry a replicate is one Newton step from the fit to all
votes, with the curvature there (Hu & Kalbfleisch 2000, "The estimating function bootstrap"): refits would cost 500 times as much.
"""

from collections.abc import Iterable
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.special import expit

from pipeline.consensus.bradley_terry import BlockVotes, solve_blocks
from pipeline.consensus.slopes import RIDGE
from pipeline.statistics.agreement import share_statistic
from pipeline.statistics.bootstrap import COLUMNS, SUMS, add_sums, ratio, replicate_sums
from pipeline.statistics.table import STATISTIC, statistics_table

Floats = npt.NDArray[np.float64]
MOST_MODELS: Final = 300  # the fit's curvature has as many rows and columns; models with fewer votes are left out beyond
NAMES: Final = ("win_rate", "win_rate_borda", "win_rate_bradley_terry")


def summarise_models(votes: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """What one partition's votes say of models.

    Args:
        votes: `pipeline.consensus.votes.VOTES`, those that enter consensus.
        pairs: pair_id, prompt_id (hex), low_models, high_models: list of String. A pair counts where each side has one model, not the same.

    Returns:
        SUMS for each two models that met: `prompts`, `votes`, and `points` of the one whose name sorts first (2 a win, 1 a tie).
    """
    low, high = pl.col("low_models").list.first(), pl.col("high_models").list.first()
    single = (pl.col("low_models").list.len() == 1) & (pl.col("high_models").list.len() == 1) & (low != high)
    met = pairs.filter(single).select("pair_id", "prompt_id", low=low, high=high)
    if met.is_empty():
        return SUMS.to_frame()
    first, other = pl.min_horizontal("low", "high"), pl.max_horizontal("low", "high")
    # The length of the first name tells where it ends, whatever is in it.
    subject = pl.concat_str(first.str.len_chars().cast(pl.String), pl.lit(":"), first, other)
    points = 1 + pl.when(pl.col("low") == first).then(-pl.col("vote")).otherwise("vote").cast(pl.Int64)
    rows = votes.join(met, on="pair_id").select(id="prompt_id", subject=subject, points=points)
    rows = rows.group_by("id", "subject").agg(votes=pl.len().cast(pl.Int64), points=pl.col("points").sum())
    return replicate_sums(rows.with_columns(subject_kind=pl.lit("models"), prompts=pl.lit(1)), ["prompts", "votes", "points"])


def model_statistics(parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """How often each model wins.

    Args:
        parts: results of `summarise_models`, one a partition, in any order.

    Returns:
        STATISTIC, subject_kind `model`, shares of 0 to 1: `win_rate` (ties count half), `win_rate_borda` and `win_rate_bradley_terry`;
        n counts comparisons (a prompt, an opponent). None where no two models met. Below 30 comparisons, intervals are Wilson's.
    """
    sums = add_sums(parts)
    if sums.is_empty():
        return STATISTIC.to_frame()
    subjects = sums.filter(pl.col("quantity") == "votes").get_column("subject").to_list()
    met = [_names(subject) for subject in subjects]
    table = {
        name: sums.filter(pl.col("quantity") == name).get_column("sums").to_numpy().astype(np.float64)
        for name in ("prompts", "votes", "points")
    }
    prompts, votes, points = (table[name].reshape(-1, COLUMNS) for name in ("prompts", "votes", "points"))
    total: dict[str, float] = {}
    for (one, other), row in zip(met, votes, strict=True):
        for name in (one, other):
            total[name] = total.get(name, 0.0) + float(row[0])
    models = sorted(sorted(total, key=lambda name: (-total[name], name))[:MOST_MODELS])
    place = {name: at for at, name in enumerate(models)}
    known = [at for at, (one, other) in enumerate(met) if one in place and other in place]
    if not known:
        return STATISTIC.to_frame()
    first = np.array([place[met[at][0]] for at in known])
    second = np.array([place[met[at][1]] for at in known])
    prompts, votes, points = prompts[known], votes[known], points[known] / 2
    rates = _rates(first, second, votes, points, len(models))
    parts_of = connected_components(coo_array((np.ones(len(first)), (first, second)), shape=(len(models),) * 2), directed=False)[0]
    left_out = f"the {len(total) - len(models)} models with fewest votes are left out" if len(total) > len(models) else None
    apart = f"no chain of comparisons joins all models: they form {parts_of} parts" if parts_of > 1 else None
    n = np.bincount(first, prompts[:, 0], len(models)) + np.bincount(second, prompts[:, 0], len(models))
    rows = []
    for name, values in rates.items():
        note = "; ".join(filter(None, [left_out, apart if name == NAMES[2] else None])) or None
        for model, shares, count in zip(models, values, n.astype(np.int64).tolist(), strict=True):
            if count:  # else all its opponents are among those left out
                rows.append(share_statistic(name, ("model", model), shares, count, "share of votes", note=note))
    return statistics_table(rows)


def _names(subject: str) -> tuple[str, str]:
    length, _, names = subject.partition(":")
    return names[: int(length)], names[int(length) :]


def _rates(first: npt.NDArray[np.int64], second: npt.NDArray[np.int64], votes: Floats, points: Floats, models: int) -> dict[str, Floats]:
    """The three win rates: name -> float64 (models, 501).

    Args:
        first: int (E,), the one model of each two that met.
        second: int (E,), the other.
        votes: float64 (E, 501), plain and in each replicate.
        points: float64 (E, 501), of `votes` those that the first won, ties half.
        models: how many there are.
    """

    def summed(of_first: Floats, of_second: Floats) -> Floats:
        total = np.zeros((models, COLUMNS))
        np.add.at(total, first, of_first)
        np.add.at(total, second, of_second)
        return total

    share = ratio(points, votes)
    known = np.where(votes > 0, 1.0, 0.0)
    won = np.where(votes > 0, share, 0.0)
    plain = ratio(summed(points, votes - points), summed(votes, votes))
    borda = ratio(summed(won, known - won), summed(known, known))
    count = votes[:, 0]
    ones = np.ones(len(first))
    fitted = BlockVotes(np.zeros(len(first), np.int64), first, second, ones, 0 * ones, 1 - share[:, 0], count)
    scores, covariance, _, _ = solve_blocks(fitted, 1, models, RIDGE)
    pull = (votes - points) - votes * expit(scores[0, second] - scores[0, first])[:, None]  # towards the second
    gradient = summed(-pull, pull) - RIDGE * scores[0][:, None]
    strength = scores[0][:, None] + np.stack([(covariance[0] * column).sum(axis=1) for column in gradient.T], axis=1)
    strength[:, 0] = scores[0]
    beaten = np.stack([(expit(one - strength).sum(axis=0) - 0.5) / max(models - 1, 1) for one in strength])
    return dict(zip(NAMES, (plain, borda, beaten), strict=True))
