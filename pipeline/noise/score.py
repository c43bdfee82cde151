"""P(label wrong) from what peers and sibling comparisons say, with what it rests on.

The label is taken to be right with probability 1 - e, whatever the pair, and the truth to follow the evidence z by a logistic
curve: P(label | z) = e + (1 - 2 e) sigmoid(s z) (Manwani and Sastry's uniform noise). Where the evidence is strong, contradictions
that do not fade with it show e; where it is weak, e and s cannot be told apart and the prior of e decides: `Reviewer.rate` then has
a wide interval.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.special import expit, log_expit, softmax

Double = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

_PRIOR = (2.0, 4.0)  # Beta of the share of wrong labels, cut off at a half: 0.27 on average, 0.04 to 0.48 in 95 of 100
_REACH, _POINTS = 12.0, 481  # support has a root mean square of about 2; beyond 12 it counts as 12
_RATES = np.arange(1, 100) / 200
_SHARPNESS = 2.0 ** np.arange(-6, 2.5, 0.5)  # up to a curve that is certain of most pairs: content says no more of a preference
_MASS = 1.0  # siblings' evidence counts as if one more, undecided, stood among them

_CENTRE = np.array([1.0, 1.0])  # slopes where there is little to learn from; the peers are calibrated already
_CAUTION = np.array([30.0, 3.0])  # how much that counts, in units of Fisher information


@dataclass(frozen=True)
class Reviewer:
    """How evidence becomes a score.

    Attributes:
        slopes: (folds, 2), fitted for each fold on the others: support per unit of the peers' log-odds, and of siblings'
            balance / (1 + mass); 0 or more.
        limits: (folds, 2), likewise: loss of each half's peer above which it objects.
        rate: (3,) share of wrong labels, lower and upper end of its 95 % interval. It and the curve are one for all folds, from
            out-of-fold support: they describe the data, do not order the pairs, and by fold would differ by chance.
        curve: (points,) P(label wrong) at support of the label from -12 to 12 in even steps; falls.
    """

    slopes: Double
    limits: Double
    rate: Double
    curve: Double

    def to_table(self) -> pl.DataFrame:
        """One row a `part`: slopes, limits, rate and curve as lists of `values`, the first two fold by fold."""
        parts = {"slopes": self.slopes.ravel(), "limits": self.limits.ravel(), "rate": self.rate, "curve": self.curve}
        return pl.DataFrame(
            {"part": list(parts), "values": list(parts.values())}, schema={"part": pl.String, "values": pl.List(pl.Float64)}
        )

    @classmethod
    def from_table(cls, table: pl.DataFrame) -> "Reviewer":
        """What `to_table` wrote, its rows in any order."""
        parts = {part: np.array(values, dtype=np.float64) for part, values in table.rows()}
        return cls(parts["slopes"].reshape(-1, 2), parts["limits"].reshape(-1, 2), parts["rate"], parts["curve"])


def fit_reviewer(said: Double, balance: Double, mass: Double, target: Double, weight: Double, fold: Index, *, folds: int = 5) -> Reviewer:
    """Fit on the sample the peers were fitted on.

    Args:
        said: (3, N) of `peers.log_odds`, out of fold.
        balance: (N,) of `neighbours.siblings`.
        mass: (N,) likewise.
        target: (N,) P(first is better) by the votes, 0 to 1.
        weight: (N,) what a pair counts.
        fold: (N,) as for the peers.
        folds: as for the peers.
    """
    evidence = np.stack([said[0], balance / (_MASS + mass)])
    others = [np.flatnonzero(fold != own) for own in range(folds)]
    slopes = np.stack([_slopes(evidence[:, rows], target[rows], weight[rows]) for rows in others])
    square = float(np.square(_support(slopes, evidence, fold)).sum()) / max(1, len(target))
    slopes *= 2.0 ** np.rint(1 - np.log2(square) / 2) if square > 0 else 1.0
    z = _support(slopes, evidence, fold)
    rate, curve = _curve(np.concatenate([z, -z]), np.concatenate([weight * target, weight * (1 - target)]))
    losses = -log_expit(np.where(target >= 0.5, 1.0, -1.0) * said[1:])
    limits = np.stack([np.quantile(losses[:, rows], 1 - rate[0], axis=1) if len(rows) else np.full(2, np.log(2)) for rows in others])
    return Reviewer(*(np.rint(part * 2.0**30) * 2.0**-30 for part in (slopes, limits, rate, curve)))


def noise_columns(reviewer: Reviewer, said: Double, balance: Double, mass: Double, fold: Index, label: Double) -> pl.DataFrame:
    """Review labels; nothing is flipped.

    Args:
        reviewer: of `fit_reviewer`.
        said: (3, N) of `peers.log_odds`.
        balance: (N,) of `neighbours.siblings`.
        mass: (N,) likewise.
        fold: (N,) `fold_of` the pairs' prompt clusters.
        label: (N,) 1 where first is labelled better, -1 where second is.

    Returns:
        noise_score: P(label wrong), 0 to 1. peer_probability: P(the labelled side is better) by the peers alone. peer_disagreement:
        difference of the two halves' probabilities, 0 to 1. neighbour_agreement: 0 to 1, 0.5 for undecided siblings; null without
        any. verdict: keep (neither half's peer objects), ambiguous (one does), suspect (both do).
    """
    evidence = np.stack([said[0], balance / (_MASS + mass)])
    score = np.interp(label * _support(reviewer.slopes, evidence, fold), np.linspace(-_REACH, _REACH, _POINTS), reviewer.curve)
    halves = expit(said[1:])
    agreement = (1 + label * balance / np.where(mass > 0, mass, 1.0)) / 2
    return pl.DataFrame(
        {
            "noise_score": score,
            "peer_probability": expit(label * said[0]),
            "peer_disagreement": np.abs(halves[0] - halves[1]),
            "neighbour_agreement": pl.select(pl.when(pl.Series(mass > 0)).then(pl.Series(agreement))).to_series(),
            "verdict": verdicts(-log_expit(label * said[1:]), reviewer.limits[fold].T),
        }
    )


def verdicts(losses: Double, limits: Double) -> pl.Series:
    """Keep, ambiguous or suspect by the losses of two peers that learned from disjoint pairs (Two Minds Better Than One, 2025).

    Args:
        losses: (2, N) -log P(label) by each peer.
        limits: (2, N) or (2, 1): the loss above which a peer objects, such as its quantile at 1 - the share of wrong labels.
    """
    objections = (losses > limits).sum(axis=0)
    return pl.Series("verdict", objections).replace_strict([0, 1, 2], ["keep", "ambiguous", "suspect"], return_dtype=pl.String)


def _support(slopes: Double, evidence: Double, fold: Index) -> Double:
    """Support for first: (N,)."""
    support: Double = slopes[fold, 0] * evidence[0] + slopes[fold, 1] * evidence[1]
    return support


def _slopes(evidence: Double, right: Double, weight: Double) -> Double:
    """Logistic regression without an intercept on soft labels, slopes not negative, drawn towards `_CENTRE`."""
    slopes = _CENTRE.copy()
    for _ in range(50):
        likely = expit(slopes @ evidence)
        gradient = evidence @ (weight * (right - likely)) - _CAUTION * (slopes - _CENTRE)
        kept = (slopes > 0) | (gradient > 0)
        if not kept.any():
            break
        used = evidence[kept]
        step = np.linalg.solve((used * (weight * likely * (1 - likely))) @ used.T + np.diag(_CAUTION[kept]), gradient[kept])
        slopes[kept] = np.maximum(0.0, slopes[kept] + np.clip(step, -2.0, 2.0))
        if np.abs(step).max() < 1e-12:
            break
    return slopes


def _curve(support: Double, weight: Double) -> tuple[Double, Double]:
    """Rate of wrong labels with its interval, and P(label wrong) over the grid of support: means over the posterior of (e, s)."""
    grid = np.linspace(-_REACH, _REACH, _POINTS)
    at = np.rint((np.clip(support, -_REACH, _REACH) + _REACH) * ((_POINTS - 1) / (2 * _REACH))).astype(np.int64)
    counts = np.bincount(at, np.rint(weight * 256) / 256, minlength=_POINTS)
    true = expit(_SHARPNESS[:, np.newaxis] * grid)  # (sharpness, points): P(truth is the labelled side)
    seen = _RATES[:, np.newaxis, np.newaxis] + (1 - 2 * _RATES[:, np.newaxis, np.newaxis]) * true
    prior = (_PRIOR[0] - 1) * np.log(_RATES) + (_PRIOR[1] - 1) * np.log1p(-_RATES)
    posterior = softmax(np.log(seen) @ counts + prior[:, np.newaxis])
    wrong = _RATES[:, np.newaxis, np.newaxis] * (1 - true) / seen
    by_rate = posterior.sum(axis=1)
    low, high = np.interp([0.025, 0.975], np.cumsum(by_rate), _RATES)
    return np.array([by_rate @ _RATES, low, high]), np.tensordot(posterior, wrong, axes=2)
