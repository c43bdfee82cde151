"""Any supported file -> batches of rows as JSON fragments, streaming, in file order."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any, Final, Literal

import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.ipc
import pyarrow.parquet

from pipeline.errors import LayoutError, UnreadableFileError
from pipeline.ingest.files.elements import FIRST_BYTES, read_elements
from pipeline.ingest.files.flat_objects import plain_fields
from pipeline.ingest.files.sources import ARROW, BLANK, BOM, delimiter, open_plain, open_raw, seekable, skip, sniff, unreadable
from pipeline.ingest.files.wrapped import rows_member
from pipeline.ingest.fragments import Json, decoded, finite, in_fragments, pointer
from pipeline.ingest.records import BROKEN, RAW_CHARACTERS, Rows

BATCH_ROWS: Final = 20_000
BATCH_BYTES: Final = 16 << 20
_LONGEST_LINE: Final = 256 << 20
_MOST_FIELDS: Final = 2_000


def read_rows(place: str, json: Json, *, texts: bool = False, whole: bool = False) -> Iterator[Rows]:
    """The rows of a file, in batches of at most 20,000 rows or about 16 MB of text.

    Args:
        place: local path or fsspec URL of jsonl, json, csv, tsv, parquet or arrow, plain or compressed.
        json: the session of this reader.
        texts: leave fields that are texts decoded where they came decoded (`Rows.texts`), which saves turning them twice.
        whole: read on to the end, so that the first batch need not be a small one.

    Yields:
        Rows with `source_row` counting from 0: physical lines of JSON lines, elements of an array, data rows of a table.

    Raises:
        UnreadableFileError: the file breaks off or is not what its first bytes claim; batches before that are void.
        LayoutError: a table's header names a column twice.
    """
    for rows in _read(place, json, BATCH_BYTES if whole else min(BATCH_BYTES, FIRST_BYTES)):
        yield rows if texts else in_fragments(rows, json)


def _read(place: str, json: Json, first: int) -> Iterator[Rows]:
    kind = sniff(place)
    with unreadable(place):
        if kind == "lines":
            yield from _lines(place, json, first)
        elif kind == "array":
            yield from _elements(place, json, first)
        elif kind == "object":
            yield from _object(place, json, first)
        elif kind == "table":
            yield from _table(place, json)
        elif kind == "parquet":
            yield from _parquet(place, json)
        elif kind in {"arrow", "arrow_stream"}:
            yield from _arrow(place, kind == "arrow", json)


def _lines(place: str, json: Json, first: int) -> Iterator[Rows]:
    number = 0
    with open_plain(place) as file:
        for lines in _blocks_of_lines(file, place, first):
            for start in range(0, len(lines), BATCH_ROWS):
                chunk = lines[start : start + BATCH_ROWS]
                yield _rows_of_lines(chunk, number, place, json)
                number += len(chunk)


def _blocks_of_lines(file: IO[bytes], place: str, first: int) -> Iterator[list[bytes]]:
    waiting: list[bytes] = []
    block = file.read(first).removeprefix(BOM)
    while block:
        following = file.read(BATCH_BYTES)
        done, newline, rest = block.rpartition(b"\n") if following else (block, b"\n", b"")
        if newline:
            yield b"".join([*waiting, done]).split(b"\n")
            waiting = []
        waiting.append(rest)
        if sum(map(len, waiting)) > _LONGEST_LINE:
            raise UnreadableFileError(f"{place}: a line is longer than {_LONGEST_LINE >> 20} MB; expected one JSON object a line.")
        block = following


def _rows_of_lines(lines: list[bytes], number: int, place: str, json: Json) -> Rows:
    frame, undecodable = _texts(pl.Series("line", lines, dtype=pl.Binary), number, BLANK.decode())
    return _rows_of_objects(frame.filter(pl.col("raw") != ""), place, json, undecodable)


def _texts(stored: pl.Series, number: int, blank: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Bytes as text: `source_row` (from `number` on) and `raw`; and those that are none."""
    frame = pl.DataFrame({"line": stored, "raw": decoded(stored)}).with_columns(
        pl.col("raw").str.strip_chars(blank), source_row=pl.int_range(number, number + len(stored), dtype=pl.Int64)
    )
    broken = frame.filter(pl.col("raw").is_null())
    texts = pl.Series([line.decode(errors="replace")[:RAW_CHARACTERS] for line in broken["line"].to_list()], dtype=pl.String)
    undecodable = _broken(broken["source_row"], "invalid_utf8", "bytes that are not UTF-8; expected UTF-8 text", texts)
    return frame.filter(pl.col("raw").is_not_null()).select("source_row", "raw"), undecodable


