"""CHES over the token states of the sentence encoder: a proxy that the embedding pass gives for nothing."""

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.similarity import cosine_rows
from pipeline.texts import rows_of_texts

_SIDES = ("chosen", "rejected")
_BLOCK_PAIRS = 8192  # whose vectors are gathered at once: 12 MB at 384 dimensions


def add_ches_encoder(pairs: pl.DataFrame, index: pl.DataFrame, vectors: npt.NDArray[np.float16]) -> pl.DataFrame:
    """Add `ches_encoder`, `ches_encoder_ln` (higher: more displacement is to be expected) and `ches_encoder_missing`.

    CHES of two sums of states is <s+, s-> - |s+|^2 (Unintentional Unalignment, 2024, with the states of the model to be trained).
    Here s = n m for an answer of n tokens, where m, the mean state that the encoder pools, is its stored norm times its vector:

        ches_encoder = n+ |m+| (n- |m-| cos - n+ |m+|)        ches_encoder_ln = |m+| (|m-| cos - |m+|)

    It is no substitute for the model's own states: an encoder's do not see the prompt, see what comes after them, take part in
    no prediction, and its mean includes the special tokens around a text. Compare ranks within one encoder only; its states have
    no unit. An answer in several windows counts with the norm of `pipeline.embed.windows.pool_norms`.

    Args:
        pairs: PAIR rows, of any order, with `chosen_text` and `rejected_text` (text ids; null: the text is blank).
        index: (text_id, index, tokens, norm): which row of `vectors` holds a text, its tokens without special ones, and the length
            of its mean state (null: the encoder pools otherwise). One row a text.
        vectors: embeddings, shape (M, D), fp16.

    Returns:
        The pairs with two float64 columns, 0 where both answers have one text, and why they are null, if they are: `empty_answer` (an
        answer is blank, or the encoder knows no token of it) or `pooling` (its vectors are not means of token states).

    Raises:
        SchemaError: a text that is not blank has no vector, or a text has two.
    """
    sides = {side: _states_of(pairs, side, index, len(vectors)) for side in _SIDES}
    empty, unpooled = (pl.any_horizontal(*(state[name] for state in sides.values())) for name in ("empty", "unpooled"))
    reason = pairs.select(pl.when(empty).then(pl.lit("empty_answer")).when(unpooled).then(pl.lit("pooling"))).to_series()
    scored = reason.is_null()
    chosen, rejected = (sides[side].filter(scored) for side in _SIDES)
    cosines = _cosines(chosen["index"].to_numpy(), rejected["index"].to_numpy(), vectors)
    means = [state["norm"].cast(pl.Float64).to_numpy() for state in (chosen, rejected)]
    sums = [mean * state["tokens"].to_numpy() for mean, state in zip(means, (chosen, rejected), strict=True)]
    return pairs.with_columns(
        _filled("ches_encoder", _centered(sums[0], sums[1], cosines), scored),
        _filled("ches_encoder_ln", _centered(means[0], means[1], cosines), scored),
        reason.alias("ches_encoder_missing"),
    )


def _states_of(pairs: pl.DataFrame, side: str, index: pl.DataFrame, vectors: int) -> pl.DataFrame:
    """(index, tokens, norm, empty, unpooled) of each pair's answer on one side."""
    found = rows_of_texts(pairs, side, index, vectors)
    return found.with_columns(empty=pl.col("tokens").fill_null(0) == 0, unpooled=pl.col("norm").fill_nan(None).is_null())


def _cosines(left: npt.NDArray[np.int64], right: npt.NDArray[np.int64], vectors: npt.NDArray[np.float16]) -> npt.NDArray[np.float64]:
    cosines = np.empty(left.size)
    for start in range(0, left.size, _BLOCK_PAIRS):
        block = slice(start, start + _BLOCK_PAIRS)
        cosines[block] = cosine_rows(vectors[left[block]], vectors[right[block]])
    return cosines


def _centered(
    chosen: npt.NDArray[np.float64], rejected: npt.NDArray[np.float64], cosines: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """<a, b> - <a, a> of vectors known by length and cosine; exactly 0 for equal ones."""
    return chosen * (rejected * cosines - chosen)


def _filled(name: str, values: npt.NDArray[np.float64], scored: pl.Series) -> pl.Series:
    filled = np.full(len(scored), np.nan)
    filled[scored.to_numpy()] = values
    return pl.Series(name, filled, dtype=pl.Float64).fill_nan(None)
