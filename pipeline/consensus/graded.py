"""The graded vote model: how much better one side is, and how keenly, boldly and evenly each annotator reads it.

A pair has a preference z on a ladder of K nodes, symmetric around 0, of which the middle one says "equally good". An annotator reads
z as x = slope * z, plus or minus `position` for the side shown first, and answers by where x and logistic noise fall between four
thresholds, -(width + gap), -width, +width and +(width + gap): strongly low, slightly low, tie, slightly high, strongly high. A vote
of unspecified strength is the union of slight and strong; an unknown order of showing is the mean of both orders. A negative slope
is an annotator who is wrong more often than right. Now and then, with probability `lapse`, an annotator does not read but says one
of low, tie and high, each as likely: without that, one slip on a clear pair would make everyone look dull. How hard a pair is to
tell is |z|, so ties and dissent say something about the pair as well as about the annotator.

Annotators' parameters are normal around their kind's (human, judge, reward_model), with mean and spread estimated from all of that
kind (empirical Bayes), these from the stated priors. An annotator with two votes thus stays near the kind. What remains uncertain
about slope and position after the votes (Laplace's approximation) flattens the annotator's curves, so that few votes also count
for less.

Samejima: Estimation of latent ability using a response pattern of graded scores (1969). Bock, Aitkin: Marginal maximum likelihood
estimation of item parameters (1981), for the ladder. MacKay: The evidence framework applied to classification networks (1992), for
the flattening.
"""

from dataclasses import dataclass, fields
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.special import expit

from pipeline.consensus.patterns import CATEGORIES, SHOWN

Double = npt.NDArray[np.float64]
_Cells = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]  # orders shown (S,), categories (N,)

KINDS: Final = ("human", "judge", "reward_model")
SLOPE, WIDTH, POSITION, GAP, LAPSE = range(5)  # the columns of a parameter table, see `GradedParameters`
_SIZE = 5

_HALF = 3  # nodes on each side of 0
_STEP = 0.8  # wide enough for ties to single out the node at 0: with 0.5, those beside it took most of them
_NODES: Final = _STEP * np.arange(-_HALF, _HALF + 1)
_EQUAL = 1 / 3  # prior weight of the node at 0
_PRIOR_PAIRS = 50.0  # pairs that the prior weights of the nodes count for
# Simulated annotators and votes held out of real sets tell most other priors from these by less than their error bars.
_MEAN: Final = np.array([0.75, -1.0, 0.0, 0.0, -3.0])  # of a kind's mean
_MEAN_ANNOTATORS = 1.0  # annotators it counts for
_SPREAD: Final = np.array([0.7, 0.5, 0.5, 0.5, 0.7])  # standard deviation of annotators around their kind
_SPREAD_ANNOTATORS = 10.0

_LEAST = 1e-9  # no vote is impossible
_LONGEST = 1.0  # a Newton step, in any one parameter
_HALVINGS = 6
_BLOCK = 2048  # annotators at once: tens of MB

# A category lies between two of six boundaries, of which the outer ones are at infinity: see `_boundaries`.
_LOWER = np.array([0, 1, 0, 2, 3, 3, 4])
_UPPER = np.array([1, 2, 2, 3, 5, 4, 5])
_ALL: Final[_Cells] = (np.arange(SHOWN), np.arange(CATEGORIES))
_UNSPECIFIED, _SPECIFIED = np.array([2, 4]), np.array([0, 1, 5, 6])
_SIGN = np.array([0.0, -1.0, -1.0, 1.0, 1.0, 0.0])[:, None]  # of width in a boundary
_OUTER = np.array([0.0, -1.0, 0.0, 0.0, 1.0, 0.0])[:, None]  # and of gap
_GUESS = np.array([1, 1, 2, 2, 2, 1, 1])[:, None] / 6.0  # what a lapse says
_FIRST = np.array([-1.0, 1.0])[:, None]  # low, high shown first


