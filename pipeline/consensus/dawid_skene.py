"""Dawid and Skene's model of annotators over {low, tie, high}, with order shown, strengths and shrinkage.

Dawid, Skene: Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm (1979). An annotator is a few shares: how
often they call a tie, of pairs with a better side and of equal pairs; how often a pick is right when the better side was shown first,
second or in unknown order; how often a pick of an equal pair is of the first side; and, where a pick has a strength, how often it is
strong. Nothing in it knows low from high, and that an order or a strength is known says nothing about the truth.

A share of an annotator is drawn from a Beta distribution of their kind, whose parameters are set by maximum evidence from all
annotators of the kind (Minka: Estimating a Dirichlet Distribution, 2000, fixed-point iteration) and one made-up annotator who holds
the stated prior. So somebody with two votes has about the shares of their kind, and how soon votes count for more depends on how
much annotators of that kind differ.
"""

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.special import psi

from pipeline.consensus.em import Double, Signs
from pipeline.consensus.patterns import CATEGORIES, CELLS, HIGH, SHOWN, SHOWN_HIGH_FIRST, SHOWN_LOW_FIRST, SHOWN_UNKNOWN, TIE, mirror

LOW_BETTER, EQUAL, HIGH_BETTER = range(3)  # classes

# Rows of an annotator's table, each a share and its complement, with the prior: 7 of 10 picks are right.
ROWS: Final = 9
TIE_BETTER, TIE_EQUAL, RIGHT, RIGHT_FIRST, RIGHT_SECOND, FIRST_EQUAL, STRONG_RIGHT, STRONG_WRONG, STRONG_EQUAL = range(ROWS)
_PRIOR: Final = np.array([0.1, 0.5, 0.7, 0.7, 0.7, 0.5, 0.5, 0.5, 0.5])
_MADE_UP_VOTES: Final = 10.0  # of the annotator who holds the prior, in each row
_LEAST, _MOST = 4.0, 200.0  # votes that a kind's row may count for: a few votes never make an oracle, many always count
_LEAST_SHARE: Final = 1e-4  # in a kind's row: what never happened may
_LEARNING_STEPS: Final = 30  # M-steps that adapt the kinds' rows; with them fixed, no later step lowers the penalised likelihood
# What makes a pair equal: every annotator calls such pairs a tie this often at least, and so many times as often as other pairs.
# Without the first, pairs with split votes would be called equal where nobody can say tie; without the second, nothing would say
# which class pairs belong to on which all votes are ties.
_LEAST_TIES, _TIE_RATIO = 1 / 3, 1.5
_PRIOR_TIES, _PRIOR_PAIRS = 0.1, 10.0  # share of equal pairs, and the pairs this counts for

_SHARES: Final = ROWS * 2  # in the flat table; behind it stand these two constants
_ALWAYS, _HALF = _SHARES, _SHARES + 1


def _factors() -> npt.NDArray[np.int64]:
    """Which entries of the flat table make P(cell | class): (CELLS, 2 classes, 3 factors), for LOW_BETTER and EQUAL."""
    factors = np.full((SHOWN, CATEGORIES, 2, 3), _ALWAYS)
    rows = {SHOWN_UNKNOWN: RIGHT, SHOWN_LOW_FIRST: RIGHT_FIRST, SHOWN_HIGH_FIRST: RIGHT_SECOND}  # when low is better
    for shown, right in rows.items():
        for category in range(CATEGORIES):
            for place, tie in ((LOW_BETTER, TIE_BETTER), (EQUAL, TIE_EQUAL)):
                factors[shown, category, place, 0] = tie * 2 + (category != TIE)
            if category == TIE:
                continue
            high = int(category > TIE)
            factors[shown, category, LOW_BETTER, 1] = right * 2 + high
            second = high if shown == SHOWN_LOW_FIRST else 1 - high
            factors[shown, category, EQUAL, 1] = _HALF if shown == SHOWN_UNKNOWN else FIRST_EQUAL * 2 + second
            steps = abs(category - TIE)
            if steps != HIGH - TIE:
                slight = int(steps == HIGH - TIE + 1)
                factors[shown, category, LOW_BETTER, 2] = (STRONG_WRONG if high else STRONG_RIGHT) * 2 + slight
                factors[shown, category, EQUAL, 2] = STRONG_EQUAL * 2 + slight
    return factors.reshape(CELLS, 2, 3)


_FACTORS = _factors()


@dataclass(frozen=True)
class Confusion:
    """Parameters of the model for A annotators of G kinds.

    Attributes:
        shares: float64 (A, ROWS, 2): the annotators' shares, each with its complement.
        kinds: float64 (G, ROWS, 2): the Beta parameters of each kind, in votes.
        ties: P(a pair is equal).
        steps: M-steps made.
    """

    shares: Double
    kinds: Double
    ties: float
    steps: int


