"""What an annotator's accuracy and position bias are in a Bradley-Terry model: a slope and a shift of its log-odds.

Both are translated by what they must give over gaps d between two scores as their prior has them, d ~ N(0, 8): accuracy =
E sigma(steepness |d|), and first_share = E sigma(slope d + shift), for which the logistic-normal integral is known to within a few percent
(MacKay 1992, "The evidence framework applied to classification networks").
"""

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import expit

# Held-out votes of LLMFAO, UKPConvArg1, PandaLM and AlpacaEval are best foretold by 0.1 to 0.25; below, answers with few votes drift.
RIDGE: Final = 0.25  # inverse variance of scores
GAP_VARIANCE: Final = 2 / RIDGE  # of the difference of two scores
STEEPEST: Final = 4.0  # steepness of an annotator with accuracy 0.95 or more; beyond, one vote would outweigh any number of others

Floats = npt.NDArray[np.float64]


def slopes_of(accuracy: Floats) -> Floats:
    """Slopes of annotators with these accuracies (0 to 1): each one's steepness over the median annotator's.

    An accuracy of 0.5 or less is slope 0: such votes say nothing about the answers, and are never counted the other way round.
    """
    steepness = steepness_of(accuracy)
    median = float(np.median(steepness)) if len(steepness) else 1.0
    return steepness / (median or 1.0)


def steepness_of(accuracy: Floats) -> Floats:
    """The steepness that gives an accuracy over gaps N(0, 8); 0 at 0.5 and below, `STEEPEST` at 0.95 and above."""
    steepness = np.linspace(0.0, STEEPEST, 401)
    spread = np.sqrt(GAP_VARIANCE)
    gaps = (np.arange(400) + 0.5) * (6.0 * spread / 400)
    density = np.exp(-(gaps**2) / (2 * GAP_VARIANCE))
    accuracies = (expit(np.outer(steepness, gaps)) * density).sum(axis=1) / density.sum()
    return np.interp(accuracy, accuracies, steepness)


def shift_of(first_share: Floats, slope: Floats) -> Floats:
    """The shift that gives a share of votes for the answer shown first over gaps N(0, 8); shares are cut to 0.01 to 0.99."""
    share = np.clip(first_share, 0.01, 0.99)
    return np.log(share / (1 - share)) * np.sqrt(1 + np.pi / 8 * GAP_VARIANCE * slope**2)
