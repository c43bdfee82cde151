"""Which vote model foretells votes best: one vote in five is hidden, the models are fitted to the rest, and say how likely each is.

A hidden vote is foretold as low, tie or high, from what the pair's other votes say and what the model knows of its annotator. So
models of any kind compare, on data without a known truth, by the same measure: nats a vote.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.consensus.em import Double, Latent, fit
from pipeline.consensus.patterns import CATEGORIES, HIGH, LOW, TIE, cells_by_pair, merge, mirror, number_annotators, patterns_of
from pipeline.identity import content_hash
from pipeline.stage import UNNAMED
from pipeline.statistics.agreement import WHOLE
from pipeline.statistics.bootstrap import add_sums, by_subject, percentiles, ratio, replicate_sums
from pipeline.statistics.table import Statistic, statistics_table

MAJORITY: Final = "majority"
SHARES: Final = "shares"
ONE_IN: Final = 5
MOST_VOTES: Final = 100_000  # of a sample: the intervals are narrow by then
UNITS: Final = 10**6  # log-likelihoods are whole millionths of a nat, so that their sums are exact
_FEWEST_VOTERS: Final = 2
_OUTCOMES = np.array([LOW, TIE, HIGH])  # of unspecified strength: of either


def held_out(
    votes: pl.DataFrame,
    models: Mapping[str, Callable[[pl.DataFrame], Latent[Any]]],
    *,
    prior: float,
    tolerance: float,
    most_iterations: int,
) -> pl.DataFrame:
    """Hide votes, fit, foretell.

    Hidden is every vote of one in five annotators of a pair, by a hash of the two (of an unnamed annotator's votes, each for
    itself). Pairs with one voter take no part. Two baselines look at the pair's other votes only: `majority`, with `prior` votes
    more for each of the three outcomes, and `shares`, with as many votes in all, divided as the votes of the whole set are,
    low and high alike.

    Args:
        votes: `votes.VOTES`, in any order. All are held in memory.
        models: name -> what makes a model from the table of `patterns.number_annotators`.
        prior: above 0.
        tolerance: for `em.fit`.
        most_iterations: for `em.fit`.

    Returns:
        pair_id, source, votes (hidden), and for each baseline and model the sum of their log-likelihoods, Int64 in millionths of a
        nat; one row a pair and source with a hidden vote, sorted.
    """
    ballot = pl.when(pl.col("annotator").str.starts_with(f"{UNNAMED} ")).then("judgement_id").otherwise("annotator")
    cast = votes.sort("pair_id", "judgement_id", "kind", "annotator").with_columns(
        ballot=pl.concat_str("pair_id", "kind", ballot, separator="\n")
    )
    cast = cast.filter(pl.col("ballot").n_unique().over("pair_id") >= _FEWEST_VOTERS)
    drawn = content_hash(cast.get_column("ballot"), "held out").str.slice(0, 8).str.to_integer(base=16, dtype=pl.Int64)
    hidden, rest = cast.filter(drawn % ONE_IN == 0), cast.filter(drawn % ONE_IN != 0)

    numbers = number_annotators([cast])
    patterns = merge([patterns_of(rest, numbers)], numbers)
    found = cells_by_pair(rest, numbers)
    cells = np.where(np.repeat(found.swapped, np.diff(found.indptr)), mirror(found.cells), found.cells)
    known = pl.DataFrame({"pair_id": found.pair_ids}).with_row_index("at")
    at = hidden.join(known, on="pair_id", how="left", maintain_order="left").get_column("at").cast(pl.Int64).fill_null(-1).to_numpy()
    asked = _cells(hidden, numbers)
    said = hidden.get_column("vote").to_numpy().astype(np.int64) + 1

    counts = _counts(rest, known)
    foretold = {MAJORITY: _smoothed(counts, np.full(3, prior), at), SHARES: _smoothed(counts, 3 * prior * _shares(counts), at)}
    for name, make in models.items():
        model = make(numbers)
        fitted = fit(patterns, model, tolerance=tolerance, most_iterations=most_iterations)
        foretold[name] = _foretell(found.indptr, cells, at, asked, fitted.log_tables, fitted.log_prior)
    scores = {name: np.rint(UNITS * np.log(p[np.arange(len(said)), said])).astype(np.int64) for name, p in foretold.items()}
    return (
        hidden.select("pair_id", "source")
        .with_columns(votes=pl.lit(1, pl.Int64), **{name: pl.Series(values, dtype=pl.Int64) for name, values in scores.items()})
        .group_by("pair_id", "source")
        .sum()
        .sort("pair_id", "source")
    )


def sample(votes: pl.DataFrame) -> pl.DataFrame:
    """The votes on pairs with two votes or more, of the least pair ids, which are hashes: 100,000 votes at most.

    A sample of samples is the sample of the whole, so partitions may be sampled first.
    """
    shared = votes.filter(pl.len().over("pair_id") > 1).sort("pair_id", "judgement_id")
    ends = shared.group_by("pair_id", maintain_order=True).agg(votes=pl.len()).with_columns(pl.col("votes").cum_sum())
    return shared.join(ends.filter(pl.col("votes") <= MOST_VOTES).select("pair_id"), on="pair_id", how="semi", maintain_order="left")


def held_out_statistics(scores: pl.DataFrame) -> pl.DataFrame:
    """What the hidden votes say of each model, for the data set and each source.

    Args:
        scores: from `held_out`.

    Returns:
        STATISTIC: `held_out_log_likelihood_<model>` (nats a vote, at most 0; guessing among three is -1.0986), and
        `held_out_gain_<model>`, how much that is above `majority`'s; intervals over pairs. n counts hidden votes.
    """
    models = [name for name in scores.columns if name not in {"pair_id", "source", "votes"}]
    rows = pl.concat(
        scores.rename({"pair_id": "id"}).with_columns(subject_kind=pl.lit(kind), subject=subject)
        for kind, subject in (("source", pl.col("source")), (WHOLE[0], pl.lit(WHOLE[1])))
    )
    table: list[Statistic] = []
    for subject, sums in by_subject(add_sums([replicate_sums(rows, ["votes", *models])])).items():
        hidden = int(sums["votes"][0])
        for name in models:
            told = [(f"held_out_log_likelihood_{name}", sums[name])]
            told += [(f"held_out_gain_{name}", sums[name] - sums[MAJORITY])] if name != MAJORITY else []
            for statistic, values in told:
                each = ratio(values / UNITS, sums["votes"])
                table.append(Statistic(statistic, *subject, float(each[0]), *percentiles(each), hidden, "nats a vote"))
    return statistics_table(table)


def _cells(votes: pl.DataFrame, numbers: pl.DataFrame) -> npt.NDArray[np.int64]:
    """The first cell of each vote's annotator and order shown, (V,)."""
    alone = votes.with_columns(pair_id=pl.int_range(pl.len()).cast(pl.String).str.zfill(12))
    found = cells_by_pair(alone, numbers)
    cells = np.where(found.swapped, mirror(found.cells), found.cells).astype(np.int64)
    return cells - cells % CATEGORIES


