"""Votes of K groups of annotators, each with its own view of every pair.

Shapes: I pairs, J annotators, K groups, T skills, L = 5 levels of preference (2, 1 for low; equal; 1, 2 for high), V = 3 votes.

A pair has one level per group, drawn jointly (so groups may agree on most pairs); an annotator belongs to one group and has one of T
skills; a skill is a table P(vote | level). Skills are the same in all groups, so a group differs from another by what it prefers,
never by how careful it is. One group is the usual latent-class model (Dawid & Skene 1979) with classes of annotators.
Fitted by mean-field variational EM on two sparse products a step.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LEVELS: Final = 5
VOTES: Final = 3  # -1, 0, 1
_CAREFUL: Final = (0.95, 0.8, 0.62)  # what skills start from: P(better side | clear difference, no tie), and ties among votes
_TIES: Final = (0.08, 0.35)
_PSEUDO: Final = 1.0  # votes added to each cell of a table, pairs to each joint level, annotators to each skill and group


@dataclass(frozen=True)
class Ballots:
    """Votes as integers: one row = one vote."""

    pair: Ints  # (N,), 0 to I - 1
    annotator: Ints  # (N,), 0 to J - 1
    vote: Ints  # (N,), -1, 0, 1
    pairs: int
    annotators: int

    def part(self, rows: npt.NDArray[np.bool_]) -> "Ballots":
        """Some of the votes, with the same numbering."""
        return Ballots(self.pair[rows], self.annotator[rows], self.vote[rows], self.pairs, self.annotators)

    def incidence(self) -> csr_array:
        """(I, J * V) 0/1: which annotator said what about which pair."""
        column = self.annotator * VOTES + self.vote + 1
        return csr_array((np.ones(len(column)), (self.pair, column)), shape=(self.pairs, self.annotators * VOTES))


@dataclass(frozen=True)
class Groups:
    """A fitted model."""

    views: Floats  # (K, I, L) P(level | group), per pair
    members: Floats  # (J, K, T) P(group, skill), per annotator
    tables: Floats  # (T, V, L) P(vote | level)
    bound: float  # of the log-likelihood of the votes it was fitted to
    iterations: int
    converged: bool

    def membership(self) -> Floats:
        """(J, K)."""
        return np.asarray(self.members.sum(axis=2))

    def log_probability(self, ballots: Ballots) -> Floats:
        """Of each vote (N,), natural log, given what the fit knows of its pair and annotator."""
        said = np.einsum("jkt,tvl->jvkl", self.members, self.tables)
        mine = said[ballots.annotator, ballots.vote + 1]
        return np.asarray(np.log(np.einsum("nkl,knl->n", mine, self.views[:, ballots.pair])))


def fit(ballots: Ballots, start: Floats, tables: Floats, *, most_iterations: int, tolerance: float = 1e-5) -> Groups:
    """Fit from a start.

    Args:
        ballots: the votes, in a fixed order.
        start: (J, K, T), rows that sum to 1: group and skill of each annotator to begin with.
        tables: (T, V, L) to begin with, e.g. `first_tables()`.
        most_iterations: where to stop.
        tolerance: or when the bound rises by less than this a vote.
    """
    groups = start.shape[1]
    votes = ballots.incidence()
    by_annotator = csr_array(votes.T)
    members, joint = start, _first_joint(groups)
    bound, step, converged = -math.inf, 0, False
    views = np.empty(0)
    while step < most_iterations and not converged:
        step += 1
        # What each pair's groups think, given who its voters are.
        told = np.einsum("jkt,tvl->jvkl", members, np.log(tables)).reshape(-1, groups * LEVELS)
        evidence = (votes @ told).reshape(-1, groups, LEVELS)
        views, states, log_votes = _levels(evidence, joint)
        # Who each annotator is, given what the groups think.
        counts = (by_annotator @ views.transpose(1, 0, 2).reshape(-1, groups * LEVELS)).reshape(-1, VOTES, groups, LEVELS)
        group_share, skill_share = _shares(members.sum(axis=(0, 2))), _shares(members.sum(axis=(0, 1)))
        prior = np.log(group_share)[:, None] + np.log(skill_share)
        # The bound for the members that the levels were found with.
        before = bound
        bound = float(log_votes.sum() + (members * (prior - np.log(np.maximum(members, 1e-300)))).sum())
        converged = bound - before < tolerance * max(len(ballots.vote), 1)
        members = _softmax(np.einsum("jvkl,tvl->jkt", counts, np.log(tables)) + prior)
        tables = _tables(np.einsum("jvkl,jkt->tvl", counts, members))
        joint = _symmetric_joint(states, groups)
    return Groups(views, members, tables, bound, step, converged)


def first_tables() -> Floats:
    """(T, V, L) of careful, average and careless annotators who seldom or often see a tie."""
    tables = np.empty((len(_CAREFUL) * len(_TIES), VOTES, LEVELS))
    for skill, (careful, ties) in enumerate((careful, ties) for careful in _CAREFUL for ties in _TIES):
        for level, (clear, tie) in enumerate(((1.0, ties / 2), (0.6, ties), (0.0, min(0.8, 2.5 * ties)))):
            better = (1 - tie) * (0.5 + (careful - 0.5) * clear)
            tables[skill, :, level] = better, tie, 1 - tie - better
            tables[skill, :, LEVELS - 1 - level] = 1 - tie - better, tie, better
    return tables


def _first_joint(groups: int) -> Floats:
    """Each group thinks for itself: begun alike, a small group would only echo a large one."""
    return np.full((LEVELS,) * groups, 1 / LEVELS**groups)


def _levels(evidence: Floats, joint: Floats) -> tuple[Floats, Floats, Floats]:
    """P(level) per group and pair (K, I, L), expected pairs per joint level, and log of the pairs' evidence (I,)."""
    pairs, groups, _ = evidence.shape
    views = np.empty((groups, pairs, LEVELS))
    states, log_votes = np.zeros(joint.shape), np.empty(pairs)
    axes = list(range(1, groups + 1))
    for first in range(0, pairs, 16384):  # bounds what K = 3 holds at once
        here = evidence[first : first + 16384]
        score = np.broadcast_to(np.log(joint), (len(here), *joint.shape)).copy()
        for group in range(groups):
            shape = [len(here)] + [LEVELS if axis == group else 1 for axis in range(groups)]
            score += here[:, group].reshape(shape)
        top = score.max(axis=tuple(axes), keepdims=True)
        np.exp(score - top, out=score)
        total = score.sum(axis=tuple(axes), keepdims=True)
        score /= total
        log_votes[first : first + 16384] = (top + np.log(total)).reshape(-1)
        states += score.sum(axis=0)
        for group in range(groups):
            views[group, first : first + 16384] = score.sum(axis=tuple(axis for axis in axes if axis != group + 1))
    return views, states, log_votes


