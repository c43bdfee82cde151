"""EDGE: one run at a time on a dataset.

`<dataset_root>/LEASE` says who holds it and until when; a thread renews it while the run works. A holder that died is
taken over: at once when it was a process of this machine, else when its lease has expired. Machines that share a dataset
need clocks that agree within a fraction of the lease's time.
"""

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta

from pipeline import storage
from pipeline.conditional import alone
from pipeline.errors import LeaseHeldError, LeaseLostError

log = logging.getLogger(__name__)
ATTEMPTS = 20  # a lease that changes hands more often than this while we look is a busy one
SETTLE_SECONDS = 1.0  # object stores: how long a rival that saw the same dead holder may take to act on it
_held_here: set[tuple[str, str, str]] = set()  # place, run, since: leases of this very process


@dataclass(frozen=True)
class Holder:
    """The content of a LEASE file; times are ISO 8601, UTC."""

    run: str
    host: str
    pid: int
    since: str
    expires: str

    def is_same_lease(self, other: "Holder | None") -> bool:
        """Whether both are one lease, renewed or not."""
        return other is not None and replace(other, expires=self.expires) == self

    def is_expired(self) -> bool:
        """Whether it should have been renewed by now."""
        return datetime.now(UTC) >= datetime.fromisoformat(self.expires)

    def to_bytes(self) -> bytes:
        """The file's content."""
        return (json.dumps(asdict(self), sort_keys=True) + "\n").encode()

    def __str__(self) -> str:
        return f"run {self.run!r} (host {self.host}, pid {self.pid}) since {self.since}; its lease expires {self.expires} unless renewed"


class Lease:
    """A lease that is held; `hold_lease` makes it."""

    def __init__(self, place: str, holder: Holder, ttl_seconds: float) -> None:
        """Start renewing.

        Args:
            place: the LEASE file.
            holder: what it says.
            ttl_seconds: each renewal lasts this long.
        """
        self.place, self.holder, self.ttl_seconds = place, holder, ttl_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._renew_until_stopped, name="prefine-lease", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Make sure that the lease is still this run's; call it right before publishing.

        Raises:
            LeaseLostError: the file is gone, holds another run, or was not renewed in time.
        """
        found = _read(self.place)
        if not self.holder.is_same_lease(found):
            now = "is gone" if found is None else f"is now held by {found}"
            raise LeaseLostError(f"{self.place} {now}; it was this run's ({self.holder.run!r}). Nothing is published; run again.")
        if self.holder.is_expired():
            raise LeaseLostError(
                f"{self.place}: not renewed before {self.holder.expires} (the machine slept, or storage failed), so another run may "
                "have begun. Nothing is published; run again."
            )

    def _renew_until_stopped(self) -> None:
        while not self._stop.wait(self.ttl_seconds / 4):
            try:
                if not self._renew():
                    return
            except Exception as error:  # whatever storage raises: the next turn tries again, check() knows the deadline
                log.warning("%s: cannot be renewed (%s); trying again", self.place, error)

    def _renew(self) -> bool:
        with alone(self.place):
            if not self.holder.is_same_lease(_read(self.place)) or self.holder.is_expired():
                log.warning("%s: the lease of run %r is lost", self.place, self.holder.run)
                return False
            renewed = replace(self.holder, expires=_after(self.ttl_seconds))
            storage.write_bytes(self.place, renewed.to_bytes())
            self.holder = renewed
        return True

    def release(self) -> None:
        """Stop renewing and remove the file if it is ours."""
        self._stop.set()
        self._thread.join()
        try:
            with alone(self.place):
                if self.holder.is_same_lease(_read(self.place)):
                    storage.delete(self.place)
        except Exception as error:  # must not hide the run's own outcome; the lease expires by itself
            log.warning("%s: cannot be removed (%s); it expires %s", self.place, error, self.holder.expires)


@contextmanager
def hold_lease(dataset_root: str, run: str, ttl_seconds: float = 60.0) -> Iterator[Lease]:
    """Hold the dataset's lease for the length of a block.

    Args:
        dataset_root: the dataset's folder or URL.
        run: this run's name.
        ttl_seconds: how long the lease outlives its last renewal; it is renewed four times as often.

    Raises:
        LeaseHeldError: another live run has it.
    """
    place = storage.join(dataset_root, "LEASE")
    since = datetime.now(UTC).isoformat()
    key = (place, run, since)
    _held_here.add(key)  # before the file says so: other threads judge our process number by it
    try:
        lease = Lease(place, _acquire(place, run, since, ttl_seconds), ttl_seconds)
        try:
            yield lease
        finally:
            lease.release()
    finally:
        _held_here.discard(key)


def _acquire(place: str, run: str, since: str, ttl_seconds: float) -> Holder:
    for _ in range(ATTEMPTS):
        with alone(place):
            mine = Holder(run, socket.gethostname(), os.getpid(), since, _after(ttl_seconds))
            if storage.create_bytes(place, mine.to_bytes()):
                return mine
            holder = _read(place)
            if holder is None:
                continue
            if not _is_dead(place, holder):
                raise LeaseHeldError(f"{place}: the dataset is being worked on by {holder}. Wait for it, or stop it.")
            log.warning("%s: taking over from %s, which is no longer alive", place, holder)
            if not holder.is_same_lease(_read(place)):
                continue
            storage.delete(place)
            if not storage.create_bytes(place, mine.to_bytes()):
                continue
        if not storage.is_local(place):
            # No lock there: a rival that judged the same holder dead may have deleted our file. The last one to create wins.
            time.sleep(min(SETTLE_SECONDS, ttl_seconds / 4))
            if not mine.is_same_lease(_read(place)):
                continue
        return mine
    raise LeaseHeldError(f"{place}: several runs are competing for the dataset. Try again later.")


def _read(place: str) -> Holder | None:
    try:
        content = storage.read_bytes(place)
    except FileNotFoundError:
        return None
    try:
        holder = Holder(**json.loads(content))
        datetime.fromisoformat(holder.expires).astimezone(UTC)
        if not isinstance(holder.pid, int):
            raise ValueError(f"pid {holder.pid!r}")
    except (ValueError, TypeError) as error:
        raise LeaseHeldError(f"{place}: not a lease prefine wrote ({error}). If no run works on the dataset, delete the file.") from error
    return holder


def _after(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def _is_dead(place: str, holder: Holder) -> bool:
    if holder.is_expired():
        return True
    if holder.host != socket.gethostname() or holder.pid <= 0:
        return False
    if holder.pid == os.getpid():  # a restarted container gives the next process the same number
        return (place, holder.run, holder.since) not in _held_here
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False
