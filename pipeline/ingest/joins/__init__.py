"""A source in several files: its rows get the fields of their partners in other files, by key, by row or from the file's path."""

import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import polars as pl

from pipeline.config import SourceConfig
from pipeline.errors import LayoutError
from pipeline.ingest.fragments import Json, raw_rows
from pipeline.ingest.joins.joined import Joined, JoinedFile, JoinedRows, has_field, key_texts, missing_key, positions
from pipeline.ingest.records import BROKEN, RAW_CHARACTERS, Rows

_PIECE_BYTES: Final = 32 << 20  # joined text handed on at once: many short votes may share long texts
_OURS: Final = f"prefine-join-{socket.gethostname()}-"  # and the process: containers may share a temporary folder

_Piece = tuple[Rows, pl.Series]  # some rows, and the place of each in its file


@contextmanager
def open_joins(source: SourceConfig, files: Sequence[Sequence[JoinedFile]]) -> Iterator["Joins"]:
    """Read what a source is joined to into temporary databases, which are gone afterwards.

    Args:
        source: the source; without `join:` nothing is read.
        files: for each entry of `join:` its files; none for an entry that reads the path.

    Raises:
        LayoutError: a joined file has no field with the key's name.
        UnreadableFileError: a joined file cannot be read to its end.
    """
    if not source.join:
        yield Joins([], [])
        return
    _sweep()
    with tempfile.TemporaryDirectory(prefix=f"{_OURS}{os.getpid()}-") as folder, ExitStack() as stack:
        steps: list[Joined | re.Pattern[str]] = []
        json = Json()
        stack.callback(json.close)
        for number, (join, some) in enumerate(zip(source.join, files, strict=True)):
            if join.path is not None:
                steps.append(re.compile(join.path))
                continue
            joined = Joined(join, some, Path(folder) / str(number))
            stack.callback(joined.close)
            joined.read(some, json)
            steps.append(joined)
        yield Joins(steps, [join.prefix for join in source.join])


def opened(source: SourceConfig, joined: "Joins | None") -> "Joins":
    """What `open_joins` read for a source; for one without `join:` it may be left out."""
    if joined is None and source.join:
        raise ValueError(f"source {source.name!r} has `join:`; expected what open_joins() read for it")
    return joined or Joins([], [])


