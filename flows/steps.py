"""The body of every task on a partition: read it, call one stage, write, return places and counts.

Nothing here decides about data. Tables travel as files below the run's scratch folder; tasks exchange plain values.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import embed as embedding
from pipeline import identity, ledger, pairing, rating_pairs, rules, split, storage
from pipeline.config import EmbedConfig, PipelineConfig, RatingsConfig
from pipeline.consensus.majority import majority
from pipeline.schemas import CONTENT_SIGNALS, DROPPED, JUDGEMENT, LEDGER, PAIR, QUARANTINE, RATING
from pipeline.signals import degenerate, is_blank, language, lengths, personal, similarity, text_of, votes
from pipeline.stage import bucket_of, partition_buckets
from pipeline.store import Store

TEXTS_AT_ONCE = 4_096  # embedded between two writes to the store: what a killed run loses at most
EMBEDDINGS = "embeddings"


@dataclass(frozen=True)
class Run:
    """What every step needs to know: the config, where to work, and how the 256 buckets are cut."""

    config: PipelineConfig
    scratch: str
    store: str
    partitions: int
    limit: int | None = None  # rows of each file

    def place(self, table: str, partition: int) -> str:
        """A partition's file of one scratch table."""
        return storage.join(self.scratch, table, f"{partition:03d}.parquet")

    def buckets(self, partition: int) -> tuple[int, int]:
        """First and last bucket of a partition."""
        return partition_buckets(self.partitions)[partition]

    def name(self, partition: int) -> str:
        """How a person reads a partition: its buckets."""
        first, last = self.buckets(partition)
        return f"buckets {first:02x}-{last:02x}"


def _read_parts(run: Run, table: str, partition: int) -> pl.DataFrame | None:
    folder = storage.join(run.scratch, table, f"{partition:03d}")
    names = storage.children(folder)
    return storage.read_table([storage.join(folder, name) for name in names]) if names else None


def reduce_scales(run: Run, inputs: list[dict[str, Any]]) -> None:
    """The scale of every source's ratings, over all its files."""
    parts = [pl.DataFrame(row["scales"], schema=rating_pairs.SCALES) for row in inputs]
    scales = rating_pairs.join_scales(parts)
    rating_pairs.check_criteria(scales, _ratings_configs(run))
    storage.write_table(scales, storage.join(run.scratch, "scales.parquet"))


def _ratings_configs(run: Run) -> dict[str, RatingsConfig]:
    return {source.name: source.ratings for source in run.config.sources}


def pair_up(run: Run, partition: int) -> dict[str, int]:
    """Number and merge records, derive judgements from ratings, then group all judgements into pairs."""
    raw, rated = _read_parts(run, "raw", partition), _read_parts(run, "rated", partition)
    counts = dict.fromkeys(("records", "copies", "ratings", "unused", "pairs", "texts"), 0)
    if raw is None and rated is None:
        return counts
    judged = _empty(JUDGEMENT) if raw is None else identity.number_votes(raw).select(JUDGEMENT.names)
    counts |= {"records": judged.height, "copies": int(judged.get_column("is_copy").sum())}
    if rated is not None:
        ratings = rating_pairs.add_scales(
            identity.number_ratings(rated), storage.read_table(storage.join(run.scratch, "scales.parquet")), _ratings_configs(run)
        )
        derived = rating_pairs.judgements_from_ratings(ratings, _ratings_configs(run), run.config.criterion)
        # A published version may hold as a stated judgement what its ratings, given again, lead to.
        again = pl.col("judgement_id").is_in(judged.get_column("judgement_id").unique().implode())
        votes = identity.identify_derived(derived.judgements).with_columns(is_copy=pl.col("is_copy") | again)
        judged = pl.concat([judged, votes.select(JUDGEMENT.names)])
        storage.write_table(ratings, run.place("ratings", partition))
        storage.write_table(derived.unused, run.place("unused", partition))
        counts["records"] += ratings.height
        counts["copies"] += int(ratings.get_column("is_copy").sum())
        counts |= {"ratings": ratings.height, "unused": derived.unused.height}
    tally = pairing.pair_up(judged)
    storage.write_table(judged, run.place("judged", partition))
    storage.write_table(tally, run.place("tally", partition))
    texts = sum(tally.get_column(name).n_unique() for name in ("prompt_id", "low_id", "high_id"))
    return counts | {"pairs": tally.height, "texts": texts}


@functools.cache
def encoder(config: EmbedConfig) -> embedding.Encoder:
    """The embedding model, loaded once a process."""
    return embedding.load_encoder(config)


def _texts(run: Run, partition: int) -> pl.DataFrame:
    """The texts to embed of a partition: text_id, bucket (the prompt's), text; blank ones left out."""
    tally = storage.read_table(run.place("tally", partition), ["prompt_id", "low_id", "high_id", "prompt", "low", "high"])
    columns = [("prompt_id", "prompt"), ("low_id", "low"), ("high_id", "high")]
    parts = [tally.select(text_id=pl.col(key), bucket=bucket_of("prompt_id"), text=text_of(messages)) for key, messages in columns]
    texts = pl.concat(parts).filter(~is_blank(pl.col("text")))
    return texts.unique(["bucket", "text_id"]).sort("bucket", "text_id")


def embed(run: Run, partition: int, done: Callable[[int], None]) -> dict[str, int]:
    """Embed what the store does not have yet."""
    texts = _texts(run, partition)
    model = encoder(run.config.embed)
    store = Store(run.store)
    missing = embedding.missing_texts(texts, store.keys(EMBEDDINGS, model.fingerprint, *run.buckets(partition)))
    done(texts.height - missing.height)
    for start in range(0, missing.height, TEXTS_AT_ONCE):
        part = missing.slice(start, TEXTS_AT_ONCE)
        store.write(EMBEDDINGS, model.fingerprint, embedding.encode_table(part, model, done))
        done(part.height - part.get_column("text_id").n_unique())  # texts under two prompts are encoded once
    return {"texts": texts.height, "embedded": missing.height}


