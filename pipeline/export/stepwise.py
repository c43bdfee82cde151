"""Solutions step by step, with a label for each step, as trainers of process reward models read them: `prompt`, `completions`, `labels`.

prefine derives no labels of steps: a good answer may have a wrong step, and the verdict on a whole answer says nothing of any one. Rows are
made of ratings whose source states them: lists `completions` (texts) and `labels` (true or false, or numbers of which those above 0 are
right) among the fields that no layout reads, which ratings keep as `extra`. TRL 1.16 has no trainer for them
any more; earlier ones read these columns.
"""

from typing import Final

import polars as pl
import pyarrow as pa

from pipeline.export.form import Format, Options
from pipeline.export.messages import SPOKEN, VISIBLE, mangled_prompts
from pipeline.export.sides import named, rendered
from pipeline.stage import StageResult, split_by_reason

READS: Final = ("pair_id", "prompt_id", "prompt", "tools")
READS_OF_RATINGS: Final = ("rating_id", "prompt_id", "extra", "is_copy")
_STEPS: Final = pl.Struct({"completions": pl.List(pl.String), "labels": pl.List(pl.String)})
_RIGHT: Final = {"true": True, "false": False}


def stepwise(options: Options) -> Format:
    """Steps with labels; see the module."""
    schema = pa.schema(
        [
            pa.field("prompt", pa.string() if options.form == "text" else SPOKEN, nullable=False),
            pa.field("completions", pa.list_(pa.string()), nullable=False),
            pa.field("labels", pa.list_(pa.bool_()), nullable=False),
        ]
    )
    return Format(
        READS, schema, lambda pairs, ratings: to_stepwise(pairs, ratings, options), {"ratings": READS_OF_RATINGS}, takes={"form"},
        whole_prompts=True, single_turns=options.form == "text",
    )  # fmt: skip


def to_stepwise(pairs: pl.DataFrame, ratings: pl.DataFrame, options: Options = Options()) -> StageResult:  # noqa: B008  # frozen
    """Steps with labels.

    Args:
        pairs: with the columns READS, in any order; all pairs of a prompt.
        ratings: with the columns READS_OF_RATINGS, of these prompts.
        options: form.

    Returns:
        `kept`: one row for each solution that a prompt's ratings state, by prompt, then by text. `dropped`: pairs with the first reason
        that applies: those of `pipeline.export.messages.mangled_prompts`, `no_steps` (no rating of the prompt states steps, as many labels,
        and a text for each), `same_prompt` (another pair gave the rows).
    """
    fit = split_by_reason(pairs, mangled_prompts())
    found = ratings.filter(~pl.col("is_copy") & pl.col("extra").str.contains('"completions"', literal=True))
    found = found.select("prompt_id", pl.col("extra").str.json_decode(_STEPS).alias("_steps")).unnest("_steps")
    is_number = pl.element().cast(pl.Float64, strict=False)
    labels = pl.col("labels").list.eval(
        pl.coalesce(pl.element().str.to_lowercase().replace_strict(_RIGHT, default=None, return_dtype=pl.Boolean), is_number > 0)
    )
    shown = pl.col("completions").list.eval(pl.element().str.contains(VISIBLE).fill_null(False)).list.all()
    whole = (pl.col("completions").list.len() > 0) & (pl.col("completions").list.len() == labels.list.len()) & shown
    found = found.filter(whole.fill_null(False)).with_columns(labels=labels)
    found = found.filter(~pl.col("labels").list.eval(pl.element().is_null()).list.any()).unique(["prompt_id", "completions", "labels"])
    told = split_by_reason(fit.kept, {"no_steps": ~pl.col("prompt_id").is_in(found["prompt_id"].unique().implode())})
    once = split_by_reason(told.kept, {"same_prompt": pl.int_range(pl.len()).over("prompt_id") > 0})
    made = rendered(once.kept, options, ())
    rows = named(made.kept, ()).select("prompt_id", "prompt").join(found, on="prompt_id", maintain_order="left")
    rows = rows.sort("prompt_id", pl.col("completions").list.join("\n"), pl.col("labels").cast(pl.List(pl.String)).list.join(","))
    return StageResult(rows.select("prompt", "completions", "labels"), pl.concat([fit.dropped, told.dropped, once.dropped, made.dropped]))
