"""What a trainer that cuts at so many tokens still sees of a pair: how much of it both answers share."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.signals import SIDES
from pipeline.stage import runs_of
from pipeline.texts import text_of

_SLICE_CHARACTERS = 1 << 24  # of answers whose tokens are held at once
_HEAD_CHARACTERS = 200  # read of an answer at first: most pairs part there, and reading is what takes time

_Ids = npt.NDArray[np.int32]
_Offsets = npt.NDArray[np.int64]


class Tokenizer(Protocol):
    """Turns texts into tokens."""

    def token_ids(self, texts: Sequence[str]) -> tuple[_Ids, _Offsets]:
        """The token ids of N texts end to end, uncut and without special tokens, and their N + 1 offsets."""
        ...


def add_truncation(pairs: pl.DataFrame, tokenizer: Tokenizer, lengths: Sequence[int]) -> pl.DataFrame:
    """`add_token_counts` and `add_identical_lengths`.

    Args:
        pairs: PAIR rows, of any order.
        tokenizer: of the model to be trained, or one like it.
        lengths: in tokens of prompt and answer together, each at least 1.
    """
    return add_identical_lengths(add_token_counts(pairs, tokenizer), lengths)


def add_token_counts(pairs: pl.DataFrame, tokenizer: Tokenizer) -> pl.DataFrame:
    """Add `prompt_tokens` and `common_prefix_tokens`, the leading tokens that both answers share.

    A chat template adds some tokens a message, which are not counted. A pair's counts depend on its texts alone.

    Args:
        pairs: PAIR rows, of any order.
        tokenizer: of the model to be trained, or one like it.
    """
    prompts = pairs.select(text_of("prompt")).to_series()
    common = [np.empty(0, dtype=np.int64)]
    answers = pairs.select(text_of(side).alias(side) for side in SIDES)
    sizes = answers.select(pl.sum_horizontal(pl.all().str.len_chars().cast(pl.Int64))).to_series().to_numpy()
    common += [_common_tokens(answers[rows], tokenizer) for rows in runs_of(sizes, _SLICE_CHARACTERS)]
    return pairs.with_columns(
        prompt_tokens=_token_counts(prompts, tokenizer), common_prefix_tokens=pl.Series(np.concatenate(common), dtype=pl.Int64)
    )


def add_identical_lengths(pairs: pl.DataFrame, lengths: Sequence[int]) -> pl.DataFrame:
    """Add `identical_at_lengths`: those of `lengths` at which both answers are cut to the same, ascending.

    A pair whose `prompt_tokens + common_prefix_tokens` is at least L is one text twice to a trainer that keeps the first L tokens: it
    teaches nothing, or, with an end of turn on one side, the wrong thing. The whole of two equal answers counts, however short.

    Args:
        pairs: rows of `add_token_counts`, of any order.
        lengths: in tokens of prompt and answer together, each at least 1.
    """
    answers = pairs.select(text_of(side).alias(side) for side in SIDES)
    equal = answers.select(pl.col(SIDES[0]) == pl.col(SIDES[1])).to_series()
    alike = [pl.when(equal | (pl.col("prompt_tokens") + pl.col("common_prefix_tokens") >= n)).then(n) for n in sorted(set(lengths))]
    return pairs.with_columns(identical_at_lengths=pl.concat_list(alike or [pl.lit(None)]).list.drop_nulls().cast(pl.List(pl.Int64)))


def common_prefix(left_ids: _Ids, left_offsets: _Offsets, right_ids: _Ids, right_offsets: _Offsets) -> _Offsets:
    """Leading tokens that N texts share with N others, row by row.

    Args:
        left_ids: int32, the tokens of N texts end to end.
        left_offsets: int64 (N + 1,); text i is `left_ids[left_offsets[i] : left_offsets[i + 1]]`.
        right_ids: likewise.
        right_offsets: likewise.

    Returns:
        int64 (N,), 0 to the shorter one's number of tokens.
    """
    shorter = np.minimum(np.diff(left_offsets), np.diff(right_offsets))
    starts = np.cumsum(shorter) - shorter
    place = np.arange(shorter.sum()) - np.repeat(starts, shorter)
    differs = left_ids[np.repeat(left_offsets[:-1], shorter) + place] != right_ids[np.repeat(right_offsets[:-1], shorter) + place]
    # The first place at which a pair differs; the shorter length where there is none.
    first = shorter.copy()
    text = np.repeat(np.arange(shorter.size), shorter)[differs]
    texts, at = np.unique(text, return_index=True)
    first[texts] = place[differs][at]
    return first


def _common_tokens(answers: pl.DataFrame, tokenizer: Tokenizer) -> _Offsets:
    heads = answers.select(pl.all().str.head(_HEAD_CHARACTERS))
    left, right = (tokenizer.token_ids(heads.get_column(side).to_list()) for side in SIDES)
    common = common_prefix(*left, *right)
    # A cut may change the tokens next to it, so what parts in the second half of a head is read in full.
    shorter = np.minimum(np.diff(left[1]), np.diff(right[1]))
    late = np.flatnonzero(2 * common >= shorter)
    whole = [tokenizer.token_ids(answers.get_column(side).gather(late).to_list()) for side in SIDES]
    common[late] = common_prefix(*whole[0], *whole[1])
    return common


def _token_counts(texts: pl.Series, tokenizer: Tokenizer) -> pl.Series:
    distinct = texts.unique(maintain_order=True)
    counts = pl.Series(np.diff(tokenizer.token_ids(distinct.to_list())[1]), dtype=pl.Int64)
    return texts.replace_strict(distinct, counts, return_dtype=pl.Int64).cast(pl.Int64)  # no texts have no type