@dataclass(frozen=True)
class GradedParameters:
    """Of A annotators of G kinds over K nodes.

    Attributes:
        annotators: (A, 5): asinh slope, log width, position, log gap, log-odds of a lapse.
        covariance: (A, 5, 5): what the votes leave uncertain about them.
        means, spreads: (G, 5): mean and standard deviation of each kind's annotators.
        weights: (K,): P(node), symmetric.
    """

    annotators: Double
    covariance: Double
    means: Double
    spreads: Double
    weights: Double

    def to_table(self) -> pl.DataFrame:
        """One row an array: field, shape, values (row by row)."""
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        return pl.DataFrame(
            {
                "field": list(arrays),
                "shape": [list(array.shape) for array in arrays.values()],
                "values": [array.ravel().tolist() for array in arrays.values()],
            },
            schema={"field": pl.String, "shape": pl.List(pl.Int64), "values": pl.List(pl.Float64)},
        )

    @classmethod
    def from_table(cls, table: pl.DataFrame) -> Self:
        """What `to_table` wrote."""
        return cls(**{name: np.array(values, dtype=np.float64).reshape(shape) for name, shape, values in table.iter_rows()})


class Graded:
    """The model, as `em.fit` takes it.

    Args:
        numbers: the annotators, from `patterns.number_annotators`; `kind` is one of `KINDS`.
    """

    def __init__(self, numbers: pl.DataFrame) -> None:
        self.kinds = numbers["kind"].replace_strict(KINDS, range(len(KINDS)), return_dtype=pl.Int64).to_numpy()
        self.signs = np.sign(_NODES).astype(np.int8)

    def first(self, cell_counts: Double) -> GradedParameters:
        """Every annotator like the prior's mean."""
        size, kinds = len(self.kinds), len(KINDS)
        return GradedParameters(
            annotators=np.tile(_MEAN, (size, 1)),
            covariance=np.zeros((size, _SIZE, _SIZE)),
            means=np.tile(_MEAN, (kinds, 1)),
            spreads=np.tile(_SPREAD, (kinds, 1)),
            weights=_prior_weights(),
        )

    def log_tables(self, parameters: GradedParameters) -> Double:
        """Log P(cell | node), (C, K), slope and position integrated out."""
        tables = np.empty((len(self.kinds), SHOWN, CATEGORIES, len(_NODES)))
        for block in self._blocks():
            tables[block] = np.log(
                _probabilities(parameters.annotators[block], _boundaries(parameters.annotators[block], parameters.covariance[block]))
            )
        return tables.reshape(-1, len(_NODES))

    def log_prior(self, parameters: GradedParameters) -> Double:
        """Log weights of the nodes, (K,)."""
        return np.asarray(np.log(parameters.weights))

    def improve(self, parameters: GradedParameters, expected: Double, class_counts: Double) -> GradedParameters:
        """One damped scoring step for every annotator, then the kinds and the weights.

        A step that would lower an annotator's expected log posterior is halved, a few times, and then not made.
        """
        expected = expected.reshape(-1, SHOWN, CATEGORIES, len(_NODES))
        annotators, covariance = np.empty_like(parameters.annotators), np.empty_like(parameters.covariance)
        for block in self._blocks():
            kinds = self.kinds[block]
            annotators[block], covariance[block] = _step(
                parameters.annotators[block], expected[block], parameters.means[kinds], parameters.spreads[kinds] ** -2.0
            )
        means, spreads = self._kinds(annotators, covariance)
        weights = class_counts + _PRIOR_PAIRS * _prior_weights()
        return GradedParameters(annotators, covariance, means, spreads, weights / weights.sum())

    def log_penalty(self, parameters: GradedParameters) -> float:
        """Log prior of annotators, kinds and weights; annotators' with the width of their posterior (Laplace)."""
        own = _log_normal(parameters.annotators, parameters.means[self.kinds], parameters.spreads[self.kinds])
        width = np.linalg.slogdet(parameters.covariance)[1] / 2.0 if parameters.covariance.any() else np.zeros(len(own))
        kinds = _MEAN_ANNOTATORS * _log_normal(parameters.means, _MEAN, _SPREAD)
        return float(own.sum() + width.sum() + kinds.sum() + _PRIOR_PAIRS * (_prior_weights() * np.log(parameters.weights)).sum())

    def _kinds(self, annotators: Double, covariance: Double) -> tuple[Double, Double]:
        """Mean and spread of each kind, (G, 5) both."""
        count = np.bincount(self.kinds, minlength=len(KINDS))[:, None]
        means = (_MEAN_ANNOTATORS * _MEAN + self._by_kind(annotators)) / (_MEAN_ANNOTATORS + count)
        squares = (annotators - means[self.kinds]) ** 2 + np.diagonal(covariance, axis1=1, axis2=2)
        spreads = (_SPREAD_ANNOTATORS * _SPREAD**2 + self._by_kind(squares)) / (_SPREAD_ANNOTATORS + count)
        return means, np.sqrt(spreads)

    def _by_kind(self, values: Double) -> Double:
        """Sums over annotators, in their order: (G, 5)."""
        return np.stack([np.bincount(self.kinds, column, len(KINDS)) for column in values.T], axis=1)

    def _blocks(self) -> list[slice]:
        return [slice(begin, begin + _BLOCK) for begin in range(0, len(self.kinds), _BLOCK)]


