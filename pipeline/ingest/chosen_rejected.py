"""Layout chosen/rejected: the order of two fields is the verdict."""

import polars as pl

from pipeline.ingest.records import Batch
from pipeline.ingest.slots import Task, answers, batch, shared_columns


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
