"""Judgements -> pairs: everything that was said, on one criterion, about the same two answers to the same prompt."""

import polars as pl

from pipeline.stage import ASKED, UNNAMED

KINDS = ("human", "judge", "reward_model")  # who judged, the kind that counts most first
# What reward models gave the two sides, sorted; a model stands there once for each two scores that its sources tell.
SCORES = pl.List(pl.Struct({"model": pl.String, "low": pl.Float64, "high": pl.Float64}))


def pair_up(judgements: pl.DataFrame) -> pl.DataFrame:
    """Merge judgements into pairs, whichever way round each showed its sides.

    Args:
        judgements: schema JUDGEMENT, all rows of the buckets they are in, in any order. Copies (`is_copy`) are no votes,
            but the models and sources they name are kept, unless their pair has no vote at all: then it is no pair.

    Returns:
        One row a pair, sorted by prompt_id, pair_id. Sides are ordered by response id, `low` and `high`: votes_low,
        votes_high, votes_tie, n_votes, n_annotators = `annotators` (the named ones, sorted) and `unnamed_votes` (each
        counts as one), best_kind (int8: the least place in `KINDS` of its votes), models, sources, source_splits, records
        (a derived judgement stands for the ratings that it comes from), model_scores (SCORES: the scores that any of its rows
        tells, copies too, each once; none: an empty list).
    """
    swapped = b_is_low()

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
    unnamed = pl.col("annotator_id") == UNNAMED
    kind = pl.col("annotator_kind").replace_strict(KINDS, range(len(KINDS)), return_dtype=pl.Int8)

    def votes_for(vote: str) -> pl.Expr:
        return (counts & (pl.col("vote") == vote)).sum().cast(pl.Int64)

    record = pl.when(pl.col("derived_from").list.len() > 0).then("derived_from").otherwise(pl.concat_list("judgement_id"))
    same = ["criterion", "context", "prompt", "tools", "low", "high", "low_id", "high_id"]
    pairs = rows.group_by("prompt_id", "pair_id", maintain_order=True).agg(
        *(pl.col(name).first() for name in same),
        low_models=pl.col("low_model").drop_nulls().unique().sort(),
        high_models=pl.col("high_model").drop_nulls().unique().sort(),
        n_votes=counts.sum().cast(pl.Int64),
        annotators=pl.col("annotator_id").filter(counts & ~unnamed).unique().sort(),
        unnamed_votes=(counts & unnamed).sum().cast(pl.Int64),
        best_kind=kind.filter(counts).min(),
        votes_low=votes_for("low"),
        votes_high=votes_for("high"),
        votes_tie=votes_for("tie"),
        sources=pl.col("source").filter(~pl.col("source").str.starts_with(ASKED)).unique().sort(),  # where answers come from, not verdicts
        source_splits=pl.col("source_split").str.to_lowercase().drop_nulls().unique().sort(),
        records=record.filter(counts).list.explode(keep_nulls=False, empty_as_null=False).unique().sort(),
    )
    voted = pairs.filter(pl.col("n_votes") > 0).with_columns(
        n_annotators=pl.col("annotators").list.len().cast(pl.Int64) + pl.col("unnamed_votes")
    )
    return voted.join(_scores(judgements), on="pair_id", how="left", maintain_order="left").with_columns(
        pl.col("model_scores").fill_null(pl.lit([], SCORES))
    )


def by_sources(tally: pl.DataFrame, judgements: pl.DataFrame) -> pl.DataFrame:
    """The pairs with the votes of their sources alone: what a run asked a judge for says nothing of what repeats what.

    Args:
        tally: rows of `pair_up`, perhaps with more columns.
        judgements: what they were made of.

    Returns:
        The rows in their order; where a published version brings verdicts that it had asked for, `n_votes`, `best_kind`, `votes_low`,
        `votes_high` and `votes_tie` leave them out.
    """
    asked = pl.col("source").str.starts_with(ASKED)
    touched = judgements.filter(asked).select("pair_id").unique()
    if touched.is_empty():
        return tally
    names = ["n_votes", "best_kind", "votes_low", "votes_high", "votes_tie"]
    own = pair_up(judgements.filter(~asked).join(touched, on="pair_id", how="semi"))
    own = own.select("pair_id", *(pl.col(name).alias(f"_{name}") for name in names))
    both = tally.join(touched.with_columns(_touched=True), on="pair_id", how="left", maintain_order="left")
    both = both.join(own, on="pair_id", how="left", maintain_order="left")
    told = [pl.when("_touched").then(pl.col(f"_{name}").fill_null(0)).otherwise(name).alias(name) for name in names]
    return both.with_columns(told).select(tally.columns)


