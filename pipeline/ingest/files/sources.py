"""EDGE: opens raw files (any fsspec place, plain or compressed) and finds out what they are from their bytes."""

import bz2
import csv
import errno
import gzip
import io
import json
import lzma
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import IO, Any, Final, Literal

import duckdb
import fsspec
import ijson
import polars as pl
import pyarrow as pa

from pipeline.errors import PrefineError, UnreadableFileError

Kind = Literal["empty", "lines", "array", "object", "table", "parquet", "arrow", "arrow_stream"]
Packing = Literal["gzip", "bz2", "xz", "zstd"]

ARROW: Final = b"ARROW1"  # at both ends of Arrow's file format
BOM: Final = b"\xef\xbb\xbf"
BLANK: Final = b" \t\r"  # what may stand on a line that is no row
_SNIFF_BYTES: Final = 1 << 20
_PACKED: Final[dict[bytes, Packing]] = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bz2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    **{bytes([0x50 + i, 0x2A, 0x4D, 0x18]): "zstd" for i in range(16)},  # a zstd file may begin with a frame to skip
}
_PACKED_ENDINGS: Final = (".gz", ".bz2", ".xz", ".zst", ".zstd")
_FOREIGN: Final = {
    **{magic: f"{packing}-compressed twice" for magic, packing in _PACKED.items()},
    b"PK\x03\x04": "a zip archive that cannot be opened, inside another one, or not called .zip",
    b"PK\x05\x06": "an empty zip archive",
    b"FEA1": "Feather version 1, which pyarrow wrote before 2020; write it again as version 2 (Arrow IPC)",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
    b"\x04\x22\x4d\x18": "lz4-compressed",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a rar archive",
    b"SQLite format 3": "an SQLite database",
}
_EXPECTED: Final = "UTF-8 JSON, CSV or TSV, Parquet or Arrow, plain or as gzip, bz2, xz, zst, or a member of a zip archive"
_BOMB_BYTES: Final = 1 << 28  # a copy this large is only made of a file that is not a thousandth of it
_BOMB_RATIO: Final = 1000
_FAILURES: Final = (
    OSError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    csv.Error,
    UnicodeDecodeError,
    json.JSONDecodeError,
    ijson.JSONError,
    pa.ArrowException,
    duckdb.Error,
    pl.exceptions.ComputeError,
)
# What the operating system says about one file, not about the way to it; decompressors give no number.
_OF_THE_FILE: Final = (None, errno.EACCES, errno.EPERM, errno.ENOENT, errno.EISDIR, errno.EINVAL)


@contextmanager
def unreadable(place: str) -> Iterator[None]:
    """Turn a library's complaint about a file's bytes into UnreadableFileError."""
    try:
        yield
    except PrefineError:
        raise
    except _FAILURES as error:
        if isinstance(error, OSError) and (error.errno not in _OF_THE_FILE or isinstance(error, ConnectionError | TimeoutError)):
            raise  # the disk or the network: it may pass
        reason = " ".join((str(error) or type(error).__name__).split())
        raise UnreadableFileError(
            f"{place}: cannot be read to its end: {reason.removesuffix('.')}. Expected {_EXPECTED}; "
            "get the file again, or take it out of the source's `uri`."
        ) from error


@contextmanager
def open_raw(place: str) -> Iterator[IO[bytes]]:
    """The stored bytes; those of a member of a zip archive after unpacking.

    Raises:
        UnreadableFileError: a member needs a password, or a way of packing that Python does not know.
    """
    source = fsspec.open(place, "rb")  # held: an archive is closed with the object that opened it
    try:
        opened = source.open()
    except RuntimeError as error:
        raise UnreadableFileError(f"{place}: {error}. Unpack the archive and name its files in the source's `uri`.") from error
    with _own(opened) as file:
        yield file


def _own(file: IO[bytes]) -> IO[bytes]:
    """A file with a position of its own; all who open one name of fsspec's memory file system share one."""
    return io.BytesIO(file.getvalue()) if isinstance(file, io.BytesIO) else file


@contextmanager
def open_plain(place: str) -> Iterator[IO[bytes]]:
    """The bytes after decompression; what the file's first bytes say counts, not its name."""
    packing = packing_of(place)
    with open_raw(place) as file:
        if packing is None:
            yield file
            return
        with _unpacked(file, packing) as plain:
            yield plain


def _unpacked(file: IO[bytes], packing: Packing) -> IO[bytes]:
    if packing == "bz2":
        return bz2.open(file)
    if packing == "xz":
        return lzma.open(file)
    stream = gzip.GzipFile(fileobj=file) if packing == "gzip" else _Zstd(file)
    return io.BufferedReader(stream, 1 << 20)


class _Zstd(io.RawIOBase):
    """All frames of a zstd file."""

    def __init__(self, file: Any) -> None:  # noqa: ANN401 - pyarrow's stubs want an IOBase
        self._stream = pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any writable buffer
        found = self._stream.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)


