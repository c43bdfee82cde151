"""Layout chosen/rejected: the order of two fields is the verdict."""

import polars as pl

from pipeline.ingest.layouts.aliases import CHOSEN_PROMPTS, SLOTS
from pipeline.ingest.layouts.sample import Proposal, Sample
from pipeline.ingest.layouts.slots import Task, answers, batch, shared_columns
from pipeline.ingest.records import Batch


def propose(sample: Sample) -> Proposal:
    """Read the file as chosen and rejected answers."""
    slots, lacks = sample.shared("chosen", "rejected", "model_chosen", "model_rejected"), []
    for slot in ("chosen", "rejected"):
        path = slots.get(slot)
        if path is None:
            lacks.append(f"{slot} (a field such as {SLOTS[slot][0]!r} or {SLOTS[slot][1]!r})")
        elif not sample.textual(path):
            lacks.append(f"{slot} as text or messages (field {path!r} holds {sample.type(path)})")
    lacks += sample.prompts(slots, CHOSEN_PROMPTS)
    return Proposal("chosen_rejected", slots, lacks, f"fields {slots.get('chosen')!r} and {slots.get('rejected')!r}")


def adapt(task: Task) -> Batch:
    """Rows with `chosen` and `rejected` -> judgements whose side a is the chosen one.

    Args:
        task: a batch whose layout is chosen_rejected.

    Returns:
        One judgement or one quarantined record per row.
    """
    compared = answers(task, "chosen", "rejected")
    judgements = (
        compared.frame.join(shared_columns(task, sided=False), on="id", maintain_order="left")
        .join(compared.problems.select("id"), on="id", how="anti", maintain_order="left")
        .with_columns(outcome=pl.lit("a"), both_bad=pl.lit(False), vote_layout=pl.lit(False))
    )
    return batch(task, judgements, compared.problems)
