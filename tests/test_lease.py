"""One run at a time, and a dead one does not block the next."""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline import lease as lease_module
from pipeline import storage
from pipeline.errors import LeaseHeldError, LeaseLostError
from pipeline.lease import hold_lease

HOLD = """
import sys, time
from pipeline.lease import hold_lease
with hold_lease(sys.argv[1], "first"):
    print("held", flush=True)
    time.sleep(60)
"""


def content(**given: Any) -> dict[str, Any]:
    soon = (datetime.now(UTC) + timedelta(seconds=60)).isoformat()
    return {"run": "other", "host": "elsewhere", "pid": 1, "since": "2026-01-01T00:00:00+00:00", "expires": soon, **given}


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


EXPIRED = "2026-01-01T00:01:00+00:00"


@pytest.fixture(params=["local", "memory"])
def root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(lease_module, "SETTLE_SECONDS", 0.05)
    return str(tmp_path / "demo") if request.param == "local" else f"memory://lease/{tmp_path.name}/demo"


def test_the_file_says_who_holds_it_and_is_gone_afterwards(root: str) -> None:
    with hold_lease(root, "run-1", ttl_seconds=60) as lease:
        said = storage.read_json(f"{root}/LEASE")
        assert {k: said[k] for k in ("run", "host", "pid")} == {"run": "run-1", "host": socket.gethostname(), "pid": os.getpid()}
        assert datetime.fromisoformat(said["expires"]) - datetime.fromisoformat(said["since"]) >= timedelta(seconds=60)
        lease.check()
    assert storage.children(root) == []


def test_a_second_run_is_told_who_holds_it_and_leaves_nothing_behind(root: str) -> None:
    with hold_lease(root, "run-1") as lease:
        before = storage.read_bytes(f"{root}/LEASE")
        wanted = rf"being worked on by run 'run-1' \(host .*, pid {os.getpid()}\) since 20.*; its lease expires 20"
        with pytest.raises(LeaseHeldError, match=wanted), hold_lease(root, "run-2"):
            pass
        assert storage.children(root) == ["LEASE"]
        assert storage.read_bytes(f"{root}/LEASE") == before
        lease.check()


def test_an_error_in_the_run_still_releases(root: str) -> None:
    with pytest.raises(RuntimeError, match="boom"), hold_lease(root, "run-1"):
        raise RuntimeError("boom")
    with hold_lease(root, "run-2"):
        pass


@pytest.mark.parametrize("signal_number", [signal.SIGKILL])
def test_a_killed_process_is_taken_over_at_once(tmp_path: Path, signal_number: int) -> None:
    root = str(tmp_path / "demo")
    process = subprocess.Popen([sys.executable, "-c", HOLD, root], stdout=subprocess.PIPE, cwd=Path(__file__).parent.parent)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(LeaseHeldError, match=rf"run 'first' \(host .*, pid {process.pid}\)"), hold_lease(root, "second"):
            pass
    finally:
        process.send_signal(signal_number)
        process.wait()
        process.stdout.close()
    with hold_lease(root, "second") as lease:
        lease.check()
    assert storage.children(root) == []


TAKEN_OVER = {
    "expired elsewhere": {"expires": EXPIRED},
    "expired, and alive here": {"expires": EXPIRED, "host": socket.gethostname(), "pid": os.getppid()},
    "this process number, but not this process": {"host": socket.gethostname(), "pid": os.getpid()},
}


@pytest.mark.parametrize("given", TAKEN_OVER.values(), ids=TAKEN_OVER)
def test_a_dead_holder_is_taken_over(root: str, given: dict[str, Any]) -> None:
    storage.write_json(f"{root}/LEASE", content(**given))
    with hold_lease(root, "mine") as lease:
        lease.check()
        assert storage.read_json(f"{root}/LEASE")["run"] == "mine"


def test_a_process_of_this_host_that_is_gone_is_taken_over(root: str) -> None:
    storage.write_json(f"{root}/LEASE", content(host=socket.gethostname(), pid=dead_pid()))
    with hold_lease(root, "mine") as lease:
        lease.check()


NOT_TAKEN_OVER = {
    "elsewhere": {"pid": 999_999_999},
    "here, another user's or init": {"host": socket.gethostname(), "pid": 1},
    "here, our parent": {"host": socket.gethostname(), "pid": os.getppid()},
    "pid 0 is our own process group, not a process": {"host": socket.gethostname(), "pid": 0},
    "a negative pid is a group": {"host": socket.gethostname(), "pid": -5},
    "a pid too large for the system": {"host": socket.gethostname(), "pid": 2**70},
}


@pytest.mark.parametrize("given", NOT_TAKEN_OVER.values(), ids=NOT_TAKEN_OVER)
def test_a_holder_that_may_live_is_not_taken_over(root: str, given: dict[str, Any]) -> None:
    storage.write_json(f"{root}/LEASE", content(**given))
    with pytest.raises(LeaseHeldError, match="run 'other'"), hold_lease(root, "mine"):
        pass
    assert storage.read_json(f"{root}/LEASE")["run"] == "other"


