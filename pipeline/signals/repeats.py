"""Answers that are given again and again, whatever the prompt: boilerplate, and models that always say the same.

One constant answer beat most models on a public leaderboard (Cheating Automatic LLM Benchmarks, 2024), so what comes back under
unrelated prompts is worth a look, and a model that hardly says anything else is no model. Prompts are unrelated when their clusters
differ. These signals need the whole dataset: each partition is summarised, the summaries are reduced, and the result is applied.
"""

from collections.abc import Iterator

import polars as pl

from pipeline.signals import SIDES
from pipeline.texts import WORD, text_of

MIN_REPEATED_PROMPTS = 3
MIN_ANSWERS = 20  # below, a share says nothing
MIN_WORDS = 6  # labels, numbers and options ("Yes", "B") are few by nature
_AT_ONCE = 4_000_000  # rows listed between two counts: about 300 MB

# One row = one answer that one model of one source gave to prompts of one cluster; source alone where no model is named.
_GIVEN = pl.Schema({"source": pl.String, "model": pl.String, "prompt_cluster_id": pl.String, "text_id": pl.String, "long": pl.Boolean})
_EXACT = pl.Schema({"source": pl.String, "response_id": pl.String, "prompt_cluster_id": pl.String})


def summarise_repeats(pairs: pl.DataFrame) -> pl.DataFrame:
    """List, for one partition, which answers each source gives to prompts of which cluster.

    Args:
        pairs: PAIR rows with `chosen_text` and `rejected_text` (text ids; null: the answer is blank).

    Returns:
        (source, response_id, prompt_cluster_id), distinct, sorted. Empty answers are left out: they repeat without meaning anything.
    """
    answers = [
        pairs.filter(pl.col(f"{side}_text").is_not_null() | _has_tool_calls(side)).select(
            source="sources", response_id=f"{side}_id", prompt_cluster_id="prompt_cluster_id"
        )
        for side in SIDES
    ]
    return pl.concat(answers).explode("source", empty_as_null=False).unique().sort(_EXACT.names())


def _has_tool_calls(side: str) -> pl.Expr:
    calls = pl.col(side).list.eval(pl.element().struct.field("tool_calls").fill_null("") != "")
    return calls.list.any().fill_null(False)


def reduce_repeats(summaries: list[pl.DataFrame]) -> pl.DataFrame:
    """Count the unrelated prompts to which each source gives an answer: those of different clusters.

    Args:
        summaries: what `summarise_repeats` returned for each partition, with the clusters of the whole dataset.

    Returns:
        (source, response_id, repeated_prompts: int64), sorted; only answers to at least 3 unrelated prompts of one source.
    """
    given = pl.concat([_EXACT.to_frame(), *summaries]).unique()
    total = given.group_by("source", "response_id").agg(repeated_prompts=pl.len().cast(pl.Int64))
    return total.filter(pl.col("repeated_prompts") >= MIN_REPEATED_PROMPTS).sort("source", "response_id")


def add_repeats(pairs: pl.DataFrame, repeats: pl.DataFrame) -> pl.DataFrame:
    """Add `chosen_repeated_prompts` and `rejected_repeated_prompts` (prompts; the largest of the pair's sources, 0 below 3).

    Args:
        pairs: PAIR rows, of any order.
        repeats: what `reduce_repeats` returned for the whole dataset.
    """
    return _add_most(pairs, repeats, "response_id", "id")


def summarise_given(pairs: pl.DataFrame) -> pl.DataFrame:
    """List, for one partition, who gave which answer to prompts of which cluster.

    A pair of several sources or models counts its answers for each source with each model: which source named which is not known.

    Args:
        pairs: PAIR rows with `chosen_text` and `rejected_text` (text ids; null: the answer is blank, and is left out).

    Returns:
        (source, model: null where none is named, prompt_cluster_id, text_id, long: at least `MIN_WORDS` words), distinct, sorted.
    """
    answers = [
        pairs.filter(pl.col(f"{side}_text").is_not_null()).select(
            source="sources",
            model=pl.when(pl.col(f"{side}_models").list.len() > 0).then(f"{side}_models").otherwise([None]),
            prompt_cluster_id="prompt_cluster_id",
            text_id=f"{side}_text",
            long=text_of(side).str.count_matches(WORD) >= MIN_WORDS,
        )
        for side in SIDES
    ]
    given = pl.concat(answers).explode("source", empty_as_null=False).explode("model", empty_as_null=False, keep_nulls=True)
    return given.match_to_schema(_GIVEN).unique().sort(_GIVEN.names())


