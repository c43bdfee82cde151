"""Raw files of any supported layout -> judgements and ratings as their sources state them, and what could not be read as one."""

from collections.abc import Iterator

from pipeline.config import SourceConfig
from pipeline.ingest.counting import count_rows
from pipeline.ingest.detect import ADAPTERS, SAMPLE_ROWS, detect_layout
from pipeline.ingest.fragments import Json
from pipeline.ingest.readers import read_rows
from pipeline.ingest.records import PROBLEM, QUARANTINED, RAW_JUDGEMENT, RAW_RATING, REASONS, Batch, Layout, Rows
from pipeline.ingest.slots import Task, batch

__all__ = ["QUARANTINED", "RAW_JUDGEMENT", "RAW_RATING", "REASONS", "Batch", "Layout", "count_rows", "detect", "read_records"]


def detect(place: str, name: str, source: SourceConfig) -> Layout | None:
    """The layout of a file, from its first records; None when it has none that can be read.

    Args:
        place: local path or fsspec URL.
        name: the file as published, for messages.
        source: what the config says about it.

    Raises:
        LayoutError: no layout fits, or several do.
        UnreadableFileError: the file is not what its first bytes claim.
    """
    json = Json()
    try:
        records = (rows for rows in read_rows(place, json) if rows.frame.height)
        return next((detect_layout(_first(rows, json), json, name, source) for rows in records), None)
    finally:
        json.close()


def _first(rows: Rows, json: Json) -> Rows:
    """The records that decide the layout, with the fields that they have."""
    frame = rows.frame.head(SAMPLE_ROWS)
    there = set(json.keys(frame["raw"])) if "raw" in frame.columns else set(rows.fields)
    return Rows(frame, {name: column for name, column in rows.fields.items() if name in there}, rows.broken, rows.cells)


def read_records(place: str, name: str, source: SourceConfig, criterion: str, limit: int | None = None) -> Iterator[Batch]:
    """A file's judgements, ratings and quarantined rows, batch by batch, in file order.

    Args:
        place: local path or fsspec URL of jsonl, json, csv, tsv or parquet, plain or gzip.
        name: the file as published; becomes `source_uri`.
        source: the source it belongs to.
        criterion: for rows that name none.
        limit: at most that many rows of the file; all of them when None.

    Yields:
        Batches. Their `rows` add up to the file's rows; an empty file yields none.

    Raises:
        LayoutError: the file's layout is unknown or ambiguous.
        UnreadableFileError: the file cannot be read to its end; batches before that are void.
    """
    json = Json()
    layout: Layout | None = None
    left = limit
    try:
        for rows in read_rows(place, json):
            if layout is None and rows.frame.height:
                layout = detect_layout(_first(rows, json), json, name, source)
            part = rows if left is None else rows.head(left)
            task = Task(part, layout or Layout("ab", {}, "no record"), json, source, name, criterion)
            if part.frame.height and layout is not None:
                yield ADAPTERS[layout.name].adapt(task)
            elif part.count:
                yield batch(task, RAW_JUDGEMENT.to_frame(), PROBLEM.to_frame())
            if left is not None:
                left -= part.count
                if left <= 0:
                    return
    finally:
        json.close()
