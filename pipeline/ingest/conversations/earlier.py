"""What was said before the prompt's last turn, or of the answer, in fields of their own."""

from typing import Final

import polars as pl

from pipeline.ingest.conversations.messages import Conversations, parse, problem
from pipeline.ingest.fragments import Json

_STEP: Final = "\n"  # between the steps of a prefix


def continued(
    json: Json, fragments: pl.Series, field: str, prompt: Conversations | None, *, cells: bool
) -> tuple[Conversations, pl.DataFrame]:
    """The prompt with the beginning that the answers share as its last messages, and the problems of that beginning.

    Args:
        json: the reader's session.
        fragments: the beginnings: text, a list of steps, or messages; null and empty ones say nothing.
        field: their name in the source, for problems.
        prompt: the prompts, where the layout has them.
        cells: whether the source knows only text.
    """
    elements = json.elements(fragments)
    steps = elements.filter(pl.col("element").str.starts_with('"').all().over("id").fill_null(False))
    texts = steps.select("id", "n", text=json.texts(steps.select("element"))["element"]).sort("id", "n")
    lines = texts.group_by("id", maintain_order=True).agg(pl.col("text").str.join(_STEP))
    quoted = lines.select("id", quoted=json.quote(lines.select("text"))["text"])
    frame = pl.DataFrame({"id": pl.int_range(len(fragments), dtype=pl.Int64, eager=True), "x": fragments.cast(pl.String)})
    frame = frame.join(quoted, on="id", how="left", maintain_order="left")
    nothing = pl.col("x").is_in(["[]", '""'])
    said = frame.select(pl.when(~nothing).then(pl.coalesce("quoted", "x")).alias("x"))["x"]
    begun = parse(json, said, field, "assistant", cells=cells)
    if prompt is None:
        return begun, begun.problems
    return Conversations(_after(prompt.messages, begun.messages), prompt.problems, prompt.present), begun.problems


def remembered(json: Json, fragments: pl.Series, field: str, prompt: Conversations) -> Conversations:
    """The prompt after the turns that came before it.

    Args:
        json: the reader's session.
        fragments: lists of [what was asked, what was answered]; null and empty ones say nothing.
        field: their name in the source, for problems.
        prompt: the prompts.
    """
    said = fragments.str.strip_chars() != ""
    strange = (said & ~fragments.str.starts_with("[")).fill_null(False).arg_true()
    turns = json.elements(fragments)
    asked, answered, more = json.extract(turns["element"], ["/0", "/1", "/2"])
    turns = turns.with_columns(asked=asked, answered=answered, more=more)
    whole = pl.all_horizontal(pl.col("asked", "answered").str.starts_with('"')).fill_null(False) & pl.col("more").is_null()
    broken = turns.filter(~whole).sort("id", "n").unique("id", keep="first", maintain_order=True)
    expected = "; expected a list of [asked, answered]"
    found = pl.col("element").fill_null("null").str.slice(0, 40)
    detail = broken.select(x=pl.format("turn {}: found {}", pl.col("n") + 1, found) + expected)
    problems = [
        prompt.problems,
        problem(strange, "wrong_type", field, "found " + fragments.gather(strange).str.slice(0, 40) + expected),
        problem(broken["id"], "wrong_type", field, detail["x"]),
    ]
    turns = turns.join(broken.select("id"), on="id", how="anti").sort("id", "n")
    texts = json.texts(turns.select("asked", "answered"))
    pairs = pl.concat(
        [
            turns.select("id", n=pl.col("n") * 2 + i).with_columns(role=pl.lit(role), content=texts[name])
            for i, (role, name) in enumerate((("user", "asked"), ("assistant", "answered")))
        ]
    )
    earlier = pairs.match_to_schema(prompt.messages.schema, missing_columns="insert").select(prompt.messages.columns).sort("id", "n")
    return Conversations(_after(earlier, prompt.messages), pl.concat(problems), prompt.present)


def _after(first: pl.DataFrame, second: pl.DataFrame) -> pl.DataFrame:
    """Messages of both, those of the second after those of the first."""
    counts = first.group_by("id").agg(before=pl.len().cast(pl.Int64))
    moved = second.join(counts, on="id", how="left").with_columns(pl.col("n") + pl.col("before").fill_null(0)).drop("before")
    return pl.concat([first, moved.select(first.columns)])
