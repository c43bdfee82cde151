"""What leaves the house holds no place of one's own and no text that is not published."""

import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import hub
from pipeline.queries import PARTS
from tests.versions import sample_with_ratings

SECRET = "s3cret text of a person"
MANIFEST: dict[str, Any] = {
    "dataset": "demo",
    "version": "v000001",
    "files": [
        {"path": "data/train-00000-of-00001.parquet", "rows": 3, "bytes": 10, "sha256": "a"},
        {"path": "quarantine/quarantine-00000-of-00001.parquet", "rows": 1, "bytes": 5, "sha256": "b"},
    ],
    "inputs": [
        {"source": "mine", "source_uri": "/home/anna/votes.csv", "rows": 3, "bytes": 9, "sha256": "0", "unreadable": "/home/anna/x: cut"},
        {"source": "mine", "source_uri": "raw/anna/more.csv", "rows": 3, "bytes": 9, "sha256": "1", "unreadable": None},
        {"source": "web", "source_uri": "https://example.org/data.jsonl", "rows": 3, "bytes": 9, "sha256": "2", "unreadable": None},
    ],
    "config": {
        "workspace": "s3://company-bucket/work",
        "schedule": {"cron": "0 3 * * *", "timezone": "Europe/Zurich"},
        "sources": [{"name": "mine", "uri": "raw/anna/*.csv", "licence": "mit"}, {"name": "web", "uri": "https://example.org/data.jsonl"}],
        "embed": {"model": "/models/ours"},
        "endpoints": [{"name": "local", "base_url": "http://10.0.0.7:8000/v1"}],
        "rules": {"add": [{"name": "low", "drop_if": "p_chosen < 0.6 or chars_gap / 2 > 5"}]},
    },
    "models": {"/models/ours": "f00", "sentence/model": "ba5"},
    "endpoints": [{"name": "local", "url": "http://judge.internal/v1"}],
    "counts": [{"stage": "rules", "rows_in": 4, "kept": 3, "dropped": 1, "reasons": {"tie": 1}}],
    "rules": [{"name": "tie", "sql": "tie"}],
    "content_sha256": "c",
}  # fmt: skip


def test_places_of_ones_own_are_taken_out_and_public_ones_stay() -> None:
    found = hub.public_manifest(MANIFEST, hub.PUBLIC_PARTS)
    text = json.dumps(found.manifest)
    for place in ("anna", "company-bucket", "Zurich", "/models/ours", "10.0.0.7", "judge.internal", "raw/"):
        assert place not in text
    assert [row["source_uri"] for row in found.manifest["inputs"]] == ["mine, file 1", "mine, file 2", "https://example.org/data.jsonl"]
    assert [row["sha256"] for row in found.manifest["inputs"]] == ["0", "1", "2"]
    assert found.manifest["config"]["sources"][1]["uri"] == "https://example.org/data.jsonl"
    assert found.manifest["config"]["rules"] == MANIFEST["config"]["rules"]
    assert found.manifest["models"] == {hub.WITHHELD: "f00", "sentence/model": "ba5"}
    assert [file["path"] for file in found.manifest["files"]] == ["data/train-00000-of-00001.parquet"]
    assert found.taken_out[0].startswith("names of 2 input file(s)")
    assert found.taken_out[-1].startswith("quarantine: rows as they were read or refused")


def test_the_manifest_that_was_published_is_left_as_it_is() -> None:
    before = json.dumps(MANIFEST)
    hub.public_manifest(MANIFEST, tuple(PARTS))
    assert json.dumps(MANIFEST) == before


@pytest.mark.parametrize(
    ("place", "public"),
    [
        ("hf://datasets/org/name", True),
        ("https://example.org/x.jsonl", True),
        ("https://wiki.corp/x", False),
        ("http://localhost:8000/v1", False),
        ("http://192.168.1.4/x", False),
        ("http://[::1]/x", False),
        ("s3://bucket/x", False),
        ("gs://bucket/x", False),
        ("file:///home/anna/x", False),
        ("~/x", False),
        ("..\\x", False),
        ("C:\\Users\\anna", False),
    ],
)
def test_a_place_is_public_if_anybody_can_read_it(place: str, public: bool) -> None:
    found = hub.public_manifest({**MANIFEST, "config": {"sources": [{"name": "x", "uri": place}]}}, hub.PUBLIC_PARTS)
    assert found.manifest["config"]["sources"][0]["uri"] == (place if public else hub.WITHHELD)
    assert (place in found.hidden) != public


@given(st.text(alphabet="abc/.~\\:1 -", min_size=1, max_size=12))
def test_whatever_a_source_s_place_is_called_it_does_not_leave(place: str) -> None:
    given_ = {**MANIFEST, "config": {"sources": [{"name": "x", "uri": place, "join": [{"uri": place}]}]}}
    source = hub.public_manifest(given_, hub.PUBLIC_PARTS).manifest["config"]["sources"][0]
    assert source == {"name": "x", "uri": hub.WITHHELD, "join": [{"uri": hub.WITHHELD}]}


@pytest.mark.parametrize("part", ["dropped", "judgements", "ratings", "quarantine", "ledger"])
def test_rows_keep_numbers_and_reasons_and_lose_texts_and_places(part: str) -> None:
    rows = sample_with_ratings()[part]
    for row in rows:
        row |= {name: SECRET for name in ("context", "detail", "raw", "extra", "rationale", "tools") if name in row and row[name] != {}}
        row |= {name: [{"role": "user", "content": SECRET}] for name in ("prompt", "chosen", "rejected", "response_a") if name in row}
        if part == "dropped":
            row["rationale"] = {"text": SECRET, "kind": "stated", "generator": "anna"}
    table = pa.Table.from_pylist(rows, schema=PARTS[part][1])
    out = hub.without_texts(table, {"raw/arena.jsonl": "arena, file 1"})
    assert out.schema.names == table.schema.names
    assert out.num_rows == table.num_rows
    assert SECRET not in str(out.to_pylist())
    assert "raw/arena.jsonl" not in str(out.to_pylist())
    if "source_uri" in out.column_names:
        assert set(out.column("source_uri").to_pylist()) == {"arena, file 1"}
    for name in ("reason", "pair_id", "outcome", "score", "votes_chosen", "fate"):
        if name in out.column_names:
            assert out.column(name).to_pylist() == table.column(name).to_pylist()


def test_a_place_that_is_still_there_is_found_but_for_names_without_a_folder() -> None:
    assert hub.found_in("see raw/anna/more.csv for it", {"raw/anna/more.csv", "more"}) == ["raw/anna/more.csv"]
    assert hub.found_in("see more", {"raw/anna/more.csv", "more"}) == []
