"""Answers of a model, read strictly: one JSON object that fits its schema, or a reason why not.

Schemas use what strict servers take: object, array, string, integer, number, boolean and null; enum, properties, required,
additionalProperties, items, minItems, maxItems, minimum, maximum; and `"type": [kind, "null"]` for what may be null.
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final, NoReturn

import polars as pl

from pipeline.prompts.data import BREAK

_READ: Final = pl.Schema({"valid": pl.Boolean, "problem": pl.String, "detail": pl.String, "value": pl.String})
_FENCE: Final = re.compile(r"```(?:json)?[ \t]*\n(.*)\n[ \t]*```", re.DOTALL)
_KINDS: Final[dict[str, Any]] = {
    "string": pl.String, "integer": pl.Int64, "number": pl.Float64, "boolean": pl.Boolean, "object": pl.Struct, "array": pl.List,
}  # fmt: skip
_KEYWORDS: Final = {
    "string": {"enum"},
    "integer": {"minimum", "maximum", "enum"},
    "number": {"minimum", "maximum"},
    "boolean": set[str](),
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items", "minItems", "maxItems"},
}
_INTEGERS: Final = 2**63


def read_json(texts: pl.Series, schema: Mapping[str, Any]) -> pl.DataFrame:
    """What models answered.

    Taken are a bare JSON object, one in a single ``` or ```json fence, and either after a block that ends in </think>; nothing
    else, so no sentence around an object, and no second object. Unknown keys are left out. Two equal keys, numbers that are not finite,
    a missing key, another type, an unknown word or a number out of range make an answer invalid.

    Args:
        texts: N answers; null: none.
        schema: of an object; as `asking.form_of` takes it.

    Returns:
        N rows: valid (Boolean), problem (String, null where valid: no_answer, not_json, wrong_schema), detail (String, null
        where valid: what and where), value (String, canonical JSON; null where not valid).

    Raises:
        ValueError: the schema uses what cannot be read here.
    """
    check_schema(schema)
    # Not polars' decoder: it takes what is not JSON, of other types and with two equal keys, and one bad answer fails them all.
    return pl.DataFrame([_read(text, schema) for text in texts.to_list()], schema=_READ, orient="row")


def fields(values: pl.Series, schema: Mapping[str, Any]) -> pl.DataFrame:
    """The columns of valid answers.

    Args:
        values: `value` of `read_json`; nulls stay null in every column.
        schema: the same as there.

    Returns:
        One column a property, in the schema's order: String, Int64, Float64, Boolean, List or Struct.
    """
    return values.cast(pl.String).str.json_decode(_dtype(schema)).struct.unnest()


def check_schema(schema: Mapping[str, Any]) -> None:
    """Refuse a schema that this module cannot read, or that is not as strict servers want it.

    Raises:
        ValueError: says what, and where.
    """
    if schema.get("type") != "object":
        raise ValueError(f"schema: type {schema.get('type')!r}; expected an object")
    _check(schema, "schema")


class _UnfitError(Exception):
    """An answer is not what the schema says; the message says where."""


def _read(text: str | None, schema: Mapping[str, Any]) -> tuple[bool, str | None, str | None, str | None]:
    if text is None or not text.strip():
        return False, "no_answer", "no text", None
    body = _body(text.strip())
    try:
        raw = json.loads(body, object_pairs_hook=_object, parse_constant=_not_finite)
    except (ValueError, RecursionError) as error:  # ValueError: a number of thousands of digits, too
        return False, "not_json", _short(str(error) or "nested too deeply"), None
    except _UnfitError as error:
        return False, "not_json", str(error), None
    try:
        fit = _fit(raw, schema, "answer")
    except _UnfitError as error:
        return False, "wrong_schema", str(error), None
    return True, None, None, json.dumps(fit, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _body(text: str) -> str:
    """What is left without a block of thoughts and one fence. A server's template may have opened the block before the answer began."""
    if not text.startswith(("{", "```")) and "</think>" in text:
        text = text.split("</think>", 1)[1].strip()
    fenced = _FENCE.fullmatch(text)
    return fenced[1] if fenced else text


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _UnfitError("a key stands there twice")
    return found


