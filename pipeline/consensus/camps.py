"""One camp of annotators or several: do K groups with views of their own explain the votes better than one?

Groups are fitted to four votes in five and judged by the log-probability of the fifth, so a group has to predict its members'
other votes. MaxMin-RLHF (2024) and PAL (2024) say why it matters: a model of one taste serves the larger camp alone. The model
is in `pipeline.consensus.camp_model`.
"""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.consensus.camp_model import Ballots, Floats, Groups, Ints, first_tables, fit, leading_directions, residuals
from pipeline.stage import UNNAMED
from pipeline.statistics.agreement import single_votes
from pipeline.statistics.bootstrap import percentiles, weights
from pipeline.statistics.table import Statistic, statistics_table, unknown

MOST_CAMPS: Final = 3
LEAST_VOTES: Final = 8  # on pairs that others judged too; who has fewer joins no group
LEAST_MEMBERS: Final = 3  # fewer annotators are outliers, not a camp
LEAST_SHARE: Final = 0.05  # of the votes, likewise
SURE: Final = 0.8  # P(group) below which an annotator joins none
FOLDS: Final = 5  # one vote in five is held out
_EVERY_FOLD: Final = 100_000  # votes up to which each fold has its turn; above, one fold holds votes enough
_TRIAL: Final = 12  # iterations before the best start goes on alone
_TRIAL_PAIRS: Final = 20_000
_PARTS: Final = (0.2, 0.5, 0.8)
_MOST: Final = 100
_ANNOTATOR_KEYS: Final = 1 << 63  # numbers of annotators and of pairs draw from different keys

CAMP_VOTES: Final = pl.Schema({"source": pl.String, "pair_id": pl.String, "annotator": pl.String, "vote": pl.Int8, "fold": pl.Int8})
GROUPS: Final = pl.Schema({"annotator_id": pl.String, "source": pl.String, "group": pl.Int64})


class Camps(NamedTuple):
    """What was found."""

    groups: pl.DataFrame  # GROUPS: one row an annotator; group 0 has the most votes; null: too few votes, undecided, or unknown
    statistics: pl.DataFrame  # STATISTIC `camps` and `camp_gain`, per source


def camp_votes(votes: pl.DataFrame) -> pl.DataFrame:
    """The votes of one partition that can tell camps apart: of named annotators, on pairs that two or more of a source judged.

    Args:
        votes: VOTES; ids are hex.

    Returns:
        CAMP_VOTES, one row an annotator and pair; `fold`, 0 to 4, comes from the judgement's id alone.
    """
    once = single_votes(votes.filter(~pl.col("annotator").str.starts_with(f"{UNNAMED} ")))
    shared = once.filter(pl.len().over("source", "pair_id") > 1)
    key = pl.col("judgement_id").str.slice(0, 15).str.to_integer(base=16, dtype=pl.Int64)
    return shared.with_columns(fold=(key % FOLDS).cast(pl.Int8)).select(CAMP_VOTES.names())


def find_camps(parts: list[pl.DataFrame], sources: Sequence[str] = ()) -> Camps:
    """Find the camps of each source (an annotator's name counts within its source).

    Args:
        parts: results of `camp_votes`.
        sources: all sources, so that those without a vote that could tell are named too.

    Returns:
        The annotators' groups, and per source `camps` (how many groups explain the votes best, 1 to 3; null where it cannot be
        told) and `camp_gain` (nats a held-out vote that they gain over one group less; for one group, what a second would gain).
        The gain's 95 % interval resamples pairs and annotators both (Owen 2007, "The pigeonhole bootstrap"): a claim about
        groups must not hang on a few annotators. One group more is only taken if the interval is above 0 and each group is more
        than a few outliers.
    """
    votes = pl.concat([CAMP_VOTES.to_frame(), *parts]).sort("source", "pair_id", "annotator")
    groups, rows = [GROUPS.to_frame()], list[Statistic]()
    for source in sorted({*sources} - {*votes.get_column("source")}):
        rows += _untold(source, 0, "no pair was judged by two named annotators: camps cannot be told apart")
    for (source,), of_source in votes.partition_by("source", as_dict=True, maintain_order=True).items():
        found, statistics = _of_source(str(source), of_source)
        groups.append(found)
        rows += statistics
    return Camps(pl.concat(groups).sort("annotator_id", "source"), statistics_table(rows))


