"""Cyclic triads: where A beats B, B beats C and C beats A, no single ranking agrees with the votes.

The share of cyclic triads is reported before any ranking is used (General Preference Modeling, Zhang et al. 2024, on what a single score
cannot say; counting cyclic triads goes back to Kendall & Babington Smith 1940). A quarter of the triads are cyclic where votes are coin
flips, and a ranking foretells at most two of the three pairs of a cycle.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.identity import content_hash
from pipeline.stage import runs_of
from pipeline.statistics.agreement import FEW_PAIRS, WHOLE
from pipeline.statistics.bootstrap import Floats, add_sums, by_subject, percentiles, ratio, replicate_sums
from pipeline.statistics.intervals import wilson
from pipeline.statistics.table import Statistic, statistics_table, unknown

MOST_CYCLIC: Final = 0.05  # share of decided triads above which a single ranking is refused

_SUMS: Final = ["groups", "refused", "triads", "cyclic"]
_WEDGES: Final = 2_000_000  # wedges closed at once, about 100 MB

Ints = npt.NDArray[np.int64]


def count_triads(pairs: pl.DataFrame) -> pl.DataFrame:
    """Count each group's triads whose three pairs are decided, and the cyclic ones.

    Every triad is met once, at its corner with the fewest decided pairs, so a group of m responses and e decided pairs takes at most
    e * sqrt(2 e) steps, and m^3 / 6 where all pairs are decided (20 million for 500 responses: some seconds). Memory does not grow
    with the number of triads.

    Args:
        pairs: group, low_id, high_id: strings; net: a number, above 0 where high is preferred, below 0 where low is, and 0, null or
            NaN where the pair is not decided: the votes for high less those for low, or the same of weights or probabilities.
            One row a pair, in any order; a response against itself decides nothing.

    Returns:
        group, triads, cyclic (int64), one row for each group of `pairs`, sorted. Sums over groups are sums over partitions.
    """
    groups = pairs.select("group").unique().sort("group")
    decided = pairs.filter((pl.col("low_id") != pl.col("high_id")) & (pl.col("net") != 0) & pl.col("net").is_not_nan().fill_null(False))
    nodes = pl.concat([decided.select("group", id=side) for side in ("low_id", "high_id")])
    nodes = nodes.group_by("group", "id").agg(degree=pl.len()).sort("degree", "group", "id").with_row_index("node")
    ends = decided.select("group", "low_id", "high_id", high_wins=pl.col("net") > 0)
    for side in ("low", "high"):
        named = nodes.select("group", pl.col("id").alias(f"{side}_id"), pl.col("node").cast(pl.Int64).alias(side))
        ends = ends.join(named, on=["group", f"{side}_id"], how="left")
    low, high, high_wins = (ends[name].to_numpy() for name in ("low", "high", "high_wins"))
    # From the end with fewer pairs to the other; whether the further end wins.
    order = np.lexsort((np.maximum(low, high), np.minimum(low, high)))
    near, far = np.minimum(low, high)[order], np.maximum(low, high)[order]
    far_wins = ((high > low) == high_wins)[order]
    corner, cyclic = _triads(near, far, far_wins, nodes.height)
    counted = nodes.select("group").with_columns(triads=pl.Series(corner), cyclic=pl.Series(cyclic)).group_by("group").sum()
    return groups.join(counted, on="group", how="left", maintain_order="left").with_columns(pl.col("triads", "cyclic").fill_null(0))


def refuse_rankings(triads: pl.DataFrame, most_cyclic: float = MOST_CYCLIC) -> pl.DataFrame:
    """Say which groups have no single ranking.

    Args:
        triads: rows of `count_triads`.
        most_cyclic: the highest share of cyclic triads that a ranking may have, 0 to 1.

    Returns:
        The rows in their order with cyclic_share (0 to 1; null without a decided triad), cyclic_low, cyclic_high (its 95 % Wilson
        interval, which takes triads for independent, though they share pairs), single_ranking (bool) and reason (why not; else null).
    """
    shares = with_shares(triads)
    refused = (pl.col("cyclic_share") > most_cyclic).fill_null(False)
    said = pl.format(
        "{} of {} triads are cyclic ({} %), more than {} %: no single ranking",
        "cyclic", "triads", (pl.col("cyclic_share") * 100).round(1), pl.lit(f"{most_cyclic * 100:g}"),
    )  # fmt: skip
    return shares.with_columns(single_ranking=~refused, reason=pl.when(refused).then(said))


def with_shares(triads: pl.DataFrame) -> pl.DataFrame:
    """Add cyclic_share, cyclic_low and cyclic_high to rows with triads and cyclic; all null without a decided triad."""
    cyclic, total = triads["cyclic"].to_numpy(), triads["triads"].to_numpy()
    low, high = wilson(cyclic, total)
    known = pl.col("triads") > 0
    return triads.with_columns(
        cyclic_share=pl.when(known).then(pl.col("cyclic") / pl.col("triads")),
        cyclic_low=pl.when(known).then(pl.Series(low)),
        cyclic_high=pl.when(known).then(pl.Series(high)),
    )


def summarise_cycles(refused: pl.DataFrame) -> pl.DataFrame:
    """The cycles of one partition, as `bootstrap.SUMS` over groups with a decided triad; from what `refuse_rankings` returned."""
    counted = refused.filter(pl.col("triads") > 0)
    return replicate_sums(
        counted.select(
            "triads",
            "cyclic",
            id=content_hash(counted.get_column("group"), "triads"),
            subject_kind=pl.lit(WHOLE[0]),
            subject=pl.lit(WHOLE[1]),
            groups=pl.lit(1),
            refused=(~pl.col("single_ranking")).cast(pl.Int64),
        ),
        _SUMS,
    )


def cycle_statistics(parts: list[pl.DataFrame]) -> pl.DataFrame:
    """STATISTIC of the data set, from what `summarise_cycles` gave for every partition.

    `cyclic_share`: cyclic / decided triads; `no_ranking_share`: prompts without a single ranking / prompts with a decided triad. n counts
    those prompts. The intervals draw them, because triads of one prompt share their pairs; below 30, and at shares of 0 and 1, they are
    Wilson's, as if each prompt had one say.
    """
    found = by_subject(add_sums(parts)).get(WHOLE)
    names = ("cyclic_share", "no_ranking_share")
    if found is None:
        words = "under no prompt three answers were compared with each other: there are no triads"
        return statistics_table([unknown(name, WHOLE, 0, "share", words) for name in names])
    groups = int(found["groups"][0])
    of = f"of {int(found['triads'][0])} triads under {groups} prompts", "of the prompts with a triad"
    shares = ratio(found["cyclic"], found["triads"]), ratio(found["refused"], found["groups"])
    return statistics_table([_statistic(name, share, groups, note) for name, share, note in zip(names, shares, of, strict=True)])


def _statistic(name: str, shares: Floats, groups: int, note: str) -> Statistic:
    coarse = groups < FEW_PAIRS or shares[0] in (0.0, 1.0)
    low, high = map(float, wilson(shares[0] * groups, groups)) if coarse else percentiles(shares)
    return Statistic(name, *WHOLE, float(shares[0]), low, high, groups, "share", note)


def _triads(near: Ints, far: Ints, far_wins: npt.NDArray[np.bool_], nodes: int) -> tuple[Ints, Ints]:
    """Triads and cyclic triads of each node, as their first corner.

    Args:
        near: the lesser end of each edge; edges are sorted by near, then far.
        far: the greater end.
        far_wins: whether it is preferred.
        nodes: how many nodes.
    """
    key = near * nodes + far
    last = np.searchsorted(near, near, side="right")
    # An edge makes a wedge with every later edge of the same near end.
    wedges = last - np.arange(len(near)) - 1
    triads, cyclic = np.zeros(nodes, np.int64), np.zeros(nodes, np.int64)
    for run in runs_of(wedges, _WEDGES):
        first = np.repeat(np.arange(run.start, run.stop), wedges[run])
        second = first + 1 + np.arange(len(first)) - np.repeat(np.cumsum(wedges[run]) - wedges[run], wedges[run])
        closing = far[first] * nodes + far[second]
        third = np.minimum(np.searchsorted(key, closing), len(key) - 1)
        closed = key[third] == closing
        first, second, third = first[closed], second[closed], third[closed]
        # near - f - s - near is a cycle when all three edges are won in that sense of going round.
        round_ = (far_wins[first] == far_wins[third]) & (far_wins[first] != far_wins[second])
        triads += np.bincount(near[first], minlength=nodes)
        cyclic += np.bincount(near[first[round_]], minlength=nodes)
    return triads, cyclic
