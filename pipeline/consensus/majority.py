"""Vote shares under a Dirichlet prior: the consensus that needs no annotator model."""

import polars as pl


def majority(votes: pl.DataFrame, prior: float) -> pl.DataFrame:
    """The posterior mean of each pair's three outcomes.

    They have a symmetric Dirichlet prior of `prior` votes each (Laplace's rule at 1), so the mean of outcome x is
    (votes_x + prior) / (n + 3 prior).

    Args:
        votes: VOTES, in any order.
        prior: in votes; above 0.

    Returns:
        `labels.POSTERIORS`, one row a pair, sorted by pair_id.
    """
    counts = votes.group_by("pair_id").agg(
        low=(pl.col("vote") == -1).sum(), tie=(pl.col("vote") == 0).sum(), high=(pl.col("vote") == 1).sum(), n=pl.len()
    )
    total = pl.col("n") + 3 * prior
    return counts.select("pair_id", *((pl.col(x) + prior).truediv(total).alias(f"p_{x}") for x in ("low", "tie", "high"))).sort("pair_id")
