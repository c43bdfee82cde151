"""The exact join on CUDA devices: tensor cores rule pairs out, fp32 thins what is left, float64 decides.

Work. A pair costs K multiply-adds in fp16 (2 K FLOP; K is 64 or 128 for most embeddings) and about two and a half instructions of
compare and select; a survivor costs D multiply-adds in fp32 and 4 D bytes of fp16 vectors, mostly from the second-level cache. At
n = 10^7, K = 64, D = 384 and 0.09 % survivors: 5 * 10^13 pairs, 6.4 * 10^15 FLOP on tensor cores, then 3.5 * 10^13 FLOP and
7 * 10^13 bytes in the check. int8 would halve the first figure only: the compare is the narrower part already, and its coarser rounding
lets more pairs through.

Memory on a device: 2 K bytes a row for the filter, 12 for its length, 2 D for the vector (left on the host and sent block by block where
that does not fit in half of what is free), lists of at most `Sizes.limit` entries, and the hits of one strip.
"""

import importlib.util
import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from operator import itemgetter

import numpy as np
import torch

from pipeline.similarity.bound import Half, Hits, Single, basis, choose_k
from pipeline.similarity.cuda.filters import Fused, Plain
from pipeline.similarity.cuda.tables import DEPTH, Sizes, Table

__all__ = ["join"]

_CHECK = 130_000.0  # 4 D bytes from cache at 24 bytes a clock, against 1/2048 of a clock for one multiply-add
_MARGIN = 1e-3  # about what rounding to fp16 takes off the threshold; only for choosing K

Columns = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def join(queries: Half, corpus: Half | None, min_cosine: float, devices: Sequence[torch.device]) -> Hits:
    """Every pair with cosine >= min_cosine, exactly.

    Args:
        queries: float16 (Q, D), rows of about unit length; may be memory-mapped.
        corpus: float16 (N, D); None joins `queries` with itself, left < right.
        min_cosine: the threshold.
        devices: share the work, at least one; each holds the filter rows of both tables.

    Returns:
        Hits sorted by (left, right), the same for any number of devices.

    Raises:
        ValueError: a row is zero or not finite; says which.
    """
    return join_with(queries, corpus, min_cosine, devices, fused=all(map(_compiles, devices)), sizes=Sizes())


def join_with(queries: Half, corpus: Half | None, min_cosine: float, devices: Sequence[torch.device], *, fused: bool, sizes: Sizes) -> Hits:
    """`join` with the kernels or with torch alone, in blocks of these sizes; neither changes the result."""
    other = queries if corpus is None else corpus
    if not len(queries) or not len(other):
        return Hits(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float64))
    # One thread a device; a single one needs none of its own.
    with ThreadPoolExecutor(len(devices)) if len(devices) > 1 else nullcontext() as pool:
        spread = map if pool is None else pool.map
        workers = list(spread(lambda device: _Worker(queries, corpus, min_cosine, device, sizes), devices))
        rotation = basis(queries) if corpus is None else basis(queries, corpus)
        k = choose_k(queries, other, rotation, min_cosine, check=_CHECK, margin=_MARGIN, step=DEPTH)
        starts = itertools.count(0, sizes.block)  # devices draw from one list: the slower does less. next() is atomic
        strips = sorted(
            itertools.chain.from_iterable(spread(lambda worker: worker.strips(rotation, k, fused, starts), workers)), key=itemgetter(0)
        )
    left, right, cosine = zip(*(hits for _, hits in strips), strict=True)
    return Hits(np.concatenate(left), np.concatenate(right), np.concatenate(cosine))


def _compiles(device: torch.device) -> bool:
    found = importlib.util.find_spec("triton") is not None
    return found and device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


class _Worker:
    """One device's part of the join."""

    def __init__(self, queries: Half, corpus: Half | None, min_cosine: float, device: torch.device, sizes: Sizes) -> None:
        self.sizes, self.min_cosine, self.upper, self.device = sizes, min_cosine, corpus is None, device
        with self._active():
            self.left = Table(queries, "vectors" if corpus is None else "queries", device, sizes)
            self.right = self.left if corpus is None else Table(corpus, "corpus", device, sizes)

    def strips(self, rotation: Single, k: int, fused: bool, starts: Iterator[int]) -> list[tuple[int, Hits]]:
        """Blocks of rows, as long as there are any: the first row and the hits of each."""
        with self._active():
            for table in {self.left, self.right}:
                table.reduce(rotation, k)
            # Cosines end at 1, so beyond 2 nothing changes, and fp32 stays far from its ends.
            wanted = min(max(self.min_cosine, -2.0), 2.0)
            search = (Fused if fused else Plain)(self.left, self.right, self.upper, wanted, self.sizes)
            return [(start, self._strip(search, start)) for start in itertools.takewhile(lambda start: start < self.left.rows, starts)]

    def _active(self) -> AbstractContextManager[object]:
        return torch.cuda.device(self.device) if self.device.type == "cuda" else nullcontext()

    def _strip(self, search: Fused | Plain, start: int) -> Hits:
        """Hits of one block of rows with every column, sorted."""
        vectors = self.left.block(start, min(start + self.sizes.block, self.left.rows))
        nothing = torch.empty(0, dtype=torch.int64, device=vectors.device)
        found: list[Columns] = [(nothing, nothing, nothing.double(), nothing.double())]
        for first in range(start if self.upper else 0, self.right.rows, self.sizes.block):
            columns = self.right.block(first, min(first + self.sizes.block, self.right.rows))
            for left, right in search.candidates(vectors, columns, start, first):
                for at in range(0, len(left), self.sizes.confirm):
                    some, others = (side[at : at + self.sizes.confirm].long() for side in (left, right))
                    found.append(self._confirm(vectors, columns, start, first, some, others))
        sides = [torch.cat(column) for column in zip(*found, strict=True)]
        order = torch.argsort(sides[0] * self.right.rows + sides[1])
        lefts, rights, dots, squares = (column[order].cpu().numpy() for column in sides)
        # Root and quotient by numpy, as in `bound.confirm`: torch's square root is not the nearest number on every processor.
        cosines = np.clip(dots / np.sqrt(squares), -1.0, 1.0)
        kept = cosines >= self.min_cosine
        return Hits(lefts[kept], rights[kept], cosines[kept])

    def _confirm(
        self, vectors: torch.Tensor, columns: torch.Tensor, start: int, first: int, left: torch.Tensor, right: torch.Tensor
    ) -> Columns:
        """Pairs that are hits or within rounding of one; their dot products, exact; the products of their squared lengths."""
        dots = (vectors[left].double() * columns[right].double()).sum(dim=1)
        left, right = left + start, right + first
        squares = self.left.squares[left] * self.right.squares[right]
        kept = torch.nonzero(dots / squares.sqrt() >= self.min_cosine - 1e-12)[:, 0]
        return left[kept], right[kept], dots[kept], squares[kept]
