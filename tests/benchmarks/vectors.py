"""Unit vectors for benchmarks beyond the texts at hand, like sentence embeddings where an exact join feels it.

550 topics differ in 32 directions, the two halves of each in 32 more, and a quarter of a vector's square is its own. Two rows in
a hundred are the row before with a little noise, at cosines of 0.9 to 1: hits grow with the rows, not with their pairs.

Share of pairs that survive a filter at cosine 0.9 which knows 64 coordinates: 0.088 % of these vectors. Of real texts embedded with
MiniLM: 0.09 % of 8,000 answers, which these vectors follow, and 0.01 % of another 40,000 texts, which are the easier ones. With 32
coordinates it is 0.13 %, 0.19 % and 0.15 %.
"""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from pipeline.similarity import round_vectors

_BLOCK = 1 << 16
_TOPICS, _HALF = 550, 32
_OWN = 0.25  # share of a vector's square that no other row has
_SPREAD = 0.11  # most that a row strays from its half
_COPIES = 0.02


def make_vectors(rows: int, dimensions: int = 384, threads: int = 1) -> npt.NDArray[np.float16]:
    """float16 (rows, dimensions), rows of unit length; the first rows are the same however many follow. dimensions is above 64."""
    out = np.empty((rows, dimensions), dtype=np.float16)
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(lambda number: _fill(out, number), range(-(-rows // _BLOCK))):
            pass
    return out


def _fill(out: npt.NDArray[np.float16], number: int) -> None:
    dimensions = out.shape[1]
    fixed, own = np.random.default_rng(0), np.random.default_rng([1, number])
    topics, halves = _unit(fixed, _TOPICS, _HALF), _unit(fixed, 2 * _TOPICS, _HALF)
    rotation = np.linalg.qr(fixed.normal(size=(dimensions, dimensions)))[0].astype(np.float32)
    half = own.integers(0, 2 * _TOPICS, _BLOCK)
    stray = own.uniform(0, _SPREAD, (_BLOCK, 1)).astype(np.float32)
    centre = np.concatenate([math.sqrt(0.6) * topics[half // 2], math.sqrt(0.4) * halves[half]], axis=1)
    known = np.sqrt(1 - stray - _OWN) * centre + np.sqrt(stray) * _unit(own, _BLOCK, 2 * _HALF)
    rows = np.concatenate([known, math.sqrt(_OWN) * _unit(own, _BLOCK, dimensions - 2 * _HALF)], axis=1) @ rotation
    copies = 1 + np.flatnonzero(own.random(_BLOCK - 1) < _COPIES)
    noise = own.uniform(0, 0.45, (len(copies), 1)).astype(np.float32) * _unit(own, len(copies), dimensions)
    rows[copies] = rows[copies - 1] + noise
    part = out[number * _BLOCK : (number + 1) * _BLOCK]
    part[:] = round_vectors(rows[: len(part)])


def _unit(rng: np.random.Generator, rows: int, dimensions: int) -> npt.NDArray[np.float32]:
    values = rng.standard_normal((rows, dimensions), dtype=np.float32)
    unit: npt.NDArray[np.float32] = values / np.linalg.norm(values, axis=1, keepdims=True)
    return unit
