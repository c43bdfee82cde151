"""When storage refuses: a full disk, a store that may only be read. One message, nothing published, and the room given back."""

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline import storage, versions
from pipeline.errors import PrefineError
from pipeline.lease import Lease

log = logging.getLogger("prefine.storing")
_FULL = "Free some space (`prefine gc` lists old versions)"
_REFUSED = "Give this user the right to write there, or name another `workspace:`"
_REASONS = {
    errno.ENOSPC: ("no space is left", _FULL),
    errno.EDQUOT: ("the quota is used up", _FULL),
    errno.EFBIG: ("a file would be larger than the system allows", "Raise the limit (`ulimit -f`), or lower `publish.rows_per_shard`"),
    errno.EROFS: ("it can only be read", _REFUSED),
    errno.EACCES: ("it may not be written", _REFUSED),
    errno.EPERM: ("it may not be written", _REFUSED),
}


@contextmanager
def refusals_told(dataset_root: str) -> Iterator[None]:
    """Turn what storage refuses inside the block into a message for people.

    Raises:
        PrefineError: the disk is full, or may not be written.
    """
    try:
        yield
    except OSError as error:
        number = errno.EACCES if isinstance(error, PermissionError) else error.errno
        if number not in _REASONS:
            raise
        reason, advice = _REASONS[number]
        current = versions.current_version(dataset_root)
        kept = f"{current} stays current" if current is not None else "there was no version before"
        raise PrefineError(
            f"{error.filename or dataset_root}: {reason} ({error.strerror or error}). Nothing was published; {kept}. {advice}, then run "
            "again: what was computed and stored is not done again."
        ) from error


@contextmanager
def room_given_back(dataset_root: str, lease: Lease) -> Iterator[None]:
    """Remove the half-written version when storage refuses inside the block: the next run needs its room before it would look.

    Raises:
        OSError: as raised inside.
    """
    try:
        yield
    except OSError:
        try:
            lease.check()  # with the lease lost, what is half-written may be somebody else's
            for name in versions.half_written(dataset_root):
                storage.delete(storage.join(dataset_root, name))
        except (OSError, PrefineError) as error:
            log.warning("%s: what is half-written there could not be removed (%s); the next run does", dataset_root, error)
        raise
