"""Label-noise rate per source: from repeated judgements, from the vote model, from peer review; and the one to use for rDPO.

Provably Robust DPO (Chowdhury et al. 2024) needs the rate at which labels are flipped, 0 <= epsilon < 0.5. Three ways to it rest on
different assumptions, so each is a statistic of its own, with its interval, and `epsilon` says which it follows.
"""

import math
from collections.abc import Iterable
from typing import Final

import numpy as np
import polars as pl

from pipeline.statistics.agreement import (
    FEW_PAIRS,
    LARGEST_MARGIN,
    SCALE,
    WHOLE,
    accuracy_at_margin,
    accuracy_from_agreement,
    share_statistic,
)
from pipeline.statistics.bootstrap import SUMS, Floats, add_sums, by_subject, ratio, replicate_sums
from pipeline.statistics.table import Statistic, statistics_table, unknown

UNIT: Final = 10**9
BINS: Final = 12  # of |log-odds| of the peers, a half each; the last holds all from 5.5
_BIN_WIDTH: Final = 0.5
_VAGUE: Final = 0.35  # an interval of eps wider than this says nothing
LEAST_PEERS: Final = 200  # pairs with a peer opinion
TOO_NOISY: Final = 0.45  # rDPO divides by 1 - 2 epsilon
_RATES: Final = np.arange(0, 0.5, 0.01)
_SLOPES: Final = np.geomspace(0.1, 10, 41)
_Subject = tuple[str, str]
_RATE: Final = "probability"


def summarise_labels(pairs: pl.DataFrame) -> pl.DataFrame:
    """What one partition's pairs add to the noise rates from the vote model and from peer review.

    Args:
        pairs: one row a pair with a decided label: pair_id (hex); sources: List(String); `p_chosen`: P(the label is right | votes,
            not a tie), 0.5 to 1; `peer_logit`: Float64, log-odds that the chosen side is better, of content models that never saw
            the pair, on any scale but not bent by a calibration to the labels (that would hide the noise); null where there is none;
            `noise_score`: Float64, calibrated P(label wrong) from content, 0 to 1, or null.

    Returns:
        SUMS for the data set and each source.
    """
    if pairs.is_empty():
        return SUMS.to_frame()
    bins = (pl.col("peer_logit").abs() / _BIN_WIDTH).floor().clip(upper_bound=BINS - 1).cast(pl.Int64)
    once = pairs.with_columns(
        bin=bins,
        wrong=((1 - pl.col("p_chosen")) * UNIT).round().cast(pl.Int64),
        scored=pl.col("noise_score").is_not_null().cast(pl.Int64),
        score=(pl.col("noise_score").fill_null(0.0) * UNIT).round().cast(pl.Int64),
    )
    subjects = [
        once.with_columns(subject_kind=pl.lit(WHOLE[0]), subject=pl.lit(WHOLE[1])),
        once.explode("sources").with_columns(subject_kind=pl.lit("source"), subject="sources"),
    ]
    columns = ["pair_id", "subject_kind", "subject", "bin", "wrong", "scored", "score", "peer_logit"]
    told = [(f"{said}_{b}", (pl.col("bin") == b) & agrees) for said, agrees in _SAID for b in range(BINS)]
    rows = pl.concat([one.select(columns) for one in subjects]).with_columns(
        id="pair_id", labels=pl.lit(1), **{name: holds.fill_null(False).cast(pl.Int64) for name, holds in told}
    )
    return replicate_sums(rows, ["labels", "wrong", "scored", "score", *(name for name, _ in told)])


# An undecided peer neither agrees nor disagrees.
_SAID: Final = (("with", pl.col("peer_logit") > 0), ("against", pl.col("peer_logit") < 0))


