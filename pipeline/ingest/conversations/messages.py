"""Fragments -> lists of messages, and two answers -> shared prompt and what each side says after it.

Works on long tables (one row = one message: `id`, `n`, the fields of MESSAGE), so that every step is columnar.
"""

from dataclasses import dataclass
from typing import Final

import polars as pl

from pipeline.ingest.conversations.content_parts import joined_parts
from pipeline.ingest.fragments import Json, pointer
from pipeline.ingest.records import PROBLEM
from pipeline.schemas import MESSAGES_PL, ROLES

_FIELDS: Final = ["role", "content", "name", "tool_calls", "tool_call_id", "reasoning_content"]
_LONG: Final = pl.Schema({"id": pl.Int64, "n": pl.Int64} | dict.fromkeys(_FIELDS, pl.String))
_POINTERS: Final = {name: pointer(name) for name in ("role", "from", "content", "value", *_FIELDS[2:])}
_NO_ELEMENTS: Final = pl.Schema({"id": pl.Int64, "n": pl.Int64} | dict.fromkeys(("element", "kind", *_POINTERS), pl.String))
_NO_CALLS: Final = ["[]", '""']
_NO_MESSAGES: Final = pl.lit([], dtype=MESSAGES_PL)


@dataclass(frozen=True)
class Conversations:
    """Parsed message fields of a batch.

    Attributes:
        messages: one row = one message: id, n (from 0, without gaps), role as in the source, content ...
        problems: schema PROBLEM, at most one per id; such an id has no messages.
        present: id -> whether the field was there (not null).
    """

    messages: pl.DataFrame
    problems: pl.DataFrame
    present: pl.Series


def parse(
    json: Json, fragments: pl.Series, field: str, default_role: str, *, cells: bool, bare_marker: pl.Series | None = None
) -> Conversations:
    """Read texts, transcripts, message lists and single message objects.

    Args:
        json: the reader's session.
        fragments: one per row; row i gets id i.
        field: the source's name for the field, for problems.
        default_role: role of a plain text.
        cells: whether the source knows only text, so that a list without roles is a text after all.
        bare_marker: per row, whether a text that starts with `Human:` without two line breaks is a transcript too.
    """
    frame = pl.DataFrame({"id": pl.int_range(len(fragments), dtype=pl.Int64, eager=True), "x": fragments.cast(pl.String)})
    frame = frame.with_columns(kind=pl.col("x").str.slice(0, 1))
    nested = pl.col("kind").is_in(["[", "{"])
    elements = _elements(json, frame)
    verbatim = frame.clear()["id"]
    if cells:
        spoken = elements.filter((pl.col("n") == 0) & pl.coalesce("role", "from").is_not_null())["id"]
        verbatim = frame.filter(nested & ~pl.col("id").is_in(spoken.implode()))["id"]
        elements = elements.filter(pl.col("id").is_in(spoken.implode()))
    plain = pl.col("id").is_in(verbatim.implode())
    strings = frame.filter((pl.col("kind") == '"') | plain)
    strings = strings.with_columns(text=json.texts(strings.select("x"))["x"]).with_columns(text=pl.when(plain).then("x").otherwise("text"))
    turns, texts = _transcripts(json, strings.select("id", "text"), bare_marker)
    listed, problems = _checked(json, elements, field)
    single = texts.select("id", pl.lit(0, pl.Int64).alias("n"), pl.lit(default_role).alias("role"), content="text")
    messages = pl.concat([one.match_to_schema(_LONG, missing_columns="insert") for one in (listed, turns, single)])
    wrong = frame.filter(~nested & (pl.col("kind") != '"'))
    empty = frame.filter((pl.col("kind") == "[") & ~plain).join(elements.select("id").unique(), on="id", how="anti")
    found = "found " + wrong["x"].str.slice(0, 40) + "; expected text or messages"
    problems = pl.concat(
        [
            problems,
            problem(wrong["id"], "wrong_type", field, found),
            problem(empty["id"], "empty_conversation", field, "an empty list; expected at least one message"),
        ]
    )
    return Conversations(messages, problems, frame["x"].is_not_null())


def problem(ids: pl.Series, reason: str, field: str | None, detail: str | pl.Series) -> pl.DataFrame:
    """Rows of schema PROBLEM, one for each id."""
    frame = pl.DataFrame({"id": ids.cast(pl.Int64)})
    said = pl.lit(detail, pl.String) if isinstance(detail, str) else detail.cast(pl.String)
    return frame.with_columns(reason=pl.lit(reason, pl.String), field=pl.lit(field, pl.String), detail=said)


