"""Mask personal data and secrets in records as they are read, before ids exist or anything is stored.

Masking is a part of normalisation: what it changed is listed in `normalised`, one entry a finding (`response_a.masked_email`).
"""

from collections.abc import Sequence

import polars as pl

from pipeline import sensitive
from pipeline.config import SensitiveKind
from pipeline.errors import ConfigError

_MESSAGES = ("prompt", "response", "response_a", "response_b")
_TEXTS = ("context", "rationale", "detail")
_JSON = ("tools", "extra", "raw")
_KINDS = pl.List(pl.String)


def mask(records: pl.DataFrame, kinds: Sequence[SensitiveKind]) -> pl.DataFrame:
    """Replace every finding in judgements, ratings or quarantined rows by a placeholder.

    Args:
        records: schema RAW_JUDGEMENT, RAW_RATING or QUARANTINED of `pipeline.ingest`, or JUDGEMENT; of any order.
        kinds: what to mask. Nothing: the rows are returned as they are.

    Returns:
        The rows in their order, with `_masked`: one entry a finding, `<column>.masked_<kind>`. `note` turns it into `normalised`.
    """
    if not kinds or records.is_empty():
        return records.with_columns(_masked=pl.lit([], _KINDS))
    rows, noted = records, []
    for name in (*_MESSAGES, *_TEXTS, *_JSON):
        if name in rows.columns:
            rows = _mask_messages(rows, name, kinds) if name in _MESSAGES else _mask_column(rows, name, kinds)
            noted.append(f"_{name}")
    return rows.with_columns(_masked=pl.concat_list(noted)).drop(noted)


def note(identified: pl.DataFrame) -> pl.DataFrame:
    """Add what was masked to `normalised`."""
    return identified.with_columns(normalised=pl.concat_list("normalised", "_masked")).drop("_masked")


def require_masked(records: pl.DataFrame, kinds: Sequence[SensitiveKind], where: str) -> None:
    """Check that records which keep the ids they have need no mask.

    Raises:
        ConfigError: a text would change, and its id with it.
    """
    found = mask(records, kinds).get_column("_masked").explode(empty_as_null=False)
    if len(found):
        kind = found.sort()[0].rsplit(".masked_", 1)[1]
        raise ConfigError(
            f"{where}: content.mask names {kind!r}, but this version was published with {len(found)} findings unmasked, and its "
            "ids are those of the unmasked texts. Curate its raw sources again with content.mask, or leave content.mask out."
        )


def _mask_column(rows: pl.DataFrame, name: str, kinds: Sequence[SensitiveKind]) -> pl.DataFrame:
    change = sensitive.masks(rows.get_column(name), kinds, is_json=name in _JSON)
    entries = _listed(_entries(pl.col(name), change, name))
    return rows.with_columns(_replaced(pl.col(name), change).alias(name), entries.alias(f"_{name}"))


def _mask_messages(rows: pl.DataFrame, name: str, kinds: Sequence[SensitiveKind]) -> pl.DataFrame:
    element = pl.element().struct
    changes = {}
    for field in ("content", "name", "tool_calls", "reasoning_content"):
        every = rows.select(pl.col(name).list.eval(element.field(field))).to_series().explode(empty_as_null=False)
        changes[field] = sensitive.masks(every, kinds, is_json=field == "tool_calls")
    entries = pl.concat_str([_entries(element.field(field), change, name) for field, change in changes.items()], separator=" ")
    masked = element.with_fields(*(_replaced(element.field(field), change).alias(field) for field, change in changes.items()))
    found = _listed(pl.col(name).list.eval(entries).list.join(" "))
    return rows.with_columns(pl.col(name).list.eval(masked), found.alias(f"_{name}"))


def _replaced(text: pl.Expr, change: pl.DataFrame) -> pl.Expr:
    return text.replace(change.get_column("text"), change.get_column("masked"))


def _entries(text: pl.Expr, change: pl.DataFrame, column: str) -> pl.Expr:
    """What `normalised` will say of each text: its findings, with blanks between; "" for none."""
    entry = pl.concat_str(pl.lit(f"{column}.masked_"), pl.element())
    entries = change.select(pl.col("found").list.eval(entry).list.join(" ")).to_series()
    return text.replace_strict(change.get_column("text"), entries, default="", return_dtype=pl.String)


def _listed(entries: pl.Expr) -> pl.Expr:
    return entries.fill_null("").str.split(" ").list.eval(pl.element().filter(pl.element() != ""))
