"""EDGE: writes the Parquet files of a version so that a question reads little of them.

What a reader of one pair, one source or one range of a signal skips, it skips by these:

- Row groups of at most 8,192 rows with the lowest and highest value of every flat column. Columns of lists (messages above all)
  have none: nobody asks for a range of texts, and their values would make up half of the footers.
- Bloom filters (Bloom 1970) on ids, 1 % false positives: an id is looked for in the row groups that have it, and in one of a
  hundred others.
- Rows in the order of their sources within a file, and a new row group where the sources change: a source is read by its share.
- Checksums: a CRC-32 of every page in the file, for readers that check them (pyarrow, on request), and one of every 64 KiB of
  the file in the manifest, for `pipeline.sealed`, since DuckDB checks none.
"""

import hashlib
import zlib
from collections.abc import Sequence
from itertools import pairwise
from typing import IO, Any, cast

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.schemas import conform
from pipeline.storage import BLOCK_BYTES, ROW_GROUP_ROWS, atomic_output, join

MIN_GROUP_ROWS = 256  # a footer says about 20 KB of a row group of pairs; at 256 rows of 1 KB that is a tenth
FALSE_POSITIVES = 0.01
BLOOM_COLUMNS = (
    "pair_id", "prompt_id", "chosen_id", "rejected_id", "judgement_id", "rating_id", "record_id", "response_id", "response_a_id",
    "response_b_id", "rationale_id",
)  # fmt: skip


class ShardWriter:
    """Parquet files with row groups that depend on the rows alone, whatever the sizes of the tables handed in.

    Rows go to the first name until `rows_per_file` are in it, then to the next one. Equal rows in equal order give equal
    bytes, in one table or in a thousand. With `order`, one file's rows are held until it is full; without, one row group's.
    """

    def __init__(
        self, folder: str, schema: pa.Schema, names: list[str], rows_per_file: int, rows: int | None = None, order: Sequence[str] = ()
    ) -> None:
        """Open the first file.

        Args:
            folder: where to.
            schema: of every table handed in.
            names: of the files, as many as the rows need.
            rows_per_file: rows of one file, the last one excepted.
            rows: of all files together, where it is known: small files then get small Bloom filters.
            order: columns by which each file is sorted (no two rows may be equal in all of them); a row group ends where the first changes.
        """
        self.folder, self.schema, self.names, self.rows_per_file, self.order = folder, schema, names, rows_per_file, tuple(order)
        self.files: list[dict[str, Any]] = []
        self._rows = rows_per_file * len(names) if rows is None else rows
        self._waiting: list[pa.Table] = []
        self._waiting_rows = 0
        self._in_file = 0
        self._output: atomic_output | None = None
        self._open_next()

    def _open_next(self) -> None:
        self._place = join(self.folder, self.names[len(self.files)])
        self._output = atomic_output(self._place)
        self._sink = _HashingSink(self._output.__enter__())
        left = min(self.rows_per_file, self._rows - self.rows_per_file * len(self.files))
        distinct = max(1, min(ROW_GROUP_ROWS, left))
        blooms = {name: {"ndv": distinct, "fpp": FALSE_POSITIVES} for name in BLOOM_COLUMNS if name in self.schema.names}
        flat = [field.name for field in self.schema if not pa.types.is_nested(field.type)]
        sink = cast(IO[bytes], self._sink)
        options: dict[str, Any] = {"write_statistics": flat, "bloom_filter_options": blooms or None, "write_page_checksum": True}
        self._writer = pq.ParquetWriter(sink, self.schema, compression="zstd", **options)
        self._in_file = 0

    def _close_file(self) -> None:
        self._writer.close()
        assert self._output is not None
        self._output.__exit__(None)
        self._output = None
        self.files.append({"path": self.names[len(self.files)], "rows": self._in_file, **self._sink.facts()})

    def _next_when_full(self) -> None:
        if self._in_file == self.rows_per_file:
            self._close_file()
            self._open_next()

    def _flush(self, rows: int) -> None:
        joined = pa.concat_tables(self._waiting)
        taken, rest = joined.slice(0, rows), joined.slice(rows)
        if self.order:
            self._write_sorted(taken)
        else:
            self._writer.write_table(taken.combine_chunks(), row_group_size=ROW_GROUP_ROWS)
        self._in_file += rows
        self._waiting, self._waiting_rows = [rest], rest.num_rows

    def _write_sorted(self, rows: pa.Table) -> None:
        # polars gathers texts of more than 2 GB; an Arrow table of strings could not.
        frame = pl.DataFrame(pl.from_arrow(rows))
        keys = pa.table({name: _sortable(rows.column(name)) for name in self.order})
        places = pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in self.order]).to_numpy()
        first = keys.column(0).take(pa.array(places)).combine_chunks().dictionary_encode()
        codes = first.indices.to_numpy() if isinstance(first, pa.DictionaryArray) else first.chunk(0).indices.to_numpy()
        for start, end in _groups(codes):
            group = conform(frame[places[start:end]], self.schema, self._place)
            self._writer.write_table(group.combine_chunks(), row_group_size=ROW_GROUP_ROWS)

    def write(self, table: pa.Table | pl.DataFrame) -> None:
        """Append rows, in the order given."""
        self._waiting.append(conform(table, self.schema, self._place))
        self._waiting_rows += self._waiting[-1].num_rows
        while self._waiting_rows:
            self._next_when_full()
            room = self.rows_per_file - self._in_file
            rows = room if self.order else min(ROW_GROUP_ROWS, room)
            if self._waiting_rows < rows:
                return
            self._flush(rows)

    def close(self) -> list[dict[str, Any]]:
        """Write what is left; returns path, rows, bytes, sha256 and block_crc32 (8 hex digits for each 64 KiB) of every file."""
        if self._waiting_rows:
            self._next_when_full()
            self._flush(self._waiting_rows)
        self._close_file()
        return self.files

    def abort(self) -> None:
        """Drop the file in hand."""
        if self._output is not None:
            # Left open, the writer would write its footer when it is collected, into a file that is closed by then.
            try:
                self._writer.close()
            finally:
                self._output.__exit__(RuntimeError)
                self._output = None


