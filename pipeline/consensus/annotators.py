"""What a fitted vote model says of each annotator, with intervals, and what no model could say of these votes."""

from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.special import betaincinv

from pipeline.consensus.em import Double, Fitted, expected_cells
from pipeline.consensus.patterns import CATEGORIES, HIGH, LOW, SHOWN, SHOWN_HIGH_FIRST, SHOWN_LOW_FIRST, TIE, Index, Patterns
from pipeline.stage import UNNAMED

_PRIOR_VOTES: Final = 4.0  # what an accuracy's interval rests on besides the annotator's votes
_LEVEL: Final = 0.95


def annotator_table(patterns: Patterns, fitted: Fitted[object]) -> pl.DataFrame:
    """Accuracy and habits of each annotator.

    `accuracy` is P(picks the better side | a side is better, and the vote is no tie) under the fitted model. Its interval is that of
    a Beta distribution around it, with as many votes as theirs are worth, and 4 more for the prior. A vote is worth the share of a
    vote on a pair of known truth that the observed information is of the complete information (Louis: Finding the Observed
    Information Matrix when Using the EM Algorithm, 1982): 1 where others leave no doubt about the pair, 0 where nobody else voted.
    Shares that are counted have Jeffreys intervals, closed at 0 and 1. All intervals hold 95 %.

    Args:
        patterns: P patterns of pairs.
        fitted: a model fitted to them.

    Returns:
        One row an annotator, in the order of their numbers: annotator_id, annotator_kind, votes (repeats count once, see
        `patterns.cells_by_pair`), pairs, shared_pairs (with a vote of somebody else); accuracy, tie_share (ties / votes) and first_share
        (picks of the side shown first / picks where the order is known), each with `_low` and `_high`, 0 to 1; note (in words, null:
        nothing to say). accuracy is null where nobody else voted on the annotator's pairs, or all their votes are ties; first_share
        where no order is known.
    """
    shape = (patterns.numbers.height, SHOWN, CATEGORIES)
    votes = expected_cells(patterns, np.ones((len(patterns.counts), 1))).reshape(shape)
    cast, ties = votes.sum(axis=(1, 2)), votes[:, :, TIE].sum(axis=1)
    first = votes[:, SHOWN_LOW_FIRST, :TIE].sum(axis=1) + votes[:, SHOWN_HIGH_FIRST, TIE + 1 :].sum(axis=1)
    ordered = votes[:, SHOWN_LOW_FIRST:].sum(axis=(1, 2)) - votes[:, SHOWN_LOW_FIRST:, TIE].sum(axis=1)
    pairs, shared, contradicted = _pairs(patterns)

    accuracy = _accuracy(fitted, votes)
    worth = _worth(patterns, fitted, accuracy, shape)
    known = (shared > 0) & (cast > ties)
    amount = worth + _PRIOR_VOTES
    ends = [np.where(known, betaincinv(accuracy * amount, (1 - accuracy) * amount, end), np.nan) for end in _ENDS]
    table = {
        "annotator_id": patterns.numbers["annotator"],
        "annotator_kind": patterns.numbers["kind"],
        "votes": cast.astype(np.int64),
        "pairs": pairs,
        "shared_pairs": shared,
        "accuracy": np.where(known, accuracy, np.nan),
        "accuracy_low": ends[0],
        "accuracy_high": ends[1],
        **counted_share("tie_share", ties, cast),
        **counted_share("first_share", first, ordered),
    }
    notes = [
        pl.when(pl.lit(len(pairs) == 1)).then(pl.lit("the only annotator")),
        pl.when(pl.col("votes") == 0).then(pl.lit("no vote of it enters consensus")),
        pl.when((pl.col("votes") > 0) & (pl.col("shared_pairs") == 0)).then(
            pl.lit("nobody else's votes count on its pairs: how often it is right cannot be told")
        ),
        pl.when((pl.col("shared_pairs") > 0) & pl.col("accuracy").is_null()).then(pl.lit("all its votes are ties")),
        pl.when(pl.col("accuracy").is_not_null() & (pl.col("worth") < _PRIOR_VOTES)).then(
            pl.format("its votes say as much as {} on pairs of known truth: the interval is mostly the prior's", pl.col("worth").round(1))
        ),
        pl.when(pl.col("accuracy_high") < 0.5).then(pl.lit("its picks are more often those that the others reject")),
        pl.when(pl.col("contradicted") > 0).then(pl.format("votes for both sides of {} of its pairs", "contradicted")),
    ]
    rows = pl.DataFrame(table).with_columns(pl.col(pl.Float64).fill_nan(None), contradicted=contradicted, worth=worth)
    joined = pl.concat_list(notes).list.drop_nulls().list.join("; ")
    return rows.with_columns(note=pl.when(joined != "").then(joined)).drop("contradicted", "worth")


