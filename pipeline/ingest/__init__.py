"""Raw files of any supported layout -> judgements and ratings as their sources state them, and what could not be read as one."""

from collections.abc import Iterator
from dataclasses import replace

import polars as pl

from pipeline.config import SourceConfig
from pipeline.ingest.conversations.messages import problem
from pipeline.ingest.files.counting import count_rows
from pipeline.ingest.files.readers import read_rows
from pipeline.ingest.fragments import Json, in_fragments
from pipeline.ingest.joins import Joins, open_joins, opened
from pipeline.ingest.joins.joined import JoinedFile, JoinedRows
from pipeline.ingest.layouts.detect import ADAPTERS, detect_layout
from pipeline.ingest.layouts.sample import Sample
from pipeline.ingest.layouts.slots import Task, quarantine
from pipeline.ingest.preview import opening
from pipeline.ingest.records import PROBLEM, QUARANTINED, RAW_JUDGEMENT, RAW_RATING, REASONS, Batch, Layout, Rows

__all__ = [
    "QUARANTINED", "RAW_JUDGEMENT", "RAW_RATING", "REASONS", "Batch", "JoinedFile", "JoinedRows", "Joins", "Layout",
    "count_rows", "detect", "open_joins", "read_records", "read_refused",
]  # fmt: skip

_READ_TEXTS = ("chosen_rejected", "ab", "votes")  # layouts whose rows may keep decoded texts


def detect(place: str, name: str, source: SourceConfig, joined: Joins | None = None) -> Layout | None:
    """The layout of a file, from its first records; None when it has none that can be read.

    Args:
        place: local path or fsspec URL.
        name: the file as published, for messages.
        source: what the config says about it.
        joined: what `open_joins` read for the source; needed where it has `join:`.

    Raises:
        LayoutError: no layout fits, or several do, or the join's key is no field of the file.
        UnreadableFileError: the file is not what its first bytes claim.
    """
    json = Json()
    try:
        first = opening(place, name, source, joined, json)
        return None if first is None else first.told_of(detect_layout(Sample(first.rows, json, name, source)))
    finally:
        json.close()


def read_records(
    place: str,
    name: str,
    source: SourceConfig,
    criterion: str,
    limit: int | None = None,
    joined: Joins | None = None,
    layout: Layout | None = None,
) -> Iterator[Batch]:
    """A file's judgements, ratings and quarantined rows, batch by batch, in file order.

    Args:
        place: local path or fsspec URL of a file of any kind that `pipeline.ingest.files` reads.
        name: the file as published; becomes `source_uri`.
        source: the source it belongs to.
        criterion: for rows that name none.
        limit: at most that many rows of the file; all of them when None.
        joined: what `open_joins` read for the source; needed where it has `join:`.
        layout: what `detect` found; found from the first records when None.

    Yields:
        Batches. Their `rows` add up to the file's rows; an empty file yields none.

    Raises:
        LayoutError: the file's layout is unknown or ambiguous, or the join's key is no field of it.
        UnreadableFileError: the file cannot be read to its end; batches before that are void.
    """
    layout = layout or detect(place, name, source, joined)
    json = Json()
    before = 0
    try:
        main = opened(source, joined).main_file(name, json)
        unmatched = 0
        for rows in _up_to(limit, read_rows(place, json, texts=not source.join, whole=limit is None)):
            for part in main.join(rows, before):
                if layout is None or layout.name not in _READ_TEXTS:
                    part = in_fragments(part, json)
                alone, unmatched = main.unmatched - unmatched, main.unmatched
                if layout is not None and part.frame.height:
                    batch = ADAPTERS[layout.name].adapt(Task(part, layout, json, source, name, criterion))
                    yield replace(batch, unmatched=alone) if alone else batch
                elif part.count:
                    yield _unread(part, json, source, name, PROBLEM.to_frame())
            before += rows.count
    finally:
        json.close()


def _unread(rows: Rows, json: Json, source: SourceConfig, name: str, problems: pl.DataFrame) -> Batch:
    """Rows of which no layout makes a record."""
    return Batch(RAW_JUDGEMENT.to_frame(), RAW_RATING.to_frame(), quarantine(rows, json, source.name, name, problems), rows.count)


def _up_to(limit: int | None, batches: Iterator[Rows]) -> Iterator[Rows]:
    """The batches of a file's first `limit` rows."""
    left = limit
    for rows in batches:
        yield rows if left is None else rows.head(left)
        if left is not None:
            left -= rows.count
            if left <= 0:
                return


def read_refused(place: str, name: str, source: SourceConfig, why: str, limit: int | None = None) -> Iterator[Batch]:
    """The rows of a file that no layout fits, each quarantined as `unknown_layout`.

    Args:
        place: as for `read_records`.
        name: as for `read_records`.
        source: the source it belongs to.
        why: the LayoutError's message; its first line says enough about a row.
        limit: at most that many rows of the file; all of them when None.

    Raises:
        UnreadableFileError: the file cannot be read to its end; batches before that are void.
    """
    detail = why.partition("\n")[0].removeprefix(f"{name}: ")
    json = Json()
    try:
        for part in _up_to(limit, read_rows(place, json)):
            refused = problem(pl.int_range(part.frame.height, eager=True), "unknown_layout", None, detail)
            yield _unread(part, json, source, name, refused)
    finally:
        json.close()
