"""Layout A/B: two answers and one verdict a row; with an annotator, a row is one vote."""

from typing import Final

import polars as pl

from pipeline.config import FieldPath
from pipeline.errors import LayoutError
from pipeline.ingest.aliases import SIDE_SCORES, WINNER_FLAGS, plain
from pipeline.ingest.conversations.messages import problem
from pipeline.ingest.fragments import fragment, nulls
from pipeline.ingest.layouts.sample import Proposal, Sample
from pipeline.ingest.layouts.slots import Task, answers, batch, no_verdict, outcomes, shared_columns, unknown_verdict
from pipeline.ingest.layouts.verdicts import MARKED, spelled
from pipeline.ingest.records import Batch, Encoding

_SET: Final = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
_VERDICT: Final = pl.Schema({"outcome": pl.String, "grade": pl.Float32, "found": pl.String})


def propose(sample: Sample) -> Proposal:
    """Read the file as two answers and one verdict a row."""
    slots, lacks = sample.answers()
    path = winner(sample)
    if path is None:
        lacks.append("winner (a field such as 'winner', 'label' or 'preference')")
    else:
        take_winner(sample, slots, path)
    said = path if isinstance(path, str) or path is None else ", ".join(path)
    why = f"fields {slots.get('response_a')!r}, {slots.get('response_b')!r} and the verdict {said!r}"
    return Proposal("ab", slots, lacks, why, lambda: encoding(sample, path or [], slots))


def winner(sample: Sample) -> FieldPath | None:
    """The field of the verdict, or the fields that state it together."""
    if "winner" not in sample.configured:
        said = sample.find("winner") is not None
        for names in WINNER_FLAGS + (() if said else SIDE_SCORES):
            if all(name in sample.by_alias for name in names):
                return [sample.by_alias[name] for name in names]
        if not said and "chosen" in sample.by_alias and "rejected" not in sample.by_alias:
            return sample.by_alias["chosen"]  # the letter of the chosen one
    return sample.find("winner")


def take_winner(sample: Sample, slots: dict[str, FieldPath], path: FieldPath) -> None:
    """Read the verdict from these fields, and not a strength from the same one, which only its name suggested."""
    if slots.get("strength") == path and "strength" not in sample.configured:
        del slots["strength"]
    slots["winner"] = path


def encoding(sample: Sample, path: FieldPath, slots: dict[str, FieldPath]) -> Encoding:
    """What the verdicts in these fields mean.

    Raises:
        LayoutError: they can be read in more than one way.
    """
    if isinstance(path, str):
        return sample.encoding(sample.verdicts(path), path, slots)
    if len(path) not in (2, 3):
        raise LayoutError(
            f"{sample.name}: `fields: winner:` names {len(path)} fields; expected one with the verdict, or two or three that say "
            "whether the first answer won, the second did, it is a tie, e.g.\n  fields: {winner: [a_won, b_won, tie]}"
        )
    scored = tuple(plain(name) for name in path) in SIDE_SCORES
    amounts = pl.concat([sample.verdicts(field) for field in path]).to_frame("x").select(spelled(pl.col("x")))["x"]
    if len(path) == 2 and (scored or not amounts.is_in(list(_SET)).all()):
        return Encoding("scores")
    return Encoding("flags")


