"""What an encoder gives, and how the store keeps it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa


@dataclass(frozen=True)
class Encoded:
    """What an encoder says about N texts.

    Attributes:
        vectors: float16 (N, D), rows of unit length; `similarity.renormalise` gives the vectors they stand for.
        tokens: int32 (N,), tokens of the whole text before any cut, without special tokens.
        norms: float32 (N,), above 0: the length that the mean token state had before it was scaled to the vector; NaN (for all
            texts) where a vector is not the mean of token states.
    """

    vectors: npt.NDArray[np.float16]
    tokens: npt.NDArray[np.int32]
    norms: npt.NDArray[np.float32]


class Encoder(Protocol):
    """Texts to unit vectors; a text's result depends on that text alone.

    Attributes:
        fingerprint: 32 hex digits; equal fingerprints give equal vectors on one type of machine.
        dimensions: D.
        texts_at_once: as many as a call needs to run at full speed; more gain nothing.
    """

    fingerprint: str
    dimensions: int
    texts_at_once: int

    def encode(self, texts: Sequence[str], on_progress: Callable[[int], None] | None = None) -> Encoded:
        """Encode texts, in their order; `on_progress` gets the number of texts done since its last call."""
        ...

    def token_table(self) -> npt.NDArray[np.float32] | None:
        """The static embeddings that tokens enter the model with, (V, D'), one row a token; None where it has none to show."""
        ...

    def token_ids(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Rows of `token_table`: the tokens of N texts end to end, uncut and without special ones, and their N + 1 offsets."""
        ...


def embedding_schema(dimensions: int) -> pa.Schema:
    """The store's columns for embeddings: one row = one text in one bucket."""
    fields: list[Any] = [
        pa.field("bucket", pa.uint8(), nullable=False),
        pa.field("key", pa.string(), nullable=False),  # text_id
        pa.field("tokens", pa.int32(), nullable=False, metadata={"unit": "tokens, uncut, without special tokens"}),
        pa.field("norm", pa.float32(), metadata={"unit": "length of the mean token state", "range": "above 0; null: no mean of states"}),
        pa.field("vector", pa.list_(pa.float16(), dimensions), nullable=False),
    ]
    return pa.schema(fields)


def vectors_of(table: pa.Table) -> npt.NDArray[np.float16]:
    """The `vector` column of a table with `embedding_schema`, as float16 (N, D)."""
    column: Any = table["vector"].combine_chunks()
    dimensions = table.schema.field("vector").type.list_size
    vectors: npt.NDArray[np.float16] = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, dimensions)
    return vectors


def missing_texts(wanted: pl.DataFrame, have: pl.DataFrame | pa.Table) -> pl.DataFrame:
    """The texts that the store does not have yet.

    Args:
        wanted: text_id, bucket, text; a text may come several times.
        have: bucket, key, as `Store.keys` gives them.

    Returns:
        text_id, bucket (uint8), text; one row for each bucket and text_id, sorted by them.
    """
    stored = pl.from_arrow(have) if isinstance(have, pa.Table) else have
    assert isinstance(stored, pl.DataFrame)
    return (
        wanted.select("text_id", pl.col("bucket").cast(pl.UInt8), "text")
        .unique(["bucket", "text_id"], keep="any")  # equal ids have equal texts
        .join(
            stored.select(pl.col("bucket").cast(pl.UInt8), pl.col("key").cast(pl.String).alias("text_id")),
            on=["bucket", "text_id"],
            how="anti",
        )
        .sort("bucket", "text_id")
    )


def encode_table(texts: pl.DataFrame, encoder: Encoder, on_progress: Callable[[int], None] | None = None) -> pa.Table:
    """Encode texts into the store's form; a text that is in several buckets is encoded once.

    Args:
        texts: bucket, text_id, text; one row for each bucket and text_id.
        encoder: gives the vectors.
        on_progress: gets the number of distinct texts done since its last call.

    Returns:
        `embedding_schema(encoder.dimensions)`, sorted by bucket and key.
    """
    distinct = texts.select("text_id", "text").unique("text_id", keep="any").sort("text_id")
    encoded = encoder.encode(distinct["text"].to_list(), on_progress)
    placed = texts.select(pl.col("bucket").cast(pl.UInt8), "text_id").sort("bucket", "text_id")
    numbered = distinct.select("text_id").with_row_index("row")
    rows = placed.join(numbered, on="text_id", how="left", maintain_order="left", validate="m:1")["row"].to_numpy()
    flat = pa.array(np.ascontiguousarray(encoded.vectors[rows]).ravel(), pa.float16())
    return pa.table(
        [
            placed["bucket"].to_arrow(),
            placed["text_id"].to_arrow().cast(pa.string()),
            pa.array(encoded.tokens[rows], pa.int32()),
            pa.array(encoded.norms[rows], pa.float32(), from_pandas=True),  # NaN: null
            pa.FixedSizeListArray.from_arrays(flat, encoder.dimensions),
        ],
        schema=embedding_schema(encoder.dimensions),
    )
