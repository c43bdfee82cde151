"""Logistic regression without an intercept: what swaps sign with the sides must give probabilities that swap too.

No sum here is made by a linear algebra library, whose order of summation depends on the number of threads.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Z95 = 1.959963984540054
PRIOR_SD = 1.0  # log-odds: weak beside a hundred pairs, and finite where every pair votes one way
_STEPS, _ENOUGH = 50, 1e-10
_ROUNDING = 1e-12  # of a loss: at the minimum it may rise by this much without a step having been too long

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Fit:
    """Coefficients (K,) and their covariance (K, K): the posterior's mode and the inverse of its curvature there."""

    coefficients: _Floats
    covariance: _Floats

    @property
    def deviations(self) -> _Floats:
        """Standard deviations (K,)."""
        return np.sqrt(np.diag(self.covariance))


def fit(design: _Floats, outcome: _Floats, weight: _Floats | None = None) -> Fit:
    """Fit P(outcome) = sigma(design . coefficients) under a normal prior (mean 0, sd 1) on each coefficient.

    Args:
        design: (K, N), a feature a row.
        outcome: (N,), 0 to 1; shares are allowed.
        weight: (N,), 0 and up; 1 each when left out.

    Source: Laplace approximation; Newton's method, with halved steps where a full one overshoots.
    """
    weights = np.ones(outcome.size) if weight is None else weight
    coefficients = np.zeros(len(design))
    best = _loss(design, outcome, weights, coefficients)
    for _ in range(_STEPS):
        p = sigma(_dot(coefficients, design))
        slope = (design * (weights * (outcome - p))).sum(axis=1) - coefficients / PRIOR_SD**2
        step = (inverse(_curvature(design, weights * p * (1 - p))) * slope).sum(axis=1)
        size = 1.0
        while (found := _loss(design, outcome, weights, coefficients + size * step)) > best * (1 + _ROUNDING) + _ROUNDING:
            size /= 2
        coefficients, best = coefficients + size * step, found
        if np.abs(step).max(initial=0.0) < _ENOUGH:
            break
    p = sigma(_dot(coefficients, design))
    return Fit(coefficients, inverse(_curvature(design, weights * p * (1 - p))))


def sigma(x: _Floats) -> _Floats:
    """1 / (1 + exp(-x)), without overflow."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, small) / (1.0 + small)


def squash(gap: _Floats, scale: float) -> _Floats:
    """tanh(gap / scale): bounded, so that a few huge differences decide nothing (Length-Controlled AlpacaEval, 2024)."""
    return np.tanh(gap / scale)


def scale_of(gap: _Floats) -> float:
    """The standard deviation of differences around 0, as both orders of each pair have it; 1 where all are 0."""
    square = float(np.square(gap).sum())
    return float(np.sqrt(square / gap.size)) if square > 0 else 1.0


def inverse(matrix: _Floats) -> _Floats:
    """The inverse of a symmetric, positive definite matrix (K, K), by elimination."""
    left, right = matrix.copy(), np.eye(len(matrix))
    for i in range(len(matrix)):
        pivot = left[i, i]
        left[i] /= pivot
        right[i] /= pivot
        others = left[:, i].copy()
        others[i] = 0.0
        left -= others[:, np.newaxis] * left[i]
        right -= others[:, np.newaxis] * right[i]
    return right


def _dot(coefficients: _Floats, design: _Floats) -> _Floats:
    total: _Floats = (coefficients[:, np.newaxis] * design).sum(axis=0)
    return total


def _loss(design: _Floats, outcome: _Floats, weights: _Floats, coefficients: _Floats) -> float:
    z = _dot(coefficients, design)
    misfit = np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z))) - outcome * z
    return float((weights * misfit).sum() + np.square(coefficients).sum() / (2 * PRIOR_SD**2))


def _curvature(design: _Floats, weights: _Floats) -> _Floats:
    weighted = design * weights
    total = np.eye(len(design)) / PRIOR_SD**2
    for row, feature in zip(total, design, strict=True):
        row += (weighted * feature).sum(axis=1)
    return total
