"""Several responses of a row with a verdict on each two, or with the best of them named -> judgements."""

import polars as pl

from pipeline.ingest.conversations.messages import problem
from pipeline.ingest.layouts.candidate_rows import Taken, candidate_extra, finish, look_inside, meant, take
from pipeline.ingest.layouts.containers import spread
from pipeline.ingest.layouts.slots import Task, no_verdict, outcomes, unknown_verdict
from pipeline.ingest.records import PROBLEM, Batch


def _plain(task: Task) -> Taken:
    found = spread(task.rows, task.json, task.path("candidates") or "")
    return take(task, found, look_inside(task, found, []), {}, [])


def _judged(task: Task, taken: Taken, verdicts: pl.DataFrame) -> pl.DataFrame:
    """Verdicts (id, n_a, n_b, outcome, grade) with both sides; those with an unusable candidate are left out."""
    sides = taken.found.select("id", "n", "model", "rest").join(taken.spoken, on=["id", "n"], maintain_order="left")
    for side in ("a", "b"):
        renamed = sides.rename({"n": f"n_{side}", "model": f"model_{side}", "rest": f"rest_{side}", "response": f"response_{side}"})
        verdicts = verdicts.join(renamed if side == "a" else renamed.drop("prompt"), on=["id", f"n_{side}"], maintain_order="left")
    rest = {f"candidate_{side}": verdicts[f"rest_{side}"] for side in ("a", "b")}
    return verdicts.with_columns(extra=candidate_extra(task, verdicts["id"], rest))


def verdicts(task: Task) -> Batch:
    """Candidates with a verdict on each two, in the order (1,2) (1,3) ... (2,3) ... -> one judgement per verdict."""
    path = str(task.path("pair_verdicts"))
    taken = _plain(task)
    listed = task.json.elements(task.fragments("pair_verdicts"))
    listed = listed.select("id", at="n", word=task.json.texts(listed.select("element"))["element"])
    both = taken.found.select("id", "n", "model")
    pairs = both.join(both, on="id", suffix="_b").filter(pl.col("n") < pl.col("n_b")).sort("id", "n", "n_b")
    pairs = pairs.rename({"n": "n_a", "model": "model_a"}).with_columns(at=pl.int_range(pl.len()).over("id"))
    sizes = pairs.group_by("id", maintain_order=True).agg(wanted=pl.len()).join(
        listed.group_by("id").agg(there=pl.len()), on="id", how="left", maintain_order="left"
    )
    unlike = sizes.filter(pl.col("there").fill_null(0) != pl.col("wanted"))
    there = pl.col("there").fill_null(0)
    said = unlike.select(pl.format("{} verdicts; expected {}, one for each two candidates", there, "wanted").alias("x"))
    wrong_rows = problem(unlike["id"], "length_mismatch", path, said["x"])
    pairs = pairs.join(unlike.select("id"), on="id", how="anti").join(listed, on=["id", "at"]).sort("id", "at")
    pairs = pairs.with_columns(outcomes(task, pairs["word"], pairs.select("model_a", "model_b")).rename({"strength": "grade"}))
    where = pl.format("candidates {} and {}: ", pl.col("n_a") + 1, pl.col("n_b") + 1).alias("x")
    unknown = pairs.filter(pl.col("outcome").is_null()).with_columns(pl.col("word").fill_null("null"))
    none = pairs.filter(pl.col("outcome") == "none")
    wrong = pl.concat(
        [
            unknown_verdict(task, unknown["id"], path, unknown["word"], unknown.select(where)["x"]),
            no_verdict(none["id"], path, none["word"], none.select(where)["x"]),
        ]
    )
    pairs = pairs.filter(pl.col("outcome").is_not_null() & (pl.col("outcome") != "none")).select("id", "n_a", "n_b", "outcome", "grade")
    return finish(task, taken, wrong_rows, wrong, judgements=_judged(task, taken, pairs))


def best(task: Task) -> Batch:
    """Candidates of which one is named the best -> a judgement against each other one; words for a tie where there are two."""
    path = str(task.path("winner"))
    taken = _plain(task)
    ids = pl.int_range(task.height, dtype=pl.Int64, eager=True)
    words = pl.DataFrame({"id": ids, "word": task.texts("winner")["winner"]})
    counts = taken.found.group_by("id").agg(count=pl.len())
    chosen = meant(task, taken, words).join(counts, on="id", how="left", maintain_order="left")
    nobody = pl.Series([None], dtype=pl.String).new_from_index(0, task.height)
    worded = outcomes(task, chosen["word"], pl.DataFrame({"model_a": nobody, "model_b": nobody}))["outcome"]
    chosen = chosen.with_columns(worded=pl.when((pl.col("count") == 2) & pl.col("n").is_null()).then(worded))
    chosen = chosen.with_columns(n=pl.coalesce("n", pl.col("worded").replace_strict({"a": 0, "b": 1}, default=None, return_dtype=pl.Int64)))
    tied = chosen.filter(pl.col("worded").is_in(["tie", "both_bad"]))
    others = taken.found.select("id", n_b="n")
    beaten = chosen.drop_nulls("n").join(others, on="id", maintain_order="left").filter(pl.col("n") != pl.col("n_b"))
    won = beaten.select("id", pl.col("n").alias("n_a"), "n_b", outcome=pl.lit("a"))
    drawn = tied.select("id", pl.lit(0, pl.Int64).alias("n_a"), pl.lit(1, pl.Int64).alias("n_b"), outcome="worded")
    judged = pl.concat([won, drawn]).with_columns(grade=pl.lit(None, pl.Float32)).sort("id", "n_a", "n_b")
    silent = chosen.filter(pl.col("word").is_null())["id"]
    unsaid = pl.col("word").is_not_null() & pl.col("n").is_null() & ~pl.col("worded").is_in(["tie", "both_bad"]).fill_null(False)
    unknown = chosen.filter(unsaid & pl.col("count").is_not_null())
    none = unknown.filter(pl.col("worded") == "none")
    unknown = unknown.join(none.select("id"), on="id", how="anti", maintain_order="left")
    said = "found " + unknown["word"].str.slice(0, 60) + "; expected the index, letter, model or text of one of the candidates"
    alone = counts.filter(pl.col("count") < 2).sort("id")["id"]
    wrong = pl.concat(
        [
            problem(silent, "missing_field", path, "absent, null or empty; expected which candidate is the best"),
            problem(unknown["id"], "unknown_candidate", path, said),
            no_verdict(none["id"], path, none["word"]),
            problem(alone, "missing_field", taken.field, "one answer; expected at least two"),
        ]
    ).match_to_schema(PROBLEM)
    return finish(task, taken, wrong, PROBLEM.to_frame(), judgements=_judged(task, taken, judged))
