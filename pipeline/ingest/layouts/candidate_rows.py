"""The candidates of a batch: their texts, models and rationales, what is left of them, and the records made of them."""

from dataclasses import dataclass
from typing import Final

import polars as pl

from pipeline.ingest.conversations.messages import problem
from pipeline.ingest.fragments import fragment, objects, pointer
from pipeline.ingest.layouts.ab import decided
from pipeline.ingest.layouts.containers import inner, leftover, values_beside
from pipeline.ingest.layouts.replies import replies
from pipeline.ingest.layouts.scores import unscored
from pipeline.ingest.layouts.slots import Task, batch, extra_members, shared_columns
from pipeline.ingest.records import RAW_JUDGEMENT, Batch

_BESIDE: Final = {"candidate_model": "model", "candidate_rationale": "why"}


@dataclass(frozen=True)
class Taken:
    """The candidates of a batch.

    Attributes:
        found: id, n, key, element, `model`, `why` (texts) and `rest` (what is left of the object) of every candidate.
        spoken: id, n, prompt, response of the usable ones.
        rows: schema PROBLEM, of rows none of whose candidates can be used.
        problems: schema PROBLEM, of single candidates.
        field: the source's name for the candidates.
    """

    found: pl.DataFrame
    spoken: pl.DataFrame
    rows: pl.DataFrame
    problems: pl.DataFrame
    field: str


Keys = tuple[str, ...]  # from the outermost
Parts = dict[Keys, pl.Series]  # what stands below some keys of every candidate, as fragments


def look_inside(task: Task, found: pl.DataFrame, more: list[Keys]) -> Parts:
    """What stands below the keys of the layout's slots, and below `more`, in one pass over the candidates."""
    slots = [inner(task.path(slot)) for slot in ("candidate_text", *_BESIDE)]
    keys = list(dict.fromkeys([*more, *(one for one in slots if one is not None)]))
    return dict(zip(keys, task.json.extract(found["element"], [pointer(*one) for one in keys]), strict=True))


def take(task: Task, found: pl.DataFrame, parts: Parts, used: dict[Keys, pl.Series | None], beside: list[str]) -> Taken:
    """The candidates, their texts, models and rationales.

    Args:
        task: the batch.
        found: its candidates, as `spread` finds them.
        parts: what `look_inside` found in them.
        used: what else inside them was understood, as `leftover` takes it.
        beside: what else beside them was: lists of their length.
    """
    path = task.path("candidates") or ""
    field = path if isinstance(path, str) else ", ".join(path)
    text = inner(task.path("candidate_text"))
    said = found["element"]
    if text is not None:
        nested = said.str.starts_with("{").fill_null(False)
        said = pl.select(pl.when(nested).then(parts[text]).otherwise(said)).to_series()
        used = used | {text: None}
    texts = {}
    for slot, column in _BESIDE.items():
        keys, place = inner(task.path(slot)), task.path(slot)
        values = pl.Series([None], dtype=pl.String).new_from_index(0, found.height)
        if keys is not None:
            values = parts[keys]
            used = used | {keys: None}
        elif isinstance(place, str):
            values = values_beside(task.rows, task.json, place, found)
            beside = [*beside, place]
        texts[column] = values
    told = task.json.texts(pl.DataFrame(texts)).select(pl.when(pl.all().str.strip_chars() != "").then(pl.all()))
    if text is None:  # an object is a message itself
        used = used | dict.fromkeys((("role",), ("content",), ("from",), ("value",)), None)
    named = pl.coalesce("model", "key" if isinstance(path, str) else pl.lit(None, pl.String))
    found = found.with_columns(told).with_columns(model=named, rest=leftover(task.json, found["element"], used))
    first = path if isinstance(path, str) else path[0]
    spoken = replies(task, found.select("id", "n").with_columns(text=said), first, several=True)
    problems = spoken.problems.with_columns(field=pl.lit(field))
    rows = pl.concat([spoken.rows, _unlisted(task, found, field), *(_lengths(task, found, one) for one in beside)])
    return Taken(found, spoken.frame, rows, problems, field)


def _unlisted(task: Task, found: pl.DataFrame, field: str) -> pl.DataFrame:
    """Rows without candidates."""
    path = task.path("candidates")
    values = task.fragments("candidates") if isinstance(path, str) else pl.Series(["[]"]).new_from_index(0, task.height)
    rows = pl.DataFrame({"id": pl.int_range(task.height, dtype=pl.Int64, eager=True), "x": values})
    none = rows.join(found.select("id"), on="id", how="anti", maintain_order="left")
    listed = pl.col("x").str.contains(r"^[\[{]").fill_null(True)
    empty, strange = none.filter(listed), none.filter(~listed)
    said = "found " + strange["x"].str.slice(0, 40) + "; expected a list of answers"
    missing = problem(empty["id"], "missing_field", field, "no answers; expected a list of them")
    return pl.concat([missing, problem(strange["id"], "wrong_type", field, said)])


