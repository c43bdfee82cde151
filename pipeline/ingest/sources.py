"""EDGE: opens raw files (any fsspec place, plain or gzip) and finds out what they are from their bytes."""

import csv
import gzip
import io
import json
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import IO, Any, Final, Literal

import duckdb
import fsspec
import ijson
import pyarrow as pa

from pipeline.errors import PrefineError, UnreadableFileError

Kind = Literal["empty", "lines", "array", "columns", "table", "parquet"]

BOM: Final = b"\xef\xbb\xbf"
BLANK: Final = b" \t\r"  # what may stand on a line that is no row
_SNIFF_BYTES: Final = 1 << 20
_FOREIGN: Final = {
    b"\x28\xb5\x2f\xfd": "zstd-compressed",
    b"BZh": "bzip2-compressed",
    b"\xfd7zXZ": "xz-compressed",
    b"PK\x03\x04": "a zip archive",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}
_FAILURES: Final = (
    OSError,
    EOFError,
    zlib.error,
    csv.Error,
    UnicodeDecodeError,
    json.JSONDecodeError,
    ijson.JSONError,
    pa.ArrowException,
    duckdb.Error,
)


@contextmanager
def unreadable(place: str) -> Iterator[None]:
    """Turn a library's complaint about a file's bytes into UnreadableFileError."""
    try:
        yield
    except PrefineError:
        raise
    except _FAILURES as error:
        reason = " ".join((str(error) or type(error).__name__).split())
        raise UnreadableFileError(
            f"{place}: cannot be read to its end: {reason} Expected whole JSON lines, JSON, CSV, TSV or Parquet, plain or gzip; "
            "get the file again, or take it out of the source's `uri`."
        ) from error


@contextmanager
def open_raw(place: str) -> Iterator[IO[bytes]]:
    """The stored bytes."""
    with _own(fsspec.open(place, "rb").open()) as file:
        yield file


def _own(file: IO[bytes]) -> IO[bytes]:
    """A file with a position of its own; all who open one name of fsspec's memory file system share one."""
    return io.BytesIO(file.getvalue()) if isinstance(file, io.BytesIO) else file


@contextmanager
def open_plain(place: str) -> Iterator[IO[bytes]]:
    """The bytes after decompression; what the file's first bytes say counts, not its name."""
    packed = is_gzip(place)
    with open_raw(place) as file:
        if packed:
            with gzip.open(file, "rb") as plain:
                yield io.BufferedReader(plain, 1 << 20)
        else:
            yield file


def is_gzip(place: str) -> bool:
    """Whether the stored bytes are gzip."""
    with open_raw(place) as file:
        return file.read(2) == b"\x1f\x8b"


@contextmanager
def seekable(place: str) -> Iterator[str]:
    """The place of the file's plain bytes; a temporary copy of a gzip file, which cannot be read from its end."""
    if not is_gzip(place):
        yield place
        return
    with tempfile.NamedTemporaryFile(suffix=".plain") as copy:
        with open_plain(place) as plain:
            shutil.copyfileobj(plain, copy, 1 << 20)
        copy.flush()
        yield copy.name


class OneFile(fsspec.AbstractFileSystem):  # type: ignore[misc]
    """A file system with one file, so that no name from the user is a glob or a path to DuckDB."""

    protocol = "source"
    cachable = False

    def __init__(self, place: str) -> None:
        super().__init__()
        self._place = place

    def glob(self, path: str, **_: object) -> list[str]:
        return [path]

    def info(self, path: str, **_: object) -> dict[str, Any]:
        fs, inner = fsspec.core.url_to_fs(self._place)
        return {"name": path, "size": fs.size(inner), "type": "file"}

    def modified(self, path: str) -> datetime:
        return datetime(1970, 1, 1, tzinfo=UTC)  # asked for before a read; nothing depends on it

    def open(self, path: str, mode: str = "rb", **_: object) -> IO[bytes]:
        return _own(fsspec.open(self._place, "rb").open())


def ending(place: str) -> str:
    """The name's ending without `.gz`: `.jsonl`, `.csv` ..."""
    name = place.rsplit("/", 1)[-1].lower().removesuffix(".gz")
    return "." + name.rsplit(".", 1)[-1] if "." in name else ""


def sniff(place: str) -> Kind:
    """What a file is: from its first bytes, and only where those leave a choice from its name's ending.

    Raises:
        UnreadableFileError: neither JSON, CSV, TSV nor Parquet.
    """
    with unreadable(place), open_plain(place) as file:
        head = file.read(_SNIFF_BYTES)
        if head.startswith(b"PAR1"):
            return "parquet"
        for magic, what in _FOREIGN.items():
            if head.startswith(magic):
                raise UnreadableFileError(f"{place}: is {what}; expected UTF-8 text or Parquet, plain or gzip. Convert it first.")
        text = head.removeprefix(BOM).lstrip()
        while not text and head:
            head = file.read(_SNIFF_BYTES)
            text = head.lstrip()
        if not text:
            return "empty"
        whole = not head[len(head) - 1 :] or len(head) < _SNIFF_BYTES
    end = ending(place)
    if end in {".csv", ".tsv"}:
        return "table"
    if end == ".parquet":
        raise UnreadableFileError(f"{place}: is not Parquet (no PAR1 at its start). Rename it by what it is, or get it again.")
    lines = end in {".jsonl", ".ndjson"}
    if text[:1] == b"[":
        return "lines" if lines and _first_line_is_json(text) else "array"
    if text[:1] == b"{":
        return "lines" if lines else _object_kind(text, whole)
    if lines or end == ".json":
        return "lines"
    raise UnreadableFileError(f"{place}: is neither JSON nor Parquet; CSV and TSV are known by their endings .csv and .tsv. Rename it.")


def _first_line_is_json(text: bytes) -> bool:
    first, newline, rest = text.partition(b"\n")
    return bool(newline and rest.strip()) and _is_json(first)


def _object_kind(text: bytes, whole: bool) -> Kind:
    """JSON lines, or one object that holds columns, in a file not called .jsonl."""
    lines = [line for line in text.splitlines() if line.strip()]
    complete = lines if whole else lines[:-1]
    if lines[0].strip() == b"{":
        return "columns"  # printed over several lines
    if not complete:
        return "columns"  # one line longer than the sniffed block
    if len(lines) == 1:
        value = _parsed(lines[0])
        return "columns" if isinstance(value, dict) and _holds_columns(value) else "lines"
    return "lines" if any(_is_json(line) for line in complete[:100]) else "columns"


def _holds_columns(value: dict[str, Any]) -> bool:
    kinds = {type(one) for one in value.values()}
    return bool(value) and (kinds == {list} or kinds == {dict}) and len({len(one) for one in value.values()}) == 1


def _parsed(text: bytes) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _is_json(text: bytes) -> bool:
    return _parsed(text) is not None


def delimiter(place: str) -> str:
    """What separates a table's cells, from its header line and where that leaves a choice from its ending."""
    with unreadable(place), open_plain(place) as file:
        header = file.read(_SNIFF_BYTES).removeprefix(BOM).lstrip(b"\r\n").split(b"\n", 1)[0]
    first, other = (b"\t", b",") if ending(place) == ".tsv" else (b",", b"\t")
    return next((c for c in (first, other, b";") if c in header), first).decode()
