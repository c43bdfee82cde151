"""Hits that are stored: which texts are new, what is kept of a search, and what a run reads back.

Each text that was ever searched for has one row: its hits with texts that were there before it. Of two texts that came together,
the lesser holds the hit. So a search covers new x old and new x new only; a lost row makes its text new again, and
the search for it finds what the row held.
"""

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from pipeline.stage import bucket_of

_FIELDS: list["pa.Field[pa.DataType]"] = [
    pa.field("bucket", pa.uint8(), nullable=False),  # first byte of the key
    pa.field("key", pa.string(), nullable=False),  # text id
    pa.field("others", pa.list_(pa.string()), nullable=False),  # text ids, ascending
    pa.field("cosines", pa.list_(pa.float64()), nullable=False),  # of `others`, at the floor or above
]
HITS = pa.schema(_FIELDS)

Found = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]  # as pipeline.similarity.Hits: left, right, cosine


def new_members(wanted: pl.Series, known: pl.Series) -> pl.Series:
    """The texts of a run that no search has covered yet, distinct and sorted.

    Args:
        wanted: text ids of the run.
        known: text ids that have a row.
    """
    distinct = wanted.unique().sort()
    return distinct.filter(~distinct.is_in(known.implode()))


def rows_of(new: pl.Series, among: Found, across: Found, old: pl.Series) -> pa.Table:
    """One row for each new text, with or without hits.

    Args:
        new: text ids, distinct, in the order of the vectors that were searched with.
        among: the self-join of the new texts: indices into `new`, twice, and cosines.
        across: the join of new with old texts: indices into `new` and `old`, and cosines.
        old: text ids of **all** texts that have a row: one left out here would never be compared with the new ones.

    Returns:
        Schema `HITS`, sorted by bucket and key.
    """
    inner = pl.DataFrame({"one": new[among[0]], "other": new[among[1]], "cosine": among[2]})
    hits = pl.concat(
        [
            inner.select(key=pl.min_horizontal("one", "other"), other=pl.max_horizontal("one", "other"), cosine="cosine"),
            pl.DataFrame({"key": new[across[0]], "other": old[across[1]], "cosine": across[2]}),
        ]
    )
    grouped = hits.sort("key", "other").group_by("key", maintain_order=True).agg(others="other", cosines="cosine")
    rows = new.to_frame("key").join(grouped, on="key", how="left")
    nothing = {"others": pl.lit([], pl.List(pl.String)), "cosines": pl.lit([], pl.List(pl.Float64))}
    filled = rows.with_columns(bucket_of("key").alias("bucket"), *(pl.col(name).fill_null(empty) for name, empty in nothing.items()))
    return filled.select(HITS.names).sort("bucket", "key").to_arrow().cast(HITS)


def edges(rows: pl.DataFrame, wanted: pl.Series, min_cosine: float) -> pl.DataFrame:
    """The hits between texts of a run.

    Args:
        rows: schema `HITS`, every row there is.
        wanted: text ids of the run; hits with others are left out.
        min_cosine: at least the floor that the rows were made with.

    Returns:
        left, right (left < right), cosine; distinct, sorted.
    """
    run = wanted.unique().implode()
    mine = rows.filter(pl.col("key").is_in(run) & (pl.col("others").list.len() > 0)).select("key", "others", "cosines")
    hits = mine.explode("others", "cosines").filter((pl.col("cosines") >= min_cosine) & pl.col("others").is_in(run))
    ends = hits.select(left=pl.min_horizontal("key", "others"), right=pl.max_horizontal("key", "others"), cosine="cosines")
    return ends.unique(["left", "right"], keep="any").sort("left", "right")
