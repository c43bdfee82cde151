"""EDGE: a small file that several processes may change: only who has seen its last state may replace it.

What holds where:

- **Local disks**: the look and the rename happen under a lock on the folder, so that of two processes of one machine, or of several on
  a disk that can lock, one wins and the other is told.
- **S3** (s3fs): a conditional put. The store itself refuses it when the file's ETag is another one by then (`If-Match`), or when there is
  a file by now (`If-None-Match: *`).
- **Other stores** (`memory://`, gs://, az://): a file is created conditionally where its client can (`storage.create_bytes`). It is
  replaced after a second look: what changes between that look and the put is lost. The lease keeps others away from that instant.
"""

import fcntl
import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fsspec.core import url_to_fs

from pipeline import storage

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Seen:
    """A small file as it was when we looked."""

    content: bytes | None  # None: there was none
    tag: str | None  # the store's own name for this state, else a hash of the content


def look(place: str) -> Seen:
    """Read a small file, and what names its state."""
    fs, path = url_to_fs(place)
    if _is_s3(fs):
        fs.invalidate_cache()
        try:
            before = str(fs.info(path, refresh=True)["ETag"])
            content = bytes(fs.cat_file(path))
        except FileNotFoundError:
            return Seen(None, None)
        # An ETag that is older than the content only makes the next put fail; it can never let a wrong one pass.
        return Seen(content, before)
    try:
        content = storage.read_bytes(place)
    except FileNotFoundError:
        return Seen(None, None)
    return Seen(content, hashlib.sha256(content).hexdigest())


def replace(place: str, content: bytes, seen: Seen) -> bool:
    """Write a small file if it still is as it was seen; False, and nothing is written, if it is not."""
    fs, path = url_to_fs(place)
    with alone(place):
        if seen.tag is None:
            return storage.create_bytes(place, content)
        if _is_s3(fs):
            try:
                fs.pipe_file(path, content, IfMatch=seen.tag)
            except FileNotFoundError:
                return False
            except OSError as error:
                if _refusal(error) in ("PreconditionFailed", "ConditionalRequestConflict"):
                    return False
                raise
            return True
        if look(place).tag != seen.tag:
            return False
        storage.write_bytes(place, content)
        return True


@contextmanager
def alone(place: str) -> Iterator[None]:
    """On local disks, keep others from changing the file between our look at it and our change.

    The lock is on the folder, so it leaves no file, and the system drops it when its process dies. It cannot be taken twice: no block
    inside another of the same folder.
    """
    if not storage.is_local(place):
        yield
        return
    folder = Path(url_to_fs(place)[1]).parent
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:  # some network disks cannot lock folders; creation is atomic all the same, and check() looks again
            log.debug("%s: no lock on this file system (%s)", folder, error)
        yield
    finally:
        os.close(handle)


def _is_s3(fs: object) -> bool:
    protocol = getattr(fs, "protocol", ())
    return "s3" in ((protocol,) if isinstance(protocol, str) else protocol)


def _refusal(error: BaseException | None) -> str | None:
    """The store's own word for why it refused a put, of the error that s3fs made of it."""
    while error is not None:
        answer = getattr(error, "response", None)
        if isinstance(answer, dict):
            return str(answer.get("Error", {}).get("Code"))
        error = error.__cause__ or error.__context__
    return None
