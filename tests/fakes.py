"""Stand-ins that are small enough to work out by hand."""

import hashlib
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
