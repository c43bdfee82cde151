"""An independent count of a file's rows: other libraries than the readers, nothing shared but opening the file."""

import csv
import io
from collections import defaultdict
from collections.abc import Iterator
from itertools import accumulate
from operator import countOf, itemgetter
from typing import IO, Any, Final

import ijson
import polars as pl

from pipeline.errors import UnreadableFileError
from pipeline.ingest.files.sources import BLANK, BOM, OneFile, delimiter, open_plain, open_raw, seekable, sniff, unreadable
from pipeline.ingest.files.wrapped import DEPTH, rows_member
from pipeline.ingest.fragments import connect

_LONGEST_CELL: Final = 1 << 28
_READ_BYTES: Final = 8 << 20  # ijson looks again at a text that goes on in the next block: few large ones
# A value's text is not this module's concern: bytes that are not UTF-8 and control characters in it count as a blank.
_ASCII: Final = bytes(code if 32 <= code < 127 else 32 for code in range(256))


def count_rows(place: str) -> int:
    """The rows of a file, as another reader than `read_records` counts them; blank lines are none.

    Args:
        place: local path or fsspec URL.

    Raises:
        UnreadableFileError: the file cannot be read to its end.
    """
    kind = sniff(place)
    if kind == "empty":
        return 0
    with unreadable(place), open_plain(place) as file:
        if kind == "lines":
            return _lines(file)
        if kind == "array":
            events = ijson.basic_parse(_Structure(file), buf_size=_READ_BYTES)
            return countOf(_depths(events), 1) - 1  # the list's start, then each element's end
        if kind == "object":
            rows = rows_member(place)
            return _columns(_Structure(file)) if rows is None else _member(_Structure(file), rows.number)
        if kind == "table":
            return _records(file, place)
    with unreadable(place), seekable(place) as there:
        if kind == "arrow_stream":
            with open_raw(there) as file:  # no unpacking one: polars would read the packed file below it
                return pl.read_ipc_stream(file, columns=[0]).height
        if kind == "arrow":
            with open_raw(there) as file:
                return int(pl.scan_ipc(file).select(pl.len()).collect().item())
        return _parquet(there)


def _lines(file: IO[bytes]) -> int:
    first = file.readline()
    rest = sum(1 for line in file if line.rstrip(b"\n").strip(BLANK))
    return rest + bool(first.removeprefix(BOM).rstrip(b"\n").strip(BLANK))


class _Structure:
    """A JSON file with its texts made plain, so that counting does not stop where one value is bad: that is its row's fault."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._held = file, b""

    def read(self, size: int) -> bytes:
        """At least one byte, but for the end of the file; never cut within an escape."""
        text = b""
        while size and not text:
            block = self._file.read(size)
            text = self._held + block
            odd = (len(text) - len(text.rstrip(b"\\"))) % 2 if block else 0
            self._held = text[len(text) - odd :]
            text = text[: len(text) - odd]
            if not block:
                break
        text = text.translate(_ASCII)
        return text.replace(b"\\\\", b"__").replace(b"\\u", b"__") if b"\\" in text else text


def _depths(events: Iterator[tuple[str, Any]]) -> Iterator[int]:
    return accumulate(map(defaultdict(int, DEPTH).__getitem__, map(itemgetter(0), events)))


def _member(file: _Structure, number: int) -> int:
    """The elements of the list that is the object's member of that number."""
    depth, keys, found = 0, -1, 0
    for event, _ in ijson.basic_parse(file, buf_size=_READ_BYTES):
        before, depth = depth, depth + DEPTH.get(event, 0)
        keys += depth == 1 and event == "map_key"
        found += keys == number and depth == 2 and before >= 2
    return found


def _columns(file: _Structure) -> int:
    depth, found = 0, 0
    lengths, labels, kinds = set[int](), set[str](), set[str]()
    for event, value in ijson.basic_parse(file, buf_size=_READ_BYTES):
        before, depth = depth, depth + DEPTH.get(event, 0)
        if before == 1 and event not in {"map_key", "end_map"}:
            kinds.add(event)
            found = 0
        elif depth == 2 and event == "map_key":
            labels.add(value)
        elif depth == 2:
            found += 1
        elif depth == 1 and before == 2:
            lengths.add(found)
    if kinds == {"start_map"}:
        return len(labels)
    return max(lengths) if kinds == {"start_array"} else 1


class _Text:
    """The lines of a table, and whether more were asked for than there are."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text, self.ended = text, False

    def __iter__(self) -> Iterator[str]:
        yield from self._text
        self.ended = True


def _records(file: IO[bytes], place: str) -> int:
    csv.field_size_limit(_LONGEST_CELL)
    found = -1
    with io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace", newline="") as opened:
        text = _Text(opened)
        for record in csv.reader(text, delimiter=delimiter(place)):
            found += bool(record)
            if text.ended:  # the last record asked for another line: it stands in quotes that never end
                raise UnreadableFileError(
                    f"{place}: a quote that opens in row {max(found, 1) - 1} is not closed and takes the rest of the file with it; "
                    "expected quotes in pairs. Close it, or double it where it is meant as text."
                )
    return max(0, found)


def _parquet(place: str) -> int:
    session = connect()
    try:
        session.register_filesystem(OneFile(place))
        found = session.execute("select count(*) from read_parquet('source://file')").fetchone()
    finally:
        session.close()
    return int(found[0]) if found else 0