def decide(run: Run, partition: int) -> None:
    """Votes to chosen and rejected; what the global parts of later stages need from this partition."""
    pairs = split.add_cluster(majority(storage.read_table(run.place("tally", partition)), run.config.consensus))
    storage.write_table(pairs, run.place("decided", partition))
    storage.write_table(degenerate.summarise_repeats(pairs), run.place("repeats", partition))
    storage.write_table(split.summarise_held_out(pairs).to_frame(), run.place("held_out", partition))


def reduce_summaries(run: Run, partitions: list[int]) -> None:
    """Repeated answers and held-out clusters of the whole data set."""
    repeats = degenerate.reduce_repeats([storage.read_table(run.place("repeats", p)) for p in partitions])
    held_out = split.reduce_held_out([storage.read_table(run.place("held_out", p)).to_series() for p in partitions])
    storage.write_table(repeats, storage.join(run.scratch, "repeats.parquet"))
    storage.write_table(held_out.to_frame(), storage.join(run.scratch, "held_out.parquet"))


def add_signals(run: Run, partition: int) -> None:
    """Every signal of a partition's pairs."""
    pairs = storage.read_table(run.place("decided", partition))
    tokens, index, vectors = _vectors(run, partition)
    pairs = lengths.add_lengths(pairs, tokens)
    pairs = similarity.add_cosines(pairs, index, vectors)
    pairs = degenerate.add_degenerate(votes.add_votes(pairs))
    pairs = degenerate.add_repeats(pairs, storage.read_table(storage.join(run.scratch, "repeats.parquet")))
    content = run.config.content
    pairs = language.add_language(pairs) if content.language else _without(pairs, "language")
    pairs = personal.add_personal(pairs) if content.personal else _without(pairs, "personal")
    storage.write_table(pairs, run.place("pairs-0", partition))


def _without(pairs: pl.DataFrame, family: str) -> pl.DataFrame:
    """Pairs with nulls for the signals of a family that the config switches off."""
    return pl.concat([pairs, _empty(pa.schema(CONTENT_SIGNALS[family]))], how="diagonal")


def _vectors(run: Run, partition: int) -> tuple[pl.DataFrame, pl.DataFrame, Any]:
    """Token counts (text_id, tokens; 0 for blank texts), row numbers (text_id, index) and the fp16 vectors."""
    model = encoder(run.config.embed)
    table = Store(run.store).read(EMBEDDINGS, model.fingerprint, *run.buckets(partition), embedding.embedding_schema(model.dimensions))
    wanted = _texts(run, partition)
    ids = wanted.get_column("text_id").unique().sort().to_arrow()
    table = table.filter(pc.is_in(table.column("key"), value_set=ids.cast(pa.string())))
    # A text that sits under two prompts of the partition is stored in both buckets, with the same vector.
    index = pl.DataFrame({"text_id": table.column("key").to_pylist(), "tokens": table.column("tokens").to_pylist()}).with_row_index("index")
    index = index.unique("text_id", keep="first", maintain_order=True)
    tally = storage.read_table(run.place("tally", partition), ["low_id", "high_id"])
    every = pl.concat([tally.select(text_id="low_id"), tally.select(text_id="high_id")]).unique()
    blank = every.join(wanted, on="text_id", how="anti").with_columns(tokens=pl.lit(0, pl.Int64))
    tokens = pl.concat([index.select("text_id", pl.col("tokens").cast(pl.Int64)), blank])
    return tokens, index.select("text_id", pl.col("index").cast(pl.Int64)), embedding.vectors_of(table)


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


def write_up(run: Run, partition: int, rounds: int) -> dict[str, Any]:
    """Split, shape and account for a partition: the tables of the version, in their final order."""
    unread = _read_parts(run, "quarantine", partition)
    quarantine = _empty(QUARANTINE) if unread is None else unread.select(QUARANTINE.names)
    quarantine = quarantine.sort("record_id", "source", "source_uri", "source_row")
    parts: dict[str, pl.DataFrame] = {"quarantine": quarantine}
    reasons: dict[str, int] = {}
    judged = _read_scratch(run, "judged", partition, JUDGEMENT).sort(bucket_of("prompt_id"), *_RECORD_ORDER)
    ratings = _read_scratch(run, "ratings", partition, RATING)
    ratings = ratings.sort(bucket_of("prompt_id"), "rating_id", *_RECORD_ORDER[1:], maintain_order=True)
    unused = _read_scratch(run, "unused", partition, rating_pairs.UNUSED)
    kept = dropped = _empty(DROPPED)
    if storage.exists(run.place(f"pairs-{rounds}", partition)):
        held_out = storage.read_table(storage.join(run.scratch, "held_out.parquet")).to_series()
        kept = _shape(run, storage.read_table(run.place(f"pairs-{rounds}", partition)), held_out)
        left = _read_parts(run, "left", partition)
        assert left is not None
        dropped = _shape(run, left, held_out)
        for name in ("train", "validation", "other"):
            parts[name] = kept.filter(pl.col("part") == name).select(PAIR.names)
        parts["dropped"] = dropped.select(DROPPED.names)
        reasons = dict(dropped.group_by("reason").len().iter_rows())
    parts |= {"judgements": judged, "ratings": ratings}
    parts["ledger"] = ledger.write_up(judged, ratings, unused, kept, dropped, quarantine)
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
