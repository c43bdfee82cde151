"""Several responses of a row with scores, ranks or an order -> ratings."""

from typing import Final

import polars as pl

from pipeline.config import paths
from pipeline.ingest.conversations.messages import problem
from pipeline.ingest.fragments import Json, nulls
from pipeline.ingest.layouts.candidate_rows import Keys, Parts, Taken, candidate_extra, finish, look_inside, meant, take
from pipeline.ingest.layouts.containers import inner, spread, values_beside
from pipeline.ingest.layouts.replies import label
from pipeline.ingest.layouts.scores import (
    ASPECTS,
    VALUE_KEYS,
    criteria_of,
    number,
    overall_score_defect,
    placed,
    read_scores,
    stated,
    unscored,
)
from pipeline.ingest.layouts.slots import Task
from pipeline.ingest.records import PROBLEM, Batch

_REASON_KEYS: Final = ("Rationale For Rating", "Rationale", "rationale", "reason", "critique", "explanation", "justification")
_NO_FLAGS: Final = pl.lit([], dtype=pl.List(pl.String))


def scored(task: Task) -> Batch:
    """Candidates with scores, inside them or in lists beside them -> one rating per candidate and score."""
    fields = paths(task.path("candidate_scores") or [])
    if _one_each(task, fields):
        return _scored_one_each(task, fields)
    found = spread(task.rows, task.json, task.path("candidates") or "")
    inside = [inner(one) for one in fields]
    above = {keys: keys[:-1] for keys in inside if keys is not None and len(keys) > 1 and keys[-1] in VALUE_KEYS}
    reasons = [(*outer, key) for outer in above.values() for key in _REASON_KEYS]
    parts = look_inside(task, found, [keys for keys in inside if keys is not None] + reasons)
    texts = task.json.texts(pl.DataFrame([_values(task, one, found, parts).alias(one) for one in fields]))
    used: dict[Keys, pl.Series | None] = {}
    columns = []
    criteria = criteria_of(fields)
    for one, keys, criterion in zip(fields, inside, criteria, strict=True):
        own = nulls(found.height)
        if keys is not None:
            used[keys] = texts.select((~stated(pl.col(one)) & (pl.col(one) != "")).alias("x"))["x"]
            if keys in above:
                own, stays = _reasons(task.json, parts, above[keys], texts[one])
                used |= stays
        columns.append(
            found.select("id", "n", label=label(pl.col("n"))).with_columns(
                text=texts[one], own=own, field=pl.lit(one), named=pl.lit(criterion, pl.String)
            )
        )
    taken = take(task, found, parts, used, [one for one in fields if inner(one) is None])
    scores, unread = read_scores(task, pl.concat(columns))
    known = pl.concat([scores.select("id", "n"), unread.select("id", "n")])
    silent = taken.spoken.join(known, on=["id", "n"], how="anti", maintain_order="left")
    named = pl.coalesce("named", pl.lit(task.criterion))
    aspect = pl.when(named.is_in(list(ASPECTS))).then(pl.col("score"))
    overall = pl.when((named == "overall") & pl.lit(set(criteria) >= ASPECTS)).then(pl.col("score"))
    rated = scores.with_columns(flag=overall_score_defect(overall, aspect.mean().over("id", "n")))
    wrong = pl.concat([unread.select(PROBLEM.names()), _unscored(silent, ", ".join(fields))])
    flags = pl.when(pl.col("flag").is_not_null()).then(pl.concat_list("flag")).otherwise(_NO_FLAGS)
    ratings = _rated(task, taken, rated.with_columns(flags=flags, ranked=pl.lit(False)))
    return finish(task, taken, PROBLEM.to_frame(), wrong, ratings=ratings)


def _one_each(task: Task, score_fields: list[str]) -> bool:
    """Whether the candidates stand in fields of their own, and the score of each does, too."""
    fields = task.path("candidates")
    return isinstance(fields, list) and len(score_fields) == len(fields) and all(inner(one) is None for one in score_fields)


def _scored_one_each(task: Task, score_fields: list[str]) -> Batch:
    found = spread(task.rows, task.json, task.path("candidates") or "")
    taken = take(task, found, look_inside(task, found, []), {}, [])
    told = spread(task.rows, task.json, score_fields)
    told = told.select("id", "n", field="key", text=task.json.texts(told.select("element"))["element"], label=label(pl.col("n")))
    scores, unread = read_scores(task, told.join(found.select("id", "n"), on=["id", "n"], how="semi", maintain_order="left"))
    reported = pl.concat([scores.select("id", "n"), unread.select("id", "n")])
    silent = taken.spoken.join(reported, on=["id", "n"], how="anti", maintain_order="left")
    wrong = pl.concat([unread.select(PROBLEM.names()), _unscored(silent, ", ".join(score_fields))])
    unsaid = {"named": pl.lit(None, pl.String), "own": pl.lit(None, pl.String), "flags": _NO_FLAGS, "ranked": pl.lit(False)}
    return finish(task, taken, PROBLEM.to_frame(), wrong, ratings=_rated(task, taken, scores.with_columns(**unsaid)))


def _values(task: Task, path: str, found: pl.DataFrame, parts: Parts) -> pl.Series:
    """One fragment per candidate, from inside it or from a list beside them."""
    keys = inner(path)
    return values_beside(task.rows, task.json, path, found) if keys is None else parts[keys]


def _unscored(silent: pl.DataFrame, field: str) -> pl.DataFrame:
    """Problems of candidates (id, n) without a score."""
    return unscored(silent["id"], field, silent.select(label(pl.col("n")).alias("x"))["x"])


