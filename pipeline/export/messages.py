"""Conversations as messages of a role and a content, which is all that trainers read of them."""

import polars as pl
import pyarrow as pa

SIDES = ("prompt", "chosen", "rejected")
SPOKEN = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))


def spoken(column: str) -> pl.Expr:
    """A column of messages without the fields that a trainer does not read."""
    message = pl.element().struct
    return pl.col(column).list.eval(pl.struct(message.field("role"), message.field("content")))


def says(role: str, text: pl.Expr) -> pl.Expr:
    """A text as one message."""
    return pl.concat_list(pl.struct(role=pl.lit(role), content=text))


def mangled() -> dict[str, pl.Expr]:
    """Pairs that messages of role and content cannot say, or whose answers are more than one turn; `split_by_reason` takes them.

    `no_prompt`, `tools` (tools or tool calls), `other_fields` (names, reasoning), `several_turns` (an answer is not one assistant's
    message: its other turns would be trained on), `identical_answers` (no gradient).
    """
    message = pl.element().struct
    calls = message.field("tool_calls").is_not_null() | (message.field("role") == "tool")
    more = message.field("name").is_not_null() | (message.field("reasoning_content").fill_null("") != "")

    def in_any(says: pl.Expr) -> pl.Expr:
        return pl.any_horizontal(pl.col(side).list.eval(says).list.any() for side in SIDES)

    def one_answer(side: str) -> pl.Expr:
        return (pl.col(side).list.len() == 1) & (pl.col(side).list.first().struct.field("role") == "assistant")

    return {
        "no_prompt": pl.col("prompt").list.len() == 0,
        "tools": pl.col("tools").is_not_null() | in_any(calls),
        "other_fields": in_any(more),
        "several_turns": ~(one_answer("chosen") & one_answer("rejected")),
        "identical_answers": spoken("chosen") == spoken("rejected"),
    }
