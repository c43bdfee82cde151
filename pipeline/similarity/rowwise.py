"""Unit vectors in fp16, and the cosine of row i of one table with row i of another.

A vector is rounded to fp16 the moment it is computed. Those fp16 values *are* the vector: every cosine is exact with respect to
them. Their products are multiples of 2^-48, so sums in float64 lose nothing in whatever order they are taken.
"""

import numpy as np
import numpy.typing as npt

_BLOCK_ROWS = 8192  # bounds the float64 copies to about 25 MB a block at 384 dimensions


def round_vectors(vectors: npt.NDArray[np.float32] | npt.NDArray[np.float64], name: str = "vectors") -> npt.NDArray[np.float16]:
    """Scale rows to unit length in fp32 and round them to fp16.

    Args:
        vectors: float32 or float64 (N, D), any length but zero.
        name: what errors call them.

    Returns:
        float16 (N, D), rows of unit length to about 3e-4.

    Raises:
        ValueError: a row is zero or not finite; says which.
    """
    return _unit_rows(vectors, name).astype(np.float16)


def renormalise(vectors: npt.NDArray[np.float16]) -> npt.NDArray[np.float32]:
    """Stored fp16 values brought back to unit length.

    Args:
        vectors: float16 (N, D).

    Returns:
        float32 (N, D), rows of unit length to about 1e-7.

    Raises:
        ValueError: a row is zero or not finite; says which.
    """
    return _unit_rows(vectors, "vectors")


def cosine_rows(
    left: npt.NDArray[np.float16] | npt.NDArray[np.float32], right: npt.NDArray[np.float16] | npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    """Cosine of each row of `left` with the same row of `right`, summed in float64.

    A row's result depends on its two vectors alone, bit for bit, and is the same when the sides swap; equal vectors
    give exactly 1.

    Args:
        left: (N, D), of about unit length; other lengths lose exactness, not correctness.
        right: (N, D), likewise.

    Returns:
        float64 (N,), in [-1, 1].

    Raises:
        ValueError: the shapes differ, or a row is zero or not finite; says which.
    """
    if left.ndim != 2 or left.shape != right.shape:
        raise ValueError(f"cosine_rows: left is {left.shape}, right is {right.shape}; expected two equal shapes (rows, dimensions)")
    cosines = np.empty(left.shape[0], dtype=np.float64)
    for start in range(0, left.shape[0], _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        a, b = left[block].astype(np.float64), right[block].astype(np.float64)
        cosines[block] = _dots(a, b) / np.sqrt(_squares(a, "left", start) * _squares(b, "right", start))
    return np.clip(cosines, -1.0, 1.0)


def _unit_rows(rows: npt.NDArray[np.float16] | npt.NDArray[np.float32] | npt.NDArray[np.float64], name: str) -> npt.NDArray[np.float32]:
    lengths = np.sqrt(_squares(rows.astype(np.float64), name))[:, np.newaxis]
    if rows.dtype == np.float64:  # whose range fp32 does not have
        return (rows / lengths).astype(np.float32)
    unit: npt.NDArray[np.float32] = np.divide(rows.astype(np.float32), lengths.astype(np.float32))
    return unit


def _squares(rows: npt.NDArray[np.float64], name: str, first_row: int = 0) -> npt.NDArray[np.float64]:
    if rows.ndim != 2:
        raise ValueError(f"{name}: shape {rows.shape}; expected (rows, dimensions)")
    squares = _dots(rows, rows)
    wrong = np.flatnonzero(~(np.isfinite(squares) & (squares > 0)))
    if wrong.size:
        what = "a zero vector" if squares[wrong[0]] == 0 else "not finite"
        raise ValueError(f"{name}: row {first_row + int(wrong[0])} is {what}, so it has no direction ({wrong.size} such rows)")
    return squares


def _dots(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    # Not einsum or matmul: they choose the order of summation by the number of rows. A sum along the contiguous axis
    # is numpy's pairwise sum of that row, whatever the other rows; order="C" makes it so for any memory layout.
    dots: npt.NDArray[np.float64] = np.add.reduce(np.multiply(a, b, order="C"), axis=1)
    return dots
