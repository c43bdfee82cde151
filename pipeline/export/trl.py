"""Pairs as TRL's trainers read them: `prompt`, `chosen` and `rejected`, perhaps with log-probabilities of the reference.

With an explicit prompt, as messages, unless asked otherwise: what both answers begin with is what TRL takes for an implicit one.

Checked against trl 1.16. The shards of data/ can be trained on as they are; an export has no other columns, no null fields in its
messages (some chat templates ask whether `tool_calls` is there, not what it holds), and, where asked, `ref_chosen_logps` and
`ref_rejected_logps`: summed log-probabilities (nats) of both answers under the model of `signals.ches`. With them no reference model
runs beside the policy. DPOTrainer reads the columns only once it is told that they are there, after it was made:

    trainer = DPOTrainer(model=policy, args=DPOConfig(max_length=2048), train_dataset=train, processing_class=tokenizer)
    trainer.precompute_ref_logps = True  # the batch has them
    trainer.ref_model = None             # frees the copy of the model that was loaded meanwhile

Not `DPOConfig(precompute_ref_log_probs=True)`: that computes them again, and stops at the names that are taken. The columns fit a run if

- the policy starts as `signals.ches.model`, `revision`, in its `dtype`: then the first loss is log 2, and all rewards are 0;
- tokenizer and chat template are that model's (`signals.ches.template: chat`), and `DPOConfig.max_length` is the manifest's (that of
  `signals.ches`, or what the model reads at most; TRL's own default is 1024), with `truncation_mode="keep_start"`: else the two sides
  of a ratio are of different texts. For templates that write today's date, and for tokens that join prompt and answer, see
  `pipeline.ches.rendering.Renderer`;
- the reference stays as it is and whole answers count: no `sync_ref_model`, no `ld_alpha`;
- sets to evaluate on have the columns too, and are handed over when the trainer is made.

A trainer that is not told ignores them and runs its reference model, as without.
"""

from typing import Final

import polars as pl
import pyarrow as pa

from pipeline.export.form import Format, Options
from pipeline.export.sides import TAKES, fields_of_sides, reads_of_sides, said_by, shaped
from pipeline.stage import StageResult, split_by_reason

_LOGPS: Final = {"chosen_logp": "ref_chosen_logps", "rejected_logp": "ref_rejected_logps"}


def trl(options: Options) -> Format:
    """TRL's preference format; see the module."""
    schema = pa.schema([*fields_of_sides(options), *_logps(options)])
    reads = (*reads_of_sides(options), *(_LOGPS if options.reference_logps else ()))
    return Format(
        reads, schema, lambda pairs: to_trl(pairs, options), takes={*TAKES, "reference_logps"}, represents=said_by(options),
        single_turns=options.form == "text" and not options.template, advice=lambda _: _advice(options),
    )  # fmt: skip


def _logps(options: Options) -> "list[pa.Field[pa.DataType]]":
    return [pa.field(name, pa.float64(), nullable=False) for name in _LOGPS.values()] if options.reference_logps else []


def _advice(options: Options) -> list[str]:
    if options.weights != "column":
        return []
    return ["TRL's trainers drop a column `weight` without a word; a trainer of your own may read it. --weights repeat needs none."]


def to_trl(pairs: pl.DataFrame, options: Options = Options()) -> StageResult:  # noqa: B008  # frozen
    """Pairs in TRL's preference format.

    There is no column for weights unless it is asked for: DPOTrainer drops what it does not know without a word.

    Args:
        pairs: with the columns that `trl` reads, in any order.
        options: prompt, form, render, tools, weights; reference_logps: also those of both answers under the reference model.

    Returns:
        `kept`, of the schema of `trl`, in the order of the pairs, and `dropped` with the first reason that applies: those of
        `pipeline.export.sides.shaped`, and `no_reference_logps` (one is null or not finite: TRL stops at a null).

    Source: TRL's dataset formats; trl/trainer/dpo_trainer.py (2026).
    """
    rows = pairs
    lacking: list[pl.DataFrame] = []
    if options.reference_logps:
        known = pl.all_horizontal(pl.col(name).is_not_null() & pl.col(name).is_finite() for name in _LOGPS)
        told = split_by_reason(rows, {"no_reference_logps": ~known})
        rows, lacking = told.kept, [told.dropped]
    done = shaped(rows, options)
    numbers = {given: pl.col(name) for name, given in _LOGPS.items()} if options.reference_logps else {}
    kept = done.kept.select(*(one.name for one in fields_of_sides(options)), **numbers)
    return StageResult(kept, pl.concat([done.dropped, *lacking]))
