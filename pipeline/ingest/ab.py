"""Layout A/B: two answers and one verdict a row; with an annotator, a row is one vote."""

import polars as pl

from pipeline.ingest.messages import problem
from pipeline.ingest.records import Batch
from pipeline.ingest.sample import Proposal, Sample
from pipeline.ingest.slots import Task, answers, batch, outcomes, shared_columns, unknown_verdict, verdict_words


def propose(sample: Sample) -> Proposal:
    """Read the file as two answers and one verdict a row."""
    slots, lacks = sample.answers()
    winner = sample.find("winner")
    if winner is None:
        lacks.append("winner (a field such as 'winner', 'label' or 'preference')")
    else:
        slots["winner"] = winner
    why = f"fields {slots.get('response_a')!r}, {slots.get('response_b')!r} and the verdict {winner!r}"
    return Proposal("ab", slots, lacks, why, lambda: sample.encoding(sample.verdicts(str(winner)), str(winner), slots))


def adapt(task: Task, *, vote_layout: bool = False) -> Batch:
    """Rows with two answers and a verdict -> judgements.

    Args:
        task: a batch whose layout is ab, or votes with one vote a row.
        vote_layout: whether equal rows of unnamed annotators are separate votes.

    Returns:
        One judgement or one quarantined record per row.
    """
    compared = answers(task, "response_a", "response_b")
    shared = shared_columns(task, sided=True)
    verdicts = task.texts("winner")["winner"]
    outcome = outcomes(verdicts, shared, verdict_words(task))
    field = str(task.path("winner"))
    silent = verdicts.is_null().arg_true()
    unknown = (verdicts.is_not_null() & outcome.is_null()).arg_true()
    problems = pl.concat(
        [
            compared.problems,
            problem(silent, "missing_field", field, "absent, null or empty; expected a verdict"),
            unknown_verdict(unknown, field, verdicts.gather(unknown)),
        ]
    ).unique("id", keep="first", maintain_order=True)
    judgements = (
        compared.frame.join(shared.with_columns(verdict=outcome), on="id", maintain_order="left")
        .join(problems.select("id"), on="id", how="anti", maintain_order="left")
        .with_columns(decided(pl.col("verdict")), vote_layout=pl.lit(vote_layout))
    )
    return batch(task, judgements, problems)


def decided(verdict: pl.Expr) -> list[pl.Expr]:
    """`outcome` and `both_bad` from a, b, tie, both_bad."""
    return [verdict.replace("both_bad", "tie").alias("outcome"), (verdict == "both_bad").alias("both_bad")]