def _sortable(column: "pa.ChunkedArray[Any]") -> Any:  # noqa: ANN401
    return pc.binary_join(column, "\x1f") if pa.types.is_list(column.type) else column


def _groups(codes: "np.ndarray[Any, np.dtype[Any]]") -> list[tuple[int, int]]:
    """Runs of rows that make a row group each: at most ROW_GROUP_ROWS, ended where the code changes if MIN_GROUP_ROWS are in it."""
    changes = [0, *(np.flatnonzero(codes[1:] != codes[:-1]) + 1).tolist(), len(codes)]
    edges = [0]
    for end in changes[1:]:
        while end - edges[-1] >= ROW_GROUP_ROWS:
            edges.append(edges[-1] + ROW_GROUP_ROWS)
        if end - edges[-1] >= MIN_GROUP_ROWS:
            edges.append(end)
    if edges[-1] < len(codes):
        edges.append(len(codes))
    return list(pairwise(edges))


class _HashingSink:
    """A write-only file that counts and hashes what goes through it, as a whole and block by block."""

    closed = False

    def __init__(self, sink: IO[bytes]) -> None:
        self._sink, self._hash, self._bytes = sink, hashlib.sha256(), 0
        self._blocks: list[int] = []

    def write(self, data: bytes) -> int:
        view = memoryview(data).cast("B")
        self._hash.update(view)
        self._sink.write(view)
        done = 0
        while done < view.nbytes:
            room = -self._bytes % BLOCK_BYTES
            if room == 0:
                self._blocks.append(0)
                room = BLOCK_BYTES
            piece = view[done : done + room]
            self._blocks[-1] = zlib.crc32(piece, self._blocks[-1])
            self._bytes += piece.nbytes
            done += piece.nbytes
        return view.nbytes

    def tell(self) -> int:
        return self._bytes

    def flush(self) -> None:
        """Nothing is held back here."""

    def close(self) -> None:
        """The caller owns the file below."""

    def facts(self) -> dict[str, Any]:
        """Bytes, sha256 and block_crc32 of what was written."""
        return {"bytes": self._bytes, "sha256": self._hash.hexdigest(), "block_crc32": "".join(f"{crc:08x}" for crc in self._blocks)}
