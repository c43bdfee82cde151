"""EDGE: the only module that opens data files (fsspec, Parquet).

A place is a string: a local path or an fsspec URL. Outputs appear whole or not at all: on local disks they are written
beside and renamed, on object stores put as a whole.
"""

import hashlib
import json
import os
import tempfile
import uuid
import zipfile
import zlib
from importlib import resources
from pathlib import Path
from typing import IO, Any, Literal, cast

import fsspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from pipeline.errors import UnreadableFileError
from pipeline.places import PACKED_ENDINGS as PACKED_ENDINGS
from pipeline.places import Listing as Listing
from pipeline.places import list_files as list_files
from pipeline.places import look as look
from pipeline.places import resolve as resolve
from pipeline.places import without_credentials as without_credentials
from pipeline.schemas import conform

ROW_GROUP_ROWS = 8192  # fixed: the bytes of a shard must not depend on how many partitions made it


def is_local(place: str) -> bool:
    """Whether a place is on this machine's disks."""
    return isinstance(url_to_fs(place)[0], LocalFileSystem)


def join(place: str, *parts: str) -> str:
    """A place below another."""
    return "/".join([place.rstrip("/"), *(part.strip("/") for part in parts)])


def exists(place: str) -> bool:
    """Whether a file or folder is there."""
    fs, path = url_to_fs(place)
    fs.invalidate_cache()
    return bool(fs.exists(path))


def delete(place: str) -> None:
    """Remove a file or a whole folder; nothing happens when it is not there."""
    fs, path = url_to_fs(place)
    fs.invalidate_cache()
    if fs.exists(path):
        fs.rm(path, recursive=True)


def children(place: str) -> list[str]:
    """The names directly below a folder, sorted; empty when there is none."""
    fs, path = url_to_fs(place)
    fs.invalidate_cache()
    if not fs.exists(path):
        return []
    return sorted(str(name).rstrip("/").rsplit("/", 1)[-1] for name in fs.ls(path, detail=False))


def read_bytes(place: str) -> bytes:
    """The whole content of a small file."""
    fs, path = url_to_fs(place)
    return bytes(fs.cat_file(path))


def write_bytes(place: str, content: bytes) -> None:
    """Write a small file, whole or not at all."""
    with atomic_output(place) as sink:
        sink.write(content)


def create_bytes(place: str, content: bytes) -> bool:
    """Create a file only if there is none; False when there is. Object stores do it by a conditional put."""
    fs, path = url_to_fs(place)
    try:
        if isinstance(fs, LocalFileSystem):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            # link(2) fails when the name is taken and shows the content whole, which O_EXCL plus write does not.
            beside = f"{path}.{uuid.uuid4().hex}"
            Path(beside).write_bytes(content)
            try:
                os.link(beside, path)
            finally:
                Path(beside).unlink()
        else:
            fs.pipe_file(path, content, mode="create")
    except FileExistsError:
        return False
    return True


def read_json(place: str) -> Any:
    """A JSON file's content."""
    return json.loads(read_bytes(place))