def _elements(json: Json, frame: pl.DataFrame) -> pl.DataFrame:
    """The elements of lists and the single objects: id, n, element, its kind, and its members as fragments."""
    nested = frame.filter(pl.col("kind").is_in(["[", "{"]))
    if nested.is_empty():
        return _NO_ELEMENTS.to_frame()
    listed = json.elements(nested["x"])
    listed = listed.with_columns(id=nested["id"].gather(listed["id"]))
    single = nested.filter(pl.col("kind") == "{").select("id", pl.lit(0, pl.Int64).alias("n"), pl.col("x").alias("element"))
    elements = pl.concat([listed.select("id", "n", "element"), single])
    parts = json.extract(elements["element"], list(_POINTERS.values()))
    return elements.with_columns(
        kind=pl.col("element").str.slice(0, 1), **dict(zip(_POINTERS, parts, strict=True))
    )


def _checked(json: Json, elements: pl.DataFrame, field: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Messages of the conversations without a problem, and one problem for each other one."""
    if elements.is_empty():
        return _LONG.to_frame(), PROBLEM.to_frame()
    frame = elements.with_columns(role=pl.coalesce("role", "from"), content=pl.coalesce("content", "value")).drop("from", "value")
    frame = joined_parts(json, frame)
    role = pl.col("role").str.strip_chars('"').str.strip_chars().str.to_lowercase()
    content_kind = pl.col("content").str.slice(0, 1)
    no_calls = pl.col("tool_calls").is_null() | pl.col("tool_calls").is_in(_NO_CALLS)
    spelled = pl.lit("role ") + pl.col("role").str.slice(0, 40) + pl.lit(f"; expected one of {', '.join(ROLES)}")
    checks: list[tuple[pl.Expr, str, pl.Expr]] = [
        ((pl.col("kind") != "{").fill_null(True), "wrong_type", pl.lit("not an object; expected {role, content}")),
        (pl.col("role").is_null(), "wrong_type", pl.lit("no role; expected {role, content}")),
        (~pl.col("role").str.starts_with('"'), "wrong_type", pl.lit("the role is not text")),
        (~role.is_in(list(ROLES)), "unknown_role", spelled),
        (pl.col("refused").is_not_null(), "non_text_content", pl.col("refused") + pl.lit("; expected text parts only")),
        (pl.col("content").is_null() & no_calls, "missing_field", pl.lit("no content")),
        (content_kind != '"', "wrong_type", pl.lit("the content is not text")),
    ]
    where = pl.lit("message ") + (pl.col("n") + 1).cast(pl.String) + ": "
    marks = [pl.when(bad).then(pl.struct(pl.lit(reason).alias("reason"), (where + said).alias("detail"))) for bad, reason, said in checks]
    marked = frame.with_columns(bad=pl.coalesce(marks))
    bad = marked.filter(pl.col("bad").is_not_null()).sort("id", "n").unique("id", keep="first", maintain_order=True)
    problems = bad.select("id", pl.col("bad").struct.unnest(), pl.lit(field).alias("field")).match_to_schema(PROBLEM)
    good = marked.join(bad.select("id"), on="id", how="anti")
    texts = json.texts(good.select(_FIELDS)).with_columns(
        pl.col("content").fill_null(""),
        pl.when(~pl.col("tool_calls").is_in(["[]", ""])).then("tool_calls"),
    )
    return pl.concat([good.select("id", "n"), texts], how="horizontal"), problems


def _transcripts(json: Json, texts: pl.DataFrame, bare: pl.Series | None) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Turns of the texts that are transcripts (id, n, role, content), and the other texts (id, text)."""
    marked = pl.col("text").str.contains(r"^\s*\n\n(?:Human|Assistant):")
    if bare is not None:
        bare_ids = bare.arg_true().cast(pl.Int64)
        marked = marked | (pl.col("text").str.contains(r"^\s*(?:Human|Assistant):") & pl.col("id").is_in(bare_ids.implode()))
    spoken = texts.filter(marked)
    if spoken.is_empty():
        return _LONG.to_frame().select("id", "n", "role", "content"), texts
    turns = json.turns(spoken.select(pl.lit("\n\n") + pl.col("text").str.strip_chars_start())["literal"])
    turns = turns.select(
        pl.Series("id", spoken["id"].gather(turns["id"])), "n", "role", pl.col("content").str.strip_prefix(" ")
    )
    return turns, texts.filter(~marked)


@dataclass(frozen=True)
class Compared:
    """Two answers to one prompt, per id: `prompt`, `response_a`, `response_b` (MESSAGES_PL), and at most one problem an id."""

    frame: pl.DataFrame
    problems: pl.DataFrame


def compare(prompt: Conversations | None, system: pl.Series | None, a: Conversations, b: Conversations, prompt_field: str) -> Compared:
    """Find the prompt two sides share and what each says after it.

    Whole conversations (their first message is the user's or the system's) share their longest common prefix of
    messages, one message short of the shorter side at most. Replies stand as they are, after the prompt field.

    Args:
        prompt: the prompt field, where the layout has one.
        system: system message texts, where the layout has them; null means none.
        a: first side; every id without a problem is present.
        b: second side.
        prompt_field: the prompt's name in the source, for problems.
    """
    ids = pl.DataFrame({"id": pl.int_range(len(a.present), dtype=pl.Int64, eager=True)})
    problems = pl.concat([one.problems for one in (prompt, a, b) if one is not None])
    key_a, key_b = _keyed(a.messages), _keyed(b.messages)
    key_p = _keyed(_prompt_messages(prompt)) if prompt is not None else key_a.clear()
    whole_a, whole_b = _whole(key_a), _whole(key_b)
    both = ids.join(whole_a, on="id", how="semi").join(whole_b, on="id", how="semi")
    either = ids.join(pl.concat([whole_a, whole_b]), on="id", how="semi")
    if prompt is not None:
        given = ids.filter(prompt.present)
        said = key_p.select("id").unique()
        contains = _contains(key_p, key_a).join(_contains(key_p, key_b), on="id", how="semi")
        strange = either.join(said, on="id", how="semi").join(contains.join(both, on="id", how="semi"), on="id", how="anti")
        absent = ids.join(given, on="id", how="anti").join(either, on="id", how="anti")
        problems = pl.concat(
            [
                problems,
                problem(strange["id"], "prompt_mismatch", prompt_field, "the answers are whole conversations without this prompt"),
                problem(absent["id"], "missing_field", prompt_field, "absent or null; expected text or messages"),
            ]
        )
    shared = _shared_length(key_a, key_b).join(both, on="id", how="semi")
    head_a, tail_a = _cut(a.messages, shared)
    _, tail_b = _cut(b.messages, shared)
    asked = pl.concat([head_a, _prompt_messages(prompt).join(both, on="id", how="anti")]) if prompt is not None else head_a
    asked = _with_system(asked, key_p, system)
    frame = ids
    for name, messages in (("prompt", asked), ("response_a", tail_a), ("response_b", tail_b)):
        frame = frame.join(_listed(messages).rename({"messages": name}), on="id", how="left", maintain_order="left")
    frame = frame.with_columns(pl.col("prompt", "response_a", "response_b").fill_null(_NO_MESSAGES))
    return Compared(frame, problems.unique("id", keep="first", maintain_order=True))


def follow(prompt: Conversations, replies: Conversations, prompt_field: str) -> Conversations:
    """What each reply says after its own prompt, as one conversation.

    A reply that is a whole conversation is taken as it is when it holds the prompt; otherwise that is a problem.

    Args:
        prompt: the prompts; an absent one is a problem.
        replies: the answers.
        prompt_field: the prompt's name in the source, for problems.
    """
    asked = _prompt_messages(prompt)
    key_p, key_r = _keyed(asked), _keyed(replies.messages)
    whole = _whole(key_r)
    strange = whole.join(key_p.select("id").unique(), on="id", how="semi").join(_contains(key_p, key_r), on="id", how="anti")
    asked = asked.join(whole, on="id", how="anti")
    before = asked.group_by("id").agg(before=pl.col("n").max() + 1)
    after = replies.messages.join(before, on="id", how="left", maintain_order="left")
    after = after.with_columns(n=pl.col("n") + pl.col("before").fill_null(0)).drop("before")
    problems = [
        prompt.problems,
        replies.problems,
        problem((~prompt.present).arg_true(), "missing_field", prompt_field, "absent or null; expected text or messages"),
        problem(strange["id"], "prompt_mismatch", prompt_field, "the answer is a whole conversation without this prompt"),
    ]
    return Conversations(pl.concat([asked, after]), pl.concat(problems), replies.present)


def _prompt_messages(prompt: Conversations) -> pl.DataFrame:
    """The prompt's messages without the empty last turn that invites an answer; an empty text asks nothing."""
    last = pl.col("n") == pl.col("n").max().over("id")
    role = pl.col("role").str.strip_chars().str.to_lowercase().replace(ROLES)
    blank = (pl.col("content").str.strip_chars() == "") & pl.col("tool_calls").is_null()
    text_only = (pl.col("n").max().over("id") == 0) & (role == "user")
    return prompt.messages.filter(~(last & blank & ((role == "assistant") | text_only)))


def _keyed(messages: pl.DataFrame) -> pl.DataFrame:
    """Messages reduced to what makes two of them the same: id, n, role, said."""
    role = pl.col("role").str.strip_chars().str.to_lowercase().replace(ROLES)
    said = pl.struct(pl.col("content").str.strip_chars_end(), "tool_calls")
    return messages.select("id", "n", role.alias("role"), said.alias("said"))


def _whole(keyed: pl.DataFrame) -> pl.DataFrame:
    return keyed.filter((pl.col("n") == 0) & pl.col("role").is_in(["user", "system"])).select("id")


def _shared_length(a: pl.DataFrame, b: pl.DataFrame) -> pl.DataFrame:
    """id, shared: the length of the longest common prefix that leaves each side a message."""
    joined = a.join(b, on=["id", "n"], suffix="_b").sort("id", "n")
    same = (pl.col("role") == pl.col("role_b")) & (pl.col("said") == pl.col("said_b"))
    joined = joined.with_columns(same=same.cast(pl.Int64))
    counted = joined.group_by("id", maintain_order=True).agg(shared=pl.col("same").cum_min().sum(), shorter=pl.len().cast(pl.Int64))
    return counted.select("id", pl.min_horizontal("shared", pl.col("shorter") - 1).alias("shared"))


def _contains(prompt: pl.DataFrame, side: pl.DataFrame) -> pl.DataFrame:
    """Ids whose side starts with the prompt's messages (system messages aside), or says a one-message prompt as a user turn."""
    asked, said = _without_system(prompt), _without_system(side)
    matched = asked.join(said, on=["id", "n", "role", "said"]).group_by("id").len("matched")
    wanted = asked.group_by("id").len("wanted")
    starts = wanted.join(matched, on="id").filter(pl.col("wanted") == pl.col("matched")).select("id")
    stripped = pl.col("said").struct.field("content").str.strip_chars().alias("text")
    one = asked.filter((pl.len().over("id") == 1) & (pl.col("role") == "user")).select("id", stripped)
    turns = said.filter(pl.col("role") == "user").select("id", stripped)
    return pl.concat([starts, one.join(turns, on=["id", "text"]).select("id")]).unique()


def _without_system(keyed: pl.DataFrame) -> pl.DataFrame:
    rest = keyed.filter(~((pl.col("n") == 0) & (pl.col("role") == "system")))
    return rest.with_columns(pl.col("n") - pl.col("n").min().over("id"))


def _cut(messages: pl.DataFrame, shared: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    cut = messages.join(shared, on="id", how="left", maintain_order="left").with_columns(pl.col("shared").fill_null(0))
    before = pl.col("n") < pl.col("shared")
    return cut.filter(before).drop("shared"), cut.filter(~before).drop("shared")


def _with_system(asked: pl.DataFrame, prompt: pl.DataFrame, system: pl.Series | None) -> pl.DataFrame:
    """Put the system field, or else the system message of a prompt field that the conversations leave out, first."""
    texts = [prompt.filter((pl.col("n") == 0) & (pl.col("role") == "system")).select("id", content=pl.col("said").struct.field("content"))]
    if system is not None:
        texts.insert(0, pl.DataFrame({"id": pl.int_range(len(system), dtype=pl.Int64, eager=True), "content": system}).drop_nulls())
    has = asked.filter((pl.col("n") == 0) & (pl.col("role").str.to_lowercase().replace(ROLES) == "system")).select("id")
    first = pl.concat(texts).unique("id", keep="first", maintain_order=True).join(has, on="id", how="anti")
    first = first.with_columns(n=pl.lit(-1, pl.Int64), role=pl.lit("system")).match_to_schema(_LONG, missing_columns="insert")
    return pl.concat([first, asked.match_to_schema(_LONG)])


def _listed(messages: pl.DataFrame) -> pl.DataFrame:
    return messages.sort("id", "n").group_by("id", maintain_order=True).agg(messages=pl.struct(_FIELDS))
