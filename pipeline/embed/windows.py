"""Texts -> windows of tokens, and the windows' vectors -> one vector a text.

A text that does not fit into the model's input is cut into windows without overlap, all full but the last; its vector
is the mean of theirs, weighted by their tokens. A text that fits is its own only window.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import ConfigError
from pipeline.similarity import renormalise, round_vectors

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# What the tokenizer returns is a hundred times the size of the ids; more texts at once are not faster.
_TEXTS_AT_ONCE, _CHARACTERS_AT_ONCE = 1024, 1_000_000


@dataclass(frozen=True)
class Windows:
    """N texts cut into W windows, W >= N.

    Attributes:
        ids: int32 (T,), the tokens of all texts, end to end, without special ones.
        starts: int64 (W,), a window's first place in `ids`.
        sizes: int64 (W,), its tokens; 0 for a text without any.
        firsts: int64 (N,), a text's first window; the others follow it.
        tokens: int32 (N,), a text's tokens.
    """

    ids: npt.NDArray[np.int32]
    starts: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    firsts: npt.NDArray[np.int64]
    tokens: npt.NDArray[np.int32]


class BareTokenizer:
    """A fast tokenizer that never cuts and adds no special tokens.

    Args:
        tokenizer: it is copied, so that nobody else's settings matter.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerFast") -> None:
        backend: Any = tokenizer.backend_tokenizer
        self._tokenizer = type(backend).from_str(backend.to_str())
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.fingerprint = hashlib.blake2b(self._tokenizer.to_str().encode(), digest_size=16).hexdigest()  # equal ones cut texts alike

    def tokens(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """The tokens of N texts end to end, int32 (T,), and how many each text has, int64 (N,)."""
        ids, counts = [np.empty(0, np.int32)], [np.empty(0, np.int64)]
        for part in slices(texts, _TEXTS_AT_ONCE, _CHARACTERS_AT_ONCE):
            lists = [found.ids for found in self._tokenizer.encode_batch_fast(list(texts[part]), add_special_tokens=False)]
            counts.append(np.fromiter(map(len, lists), np.int64, len(lists)))
            ids.append(np.fromiter(chain.from_iterable(lists), np.int32, int(counts[-1].sum())))
        return np.concatenate(ids), np.concatenate(counts)

    def token_ids(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """The tokens of N texts end to end, and their N + 1 offsets."""
        ids, counts = self.tokens(texts)
        return ids, np.concatenate([[0], np.cumsum(counts)])


class WindowTokenizer(BareTokenizer):
    """A tokenizer whose special tokens go around each window.

    Args:
        tokenizer: of a sentence-transformers model; it is copied.
        longest: tokens of the model's longest input, special ones included.
        name: for messages.

    Attributes:
        before: int32, special tokens before each window.
        after: int32, special tokens after it.
        size: tokens of a full window, without special ones.

    Raises:
        ConfigError: the tokenizer does more than put special tokens around a text, or nothing else fits beside them.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerFast", longest: int, name: str) -> None:
        super().__init__(tokenizer)
        probe = "a b"
        framed = np.array(self._tokenizer.encode(probe).ids, dtype=np.int32)
        bare = np.array(self._tokenizer.encode(probe, add_special_tokens=False).ids, dtype=np.int32)
        special = framed.size - bare.size
        places = [place for place in range(special + 1) if np.array_equal(framed[place : place + bare.size], bare)]
        self.size = longest - special
        if not places or self.size < 1:
            raise ConfigError(f"embed.model: {name!r} has a tokenizer whose special tokens do not stand around a text, or fill its input.")
        self.before, self.after = framed[: places[0]], framed[places[0] + bare.size :]

    def cut(self, texts: Sequence[str]) -> Windows:
        """Tokenise N texts and cut them into windows."""
        return windows(*self.tokens(texts), self.size)


def windows(ids: npt.NDArray[np.int32], counts: npt.NDArray[np.int64], size: int) -> Windows:
    """Cut texts into windows.

    Args:
        ids: int32 (T,), the tokens of all texts, end to end.
        counts: int64 (N,), how many each text has.
        size: tokens of a full window.
    """
    per_text = np.maximum(1, -(-counts // size))
    firsts = np.cumsum(per_text) - per_text
    skipped = (np.arange(int(per_text.sum())) - np.repeat(firsts, per_text)) * size
    starts = np.repeat(np.cumsum(counts) - counts, per_text) + skipped
    return Windows(ids, starts, np.minimum(size, np.repeat(counts, per_text) - skipped), firsts, counts.astype(np.int32))


def pool(cut: Windows, vectors: npt.NDArray[np.float16]) -> npt.NDArray[np.float16]:
    """A vector a text: its window's, or the mean of its windows' weighted by tokens, at unit length.

    fp16 values times token counts are multiples of 2^-24, so their sums in float64 are exact, in any order, for texts of
    up to 2^29 tokens.

    Args:
        cut: N texts in W windows.
        vectors: float16 (W, D), the windows' own.

    Returns:
        float16 (N, D).

    Raises:
        ValueError: the windows of a text cancel out.
    """
    pooled = vectors[cut.firsts]
    per_text = np.diff(cut.firsts, append=vectors.shape[0])
    long = np.flatnonzero(per_text > 1)
    if long.size:
        rows = np.flatnonzero(np.repeat(per_text > 1, per_text))
        weighted = vectors[rows].astype(np.float64) * cut.sizes[rows, np.newaxis]
        starts = np.cumsum(per_text[long]) - per_text[long]
        pooled[long] = round_vectors(np.add.reduceat(weighted, starts, axis=0).astype(np.float32))
    return pooled


def pool_norms(cut: Windows, vectors: npt.NDArray[np.float16], norms: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """A norm a text: its window's, or | sum n_w norm_w v_w | / sum n_w over its windows w.

    That is the length of the mean of the windows' mean states, weighted by their tokens without special ones, and exact but
    for the rounding of the v_w to fp16. The text's vector (`pool`) is the mean of the v_w, without their norms: its direction
    is not quite that of this mean.

    Args:
        cut: N texts in W windows.
        vectors: float16 (W, D), the windows' own.
        norms: float32 (W,), theirs.

    Returns:
        float32 (N,); it depends on the text's own windows alone, bit for bit.
    """
    pooled = norms[cut.firsts]
    per_text = np.diff(cut.firsts, append=norms.shape[0])
    long = np.flatnonzero(per_text > 1)
    if long.size:
        rows = np.flatnonzero(np.repeat(per_text > 1, per_text))
        weights = cut.sizes[rows] * norms[rows].astype(np.float64)
        starts = np.cumsum(per_text[long]) - per_text[long]
        sums = np.add.reduceat(renormalise(vectors[rows]).astype(np.float64) * weights[:, np.newaxis], starts, axis=0)
        pooled[long] = lengths_of(sums) / np.add.reduceat(cut.sizes[rows], starts)
    return pooled


def lengths_of(rows: npt.NDArray[np.float32] | npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Euclidean lengths of (N, D), summed in float64; each depends on its own row alone, bit for bit."""
    wide = rows.astype(np.float64, order="C")
    lengths: npt.NDArray[np.float64] = np.sqrt(np.add.reduce(wide * wide, axis=1))
    return lengths


def slices(texts: Sequence[str], most: int, characters: int) -> Iterator[slice]:
    """Runs of texts with at most so many texts, and so many characters unless one text alone has more."""
    ends = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)))
    start = 0
    while start < len(texts):
        fit = int(np.searchsorted(ends, (ends[start - 1] if start else 0) + characters, side="right"))
        stop = min(start + most, max(start + 1, fit), len(texts))
        yield slice(start, stop)
        start = stop
