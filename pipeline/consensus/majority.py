"""Vote shares under a Dirichlet prior: the consensus that needs no annotator model."""

import polars as pl

from pipeline.config import ConsensusConfig

_SIDED = ("{}", "{}_id", "{}_text", "{}_models", "votes_{}", "strength_{}")  # column names that exist once for each side


def majority(tally: pl.DataFrame, config: ConsensusConfig) -> pl.DataFrame:
    """Choose a side for each pair from its votes alone.

    The three outcomes have a symmetric Dirichlet prior of `config.prior` votes each (Laplace's rule at 1), so the posterior
    mean of outcome x is (votes_x + prior) / (n + 3 prior). The likelier side is chosen; equal sides choose the smaller
    response id. Comparisons are made on the integer counts, which order as the posteriors do, without rounding.

    Args:
        tally: one row a pair, its sides named `low` and `high`: `low`, `low_id`, `low_text`, `low_models`,
            `votes_low`, `strength_low` (sum over the side's votes, each 0 to 1) and the same for `high`, with `votes_tie`.
        config: the prior, in votes.

    Returns:
        The rows in the same order, sides renamed `chosen` and `rejected`, with `p_chosen` = P(chosen is preferred | not a
        tie), 0.5 to 1; `p_tie`, 0 to 1; `tie`; `margin` (float32, 0 to 1) and `weight` (float32, 1). The sides may be swapped
        without effect.
    """
    low, high, ties = pl.col("votes_low"), pl.col("votes_high"), pl.col("votes_tie")
    low_wins = (low > high) | ((low == high) & (pl.col("low_id") <= pl.col("high_id")))
    sides = []
    for name in _SIDED:
        first, second = pl.col(name.format("low")), pl.col(name.format("high"))
        sides += [
            pl.when(low_wins).then(first).otherwise(second).alias(name.format("chosen")),
            pl.when(low_wins).then(second).otherwise(first).alias(name.format("rejected")),
        ]
    prior = config.prior
    votes = low + high + ties
    winner = pl.max_horizontal(low, high)
    margin = (pl.col("strength_chosen") - pl.col("strength_rejected")) / pl.col("n_votes")
    return (
        tally.with_columns(
            *sides,
            p_chosen=(winner + prior) / (low + high + 2 * prior),
            p_tie=(ties + prior) / (votes + 3 * prior),
            tie=(low == high) | (ties > winner),
        )
        .with_columns(margin=margin.clip(0.0, 1.0).cast(pl.Float32), weight=pl.lit(1.0, pl.Float32))
        .drop([name.format(side) for name in _SIDED for side in ("low", "high")], "strength_chosen", "strength_rejected")
    )
