"""Prompts alone, for trainers that sample answers themselves (GRPO, RLOO, online DPO in trl 1.16): one row a prompt.

Columns beside `prompt` go to reward functions as arguments: `prompt_id`, and where asked for `reference`, the text of the best known
answer.
"""

from typing import Final

import polars as pl
import pyarrow as pa

from pipeline.export.form import Format, Options
from pipeline.export.messages import SPOKEN, mangled, mangled_prompts
from pipeline.export.sides import named, rendered, said_by
from pipeline.stage import StageResult, split_by_reason

READS: Final = ("pair_id", "prompt_id", "prompt", "tools", "p_soft", "p_chosen")
READS_OF_ANSWERS: Final = ("chosen", "rejected")


def prompts(options: Options) -> Format:
    """Prompts; see the module."""
    kind = pa.string() if options.form == "text" else SPOKEN
    schema = pa.schema(
        [
            pa.field("prompt", kind, nullable=False),
            pa.field("prompt_id", pa.string(), nullable=False),
            *([pa.field("reference", pa.string(), nullable=False)] if options.references else []),
            *([pa.field("tools", pa.string())] if options.tools else []),
        ]
    )
    reads = (*READS, *(READS_OF_ANSWERS if options.references or options.render else ()))
    return Format(
        reads, schema, lambda pairs: to_prompts(pairs, options), whole_prompts=True,
        takes={"form", "template", "tools", "references"}, represents=said_by(options),
        single_turns=options.form == "text" and not options.template,
    )  # fmt: skip


def to_prompts(pairs: pl.DataFrame, options: Options = Options()) -> StageResult:  # noqa: B008  # frozen
    """Unique prompts.

    Args:
        pairs: with the columns that `prompts` reads, in any order; all pairs of a prompt.
        options: form, render, tools, references.

    Returns:
        `kept`: one row a prompt, in the order of the first pair of each. The reference is the chosen answer of the pair whose label is
        surest (p_soft, then p_chosen, then id). `dropped`: pairs with the reasons of `pipeline.export.messages.mangled`, of `rendered`, and
        `same_prompt`: another pair gave the row.
    """
    # A pair of equal answers has a prompt all the same; one without an answer too, unless that is asked for.
    said = said_by(options)
    full = {name: says for name, says in mangled(said).items() if name != "identical_answers"}
    done = split_by_reason(pairs, full if options.references else mangled_prompts(said))
    ranked = done.kept.with_columns(_at=pl.int_range(pl.len()).min().over("prompt_id")).sort(
        "_at", "p_soft", "p_chosen", "pair_id", descending=[False, True, True, False]
    )
    first = split_by_reason(ranked, {"same_prompt": pl.int_range(pl.len()).over("prompt_id") > 0})
    made = rendered(first.kept, options, ("chosen",) if options.render else ())
    kept = made.kept
    if options.references:
        kept = kept.with_columns(reference=pl.col("chosen").list.first().struct.field("content"))
    names = ["prompt", "prompt_id", *(["reference"] if options.references else []), *(["tools"] if options.tools else [])]
    dropped = pl.concat([done.dropped, *(one.select(*pairs.columns, "reason") for one in (first.dropped, made.dropped))])
    return StageResult(named(kept, ()).select(names), dropped)
