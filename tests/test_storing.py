"""A store that refuses is told in one message; nothing is published, and what was half-written gives its room back."""

import errno
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import register_implementation

from flows import storing, versioning
from pipeline import publish, storage, versions
from pipeline.errors import LeaseLostError, PrefineError
from pipeline.lease import Lease, hold_lease
from tests.test_publish import publish_ids, write


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "rendered", lambda *_: {"README.md": b"card", "report.html": b"page"})
    monkeypatch.setattr(publish, "write_catalog", lambda *_: False)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let the system refuse what makes a file larger."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class Refusing(MemoryFileSystem):
    """A store that takes so many bytes more, or none at all."""

    protocol = "refusing"
    store: dict[str, Any] = {}  # noqa: RUF012 - as the class below it has them, of one's own
    pseudo_dirs = [""]  # noqa: RUF012
    left: int | None = None
    refusal = errno.ENOSPC

    def _take(self, size: int) -> None:
        if Refusing.left is not None:
            Refusing.left -= size
            if Refusing.left < 0:
                raise OSError(Refusing.refusal, "refused by the store")

    def put_file(self, lpath: str, rpath: str, **given: Any) -> None:
        self._take(Path(lpath).stat().st_size)
        super().put_file(lpath, rpath, **given)

    def pipe_file(self, path: str, value: bytes, **given: Any) -> None:
        self._take(len(value))
        super().pipe_file(path, value, **given)


@pytest.fixture
def remote() -> Iterator[str]:
    register_implementation("refusing", Refusing, clobber=True)
    Refusing.left = None
    Refusing.refusal = errno.ENOSPC
    yield "refusing://datasets/demo"
    Refusing.left = None
    storage.delete("refusing://datasets")


def publish_guarded(root: str, ids: list[str]) -> publish.Published:
    """As a run does it."""
    with storing.refusals_told(root), hold_lease(root, "run") as lease, storing.room_given_back(root, lease):
        return publish_ids(root, ids, before_publish=lease.check)


def test_a_full_disk_publishes_nothing_and_leaves_no_half_version(tmp_path: Path) -> None:
    root = str(tmp_path / "demo")
    publish_guarded(root, ["p1"])
    with (
        largest_file(20_000),
        pytest.raises(PrefineError, match=r"larger than the system allows .* Nothing was published; v000001 stays current\."),
    ):
        publish_guarded(root, [f"p{n}" for n in range(2000)])
    assert storage.children(root) == ["CURRENT", "v000001"]
    assert publish_guarded(root, ["p1", "p2"]).version == "v000002"


@pytest.mark.parametrize("room", [500, 30_000, 120_000])
def test_wherever_an_object_store_is_full_the_version_before_stays_current(remote: str, room: int) -> None:
    publish_guarded(remote, ["p1"])
    before = storage.read_bytes(f"{remote}/v000001/manifest.json")
    Refusing.left = room
    with pytest.raises(PrefineError, match=r"no space is left .* v000001 stays current\. Free some space \(`prefine gc`"):
        publish_guarded(remote, [f"p{n}" for n in range(2000)])
    Refusing.left = None
    assert versions.current_version(remote) == "v000001"
    assert versions.half_written(remote) == []
    assert storage.read_bytes(f"{remote}/v000001/manifest.json") == before
    assert publish_guarded(remote, ["p1", "p2"]).version == "v000002"


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_store_that_may_only_be_read_is_told_before_any_work(remote: str, number: int) -> None:
    Refusing.left, Refusing.refusal = 0, number
    with pytest.raises(
        PrefineError, match=r"demo: it (can only be read|may not be written) .* there was no version before\. Give this user"
    ):
        publish_guarded(remote, ["p1"])
    Refusing.left = None
    assert storage.children(remote) == []


def test_rollback_and_gc_say_it_too(remote: str) -> None:
    publish_guarded(remote, ["p1"])
    publish_guarded(remote, ["p1", "p2"])
    Refusing.left, Refusing.refusal = 0, errno.EROFS
    for change in (lambda: versioning.rollback(remote, "v000001"), lambda: versioning.collect(remote, 1)):
        with pytest.raises(PrefineError, match=r"it can only be read .* v000002 stays current"):
            change()
    Refusing.left = None
    assert versions.complete_versions(remote) == ["v000001", "v000002"]


def test_what_is_not_a_refusal_of_storage_is_passed_on(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no route"), storing.refusals_told(str(tmp_path)):
        raise OSError(errno.EHOSTUNREACH, "no route")


def test_with_the_lease_lost_what_is_half_written_is_left_to_its_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(tmp_path / "demo")
    write(root, "v000001", ["p1"])

    def lost(_: Lease) -> None:
        raise LeaseLostError("taken over")

    monkeypatch.setattr(Lease, "check", lost)
    with hold_lease(root, "run") as lease, pytest.raises(OSError, match="full"), storing.room_given_back(root, lease):
        raise OSError(errno.ENOSPC, "full")
    assert versions.half_written(root) == ["v000001"]
