"""Peers: small preference models that review a label without having seen its prompt, cross-fitted by prompt cluster.

Every model is a ridge regression of the verdict (+1 first is better, -1 second, 0 undecided) on antisymmetric features, without
an intercept, so it is antisymmetric itself. Squared loss because uniform flips of labels only shrink what it learns (Manwani
and Sastry 2013), and because its normal equations are sums over rows: leaving a fold out is a subtraction.

How much each family of features is shrunk is not picked but averaged over a grid; a choice counts by how well models that saw
neither fold predicted the verdicts of the other folds (exponential weights: Yang 2004). A fold's labels reach neither the
coefficients nor those weights nor the calibration of the models that review it. Two more peers learn from disjoint halves of
the other folds, for verdicts on which two must agree (Two Minds Better Than One, 2025).
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.linalg import lapack
from scipy.special import expit, softmax

Single = npt.NDArray[np.float32]
Double = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

PEERS = ("all", "half_a", "half_b")
_SHRINKAGE = (30.0, 300.0, 1e7)  # prior precision of coefficients of a family of length 1 on average; 1e7: left out
_DIRECTIONS = 96  # of a family are fitted: those of most variance; on the two sets tried, twice as many moved no mean AUC by over 0.003
_SLOPE = 2.0  # log-odds per unit of a well-shrunk expected verdict near 0: log((1 + z) / (1 - z)) = 2 z + ...
_CAUTION = 10.0  # Fisher information of the prior of that slope: a fold with little to learn from must not rank its pairs by chance
_FAVOUR = 2.0  # log of the odds by which a choice is favoured for each large family it shrinks more than the least
_LARGE = 32  # columns
_STEP, _COARSE, _LIMIT = 2.0**-14, 2.0**-6, 8.0  # of a scaled feature; of a weight; where a scaled feature is cut off
_ROWS = 4096


@dataclass(frozen=True)
class Peers:
    """Cross-fitted models.

    Attributes:
        scale: (F,) powers of two that bring a family of features to a length of about 1.
        coefficients: (3, folds, F), log-odds per scaled feature of the peers in `PEERS`, by models that never saw the fold.
    """

    scale: Double
    coefficients: Double

    def to_table(self) -> pl.DataFrame:
        """One row a model: `peer`, `fold`, `coefficients`; and one row `scale` with fold -1."""
        peers, folds, _ = self.coefficients.shape
        return pl.DataFrame(
            {
                "peer": ["scale", *(PEERS[peer] for peer in range(peers) for _ in range(folds))],
                "fold": [-1, *(fold for _ in range(peers) for fold in range(folds))],
                "coefficients": [self.scale, *self.coefficients.reshape(peers * folds, -1)],
            },
            schema={"peer": pl.String, "fold": pl.Int64, "coefficients": pl.List(pl.Float64)},
        )

    @classmethod
    def from_table(cls, table: pl.DataFrame) -> "Peers":
        """What `to_table` wrote, its rows in any order."""
        scale = table.filter(pl.col("peer") == "scale").get_column("coefficients")[0].to_numpy()
        models = [table.filter(pl.col("peer") == peer).sort("fold").get_column("coefficients") for peer in PEERS]
        return cls(scale, np.stack([np.stack([row.to_numpy() for row in model]) for model in models]))


def fit_peers(
    features: Single, target: Double, weight: Double, fold: Index, *, folds: int = 5, blocks: Sequence[int] | None = None
) -> Peers:
    """Fit the peers on a sample of pairs.

    Sums are exact on features rounded to 2^-14 of their family's length, so the models do not depend on the order of the rows.

    Args:
        features: (N, F), antisymmetric, as `features.features` makes them; at most a few hundred thousand rows.
        target: (N,) P(first is better) by the votes, 0 to 1; 0.5 for a pair without a decision.
        weight: (N,) what a pair counts, 0 or more; about 1.
        fold: (N,) numbers of `fold_of`, below `folds`; pairs of one prompt cluster share a fold.
        folds: at least 3: one is reviewed, one chooses the shrinkage, one trains.
        blocks: columns of each family (`features.block_sizes`); None: they are one family.

    Raises:
        ValueError: a shape, fold, target or weight out of range; says which.
    """
    blocks = (features.shape[1],) if blocks is None else tuple(blocks)
    _check(features, target, weight, fold, folds, blocks)
    scale = _scale(features, blocks)
    verdict = np.rint((2 * target - 1) * 2.0**10) * 2.0**-10
    weight = np.rint(weight / _COARSE) * _COARSE
    rows = [np.flatnonzero(fold == number) for number in range(folds)]
    labels, counts = [verdict[own] for own in rows], [weight[own] for own in rows]
    moments = [_moments(features, scale, verdict, weight, own) for own in rows]
    directions, penalties, favour = _directions(np.sum([gram for gram, _ in moments], axis=0), blocks)
    sums = [(directions.T @ gram @ directions, directions.T @ product) for gram, product in moments]
    seen = [_scaled(features[own], scale) @ directions for own in rows]

    def solved(training: Sequence[int], choices: Double) -> Double:
        return _solve(np.sum([sums[one][0] for one in training], axis=0), np.sum([sums[one][1] for one in training], axis=0), choices)

    def calibrated(guesses: list[Double], of: Sequence[int]) -> float:
        return _slope(np.concatenate(guesses), np.concatenate([labels[one] for one in of]), np.concatenate([counts[one] for one in of]))

    everyone = range(folds)
    apart = {pair: solved([one for one in everyone if one not in pair], penalties) for pair in itertools.combinations(everyone, 2)}
    models = np.zeros((len(PEERS), folds, features.shape[1]))
    for own in everyone:
        others = [one for one in everyone if one != own]
        guesses = [seen[one] @ apart[min(own, one), max(own, one)].T for one in others]
        error = sum(counts[one] @ (labels[one][:, np.newaxis] - guess) ** 2 for one, guess in zip(others, guesses, strict=True))
        share = softmax(favour - error / 2)
        slope = calibrated([guess @ share for guess in guesses], others)
        models[0, own] = directions @ (slope * (share @ solved(others, penalties)))
        halves = others[: len(others) // 2], others[len(others) // 2 :]
        counted = np.flatnonzero(share > 1e-2 / len(share))
        for peer, (training, judged) in enumerate((halves, halves[::-1]), start=1):
            model = share[counted] @ solved(training, penalties[counted])
            models[peer, own] = directions @ (calibrated([seen[one] @ model for one in judged], judged) * model)
    return Peers(scale, np.rint(models * 2.0**20) * 2.0**-20)


def log_odds(peers: Peers, features: Single, fold: Index) -> Double:
    """What each peer says of each pair: (3, N) log-odds that the first side is better, by models that never saw the pair's fold.

    Args:
        peers: of `fit_peers`.
        features: (N, F), of the same kind as those fitted; rows need not be among them.
        fold: (N,) `fold_of` the pairs' prompt clusters.
    """
    said = np.empty((len(PEERS), len(features)))
    for own in np.unique(fold):
        at = np.flatnonzero(fold == own)
        for start in range(0, len(at), _ROWS):
            rows = at[start : start + _ROWS]
            said[:, rows] = peers.coefficients[:, own] @ _scaled(features[rows], peers.scale).T
    return said


def apply(peers: Peers, features: Single, fold: Index) -> Double:
    """P(first is better) by the peer trained on all other folds: (N,), 0 to 1, antisymmetric: 1 - p for exchanged sides."""
    return np.asarray(expit(log_odds(peers, features, fold)[0]), dtype=np.float64)


def _check(features: Single, target: Double, weight: Double, fold: Index, folds: int, blocks: tuple[int, ...]) -> None:
    rows = len(features)
    if not target.shape == weight.shape == fold.shape == (rows,) or sum(blocks) != features.shape[1]:
        raise ValueError(
            f"shapes {features.shape}, {target.shape}, {weight.shape}, {fold.shape} and blocks {blocks} do not belong together"
        )
    if folds < 3 or (rows and not (fold.min() >= 0 and fold.max() < folds)):
        raise ValueError(f"a fold is outside 0 to {folds - 1}, or folds is below 3")
    if not ((target >= 0) & (target <= 1)).all() or not ((weight >= 0) & (weight < np.inf)).all():
        raise ValueError("a target is outside 0 to 1, or a weight is negative or not finite")


def _scale(features: Single, blocks: tuple[int, ...]) -> Double:
    """A power of two for each family: rounding to one hides the order in which the squares were added."""
    scale, start = np.ones(features.shape[1]), 0
    for size in blocks:
        square = float(np.square(features[:, start : start + size], dtype=np.float64).sum()) / max(1, len(features))
        scale[start : start + size] = 2.0 ** -np.rint(np.log2(square) / 2) if square > 0 else 1.0
        start += size
    return scale


def _scaled(features: Single, scale: Double) -> Double:
    return np.rint(np.clip(features * scale, -_LIMIT, _LIMIT) / _STEP) * _STEP


def _moments(features: Single, scale: Double, verdict: Double, weight: Double, rows: Index) -> tuple[Double, Double]:
    """X'WX and X'Wy of some rows; every product is a multiple of 2^-34 and the sums stay below 2^19, so they are exact."""
    gram, product = np.zeros((len(scale), len(scale))), np.zeros(len(scale))
    for start in range(0, len(rows), _ROWS):
        own = rows[start : start + _ROWS]
        scaled = _scaled(features[own], scale)
        weighted = scaled * weight[own, np.newaxis]
        gram += weighted.T @ scaled
        product += weighted.T @ verdict[own]
    return gram, product


def _directions(gram: Double, blocks: tuple[int, ...]) -> tuple[Double, Double, Double]:
    """Principal directions of each family, (F, K), the grid of penalties, (choices, K), and its log prior. No label enters."""
    columns: list[Double] = []
    families: list[Double] = []
    start = 0
    for size in blocks:
        _, vectors = np.linalg.eigh(gram[start : start + size, start : start + size])
        kept = np.zeros((len(gram), min(size, _DIRECTIONS)))
        kept[start : start + size] = vectors[:, ::-1][:, :_DIRECTIONS]
        columns.append(kept)
        families.append(np.full(kept.shape[1], len(families)))
        start += size
    grid = np.array(list(itertools.product(_SHRINKAGE, repeat=len(blocks))))
    large = np.array(blocks) > _LARGE
    return np.hstack(columns), grid[:, np.concatenate(families)], _FAVOUR * (grid[:, large] > _SHRINKAGE[0]).sum(axis=1)


def _solve(gram: Double, product: Double, penalties: Double) -> Double:
    """Ridge coefficients for each row of penalties, (choices, K)."""
    models = np.empty(penalties.shape)
    for choice, penalty in enumerate(penalties):
        matrix = gram.copy()
        matrix.flat[:: len(matrix) + 1] += penalty
        models[choice] = lapack.dposv(matrix, product, lower=1, overwrite_a=1)[1]
    return models


def _slope(guess: Double, verdict: Double, weight: Double) -> float:
    """Log-odds per unit of guess: the logistic fit to soft labels, drawn towards `_SLOPE`; never negative."""
    slope, right = _SLOPE, (1 + verdict) / 2
    for _ in range(20):
        likely = expit(slope * guess)
        gradient = float(weight @ ((right - likely) * guess)) - _CAUTION * (slope - _SLOPE)
        curvature = float(weight @ (likely * (1 - likely) * guess**2)) + _CAUTION
        slope = max(0.0, slope + float(np.clip(gradient / curvature, -2.0, 2.0)))
    return slope
