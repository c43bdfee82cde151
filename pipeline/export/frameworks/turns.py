"""Turns of a conversation under the names that a framework gives to a turn's fields."""

import json
from typing import Any, Final

import polars as pl
import pyarrow as pa

_UNREADABLE: Final = "\0"


def turn_type(role: str, content: str) -> pa.StructType:
    """The type of a turn whose fields have these names."""
    return pa.struct([(role, pa.string()), (content, pa.string())])


def leading_system(column: str) -> pl.Expr:
    """What a conversation's first turn says if it is the system's; "" otherwise (files of JSON take no type from nulls)."""
    first = pl.col(column).list.first().struct
    return pl.when(first.field("role") == "system").then(first.field("content")).otherwise(pl.lit("")).fill_null("")


def without_system(column: str) -> pl.Expr:
    """The turns after a leading one of the system."""
    has = (pl.col(column).list.first().struct.field("role") == "system").fill_null(False)
    return pl.col(column).list.slice(has.cast(pl.Int64))


def named_calls(calls: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Calls of tools as a JSON list of `name` and `arguments` (an object), whatever form the source has.

    Sources write a list or one object, with or without `function` around the two, arguments as an object or as its JSON text.

    Args:
        calls: JSON or null.

    Returns:
        The lists, null where there was nothing; and whether what there was could not be read.
    """
    # A loop over distinct texts of rows that call tools: no table expression reads JSON of unknown shape.
    known = calls.drop_nulls().unique()
    told = pl.Series([_named(text) for text in known.to_list()], dtype=pl.String)
    made = calls.replace_strict(known, told, default=None, return_dtype=pl.String) if known.len() else calls.cast(pl.String)
    unreadable = (made == _UNREADABLE).fill_null(False)
    return made.to_frame("made").select(pl.when(pl.col("made") != _UNREADABLE).then("made")).to_series(), unreadable


def tool_list(tools: pl.Series) -> pl.Series:
    """Definitions of tools as a JSON list of objects with `name`, without `function` around them; "" where there are none or no list."""
    known = tools.drop_nulls().unique()
    told = pl.Series([_defined(text) for text in known.to_list()], dtype=pl.String)
    return (tools.replace_strict(known, told, default=None, return_dtype=pl.String) if known.len() else tools.cast(pl.String)).fill_null("")


def _loaded(text: str) -> list[Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, list) else [value]


def _named(text: str) -> str:
    calls = _loaded(text)
    if calls is None:
        return _UNREADABLE
    made = []
    for call in calls:
        told = call.get("function", call) if isinstance(call, dict) else None
        if not isinstance(told, dict) or not isinstance(told.get("name"), str):
            return _UNREADABLE
        given = told.get("arguments", {})
        if isinstance(given, str):
            (given,) = _loaded(given or "{}") or [None]
        if not isinstance(given, dict):
            return _UNREADABLE
        made.append({"name": told["name"], "arguments": given})
    return json.dumps(made, ensure_ascii=False)


def _defined(text: str) -> str:
    tools = _loaded(text)
    if tools is None or not all(isinstance(tool, dict) for tool in tools):
        return ""
    inner = [tool["function"] if isinstance(tool.get("function"), dict) else tool for tool in tools]
    return json.dumps(inner, ensure_ascii=False) if inner else ""