def test_a_process_that_may_not_be_signalled_is_alive(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(pid: int, number: int) -> None:
        raise PermissionError

    storage.write_json(f"{root}/LEASE", content(host=socket.gethostname(), pid=dead_pid()))
    monkeypatch.setattr(os, "kill", refuses)
    with pytest.raises(LeaseHeldError, match="run 'other'"), hold_lease(root, "mine"):
        pass


@pytest.mark.parametrize("text", ["", "{", "[]", '{"run": "x"}', json.dumps(content(pid="7")), json.dumps(content(expires="soon"))])
def test_a_file_that_is_no_lease_is_left_alone(root: str, text: str) -> None:
    storage.write_bytes(f"{root}/LEASE", text.encode())
    with pytest.raises(LeaseHeldError, match=r"not a lease prefine wrote .* delete the file"), hold_lease(root, "mine"):
        pass
    assert storage.read_bytes(f"{root}/LEASE") == text.encode()


def test_of_many_that_wait_for_a_dead_holder_only_one_at_a_time_gets_in(tmp_path: Path) -> None:
    root = str(tmp_path / "demo")
    storage.write_json(f"{root}/LEASE", content(expires=EXPIRED))
    start, inside, won, lost = threading.Barrier(8), [], [], []

    def take(run: str) -> None:
        start.wait()
        try:
            with hold_lease(root, run) as lease:
                inside.append(run)
                assert inside == [run]
                time.sleep(0.3)
                lease.check()
                inside.remove(run)
                won.append(run)
        except LeaseHeldError:
            lost.append(run)

    threads = [threading.Thread(target=take, args=(f"run-{i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 7)
    assert storage.children(root) == []


def test_on_an_object_store_a_rival_that_replaces_our_file_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    root = "memory://lease/rival/demo"
    storage.write_json(f"{root}/LEASE", content(expires=EXPIRED))
    monkeypatch.setattr(lease_module.time, "sleep", lambda _: storage.write_json(f"{root}/LEASE", content(run="rival")))
    with pytest.raises(LeaseHeldError, match="run 'rival'"), hold_lease(root, "mine"):
        pass


def test_the_lease_is_renewed_while_the_run_works(root: str) -> None:
    with hold_lease(root, "mine", ttl_seconds=1.6) as lease:
        first = lease.holder.expires
        time.sleep(1.8)
        lease.check()
        assert lease.holder.expires > first
        with pytest.raises(LeaseHeldError, match="run 'mine'"), hold_lease(root, "second"):
            pass


def test_check_fails_when_the_file_is_gone(root: str) -> None:
    with hold_lease(root, "mine") as lease:
        storage.delete(f"{root}/LEASE")
        with pytest.raises(LeaseLostError, match=r"LEASE is gone; it was this run's \('mine'\)"):
            lease.check()


def test_check_fails_when_another_run_took_over_and_release_leaves_its_file(root: str) -> None:
    with hold_lease(root, "mine") as lease:
        storage.write_json(f"{root}/LEASE", content())
        with pytest.raises(LeaseLostError, match="is now held by run 'other'"):
            lease.check()
    assert storage.read_json(f"{root}/LEASE")["run"] == "other"


def test_a_second_run_of_the_same_name_is_another_run(root: str) -> None:
    with hold_lease(root, "mine") as lease:
        storage.write_json(f"{root}/LEASE", content(run="mine"))
        with pytest.raises(LeaseLostError, match="is now held by run 'mine'"):
            lease.check()


def test_failed_renewals_are_logged_and_check_fails_after_the_expiry(
    root: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(place: str, content: bytes) -> None:
        raise OSError("disk full")

    with caplog.at_level(logging.WARNING), hold_lease(root, "mine", ttl_seconds=0.8) as lease:
        monkeypatch.setattr(storage, "write_bytes", fails)
        lease.check()
        time.sleep(1.0)
        with pytest.raises(LeaseLostError, match="not renewed before"):
            lease.check()
    assert "cannot be renewed (disk full)" in caplog.text


def test_a_lease_that_was_taken_over_is_not_renewed_over_the_new_holder(root: str) -> None:
    with hold_lease(root, "mine", ttl_seconds=0.4):
        other = content()
        storage.write_json(f"{root}/LEASE", other)
        time.sleep(0.4)
        assert storage.read_json(f"{root}/LEASE") == other


def test_a_failed_release_does_not_hide_the_run(root: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def fails(place: str) -> None:
        raise OSError("gone away")

    with caplog.at_level(logging.WARNING), hold_lease(root, "mine"):
        monkeypatch.setattr(storage, "delete", fails)
    assert "cannot be removed (gone away)" in caplog.text
