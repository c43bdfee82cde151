import gzip
import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.settings import PREFECT_API_URL

from flows import steps
from flows.curate import Outcome, run_flow
from pipeline import queries, storage
from pipeline.errors import LeaseHeldError, TooManyQuarantinedError
from pipeline.lease import hold_lease
from tests.fakes import WordEncoder

ROOT = Path(__file__).resolve().parents[2]
# A command line whose encoder takes its time, so that there is an instant to kill it at.
SLOW = """
import sys, time
from flows import cli, steps, vectors
from tests.fakes import WordEncoder

class Slow(WordEncoder):
    def encode(self, texts, on_progress=None):
        time.sleep(0.3)
        return super().encode(texts, on_progress)

letters = Slow()
steps.encoder = lambda config: letters
vectors.TEXTS_AT_ONCE = 10
cli.app(["run", sys.argv[1]])
"""


def pairs(first: int, count: int) -> list[dict[str, Any]]:
    return [{"prompt": f"Question {i}?", "chosen": f"Right {i}.", "rejected": f"Wrong {i}."} for i in range(first, first + count)]


def jsonl(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.fixture
def letters(monkeypatch: pytest.MonkeyPatch) -> WordEncoder:
    encoder = WordEncoder()
    monkeypatch.setattr(steps, "encoder", lambda embed: encoder)
    return encoder


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., Path]:
    """Files of one source -> its config."""

    def write(files: dict[str, bytes], workspace: str = "./workspace", **source: object) -> Path:
        (tmp_path / "raw").mkdir(exist_ok=True)
        for name, content in files.items():
            (tmp_path / "raw" / name).write_bytes(content)
        body = {"dataset": "small", "workspace": workspace, "sources": [{"name": "src", "uri": "raw", **source}]}
        place = tmp_path / "prefine.yaml"
        place.write_text(yaml.safe_dump(body))
        return place

    return write


def fates(root: str) -> dict[str, int]:
    return {
        row["fate"]: row["n"]
        for row in queries.open_version(root).query("select fate, count(*) as n from ledger group by fate").to_pylist()
    }


def left_over(folder: Path) -> list[str]:
    """What a finished run may not leave: scratch, half-written files, a lease."""
    files = [place.relative_to(folder).as_posix() for place in folder.rglob("*") if place.is_file()]
    return [name for name in files if name.startswith("runs/") or name.endswith((".part", "LEASE"))]


class TestUnreadableFiles:
    def files(self, good: int) -> dict[str, bytes]:
        whole = {f"good-{i:02d}.jsonl.gz": gzip.compress(jsonl(pairs(10 * i, 3))) for i in range(good)}
        return {**whole, "cut.jsonl.gz": gzip.compress(jsonl(pairs(9000, 400)))[:-200]}

    def test_one_among_thirty_is_named_and_the_run_goes_on(self, config: Callable[..., Path], letters: WordEncoder) -> None:
        outcome = run_flow(str(config(self.files(30))))
        assert fates(outcome.dataset_root) == {"published": 90, "quarantined": 1}
        (row,) = queries.open_version(outcome.dataset_root).query("from quarantine").to_pylist()
        assert (row["source_uri"], row["reason"]) == ("raw/cut.jsonl.gz", "unreadable_file")
        assert row["detail"].startswith("raw/cut.jsonl.gz: cannot be read to its end")  # as published, whatever machine it lies on

    def test_members_of_an_archive_are_files_and_equal_ones_are_copies(self, config: Callable[..., Path], letters: WordEncoder) -> None:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for i in range(30):
                archive.writestr(f"part-{i:02d}.jsonl", jsonl(pairs(10 * i, 3)))
            archive.writestr("same.jsonl", jsonl(pairs(0, 3)))
        content = packed.getvalue().replace(b"Question 290?", b"Question 29O?")  # its checksum says so
        outcome = run_flow(str(config({"all.zip": content, "README.md": b"about"})))
        assert fates(outcome.dataset_root) == {"published": 87, "merged": 3, "quarantined": 1}
        (row,) = queries.open_version(outcome.dataset_root).query("from quarantine").to_pylist()
        assert (row["source_uri"], row["reason"]) == ("raw/all.zip/part-29.jsonl", "unreadable_file")
        assert "Bad CRC-32" in row["detail"]
        assert "::" not in row["detail"]

    def test_over_the_allowed_share_the_run_stops_and_names_it(
        self, config: Callable[..., Path], letters: WordEncoder, tmp_path: Path
    ) -> None:
        with pytest.raises(TooManyQuarantinedError, match=r"(?s)1 of 11 files cannot be read.*cut\.jsonl\.gz.*Nothing was published"):
            run_flow(str(config(self.files(10))))
        assert not list(tmp_path.glob("workspace/datasets/small/*"))
        assert left_over(tmp_path / "workspace") == []