def _rated(task: Task, taken: Taken, scores: pl.DataFrame) -> pl.DataFrame:
    """Scores with prompt, response, model and what else a rating needs of its candidate."""
    candidates = taken.found.select("id", "n", "model", "why").with_columns(
        extra=candidate_extra(task, taken.found["id"], {"candidate": taken.found["rest"]})
    )
    return scores.join(taken.spoken, on=["id", "n"], maintain_order="left").join(candidates, on=["id", "n"], maintain_order="left")


def _reasons(json: Json, parts: Parts, above: Keys, scores: pl.Series) -> tuple[pl.Series, dict[Keys, pl.Series | None]]:
    """The reason beside a score inside an object of its criterion, and where each of the keys is left over."""
    texts = json.texts(pl.DataFrame([parts[(*above, key)].alias(f"r{i}") for i, key in enumerate(_REASON_KEYS)]))
    texts = texts.select(pl.when(pl.all().str.strip_chars() != "").then(pl.all())).with_columns(score=scores)
    taken: dict[Keys, pl.Series | None] = {}
    earlier = ~stated(pl.col("score"))
    for i, key in enumerate(_REASON_KEYS):
        taken[(*above, key)] = texts.select(earlier.alias("x"))["x"]
        earlier = earlier | pl.col(f"r{i}").is_not_null()
    return texts.select(pl.coalesce(r"^r\d$").alias("x"))["x"], taken


def ranked(task: Task) -> Batch:
    """Candidates with ranks, or an order of them, best first -> one ranked rating per candidate."""
    order = task.path("order")
    path = str(task.path("candidate_rank") if order is None else order)
    keys = inner(path)
    found = spread(task.rows, task.json, task.path("candidates") or "")
    parts = look_inside(task, found, [] if keys is None else [keys])
    taken = take(task, found, parts, {} if keys is None else {keys: None}, [path] if keys is None and order is None else [])
    strange = PROBLEM.to_frame()
    if order is None:
        ranks, wrong = _placed_inside(task, taken, path, parts)
    else:
        ranks, strange, wrong = _ordered(task, taken, path)
    rated = ranks.select("id", "n", *placed(pl.col("rank"), "id")).with_columns(
        flags=_NO_FLAGS, named=pl.lit(None, pl.String), own=pl.lit(None, pl.String)
    )
    return finish(task, taken, strange, wrong, ratings=_rated(task, taken, rated))


def _placed_inside(task: Task, taken: Taken, path: str, parts: Parts) -> tuple[pl.DataFrame, pl.DataFrame]:
    """id, n, rank from ranks inside or beside the candidates, and the problems of those without one."""
    texts = task.json.texts(_values(task, path, taken.found, parts).to_frame("text"))["text"]
    told = taken.found.select("id", "n").with_columns(text=texts).filter(stated(pl.col("text"))).with_columns(rank=number(pl.col("text")))
    bad = told.filter(pl.col("rank").is_null())
    said = bad.select(pl.concat_str(label(pl.col("n")), pl.lit("found "), pl.col("text").str.slice(0, 60), pl.lit("; expected a rank")))
    silent = taken.spoken.join(told.select("id", "n"), on=["id", "n"], how="anti", maintain_order="left")
    wrong = pl.concat([problem(bad["id"], "unknown_score", path, said.to_series()), _unscored(silent, path)])
    return told.drop_nulls("rank").drop("text"), wrong


def order_entries(json: Json, fragments: pl.Series) -> pl.DataFrame:
    """An order's entries: id, place (equal for a tie), word; from lists, where a tie is a list of its own, or from `b > a = c`."""
    words = json.texts(fragments.to_frame("word"))["word"]
    written = pl.DataFrame({"id": pl.int_range(len(fragments), dtype=pl.Int64, eager=True), "word": words})
    written = written.filter((fragments.str.starts_with('"') & written["word"].str.contains(">")).fill_null(False))
    written = written.with_columns(pl.col("word").str.split(">")).explode("word").with_columns(place=pl.int_range(pl.len()).over("id"))
    written = written.with_columns(pl.col("word").str.split("=")).explode("word").with_columns(pl.col("word").str.strip_chars())
    places = json.elements(fragments).rename({"n": "place"})
    ties = places.filter(pl.col("element").str.starts_with("[").fill_null(False))
    inside = json.elements(ties["element"])
    tied = pl.DataFrame({"id": ties["id"].gather(inside["id"]), "place": ties["place"].gather(inside["id"]), "element": inside["element"]})
    single = places.filter(~pl.col("element").str.starts_with("[").fill_null(False)).select("id", "place", "element")
    entries = pl.concat([single, tied])
    entries = entries.select("id", "place", word=json.texts(entries.select("element"))["element"])
    return pl.concat([entries, written.select(entries.columns)]).sort("id", "place", maintain_order=True)


def _ordered(task: Task, taken: Taken, path: str) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """id, n, rank from an order; the problems of rows whose order names no candidate, or one twice; and of those left out."""
    entries = meant(task, taken, order_entries(task.json, task.fragments("order")))
    twice = entries.drop_nulls("n").filter(pl.len().over("id", "n") > 1)
    odd = pl.concat([entries.filter(pl.col("n").is_null()), twice]).sort("id", "place").unique("id", keep="first", maintain_order=True)
    found = pl.col("word").fill_null("null").str.slice(0, 60)
    said = odd.select(pl.concat_str(pl.lit("found "), found, pl.lit("; expected each candidate once, best first"))).to_series()
    ranks = entries.select("id", "n", rank="place").drop_nulls("n")
    left_out = taken.spoken.join(ranks, on=["id", "n"], how="anti", maintain_order="left")
    return ranks, problem(odd["id"], "unknown_candidate", path, said), _unscored(left_out, path)
