"""Borda: the rankings of several annotators (or tasks) -> one ranking.

Means of scores favour whoever has one outlying score; sums of ranks do not (What are the best systems?, Colombo et al. 2022). Where the
annotators fall into tasks, the recommended form has two levels: Borda within each task, then Borda over the tasks' results, by calling
`borda` on its own output with `points` as score and the task as annotator.

Kemeny's consensus (the order with the fewest disagreements, which a Borda ranking approximates) is not computed: finding it is
NP-hard, and where the two differ most, in cycles, `pipeline.consensus.cycles` refuses a single ranking anyway.
"""

import polars as pl


def borda(ballots: pl.DataFrame) -> pl.DataFrame:
    """Rank each group's responses by how many others they beat on the ballots.

    A response gets one point from each ballot for every response it beats there, and half a point for every one it ties with
    (mid-ranks, so that the order of rows never decides). Ballots may leave responses out: `beaten_share` allows for that.

    Args:
        ballots: group (a prompt), annotator, response_id: strings; score: a number, higher is better (for ranks, minus the rank).
            One row for each response on a ballot, in any order; rows without a score (null or NaN) are no part of it.

    Returns:
        group, response_id, points (0 and up, in halves), ballots (those with it and at least one other), beaten_share (points over those
        a winner of the same ballots has, 0 to 1; null without such a ballot) and rank (1 is best, by beaten_share; equal ones share
        the mean of their ranks; null where that is), sorted by group, response_id.
    """
    score = pl.col("score").cast(pl.Float64)
    ballot = ["group", "annotator"]
    ranked = ballots.filter(score.is_not_null() & score.is_not_nan()).with_columns(
        points=score.rank("average").over(ballot) - 1, others=pl.len().over(ballot).cast(pl.Float64) - 1
    )
    totals = (
        ranked.group_by("group", "response_id")
        .agg(pl.col("points").sum(), ballots=(pl.col("others") > 0).sum().cast(pl.Int64), most=pl.col("others").sum())
        .with_columns(beaten_share=pl.when(pl.col("most") > 0).then(pl.col("points") / pl.col("most")))
    )
    return (
        totals.with_columns(rank=(-pl.col("beaten_share")).rank("average").over("group"))
        .select("group", "response_id", "points", "ballots", "beaten_share", "rank")
        .sort("group", "response_id")
    )
