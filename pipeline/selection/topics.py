"""Topics: clusters of prompts by meaning, as strata of a mixture (after CLIMB, 2025, without its search)."""

import numpy as np
import numpy.typing as npt
import polars as pl
from threadpoolctl import threadpool_limits

from pipeline.selection.noise import uniform

SAMPLE_PROMPTS = 20_000
ROUNDS = 25
WITHOUT = "no-prompt"
_BLOCK = 16_384
Vectors = npt.NDArray[np.float32]


def name_of(number: pl.Expr) -> pl.Expr:
    """`topic-00` and so on: the name of a topic's number; null numbers are of prompts without a text."""
    return pl.format("topic-{}", number.cast(pl.String).str.zfill(2)).fill_null(pl.lit(WITHOUT))


def sample(texts: pl.Series, seed: int, most: int = SAMPLE_PROMPTS) -> pl.Series:
    """The texts (ids) with the lowest hashes, without nulls and repetitions, in that order."""
    ids = texts.drop_nulls().unique().sort()
    order = np.argsort(uniform(ids, seed, "topics"), kind="stable")[:most]
    return ids[order.astype(np.int64)]


def fit(vectors: npt.NDArray[np.floating], topics: int) -> Vectors:
    """Spherical k-means (Concept Decompositions, 2001) of unit vectors.

    The first centres are picked one after the other, each the vector that is farthest from those before (Gonzalez, 1985), from a sample
    in an order of hashes: nothing else is random.

    Args:
        vectors: (n, D), of the sample, in its order.
        topics: K; fewer where there are fewer different vectors.

    Returns:
        float32 (K, D), of unit length; the largest topic first.
    """
    rows = _unit(vectors)
    with threadpool_limits(limits=1, user_api="blas"):
        centres = _spread(rows, topics)
        for _ in range(ROUNDS):
            nearest = _nearest(rows, centres)
            sums = np.zeros(centres.shape, dtype=np.float64)
            np.add.at(sums, nearest, rows)  # in the order of rows
            held = np.linalg.norm(sums, axis=1) > 0
            moved = np.where(held[:, None], sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12), centres).astype(
                np.float32
            )
            if np.array_equal(moved, centres):
                break
            centres = moved
        sizes = np.bincount(_nearest(rows, centres), minlength=len(centres))
    return np.asarray(centres[np.argsort(-sizes, kind="stable")], dtype=np.float32)


def assign(vectors: npt.NDArray[np.floating], centres: Vectors) -> npt.NDArray[np.int64]:
    """The topic of each vector, int64 (n,): the nearest centre, and of equally near ones the first."""
    with threadpool_limits(limits=1, user_api="blas"):
        return _nearest(_unit(vectors), centres)


def _spread(rows: Vectors, topics: int) -> Vectors:
    picked, closest = [0], rows @ rows[0]
    while len(picked) < min(topics, len(rows)):
        farthest = int(np.argmin(closest))
        if closest[farthest] > 1 - 1e-6:
            break
        picked.append(farthest)
        closest = np.maximum(closest, rows @ rows[farthest])
    return np.asarray(rows[picked], dtype=np.float32)


def _nearest(rows: Vectors, centres: Vectors) -> npt.NDArray[np.int64]:
    blocks = [np.argmax(rows[start : start + _BLOCK] @ centres.T, axis=1) for start in range(0, len(rows), _BLOCK)]
    return np.concatenate([np.zeros(0, dtype=np.int64), *blocks]).astype(np.int64)


def _unit(vectors: npt.NDArray[np.floating]) -> Vectors:
    rows = vectors.astype(np.float32)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), dtype=np.float32)
