"""Prompt, chosen and rejected in the shape that was asked for: messages or text, with a prompt of its own or without; and weights."""

from collections.abc import Sequence
from typing import Final

import polars as pl
import pyarrow as pa

from pipeline.export.form import Options
from pipeline.export.messages import SIDES, SPOKEN, mangled, spoken
from pipeline.selection.repeat import repetitions
from pipeline.stage import StageResult, split_by_reason

TAKES: Final = frozenset({"prompt", "form", "template", "tools", "weights"})
ANSWERS: Final = SIDES[1:]
BREAK: Final = "\n\n"  # between a prompt and an answer that no chat template parts


def reads_of_sides(options: Options) -> tuple[str, ...]:
    """The columns of PAIR that `shaped` needs."""
    return (*SIDES, "tools", *(("pair_id", "weight") if options.weights != "none" else ()))


def fields_of_sides(options: Options) -> "list[pa.Field[pa.DataType]]":
    """The columns that `shaped` gives."""
    kind = pa.string() if options.form == "text" else SPOKEN
    names = SIDES if options.prompt == "explicit" else SIDES[1:]
    fields: list[pa.Field[pa.DataType]] = [pa.field(name, kind, nullable=False) for name in names]
    if options.tools:
        fields.append(pa.field("tools", pa.string()))
    if options.weights == "column":
        fields.append(pa.field("weight", pa.float32(), nullable=False))
    return fields


def said_by(options: Options) -> frozenset[str]:
    """What of `pipeline.export.form.Content` pairs may hold."""
    return frozenset({"tools"} if options.tools else ())


def shaped(pairs: pl.DataFrame, options: Options) -> StageResult:
    """Pairs with their sides as asked for.

    Args:
        pairs: with the columns of `reads_of_sides`, in any order, and any others.
        options: prompt, form, render, tools, weights.

    Returns:
        `kept`: all columns, with `prompt`, `chosen` and `rejected` as messages of role and content, or as text. With an implicit prompt the
        answers begin with it, and `prompt` stays. Where weights are repeated, rows stand as often as `pipeline.selection.repeat` says.
        `dropped`: pairs as they came, with the first reason that applies: those of `pipeline.export.messages.mangled`; `history` (plain
        text without a template says one turn alone), `template_refused` (it raises, or writes the prompt otherwise once there is an
        answer), `shared_opening` (TRL takes what both texts begin with for the prompt, so that it would swallow the answers' first
        words), `weight_rounds_to_0`.
    """
    told = split_by_reason(pairs, mangled(said_by(options)))
    written = rendered(told.kept, options)
    kept, dropped = written.kept, [told.dropped, written.dropped]
    if options.prompt == "implicit":
        opened = split_by_reason(kept, {"shared_opening": _same_opening(options)})
        dropped.append(opened.dropped)
        kept = opened.kept.with_columns(_joined(f"_{side}", options) for side in ANSWERS)
    if options.weights == "repeat":
        counted = kept.with_columns(_copies=repetitions(kept["weight"], kept["pair_id"]))
        rounded = split_by_reason(counted, {"weight_rounds_to_0": pl.col("_copies") == 0})
        dropped.append(rounded.dropped.drop("_copies"))
        kept = repeated(rounded.kept, rounded.kept["_copies"]).drop("_copies")
    left = [one.drop([f"_{side}" for side in SIDES], strict=False) for one in dropped]
    return StageResult(named(kept), pl.concat(left))


def rendered(rows: pl.DataFrame, options: Options, answers: Sequence[str] = ANSWERS) -> StageResult:
    """Prompts and answers as messages of role and content, or as text.

    Args:
        rows: with `prompt`, `tools` and the answers, messages each.
        options: form, render.
        answers: their columns.

    Returns:
        `kept`: the rows with `_prompt` and each answer's `_<name>`. `dropped`: the rows as they came, with `history` or `template_refused`.
    """
    if options.form == "messages":
        return StageResult(rows.with_columns(spoken(name).alias(f"_{name}") for name in ("prompt", *answers)), _none(rows))
    if options.render is None:
        done = split_by_reason(rows, {"history": pl.col("prompt").list.len() != 1})
        alone = {f"_{name}": pl.col(name).list.first().struct.field("content") for name in ("prompt", *answers)}
        return StageResult(done.kept.with_columns(**alone).with_columns(pl.col("_prompt") + BREAK), done.dropped)
    made = [options.render(rows["prompt"], rows[name]) for name in answers]
    texts = [made[0][0].alias("_prompt"), *(text.alias(f"_{name}") for name, (_, text) in zip(answers, made, strict=True))]
    whole = rows.with_columns(texts)
    same = [prompt.eq_missing(made[0][0]) for prompt, _ in made]
    refused = pl.any_horizontal(pl.col(text.name).is_null() for text in texts) | ~pl.all_horizontal(same)
    done = split_by_reason(whole, {"template_refused": refused})
    return StageResult(done.kept, done.dropped.drop([text.name for text in texts]))


def named(rows: pl.DataFrame, answers: Sequence[str] = ANSWERS) -> pl.DataFrame:
    """Rows of `rendered` with what was made in place of what it was made from."""
    names = ["prompt", *answers]
    return rows.drop(names).rename({f"_{name}": name for name in names})


def _none(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.clear().with_columns(reason=pl.lit(None, pl.String))


def repeated(rows: pl.DataFrame, copies: pl.Series) -> pl.DataFrame:
    """Rows as often as `copies` says, one after the other."""
    if (copies == 1).all():
        return rows
    at = pl.select(pl.int_range(copies.len(), dtype=pl.UInt32).repeat_by(copies).explode(empty_as_null=False)).to_series()
    return rows[at]


def _same_opening(options: Options) -> pl.Expr:
    if options.form == "text":
        return pl.col("_chosen").str.head(1) == pl.col("_rejected").str.head(1)
    return pl.col("_chosen").list.first() == pl.col("_rejected").list.first()


def _joined(side: str, options: Options) -> pl.Expr:
    return (pl.col("_prompt") + pl.col(side) if options.form == "text" else pl.col("_prompt").list.concat(side)).alias(side)
