"""EDGE: places, and which data files one names. A place is a string: a local path or an fsspec URL."""

import fnmatch
import logging
import posixpath
import re
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import fsspec
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from pipeline.errors import ConfigError

log = logging.getLogger("prefine.places")

DATA_ENDINGS: Final = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".feather", ".ipc")
PACKED_ENDINGS: Final = (".gz", ".bz2", ".xz", ".zst", ".zstd")
# What lies beside data and is none. A glob that spells out such an ending means it.
_NO_DATA_NAMES: Final = frozenset(
    {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "license", "readme", "notice", "makefile", "_success"}
)
_NO_DATA_ENDINGS: Final = (
    ".md", ".rst", ".txt", ".html", ".pdf", ".log", ".cff", ".bib", ".py", ".ipynb", ".sh", ".yaml", ".yml", ".toml", ".lock", ".png",
    ".jpg", ".jpeg", ".gif", ".svg", ".webp", ".mp3", ".mp4", ".wav", ".bin", ".pt", ".pth", ".safetensors", ".npy", ".npz", ".pkl",
    ".crc", ".md5", ".sha256",
)  # fmt: skip
# What signs a URL, as object stores spell it: `sig=`, `X-Amz-Signature=`, `access_token=` ...
_SIGNED: Final = re.compile(r"(?i)([?&][^=&\s]*(?:sig|token|key|credential|secret|password)[^=&\s]*=)[^&#\s]+")
_NAMED_AT_MOST: Final = 10  # files left out, in a message


