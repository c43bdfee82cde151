"""Prompt lists as benchmarks publish them, read as what the user says."""

import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.config import FieldPath
from pipeline.errors import ConfigError, LayoutError, UnreadableFileError
from pipeline.ingest.prompts import TURN, read_prompts


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def read(folder: Path, text: str | bytes, field: FieldPath | None = None, name: str = "list.jsonl") -> list[tuple[int, int, str]]:
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return pl.concat([TURN.to_frame(), *read_prompts(str(folder / name), name, field)]).rows()


SAID, REPLY = {"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}


@pytest.mark.parametrize(
    ("row", "turns"),
    [
        pytest.param({"prompt": "Why?"}, ["Why?"], id="text"),
        pytest.param({"Question": "Why?", "answer": "So."}, ["Why?"], id="name-in-capitals"),
        pytest.param({"question_id": 81, "turns": ["Why?", "And then?"]}, ["Why?", "And then?"], id="list-of-turns"),
        pytest.param({"cluster": "c", "turns": [{"content": "Why?"}]}, ["Why?"], id="turns-as-objects"),
        pytest.param({"turns": 2, "prompt": "Why?"}, ["Why?"], id="turns-are-a-number"),
        pytest.param({"messages": [{"role": "system", "content": "s"}, SAID, REPLY, SAID]}, ["Why?", "Why?"], id="messages"),
        pytest.param({"conversations": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}]}, ["Why?"], id="sharegpt"),
        pytest.param({"prompt": [{"role": "user", "content": [{"type": "text", "text": "Why?"}]}]}, ["Why?"], id="typed-parts"),
        pytest.param({"prompt": SAID}, ["Why?"], id="one-message"),
        pytest.param({"instruction": "Say why.", "input": "It rains."}, ["Say why.\n\nIt rains."], id="instruction-and-input"),
        pytest.param({"instruction": "Say why.", "input": ""}, ["Say why."], id="empty-input"),
        pytest.param({"prompt": "\n\nHuman: Why?\n\nAssistant: So.\n\nHuman: Really?\n\nAssistant:"}, ["Why?", "Really?"], id="transcript"),
    ],
)
def test_the_prompt_of_a_row_is_found(row: dict[str, Any], turns: list[str], tmp_path: Path) -> None:
    assert read(tmp_path, lines(row)) == [(0, i, text) for i, text in enumerate(turns)]


@pytest.mark.parametrize(
    ("field", "text"), [("task.ask", "Why?"), ("title", "Rain"), (["title", "task.ask"], "Rain\n\nWhy?"), (["title", "empty"], "Rain")]
)
def test_a_named_field_is_read(field: FieldPath, text: str, tmp_path: Path) -> None:
    assert read(tmp_path, lines({"prompt": "no", "title": "Rain", "task": {"ask": "Why?"}, "empty": ""}), field) == [(0, 0, text)]


def test_rows_count_from_0_and_those_that_say_nothing_are_left_out(tmp_path: Path) -> None:
    assert read(tmp_path, lines({"prompt": None}, {"prompt": "a"}, {"prompt": " "}, {"prompt": "b"})) == [(1, 0, "a"), (3, 0, "b")]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.csv", b'id,prompt\n7,"Why, then?"\n8,"[1, 2] in order?"\n'),
        ("list.tsv", b'id\tprompt\n7\tWhy, then?\n8\t"[1, 2] in order?"\n'),
        ("list.json", b'[{"prompt": "Why, then?"}, {"prompt": "[1, 2] in order?"}]'),
        ("list.jsonl.gz", gzip.compress(b'{"prompt": "Why, then?"}\n{"prompt": "[1, 2] in order?"}\n', mtime=0)),
    ],
)
def test_files_of_any_kind_are_read(name: str, content: bytes, tmp_path: Path) -> None:
    assert read(tmp_path, content, name=name) == [(0, 0, "Why, then?"), (1, 0, "[1, 2] in order?")]


@pytest.mark.parametrize(
    ("text", "field", "said"),
    [
        (lines({"foo": "x"}), None, "list.jsonl: no field has a usual name of prompts .*Write `field:`; fields: foo"),
        (lines({"foo": "x"}), "bar", "list.jsonl: no row has the field 'bar'; fields: foo"),
    ],
)
def test_a_list_without_the_field_names_those_it_has(text: str, field: str | None, said: str, tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=said):
        read(tmp_path, text, field)


@pytest.mark.parametrize(
    ("text", "field", "said"),
    [
        (lines({"prompt": "x"}) + "{oops\n", None, "list.jsonl: row 1 cannot be read: unparsable_row"),
        (lines({"prompt": "x"}, {"prompt": 3}), None, "list.jsonl: row 1: prompt: found 3; expected text or messages"),
        (lines({"a": "x", "b": "y"}, {"a": "x", "b": 4}), ["a", "b"], "list.jsonl: row 1: b: found 4; expected text"),
        (lines({"prompt": [{"role": "user", "content": [{"type": "image_url"}]}]}), None, "row 0: prompt: message 1: 1 image_url part"),
    ],
)
def test_a_row_that_holds_no_prompt_stops_the_reading(text: str, field: FieldPath | None, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        read(tmp_path, text, field)


def test_a_file_that_breaks_off_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match="cannot be read to its end"):
        read(tmp_path, gzip.compress(lines({"prompt": "x" * 999}).encode())[:-9], name="list.jsonl.gz")
