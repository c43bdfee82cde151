"""Every pair of vectors at or above a cosine, and the nearest rows: exact, and the same on every path."""

import functools
import math
import platform
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pipeline.similarity import plain
from pipeline.similarity.bound import Double, Half, Hits, Index, squared_lengths
from pipeline.similarity.rowwise import round_vectors

Vectors = npt.NDArray[np.float16] | npt.NDArray[np.float32] | npt.NDArray[np.float64]

_MANY_PAIRS = 500_000_000  # below this the plain path is done before numba and the kernel have been loaded


def self_join(vectors: Vectors, min_cosine: float, *, threads: int | None = None, device: str | None = None) -> Hits:
    """Every pair of rows with cosine >= min_cosine.

    The cosine is <a, b> / sqrt(<a, a> <b, b>) with exact sums of the fp16 values, rounded to float64: the same bits on every
    path, and 1 for equal rows.

    Args:
        vectors: (N, D). float16 rows of about unit length are the vectors, and may be memory-mapped; float32 and float64 rows of
            any length go through `round_vectors` first.
        min_cosine: at -1 or less every pair is a hit, above 1 none.
        threads: of the compiled kernel; None takes torch's number. Without it numpy's products use what their library was told.
            The result does not depend on it.
        device: "cpu", "cuda" (all cards) or "cuda:1"; None takes all cards where there are any and enough to do.

    Returns:
        Hits with left < right, sorted by (left, right).

    Raises:
        ValueError: min_cosine is NaN, threads is below 1, the table is not a table of floats, or a row is zero, not finite or
            float16 and far from unit length; says which.
    """
    return _join(_table(vectors, "vectors"), None, min_cosine, threads, device)


def cross_join(queries: Vectors, corpus: Vectors, min_cosine: float, *, threads: int | None = None, device: str | None = None) -> Hits:
    """Every pair of a row of `queries` and a row of `corpus` with cosine >= min_cosine.

    Args:
        queries: (Q, D), as in `self_join`.
        corpus: (N, D), likewise.
        min_cosine: as in `self_join`.
        threads: as in `self_join`.
        device: as in `self_join`.

    Returns:
        Hits, sorted by (left, right): rows of `queries` and rows of `corpus`.

    Raises:
        ValueError: as in `self_join`, or the tables differ in dimensions.
    """
    return _join(*_tables(queries, corpus), min_cosine, threads, device)


def nearest(queries: Vectors, corpus: Vectors, k: int) -> tuple[Index, Double]:
    """The k rows of `corpus` with the largest cosines to each row of `queries`; equal cosines go to the smaller index.

    Args:
        queries: (Q, D), as in `self_join`.
        corpus: (N, D), likewise.
        k: at least 1.

    Returns:
        (indices int64 (Q, k), cosines float64 (Q, k)), best first; where the corpus has fewer than k rows, -1 and NaN at the end.

    Raises:
        ValueError: as in `cross_join`, or k is below 1.
    """
    if k < 1:
        raise ValueError(f"k is {k}; expected at least 1")
    return plain.nearest(*_tables(queries, corpus), k)


def _join(queries: Half, corpus: Half | None, min_cosine: float, threads: int | None, device: str | None) -> Hits:
    if math.isnan(min_cosine):
        raise ValueError("min_cosine is NaN; expected a number")
    threads = torch.get_num_threads() if threads is None else threads
    if threads < 1:
        raise ValueError(f"threads is {threads}; expected at least 1")
    pairs = len(queries) * (len(queries) if corpus is None else len(corpus))
    if not pairs or min_cosine > 1:
        squared_lengths(queries, "vectors" if corpus is None else "queries")
        if corpus is not None:
            squared_lengths(corpus, "corpus")
        return Hits(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float64))
    cards = _cards(device, pairs)
    if cards:
        from pipeline.similarity import cuda

        return cuda.join(queries, corpus, min_cosine, cards)
    if pairs >= _MANY_PAIRS and compiles():
        from pipeline.similarity import fused

        return fused.join(queries, corpus, min_cosine, threads)
    return plain.join(queries, corpus, min_cosine)


def _cards(device: str | None, pairs: int) -> list[torch.device]:
    if device is None:
        device = "cuda" if pairs >= _MANY_PAIRS and torch.cuda.is_available() else "cpu"
    chosen = torch.device(device)
    if chosen.type == "cpu":
        return []
    return [chosen] if ":" in device else [torch.device(chosen.type, index) for index in range(max(1, torch.cuda.device_count()))]


@functools.cache
def compiles() -> bool:
    """Whether numba is here, free to compile for this processor, and the processor has what the kernel needs."""
    try:
        import llvmlite.binding
        import numba
    except ImportError:
        return False
    config: Any = numba.config
    told = config.DISABLE_JIT or config.CPU_NAME or config.CPU_FEATURES  # by environment variables
    if told or platform.machine().lower() not in {"x86_64", "amd64"}:
        return False
    features = llvmlite.binding.get_host_cpu_features()
    return all(features.get(name, False) for name in ("avx512f", "avx512bw", "avx512vnni", "f16c"))


def _tables(queries: Vectors, corpus: Vectors) -> tuple[Half, Half]:
    left, right = _table(queries, "queries"), _table(corpus, "corpus")
    if left.shape[1] != right.shape[1]:
        raise ValueError(f"queries have {left.shape[1]} dimensions, the corpus {right.shape[1]}; expected the same")
    return left, right


def _table(vectors: Vectors, name: str) -> Half:
    if vectors.ndim != 2 or vectors.dtype.kind != "f":
        raise ValueError(f"{name}: {vectors.dtype} {vectors.shape}; expected floats of shape (rows, dimensions)")
    if vectors.dtype == np.float16:
        return np.ascontiguousarray(vectors, dtype=np.float16)
    return round_vectors(vectors.astype(np.float64) if vectors.dtype == np.float64 else vectors.astype(np.float32), name)
