"""Votes of absorbed pairs -> their representatives. An absorbed pair keeps its own votes and says which pair counts them too."""

import polars as pl

from pipeline.stage import StageResult

STAGE, REASON = "deduplicate", "near_duplicate"

_SUMS = ("n_votes", "votes_low", "votes_high", "votes_tie", "unnamed_votes")
_UNIONS = ("low_models", "high_models", "annotators", "sources", "source_splits", "records", "model_scores")
_SIDED = (("votes_low", "votes_high"), ("low_models", "high_models"))
COLUMNS = ["pair_id", "low_id", "high_id", "best_kind", *_SUMS, *_UNIONS]  # what is needed of a tally: no texts
_LEFT = ("stage", "reason", "score", "threshold", "detail", "witness_pair_id")


def summarise_absorbed(tally: pl.DataFrame, merges: pl.DataFrame) -> pl.DataFrame:
    """What a partition's absorbed pairs add to their representatives.

    Args:
        tally: rows of `pairing.pair_up`.
        merges: rows of `groups.representatives`: pair_id, merged_into, swapped, kind, score, threshold.

    Returns:
        merged_into, pair_id, best_kind, and the votes, strengths, models, annotators, sources, source splits, records and models'
        scores of each absorbed pair, said of its representative's answers; no texts. Sorted by merged_into, pair_id.
    """
    mine = tally.join(merges.select("pair_id", "merged_into", "swapped"), on="pair_id")
    sides = [pl.when("swapped").then(other).otherwise(one).alias(one) for two in _SIDED for one, other in (two, two[::-1])]
    score = pl.element().struct
    turned = pl.col("model_scores").list.eval(pl.struct(score.field("model"), low=score.field("high"), high=score.field("low")))
    sides.append(pl.when("swapped").then(turned).otherwise("model_scores").alias("model_scores"))
    return mine.with_columns(sides).select("merged_into", "pair_id", "best_kind", *_SUMS, *_UNIONS).sort("merged_into", "pair_id")


def summarise_answers(tally: pl.DataFrame, merges: pl.DataFrame) -> pl.DataFrame:
    """The answers of a partition's representatives: merged_into, merged_low, merged_high (response ids)."""
    stand = tally.join(merges.select(pair_id="merged_into").unique(), on="pair_id", how="semi")
    return stand.select(merged_into="pair_id", merged_low="low_id", merged_high="high_id")


def name_answers(merges: pl.DataFrame, answers: list[pl.DataFrame]) -> pl.DataFrame:
    """Add merged_low and merged_high, the answers of the representatives, from what `summarise_answers` gave for every partition."""
    return merges.join(pl.concat(answers), on="merged_into", how="left", maintain_order="left")


def apply_merges(tally: pl.DataFrame, merges: pl.DataFrame, absorbed: pl.DataFrame, conflicting: pl.DataFrame) -> pl.DataFrame:
    """Let representatives count the votes of the pairs they absorbed, and mark these.

    Args:
        tally: a partition's rows of `pairing.pair_up`, whole buckets.
        merges: as for `summarise_absorbed`, over all partitions.
        absorbed: what `summarise_absorbed` returned, over all partitions and in any order.
        conflicting: rows of `groups.conflicting_pairs`.

    Returns:
        The rows in their order. A representative has the sums and unions of its own and the absorbed pairs' columns, float
        sums in the order of pair ids, and their number in `near_duplicates` (0 for others). An absorbed pair has its own votes
        and `left_stage`, `left_reason`, `left_score`, `left_threshold`, `left_detail`, `left_witness_pair_id` (null for others).
        `near_duplicate_conflict` and `near_duplicate_of`: from `conflicting`.
    """
    added = absorbed.join(tally.select(merged_into="pair_id"), on="merged_into", how="semi")
    own = tally.join(added.select(pair_id="merged_into").unique(), on="pair_id", how="semi")
    own = own.select("pair_id", "best_kind", *_SUMS, *_UNIONS, merged_into="pair_id")
    # The representative's own row first, then by id: float sums must not depend on which partition a row came from.
    rows = pl.concat([own, added.select(own.columns)]).sort("merged_into", pl.col("pair_id") != pl.col("merged_into"), "pair_id")
    joined = rows.group_by("merged_into", maintain_order=True).agg(
        pl.col("best_kind").min(),
        *(pl.col(name).sum() for name in _SUMS),
        *(pl.col(name).list.explode(keep_nulls=False, empty_as_null=False).unique().sort() for name in _UNIONS),
        near_duplicates=(pl.len() - 1).cast(pl.Int64),
    )
    joined = joined.with_columns(n_annotators=pl.col("annotators").list.len().cast(pl.Int64) + pl.col("unnamed_votes"))
    counted = [name for name in joined.columns if name in tally.columns]
    both = tally.join(joined, left_on="pair_id", right_on="merged_into", how="left", suffix="_joined", maintain_order="left")
    both = both.with_columns(pl.coalesce(f"{name}_joined", name).alias(name) for name in counted)
    detail = pl.concat_str("kind", pl.when("swapped").then(pl.lit(", answers exchanged")).otherwise(pl.lit("")))
    left = merges.select(
        "pair_id", pl.lit(STAGE).alias("stage"), pl.lit(REASON).alias("reason"), "score", "threshold", detail.alias("detail"),
        pl.col("merged_into").alias("witness_pair_id"),
    ).rename({name: f"left_{name}" for name in _LEFT})  # fmt: skip
    for known in (left, conflicting):
        both = both.join(known, on="pair_id", how="left", maintain_order="left")
    marked = both.with_columns(
        near_duplicates=pl.col("near_duplicates").fill_null(0), near_duplicate_conflict=pl.col("near_duplicate_of").is_not_null()
    )
    added_columns = ["near_duplicates", "near_duplicate_conflict", "near_duplicate_of", *(f"left_{name}" for name in _LEFT)]
    return marked.select(*tally.columns, *added_columns)


def take_absorbed(pairs: pl.DataFrame) -> StageResult:
    """Part the pairs that were absorbed from those that go on.

    Args:
        pairs: rows with the columns `left_...` of `apply_merges`.

    Returns:
        Both without these columns; `dropped` with stage, reason, score, threshold, detail and witness_pair_id.
    """
    names = {f"left_{name}": name for name in _LEFT}
    absorbed = pl.col("left_stage").is_not_null()
    kept = pairs.filter(~absorbed).drop(names)
    return StageResult(kept=kept, dropped=pairs.filter(absorbed).rename(names).select(*kept.columns, *_LEFT))
