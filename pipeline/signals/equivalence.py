"""How much the two answers of a pair say the same: edit distance, Jaccard, BMAS, and whether they are equivalent."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import polars as pl
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

from pipeline.dedup.facts import difference
from pipeline.dedup.lexical import jaccard
from pipeline.signals import SIDES
from pipeline.similarity.tokens import bmas
from pipeline.stage import runs_of
from pipeline.texts import WORD, text_of

MIN_EQUIVALENT_COSINE, MIN_EQUIVALENT_JACCARD = 0.95, 0.8  # the defaults for near duplicates
MAX_EDIT_TOKENS = 10_000  # read of an answer: the cost grows with the square, and is some 20 ms a pair here

_SLICE_PAIRS = 4096  # whose tokens are held at once
# Tokens compared at once. There are 64,000 more characters, so that each distinct one of a slice can be a character.
_SLICE_TOKENS = 1 << 20
_SURROGATES, _SURROGATE_COUNT = 0xD800, 0x800


class TokenEncoder(Protocol):
    """An encoder that shows its tokens and what it starts from."""

    def token_table(self) -> npt.NDArray[np.float32] | None:
        """The input embeddings, (V, D), one row a token; None where there are none."""
        ...

    def token_ids(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """The token ids of N texts end to end, uncut and without special tokens, and their N + 1 offsets."""
        ...


def add_equivalence(pairs: pl.DataFrame) -> pl.DataFrame:
    """Add `edit_distance` (0 to 1), `answers_jaccard` (0 to 1) and `answers_equivalent`.

    `edit_distance` is Levenshtein over words and marks / the longer answer's number of them (the CHES authors' baseline,
    2024; no predictor of displacement), of the first 10,000 of each. `answers_jaccard` compares sets of word 5-grams.
    `answers_equivalent`: near-identical by cosine (0.95) or Jaccard (0.8), and no number, name or negation differs. The idea is
    Tomayto, Tomahto (2022); its trained classifier (BEM) is left out, and token F1, which it shows to fail, is not used:
    answers that differ by a "not" share almost all tokens.

    Args:
        pairs: PAIR rows with `cosine_chosen_rejected`, of any order.
    """
    texts = pairs.select(text_of(side).alias(side) for side in SIDES)
    ids = pairs.select(left="chosen_id", right="rejected_id")
    known = pl.concat(pl.DataFrame({"text_id": pairs.get_column(f"{side}_id"), "text": texts.get_column(side)}) for side in SIDES)
    added = pairs.with_columns(
        edit_distance=edit_distance(_tokens(texts.get_column("chosen")), _tokens(texts.get_column("rejected"))),
        answers_jaccard=jaccard(ids, known.unique("text_id", keep="any")).get_column("jaccard"),
    )
    near = (pl.col("cosine_chosen_rejected") >= MIN_EQUIVALENT_COSINE) | (pl.col("answers_jaccard") >= MIN_EQUIVALENT_JACCARD)
    is_near = added.select(near.fill_null(False) & _same_calls()).to_series()
    equivalent = is_near.to_numpy(writable=True)
    equivalent[equivalent] = difference(*(texts.get_column(side).filter(is_near) for side in SIDES)).is_null().to_numpy()
    return added.with_columns(answers_equivalent=pl.Series(equivalent, dtype=pl.Boolean))


def add_bmas(pairs: pl.DataFrame, encoder: TokenEncoder | None) -> pl.DataFrame:
    """Add `bmas` (-1 to 1) of both answers' tokens; null where an answer has none, or the encoder shows none.

    Args:
        pairs: PAIR rows, of any order.
        encoder: shows its tokens and their embeddings; None for encoders that cannot.
    """
    table = None if encoder is None else encoder.token_table()
    if encoder is None or table is None:
        return pairs.with_columns(bmas=pl.lit(None, pl.Float64))
    scores = [np.empty(0)]
    for part in pairs.select(text_of(side).alias(side) for side in SIDES).iter_slices(_SLICE_PAIRS):
        tokens = [encoder.token_ids(part.get_column(side).to_list()) for side in SIDES]
        scores.append(bmas(*tokens[0], *tokens[1], table))
    return pairs.with_columns(bmas=pl.Series(np.concatenate(scores), dtype=pl.Float64).fill_nan(None))


def edit_distance(left: pl.Series, right: pl.Series) -> pl.Series:
    """Levenshtein distance / length of the longer one, row by row, of lists of tokens.

    Args:
        left: lists of strings, shape (N,).
        right: likewise.

    Returns:
        Float64 (N,), 0 (equal, or both empty) to 1 (nothing shared, or one is empty).
    """
    lists = pl.DataFrame({"left": left.list.head(MAX_EDIT_TOKENS), "right": right.list.head(MAX_EDIT_TOKENS)})
    sizes = lists.select((pl.col("left").list.len() + pl.col("right").list.len()).cast(pl.Int64)).to_series()
    parts = [lists[rows] for rows in runs_of(sizes.to_numpy(), _SLICE_TOKENS)]
    return pl.concat([pl.Series("edit_distance", [], pl.Float64), *map(_edit_distance, parts)])


def _edit_distance(lists: pl.DataFrame) -> pl.Series:
    """The distances of some rows, with one character for each distinct token, so that the strings compare as the lists do."""
    every = pl.concat([lists.get_column(side).explode(empty_as_null=False) for side in ("left", "right")]).unique()
    codes = np.arange(1, len(every) + 1, dtype="<u4")
    codes[codes >= _SURROGATES] += _SURROGATE_COUNT  # no characters
    characters = pl.DataFrame({"token": every, "character": pl.Series(list(codes.tobytes().decode("utf-32-le")), dtype=pl.String)})
    strings = []
    for side in ("left", "right"):
        tokens = lists.select(row=pl.int_range(pl.len()), token=side).explode("token", empty_as_null=False)
        coded = tokens.join(characters, on="token", how="left", maintain_order="left")
        joined = coded.group_by("row").agg(pl.col("character").str.join(""))
        rows = pl.DataFrame({"row": pl.int_range(lists.height, eager=True)}).join(joined, on="row", how="left", maintain_order="left")
        strings.append(rows.get_column("character").fill_null("").to_list())
    distances = process.cpdist(*strings, scorer=Levenshtein.normalized_distance, dtype=np.float64, workers=-1)
    return pl.Series("edit_distance", distances.ravel(), dtype=pl.Float64)


def _tokens(texts: pl.Series) -> pl.Series:
    return texts.str.extract_all(rf"{WORD}|\S")


def _same_calls() -> pl.Expr:
    calls = [pl.col(side).list.eval(pl.element().struct.field("tool_calls").fill_null("")).list.join("\n") for side in SIDES]
    return calls[0] == calls[1]
