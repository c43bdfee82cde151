"""EDGE: the files of an export: shards read part by part, files written whole or not at all, and how far an export has come."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import IO, Any, Final, Literal, cast

import fsspec
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fsspec.core import url_to_fs

from pipeline import storage
from pipeline.errors import ConfigError, PrefineError, UnreadableFileError
from pipeline.schemas import conform

DONE: Final = "export.json"
UNDER_WAY: Final = "export-progress.json"
ENDINGS: Final = {"parquet": ".parquet", "jsonl": ".jsonl"}


def in_parts(place: str, columns: list[str]) -> Iterator[pl.DataFrame]:
    """A shard's rows in order, one row group at a time.

    Args:
        place: a Parquet file; a local path or an fsspec URL.
        columns: their names.

    Raises:
        UnreadableFileError: a page's checksum is not the one in the file, or the file is cut off.
    """
    with _opened(place) as source:
        file = pq.ParquetFile(source, page_checksum_verification=True)
        for group in range(file.num_row_groups):
            yield cast(pl.DataFrame, pl.from_arrow(file.read_row_group(group, columns=columns)))


def whole(place: str, columns: list[str], rows: pc.Expression | None = None) -> pl.DataFrame:
    """A shard's rows in order.

    Args:
        place: a Parquet file; a local path or an fsspec URL.
        columns: their names.
        rows: pyarrow filter; row groups that have none of these rows are not read.

    Raises:
        UnreadableFileError: a page's checksum is not the one in the file, or the file is cut off.
    """
    with _opened(place) as source:
        if rows is None:
            return cast(pl.DataFrame, pl.from_arrow(pq.ParquetFile(source, page_checksum_verification=True).read(columns=columns)))
        return cast(pl.DataFrame, pl.from_arrow(pq.read_table(source, columns=columns, filters=rows, page_checksum_verification=True)))


def rows_of(place: str) -> int:
    """How many rows a shard has; a local path or an fsspec URL.

    Raises:
        UnreadableFileError: it is cut off.
    """
    with _opened(place) as source:
        return int(pq.ParquetFile(source).metadata.num_rows)


@contextmanager
def _opened(place: str) -> Iterator[IO[bytes]]:
    try:
        with fsspec.open(place, "rb") as source:
            yield source
    except (OSError, pa.ArrowException) as error:
        raise UnreadableFileError(f"{place}: is not as it was published: {error}. `prefine verify` looks at all files.") from error


class Output:
    """One file of an export, of Parquet or of one JSON object a line. It appears under its name when it is closed."""

    def __init__(self, folder: str, name: str, schema: pa.Schema, kind: Literal["parquet", "jsonl"]) -> None:
        """Open it.

        Args:
            folder: the export's.
            name: without ending.
            schema: of the rows.
            kind: of file.
        """
        self.name, self.rows = f"{name}{ENDINGS[kind]}", 0
        self._schema, self._place = schema, storage.join(folder, self.name)
        self._output = storage.atomic_output(self._place)
        self._sink = _Counted(self._output.__enter__())
        self._parquet = None
        if kind == "parquet":
            # Texts hardly repeat: a dictionary of them is built for nothing. Roles, kinds and the like do.
            repeated = [path for path in _leaves(schema) if path.rsplit(".", 1)[-1] in _REPEATED]
            self._parquet = pq.ParquetWriter(cast(IO[bytes], self._sink), schema, compression="zstd", use_dictionary=repeated)  # type: ignore[arg-type, unused-ignore]  # a list too

    def write(self, rows: pl.DataFrame) -> None:
        """Append rows.

        Raises:
            SchemaError: they are not of the schema.
        """
        table = conform(rows, self._schema, self._place)
        if self._parquet is not None:
            self._parquet.write_table(table, row_group_size=storage.ROW_GROUP_ROWS)
        else:
            text = BytesIO()
            cast(pl.DataFrame, pl.from_arrow(table)).write_ndjson(text)
            self._sink.write(text.getvalue())
        self.rows += table.num_rows

    def close(self) -> dict[str, Any]:
        """Finish the file; returns path (its name), rows, bytes and sha256."""
        if self._parquet is not None:
            self._parquet.close()
        self._output.__exit__(None)
        return {"path": self.name, "rows": self.rows, "bytes": self._sink.bytes, "sha256": self._sink.sha256.hexdigest()}

    def abort(self) -> None:
        """Drop the file."""
        # Left open, the writer would write its footer when it is collected, into a file that is closed by then.
        try:
            if self._parquet is not None:
                self._parquet.close()
        finally:
            self._output.__exit__(RuntimeError)


class _Counted:
    """A write-only file that counts and hashes what goes through it."""

    closed = False

    def __init__(self, sink: IO[bytes]) -> None:
        self._sink, self.sha256, self.bytes = sink, hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        view = memoryview(data).cast("B")
        self.sha256.update(view)
        self._sink.write(view)
        self.bytes += view.nbytes
        return view.nbytes

    def tell(self) -> int:
        return self.bytes

    def flush(self) -> None:
        """Nothing is held back here."""

    def close(self) -> None:
        """The caller owns the file below."""


_REPEATED: Final = {"role", "kind", "generator", "criterion", "source", "tools", "label", "chosen_verdict", "rejected_verdict", "writer"}


def _leaves(schema: pa.Schema) -> list[str]:
    """The paths of a schema's columns as Parquet names them."""

    def below(name: str, kind: pa.DataType) -> Iterator[str]:
        if pa.types.is_list(kind):
            yield from below(f"{name}.list.element", kind.value_type)
        elif pa.types.is_struct(kind):
            for one in kind:
                yield from below(f"{name}.{one.name}", one.type)
        else:
            yield name

    return [path for one in schema for path in below(one.name, one.type)]


