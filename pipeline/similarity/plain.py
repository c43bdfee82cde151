"""Joins and nearest rows on the CPU with numpy's products: needs no compiler, and is the faster one where there is little to do."""

import math

import numpy as np
import torch

from pipeline.similarity.blocks import blocks
from pipeline.similarity.bound import (
    Double,
    Half,
    Hits,
    Index,
    basis,
    below,
    choose_k,
    confirm,
    exact_cosines,
    merge,
    product_slack,
    reduce,
    squared_lengths,
)

_SIDE = 2048  # a block of products takes 16 MB
_FEW_PAIRS = 4_000_000  # below this, finding a basis takes longer than the product it saves
_CHECK = 50_000  # an exact recheck takes as long as the product does for this many coordinates of a pair; measured, 384 dimensions
_PAIR = 20.0  # comparing and listing, in coordinates


def join(queries: Half, corpus: Half | None, min_cosine: float) -> Hits:
    """Pairs at or above the threshold, exact.

    Args:
        queries: float16 (Q, D), rows of about unit length.
        corpus: float16 (N, D), likewise; None joins `queries` with themselves, left < right.
        min_cosine: the threshold.

    Raises:
        ValueError: a row without unit length; says which.
    """
    other = queries if corpus is None else corpus
    squares = [squared_lengths(queries, "vectors" if corpus is None else "queries")]
    squares += squares if corpus is None else [squared_lengths(corpus, "corpus")]
    k, columns = queries.shape[1], np.empty((queries.shape[1], 0), dtype=np.float32)
    if len(queries) * len(other) > _FEW_PAIRS:
        columns = basis(queries) if corpus is None else basis(queries, corpus)
        k = choose_k(queries, other, columns, min_cosine, check=_CHECK, fixed=_PAIR)
    left = reduce(queries, columns, k, squares[0])
    right = left if corpus is None else reduce(other, columns, k, squares[1])
    lowest = below(min_cosine - left.slack - product_slack(k + 1))
    parts = []
    for top, bottom, begin, end in blocks(len(queries), None if corpus is None else len(corpus), _SIDE):
        # numpy lists the places of a row many times as fast as those of a table.
        passed = np.flatnonzero(left.coordinates[top:bottom] @ right.coordinates[begin:end].T >= lowest)
        i, j = passed // (end - begin) + top, passed % (end - begin) + begin
        if corpus is None and top == begin:
            i, j = i[i < j], j[i < j]
        if len(i):
            parts.append((top, confirm(queries, other, i, j, min_cosine, *squares)))
    return merge(parts)


def nearest(queries: Half, corpus: Half, k: int) -> tuple[Index, Double]:
    """The k rows of the corpus with the largest cosines, exact; see `join.nearest`."""
    query_squares, corpus_squares = squared_lengths(queries, "queries"), squared_lengths(corpus, "corpus")
    dimensions = queries.shape[1]
    as_they_are = np.empty((dimensions, 0), dtype=np.float32)
    indices = np.full((len(queries), k), -1, dtype=np.int64)
    cosines = np.full((len(queries), k), -math.inf)
    for top in range(0, len(queries), _SIDE // 4):
        rows = slice(top, top + _SIDE // 4)
        left = reduce(queries[rows], as_they_are, dimensions, query_squares[rows])
        for begin in range(0, len(corpus), _SIDE * 4):
            columns = slice(begin, begin + _SIDE * 4)
            right = reduce(corpus[columns], as_they_are, dimensions, corpus_squares[columns])
            product = left.coordinates[:, :dimensions] @ right.coordinates[:, :dimensions].T
            slack = left.slack + product_slack(dimensions)
            # A row can only be among the first k if it may reach the kth so far, and the kth of this block.
            kth = cosines[rows, -1]
            if product.shape[1] >= k:
                kth = np.maximum(kth, torch.from_numpy(product).topk(k).values[:, -1].numpy().astype(np.float64) - slack)
            reach = (kth - slack - 2.0**-20).astype(np.float32)
            i, j = np.divmod(np.flatnonzero(product >= reach[:, np.newaxis]), product.shape[1])
            exact = exact_cosines(queries, corpus, i + top, j + begin, query_squares, corpus_squares)
            indices[rows], cosines[rows] = _merge(indices[rows], cosines[rows], i, j + begin, exact)
    cosines[indices < 0] = math.nan
    return indices, cosines


def _merge(indices: Index, cosines: Double, rows: Index, columns: Index, exact: Double) -> tuple[Index, Double]:
    """The first k of each row from what it has and what was found: largest cosine, then smallest index."""
    count, k = indices.shape
    rows = np.concatenate([np.repeat(np.arange(count), k), rows])
    columns, exact = np.concatenate([indices.ravel(), columns]), np.concatenate([cosines.ravel(), exact])
    order = np.lexsort((columns, -exact, rows))
    rank = np.arange(len(order)) - np.searchsorted(rows[order], rows[order])
    first = order[rank < k]  # every row has at least k entries: those it started with
    return columns[first].reshape(count, k), exact[first].reshape(count, k)
