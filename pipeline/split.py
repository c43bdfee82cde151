"""Train, validation and test: whole prompt clusters are held out, by content, whatever else is in the run.

A prompt keeps the split it had in earlier versions, and a new one joins its cluster's. What a source calls a test set is test, and
what it holds out by another name is validation. Where two meet in a cluster, the one that is held out more wins: test over validation
over train. Only a cluster of which nothing is known yet is drawn.
"""

from fractions import Fraction
from hashlib import blake2b
from math import ceil

import polars as pl

from pipeline.config import PublishConfig
from pipeline.stage import ASKED

SPLITS = ("train", "validation", "test")  # the later wins
# Any part of a source's split name that marks data as held out: test, test_prefs, validation-2, held_out ...
TEST = r"(?i)(?:^|[^a-z])(?:tests?|testing)(?:$|[^a-z])"
HELD_OUT = r"(?i)(?:^|[^a-z])(?:validation|valid|val|dev|development|eval|evaluation|held[^a-z]?out|hold[^a-z]?out)(?:$|[^a-z])"


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


def most_held_out(earlier: pl.DataFrame) -> pl.DataFrame:
    """One row a prompt: its split is the most held out of all, and so is `before`.

    Args:
        earlier: prompt_id, split, before (null: not of this dataset), any number of rows a prompt.

    Returns:
        The same columns, sorted by prompt_id.
    """
    ranks = earlier.select("prompt_id", _rank("split").alias("split"), _rank("before").alias("before"))
    most = ranks.group_by("prompt_id").agg(pl.col("split", "before").max())
    return most.sort("prompt_id").with_columns(_named("split"), _named("before"))


def summarise_splits(pairs: pl.DataFrame, earlier: pl.DataFrame) -> pl.DataFrame:
    """The splits that one partition's clusters have already: from earlier versions, or because a source holds them out.

    Args:
        pairs: rows with `prompt_id`, `prompt_cluster_id` (from `add_cluster`) and `source_splits` (list of names).
        earlier: prompt_id, split: what earlier versions say of this partition's prompts; others than those in `pairs` say nothing.

    Returns:
        prompt_cluster_id, split: distinct, sorted.
    """
    test, held_out = (pl.col("source_splits").list.eval(pl.element().str.contains(name).fill_null(False)) for name in (TEST, HELD_OUT))
    said = pl.when(test.list.any()).then(pl.lit("test")).when(held_out.list.any()).then(pl.lit("validation"))
    named = pairs.select("prompt_cluster_id", split=said)
    known = pairs.select("prompt_id", "prompt_cluster_id").join(earlier.select("prompt_id", "split"), on="prompt_id")
    both = pl.concat([named.drop_nulls(), known.select("prompt_cluster_id", "split")])
    return both.unique().sort("prompt_cluster_id", "split")


def reduce_splits(summaries: list[pl.DataFrame], joined: pl.DataFrame) -> pl.DataFrame:
    """The one split of each cluster that has some already: test over validation over train.

    Args:
        summaries: what `summarise_splits` returned for every partition.
        joined: as in `join_clusters`.

    Returns:
        prompt_cluster_id, split: one row a cluster, sorted.
    """
    none = pl.DataFrame(schema={"prompt_cluster_id": pl.String, "split": pl.String})
    every = join_clusters(pl.concat([none, *summaries]), joined).select("prompt_cluster_id", rank=_rank("split"))
    most = every.group_by("prompt_cluster_id").agg(pl.col("rank").max()).sort("prompt_cluster_id")
    return most.select("prompt_cluster_id", _named("rank").alias("split"))


def assign_split(pairs: pl.DataFrame, config: PublishConfig, assigned: pl.DataFrame) -> pl.DataFrame:
    """Add `split`: the cluster's own where it has one, else drawn from its id: a share of test, then of validation, the rest train.

    A new cluster's place depends on its id alone: the id's first 8 bytes, as a fraction of 2**64, against the shares.

    Args:
        pairs: rows with `prompt_cluster_id` (from `join_clusters`).
        config: the shares of clusters to hold out, 0 to 1.
        assigned: what `reduce_splits`, or `stratify`, returned for the whole dataset.
    """
    position = pl.col("prompt_cluster_id").str.slice(0, 16).str.to_integer(base=16, dtype=pl.UInt64)
    # Exact edges: a float would move clusters near one.
    test, held_out = (pl.lit(ceil(share * 2**64), pl.UInt64) for share in _edges(config))
    drawn = pl.when(position < test).then(pl.lit("test")).when(position < held_out).then(pl.lit("validation")).otherwise(pl.lit("train"))
    known = pairs.drop("split", strict=False).join(assigned, on="prompt_cluster_id", how="left", maintain_order="left")
    return known.with_columns(split=pl.coalesce("split", drawn))


def _edges(config: PublishConfig) -> tuple[Fraction, Fraction]:
    """Where test ends, and where validation ends, as exact shares."""
    test, validation = (Fraction(repr(share)) for share in (config.test_share, config.validation_share))
    return test, test + validation


