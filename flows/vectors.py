"""The vectors of texts: what the store does not have is embedded, and what is wanted is read."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import embed as embedding
from pipeline.store import Store

EMBEDDINGS = "embeddings"
TEXTS_AT_ONCE = 4_096  # embedded between two writes to the store: what a killed run loses at most


def embed_missing(store: Store, model: embedding.Encoder, texts: pl.DataFrame, done: Callable[[int], None]) -> int:
    """Embed those of the texts (bucket, text_id, text) that the store does not have; how many they were."""
    if texts.is_empty():
        return 0
    missing = embedding.missing_texts(texts, store.keys(EMBEDDINGS, model.fingerprint, *_buckets(texts)))
    done(texts.height - missing.height)
    for start in range(0, missing.height, TEXTS_AT_ONCE):
        part = missing.slice(start, TEXTS_AT_ONCE)
        store.write(EMBEDDINGS, model.fingerprint, embedding.encode_table(part, model, done))
        done(part.height - part.get_column("text_id").n_unique())  # texts under two prompts are encoded once
    return missing.height


def stored(
    store: Store, model: embedding.Encoder, ids: pl.Series, first: int = 0, last: int = 255
) -> tuple[pl.DataFrame, npt.NDArray[np.float16]]:
    """Row numbers and token counts (text_id, index, tokens) and vectors of those of the texts that some buckets of the store hold."""
    table = store.read(EMBEDDINGS, model.fingerprint, first, last, embedding.embedding_schema(model.dimensions))
    table = table.filter(pc.is_in(table.column("key"), value_set=ids.unique().sort().to_arrow().cast(pa.string())))
    keys = pl.DataFrame(pl.from_arrow(table.select(["key", "tokens"]))).rename({"key": "text_id"}).cast({"tokens": pl.Int64})
    # A text that sits under two prompts is stored in both buckets, with the same vector.
    index = keys.with_columns(index=pl.int_range(pl.len(), dtype=pl.Int64)).unique("text_id", keep="first", maintain_order=True)
    return index, embedding.vectors_of(table)


def _buckets(texts: pl.DataFrame) -> tuple[int, int]:
    buckets = texts.get_column("bucket").sort()
    return int(buckets[0]), int(buckets[-1])
