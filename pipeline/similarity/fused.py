"""Joins on the CPU in one pass: 8-bit filter, fp32 check and exact recheck of a pair while its rows are in the cache.

The filter. Unit vectors in k rotated coordinates c and the norm t of the rest; c rounded to 8-bit codes q of one scale s, with
e = |c - s q|, n = |c|. Then cosine(a, b) <= s^2 <q_a, q_b> + n_a e_b + n_b e_a + e_a e_b + t_a t_b, and since
t_a t_b <= (t_a^2 + t_b^2) / 2, and likewise e_a e_b, all but the first term is a sum of one number a row. So a pair costs k
products of bytes and one comparison of whole numbers.
"""

from dataclasses import dataclass
from threading import local
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.similarity import vnni
from pipeline.similarity.blocks import Block, blocks, work_through
from pipeline.similarity.bound import Double, Half, Hits, Index, Single, basis, check_lengths, choose_k, merge, reduce, reduction_slack

_SIDE = 10 * vnni.STRIPE  # rows of a block: codes of 1,920 rows fit beside a panel in the second-level cache
_ROWS = 2048  # rows that settle the scale of the codes, and rows made codes at a time
_CAPACITY = 1 << 14  # hits a block may have before it is done again with more room
_NEVER = -(2**29)  # start of a padding row: no product brings it to zero
_CHECK = 8000  # one fp32 check takes as long as the filter does for 8,000 coordinates of a pair; measured, 384 dimensions
_PAIR = 6.0  # loading, comparing and deciding cost a pair as much as 6 coordinates
_LEAST_SCALE = 3e-4  # keeps every sum within 32 bits at 4,096 coordinates
_MARGIN = 0.012  # 8-bit rounding on text embeddings; only the choice of k depends on it


@dataclass(frozen=True)
class Side:
    """One table, ready for the filter; rows padded to a multiple of 192."""

    halves: Half
    squares: Double
    codes: npt.NDArray[np.int8]
    panels: npt.NDArray[np.uint8]
    constants: Double  # what the row adds to the bound, in cosine; without the other side's norm
    errors: Double
    norm: float  # largest of all rows


def join(queries: Half, corpus: Half | None, min_cosine: float, threads: int) -> Hits:
    """Pairs at or above the threshold, exact.

    Args:
        queries: float16 (Q, D), rows of about unit length, C-contiguous, Q >= 1.
        corpus: float16 (N, D), likewise; None joins `queries` with themselves, left < right.
        min_cosine: in (-inf, inf).
        threads: blocks worked on at once.

    Raises:
        ValueError: a row without unit length.
    """
    min_cosine = min(max(min_cosine, -2.0), 2.0)
    left, right, starts, offsets = prepare(queries, corpus, min_cosine, threads)
    low = min_cosine - (queries.shape[1] + 8) * 2.0**-24 * 1.01 - 1e-9
    room = local()

    def work(block: Block) -> tuple[int, Hits]:
        if not hasattr(room, "out"):
            room.out = _room(_CAPACITY)
        while True:
            found = vnni.join_block(
                left.codes, starts, right.panels, offsets, left.halves.ctypes.data, right.halves.ctypes.data, queries.shape[1],
                left.squares, right.squares, *block, corpus is None, low, min_cosine, *room.out,
            )  # fmt: skip
            if found <= len(room.out[0]):
                return block[0], Hits(*(column[:found].copy() for column in room.out))
            room.out = _room(min(2 * found, _SIDE * _SIDE))

    return merge(work_through(blocks(len(left.codes), None if corpus is None else len(right.codes), _SIDE), work, threads))