def _prior_weights() -> Double:
    """A normal curve beside the node at 0, (K,)."""
    weights = np.exp(-(_NODES**2) / 2.0)
    weights[_HALF] = 0.0
    weights *= (1.0 - _EQUAL) / weights.sum()
    weights[_HALF] = _EQUAL
    return np.asarray(weights)


def _log_normal(values: Double, means: Double, spreads: Double) -> Double:
    """Of each row, its columns independent, up to a constant."""
    return np.asarray((-(((values - means) / spreads) ** 2) / 2.0 - np.log(spreads)).sum(axis=1))


def _boundaries(annotators: Double, covariance: Double | None = None) -> Double:
    """P(answer at or below each of six boundaries), (A, 2 orders, 6, K).

    With a covariance, averaged over slope and position: a logistic curve under normal noise of variance v is close to the same
    curve of an argument smaller by sqrt(1 + pi v / 8).
    """
    bend, width, position, gap = (annotators[:, column, None, None] for column in range(LAPSE))
    reading = np.sinh(bend) * _NODES + position * _FIRST  # (A, 2, K)
    inner = np.exp(width)[..., None]
    outer = np.exp(gap)[..., None]
    arguments = (_SIGN * inner + _OUTER * outer)[:, :, 1:5] - reading[:, :, None]
    if covariance is not None:
        var, cov, bias = (covariance[:, i, j, None, None] for i, j in ((SLOPE, SLOPE), (SLOPE, POSITION), (POSITION, POSITION)))
        steep = np.cosh(bend) * _NODES
        noise = var * steep**2 + 2.0 * cov * steep * _FIRST + bias
        arguments = arguments / np.sqrt(1.0 + np.pi / 8.0 * noise)[:, :, None]
    below = np.zeros((*reading.shape[:2], 6, reading.shape[2]))
    below[:, :, 1:5] = expit(arguments)
    below[:, :, 5] = 1.0
    return below


def _probabilities(annotators: Double, below: Double, cells: _Cells = _ALL) -> Double:
    """P(category | shown, node) of the cells asked for, (A, S, N, K), from the boundaries."""
    lapse = expit(annotators[:, LAPSE])[:, None, None, None]
    read = below[:, :, _UPPER[cells[1]]] - below[:, :, _LOWER[cells[1]]]
    return _by_order(np.maximum((1.0 - lapse) * read + lapse * _GUESS[cells[1]], _LEAST), cells)