def _rows_of_objects(frame: pl.DataFrame, place: str, json: Json, broken: pl.DataFrame) -> Rows:
    """Split `raw` (JSON text) into one column per key."""
    plain = plain_fields(frame["raw"])
    if plain is not None:
        fields = {name: f"f{i}" for i, name in enumerate(plain)}
        columns = {fields[name]: column for name, (column, _) in plain.items()}
        return Rows(frame.with_columns(**columns), fields, broken, texts=frozenset(name for name, (_, text) in plain.items() if text))
    kinds = json.kinds(frame["raw"])
    bad = frame.filter(kinds.is_null())
    other = frame.with_columns(kind=kinds).filter(pl.col("kind").is_not_null() & (pl.col("kind") != "OBJECT"))
    frame = frame.filter((kinds == "OBJECT").fill_null(False))
    broken = pl.concat(
        [
            broken,
            _broken(bad["source_row"], "unparsable_row", "not valid JSON; expected one JSON object", bad["raw"]),
            _broken(other["source_row"], "not_an_object", 'JSON, but not an object; expected {"field": ...}', other["raw"]),
        ]
    )
    names, doubled = json.keys_once(frame["raw"])
    if doubled.height:
        twice = frame[doubled["id"].to_list()]
        broken.extend(_broken(twice["source_row"], "duplicate_field", "twice in one object; expected once", twice["raw"], doubled["key"]))
        frame = frame.filter(~pl.int_range(frame.height, eager=True).is_in(doubled["id"].implode()))
    _check_width(names, place)
    parts = [finite(column) for column in json.extract(frame["raw"], [pointer(name) for name in names])]
    fields = {name: f"f{i}" for i, name in enumerate(names)}
    return Rows(frame.with_columns(**{f"f{i}": column for i, column in enumerate(parts)}), fields, broken)


def _check_width(names: list[str], place: str) -> None:
    if len(names) > _MOST_FIELDS:
        raise UnreadableFileError(
            f"{place}: more than {_MOST_FIELDS} different fields in {BATCH_ROWS} rows; expected rows that share their fields. "
            "Put fields named by data into one field."
        )


def _check_twice(names: list[str], place: str) -> None:
    twice = sorted(name for name, times in Counter(names).items() if times > 1)
    if twice:
        raise LayoutError(f"{place}: the header names {twice[0]!r} twice; expected different names. Rename one in the file.")


def _broken(numbers: pl.Series, reason: str, detail: str, raw: pl.Series | None, field: pl.Series | None = None) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "source_row": numbers,
            "reason": pl.repeat(reason, len(numbers), dtype=pl.String, eager=True),
            "field": field if field is not None else pl.repeat(None, len(numbers), dtype=pl.String, eager=True),
            "detail": pl.repeat(detail, len(numbers), dtype=pl.String, eager=True),
            "raw": raw.str.slice(0, RAW_CHARACTERS) if raw is not None else pl.repeat(None, len(numbers), dtype=pl.String, eager=True),
        },
        schema=BROKEN,
    )


def _elements(place: str, json: Json, first: int, start: int = 0, *, alone: bool = True) -> Iterator[Rows]:
    """The elements of the JSON list that begins `start` bytes into the plain file."""
    number = 0
    with open_plain(place) as file:
        skip(file, start)
        for found in read_elements(file, place, BATCH_BYTES, first=first, alone=alone):
            for begin in range(0, len(found), BATCH_ROWS):
                part = found.slice(begin, BATCH_ROWS)
                frame, undecodable = _texts(part.alias("line"), number, BLANK.decode() + "\n")
                yield _rows_of_objects(frame, place, json, undecodable)
                number += len(part)


def _object(place: str, json: Json, first: int) -> Iterator[Rows]:
    rows = rows_member(place)
    if rows is None:
        yield from _columns(place, json)
    else:
        yield from _elements(place, json, first, rows.start, alone=False)


