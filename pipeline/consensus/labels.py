"""What a vote model says of `low` and `high` -> `chosen`, `rejected`, `p_chosen`, `p_tie`."""

import math

import polars as pl

POSTERIORS = pl.Schema({"pair_id": pl.String, "p_low": pl.Float64, "p_tie": pl.Float64, "p_high": pl.Float64})
_SIDED = ("{}", "{}_id", "{}_text", "{}_models", "votes_{}")  # column names that exist once for each side
NOTHING_KNOWN = math.log2(3)  # bits: the entropy of three outcomes that are as likely
_EQUAL = 1e-12  # sums of equal terms in another order


def entropy() -> pl.Expr:
    """Bits, 0 to 1.585, of p_low, p_tie, p_high."""
    outcomes = (pl.col(name) for name in POSTERIORS.names()[1:])
    return pl.sum_horizontal(pl.when(p > 0).then(-p * p.log(2.0)).otherwise(0.0) for p in outcomes).clip(0.0, None)


def choose(tally: pl.DataFrame, posteriors: pl.DataFrame) -> pl.DataFrame:
    """Choose each pair's likelier side.

    Args:
        tally: one row a pair, its sides named `low` and `high`: `low`, `low_id`, `low_text`, `low_models`, `votes_low`,
            and the same for `high`, with `n_votes` and `votes_tie`.
        posteriors: POSTERIORS: P(low is better), P(tie), P(high is better), which sum to 1; and `strength` (-1 to 1), the mean strength
            of the votes that count, those for low negative. A pair without one had no vote that counts: all three are as likely.

    Returns:
        The rows in the same order, sides renamed `chosen` and `rejected` (equal sides choose the smaller response id), with
        `p_chosen` = P(chosen is preferred | not a tie), 0.5 to 1; `p_tie`, 0 to 1; `tie`: p_tie is the largest of the three, or
        both sides are equally likely; `margin` (float32, 0 to 1). The sides may be swapped without effect.
    """
    known = tally.join(posteriors, on="pair_id", how="left", maintain_order="left").with_columns(
        pl.col("p_low", "p_tie", "p_high").fill_null(1 / 3)
    )
    low, high = pl.col("p_low"), pl.col("p_high")
    equal = (low - high).abs() <= _EQUAL
    low_wins = pl.when(equal).then(pl.col("low_id") <= pl.col("high_id")).otherwise(low > high)
    sides = []
    for name in _SIDED:
        first, second = pl.col(name.format("low")), pl.col(name.format("high"))
        sides += [
            pl.when(low_wins).then(first).otherwise(second).alias(name.format("chosen")),
            pl.when(low_wins).then(second).otherwise(first).alias(name.format("rejected")),
        ]
    best, worst = pl.max_horizontal(low, high), pl.min_horizontal(low, high)
    margin = pl.when(low_wins).then(-pl.col("strength")).otherwise("strength").fill_null(0.0) + 0.0
    return known.with_columns(
        *sides,
        p_chosen=pl.when(equal).then(0.5).otherwise(best / (best + worst)),
        tie=equal | (pl.col("p_tie") > best + _EQUAL),
        margin=margin.clip(0.0, 1.0).cast(pl.Float32),
    ).drop([name.format(side) for name in _SIDED for side in ("low", "high")], "strength", "p_low", "p_high")
