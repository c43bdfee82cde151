"""A folder for a hub holds what everyone may see, as it was published; the upload needs a token."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from flows import pushing
from pipeline import publish, versions
from pipeline.errors import ConfigError, NotFoundError, PrefineError
from tests.versions import COUNTS, FILE, INPUTS, said, sample, write

SECRET = "0 my secret diary 0"
CONFIG = {"sources": [{"name": "arena", "uri": FILE, "licence": "mit"}], "workspace": "/srv/anna", "annotators": {"ids": "plain"}}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A version whose dropped pair, judgements and quarantined row hold what nobody else may read."""
    rows = sample()
    rows["dropped"][0] |= {"prompt": said("user", SECRET), "chosen": said("assistant", SECRET), "detail": SECRET}
    rows["judgements"][4] |= {"prompt": said("user", SECRET), "rationale": SECRET}
    rows["quarantine"][0] |= {"raw": SECRET, "detail": SECRET}
    root = str(tmp_path_factory.mktemp("push") / "datasets" / "demo")
    parts: dict[str, Any] = {"inputs": INPUTS, "counts": COUNTS, "config": CONFIG, "rules": ["tie"], "seeds": {}, "timings": {}}
    parts |= {"packages": {}, "models": {}, "causal_models": [], "endpoints": []}
    publish.finish(root, "v000001", write(root, rows), parts)
    return root


@pytest.fixture(scope="module")
def pushed(root: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pushing.Pushed]:
    folder = tmp_path_factory.mktemp("hub") / "demo"
    return folder, pushing.prepare(root, None, str(folder))


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_it_holds_card_data_manifest_and_report_and_says_what_it_left_out(pushed: tuple[Path, pushing.Pushed]) -> None:
    folder, told = pushed
    shards = ["data/train-00000-of-00001.parquet", "data/validation-00000-of-00001.parquet"]
    assert files(folder) == ["README.md", *shards, "manifest.json", "report.html"]
    assert (told.version, told.files, told.rows) == ("v000001", 2, {"train": 1, "validation": 1})
    assert any("judgements" in line and "quarantine" in line for line in told.taken_out)
    assert "may name people" in told.warnings[0]


def test_nothing_in_it_holds_a_place_or_a_text_that_stays(root: str, pushed: tuple[Path, pushing.Pushed]) -> None:
    folder, _ = pushed
    assert SECRET in (Path(root) / "v000001" / "report.html").read_text(), "the version's own report shows it"
    for name in ("README.md", "report.html", "manifest.json"):
        text = (folder / name).read_text()
        for place in (FILE, "/srv/anna", SECRET):
            assert place not in text, f"{place} is in {name}"


def test_shards_are_as_published_and_its_manifest_speaks_of_this_folder(root: str, pushed: tuple[Path, pushing.Pushed]) -> None:
    folder, _ = pushed
    versions.check_files(str(folder), json.loads((folder / "manifest.json").read_text()))
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["content_sha256"] == versions.content_sha256(manifest["files"])
    assert manifest["counts"] == COUNTS
    for file in manifest["files"]:
        assert (folder / file["path"]).read_bytes() == (Path(root) / "v000001" / file["path"]).read_bytes()


def test_everything_means_every_part(root: str, tmp_path: Path) -> None:
    told = pushing.prepare(root, "v000001", str(tmp_path / "all"), everything=True)
    assert pq.read_table(tmp_path / "all" / "quarantine").column("raw").to_pylist() == [SECRET]
    assert told.files == len(versions.read_manifest(root, "v000001")["files"])
    assert "quarantine/ holds rows as they were read" in told.warnings[-1]


