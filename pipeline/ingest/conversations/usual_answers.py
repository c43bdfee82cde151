"""The usual answers, fast: two plain texts to a plain prompt, or two transcripts that part at their last turn.

The result is what `messages.compare` makes of the same rows; rows of any other kind are left to it.
"""

from typing import Final

import polars as pl

from pipeline.schemas import MESSAGES_PL

_TRANSCRIPT: Final = r"^\s*\n\n(?:Human|Assistant):"
_BARE: Final = r"^\s*(?:Human|Assistant):"
_MARKER: Final = r"\n\n(?:Human|Assistant):"
_MESSAGE: Final = ("role", "content", "name", "tool_calls", "tool_call_id", "reasoning_content")


def compare_texts(prompt: pl.Series | None, a: pl.Series, b: pl.Series) -> pl.DataFrame:
    """id, prompt, response_a and response_b of the rows that are of the usual kinds, by id.

    Args:
        prompt: the prompts' texts, where the layout has a prompt.
        a: the first answers' texts; none is null.
        b: the second answers' texts; none is null.
    """
    rows = pl.DataFrame({"a": a, "b": b}).with_columns(id=pl.int_range(pl.len(), dtype=pl.Int64))
    return _transcripts(rows) if prompt is None else _replies(rows.with_columns(prompt=prompt))


def _replies(rows: pl.DataFrame) -> pl.DataFrame:
    spoken = pl.col("prompt").str.contains(_BARE) | pl.any_horizontal(pl.col("a", "b").str.contains(_TRANSCRIPT))
    listed = pl.any_horizontal(pl.col("prompt", "a", "b").str.starts_with("["))
    rows = rows.filter(~(spoken | listed))
    asked = _alone("user", rows["prompt"])
    blank = rows["prompt"].str.strip_chars() == ""
    if blank.any():
        asked = pl.select(pl.when(~blank).then(asked).otherwise(pl.lit([], dtype=MESSAGES_PL))).to_series()
    return pl.DataFrame(
        {"id": rows["id"], "prompt": asked, "response_a": _alone("assistant", rows["a"]), "response_b": _alone("assistant", rows["b"])}
    )


def _alone(role: str | pl.Series, texts: pl.Series) -> pl.Series:
    """Each text as a list of one message."""
    roles = pl.repeat(role, len(texts), dtype=pl.String, eager=True) if isinstance(role, str) else role
    return _messages(roles, texts).reshape((-1, 1)).cast(MESSAGES_PL)


def _messages(roles: pl.Series, texts: pl.Series) -> pl.Series:
    nothing = pl.repeat(None, len(texts), dtype=pl.String, eager=True)
    columns = {name: nothing for name in _MESSAGE} | {"role": roles, "content": texts}
    return pl.DataFrame(columns).to_struct("messages")


def _transcripts(rows: pl.DataFrame) -> pl.DataFrame:
    sides = pl.col("a", "b")
    rows = rows.filter(pl.all_horizontal(sides.str.contains(_BARE))).with_columns(("\n\n" + sides.str.strip_chars_start()).name.keep())
    turns = {f"said_{side}": pl.col(side).str.split(_MARKER, literal=False) for side in ("a", "b")}
    marks = {f"by_{side}": pl.col(side).str.extract_all(_MARKER) for side in ("a", "b")}
    rows = rows.select("id", **turns, **marks)
    before = pl.col("by_a").list.len() - 1
    level = pl.col("by_a").list.len() == pl.col("by_b").list.len()
    rows = rows.filter(level & (pl.col("by_a").list.first() == "\n\nHuman:"))
    heads = {
        name: pl.col(column).list.slice(0, before + extra)
        for name, column, extra in (("who_a", "by_a", 0), ("who_b", "by_b", 0), ("head_a", "said_a", 1), ("head_b", "said_b", 1))
    }
    rows = rows.with_columns(**heads)
    rows = rows.filter((pl.col("who_a") == pl.col("who_b")) & (pl.col("head_a") == pl.col("head_b")))
    return pl.DataFrame({"id": rows["id"], "prompt": _listed(rows), "response_a": _last(rows, "a"), "response_b": _last(rows, "b")})


def _role(marks: pl.Series) -> pl.Series:
    return marks.str.strip_chars("\n:")


def _last(rows: pl.DataFrame, side: str) -> pl.Series:
    said = rows[f"said_{side}"].list.last().str.strip_prefix(" ")
    return _alone(_role(rows[f"by_{side}"].list.last()), said)


def _listed(rows: pl.DataFrame) -> pl.Series:
    """The turns before the last one, as messages."""
    turns = rows.select("id", "who_a", pl.col("head_a").list.slice(1)).explode("who_a", "head_a", empty_as_null=False)
    messages = _messages(_role(turns["who_a"]), turns["head_a"].str.strip_prefix(" "))
    lists = pl.DataFrame({"id": turns["id"], "messages": messages}).group_by("id", maintain_order=True).agg("messages")
    joined = rows.select("id").join(lists, on="id", how="left", maintain_order="left")["messages"]
    return joined.fill_null(pl.Series([[]], dtype=joined.dtype)).cast(MESSAGES_PL)
