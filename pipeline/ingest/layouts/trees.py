"""Message trees: a prompt with ranked replies, each with replies of its own -> ranked ratings at every depth."""

from typing import Final

import polars as pl

from pipeline.config import FieldPath
from pipeline.ingest.conversations.messages import problem
from pipeline.ingest.fragments import objects, pointer
from pipeline.ingest.layouts.containers import nested_fields
from pipeline.ingest.layouts.ratings import UNRATED
from pipeline.ingest.layouts.sample import Proposal, Sample
from pipeline.ingest.layouts.scores import number, placed, unscored
from pipeline.ingest.layouts.slots import Task, batch, extra_members, shared_columns
from pipeline.ingest.records import PROBLEM, RAW_JUDGEMENT, Batch, Layout
from pipeline.schemas import MESSAGES_PL, ROLES

_MEMBERS: Final = ("text", "role", "replies", "rank")
_ROLE: Final = pl.col("role").str.strip_chars().str.to_lowercase()
_NO_MORE: Final = [pl.lit(None, pl.String).alias(name) for name in ("name", "tool_calls", "tool_call_id", "reasoning_content")]
_NO_PATH: Final = pl.lit([], dtype=MESSAGES_PL)


def propose(sample: Sample) -> Proposal | None:
    """Read the file as message trees; None when no field holds one."""
    for field in nested_fields(sample):
        values = sample.rows.frame[sample.rows.fields[field]]
        if not set(_MEMBERS[:3]) <= set(sample.json.keys(values.filter(values.str.starts_with("{").fill_null(False)))):
            continue
        slots: dict[str, FieldPath] = {slot: path for slot, path in sample.shared().items() if slot not in UNRATED}
        slots |= {"prompt": field, "candidates": f"{field}.replies", "candidate_text": f"{field}.replies.*.text"}
        slots["candidate_rank"] = f"{field}.replies.*.rank"
        return Proposal("candidates", slots, [], f"a message tree in {field!r} whose replies are ranked")
    return None


def is_tree(layout: Layout) -> bool:
    """Whether the candidates are the replies of a message tree."""
    return isinstance(layout.slots.get("candidates"), str) and layout.slots["candidates"] == f"{layout.slots.get('prompt')}.replies"


def adapt(task: Task) -> Batch:
    """Message trees -> a rating for every assistant's reply that is ranked beside another one.

    The prompt is the path of messages from the root to what the reply answers. Of messages that are not rated only role
    and text are kept.

    Args:
        task: a batch whose candidates are the replies of a tree.

    Returns:
        For each row its ranked replies as ratings, or one quarantined record.
    """
    field = str(task.path("prompt"))
    roots = pl.DataFrame({"id": pl.int_range(task.height, dtype=pl.Int64, eager=True), "node": task.fragments("prompt")})
    absent = roots.filter(pl.col("node").is_null())
    strange = roots.filter(~pl.col("node").str.starts_with("{"))
    said = "found " + strange["node"].str.slice(0, 40) + "; expected {text, role, replies}"
    problems = [
        problem(absent["id"], "missing_field", field, "absent or null; expected {text, role, replies}"),
        problem(strange["id"], "wrong_type", field, said),
    ]
    level = roots.filter(pl.col("node").str.starts_with("{")).with_columns(prompt=_NO_PATH, parent=pl.lit(0, pl.Int64), depth=pl.lit(0))
    rated = []
    while level.height:
        level, replies, wrong = _descend(task, level, field)
        problems.append(wrong)
        rated.append(_ranked(level))
        level = replies
    wrong = pl.concat(problems).unique("id", keep="first", maintain_order=True)
    ratings = pl.concat(rated, how="vertical") if rated else None
    shared = shared_columns(task, sided=True).drop("extra")
    if ratings is not None:
        ratings = ratings.join(wrong.select("id"), on="id", how="anti", maintain_order="left").sort("id", "depth", maintain_order=True)
        members = {name: column.gather(ratings["id"]) for name, column in extra_members(task, {}).items()}
        name = "candidate"
        while name in members:
            name += "_"
        ratings = ratings.with_columns(extra=objects(members | {name: ratings["rest"]}, ratings.height))
        ratings = ratings.join(shared, on="id", maintain_order="left").with_columns(
            model=pl.lit(None, pl.String), flags=pl.lit([], dtype=pl.List(pl.String))
        )
    known = pl.concat([wrong.select("id")] + ([] if ratings is None else [ratings.select("id")]))
    silent = roots.join(known, on="id", how="anti", maintain_order="left")["id"]
    nothing = unscored(silent, field).with_columns(detail=pl.lit("no two replies to one message are ranked; expected at least two"))
    return batch(task, RAW_JUDGEMENT.to_frame(), pl.concat([wrong, nothing]), ratings)


def _descend(task: Task, level: pl.DataFrame, field: str) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """The messages of one depth, those below them with their path, and the problems of both."""
    parts = dict(zip(_MEMBERS, task.json.extract(level["node"], [pointer(one) for one in _MEMBERS]), strict=True))
    texts = task.json.texts(pl.DataFrame({"text": parts["text"], "role": parts["role"], "rank": parts["rank"]}))
    where = pl.format("a message at depth {}: ", pl.col("depth"))
    level = level.with_columns(texts, spoken=parts["text"].str.starts_with('"').fill_null(False))
    mute = level.filter(~pl.col("spoken"))
    other = level.filter(~_ROLE.is_in(list(ROLES)).fill_null(False))
    found = pl.col("role").fill_null("null").str.slice(0, 40)
    expected = pl.concat_str(where, pl.lit("role "), found, pl.lit(f"; expected one of {', '.join(ROLES)}"))
    problems = pl.concat(
        [
            problem(mute["id"], "missing_field", field, mute.select((where + "no text").alias("x"))["x"]),
            problem(other["id"], "unknown_role", field, other.select(expected.alias("x"))["x"]),
        ]
    ).match_to_schema(PROBLEM)
    below = task.json.elements(parts["replies"])
    message = pl.struct("role", pl.col("text").alias("content"), *_NO_MORE)
    level = level.with_columns(message=message)
    path = level.select(below=pl.concat_list("prompt", pl.concat_list("message")))
    above = level.select("id", pl.col("depth") + 1, prompt=path["below"])[below["id"].to_list()]
    replies = above.with_columns(node=below["element"], parent=below["id"]).drop_nulls("node")
    keys = [one for one in task.json.keys(level["node"]) if one not in _MEMBERS]
    rest = objects(dict(zip(keys, task.json.extract(level["node"], [pointer(one) for one in keys]), strict=True)), level.height)
    return level.with_columns(rest=rest), replies, problems


def _ranked(level: pl.DataFrame) -> pl.DataFrame:
    """The assistant's messages of one depth that are ranked beside another reply to the same message."""
    said = _ROLE.replace(ROLES) == "assistant"
    ranked = level.with_columns(rank=number(pl.col("rank"))).filter(said & pl.col("rank").is_not_null())
    ranked = ranked.filter(pl.len().over("parent") > 1)
    return ranked.select("id", "depth", "prompt", *placed(pl.col("rank"), "parent"), response=pl.concat_list("message"), rest="rest")