def _of_source(source: str, votes: pl.DataFrame) -> tuple[pl.DataFrame, list[Statistic]]:
    names = votes.get_column("annotator").unique().sort()
    ballots = Ballots(
        votes.get_column("pair_id").rle_id().cast(pl.Int64).to_numpy(),
        votes.get_column("annotator").rank("dense").cast(pl.Int64).to_numpy() - 1,
        votes.get_column("vote").cast(pl.Int64).to_numpy(),
        votes.get_column("pair_id").n_unique(),
        len(names),
    )
    enough = np.bincount(ballots.annotator, minlength=len(names)) >= LEAST_VOTES
    frame = pl.DataFrame({"annotator_id": names}).with_columns(source=pl.lit(source), group=pl.lit(None, pl.Int64))
    subject, n = ("source", source), len(votes)
    if enough.sum() < 2 * LEAST_MEMBERS:
        words = (
            f"{int(enough.sum())} annotators have {LEAST_VOTES} votes or more on pairs that others judged too; "
            f"telling camps apart needs {2 * LEAST_MEMBERS}"
        )
        return frame, _untold(source, n, words)
    known, gain, words = _best(ballots, votes.get_column("fold").to_numpy(), votes.get_column("pair_id"), enough)
    number = _numbered(known, ballots, enough)
    camps = Statistic("camps", *subject, known.members.shape[1], math.nan, math.nan, n, "groups", words)
    frame = frame.with_columns(group=pl.Series(number, dtype=pl.Int64)).with_columns(pl.col("group").replace(-1, None))
    return frame, [camps, Statistic("camp_gain", *subject, *gain, n, "nats a vote", words)]


def _untold(source: str, votes: int, words: str) -> list[Statistic]:
    subject = ("source", source)
    return [unknown("camps", subject, votes, "groups", words), unknown("camp_gain", subject, votes, "nats a vote", words)]


def _best(
    ballots: Ballots, fold: npt.NDArray[np.int8], pair_ids: pl.Series, enough: npt.NDArray[np.bool_]
) -> tuple[Groups, tuple[float, float, float], str]:
    """The fit with as many groups as hold, the last gain that was measured with its interval, and what follows in words."""
    held_out = [fold == one for one in (range(FOLDS) if len(fold) <= _EVERY_FOLD else range(1))]
    tested = np.concatenate([np.flatnonzero(out) for out in held_out])
    drawn = _Draws(pair_ids.gather(tested), ballots.annotator[tested])
    fits = [fit_groups(ballots.part(~out)) for out in held_out]
    best, before = fit_groups(ballots), _predictions(fits, ballots, held_out)
    gain, words = (math.nan, math.nan, math.nan), ""
    for groups in range(2, MOST_CAMPS + 1):
        fits = [fit_groups(ballots.part(~out), fewer) for out, fewer in zip(held_out, fits, strict=True)]
        after = _predictions(fits, ballots, held_out)
        gained = drawn.mean(after - before)
        more = fit_groups(ballots, best) if gained[1] > 0 else None
        if more is None or not _substantial(more, ballots, enough):
            few = (
                f"one of {groups} groups has fewer than {LEAST_MEMBERS} annotators or {LEAST_SHARE:.0%} of the votes: outliers, not a camp"
            )
            why = f"{_told(groups, gained)}{'; ' + few if more else ''}"
            return best, gain if words else gained, f"{words}; {why}" if words else why
        words = f"{words}; {_told(groups, gained)}" if words else f"a single consensus would hide several views: {_told(groups, gained)}"
        best, before, gain = more, after, gained
    return best, gain, words


def _told(groups: int, gain: tuple[float, float, float]) -> str:
    fewer = "1 group" if groups == 2 else f"{groups - 1} groups"
    return "{} over {} gain {:.4f} nats a held-out vote, 95 % interval {:.4f} to {:.4f}".format(f"{groups} groups", fewer, *gain)