def write_json(place: str, content: object) -> None:
    """Write JSON with sorted keys, so that equal content gives equal bytes."""
    write_bytes(place, (json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode())


class atomic_output:
    """A binary file that appears under its name only when the block ends without an error.

    Local files are written beside and renamed. For object stores the file is made on the local disk and put as a whole:
    what their clients do with a half-written upload after an error differs, and some keep it.
    """

    def __init__(self, place: str) -> None:
        """Name the file; nothing is made yet."""
        self.fs, self.path = url_to_fs(place)
        self.local = isinstance(self.fs, LocalFileSystem)
        folder = Path(self.path).parent if self.local else Path(tempfile.gettempdir())
        self.beside = folder / f"{Path(self.path).name}.{uuid.uuid4().hex}.part"

    def __enter__(self) -> Any:
        self.beside.parent.mkdir(parents=True, exist_ok=True)
        self.file = self.beside.open("wb")
        return self.file

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.file.close()
        try:
            if kind is None and self.local:
                self.beside.replace(self.path)
            elif kind is None:
                self.fs.put_file(str(self.beside), self.path)
        finally:
            self.beside.unlink(missing_ok=True)


def write_table(
    table: pa.Table | pl.DataFrame, place: str, schema: pa.Schema | None = None, compression: Literal["zstd", "none"] = "zstd"
) -> int:
    """Write one Parquet file (checked against `schema` where one is given); returns its rows."""
    arrow = conform(table, schema, place) if schema is not None else table
    arrow = arrow.to_arrow() if isinstance(arrow, pl.DataFrame) else arrow
    with atomic_output(place) as sink:
        pq.write_table(arrow, sink, compression=compression, row_group_size=ROW_GROUP_ROWS)
    return int(arrow.num_rows)


def read_table(place: str | list[str], columns: list[str] | None = None) -> pl.DataFrame:
    """One Parquet file, or several of one schema, in the order given."""
    places = [place] if isinstance(place, str) else place
    tables = []
    for one in places:
        with fsspec.open(one, "rb") as file:
            tables.append(pq.read_table(file, columns=columns))
    frame = pl.from_arrow(pa.concat_tables(tables))
    assert isinstance(frame, pl.DataFrame)
    return frame


class RowGroupWriter:
    """Parquet files with fixed row groups, whatever the sizes of the tables handed in.

    Rows go to `place(index)` until `rows_per_file` are in it, then to the next one. Equal rows in equal order give
    equal bytes, in one table or in a thousand.
    """

    def __init__(self, folder: str, schema: pa.Schema, names: list[str], rows_per_file: int) -> None:
        self.folder, self.schema, self.names, self.rows_per_file = folder, schema, names, rows_per_file
        self.files: list[dict[str, Any]] = []
        self._waiting: list[pa.Table] = []
        self._waiting_rows = 0
        self._in_file = 0
        self._output: atomic_output | None = None
        self._open_next()

    def _open_next(self) -> None:
        self._place = join(self.folder, self.names[len(self.files)])
        self._output = atomic_output(self._place)
        self._sink = _HashingSink(self._output.__enter__())
        self._writer = pq.ParquetWriter(cast(IO[bytes], self._sink), self.schema, compression="zstd")
        self._in_file = 0

    def _close_file(self) -> None:
        self._writer.close()
        assert self._output is not None
        self._output.__exit__(None)
        self._output = None
        name = self.names[len(self.files)]
        self.files.append({"path": name, "rows": self._in_file, "bytes": self._sink.bytes, "sha256": self._sink.digest()})

    def _flush(self, rows: int) -> None:
        joined = pa.concat_tables(self._waiting)
        group, rest = joined.slice(0, rows), joined.slice(rows)
        self._writer.write_table(group.combine_chunks(), row_group_size=rows)
        self._in_file += rows
        self._waiting, self._waiting_rows = [rest], rest.num_rows

    def write(self, table: pa.Table | pl.DataFrame) -> None:
        """Append rows, in the order given."""
        self._waiting.append(conform(table, self.schema, self._place))
        self._waiting_rows += self._waiting[-1].num_rows
        while self._waiting_rows:
            if self._in_file == self.rows_per_file:
                self._close_file()
                self._open_next()
            rows = min(ROW_GROUP_ROWS, self.rows_per_file - self._in_file)
            if self._waiting_rows < rows:
                return
            self._flush(rows)

    def close(self) -> list[dict[str, Any]]:
        """Write what is left; returns path, rows, bytes and sha256 of every file."""
        if self._waiting_rows:
            if self._in_file == self.rows_per_file:
                self._close_file()
                self._open_next()
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


class _HashingSink:
    """A write-only file that counts and hashes what goes through it."""

    closed = False

    def __init__(self, sink: Any) -> None:
        self._sink, self._hash, self.bytes = sink, hashlib.sha256(), 0

    def write(self, data: Any) -> int:
        view = memoryview(data)
        self._hash.update(view)
        self.bytes += view.nbytes
        self._sink.write(view)
        return view.nbytes

    def tell(self) -> int:
        return self.bytes

    def flush(self) -> None:
        """Nothing is held back here."""

    def close(self) -> None:
        """The caller owns the file below."""

    def digest(self) -> str:
        return self._hash.hexdigest()


def file_sha256(place: str) -> str:
    """SHA-256 of a file's stored bytes; of a member of a zip archive, of those it unpacks to.

    Raises:
        UnreadableFileError: the file may not be read, or the member is broken or needs a password.
    """
    digest = hashlib.sha256()
    try:
        with fsspec.open(place, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except (FileNotFoundError, PermissionError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise UnreadableFileError(f"{place}: cannot be read: {error}. Get the file again, or take it out of the source's `uri`.") from error
    return digest.hexdigest()


def package_folder(name: str) -> Path:
    """A folder that ships with the package (`sql`, `data`): inside the wheel, or at the top of a checkout."""
    installed = Path(str(resources.files("pipeline"))) / f"_{name}"
    checkout = Path(__file__).resolve().parent.parent / name
    return installed if installed.is_dir() else checkout
