"""Does a critique help? What became of answers after they were corrected by it.

RealCritic (2025) scores a critique by the correction it leads to, not by what others think of it. Confidence vs Critique (2024) parts
correction into keeping what was right and repairing what was wrong: a critic that only praises is perfect at the first and useless at the
second, and accuracy alone does not tell the two apart.
"""

from typing import Final

import polars as pl

from pipeline.statistics.intervals import wilson

# One row = one answer at one time.
OUTCOMES: Final = pl.Schema(
    {
        "critic": pl.String,
        "item": pl.String,
        "round": pl.Int64,  # 0: before any critique; n: after the n-th
        "right": pl.Boolean,  # null: could not be told
    }
)
_COUNTS: Final = ("kept_right", "broken", "repaired", "left_wrong")
_Z: Final = 1.959963984540054  # the normal distribution's 97.5 % point


def closed_loop(outcomes: pl.DataFrame) -> pl.DataFrame:
    """How well each critic keeps right answers and repairs wrong ones, round by round.

    Args:
        outcomes: OUTCOMES, in any order; one row for each critic, item and round. For what a critique adds to trying again, name the
            corrections that were made without one as a critic of their own.

    Returns:
        One row for each critic and round from 1 on, sorted by them. kept_right, broken, repaired, left_wrong: items by what the round made
        of them; unknown: items that lack an outcome before or after it, which count nowhere else. Shares of 0 to 1 with 95 % intervals in
        `_low` and `_high` (Wilson), null where there is nothing to take a share of:

        - keeping: P(right after | right before), CL of Confidence vs Critique.
        - repairing: P(right after | wrong before), its CS.
        - accuracy: P(right after), the score of RealCritic.
        - gain: accuracy less that before the round, -1 to 1; the interval is for matched shares (Agresti & Min 2005).
    """
    at = outcomes.select("critic", "item", "round", "right")
    before = at.select("critic", "item", pl.col("round") + 1, before="right")
    both = at.rename({"right": "after"}).filter(pl.col("round") > 0).join(before, on=["critic", "item", "round"], how="full", coalesce=True)
    # The last round's answers are before nothing.
    last = at.group_by("critic").agg(_last=pl.col("round").max())
    both = both.join(last, on="critic").filter(pl.col("round") <= pl.col("_last"))
    was, now = pl.col("before"), pl.col("after")
    cells = {"kept_right": was & now, "broken": was & ~now, "repaired": ~was & now, "left_wrong": ~was & ~now}
    counted = both.group_by("critic", "round").agg(
        *(cell.sum().cast(pl.Int64).alias(name) for name, cell in cells.items()),
        unknown=(was.is_null() | now.is_null()).sum().cast(pl.Int64),
    )
    told = counted.sort("critic", "round")
    shares = {
        "keeping": (pl.col("kept_right"), pl.sum_horizontal("kept_right", "broken")),
        "repairing": (pl.col("repaired"), pl.sum_horizontal("repaired", "left_wrong")),
        "accuracy": (pl.sum_horizontal("kept_right", "repaired"), pl.sum_horizontal(_COUNTS)),
    }
    for name, (hits, of) in shares.items():
        some = told.select(hits=hits, of=of)
        low, high = wilson(some["hits"].to_numpy(), some["of"].to_numpy())
        told = told.with_columns(
            pl.when(of > 0).then(hits / of).alias(name),
            pl.when(of > 0).then(pl.Series(low, dtype=pl.Float64)).alias(f"{name}_low"),
            pl.when(of > 0).then(pl.Series(high, dtype=pl.Float64)).alias(f"{name}_high"),
        )
    return told.with_columns(_gain())


def _gain() -> list[pl.Expr]:
    n = pl.sum_horizontal(_COUNTS).cast(pl.Float64)
    more = pl.col("repaired") - pl.col("broken")
    # Half an item is added to each of the four cells: without it the interval of no change at all has no width.
    moved = pl.sum_horizontal("repaired", "broken") + 1.0
    centre = more / (n + 2)
    half = _Z * ((moved - more**2 / (n + 2)) / (n + 2) ** 2).sqrt()
    told = {"gain": more / n, "gain_low": (centre - half).clip(-1, 1), "gain_high": (centre + half).clip(-1, 1)}
    return [pl.when(n > 0).then(value).alias(name) for name, value in told.items()]
