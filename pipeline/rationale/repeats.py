"""Rationales that say of one prompt what others say of another."""

import polars as pl


def count_repeats(said: pl.DataFrame, edges: pl.DataFrame) -> pl.DataFrame:
    """Count, for each rationale, the other prompts that have one like it.

    Args:
        said: rationale_id, prompt_id, text_id, over the whole data set.
        edges: left, right: text ids of texts that are near copies, each two once.

    Returns:
        rationale_id, near_copies (Int64, 1 and up), sorted; rationales without a copy are not there.
    """
    where = said.select("text_id", "prompt_id").unique()
    both = pl.concat([edges.select("left", "right"), edges.select(left="right", right="left")])
    own = where.select(left="text_id", right="text_id").unique()
    others = where.select(right="text_id", other="prompt_id")
    like = pl.concat([both, own]).join(others, on="right").select("other", text_id="left").unique()
    counted = said.join(like, on="text_id").filter(pl.col("other") != pl.col("prompt_id"))
    return counted.group_by("rationale_id").agg(near_copies=pl.col("other").n_unique().cast(pl.Int64)).sort("rationale_id")
