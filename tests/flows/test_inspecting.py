import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from flows.inspecting import describe, starter_config
from pipeline.config import parse_config

PAIRS = [{"prompt": f"Question {i}?", "chosen": f"Right {i}.", "rejected": f"Wrong {i}.", "topic": "tests"} for i in range(5)]
VOTES = [
    {"prompt": "Which?", "response_a": "This.", "response_b": "That.", "annotator": who, "winner": said}
    for who, said in (("ann", "model_a"), ("bob", "model_b"), ("cy", "tie"))
]


def write_jsonl(place: Path, rows: list[dict[str, Any]]) -> None:
    place.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_gz(place: Path, rows: list[dict[str, Any]]) -> None:
    place.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))


def write_json(place: Path, rows: list[dict[str, Any]]) -> None:
    place.write_text(json.dumps(rows))


def write_csv(place: Path, rows: list[dict[str, Any]]) -> None:
    with place.open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def write_parquet(place: Path, rows: list[dict[str, Any]]) -> None:
    pl.DataFrame(rows).write_parquet(place)


FORMATS: list[tuple[str, Callable[[Path, list[dict[str, Any]]], None]]] = [
    ("pairs.jsonl", write_jsonl),
    ("pairs.jsonl.gz", write_gz),
    ("pairs.json", write_json),
    ("pairs.csv", write_csv),
    ("pairs.parquet", write_parquet),
]


@pytest.mark.parametrize(("name", "write"), FORMATS, ids=[name for name, _ in FORMATS])
def test_every_format_shows_its_layout_fields_and_first_records(
    name: str, write: Callable[[Path, list[dict[str, Any]]], None], tmp_path: Path
) -> None:
    write(tmp_path / name, PAIRS)
    ((text, readable),) = describe(name, tmp_path, 1000)
    assert readable
    assert text.startswith(f"{name}  (")
    assert "layout    chosen_rejected" in text
    assert "chosen <- chosen" in text
    assert "unmapped  topic (kept in `extra`)" in text
    assert text.count("    row ") == 3
    assert "Question 0?" in text
    assert "in the first 5 rows: 5 judgements (a 5), 0 quarantined" in text


def test_verdicts_are_counted_by_outcome(tmp_path: Path) -> None:
    write_csv(tmp_path / "votes.csv", VOTES)
    ((text, readable),) = describe("votes.csv", tmp_path, 1000)
    assert readable
    assert "layout    votes" in text
    assert "3 judgements (a 1, b 1, tie 1)" in text


def test_rows_that_cannot_be_read_are_told_with_place_and_reason(tmp_path: Path) -> None:
    lines = [json.dumps(row) for row in PAIRS]
    lines[2] = '{"prompt": "cut'
    lines[4] = json.dumps({"prompt": "only a prompt"})
    (tmp_path / "pairs.jsonl").write_text("\n".join(lines) + "\n")
    ((text, readable),) = describe("pairs.jsonl", tmp_path, 1000)
    assert readable
    assert "3 judgements (a 3), 2 quarantined" in text
    assert "first at row 2" in text
    assert "first at row 4" in text


def test_only_so_many_rows_are_tried(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "pairs.jsonl", PAIRS * 20)
    ((text, _),) = describe("pairs.jsonl", tmp_path, 7)
    assert "in the first 7 rows: 7 judgements" in text


def test_long_texts_are_cut_and_line_breaks_folded(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "long.jsonl", [{**PAIRS[0], "chosen": "word\n" * 400}])
    ((text, _),) = describe("long.jsonl", tmp_path, 10)
    assert max(len(line) for line in text.splitlines()) < 250
    assert "…" in text


def test_an_unknown_layout_shows_the_columns_and_the_config_that_settles_it(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "weather.jsonl", [{"station": "A", "degrees": 3}])
    ((text, readable),) = describe("weather.jsonl", tmp_path, 10)
    assert not readable
    for word in ("weather.jsonl", "station", "degrees", "layout:", "fields:"):
        assert word in text


def test_a_file_that_is_not_what_it_says_is_told_beside_the_good_ones(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", PAIRS)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(b"".join(b'{"n": %d}\n' % (i * 7919 % 10007) for i in range(2000)))[:-50])
    told = list(describe(".", tmp_path, 10))
    assert [readable for _, readable in told] == [True, False]
    assert "b.jsonl.gz" in told[1][0]


def test_a_file_cut_after_the_rows_that_show_its_layout_is_a_problem_too(tmp_path: Path) -> None:
    many = [{**PAIRS[0], "chosen": f"{i * 7919 % 10007}"} for i in range(40_000)]
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in many).encode())[:-50])
    ((text, readable),) = describe("cut.jsonl.gz", tmp_path, 100_000)
    assert not readable
    assert "cut.jsonl.gz" in text
    assert "ended before" in text


def test_an_empty_file_is_no_problem(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    ((text, readable),) = describe("empty.jsonl", tmp_path, 10)
    assert readable
    assert "no row that can be read" in text


class TestStarterConfig:
    def sources(self, text: str) -> list[tuple[str, str | None]]:
        return [(source.name, source.uri) for source in parse_config(yaml.safe_load(text), "starter").sources]

    def test_one_layout_is_one_source(self, tmp_path: Path) -> None:
        (tmp_path / "raw").mkdir()
        for name in ("one.jsonl", "two.jsonl"):
            write_jsonl(tmp_path / "raw" / name, PAIRS)
        text, notes = starter_config("raw", tmp_path, tmp_path)
        assert self.sources(text) == [("raw", "raw")]
        assert notes == []

    def test_several_layouts_are_a_source_a_file_with_names_that_differ(self, tmp_path: Path) -> None:
        (tmp_path / "raw" / "more").mkdir(parents=True)
        write_jsonl(tmp_path / "raw" / "a.jsonl", PAIRS)
        write_csv(tmp_path / "raw" / "more" / "a.csv", VOTES)
        text, _ = starter_config("raw", tmp_path, tmp_path)
        assert sorted(self.sources(text)) == [("a-1", "raw/a.jsonl"), ("a-2", "raw/more/a.csv")]

    def test_names_are_valid_whatever_the_path(self, tmp_path: Path) -> None:
        (tmp_path / "my data (1)").mkdir()
        write_jsonl(tmp_path / "my data (1)" / "_x.jsonl", PAIRS)
        for uri in ("my data (1)", "my data (1)/*.jsonl", "my data (1)/_x.jsonl", "."):
            text, _ = starter_config(uri, tmp_path, tmp_path)
            assert len(self.sources(text)) == 1

    def test_paths_start_at_the_config_not_at_the_working_folder(self, tmp_path: Path) -> None:
        (tmp_path / "project" / "raw").mkdir(parents=True)
        write_jsonl(tmp_path / "project" / "raw" / "a.jsonl", PAIRS)
        text, _ = starter_config("project/raw/a.jsonl", tmp_path, tmp_path / "project")
        assert self.sources(text) == [("a", "raw/a.jsonl")]

    def test_what_is_unclear_is_a_note(self, tmp_path: Path) -> None:
        write_jsonl(tmp_path / "weather.jsonl", [{"station": "A", "degrees": 3}])
        text, notes = starter_config("weather.jsonl", tmp_path, tmp_path)
        assert self.sources(text) == [("weather", "weather.jsonl")]
        assert len(notes) == 1
        assert "weather.jsonl" in notes[0]
        assert "fields:" in notes[0]