def _not_finite(word: str) -> NoReturn:
    raise _UnfitError(f"{word} is no number of JSON")


def _fit(value: Any, schema: Mapping[str, Any], place: str) -> Any:  # noqa: ANN401
    """The part of a value that the schema names."""
    kind, nullable = _kind(schema)
    if value is None and nullable:
        return None
    match kind, value:
        case "string", str():
            fit: Any = _text(value)
        case "integer" | "number", int() | float() if not isinstance(value, bool):
            fit = _number(value, kind, place)
        case "boolean", bool():
            fit = value
        case "array", list():
            fit = [_fit(one, schema["items"], f"{place}[{i}]") for i, one in enumerate(value)]
        case "object", dict():
            if without := [name for name in schema["properties"] if name not in value]:
                raise _UnfitError(f"{place}: no {', '.join(without)}")
            fit = {name: _fit(value[name], inner, f"{place}.{name}") for name, inner in schema["properties"].items()}
        case _:
            raise _UnfitError(f"{place}: {_short(json.dumps(value))}; expected {kind}")
    if "enum" in schema and fit not in schema["enum"]:
        raise _UnfitError(f"{place}: {_short(json.dumps(fit))}; expected one of {json.dumps(schema['enum'])}")
    size = len(fit) if kind == "array" else fit
    low, high = (schema.get(name, schema.get(items)) for name, items in (("minimum", "minItems"), ("maximum", "maxItems")))
    if (low is not None and size < low) or (high is not None and size > high):
        raise _UnfitError(f"{place}: {size}{' items' if kind == 'array' else ''}; expected {low} to {high}")
    return fit


def _number(value: float, kind: str, place: str) -> float:
    if not (-_INTEGERS <= value < _INTEGERS) or (kind == "integer" and value != math.floor(value)):
        raise _UnfitError(f"{place}: {_short(str(value))}; expected {kind}")
    return int(value) if kind == "integer" else float(value)


def _text(text: str) -> str:
    """Without the break of `data.shown`, and with U+FFFD for half characters: JSON can write them, no table holds them."""
    return text.replace(BREAK, "").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _short(text: str) -> str:
    cut = text.encode("utf-8", "replace").decode()
    return cut if len(cut) <= 80 else f"{cut[:80]}..."


def _kind(schema: Mapping[str, Any]) -> tuple[str, bool]:
    stated = schema["type"]
    kinds = [stated] if isinstance(stated, str) else list(stated)
    return next(kind for kind in kinds if kind != "null"), "null" in kinds


def _check(schema: Mapping[str, Any], place: str) -> None:
    stated = schema.get("type")
    kinds = [stated] if isinstance(stated, str) else list(stated or [])
    named = [kind for kind in kinds if kind != "null"]
    if len(named) != 1 or named[0] not in _KINDS:
        raise ValueError(f"{place}: type {stated!r}; expected one of {', '.join(_KINDS)}, or that and null")
    if unknown := set(schema) - _KEYWORDS[named[0]] - {"type", "description"}:
        raise ValueError(f"{place}: {', '.join(sorted(unknown))} cannot be checked of a {named[0]}")
    if named[0] == "object":
        inner = schema.get("properties") or {}
        if not inner or sorted(schema.get("required", [])) != sorted(inner) or schema.get("additionalProperties") is not False:
            raise ValueError(f"{place}: an object names its properties, requires all of them and allows no others")
        for name, one in inner.items():
            _check(one, f"{place}.{name}")
    if named[0] == "array":
        _check(schema.get("items", {}), f"{place}[]")


def _dtype(schema: Mapping[str, Any]) -> pl.DataType:
    kind, _ = _kind(schema)
    if kind == "object":
        return pl.Struct({name: _dtype(inner) for name, inner in schema["properties"].items()})
    return pl.List(_dtype(schema["items"])) if kind == "array" else _KINDS[kind]()