def _columns(place: str, json: Json) -> Iterator[Rows]:
    """An object of columns: {"col": [...]} or pandas' {"col": {"0": ...}}; the file is held whole."""
    with open_plain(place) as file:
        text = file.read().removeprefix(BOM).decode()
    whole = pl.Series([text])
    if json.kinds(whole)[0] != "OBJECT":
        raise UnreadableFileError(f"{place}: is not one whole JSON object; expected JSON lines, an array, or an object of columns.")
    names = json.keys(whole)
    _check_width(names, place)
    columns = [one[0] for one in json.extract(whole, [pointer(name) for name in names])]
    kinds = set(json.kinds(pl.Series(columns, dtype=pl.String)))
    if not columns or kinds not in ({"ARRAY"}, {"OBJECT"}):
        yield _rows_of_objects(pl.DataFrame({"source_row": [0], "raw": whole}), place, json, BROKEN.to_frame())
        return
    if kinds == {"OBJECT"}:
        members = [json.members(one) for one in columns]
        labels = pl.concat([one["key"] for one in members]).unique(maintain_order=True).to_frame()
        series = [labels.join(one, on="key", how="left", maintain_order="left")["member"] for one in members]
    else:
        series = [json.elements(pl.Series([one]))["element"] for one in columns]
    if len({len(one) for one in series}) != 1:
        lengths = ", ".join(f"{name}: {len(one)}" for name, one in zip(names, series, strict=True))
        raise UnreadableFileError(f"{place}: an object of columns of different lengths ({lengths}); expected equal lengths.")
    fields = {name: f"f{i}" for i, name in enumerate(names)}
    frame = pl.DataFrame({"source_row": pl.int_range(len(series[0]), eager=True)} | {f"f{i}": s for i, s in enumerate(series)})
    for start in range(0, frame.height, BATCH_ROWS):
        yield Rows(frame.slice(start, BATCH_ROWS), fields, BROKEN.to_frame())


def _table(place: str, json: Json) -> Iterator[Rows]:
    wrong: list[tuple[int, str, str]] = []

    def keep(row: pyarrow.csv.InvalidRow) -> Literal["skip", "error"]:
        wrong.append(((row.number or 0) - 2, f"{row.actual_columns} cells; expected {row.expected_columns}, as in the header", row.text))
        return "skip"  # `number` counts from 1 and counts the header

    separator = delimiter(place)
    with _rows_that_fit(place), open_plain(place) as file:
        reader = pyarrow.csv.open_csv(
            file,
            read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=2 * BATCH_BYTES),
            parse_options=pyarrow.csv.ParseOptions(delimiter=separator, newlines_in_values=True, invalid_row_handler=keep),
            convert_options=pyarrow.csv.ConvertOptions(strings_can_be_null=False, check_utf8=False, default_column_type=pa.binary()),  # type: ignore[call-arg]
        )
        names = list(reader.schema.names)
        _check_twice(names, place)
        _check_width(names, place)
        number = 0
        for batch in reader:
            for start in range(0, batch.num_rows, BATCH_ROWS):
                part = batch.slice(start, BATCH_ROWS)
                taken = pl.Series([row[0] for row in wrong], dtype=pl.Int64)
                numbers = pl.int_range(number, number + part.num_rows + len(taken), eager=True)
                numbers = numbers.filter(~numbers.is_in(taken.implode())).head(part.num_rows)
                before = [row for row in wrong if row[0] <= (numbers[-1] if len(numbers) else number)]
                wrong[:] = wrong[len(before) :]
                yield _rows_of_cells(part, names, numbers, before, json)
                number = numbers[-1] + 1
        if wrong:
            yield _rows_of_cells(None, names, pl.Series([], dtype=pl.Int64), wrong, json)


@contextmanager
def _rows_that_fit(place: str) -> Iterator[None]:
    try:
        yield
    except pa.ArrowInvalid as error:
        if "straddl" not in str(error):
            raise
        raise UnreadableFileError(
            f"{place}: a row is longer than {2 * BATCH_BYTES >> 20} MB; expected shorter ones in CSV and TSV. "
            "Write it as JSON lines, or close the quote that makes it so long."
        ) from error


