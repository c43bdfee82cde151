"""The usual case, fast: records whose fields are all texts, or numbers, booleans and nulls, the same in every record.

JSON is parsed once into texts instead of into fragments. polars' own parser is lenient about types and names, so everything
that it would be lenient about is ruled out first; records that leave a doubt are read the careful way.
"""

import json
import re
from typing import Final

import polars as pl

from pipeline.ingest.fragments import without_nulls

_MOST_NAMES: Final = 40
# Names could be spelled with escapes, NUL and lone surrogates would not survive.
_DOUBTFUL: Final = r"\\u(?:0000|00[2-7]|[dD][89a-fA-F])"
_PAIR: Final = r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_ESCAPED: Final = r"\\\\u"  # what follows may only look like an escape
_SCALAR: Final = r"(-?[1-9]\d{0,17}|0|-?(?:0|[1-9]\d{0,14})\.\d{1,20}|true|false|null)\s*[,}]"


def plain_fields(objects: pl.Series) -> dict[str, tuple[pl.Series, bool]] | None:
    """The fields of JSON objects: column and whether it holds decoded texts (else fragments); None when they need care.

    Args:
        objects: JSON texts without blanks around them; none is null.
    """
    kinds = _kinds(objects)
    if kinds is None:
        return None
    x = pl.col("x")
    quotes = 2 * len(kinds) + 2 * sum(kinds.values())
    checks = [
        x.str.starts_with("{").all(),
        (_unescaped_quotes(objects) == quotes).all(),
        # With no quotes but those of these names and texts, each name is there once, at the top.
        *(x.str.contains(f'"{re.escape(name)}":' + (r'\s*"' if text else "")).all() for name, text in kinds.items()),
    ]
    frame = objects.alias("x").to_frame()
    if not frame.select(pl.all_horizontal(checks)).item() or _doubtful(objects):
        return None
    texts = [name for name, text in kinds.items() if text]
    try:
        decoded = objects.str.json_decode(pl.Struct(dict.fromkeys(texts, pl.String))).struct.unnest()
    except pl.exceptions.ComputeError:
        return None
    columns: dict[str, tuple[pl.Series, bool]] = {}
    for name, text in kinds.items():
        column = decoded[name] if text else objects.str.extract(f'"{re.escape(name)}":\\s*{_SCALAR}')
        if column.null_count() or not (text or _as_written(column)):
            return None
        columns[name] = (column if text else without_nulls(column), text)
    return columns


def _doubtful(objects: pl.Series) -> bool:
    some = objects.filter(objects.str.contains(_DOUBTFUL))
    return bool((some.str.contains(_ESCAPED) | some.str.replace_all(_PAIR, " ").str.contains(_DOUBTFUL)).any())


def _as_written(scalars: pl.Series) -> bool:
    """Whether the careful way would write every fraction as the source did: without digits that say nothing."""
    fractions = scalars.filter(scalars.str.contains(".", literal=True))
    return bool((fractions.cast(pl.Float64).cast(pl.String) == fractions).all())


def _kinds(objects: pl.Series) -> dict[str, bool] | None:
    """Field -> whether it is text, of the first object; None when it holds lists or objects, or no text."""
    if objects.is_empty():
        return None
    try:
        first = json.loads(objects[0])
    except (ValueError, RecursionError):
        return None
    if not isinstance(first, dict) or not 0 < len(first) <= _MOST_NAMES or not any(isinstance(one, str) for one in first.values()):
        return None
    if not all(isinstance(one, str | bool | int | float | None) and re.fullmatch(r'[^"\\]+', name) for name, one in first.items()):
        return None
    return {name: isinstance(one, str) for name, one in first.items()}


def _unescaped_quotes(texts: pl.Series) -> pl.Series:
    doubled = texts.str.contains("\\\\", literal=True).arg_true()
    if len(doubled):
        texts = texts.clone().scatter(doubled, texts.gather(doubled).str.replace_all("\\\\", "__", literal=True))
    return texts.str.count_matches('"') - texts.str.count_matches(r'\\"')
