"""The body of every task: read one partition, call one stage, write, return places and counts.

Nothing here decides about data. Tables travel as files below the run's scratch folder; tasks exchange plain values.
"""

import functools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import embed as embedding
from pipeline import identity, ingest, ledger, pairing, rules, split, storage
from pipeline.config import EmbedConfig, PipelineConfig, SourceConfig
from pipeline.consensus.majority import majority
from pipeline.errors import UnreadableFileError
from pipeline.ingest import published
from pipeline.schemas import DROPPED, JUDGEMENT, LEDGER, PAIR, QUARANTINE
from pipeline.signals import degenerate, is_blank, lengths, similarity, text_of, votes
from pipeline.stage import BUCKETS, bucket_of, partition_buckets
from pipeline.store import Store

ROWS_IN_HAND = 50_000  # ingested judgements held before they are written out
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


@dataclass(frozen=True)
class InputFile:
    """One file of a source."""

    index: int  # position among all files of the run
    source: SourceConfig
    place: str
    name: str  # as published
    bytes: int
    rows: int | None  # read at most that many


def ingest_files(run: Run, files: list[InputFile], done: Callable[[int], None]) -> list[dict[str, Any]]:
    """Read files into identified judgements and quarantined rows, cut by partition; returns INPUT rows plus `reasons`."""
    return [_ingest_file(run, file, done) for file in files]


def _ingest_file(run: Run, file: InputFile, done: Callable[[int], None]) -> dict[str, Any]:
    if file.source.version is not None:
        return _ingest_version(run, file, done)
    about = {"source": file.source.name, "source_uri": file.name, "bytes": file.bytes, "sha256": storage.file_sha256(file.place)}
    out = _PartitionedOutput(run, file.index)
    rows = records = quarantined_rows = 0
    reasons: Counter[str] = Counter()
    try:
        layout = ingest.detect(file.place, file.name, file.source)
        for batch in ingest.read_records(file.place, file.name, file.source, run.config.criterion, file.rows):
            identified = identity.identify(batch.judgements, run.config.annotators, run.config.dataset)
            quarantined = identity.quarantine_ids(batch.quarantined)
            out.add("raw", identified, bucket_of("prompt_id"))
            out.add("quarantine", quarantined, bucket_of("record_id"))
            rows += batch.rows
            records += identified.height + quarantined.height
            quarantined_rows += quarantined.get_column("source_row").n_unique()
            reasons.update(dict(quarantined.group_by("reason").len().iter_rows()))
            done(batch.rows)
        counted = ingest.count_rows(file.place) if file.rows is None else None  # a limited run does not read to the end
    except OSError:
        out.discard()  # the task is tried again
        raise
    except UnreadableFileError as error:
        out.discard()
        why = str(error)
        place = {"source": file.source.name, "source_uri": file.name, "source_row": -1}
        row = pl.DataFrame([{**place, "reason": "unreadable_file", "field": None, "detail": why, "raw": None}], schema=ingest.QUARANTINED)
        out = _PartitionedOutput(run, file.index)
        out.add("quarantine", identity.quarantine_ids(row), bucket_of("record_id"))
        out.flush()
        nothing = {"layout": None, "rows_counted": None, "rows": 0, "records": 1, "quarantined_rows": 0}
        return {**about, **nothing, "unreadable": why, "reasons": {"unreadable_file": 1}}
    out.flush()
    return {
        **about,
        "layout": layout.name if layout else None,
        "rows_counted": counted,
        "rows": rows,
        "records": records,
        "quarantined_rows": quarantined_rows,
        "unreadable": None,
        "reasons": dict(reasons),
    }


def _ingest_version(run: Run, file: InputFile, done: Callable[[int], None]) -> dict[str, Any]:
    """One judgements file of a published version: the votes of its published pairs, with the ids they have."""
    folder = file.place.rsplit("/judgements/", 1)[0]
    out = _PartitionedOutput(run, file.index)
    rows = 0
    for votes_of_published in published.read_votes(file.place, folder, file.source.name, file.name, file.rows):
        out.add("raw", votes_of_published, bucket_of("prompt_id"))
        rows += votes_of_published.height
        done(votes_of_published.height)
    out.flush()
    counted = published.count_votes(file.place, folder)
    return {
        "source": file.source.name,
        "source_uri": file.name,
        "bytes": file.bytes,
        "sha256": storage.file_sha256(file.place),
        "layout": "version",
        "rows_counted": counted if file.rows is None else min(counted, file.rows),
        "rows": rows,
        "records": rows,
        "quarantined_rows": 0,
        "unreadable": None,
        "reasons": {},
    }


