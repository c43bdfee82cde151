"""Versions appear whole or not at all, and equal content appears once."""

import hashlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import publish, queries, storage
from pipeline.errors import LeaseLostError, PrefineError, SchemaError
from pipeline.publish import VersionWriter, content_sha256, current_version, finish, next_version, read_manifest, write_catalog
from pipeline.queries import PARTS

NOTHING = {"string": "", "bool": False, "int64": 0, "double": 0.0, "float": 0.0}


PAGES = publish.rendered


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Card and report cost more than all else here; the tests that look at them make them."""
    monkeypatch.setattr(publish, "rendered", lambda *_: {"README.md": b"card", "report.html": b"page"})


@pytest.fixture
def pages(_plain: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "rendered", PAGES)


def rows(part: str, ids: list[str], **given: Any) -> pa.Table:
    """Rows of a part: its id column as given, null where allowed, and nothing (0, False, "", []) elsewhere."""
    schema = PARTS[part][1]
    blank = {f.name: None if f.nullable else [] if pa.types.is_list(f.type) else NOTHING[str(f.type)] for f in schema}
    return pa.Table.from_pylist([{**blank, **given, schema.names[0]: id_} for id_ in ids], schema=schema)


def write(root: str, version: str, train: list[str], dropped: list[str] | None = None, rows_per_shard: int = 2) -> list[dict[str, Any]]:
    out = dropped or []
    writer = VersionWriter(root, version, {"train": len(train), "dropped": len(out)}, rows_per_shard)
    writer.write("train", rows("train", train, split="train"))
    writer.write("dropped", rows("dropped", out, reason="tie"))
    return writer.close()


PARTS_OF_MANIFEST: dict[str, Any] = {
    "inputs": [
        {
            "source": "arena", "source_uri": "raw/<b>.jsonl", "layout": "ab", "bytes": 9, "sha256": None,
            "rows_counted": 3, "rows": 3, "records": 3, "quarantined_rows": 0, "unreadable": None,
        }
    ],
    "counts": [{"stage": "rules", "rows_in": 4, "kept": 3, "dropped": 1, "reasons": {"tie": 1}}],
    "config": {"sources": [{"name": "arena", "licence": "cc-by-4.0"}, {"name": "mine", "licence": None}]},
    "packages": {"polars": "2.1.0"}, "models": {}, "causal_models": [], "endpoints": [], "seeds": {},
    "timings": {"ingest": 1.5}, "rules": ["tie"],
}  # fmt: skip


def publish_ids(root: str, train: list[str], **more: Any) -> publish.Published:
    version = next_version(root)
    return finish(root, version, write(root, version, train), PARTS_OF_MANIFEST, **more)


def test_the_first_version_is_number_one_and_the_next_follows_the_highest(tmp_path: Path) -> None:
    root = str(tmp_path / "demo")
    assert current_version(root) is None
    assert next_version(root) == "v000001"
    publish_ids(root, ["p1"])
    assert current_version(root) == "v000001"
    assert next_version(root) == "v000002"


def test_what_a_killed_run_left_is_removed_and_its_number_used_again(tmp_path: Path) -> None:
    root = str(tmp_path / "demo")
    publish_ids(root, ["p1"])
    write(root, "v000002", ["p1", "p2"])
    for name in ("CURRENT.0123.part", "catalog.duckdb.0123.part"):
        (tmp_path / "demo" / name).write_text("half")
    (tmp_path / "demo" / "notes.txt").write_text("mine")
    assert next_version(root) == "v000002"
    assert storage.children(root) == ["CURRENT", "catalog.duckdb", "notes.txt", "v000001"]


def test_files_are_named_by_part_and_total_and_listed_with_rows_bytes_and_hash(tmp_path: Path) -> None:
    files = write(str(tmp_path), "v000001", ["p1", "p2", "p3"], ["p4"])
    assert [(f["path"], f["rows"]) for f in files] == [
        ("annotators/annotators-00000-of-00001.parquet", 0),
        ("data/train-00000-of-00002.parquet", 2),
        ("data/train-00001-of-00002.parquet", 1),
        ("dropped/dropped-00000-of-00001.parquet", 1),
        ("judgements/judgements-00000-of-00001.parquet", 0),
        ("ledger/ledger-00000-of-00001.parquet", 0),
        ("quarantine/quarantine-00000-of-00001.parquet", 0),
        ("ratings/ratings-00000-of-00001.parquet", 0),
        ("rationales/rationales-00000-of-00001.parquet", 0),
        ("statistics/statistics-00000-of-00001.parquet", 0),
    ]
    for file in files:
        content = (tmp_path / "v000001" / file["path"]).read_bytes()
        assert (file["bytes"], file["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())


def test_a_part_of_data_without_rows_has_no_file(tmp_path: Path) -> None:
    files = write(str(tmp_path), "v000001", [])
    assert not [f for f in files if f["path"].startswith("data/")]


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(0, 9), max_size=4), rows_per_shard=st.integers(1, 12))
def test_files_do_not_depend_on_the_partitions_that_made_them(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], rows_per_shard: int
) -> None:
    table = rows("train", [f"p{i}" for i in range(9)])
    found = []
    for edges in ([0, 9], [0, *sorted(cuts), 9]):
        writer = VersionWriter(str(tmp_path_factory.mktemp("root")), "v000001", {"train": 9}, rows_per_shard)
        for first, last in pairwise(edges):
            writer.write("train", table.slice(first, last - first))
        found.append(writer.close())
    assert found[0] == found[1]


def test_more_or_fewer_rows_than_counted_are_refused(tmp_path: Path) -> None:
    writer = VersionWriter(str(tmp_path), "v000001", {"train": 2}, 10)
    with pytest.raises(PrefineError, match=r"train has more rows \(3\) than were counted \(2\)"):
        writer.write("train", rows("train", ["a", "b", "c"]))
    writer = VersionWriter(str(tmp_path), "v000001", {"train": 2}, 10)
    writer.write("train", rows("train", ["a"]))
    with pytest.raises(PrefineError, match=r"rows written and rows counted differ: \{'train': \(1, 2\)\}"):
        writer.close()
    assert next_version(str(tmp_path)) == "v000001"
    assert storage.children(str(tmp_path)) == []


def test_unknown_parts_and_other_schemas_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PrefineError, match="unknown parts \\['holdout'\\]"):
        VersionWriter(str(tmp_path), "v000001", {"holdout": 1}, 10)
    writer = VersionWriter(str(tmp_path), "v000001", {"train": 1}, 10)
    with pytest.raises(SchemaError, match="missing columns"):
        writer.write("train", pl.DataFrame({"pair_id": ["p1"]}))


@pytest.mark.usefixtures("pages")
def test_a_version_has_manifest_card_report_current_and_catalogue(tmp_path: Path) -> None:
    root = str(tmp_path / "demo")
    assert publish_ids(root, ["p1", "p2", "p3"]) == publish.Published("v000001", unchanged=False)
    manifest = read_manifest(root, "v000001")
    assert {"created_at", *PARTS_OF_MANIFEST} < set(manifest)
    assert (manifest["dataset"], manifest["version"]) == ("demo", "v000001")
    assert manifest["content_sha256"] == content_sha256(list(reversed(manifest["files"])))
    assert (tmp_path / "demo" / "CURRENT").read_text() == "v000001\n"
    assert storage.children(root) == ["CURRENT", "catalog.duckdb", "v000001"]
    card = (tmp_path / "demo" / "v000001" / "README.md").read_text()
    front = yaml.safe_load(card.split("---\n")[1])
    assert (front["license"], front["license_name"]) == ("other", "cc-by-4.0, unknown")
    assert front["configs"] == [{"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*.parquet"}]}]
    assert "| rules | 4 | 3 | 1 | tie |" in card
    assert "| p_chosen | double | probability | 0.5 to 1 | pipeline.consensus |" in card
    report = (tmp_path / "demo" / "v000001" / "report.html").read_text()
    assert "raw/&lt;b&gt;.jsonl" in report


def test_equal_content_is_published_once(tmp_path: Path) -> None:
    root = str(tmp_path / "demo")
    publish_ids(root, ["p1", "p2"])
    before = (tmp_path / "demo" / "v000001" / "manifest.json").read_bytes()
    assert publish_ids(root, ["p1", "p2"]) == publish.Published("v000001", unchanged=True)
    assert storage.children(root) == ["CURRENT", "catalog.duckdb", "v000001"]
    assert (tmp_path / "demo" / "v000001" / "manifest.json").read_bytes() == before
    assert publish_ids(root, ["p1", "p3"]) == publish.Published("v000002", unchanged=False)


@pytest.mark.usefixtures("pages")
def test_card_and_report_carry_no_clock(tmp_path: Path) -> None:
    texts = []
    for name in ("a", "b"):
        root = str(tmp_path / name / "demo")
        publish_ids(root, ["p1"])
        texts.append([(tmp_path / name / "demo" / "v000001" / file).read_bytes() for file in ("README.md", "report.html")])
    assert texts[0] == texts[1]


class Killed(BaseException):
    """Stands for kill -9: no handler of ours sees it."""


@pytest.mark.parametrize("at", ["README.md", "report.html", "manifest.json", "CURRENT", "catalog"])
def test_a_crash_at_any_write_leaves_the_last_version_and_the_next_run_finishes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    root = str(tmp_path / "demo")
    publish_ids(root, ["p1"])
    real = storage.atomic_output.__enter__

    def dies(output: storage.atomic_output) -> Any:
        if output.path.endswith(at):
            raise Killed
        return real(output)

    def dies_at_manifest(place: str, content: bytes) -> bool:
        raise Killed

    def dies_at_catalogue(*_: object) -> bool:
        raise Killed

    with monkeypatch.context() as patch:
        if at == "catalog":
            patch.setattr(publish, "write_catalog", dies_at_catalogue)
        elif at == "manifest.json":
            patch.setattr(storage, "create_bytes", dies_at_manifest)
        else:
            patch.setattr(storage.atomic_output, "__enter__", dies)
        with pytest.raises(Killed):
            publish_ids(root, ["p1", "p2"])
    assert current_version(root) == ("v000002" if at == "catalog" else "v000001")
    assert len(read_manifest(root, str(current_version(root)))["files"]) == 9

    result = publish_ids(root, ["p1", "p2"])
    assert result == publish.Published("v000002", unchanged=at == "catalog")
    assert current_version(root) == "v000002"
    assert [n for n in storage.children(root) if n.startswith("v")] == ["v000001", "v000002"]
    with duckdb.connect(str(tmp_path / "demo" / "catalog.duckdb"), read_only=True) as con:
        assert con.sql("select count(*) from pairs").fetchall() == [(2,)]


def test_a_lost_lease_publishes_nothing(tmp_path: Path) -> None:
    root = str(tmp_path / "demo")
    publish_ids(root, ["p1"])

    def lost() -> None:
        raise LeaseLostError("taken over")

    with pytest.raises(LeaseLostError, match="taken over"):
        publish_ids(root, ["p2"], before_publish=lost)
    assert current_version(root) == "v000001"
    assert not (tmp_path / "demo" / "v000002" / "manifest.json").exists()


@pytest.mark.parametrize("name", ["demo", "it's a=b [1]*?"])
def test_the_catalogue_answers_with_every_table_and_view(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    root = str(tmp_path / name)
    publish_ids(root, ["p1", "p2", "p3"])
    monkeypatch.chdir("/")  # its paths are absolute
    with duckdb.connect(f"{root}/catalog.duckdb", read_only=True) as con:
        names = [n for (n,) in con.sql("select table_name from information_schema.tables order by 1").fetchall()]
        assert set(names) == {"pairs", *PARTS, "previous_pairs", "inputs", "stages", *queries.sql_files("views")}
        assert con.sql("select pair_id from pairs order by all").fetchall() == [("p1",), ("p2",), ("p3",)]
        assert con.sql("select count(*) from validation").fetchall() == [(0,)]
        assert con.sql("describe validation").fetchall() == con.sql("describe train").fetchall()
        assert con.sql("select stage, kept, top_reason from funnel").fetchall() == [("rules", 3, "tie")]
        for view in queries.sql_files("views"):
            con.sql(f"from {view}").fetchall()


def test_a_neighbouring_folder_that_matches_as_a_pattern_is_not_read(tmp_path: Path) -> None:
    publish_ids(str(tmp_path / "run1"), ["other"])
    publish_ids(str(tmp_path / "run[1]"), ["mine"])
    with duckdb.connect(str(tmp_path / "run[1]" / "catalog.duckdb"), read_only=True) as con:
        assert con.sql("select pair_id from pairs").fetchall() == [("mine",)]


def test_the_catalogue_refuses_paths_outside_the_version(tmp_path: Path) -> None:
    root = str(tmp_path / "demo")
    publish_ids(root, ["p1"])
    manifest = read_manifest(root, "v000001")
    manifest["files"][0]["path"] = "data/../../../secret.parquet"
    storage.write_json(f"{root}/v000001/manifest.json", manifest)
    with pytest.raises(PrefineError, match="leaves the version folder"):
        write_catalog(root, "v000001")
    assert storage.children(root) == ["CURRENT", "catalog.duckdb", "v000001"]


def test_an_older_version_that_lost_a_file_hinders_no_newer_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = str(tmp_path / "demo")
    publish_ids(root, ["p1"])
    (tmp_path / "demo" / "v000001" / "data" / "train-00000-of-00001.parquet").unlink()
    assert publish_ids(root, ["p1", "p2"]) == publish.Published("v000002", unchanged=False)
    assert "train-00000-of-00001.parquet is missing" in caplog.text
    with duckdb.connect(str(tmp_path / "demo" / "catalog.duckdb"), read_only=True) as con:
        assert con.sql("select (select count(*) from pairs), (select count(*) from previous_pairs)").fetchall() == [(2, 0)]


def test_object_stores_get_versions_but_no_catalogue() -> None:
    root = "memory://publish/datasets/demo"
    assert publish_ids(root, ["p1"]).version == "v000001"
    assert publish_ids(root, ["p1"]).unchanged
    assert publish_ids(root, ["p2"]) == publish.Published("v000002", unchanged=False)
    write(root, "v000003", ["p3"])
    assert next_version(root) == "v000003"
    assert storage.children(root) == ["CURRENT", "v000001", "v000002"]
    assert not write_catalog(root, "v000001")
