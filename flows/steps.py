"""The body of every task on a partition: read it, call one stage, write, return places and counts.

Nothing here decides about data. Tables travel as files below the run's scratch folder; tasks exchange plain values.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa

from flows import vectors
from pipeline import embed as embedding
from pipeline import identity, ledger, pairing, rating_pairs, rules, split, storage
from pipeline.config import EmbedConfig, PipelineConfig, RatingsConfig
from pipeline.consensus.majority import majority
from pipeline.dedup import clusters, lexical, merging
from pipeline.dedup.keys import keys_of
from pipeline.schemas import CONTENT_SIGNALS, DROPPED, JUDGEMENT, LEDGER, PAIR, QUARANTINE, RATING
from pipeline.signals import degenerate, equivalence, language, lengths, personal, repeats, similarity, votes
from pipeline.stage import bucket_of, partition_buckets
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
        return storage.join(self.scratch, table, f"{partition:03d}.parquet")

    def whole(self, table: str) -> str:
        """The file of a scratch table of the whole data set."""
        return storage.join(self.scratch, f"{table}.parquet")

    def buckets(self, partition: int) -> tuple[int, int]:
        """First and last bucket of a partition."""
        return partition_buckets(self.partitions)[partition]

    def name(self, partition: int) -> str:
        """How a person reads a partition: its buckets."""
        first, last = self.buckets(partition)
        return f"buckets {first:02x}-{last:02x}"


def _read_parts(run: Run, table: str, partition: int, columns: list[str] | None = None) -> pl.DataFrame | None:
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
    raw, rated = _read_parts(run, "raw", partition), _read_parts(run, "rated", partition)
    counts = dict.fromkeys(("records", "copies", "ratings", "unused", "pairs", "texts"), 0)
    if raw is None and rated is None:
        return counts
    judged = _empty(JUDGEMENT).select(_VOTE) if raw is None else identity.number_votes(raw).select(_VOTE)
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
    distinct = texts.unique("text_id", keep="any")
    storage.write_table(keys_of(tally), run.place("keys", partition))
    storage.write_table(lexical.signatures(distinct, run.config.deduplicate.shingles), run.place("bands", partition))
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
    """Join small files of embeddings: every run adds one a partition. Returns how many."""
    return Store(run.store).compact(vectors.EMBEDDINGS, encoder(run.config.embed).fingerprint)


def decide(run: Run, partition: int) -> None:
    """Votes to chosen and rejected; what the global parts of later stages need from this partition."""
    pairs = split.add_cluster(majority(storage.read_table(run.place("marked", partition)), run.config.consensus))
    storage.write_table(pairs, run.place("decided", partition))
    storage.write_table(repeats.summarise_repeats(pairs), run.place("repeats", partition))
    storage.write_table(repeats.summarise_given(pairs), run.place("given", partition))
    storage.write_table(split.summarise_held_out(pairs).to_frame(), run.place("held_out", partition))
    storage.write_table(split.summarise_prompts(pairs), run.place("prompts", partition))


def reduce_summaries(run: Run, partitions: list[int]) -> None:
    """Repeated answers, prompts that are one cluster, and held-out clusters of the whole data set."""

    def parts(table: str) -> list[pl.DataFrame]:
        return [storage.read_table(run.place(table, p)) for p in partitions]

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
    storage.write_table(split.reduce_held_out([part.to_series() for part in parts("held_out")], joined).to_frame(), run.whole("held_out"))


def add_signals(run: Run, partition: int) -> None:
    """Every signal of a partition's pairs."""
    pairs = split.join_clusters(storage.read_table(run.place("decided", partition)), storage.read_table(run.whole("joined")))
    texts = storage.read_table(run.place("texts", partition), ["text_id"]).to_series()
    model = encoder(run.config.embed)
    index, embedded = vectors.needed(Store(run.store), model, texts, *run.buckets(partition))
    pairs = lengths.add_lengths(pairs, index.select("text_id", "tokens"))
    pairs = equivalence.add_equivalence(similarity.add_cosines(pairs, index, embedded))
    pairs = equivalence.add_bmas(pairs, model)
    pairs = degenerate.add_degenerate(votes.add_votes(pairs))
    pairs = repeats.add_repeats(pairs, storage.read_table(run.whole("repeats")))
    pairs = repeats.add_near_repeats(pairs, storage.read_table(run.whole("near-repeats")))
    pairs = repeats.add_distinct_shares(pairs, storage.read_table(run.whole("distinct-shares")))
    content = run.config.content
    pairs = language.add_language(pairs) if content.language else _without(pairs, "language")
    pairs = personal.add_personal(pairs) if content.personal else _without(pairs, "personal")
    parted = merging.take_absorbed(pairs)
    storage.write_table(parted.kept, run.place("pairs-0", partition))
    storage.write_table(parted.dropped, storage.join(run.scratch, "left", f"{partition:03d}", "stages.parquet"))


def _without(pairs: pl.DataFrame, family: str) -> pl.DataFrame:
    """Pairs with nulls for the signals of a family that the config switches off."""
    return pl.concat([pairs, _empty(pa.schema(CONTENT_SIGNALS[family]))], how="diagonal")


