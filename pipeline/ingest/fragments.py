"""JSON text in columns: the few operations on it that ingest needs, as constant SQL over registered frames.

A fragment is the JSON text of one value, so its type shows in its first character and a wrong type is a fact about one
row. Values reach DuckDB only as bound parameters or registered columns.
"""

import atexit
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import duckdb
import polars as pl
import pyarrow as pa

from pipeline.ingest.records import Rows

_NOT_NUMBERS: Final = ["null", "NaN", "Infinity", "-Infinity", "-NaN", "nan", "inf", "-inf"]  # DuckDB reads all as JSON numbers
_NO_NUMBER: Final = "-?(?:NaN|Infinity)"
_TOKENS: Final = r'"(?:[^"\\]|\\.)*"|[^"]+'

_KIND: Final = """
    select id, json_type(case when json_valid(x) then x end) as kind from rows
"""
_KEYS: Final = """
    select key, min(row(id, place)) as first, count(*) > count(distinct id) as doubled
    from (
        select id, unnest(keys) as key, generate_subscripts(keys, 1) as place
        from (select id, json_keys(x) as keys from rows)
    )
    group by key
    order by first
"""
_DOUBLED: Final = """
    select id, list_sort(list_distinct(list_filter(keys, lambda key: len(list_filter(keys, lambda other: other = key)) > 1))) as doubled
    from (select id, json_keys(x) as keys from rows)
    where len(keys) > len(list_distinct(keys))
    order by id
"""
_EXTRACT: Final = """
    select id, json_extract(x, ?::varchar[])::varchar[] as parts from rows
"""
_TEXTS: Final = """
    select id, json_extract_string(columns(* exclude (id)), '$') from rows
"""
_QUOTE: Final = """
    select to_json(columns(*))::varchar from rows
"""
_ELEMENTS: Final = """
    select id, unnest(parts)::varchar as element, generate_subscripts(parts, 1) - 1 as n
    from (select id, json_extract(x, '$[*]') as parts from rows where x[1] = '[')
    order by id, n
"""
_MEMBERS: Final = """
    select each.key, each.value::varchar as member from rows, json_each(rows.x::json) as each order by each.rowid
"""
_ENTRIES: Final = """
    select rows.id, each.key, each.rowid as n, each.value::varchar as element
    from (select id, x from rows where x[1] = '{') as rows, json_each(rows.x::json) as each
    order by rows.id, each.rowid
"""
_VALID: Final = """
    select id, json_valid(x) as valid from rows
"""
_TURNS: Final = """
    select id, unnest(markers) as role, unnest(texts[2:]) as content, generate_subscripts(markers, 1) - 1 as n
    from (
        select id,
            regexp_extract_all(x, '\n\n(Human|Assistant):', 1) as markers,
            regexp_split_to_array(x, '\n\n(?:Human|Assistant):') as texts
        from rows
    )
    order by id, n
"""


def connect() -> duckdb.DuckDBPyConnection:
    """An in-memory session with bounded memory and no clock or locale of this machine in it."""
    connection = duckdb.connect(":memory:", config={"threads": 1, "memory_limit": "2GB"})
    connection.execute("set TimeZone = 'UTC'")
    connection.execute("set enable_progress_bar = false")
    connection.execute("set preserve_insertion_order = true")  # statements without `order by` count on it
    return connection


# Opening a session takes longer than reading a small file, so one that a reader leaves is the next one's. No two hold the same:
# taking from a list and adding to it are each one step to Python's threads.
_idle: list[duckdb.DuckDBPyConnection] = []
_MOST_IDLE: Final = 16


@atexit.register
def _leave() -> None:
    """Close the idle sessions, and let go of DuckDB: it prints a page of warnings if Python's end finds anything of it in use."""
    while _idle:
        _idle.pop().close()
    globals().clear()


def pointer(*keys: str) -> str:
    """The JSON pointer (RFC 6901) to nested keys."""
    return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in keys)


