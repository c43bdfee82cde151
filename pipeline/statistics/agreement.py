"""How far annotators agree, per source, kind of annotator and overall, and what that says about how right they are.

Which side of a pair is `low` carries nothing, so every number here is the same if any pair's sides are exchanged: chance
agreement takes both sides to be equally likely.
"""

import math
from collections.abc import Callable, Iterable
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.stage import UNNAMED
from pipeline.statistics.bootstrap import SUMS, Floats, add_sums, by_subject, percentiles, ratio, replicate_sums
from pipeline.statistics.intervals import wilson
from pipeline.statistics.table import Statistic, statistics_table, unknown

WHOLE: Final = ("dataset", "all")
SCALE: Final = 720720  # lcm(1..16): a vote's share among up to 17 votes of a pair is a whole number of these
FEW_PAIRS: Final = 30  # below it resampling shows too little, and the wider Wilson interval over pairs stands in
LARGEST_MARGIN: Final = 8
_QUANTITIES: Final = [
    "pairs", "votes", "ties",
    "repeated_pairs", "repeated_votes", "repeated_ties", "tie_or_not", "opposed",
    "decided_pairs", "decided_votes", "decided_opposed",
    *(f"margin_{margin}" for margin in range(1, LARGEST_MARGIN + 1)),
]  # fmt: skip


def single_votes(votes: pl.DataFrame) -> pl.DataFrame:
    """One vote a named annotator and pair: who said several things about a pair said the side named more often, else a tie.

    Repeats of one annotator are no agreement between annotators. Unnamed votes are counted as different people's.

    Args:
        votes: VOTES.

    Returns:
        pair_id, annotator, kind, source, vote (Int8, -1, 0, 1), judgement_id (the smallest of them); sorted by these.
    """
    keys = ["pair_id", "annotator", "kind", "source"]
    unnamed = pl.col("annotator").str.starts_with(f"{UNNAMED} ")
    columns = [*keys, "vote", "judgement_id"]
    said = pl.col("vote").cast(pl.Int64).sum().sign().cast(pl.Int8)
    named = votes.filter(~unnamed).group_by(keys).agg(said, pl.col("judgement_id").min())
    return pl.concat([votes.filter(unnamed).select(columns), named.select(columns)]).sort(columns)


def summarise_votes(votes: pl.DataFrame) -> pl.DataFrame:
    """What one partition's votes add to the statistics of `vote_statistics` and of `pipeline.noise_rates`.

    Args:
        votes: VOTES, all votes of each pair in it; pair ids are hex.

    Returns:
        SUMS for the data set, each source and each kind of annotator.
    """
    if votes.is_empty():
        return SUMS.to_frame()
    once = single_votes(votes)
    subjects = [
        once.with_columns(subject_kind=pl.lit(kind), subject=subject)
        for kind, subject in ((WHOLE[0], pl.lit(WHOLE[1])), ("source", pl.col("source")), ("annotator_kind", pl.col("kind")))
    ]
    counts = (
        pl.concat(subjects)
        .group_by("pair_id", "subject_kind", "subject")
        .agg(*((pl.col("vote") == vote).sum().cast(pl.Int64).alias(name) for name, vote in (("low", -1), ("ties", 0), ("high", 1))))
        .with_columns(decided=pl.col("low") + pl.col("high"), margin=(pl.col("low") - pl.col("high")).abs())
        .with_columns(votes=pl.col("decided") + pl.col("ties"))
    )
    repeated, twice = pl.col("votes") >= 2, pl.col("decided") >= 2
    against = pl.col("low") * pl.col("high")
    rows = counts.with_columns(
        id="pair_id",
        pairs=pl.lit(1),
        repeated_pairs=repeated.cast(pl.Int64),
        repeated_votes=repeated * pl.col("votes"),
        repeated_ties=repeated * pl.col("ties"),
        tie_or_not=_share(pl.col("ties") * pl.col("decided"), pl.col("votes")),
        opposed=_share(against, pl.col("votes")),
        decided_pairs=twice.cast(pl.Int64),
        decided_votes=twice * pl.col("decided"),
        decided_opposed=_share(against, pl.col("decided")),
        **{
            f"margin_{margin}": (pl.col("margin").clip(upper_bound=LARGEST_MARGIN) == margin).cast(pl.Int64)
            for margin in range(1, LARGEST_MARGIN + 1)
        },
    )
    return replicate_sums(rows, _QUANTITIES)


def _share(unlike: pl.Expr, votes: pl.Expr) -> pl.Expr:
    """Votes of a pair that differ, each counted against the share of its pair's other votes that differ: 2 unlike / (votes - 1)."""
    others = pl.max_horizontal(votes - 1, pl.lit(1))
    return (4 * SCALE * unlike + others) // (2 * others)  # rounded


