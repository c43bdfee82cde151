"""Stand-ins that are small enough to work out by hand."""

import functools
import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np

from pipeline.embed import Encoded
from pipeline.similarity import round_vectors

LETTERS = "abcdefghijklmnopqrstuvwxyz"


class _Fake(ABC):
    """An Encoder without a model. Tokens are the words between white space; there are no token embeddings to show.

    The norm is such that tokens x norm is the length of what `vectors` gives: that is the sum of the token states.

    Args:
        name: encoders of different names have different fingerprints.

    Attributes:
        texts_encoded: how many texts were handed in so far, so that a test can see what came from the store.
    """

    dimensions: int
    texts_at_once = 1000

    def __init__(self, name: str = "fake") -> None:
        self.fingerprint = hashlib.blake2b(f"{self.dimensions} {name}".encode(), digest_size=16).hexdigest()
        self.texts_encoded = 0

    @abstractmethod
    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """float32 (N, D), of any length but zero."""

    def encode(self, texts: Sequence[str], on_progress: Callable[[int], None] | None = None) -> Encoded:
        """Encode texts, in their order; `on_progress` gets their number."""
        self.texts_encoded += len(texts)
        if on_progress is not None and texts:
            on_progress(len(texts))
        tokens = np.array([len(text.split()) for text in texts], dtype=np.int32)
        vectors = self.vectors(texts).reshape(-1, self.dimensions)
        norms = np.linalg.norm(vectors, axis=1) / np.maximum(tokens, 1)
        return Encoded(round_vectors(vectors), tokens, norms.astype(np.float32))

    def token_table(self) -> np.ndarray | None:
        """Nothing to show."""
        return None

    def token_ids(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the words, equal for equal words, and where each text's begin."""
        words = [text.split() for text in texts]
        ids = [int.from_bytes(hashlib.blake2b(word.encode(), digest_size=4).digest()) >> 1 for some in words for word in some]
        return np.array(ids, dtype=np.int32), np.cumsum([0, *map(len, words)], dtype=np.int64)


class LetterEncoder(_Fake):
    """Vectors are how often each letter occurs, without case; texts without letters share a 27th axis.

    "ab" and "aab" have cosine 3 / sqrt(2 * 5): for cosines that are worked out by hand.
    """

    dimensions = len(LETTERS) + 1

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        counts = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        for row, text in enumerate(texts):
            counts[row, : len(LETTERS)] = [text.lower().count(letter) for letter in LETTERS]
        counts[:, -1] = counts.sum(axis=1) == 0
        return counts


class WordEncoder(_Fake):
    """Tells texts apart as a real one does: each word is a direction of its own (32 bytes of its hash as 256 signs).

    Texts with the same words, whatever their order and case, have cosine 1; without common words it is near 0 (about 1 / 16 off):
    for whole runs, in which other texts must not be near duplicates.
    """

    dimensions = 256

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        rows = [[_signs(word) for word in re.findall(r"\w+", text.casefold()) or [text]] for text in texts]
        vectors = np.array([np.sum(row, axis=0, dtype=np.float32) for row in rows], dtype=np.float32).reshape(-1, self.dimensions)
        vectors[~vectors.any(axis=1), 0] = 1.0  # opposite words cancel out: still a direction
        return vectors


@functools.cache
def _signs(word: str) -> np.ndarray:
    bits = np.unpackbits(np.frombuffer(hashlib.blake2b(word.encode(), digest_size=32).digest(), dtype=np.uint8))
    return bits.astype(np.float32) * 2 - 1
