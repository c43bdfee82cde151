"""Templates and data to messages, in one pass: data is never read for slots, and cannot end the fence around it.

Each piece of data stands in a fence with the row's mark, 16 hex digits of a hash of all data of that row:

    <<<DATA 3f9a0c...
    text
    DATA 3f9a0c...>>>

A text that held its own mark would be a fixed point of the hash.
"""

from collections.abc import Mapping
from typing import Final

import polars as pl

from pipeline.identity import content_hash
from pipeline.llm.tables import SAID
from pipeline.prompts.data import shown
from pipeline.prompts.template import MARK, Slot, Template

MARK_CHARS: Final = 16
FENCE_BYTES: Final = len("<<<DATA \n\nDATA >>>") + 2 * MARK_CHARS  # around one piece of data


def render(
    rows: pl.DataFrame, template: Template, slots: Mapping[str, pl.Expr], words: Mapping[str, pl.Expr | str] | None = None
) -> pl.Series:
    """Messages to a model.

    Args:
        rows: N rows that the expressions read.
        template: whose slots are filled.
        slots: data by slot, texts: cleaned (`data.shown`) and fenced. Null: neither fence, caption nor line. "": an empty fence.
        words: likewise, but our own words, neither cleaned nor fenced (`Response A`); never text of data. Null is an error.

    Returns:
        N messages, `llm.tables.SAID`, named `messages`.

    Raises:
        ValueError: `slots` and `words` are not the template's slots, each once; or a word is null.
    """
    ours = dict(words or {})
    if sorted([*slots, *ours]) != list(template.slots):
        raise ValueError(f"template {template.name}: given {sorted([*slots, *ours])}; expected each of {list(template.slots)} once")
    texts = rows.with_columns(
        *(shown(text).alias(_column(name)) for name, text in slots.items()),
        *((pl.lit(text) if isinstance(text, str) else text).alias(_column(name)) for name, text in ours.items()),
    ).select([_column(name) for name in template.slots])
    if without := [name for name in ours if texts[_column(name)].null_count()]:
        raise ValueError(f"template {template.name}: {', '.join(without)} is null in some rows; only data may be")
    data = [pl.col(_column(name)) for name in sorted(slots)]
    told = [pl.concat_str(text.str.len_bytes().cast(pl.String), pl.lit(":"), text).fill_null("-") for text in data]
    # A template without data needs no mark, and all its rows have the same one.
    whole = texts.select(pl.concat_str(told)) if told else rows.select(pl.repeat("", pl.len()))
    marks = content_hash(whole.to_series(), "mark").str.slice(0, MARK_CHARS).alias(_column(MARK))
    messages = [
        pl.struct(role=pl.lit(role), content=pl.concat_str([_part(part, set(ours)) for part in parts])) for role, parts in template.messages
    ]
    return texts.with_columns(marks).select(messages=pl.concat_list(messages).cast(SAID)).to_series()


def _part(part: str | Slot, ours: set[str]) -> pl.Expr:
    if isinstance(part, str):
        return pl.lit(part)
    text, mark = pl.col(_column(part.name)), pl.col(_column(MARK))
    caption, end = pl.lit("" if part.caption is None else f"{part.caption}\n"), pl.lit(part.end)
    if part.name == MARK or part.name in ours:
        return pl.concat_str(caption, text, end)
    fenced = [pl.lit("<<<DATA "), mark, pl.lit("\n"), text, pl.lit("\nDATA "), mark, pl.lit(">>>")]
    return pl.concat_str(caption, *fenced, end).fill_null("")


def _column(slot: str) -> str:
    return f"_slot_{slot}"
