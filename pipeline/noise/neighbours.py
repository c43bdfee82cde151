"""What the labels of the most similar comparisons say: a neighbour with exchanged sides counts reversed."""

import numpy as np
import numpy.typing as npt
import polars as pl

Double = npt.NDArray[np.float64]

_PAIRS = 1024  # compared with their siblings at once
_STEP = 2.0**-12


def siblings(
    cluster: pl.Series, first: npt.NDArray[np.floating], second: npt.NDArray[np.floating], target: Double, weight: Double
) -> tuple[Double, Double]:
    """Evidence from the other comparisons of the same prompt: an answer that won elsewhere, or resembles one that did.

    The votes of siblings, +1 for first to -1 for second, count by cosine(a - b, a' - b'), negative for exchanged sides. The pair's
    own label never counts. This is the first step of a regression on the prompt's pairs alone: with few votes a prompt, solving
    it would fit their noise.

    Args:
        cluster: (N,) prompt cluster ids; all pairs of a cluster are among the rows, or those missing do not count.
        first: (N, D) unit vectors, float16 or float32; zero rows for blank texts.
        second: (N, D), likewise.
        target: (N,) P(first is better) by the votes, 0 to 1.
        weight: (N,) what a pair's label counts, 0 or more.

    Returns:
        (balance, mass): the sum of weighted votes for first less those for second, and the sum of absolute weights, so that
        |balance| <= mass; both 0 for a pair alone. Exact on differences rounded to 2^-12, so in any order of rows.
    """
    counts = np.rint(weight * 256) / 256
    votes = np.rint((2 * target - 1) * weight * 256) / 256
    balance, mass = np.zeros(len(votes)), np.zeros(len(votes))
    _, place, sizes = np.unique(cluster.to_numpy(), return_inverse=True, return_counts=True)
    rows = np.argsort(place, kind="stable")  # cluster by cluster
    starts = np.cumsum(sizes) - sizes
    for size in np.unique(sizes[sizes > 1]):
        alike = starts[sizes == size]
        step = max(1, _PAIRS // int(size))
        for at in range(0, len(alike), step):
            own = rows[alike[at : at + step, np.newaxis] + np.arange(size)]  # (clusters, size)
            apart = _directions(first[own], second[own])
            for low in range(0, int(size), _PAIRS):
                part = slice(low, low + _PAIRS)
                cosines = apart[:, part] @ apart.transpose(0, 2, 1)
                within = np.arange(cosines.shape[1])
                cosines[:, within, within + low] = 0.0
                balance[own[:, part]] = (cosines @ votes[own][..., np.newaxis])[..., 0]
                mass[own[:, part]] = (np.abs(cosines) @ counts[own][..., np.newaxis])[..., 0]
    return balance, mass


def _directions(first: npt.NDArray[np.floating], second: npt.NDArray[np.floating]) -> Double:
    """Unit vectors along first - second, rounded; zero where the two are equal."""
    apart = first.astype(np.float64) - second.astype(np.float64)
    length = np.sqrt(np.square(apart).sum(axis=-1, keepdims=True))
    directions: Double = np.rint(np.divide(apart, length, out=np.zeros_like(apart), where=length > 0) / _STEP) * _STEP
    return directions
