"""The first steps of a run: find each file's layout, then read files into identified records, cut by partition."""

import itertools
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import polars as pl

from flows import joining
from flows.inputs import InputFile, input_row
from flows.steps import Run
from pipeline import identity, ingest, masking, rating_pairs, storage
from pipeline.errors import LayoutError, UnreadableFileError
from pipeline.ingest import Joins, published
from pipeline.schemas import JUDGEMENT, RATING
from pipeline.stage import ASKED, BUCKETS, bucket_of, partition_buckets

ROWS_IN_HAND = 50_000  # ingested rows of a table held before they are written out
BYTES_IN_HAND = 64 << 20  # and their bytes, where rows are long
# What is kept of identified records until they are numbered.
_LATER = ("judgement_id", "is_copy", "derived_from", "merged_into", "merged_a")
IDENTIFIED = [*(name for name in JUDGEMENT.names if name not in _LATER), "base_id", "vote_layout"]
RATED = [name for name in RATING.names if name != "is_copy"]


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
    return replace(file, layout=layout)


def ingest_files(run: Run, files: list[InputFile], done: Callable[[int], None]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Read files into identified records and quarantined rows, cut by partition.

    Returns:
        Rows of `flows.inputs.input_row`; and what was asked for of the joined files, as `flows.joining.account_joined` takes it.
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
            for file in mine:
                inputs += _ingest_version(run, file, done) if source.version is not None else [_ingest_file(run, file, joined, done)]
            asked += joining.used_rows(joined, source.name, run.scratch, mine[0].index)
    return inputs, asked


def _about(file: InputFile, **known: Any) -> dict[str, Any]:  # noqa: ANN401 - as for input_row
    return input_row(file.source.name, file.name, file.bytes, **known)


def _unreadable(run: Run, file: InputFile, why: str) -> dict[str, Any]:
    """One quarantined row for a whole file."""
    names = [(file.place, file.name), *((one.place, one.name) for some in file.joined for one in some)]
    for whole, name in names:  # what is published speaks of no machine and holds no credentials
        why = why.replace(whole, name)
    place = {"source": file.source.name, "source_uri": file.name, "source_row": -1}
    about_it = {**place, "reason": "unreadable_file", "field": None, "detail": why, "raw": None}
    row = masking.mask(pl.DataFrame([about_it], schema=ingest.QUARANTINED), run.config.content.mask).drop("_masked")
    out = _PartitionedOutput(run, file.index)
    out.add("quarantine", identity.quarantine_ids(row), bucket_of("record_id"))
    out.flush()
    return _about(file, records=1, unreadable=row.item(0, "detail"), reasons={"unreadable_file": 1})


def _ingest_file(run: Run, file: InputFile, joined: Joins, done: Callable[[int], None]) -> dict[str, Any]:
    about = _about(file)
    out = _PartitionedOutput(run, file.index)
    rows = records = ratings = quarantined_rows = unmatched = 0
    reasons: Counter[str] = Counter()
    scales: list[pl.DataFrame] = []
    mask = run.config.content.mask
    try:
        about["sha256"] = storage.file_sha256(file.place)
        if file.refused is None:
            batches = ingest.read_records(file.place, file.name, file.source, run.config.criterion, file.rows, joined, file.layout)
        else:
            batches = ingest.read_refused(file.place, file.name, file.source, file.refused, file.rows)
        for batch in batches:
            # Identifying no rows takes as long as identifying a hundred.
            if batch.judgements.height:
                judgements = masking.mask(batch.judgements, mask)
                identified = masking.note(identity.identify(judgements, run.config.annotators, run.config.dataset))
                out.add("raw", identified.select(IDENTIFIED), bucket_of("prompt_id"))
            if batch.ratings.height:
                rated = masking.mask(batch.ratings, mask)
                rated = masking.note(identity.identify_ratings(rated, run.config.annotators, run.config.dataset))
                out.add("rated", rated.select(RATED), bucket_of("prompt_id"))
                scales.append(rating_pairs.summarise_scales(rated))
            quarantined = identity.quarantine_ids(masking.mask(batch.quarantined, mask).drop("_masked"))
            out.add("quarantine", quarantined, bucket_of("record_id"))
            rows += batch.rows
            ratings += batch.ratings.height
            records += batch.judgements.height + batch.ratings.height + quarantined.height
            quarantined_rows += batch.unread
            unmatched += batch.unmatched
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
        "layout": file.layout and file.layout.name,
        "rows_counted": counted,
        "rows": rows,
        "records": records,
        "ratings": ratings,
        "quarantined_rows": quarantined_rows,
        "unmatched_rows": unmatched if any(join.optional for join in file.source.join) else None,
        "reasons": dict(reasons),
        "scales": rating_pairs.join_scales(scales).to_dicts(),
    }


def _ingest_version(run: Run, file: InputFile, done: Callable[[int], None]) -> list[dict[str, Any]]:
    """One judgements file of a published version: the votes of its published pairs, with the ids they have.

    Returns:
        A row for the votes of its sources, and one for the verdicts that its run had asked judges for, where it has some.
    """
    folder = file.place.rsplit("/judgements/", 1)[0]
    out = _PartitionedOutput(run, file.index)
    rows = asked = 0
    moved, pair_ids = [], []
    for votes_of_published in published.read_votes(file.place, folder, file.source.name, file.name, file.rows):
        masking.require_masked(votes_of_published, run.config.content.mask, file.name)
        out.add("raw", votes_of_published.select(IDENTIFIED), bucket_of("prompt_id"))
        moved.append(published.moved_votes(votes_of_published))
        pair_ids.append(votes_of_published.get_column("pair_id").unique())
        rows += votes_of_published.height
        asked += int(votes_of_published.get_column("source").str.starts_with(ASKED).sum())
        done(votes_of_published.height)
    out.flush()
    if moved:
        storage.write_table(pl.concat(moved), run.place("moved", file.index))
    decided = storage.read_json(storage.join(folder, "manifest.json")).get("config", {}).get("consensus")
    if pair_ids and decided == run.config.consensus.model_dump(mode="json", exclude_none=True):  # else it is decided anew
        posteriors = published.read_posteriors(folder, pl.concat(pair_ids).unique())
        storage.write_table(posteriors, run.place("posteriors", file.index))
    counted = published.count_votes(file.place, folder)
    stated = _about(
        file,
        sha256=storage.file_sha256(file.place),
        layout="version",
        rows_counted=(counted if file.rows is None else min(counted, file.rows)) - asked,
        rows=rows - asked,
        records=rows - asked,
    )
    if not asked:
        return [stated]
    return [stated, input_row(f"{ASKED}{file.source.name}", file.name, 0, layout="version", rows=asked, records=asked)]


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
                self.written.append(storage.join(folder, f"{self.index:06d}-{len(self.written):06d}{storage.SCRATCH}"))
                storage.write_table(part, self.written[-1], compression="none")  # read once and deleted: packing costs more than it saves
        self.waiting = {}

    def discard(self) -> None:
        for place in self.written:
            storage.delete(place)
