"""Train and validation: whole prompt clusters are held out, by content, whatever else is in the run."""

from fractions import Fraction
from hashlib import blake2b
from math import ceil

import polars as pl

from pipeline.config import PublishConfig

# Any part of a source's split name that marks data as held out: test, test_prefs, validation-2, held_out ...
_HELD_OUT = (
    r"(?i)(?:^|[^a-z])(?:tests?|testing|validation|valid|val|dev|development|eval|evaluation|held[^a-z]?out|hold[^a-z]?out)(?:$|[^a-z])"
)


def add_cluster(pairs: pl.DataFrame) -> pl.DataFrame:
    """Add `prompt_cluster_id` (BLAKE2b, 16 bytes, hex): equal for prompts that differ only in case and white space.

    Pairs without a prompt would all be one cluster, so each is the cluster of its two answers, whichever of them is chosen.

    Args:
        pairs: rows with `prompt`, `chosen_id` and `rejected_id`, of any order.
    """
    turn = pl.concat_str(pl.element().struct.field("role").fill_null(""), pl.lit(": "), pl.element().struct.field("content").fill_null(""))
    said = pl.col("prompt").list.eval(pl.element().struct.field("content").fill_null("")).list.join("")
    prompt = pl.col("prompt").list.eval(turn).list.join("\n").str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars()
    answers = pl.concat_str(
        pl.lit("no prompt "), pl.min_horizontal("chosen_id", "rejected_id"), pl.lit(" "), pl.max_horizontal("chosen_id", "rejected_id")
    )
    keyed = pairs.with_columns(_key=pl.when(said.fill_null("").str.strip_chars() == "").then(answers).otherwise(prompt))
    keys = keyed.get_column("_key").unique()
    # No polars expression gives a hash that is stable across versions: hash each distinct prompt once.
    ids = [blake2b(b"cluster\n" + key.casefold().encode(), digest_size=16).hexdigest() for key in keys]
    clusters = pl.DataFrame({"_key": keys, "prompt_cluster_id": ids}, schema={"_key": pl.String, "prompt_cluster_id": pl.String})
    return keyed.drop("prompt_cluster_id", strict=False).join(clusters, on="_key", how="left", maintain_order="left").drop("_key")


def summarise_prompts(pairs: pl.DataFrame) -> pl.DataFrame:
    """One partition's prompts, for finding those that are near duplicates (`pipeline.dedup.clusters.prompt_clusters`).

    Args:
        pairs: rows with `prompt_cluster_id` (from `add_cluster`) and `prompt_text` (text id of the prompt; null without one).

    Returns:
        prompt_cluster_id, prompt_text: distinct, sorted, without nulls.
    """
    return pairs.select("prompt_cluster_id", "prompt_text").drop_nulls().unique().sort("prompt_cluster_id", "prompt_text")


def join_clusters(rows: pl.DataFrame, joined: pl.DataFrame) -> pl.DataFrame:
    """Put clusters of near-duplicate prompts together.

    Args:
        rows: any rows with `prompt_cluster_id` (from `add_cluster`).
        joined: prompt_cluster_id, joined_cluster_id: the clusters of the whole dataset that are no longer alone.

    Returns:
        The rows in their order; `prompt_cluster_id` is the joined cluster's, where there is one.
    """
    known = rows.join(joined, on="prompt_cluster_id", how="left", maintain_order="left")
    return known.with_columns(prompt_cluster_id=pl.coalesce("joined_cluster_id", "prompt_cluster_id")).drop("joined_cluster_id")


def summarise_held_out(pairs: pl.DataFrame) -> pl.Series:
    """One partition's clusters that some source keeps out of training.

    Args:
        pairs: rows with `prompt_cluster_id` (from `add_cluster`) and `source_splits` (list of names).

    Returns:
        Distinct cluster ids, sorted.
    """
    held_out = pl.col("source_splits").list.eval(pl.element().str.contains(_HELD_OUT).fill_null(False)).list.any()
    return pairs.filter(held_out.fill_null(False)).get_column("prompt_cluster_id").unique().sort()


def reduce_held_out(summaries: list[pl.Series], joined: pl.DataFrame) -> pl.Series:
    """The held-out clusters of all partitions, joined as in `join_clusters`, distinct and sorted."""
    every = pl.concat([pl.Series("prompt_cluster_id", [], pl.String), *summaries])
    return join_clusters(every.to_frame(), joined).get_column("prompt_cluster_id").unique().sort()


def assign_split(pairs: pl.DataFrame, config: PublishConfig, held_out: pl.Series) -> pl.DataFrame:
    """Add `split`: validation for held-out clusters and for a share of the others, train for the rest.

    A cluster's place depends on its id alone: the id's first 8 bytes, as a fraction of 2**64, against `validation_share`.

    Args:
        pairs: rows with `prompt_cluster_id` (from `join_clusters`).
        config: the share of clusters to hold out, 0 to 1.
        held_out: what `reduce_held_out` returned for the whole dataset.
    """
    position = pl.col("prompt_cluster_id").str.slice(0, 16).str.to_integer(base=16, dtype=pl.UInt64)
    edge = ceil(Fraction(repr(config.validation_share)) * 2**64)  # exact: a float would move clusters near the edge
    drawn = position < pl.lit(edge, pl.UInt64)
    kept_out = pl.col("prompt_cluster_id").is_in(held_out.implode())
    return pairs.with_columns(split=pl.when(drawn | kept_out).then(pl.lit("validation")).otherwise(pl.lit("train")))


def assign_part(pairs: pl.DataFrame) -> pl.DataFrame:
    """Add `part`, the files a pair goes to: its split, or `other` where a plain trainer would mangle it.

    Trainers take a prompt that ends with the user's turn and two answers of one assistant message each. A pair without a
    shared prompt, with tools or tool calls, or with further turns inside its answers is reached by an export instead.
    """

    def one_answer(side: str) -> pl.Expr:
        first = pl.col(side).list.first().struct
        return (pl.col(side).list.len() == 1) & (first.field("role") == "assistant") & first.field("tool_calls").is_null()

    last = pl.col("prompt").list.last().struct
    plain_prompt = (last.field("role") == "user") & last.field("content").str.contains(r"[^\s\p{C}\p{Z}]")  # something visible
    message = pl.element().struct
    calls = pl.col("prompt").list.eval(message.field("tool_calls").is_not_null() | (message.field("role") == "tool"))
    plain = plain_prompt & one_answer("chosen") & one_answer("rejected") & pl.col("tools").is_null() & ~calls.list.any()
    return pairs.with_columns(part=pl.when(plain.fill_null(False)).then("split").otherwise(pl.lit("other")))
