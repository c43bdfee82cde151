"""The body of every task on a partition: read it, call one stage, write, return places and counts.

Nothing here decides about data. Tables travel as files below the run's scratch folder; tasks exchange plain values.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa

from flows import remembered, vectors
from pipeline import embed as embedding
from pipeline import identity, pairing, rating_pairs, rules, split, storage
from pipeline.ches.encoder import add_ches_encoder
from pipeline.config import EmbedConfig, PipelineConfig, RatingsConfig
from pipeline.consensus.votes import votes_of
from pipeline.dedup import clusters
from pipeline.dedup.keys import keys_of
from pipeline.noise import review
from pipeline.schemas import CHES_SIGNALS, CONTENT_SIGNALS, JUDGEMENT, PAIR, RATIONALE_SIGNALS
from pipeline.signals import degenerate, equivalence, language, lengths, personal, repeats, similarity, style, truncation, votes
from pipeline.stage import partition_buckets
from pipeline.store import Store
from pipeline.texts import add_text_ids

_EDGES = {"left": pl.String, "right": pl.String}
_VOTE = [name for name in JUDGEMENT.names if name not in ("merged_into", "merged_a")]  # what is known before near duplicates are merged


@dataclass(frozen=True)
class Run:
    """What every step needs to know: the config, where to work, and how the 256 buckets are cut."""

    config: PipelineConfig
    dataset: str
    scratch: str
    store: str
    partitions: int
    limit: int | None = None  # rows of each file

    def place(self, table: str, partition: int) -> str:
        """A partition's file of one scratch table."""
        return storage.join(self.scratch, table, f"{partition:03d}{storage.SCRATCH}")

    def whole(self, table: str) -> str:
        """The file of a scratch table of the whole data set."""
        return storage.join(self.scratch, f"{table}{storage.SCRATCH}")

    def buckets(self, partition: int) -> tuple[int, int]:
        """First and last bucket of a partition."""
        return partition_buckets(self.partitions)[partition]

    def name(self, partition: int) -> str:
        """How a person reads a partition: its buckets."""
        first, last = self.buckets(partition)
        return f"buckets {first:02x}-{last:02x}"


def read_each(run: Run, table: str, partitions: list[int]) -> list[pl.DataFrame]:
    """One scratch table of several partitions, each by itself."""
    return [storage.read_table(run.place(table, p)) for p in partitions]


def read_parts(run: Run, table: str, partition: int, columns: list[str] | None = None) -> pl.DataFrame | None:
    """All files of one scratch table of a partition; None where there are none."""
    folder = storage.join(run.scratch, table, f"{partition:03d}")
    names = storage.children(folder)
    return storage.read_table([storage.join(folder, name) for name in names], columns) if names else None


def _moved(run: Run) -> pl.DataFrame:
    """The votes that published versions count in another pair than the one they were given on."""
    folder = storage.join(run.scratch, "moved")
    none = pl.DataFrame(schema=dict.fromkeys(("judgement_id", "merged_into", "response_a_id", "merged_a", "merged_b"), pl.String))
    return pl.concat([none, *(storage.read_table(storage.join(folder, name)) for name in storage.children(folder))])


def reduce_scales(run: Run, inputs: list[dict[str, Any]]) -> None:
    """The scale of every source's ratings, over all its files."""
    parts = [pl.DataFrame(row["scales"], schema=rating_pairs.SCALES) for row in inputs]
    scales = rating_pairs.join_scales(parts)
    rating_pairs.check_criteria(scales, _ratings_configs(run))
    storage.write_table(scales, run.whole("scales"))


def _ratings_configs(run: Run) -> dict[str, RatingsConfig]:
    return {source.name: source.ratings for source in run.config.sources}


