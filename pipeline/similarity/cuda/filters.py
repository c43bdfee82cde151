"""Two ways to the candidates of a block, one with Triton's kernels and one with torch alone.

Both are given vectors of a block of rows (from row `start` on) and of a block of columns (from `first` on), and yield pairs of
indices into these blocks: every pair that could be a hit, and few others.
"""

import math
from collections.abc import Callable, Iterator

import torch

from pipeline.similarity.bound import below
from pipeline.similarity.cuda.tables import Sizes, Table, filter_threshold

Pairs = tuple[torch.Tensor, torch.Tensor]

_ENTRIES = 32  # words that one program of the check takes apart


class Plain:
    """torch's product and nonzero, a few rows at a time."""

    def __init__(self, left: Table, right: Table, upper: bool, wanted: float, sizes: Sizes) -> None:
        self._left, self._right, self._upper, self._product = left, right, upper, sizes.product
        self._threshold = filter_threshold(left, right, wanted)

    def candidates(self, vectors: torch.Tensor, columns: torch.Tensor, start: int, first: int) -> Iterator[Pairs]:
        """Pairs whose bound reaches the threshold."""
        # fp16 numbers pass through TF32 unchanged, so the switches for it change no product.
        b = self._right.bounding[first : first + len(columns)].float().T
        step = max(1, self._product // len(columns))
        for row in range(0, len(vectors), step):
            a = self._left.bounding[start + row : start + min(row + step, len(vectors))].float()
            left, right = torch.nonzero(a @ b >= self._threshold, as_tuple=True)
            left = left + row
            if self._upper:
                kept = first + right > start + left
                left, right = left[kept], right[kept]
            yield left, right


class Fused:
    """Product, bound and append in one kernel, then a check in fp32; a block with too many candidates is done in halves."""

    def __init__(self, left: Table, right: Table, upper: bool, wanted: float, sizes: Sizes) -> None:
        self._left, self._right, self._upper, self._wanted, self._sizes = left, right, upper, wanted, sizes
        self._threshold = filter_threshold(left, right, wanted)
        self._words, self._pairs = (_List(left.bounding.device, sizes.capacity) for _ in range(2))

    def candidates(self, vectors: torch.Tensor, columns: torch.Tensor, start: int, first: int) -> Iterator[Pairs]:
        """Pairs whose cosine in fp32 reaches the threshold; overwritten when the next are asked for."""
        width = self._sizes.tile_columns
        ranges = [(0, len(columns))]
        while ranges:
            low, high = ranges.pop()
            limit = self._sizes.limit if high - low > width else math.inf
            found = self._run(vectors, columns[low:high], start, first + low, limit)
            if found is None:
                middle = low + -(-(high - low) // (2 * width)) * width
                ranges += [(middle, high), (low, middle)]
            else:
                yield self._pairs.first[:found], self._pairs.second[:found] + low

    def _run(self, vectors: torch.Tensor, columns: torch.Tensor, start: int, first: int, limit: float) -> int | None:
        """Fill the list of pairs; how many, or None where words or pairs exceed the limit."""
        from pipeline.similarity.cuda.kernels import check_words, filter_tiles

        sizes, left, right, words = self._sizes, self._left, self._right, self._words
        depth = left.bounding.shape[1]
        row_tiles, column_tiles = -(-len(vectors) // sizes.tile_rows), -(-len(columns) // sizes.tile_columns)
        diagonal = start - first + 1 if self._upper else -len(vectors)
        held = depth <= sizes.depth and depth & (depth - 1) == 0
        programs = row_tiles * -(-column_tiles // sizes.span)

        def multiply(out: _List) -> None:
            filter_tiles[(programs,)](
                left.bounding[start:], right.bounding[first:], self._threshold, diagonal, row_tiles, column_tiles,
                out.first, out.second, out.count, out.capacity,
                K=depth, BM=sizes.tile_rows, BN=sizes.tile_columns, BK=depth if held else min(64, depth & -depth), SPAN=sizes.span,
                STAGES=2 if held and depth > 64 else 3, num_warps=4 if held else 8, enable_fp_fusion=True,
            )  # fmt: skip

        found = words.fill(multiply, limit)
        if not found:
            return found

        # A sum of D products in fp32, two lengths and their products: fewer than D + 16 roundings of 2^-24, taken twice as large.
        dimensions = vectors.shape[1]
        threshold = below(self._wanted - (dimensions + 16) * 2.0**-23 * max(1.0, abs(self._wanted)))

        def check(out: _List) -> None:
            check_words[(-(-found // _ENTRIES),)](
                vectors, columns, left.lengths[start:], right.lengths[first:], len(vectors), len(columns), threshold, diagonal,
                column_tiles, words.first, words.second, found, out.first, out.second, out.count, out.capacity,
                D=dimensions, WIDTH=sizes.tile_columns, ENTRIES=_ENTRIES, BD=128, num_warps=8, enable_fp_fusion=True,
            )  # fmt: skip

        return self._pairs.fill(check, limit)


class _List:
    """Two int32 columns on a device that a kernel appends to, and a counter that goes on when they are full."""

    def __init__(self, device: torch.device, capacity: int) -> None:
        self.count = torch.zeros(1, dtype=torch.int64, device=device)
        self._allocate(capacity)

    def _allocate(self, capacity: int) -> None:
        self.capacity = capacity
        self.first, self.second = (torch.empty(capacity, dtype=torch.int32, device=self.count.device) for _ in range(2))

    def fill(self, launch: Callable[["_List"], None], limit: float) -> int | None:
        """Run the kernel, again with more room if it had too little; the entries found, or None where they exceed the limit."""
        while True:
            self.count.zero_()
            launch(self)
            found = int(self.count)
            if found <= self.capacity:
                return found
            if found > limit:
                return None
            self._allocate(found + found // 4)
