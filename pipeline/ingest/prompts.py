"""Prompt lists, as benchmarks publish them -> what a user says in each row."""

from collections.abc import Iterator
from typing import Final

import polars as pl

from pipeline.config import FieldPath, paths
from pipeline.errors import ConfigError, LayoutError
from pipeline.ingest.aliases import PROMPT_TAIL, SLOTS, plain
from pipeline.ingest.conversations.messages import parse, problem
from pipeline.ingest.files.readers import read_rows
from pipeline.ingest.fragments import Json, fragment, pointer
from pipeline.ingest.records import PROBLEM, Rows
from pipeline.schemas import ROLES

# One row = one turn of a user.
TURN: Final = pl.Schema({"row": pl.Int64(), "turn": pl.Int64(), "text": pl.String()})

_NAMES: Final = ("turns", *SLOTS["prompt"], "conversation_input", "problem", "goal", "task", "text")
_SAID: Final = ("content", "value", "text")
_PARAGRAPH: Final = "\n\n"
_NAMED_AT_MOST: Final = 20  # fields, in a message


def read_prompts(place: str, name: str, field: FieldPath | None = None) -> Iterator[pl.DataFrame]:
    """What the user says in each row of a file, batch by batch, in file order.

    Args:
        place: local path or fsspec URL of a file of any kind that `pipeline.ingest.files` reads.
        name: the file as published, for messages.
        field: a field or dotted path that holds a text, messages, or a list of turns (texts, or objects with a `content`); several
            are joined by a blank line. Detected by its name in the file's first rows when None.

    Yields:
        Schema TURN: row (from 0), turn (from 0, among the user's), text. Rows that say nothing are left out.

    Raises:
        LayoutError: no field has a usual name, or the file has no such field.
        ConfigError: a row cannot be read, or holds no prompt where one is expected; a list with gaps would protect less than it says.
        UnreadableFileError: the file breaks off or is not what its first bytes claim.
    """
    json = Json()
    try:
        for rows in read_rows(place, json, whole=True):
            if rows.broken.height:
                first = rows.broken.sort("source_row").row(0, named=True)
                raise ConfigError(f"{name}: row {first['source_row']} cannot be read: {first['reason']}: {first['detail']}.")
            field = field or _detected(rows, name)
            yield _turns(rows, name, field, json)
    finally:
        json.close()


def _detected(rows: Rows, name: str) -> FieldPath:
    """The field with the best of the usual names that holds texts, lists or objects."""
    telling = {field: rows.frame.get_column(column).drop_nulls() for field, column in rows.fields.items()}
    said = {plain(field): field for field, values in telling.items() if values.str.contains(r'^["\[{]').any()}
    found = next((alias for alias in _NAMES if alias in said), None)
    if found is None:
        known = ", ".join(list(rows.fields)[:_NAMED_AT_MOST]) or "none"
        raise LayoutError(f"{name}: no field has a usual name of prompts ({', '.join(_NAMES[:5])} ...). Write `field:`; fields: {known}.")
    if found == PROMPT_TAIL[0] and PROMPT_TAIL[1] in said:
        return [said[one] for one in PROMPT_TAIL]
    return said[found]


def _turns(rows: Rows, name: str, field: FieldPath, json: Json) -> pl.DataFrame:
    parts = {one: fragment(rows, one, json) for one in paths(field)}
    absent = [one for one, values in parts.items() if not values.is_not_null().any()]
    if absent and rows.frame.height:
        known = ", ".join(list(rows.fields)[:_NAMED_AT_MOST]) or "none"
        raise LayoutError(f"{name}: no row has the field {absent[0]!r}; fields: {known}.")
    first = next(iter(parts))
    found = _spoken(parts[first], first, json, cells=rows.are_cells(first)) if len(parts) == 1 else _joined(parts, json)
    turns, problems = found
    if problems.height:
        worst = problems.sort("id").row(0, named=True)
        row = rows.frame.get_column("source_row")[worst["id"]]
        raise ConfigError(f"{name}: row {row}: {worst['field']}: {worst['detail']}. Name another field under `field:`.")
    return turns.with_columns(row=rows.frame.get_column("source_row").gather(turns.get_column("row"))).match_to_schema(TURN)


def _joined(parts: dict[str, pl.Series], json: Json) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Several fields, each a text, as one turn a row."""
    problems = [PROBLEM.to_frame()]
    for field, values in parts.items():
        wrong = (~values.str.starts_with('"')).fill_null(False).arg_true()
        problems.append(problem(wrong, "wrong_type", field, "found " + values.gather(wrong).str.slice(0, 40) + "; expected text"))
    texts = json.texts(pl.DataFrame({f"p{i}": values for i, values in enumerate(parts.values())}))
    said = texts.select(pl.when(pl.all().str.strip_chars() != "").then(pl.all()))
    text = said.select(pl.concat_str(pl.all(), separator=_PARAGRAPH, ignore_nulls=True).alias("text"))
    turns = text.with_row_index("row").select(pl.col("row").cast(pl.Int64), pl.lit(0, pl.Int64).alias("turn"), "text")
    return turns.filter(pl.col("text") != ""), pl.concat(problems)


def _spoken(values: pl.Series, field: str, json: Json, *, cells: bool) -> tuple[pl.DataFrame, pl.DataFrame]:
    """One field: a text, one message, messages, or turns without roles, which are all the user's."""
    flat = pl.DataFrame({"row": pl.int_range(len(values), eager=True), "x": values.cast(pl.String)}).drop_nulls()
    if not cells:  # in a table a list without roles is a text that begins with a bracket
        listed = flat.filter(pl.col("x").str.starts_with("["))
        elements = json.elements(listed.get_column("x"))
        elements = elements.select(pl.Series("row", listed.get_column("row").gather(elements.get_column("id"))), pl.col("n"), x="element")
        others = flat.filter(~pl.col("x").str.starts_with("[")).select("row", pl.lit(0, pl.Int64).alias("n"), "x")
        flat = pl.concat([others, elements]).sort("row", "n")
        flat = flat.select("row", x=_bare(flat.get_column("x"), json))
    parsed = parse(json, flat.get_column("x"), field, "user", cells=cells)
    at = flat.get_column("row")
    user = pl.col("role").str.strip_chars().str.to_lowercase().replace(ROLES) == "user"
    said = parsed.messages.sort("id", "n").filter(user & (pl.col("content").str.strip_chars() != ""))
    turns = pl.DataFrame({"row": at.gather(said.get_column("id")), "text": said.get_column("content")})
    problems = parsed.problems.with_columns(id=at.gather(parsed.problems.get_column("id")))
    return turns.with_columns(turn=pl.int_range(pl.len(), dtype=pl.Int64).over("row")), problems


def _bare(values: pl.Series, json: Json) -> pl.Series:
    """Objects without a role as what they say; everything else as it is."""
    objects = values.str.starts_with("{").fill_null(False)
    if not objects.any():
        return values
    role, sender, *said = json.extract(values, [pointer(name) for name in ("role", "from", *_SAID)])
    inside = pl.DataFrame([one.alias(name) for name, one in zip(_SAID, said, strict=True)]).select(pl.coalesce(_SAID)).to_series()
    bare = objects & role.is_null() & sender.is_null() & inside.is_not_null()
    return pl.select(pl.when(bare).then(inside).otherwise(values)).to_series()
