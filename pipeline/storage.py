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
from typing import Any, Literal

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

BLOCK_BYTES = 64 << 10  # of a file of a version; the manifest has a checksum of each
SCRATCH = ".arrow"  # ending of the files that a run leaves behind for nobody
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
    """Write JSON; equal content gives equal bytes."""
    write_bytes(place, json_bytes(content))


def json_bytes(content: object) -> bytes:
    """A JSON file's bytes: indented, with sorted keys."""
    return (json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


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
    """Write one file (checked against `schema` where one is given); returns its rows.

    It is Arrow IPC where the name ends so, as scratch tables' do: those are read once or twice and deleted, and wide ones take a fifth
    of the time that Parquet takes. Else it is Parquet.
    """
    if not place.endswith(SCRATCH):
        arrow = conform(table, schema, place) if schema is not None else table
        arrow = arrow.to_arrow() if isinstance(arrow, pl.DataFrame) else arrow
        with atomic_output(place) as sink:
            pq.write_table(arrow, sink, compression=compression, row_group_size=ROW_GROUP_ROWS)
        return int(arrow.num_rows)
    checked = conform(table, schema, place) if schema is not None else table
    frame = checked if isinstance(checked, pl.DataFrame) else pl.DataFrame(pl.from_arrow(checked))
    packed: Literal["uncompressed", "lz4", "zstd"] = "lz4" if is_local(place) else "zstd"  # a network is slower than either
    with atomic_output(place) as sink:
        frame.write_ipc(sink, compression="uncompressed" if compression == "none" else packed)
    return frame.height


def read_table(place: str | list[str], columns: list[str] | None = None) -> pl.DataFrame:
    """One file of `write_table`, or several of one schema, in the order given; `columns` in theirs."""
    places = [place] if isinstance(place, str) else place
    if all(one.endswith(SCRATCH) for one in places):
        return pl.concat([_read_scratch(one, columns) for one in places], rechunk=True)
    tables = []
    for one in places:
        with fsspec.open(one, "rb") as file:
            tables.append(pq.read_table(file, columns=columns, page_checksum_verification=True))
    frame = pl.from_arrow(pa.concat_tables(tables))
    assert isinstance(frame, pl.DataFrame)
    return frame


def _read_scratch(place: str, columns: list[str] | None) -> pl.DataFrame:
    fs, path = url_to_fs(place)
    with fs.open(path, "rb") as file:
        frame = pl.read_ipc(file, columns=columns)
    return frame if columns is None else frame.select(columns)


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
