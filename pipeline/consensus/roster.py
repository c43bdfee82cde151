"""ANNOTATOR: what the vote model, the search for camps and the gates say of each annotator, in one row."""

import polars as pl

from pipeline.consensus.annotators import counted_share
from pipeline.consensus.judges import HUMAN
from pipeline.stage import UNNAMED
from pipeline.statistics.agreement import WHOLE
from pipeline.statistics.table import Statistic, share, statistics_table, unknown

_COUNTS = ("votes", "pairs", "shared_pairs")
_HABITS = ("ties", "ordered", "first")
_LEFT_OUT = pl.Schema({"reason": pl.String, "votes": pl.Int64})  # reason null: votes that enter consensus
_AUDITED = ("both_orders", "consistent", "gold_votes", "gold_agreement", "gold_agreement_low", "gold_agreement_high")
_BY = ["annotator_id", "annotator_kind"]


def summarise_voters(votes: pl.DataFrame) -> pl.DataFrame:
    """How much each annotator voted in a partition.

    Args:
        votes: VOTES of whole pairs, each vote once.

    Returns:
        annotator, kind, votes, pairs, shared_pairs (with a vote of somebody else), ties, ordered (votes for a side whose order is known),
        first (of these: for the answer shown first); sorted.
    """
    unnamed = pl.col("annotator").str.starts_with(f"{UNNAMED} ")  # each vote of theirs is another person's
    own = pl.when(unnamed).then(1).otherwise(pl.len().over("pair_id", "annotator", "kind"))
    others = pl.len().over("pair_id") > own
    shared = pl.col("pair_id").filter("_shared").n_unique()
    ordered = pl.col("low_first").is_not_null() & (pl.col("vote") != 0)
    counts = votes.with_columns(_shared=others).group_by("annotator", "kind")
    return counts.agg(
        votes=pl.len(),
        pairs=pl.col("pair_id").n_unique(),
        shared_pairs=shared,
        ties=(pl.col("vote") == 0).sum(),
        ordered=ordered.sum(),
        first=(ordered & ((pl.col("vote") == -1) == pl.col("low_first"))).sum(),
    ).sort("kind", "annotator")


def summarise_left_out(kept: pl.DataFrame, dropped: pl.DataFrame) -> pl.DataFrame:
    """How many votes of a partition enter consensus (reason null), and how many do not, by reason.

    Args:
        kept: what `judges.admit` kept.
        dropped: what it dropped.

    Returns:
        reason, votes (Int64), sorted.
    """
    left = dropped.group_by("reason").agg(votes=pl.len().cast(pl.Int64)).sort("reason")
    return pl.concat([pl.DataFrame({"reason": [None], "votes": [kept.height]}, schema=_LEFT_OUT), left.match_to_schema(_LEFT_OUT)])


def left_out_statistics(parts: list[pl.DataFrame]) -> pl.DataFrame:
    """STATISTIC `votes_left_out`: votes that do not enter consensus / all, in the data set and by reason; n counts all votes.

    Args:
        parts: what `summarise_left_out` gave for every partition.
    """
    sums = pl.concat([_LEFT_OUT.to_frame(), *parts]).group_by("reason").agg(pl.col("votes").sum()).sort("reason")
    total = int(sums["votes"].sum())
    left = sums.drop_nulls("reason")
    rows = [_left_out(WHOLE, int(left["votes"].sum()), total)]
    rows += [_left_out(("reason", reason), votes, total) for reason, votes in left.iter_rows()]
    return statistics_table(rows)


def _left_out(subject: tuple[str, str], votes: int, total: int) -> Statistic:
    if not total:
        return unknown("votes_left_out", subject, 0, "share", "there are no votes")
    return share("votes_left_out", subject, votes, total)


def annotators(modelled: pl.DataFrame, voters: list[pl.DataFrame], groups: pl.DataFrame, judges: pl.DataFrame, policy: str) -> pl.DataFrame:
    """One row an annotator.

    `accuracy` rests on the votes that enter consensus; `tie_share` and `first_share` need no model and rest on all votes, those that were
    left out too. Their intervals are Jeffreys', closed at 0 and 1.

    Args:
        modelled: rows of `annotators.annotator_table`, of those whose votes enter consensus at least once.
        voters: what `summarise_voters` gave for every partition.
        groups: `camps.GROUPS`.
        judges: `judges.JUDGES`.
        policy: `consensus.judges`.

    Returns:
        `schemas.ANNOTATOR`, sorted by kind and id.
    """
    keys = {"annotator": "annotator_id", "kind": "annotator_kind"}
    summed = (*_COUNTS, *_HABITS)
    none = pl.DataFrame(schema=dict.fromkeys(keys, pl.String) | dict.fromkeys(summed, pl.UInt32))
    counts = pl.concat([none, *voters]).group_by(list(keys)).agg(pl.col(name).sum().cast(pl.Int64) for name in summed).rename(keys)
    votes, ties, ordered, first = (counts[name].cast(pl.Float64).to_numpy() for name in ("votes", *_HABITS))
    habits = counted_share("tie_share", ties, votes) | counted_share("first_share", first, ordered)
    counts = counts.drop(*_HABITS).hstack(pl.DataFrame(habits, schema=dict.fromkeys(habits, pl.Float64)).fill_nan(None))
    audited = judges.select(*_AUDITED, annotator_id="annotator", annotator_kind="kind", passed="admitted", why="reason", seen="note")
    several = groups.drop_nulls("group").filter(pl.col("group").n_unique().over("source") > 1)  # one camp is no camp
    camp = several.group_by("annotator_id", maintain_order=True).agg(pl.col("group").first())
    table = (
        counts.join(modelled.rename({"votes": "entered"}).drop([*_COUNTS[1:], *habits]), on=_BY, how="left")
        .join(audited, on=_BY, how="left")
        .join(camp, on="annotator_id", how="left")
    )
    is_human = pl.col("annotator_kind") == HUMAN
    admitted = is_human | {"all": pl.lit(True), "none": pl.lit(False), "audited": pl.col("passed").fill_null(False)}[policy]
    refused = pl.lit("consensus.judges is none") if policy == "none" else pl.col("why")
    some = ~is_human & pl.col("entered").is_between(1, pl.col("votes") - 1)
    fewer = pl.when(some).then(pl.format("{} of its {} votes enter consensus", "entered", "votes"))
    said = pl.concat_str([fewer, pl.col("note"), pl.when(~is_human).then("seen")], separator="; ", ignore_nulls=True)
    return table.with_columns(admitted=admitted, reason=pl.when(~admitted).then(refused), note=pl.when(said != "").then(said)).sort(
        "annotator_kind", "annotator_id"
    )
