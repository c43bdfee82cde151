"""What changes which versions there are, or which one readers get: rollback and gc. Both work under the dataset's lease."""

import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fsspec.core import url_to_fs

from flows import storing
from pipeline import publish, storage, versions
from pipeline.config import PipelineConfig
from pipeline.errors import NotFoundError, PrefineError
from pipeline.lease import hold_lease

WRITING_SECONDS = 60.0  # a lease lasts that long after its last renewal: who wrote a file later may still be at work


def rollback(dataset_root: str, version: str) -> str | None:
    """Make another complete version current; returns the one that was.

    The next run compares its result with the version that is current then. What it makes anew gets a new, higher name, even if a
    version that was left holds the same: a version that a person has left never becomes current again by itself.

    Raises:
        NotFoundError: no such complete version.
        PrefineError: the version has lost a file, or a file has another size; or the store may only be read.
        LeaseHeldError: a run is working on the dataset.
        LeaseLostError: CURRENT was moved by somebody else meanwhile.
    """
    with storing.refusals_told(dataset_root), hold_lease(dataset_root, f"rollback-{uuid.uuid4().hex[:6]}") as lease:
        versions.check_files(storage.join(dataset_root, version), versions.read_manifest(dataset_root, version))
        current, seen = versions.look_at_current(dataset_root)
        if current != version:
            versions.record_rollback(dataset_root, current, version)
            lease.check()
            versions.move_current(dataset_root, version, seen)
        publish.write_catalog(dataset_root, version)
        return current


@dataclass(frozen=True)
class Fate:
    """What gc does with one version folder, and why."""

    name: str
    goes: bool
    why: str
    bytes: int


def collectable(dataset_root: str, keep: int, config: PipelineConfig | None = None, base: str = ".") -> list[Fate]:
    """What `collect` would delete and keep, oldest first; nothing is deleted.

    Args:
        dataset_root: the dataset's folder or URL.
        keep: the newest complete versions that stay, at least 1; the current one stays besides.
        config: the dataset's config, whose own `{version: ...}` sources stay too.
        base: the folder that the config's paths are relative to.
    """
    current = versions.current_version(dataset_root)
    complete = versions.complete_versions(dataset_root)
    newest, needed = set(complete[-keep:]), _needed(dataset_root, config, base)
    fates = []
    for name in complete:
        reason = "is current" if name == current else f"is one of the newest {keep}" if name in newest else needed.get(name)
        fates.append(Fate(name, reason is None, reason or f"is older than the newest {keep}", _bytes(dataset_root, name)))
    for name in versions.half_written(dataset_root):
        idle = _idle_seconds(storage.join(dataset_root, name))
        why = f"is half-written; nothing was written to it for {idle:,.0f} s"
        fates.append(Fate(name, idle > WRITING_SECONDS, why, _bytes(dataset_root, name)))
    return sorted(fates, key=lambda fate: int(fate.name[1:]))


def collect(dataset_root: str, keep: int, config: PipelineConfig | None = None, base: str = ".") -> list[Fate]:
    """Delete what `collectable` names; returns everything it looked at.

    A version loses its manifest first, so that what a crash leaves is a folder that no reader takes for a version.

    Raises:
        LeaseHeldError: a run is working on the dataset.
        LeaseLostError: the lease was lost on the way; what was not deleted yet stays.
    """
    with storing.refusals_told(dataset_root), hold_lease(dataset_root, f"gc-{uuid.uuid4().hex[:6]}") as lease:
        fates = collectable(dataset_root, keep, config, base)
        for fate in fates:
            if fate.goes:
                lease.check()
                storage.delete(storage.join(dataset_root, fate.name, "manifest.json"))
                storage.delete(storage.join(dataset_root, fate.name))
        current = versions.current_version(dataset_root)
        if current is not None and any(fate.goes for fate in fates):
            publish.write_catalog(dataset_root, current)  # it may compare with a version that is gone
        return fates


def _bytes(dataset_root: str, name: str) -> int:
    return sum(versions.stored_files(storage.join(dataset_root, name)).values())


def _idle_seconds(folder: str) -> float:
    """Seconds since the last write to a file below a folder; of an empty folder: for ever."""
    fs, root = url_to_fs(folder)
    written = [_aware(fs.modified(storage.join(str(root), path))) for path in versions.stored_files(folder)]
    return (datetime.now(UTC) - max(written)).total_seconds() if written else float("inf")


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _needed(dataset_root: str, config: PipelineConfig | None, base: str) -> dict[str, str]:
    """Versions of this dataset from which others were curated, or would be: name and reason.

    A source `{version: ...}` reads `<dataset>/<version>/judgements/`, which the manifest of what was made of it names among its inputs.
    """
    datasets, _, dataset = dataset_root.rstrip("/").rpartition("/")
    votes = re.compile(rf"(?:^|/){re.escape(dataset)}/(v\d{{6,}})/judgements/")
    needed = dict[str, str]()
    for other in storage.children(datasets):
        for version in versions.complete_versions(storage.join(datasets, other)):
            for place in _inputs(storage.join(datasets, other), version):
                if found := votes.search(place):
                    needed.setdefault(found[1], f"was curated again into {other} {version}")
    for source in config.sources if config is not None else ():
        if source.version is None:
            continue
        place = storage.resolve(source.version, base).rstrip("/")
        if place.startswith(f"{dataset_root.rstrip('/')}/"):
            needed.setdefault(place.rpartition("/")[2], f"is the source {source.name!r} of the config")
    return needed


def _inputs(dataset_root: str, version: str) -> list[str]:
    try:
        inputs: list[dict[str, Any]] = versions.read_manifest(dataset_root, version).get("inputs", [])
    except NotFoundError:
        return []  # collected by somebody else since it was listed
    except PrefineError as error:
        raise PrefineError(f"{error} gc deletes nothing as long as it cannot tell which versions this one was curated from.") from error
    return [str(row.get("source_uri", "")) for row in inputs]
