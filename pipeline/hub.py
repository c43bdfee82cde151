"""What of a version may leave the house: its manifest and tables without the places, rows and texts that stay.

Places (paths, buckets, servers of one's own) say where somebody works and for whom. Texts that are not published were dropped for a
reason, and may be personal. Public URLs stay: they say where data comes from.
"""

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import polars as pl
import pyarrow as pa

from pipeline.schemas import MESSAGES

WITHHELD = "(not published)"
PUBLIC_PARTS = ("train", "validation", "test", "other")
_PLACES = frozenset({"uri", "version", "base_url", "workspace", "address", "source_uri", "key_env"})  # keys whose values say where
_DROPPED_KEYS = ("workspace", "schedule", "runner")  # of the config: they say how one house works, and nothing about the data
_PATH = re.compile(r"(?:[/~\\]|\.{1,2}[/\\]|[A-Za-z]:[/\\]|[a-z][a-z0-9+.-]*://).*", re.DOTALL)
_TEXTS = frozenset({"context", "tools", "text", "items", "rationale", "extra", "raw", "detail", "unreadable"})


@dataclass
class PublicManifest:
    """A manifest for everyone.

    Attributes:
        manifest: what is written.
        files: names of input files as published -> as everyone sees them.
        hidden: the places taken out; none may be found in anything that leaves.
        taken_out: what was taken out, in words.
    """

    manifest: dict[str, Any]
    files: dict[str, str] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)
    taken_out: list[str] = field(default_factory=list)


def public_manifest(manifest: dict[str, Any], parts: tuple[str, ...]) -> PublicManifest:
    """A manifest without places of one's own, for a copy that holds some parts only.

    Args:
        manifest: as published.
        parts: what the copy holds; `files` and nothing else is cut to it.
    """
    found = PublicManifest({})
    numbers: dict[str, int] = {}
    for row in manifest["inputs"]:
        number = numbers[row["source"]] = numbers.get(row["source"], 0) + 1
        name = str(row["source_uri"])
        found.files[name] = name if _is_public(name) else f"{row['source']}, file {number}"
        if name != found.files[name]:
            found.hidden.add(name)
    config = {key: value for key, value in manifest["config"].items() if key not in _DROPPED_KEYS}
    found.hidden |= {value for key in _DROPPED_KEYS if isinstance(value := manifest["config"].get(key), str)}
    others = {key: value for key, value in manifest.items() if key not in ("files", "inputs", "config", "counts", "rules", "documents")}
    found.manifest = {
        **_without_places(others, found.hidden),
        "config": _without_places(config, found.hidden),
        "counts": manifest["counts"],
        "rules": manifest["rules"],
        "inputs": [{**row, "source_uri": found.files[str(row["source_uri"])], "unreadable": _told(row)} for row in manifest["inputs"]],
        "files": [file for file in manifest["files"] if _part(file) in parts],
    }
    named = sum(name != shown for name, shown in found.files.items())
    if named:
        found.taken_out.append(f"names of {named} input file(s): they are `<source>, file <number>`, with size and hash")
    found.taken_out.append("places in the config: workspace, schedule, local paths, buckets, servers")
    left = sorted({_part(file) for file in manifest["files"]} - set(parts))
    if left:
        found.taken_out.append(f"{', '.join(left)}: rows as they were read or refused, and who judged; --everything adds them")
    return found


def without_texts(rows: pa.Table, files: dict[str, str]) -> pa.Table:
    """Rows of any part with every text and place replaced; numbers, ids, verdicts and reasons stay.

    Args:
        rows: of one schema of `pipeline.schemas`.
        files: names of input files -> as everyone sees them.
    """
    if not rows.num_rows:
        return rows
    withheld = pa.scalar([{"role": "user", "content": WITHHELD}], MESSAGES)
    for position, column in enumerate(rows.schema):
        if column.type == MESSAGES:
            values: Any = pa.repeat(withheld, rows.num_rows)
        elif column.name == "source_uri":
            shown = pl.Series(rows.column(position).to_pylist(), dtype=pl.String).replace_strict(files, default=WITHHELD) if files else None
            values = pa.repeat(pa.scalar(WITHHELD), rows.num_rows) if shown is None else shown.to_arrow().cast(pa.string())
        elif column.name in _TEXTS and column.nullable:
            values = pa.nulls(rows.num_rows, column.type)
        else:
            continue
        rows = rows.set_column(position, column, values)
    return rows


def found_in(text: str, hidden: set[str]) -> list[str]:
    """Which hidden places a text holds; names without a folder are too common to tell."""
    return sorted(place for place in hidden if len(place) > 3 and re.search(r"[/\\]", place) and place in text)


def _told(row: dict[str, Any]) -> str | None:
    return None if row.get("unreadable") is None else "could not be read to its end"


def _part(file: dict[str, Any]) -> str:
    return str(file["path"]).rsplit("/", 1)[-1].split("-")[0]


def _without_places(value: Any, hidden: set[str], key: str = "") -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        return {
            (_without_places(name, hidden) if _PATH.fullmatch(name) else name): _without_places(item, hidden, name)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [_without_places(item, hidden, key) for item in value]
    if isinstance(value, str) and (key in _PLACES or _PATH.fullmatch(value)) and not _is_public(value):
        hidden.add(value)
        return WITHHELD
    return value


def _is_public(place: str) -> bool:
    """Whether a place is a URL that anybody may read: hf://, or http(s) on a host with a public name."""
    parts = urlsplit(place)
    if parts.scheme == "hf":
        return True
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or "." not in host or host.endswith((".local", ".internal", ".lan", ".corp", ".home")):
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return False
