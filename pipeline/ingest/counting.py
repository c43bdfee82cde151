"""An independent count of a file's rows: other libraries than the readers, nothing shared but opening the file."""

import csv
import io
from typing import IO, Final

import ijson

from pipeline.ingest.fragments import connect
from pipeline.ingest.sources import BLANK, BOM, OneFile, delimiter, open_plain, seekable, sniff, unreadable

_LONGEST_CELL: Final = 1 << 28


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
            return sum(1 for _ in ijson.items(_after_mark(file), "item"))
        if kind == "columns":
            return _columns(file)
        if kind == "table":
            return _records(file, delimiter(place))
    with unreadable(place):
        return _parquet(place)


def _lines(file: IO[bytes]) -> int:
    first = file.readline()
    rest = sum(1 for line in file if line.rstrip(b"\n").strip(BLANK))
    return rest + bool(first.removeprefix(BOM).rstrip(b"\n").strip(BLANK))


def _after_mark(file: IO[bytes]) -> IO[bytes]:
    if file.read(len(BOM)) != BOM:
        file.seek(0)
    return file


def _columns(file: IO[bytes]) -> int:
    lengths: set[int] = set()
    labels: set[str] = set()
    kinds: set[type] = set()
    for _, value in ijson.kvitems(_after_mark(file), ""):
        kinds.add(type(value))
        if isinstance(value, list):
            lengths.add(len(value))
        elif isinstance(value, dict):
            labels.update(value)
    if kinds == {dict}:
        return len(labels)
    return max(lengths) if kinds == {list} else 1


def _records(file: IO[bytes], separator: str) -> int:
    csv.field_size_limit(_LONGEST_CELL)
    with io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace", newline="") as text:
        return max(0, sum(1 for record in csv.reader(text, delimiter=separator) if record) - 1)


def _parquet(place: str) -> int:
    session = connect()
    try:
        with seekable(place) as there:
            session.register_filesystem(OneFile(there))
            found = session.execute("select count(*) from read_parquet('source://file')").fetchone()
    finally:
        session.close()
    return int(found[0]) if found else 0