def _slopes(annotators: Double, below: Double, cells: _Cells) -> list[Double]:
    """Derivatives of the probabilities by each of the parameters, (A, S, N, K) each."""
    steep, inner, outer = (
        f(annotators[:, column])[:, None, None, None] for f, column in ((np.cosh, SLOPE), (np.exp, WIDTH), (np.exp, GAP))
    )
    lapse = expit(annotators[:, LAPSE])[:, None, None, None]
    upper, lower = _UPPER[cells[1]], _LOWER[cells[1]]
    density = (1.0 - lapse) * below * (1.0 - below)
    changes = (density * by for by in (-_NODES * steep, _SIGN * inner, -_FIRST[..., None], _OUTER * outer))
    read = [change[:, :, upper] - change[:, :, lower] for change in changes]
    guessed = lapse * (1.0 - lapse) * (_GUESS[cells[1]] - below[:, :, upper] + below[:, :, lower])
    return [_by_order(change, cells) for change in (*read, guessed)]


def _by_order(known: Double, cells: _Cells) -> Double:
    """(A, 2 orders, N, K) -> (A, S, N, K); in an unknown order, the mean of both."""
    return np.stack([known[:, shown - 1] if shown else (known[:, 0] + known[:, 1]) / 2.0 for shown in cells[0]], axis=1)


def _used(expected: Double) -> _Cells:
    """The orders and categories that any annotator's votes have: most data have one order and three categories."""
    shown, categories = (np.flatnonzero((expected > 0).any(axis=axes)) for axes in ((0, 2, 3), (0, 1, 3)))
    return (shown, categories) if len(shown) else _ALL


def _step(annotators: Double, expected: Double, means: Double, precisions: Double) -> tuple[Double, Double]:
    """Better parameters (A, 5), and the inverse of the information at the old ones (A, 5, 5)."""
    cells = _used(expected)
    votes, asked = (counts[:, cells[0]][:, :, cells[1]] for counts in (expected, _answers(expected)))
    below = _boundaries(annotators)
    chances = _probabilities(annotators, below, cells)
    slopes = _slopes(annotators, below, cells)
    score = np.stack([_total(votes / chances * slope) for slope in slopes], axis=1) - (annotators - means) * precisions
    information = np.empty((len(annotators), _SIZE, _SIZE))
    for row in range(_SIZE):
        weighted = asked / chances * slopes[row]
        for column in range(row + 1):
            information[:, row, column] = information[:, column, row] = _total(weighted * slopes[column])
        information[:, row, row] += precisions[:, row]

    def objective(tried: Double) -> Double:
        fit = _total(votes * np.log(_probabilities(tried, _boundaries(tried), cells)))
        return np.asarray(fit - ((tried - means) ** 2 * precisions).sum(axis=1) / 2.0)

    covariance: Double = np.linalg.inv(information).astype(np.float64)
    change = np.clip((covariance * score[:, None]).sum(axis=2), -_LONGEST, _LONGEST)
    before = objective(annotators)
    made = annotators
    for _ in range(_HALVINGS):
        better = annotators + change
        worse = objective(better) < before
        made = np.where(worse[:, None], made, better)
        if not worse.any():
            break
        change = np.where(worse[:, None], change / 2.0, change)
    return made, covariance


def _answers(expected: Double) -> Double:
    """The votes an annotator was asked for, of each category's way of asking, (A, 3, 7, K).

    Whether a vote comes with a strength says nothing: answers of unspecified strength are an annotator's usual share of all but
    ties.
    """
    by_category = expected.sum(axis=(1, 3))
    coarse, fine = (by_category[:, columns].sum(axis=1) for columns in (_UNSPECIFIED, _SPECIFIED))
    share = np.divide(coarse, coarse + fine, out=np.ones_like(coarse), where=coarse + fine > 0)[:, None]
    asked = np.ones_like(by_category)
    asked[:, _UNSPECIFIED], asked[:, _SPECIFIED] = share, 1.0 - share
    return np.asarray(expected.sum(axis=2, keepdims=True) * asked[:, None, :, None])


def _total(values: Double) -> Double:
    """Sum of everything an annotator has, (A,); one order, whatever the number of annotators."""
    return np.asarray(np.ascontiguousarray(values).reshape(len(values), -1).sum(axis=1))
