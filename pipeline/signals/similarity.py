"""Cosines of sentence embeddings within a pair."""

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.errors import SchemaError
from pipeline.similarity import cosine_rows

_TEXTS = ("prompt", "chosen", "rejected")
_COSINES = (("chosen", "rejected"), ("prompt", "chosen"), ("prompt", "rejected"))


def add_cosines(pairs: pl.DataFrame, index: pl.DataFrame, vectors: npt.NDArray[np.float16]) -> pl.DataFrame:
    """Add `cosine_chosen_rejected`, `cosine_prompt_chosen` and `cosine_prompt_rejected` (-1 to 1).

    Args:
        pairs: PAIR rows, of any order, with `prompt_text`, `chosen_text` and `rejected_text` (text ids; null: the text is blank).
        index: (text_id, index): which row of `vectors` holds a text. One row a text.
        vectors: embeddings, shape (M, D), fp16.

    Returns:
        The pairs with one float64 column a cosine; null where either text is blank, as an empty prompt is.

    Raises:
        SchemaError: a text that is not blank has no vector, or a text has two.
    """
    if index.get_column("text_id").is_duplicated().any():
        raise SchemaError("signals, similarity: a text_id has more than one vector; expected one row a text.")
    rows = {name: _rows_of(pairs, name, index, len(vectors)) for name in _TEXTS}
    return pairs.with_columns(_cosine(rows[left], rows[right], vectors).alias(f"cosine_{left}_{right}") for left, right in _COSINES)


def _rows_of(pairs: pl.DataFrame, name: str, index: pl.DataFrame, vectors: int) -> pl.Series:
    """Row of each pair's text in the vectors; null where the text is blank."""
    texts = pairs.select(text_id=f"{name}_text")
    found = texts.join(index.select("text_id", "index"), on="text_id", how="left", maintain_order="left")
    lost = found.filter(pl.col("text_id").is_not_null() & pl.col("index").is_null()).get_column("text_id")
    if len(lost):
        raise SchemaError(
            f"signals, similarity: {len(lost)} {name} texts have no vector, the first is {lost.sort()[0]}; expected one for every "
            "text that is not blank. Embed all texts of the pairs first."
        )
    beyond = found.filter(pl.col("index") >= vectors)
    if beyond.height:
        raise SchemaError(
            f"signals, similarity: text {beyond.get_column('text_id').sort()[0]} points past the last of {vectors} vectors; "
            "`index` and `vectors` do not belong together."
        )
    return found.get_column("index").cast(pl.Int64)


def _cosine(left: pl.Series, right: pl.Series, vectors: npt.NDArray[np.float16]) -> pl.Series:
    both = left.is_not_null() & right.is_not_null()
    cosines = cosine_rows(vectors[left.filter(both).to_numpy()], vectors[right.filter(both).to_numpy()])
    filled = np.full(len(left), np.nan)
    filled[both.to_numpy()] = cosines
    return pl.Series(filled, dtype=pl.Float64).fill_nan(None)
