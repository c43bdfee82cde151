"""ANNOTATOR: what the vote model, the search for camps and the gates say of each annotator, in one row."""

import polars as pl

from pipeline.consensus.judges import HUMAN

_COUNTS = ("votes", "pairs", "shared_pairs")
_AUDITED = ("both_orders", "consistent", "gold_votes", "gold_agreement", "gold_agreement_low", "gold_agreement_high")
_BY = ["annotator_id", "annotator_kind"]


def summarise_voters(votes: pl.DataFrame) -> pl.DataFrame:
    """How much each annotator voted in a partition.

    Args:
        votes: VOTES of whole pairs, each vote once.

    Returns:
        annotator, kind, votes, pairs, shared_pairs (with a vote of somebody else); sorted.
    """
    others = (pl.len().over("pair_id") > pl.len().over("pair_id", "annotator", "kind")) | (
        pl.col("annotator").n_unique().over("pair_id") > 1
    )
    shared = pl.col("pair_id").filter("_shared").n_unique()
    counts = votes.with_columns(_shared=others).group_by("annotator", "kind")
    return counts.agg(votes=pl.len(), pairs=pl.col("pair_id").n_unique(), shared_pairs=shared).sort("kind", "annotator")


def annotators(modelled: pl.DataFrame, voters: list[pl.DataFrame], groups: pl.DataFrame, judges: pl.DataFrame, policy: str) -> pl.DataFrame:
    """One row an annotator.

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
    none = pl.DataFrame(schema=dict.fromkeys(keys, pl.String) | dict.fromkeys(_COUNTS, pl.UInt32))
    counts = pl.concat([none, *voters]).group_by(list(keys)).agg(pl.col(name).sum().cast(pl.Int64) for name in _COUNTS).rename(keys)
    audited = judges.select(*_AUDITED, annotator_id="annotator", annotator_kind="kind", passed="admitted", why="reason", seen="note")
    camp = groups.group_by("annotator_id").agg(pl.col("group").drop_nulls().first())
    table = (
        counts.join(modelled.drop(_COUNTS), on=_BY, how="left").join(audited, on=_BY, how="left").join(camp, on="annotator_id", how="left")
    )
    is_human = pl.col("annotator_kind") == HUMAN
    admitted = is_human | {"all": pl.lit(True), "none": pl.lit(False), "audited": pl.col("passed").fill_null(False)}[policy]
    refused = pl.lit("consensus.judges is none") if policy == "none" else pl.col("why")
    said = pl.concat_str([pl.col("note"), pl.when(~is_human).then("seen")], separator="; ", ignore_nulls=True)
    return table.with_columns(admitted=admitted, reason=pl.when(~admitted).then(refused), note=pl.when(said != "").then(said)).sort(
        "annotator_kind", "annotator_id"
    )
