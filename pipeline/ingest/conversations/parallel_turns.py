"""Turns in parallel lists: what was asked, and what each side replied, turn by turn -> whole conversations."""

from typing import Final

import polars as pl

from pipeline.ingest.conversations.messages import problem
from pipeline.ingest.fragments import Json
from pipeline.ingest.records import PROBLEM

_LISTED: Final = r'^\[\s*("|null\s*[,\]])'
_LISTED_OR_BROKEN: Final = r'^(\[|"\[)\s*(\\?"|null\s*[,\]])'  # a cell whose list is no JSON is text


def interleaved(
    json: Json, prompt: pl.Series, a: pl.Series, b: pl.Series, field: str, *, cells: bool
) -> tuple[pl.Series, pl.Series, pl.Series, pl.DataFrame]:
    """Rows whose prompt and answers are lists of texts, as a conversation for each side.

    Args:
        json: the reader's session.
        prompt: fragments of the prompts.
        a: fragments of the first answers.
        b: fragments of the second answers.
        field: the prompt's name in the source, for problems.
        cells: whether the source knows only text, so that a text may be meant as a list.

    Returns:
        prompt, a and b with such rows rewritten (their prompt is null and each side a list of messages; a turn without a
        text is empty), and problems for rows whose lists do not go together.
    """
    sides = pl.DataFrame({"prompt": prompt, "a": a, "b": b}).with_row_index("id").with_columns(pl.col("id").cast(pl.Int64))
    start = _LISTED_OR_BROKEN if cells else _LISTED
    seeming = sides.filter(pl.all_horizontal(pl.col("prompt", "a", "b").str.contains(start)))
    if seeming.is_empty():
        return prompt, a, b, PROBLEM.to_frame()
    broken = seeming.filter(~pl.all_horizontal(pl.col("prompt", "a", "b").str.contains(_LISTED)))
    rows = seeming.join(broken.select("id"), on="id", how="anti")
    turns = [_turns(json, rows, name) for name in ("prompt", "a", "b")]
    asked, said_a, said_b = (
        one.group_by("id").agg(pl.len().alias(name), pl.col("odd").any())
        for one, name in zip(turns, ("asked", "said_a", "said_b"), strict=True)
    )
    counted = asked.join(said_a, on="id", suffix="_a").join(said_b, on="id", suffix="_b").sort("id")
    texts = counted.filter(~pl.any_horizontal("odd", "odd_a", "odd_b"))
    level = (pl.col("asked") == pl.col("said_a")) & (pl.col("asked") == pl.col("said_b"))
    uneven, even = texts.filter(~level), texts.filter(level)
    problems = [
        problem(broken["id"], "wrong_type", field, "looks like a list of turns, but is not JSON; expected a list of texts on each side"),
        problem(uneven["id"], "prompt_mismatch", field, uneven.select(_counts())["detail"]),
    ]
    for name, replies in (("a", turns[1]), ("b", turns[2])):
        said = turns[0].join(replies, on=["id", "n"], suffix="_r").join(even.select("id"), on="id", how="semi").sort("id", "n")
        parts = (pl.lit('{"role":"user","content":'), "text", pl.lit('},{"role":"assistant","content":'), "text_r", pl.lit("}"))
        exchange = pl.concat_str(*parts)
        talk = said.group_by("id", maintain_order=True).agg((pl.lit("[") + exchange.str.join(",") + pl.lit("]")).alias("talk"))
        sides = sides.join(talk, on="id", how="left", maintain_order="left")
        sides = sides.with_columns(pl.coalesce("talk", name).alias(name)).drop("talk")
    whole = pl.col("id").is_in(even["id"].implode())
    sides = sides.with_columns(prompt=pl.when(~whole).then("prompt"))
    return sides["prompt"], sides["a"], sides["b"], pl.concat(problems)


def _turns(json: Json, rows: pl.DataFrame, name: str) -> pl.DataFrame:
    """id, n, text (a fragment), and whether the turn is something else than a text."""
    turns = json.elements(rows[name])
    text = pl.col("element").fill_null('""')
    return turns.select(pl.Series("id", rows["id"].gather(turns["id"])), "n", text.alias("text"), odd=~text.str.starts_with('"'))


def _counts() -> pl.Expr:
    said = pl.format("{} prompts, {} and {} answers; expected as many answers on each side as prompts", "asked", "said_a", "said_b")
    return said.alias("detail")
