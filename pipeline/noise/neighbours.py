"""What the labels of the most similar comparisons say: a neighbour with exchanged sides counts reversed."""

import numpy as np
import numpy.typing as npt
import polars as pl

Double = npt.NDArray[np.float64]

_ROWS = 1024
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
    votes = np.rint((2 * target - 1) * weight * 256) / 256
    balance, mass = np.zeros(len(votes)), np.zeros(len(votes))
    groups = pl.DataFrame({"cluster": cluster}).with_row_index("row").group_by("cluster", maintain_order=True).agg("row")
    counts = np.rint(weight * 256) / 256
    for rows in groups.filter(pl.col("row").list.len() > 1).get_column("row"):
        own = rows.to_numpy()
        apart = _directions(first[own], second[own])
        for start in range(0, len(own), _ROWS):
            cosines = apart[start : start + _ROWS] @ apart.T
            at = np.arange(len(cosines))
            cosines[at, at + start] = 0.0
            balance[own[start : start + _ROWS]] = cosines @ votes[own]
            mass[own[start : start + _ROWS]] = np.abs(cosines) @ counts[own]
    return balance, mass


def _directions(first: npt.NDArray[np.floating], second: npt.NDArray[np.floating]) -> Double:
    """Unit rows along first - second, rounded; zero where the two are equal."""
    apart = first.astype(np.float64) - second.astype(np.float64)
    length = np.sqrt(np.square(apart).sum(axis=1, keepdims=True))
    directions: Double = np.rint(np.divide(apart, length, out=np.zeros_like(apart), where=length > 0) / _STEP) * _STEP
    return directions