class TestUnreadableRows:
    def rows(self, good: int) -> bytes:
        return jsonl([*pairs(0, good), {"prompt": "no answers"}, {"prompt": "nor here"}]) + b'{"prompt": "cut\n'

    def test_over_the_allowed_share_the_run_stops_and_says_why(
        self, config: Callable[..., Path], letters: WordEncoder, tmp_path: Path
    ) -> None:
        with pytest.raises(TooManyQuarantinedError, match=r"(?s)3 of 43 rows.*raw/a\.jsonl: missing_field 2, .* 1\. Nothing was published"):
            run_flow(str(config({"a.jsonl": self.rows(40)})))
        assert not list(tmp_path.glob("workspace/datasets/small/*"))
        assert left_over(tmp_path / "workspace") == []
        assert letters.texts_encoded == 0

    def test_under_it_they_are_quarantined(self, config: Callable[..., Path], letters: WordEncoder) -> None:
        outcome = run_flow(str(config({"a.jsonl": self.rows(100)})))
        assert fates(outcome.dataset_root) == {"published": 100, "quarantined": 3}

    def test_an_abstention_is_quarantined_but_not_unreadable(self, config: Callable[..., Path], letters: WordEncoder) -> None:
        answers = [{"prompt": f"q{i}", "response_1": f"x{i}", "response_2": f"y{i}"} for i in range(4)]
        votes = [{**one, "preference_strength": 2 - 4 * (i % 2)} for i, one in enumerate(answers)]
        outcome = run_flow(str(config({"a.jsonl": jsonl([*votes[:2], *({**vote, "preference_strength": -100} for vote in votes[2:])])})))
        assert fates(outcome.dataset_root) == {"published": 2, "quarantined": 2}
        reasons = queries.open_version(outcome.dataset_root).query("select distinct reason from quarantine").to_pylist()
        assert reasons == [{"reason": "no_verdict"}]

    def test_a_version_published_before_stays_the_current_one(self, config: Callable[..., Path], letters: WordEncoder) -> None:
        first = run_flow(str(config({"a.jsonl": jsonl(pairs(0, 40))})))
        with pytest.raises(TooManyQuarantinedError, match="3 of 43 rows"):
            run_flow(str(config({"a.jsonl": self.rows(40)})))
        assert queries.current_version(first.dataset_root) == first.version
        assert fates(first.dataset_root) == {"published": 40}


class TestLease:
    def test_a_second_run_says_who_has_it_since_when_and_leaves_nothing(
        self, config: Callable[..., Path], letters: WordEncoder, tmp_path: Path
    ) -> None:
        place = config({"a.jsonl": jsonl(pairs(0, 5))})
        root = tmp_path / "workspace" / "datasets" / "small"
        with hold_lease(str(root), "the-first") as lease:
            before = sorted(root.parent.parent.rglob("*"))
            with pytest.raises(
                LeaseHeldError, match=rf"run 'the-first' \(host .*, pid {os.getpid()}\) since {lease.holder.since[:16]}"
            ) as caught:
                run_flow(str(place))
            assert caught.value.exit_code == 1
            assert sorted(root.parent.parent.rglob("*")) == before
        assert run_flow(str(place)).version == "v000001"