class _PartitionedOutput:
    """One file's rows, cut by bucket into one scratch folder a partition."""

    def __init__(self, run: Run, index: int) -> None:
        edges = partition_buckets(run.partitions)
        self.run, self.index = run, index
        self.partition_of = pl.Series([p for p, (first, last) in enumerate(edges) for _ in range(first, last + 1)], dtype=pl.UInt16)
        self.waiting: dict[str, list[pl.DataFrame]] = {}
        self.written: list[str] = []
        assert self.partition_of.len() == BUCKETS

    def add(self, table: str, rows: pl.DataFrame, bucket: pl.Expr) -> None:
        if rows.is_empty():
            return
        partition = pl.lit(self.partition_of).gather(bucket.cast(pl.UInt32))
        self.waiting.setdefault(table, []).append(rows.with_columns(_partition=partition))
        if sum(frame.height for frame in self.waiting[table]) >= ROWS_IN_HAND:
            self.flush()

    def flush(self) -> None:
        for table, frames in self.waiting.items():
            for (partition,), part in pl.concat(frames).partition_by("_partition", as_dict=True, include_key=False).items():
                folder = storage.join(self.run.scratch, table, f"{partition:03d}")
                self.written.append(storage.join(folder, f"{self.index:06d}-{len(self.written):06d}.parquet"))
                storage.write_table(part, self.written[-1])
        self.waiting = {}

    def discard(self) -> None:
        for place in self.written:
            storage.delete(place)


def _read_parts(run: Run, table: str, partition: int) -> pl.DataFrame | None:
    folder = storage.join(run.scratch, table, f"{partition:03d}")
    names = storage.children(folder)
    return storage.read_table([storage.join(folder, name) for name in names]) if names else None


def pair_up(run: Run, partition: int) -> dict[str, int]:
    """Number and merge judgements, then group them into pairs."""
    raw = _read_parts(run, "raw", partition)
    if raw is None:
        return {"judgements": 0, "copies": 0, "pairs": 0, "texts": 0}
    judged = identity.number_votes(raw)
    tally = pairing.pair_up(judged)
    storage.write_table(judged, run.place("judged", partition))
    storage.write_table(tally, run.place("tally", partition))
    texts = sum(tally.get_column(name).n_unique() for name in ("prompt_id", "low_id", "high_id"))
    return {"judgements": judged.height, "copies": int(judged.get_column("is_copy").sum()), "pairs": tally.height, "texts": texts}


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
    storage.write_table(pairs, run.place("pairs-0", partition))


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
    if storage.exists(run.place("judged", partition)):
        held_out = storage.read_table(storage.join(run.scratch, "held_out.parquet")).to_series()
        kept = _shape(run, storage.read_table(run.place(f"pairs-{rounds}", partition)), held_out)
        left = _read_parts(run, "left", partition)
        assert left is not None
        dropped = _shape(run, left, held_out)
        judged = storage.read_table(run.place("judged", partition)).select(JUDGEMENT.names).sort(bucket_of("prompt_id"), *_RECORD_ORDER)
        for name in ("train", "validation", "other"):
            parts[name] = kept.filter(pl.col("part") == name).select(PAIR.names)
        parts["dropped"] = dropped.select(DROPPED.names)
        parts["judgements"] = judged
        parts["ledger"] = ledger.write_up(judged, kept, dropped, quarantine)
        reasons = dict(dropped.group_by("reason").len().iter_rows())
    else:
        parts["ledger"] = ledger.write_up(_empty(JUDGEMENT), _empty(DROPPED), _empty(DROPPED), quarantine)
    schemas = {"quarantine": QUARANTINE, "dropped": DROPPED, "judgements": JUDGEMENT, "ledger": LEDGER}
    for name, table in parts.items():
        storage.write_table(table, run.place(f"out-{name}", partition), schemas.get(name, PAIR))
    return {"rows": {name: table.height for name, table in parts.items()}, "reasons": reasons}


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
