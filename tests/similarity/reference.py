"""Cosines of all pairs by the definition, in float64 and as a whole matrix, and vectors that are hard to join."""

import numpy as np
import numpy.typing as npt

from pipeline.similarity import Hits, round_vectors

Vectors = npt.NDArray[np.float16]


def all_cosines(queries: Vectors, corpus: Vectors) -> npt.NDArray[np.float64]:
    """(Q, N). The sums of fp16 products are exact in float64, so the order in which the product adds them does not matter."""
    left, right = queries.astype(np.float64), corpus.astype(np.float64)
    lengths = np.multiply.outer((left * left).sum(axis=1), (right * right).sum(axis=1))
    return np.clip(left @ right.T / np.sqrt(lengths), -1.0, 1.0)


def self_hits(vectors: Vectors, min_cosine: float) -> Hits:
    cosines = all_cosines(vectors, vectors)
    left, right = np.nonzero(np.triu(np.ones(cosines.shape, bool), 1) & (cosines >= min_cosine))
    return Hits(left, right, cosines[left, right])


def cross_hits(queries: Vectors, corpus: Vectors, min_cosine: float) -> Hits:
    cosines = all_cosines(queries, corpus)
    left, right = np.nonzero(cosines >= min_cosine)
    return Hits(left, right, cosines[left, right])


def assert_same(found: Hits, expected: Hits) -> None:
    """The same pairs in the same order with the same bits."""
    assert (found.left.dtype, found.right.dtype, found.cosine.dtype) == (np.int64, np.int64, np.float64)
    assert list(zip(found.left.tolist(), found.right.tolist(), strict=True)) == list(
        zip(expected.left.tolist(), expected.right.tolist(), strict=True)
    )
    assert found.cosine.tolist() == expected.cosine.tolist()


def clustered(rows: int, dimensions: int, seed: int = 0, spread: float = 0.3) -> Vectors:
    """Rows around a few centres, some of them copies: cosines of every size."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(max(1, rows // 5), dimensions))
    vectors = centres[random.integers(len(centres), size=rows)] + spread * random.normal(size=(rows, dimensions))
    copied = random.integers(rows, size=rows // 8)
    vectors[random.integers(rows, size=rows // 8)] = vectors[copied]
    return round_vectors(vectors.astype(np.float32))
