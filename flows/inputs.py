"""The files that a run reads: those with a source's rows and those they are joined to, and what is told of each afterwards."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import ingest, queries, storage
from pipeline.config import PipelineConfig, SourceConfig
from pipeline.errors import ConfigError
from pipeline.ingest import JoinedFile, Joins, Layout

Files = list[tuple[str, str, int]]  # as `storage.list_files` gives them


@dataclass(frozen=True)
class InputFile:
    """One file of a source."""

    index: int  # position among all files of the run
    source: SourceConfig
    place: str
    name: str  # as published
    bytes: int
    rows: int | None  # read at most that many
    layout: Layout | None = None  # as detected
    refused: str | None = None  # why no layout could be
    joined: tuple[tuple[JoinedFile, ...], ...] = ()  # for each `join:` of the source, its files


def input_files(config: PipelineConfig, base: str, limit: int | None) -> list[InputFile]:
    """Every file of every source, in the order of the config and of their names."""
    files: list[InputFile] = []
    ours = storage.resolve(config.workspace, base).rstrip("/") + "/"
    for source in config.sources:
        uri = source.uri if source.version is None else queries.judgements_of(storage.resolve(source.version, base))
        listed = [  # `uri: .` means the data, not what earlier runs made of it
            file for file in storage.list_files(str(uri), base) if source.version is not None or not file[0].startswith(ours)
        ]
        joined = joined_files(source, base)
        for place, name, size in main_files(source, listed, joined):
            files.append(InputFile(len(files), source, place, name, size, limit, joined=joined))
    return files


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


@contextmanager
def open_joins(source: SourceConfig, base: str | Path) -> Iterator[Joins]:
    """What a source is joined to, read; nothing where it has no `join:`."""
    with ingest.open_joins(source, joined_files(source, base)) as joined:
        yield joined


def input_row(source: str, name: str, size: int, **known: Any) -> dict[str, Any]:  # noqa: ANN401 - the columns' own types
    """A row of INPUT for a file of `size` bytes, plus `reasons` (quarantined records by reason) and `scales`.

    What is not `known` is nothing: no rows, and nobody could say. `scales` are rows of `pipeline.rating_pairs.SCALES`.
    """
    counts = dict.fromkeys(("rows", "records", "ratings", "quarantined_rows"), 0)
    unsaid = dict.fromkeys(("layout", "sha256", "rows_counted", "unused_rows", "unmatched_rows", "unreadable"))
    place = {"source": source, "source_uri": name, "role": "records", "bytes": size}
    return {**place, **unsaid, **counts, "reasons": {}, "scales": [], **known}