def pair_up(run: Run, partition: int) -> dict[str, int]:
    """Number and merge records, derive judgements from ratings, group all into pairs, and say what near duplicates are searched by."""
    raw, rated = read_parts(run, "raw", partition), read_parts(run, "rated", partition)
    counts = dict.fromkeys(("records", "copies", "ratings", "unused", "pairs", "texts"), 0)
    if raw is None and rated is None:
        return counts
    judged = empty(JUDGEMENT).select(_VOTE) if raw is None else identity.number_votes(raw).select(_VOTE)
    counts |= {"records": judged.height, "copies": int(judged.get_column("is_copy").sum())}
    if rated is not None:
        ratings = rating_pairs.add_scales(identity.number_ratings(rated), storage.read_table(run.whole("scales")), _ratings_configs(run))
        derived = rating_pairs.judgements_from_ratings(ratings, _ratings_configs(run), run.config.criterion)
        # A published version may hold as a stated judgement what its ratings, given again, lead to.
        again = pl.col("judgement_id").is_in(judged.get_column("judgement_id").unique().implode())
        votes = identity.identify_derived(derived.judgements).with_columns(is_copy=pl.col("is_copy") | again)
        judged = pl.concat([judged, votes.select(_VOTE)])
        storage.write_table(ratings, run.place("ratings", partition))
        storage.write_table(derived.unused, run.place("unused", partition))
        counts["records"] += ratings.height
        counts["copies"] += int(ratings.get_column("is_copy").sum())
        counts |= {"ratings": ratings.height, "unused": derived.unused.height}
    judged = pairing.mark_moved(judged, _moved(run))
    tally, texts = add_text_ids(pairing.pair_up(judged))
    storage.write_table(judged, run.place("judged", partition))
    storage.write_table(tally, run.place("tally", partition))
    storage.write_table(texts, run.place("texts", partition))
    distinct = texts.unique("text_id", keep="first", maintain_order=True)  # the same bucket every time, so that it is found there again
    storage.write_table(votes_of(judged, pairing.b_is_low()), run.place("votes", partition))
    storage.write_table(keys_of(pairing.by_sources(tally, judged)), run.place("keys", partition))
    storage.write_table(remembered.signatures(run.store, distinct, run.config.deduplicate.shingles), run.place("bands", partition))
    return counts | {"pairs": tally.height, "texts": texts.height}


@functools.cache
def encoder(config: EmbedConfig) -> embedding.Encoder:
    """The embedding model, loaded once a process."""
    return embedding.load_encoder(config)


def embed(run: Run, partition: int, done: Callable[[int], None]) -> int:
    """Embed what the store does not have yet; how many texts that were."""
    texts = storage.read_table(run.place("texts", partition))
    return vectors.embed_missing(Store(run.store), encoder(run.config.embed), texts, done)


def compact_embeddings(run: Run) -> int:
    """Join small files of what is kept by text or pair: every run adds one a partition. Returns how many."""
    model = encoder(run.config.embed)
    joined = remembered.compact(run.store, model, tokenizer(run.config), run.config.deduplicate.shingles)
    return joined + Store(run.store).compact(vectors.EMBEDDINGS, model.fingerprint)


def summarise(run: Run, partition: int, pairs: pl.DataFrame) -> int:
    """What the global parts of later stages need from a partition's pairs with `chosen` and `rejected`.

    Returns:
        How many pairs have a label and go on: those that peers may learn from.
    """
    pairs = split.add_cluster(pairs)
    storage.write_table(pairs, run.place("decided", partition))
    storage.write_table(repeats.summarise_repeats(pairs), run.place("repeats", partition))
    storage.write_table(repeats.summarise_given(pairs), run.place("given", partition))
    storage.write_table(split.summarise_prompts(pairs), run.place("prompts", partition))
    return pairs.filter(~pl.col("tie") & pl.col("left_stage").is_null()).height


def reduce_summaries(run: Run, partitions: list[int]) -> None:
    """Repeated answers, and prompts that are one cluster, of the whole data set."""

    def parts(table: str) -> list[pl.DataFrame]:
        return read_each(run, table, partitions)

    prompts = pl.concat([pl.DataFrame(schema={"prompt_cluster_id": pl.String, "prompt_text": pl.String}), *parts("prompts")])
    by_nearness = partitions and run.config.publish.split_by == "near_prompts"
    near = storage.read_table(run.whole("near-prompt")) if by_nearness else pl.DataFrame(schema=_EDGES)
    joined = clusters.prompt_clusters(prompts, near)
    storage.write_table(joined, run.whole("joined"))
    repeated, given = ([split.join_clusters(part, joined) for part in parts(table)] for table in ("repeats", "given"))
    storage.write_table(repeats.reduce_repeats(repeated), run.whole("repeats"))
    copies = storage.read_table(run.whole("near-answer")) if partitions else pl.DataFrame(schema=_EDGES)
    for name, table in zip(("near-repeats", "distinct-shares"), repeats.reduce_given(given, copies), strict=True):
        storage.write_table(table, run.whole(name))


