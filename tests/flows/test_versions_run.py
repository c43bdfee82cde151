"""Whole runs and the commands over what they publish: rollback, a full disk, the next run, verify, gc, push."""

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.curate import Outcome, run_flow
from pipeline import shards, storage, versions
from pipeline.errors import PrefineError
from tests.fakes import WordEncoder
from tests.flows.test_faults import fates, jsonl, pairs

Prefine = Callable[..., tuple[int, str, str]]


class Small:
    """A dataset that grows between runs."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.config = folder, folder / "prefine.yaml"
        (folder / "raw").mkdir()
        sources = [{"name": "src", "uri": "raw", "licence": "mit"}]
        publish = {"validation_share": 0.2}
        self.config.write_text(yaml.safe_dump({"dataset": "small", "sources": sources, "publish": publish}))
        self.root = str(folder / "workspace" / "datasets" / "small")

    def add(self, name: str, first: int, count: int) -> None:
        (self.folder / "raw" / name).write_bytes(jsonl(pairs(first, count)))

    def run(self) -> Outcome:
        return run_flow(str(self.config))

    def folders(self) -> list[str]:
        return [name for name in storage.children(self.root) if name.startswith("v")]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, encoder: WordEncoder) -> Small:
    """Ten pairs as v000001."""
    made = Small(tmp_path_factory.mktemp("versions"))
    made.add("a.jsonl", 0, 10)
    made.run()
    return made


def test_a_manifest_says_what_made_the_version(small: Small) -> None:
    manifest = versions.read_manifest(small.root, "v000001")
    assert set(manifest["code"]) == {"version", "sha256"}
    assert manifest["packages"]["polars"]
    assert list(manifest["models"]) == ["bundled-minilm"]
    (given,) = manifest["inputs"]
    content = (small.folder / "raw" / "a.jsonl").read_bytes()
    assert (given["bytes"], given["sha256"]) == (len(content), storage.file_sha256(str(small.folder / "raw" / "a.jsonl")))
    assert manifest["seeds"]["splits"] == "hash of prompt_cluster_id"
    assert {"ingest", "embed", "write up"} <= set(manifest["timings"]["seconds"])
    assert manifest["counts"][0]["stage"] == "read records"
    assert manifest["config"]["publish"]["validation_share"] == 0.2


def test_a_rollback_a_full_disk_and_the_run_after_them(small: Small, monkeypatch: pytest.MonkeyPatch, prefine: Prefine) -> None:
    shutil.copytree(f"{small.root}/v000001", f"{small.root}/v000002")  # a later version, whatever it holds
    storage.write_bytes(f"{small.root}/CURRENT", b"v000002\n")
    code, said, _ = prefine("rollback", "v000001", "--config", small.config)
    assert (code, said) == (0, "v000001 is current now; it was v000002. v000002 stays, and can come back.\n")
    assert fates(small.root) == {"published": 10}

    small.add("b.jsonl", 100, 10)
    real = shards.ShardWriter.close

    def full(writer: shards.ShardWriter) -> list[dict[str, Any]]:
        if writer.folder.endswith("ledger"):
            raise OSError(errno.ENOSPC, "No space left on device", writer.folder)
        return real(writer)

    with monkeypatch.context() as patch:
        patch.setattr(shards.ShardWriter, "close", full)
        with pytest.raises(PrefineError, match=r"ledger: no space is left .* Nothing was published; v000001 stays current"):
            small.run()
    assert small.folders() == ["v000001", "v000002"]
    assert not storage.exists(f"{small.root}/LEASE")

    after = small.run()
    assert (after.version, after.unchanged) == ("v000003", False)
    assert after.embedded == 0, "what the run with the full disk had stored is not done again"
    assert fates(small.root) == {"published": 20}


class TestCommands:
    """Over what the runs above published, or over the first version alone."""

    def test_versions_lists_them(self, small: Small, prefine: Prefine) -> None:
        code, said, _ = prefine("versions", "--config", small.config)
        assert code == 0
        (line,) = [line for line in said.splitlines() if line.startswith("*")]
        assert line.split()[1] == versions.current_version(small.root)
        listed = json.loads(prefine("versions", "--config", small.config, "--format", "json")[1])
        assert [one["name"] for one in listed] == small.folders()
        assert listed[0]["rows"]["train"] + listed[0]["rows"].get("validation", 0) == 10

    def test_verify_says_that_all_is_well_and_names_what_is_not(self, small: Small, prefine: Prefine, tmp_path: Path) -> None:
        code, said, _ = prefine("verify", "--config", small.config)
        assert (code, said.split(":")[0]) == (0, f"{versions.current_version(small.root)} is as it was published")
        stray = Path(small.root) / "v000001" / "data" / "stray.parquet"
        stray.write_bytes(b"PAR1")
        code, said, error = prefine("verify", "v000001", "--config", small.config)
        stray.unlink()
        assert (code, said) == (1, "")
        assert "v000001: 1 problem(s)" in error
        assert "data/stray.parquet: a stray file" in error

    def test_a_missing_shard_is_named_by_every_command_that_reads(self, small: Small, prefine: Prefine, tmp_path: Path) -> None:
        ledger = Path(small.root) / str(versions.current_version(small.root)) / "ledger"
        (shard,) = ledger.iterdir()
        away = shard.rename(tmp_path / "away")
        try:
            for command in (("query", "funnel"), ("export", tmp_path / "out"), ("push", tmp_path / "hub")):
                code, _, error = prefine(*command, "--config", small.config)
                assert (code, f"ledger/{shard.name} is missing" in error) == (1, True), (command, error)
        finally:
            away.rename(shard)

    def test_push_writes_a_folder_and_without_a_token_uploads_nothing(
        self, small: Small, prefine: Prefine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import huggingface_hub

        monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
        code, said, error = prefine("push", tmp_path / "hub", "--repo", "org/name", "--config", small.config)
        assert code == 2
        assert "left out: names of" in said
        assert "org/name: no token for the upload: set HF_TOKEN" in error
        assert f"{tmp_path}/hub is ready" in " ".join(error.split())
        assert "raw/a.jsonl" not in "".join(path.read_text() for path in (tmp_path / "hub").iterdir() if path.is_file())

    def test_gc_says_first_and_deletes_with_yes(self, small: Small, prefine: Prefine) -> None:
        before, current = small.folders(), versions.current_version(small.root)
        code, said, _ = prefine("gc", "--keep", "1", "--config", small.config)
        assert (code, small.folders()) == (0, before)
        assert "would be freed. Delete them with --yes." in said or before == [current]
        told = json.loads(prefine("gc", "--keep", "1", "--yes", "--format", "json", "--config", small.config)[1])
        assert [one["name"] for one in told["versions"] if one["goes"]] == [name for name in before if name != current]
        assert small.folders() == [current]
        assert fates(small.root)

    @pytest.mark.parametrize("command", ["versions", "gc --keep 1", "verify"])
    def test_other_forms_are_refused(self, small: Small, prefine: Prefine, command: str) -> None:
        code, _, error = prefine(*command.split(), "--format", "yaml", "--config", small.config)
        assert (code, error) == (2, "prefine: --format yaml: expected table or json.\n")
