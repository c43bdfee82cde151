"""The files that sources are joined to: which they are, and which of their rows were of no use."""

import os
from pathlib import Path
from typing import Any

from pipeline import ingest, storage
from pipeline.config import SourceConfig
from pipeline.errors import ConfigError
from pipeline.ingest import JoinedFile, Joins

Files = list[tuple[str, str, int]]


def joined_files(source: SourceConfig, base: str | Path) -> tuple[tuple[JoinedFile, ...], ...]:
    """For each entry of a source's `join:` its files; none where the entry reads the path.

    Raises:
        ConfigError: nothing is there.
    """
    return tuple(tuple(JoinedFile(*one) for one in storage.list_files(join.uri, base)) if join.uri else () for join in source.join)


def main_files(source: SourceConfig, files: Files, joined: tuple[tuple[JoinedFile, ...], ...]) -> Files:
    """The files whose rows are the source's: those at its `uri` that it is not joined to.

    Raises:
        ConfigError: none is left, or one of several is to be joined row by row.
    """
    places = {_resolved(one.place) for some in joined for one in some}
    left = [file for file in files if _resolved(file[0]) not in places]
    if files and not left:
        raise ConfigError(
            f"source {source.name!r}: every file at {source.uri} is one that it is joined to; expected one with rows of its own. "
            "Change its `uri:`."
        )
    for join, some in zip(source.join, joined, strict=True):
        if join.by == "row" and (len(left) > 1 or len(some) > 1):
            raise ConfigError(
                f"source {source.name!r}: `by: row` goes from one file to one file; {source.uri} has {len(left)}, {join.uri} {len(some)}. "
                "Write a source for each two files, or join `on:` a key."
            )
    return left


def _resolved(place: str) -> str:
    return os.path.realpath(place) if storage.is_local(place) else place


def used_rows(joined: Joins, source: str, scratch: str, number: int) -> list[dict[str, Any]]:
    """What a task asked for of each joined file: a row of `account_joined` each.

    Args:
        joined: after the task's files were read.
        source: its name.
        scratch: folder that the marks are written to.
        number: tells the tasks of a source apart.
    """
    rows = []
    for position, one in enumerate(joined.files()):
        marks = storage.join(scratch, "joined", source, f"{number:06d}-{position:03d}.parquet")
        storage.write_table(one.used.to_frame("used"), marks)
        rows.append(_about(source, one.file) | {"rows": one.rows, "marks": marks})
    return rows


def unread_rows(files: tuple[tuple[JoinedFile, ...], ...], source: str, why: str) -> list[dict[str, Any]]:
    """The same where a file could not be read to its end."""
    each = {one.place: one for some in files for one in some}
    return [_about(source, one) | {"rows": 0, "marks": None, "unreadable": why if one.place in why else None} for one in each.values()]


def _about(source: str, file: JoinedFile) -> dict[str, Any]:
    return {"source": source, "source_uri": file.name, "place": file.place, "bytes": file.bytes, "unreadable": None}


def account_joined(parts: list[dict[str, Any]], limited: bool) -> list[dict[str, Any]]:
    """INPUT rows of the joined files, from what all tasks asked for.

    Args:
        parts: rows of `used_rows` and `unread_rows`.
        limited: whether main files were not read to their ends; what is unused is then not known.
    """
    by_file: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for part in parts:
        by_file.setdefault((part["source"], part["source_uri"]), []).append(part)
    return [_account(some, limited) for some in by_file.values()]


def _account(parts: list[dict[str, Any]], limited: bool) -> dict[str, Any]:
    first = parts[0]
    unreadable = next((part["unreadable"] for part in parts if part["unreadable"]), None)
    marks = [part["marks"] for part in parts if part["marks"]]
    whole = unreadable is None and bool(marks)
    unused = None
    if whole and not limited:
        used = storage.read_table(marks[0])["used"]
        for place in marks[1:]:
            used = used | storage.read_table(place)["used"]
        unused = len(used) - int(used.sum())
    return {
        "source": first["source"],
        "source_uri": first["source_uri"],
        "role": "joined",
        "layout": None,
        "bytes": first["bytes"],
        "sha256": storage.file_sha256(first["place"]) if unreadable is None else None,
        "rows_counted": ingest.count_rows(first["place"]) if whole else None,
        "rows": max(part["rows"] for part in parts),
        "records": 0,
        "ratings": 0,
        "quarantined_rows": 0,
        "unused_rows": unused,
        "unreadable": unreadable,
        "reasons": {},
        "scales": [],
    }
