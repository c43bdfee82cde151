"""BMAS: how well each token of one text is met by some token of the other, and the reverse, from static token embeddings."""

import math

import numpy as np
import numpy.typing as npt

from pipeline.similarity.rowwise import round_vectors

MAX_TOKENS = 4096  # read of a text: the cost grows with the product of both texts' distinct tokens
_BLOCK_NUMBERS = 1 << 18  # of a block's vectors or cosines: they stay in the cache
_LONGEST = 4096  # a row of whole numbers: no sum of products of two such rows passes 2^24, so fp32 adds them up exactly
_FIXED_POINT = 2.0**40  # best cosines are added up as whole numbers of 2^-40, so that no order of summation shows

_Ids = npt.NDArray[np.int32] | npt.NDArray[np.int64]


def bmas(
    left_ids: _Ids,
    left_offsets: npt.NDArray[np.int64],
    right_ids: _Ids,
    right_offsets: npt.NDArray[np.int64],
    table: npt.NDArray[np.float32],
) -> npt.NDArray[np.float64]:
    """Bidirectional max-average similarity of N pairs of texts.

    The mean over the left tokens of each one's best cosine with a right token, and the same from the right; half of both
    added. Repeated tokens count as often as they stand; those whose embedding is zero, as that of padding may be, do not
    count. The embeddings are brought to unit length and rounded to multiples of about 1 / 4090, which makes every dot
    product exact in fp32: a pair's result depends on its tokens alone, bit for bit, and is the same when the sides swap.
    It is about 1e-4 from what the embeddings give unrounded. Idea: Mixed-R1 (2025); the formula is read from the name.

    Args:
        left_ids: token ids end to end, rows of `table`; of each text, the first 4096 count.
        left_offsets: int64 (N + 1,); text i is `left_ids[left_offsets[i] : left_offsets[i + 1]]`.
        right_ids: likewise.
        right_offsets: likewise.
        table: (V, D), one embedding a token, of any length.

    Returns:
        float64 (N,), in [-1, 1]; NaN where a text has no token.

    Raises:
        ValueError: the two sides have other numbers of texts, an id is not in the table, or the embedding of a used token is not finite.
    """
    if left_offsets.shape != right_offsets.shape:
        raise ValueError(f"bmas: {left_offsets.size - 1} left texts, {right_offsets.size - 1} right texts; expected as many")
    used, numbers = np.unique(np.concatenate([left_ids, right_ids]).astype(np.int64), return_inverse=True)
    if used.size and not 0 <= used[0] <= used[-1] < len(table):
        raise ValueError(f"bmas: token ids from {used[0]} to {used[-1]}; expected rows of a table of {len(table)}")
    vectors, squares = _whole_numbers(table[used])
    left = _Sets(numbers[: left_ids.size], left_offsets, squares)
    right = _Sets(numbers[left_ids.size :], right_offsets, squares)
    scores = np.full(left_offsets.size - 1, np.nan)
    both = np.flatnonzero((left.sizes > 0) & (right.sizes > 0))
    # Pairs of like size share a block: less of it is padding. Results do not depend on the block.
    both = both[np.argsort(np.maximum(left.sizes, right.sizes)[both], kind="stable")]
    widest = np.maximum(left.sizes, right.sizes)[both]
    start = 0
    while start < both.size:
        rows = min(both.size - start, 1024)
        while rows > 1 and rows * int(widest[start + rows - 1]) * max(table.shape[1], int(widest[start + rows - 1])) > _BLOCK_NUMBERS:
            rows //= 2
        block = both[start : start + rows]
        scores[block] = _block(left, right, block, vectors, squares)
        start += rows
    return scores


def _whole_numbers(embeddings: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """Directions as whole numbers (U, D), and their squared lengths (U,): 0 for a row of zeros."""
    rows = np.zeros_like(embeddings, dtype=np.float32)
    some = embeddings.any(axis=1)
    # fp16 makes a row longer by 3e-4 at most, rounding by half a unit in each dimension.
    scale = np.float32(_LONGEST * (1 - 1e-3) - math.sqrt(embeddings.shape[1]) / 2)
    rows[some] = np.rint(round_vectors(embeddings[some], "token embeddings").astype(np.float32) * scale)
    return rows, np.square(rows).sum(axis=1, dtype=np.float64)


class _Sets:
    """The distinct tokens of each text that have a direction, with how often each stands there.

    Attributes:
        sizes: int64 (N,), distinct tokens of each text.
    """

    def __init__(self, numbers: npt.NDArray[np.int64], offsets: npt.NDArray[np.int64], squares: npt.NDArray[np.float64]) -> None:
        lengths = np.diff(offsets)
        text = np.repeat(np.arange(lengths.size), lengths)
        counted = np.arange(numbers.size) - np.repeat(offsets[:-1] - offsets[0], lengths) < MAX_TOKENS
        counted &= squares[numbers] > 0
        found, self._counts = np.unique((text * squares.size + numbers)[counted], return_counts=True)
        text, self._tokens = np.divmod(found, max(squares.size, 1))
        self.sizes = np.bincount(text, minlength=lengths.size)
        self._starts = np.cumsum(self.sizes) - self.sizes

    def padded(self, rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Token numbers and counts of some texts, both (R, widest); a place that is empty repeats the first token, with count 0."""
        place = np.arange(self.sizes[rows].max())
        filled = place < self.sizes[rows, np.newaxis]
        at = self._starts[rows, np.newaxis] + np.where(filled, place, 0)
        return self._tokens[at], np.where(filled, self._counts[at], 0)


def _block(
    left: _Sets, right: _Sets, rows: npt.NDArray[np.int64], vectors: npt.NDArray[np.float32], squares: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    (a, a_counts), (b, b_counts) = left.padded(rows), right.padded(rows)
    # Not matmul: it would share each of these small products among threads, which wait longer than they work.
    products = np.vecdot(vectors[a][:, :, np.newaxis, :], vectors[b][:, np.newaxis, :, :])
    cosines = products / np.sqrt(squares[a][:, :, np.newaxis] * squares[b][:, np.newaxis, :])
    # An empty place repeats a token that is there, so it is never a better match.
    means = [_mean(cosines.max(axis=2), a_counts), _mean(cosines.max(axis=1), b_counts)]
    return np.clip((means[0] + means[1]) / 2, -1.0, 1.0)


def _mean(best: npt.NDArray[np.float64], counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    total = (np.rint(best * _FIXED_POINT).astype(np.int64) * counts).sum(axis=1)
    mean: npt.NDArray[np.float64] = total / counts.sum(axis=1) / _FIXED_POINT
    return mean