def add_signals(run: Run, partition: int, pairs: pl.DataFrame, learnable: int) -> None:
    """Every other signal of a partition's pairs that needs no other partition's; `learnable`: pairs of all that peers may learn from."""
    pairs = split.join_clusters(pairs, storage.read_table(run.whole("joined")))
    texts = storage.read_table(run.place("texts", partition), ["text_id"]).to_series()
    model = encoder(run.config.embed)
    index, embedded = vectors.needed(Store(run.store), model, texts, *run.buckets(partition))
    pairs = lengths.add_lengths(pairs, index.select("text_id", "tokens"))
    pairs = equivalence.add_equivalence(similarity.add_cosines(pairs, index, embedded))
    pairs = remembered.add_bmas(run.store, pairs, model)
    if run.config.signals.ches.backend == "none":
        pairs = without(pairs, CHES_SIGNALS["backend: encoder"])
    else:
        pairs = add_ches_encoder(pairs, index, embedded)
    pairs = degenerate.add_degenerate(votes.add_votes(pairs))
    pairs = style.add_length_percentiles(style.add_style(pairs))
    rows = review.rows_of(pairs, index)
    pairs = review.add_siblings(pairs, embedded, rows)
    learnt = review.sample(pairs, embedded, rows, learnable)
    storage.write_table(learnt, run.place("peer-sample", partition))
    content = run.config.content
    pairs = remembered.add_token_counts(run.store, pairs, tokenizer(run.config))
    pairs = truncation.add_identical_lengths(pairs, content.truncation.lengths)
    pairs = repeats.add_repeats(pairs, storage.read_table(run.whole("repeats")))
    pairs = repeats.add_near_repeats(pairs, storage.read_table(run.whole("near-repeats")))
    pairs = repeats.add_distinct_shares(pairs, storage.read_table(run.whole("distinct-shares")))
    pairs = language.add_language(pairs) if content.language else without(pairs, CONTENT_SIGNALS["language"])
    pairs = personal.add_personal(pairs) if content.personal else without(pairs, CONTENT_SIGNALS["personal"])
    storage.write_table(without(pairs, [*RATIONALE_SIGNALS, PAIR.field("rationale")]), run.place("signals", partition))


@functools.cache
def _tokenizer(name: str) -> remembered.Tokenizer:
    return embedding.load_tokenizer(name)


def tokenizer(config: PipelineConfig) -> remembered.Tokenizer:
    """What counts the tokens that a trainer cuts at: the configured tokenizer, loaded once a process, or the embedding model's."""
    name = config.content.truncation.tokenizer
    return encoder(config.embed) if name is None else _tokenizer(name)


def without(pairs: pl.DataFrame, signals: list["pa.Field[Any]"]) -> pl.DataFrame:
    """Pairs with nulls for signals that the config does not ask for."""
    return pl.concat([pairs, empty(pa.schema(signals))], how="diagonal")


def apply_rules(run: Run, partition: int, group: list[rules.Rule], step: int, found: rules.Found) -> None:
    """One round of rules: what survives goes to the next round, what leaves is kept apart. Can be run again."""
    pairs = storage.read_table(run.place(f"pairs-{step}", partition))
    result = rules.apply_global(pairs, group[0], found) if group[0].is_global else rules.apply_local(pairs, group)
    storage.write_table(result.kept, run.place(f"pairs-{step + 1}", partition))
    storage.write_table(result.dropped, storage.join(run.scratch, "left", f"{partition:03d}", f"{step:03d}{storage.SCRATCH}"))


def compare_all(run: Run, partitions: list[int], step: int, rule: rules.Rule) -> rules.Found:
    """Where a rule that compares all pairs cuts."""
    places = [run.place(f"pairs-{step}", p) for p in partitions]
    return rules.reduce([rules.summarise(storage.read_table(place), rule) for place in places], rule)


def empty(schema: pa.Schema) -> pl.DataFrame:
    """A table without rows."""
    frame = pl.from_arrow(schema.empty_table())
    assert isinstance(frame, pl.DataFrame)
    return frame
