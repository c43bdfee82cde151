"""Cosines of sentence embeddings within a pair."""

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.similarity import cosine_rows
from pipeline.texts import rows_of_texts

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
    rows = {name: rows_of_texts(pairs, name, index, len(vectors)).get_column("index").cast(pl.Int64) for name in _TEXTS}
    return pairs.with_columns(_cosine(rows[left], rows[right], vectors).alias(f"cosine_{left}_{right}") for left, right in _COSINES)


def _cosine(left: pl.Series, right: pl.Series, vectors: npt.NDArray[np.float16]) -> pl.Series:
    both = left.is_not_null() & right.is_not_null()
    cosines = cosine_rows(vectors[left.filter(both).to_numpy()], vectors[right.filter(both).to_numpy()])
    filled = np.full(len(left), np.nan)
    filled[both.to_numpy()] = cosines
    return pl.Series(filled, dtype=pl.Float64).fill_nan(None)