def noise_rates(vote_parts: Iterable[pl.DataFrame], label_parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Noise rates of the data set and of each source.

    Args:
        vote_parts: results of `pipeline.statistics.agreement.summarise_votes`, one a partition.
        label_parts: results of `summarise_labels`, one a partition.

    Returns:
        STATISTIC, values 0 to 0.5, intervals by bootstrap over pairs (of the peers' rate, the posterior's):
        `vote_noise_repeated`: P(a single vote for a side is wrong), from agreement (1 - `accuracy_from_agreement`);
        `label_noise_repeated`: the same of the majority's label, averaged over pairs by how far its side leads;
        `label_noise_votes`: mean 1 - p_chosen of the vote model;
        `label_noise_peers`: the rate at which labels contradict even peers that are sure (see `lapse_rate`);
        `label_noise_scores`: mean noise_score;
        `epsilon`: the one to hand to rDPO, null with the reason where none can be known.
    """
    votes, labels = by_subject(add_sums(vote_parts)), by_subject(add_sums(label_parts))
    rows: list[Statistic] = []
    for subject in sorted({*votes, *labels}):
        if subject[0] in (WHOLE[0], "source"):
            rows += _of_subject(subject, votes.get(subject), labels.get(subject))
    return statistics_table(rows)


def _of_subject(subject: _Subject, votes: dict[str, Floats] | None, labels: dict[str, Floats] | None) -> list[Statistic]:
    single, repeated = _repeated(subject, votes)
    modelled, peers = _modelled(subject, votes, labels), _peers(subject, labels)
    return [single, repeated, modelled, peers, _scores(subject, labels), _recommended(subject, single, repeated, modelled, peers)]


def _repeated(subject: _Subject, votes: dict[str, Floats] | None) -> tuple[Statistic, Statistic]:
    names = ("vote_noise_repeated", "label_noise_repeated")
    pairs = 0 if votes is None else int(votes["decided_pairs"][0])
    if votes is None or not pairs:
        words = "no pair has two votes for a side"
        return unknown(names[0], subject, 0, _RATE, words), unknown(names[1], subject, 0, _RATE, words)
    unlike = ratio(votes["decided_opposed"], votes["decided_votes"]) / SCALE
    if unlike[0] > 0.5:
        words = "annotators agree less often than by chance: no common accuracy explains it"
        return unknown(names[0], subject, pairs, _RATE, words), unknown(names[1], subject, pairs, _RATE, words)
    margins = np.arange(1, LARGEST_MARGIN + 1)[:, None]
    counts = np.array([votes[f"margin_{margin}"] for margin in margins[:, 0]])

    def of_vote(opposed: Floats) -> Floats:
        return 1 - accuracy_from_agreement(np.maximum(1 - opposed, 0.5))

    def of_label(opposed: Floats) -> Floats:
        wrong = 1 - accuracy_at_margin(1 - of_vote(opposed), margins)
        return ratio((wrong * counts).sum(axis=0), counts.sum(axis=0))

    alike = "rests on independent annotators of equal accuracy on every pair: hard pairs make the true rate higher"
    one = share_statistic(names[0], subject, unlike, pairs, _RATE, of_vote, alike)
    if not counts[:, 0].any():
        return one, unknown(names[1], subject, pairs, _RATE, "no pair's votes lead to a side: there is no label")
    return one, share_statistic(names[1], subject, unlike, pairs, _RATE, of_label, alike)


def _modelled(subject: _Subject, votes: dict[str, Floats] | None, labels: dict[str, Floats] | None) -> Statistic:
    if labels is None:
        return unknown("label_noise_votes", subject, 0, _RATE, "no pair has a label")
    n = int(labels["labels"][0])
    share = ratio(labels["wrong"], labels["labels"]) / UNIT
    if votes is None or not votes["decided_pairs"][0]:
        return unknown("label_noise_votes", subject, n, _RATE, "one vote a pair: the vote model has nothing to tell right from wrong by")
    return share_statistic("label_noise_votes", subject, share, n, _RATE)


def _peers(subject: _Subject, labels: dict[str, Floats] | None) -> Statistic:
    name = "label_noise_peers"
    agree = against = np.zeros(BINS)
    if labels is not None:
        agree, against = (np.array([labels[f"{said}_{b}"][0] for b in range(BINS)]) for said, _ in _SAID)
    n = int(agree.sum() + against.sum())
    if n < LEAST_PEERS:
        return unknown(name, subject, n, _RATE, f"{n} pairs have an opinion of peers; {LEAST_PEERS} are needed")
    rate, low, high = lapse_rate(agree, against)
    if high - low > _VAGUE:
        return unknown(name, subject, n, _RATE, f"peers are not sure often enough: anything from {low:.2f} to {high:.2f} fits")
    if rate >= TOO_NOISY:
        return unknown(name, subject, n, _RATE, "peers foretell these labels no better than a coin: nothing tells noise from ignorance")
    return Statistic(name, *subject, rate, low, high, n, _RATE, "rests on peers whose errors vanish as they grow sure")


def _scores(subject: _Subject, labels: dict[str, Floats] | None) -> Statistic:
    n = 0 if labels is None else int(labels["scored"][0])
    if labels is None or not n:
        return unknown("label_noise_scores", subject, 0, _RATE, "no pair has a noise score")
    return share_statistic("label_noise_scores", subject, ratio(labels["score"], labels["scored"]) / UNIT, n, _RATE)


def _recommended(subject: _Subject, single: Statistic, repeated: Statistic, modelled: Statistic, peers: Statistic) -> Statistic:
    """The vote model where repeated judgements inform it, else the peers; never a rate that nothing was measured for."""
    known = [one for one in (modelled, repeated) if math.isfinite(one.value)]
    others = modelled.n - repeated.n
    if repeated.n >= FEW_PAIRS and others > repeated.n and math.isfinite(repeated.value) and math.isfinite(single.value):
        # The vote model has little but its prior for single votes; those that were repeated say how wrong such votes are.
        share = others / modelled.n
        value, low, high = (share * one + (1 - share) * two for one, two in zip(single[3:6], repeated[3:6], strict=True))
        words = (
            f"rests on {repeated.n} pairs with two votes or more for a side: label_noise_repeated; "
            f"the other {others} labels are taken to be wrong as often as one of these votes"
        )
        found = repeated._replace(statistic="epsilon", value=value, low=low, high=high, n=modelled.n, note=words)
    elif repeated.n >= FEW_PAIRS and known:
        # The two differ by what they assume of hard pairs; the interval covers both.
        low, high = min(one.low for one in known), max(one.high for one in known)
        words = f"rests on {repeated.n} pairs with two votes or more for a side: {known[0].statistic}"
        if others > 0:
            words += f"; the other {others} labels are what the vote model makes of them"
        found = known[0]._replace(statistic="epsilon", low=low, high=min(high, 0.5), note=words)
    elif math.isfinite(peers.value):
        found = peers._replace(statistic="epsilon", note=f"no repeated judgements: {peers.statistic}; {peers.note}")
    else:
        words = f"pairs with two votes for a side: {repeated.n}, {FEW_PAIRS} are needed; and no peers say more: the rate cannot be known"
        return unknown("epsilon", subject, repeated.n, _RATE, words)
    if found.value >= TOO_NOISY:
        return unknown("epsilon", subject, found.n, _RATE, f"{found.value:.2f} is too near one half for rDPO; {found.note}")
    return found


def lapse_rate(agree: Floats, against: Floats) -> tuple[float, float, float]:
    """The rate at which labels contradict peers however sure these are.

    P(label agrees | peers' log-odds s) = eps + (1 - 2 eps) sigmoid(b s): the peers' own errors vanish as s grows, flipped labels do
    not, as lapses of an observer do not (Wichmann & Hill 2001, "The psychometric function: I"). The posterior of eps is taken on
    a grid (eps 0 to 0.49, slope b 0.1 to 10), flat in eps and in log b.

    Args:
        agree: (12,) labels that agree with the peers, per half of |s|.
        against: (12,) labels that do not.

    Returns:
        Posterior median of eps and its 95 % interval, in hundredths.
    """
    sure = (np.arange(BINS) + 0.5) * _BIN_WIDTH
    right = 1 / (1 + np.exp(-_SLOPES[:, None] * sure))
    p = np.minimum(_RATES[:, None, None] + (1 - 2 * _RATES[:, None, None]) * right, 1 - 1e-6)
    score = np.log(p) @ agree + np.log(1 - p) @ against
    weight = np.exp(score - score.max()).sum(axis=1)
    low, rate, high = _RATES[np.searchsorted(np.cumsum(weight / weight.sum()), [0.025, 0.5, 0.975])]
    return float(rate), float(low), float(high)
