"""Texts -> tokens, cut where the scored part begins and ends."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from pipeline.ches.sequences import SHARE_FROM, Sequences, offsets, ranges
from pipeline.embed.windows import BareTokenizer, slices

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_NONE: Final = np.empty(0, np.int32)
_REASONS: Final = (None, "no_prompt_token", "empty_answer", "prompt_fills_window")

# An encoding with offsets is some hundred times the size of its text.
_TEXTS_AT_ONCE, _CHARACTERS_AT_ONCE = 256, 500_000


@dataclass(frozen=True)
class Continued:
    """R texts that go on from P prefixes.

    Attributes:
        prefixes: the texts that are read before, each tokenised once.
        texts: whole texts, prefix included. One need not begin with its prefix: then it is read by itself.
        prefix: int64 (R,), which of `prefixes` a text goes on from.
        begins: int64 (R,), the first scored character.
        ends: int64 (R,), one past the last one; None: all texts are scored to their end. Where there are ends, the texts of a prefix are
            compared with each other: all of them are scored, to those ends, or none.
    """

    prefixes: list[str]
    texts: list[str]
    prefix: npt.NDArray[np.int64]
    begins: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Bounded:
    """Continued texts as tokens.

    Attributes:
        sequences: of the K texts that can be scored, in their order.
        kept: int64 (K,), which text each is.
        reasons: a text's reason why it is not among them, (R,); None: it is. `no_prompt_token`, `prompt_fills_window`, or
            `empty_answer`: the tokenizer knows nothing of it.
        cut: bool (R,), whether tokens to score lie beyond the longest input.
    """

    sequences: Sequences
    kept: npt.NDArray[np.int64]
    reasons: list[str | None]
    cut: npt.NDArray[np.bool_]


class BoundaryTokenizer(BareTokenizer):
    """A fast tokenizer that adds no special tokens and knows which characters each token stands for.

    Args:
        tokenizer: it is copied. White space belongs to tokens here even where the tokenizer's own offsets leave it out.
        longest: tokens of the longest input; what lies beyond is cut off on the right.
        before: tokens put in front of every text and prefix, int32.
        after: tokens put behind every text that is scored to its end, int32.
    """

    def __init__(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        longest: int,
        before: npt.NDArray[np.int32] = _NONE,
        after: npt.NDArray[np.int32] = _NONE,
    ) -> None:
        own: Any = tokenizer
        super().__init__(own)
        self._tokenizer.post_processor = None  # it would trim offsets; special tokens are not added anyway
        self._tokenizer.encode_special_tokens = own.split_special_tokens
        self._longest, self._before, self._after = longest, before, after
        self._first, self._unknown = own.bos_token_id, own.unk_token_id

    def definition(self) -> str:
        """All that its tokens depend on, as text."""
        split = self._tokenizer.encode_special_tokens
        frame = [self._before.tolist(), self._after.tolist(), self._first, self._unknown]
        return f"{self._tokenizer.to_str()}\n{split}\n{self._longest}\n{frame}\n{SHARE_FROM}"

    def bound(self, told: Continued) -> Bounded:
        """Tokenise texts and find what of them is scored.

        A text's response begins where its prompt's own tokens end, if it begins with exactly these. Else a token is scored as soon as
        one of its characters is: a token that holds the prompt's last character and the response's first is the response's.

        A prefix of at least `SHARE_FROM` tokens is shared by the texts whose tokens begin with its tokens. That is a matter of the
        text and its prefix: other texts change nothing.

        Args:
            told: R texts. An empty one has no scored token.
        """
        rows = len(told.texts)
        ends_too = told.ends is not None
        prefix_ids, prefix_offsets = self._framed(told.prefixes, self._before, _NONE)
        ids, starts = self._framed(told.texts, self._before, _NONE if ends_too else self._after)
        sizes = np.diff(starts)
        prefix_sizes = np.diff(prefix_offsets)[told.prefix]
        begins_with = _begins_with(ids, starts, prefix_ids, prefix_offsets[told.prefix], prefix_sizes)

        start, stop = np.where(begins_with, prefix_sizes, 0), sizes.copy()
        unsure = ~begins_with
        if self._unknown is not None and prefix_ids.size:
            # One unknown token may stand for any number of characters, and so reach into the response.
            last = np.maximum(prefix_offsets[told.prefix] + prefix_sizes - 1, 0)
            unsure |= (prefix_sizes > 0) & (prefix_ids[last] == self._unknown)
        looked_up = np.arange(rows) if ends_too else np.flatnonzero(unsure)
        found = np.array(list(self._spans(told, looked_up)), np.int64).reshape(-1, 2) + self._before.size
        start[looked_up] = found[:, 0]
        if ends_too:
            stop = found[:, 1]

        headless = (start == 0) & (sizes > 0)
        if self._first is not None and ids.size:
            start[headless & (ids[np.minimum(starts[:-1], ids.size - 1)] == self._first)] = 1
        empty, headless = start >= stop, headless & (start == 0)
        cut = stop > self._longest
        # Part of a follow-up is not the follow-up.
        full = cut if ends_too else start >= self._longest
        stop = np.minimum(stop, self._longest)
        why = np.select([headless, empty, full], [1, 2, 3], 0)
        if ends_too:
            of_prefix = np.zeros(len(told.prefixes), np.int64)
            np.maximum.at(of_prefix, told.prefix, why)
            why = of_prefix[told.prefix]
        kept = np.flatnonzero(why == 0)
        shared = begins_with & (prefix_sizes >= SHARE_FROM) & (start >= prefix_sizes)
        prefix = np.where(shared, told.prefix, -1)
        sequences = _sequences((prefix_ids, prefix_offsets), (ids, starts[kept]), prefix[kept], prefix_sizes[kept], start[kept], stop[kept])
        return Bounded(sequences, kept, [_REASONS[at] for at in why.tolist()], cut)

    def _framed(
        self, texts: list[str], before: npt.NDArray[np.int32], after: npt.NDArray[np.int32]
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Tokens of texts, with others around each, and their offsets."""
        bare, counts = self.tokens(texts)
        if not before.size and not after.size:
            return bare, offsets(counts)
        starts = offsets(counts + before.size + after.size)
        ids = np.empty(int(starts[-1]), np.int32)
        ids[ranges(starts[:-1] + before.size, counts)] = bare
        ids[starts[:-1, np.newaxis] + np.arange(before.size)] = before
        ids[starts[1:, np.newaxis] - after.size + np.arange(after.size)] = after
        return ids, starts

    def _spans(self, told: Continued, rows: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
        """The first token that holds a scored character, and one past the last one, in the texts of some rows.

        A token's characters are looked up one at a time: listing those of all costs as much as tokenising.
        """
        texts = [told.texts[row] for row in rows.tolist()]
        begins = told.begins[rows].tolist()
        ends = [None] * len(texts) if told.ends is None else told.ends[rows].tolist()
        for part in slices(texts, _TEXTS_AT_ONCE, _CHARACTERS_AT_ONCE):
            found = self._tokenizer.encode_batch(texts[part], add_special_tokens=False)
            for encoding, begin, end in zip(found, begins[part], ends[part], strict=True):
                tokens = range(len(encoding))
                start = bisect_right(tokens, begin, key=_ends_of(encoding))
                yield start, len(tokens) if end is None else bisect_left(tokens, end, key=_starts_of(encoding))


def _starts_of(encoding: Any) -> Callable[[int], int]:  # noqa: ANN401 (a tokenizers.Encoding)
    return lambda token: int(encoding.token_to_chars(token)[0])


def _ends_of(encoding: Any) -> Callable[[int], int]:  # noqa: ANN401
    return lambda token: int(encoding.token_to_chars(token)[1])


def _begins_with(
    ids: npt.NDArray[np.int32],
    starts: npt.NDArray[np.int64],
    prefix_ids: npt.NDArray[np.int32],
    prefix_starts: npt.NDArray[np.int64],
    prefix_sizes: npt.NDArray[np.int64],
) -> npt.NDArray[np.bool_]:
    """Whether each text's tokens begin with its prefix's."""
    begins_with = np.diff(starts) >= prefix_sizes
    long = np.flatnonzero(begins_with)
    sizes = prefix_sizes[long]
    differs = ids[ranges(starts[:-1][long], sizes)] != prefix_ids[ranges(prefix_starts[long], sizes)]
    begins_with[np.repeat(long, sizes)[differs]] = False
    return begins_with


def _sequences(
    prefixes: tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]],
    texts: tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]],
    prefix: npt.NDArray[np.int64],
    prefix_sizes: npt.NDArray[np.int64],
    start: npt.NDArray[np.int64],
    stop: npt.NDArray[np.int64],
) -> Sequences:
    """Texts up to their last scored token, and the prefixes that they share."""
    (prefix_ids, prefix_offsets), (ids, starts) = prefixes, texts
    used, number = np.unique(prefix, return_inverse=True)
    alone = int(used.size > 0 and used[0] < 0)
    used = used[alone:]
    sizes = np.diff(prefix_offsets)[used]
    skipped = np.where(prefix >= 0, prefix_sizes, 0)
    return Sequences(
        prefix_ids=prefix_ids[ranges(prefix_offsets[used], sizes)],
        prefix_offsets=offsets(sizes),
        prefix=number.astype(np.int64) - alone,
        suffix_ids=ids[ranges(starts + skipped, stop - skipped)],
        suffix_offsets=offsets(stop - skipped),
        start=start,
        stop=stop,
    )
