"""Judgements -> pairs: everything that was said, on one criterion, about the same two answers to the same prompt."""

import polars as pl

from pipeline.stage import UNNAMED


def pair_up(judgements: pl.DataFrame) -> pl.DataFrame:
    """Merge judgements into pairs, whichever way round each showed its sides.

    Args:
        judgements: schema JUDGEMENT, all rows of the buckets they are in, in any order. Copies (`is_copy`) are no votes,
            but the models and sources they name are kept.

    Returns:
        One row a pair, sorted by prompt_id, pair_id. Sides are ordered by response id, `low` and `high`: votes_low,
        votes_high, votes_tie, n_votes, n_annotators (an unnamed vote counts as one), strength_low and strength_high
        (sums over the votes for that side; a vote without strength counts 1), models, sources, source_splits, records
        (a derived judgement stands for the ratings that it comes from).
    """
    # Two equal answers have no order of their own: the winner's side, or else the lesser model's, is then `low`.
    same_answer = pl.col("response_a_id") == pl.col("response_b_id")
    by_model = pl.col("model_a").fill_null("") > pl.col("model_b").fill_null("")
    by_verdict = pl.when(pl.col("outcome") == "tie").then(by_model).otherwise(pl.col("outcome") == "b")
    swapped = pl.when(same_answer).then(by_verdict).otherwise(pl.col("response_a_id") > pl.col("response_b_id"))

    def side(low: str, high: str) -> pl.Expr:
        return pl.when(swapped).then(pl.col(high)).otherwise(pl.col(low))

    # Sorted first: float sums must not depend on the order in which rows arrived.
    rows = judgements.sort("prompt_id", "pair_id", "judgement_id", "is_copy").with_columns(
        low=side("response_a", "response_b"),
        high=side("response_b", "response_a"),
        low_id=side("response_a_id", "response_b_id"),
        high_id=side("response_b_id", "response_a_id"),
        low_model=side("model_a", "model_b"),
        high_model=side("model_b", "model_a"),
        vote=pl.when(pl.col("outcome") == "tie")
        .then(pl.lit("tie"))
        .when((pl.col("outcome") == "a") != swapped)
        .then(pl.lit("low"))
        .otherwise(pl.lit("high")),
    )
    counts = ~pl.col("is_copy")
    named = pl.col("annotator_id").filter(counts & (pl.col("annotator_id") != UNNAMED))

    def votes_for(vote: str) -> pl.Expr:
        return (counts & (pl.col("vote") == vote)).sum().cast(pl.Int64)

    def strength_of(vote: str) -> pl.Expr:
        return pl.col("strength").cast(pl.Float64).fill_null(1.0).filter(counts & (pl.col("vote") == vote)).sum()

    record = pl.when(pl.col("derived_from").list.len() > 0).then("derived_from").otherwise(pl.concat_list("judgement_id"))
    same = ["criterion", "context", "prompt", "tools", "low", "high", "low_id", "high_id"]
    return rows.group_by("prompt_id", "pair_id", maintain_order=True).agg(
        *(pl.col(name).first() for name in same),
        low_models=pl.col("low_model").drop_nulls().unique().sort(),
        high_models=pl.col("high_model").drop_nulls().unique().sort(),
        n_votes=counts.sum().cast(pl.Int64),
        n_annotators=(named.n_unique() + (counts & (pl.col("annotator_id") == UNNAMED)).sum()).cast(pl.Int64),
        votes_low=votes_for("low"),
        votes_high=votes_for("high"),
        votes_tie=votes_for("tie"),
        strength_low=strength_of("low"),
        strength_high=strength_of("high"),
        sources=pl.col("source").unique().sort(),
        source_splits=pl.col("source_split").str.to_lowercase().drop_nulls().unique().sort(),
        records=record.filter(counts).list.explode(keep_nulls=False, empty_as_null=False).unique().sort(),
    )
