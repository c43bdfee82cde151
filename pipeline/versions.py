"""EDGE: the versions of a dataset: which there are, which is current, and whether one is whole.

A folder with a manifest is a complete version; one without is what a crash left, or a run is writing it. CURRENT holds the name of
the version that readers get; `pipeline.conditional` says what keeps two writers of it apart on which store. ROLLBACK, where there is
one, says that a person has chosen an older version: versions up to its `newest` never become current again by themselves.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fsspec.core import url_to_fs

from pipeline import conditional, storage
from pipeline.errors import LeaseLostError, NotFoundError, PrefineError

VERSION_NAME = re.compile(r"v\d{6,}")
SHORT_NAME = re.compile(r"v[0-9]{1,5}")  # how people say it
NAMED_AT_MOST = 20  # files in a message


def current_version(dataset_root: str) -> str | None:
    """The name of the version that readers get; None before the first.

    Raises:
        PrefineError: CURRENT holds something else than a version's name.
    """
    return look_at_current(dataset_root)[0]


def full_name(dataset_root: str, asked: str | None) -> str:
    """The version that somebody asks for: v2 is v000002, and nothing is the current one. Whether it exists is seen when it is read.

    Raises:
        NotFoundError: nothing is asked for, and nothing is published.
    """
    if asked is not None:
        return f"v{int(asked[1:]):06d}" if SHORT_NAME.fullmatch(asked) else asked
    current = current_version(dataset_root)
    if current is None:
        raise NotFoundError(f"{dataset_root}: nothing is published there yet. `prefine run CONFIG` publishes a first version.")
    return current


def look_at_current(dataset_root: str) -> tuple[str | None, conditional.Seen]:
    """The current version, and the state of CURRENT that said so: `move_current` wants both.

    Raises:
        PrefineError: CURRENT holds something else than a version's name.
    """
    place = storage.join(dataset_root, "CURRENT")
    seen = conditional.look(place)
    if seen.content is None:
        return None, seen
    name = seen.content.decode("utf-8", "replace").strip()
    if not VERSION_NAME.fullmatch(name):
        raise PrefineError(f"{place}: expected a version such as v000001, found {name[:80]!r}. Write the newest version's name there.")
    return name, seen


def move_current(dataset_root: str, version: str, seen: conditional.Seen) -> None:
    """Let readers get another version, if CURRENT is still as it was seen.

    Raises:
        LeaseLostError: another publisher has moved it since.
    """
    place = storage.join(dataset_root, "CURRENT")
    if not conditional.replace(place, f"{version}\n".encode(), seen):
        now = current_version(dataset_root)
        raise LeaseLostError(f"{place}: was moved to {now} by another publisher meanwhile; {version} does not become current. Run again.")


def read_manifest(dataset_root: str, version: str) -> dict[str, Any]:
    """A version's manifest.

    Raises:
        NotFoundError: no such complete version.
        PrefineError: the manifest is not readable.
    """
    place = storage.join(dataset_root, version, "manifest.json")
    if not VERSION_NAME.fullmatch(version) or not storage.exists(place):
        names = [n for n in storage.children(dataset_root) if VERSION_NAME.fullmatch(n)]
        raise NotFoundError(f"{dataset_root}: no version {version!r}; there {'are' if names else 'is'} {', '.join(names) or 'none yet'}.")
    return manifest_in(storage.join(dataset_root, version))


def manifest_in(folder: str) -> dict[str, Any]:
    """The manifest in a version's folder, which may have been copied under any name.

    Raises:
        PrefineError: the manifest is not readable.
    """
    place = storage.join(folder, "manifest.json")
    try:
        manifest = storage.read_json(place)
    except ValueError as error:
        raise PrefineError(f"{place}: not valid JSON ({error}). Restore it from a copy, or delete this version's folder.") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), list):
        raise PrefineError(
            f"{place}: expected an object with `files`; this is no manifest of prefine. Restore it from a copy, or delete this "
            "version's folder."
        )
    return manifest


def manifest_paths(folder: str, manifest: dict[str, Any]) -> list[str]:
    """The manifest's data files, relative to the version folder, each proven to lie inside it.

    Raises:
        PrefineError: a path that is absolute, a URL, climbs with `..`, or leaves the folder through a link.
    """
    paths = [str(entry["path"]) for entry in manifest["files"]]
    home = Path(url_to_fs(folder)[1]).resolve() if storage.is_local(folder) else None
    for path in paths:
        parts = path.split("/")
        plain = all(p not in ("", ".", "..") for p in parts) and not any(c in path for c in ("\\", ":", "\0"))
        if not plain or (home is not None and not (home / path).resolve().is_relative_to(home)):
            raise PrefineError(f"{folder}/manifest.json: the path {path!r} leaves the version folder; refusing to read it.")
    return paths


def check_files(folder: str, manifest: dict[str, Any]) -> None:
    """Make sure that every file of a version is there with the size that was published. Costs one listing, reads no file.

    What has the right size and other bytes is found where it is read (pages carry checksums), or by `prefine verify`.

    Args:
        folder: the version's folder or URL.
        manifest: its manifest.

    Raises:
        PrefineError: a file is missing or has another size; every such file is named.
    """
    manifest_paths(folder, manifest)  # a path that leaves the folder is refused before anything is looked at
    there = stored_files(folder)
    found = []
    for entry in manifest["files"]:
        path, size = str(entry["path"]), there.get(str(entry["path"]))
        if size is None:
            found.append(f"{path} is missing")
        elif "bytes" in entry and size != entry["bytes"]:
            found.append(f"{path} has {size:,} bytes instead of {entry['bytes']:,}")
    if found:
        more = f", and {len(found) - NAMED_AT_MOST} more" if len(found) > NAMED_AT_MOST else ""
        raise PrefineError(
            f"{folder}: {'; '.join(found[:NAMED_AT_MOST])}{more}. The version is not read. Put the files back from a copy, "
            "or go to another version (`prefine versions`, `prefine rollback VERSION`)."
        )


def stored_files(folder: str) -> dict[str, int]:
    """Every file below a folder: its path relative to it, and its bytes."""
    fs, path = url_to_fs(folder)
    fs.invalidate_cache()
    start = str(path).rstrip("/") + "/"
    found = fs.find(str(path), withdirs=False, detail=True)
    return {str(name).removeprefix(start): int(info["size"] or 0) for name, info in sorted(found.items())}


def content_sha256(files: list[dict[str, Any]]) -> str:
    """One hash over the data files: their sorted paths and hashes."""
    lines = sorted(f"{file['path']} {file['sha256']}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def complete_versions(dataset_root: str) -> list[str]:
    """The versions with a manifest, oldest first."""
    return [name for name in _folders(dataset_root) if storage.exists(storage.join(dataset_root, name, "manifest.json"))]


def half_written(dataset_root: str) -> list[str]:
    """Version folders without a manifest: what a crash left, or what a run is writing now. No reader sees them."""
    return [name for name in _folders(dataset_root) if not storage.exists(storage.join(dataset_root, name, "manifest.json"))]


def _folders(dataset_root: str) -> list[str]:
    return sorted((name for name in storage.children(dataset_root) if VERSION_NAME.fullmatch(name)), key=lambda name: int(name[1:]))


@dataclass(frozen=True)
class Version:
    """A complete version, as its manifest tells it.

    Attributes:
        name: e.g. v000001.
        created_at: ISO 8601, UTC.
        rows: rows of each part that has a file.
        bytes: of its data files.
        content_sha256: the hash over its data files.
        is_current: whether readers get it.
        problem: why no reader gets it: files are missing or have another size, or the manifest cannot be read (the numbers are then 0).
    """

    name: str
    created_at: str
    rows: dict[str, int]
    bytes: int
    content_sha256: str
    is_current: bool
    problem: str | None = None


def versions(dataset_root: str) -> list[Version]:
    """Every complete version, oldest first."""
    current = current_version(dataset_root)
    return [_described(dataset_root, name, name == current) for name in complete_versions(dataset_root)]


def _described(dataset_root: str, name: str, is_current: bool) -> Version:
    try:
        manifest = read_manifest(dataset_root, name)
    except PrefineError as error:
        return Version(name, "", {}, 0, "", is_current, str(error))
    rows = dict[str, int]()
    for file in manifest["files"]:
        part = str(file["path"]).rsplit("/", 1)[-1].split("-")[0]
        rows[part] = rows.get(part, 0) + int(file["rows"])
    size = sum(int(file["bytes"]) for file in manifest["files"])
    try:
        check_files(storage.join(dataset_root, name), manifest)
        problem = None
    except PrefineError as error:
        problem = str(error)
    return Version(name, str(manifest.get("created_at", "")), rows, size, str(manifest.get("content_sha256", "")), is_current, problem)


def held_back(dataset_root: str) -> str | None:
    """The newest version there was when a person last went back to an older one; None: nobody has.

    Raises:
        PrefineError: ROLLBACK is not what `record_rollback` writes.
    """
    place = storage.join(dataset_root, "ROLLBACK")
    if not storage.exists(place):
        return None
    try:
        newest = str(storage.read_json(place)["newest"])
    except (ValueError, KeyError, TypeError) as error:
        raise PrefineError(f"{place}: expected what `prefine rollback` writes ({error}). Roll back again, or delete the file.") from error
    return newest


def record_rollback(dataset_root: str, left: str | None, version: str) -> None:
    """Remember that a person went from one version to another, so that no run takes up again by itself what was left."""
    newest = complete_versions(dataset_root)[-1]
    told = {"from": left, "to": version, "newest": newest, "at": datetime.now(UTC).isoformat(timespec="seconds")}
    storage.write_json(storage.join(dataset_root, "ROLLBACK"), told)
