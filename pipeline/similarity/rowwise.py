"""Unit vectors in fp16, and the cosine of row i of one table with row i of another.

A vector is rounded to fp16 the moment it is computed. Those fp16 values, brought back to unit length in fp32, *are* the
vector: every cosine is exact with respect to them.
"""

import numpy as np
import numpy.typing as npt

_BLOCK_ROWS = 8192  # bounds the float64 copies to about 25 MB a block at 384 dimensions


def round_vectors(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float16]:
    """Scale rows to unit length in fp32 and round them to fp16.

    Args:
        vectors: float32 (N, D), any length but zero.

    Returns:
        float16 (N, D), rows of unit length to about 3e-4.

    Raises:
        ValueError: a row is zero or not finite; says which.
    """
    return _unit_rows(vectors, "vectors").astype(np.float16)


def renormalise(vectors: npt.NDArray[np.float16]) -> npt.NDArray[np.float32]:
    """The vectors that stored fp16 values stand for.

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
        left: (N, D). float16 is renormalised first; float32 is taken as renormalised already.
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
        a, b = _vectors(left[block], "left", start), _vectors(right[block], "right", start)
        cosines[block] = _dots(a, b) / np.sqrt(_dots(a, a) * _dots(b, b))
    return np.clip(cosines, -1.0, 1.0)


def _vectors(rows: npt.NDArray[np.float16] | npt.NDArray[np.float32], side: str, first_row: int) -> npt.NDArray[np.float64]:
    if rows.dtype == np.float16:
        return _unit_rows(rows, side, first_row).astype(np.float64)
    exact = rows.astype(np.float64)
    _lengths(exact, side, first_row)
    return exact


def _unit_rows(rows: npt.NDArray[np.float16] | npt.NDArray[np.float32], name: str, first_row: int = 0) -> npt.NDArray[np.float32]:
    lengths = _lengths(rows.astype(np.float64), name, first_row)
    unit: npt.NDArray[np.float32] = rows.astype(np.float32) / lengths.astype(np.float32)[:, np.newaxis]
    return unit


def _lengths(rows: npt.NDArray[np.float64], name: str, first_row: int) -> npt.NDArray[np.float64]:
    if rows.ndim != 2:
        raise ValueError(f"{name}: shape {rows.shape}; expected (rows, dimensions)")
    lengths: npt.NDArray[np.float64] = np.sqrt(_dots(rows, rows))
    wrong = np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))
    if wrong.size:
        what = "a zero vector" if lengths[wrong[0]] == 0 else "not finite"
        raise ValueError(f"{name}: row {first_row + int(wrong[0])} is {what}, so it has no direction ({wrong.size} such rows)")
    return lengths


def _dots(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    # Not einsum or matmul: they choose the order of summation by the number of rows. A sum along the contiguous axis
    # is numpy's pairwise sum of that row, whatever the other rows; order="C" makes it so for any memory layout.
    dots: npt.NDArray[np.float64] = np.add.reduce(np.multiply(a, b, order="C"), axis=1)
    return dots
