"""What became of the files that sources are joined to: their rows in INPUT, and how many of them nobody asked for."""

from typing import Any

from flows.inputs import input_row
from pipeline import ingest, storage
from pipeline.ingest import JoinedFile, Joins


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
        marks = storage.join(scratch, "joined", source, f"{number:06d}-{position:03d}{storage.SCRATCH}")
        storage.write_table(one.used.to_frame("used"), marks)
        rows.append(_about(source, one.file) | {"rows": one.rows, "marks": marks})
    return rows


def unread_rows(files: tuple[tuple[JoinedFile, ...], ...], source: str, why: str) -> list[dict[str, Any]]:
    """The same where a file could not be read to its end."""
    each = {one.place: one for some in files for one in some}
    at_fault = {place: f"{one.name}{why.removeprefix(place)}" for place, one in each.items() if why.startswith(f"{place}: ")}
    return [_about(source, one) | {"rows": 0, "marks": None, "unreadable": at_fault.get(one.place)} for one in each.values()]


def _about(source: str, file: JoinedFile) -> dict[str, Any]:
    return {"source": source, "source_uri": file.name, "place": file.place, "bytes": file.bytes, "unreadable": None}


def account_joined(parts: list[dict[str, Any]], limited: bool) -> list[dict[str, Any]]:
    """Rows of `flows.inputs.input_row` for the joined files, from what all tasks asked for.

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
    return input_row(
        first["source"],
        first["source_uri"],
        first["bytes"],
        role="joined",
        sha256=storage.file_sha256(first["place"]) if unreadable is None else None,
        rows_counted=ingest.count_rows(first["place"]) if whole else None,
        rows=max(part["rows"] for part in parts),
        unused_rows=unused,
        unreadable=unreadable,
    )
