"""The body of every task: read one partition, call one stage, write, return places and counts.

Nothing here decides about data. Tables travel as files below the run's scratch folder; tasks exchange plain values.
"""

import functools
import itertools
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from flows import joining
from pipeline import embed as embedding
from pipeline import identity, ingest, ledger, masking, pairing, rating_pairs, rules, split, storage
from pipeline.config import EmbedConfig, PipelineConfig, RatingsConfig, SourceConfig
from pipeline.consensus.majority import majority
from pipeline.errors import LayoutError, UnreadableFileError
from pipeline.ingest import JoinedFile, Joins, published
from pipeline.schemas import DROPPED, JUDGEMENT, LEDGER, PAIR, QUARANTINE, RATING
from pipeline.signals import degenerate, is_blank, language, lengths, personal, similarity, text_of, votes
from pipeline.stage import BUCKETS, bucket_of, partition_buckets
from pipeline.store import Store

ROWS_IN_HAND = 50_000  # ingested rows of a table held before they are written out
BYTES_IN_HAND = 64 << 20  # and their bytes, where rows are long
TEXTS_AT_ONCE = 4_096  # embedded between two writes to the store: what a killed run loses at most
EMBEDDINGS = "embeddings"
# What is kept of identified records until they are numbered.
IDENTIFIED = [*(name for name in JUDGEMENT.names if name not in ("judgement_id", "is_copy", "derived_from")), "base_id", "vote_layout"]
RATED = [name for name in RATING.names if name != "is_copy"]


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
    layout: str | None = None  # as detected
    refused: str | None = None  # why no layout could be
    joined: tuple[tuple[JoinedFile, ...], ...] = ()  # for each `join:` of the source, its files


def detect_layouts(files: list[InputFile], done: Callable[[int], None]) -> list[InputFile]:
    """The files with their layouts, or why they have none. One that cannot be read has neither: ingest will say so."""
    found: list[InputFile] = []
    for mine in _by_source(files):
        with ExitStack() as stack:
            try:
                joined = stack.enter_context(ingest.open_joins(mine[0].source, mine[0].joined))
            except UnreadableFileError:
                found += mine
            else:
                found += [_detect_layout(file, joined) for file in mine]
        done(len(mine))
    return found


def _by_source(files: list[InputFile]) -> list[list[InputFile]]:
    return [list(some) for _, some in itertools.groupby(files, key=lambda file: file.source.name)]


def _detect_layout(file: InputFile, joined: Joins) -> InputFile:
    if file.source.version is not None:
        return file
    try:
        layout = ingest.detect(file.place, file.name, file.source, joined)
    except LayoutError as error:
        return replace(file, refused=str(error))
    except UnreadableFileError:
        return file
    return replace(file, layout=layout.name if layout else None)


