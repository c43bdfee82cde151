"""Judgements -> votes: who said what about a pair, in the form that every vote model reads."""

import polars as pl

from pipeline.stage import UNNAMED

VOTES = pl.Schema(
    {
        "pair_id": pl.String,  # the pair that counts the vote
        "judgement_id": pl.String,
        "annotator": pl.String,  # annotator_id; "unnamed <source>" where the source names nobody: one pooled voter a source
        "kind": pl.String,  # human, judge or reward_model
        "source": pl.String,
        "vote": pl.Int8,  # -1: low is better, 0: tie, 1: high is better
        "strength": pl.Float32,  # 0 to 1; null: not stated
        "low_first": pl.Boolean,  # whether low was shown first; null: not stated
    }
)
NEEDED = [
    "judgement_id", "pair_id", "response_a_id", "response_b_id", "model_a", "model_b", "outcome", "strength", "shown_first", "annotator_id",
    "annotator_kind", "source", "is_copy",
]  # fmt: skip


def votes_of(judgements: pl.DataFrame, b_is_low: pl.Expr) -> pl.DataFrame:
    """The counted votes, each said of the pair it was given on.

    Args:
        judgements: the columns NEEDED of JUDGEMENT, in any order; copies do not vote.
        b_is_low: whether response_b is the pair's `low`, `pipeline.pairing.b_is_low()`.

    Returns:
        VOTES, sorted by pair_id, judgement_id.
    """
    a_wins = (pl.col("outcome") == "a") != b_is_low  # low wins
    named = pl.col("annotator_id") != UNNAMED
    return (
        judgements.filter(~pl.col("is_copy"))
        .with_columns(
            annotator=pl.when(named).then("annotator_id").otherwise(pl.lit(f"{UNNAMED} ") + pl.col("source")),
            kind="annotator_kind",
            vote=pl.when(pl.col("outcome") == "tie").then(0).when(a_wins).then(-1).otherwise(1).cast(pl.Int8),
            low_first=(pl.col("shown_first") == "a") != b_is_low,
        )
        .select(VOTES.names())
        .cast(VOTES)  # type: ignore[arg-type, unused-ignore]
        .sort("pair_id", "judgement_id")
    )


def absorbed_votes(votes: pl.DataFrame, merges: pl.DataFrame) -> pl.DataFrame:
    """The votes on pairs that were merged into others, said of these.

    Args:
        votes: VOTES.
        merges: pair_id, merged_into, swapped, as `pipeline.dedup.groups.representatives` gives them.

    Returns:
        VOTES of the pairs that count them; where the answers are exchanged, vote and low_first are turned round.
    """
    moved = votes.join(merges.select("pair_id", "merged_into", "swapped"), on="pair_id")
    return moved.with_columns(
        pair_id="merged_into",
        vote=pl.when("swapped").then(-pl.col("vote")).otherwise("vote").cast(pl.Int8),
        low_first=pl.col("low_first") != pl.col("swapped"),
    ).select(VOTES.names())