def packing_of(place: str) -> Packing | None:
    """How the stored bytes are compressed; None when they are not."""
    with open_raw(place) as file:
        head = file.read(6)
    return next((packing for magic, packing in _PACKED.items() if head.startswith(magic)), None)


@contextmanager
def seekable(place: str) -> Iterator[str]:
    """The place of the file's plain bytes; a temporary copy of a packed file, which cannot be read from its end.

    Raises:
        UnreadableFileError: the file unpacks to so many times its size that it is no data.
    """
    packed = packing_of(place) is not None
    if not packed and not place.startswith("zip://"):
        yield place
        return
    stored = _stored_bytes(place)
    with tempfile.NamedTemporaryFile(suffix=".plain") as copy:
        with open_plain(place) as plain:
            while block := plain.read(1 << 20):
                copy.write(block)
                if copy.tell() > max(_BOMB_BYTES, _BOMB_RATIO * stored):
                    raise UnreadableFileError(
                        f"{place}: unpacks to more than {_BOMB_RATIO} times its {stored} bytes; expected data. "
                        "Unpack it and look at it, or take it out of the source's `uri`."
                    )
        copy.flush()
        yield copy.name


def _stored_bytes(place: str) -> int:
    fs, path = fsspec.core.url_to_fs(place)
    about = fs.info(path)
    return int(about.get("compress_size") or about["size"] or 0)


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
    """The name's ending without what says that it is compressed: `.jsonl`, `.csv` ..."""
    name = place.removeprefix("zip://").split("::")[0].rsplit("/", 1)[-1].lower()
    for packed in _PACKED_ENDINGS:
        name = name.removesuffix(packed)
    return "." + name.rsplit(".", 1)[-1] if "." in name else ""


def sniff(place: str) -> Kind:
    """What a file is: from its first bytes, and only where those leave a choice from its name's ending.

    Raises:
        UnreadableFileError: neither JSON, CSV, TSV, Parquet nor Arrow.
    """
    with unreadable(place), open_plain(place) as file:
        head = file.read(_SNIFF_BYTES)
        if head.startswith(b"PAR1"):
            return "parquet"
        if head.startswith(ARROW):
            return "arrow"
        if head.startswith(b"\xff\xff\xff\xff"):
            return "arrow_stream"
        for magic, what in _FOREIGN.items():
            if head.startswith(magic):
                raise UnreadableFileError(f"{place}: is {what}; expected {_EXPECTED}. Convert it first.")
        if head[257:262] == b"ustar":
            raise UnreadableFileError(f"{place}: is a tar archive; expected {_EXPECTED}. Unpack it and name its folder.")
        text = head.removeprefix(BOM).lstrip()
        while not text and head:
            head = file.read(_SNIFF_BYTES)
            text = head.lstrip()
        if not text:
            return "empty"
        whole = len(head) < _SNIFF_BYTES
    end = ending(place)
    if end in {".csv", ".tsv"}:
        return "table"
    if end == ".parquet":
        raise UnreadableFileError(f"{place}: is not Parquet (no PAR1 at its start). Rename it by what it is, or get it again.")
    if end in {".arrow", ".feather", ".ipc"}:
        raise UnreadableFileError(f"{place}: is not Arrow (no ARROW1 at its start). Rename it by what it is, or get it again.")
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
    """JSON lines, or one object that holds columns or a list of rows, in a file not called .jsonl."""
    lines = [line for line in text.splitlines() if line.strip()]
    complete = (lines if whole else lines[:-1])[:100]
    if len(lines) == 1 and whole:
        value = _parsed(lines[0])
        return "lines" if isinstance(value, dict) and not any(isinstance(one, list | dict) for one in value.values()) else "object"
    # Inside one object that is printed over lines, a line alone is hardly ever JSON: only the last element of a list is.
    good = sum(_is_json(line) for line in complete)
    return "lines" if complete and (_is_json(complete[0]) or 2 * good >= len(complete)) else "object"


def _parsed(text: bytes) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _is_json(text: bytes) -> bool:
    return _parsed(text) is not None


def delimiter(place: str) -> str:
    """What separates a table's cells, from its header line and where that leaves a choice from its ending."""
    with unreadable(place), open_plain(place) as file:
        header = file.read(_SNIFF_BYTES).removeprefix(BOM).lstrip(b"\r\n").split(b"\n", 1)[0]
    first, other = (b"\t", b",") if ending(place) == ".tsv" else (b",", b"\t")
    return next((c for c in (first, other, b";") if c in header), first).decode()


def skip(file: IO[bytes], size: int) -> None:
    """Read past that many bytes of a file that may not be seekable."""
    while size > 0 and (block := file.read(min(size, 1 << 20))):
        size -= len(block)
