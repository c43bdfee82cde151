"""An upper bound of every cosine from a few coordinates, and the exact recheck of what the bound lets through.

Rotate unit vectors by an orthonormal basis, keep the first k coordinates c and the norm t of the rest. By Cauchy and
Schwarz, cosine(a, b) <= <c_a, c_b> + t_a t_b. Any orthonormal basis is valid; the leading eigenvectors of the second
moments make the rest short, so few coordinates rule out nearly all pairs.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

Half = npt.NDArray[np.float16]
Single = npt.NDArray[np.float32]
Double = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

_BLOCK_ROWS = 2048  # copies of a block stay in the processor's cache: 3 MB at 384 dimensions
_BASIS_ROWS = 2048  # a basis from more rows than these rules out no more pairs
_PAIR_ROWS = 1024  # half a million pairs: the share of survivors to within a few percent at 1 in 1,000
_UNIT = 2.0**-24  # largest relative rounding error of fp32


class Hits(NamedTuple):
    """Index pairs at or above a threshold, sorted by (left, right)."""

    left: Index
    right: Index
    cosine: Double


@dataclass(frozen=True)
class Reduced:
    """Rows whose products bound cosines: <row_a, row_b> + slack >= cosine(a, b), for exact arithmetic on these fp32 values.

    Attributes:
        coordinates: float32 (N, k + 1): k leading coordinates of the unit vector, then an upper bound of the norm of the rest.
        slack: bounds every error of making the rows. A filter that multiplies in low precision adds its own.
    """

    coordinates: Single
    slack: float


def squared_lengths(vectors: Half, name: str = "vectors") -> Double:
    """<a, a> of every row, exact.

    Args:
        vectors: float16 (N, D), rows of about unit length. Read in blocks.
        name: what errors call them.

    Raises:
        ValueError: not a float16 table, or a row is zero, not finite, or shorter than a half or longer than 2; says which.
    """
    if vectors.ndim != 2 or vectors.dtype != np.float16:
        raise ValueError(f"{name}: {vectors.dtype} {vectors.shape}; expected float16 (rows, dimensions)")
    squares = np.empty(len(vectors), dtype=np.float64)
    for start in range(0, len(vectors), _BLOCK_ROWS):
        block = _single(vectors[start : start + _BLOCK_ROWS])
        squares[start : start + _BLOCK_ROWS] = _dots(block, block)
    # Up to length 2 every partial sum of a product is a multiple of 2^-48 below 2^5, hence exact in float64.
    check_lengths(squares, name)
    return squares


def check_lengths(squares: Double, name: str) -> None:
    """Raise for the first row that is no direction, or too long for its products to be summed exactly.

    Args:
        squares: <a, a> of every row.
        name: what the error calls the table.
    """
    wrong = np.flatnonzero(~((squares >= 0.25) & (squares <= 4.0)))
    if wrong.size:
        row, square = int(wrong[0]), float(squares[wrong[0]])
        what = f"has length {math.sqrt(square):.3g}" if 0 < square < math.inf else "is a zero vector" if square == 0 else "is not finite"
        raise ValueError(f"{name}: row {row} {what}; expected unit length ({wrong.size} such rows)")


def basis(*tables: Half) -> Single:
    """Orthonormal columns, leading directions first, from evenly spaced rows of all tables together.

    Args:
        tables: float16 (N, D) each, together at least one row.

    Returns:
        float32 (D, C), ordered by falling second moment of the sampled rows (principal components without centring). C is D, or
        the number of sampled rows where that is less: they have no other directions.
    """
    rows = _BASIS_ROWS if tables[0].shape[1] <= _BASIS_ROWS else _BASIS_ROWS // 2  # a decomposition costs their number cubed
    sample = np.concatenate([_sample(table, max(1, rows // len(tables))) for table in tables])
    if len(sample) >= sample.shape[1]:
        _, columns = np.linalg.eigh((sample.T @ sample).astype(np.float64))
    else:
        span, _ = np.linalg.qr(sample.T.astype(np.float64))
        within = sample @ span
        _, turned = np.linalg.eigh(within.T @ within)
        columns = span @ turned
    return np.ascontiguousarray(columns[:, ::-1], dtype=np.float32)


def reduction_slack(basis: Single, k: int) -> tuple[float, float]:
    """Error bounds of rows made in fp32 with k columns, in any order of summation, with or without fused multiply-add.

    With B the columns as they are (B'B = I + E), c = B'u and r = u - Bc, <u, v> = <c_u, c_v> - c_u'E c_v + <r_u, r_v>, and
    |r|^2 = 1 - |c|^2 + c'E c. A dot product of D terms in fp32 errs by at most D 2^-24 (1 + small) of the product of the
    lengths (Higham 2002, section 3.1), so the vector of k of them by sqrt(k) times that.

    Args:
        basis: float32 (D, C).
        k: 1 to C, or D for the rows as they are: the identity is an orthonormal basis too, and costs no product.

    Returns:
        (slack, square): slack as in Reduced; square is to be added to 1 - |c|^2 to bound |r|^2 from above.
    """
    dimensions = len(basis)
    error, skew = 8 * _UNIT, 0.0
    if k < dimensions:
        exact = basis[:, :k].astype(np.float64)
        skew = (float(np.linalg.norm(exact.T @ exact - np.eye(k))) + 1e-12) * 1.01
        error += (dimensions + 8) * _UNIT * 1.01 * math.sqrt(k) * (1 + skew)
    slack = 2 * error + error**2 + skew
    return slack, slack


def reduce(vectors: Half, basis: Single, k: int, squares: Double | None = None) -> Reduced:
    """The rows in k leading coordinates plus the norm of the rest. Read in blocks.

    Args:
        vectors: float16 (N, D).
        basis: float32 (D, C), orthonormal columns, as `basis` returns them.
        k: 1 to C, or D for the rows as they are.
        squares: what `squared_lengths` returned for these rows, when already known.
    """
    slack, _ = reduction_slack(basis, k)
    coordinates = np.empty((len(vectors), k + 1), dtype=np.float32)
    for start, rows in reduce_blocks(vectors, basis, k, squared_lengths(vectors) if squares is None else squares):
        coordinates[start : start + len(rows)] = rows
    return Reduced(coordinates, slack)


def reduce_blocks(vectors: Half, basis: Single, k: int, squares: Double) -> Iterator[tuple[int, Single]]:
    """What `reduce` returns, a few thousand rows at a time.

    Yields:
        (index of the first row, coordinates of the rows).
    """
    _, square = reduction_slack(basis, k)
    leading = np.ascontiguousarray(basis[:, :k])
    for start in range(0, len(vectors), _BLOCK_ROWS):
        rows = _single(vectors[start : start + _BLOCK_ROWS]).numpy()
        lengths = np.sqrt(squares[start : start + _BLOCK_ROWS, np.newaxis]).astype(np.float32)
        coordinates = np.empty((len(rows), k + 1), dtype=np.float32)
        # numpy's product, not torch's: torch has a switch that makes fp32 products on a CPU bf16.
        np.divide(rows @ leading if k < rows.shape[1] else rows, lengths, out=coordinates[:, :k])
        rest = 1.0 - np.einsum("ij,ij->i", coordinates[:, :k], coordinates[:, :k], dtype=np.float64)
        # One part in a million upwards covers rounding the root to fp32.
        coordinates[:, k] = np.sqrt(np.maximum(rest, 0.0) + square) * (1 + 1e-6)
        yield start, coordinates


def choose_k(
    queries: Half, corpus: Half, basis: Single, min_cosine: float, *, check: float, fixed: float = 0.0, margin: float = 0.0, step: int = 16
) -> int:
    """The number of coordinates whose filter and checks together cost least, from the survivors among sampled pairs.

    Args:
        queries: float16 (Q, D).
        corpus: float16 (N, D); the same object for a self join.
        basis: as `basis` returns it.
        min_cosine: the threshold.
        check: cost of checking one survivor, in filter coordinates (filtering one pair by one coordinate costs 1).
        fixed: cost of a pair that does not depend on k, in the same unit.
        margin: the filter's own rounding, lowers the threshold.
        step: candidates are multiples of this.

    Returns:
        A multiple of `step` below D, or D where nothing less pays (the full product).
    """
    dimensions: int = basis.shape[0]
    if queries is corpus:  # no row against itself: its cosine of 1 stands for n pairs, not for a share of n^2
        sample = _sample(queries, 2 * _PAIR_ROWS)
        left, right = sample[::2], sample[1::2]
    else:
        left, right = _sample(queries, _PAIR_ROWS), _sample(corpus, _PAIR_ROWS)
    share = 1 / max(1, len(left) * len(right))
    rows, columns = left @ basis, right @ basis
    rests = [np.sqrt(np.maximum(1.0 - np.cumsum(np.square(side), axis=1), 0.0)) for side in (rows, columns)]
    product = np.zeros((len(left), len(right)), dtype=np.float32)
    best, least = dimensions, math.inf
    for k in range(step, min(dimensions, basis.shape[1] + 1), step):
        if k + fixed >= least:  # survivors cannot win this back
            return best
        product += rows[:, k - step : k] @ columns[:, k - step : k].T
        survivors = np.count_nonzero(product + np.outer(rests[0][:, k - 1], rests[1][:, k - 1]) >= min_cosine - margin)
        cost = k + fixed + check * survivors * share
        if cost < least:
            best, least = k, cost
    whole = dimensions + fixed + check * share * np.count_nonzero(left @ right.T >= min_cosine - margin)
    return best if least <= whole else dimensions


def confirm(
    queries: Half,
    corpus: Half,
    left: Index,
    right: Index,
    min_cosine: float,
    query_squares: Double | None = None,
    corpus_squares: Double | None = None,
) -> Hits:
    """Exact cosines of candidate pairs; those at or above the threshold, in the order they came.

    Args:
        queries: float16 (Q, D).
        corpus: float16 (N, D).
        left: rows of `queries`, (C,).
        right: rows of `corpus`, (C,).
        min_cosine: kept are pairs with cosine >= min_cosine in float64.
        query_squares: what `squared_lengths` returned for `queries`, when already known.
        corpus_squares: likewise.
    """
    query_squares = squared_lengths(queries, "queries") if query_squares is None else query_squares
    corpus_squares = squared_lengths(corpus, "corpus") if corpus_squares is None else corpus_squares
    cosines = exact_cosines(queries, corpus, left, right, query_squares, corpus_squares)
    kept = np.flatnonzero(cosines >= min_cosine)
    return Hits(left[kept], right[kept], cosines[kept])


def exact_cosines(queries: Half, corpus: Half, left: Index, right: Index, query_squares: Double, corpus_squares: Double) -> Double:
    """Cosines of index pairs, float64 in [-1, 1]; arguments as in `confirm`. Read in blocks."""
    cosines = np.empty(len(left), dtype=np.float64)
    for start in range(0, len(left), _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        dots = _dots(_single(queries[left[block]]), _single(corpus[right[block]]))
        cosines[block] = dots / np.sqrt(query_squares[left[block]] * corpus_squares[right[block]])
    return np.clip(cosines, -1.0, 1.0)


def product_slack(terms: int) -> float:
    """Bounds the error of an fp32 product of two rows of a `Reduced` table, in any order of summation."""
    return (terms + 8) * _UNIT * 1.01


def below(value: float) -> float:
    """An fp32 number below the value, for comparing in fp32."""
    return float(np.nextafter(np.float32(value), np.float32(-math.inf)))


def merge(parts: list[tuple[int, Hits]]) -> Hits:
    """Hits of blocks in the order (left, right), moved strip by strip: memory never holds all of them twice.

    Args:
        parts: first row of a block and its hits, in any order. Blocks with equal first rows are a strip, and strips share no rows.
            Left empty.
    """
    total = sum(len(part.left) for _, part in parts)
    hits = Hits(np.empty(total, np.int64), np.empty(total, np.int64), np.empty(total, np.float64))
    parts.sort(key=itemgetter(0), reverse=True)
    done = 0
    while parts:
        first, strip = parts[-1][0], []
        while parts and parts[-1][0] == first:
            strip.append(parts.pop()[1])
        columns = [np.concatenate(column) for column in zip(*strip, strict=True)]
        del strip
        order = np.lexsort((columns[1], columns[0]))
        for out, column in zip(hits, columns, strict=True):
            out[done : done + len(order)] = column[order]
        done += len(order)
    return hits


def _sample(vectors: Half, rows: int) -> Single:
    """At most `rows` evenly spaced rows, scaled to unit length to about 1e-6."""
    at = np.linspace(0, len(vectors) - 1, min(rows, len(vectors))).astype(np.int64) if len(vectors) else np.empty(0, np.int64)
    single = _single(vectors[at]).numpy()
    scaled: Single = single / np.linalg.norm(single, axis=1, keepdims=True)
    return scaled


def _single(rows: Half) -> torch.Tensor:
    """fp32, which holds fp16 values and their products exactly; a copy, so that read-only and memory-mapped rows are welcome."""
    return torch.from_numpy(np.array(rows, order="C")).float()


def _dots(a: torch.Tensor, b: torch.Tensor) -> Double:
    dots: Double = (a * b).sum(dim=1, dtype=torch.float64).numpy()
    return dots
