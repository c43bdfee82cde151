"""Conversations that offer several scored replies at each turn and go on from the chosen one -> ratings."""

from typing import Final

import polars as pl

from pipeline.config import FieldPath
from pipeline.ingest.conversations.messages import problem
from pipeline.ingest.fragments import objects, pointer
from pipeline.ingest.layouts.containers import nested_fields
from pipeline.ingest.layouts.ratings import UNRATED
from pipeline.ingest.layouts.sample import Proposal, Sample
from pipeline.ingest.layouts.scores import read_scores, unscored
from pipeline.ingest.layouts.slots import Task, batch, extra_members, shared_columns
from pipeline.ingest.records import PROBLEM, RAW_JUDGEMENT, Batch, Layout
from pipeline.schemas import MESSAGES_PL, ROLES

_MEMBERS: Final = ("role", "content", "turn", "score", "if_chosen", "model_name")
_TAKEN: Final = ("role", "content", "turn", "score", "model_name")
_NO_MORE: Final = [pl.lit(None, pl.String).alias(name) for name in ("name", "tool_calls", "tool_call_id", "reasoning_content")]


def propose(sample: Sample) -> Proposal | None:
    """Read the file as conversations with several scored replies a turn, as PRISM's; None when no field holds one."""
    for field in nested_fields(sample):
        turns = sample.json.elements(sample.rows.frame[sample.rows.fields[field]])["element"].drop_nulls()
        known = set(_MEMBERS[:5]) <= set(sample.json.keys(turns.filter(turns.str.starts_with("{"))))
        if not known or any(sample.configured.get(slot, field) != field for slot in ("candidates", "prompt")):
            continue
        slots: dict[str, FieldPath] = {slot: path for slot, path in sample.shared().items() if slot not in UNRATED}
        slots |= {"prompt": field, "candidates": field, "candidate_scores": f"{field}.*.score"}
        slots |= {"candidate_text": f"{field}.*.content", "candidate_model": f"{field}.*.model_name"}
        return Proposal("candidates", slots, [], f"several scored replies at each turn of the conversation in {field!r}")
    return None


def holds_turns(layout: Layout) -> bool:
    """Whether the candidates are the replies at each turn of a conversation."""
    return layout.slots.get("candidates") is not None and layout.slots["candidates"] == layout.slots.get("prompt")