def _symmetric_joint(states: Floats, groups: int) -> Floats:
    """Which side is `high` carries nothing, so a joint level and its mirror are equally likely."""
    counted = states + np.flip(states) + _PSEUDO * LEVELS / LEVELS**groups
    return np.asarray(counted / counted.sum())


def _tables(counts: Floats) -> Floats:
    counted = counts + counts[:, ::-1, ::-1] + _PSEUDO
    # No skill prefers the worse side: who always opposes the rest has another view, not another skill.
    half = LEVELS // 2
    wrong = counted[:, 0, half:] > counted[:, 2, half:]
    even = (counted[:, 0, half:] + counted[:, 2, half:]) / 2
    for vote in (0, 2):
        counted[:, vote, half:] = np.where(wrong, even, counted[:, vote, half:])
    counted[:, :, :half] = counted[:, ::-1, :half:-1]
    return np.asarray(counted / counted.sum(axis=1, keepdims=True))


def _shares(counts: Floats) -> Floats:
    return np.asarray((counts + _PSEUDO) / (counts + _PSEUDO).sum())


def _softmax(score: Floats) -> Floats:
    weight = np.exp(score - score.max(axis=(1, 2), keepdims=True))
    return np.asarray(weight / weight.sum(axis=(1, 2), keepdims=True))


def residuals(ballots: Ballots, groups: Groups) -> Floats:
    """Each vote (N,) less what the fit expects of it."""
    said = np.einsum("jkt,tvl->jvkl", groups.members, groups.tables)
    towards_high = (said[:, 2] - said[:, 0])[ballots.annotator]
    return np.asarray(ballots.vote - np.einsum("nkl,knl->n", towards_high, groups.views[:, ballots.pair]))


def leading_directions(ballots: Ballots, said: Floats, directions: int) -> Floats:
    """(J, directions): along which annotators differ most in what they said of the pairs they share.

    Leading eigenvectors of the annotators' products of `said` (N,), each annotator scaled to unit length, by subspace iteration.
    """
    length = np.sqrt(np.bincount(ballots.annotator, said**2, ballots.annotators))
    scaled = said / np.maximum(length, 1e-12)[ballots.annotator]
    matrix = csr_array((scaled, (ballots.annotator, ballots.pair)), shape=(ballots.annotators, ballots.pairs))
    back = csr_array(matrix.T)
    found = np.random.default_rng(0).standard_normal((ballots.annotators, directions))
    for _ in range(60):
        found = np.linalg.qr(np.asarray(matrix @ (back @ found)))[0]
    return np.asarray(found)