def _rank(column: str) -> pl.Expr:
    """A split's place in SPLITS: where two join, the higher wins."""
    return pl.col(column).replace_strict({name: rank for rank, name in enumerate(SPLITS)}, return_dtype=pl.Int8)


def _named(column: str) -> pl.Expr:
    """The split of a place in SPLITS."""
    return pl.col(column).replace_strict(dict(enumerate(SPLITS)), return_dtype=pl.String)


def summarise_strata(pairs: pl.DataFrame) -> pl.DataFrame:
    """One partition's pairs by cluster and source: prompt_cluster_id, source, pairs. What a run asked judges is no source."""
    named = pairs.select("prompt_cluster_id", source="sources").explode("source").drop_nulls()
    stated = named.filter(~pl.col("source").str.starts_with(ASKED))
    counted = stated.group_by("prompt_cluster_id", "source").agg(pairs=pl.len().cast(pl.Int64))
    return counted.sort("prompt_cluster_id", "source")


def stratify(strata: list[pl.DataFrame], joined: pl.DataFrame, assigned: pl.DataFrame, config: PublishConfig) -> pl.DataFrame:
    """Hold out the shares within every source, not only over all.

    A cluster's stratum is the source with most of its pairs (among equals the first by name). Each stratum's quota of a split is its
    share of the stratum's clusters, rounded by largest remainder so that the quotas add up to the share of all clusters. What the
    stratum holds out already counts towards it; the rest is taken from its new clusters, in the order of their ids (hashes): test
    first, then validation. So another row may change which *new* clusters are held out, and never the split of one that has one.

    Args:
        strata: what `summarise_strata` returned for every partition.
        joined: as in `join_clusters`.
        assigned: what `reduce_splits` returned.
        config: the shares.

    Returns:
        prompt_cluster_id, split: one row for every cluster, sorted.
    """
    none = pl.DataFrame(schema={"prompt_cluster_id": pl.String, "source": pl.String, "pairs": pl.Int64})
    counted = join_clusters(pl.concat([none, *strata]), joined).group_by("prompt_cluster_id", "source").agg(pl.col("pairs").sum())
    first = counted.sort("prompt_cluster_id", "pairs", "source", descending=[False, True, False])
    clusters = first.unique("prompt_cluster_id", keep="first", maintain_order=True).join(assigned, on="prompt_cluster_id", how="left")
    sizes = dict(clusters.group_by("source").len().sort("source").iter_rows())
    test, both = _edges(config)
    left = clusters.filter(pl.col("split").is_null()).sort("source", "prompt_cluster_id")
    left = left.with_columns(place=pl.int_range(pl.len()).over("source"))
    wanted = pl.DataFrame({"source": list(sizes)}, schema={"source": pl.String})
    for name, share in (("test", test), ("validation", both - test)):
        quota = pl.DataFrame(list(_quotas(sizes, share).items()), schema={"source": pl.String, f"{name}_quota": pl.Int64}, orient="row")
        has = clusters.filter(pl.col("split") == name).group_by("source").agg(pl.len().cast(pl.Int64).alias(f"{name}_has"))
        wanted = wanted.join(quota, on="source", how="left").join(has, on="source", how="left")
    lacking = [(pl.col(f"{name}_quota") - pl.col(f"{name}_has").fill_null(0)).clip(lower_bound=0).alias(name) for name in SPLITS[1:]]
    placed = left.join(wanted.select("source", *lacking), on="source", how="left", maintain_order="left")
    in_test, held_out = pl.col("place") < pl.col("test"), pl.col("place") < pl.col("test") + pl.col("validation")
    drawn = pl.when(in_test).then(pl.lit("test")).when(held_out).then(pl.lit("validation")).otherwise(pl.lit("train"))
    new = placed.select("prompt_cluster_id", split=drawn)
    return pl.concat([assigned, new.join(assigned, on="prompt_cluster_id", how="anti")]).sort("prompt_cluster_id")


def _quotas(sizes: dict[str, int], share: Fraction) -> dict[str, int]:
    """How many of each stratum's clusters a share is, by largest remainder; among equal remainders the first by name."""
    exact = {name: size * share for name, size in sizes.items()}
    quotas = {name: int(part) for name, part in exact.items()}
    over = int(sum(exact.values(), Fraction(1, 2))) - sum(quotas.values())
    for name in sorted(exact, key=lambda one: (quotas[one] - exact[one], one))[:over]:
        quotas[name] += 1
    return quotas


def count_moves(pairs: pl.DataFrame, earlier: pl.DataFrame) -> pl.DataFrame:
    """How many prompts of one partition have another split than in the dataset's version before.

    Args:
        pairs: prompt_id, split.
        earlier: prompt_id, before: the split of then; null for prompts that only other datasets' versions know.

    Returns:
        before, split, prompts: sorted.
    """
    now = pairs.select("prompt_id", "split").unique().join(earlier.select("prompt_id", "before").drop_nulls(), on="prompt_id")
    moved = now.filter(pl.col("before") != pl.col("split")).group_by("before", "split").agg(prompts=pl.len().cast(pl.Int64))
    return moved.sort("before", "split")


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