def ingest_files(
    run: Run, files: list[InputFile], done: Callable[[int], None]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Read files into identified records and quarantined rows, cut by partition.

    Returns:
        INPUT rows plus `reasons` (quarantined records by reason) and `scales` (rows of `pipeline.rating_pairs.SCALES`); and
        what was asked for of the joined files, as `flows.joining.account_joined` takes it.
    """
    inputs: list[dict[str, Any]] = []
    asked: list[dict[str, Any]] = []
    for mine in _by_source(files):
        source = mine[0].source
        with ExitStack() as stack:
            try:
                joined = stack.enter_context(ingest.open_joins(source, mine[0].joined))
            except UnreadableFileError as error:
                inputs += [_unreadable(run, file, f"{file.name} needs a file that it is joined to. {error}") for file in mine]
                asked += joining.unread_rows(mine[0].joined, source.name, str(error))
                continue
            inputs += [_ingest_file(run, file, joined, done) for file in mine]
            asked += joining.used_rows(joined, source.name, run.scratch, mine[0].index)
    return inputs, asked


def _about(file: InputFile) -> dict[str, Any]:
    known = {"source": file.source.name, "source_uri": file.name, "role": "records", "bytes": file.bytes}
    return {**known, "sha256": None, "unused_rows": None}


def _unreadable(run: Run, file: InputFile, why: str) -> dict[str, Any]:
    """One quarantined row for a whole file."""
    place = {"source": file.source.name, "source_uri": file.name, "source_row": -1}
    about_it = {**place, "reason": "unreadable_file", "field": None, "detail": why, "raw": None}
    row = masking.mask(pl.DataFrame([about_it], schema=ingest.QUARANTINED), run.config.content.mask).drop("_masked")
    out = _PartitionedOutput(run, file.index)
    out.add("quarantine", identity.quarantine_ids(row), bucket_of("record_id"))
    out.flush()
    nothing = {"layout": None, "rows_counted": None, "rows": 0, "records": 1, "ratings": 0, "quarantined_rows": 0}
    return {**_about(file), **nothing, "unreadable": row.item(0, "detail"), "reasons": {"unreadable_file": 1}, "scales": []}


def _ingest_file(run: Run, file: InputFile, joined: Joins, done: Callable[[int], None]) -> dict[str, Any]:
    if file.source.version is not None:
        return _ingest_version(run, file, done)
    about = _about(file)
    out = _PartitionedOutput(run, file.index)
    rows = records = ratings = quarantined_rows = 0
    reasons: Counter[str] = Counter()
    scales: list[pl.DataFrame] = []
    mask = run.config.content.mask
    try:
        about["sha256"] = storage.file_sha256(file.place)
        if file.refused is None:
            batches = ingest.read_records(file.place, file.name, file.source, run.config.criterion, file.rows, joined)
        else:
            batches = ingest.read_refused(file.place, file.name, file.source, file.refused, file.rows)
        for batch in batches:
            judgements, rated = masking.mask(batch.judgements, mask), masking.mask(batch.ratings, mask)
            identified = masking.note(identity.identify(judgements, run.config.annotators, run.config.dataset))
            rated = masking.note(identity.identify_ratings(rated, run.config.annotators, run.config.dataset))
            quarantined = identity.quarantine_ids(masking.mask(batch.quarantined, mask).drop("_masked"))
            out.add("raw", identified.select(IDENTIFIED), bucket_of("prompt_id"))
            out.add("rated", rated.select(RATED), bucket_of("prompt_id"))
            out.add("quarantine", quarantined, bucket_of("record_id"))
            scales.append(rating_pairs.summarise_scales(rated))
            rows += batch.rows
            ratings += rated.height
            records += identified.height + rated.height + quarantined.height
            quarantined_rows += quarantined.get_column("source_row").n_unique()
            reasons.update(dict(quarantined.group_by("reason").len().iter_rows()))
            done(batch.rows)
        counted = ingest.count_rows(file.place) if file.rows is None else None  # a limited run does not read to the end
    except OSError:
        out.discard()  # the task is tried again
        raise
    except UnreadableFileError as error:
        out.discard()
        return {**_unreadable(run, file, str(error)), "sha256": about["sha256"]}
    out.flush()
    return {
        **about,
        "layout": file.layout,
        "rows_counted": counted,
        "rows": rows,
        "records": records,
        "ratings": ratings,
        "quarantined_rows": quarantined_rows,
        "unreadable": None,
        "reasons": dict(reasons),
        "scales": rating_pairs.join_scales(scales).to_dicts(),
    }


def _ingest_version(run: Run, file: InputFile, done: Callable[[int], None]) -> dict[str, Any]:
    """One judgements file of a published version: the votes of its published pairs, with the ids they have."""
    folder = file.place.rsplit("/judgements/", 1)[0]
    out = _PartitionedOutput(run, file.index)
    rows = 0
    for votes_of_published in published.read_votes(file.place, folder, file.source.name, file.name, file.rows):
        masking.require_masked(votes_of_published, run.config.content.mask, file.name)
        out.add("raw", votes_of_published.select(IDENTIFIED), bucket_of("prompt_id"))
        rows += votes_of_published.height
        done(votes_of_published.height)
    out.flush()
    counted = published.count_votes(file.place, folder)
    return {
        **_about(file),
        "sha256": storage.file_sha256(file.place),
        "layout": "version",
        "rows_counted": counted if file.rows is None else min(counted, file.rows),
        "rows": rows,
        "records": rows,
        "ratings": 0,
        "quarantined_rows": 0,
        "unreadable": None,
        "reasons": {},
        "scales": [],
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
        held = self.waiting[table]
        if sum(frame.height for frame in held) >= ROWS_IN_HAND or sum(frame.estimated_size() for frame in held) >= BYTES_IN_HAND:
            self.flush()

    def flush(self) -> None:
        for table, frames in self.waiting.items():
            for (partition,), part in pl.concat(frames).partition_by("_partition", as_dict=True, include_key=False).items():
                folder = storage.join(self.run.scratch, table, f"{partition:03d}")
                self.written.append(storage.join(folder, f"{self.index:06d}-{len(self.written):06d}.parquet"))
                storage.write_table(part, self.written[-1], compression="none")  # read once and deleted: packing costs more than it saves
        self.waiting = {}

    def discard(self) -> None:
        for place in self.written:
            storage.delete(place)


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
    pairs = language.add_language(pairs) if content.language else _without(pairs, language.COLUMNS)
    pairs = personal.add_personal(pairs) if content.personal else _without(pairs, personal.COLUMNS)
    storage.write_table(pairs, run.place("pairs-0", partition))


def _without(pairs: pl.DataFrame, columns: dict[str, pl.DataType]) -> pl.DataFrame:
    """Signals that the config switches off."""
    return pairs.with_columns(pl.lit(None, kind).alias(name) for name, kind in columns.items())


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
