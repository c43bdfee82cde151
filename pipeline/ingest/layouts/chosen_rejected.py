"""Layout chosen/rejected: the order of two fields is the verdict."""

from dataclasses import replace
from typing import Final

import polars as pl

from pipeline.ingest.aliases import CHOSEN_PROMPTS, SLOTS
from pipeline.ingest.layouts.sample import Proposal, Sample
from pipeline.ingest.layouts.slots import Task, answers, batch, shared_columns
from pipeline.ingest.records import Batch

_LIST: Final = r'^\[\s*"'  # of texts


def propose(sample: Sample) -> Proposal:
    """Read the file as chosen and rejected answers."""
    slots, lacks = sample.shared("chosen", "rejected", "model_chosen", "model_rejected") | sample.scored(), []
    for slot in ("chosen", "rejected"):
        path = slots.get(slot)
        if path is None:
            lacks.append(f"{slot} (a field such as {SLOTS[slot][0]!r} or {SLOTS[slot][1]!r})")
        elif not sample.textual(path):
            lacks.append(f"{slot} as text or messages (field {path!r} holds {sample.type(path)})")
    lacks += sample.prompts(slots, CHOSEN_PROMPTS)
    if "prompt" in slots and "chosen" in slots:
        sample.begun(slots, slots["chosen"])
    return Proposal("chosen_rejected", slots, lacks, f"fields {slots.get('chosen')!r} and {slots.get('rejected')!r}")


def adapt(task: Task) -> Batch:
    """Rows with `chosen` and `rejected` -> judgements whose side a is the chosen one.

    Args:
        task: a batch whose layout is chosen_rejected.

    Returns:
        One judgement or one quarantined record per row; where a side is a list of answers, per two of them.
    """
    each = _each_two(task)
    if each is None:
        return _adapt(task)
    apart = _adapt(replace(task, rows=replace(task.rows, frame=each)))
    # The scores of a row that lists answers do not say which of them they are for.
    told = apart.judgements.with_columns(pl.when(pl.len().over("source_row") == 1).then("model_scores").alias("model_scores"))
    return replace(apart, judgements=told, quarantined=apart.quarantined.unique(maintain_order=True), rows=task.rows.count)


def _each_two(task: Task) -> pl.DataFrame | None:
    """The batch's frame with a row for every chosen and rejected answer of a row that lists them; None where none does."""
    several = False
    frame = task.rows.frame.with_row_index("_id").with_columns(pl.col("_id").cast(pl.Int64))
    for slot in ("chosen", "rejected"):
        path = task.path(slot)
        if not isinstance(path, str) or path not in task.rows.fields or path in task.rows.texts:
            continue
        column = task.rows.fields[path]
        listed = frame[column].str.contains(_LIST).fill_null(False)
        if not listed.any():
            continue
        turns = task.fragments("prompt").str.contains(_LIST).fill_null(False)  # then the answers are lists of turns, too
        listed = listed & ~turns.gather(frame["_id"])
        several = several or listed.any()
        frame = frame.with_row_index("_at").with_columns(pl.col("_at").cast(pl.Int64))
        answers = task.json.elements(frame.select(pl.when(listed).then(column).alias("x"))["x"]).rename({"id": "_at"})
        frame = frame.join(answers.drop("n"), on="_at", how="left", maintain_order="left_right")
        frame = frame.with_columns(pl.coalesce("element", column).alias(column)).drop("element", "_at")
    return frame.drop("_id") if several else None


def _adapt(task: Task) -> Batch:
    compared = answers(task, "chosen", "rejected")
    judgements = (
        compared.frame.join(shared_columns(task, sided=False), on="id", maintain_order="left")
        .join(compared.problems.select("id"), on="id", how="anti", maintain_order="left")
        .with_columns(outcome=pl.lit("a"), both_bad=pl.lit(False), vote_layout=pl.lit(False))
    )
    return batch(task, judgements, compared.problems)
