"""Rows of the sample data, how each layout spells them, and the six writers."""

import csv
import gzip
import io
import json
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Message = dict[str, Any]
Payload = Any  # what is written for a row: an object, a list of cells, or bytes for a line that is no JSON

TRANSCRIPTS = "raw/transcripts.jsonl"
MESSAGES = "raw/messages.parquet"
ARENA = "raw/arena.jsonl.gz"
VOTES = "raw/votes.csv"
PANEL = "raw/panel.json"
REVIEWS = "raw/reviews.jsonl"
FILES = (TRANSCRIPTS, MESSAGES, ARENA, VOTES, PANEL, REVIEWS)

_ROLES = {"human": "user", "gpt": "assistant"}
_VOTES_HEADER = ["prompt", "response_a", "response_b", "annotator", "winner"]

_FUNCTION_TYPE = pa.struct([("name", pa.string()), ("arguments", pa.string())])
_MESSAGE_TYPE = pa.struct(
    [
        ("role", pa.string()),
        ("content", pa.string()),
        (
            "tool_calls",
            pa.list_(pa.struct([("id", pa.string()), ("type", pa.string()), ("function", _FUNCTION_TYPE)])),
        ),
        ("tool_call_id", pa.string()),
    ]
)
_MESSAGES_SCHEMA = pa.schema(
    [
        ("prompt", pa.list_(_MESSAGE_TYPE)),
        ("chosen", pa.list_(_MESSAGE_TYPE)),
        ("rejected", pa.list_(_MESSAGE_TYPE)),
        ("tools", pa.string()),
        ("source_model_chosen", pa.string()),
        ("source_model_rejected", pa.string()),
    ]
)


@dataclass
class Vote:
    """One verdict on a row's two sides: `a`, `b`, `tie` or `both_bad`; null = that annotator did not vote."""

    outcome: str | None
    annotator: str | None = None
    reason: str | None = None
    submitted: str | None = None


@dataclass(eq=False)
class Row:
    """One raw row and what is known about it; in chosen/rejected files side a is the chosen one."""

    file: str
    prompt_id: str | None
    prompt: list[Message]
    a: list[Message]
    b: list[Message]
    levels: tuple[int, int]
    models: tuple[str, str]
    votes: list[Vote]
    task: int  # a number that the layouts keep in a field of their own, which no adapter maps
    whole: bool = False  # chosen and rejected repeat the prompt's messages
    tools: str | None = None
    planted: str | None = None
    of: "Row | None" = None
    change: list[str] = field(default_factory=list)  # what was changed in a row that says nearly what `of` says
    alike: bool = False  # its two answers are nearly those of another row, without anything having been planted
    flags: list[dict[str, str | None]] = field(default_factory=list)
    raw: Payload = None  # what is written instead of the layout's own spelling
    reason: str | None = None  # why the row, or `unreadable_votes` of its votes, cannot be read
    unreadable_votes: int = 0
    number: int = -1  # 0-based position in its file, set once all rows are known


def pair_key(row: Row) -> str:
    """Spell the unordered pair with what normalisation removes taken away: two rows on the same pair have equal keys."""
    sides = sorted(_canonical(side) for side in (row.a, row.b))
    return json.dumps([_canonical(row.prompt), sides, row.tools])


def plain(text: str) -> str:
    """Return NFC text with plain line feeds and no trailing white space."""
    return unicodedata.normalize("NFC", text).replace("\r\n", "\n").rstrip()


def _canonical(messages: list[Message]) -> str:
    spelled = [[_ROLES.get(m["role"], m["role"]), plain(m["content"]), m.get("tool_calls"), m.get("tool_call_id")] for m in messages]
    return json.dumps(spelled, sort_keys=True)


def payload(row: Row) -> Payload:
    """Spell a row in its file's layout, or return what was planted in its place."""
    return _SPELL[row.file](row) if row.raw is None else row.raw


