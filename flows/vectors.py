"""The vectors of texts: what the store does not have is embedded, and what is wanted is read."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline import embed as embedding
from pipeline.errors import PrefineError
from pipeline.store import Store

EMBEDDINGS = "embeddings"
TEXTS_AT_ONCE = 131_072  # most that are embedded between two writes to the store: what a killed run loses


def embed_missing(store: Store, model: embedding.Encoder, texts: pl.DataFrame, done: Callable[[int], None]) -> int:
    """Embed those of the texts (bucket, text_id, text) that the store does not have; how many they were."""
    if texts.is_empty():
        return 0
    missing = embedding.missing_texts(texts, store.keys(EMBEDDINGS, model.fingerprint, *_buckets(texts)))
    done(texts.height - missing.height)
    for part in missing.iter_slices(min(TEXTS_AT_ONCE, model.texts_at_once)):
        store.write(EMBEDDINGS, model.fingerprint, embedding.encode_table(part, model, done))
        done(part.height - part.get_column("text_id").n_unique())  # texts under two prompts are encoded once
    return missing.height


def needed(
    store: Store, model: embedding.Encoder, ids: pl.Series, first: int = 0, last: int = 255
) -> tuple[pl.DataFrame, npt.NDArray[np.float16]]:
    """What `stored` gives, of texts that were embedded before.

    Raises:
        PrefineError: a text has no vector any more.
    """
    index, found = stored(store, model, ids, first, last)
    require(store, ids.filter(~ids.is_in(index.get_column("text_id").implode())))
    return index, found


def require(store: Store, lost: pl.Series) -> None:
    """Raise PrefineError when texts that were embedded have no vector any more."""
    if len(lost):
        raise PrefineError(
            f"embeddings: {lost.n_unique()} texts lost their vector after they were embedded, the first is {lost.sort()[0]}: a file of "
            f"{store.root} was broken and is set aside, as the log says. Run again: what is missing is embedded then, and nothing else."
        )


def stored(
    store: Store, model: embedding.Encoder, ids: pl.Series, first: int = 0, last: int = 255
) -> tuple[pl.DataFrame, npt.NDArray[np.float16]]:
    """Row numbers, token counts and norms (text_id, index, tokens, norm) and vectors of those of the texts that some buckets hold."""
    table = store.read(EMBEDDINGS, model.fingerprint, first, last, embedding.embedding_schema(model.dimensions), keys=ids)
    keys = pl.DataFrame(pl.from_arrow(table.select(["key", "tokens", "norm"]))).rename({"key": "text_id"}).cast({"tokens": pl.Int64})
    # A text that sits under two prompts is stored in both buckets, with the same vector.
    index = keys.with_columns(index=pl.int_range(pl.len(), dtype=pl.Int64)).unique("text_id", keep="first", maintain_order=True)
    return index, embedding.vectors_of(table)


def _buckets(texts: pl.DataFrame) -> tuple[int, int]:
    buckets = texts.get_column("bucket").sort()
    return int(buckets[0]), int(buckets[-1])