def _predictions(fits: list[Groups], ballots: Ballots, held_out: list[npt.NDArray[np.bool_]]) -> Floats:
    return np.concatenate([known.log_probability(ballots.part(out)) for known, out in zip(fits, held_out, strict=True)])


class _Draws:
    """Bootstrap means over votes, weighted by draws of their pair and of their annotator."""

    def __init__(self, pair_ids: pl.Series, annotator: Ints) -> None:
        self._pair_ids, self._annotator = pair_ids, annotator
        numbers = pl.Series([f"{_ANNOTATOR_KEYS + number:016x}" for number in range(int(annotator.max(initial=0)) + 1)])
        self._by_annotator = weights(numbers)

    def mean(self, values: Floats) -> tuple[float, float, float]:
        """Mean, low and high of the values (N,)."""
        total, count = np.zeros(self._by_annotator.shape[1]), np.zeros(self._by_annotator.shape[1])
        for first in range(0, len(values), 8192):
            rows = slice(first, first + 8192)
            drawn = weights(self._pair_ids[rows]).astype(np.float64) * self._by_annotator[self._annotator[rows]]
            total += values[rows] @ drawn
            count += drawn.sum(axis=0)
        means = np.divide(total, count, out=np.full(len(count), math.nan), where=count > 0)
        return float(means[0]), *percentiles(means)


def _substantial(found: Groups, ballots: Ballots, enough: npt.NDArray[np.bool_]) -> bool:
    membership = found.membership()
    for group in range(membership.shape[1]):
        members = enough & (membership[:, group] >= SURE)
        if members.sum() < LEAST_MEMBERS or members[ballots.annotator].mean() < LEAST_SHARE:
            return False
    return True


def _numbered(found: Groups, ballots: Ballots, enough: npt.NDArray[np.bool_]) -> Ints:
    """Each annotator's group, the one with most votes first; -1: none."""
    membership = found.membership()
    group = np.where(enough & (membership.max(axis=1) >= SURE), membership.argmax(axis=1), -1)
    votes = np.bincount(group[ballots.annotator] + 1, minlength=membership.shape[1] + 1)[1:]
    # Equal sizes: the group of the first annotator comes first.
    first = np.array([np.argmax(group == one) for one in range(membership.shape[1])])
    rank = np.empty(len(votes) + 1, np.int64)
    rank[np.lexsort((first, -votes))] = np.arange(len(votes))
    rank[-1] = -1
    return np.asarray(rank[group])


def fit_groups(ballots: Ballots, fewer: Groups | None = None) -> Groups:
    """Fit one group more than `fewer` has (None: one group), from several starts, and keep the fit that explains the votes best.

    A start splits one group along a direction in which annotators differ: in what they say, or in what is left over of it
    after the fit. Starts are tried on a sample of pairs.
    """
    tables = first_tables()
    if fewer is None:
        return fit(ballots, np.full((ballots.annotators, 1, len(tables)), 1 / len(tables)), tables, most_iterations=_MOST)
    groups = fewer.members.shape[1] + 1
    tried = ballots.part(ballots.pair < _TRIAL_PAIRS)
    trials = [fit(tried, _start(into, groups, len(tables)), tables, most_iterations=_TRIAL) for into in _splits(ballots, fewer)]
    best = max(trials, key=lambda trial: trial.bound)
    return fit(ballots, best.members, best.tables, most_iterations=_MOST)


def _splits(ballots: Ballots, fewer: Groups) -> list[Ints]:
    """(J,) group to start in, per start."""
    said = leading_directions(ballots, ballots.vote.astype(np.float64), 2)
    left = leading_directions(ballots, residuals(ballots, fewer), 1)
    now = fewer.membership().argmax(axis=1)
    new = fewer.members.shape[1]
    splits = []
    for group in range(new):
        here = now == group
        for direction in (*said.T, *left.T):
            for part in _PARTS:
                beyond = direction > np.quantile(direction[here], part) if here.any() else here
                splits.append(np.where(here & beyond, new, now))
    return splits


def _start(into: Ints, groups: int, skills: int) -> Floats:
    lean = np.where(np.arange(groups) == into[:, None], 0.8, 0.2 / (groups - 1))
    return np.repeat(lean[:, :, None] / skills, skills, axis=2)