def _sweep() -> None:
    """Delete what killed processes of this machine left: texts that nobody asked to keep."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_OURS}*-*"):
        pid = folder.name.removeprefix(_OURS).partition("-")[0]
        if pid.isdigit() and not _alive(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # another user's
    return True


class Joins:
    """The joined files of a source, ready to be asked; `open_joins` makes one."""

    def __init__(self, steps: list["Joined | re.Pattern[str]"], prefixes: list[str | None]) -> None:
        """One step and one prefix (`as`) for each entry of `join:`."""
        self._steps, self._prefixes = steps, prefixes

    def main_file(self, name: str, json: Json) -> "MainFile":
        """Begin to read a file of the source from its first row.

        Args:
            name: the file as published; what `path:` looks at.
            json: its reader's session.

        Raises:
            LayoutError: a pattern does not match the name.
        """
        stages = [
            _FromFile(number, prefix, name, json, step) if isinstance(step, Joined) else _FromPath(number, prefix, name, json, step)
            for number, (step, prefix) in enumerate(zip(self._steps, self._prefixes, strict=True))
        ]
        return MainFile(stages)

    def files(self) -> list[JoinedRows]:
        """Every joined file once, with the rows that any join asked for so far."""
        found: dict[str, JoinedRows] = {}
        for one in (one for step in self._steps if isinstance(step, Joined) for one in step.files()):
            before = found.get(one.file.place)
            found[one.file.place] = one if before is None else replace(one, used=before.used | one.used)
        return list(found.values())


class MainFile:
    """One file of the source on its way through the joins."""

    def __init__(self, stages: Sequence["_Stage"]) -> None:
        """`Joins.main_file` makes one."""
        self._stages = stages

    @property
    def renamed(self) -> list[str]:
        """For people: each joined field that is not called as in its file, because the name was taken."""
        return [said for stage in self._stages for said in stage.renamed]

    @property
    def unmatched(self) -> int:
        """How often a row so far had no partner in a joined file where it needs none."""
        return sum(stage.unmatched for stage in self._stages)

    def join(self, rows: Rows, first: int) -> Iterator[Rows]:
        """A batch with the joined fields, in file order, in pieces of bounded size.

        Args:
            rows: the batch; what the joined fields are called is settled by the first that has records.
            first: rows of the file before it.

        Yields:
            Its rows; one without exactly one partner is among the broken ones, unless it needs none: then the joined fields are null.

        Raises:
            LayoutError: the key is no field of the file, or a joined field gets the name of another.
        """
        pieces: Iterable[_Piece] = [(rows, first + positions(rows))]
        for stage in self._stages:
            pieces = stage.through(pieces, rows.fields)
        return (piece for piece, _ in pieces)


class _Stage:
    """One join of one main file."""

    def __init__(self, number: int, prefix: str | None, name: str, json: Json) -> None:
        self._number, self._prefix, self._name, self._json = number, prefix, name, json
        self._names: dict[str, str] | None = None  # joined field -> what it is called here, from the first records on
        self.renamed: list[str] = []
        self.unmatched = 0

    def through(self, pieces: Iterable[_Piece], own: dict[str, str]) -> Iterator[_Piece]:
        """Each piece in one or several; `own` are the fields of the main file itself."""
        for rows, places in pieces:
            if rows.frame.is_empty():
                yield rows, places
            else:
                yield from self._join(rows, places, own)

    def _join(self, rows: Rows, places: pl.Series, own: dict[str, str]) -> Iterator[_Piece]:
        raise NotImplementedError

    def _named(self, rows: Rows, fields: Sequence[str], stem: str, said: str) -> dict[str, str]:
        if self._names is None:
            taken = rows.fields
            self._names = {f: f"{self._prefix}.{f}" if self._prefix else f"{stem}.{f}" if f in taken else f for f in fields}
            if not self._prefix:
                self.renamed = [f"{name!r} is {field!r} of {said}" for field, name in self._names.items() if name != field]
        names = list(self._names.values())
        clash = next((name for name in names if name in rows.fields or names.count(name) > 1), None)
        if clash is not None:
            raise LayoutError(
                f"{self._name}: the join with {said} brings a field {clash!r}, which is there already; expected names of its own. "
                "Write `as: WORD` at that join: its fields are then called WORD.<name>."
            )
        return self._names

    def _with(self, rows: Rows, columns: dict[str, pl.Series], names: dict[str, str], *, cells: bool) -> Rows:
        places = {field: f"j{self._number}_{i}" for i, field in enumerate(columns)}
        frame = rows.frame.with_columns(column.alias(places[field]) for field, column in columns.items())
        fields = {names[field]: place for field, place in places.items()}
        return replace(rows, frame=frame, fields=rows.fields | fields, cells_of={**rows.cells_of, **dict.fromkeys(fields, cells)})


class _FromPath(_Stage):
    """Fields from the path of the file."""

    def __init__(self, number: int, prefix: str | None, name: str, json: Json, pattern: re.Pattern[str]) -> None:
        super().__init__(number, prefix, name, json)
        match = pattern.search(name)
        if match is None:
            raise LayoutError(
                f"{name}: the join's `path: {pattern.pattern}` does not match this path; expected a pattern that matches every file of "
                "the source. Change it, or make this file a source of its own."
            )
        self._values = match.groupdict()

    def _join(self, rows: Rows, places: pl.Series, own: dict[str, str]) -> Iterator[_Piece]:
        names = self._named(rows, list(self._values), "path", "the file's path")
        values = [pl.repeat(value, len(places), dtype=pl.String, eager=True) for value in self._values.values()]
        quoted = self._json.quote(pl.DataFrame({f"f{i}": column for i, column in enumerate(values)}))
        yield self._with(rows, dict(zip(self._values, quoted, strict=True)), names, cells=False), places


class _FromFile(_Stage):
    """Fields from a joined file."""

    def __init__(self, number: int, prefix: str | None, name: str, json: Json, joined: Joined) -> None:
        super().__init__(number, prefix, name, json)
        self._joined = joined

    def _join(self, rows: Rows, places: pl.Series, own: dict[str, str]) -> Iterator[_Piece]:
        joined = self._joined
        for path in joined.ours if self._names is None else []:
            if not has_field(rows, path, self._json):
                raise LayoutError(missing_key(self._name, path, rows.fields))
        names = self._named(rows, joined.fields, joined.stem, joined.said)
        keys = key_texts(rows, joined.ours, self._json) if joined.ours else places.cast(pl.String)
        found, problems = joined.look_up(keys)
        self.unmatched += found["n"].null_count()
        alone = rows.frame[problems["id"]]
        broken = problems.with_columns(
            source_row=alone["source_row"], raw=raw_rows(Rows(alone, own, rows.broken)).str.slice(0, RAW_CHARACTERS)
        )
        broken = pl.concat([rows.broken, broken.match_to_schema(BROKEN, extra_columns="ignore").select(BROKEN.names())])
        frame, places = rows.frame[found["id"]], places[found["id"]]
        for start, end in _cuts(found["size"].fill_null(0)):
            part = replace(rows, frame=frame[start:end], broken=broken if start == 0 else broken.clear())
            yield self._with(part, joined.fetch(found["n"][start:end]), names, cells=joined.cells), places[start:end]


def _cuts(sizes: pl.Series) -> Iterator[tuple[int, int]]:
    """Where to cut rows of these sizes (bytes) into pieces of about 32 MB; one piece when there is nothing."""
    piece = (sizes.cum_sum() - sizes) // _PIECE_BYTES
    starts = (piece != piece.shift()).fill_null(True).arg_true().to_list() or [0]
    return zip(starts, [*starts[1:], len(sizes)], strict=True)
