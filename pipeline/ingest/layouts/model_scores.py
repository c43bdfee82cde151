"""Scores that reward models gave both answers of a row: columns of the file, or of one that it is joined to."""

from collections.abc import Mapping
from typing import Final

import polars as pl

from pipeline.config import FieldPath, paths
from pipeline.ingest.fragments import Json, fragment, nulls
from pipeline.ingest.records import Rows
from pipeline.schemas import MODEL_SCORES_PL

SLOT: Final = "model_scores."  # and the model: a slot each, of two fields


def model_scores(rows: Rows, slots: Mapping[str, FieldPath], json: Json) -> tuple[pl.Series, dict[str, pl.Series]]:
    """What reward models gave the first and the second answer of each row.

    A field holds a number or a list of them; the members of a list are models of their own, `name-0`, `name-1` ... What is no
    finite number is null, and a model that gave neither answer a number is left out. Lists of different length, or a list beside a
    number, leave members with one side.

    Args:
        rows: a batch.
        slots: of its layout.
        json: the reader's session.

    Returns:
        `model_scores` (MODEL_SCORES_PL, sorted by model; null: none), and for each slot the rows in which something stood that is
        no number: it must not be lost.
    """
    height = rows.frame.height
    named = sorted(slot for slot in slots if slot.startswith(SLOT))
    if not named:
        return pl.Series("model_scores", [None], dtype=MODEL_SCORES_PL).new_from_index(0, height), {}
    parts, unread = [], {}
    for slot in named:
        a, b = (_read(fragment(rows, path, json) if height else nulls(0), json) for path in paths(slots[slot]))
        at_fault = pl.concat([a.filter("unread")["id"], b.filter("unread")["id"]])
        unread[slot] = pl.int_range(height, dtype=pl.Int64, eager=True).is_in(at_fault.implode())
        both = a.join(b, on=["id", "n"], how="full", coalesce=True, nulls_equal=True, suffix="_b")
        model = pl.concat_str(pl.lit(slot.removeprefix(SLOT)), (pl.lit("-") + pl.col("n").cast(pl.String)).fill_null(""))
        parts.append(both.select("id", model=model, a="score", b="score_b"))
    told = pl.concat(parts).filter(pl.col("a").is_not_null() | pl.col("b").is_not_null()).sort("id", "model", "a", "b")
    listed = told.group_by("id", maintain_order=True).agg(model_scores=pl.struct("model", "a", "b"))
    ids = pl.DataFrame({"id": pl.int_range(height, dtype=pl.Int64, eager=True)})
    return ids.join(listed, on="id", how="left", maintain_order="left")["model_scores"].cast(MODEL_SCORES_PL), unread


def _read(fragments: pl.Series, json: Json) -> pl.DataFrame:
    """The scores of a field: id, n (place in a list; null: it is no list), score, unread (there is something else than a number)."""
    texts = json.texts(fragments.to_frame("x"))["x"].str.strip_chars()
    brackets = texts.str.starts_with("[").fill_null(False)
    lists = texts.to_frame("x").select(pl.when(brackets).then("x"))["x"]
    is_list = json.valid(lists).fill_null(False)
    at = is_list.arg_true().cast(pl.Int64)
    inside = json.elements(lists.gather(at))
    members = inside.select(id=at.gather(inside["id"]), n="n", text=json.texts(inside.select("element"))["element"].str.strip_chars())
    alone = (~is_list).arg_true().cast(pl.Int64)
    single = pl.DataFrame({"id": alone, "n": pl.Series([None], dtype=pl.Int64).new_from_index(0, len(alone)), "text": texts.gather(alone)})
    number = pl.col("text").cast(pl.Float64, strict=False)
    read = pl.concat([single, members]).with_columns(score=pl.when(number.is_finite()).then(number))
    return read.select("id", "n", "score", unread=pl.col("score").is_null() & (pl.col("text") != "").fill_null(False))
