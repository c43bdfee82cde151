"""Intervals and robust summaries of samples."""

from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_Z: Final = 1.959963984540054  # the normal distribution's 97.5 % point


def wilson(successes: npt.ArrayLike, trials: npt.ArrayLike) -> tuple[Floats, Floats]:
    """95 % score interval of a share (Wilson 1927, "Probable inference, the law of succession, and statistical inference").

    Args:
        successes: numbers of any shape, 0 to `trials`; they need not be whole.
        trials: numbers that broadcast with them; 0 gives the interval 0 to 1.

    Returns:
        low and high, float64 of the common shape, 0 to 1.
    """
    x, n = np.broadcast_arrays(np.asarray(successes, np.float64), np.asarray(trials, np.float64))
    share = np.divide(x, n, out=np.full(n.shape, 0.5), where=n > 0)
    # n = 0: centre 1/2, half width 1/2.
    centre = (x + _Z**2 / 2) / (n + _Z**2)
    half = _Z / (n + _Z**2) * np.sqrt(n * share * (1 - share) + _Z**2 / 4)
    # At 0 and n the formula meets the edge but for rounding.
    return np.where(x <= 0, 0.0, np.clip(centre - half, 0, 1)), np.where(x >= n, 1.0, np.clip(centre + half, 0, 1))


def interquartile_mean(values: npt.ArrayLike) -> float:
    """Mean of the middle half of all values: a quarter, rounded down, is cut at each end (Agarwal et al. 2021, rliable).

    Raises:
        ValueError: there are no values.
    """
    ordered = np.sort(np.asarray(values, np.float64), axis=None)
    if not len(ordered):
        raise ValueError("the interquartile mean of no values is not defined.")
    cut = len(ordered) // 4
    return float(ordered[cut : len(ordered) - cut].mean())


def optimality_gap(values: npt.ArrayLike, target: float) -> float:
    """How far the values fall short of `target` on average; values above it count as it (Agarwal et al. 2021)."""
    return float(target - np.minimum(np.asarray(values, np.float64), target).mean())


def probability_of_improvement(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """P(a draw of `first` beats one of `second`), ties half: Mann-Whitney's U / (n m) (Agarwal et al. 2021).

    Args:
        first: values (N,) of one task; means over tasks are the caller's.
        second: values (M,).

    Raises:
        ValueError: one of them is empty.
    """
    a, b = np.asarray(first, np.float64).ravel(), np.sort(np.asarray(second, np.float64), axis=None)
    if not len(a) or not len(b):
        raise ValueError("the probability of improvement needs values on both sides.")
    beaten = np.searchsorted(b, a, side="left") + np.searchsorted(b, a, side="right")  # twice: below + half of the ties
    return float(beaten.sum() / (2 * len(a) * len(b)))


def binary_inversion(observed: float, true_positive_rate: float, false_positive_rate: float) -> float:
    """The true rate behind a rate that an imperfect judge observed (Rogan & Gladen 1978).

    Args:
        observed: share the judge calls positive, 0 to 1.
        true_positive_rate: P(judge says positive | positive).
        false_positive_rate: P(judge says positive | negative).

    Returns:
        (observed - FPR) / (TPR - FPR); outside 0 to 1 when the three rates cannot all be right.

    Raises:
        ValueError: the judge is no better than chance, so what it observes says nothing about the true rate.
    """
    if true_positive_rate <= false_positive_rate:
        raise ValueError(
            f"a judge that finds {true_positive_rate} of the positives and {false_positive_rate} of the negatives positive tells nothing "
            "about the true rate; the first must be larger."
        )
    return (observed - false_positive_rate) / (true_positive_rate - false_positive_rate)