def test_an_altered_shard_is_named_and_not_pushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "rendered", lambda *_: {})
    monkeypatch.setattr(publish, "write_catalog", lambda *_: False)
    root = str(tmp_path / "demo")
    parts: dict[str, Any] = {name: {} for name in ("packages", "models", "seeds", "timings")}
    parts |= {"inputs": INPUTS, "counts": COUNTS, "causal_models": [], "endpoints": [], "rules": [], "config": CONFIG}
    publish.finish(root, "v000001", write(root, sample()), parts)
    shard = tmp_path / "demo" / "v000001" / "data" / "validation-00000-of-00001.parquet"
    content = bytearray(shard.read_bytes())
    content[10] ^= 1
    shard.write_bytes(content)
    with pytest.raises(PrefineError, match=r"validation-00000-of-00001\.parquet: was altered; its SHA-256 is not the published one"):
        pushing.prepare(root, None, str(tmp_path / "hub"))
    assert files(tmp_path / "hub") == []


def test_a_folder_with_something_in_it_and_a_dataset_without_versions_are_refused(root: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is not empty; what else it holds would be pushed too"):
        pushing.prepare(root, None, str(tmp_path))
    with pytest.raises(NotFoundError, match="nothing is published there yet"):
        pushing.prepare(str(tmp_path / "none"), None, str(tmp_path / "out"))


@pytest.mark.parametrize(
    ("to", "repository", "place", "name"),
    [
        ("out", None, "out", None),
        ("out", "org/name", "out", "org/name"),
        ("hf://datasets/org/name", None, "demo-hub", "org/name"),
        ("hf://org/name/", None, "demo-hub", "org/name"),
    ],
)
def test_a_destination_is_a_folder_and_perhaps_a_repository(to: str, repository: str | None, place: str, name: str | None) -> None:
    assert pushing.destination(to, repository, "/w/datasets/demo") == (str(Path(place).resolve()), name)


@pytest.mark.parametrize(
    ("to", "repository", "said"),
    [
        ("hf://datasets/org/name", "org/other", "names a repository already"),
        ("hf://datasets/org/name/file", None, "expected a dataset repository such as ORGANISATION/NAME"),
        ("out", "a b", "expected a dataset repository"),
        ("s3://bucket/out", "org/name", "the upload reads a local folder"),
    ],
)
def test_a_destination_that_is_none_is_refused(to: str, repository: str | None, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        pushing.destination(to, repository, "/w/datasets/demo")


class Hub:
    """Stands for the hub's client: nothing outside can be reached from a test."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.fails: Exception | None = None

    def __call__(self, token: str) -> "Hub":
        self.calls.append(("token", {"token": token}))
        return self

    def create_repo(self, repo_id: str, **given: Any) -> None:
        self.calls.append(("create_repo", {"repo_id": repo_id, **given}))

    def upload_folder(self, **given: Any) -> Any:
        if self.fails is not None:
            raise self.fails
        self.calls.append(("upload_folder", given))
        return type("Commit", (), {"commit_url": "https://hub.example/commit/1"})()


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Hub:
    import huggingface_hub

    fake = Hub()
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    monkeypatch.setattr(huggingface_hub, "HfApi", fake)
    return fake


def test_an_upload_is_one_commit_to_a_private_repository_without_shards_of_earlier_pushes(client: Hub) -> None:
    assert pushing.upload("/hub/demo", "org/name", "v000003") == "https://hub.example/commit/1"
    assert client.calls[0] == ("token", {"token": "hf_test"})
    assert client.calls[1] == ("create_repo", {"repo_id": "org/name", "repo_type": "dataset", "private": True, "exist_ok": True})
    name, given = client.calls[2]
    assert (name, given["folder_path"], given["commit_message"]) == ("upload_folder", "/hub/demo", "prefine v000003")
    assert given["delete_patterns"] == ["*.parquet"]


def test_a_hub_that_refuses_leaves_the_folder_and_says_so(client: Hub) -> None:
    client.fails = ConnectionError("no route to host")
    with pytest.raises(PrefineError, match=r"org/name: not uploaded: no route to host\. /hub/demo is ready"):
        pushing.upload("/hub/demo", "org/name", "v000003")


def test_without_a_token_there_is_no_upload(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(ConfigError, match="no token for the upload: set HF_TOKEN") as refused:
        pushing.upload(str(tmp_path), "org/name", "v000003")
    assert refused.value.exit_code == 2