def apply_rules(run: Run, partition: int, group: list[rules.Rule], step: int, cutoff: rules.Cutoff | None) -> None:
    """One round of rules: what survives goes to the next round, what leaves is kept apart. Can be run again."""
    pairs = storage.read_table(run.place(f"pairs-{step}", partition))
    result = rules.apply_share(pairs, group[0], cutoff) if group[0].is_share else rules.apply_local(pairs, group)
    storage.write_table(result.kept, run.place(f"pairs-{step + 1}", partition))
    storage.write_table(result.dropped, storage.join(run.scratch, "left", f"{partition:03d}", f"{step:03d}.parquet"))


def share_cutoff(run: Run, partitions: list[int], step: int, rule: rules.Rule) -> rules.Cutoff | None:
    """Where a share rule cuts, over all partitions."""
    places = [run.place(f"pairs-{step}", p) for p in partitions]
    return rules.reduce_share([rules.summarise_share(storage.read_table(place), rule) for place in places], rule)


def gather_fates(run: Run, partitions: list[int], rounds: int) -> None:
    """What became of the pairs that count the votes of others, over all partitions."""
    parts = [ledger.fates_of(_empty(DROPPED), _empty(DROPPED))]
    counted = storage.read_table(run.whole("merges")).get_column("merged_into").unique() if partitions else pl.Series(dtype=pl.String)
    for partition in partitions:
        left = _read_parts(run, "left", partition, ["pair_id", *ledger.WHY, "witness_pair_id"])
        assert left is not None
        fates = ledger.fates_of(storage.read_table(run.place(f"pairs-{rounds}", partition), ["pair_id"]), left)
        parts.append(fates.filter(pl.col("pair_id").is_in(counted.implode())))
    storage.write_table(pl.concat(parts), run.whole("fates"))


def write_up(run: Run, partition: int, rounds: int) -> dict[str, Any]:
    """Split, shape and account for a partition: the tables of the version, in their final order."""
    unread = _read_parts(run, "quarantine", partition)
    quarantine = _empty(QUARANTINE) if unread is None else unread.select(QUARANTINE.names)
    quarantine = quarantine.sort("record_id", "source", "source_uri", "source_row")
    parts: dict[str, pl.DataFrame] = {"quarantine": quarantine}
    reasons: dict[str, int] = {}
    judged = _read_scratch(run, "judged", partition, JUDGEMENT).sort(bucket_of("prompt_id"), *_RECORD_ORDER)
    if storage.exists(run.whole("counted")):  # not where no partition has a pair
        judged = pairing.mark_merged(judged, storage.read_table(run.whole("counted")))
    ratings = _read_scratch(run, "ratings", partition, RATING)
    ratings = ratings.sort(bucket_of("prompt_id"), "rating_id", *_RECORD_ORDER[1:], maintain_order=True)
    unused = _read_scratch(run, "unused", partition, rating_pairs.UNUSED)
    kept = dropped = _empty(DROPPED)
    if storage.exists(run.place(f"pairs-{rounds}", partition)):
        held_out = storage.read_table(run.whole("held_out")).to_series()
        kept = _shape(run, storage.read_table(run.place(f"pairs-{rounds}", partition)), held_out)
        left = _read_parts(run, "left", partition)
        assert left is not None
        dropped = _shape(run, left, held_out)
        for name in ("train", "validation", "other"):
            parts[name] = kept.filter(pl.col("part") == name).select(PAIR.names)
        parts["dropped"] = dropped.select(DROPPED.names)
        reasons = dict(dropped.group_by("reason").len().iter_rows())
    parts |= {"judgements": judged, "ratings": ratings}
    parts["ledger"] = ledger.write_up(judged, ratings, unused, kept, dropped, quarantine, storage.read_table(run.whole("fates")))
    schemas = {"quarantine": QUARANTINE, "dropped": DROPPED, "judgements": JUDGEMENT, "ratings": RATING, "ledger": LEDGER}
    for name, table in parts.items():
        storage.write_table(table, run.place(f"out-{name}", partition), schemas.get(name, PAIR))
    return {"rows": {name: table.height for name, table in parts.items()}, "reasons": reasons}


def _read_scratch(run: Run, table: str, partition: int, schema: pa.Schema) -> pl.DataFrame:
    """A partition's file of one scratch table; no rows where it has none."""
    place = run.place(table, partition)
    return storage.read_table(place, schema.names) if storage.exists(place) else _empty(schema)


def _empty(schema: pa.Schema) -> pl.DataFrame:
    frame = pl.from_arrow(schema.empty_table())
    assert isinstance(frame, pl.DataFrame)
    return frame


_RECORD_ORDER = ("judgement_id", "source", "source_uri", "source_row")


def _shape(run: Run, pairs: pl.DataFrame, held_out: pl.Series) -> pl.DataFrame:
    """The columns of PAIR that come last, and the published order."""
    rationale = pl.Struct({"text": pl.String, "kind": pl.String, "generator": pl.String})
    pairs = split.assign_part(split.assign_split(pairs, run.config.publish, held_out))
    return pairs.with_columns(noise_score=pl.lit(None, pl.Float64), rationale=pl.lit(None, rationale)).sort("prompt_id", "pair_id")