def _counts(votes: pl.DataFrame, known: pl.DataFrame) -> Double:
    """Votes for low, tie and high of each pair, (P, 3)."""
    at = votes.join(known, on="pair_id", how="left", maintain_order="left").get_column("at").cast(pl.Int64).to_numpy()
    outcome = at * 3 + votes.get_column("vote").to_numpy().astype(np.int64) + 1
    return np.bincount(outcome, minlength=3 * known.height).reshape(-1, 3).astype(np.float64)


def _shares(counts: Double) -> Double:
    """Of the three outcomes in the whole set, the first and last alike, and one vote more for each, (3,)."""
    total = counts.sum(axis=0) + 1.0
    return np.asarray((total + total[::-1]) / (2.0 * total.sum()))


def _smoothed(counts: Double, prior: Double, at: npt.NDArray[np.int64]) -> Double:
    """Posterior means of the pairs at `at`, (V, 3); -1: nothing is known of the pair."""
    seen = np.concatenate([counts, np.zeros((1, 3))])[at] + prior
    return np.asarray(seen / seen.sum(axis=1, keepdims=True))


def _foretell(
    indptr: npt.NDArray[np.int64], cells: npt.NDArray[np.uint32], at: npt.NDArray[np.int64], asked: npt.NDArray[np.int64],
    log_tables: Double, log_prior: Double,
) -> Double:  # fmt: skip
    """P(low, tie, high) of each hidden vote, (V, 3)."""
    pair = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    seen = np.zeros((len(indptr), len(log_prior)))  # the last row, of a pair with no other vote, stays 0
    for column in range(len(log_prior)):
        seen[:-1, column] = np.bincount(pair, log_tables[cells, column], len(indptr) - 1)
    scores = seen[at] + log_prior
    posterior = np.exp(scores - scores.max(axis=1, keepdims=True))
    chances = np.stack([(posterior * np.exp(log_tables[asked + outcome])).sum(axis=1) for outcome in _OUTCOMES], axis=1)
    return np.asarray(chances / chances.sum(axis=1, keepdims=True))
