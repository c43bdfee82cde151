"""How far the votes of a pair agree."""

import polars as pl

_VERDICTS = ("votes_chosen", "votes_rejected", "votes_tie")


def add_votes(pairs: pl.DataFrame) -> pl.DataFrame:
    """Add `agreement` (share of the most frequent verdict), `vote_entropy` (bits, 0 to 1.585) and `conflict` (votes for both sides)."""
    votes = pl.sum_horizontal(_VERDICTS)
    entropy = pl.sum_horizontal(_entropy_term(pl.col(verdict) / votes) for verdict in _VERDICTS)
    return pairs.with_columns(
        agreement=pl.max_horizontal(_VERDICTS) / votes,
        vote_entropy=entropy,
        conflict=(pl.col("votes_chosen") > 0) & (pl.col("votes_rejected") > 0),
    )


def _entropy_term(share: pl.Expr) -> pl.Expr:
    inverse = 1.0 / share  # p log2(1/p): unanimous votes give 0.0, never -0.0
    return pl.when(share > 0).then(share * inverse.log(2.0)).otherwise(0.0)