def adapt(task: Task) -> Batch:
    """Conversations -> a rating for every scored reply, after what was said before it: the users' turns and the chosen replies.

    Args:
        task: a batch whose candidates are the replies at each turn.

    Returns:
        For each row its scored replies as ratings, and each that cannot be used as a quarantined record; one record for
        a row of which nothing is usable.
    """
    field = str(task.path("prompt"))
    turns = task.json.elements(task.fragments("prompt"))
    parts = dict(zip(_MEMBERS, task.json.extract(turns["element"], [pointer(one) for one in _MEMBERS]), strict=True))
    keys = [key for key in task.json.keys(turns["element"].filter(turns["element"].str.starts_with("{"))) if key not in _TAKEN]
    rest = objects(dict(zip(keys, task.json.extract(turns["element"], [pointer(key) for key in keys]), strict=True)), turns.height)
    texts = task.json.texts(pl.DataFrame(parts))
    role = pl.col("role").str.strip_chars().str.to_lowercase().replace_strict(ROLES, default=None)
    said = pl.concat([turns.select("id", "n"), texts], how="horizontal").with_columns(
        pl.col("turn").cast(pl.Int64, strict=False), kind=role, rest=rest, spoken=parts["content"].str.starts_with('"').fill_null(False)
    )
    where = pl.format("message {}: ", pl.col("n") + 1)
    broken = said.filter(pl.any_horizontal(pl.col("turn", "kind").is_null()) | ~pl.col("spoken"))
    detail = broken.select(x=where + "expected {role, content, turn} with a known role, a text and a number")["x"]
    nobody = pl.int_range(task.height, dtype=pl.Int64, eager=True)
    nobody = nobody.filter(~nobody.is_in(said["id"].unique().implode()))
    wrong = pl.concat(
        [
            problem(broken["id"], "wrong_type", field, detail),
            problem(nobody, "missing_field", field, "no messages; expected a list of {role, content, turn, score, if_chosen}"),
        ]
    ).unique("id", keep="first", maintain_order=True)
    said = said.join(wrong.select("id"), on="id", how="anti", maintain_order="left").with_columns(
        message=pl.struct("role", "content", *_NO_MORE)
    )
    replies = said.filter(pl.col("kind") == "assistant")
    prompts, severed = _before(said, replies)
    severed = problem(severed["id"], "missing_field", field, severed.select(x=where + "no reply is chosen at an earlier turn")["x"])
    asked = replies.join(prompts, on=["id", "turn"], maintain_order="left")
    label = asked.select("id", text="score", n="n").with_columns(field=pl.lit(field), label=where)
    scores, unread = read_scores(task, label)
    scored = scores.join(asked.select("id", "n", "prompt", "message", "model_name", "rest"), on=["id", "n"], maintain_order="left")
    silent = asked.join(pl.concat([scores.select("id", "n"), unread.select("id", "n")]), on=["id", "n"], how="anti", maintain_order="left")
    single = [severed, unread.select(PROBLEM.names()), unscored(silent["id"], field, silent.select(x=where)["x"])]
    members = {name: column.gather(scored["id"]) for name, column in extra_members(task, {}).items()}
    name = "candidate"
    while name in members:
        name += "_"
    ratings = scored.with_columns(extra=objects(members | {name: scored["rest"]}, scored.height))
    ratings = ratings.join(shared_columns(task, sided=True).drop("extra"), on="id", maintain_order="left").with_columns(
        response=pl.concat_list("message"), model="model_name", ranked=pl.lit(False), flags=pl.lit([], dtype=pl.List(pl.String))
    )
    problems = pl.concat([wrong, *single])
    known = pl.concat([problems.select("id"), ratings.select("id")])
    left = pl.DataFrame({"id": pl.int_range(task.height, dtype=pl.Int64, eager=True)}).join(known, on="id", how="anti")["id"]
    return batch(task, RAW_JUDGEMENT.to_frame(), pl.concat([problems, unscored(left.sort(), field)]), ratings.sort("id", "n"))


def _before(said: pl.DataFrame, replies: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What each turn's replies answer (id, turn, prompt), and the replies (id, n) after a turn where none is chosen."""
    chosen = (pl.col("kind") != "assistant") | (pl.col("if_chosen").str.to_lowercase() == "true").fill_null(False)
    kept = said.filter(chosen).select("id", "n", "kind", "message", earlier="turn")
    each = replies.select("id", "turn").unique()
    paths = each.join(kept, on="id").filter(
        (pl.col("earlier") < pl.col("turn")) | ((pl.col("earlier") == pl.col("turn")) & (pl.col("kind") != "assistant"))
    )
    answered = paths.filter(pl.col("kind") == "assistant").group_by("id", "turn").agg(answered=pl.col("earlier").n_unique())
    asked = paths.filter(pl.col("earlier") < pl.col("turn")).group_by("id", "turn").agg(asked=pl.col("earlier").n_unique())
    gaps = asked.join(answered, on=["id", "turn"], how="left").filter(pl.col("asked") != pl.col("answered").fill_null(0))
    whole = paths.join(gaps, on=["id", "turn"], how="anti").sort("id", "turn", "n")
    prompts = whole.group_by("id", "turn", maintain_order=True).agg(prompt=pl.col("message"))
    severed = replies.join(gaps.select("id", "turn"), on=["id", "turn"], how="semi", maintain_order="left")
    return prompts.with_columns(pl.col("prompt").cast(MESSAGES_PL)), severed.select("id", "n")