def identifiability(patterns: Patterns) -> list[str]:
    """What the votes leave open whatever the model, in sentences; empty when there is nothing to say."""
    if not patterns.pairs:
        return ["There are no votes."]
    said = []
    sizes = np.diff(patterns.indptr)
    pairs, single = patterns.pairs, int(patterns.counts[sizes == 1].sum())
    who = patterns.cells // (SHOWN * CATEGORIES)
    voters = np.unique(who)
    if (patterns.cells % CATEGORIES == TIE).all():
        said.append("All votes are ties: nothing tells better sides from worse.")
    if single:
        said.append(
            f"{single:,} of {pairs:,} pairs ({single / pairs:.1%}) have one vote: nothing checks it but what the annotator did elsewhere."
        )
    _, shared, _ = _pairs(patterns)
    if not shared.any():
        what = "One annotator voted" if len(voters) == 1 else "No pair has votes of two people"
        said.append(f"{what}: nobody's accuracy can be told from these votes; the probabilities are those of the prior.")
        return said
    nodes = patterns.numbers.height + len(patterns.counts)
    ends = who.astype(np.int64), patterns.numbers.height + patterns.pattern_of_cell
    edges = sparse.coo_array((np.ones(len(who), np.int8), ends), shape=(nodes, nodes))
    _, camp = connected_components(edges.tocsr(), directed=False)
    members = np.unique(camp[voters], return_counts=True)[1]
    if len(members) > 1:
        said.append(
            f"The {len(voters):,} annotators fall into {len(members):,} sets that share no pair (the largest has {members.max():,}): "
            "between sets their accuracies cannot be compared but through the prior."
        )
    return said


_ENDS: Final = ((1 - _LEVEL) / 2, (1 + _LEVEL) / 2)


def _pairs(patterns: Patterns) -> tuple[Index, Index, Index]:
    """Of each annotator (A,): pairs voted on, those with somebody else's vote, and those where a named annotator votes for both sides."""
    annotators = patterns.numbers.height
    unnamed = patterns.numbers["annotator"].str.starts_with(f"{UNNAMED} ").to_numpy()
    who, said = patterns.cells // (SHOWN * CATEGORIES), patterns.cells % CATEGORIES
    pattern = patterns.pattern_of_cell
    # Cells are sorted, so the votes of one annotator on one pair stand together.
    starts = np.flatnonzero((np.diff(pattern, prepend=-1) != 0) | (np.diff(who.astype(np.int64), prepend=-1) != 0))
    sizes = np.diff(np.append(starts, len(who)))
    who, pattern = who[starts].astype(np.int64), pattern[starts]
    counts = patterns.counts[pattern].astype(np.float64)  # sums of whole numbers below 2**53 are exact
    others = np.diff(patterns.indptr)[pattern] > np.where(unnamed[who], 1, sizes)
    both = _any(said < TIE, starts) & _any(said > TIE, starts) & ~unnamed[who]
    pairs, shared, contradicted = (
        np.bincount(who, counts * which, annotators).astype(np.int64) for which in (np.ones(len(who)), others, both)
    )
    return pairs, shared, contradicted


def _any(flags: npt.NDArray[np.bool_], starts: Index) -> npt.NDArray[np.bool_]:
    return np.logical_or.reduceat(flags, starts) if len(starts) else flags


def _accuracy(fitted: Fitted[object], votes: Double) -> Double:
    """P(right | not a tie) of the model's tables, (A,), in the orders that each annotator's votes were shown."""
    low = fitted.signs < 0
    classes = np.exp(fitted.log_prior[low])
    tables = np.exp(fitted.log_tables.reshape(*votes.shape, len(low))[:, :, [LOW, HIGH]][..., low])  # picks of any strength
    weights = votes.sum(axis=2)
    weights = np.where(weights.sum(axis=1, keepdims=True) == 0, 1.0, weights)
    # Pairs whose high side is better are the mirror image: the order shown changes with the side.
    weights = weights + weights[:, [0, SHOWN_HIGH_FIRST, SHOWN_LOW_FIRST]]
    right, wrong = ((tables[:, :, i] * classes * weights[..., None]).sum(axis=(1, 2)) for i in range(2))
    accuracy: Double = right / (right + wrong)
    return accuracy


def _worth(patterns: Patterns, fitted: Fitted[object], accuracy: Double, shape: tuple[int, int, int]) -> Double:
    """How many votes on pairs of known truth the votes of each annotator are worth for their accuracy, (A,)."""
    low, high = (fitted.posterior_by_pattern[:, fitted.signs == sign].sum(axis=1) for sign in (-1, 1))
    sums = expected_cells(patterns, np.stack([low, high, low * low, high * high, low * high], axis=1)).reshape(*shape, 5)
    picks_low, picks_high = sums[:, :, :TIE].sum(axis=(1, 2)), sums[:, :, TIE + 1 :].sum(axis=(1, 2))
    right, wrong, right2, wrong2, product = (picks_low + picks_high[:, [1, 0, 3, 2, 4]]).T
    odds = accuracy / (1 - accuracy)
    # Both informations times accuracy squared. The expected score of a vote is P(right) / a - P(wrong) / (1 - a); its square, summed,
    # is what is left of the complete information when the uncertainty about each pair is taken off.
    complete = right + wrong * odds**2
    observed = right2 + wrong2 * odds**2 - 2 * product * odds
    share = np.divide(observed, complete, out=np.zeros_like(observed), where=complete > 0)
    worth: Double = (right + wrong) * np.clip(share, 0, 1)
    return worth


def counted_share(name: str, hits: Double, of: Double) -> dict[str, Double]:
    """A share with its Jeffreys interval, which ends at 0 or 1 where the share does; nan where there is nothing to count."""
    low, high = (betaincinv(hits + 0.5, of - hits + 0.5, end) for end in _ENDS)
    empty = of == 0
    share = np.divide(hits, of, out=np.full_like(hits, np.nan), where=~empty)
    low, high = np.where(hits == 0, 0.0, low), np.where(hits == of, 1.0, high)
    return {name: share, f"{name}_low": np.where(empty, np.nan, low), f"{name}_high": np.where(empty, np.nan, high)}
