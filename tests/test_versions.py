"""Which versions there are, which is current, and what is refused when one is not whole."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows import versioning
from pipeline import conditional, publish, queries, storage, versions
from pipeline.config import PipelineConfig
from pipeline.errors import LeaseHeldError, LeaseLostError, NotFoundError, PrefineError
from pipeline.lease import hold_lease
from pipeline.publish import write_catalog
from tests.test_publish import PARTS_OF_MANIFEST, publish_ids, write

TRAIN = "data/train-00000-of-00001.parquet"


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """A bucket in a server of this process."""
    server = pytest.importorskip("moto.server", reason="needs moto[server]")
    s3fs = pytest.importorskip("s3fs", reason="needs prefine[s3]")
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test", "DEFAULT_REGION": "us-east-1"}.items():
            patch.setenv(f"AWS_{name}", value)
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem().mkdir("prefine-versions")
        try:
            yield "s3://prefine-versions"
        finally:
            s3fs.S3FileSystem.clear_instance_cache()
            running.stop()


@pytest.fixture(scope="module", autouse=True)
def _plain() -> Iterator[None]:
    """Pages and catalogues have tests of their own, and cost more than all that is tested here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publish, "rendered", lambda *_: {"README.md": b"card", "report.html": b"page"})
        patch.setattr(publish, "write_catalog", lambda *_: False)
        yield


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory, _plain: None) -> Path:
    """A dataset with four versions, of one to four pairs; tests change copies of it."""
    root = tmp_path_factory.mktemp("versions") / "datasets" / "demo"
    for count in range(1, 5):
        publish_ids(str(root), [f"p{n + 1}" for n in range(count)])
    return root