class Json:
    """Columnar JSON operations; one object belongs to one reader."""

    def __init__(self) -> None:
        """Take a session that is idle, or open one."""
        try:
            self._session = _idle.pop()
        except IndexError:
            self._session = connect()
        self._sound = True
        self._nothing: dict[str, pl.DataFrame] = {}  # what each statement makes of no rows

    def close(self) -> None:
        """Leave the session to the next reader, unless a statement failed in it."""
        session = self._session
        del self._session  # not ours any more
        if self._sound and len(_idle) < _MOST_IDLE:
            _idle.append(session)
        else:
            session.close()

    def _select(self, sql: str, rows: pl.DataFrame, parameters: Sequence[object] = ()) -> pl.DataFrame:
        return self._answer(sql, rows.to_arrow(), parameters)

    def _answer(self, sql: str, rows: pa.Table, parameters: Sequence[object] = ()) -> pl.DataFrame:
        self._session.register("rows", rows)
        try:
            result = self._session.sql(sql, params=list(parameters)) if parameters else self._session.sql(sql)
            frame = pl.from_arrow(result.to_arrow_table())
        except duckdb.Error:
            self._sound = False
            raise
        finally:
            self._session.unregister("rows")
        assert isinstance(frame, pl.DataFrame)
        return frame

    def _over(self, sql: str, fragments: pl.Series, parameters: Sequence[object] = ()) -> pl.DataFrame:
        if len(fragments):
            return self._select(sql, _numbered(fragments), parameters)
        if sql not in self._nothing:
            self._nothing[sql] = self._select(sql, _numbered(fragments), parameters)
        return self._nothing[sql]

    def kinds(self, texts: pl.Series) -> pl.Series:
        """DuckDB's type name of each JSON text (OBJECT, ARRAY, VARCHAR ...); null where it is not JSON."""
        return self._over(_KIND, texts)["kind"]

    def valid(self, texts: pl.Series) -> pl.Series:
        """Whether each text is JSON; null for null."""
        return self._over(_VALID, texts)["valid"]

    def keys(self, objects: pl.Series) -> list[str]:
        """All keys of the objects, in order of first appearance."""
        return self._over(_KEYS, objects)["key"].to_list()

    def keys_once(self, objects: pl.Series) -> tuple[list[str], pl.DataFrame]:
        """All keys as `keys` gives them, and the objects that have one twice: id (position in the series), key (the first such)."""
        keys = self._over(_KEYS, objects)
        if not keys["doubled"].any():
            return keys["key"].to_list(), pl.DataFrame(schema={"id": pl.Int64, "key": pl.String})
        doubled = self._over(_DOUBLED, objects)
        return keys["key"].to_list(), doubled.select(pl.col("id").cast(pl.Int64), key=pl.col("doubled").list.first())

    def extract(self, fragments: pl.Series, pointers: Sequence[str]) -> list[pl.Series]:
        """For each pointer, the fragments it finds; null where there is nothing or a JSON null."""
        if not pointers:
            return []
        parts = self._over(_EXTRACT, fragments, [list(pointers)])["parts"]
        found = [parts.list.get(i, null_on_oob=True) for i in range(len(pointers))]
        return [without_nulls(one) for one in found]

    def texts(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The same columns with each string fragment decoded and every other fragment as it is, to the blank."""
        some = frame.select(one for one in frame if one.null_count() < len(one))
        if not some.width:
            return frame.cast(pl.String)
        decoded_ = self._select(_TEXTS, some.with_row_index("id")).drop("id").cast(pl.String)
        text = [pl.when(pl.col(name).str.starts_with('"')).then(decoded_[name]).otherwise(name).alias(name) for name in some.columns]
        return frame.cast(pl.String).with_columns(some.select(text))

    def quote(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The same columns as string fragments; null stays null."""
        if frame.is_empty():
            return frame.cast(pl.String)
        quoted = self._select(_QUOTE, frame)
        return quoted.select(without_nulls(quoted[name]) for name in quoted.columns)

    def typed(self, columns: pa.Table) -> pl.DataFrame:
        """Typed Arrow columns as fragments; null, NaN and infinities become null."""
        frame = self._answer(_QUOTE, columns)
        return frame.select(without_nulls(frame[name]) for name in frame.columns)

    def elements(self, fragments: pl.Series) -> pl.DataFrame:
        """The elements of list fragments: id (position in the series), n (0-based), element (null for a JSON null)."""
        frame = self._over(_ELEMENTS, fragments)
        return frame.select(pl.col("id").cast(pl.Int64), pl.col("n").cast(pl.Int64), without_nulls(frame["element"]))

    def entries(self, fragments: pl.Series) -> pl.DataFrame:
        """The members of object fragments: id (position in the series), n (0-based), key, element (null for a JSON null)."""
        frame = self._over(_ENTRIES, fragments)
        return frame.select(pl.col("id", "n").cast(pl.Int64), "key", without_nulls(frame["element"]))

    def members(self, one: str) -> pl.DataFrame:
        """The members of one object fragment, in its order: key, member (null for a JSON null)."""
        frame = self._select(_MEMBERS, pl.DataFrame({"x": [one]}))
        return frame.select("key", without_nulls(frame["member"]))

    def turns(self, transcripts: pl.Series) -> pl.DataFrame:
        r"""The turns of transcripts that start with a marker ``\n\nHuman:`` or ``\n\nAssistant:``: id, n, role, content."""
        frame = self._over(_TURNS, transcripts)
        return frame.select(pl.col("id").cast(pl.Int64), pl.col("n").cast(pl.Int64), "role", "content")


def in_fragments(rows: Rows, json: Json) -> Rows:
    """The same rows with every field as fragments."""
    if not rows.texts:
        return rows
    columns = [rows.fields[name] for name in sorted(rows.texts)]
    return replace(rows, frame=rows.frame.with_columns(*json.quote(rows.frame.select(columns))), texts=frozenset())


def decoded(texts: pl.Series) -> pl.Series:
    """Bytes as text; null where they are not UTF-8."""
    try:
        return texts.cast(pl.String)
    except pl.exceptions.ComputeError:  # says that some row is bad, not which
        if len(texts) == 1:
            return pl.Series(texts.name, [None], dtype=pl.String)
    half = len(texts) // 2
    return decoded(texts[:half]).append(decoded(texts[half:]))


def _numbered(fragments: pl.Series) -> pl.DataFrame:
    return pl.DataFrame({"id": pl.int_range(len(fragments), eager=True), "x": fragments.cast(pl.String)})


def without_nulls(fragments: pl.Series) -> pl.Series:
    """Fragments with JSON nulls and numbers that are none as null."""
    name = fragments.name
    frame = fragments.cast(pl.String).to_frame("x")
    return frame.select(pl.when(~pl.col("x").is_in(_NOT_NUMBERS)).then("x"))["x"].alias(name)


def finite(fragments: pl.Series) -> pl.Series:
    """Lists and objects with the numbers in them that are none (NaN, infinities) as JSON nulls, so that the text is JSON to everyone."""
    x = pl.col("x")
    frame = fragments.to_frame("x").with_columns(bad=x.str.contains("NaN|Infinity") & x.str.contains(r"^[\[{]"))
    if not frame["bad"].any():
        return fragments
    element = pl.element()
    said = pl.when(element.str.starts_with('"')).then(element).otherwise(element.str.replace_all(_NO_NUMBER, "null"))
    fixed = frame.filter("bad").select(x.str.extract_all(_TOKENS).list.eval(said).list.join("")).to_series()
    return frame["x"].scatter(frame["bad"].arg_true(), fixed).alias(fragments.name)


def objects(members: dict[str, pl.Series], height: int) -> pl.Series:
    """One JSON object per row from fragment columns, keys sorted, nulls left out; null where nothing is left.

    Args:
        members: key -> fragments, each of length `height`.
        height: rows.
    """
    if not members:
        return pl.Series([None] * height, dtype=pl.String)
    names = sorted(members)
    keys = [json.dumps(name, ensure_ascii=False) for name in names]
    frame = pl.DataFrame({f"f{i}": members[name] for i, name in enumerate(names)}).cast(pl.String)
    parts = [pl.lit(keys[i] + ":") + pl.col(f"f{i}") for i in range(len(names))]
    joined = frame.select(pl.concat_str(parts, separator=",", ignore_nulls=True).alias("x"))["x"]
    return joined.to_frame("x").select(pl.when(pl.col("x") != "").then("{" + pl.col("x") + "}").alias("x"))["x"]


def nulls(height: int) -> pl.Series:
    """A column of null texts."""
    return pl.Series([None], dtype=pl.String).new_from_index(0, height) if height else pl.Series([], dtype=pl.String)


def fragment(rows: Rows, path: str, json: Json) -> pl.Series:
    """The fragments of a field, or of a dotted path inside one; null where there is none."""
    if path in rows.texts:
        return json.quote(rows.frame.select(x=rows.fields[path]))["x"]
    if path in rows.fields:
        return rows.frame[rows.fields[path]]
    parts = path.split(".")
    for i in range(len(parts) - 1, 0, -1):
        outer = ".".join(parts[:i])
        if outer in rows.fields:
            return json.extract(fragment(rows, outer, json), [pointer(*parts[i:])])[0]
    return nulls(rows.frame.height)


def raw_rows(rows: Rows) -> pl.Series:
    """The rows' own text, or what their fragments make of it."""
    if "raw" in rows.frame.columns:
        return rows.frame["raw"]
    members = {name: rows.frame[column] for name, column in rows.fields.items()}
    return objects(members, rows.frame.height)