def vote_statistics(parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Agreement between annotators.

    Args:
        parts: results of `summarise_votes`, one a partition, in any order.

    Returns:
        STATISTIC for the data set, each source and each kind of annotator:
        `tie_share` (of votes) and `repeated_share` (of pairs: two votes or more);
        `agreement` (a vote's share of like votes among the others on its pair, averaged over votes) and `agreement_decided`
        (among votes for a side); `alpha` and `alpha_ordinal` (Krippendorff 2011, "Computing Krippendorff's alpha-reliability",
        nominal and with low < tie < high); `accuracy_from_agreement` (P(a vote for a side is right) of equally good,
        independent annotators, from `agreement_decided`).
        Intervals are percentiles of 500 bootstraps over pairs, or Wilson's over pairs where resampling shows too little
        (fewer than 30 pairs, or no variation at all). They speak of other pairs before the same annotators.
    """
    rows: list[Statistic] = []
    for subject, sums in by_subject(add_sums(parts)).items():
        rows += _of_subject(subject, sums)
    return statistics_table(rows)


def _of_subject(subject: tuple[str, str], sums: dict[str, Floats]) -> list[Statistic]:
    pairs, repeated, decided = (int(sums[name][0]) for name in ("pairs", "repeated_pairs", "decided_pairs"))
    rows = [
        share_statistic("tie_share", subject, ratio(sums["ties"], sums["votes"]), pairs, "share of votes"),
        share_statistic("repeated_share", subject, ratio(sums["repeated_pairs"], sums["pairs"]), pairs, "share of pairs"),
    ]
    alone = "no pair has votes of two annotators: agreement cannot be known"
    if repeated:
        rows += _agreement(subject, sums, repeated)
    else:
        rows += [unknown(name, subject, 0, unit, alone) for name, unit in _AGREEMENT]
    if decided:
        unlike = ratio(sums["decided_opposed"], sums["decided_votes"]) / SCALE
        rows.append(share_statistic("agreement_decided", subject, unlike, decided, "share of votes", lambda d: 1 - d))
        rows.append(_accuracy(subject, unlike, decided))
    else:
        words = "no pair has two votes for a side: agreement on sides cannot be known"
        rows += [unknown(name, subject, 0, unit, words) for name, unit in _DECIDED]
    return rows


_AGREEMENT: Final = (("agreement", "share of votes"), ("alpha", "alpha"), ("alpha_ordinal", "alpha"))
_DECIDED: Final = (("agreement_decided", "share of votes"), ("accuracy_from_agreement", "probability"))


def _agreement(subject: tuple[str, str], sums: dict[str, Floats], pairs: int) -> list[Statistic]:
    n, ties = sums["repeated_votes"], sums["repeated_ties"]
    sided = n - ties
    across, opposed = ratio(sums["tie_or_not"], n) / SCALE, ratio(sums["opposed"], n) / SCALE
    unlike = across + opposed
    possible = n * (n - 1)
    expected = ratio(n**2 - ties**2 - sided**2 / 2, possible)
    # With both sides equally frequent, a tie is half as far from a side as the sides are from each other: squared, a quarter.
    expected_ordinal = ratio(ties * sided / 2 + sided**2 / 2, possible)
    rows = [share_statistic("agreement", subject, unlike, pairs, "share of votes", lambda d: 1 - d)]
    for name, observed, chance in (("alpha", unlike, expected), ("alpha_ordinal", across / 4 + opposed, expected_ordinal)):
        if chance[0] == 0:
            rows.append(unknown(name, subject, pairs, "alpha", "every vote is a tie: there is nothing to agree or disagree on"))
        else:
            rows.append(share_statistic(name, subject, observed, pairs, "alpha", _beyond(chance)))
    return rows


def _beyond(chance: Floats) -> Callable[[Floats], Floats]:
    """Agreement beyond chance, from the share that differs."""
    return lambda differing: 1 - ratio(differing, chance)


def _accuracy(subject: tuple[str, str], unlike: Floats, pairs: int) -> Statistic:
    name, unit = _DECIDED[1]
    if unlike[0] > 0.5:
        return unknown(name, subject, pairs, unit, "annotators agree less often than by chance: no common accuracy explains it")
    note = "rests on independent annotators of equal accuracy on every pair; unequal pairs make it too high"
    # A replicate below chance counts as chance.
    return share_statistic(name, subject, unlike, pairs, unit, lambda d: accuracy_from_agreement(np.maximum(1 - d, 0.5)), note)


def share_statistic(
    name: str,
    subject: tuple[str, str],
    shares: Floats,
    pairs: int,
    unit: str,
    of_share: Callable[[Floats], Floats] = lambda share: share,
    note: str | None = None,
) -> Statistic:
    """A statistic that is a monotone function of a share over pairs, with its interval.

    Args:
        name: what it is called.
        subject: subject_kind and subject.
        shares: float64 (501,): the share and its replicates, 0 to 1.
        pairs: how many pairs the share rests on.
        unit: of the statistic.
        of_share: (501,) -> (501,), monotone; what else varies over replicates it closes over.
        note: in words.

    Returns:
        Percentiles of the replicates; Wilson's interval of the share, as if each pair had one say, where there are fewer than
        30 pairs or the share is 0 or 1. A pair's own share varies at most as much as a yes or no, so that is not too narrow.
    """
    value = of_share(shares)
    if pairs < FEW_PAIRS or shares[0] in (0.0, 1.0):
        bounds = [float(of_share(np.full_like(shares, bound))[0]) for bound in wilson(shares[0] * pairs, pairs)]
        low, high = min(bounds), max(bounds)
        if pairs < FEW_PAIRS:
            few = f"{pairs} pair{'s' if pairs > 1 else ''} only"
            note = f"{few}; {note}" if note else few
    else:
        low, high = percentiles(value)
    return Statistic(name, *subject, float(value[0]), low, high, pairs, unit, note)


def accuracy_from_agreement(agreement: npt.ArrayLike) -> Floats:
    """Accuracy a of two equally good, independent annotators who agree with probability a^2 + (1 - a)^2.

    Returns:
        (1 + sqrt(2 agreement - 1)) / 2, 0.5 to 1; nan below an agreement of 0.5, which no accuracy explains.
    """
    excess = 2 * np.asarray(agreement, np.float64) - 1
    return np.where(excess < 0, math.nan, (1 + np.sqrt(np.maximum(excess, 0))) / 2)


def accuracy_of_majority(accuracy: float, votes: int) -> float:
    """P(the majority of `votes` independent votes is right), an odd number of votes of equal accuracy (Condorcet 1785)."""
    needed = range(votes // 2 + 1, votes + 1)
    return math.fsum(math.comb(votes, right) * accuracy**right * (1 - accuracy) ** (votes - right) for right in needed)


def accuracy_at_margin(accuracy: npt.ArrayLike, margin: npt.ArrayLike) -> Floats:
    """P(the majority is right) when it leads by `margin` independent votes of equal accuracy and the sides were even before.

    The votes that cancel say nothing: a^m / (a^m + (1 - a)^m).
    """
    a, m = np.asarray(accuracy, np.float64), np.asarray(margin, np.float64)
    return np.asarray(a**m / (a**m + (1 - a) ** m))


def summarise_kappas(votes: pl.DataFrame, annotators: list[str]) -> pl.DataFrame:
    """What one partition adds to Cohen's kappa of every two of the named annotators.

    Args:
        votes: VOTES; pair ids are hex.
        annotators: whose votes to compare; the work grows with the square of their number on a pair.

    Returns:
        SUMS, subject_kind `annotators`, subject `<first> x <second>` in the order of their names.
    """
    once = single_votes(votes.filter(pl.col("annotator").is_in(annotators))).select("pair_id", "annotator", "vote")
    both = once.join(once, on="pair_id", suffix="_second").filter(pl.col("annotator") < pl.col("annotator_second"))
    rows = both.select(
        id="pair_id",
        subject_kind=pl.lit("annotators"),
        subject=pl.concat_str("annotator", "annotator_second", separator=" x "),
        pairs=pl.lit(1),
        like=(pl.col("vote") == pl.col("vote_second")).cast(pl.Int64),
        ties=(pl.col("vote") == 0).cast(pl.Int64),
        ties_second=(pl.col("vote_second") == 0).cast(pl.Int64),
    )
    return replicate_sums(rows, ["pairs", "like", "ties", "ties_second"])


def kappas(parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Cohen's kappa (Cohen 1960, "A coefficient of agreement for nominal scales") of annotators who judged the same pairs.

    Args:
        parts: results of `summarise_kappas`.

    Returns:
        STATISTIC `kappa`, n = shared pairs.
    """
    rows = []
    for subject, sums in by_subject(add_sums(parts)).items():
        pairs = int(sums["pairs"][0])
        first, second = ratio(sums["ties"], sums["pairs"]), ratio(sums["ties_second"], sums["pairs"])
        unlike = 1 - ratio(sums["like"], sums["pairs"])
        chance = 1 - first * second - (1 - first) * (1 - second) / 2
        if chance[0] == 0:
            rows.append(unknown("kappa", subject, pairs, "kappa", "every vote is a tie: there is nothing to agree or disagree on"))
        else:
            rows.append(share_statistic("kappa", subject, unlike, pairs, "kappa", _beyond(chance)))
    return statistics_table(rows)