@pytest.fixture(params=["local", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A dataset's root on each kind of store."""
    places = {
        "local": lambda: str(tmp_path / "datasets"),
        "memory": lambda: f"memory://{tmp_path.name}",
        "s3": lambda: request.getfixturevalue("s3"),
    }
    return storage.join(places[request.param](), request.node.name.split("[")[0].replace("_", "-"), "demo")


def test_of_two_who_saw_the_same_state_one_replaces_it_and_the_other_is_told(store: str) -> None:
    place = storage.join(store, "CURRENT")
    nothing = conditional.look(place)
    assert nothing == conditional.Seen(None, None)
    assert conditional.replace(place, b"v000001\n", nothing)
    assert not conditional.replace(place, b"v000009\n", nothing)
    seen, also_seen = conditional.look(place), conditional.look(place)
    assert conditional.replace(place, b"v000002\n", seen)
    assert not conditional.replace(place, b"v000003\n", also_seen)
    assert storage.read_bytes(place) == b"v000002\n"
    storage.delete(place)
    assert not conditional.replace(place, b"v000004\n", also_seen)
    assert not storage.exists(place)


def test_what_changes_between_the_second_look_and_the_put_is_refused_by_s3_itself(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place = storage.join(s3, "instant", "CURRENT")
    storage.write_bytes(place, b"v000001\n")
    seen = conditional.look(place)
    storage.write_bytes(place, b"v000002\n")
    monkeypatch.setattr(conditional, "look", lambda _: seen)  # no look can have seen the rival's
    assert not conditional.replace(place, b"v000003\n", seen)
    assert storage.read_bytes(place) == b"v000002\n"


def test_a_publisher_that_was_overtaken_neither_moves_current_nor_leaves_a_version(store: str) -> None:
    publish_ids(store, ["p1"])
    files = write(store, "v000002", ["p1", "p2"])

    def overtaken() -> None:
        storage.write_bytes(storage.join(store, "CURRENT"), b"v000007\n")

    with pytest.raises(LeaseLostError, match="was moved to v000007 by another publisher"):
        publish.finish(store, "v000002", files, PARTS_OF_MANIFEST, before_publish=overtaken)
    assert versions.complete_versions(store) == ["v000001"]
    assert storage.read_bytes(storage.join(store, "CURRENT")) == b"v000007\n"


def test_a_version_s_name_has_one_owner(store: str) -> None:
    files = write(store, "v000001", ["p1"])
    place = storage.join(store, "v000001", "manifest.json")

    def another_is_faster() -> None:
        storage.create_bytes(place, b"{}")

    with pytest.raises(LeaseLostError, match="another publisher has finished v000001 meanwhile"):
        publish.finish(store, "v000001", files, PARTS_OF_MANIFEST, before_publish=another_is_faster)
    assert storage.read_bytes(place) == b"{}"
    assert versions.current_version(store) is None


def test_a_publisher_whose_files_a_rival_removed_takes_its_manifest_back(tmp_path: Path) -> None:
    root = str(tmp_path / "demo")
    files, looks = write(root, "v000001", ["p1"]), []

    def rival_removes() -> None:
        looks.append(1)
        if len(looks) == 2:  # after the manifest, before CURRENT
            storage.delete(storage.join(root, "v000001", TRAIN))

    with pytest.raises(PrefineError, match=f"{TRAIN} is missing"):
        publish.finish(root, "v000001", files, PARTS_OF_MANIFEST, before_publish=rival_removes)
    assert (versions.complete_versions(root), versions.current_version(root)) == ([], None)


class TestAVersionThatIsNotWhole:
    @pytest.fixture
    def root(self, four: Path, tmp_path: Path) -> str:
        root = tmp_path / "datasets" / "demo"
        shutil.copytree(four / "v000002", root / "v000001")
        (root / "CURRENT").write_text("v000001\n")
        return str(root)

    def test_missing_and_cut_files_are_all_named_wherever_it_is_opened(self, root: str) -> None:
        folder = Path(root) / "v000001"
        (folder / TRAIN).unlink()
        ledger = folder / "ledger" / "ledger-00000-of-00001.parquet"
        size = ledger.stat().st_size
        ledger.write_bytes(ledger.read_bytes()[:-1])
        said = rf"{TRAIN} is missing; ledger/\S+ has {size - 1:,} bytes instead of {size:,}\. The version is not read\. Put the files back"
        for opens in (lambda: queries.open_version(root), lambda: queries.judgements_of(root), lambda: queries.judgements_of(str(folder))):
            with pytest.raises(PrefineError, match=said):
                opens()

    def test_many_missing_files_are_counted(self, root: str) -> None:
        manifest = versions.read_manifest(root, "v000001")
        manifest["files"] += [{"path": f"data/train-{n:05d}-of-00099.parquet", "rows": 1, "bytes": 1, "sha256": ""} for n in range(30)]
        with pytest.raises(PrefineError, match=r"data/train-00019-of-00099\.parquet is missing, and 10 more"):
            versions.check_files(f"{root}/v000001", manifest)

    def test_the_same_content_is_published_again_when_the_current_version_lost_a_file(self, root: str) -> None:
        (Path(root) / "v000001" / TRAIN).unlink()
        assert publish_ids(root, ["p1", "p2"]) == publish.Published("v000002", unchanged=False)

    def test_a_killed_run_s_version_is_taken_up_only_if_its_bytes_are_its_own(self, root: str) -> None:
        publish_ids(root, ["p1", "p2", "p3"])
        storage.write_bytes(f"{root}/CURRENT", b"v000001\n")  # as if v000002's run had been killed before it moved CURRENT
        shard = Path(root) / "v000002" / "ledger" / "ledger-00000-of-00001.parquet"
        content = bytearray(shard.read_bytes())
        content[20] ^= 1
        shard.write_bytes(content)
        assert publish_ids(root, ["p1", "p2", "p3"]) == publish.Published("v000003", unchanged=False)


def test_versions_are_listed_with_their_sizes_oldest_first(tmp_path: Path) -> None:
    root = str(tmp_path / "demo")
    assert versions.versions(root) == []
    publish_ids(root, ["p1", "p2"])
    publish_ids(root, ["p1", "p2", "p3"])
    write(root, "v000003", ["p4"])
    first, second = versions.versions(root)
    assert (first.name, first.rows["train"], first.rows["dropped"], first.is_current) == ("v000001", 2, 0, False)
    assert (second.name, second.rows["train"], second.is_current) == ("v000002", 3, True)
    assert second.bytes == sum(file["bytes"] for file in versions.read_manifest(root, "v000002")["files"])
    assert versions.half_written(root) == ["v000003"]
    assert [first.problem, second.problem] == [None, None]
    next(Path(root, "v000002", "data").glob("train-*")).unlink()
    damaged = versions.versions(root)[1]
    assert (damaged.rows["train"], "parquet is missing" in str(damaged.problem)) == (3, True)
    (Path(root) / "v000001" / "manifest.json").write_text("{oops")
    assert "not valid JSON" in str(versions.versions(root)[0].problem)


def test_people_may_say_a_version_s_name_without_its_zeros(tmp_path: Path) -> None:
    root = str(tmp_path / "demo")
    with pytest.raises(NotFoundError, match="nothing is published there yet"):
        versions.full_name(root, None)
    publish_ids(root, ["p1"])
    asked = ["v1", "v000001", None, "v1234567", "latest"]
    assert [versions.full_name(root, one) for one in asked] == ["v000001", "v000001", "v000001", "v1234567", "latest"]


class TestRollback:
    @pytest.fixture
    def root(self, four: Path, tmp_path: Path) -> str:
        root = shutil.copytree(four, tmp_path / "demo")
        shutil.rmtree(root / "v000004")
        (root / "CURRENT").write_text("v000003\n")
        return str(root)

    def test_readers_and_the_catalogue_get_the_older_version_and_nothing_is_deleted(
        self, root: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(publish, "write_catalog", write_catalog)
        assert versioning.rollback(root, "v000001") == "v000003"
        assert queries.open_version(root).query("select count(*) as n from pairs").to_pylist() == [{"n": 1}]
        with duckdb.connect(f"{root}/catalog.duckdb", read_only=True) as con:
            assert con.sql("select count(*) from pairs").fetchall() == [(1,)]
        assert versions.complete_versions(root) == ["v000001", "v000002", "v000003"]
        assert not storage.exists(f"{root}/LEASE")

    def test_the_next_run_compares_with_it_and_gives_a_new_name_to_what_was_left(self, root: str) -> None:
        versioning.rollback(root, "v000001")
        assert publish_ids(root, ["p1"]) == publish.Published("v000001", unchanged=True)
        assert publish_ids(root, ["p1", "p2", "p3"]) == publish.Published("v000004", unchanged=False)
        assert publish_ids(root, ["p1", "p2", "p3"]) == publish.Published("v000004", unchanged=True)

    def test_a_run_killed_after_a_rollback_is_still_finished_by_the_next(self, root: str) -> None:
        versioning.rollback(root, "v000001")
        publish_ids(root, ["p9"])
        storage.write_bytes(f"{root}/CURRENT", b"v000001\n")
        assert publish_ids(root, ["p9"]) == publish.Published("v000004", unchanged=False)
        assert versions.complete_versions(root)[-1] == "v000004"

    def test_a_name_that_was_seen_is_not_given_twice(self, root: str) -> None:
        versioning.rollback(root, "v000001")
        storage.delete(f"{root}/v000003")  # by hand
        assert publish.next_version(root) == "v000004"

    def test_going_to_the_current_version_changes_nothing(self, root: str) -> None:
        assert versioning.rollback(root, "v000003") == "v000003"
        assert not storage.exists(f"{root}/ROLLBACK")

    def test_an_unknown_or_broken_version_is_refused_and_current_stays(self, root: str) -> None:
        with pytest.raises(NotFoundError, match="no version 'v000009'; there are v000001, v000002, v000003"):
            versioning.rollback(root, "v000009")
        (Path(root) / "v000002" / TRAIN).unlink()
        with pytest.raises(PrefineError, match=f"{TRAIN} is missing"):
            versioning.rollback(root, "v000002")
        assert versions.current_version(root) == "v000003"

    def test_a_run_that_works_on_the_dataset_keeps_it(self, root: str) -> None:
        with hold_lease(root, "a run"), pytest.raises(LeaseHeldError, match="'a run'"):
            versioning.rollback(root, "v000001")
        assert versions.current_version(root) == "v000003"

    def test_a_rollback_file_of_somebody_else_is_named(self, root: str) -> None:
        storage.write_bytes(f"{root}/ROLLBACK", b"[]")
        with pytest.raises(PrefineError, match="ROLLBACK: expected what `prefine rollback` writes"):
            publish_ids(root, ["p7"])


def aged(folder: Path, seconds: float = 3600) -> None:
    for path in folder.rglob("*"):
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - seconds))


class TestGc:
    @pytest.fixture
    def root(self, four: Path, tmp_path: Path) -> str:
        return str(shutil.copytree(four, tmp_path / "datasets" / "demo"))

    def goes(self, fates: list[versioning.Fate]) -> list[str]:
        return [fate.name for fate in fates if fate.goes]

    def test_without_yes_nothing_is_deleted_and_what_would_go_is_said(self, root: str) -> None:
        fates = versioning.collectable(root, keep=2)
        assert self.goes(fates) == ["v000001", "v000002"]
        assert all(fate.bytes > 10_000 for fate in fates)
        assert versions.complete_versions(root) == ["v000001", "v000002", "v000003", "v000004"]

    def test_the_newest_and_the_current_stay(self, root: str) -> None:
        versioning.rollback(root, "v000002")
        assert self.goes(versioning.collect(root, keep=1)) == ["v000001", "v000003"]
        assert versions.complete_versions(root) == ["v000002", "v000004"]
        assert queries.open_version(root).query("select count(*) as n from pairs").to_pylist() == [{"n": 2}]

    def test_what_another_dataset_was_curated_from_stays(self, root: str) -> None:
        again: dict[str, Any] = {
            **PARTS_OF_MANIFEST,
            "inputs": [{**PARTS_OF_MANIFEST["inputs"][0], "source_uri": "w/datasets/demo/v000002/judgements/j.parquet"}],
        }
        other = str(Path(root).parent / "again")
        publish.finish(other, "v000001", write(other, "v000001", ["p1"]), again)
        fates = {fate.name: fate for fate in versioning.collectable(root, keep=1)}
        assert not fates["v000002"].goes
        assert fates["v000002"].why == "was curated again into again v000001"
        assert self.goes(list(fates.values())) == ["v000001", "v000003"]

    def test_what_the_config_reads_stays(self, root: str) -> None:
        given = {"dataset": "demo", "sources": [{"name": "old", "version": "datasets/demo/v000001"}]}
        config = PipelineConfig.model_validate(given)
        fates = versioning.collectable(root, 1, config, str(Path(root).parent.parent))
        assert self.goes(fates) == ["v000002", "v000003"]

    def test_half_written_folders_go_once_nobody_can_be_writing_them(self, root: str) -> None:
        write(root, "v000005", ["p9"])
        assert self.goes(versioning.collectable(root, keep=4)) == []
        aged(Path(root) / "v000005")
        assert self.goes(versioning.collect(root, keep=4)) == ["v000005"]
        assert versions.half_written(root) == []

    def test_nothing_is_deleted_while_a_run_holds_the_dataset(self, root: str) -> None:
        with hold_lease(root, "a run"), pytest.raises(LeaseHeldError):
            versioning.collect(root, keep=1)
        assert len(versions.complete_versions(root)) == 4

    def test_a_crash_on_the_way_leaves_no_version_that_looks_whole(self, root: str, monkeypatch: pytest.MonkeyPatch) -> None:
        real = storage.delete

        def dies(place: str) -> None:
            if place.endswith("v000001"):
                raise KeyboardInterrupt
            real(place)

        with monkeypatch.context() as patch:
            patch.setattr(storage, "delete", dies)
            with pytest.raises(KeyboardInterrupt):
                versioning.collect(root, keep=3)
        assert versions.half_written(root) == ["v000001"]
        aged(Path(root) / "v000001")
        assert self.goes(versioning.collect(root, keep=3)) == ["v000001"]

    def test_a_manifest_that_cannot_be_read_stops_it(self, root: str) -> None:
        storage.write_bytes(storage.join(str(Path(root).parent), "other", "v000001", "manifest.json"), b"{oops")
        with pytest.raises(PrefineError, match="gc deletes nothing as long as it cannot tell which versions this one was curated from"):
            versioning.collect(root, keep=1)
        assert len(versions.complete_versions(root)) == 4


STRIKES = st.lists(
    st.sampled_from(["publishes", "takes the name", "removes the files", "goes back", "begins the same version"]), max_size=2
)


@settings(max_examples=8, deadline=None)
@given(first=STRIKES, second=STRIKES)
def test_whatever_a_rival_does_at_whichever_instant_readers_get_a_whole_version(
    four: Path, tmp_path_factory: pytest.TempPathFactory, first: list[str], second: list[str]
) -> None:
    """Instants: before the manifest is written, and between it and CURRENT."""
    root = str(shutil.copytree(four, tmp_path_factory.mktemp("rivals") / "demo"))
    files = write(root, "v000005", ["p1", "p9"])
    instants = iter([first, second])

    def strikes() -> None:
        for strike in next(instants, []):
            if strike == "publishes":
                publish_ids(root, ["p7", strike])
            elif strike == "goes back":
                versioning.rollback(root, "v000001")
            elif strike == "takes the name":
                storage.create_bytes(f"{root}/v000005/manifest.json", storage.json_bytes({"files": []}))
            elif versions.current_version(root) == "v000005":
                continue  # nobody writes to, or removes, what readers get
            elif strike == "removes the files":
                storage.delete(f"{root}/v000005/{TRAIN}")
            else:
                write(root, "v000005", ["p8", "p7", "p6"])

    before = versions.current_version(root)
    try:
        done = publish.finish(root, "v000005", files, PARTS_OF_MANIFEST, before_publish=strikes).version
    except PrefineError:
        done = None
    current = versions.current_version(root)
    assert current is not None
    versions.check_files(f"{root}/{current}", versions.read_manifest(root, current))
    if done is not None:
        assert (current, versions.read_manifest(root, done)["files"]) == (done, files)
    elif not {"publishes", "goes back"} & {*first, *second}:
        assert current == before
