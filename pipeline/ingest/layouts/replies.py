"""Any number of answers to a row's prompt -> that prompt and what each says after it."""

from dataclasses import dataclass
from typing import Final

import polars as pl

from pipeline.ingest.conversations.earlier import continued
from pipeline.ingest.conversations.messages import Conversations, compare, parse, problem
from pipeline.ingest.layouts.slots import Task, prompt_messages, system_texts
from pipeline.ingest.records import PROBLEM
from pipeline.schemas import ROLES

_ASKING: Final = [role for role, plain in ROLES.items() if plain in ("user", "system")]


@dataclass(frozen=True)
class Replies:
    """The answers of a batch.

    Attributes:
        frame: id, n, `prompt` and `response` (MESSAGES_PL) of the answers without a problem, in the order they came.
        rows: schema PROBLEM, of rows none of whose answers can be used; at most one per id.
        problems: schema PROBLEM, of single answers.
    """

    frame: pl.DataFrame
    rows: pl.DataFrame
    problems: pl.DataFrame


def label(n: pl.Expr | None) -> pl.Expr:
    """What a problem says about which response it is: the candidate's number from 1, or nothing."""
    return pl.lit("") if n is None else pl.lit("candidate ") + (n + 1).cast(pl.String) + ": "


def replies(task: Task, answers: pl.DataFrame, field: str, *, several: bool) -> Replies:
    """Prompt and response of every answer.

    Whole conversations of one row share their longest common prefix of messages, one message short of the shortest at
    most. The only one of a row is split after its last user message.

    Args:
        task: the batch; its layout says where the prompt, the system message and a shared prefix are.
        answers: id (row of the batch), n (which answer), text (its fragment, null when there is none).
        field: the source's name for the answers, for problems.
        several: whether a row may have more than one answer; problems then say which.
    """
    everywhere = pl.repeat(True, task.height, eager=True)
    prompt = prompt_messages(task, everywhere, task.fragments("prompt"))
    system, untold = system_texts(task)
    problems = [untold] if prompt is None else [untold, prompt.problems]
    if task.path("prefix") is not None:
        field_of = str(task.path("prefix"))
        cells = task.rows.are_cells(field_of)
        prompt, unread = continued(task.json, task.fragments("prefix"), field_of, prompt, cells=cells)
        problems.append(unread)
    owner = answers["id"]
    bare = (everywhere if prompt is None else ~prompt.present).gather(owner)
    spoken = parse(task.json, answers["text"], field, "assistant", cells=task.rows.are_cells(field), bare_marker=bare)
    absent = (~spoken.present).arg_true()
    own = [spoken.problems, problem(absent, "missing_field", field, "absent or null; expected text or messages")]
    whole = spoken.messages.filter(pl.col("n") == 0).filter(_role().is_in(_ASKING)).select("id")
    numbers = answers.select("id", "n").with_row_index("at").with_columns(pl.col("at").cast(pl.Int64))
    usable = spoken.messages.select("id").unique()
    numbers = numbers.join(usable, left_on="at", right_on="id", how="semi", maintain_order="left")
    firsts = numbers.join(whole, left_on="at", right_on="id", how="semi", maintain_order="left")
    firsts = firsts.group_by("id", maintain_order=True).agg(first=pl.col("at").first())
    to_first = numbers.join(whole, left_on="at", right_on="id", how="semi").join(firsts, on="id").select("at", "first")
    first = spoken.messages.join(to_first, left_on="id", right_on="first").drop("id").rename({"at": "id"})
    nothing = PROBLEM.to_frame()
    compared = compare(
        None if prompt is None else _each(prompt, owner),
        None if system is None else system.gather(owner),
        Conversations(first.select(spoken.messages.columns), nothing, spoken.present),
        Conversations(spoken.messages, nothing, spoken.present),
        str(task.path("prompt")),
    )
    asked = str(task.path("prompt"))
    shared = compared.problems.filter(pl.col("field") == asked)
    problems.append(shared.with_columns(id=owner.gather(shared["id"])).unique(["id", "reason"], maintain_order=True))
    frame = _aligned(numbers.join(compared.frame, left_on="at", right_on="id", maintain_order="left"), whole)
    last = pl.col("response_b").list.last().struct.field("role").str.strip_chars().str.to_lowercase()
    open_ended = frame.filter(last.is_in(_ASKING))["at"]
    own.append(problem(open_ended, "missing_field", field, "the conversation ends with the user's turn; expected an answer"))
    mine = pl.concat(own)
    which = label(pl.col("n") if several else None)
    mine = mine.with_columns(
        id=owner.gather(mine["id"]), detail=answers.select("n")[mine["id"].to_list()].select(which.alias("x"))["x"] + mine["detail"]
    )
    rows = pl.concat(problems).unique("id", keep="first", maintain_order=True)
    frame = frame.filter(~pl.col("at").is_in(open_ended.implode())).join(rows.select("id"), on="id", how="anti", maintain_order="left")
    mine = mine.join(rows.select("id"), on="id", how="anti", maintain_order="left")
    return Replies(frame.select("id", "n", "prompt", response="response_b"), rows, mine)


def _role() -> pl.Expr:
    return pl.col("role").str.strip_chars().str.to_lowercase()


def _each(prompt: Conversations, owner: pl.Series) -> Conversations:
    """The rows' prompts, once per answer."""
    owners = pl.DataFrame({"id": owner}).with_row_index("at").with_columns(pl.col("at").cast(pl.Int64))
    messages = owners.join(prompt.messages, on="id").drop("id").rename({"at": "id"}).select(prompt.messages.columns)
    return Conversations(messages, PROBLEM.to_frame(), prompt.present.gather(owner))


def _aligned(frame: pl.DataFrame, whole: pl.DataFrame) -> pl.DataFrame:
    """Cut the whole conversations of a row at one place: where the prompt that all of them share ends."""
    some = frame.join(whole, left_on="at", right_on="id", how="semi", maintain_order="left")
    if some.is_empty():
        return frame
    length = pl.col("prompt").list.len().cast(pl.Int64)
    roles = pl.concat_list("prompt", "response_b").list.eval(pl.element().struct.field("role").str.strip_chars().str.to_lowercase())
    answered = roles.list.reverse().list.eval(pl.element().is_in(_ASKING)).list.arg_max().cast(pl.Int64)
    alone = pl.len().over("id") == 1
    after_user = pl.when(answered > 0).then(roles.list.len().cast(pl.Int64) - answered).otherwise(length)
    keep = pl.when(alone).then(pl.min_horizontal(length, after_user)).otherwise(length.min().over("id"))
    some = some.with_columns(keep=keep, all=pl.concat_list("prompt", "response_b"))
    some = some.with_columns(prompt=pl.col("all").list.head(pl.col("keep")), response_b=pl.col("all").list.slice(pl.col("keep"), None))
    some = some.select(frame.columns)
    rest = frame.join(some.select("at"), on="at", how="anti")
    return pl.concat([some, rest]).sort("at")
