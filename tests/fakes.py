"""Stand-ins that are small enough to work out by hand."""

import hashlib
import re
from collections.abc import Callable, Sequence

import numpy as np

from pipeline.embed import Encoded
from pipeline.similarity import round_vectors

LETTERS = "abcdefghijklmnopqrstuvwxyz"


class LetterEncoder:
    """An Encoder whose vector is how often each letter occurs, without case; texts without letters share a 27th axis.

    "ab" and "aab" have cosine 3 / sqrt(2 * 5). Tokens are the words between white space.

    Args:
        name: encoders of different names have different fingerprints.

    Attributes:
        texts_encoded: how many texts were handed in so far, so that a test can see what came from the store.
    """

    def __init__(self, name: str = "letters") -> None:
        self.fingerprint = hashlib.blake2b(name.encode(), digest_size=16).hexdigest()
        self.dimensions = len(LETTERS) + 1
        self.texts_encoded = 0

    def encode(self, texts: Sequence[str], on_progress: Callable[[int], None] | None = None) -> Encoded:
        """Encode texts, in their order; `on_progress` gets their number."""
        counts = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        for row, text in enumerate(texts):
            counts[row, : len(LETTERS)] = [text.lower().count(letter) for letter in LETTERS]
        counts[:, -1] = counts.sum(axis=1) == 0
        self.texts_encoded += len(texts)
        if on_progress is not None and texts:
            on_progress(len(texts))
        return Encoded(round_vectors(counts), np.array([len(text.split()) for text in texts], dtype=np.int32))


class WordEncoder:
    """An Encoder that tells texts apart as a real one does: each word is a direction of its own (32 bytes of its hash as 256 signs).

    Texts with the same words, whatever their order and case, have cosine 1; without common words it is near 0 (about 1 / 16 off).

    Args:
        name: encoders of different names have different fingerprints.

    Attributes:
        texts_encoded: how many texts were handed in so far, so that a test can see what came from the store.
    """

    def __init__(self, name: str = "words") -> None:
        self.fingerprint = hashlib.blake2b(name.encode(), digest_size=16).hexdigest()
        self.dimensions = 256
        self.texts_encoded = 0

    def encode(self, texts: Sequence[str], on_progress: Callable[[int], None] | None = None) -> Encoded:
        """Encode texts, in their order; `on_progress` gets their number."""
        rows = [[_signs(word) for word in re.findall(r"\w+", text.casefold()) or [text]] for text in texts]
        vectors = np.array([np.sum(row, axis=0, dtype=np.float32) for row in rows], dtype=np.float32).reshape(-1, self.dimensions)
        vectors[~vectors.any(axis=1), 0] = 1.0  # opposite words cancel out: still a direction
        self.texts_encoded += len(texts)
        if on_progress is not None and texts:
            on_progress(len(texts))
        return Encoded(round_vectors(vectors), np.array([len(text.split()) for text in texts], dtype=np.int32))


def _signs(word: str) -> np.ndarray:
    bits = np.unpackbits(np.frombuffer(hashlib.blake2b(word.encode(), digest_size=32).digest(), dtype=np.uint8))
    return bits.astype(np.float32) * 2 - 1