class TestRerun:
    def test_the_same_again_embeds_and_publishes_nothing_and_leaves_no_scratch(
        self, config: Callable[..., Path], letters: WordEncoder, tmp_path: Path
    ) -> None:
        place = str(config({"a.jsonl": jsonl(pairs(0, 20))}))
        first, again = run_flow(place), run_flow(place)
        assert (first.embedded, first.unchanged) == (60, False)
        assert (again.version, again.embedded, again.unchanged) == ("v000001", 0, True)
        assert left_over(tmp_path / "workspace") == []
        assert sorted(p.name for p in (tmp_path / "workspace").iterdir() if p.name != "runs") == ["datasets", "store"]


class TestKilled:
    def start(self, config: Path) -> "subprocess.Popen[str]":
        environment = {**os.environ, "PREFECT_API_URL": str(PREFECT_API_URL.value())}
        return subprocess.Popen([sys.executable, "-c", SLOW, str(config)], cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)

    def test_during_embedding_the_last_version_stays_and_the_next_run_finishes_the_work(
        self, config: Callable[..., Path], letters: WordEncoder, tmp_path: Path
    ) -> None:
        workspace = tmp_path / "workspace"
        first = run_flow(str(config({"a.jsonl": jsonl(pairs(0, 10))})))
        place = config({"b.jsonl": jsonl(pairs(100, 50))})
        segment = "store/embeddings/**/*.parquet"
        stored = len(list(workspace.glob(segment)))
        process = self.start(place)
        deadline = time.monotonic() + 120
        while len(list(workspace.glob(segment))) < stored + 3 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert process.poll() is None, process.communicate()[1]
        process.send_signal(signal.SIGKILL)
        process.communicate()
        segments = len(list(workspace.glob(segment))) - stored
        assert left_over(workspace), "it was killed while it worked"
        assert queries.current_version(first.dataset_root) == "v000001"
        assert fates(first.dataset_root) == {"published": 10}

        finished = run_flow(str(place))
        assert finished.version == "v000002"
        assert fates(finished.dataset_root) == {"published": 60}
        assert finished.embedded == 150 - 10 * segments, "only what the killed run had not stored yet"
        assert left_over(workspace) == []


class TestObjectStores:
    @pytest.fixture
    def bucket(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
        """An S3 bucket in a server of this process."""
        server = pytest.importorskip("moto.server", reason="needs moto[server]")
        s3fs = pytest.importorskip("s3fs", reason="needs prefine[s3]")
        running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        running.start()
        host, port = running.get_host_and_port()
        for name, value in {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        }.items():
            monkeypatch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        try:
            s3fs.S3FileSystem().mkdir("prefine-tests")
            yield "s3://prefine-tests/workspace"
        finally:
            s3fs.S3FileSystem.clear_instance_cache()
            running.stop()

    def check(self, place: Path) -> Outcome:
        first, again = run_flow(str(place)), run_flow(str(place))
        assert (first.version, first.unchanged, first.embedded) == ("v000001", False, 30)
        assert (again.version, again.unchanged, again.embedded) == ("v000001", True, 0)
        assert fates(first.dataset_root) == {"published": 10}
        assert not storage.exists(storage.join(first.dataset_root, "LEASE"))
        assert storage.children(storage.join(first.dataset_root.split("/datasets/")[0], "runs", "small")) == []
        return first

    def test_a_workspace_on_s3(self, config: Callable[..., Path], letters: WordEncoder, bucket: str) -> None:
        outcome = self.check(config({"a.jsonl": jsonl(pairs(0, 10))}, workspace=bucket))
        assert outcome.dataset_root == f"{bucket}/datasets/small"

    def test_a_workspace_in_memory(self, config: Callable[..., Path], letters: WordEncoder) -> None:
        try:
            self.check(config({"a.jsonl": jsonl(pairs(0, 10))}, workspace="memory://faults"))
        finally:
            storage.delete("memory://faults")
