"""Expectation-maximisation over patterns of votes: what every vote model with latent classes shares.

A model has K classes, the possible truths of a pair, and says how likely each cell (see `patterns`) is under each. The classes are
ordered by preference and mirror each other: exchanging the sides of a pair turns class k into class K - 1 - k. Tables are made
symmetric to the last bit, so an exchange of sides mirrors every posterior exactly. All sums run in one order, without threads.

Dempster, Laird, Rubin: Maximum Likelihood from Incomplete Data via the EM Algorithm (1977).
"""

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy import sparse

from pipeline.consensus.patterns import CELLS, Patterns, cells_by_pair, mirror

Double = npt.NDArray[np.float64]
Signs = npt.NDArray[np.int8]

P = TypeVar("P")
P_co = TypeVar("P_co", covariant=True)

_BLOCK_ROWS = 4096  # of posteriors at once: they stay in the processor's cache


class Latent(Protocol[P]):
    """A vote model: parameters P, and how they speak about classes and cells.

    Attributes:
        signs: int8 (K,), antisymmetric: class k is true when low is better (-1), both are equal (0) or high is better (+1).
    """

    signs: Signs

    def first(self, cell_counts: Double) -> P:
        """Parameters to start from. `cell_counts` (C,): votes in each cell, half of them mirrored."""
        ...

    def log_tables(self, parameters: P) -> Double:
        """Logarithm of P(cell | class), float64 (C, K), finite; class K - 1 - k has the mirrored cells of class k."""
        ...

    def log_prior(self, parameters: P) -> Double:
        """Logarithm of P(class), float64 (K,), symmetric."""
        ...

    def improve(self, parameters: P, expected: Double, class_counts: Double) -> P:
        """Better parameters (the M-step with the priors).

        Args:
            parameters: those that the posteriors were made with.
            expected: (C, K): votes in each cell from pairs of each class; symmetric as the tables are.
            class_counts: (K,): pairs of each class, symmetric.
        """
        ...

    def log_penalty(self, parameters: P) -> float:
        """Log density of the parameters under their priors, up to a constant."""
        ...


@dataclass(frozen=True)
class Fitted(Generic[P_co]):
    """A fitted vote model.

    Attributes:
        parameters: of the last iteration.
        posterior_by_pattern: float64 (patterns, K): P(class | pattern).
        log_tables, log_prior: what the posteriors are made with, (C, K) and (K,).
        signs: of the model's classes, (K,).
        log_likelihood: with the penalty, nats; one value for each iteration and the start.
        iterations: M-steps made.
        converged: the last two changed next to nothing.
    """

    parameters: P_co
    posterior_by_pattern: Double
    log_tables: Double
    log_prior: Double
    signs: Signs
    log_likelihood: list[float]
    iterations: int
    converged: bool


def fit(patterns: Patterns, latent: Latent[P], *, tolerance: float, most_iterations: int) -> Fitted[P]:
    """Fit a model.

    Args:
        patterns: P patterns over C cells.
        latent: the model.
        tolerance: nats a pair; iterations stop when two in a row change the penalised log-likelihood by no more each.
        most_iterations: M-steps, at most.
    """
    votes = _matrix(patterns.indptr, patterns.cells, patterns.numbers.height * CELLS)
    counts = patterns.counts.astype(np.float64)
    parameters = latent.first(_symmetric((votes.T @ counts)[:, None])[:, 0])
    tables, prior, posterior, total = _expect(votes, counts, latent, parameters)
    history = [total]
    converged = False
    while not converged and len(history) <= most_iterations:
        weighted = posterior * counts[:, None]
        class_counts = weighted.sum(axis=0)
        parameters = latent.improve(parameters, _symmetric(votes.T @ weighted), (class_counts + class_counts[::-1]) / 2)
        tables, prior, posterior, total = _expect(votes, counts, latent, parameters)
        history.append(total)
        # Twice, because a model that still adapts its priors may stand for a moment between rising and falling.
        converged = len(history) > 2 and bool(np.abs(np.diff(history[-3:])).max() <= tolerance * patterns.pairs)
    return Fitted(parameters, posterior, tables, prior, latent.signs, history, len(history) - 1, converged)