def reduce_given(summaries: list[pl.DataFrame], edges: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Find the answers that come back under unrelated prompts, and how varied the answers of each model of each source are.

    An answer comes back where it or a near copy is given: near to the answer itself,
    not to another near copy.

    Args:
        summaries: what `summarise_given` returned for each partition, with the clusters of the whole dataset.
        edges: left, right: text ids of answers that are near duplicates, each two once, in any order.

    Returns:
        (source, text_id, near_repeated_prompts: int64, at least 3), and (source, model, distinct_share: float64, above 0 to 1: distinct
        answers / answers, where there are at least 20 of them); an answer to prompts of one cluster counts once, and one of fewer than
        6 words does not count in the share. Both sorted.
    """
    given = pl.concat([_GIVEN.to_frame(), *summaries]).unique()
    answers = given.filter("long").group_by("source", "model").agg(n=pl.len(), distinct=pl.col("text_id").n_unique())
    shares = answers.filter(pl.col("n") >= MIN_ANSWERS).select("source", "model", distinct_share=pl.col("distinct") / pl.col("n"))
    return _near_repeats(given.select("source", "text_id", "prompt_cluster_id").unique(), edges), shares.sort("source", "model")


def _near_repeats(given: pl.DataFrame, edges: pl.DataFrame) -> pl.DataFrame:
    """(source, text_id, near_repeated_prompts) from distinct (source, text_id, prompt_cluster_id)."""
    clusters = given.group_by("source", "text_id").agg(n=pl.len().cast(pl.Int64))
    ends = edges.select("left", "right")
    both = pl.concat([ends, ends.select(left="right", right="left")]).unique()
    # What each text is near to within a source, itself first; then only texts whose neighbours can add up to enough prompts.
    near = clusters.select("source", "text_id").join(both, left_on="text_id", right_on="left").rename({"right": "other"})
    near = pl.concat([clusters.select("source", "text_id", other="text_id"), near])
    near = near.join(clusters.rename({"text_id": "other"}), on=["source", "other"])
    enough = pl.col("n").sum().over("source", "text_id") >= MIN_REPEATED_PROMPTS
    counted = [part.group_by("source", "text_id").agg(_distinct_clusters()) for part in _listed(near.filter(enough), given)]
    empty = pl.DataFrame(schema={"source": pl.String, "text_id": pl.String, "near_repeated_prompts": pl.Int64})
    found = pl.concat([empty, *counted]).filter(pl.col("near_repeated_prompts") >= MIN_REPEATED_PROMPTS)
    return found.sort("source", "text_id")


def _distinct_clusters() -> pl.Expr:
    return pl.col("prompt_cluster_id").n_unique().cast(pl.Int64).alias("near_repeated_prompts")


def _listed(near: pl.DataFrame, given: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """(source, text_id, prompt_cluster_id) of what texts are near to, in parts of bounded size; a text is whole in its part."""
    ranked = near.sort("source", "text_id").with_columns(part=pl.col("n").cum_sum() // _AT_ONCE)
    ranked = ranked.with_columns(part=pl.col("part").first().over("source", "text_id"))
    for part in ranked.partition_by("part", include_key=False, maintain_order=True):
        yield part.select("source", "text_id", "other").join(given.rename({"text_id": "other"}), on=["source", "other"])


def add_near_repeats(pairs: pl.DataFrame, near: pl.DataFrame) -> pl.DataFrame:
    """Add `chosen_near_repeated_prompts` and `rejected_near_repeated_prompts` (clusters; the largest of the pair's sources, 0 below 3).

    Args:
        pairs: PAIR rows, of any order, with `chosen_text` and `rejected_text`.
        near: the first table of `reduce_given`, of the whole dataset.
    """
    return _add_most(pairs, near, "text_id", "text")


def _add_most(pairs: pl.DataFrame, counts: pl.DataFrame, key: str, suffix: str) -> pl.DataFrame:
    """Add, for each side, the largest count of the pair's sources: 0 where there is none."""
    (name,) = set(counts.columns) - {"source", key}
    numbered = pairs.with_row_index("_row")
    for side in SIDES:
        named = numbered.select("_row", pl.col(f"{side}_{suffix}").alias(key), source=pl.col("sources"))
        found = named.explode("source", empty_as_null=False).join(counts, on=["source", key])
        most = found.group_by("_row").agg(pl.col(name).max().alias(f"{side}_{name}"))
        numbered = numbered.join(most, on="_row", how="left", maintain_order="left")
    return numbered.drop("_row").with_columns(pl.col(f"{side}_{name}").fill_null(0) for side in SIDES)


def add_distinct_shares(pairs: pl.DataFrame, shares: pl.DataFrame) -> pl.DataFrame:
    """Add `chosen_distinct_share` and `rejected_distinct_share`: how varied the answers of the side's model are.

    The least of the pair's sources and of the models named for the side; null where none of them has 20 answers.

    Args:
        pairs: PAIR rows, of any order.
        shares: the second table of `reduce_given`, of the whole dataset.
    """
    numbered = pairs.with_row_index("_row")
    for side in SIDES:
        models = pl.when(pl.col(f"{side}_models").list.len() > 0).then(f"{side}_models").otherwise([None])
        named = numbered.select("_row", source=pl.col("sources"), model=models)
        named = named.explode("source", empty_as_null=False).explode("model", empty_as_null=False, keep_nulls=True)
        found = named.join(shares, on=["source", "model"], nulls_equal=True)
        least = found.group_by("_row").agg(pl.col("distinct_share").min().alias(f"{side}_distinct_share"))
        numbered = numbered.join(least, on="_row", how="left", maintain_order="left")
    return numbered.drop("_row")
