"""Any supported file -> batches of rows as JSON fragments, streaming, in file order."""

from collections.abc import Iterable, Iterator
from typing import IO, Any, Final, Literal

import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from pipeline.errors import LayoutError, UnreadableFileError
from pipeline.ingest.fragments import Json, connect, decoded, pointer
from pipeline.ingest.records import BROKEN, RAW_CHARACTERS, Rows
from pipeline.ingest.sources import BLANK, BOM, OneFile, delimiter, is_gzip, open_plain, open_raw, seekable, sniff, unreadable

BATCH_ROWS: Final = 20_000
BATCH_BYTES: Final = 8 << 20
_LONGEST_LINE: Final = 256 << 20
_MOST_FIELDS: Final = 2_000


def read_rows(place: str, json: Json) -> Iterator[Rows]:
    """The rows of a file, in batches of at most 20,000 rows or about 8 MB of text.

    Args:
        place: local path or fsspec URL of jsonl, json, csv, tsv or parquet, plain or gzip.
        json: the session of this reader.

    Yields:
        Rows with `source_row` counting from 0: physical lines of JSON lines, elements of an array, data rows of a table.

    Raises:
        UnreadableFileError: the file breaks off or is not what its first bytes claim; batches before that are void.
        LayoutError: a table's header names a column twice.
    """
    kind = sniff(place)
    with unreadable(place):
        if kind == "lines":
            yield from _lines(place, json)
        elif kind == "array":
            yield from _array(place, json)
        elif kind == "columns":
            yield from _columns(place, json)
        elif kind == "table":
            yield from _table(place, json)
        elif kind == "parquet":
            yield from _parquet(place, json)


def _lines(place: str, json: Json) -> Iterator[Rows]:
    number = 0
    with open_plain(place) as file:
        for lines in _blocks_of_lines(file, place):
            for start in range(0, len(lines), BATCH_ROWS):
                chunk = lines[start : start + BATCH_ROWS]
                yield _rows_of_lines(chunk, number, place, json)
                number += len(chunk)


def _blocks_of_lines(file: IO[bytes], place: str) -> Iterator[list[bytes]]:
    waiting: list[bytes] = []
    block = file.read(BATCH_BYTES).removeprefix(BOM)
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
    stored = pl.Series("line", lines, dtype=pl.Binary)
    frame = pl.DataFrame({"line": stored, "raw": decoded(stored)}).with_columns(
        pl.col("raw").str.strip_chars(BLANK.decode()), source_row=pl.int_range(number, number + len(lines), dtype=pl.Int64)
    )
    broken = frame.filter(pl.col("raw").is_null())
    texts = pl.Series([line.decode(errors="replace")[:RAW_CHARACTERS] for line in broken["line"].to_list()], dtype=pl.String)
    undecodable = _broken(broken["source_row"], "invalid_utf8", "bytes that are not UTF-8; expected UTF-8 text", texts)
    frame = frame.filter(pl.col("raw") != "").select("source_row", "raw")
    return _rows_of_objects(frame, place, json, undecodable)


def _rows_of_objects(frame: pl.DataFrame, place: str, json: Json, broken: pl.DataFrame) -> Rows:
    """Split `raw` (JSON text) into one fragment column per key."""
    kinds = json.kinds(frame["raw"])
    bad = frame.filter(kinds.is_null())
    other = frame.with_columns(kind=kinds).filter(pl.col("kind").is_not_null() & (pl.col("kind") != "OBJECT"))
    frame = frame.filter((kinds == "OBJECT").fill_null(False))
    broken = pl.concat(
        [
            broken,
            _broken(bad["source_row"], "unparsable_row", "not valid JSON; expected one JSON object", bad["raw"]),
            _broken(other["source_row"], "not_an_object", "JSON, but not an object; expected {\"field\": ...}", other["raw"]),
        ]
    )
    names = json.keys(frame["raw"])
    _check_width(names, place)
    columns = json.extract(frame["raw"], [pointer(name) for name in names])
    fields = {name: f"f{i}" for i, name in enumerate(names)}
    return Rows(frame.with_columns(**{f"f{i}": column for i, column in enumerate(columns)}), fields, broken)


def _check_width(names: list[str], place: str) -> None:
    if len(names) > _MOST_FIELDS:
        raise UnreadableFileError(
            f"{place}: more than {_MOST_FIELDS} different fields in {BATCH_ROWS} rows; expected rows that share their fields. "
            "Put fields named by data into one field."
        )