@dataclass
class Progress:
    """How far an export has come.

    Attributes:
        folder: a local path or an fsspec URL.
        asked: what is exported, and how.
        units: what came of the shards that are done, by name: files, rows, left_out, counts.
        finished: the manifest of an export that has nothing left to do; None: it has.
    """

    folder: str
    asked: dict[str, Any]
    units: dict[str, dict[str, Any]] = field(default_factory=dict)
    finished: dict[str, Any] | None = None

    def add(self, unit: str, told: dict[str, Any]) -> None:
        """A shard is done: its files are in place."""
        self.units[unit] = told
        if not any(one["files"] for one in self.units.values()):
            return  # nothing to go on after: a folder that got no shard is not taken
        storage.write_json(storage.join(self.folder, UNDER_WAY), {"asked": self.asked, "units": self.units})

    def finish(self, manifest: dict[str, Any], beside: dict[str, bytes]) -> None:
        """Write the small files beside the shards, and last of all the export's manifest."""
        for name, content in sorted(beside.items()):
            storage.write_bytes(storage.join(self.folder, name), content)
        storage.write_json(storage.join(self.folder, DONE), {**manifest, "asked": self.asked})
        storage.delete(storage.join(self.folder, UNDER_WAY))


def take_up(folder: str, asked: dict[str, Any]) -> Progress:
    """Begin an export, or go on with one that was stopped.

    Args:
        folder: a local path or an fsspec URL.
        asked: what is exported, and how; JSON.

    Raises:
        ConfigError: the folder holds another export, or files that are none of this one's; or a file lies where it should be.
        PrefineError: what an export left there cannot be read.
    """
    _refuse_file(folder)
    names = storage.children(folder)
    known = [name for name in (DONE, UNDER_WAY) if name in names]
    if not known:
        taken = [name for name in names if name.endswith(tuple(ENDINGS.values()))]
        if taken:
            raise ConfigError(f"{folder}: holds {taken[0]} already; a trainer would read both. Give an empty folder.")
        return Progress(folder, asked)
    name = known[0]
    try:
        found = storage.read_json(storage.join(folder, name))
        before, units = found["asked"], {} if name == DONE else found["units"]
    except (ValueError, KeyError, TypeError) as error:
        raise PrefineError(f"{storage.join(folder, name)}: cannot be read ({error!r}). Delete the folder, or give another one.") from None
    wanted = json.loads(json.dumps(asked))
    if before != wanted:
        differs = [key for key in sorted({*before, *wanted}) if before.get(key) != wanted.get(key)]
        told = "; ".join(f"{key}: {_shown(before.get(key))} there, {_shown(wanted.get(key))} asked for" for key in differs)
        state = "a finished export" if name == DONE else "a half-done export"
        raise ConfigError(f"{folder}: holds {state} of something else ({told}). Give an empty folder.")
    for leftover in names:
        if leftover.endswith(".part"):
            storage.delete(storage.join(folder, leftover))
    if name == DONE and all(_is_whole(folder, file) for file in found["files"]):
        return Progress(folder, asked, finished=found)
    return Progress(folder, asked, {unit: told for unit, told in units.items() if all(_is_whole(folder, one) for one in told["files"])})


def _refuse_file(folder: str) -> None:
    fs, path = url_to_fs(folder)
    while path and not fs.exists(path):
        path = fs._parent(path)
        if path == fs._parent(path):
            return
    if path and fs.isfile(path):
        raise ConfigError(f"{folder}: {path} is a file. Give an empty or new folder.")


def _shown(value: object) -> str:
    return "nothing" if value is None else json.dumps(value, ensure_ascii=False)[:80]


def _is_whole(folder: str, file: dict[str, Any]) -> bool:
    fs, path = url_to_fs(storage.join(folder, file["path"]))
    return bool(fs.exists(path)) and int(fs.size(path)) == file["bytes"]