def add_votes(tally: pl.DataFrame, judgements: pl.DataFrame) -> pl.DataFrame:
    """Count further judgements on pairs that are there already.

    Args:
        tally: rows of `pair_up`, perhaps with more columns.
        judgements: schema JUDGEMENT, none of them counted in the tally.

    Returns:
        The rows in their order, with the votes, annotators and records of both.
    """
    sums, unions = ["n_votes", "votes_low", "votes_high", "votes_tie", "unnamed_votes"], ["annotators", "records"]
    more = pair_up(judgements).select("pair_id", *(pl.col(name).alias(f"_{name}") for name in [*sums, *unions, "best_kind"]))
    both = tally.join(more, on="pair_id", how="left", maintain_order="left")
    none = pl.lit([], pl.List(pl.String))
    both = both.with_columns(
        *(pl.col(name) + pl.col(f"_{name}").fill_null(0) for name in sums),
        *(pl.concat_list(name, pl.col(f"_{name}").fill_null(none)).list.unique().list.sort() for name in unions),
        best_kind=pl.min_horizontal("best_kind", "_best_kind"),
    )
    counted = pl.col("annotators").list.len().cast(pl.Int64) + pl.col("unnamed_votes")
    return both.with_columns(n_annotators=counted).select(tally.columns)


def _scores(judgements: pl.DataFrame) -> pl.DataFrame:
    """pair_id and model_scores (SCORES) of the pairs that have some."""
    score = pl.element().struct

    def sided(low: str, high: str) -> pl.Expr:
        return pl.col("model_scores").list.eval(pl.struct(score.field("model"), low=score.field(low), high=score.field(high)))

    rows = judgements.filter(pl.col("model_scores").is_not_null())
    told = rows.select("pair_id", model_scores=pl.when(b_is_low()).then(sided("b", "a")).otherwise(sided("a", "b")))
    # Most pairs have the scores of one row, each model once: there is nothing to unite.
    once = pl.col("model_scores").list.eval(score.field("model")).list.n_unique() == pl.col("model_scores").list.len()
    several = pl.col("pair_id").is_duplicated() | ~once
    united = pl.col("model_scores").list.explode(keep_nulls=False, empty_as_null=False).unique().sort()
    parts = [told.filter(~several), told.filter(several).group_by("pair_id").agg(united)]
    return pl.concat(parts)


def mark_moved(judgements: pl.DataFrame, moved: pl.DataFrame) -> pl.DataFrame:
    """Make votes copies where a published version counts the same ones in another pair, into which theirs was merged.

    Args:
        judgements: JUDGEMENT of whole buckets but for `merged_into` and `merged_a`, copies marked within buckets.
        moved: judgement_id, merged_into, response_a_id, merged_a, merged_b of every vote that `ingest.published` moved, over all
            partitions. Where several versions moved a vote, the least pair counts it.

    Returns:
        The rows in their order, with `merged_into` and `merged_a`. Of the rows of a moved vote, one in the pair `merged_into`
        counts; every other is a copy, and those of other pairs say where it counts. The two are null in all other rows.
    """
    known = moved.sort("merged_into").unique("judgement_id", keep="first", maintain_order=True)
    joined = judgements.join(known.rename({"response_a_id": "_a_id"}), on="judgement_id", how="left", maintain_order="left")
    is_moved, elsewhere = pl.col("merged_into").is_not_null(), pl.col("merged_into") != pl.col("pair_id")
    first = pl.int_range(pl.len()).over("judgement_id", "pair_id") == 0
    a = pl.when(pl.col("response_a_id") == pl.col("_a_id")).then("merged_a").otherwise("merged_b")
    return joined.with_columns(
        is_copy=pl.when(is_moved).then(elsewhere | ~first).otherwise("is_copy"),
        merged_into=pl.when(elsewhere).then("merged_into"),
        merged_a=pl.when(elsewhere).then(a),
    ).drop("_a_id", "merged_b")


def mark_merged(judgements: pl.DataFrame, merges: pl.DataFrame) -> pl.DataFrame:
    """Say of each vote on a merged pair where it counts.

    Args:
        judgements: rows of `mark_moved`.
        merges: pair_id, merged_into, swapped, merged_low, merged_high (the response ids of the pair that counts the votes), as
            `pipeline.dedup.merging.name_answers` gives them.

    Returns:
        The rows in their order: schema JUDGEMENT. Those of merged pairs, copies too, have `merged_into` and `merged_a`, the
        answer there for which response_a stands, unless they had them before.
    """
    known = merges.select("pair_id", "swapped", "merged_low", "merged_high", _into="merged_into")
    joined = judgements.join(known, on="pair_id", how="left", maintain_order="left")
    a = pl.when(b_is_low() != pl.col("swapped")).then("merged_high").otherwise("merged_low")
    return joined.with_columns(
        merged_into=pl.coalesce("merged_into", "_into"), merged_a=pl.coalesce("merged_a", pl.when(pl.col("_into").is_not_null()).then(a))
    ).select(judgements.columns)


def b_is_low() -> pl.Expr:
    """Whether response_b is a pair's `low`.

    Two equal answers have no order of their own: the winner's side, or else the lesser model's, is then `low`.
    """
    same_answer = pl.col("response_a_id") == pl.col("response_b_id")
    by_model = pl.col("model_a").fill_null("") > pl.col("model_b").fill_null("")
    by_verdict = pl.when(pl.col("outcome") == "tie").then(by_model).otherwise(pl.col("outcome") == "b")
    return pl.when(same_answer).then(by_verdict).otherwise(pl.col("response_a_id") > pl.col("response_b_id"))
