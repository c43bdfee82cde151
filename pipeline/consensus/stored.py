"""Labels that a published version decided: where nobody voted since, its posteriors stay as they are.

A fit over a version's votes alone would give others: the votes on pairs that it dropped are gone, and those told of annotators too.
"""

from typing import Final

import polars as pl

from pipeline.consensus.labels import POSTERIORS, entropy

# What a published version says of its pairs.
STORED: Final = pl.Schema({"pair_id": pl.String, "chosen_id": pl.String, "n_votes": pl.Int64, "p_chosen": pl.Float64, "p_tie": pl.Float64})


def still_valid(stored: pl.DataFrame, tally: pl.DataFrame) -> pl.DataFrame:
    """The stored posteriors of pairs that count as many votes as they did.

    A version's published pairs come with all their votes, so equal numbers are equal votes. Two versions that say different things of
    a pair say nothing.

    Args:
        stored: STORED, of one or several versions, in any order, rows more than once.
        tally: pair_id, low_id, n_votes; one row a pair.

    Returns:
        pair_id, p_low, p_tie, p_high, p_chosen; sorted by pair_id.
    """
    distinct = stored.unique().filter(pl.len().over("pair_id") == 1)
    known = distinct.join(tally.select("pair_id", "low_id", "n_votes"), on=["pair_id", "n_votes"]).sort("pair_id")
    low = pl.when(pl.col("chosen_id") == pl.col("low_id")).then("p_chosen").otherwise(1 - pl.col("p_chosen"))
    decided = 1 - pl.col("p_tie")
    return known.select("pair_id", "p_tie", "p_chosen", p_low=low * decided, p_high=(1 - low) * decided)


def keep_posteriors(said: pl.DataFrame, valid: pl.DataFrame) -> pl.DataFrame:
    """Posteriors as they were, in place of those of a new fit.

    Args:
        said: pair_id, p_low, p_tie, p_high, posterior_entropy (bits), and other columns; any order, which stays.
        valid: of `still_valid`.
    """
    kept = valid.select(*POSTERIORS, posterior_entropy=entropy())
    return said.update(kept, on="pair_id", how="left", maintain_order="left")


def keep_probabilities(pairs: pl.DataFrame, valid: pl.DataFrame) -> pl.DataFrame:
    """`p_chosen` and `p_tie` to the last bit, which the way by `p_low` and `p_high` loses.

    Args:
        pairs: of `labels.choose`, by `keep_posteriors`.
        valid: of `still_valid`.
    """
    return pairs.update(valid.select("pair_id", "p_chosen", "p_tie"), on="pair_id", how="left", maintain_order="left")