class DawidSkene:
    """The model of the annotators of `patterns.number_annotators`; a `Latent` with the classes low better, equal, high better."""

    signs: Signs = np.array([-1, 0, 1], np.int8)

    def __init__(self, numbers: pl.DataFrame) -> None:
        self._kind = numbers["kind"].rle_id().to_numpy().astype(np.int64)  # `numbers` are sorted by kind
        self._starts = np.flatnonzero(np.diff(self._kind, prepend=-1))

    def first(self, cell_counts: Double) -> Confusion:
        """Everybody has the prior's shares."""
        prior = np.stack([_PRIOR, 1 - _PRIOR], axis=1)
        kinds = np.repeat(prior[None] * _MADE_UP_VOTES, len(self._starts), axis=0)
        return Confusion(np.repeat(prior[None], len(self._kind), axis=0), kinds, _PRIOR_TIES, 0)

    def log_tables(self, parameters: Confusion) -> Double:
        """Logarithm of P(cell | class), (C, 3), given the order shown and whether there is a strength."""
        annotators = len(self._kind)
        constants = np.tile([0.0, math.log(0.5)], (annotators, 1))
        flat = np.concatenate([np.log(parameters.shares).reshape(annotators, _SHARES), constants], axis=1)
        low, equal = (flat[:, _FACTORS[:, place]].sum(axis=2).ravel() for place in (LOW_BETTER, EQUAL))
        return np.stack([low, equal, low[mirror(np.arange(len(low), dtype=np.uint32))]], axis=1)

    def log_prior(self, parameters: Confusion) -> Double:
        """Logarithm of P(class), (3,)."""
        return np.log([(1 - parameters.ties) / 2, parameters.ties, (1 - parameters.ties) / 2])

    def improve(self, parameters: Confusion, expected: Double, class_counts: Double) -> Confusion:
        """Each kind's parameters one step on, then the likeliest shares of each annotator under them."""
        annotators = len(self._kind)
        cells = expected.reshape(annotators, CELLS, 3)
        # Pairs whose high side is better are the mirror image of the others, so these count twice.
        votes = np.stack([2 * cells[:, :, LOW_BETTER], cells[:, :, EQUAL]], axis=2)
        size = _SHARES + 2
        where = np.arange(annotators)[:, None] * size + _FACTORS.ravel()
        sums: Double = np.bincount(where.ravel(), np.repeat(votes.ravel(), _FACTORS.shape[2]), annotators * size).astype(np.float64)
        counts = sums.reshape(annotators, size)[:, :_SHARES].reshape(annotators, ROWS, 2)

        kinds = self._more_likely(parameters.kinds, counts) if parameters.steps < _LEARNING_STEPS else parameters.kinds
        amounts = counts + kinds[self._kind]
        shares = _shares(amounts)
        shares[:, [TIE_BETTER, TIE_EQUAL], 0] = _tie_shares(amounts[:, TIE_BETTER], amounts[:, TIE_EQUAL])
        shares[:, :, 1] = 1 - shares[:, :, 0]
        ties = (class_counts[EQUAL] + _PRIOR_TIES * _PRIOR_PAIRS) / (class_counts.sum() + _PRIOR_PAIRS)
        return replace(parameters, shares=shares, kinds=kinds, ties=float(ties), steps=parameters.steps + 1)

    def log_penalty(self, parameters: Confusion) -> float:
        """Log density of the annotators' shares, each less that of its kind's mean, and of the share of equal pairs."""
        prior = _PRIOR_PAIRS * (_PRIOR_TIES * math.log(parameters.ties) + (1 - _PRIOR_TIES) * math.log1p(-parameters.ties))
        means = np.log(_shares(parameters.kinds))
        return prior + float((parameters.kinds[self._kind] * (np.log(parameters.shares) - means[self._kind])).sum())

    def _more_likely(self, kinds: Double, counts: Double) -> Double:
        """One step towards the Beta parameters (G, ROWS, 2) under which `counts` (A, ROWS, 2) are likeliest."""
        if not len(self._starts):
            return kinds
        made_up = np.stack([_PRIOR, 1 - _PRIOR], axis=1) * _MADE_UP_VOTES

        def evidence(votes: Double, more: Double | float, kinds: Double) -> Double:
            own = kinds[self._kind]
            found: Double = np.add.reduceat(psi(votes + own) - psi(own), self._starts) + psi(more + kinds) - psi(kinds)
            return found

        moved = kinds * evidence(counts, made_up, kinds) / evidence(counts.sum(axis=2), _MADE_UP_VOTES, kinds.sum(axis=2))[..., None]
        total = np.clip(moved.sum(axis=2, keepdims=True), _LEAST, _MOST)
        likelier: Double = total * _shares(np.maximum(_shares(moved), _LEAST_SHARE))
        return likelier


def _tie_shares(better: Double, equal: Double) -> Double:
    """The likeliest shares of ties in better and equal pairs within their bounds, (A, 2), from amounts (A, 2) of ties and picks."""
    free = _shares(better)[:, 0]
    bounded = np.maximum(_shares(equal)[:, 0], _LEAST_TIES)
    # Where both are bound to each other, the share t in better pairs solves
    # ties / t = picks in better / (1 - t) + ratio * picks in equal pairs / (1 - ratio * t).
    ties, picks_better, picks_equal = better[:, 0] + equal[:, 0], better[:, 1], equal[:, 1]
    square = _TIE_RATIO * (ties + picks_better + picks_equal)
    slope = (1 + _TIE_RATIO) * ties + picks_better + _TIE_RATIO * picks_equal
    root = 2 * ties / (slope + np.sqrt(slope**2 - 4 * square * ties))
    bound = np.maximum(root, _LEAST_TIES / _TIE_RATIO)
    together = np.stack([bound, _TIE_RATIO * bound], axis=1)
    return np.where((_TIE_RATIO * free > bounded)[:, None], together, np.stack([free, bounded], axis=1))


def _shares(amounts: Double) -> Double:
    shares: Double = amounts / amounts.sum(axis=-1, keepdims=True)
    return shares
