"""The files that a source is joined to: read once, then asked for the partner of each row."""

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from pipeline.config import JoinConfig
from pipeline.errors import LayoutError
from pipeline.ingest.files.readers import read_rows
from pipeline.ingest.fragments import Json, fragment, nulls
from pipeline.ingest.joins.row_store import Spill
from pipeline.ingest.records import Rows

_SHOWN: Final = 60


@dataclass(frozen=True)
class JoinedFile:
    """One file that a source's rows are joined to.

    Attributes:
        place: local path or fsspec URL.
        name: as published.
        bytes: its size as stored.
    """

    place: str
    name: str
    bytes: int


@dataclass(frozen=True)
class JoinedRows:
    """What a joined file held.

    Attributes:
        file: the file.
        rows: its rows, broken ones included.
        broken: rows that are no records.
        used: Boolean, per row: whether a row of the source had its key; in the file's order but for broken rows.
    """

    file: JoinedFile
    rows: int
    broken: int
    used: pl.Series


class Joined:
    """The files of one `join:` entry with a uri."""

    def __init__(self, join: JoinConfig, files: Sequence[JoinedFile], folder: Path) -> None:
        """Nothing is read yet; `folder` is made, and removed by the caller."""
        self.ours, self.theirs = join.key_fields  # none: rows go by their position
        self.optional = join.optional  # a row without a partner stays
        self.said = files[0].name if len(files) == 1 else f"{join.uri} ({len(files)} files)"
        self.stem = _stem(str(join.uri))
        self.cells: bool = False  # whether every field was text in the source
        self._spill = Spill(folder)
        self._read: list[tuple[JoinedFile, int, int]] = []  # rows, broken rows

    @property
    def fields(self) -> list[str]:
        """What the files bring: their fields but for the key."""
        return list(self._spill.fields)

    def read(self, files: Sequence[JoinedFile], json: Json) -> None:
        """Read the files to their ends.

        Raises:
            LayoutError: a file has no field with the key's name.
            UnreadableFileError: a file cannot be read to its end.
        """
        for file in files:
            self._read_one(file, json)
        self._spill.index()

    def _read_one(self, file: JoinedFile, json: Json) -> None:
        first, broken = self._spill.count, 0
        there: set[str] = set()
        fields: dict[str, None] = {}
        for rows in read_rows(file.place, json, whole=True):
            places = (self._spill.count - first) + positions(rows)
            keys = key_texts(rows, self.theirs, json) if self.theirs else places.cast(pl.String)
            self._spill.add(keys, {name: rows.frame[column] for name, column in rows.fields.items() if name not in self.theirs})
            self._spill.add(nulls(rows.broken.height), {})
            there.update(path for path in self.theirs if has_field(rows, path, json))
            fields.update(dict.fromkeys(rows.fields))
            self.cells = self.cells or rows.cells
            broken += rows.broken.height
        self._read.append((file, self._spill.count - first, broken))
        for path in self.theirs if fields else []:
            if path not in there:
                raise LayoutError(missing_key(file.name, path, fields))

    def files(self) -> list[JoinedRows]:
        """What was read, and which rows were asked for so far."""
        used, start, told = self._spill.used(), 0, []
        for file, rows, broken in self._read:
            told.append(JoinedRows(file, rows, broken, used[start : start + rows]))
            start += rows
        return told

    def look_up(self, keys: pl.Series) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The partner of each key.

        Returns:
            One row per key with a partner, or without one where it needs none: id (position in `keys`), n (to fetch it by; null: no
            partner), size (bytes; null likewise); and the problem of each other key, schema PROBLEM.
        """
        found = self._spill.look_up(keys).with_columns(key=keys)
        rows, broken = sum(rows for _, rows, _ in self._read), sum(broken for _, _, broken in self._read)
        value = "found " + pl.col("key").str.slice(0, _SHOWN)
        theirs = ", ".join(self.theirs)
        read = f"{rows} rows" + (f", {broken} of them broken" if broken else "")
        unmatched = value + pl.lit(f"; expected a value that {self.said} ({read}) has as {theirs}")
        absent = pl.lit(f"absent, null or empty; expected a value that joins it to {self.said}")
        ambiguous = value + pl.lit(f"; {self.said} has it as {theirs} several times with different content; expected it once")
        alone = "row " + pl.col("key") + pl.lit(f" has no partner that can be read in {self.said} ({read}); expected as many rows in both")
        cases = [
            (pl.col("key").is_null(), "unmatched_key", absent),
            (pl.col("n").is_null(), "unmatched_key" if self.ours else "unmatched_row", unmatched if self.ours else alone),
            (pl.col("ambiguous").fill_null(False), "ambiguous_key", ambiguous),
        ][2 if self.optional else 0 :]
        marks = [pl.when(bad).then(pl.struct(pl.lit(reason).alias("reason"), said.alias("detail"))) for bad, reason, said in cases]
        marked = found.with_columns(bad=pl.coalesce(marks))
        problems = marked.filter(pl.col("bad").is_not_null()).select(
            "id", pl.col("bad").struct.unnest(), field=pl.lit(", ".join(self.ours) or None, pl.String)
        )
        return marked.filter(pl.col("bad").is_null()).select("id", "n", "size"), problems

    def fetch(self, numbers: pl.Series) -> dict[str, pl.Series]:
        """The partners' fragments by field name, one per number; null for null."""
        there = numbers.is_not_null()
        if there.all():
            return self._spill.fetch(numbers)
        place = pl.select(pl.when(there).then(there.cast(pl.Int64).cum_sum() - 1)).to_series()
        return {name: column.gather(place) for name, column in self._spill.fetch(numbers.drop_nulls()).items()}

    def close(self) -> None:
        """End the session."""
        self._spill.close()


def _stem(uri: str) -> str:
    """A word for joined files, from what the config calls them: `raw/pairs-crowd.jsonl.gz` is `pairs-crowd`."""
    parts = [part for part in re.split(r"[/\\]", uri) if part and not re.search(r"[*?\[]", part)]
    return re.sub(r"(?<=.)(\.[A-Za-z][A-Za-z0-9]{0,8})+$", "", parts[-1]) if parts else "joined"


def positions(rows: Rows) -> pl.Series:
    """The place of each record among the batch's rows, broken ones included; blank lines are none."""
    numbers = pl.concat([rows.frame["source_row"], rows.broken["source_row"]]).sort()
    return numbers.search_sorted(rows.frame["source_row"]).cast(pl.Int64)


def key_texts(rows: Rows, paths: Sequence[str], json: Json) -> pl.Series:
    """The rows' keys as texts, the same whatever the format; null where a part is absent, null or empty."""
    parts = json.texts(pl.DataFrame({f"k{i}": fragment(rows, path, json) for i, path in enumerate(paths)}))
    parts = parts.select(pl.when(pl.all() != "").then(pl.all()))
    return parts["k0"] if len(paths) == 1 else json.quote(parts).select(pl.concat_str(pl.all(), separator=", ").alias("k"))["k"]


def has_field(rows: Rows, path: str, json: Json) -> bool:
    """Whether any row has a field, or a dotted path inside one."""
    return path in rows.fields or fragment(rows, path, json).drop_nulls().len() > 0


def missing_key(name: str, path: str, fields: Iterable[str]) -> str:
    """The message for a file that lacks a key's field."""
    near = difflib.get_close_matches(path, list(fields), n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else "write `on: {ours: theirs}` where the names differ."
    return f"{name}: the join's key {path!r} is no field of this file; {hint} Fields found: {', '.join(fields)}."
