"""`prefine query`: where the answer goes, in which form, and what it may cost."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from flows import answering, tables
from pipeline.queries import open_version, questions, sql_files

Prefine = Callable[..., tuple[int, str, str]]
MANY = "select i, 'x' || i as name, [i] as list from range(70000) t(i) order by i"


@pytest.fixture
def config(root: str, tmp_path: Path) -> Path:
    (tmp_path / "workspace" / "datasets").mkdir(parents=True)
    (tmp_path / "workspace" / "datasets" / "demo").symlink_to(root)
    place = tmp_path / "prefine.yaml"
    place.write_text("dataset: demo\nsources:\n  - {name: arena, uri: arena.jsonl}\n")
    return place


@pytest.mark.parametrize("arguments", [(), ("--list",), ("funnel", "--list")])
def test_without_a_question_all_named_ones_are_listed(arguments: tuple[str, ...], prefine: Prefine) -> None:
    code, out, err = prefine("query", *arguments)
    assert (code, err) == (0, "")
    shown = "".join(out.split())
    assert all("".join((one.name + one.question).split()) in shown for one in questions() if len(one.question) < 30)
    assert all(name in shown for name in sql_files("views"))


def test_every_question_says_what_a_row_is_and_asks_something() -> None:
    for one in questions():
        assert one.grain, one.name
        assert one.question.endswith("?"), one.name


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_an_answer_of_many_batches_goes_to_a_file_whole(name: str, config: Path, prefine: Prefine, tmp_path: Path) -> None:
    place = tmp_path / "new" / name
    code, out, _ = prefine("query", MANY, "--config", config, "--output", place)
    assert (code, out) == (0, f"{place}: 70,000 row(s).\n")
    text = "" if name.endswith("parquet") else place.read_text()
    if name == "a.csv":
        rows = list(csv.DictReader(text.splitlines()))
        assert (len(rows), rows[-1]["name"], json.loads(rows[-1]["list"])) == (70_000, "x69999", {"list": [69_999]})
    elif name == "a.jsonl":
        lines = text.splitlines()
        assert (len(lines), json.loads(lines[-1])) == (70_000, {"i": 69_999, "name": "x69999", "list": [69_999]})
    else:
        table = pq.read_table(place)
        assert table["i"].to_pylist() == list(range(70_000))
        assert pq.read_metadata(place).num_row_groups > 1
    assert [file.name for file in place.parent.iterdir()] == [name]


def test_the_terminal_shows_the_first_rows_and_says_how_many_there_are(config: Path, prefine: Prefine) -> None:
    _, out, _ = prefine("query", "select i from range(70000) t(i) order by i", "--config", config)
    lines = out.splitlines()
    assert len(lines) == 2 + tables.ROWS + 1
    assert lines[-1] == "70,000 row(s); the first 100 are shown, --output FILE.csv has all"
    _, out, _ = prefine("query", "select 1 as a where false", "--config", config)
    assert out.splitlines()[-1] == "0 row(s)"


def test_an_answer_without_rows_is_a_file_with_its_columns(config: Path, prefine: Prefine, tmp_path: Path) -> None:
    for form in ("csv", "parquet"):
        prefine("query", "select 1 as a, 'b' as b where false", "--config", config, "--output", tmp_path / f"none.{form}")
    assert (tmp_path / "none.csv").read_text() == "a,b\n"
    assert pq.read_table(tmp_path / "none.parquet").column_names == ["a", "b"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--output", "a.xlsx"), "--output a.xlsx: say --format"),
        (("--format", "parquet"), "--format parquet: needs --output FILE"),
        (("--format", "table", "--output", "a.csv"), "--output takes csv, json or parquet"),
        (("--timeout", "0"), "--timeout 0: expected seconds above 0"),
    ],
)
def test_where_an_answer_cannot_go_is_wrong_usage(arguments: tuple[str, ...], said: str, config: Path, prefine: Prefine) -> None:
    code, out, err = prefine("query", "train", "--config", config, *arguments)
    assert (code, out) == (2, "")
    assert said in " ".join(err.split())


@pytest.mark.parametrize(
    ("sql", "limits", "said"),
    [
        ("select count(*) from range(100000000000) t(i) where hash(i) = 1", ("--timeout", "0.3"), "Stopped after 0.3 seconds."),
        ("select i from range(100000000000) t(i)", ("--timeout", "0.5"), "Stopped after 0.5 seconds."),  # while it streams
        ("select list(i::varchar) from range(100000000) t(i)", ("--memory", "40MB"), "The question needs more than 40MB of memory"),
        ("select 1", ("--memory", "lots"), "memory limit 'lots': expected a size such as 500MB or 4GB"),
    ],
)
def test_a_question_over_its_limits_is_one_message_and_no_file(
    sql: str, limits: tuple[str, str], said: str, config: Path, prefine: Prefine, tmp_path: Path
) -> None:
    code, out, err = prefine("query", sql, "--config", config, "--output", tmp_path / "a.csv", *limits)
    assert (code, out) == (1, "")
    assert said in " ".join(err.split())
    assert sorted(file.name for file in tmp_path.iterdir()) == ["prefine.yaml", "workspace"]


def test_an_answer_is_never_whole_in_memory(root: str) -> None:
    with open_version(root).stream("select i from range(100000000000) t(i)") as batches:
        first = batches.read_next_batch()
    assert 0 < first.num_rows <= 65_536


def test_formats_are_known_by_their_endings() -> None:
    assert [answering.format_of(name) for name in ("s3://b/a.CSV", "a.jsonl", "a.json", "a.ndjson", "a.parquet", "a")] == [
        "csv", "json", "json", "json", "parquet", None,
    ]  # fmt: skip