def _rows_of_cells(
    batch: pa.RecordBatch | None, names: list[str], numbers: pl.Series, wrong: list[tuple[int, str, str]], json: Json
) -> Rows:
    stored = [pl.Series(batch.column(i)) if batch else pl.Series([], dtype=pl.Binary) for i in range(len(names))]
    cells = pl.DataFrame({f"f{i}": decoded(column) for i, column in enumerate(stored)})
    undecodable = pl.Series(cells.select(pl.any_horizontal(pl.all().is_null()))).rename("bad")
    kept, texts = [], []
    for name, field in zip(cells.columns, names, strict=True):
        cell = cells[name]
        nested = cell.str.contains(r"^\s*[\[{]").fill_null(False)
        if nested.any():
            nested = nested & json.valid(pl.select(pl.when(nested).then(cell)).to_series()).fill_null(False)
        if not nested.any():
            kept.append(cell)
            texts.append(field)
            continue
        quoted = json.quote(cells.select(name))[name]
        kept.append(pl.select(pl.when(nested).then(cell.str.strip_chars_start()).otherwise(quoted).alias(name)).to_series())
    frame = pl.DataFrame({"source_row": numbers} | {s.name: s for s in kept})
    broken = pl.concat(
        [
            pl.DataFrame(
                {
                    "source_row": [row[0] for row in wrong],
                    "reason": ["wrong_column_count"] * len(wrong),
                    "field": [None] * len(wrong),
                    "detail": [row[1] for row in wrong],
                    "raw": [row[2][:RAW_CHARACTERS] for row in wrong],
                },
                schema=BROKEN,
            ),
            _broken(numbers.filter(undecodable), "invalid_utf8", "bytes that are not UTF-8; expected UTF-8 text", None),
        ]
    )
    fields = {name: f"f{i}" for i, name in enumerate(names)}
    return Rows(frame.filter(~undecodable), fields, broken, cells=True, texts=frozenset(texts))


def _parquet(place: str, json: Json) -> Iterator[Rows]:
    with seekable(place) as there, open_raw(there) as file:
        parquet = pa.parquet.ParquetFile(file)
        about = parquet.metadata
        size = sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups))
        rows = max(64, min(BATCH_ROWS, BATCH_BYTES * about.num_rows // max(size, 1)))
        yield from _typed_rows(parquet.iter_batches(batch_size=rows), list(parquet.schema_arrow.names), place, json)


def _arrow(place: str, random_access: bool, json: Json) -> Iterator[Rows]:
    """Arrow IPC: the file format (Feather version 2), which is read from its end, or the stream."""
    file: Any  # pyarrow's stubs want an IOBase
    if not random_access:
        with open_plain(place) as file, pa.ipc.open_stream(file) as stream:
            yield from _typed_rows(_sliced(stream), stream.schema.names, place, json)
        return
    with seekable(place) as there, open_raw(there) as file:
        file.seek(-len(ARROW), 2)
        if file.read() != ARROW:
            raise UnreadableFileError(f"{place}: is an Arrow file without its end; it was cut off. Get the file again.")
        parts = pa.ipc.open_file(file)
        batches = (parts.get_batch(i) for i in range(parts.num_record_batches))
        yield from _typed_rows(_sliced(batches), parts.schema.names, place, json)


def _sliced(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        rows = max(64, min(BATCH_ROWS, BATCH_BYTES * batch.num_rows // max(batch.nbytes, 1)))
        yield from (batch.slice(start, rows) for start in range(0, batch.num_rows, rows))


def _typed_rows(batches: Iterable[pa.RecordBatch], names: list[str], place: str, json: Json) -> Iterator[Rows]:
    _check_width(names, place)
    _check_twice(names, place)
    fields = {name: f"f{i}" for i, name in enumerate(names)}
    number = 0
    for batch in batches:
        columns = dict(zip(names, map(_plain_column, batch.columns), strict=True))
        texts = {name: column for name, column in columns.items() if _is_text(column.type) and not column.null_count}
        others = [name for name in names if name not in texts]
        numbers = pl.int_range(number, number + batch.num_rows, dtype=pl.Int64, eager=True)
        rest = pa.table([columns[name] for name in others], names=[fields[name] for name in others])
        frame = json.typed(rest) if others else pl.DataFrame()
        known = [pl.Series(fields[name], column, dtype=pl.String) for name, column in texts.items()]
        frame = pl.DataFrame([numbers.alias("source_row"), *(finite(frame[name]) for name in frame.columns), *known])
        yield Rows(frame.select("source_row", *fields.values()), fields, BROKEN.to_frame(), texts=frozenset(texts))
        number += batch.num_rows


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _plain_column(column: "pa.Array[Any]") -> "pa.Array[Any]":
    """A column DuckDB can turn to JSON: bytes as text where they are text, what it has no type for as text."""
    kind = column.type
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        try:
            return column.cast(pa.binary()).cast(pa.string())
        except pa.ArrowInvalid:
            return column
    if pa.types.is_float16(kind):
        return column.cast(pa.float32())
    if pa.types.is_duration(kind) or pa.types.is_interval(kind):
        return pa.array([None if value is None else str(value) for value in column.to_pylist()], pa.string())
    return column
