"""What became of every input record: one row each, from what every stage kept and dropped."""

import polars as pl

from pipeline.stage import bucket_of

_NOTHING = {
    "score": pl.lit(None, pl.Float64),
    "threshold": pl.lit(None, pl.Float64),
    "detail": pl.lit(None, pl.String),
    "witness_pair_id": pl.lit(None, pl.String),
}


WHY = ("stage", "reason", "score", "threshold", "detail")
_BEST_FIRST = {"published": 0, "merged": 1, "dropped": 2}


def write_up(
    judgements: pl.DataFrame,
    ratings: pl.DataFrame,
    unused: pl.DataFrame,
    published: pl.DataFrame,
    dropped: pl.DataFrame,
    quarantined: pl.DataFrame,
    representatives: pl.DataFrame,
) -> pl.DataFrame:
    """The ledger of some buckets.

    Args:
        judgements: schema JUDGEMENT (`merged_into` said). Those derived from ratings are no records: their ratings are.
        ratings: schema RATING.
        unused: ratings that fed no judgement: rating_id, detail.
        published: pairs that stay (pair_id).
        dropped: pairs that left: pair_id, stage, reason, score, threshold, detail, witness_pair_id.
        quarantined: schema QUARANTINE.
        representatives: rows of `fates_of` for at least the pairs into which others were merged, over all partitions.

    Returns:
        Schema LEDGER, one row for every stated judgement, rating and quarantined row, sorted by bucket, record_id and place.
        A copy is `merged`, with the pair that counts the original (if one does) as its witness. A record of an absorbed pair
        is `merged` where its representative, its witness, is published; else it is dropped for what the representative was
        dropped for. A rating that fed several pairs has the best of their fates, and of equal ones that of the least pair_id.
    """
    fates = _with_merged(fates_of(published, dropped), representatives)
    place = ["source", "source_uri", "source_row"]
    stated = pl.col("derived_from").list.len() == 0
    told = [*place, "is_copy"]
    judged = judgements.filter(stated).select("pair_id", "merged_into", *told, record_id="judgement_id", bucket=bucket_of("prompt_id"))
    fed = _rating_fates(judgements.filter(~stated), unused, fates)
    rated = ratings.select(*told, record_id="rating_id", bucket=bucket_of("prompt_id")).join(fed, on="record_id", how="left")
    records = pl.concat([judged.join(fates, on="pair_id", how="left"), rated], how="diagonal_relaxed")
    copies = records.filter("is_copy").with_columns(
        fate=pl.lit("merged"),
        stage=pl.lit("pair_up"),
        reason=pl.lit("copy"),
        score=pl.lit(1.0),
        threshold=pl.lit(1.0),
        detail=pl.lit(None, pl.String),
        witness_pair_id=pl.coalesce("merged_into", "pair_id"),
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
    rows = pl.concat([records.filter(~pl.col("is_copy")), copies, unread], how="diagonal_relaxed")
    columns = ["record_id", *place, "fate", "stage", "reason", "score", "threshold", "detail", "pair_id", "witness_pair_id"]
    return rows.sort("bucket", "record_id", *place, "fate").select(columns)


def fates_of(published: pl.DataFrame, dropped: pl.DataFrame) -> pl.DataFrame:
    """What became of pairs: pair_id, fate (published or dropped), stage, reason, score, threshold, detail, witness_pair_id.

    Args:
        published: pairs that stay (pair_id).
        dropped: pairs that left, with the further columns but for `fate`.
    """
    stay = published.select("pair_id", fate=pl.lit("published"), stage=pl.lit("publish"), reason=pl.lit("published"), **_NOTHING)
    return pl.concat([stay, dropped.with_columns(fate=pl.lit("dropped")).select(stay.columns)])


def _with_merged(fates: pl.DataFrame, representatives: pl.DataFrame) -> pl.DataFrame:
    """The fates, with those of absorbed pairs as their representatives' fates make them."""
    known = representatives.select("pair_id", *(pl.col(name).alias(f"_{name}") for name in ("fate", *WHY)))
    joined = fates.join(known, left_on="witness_pair_id", right_on="pair_id", how="left", maintain_order="left")
    absorbed = (pl.col("stage") == "deduplicate") & (pl.col("reason") == "near_duplicate")
    follows = absorbed & (pl.col("_fate") == "dropped")
    why = pl.format("merged into {}, which was dropped", "witness_pair_id") + pl.format(": {}", "_detail").fill_null("")
    return joined.with_columns(
        pl.when(absorbed & (pl.col("_fate") == "published")).then(pl.lit("merged")).otherwise("fate").alias("fate"),
        *(pl.when(follows).then(f"_{name}").otherwise(name).alias(name) for name in WHY[:-1]),
        pl.when(follows).then(why).otherwise("detail").alias("detail"),
    ).select(fates.columns)


def _rating_fates(derived: pl.DataFrame, unused: pl.DataFrame, pair_fates: pl.DataFrame) -> pl.DataFrame:
    """One row a rating: record_id, pair_id, merged_into and its fate in the best pair that it fed.

    A derived judgement that a published version already holds is a copy of it, and its ratings are merged.
    """
    votes = derived.group_by("judgement_id").agg(pl.col("pair_id", "merged_into", "derived_from").first(), again=pl.col("is_copy").all())
    fed = votes.explode("derived_from", empty_as_null=False).select("pair_id", "merged_into", "again", record_id="derived_from")
    fates = fed.join(pair_fates, on="pair_id", how="left")
    merged = {"fate": "merged", "stage": "pair_up", "reason": "derived_before", "score": 1.0, "threshold": 1.0, "detail": None}
    said = {name: pl.when("again").then(pl.lit(value)).otherwise(name) for name, value in merged.items()}
    counted = pl.coalesce("merged_into", "pair_id")
    fates = fates.with_columns(**said, witness_pair_id=pl.when("again").then(counted).otherwise("witness_pair_id")).drop("again")
    idle = unused.select(
        pl.lit("dropped").alias("fate"), pl.lit("pair_up").alias("stage"), pl.lit("not_selected").alias("reason"), "detail",
        record_id="rating_id",
    )  # fmt: skip
    every = pl.concat([fates, idle], how="diagonal_relaxed").with_columns(_rank=pl.col("fate").replace_strict(_BEST_FIRST))
    return every.sort("record_id", "_rank", "pair_id").unique("record_id", keep="first", maintain_order=True).drop("_rank")