@dataclass
class Listing:
    """What a place names.

    Attributes:
        files: (absolute place, name as published, bytes), sorted by name; bytes of a zip member are those it unpacks to.
        left_out: names of files there that are not read: no known data ending, or no data by their name.
    """

    files: list[tuple[str, str, int]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def resolve(place: str, base: str | Path) -> str:
    """An absolute place: URLs as they are, paths from `base`."""
    if "://" in place or place.startswith("memory:"):
        return place
    return str((Path(base) / Path(place).expanduser()).resolve())


def without_credentials(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """A value with `user:password@` and signatures taken out of every URL in it: what is published must not hold secrets."""
    if isinstance(value, str):
        return _SIGNED.sub(r"\1...", re.sub(r"://[^/@\s]+@", "://", value))
    if isinstance(value, dict):
        return {key: without_credentials(item) for key, item in value.items()}
    return [without_credentials(item) for item in value] if isinstance(value, list) else value


def list_files(uri: str, base: str | Path) -> list[tuple[str, str, int]]:
    """The data files a path, glob, folder, zip archive or URL names: (absolute place, name as published, bytes), sorted by name.

    The published name is the place relative to `base` where it lies below it, so that the ledger of a project that is
    moved or cloned stays the same. A member of a zip archive is `archive.zip/member`, also as `uri`.

    Raises:
        ConfigError: nothing is there.
    """
    found = look(uri, base)
    if not found.files:
        others = f"; left out: {_some(found.left_out)}" if found.left_out else ""
        raise ConfigError(
            f"{uri}: no data files there (looked at {resolve(uri, base)}{others}; endings read: {', '.join(DATA_ENDINGS)}, "
            f"each also as {', '.join(PACKED_ENDINGS)} or in a .zip)."
        )
    if found.left_out:
        log.info("%s: %d files are no data and left out: %s", uri, len(found.left_out), _some(found.left_out))
    return found.files


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED_AT_MOST} more" if len(names) > _NAMED_AT_MOST else ""
    return ", ".join(names[:_NAMED_AT_MOST]) + more


def look(uri: str, base: str | Path) -> Listing:
    """The data files that a path, glob, folder, zip archive or URL names, and what lies there and is not read.

    A file that is named is always listed. In a folder those with a data ending are, in a glob all that are not known to be
    no data; hidden ones never. An archive stands for its members; one that cannot be opened for itself, as unreadable.
    """
    place = resolve(uri, base)
    listing = Listing()
    archive, _, wanted = _split_archive(place, base)
    if archive is not None:
        _add_members(listing, archive, base, wanted)
    else:
        for one in _candidates(place, listing, base):
            if not (one.lower().endswith(".zip") and _add_members(listing, one, base, None)):
                listing.files.append((one, _published_name(one, base), _size(one)))
    listing.files.sort(key=lambda file: (file[1], file[0]))
    listing.left_out.sort()
    return listing


def _size(place: str) -> int:
    fs, path = url_to_fs(place)
    try:
        return int(fs.size(path) or 0)
    except FileNotFoundError:
        return 0  # a link to nothing: reading it says so


def _candidates(place: str, listing: Listing, base: str | Path) -> list[str]:
    """The files to list, archives among them, as absolute places."""
    fs, path = url_to_fs(place)
    fs.invalidate_cache()
    local = isinstance(fs, LocalFileSystem)
    if any(c in path for c in "*?[") and not fs.exists(path):
        found = [str(p) for p in fs.glob(path) if fs.isfile(p)]
        last = path.rsplit("/", 1)[-1].lower()
        spelled = re.split(r"[*?\[]", path)[0]
        found = [p for p in found if not _hidden(_below(p, spelled))]
        read = {p: _may_be_data(p, last) for p in found}
    elif fs.isdir(path):
        below = len(path.rstrip("/"))
        found = [str(p) for p in fs.find(path) if not _hidden(str(p)[below:])]
        read = {p: _is_data(p) and not (local and _is_pipe(p)) for p in found}
    else:
        read = {path: True} if fs.exists(path) else {}
    places = {p: p if local else str(fs.unstrip_protocol(p)) for p in read}
    listing.left_out += [_published_name(places[p], base) for p, wanted in read.items() if not wanted]
    return [places[p] for p, wanted in read.items() if wanted]


def _below(path: str, spelled: str) -> str:
    """What of a file's path a glob leaves open: not the rest of a name of which it spells out the beginning, `.jsonl` after `votes*`."""
    rest = path[len(spelled) :]
    return rest if spelled.endswith("/") else rest.partition("/")[2]


def _is_pipe(path: str) -> bool:
    """Whether reading it may wait for ever: a pipe, a socket, a device."""
    return Path(path).exists() and not Path(path).is_file()


def _hidden(path: str) -> bool:
    return any((part.startswith(".") and part not in {".", ".."}) or part == "__MACOSX" for part in path.split("/"))


def _is_data(path: str) -> bool:
    name = path.rsplit("/", 1)[-1].lower()
    for packed in PACKED_ENDINGS:
        name = name.removesuffix(packed)
    return name.endswith((*DATA_ENDINGS, ".zip")) and name not in _NO_DATA_NAMES


def _may_be_data(path: str, pattern: str) -> bool:
    name = path.rsplit("/", 1)[-1].lower()
    if name in _NO_DATA_NAMES:
        return name == pattern
    return not any(name.endswith(ending) and not pattern.endswith(ending) for ending in _NO_DATA_ENDINGS)


def _split_archive(place: str, base: str | Path) -> tuple[str | None, str, str]:
    """The archive and the member (or glob) that a place names inside it; no archive where it names none."""
    if place.startswith("zip://"):
        member, _, archive = place.removeprefix("zip://").rpartition("::")
        return resolve(archive, base), "/", member
    before, dot_zip, member = re.split(r"(\.zip)/", place, maxsplit=1, flags=re.IGNORECASE) if ".zip/" in place.lower() else (place, "", "")
    fs, path = url_to_fs(before + dot_zip)
    return (before + dot_zip, "/", member) if member and fs.isfile(path) else (None, "", "")


def _add_members(listing: Listing, archive: str, base: str | Path, wanted: str | None) -> bool:
    """List the members of an archive (only the one of that name, or those that match); False when it cannot be opened."""
    name = _published_name(archive, base)
    try:
        with fsspec.open(archive, "rb") as file, zipfile.ZipFile(file) as opened:
            found = {info.filename: info.file_size for info in opened.infolist() if not info.is_dir()}
    except (zipfile.BadZipFile, OSError):
        return False  # reading it says why
    for member, size in found.items():
        inside = posixpath.normpath("/" + member).lstrip("/")
        if wanted is not None and member != wanted and not fnmatch.fnmatchcase(inside, wanted):
            continue
        if member == wanted or (_is_data(member) and not _hidden(member) and not member.lower().endswith(".zip")):
            if not member.startswith("/") and "::" not in member:
                listing.files.append((f"zip://{member}::{archive}", f"{name}/{inside}", size))
                continue
        elif _hidden(member):
            continue
        listing.left_out.append(f"{name}/{inside}")
    return True


def _published_name(place: str, base: str | Path) -> str:
    if not isinstance(url_to_fs(place)[0], LocalFileSystem):
        return str(without_credentials(place))
    try:
        return Path(place).relative_to(Path(base).resolve()).as_posix()
    except ValueError:
        return place