def adapt(task: Task, *, vote_layout: bool = False) -> Batch:
    """Rows with two answers and a verdict -> judgements.

    Args:
        task: a batch whose layout is ab, or votes with one vote a row.
        vote_layout: whether equal rows of unnamed annotators are separate votes.

    Returns:
        One judgement or one quarantined record per row.
    """
    compared = answers(task, "response_a", "response_b")
    single = isinstance(task.path("winner"), str)
    texts = task.texts("winner")["winner"] if single else nulls(task.height)
    judged, kept = _written(task, texts)
    shared = shared_columns(task, sided=True, kept=kept).with_columns(rationale=pl.coalesce("rationale", judged))
    verdicts = _verdicts(task, shared, texts)
    path = task.path("winner")
    field = path if isinstance(path, str) else ", ".join(path or [])
    found, outcome = verdicts["found"], verdicts["outcome"]
    silent = found.is_null().arg_true()
    unknown = (found.is_not_null() & outcome.is_null()).arg_true()
    undecided = (outcome == "none").fill_null(False).arg_true()
    problems = pl.concat(
        [
            compared.problems,
            problem(silent, "missing_field", field, "absent, null or empty; expected a verdict"),
            unknown_verdict(task, unknown, field, found.gather(unknown)),
            no_verdict(undecided, field, found.gather(undecided)),
        ]
    ).unique("id", keep="first", maintain_order=True)
    judgements = (
        compared.frame.join(shared.with_columns(verdicts), on="id", maintain_order="left")
        .join(problems.select("id"), on="id", how="anti", maintain_order="left")
        .with_columns(*decided(pl.col("outcome")), strength=pl.coalesce("strength", "grade"), vote_layout=pl.lit(vote_layout))
    )
    return batch(task, judgements, problems)


def _written(task: Task, texts: pl.Series) -> tuple[pl.Series, dict[str, pl.Series]]:
    """What a judge wrote around the verdicts, and where the verdict's field says more that finds no other place."""
    if task.layout.encoding.kind == "scores":
        return nulls(task.height).alias("judged"), {"winner": pl.repeat(True, task.height, eager=True)}
    more = (texts.str.contains(MARKED) & ~texts.str.strip_chars().str.contains(f"^{MARKED}$")).fill_null(False)
    judged = pl.select(pl.when(more).then(texts).alias("judged")).to_series()
    return judged, {} if task.path("rationale") is None else {"winner": more}


def decided(verdict: pl.Expr) -> list[pl.Expr]:
    """`outcome` and `both_bad` from a, b, tie, both_bad."""
    return [verdict.replace("both_bad", "tie").alias("outcome"), (verdict == "both_bad").alias("both_bad")]


def _verdicts(task: Task, models: pl.DataFrame, texts: pl.Series) -> pl.DataFrame:
    """Per row: outcome (null where unknown), grade, and what was found (null where nothing was)."""
    path = task.path("winner")
    if not isinstance(path, list):
        said = outcomes(task, texts, models).rename({"strength": "grade"})
        return said.with_columns(found=texts).match_to_schema(_VERDICT)
    each = task.json.texts(pl.DataFrame({f"v{i}": fragment(task.rows, one, task.json) for i, one in enumerate(path)}))
    each = each.select(pl.when(pl.all().str.strip_chars() != "").then(pl.all()))
    told = [pl.lit(f"{one}=") + pl.col(f"v{i}").str.slice(0, 20).fill_null("null") for i, one in enumerate(path)]
    there = pl.any_horizontal if task.layout.encoding.kind == "flags" else pl.all_horizontal
    found = pl.when(there(pl.all().is_not_null())).then(pl.concat_str(told, separator=", "))
    return each.select(
        outcome=_flagged(len(path)) if task.layout.encoding.kind == "flags" else _higher(),
        grade=pl.lit(None, pl.Float32),
        found=found,
    )


def _flagged(fields: int) -> pl.Expr:
    """The one field that is set; null where none or several are, or where one holds something else."""
    marks = [spelled(pl.col(f"v{i}").fill_null("0")).replace_strict(_SET, default=None, return_dtype=pl.Boolean) for i in range(fields)]
    one = pl.sum_horizontal(mark.cast(pl.Int8) for mark in marks) == 1
    clear = pl.all_horizontal(mark.is_not_null() for mark in marks) & one
    which = pl.coalesce(pl.when(mark).then(pl.lit(outcome)) for mark, outcome in zip(marks, ("a", "b", "tie"), strict=False))
    return pl.when(clear).then(which)


def _higher() -> pl.Expr:
    a, b = (pl.col(name).cast(pl.Float64, strict=False) for name in ("v0", "v1"))
    finite = a.is_finite() & b.is_finite()
    return pl.when(finite & (a > b)).then(pl.lit("a")).when(finite & (a < b)).then(pl.lit("b")).when(finite & (a == b)).then(pl.lit("tie"))
