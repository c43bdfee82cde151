"""Sources in several files, from the config to the ledger and the manifest."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows import steps
from flows.curate import Outcome, run_flow
from flows.inputs import input_files, joined_files
from flows.joining import account_joined, unread_rows
from pipeline import queries, storage
from pipeline.config import load_config
from pipeline.errors import ConfigError, LayoutError, TooManyQuarantinedError
from tests.fakes import WordEncoder

Write = Callable[..., str]


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Files below raw/ and what the config says about their one source -> the config's path."""
    letters = WordEncoder()
    monkeypatch.setattr(steps, "encoder", lambda embed: letters)

    def run(files: dict[str, bytes], **source: Any) -> str:
        for name, content in files.items():
            (tmp_path / "raw" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "raw" / name).write_bytes(content)
        body = {"dataset": "small", "sources": [{"name": "src", "uri": "raw", "max_quarantine_share": 0.5, **source}]}
        (tmp_path / "prefine.yaml").write_text(yaml.safe_dump(body))
        return str(tmp_path / "prefine.yaml")

    return run


def texts(*numbers: int) -> bytes:
    return lines([{"id": i, "prompt": f"Question {i}?", "response_a": f"Right {i}.", "response_b": f"Wrong {i}."} for i in numbers])


def inputs(outcome: Outcome) -> dict[str, tuple[Any, ...]]:
    manifest = storage.read_json(f"{outcome.dataset_root}/{outcome.version}/manifest.json")
    return {
        row["source_uri"]: tuple(row[k] for k in ("role", "rows", "rows_counted", "records", "unused_rows")) for row in manifest["inputs"]
    }


class TestLedger:
    def test_every_vote_has_its_fate_and_texts_are_counted_over_all_files(self, write: Write) -> None:
        votes = {f"votes-{n}.csv": f"id,winner\n{n},a\n{n + 1},b\n{n},a\n99,a\n".encode() for n in (1, 2)}
        config = write({**votes, "texts/t.jsonl.gz": gzip.compress(texts(1, 2, 3, 4, 5))}, join=[{"uri": "raw/texts", "on": "id"}])
        outcome = run_flow(config)
        ledger = queries.open_version(outcome.dataset_root).query(
            "select source_uri, source_row, fate, reason from ledger where fate = 'quarantined' order by all"
        )
        assert [tuple(row.values()) for row in ledger.to_pylist()] == [
            ("raw/votes-1.csv", 3, "quarantined", "unmatched_key"), ("raw/votes-2.csv", 3, "quarantined", "unmatched_key"),
        ]  # fmt: skip
        assert inputs(outcome) == {
            "raw/texts/t.jsonl.gz": ("joined", 5, 5, 0, 2),
            "raw/votes-1.csv": ("records", 4, 4, 4, None),
            "raw/votes-2.csv": ("records", 4, 4, 4, None),
        }

    def test_a_limited_run_does_not_know_what_is_unused(self, write: Write) -> None:
        config = write(
            {"votes.csv": b"id,winner\n1,a\n2,b\n3,a\n", "texts.jsonl": texts(1, 2, 3)}, join=[{"uri": "raw/texts.jsonl", "on": "id"}]
        )
        assert inputs(run_flow(config, limit=2)) == {
            "raw/texts.jsonl": ("joined", 3, 3, 0, None),
            "raw/votes.csv": ("records", 2, None, 2, None),
        }

    def test_an_unreadable_joined_file_makes_its_main_files_unreadable(self, write: Write) -> None:
        cut = gzip.compress(texts(*range(400)))[:-100]
        config = write({"votes.csv": b"id,winner\n1,a\n", "texts.jsonl.gz": cut}, join=[{"uri": "raw/texts.jsonl.gz", "on": "id"}])
        with pytest.raises(
            TooManyQuarantinedError, match=r"(?s)1 of 1 files cannot be read.*votes\.csv needs a file that it is joined to.*texts"
        ):
            run_flow(config)

    def test_a_missing_key_stops_the_run_with_the_fields_found(self, write: Write) -> None:
        config = write({"votes.csv": b"pair,winner\n1,a\n", "texts.jsonl": texts(1)}, join=[{"uri": "raw/texts.jsonl", "on": "id"}])
        with pytest.raises(
            LayoutError, match=r"raw/votes\.csv: the join's key 'id' is no field of this file; .*Fields found: pair, winner"
        ):
            run_flow(config)


class TestFiles:
    def listed(self, config: str) -> list[str]:
        return [file.name for file in input_files(load_config(config), str(Path(config).parent), None)]

    def test_joined_files_are_not_read_as_rows_of_the_source(self, write: Write) -> None:
        config = write({"v1.csv": b"x", "v2.csv": b"x", "t.jsonl": b"x"}, join=[{"uri": "./raw/../raw/t.jsonl", "on": "id"}])
        assert self.listed(config) == ["raw/v1.csv", "raw/v2.csv"]

    def test_a_source_of_joined_files_alone_is_a_mistake(self, write: Write) -> None:
        with pytest.raises(
            ConfigError, match=r"source 'src': every file at raw is one that it is joined to; expected .* Change its `uri:`"
        ):
            self.listed(write({"t.jsonl": b"x"}, join=[{"uri": "raw/t.jsonl", "on": "id"}]))

    def test_row_by_row_needs_one_file_on_each_side(self, write: Write) -> None:
        with pytest.raises(ConfigError, match=r"`by: row` goes from one file to one file; raw has 2, raw/t\.jsonl 1\. Write a source"):
            self.listed(write({"v1.csv": b"x", "v2.csv": b"x", "t.jsonl": b"x"}, join=[{"uri": "raw/t.jsonl", "by": "row"}]))

    def test_a_joined_file_that_is_not_there_is_a_mistake(self, write: Write) -> None:
        with pytest.raises(ConfigError, match=r"raw/none\.jsonl: "):
            self.listed(write({"v.csv": b"x"}, join=[{"uri": "raw/none.jsonl", "on": "id"}]))


def test_only_the_broken_file_of_several_joined_ones_is_unreadable(write: Write) -> None:
    config = write({"v.csv": b"x", "t1.jsonl": texts(1), "t2.jsonl": texts(2)}, join=[{"uri": "raw/t?.jsonl", "on": "id"}])
    files = joined_files(load_config(config).sources[0], Path(config).parent)
    rows = account_joined(unread_rows(files, "src", f"{files[0][1].place}: cannot be read to its end"), False)
    assert [(row["source_uri"], row["unreadable"], row["unused_rows"]) for row in rows] == [
        ("raw/t1.jsonl", None, None), ("raw/t2.jsonl", "raw/t2.jsonl: cannot be read to its end", None),
    ]  # fmt: skip