def _transcript(row: Row) -> Payload:
    def spell(side: list[Message]) -> str:
        speakers = {"user": "Human", "assistant": "Assistant"}
        return "".join(f"\n\n{speakers[m['role']]}: {m['content']}" for m in row.prompt + side)

    return {"chosen": spell(row.a), "rejected": spell(row.b)}


def _messages(row: Row) -> Payload:
    start = row.prompt if row.whole else []
    return {
        "prompt": row.prompt,
        "chosen": start + row.a,
        "rejected": start + row.b,
        "tools": row.tools,
        "source_model_chosen": row.models[0],
        "source_model_rejected": row.models[1],
    }


def _text(messages: list[Message]) -> str:
    (message,) = messages
    return str(message["content"])


def _arena(row: Row) -> Payload:
    words = {"a": "model_a", "b": "model_b", "tie": "tie", "both_bad": "tie (bothbad)"}
    return {
        "battle": row.task,
        "prompt": _text(row.prompt),
        "response_a": _text(row.a),
        "response_b": _text(row.b),
        "model_a": row.models[0],
        "model_b": row.models[1],
        "winner": words[str(row.votes[0].outcome)],
    }


def _vote_row(row: Row) -> Payload:
    vote = row.votes[0]
    return [_text(row.prompt), _text(row.a), _text(row.b), vote.annotator, {"a": "A", "b": "B"}.get(str(vote.outcome), "tie")]


def _panel(row: Row) -> Payload:
    instruction, _, rest = _text(row.prompt).partition("\n\n")
    codes = {"a": 1, "b": 2, "tie": 0}
    votes = {str(v.annotator): None if v.outcome is None else codes[v.outcome] for v in row.votes}
    return {"idx": row.task, "instruction": instruction, "input": rest, "output_1": _text(row.a), "output_2": _text(row.b), **votes}


def _review(row: Row) -> Payload:
    keys = ("worker", "value", "reason", "submitted")
    stated = [zip(keys, (v.annotator, v.outcome, v.reason, v.submitted), strict=True) for v in row.votes]
    votes = [{key: value for key, value in vote if value} for vote in stated]
    prompt = _text(row.prompt) if len(row.prompt) == 1 else row.prompt
    return {"task": row.task, "prompt": prompt, "response_a": _text(row.a), "response_b": _text(row.b), "votes": votes}


_SPELL: dict[str, Callable[[Row], Payload]] = {
    TRANSCRIPTS: _transcript,
    MESSAGES: _messages,
    ARENA: _arena,
    VOTES: _vote_row,
    PANEL: _panel,
    REVIEWS: _review,
}


def write(out: Path, file: str, rows: list[Row]) -> None:
    """Write one file; the same rows always give the same bytes."""
    place = out / file
    place.parent.mkdir(parents=True, exist_ok=True)
    spelled = [payload(row) for row in rows]
    if file == MESSAGES:
        table = pa.Table.from_pylist(spelled, schema=_MESSAGES_SCHEMA)
        pq.write_table(table, place, compression="zstd", row_group_size=64, store_schema=False)
    elif file == VOTES:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows([_VOTES_HEADER, *spelled])
        place.write_bytes(text.getvalue().encode())
    elif file == PANEL:
        place.write_bytes((json.dumps(spelled, ensure_ascii=False, indent=1) + "\n").encode())
    elif file == ARENA:
        place.write_bytes(gzip.compress(_lines(rows, spelled, escape=True), mtime=0))
    else:
        place.write_bytes(_lines(rows, spelled, escape=False))


def _lines(rows: list[Row], spelled: list[Any], *, escape: bool) -> bytes:
    lines = [b""] * (rows[-1].number + 1)  # a number that no row has is a blank line
    for row, s in zip(rows, spelled, strict=True):
        lines[row.number] = s if isinstance(s, bytes) else json.dumps(s, ensure_ascii=escape).encode()
    return b"\n".join(lines) + b"\n"