def _lengths(task: Task, found: pl.DataFrame, path: str) -> pl.DataFrame:
    """Rows whose list beside the candidates has another length."""
    listed = task.json.elements(fragment(task.rows, path, task.json)).group_by("id").agg(there=pl.len())
    unlike = found.group_by("id", maintain_order=True).agg(wanted=pl.len()).join(listed, on="id", maintain_order="left")
    unlike = unlike.filter(pl.col("wanted") != pl.col("there"))
    said = unlike.select(pl.format("{} values; expected {}, one for each candidate", "there", "wanted").alias("x"))["x"]
    return problem(unlike["id"], "length_mismatch", path, said)


def finish(
    task: Task,
    taken: Taken,
    wrong_rows: pl.DataFrame,
    wrong: pl.DataFrame,
    *,
    ratings: pl.DataFrame | None = None,
    judgements: pl.DataFrame | None = None,
) -> Batch:
    """Leave out rows that are wrong as a whole, and add what the records of a row share.

    Args:
        task: the batch.
        taken: its candidates.
        wrong_rows: schema PROBLEM, of rows of which nothing can be used.
        wrong: schema PROBLEM, of single scores and verdicts.
        ratings: id, prompt, response, model, score ..., `named` (criterion), `own` and `why` (rationales), extra; or
        judgements: id, prompt, both sides and models, outcome, grade, extra.
    """
    rows = pl.concat([taken.rows, wrong_rows]).unique("id", keep="first", maintain_order=True)
    whole = rows.select("id")
    single = pl.concat([taken.problems, wrong]).join(whole, on="id", how="anti", maintain_order="left")
    problems = pl.concat([rows, single])
    shared = shared_columns(task, sided=True)
    if ratings is not None:
        ratings = ratings.join(whole, on="id", how="anti", maintain_order="left").sort("id", maintain_order=True)
        shared = shared.drop("extra").rename({"rationale": "said"})
        ratings = ratings.join(shared, on="id", maintain_order="left").with_columns(
            criterion=pl.coalesce("named", "criterion"), rationale=pl.coalesce("own", "why", "said")
        )
    if judgements is not None:
        judgements = judgements.join(whole, on="id", how="anti", maintain_order="left").sort("id", maintain_order=True)
        judgements = judgements.join(shared.drop("model_a", "model_b", "extra"), on="id", maintain_order="left").with_columns(
            *decided(pl.col("outcome")), strength=pl.coalesce("strength", "grade"), vote_layout=pl.lit(False)
        )
    made = judgements if judgements is not None else ratings
    assert made is not None
    known = pl.concat([made.select("id"), problems.select("id")])
    everything = pl.DataFrame({"id": pl.int_range(task.height, dtype=pl.Int64, eager=True)})
    silent = everything.join(known, on="id", how="anti", maintain_order="left")["id"]
    problems = pl.concat([problems, unscored(silent, taken.field)])
    return batch(task, RAW_JUDGEMENT.to_frame() if judgements is None else judgements, problems, ratings)


def candidate_extra(task: Task, ids: pl.Series, rest: dict[str, pl.Series]) -> pl.Series:
    """The unmapped fields of the rows `ids`, with what is left of the candidates under names of their own."""
    own = pl.repeat(task.path("candidate_rationale") is not None, task.height, eager=True)
    members = extra_members(task, {"rationale": own})  # a candidate's own comes before the row's
    each = {name: column.gather(ids) for name, column in members.items()}
    for name, column in rest.items():
        while name in each:
            name += "_"
        each[name] = column
    return objects(each, len(ids))


def meant(task: Task, taken: Taken, words: pl.DataFrame) -> pl.DataFrame:
    """Add `n`, the candidate that a word means: an index, a letter, or the name, model or text of exactly one; else null."""
    kind = task.layout.encoding.kind
    word = pl.col("word").str.strip_chars()
    letter = pl.when(word.str.contains("^[A-Za-z]$")).then(word.str.to_lowercase())
    place = letter.replace_strict({chr(97 + i): i for i in range(26)}, default=None, return_dtype=pl.Int64)
    index = word.cast(pl.Int64, strict=False) - (1 if kind == "one_based" else 0)
    counted = pl.coalesce(index if kind in ("one_based", "zero_based") else pl.lit(None, pl.Int64), place).alias("counted")
    texts = task.json.texts(taken.found.select("element"))["element"]
    names = pl.concat(
        [
            taken.found.select("id", "n", word=pl.col(column)) for column in ("key", "model")
        ] + [taken.found.select("id", "n").with_columns(word=texts)]
    )
    names = names.drop_nulls().unique().filter(pl.len().over("id", "word") == 1).rename({"n": "named"})
    said = words.with_columns(counted).with_columns(word=word).join(names, on=["id", "word"], how="left", maintain_order="left")
    said = said.with_columns(n=pl.coalesce("named", "counted"))
    there = taken.found.select("id", "n", there=pl.lit(True))
    said = said.join(there, on=["id", "n"], how="left", maintain_order="left")
    return said.with_columns(n=pl.when(pl.col("there")).then("n")).drop("there", "named", "counted")
