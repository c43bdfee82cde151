"""Does a scorer put the right answer on top? What reward-model benchmarks measure, for prompts with one right answer among several."""

import numpy as np
import polars as pl

from pipeline.statistics.bootstrap import Floats
from pipeline.statistics.table import Statistic, share, statistics_table, unknown


def best_of(scored: pl.DataFrame) -> pl.DataFrame:
    """Where the right answer of each prompt stands by its score.

    Args:
        scored: item (the prompt), score (Float64; null or not finite: none), right (Boolean): one row an answer, in any order. Prompts that
            lack a score, have not exactly one right answer, or no wrong one, are left out.

    Returns:
        item; answers; credit: RewardBench 2 (2025), 1 / how many share the highest score if the right one is among them, else 0; on_top and
        reciprocal_rank: RewardMATH (2024), ties count against the right one; all 0 to 1. Sorted by item.
    """
    score = pl.when(pl.col("score").is_finite()).then("score")
    mine = pl.col("score").filter("right").first()
    whole = pl.col("score").is_not_null().all() & (pl.col("right").sum() == 1) & (pl.len() > 1)
    told = (
        scored.with_columns(score)
        .group_by("item")
        .agg(
            whole=whole,
            answers=pl.len().cast(pl.Int64),
            above=(pl.col("score") > mine).sum(),
            level=((pl.col("score") == mine) & ~pl.col("right")).sum(),
        )
        .filter("whole")
    )
    rank = 1 + pl.col("above") + pl.col("level")
    return told.select(
        "item",
        "answers",
        credit=pl.when(pl.col("above") == 0).then(1 / (1 + pl.col("level"))).otherwise(0.0),
        on_top=(rank == 1),
        reciprocal_rank=1 / rank,
    ).sort("item")


def best_of_statistics(found: pl.DataFrame, scorer: str) -> pl.DataFrame:
    """The scorer's means over the prompts.

    Args:
        found: of `best_of`.
        scorer: its name.

    Returns:
        STATISTIC of subject_kind `reward_model`: `best_of_credit`, `best_of_accuracy` and `best_of_reciprocal_rank`; n counts prompts. The
        interval of the accuracy is Wilson's, those of the means are 1.96 standard errors, cut at 0 and 1. Chance is 1 / answers for the
        first two; of ten answers it is 0.293 for the third.
    """
    subject, n = ("reward_model", scorer), found.height
    names = ("best_of_credit", "best_of_accuracy", "best_of_reciprocal_rank")
    if not n:
        return statistics_table(
            [unknown(name, subject, 0, "share", "no prompt has one right answer and a score of each") for name in names]
        )
    hits = int(found["on_top"].sum())
    accuracy = share(names[1], subject, hits, n)
    return statistics_table([_mean(names[0], subject, found["credit"]), accuracy, _mean(names[2], subject, found["reciprocal_rank"])])


def _mean(name: str, subject: tuple[str, str], values: pl.Series) -> Statistic:
    numbers: Floats = np.sort(values.to_numpy())  # a sum must not depend on the order of rows
    n, value = len(numbers), float(numbers.mean())
    half = 1.96 * float(numbers.std(ddof=1)) / n**0.5 if n > 1 else 1.0  # one prompt says next to nothing
    return Statistic(name, *subject, value, max(0.0, value - half), min(1.0, value + half), n, "share")
