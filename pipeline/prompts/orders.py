"""Which answer is shown first: by content, about half of the time either one, whichever side a source showed first."""

import polars as pl

from pipeline.identity import content_hash


def order_first(pair_ids: pl.Series, salt: str) -> pl.Series:
    """Whether the answer with the lower response id is Response A.

    Args:
        pair_ids: of N pairs; they do not depend on which side is which.
        salt: what is asked, e.g. the template's name: questions of other kinds are ordered on their own.

    Returns:
        Boolean, N.
    """
    return content_hash(pair_ids, f"order {salt}").str.slice(0, 1).is_in(list("01234567")).alias("low_first")


def chosen_first(pairs: pl.DataFrame, salt: str) -> pl.Series:
    """Whether the chosen answer is Response A: the same answer is, whichever of the two is chosen.

    Args:
        pairs: pair_id, chosen_id, rejected_id.
        salt: as for `order_first`.

    Returns:
        Boolean, one a row.
    """
    low = order_first(pairs["pair_id"], salt)
    return pl.select(pl.lit(low) == pl.lit(pairs["chosen_id"] <= pairs["rejected_id"])).to_series().alias("chosen_first")
