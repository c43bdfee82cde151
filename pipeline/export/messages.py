"""Conversations as messages of a role and a content, which is all that trainers read of them."""

from collections.abc import Collection
from collections.abc import Set as AbstractSet

import polars as pl
import pyarrow as pa

SIDES = ("prompt", "chosen", "rejected")
SPOKEN = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
VISIBLE = r"[^\s\p{C}\p{Z}]"


def spoken(column: str) -> pl.Expr:
    """A column of messages without the fields that a trainer does not read."""
    message = pl.element().struct
    return pl.col(column).list.eval(pl.struct(message.field("role"), message.field("content")))


def says(role: str, text: pl.Expr) -> pl.Expr:
    """A text as one message."""
    return pl.concat_list(pl.struct(role=pl.lit(role), content=text))


def _is_tool() -> pl.Expr:
    message = pl.element().struct
    return message.field("tool_calls").is_not_null() | (message.field("role") == "tool")


def _in_any(says: pl.Expr, sides: Collection[str] = SIDES) -> pl.Expr:
    return pl.any_horizontal(pl.col(side).list.eval(says).list.any() for side in sides)


def _one_answer(side: str) -> pl.Expr:
    return (pl.col(side).list.len() == 1) & (pl.col(side).list.first().struct.field("role") == "assistant")


def held() -> dict[str, pl.Expr]:
    """What pairs hold that not every format can say, by `pipeline.export.form.Content`, and `history`: a prompt of several messages.

    Needs roles and tool calls of SIDES, and `tools`.
    """
    return {
        "tools": pl.col("tools").is_not_null(),
        "tool_calls": _in_any(_is_tool()),
        "turns": ~(_one_answer("chosen") & _one_answer("rejected")),
        "history": pl.col("prompt").list.len() > 1,
    }


def mangled(said: AbstractSet[str] = frozenset()) -> dict[str, pl.Expr]:
    """Pairs that messages of role and content cannot say, or that a trainer would mangle; `split_by_reason` takes them.

    Args:
        said: of `pipeline.export.form.Content`: what the format can say; such pairs are no reason.

    Returns:
        `no_prompt`, `tools` (definitions), `tool_calls`, `other_fields` (names, reasoning), `several_turns` (an answer is not one
        assistant's message: its other turns would be trained on), `prompt_not_users` (it does not end with the user's turn: the answer
        would continue another one), `empty_answer` (nothing visible and no call: TRL trains on it without a word), `identical_answers`
        (no gradient).
    """
    blank = ~pl.element().struct.field("content").str.contains(VISIBLE).fill_null(False) & pl.element().struct.field("tool_calls").is_null()
    reasons = mangled_prompts(said, SIDES)
    reasons["several_turns"] = held()["turns"]
    reasons["empty_answer"] = pl.any_horizontal(pl.col(side).list.eval(blank).list.all() for side in SIDES[1:])
    # Where calls can be said, they alone tell two answers apart.
    answers = pl.col("chosen") == pl.col("rejected") if "tool_calls" in said else spoken("chosen") == spoken("rejected")
    reasons["identical_answers"] = answers
    if "turns" in said:
        del reasons["several_turns"]
    return reasons


def mangled_prompts(said: AbstractSet[str] = frozenset(), sides: Collection[str] = SIDES[:1]) -> dict[str, pl.Expr]:
    """What `mangled` says of prompts, for formats that do not take the answers from pairs.

    Args:
        said: as there.
        sides: whose messages are looked at for calls and other fields.
    """
    message = pl.element().struct
    more = message.field("name").is_not_null() | (message.field("reasoning_content").fill_null("") != "")
    last = pl.col("prompt").list.last().struct.field("role")
    reasons = {
        "no_prompt": pl.col("prompt").list.len() == 0,
        "tools": pl.col("tools").is_not_null(),
        "tool_calls": _in_any(_is_tool(), sides),
        "other_fields": _in_any(more, sides),
        "prompt_not_users": (pl.col("prompt").list.len() > 0) & ~last.is_in(["user", "tool"] if "tool_calls" in said else ["user"]),
    }
    return {reason: mangles for reason, mangles in reasons.items() if reason not in said}
