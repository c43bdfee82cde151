"""A query's answer, batch by batch, to the terminal or a file: no more of it in memory than a batch."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from flows import tables
from pipeline import storage

FORMATS = ("table", "csv", "json", "parquet")
_BY_ENDING = {".csv": "csv", ".json": "json", ".jsonl": "json", ".ndjson": "json", ".parquet": "parquet"}


def format_of(place: str) -> str | None:
    """The format that a file's name asks for; None for an unknown ending."""
    return next((form for ending, form in _BY_ENDING.items() if place.lower().endswith(ending)), None)


def show(answer: pa.RecordBatchReader, width: int) -> None:
    """Print the first rows as a table, and how many there are."""
    shown, rows = pl.DataFrame(pl.from_arrow(answer.schema.empty_table())), 0
    for batch in answer:
        if rows < tables.ROWS and batch.num_rows:
            shown = pl.concat([shown, pl.DataFrame(pl.from_arrow(batch.slice(0, tables.ROWS - rows)))], how="vertical_relaxed")
        rows += batch.num_rows
    sys.stdout.write(tables.render(shown, width, rows))


def write(answer: pa.RecordBatchReader, form: str, place: str | None) -> int:
    """Write the answer as csv, json (one object a line) or parquet; returns its rows.

    Args:
        answer: in batches.
        form: csv, json or parquet.
        place: a file or URL, which appears whole or not at all; None for the terminal (csv and json).
    """
    rows = 0
    with _sink(place) as sink:
        if form == "parquet":
            with pq.ParquetWriter(sink, answer.schema, compression="zstd") as writer:
                for batch in answer:
                    writer.write_batch(batch)
                    rows += batch.num_rows
            return rows
        if form == "csv":
            sink.write(_csv(answer.schema.empty_table(), header=True))
        for batch in answer:
            sink.write(_csv(batch, header=False) if form == "csv" else _json(batch))
            rows += batch.num_rows
    return rows


@contextmanager
def _sink(place: str | None) -> Iterator[IO[bytes]]:
    if place is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with storage.atomic_output(place) as sink:
        yield sink


def _csv(rows: pa.Table | pa.RecordBatch, header: bool) -> bytes:
    frame = pl.DataFrame(pl.from_arrow(rows))
    nested = [name for name, kind in frame.schema.items() if kind.is_nested()]
    as_json = frame.with_columns(pl.struct(name).struct.json_encode().alias(name) for name in nested)
    return as_json.write_csv(include_header=header).encode()


def _json(batch: pa.RecordBatch) -> bytes:
    lines: list[dict[str, Any]] = batch.to_pylist()
    return "".join(json.dumps(line, ensure_ascii=False, default=str) + "\n" for line in lines).encode()
