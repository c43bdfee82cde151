"""Pairs as TRL's trainers read them: `prompt`, `chosen` and `rejected` as messages, perhaps with log-probabilities of the reference.

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

import polars as pl
import pyarrow as pa

from pipeline.export.messages import SIDES, SPOKEN, mangled, spoken
from pipeline.stage import StageResult, split_by_reason

_LOGPS = {"chosen_logp": "ref_chosen_logps", "rejected_logp": "ref_rejected_logps"}


def reads_of_trl(reference: bool) -> tuple[str, ...]:
    """The columns of PAIR that `to_trl` needs."""
    return (*SIDES, "tools", *(_LOGPS if reference else ()))


def schema_of_trl(reference: bool) -> pa.Schema:
    """The columns that `to_trl` gives; none may be null."""
    numbers = [pa.field(name, pa.float64(), nullable=False) for name in _LOGPS.values()] if reference else []
    return pa.schema([*(pa.field(name, SPOKEN, nullable=False) for name in SIDES), *numbers])


def to_trl(pairs: pl.DataFrame, reference: bool = False) -> StageResult:
    """Pairs in TRL's explicit preference format.

    There is no column for weights: DPOTrainer drops what it does not know without a word.

    Args:
        pairs: with the columns of `reads_of_trl`, in any order.
        reference: also the log-probabilities of both answers under the reference model.

    Returns:
        `kept`, of `schema_of_trl`, in the order of the pairs, and `dropped` with the first reason that applies: those of
        `pipeline.export.messages.mangled`, and `no_reference_logps` (one is null or not finite: TRL stops at a null).

    Source: TRL's dataset formats; trl/trainer/dpo_trainer.py (2026).
    """
    reasons = mangled()
    numbers = {}
    if reference:
        reasons["no_reference_logps"] = ~pl.all_horizontal(pl.col(name).is_not_null() & pl.col(name).is_finite() for name in _LOGPS)
        numbers = {given: pl.col(name) for name, given in _LOGPS.items()}
    done = split_by_reason(pairs, reasons)
    return StageResult(kept=done.kept.select(**{side: spoken(side) for side in SIDES}, **numbers), dropped=done.dropped)
