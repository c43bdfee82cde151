"""What became of every input record: one row each, from what every stage kept and dropped."""

import polars as pl

from pipeline.stage import bucket_of

_NOTHING = {
    "score": pl.lit(None, pl.Float64),
    "threshold": pl.lit(None, pl.Float64),
    "detail": pl.lit(None, pl.String),
    "witness_pair_id": pl.lit(None, pl.String),
}


def write_up(judgements: pl.DataFrame, published: pl.DataFrame, dropped: pl.DataFrame, quarantined: pl.DataFrame) -> pl.DataFrame:
    """The ledger of some buckets.

    Args:
        judgements: schema JUDGEMENT.
        published: pairs that stay (pair_id).
        dropped: pairs that left: pair_id, stage, reason, score, threshold, detail, witness_pair_id.
        quarantined: schema QUARANTINE.

    Returns:
        Schema LEDGER, one row for every row of `judgements` and `quarantined`, sorted by bucket, record_id and place.
        A copy is `merged`, with the pair that counts the original as its witness.
    """
    pair_fates = pl.concat(
        [
            published.select("pair_id", fate=pl.lit("published"), stage=pl.lit("publish"), reason=pl.lit("published"), **_NOTHING),
            dropped.select(
                "pair_id", pl.lit("dropped").alias("fate"), "stage", "reason", "score", "threshold", "detail", "witness_pair_id"
            ),
        ],
        how="diagonal",
    )
    place = ["source", "source_uri", "source_row"]
    records = judgements.select(pl.col("judgement_id").alias("record_id"), *place, "pair_id", "is_copy", bucket=bucket_of("prompt_id"))
    voted = records.filter(~pl.col("is_copy")).join(pair_fates, on="pair_id", how="left")
    copies = records.filter("is_copy").with_columns(
        fate=pl.lit("merged"),
        stage=pl.lit("pair_up"),
        reason=pl.lit("copy"),
        score=pl.lit(1.0),
        threshold=pl.lit(1.0),
        detail=pl.lit(None, pl.String),
        witness_pair_id="pair_id",
    )
    unread = quarantined.select(
        "record_id",
        *place,
        fate=pl.lit("quarantined"),
        stage=pl.lit("ingest"),
        reason="reason",
        detail=pl.concat_str("field", pl.lit(": "), pl.col("detail").fill_null("")).fill_null(pl.col("detail")),
        bucket=bucket_of("record_id"),
    )
    rows = pl.concat([voted.drop("is_copy"), copies.drop("is_copy"), unread], how="diagonal_relaxed")
    columns = ["record_id", *place, "fate", "stage", "reason", "score", "threshold", "detail", "pair_id", "witness_pair_id"]
    return rows.sort("bucket", "record_id", *place, "fate").select(columns)