def posteriors(votes: pl.DataFrame, numbers: pl.DataFrame, log_tables: Double, log_prior: Double, signs: Signs) -> pl.DataFrame:
    """What the votes of each pair of a partition say under a fitted model.

    Args:
        votes: as for `patterns.cells_by_pair`.
        numbers: the annotators the model was fitted with.
        log_tables: float64 (C, K), from `Fitted`, as are
        log_prior: float64 (K,), and
        signs: int8 (K,).

    Returns:
        pair_id, p_low, p_tie, p_high (float64, 0 to 1; they sum to 1), one row a pair, sorted by pair_id. Exchanging the sides of a
        pair exchanges p_low and p_high to the last bit.
    """
    found = cells_by_pair(votes, numbers)
    posterior, _ = _posterior(_matrix(found.indptr, found.cells, len(log_tables)), log_tables, log_prior)
    low, tie, high = (_add([posterior[:, k] for k in np.flatnonzero(signs == sign)], len(posterior)) for sign in (-1, 0, 1))
    half = (low + high) / 2
    low, high = np.where(found.even, half, low), np.where(found.even, half, high)
    sides = {"p_low": np.where(found.swapped, high, low), "p_tie": tie, "p_high": np.where(found.swapped, low, high)}
    return pl.DataFrame({"pair_id": found.pair_ids, **sides})


def expected_cells(patterns: Patterns, weights: Double) -> Double:
    """Sum `weights` (patterns, m), times the pairs of each pattern, over the votes of each cell: (C, m)."""
    votes = _matrix(patterns.indptr, patterns.cells, patterns.numbers.height * CELLS)
    sums: Double = votes.T @ (weights * patterns.counts[:, None])
    return sums


def _matrix(indptr: npt.NDArray[np.int64], cells: npt.NDArray[np.uint32], width: int) -> "sparse.csr_array":
    """How often each pattern (row) has each cell (column)."""
    kind = np.int32 if max(len(cells), width) < 2**31 else np.int64
    return sparse.csr_array((np.ones(len(cells)), cells.astype(kind), indptr.astype(kind)), shape=(len(indptr) - 1, width))


def _expect(votes: "sparse.csr_array", counts: Double, latent: Latent[P], parameters: P) -> tuple[Double, Double, Double, float]:
    """Tables, prior, posteriors, and the penalised log-likelihood of `parameters`."""
    tables = _symmetric(latent.log_tables(parameters))
    prior = latent.log_prior(parameters)
    prior = (prior + prior[::-1]) / 2
    posterior, evidence = _posterior(votes, tables, prior)
    return tables, prior, posterior, float((counts * evidence).sum()) + latent.log_penalty(parameters)


def _posterior(votes: "sparse.csr_array", tables: Double, prior: Double) -> tuple[Double, Double]:
    """P(class | pattern), (P, K), and log P(pattern), (P,)."""
    posterior: Double = votes @ tables + prior
    evidence = np.empty(len(posterior))
    for start in range(0, len(posterior), _BLOCK_ROWS):
        block = posterior[start : start + _BLOCK_ROWS]  # what follows changes the whole in place
        top = block[:, 0].copy()
        for column in block.T[1:]:
            np.maximum(top, column, out=top)
        np.exp(np.subtract(block, top[:, None], out=block), out=block)
        # Column by column: a row's sum must not depend on how many rows stand beside it.
        total = _add(list(block.T), len(block))
        block /= total[:, None]
        evidence[start : start + _BLOCK_ROWS] = top + np.log(total)
    return posterior, evidence


def _add(columns: list[Double], rows: int) -> Double:
    total = np.zeros(rows)
    for column in columns:
        total += column
    return total


def _symmetric(tables: Double) -> Double:
    """Mean of a table (C, m) and its mirror image."""
    mirrored = mirror(np.arange(CELLS, dtype=np.uint32))
    by_annotator = tables.reshape(-1, CELLS, tables.shape[1])
    return ((by_annotator + by_annotator[:, mirrored, ::-1]) / 2).reshape(tables.shape)