def prepare(
    queries: Half, corpus: Half | None, min_cosine: float, threads: int
) -> tuple[Side, Side, npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Both sides' codes, and the numbers a query and a corpus row start their sums with: a pair passes where the sum is not negative.

    Args: as in `join`.
    """
    tables = [queries] if corpus is None else [queries, corpus]
    names = ["vectors"] if corpus is None else ["queries", "corpus"]
    squares = [_squares(table, name) for table, name in zip(tables, names, strict=True)]
    columns, k, scale = _plan(tables, min_cosine)
    sides = [_side(table, square, columns, k, scale, threads) for table, square in zip(tables, squares, strict=True)]
    left, right = sides[0], sides[-1]
    slack, _ = reduction_slack(columns, k)
    starts = _integers(left.constants + right.norm * left.errors + (slack - min_cosine), left, scale)
    starts -= 128 * left.codes.sum(axis=1, dtype=np.int32)
    offsets = _aligned(len(right.codes), np.int32)
    offsets[:] = _integers(right.constants + left.norm * right.errors, right, scale)
    return left, right, starts, offsets


def _plan(tables: list[Half], min_cosine: float) -> tuple[Single, int, np.float32]:
    """Columns to rotate by, how many, and the scale of the codes."""
    columns = basis(*tables)
    k = choose_k(tables[0], tables[-1], columns, min_cosine, check=_CHECK, fixed=_PAIR, margin=_MARGIN, step=8)
    if k < len(columns):
        # The leading coordinates are long and the others short; mixed by a random rotation all fit one scale.
        mix, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(k, k)))
        columns = np.ascontiguousarray(columns[:, :k].astype(np.float64) @ mix, dtype=np.float32)
    sample = np.concatenate([np.abs(reduce(_evenly(table), columns, k).coordinates[:, :k]) for table in tables])
    # One value in 10,000 is cut off, which is an error of its row like any other, so that the rest is rounded less.
    return columns, k, np.float32(max(float(np.quantile(sample, 0.9999)) / 127, _LEAST_SCALE))


def _evenly(table: Half) -> Half:
    return np.ascontiguousarray(table[:: max(1, len(table) // _ROWS)])


def _squares(table: Half, name: str) -> Double:
    squares = np.empty(len(table), dtype=np.float64)
    vnni.squares(table.ctypes.data, 0, table.shape[1], squares)
    check_lengths(squares, name)
    return squares


def _side(halves: Half, squares: Double, columns: Single, k: int, scale: np.float32, threads: int) -> Side:
    count, dimensions = halves.shape
    rows, quads = -(-count // vnni.STRIPE) * vnni.STRIPE, -(-k // 4)
    codes = np.zeros((rows, 4 * quads), dtype=np.int8)
    panels = _aligned(rows * 4 * quads, np.uint8).reshape(rows // vnni.PANEL, quads, vnni.PANEL, 4)
    panels.fill(128)
    rests, errors, norms = (np.empty(count, dtype=np.float64) for _ in range(3))
    _, square = reduction_slack(columns, k)
    leading = columns if k < dimensions else np.empty((0, k), dtype=np.float32)

    def work(block: Block) -> None:
        out = codes, panels, rests, errors, norms
        vnni.prepare(halves.ctypes.data, block[0], block[1], dimensions, leading, squares, square, scale, *out)

    work_through(blocks(count, 1, _ROWS), work, threads)
    # All three come from fp32 coordinates by float64 arithmetic; one part in a million upwards covers its rounding.
    errors = errors * (1 + 1e-6) + 1e-9
    return Side(halves, squares, codes, panels, (rests + errors**2) / 2, errors, float(norms.max()) * (1 + 1e-6))


def _integers(cosines: Double, side: Side, scale: np.float32) -> npt.NDArray[np.int32]:
    """Cosines in units of one code product, rounded up; padding rows get a number that never passes."""
    numbers = np.full(len(side.codes), _NEVER, dtype=np.int32)
    numbers[: len(cosines)] = np.ceil(cosines / float(scale) ** 2) + 1
    return numbers


def _aligned(size: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """An array that starts at a multiple of 64 bytes."""
    length = size * np.dtype(dtype).itemsize
    room = np.empty(length + 64, dtype=np.uint8)
    begin = -room.ctypes.data % 64
    return room[begin : begin + length].view(dtype)


def _room(capacity: int) -> tuple[Index, Index, Double]:
    return np.empty(capacity, np.int64), np.empty(capacity, np.int64), np.empty(capacity, np.float64)