def _broken(numbers: pl.Series, reason: str, detail: str, raw: pl.Series | None) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "source_row": numbers,
            "reason": pl.repeat(reason, len(numbers), dtype=pl.String, eager=True),
            "field": pl.repeat(None, len(numbers), dtype=pl.String, eager=True),
            "detail": pl.repeat(detail, len(numbers), dtype=pl.String, eager=True),
            "raw": raw.str.slice(0, RAW_CHARACTERS) if raw is not None else pl.repeat(None, len(numbers), dtype=pl.String, eager=True),
        },
        schema=BROKEN,
    )


_ARRAY_SQL: Final = """
    select json::varchar as raw
    from read_json_objects('source://file', format = 'array', maximum_object_size = 67108864, compression = 'uncompressed')
"""
_ARRAY_SQL_GZIP: Final = _ARRAY_SQL.replace("'uncompressed'", "'gzip'")


def _array(place: str, json: Json) -> Iterator[Rows]:
    session = connect()
    try:
        session.register_filesystem(OneFile(place))
        reader = session.sql(_ARRAY_SQL_GZIP if is_gzip(place) else _ARRAY_SQL).to_arrow_reader(2048)
        number = 0
        for batch in _gathered(reader):
            raw = pl.Series("raw", pl.Series(batch.column("raw")), dtype=pl.String)
            frame = pl.DataFrame({"source_row": pl.int_range(number, number + len(raw), eager=True), "raw": raw})
            yield _rows_of_objects(frame, place, json, BROKEN.to_frame())
            number += len(raw)
    finally:
        session.close()


def _gathered(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Small record batches joined to the size the other readers have."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        waiting.append(batch)
        if sum(b.nbytes for b in waiting) >= BATCH_BYTES or sum(b.num_rows for b in waiting) > BATCH_ROWS - 2048:
            yield pa.Table.from_batches(waiting)
            waiting = []
    if waiting:
        yield pa.Table.from_batches(waiting)


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
    with open_plain(place) as file:
        reader = pyarrow.csv.open_csv(
            file,
            read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=2 * BATCH_BYTES),
            parse_options=pyarrow.csv.ParseOptions(delimiter=separator, newlines_in_values=True, invalid_row_handler=keep),
            convert_options=pyarrow.csv.ConvertOptions(strings_can_be_null=False, check_utf8=False, default_column_type=pa.binary()),  # type: ignore[call-arg]
        )
        names = list(reader.schema.names)
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise LayoutError(f"{place}: the header names {twice[0]!r} twice; expected different names. Rename one in the file.")
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


def _rows_of_cells(
    batch: pa.RecordBatch | None, names: list[str], numbers: pl.Series, wrong: list[tuple[int, str, str]], json: Json
) -> Rows:
    stored = [pl.Series(batch.column(i)) if batch else pl.Series([], dtype=pl.Binary) for i in range(len(names))]
    cells = pl.DataFrame({f"f{i}": decoded(column) for i, column in enumerate(stored)})
    undecodable = pl.Series(cells.select(pl.any_horizontal(pl.all().is_null()))).rename("bad")
    quoted = json.quote(cells)
    kept = []
    for name in cells.columns:
        cell = cells[name]
        nested = cell.str.contains(r"^\s*[\[{]").fill_null(False)
        if nested.any():
            candidates = pl.select(pl.when(nested).then(cell)).to_series()
            nested = nested & json.valid(candidates).fill_null(False)
        kept.append(pl.select(pl.when(nested).then(cell.str.strip_chars_start()).otherwise(quoted[name]).alias(name)).to_series())
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
    return Rows(frame.filter(~undecodable), {name: f"f{i}" for i, name in enumerate(names)}, broken, cells=True)


def _parquet(place: str, json: Json) -> Iterator[Rows]:
    with seekable(place) as there, open_raw(there) as file:
        parquet = pa.parquet.ParquetFile(file)
        about = parquet.metadata
        names = list(parquet.schema_arrow.names)
        _check_width(names, place)
        size = sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups))
        rows = max(64, min(BATCH_ROWS, BATCH_BYTES * about.num_rows // max(size, 1)))
        number = 0
        for batch in parquet.iter_batches(batch_size=rows):
            columns = pa.table([_plain_column(column) for column in batch.columns], names=[f"f{i}" for i in range(len(names))])
            frame = json.typed(columns)
            numbers = pl.int_range(number, number + batch.num_rows, dtype=pl.Int64, eager=True)
            yield Rows(frame.insert_column(0, numbers.alias("source_row")), {n: f"f{i}" for i, n in enumerate(names)}, BROKEN.to_frame())
            number += batch.num_rows


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
