"""A file's fields, their types and examples, and what every layout makes of them: for people who look before they run."""

from dataclasses import dataclass, replace
from typing import Final

import polars as pl

from pipeline.config import SourceConfig, paths
from pipeline.errors import LayoutError
from pipeline.ingest.files.readers import read_rows
from pipeline.ingest.fragments import Json, fragment, in_fragments
from pipeline.ingest.joins import Joins, opened
from pipeline.ingest.layouts.detect import ADAPTERS, SAMPLE_ROWS, settle
from pipeline.ingest.layouts.sample import Proposal, Sample
from pipeline.ingest.records import Layout, Rows

_CUT: Final = 2_000  # characters of an example's JSON that are looked at
_SPELLINGS: Final = 8  # different verdicts shown
_KEY_ROWS: Final = 10_000


@dataclass(frozen=True)
class Field:
    """One field of the first records.

    Attributes:
        name: the field, or the dotted path inside one.
        type: JSON types in words, e.g. `text or boolean`.
        example: the first value that is not null, as JSON text cut to 2,000 characters; None when all are null.
        characters: mean length of its texts; 0 when it holds none.
        spellings: its different values as text, where they are few; verdicts are among such fields.
    """

    name: str
    type: str
    example: str | None
    characters: float = 0.0
    spellings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Preview:
    """What the first records of a file show.

    Attributes:
        layout: None when no layout, or more than one, fits.
        fields: top-level fields in the order of the file.
        read: slot -> the fields it is read from; empty without a layout.
        proposals: what every layout lacks; empty where a configured field is missing.
        verdicts: how the first records spell their verdicts, most frequent first; a range where they are many numbers.
        error: why there is no layout, and what to write; None when there is one.
    """

    layout: Layout | None
    fields: list[Field]
    read: dict[str, list[Field]]
    proposals: list[Proposal]
    verdicts: list[str]
    error: str | None


@dataclass(frozen=True)
class Opening:
    """The records that decide a file's layout, with the fields that they have; and what a join called otherwise."""

    rows: Rows
    renamed: list[str]

    def told_of(self, layout: Layout) -> Layout:
        """The layout, saying which joined fields have another name."""
        return replace(layout, why="; ".join([layout.why, *self.renamed]))


def preview(place: str, name: str, source: SourceConfig, joined: Joins | None = None) -> Preview | None:
    """The fields and the layout of a file's first records; None when no row of it can be read.

    Args:
        place: local path or fsspec URL.
        name: the file as published, for messages.
        source: what the config says about it.
        joined: what `open_joins` read for the source; needed where it has `join:`.

    Raises:
        LayoutError: the join's key is no field of the file.
        UnreadableFileError: the file is not what its first bytes claim.
    """
    json = Json()
    try:
        first = opening(place, name, source, joined, json)
        return None if first is None else _preview_of(first, json, name, source)
    finally:
        json.close()


def _preview_of(first: Opening, json: Json, name: str, source: SourceConfig) -> Preview:
    sample = Sample(first.rows, json, name, SourceConfig(name=source.name, uri=source.uri))
    fields = [_field(sample, field) for field in first.rows.fields]
    proposals: list[Proposal] = []
    try:
        configured = Sample(first.rows, json, name, source)
        proposals = [adapter.propose(configured) for adapter in ADAPTERS.values()]
        layout = first.told_of(settle(configured, proposals))
    except LayoutError as error:
        return Preview(None, fields, {}, proposals, [], str(error))
    read = {slot: [_read(sample, layout, slot, one) for one in paths(path)] for slot, path in layout.slots.items()}
    return Preview(layout, fields, read, proposals, _verdicts(sample, layout), None)


def opening(place: str, name: str, source: SourceConfig, joined: Joins | None, json: Json) -> Opening | None:
    """The first records of a file; None when no row of it can be read. Arguments and errors are those of `preview`."""
    main, before = opened(source, joined).main_file(name, json), 0
    for rows in read_rows(place, json):
        piece = next((piece for piece in main.join(rows, before) if piece.frame.height), None)
        if piece is not None:
            return Opening(_first_records(piece, json), main.renamed)
        before += rows.count
    return None


def _first_records(rows: Rows, json: Json) -> Rows:
    rows = in_fragments(replace(rows, frame=rows.frame.head(SAMPLE_ROWS)), json)
    frame = rows.frame
    there = {*json.keys(frame["raw"]), *rows.cells_of} if "raw" in frame.columns else set(rows.fields)
    return replace(rows, frame=frame, fields={name: column for name, column in rows.fields.items() if name in there})


def _field(sample: Sample, path: str) -> Field:
    values = fragment(sample.rows, path, sample.json).drop_nulls()
    if values.is_empty():
        return Field(path, "always null", None)
    telling = values.filter(~values.is_in(['""', "[]", "{}"]))
    first = str((telling if telling.len() else values).str.slice(0, _CUT).to_list()[0])
    texts = sample.texts(values.filter(values.str.starts_with('"')))
    characters = texts.str.len_chars().to_list()
    spellings = sample.texts(values).unique().sort()
    few = tuple(spellings) if spellings.len() <= _SPELLINGS else ()
    return Field(path, sample.type(path), first, sum(characters) / len(characters) if characters else 0.0, few)


def _read(sample: Sample, layout: Layout, slot: str, path: str) -> Field:
    """A slot's field, which for a part of a vote or candidate lies inside each element of a list."""
    whole = {"vote": "votes", "candidate": "candidates"}.get(slot.split("_")[0])
    if whole is None or whole == slot or path in sample.rows.fields:
        return _field(sample, path)
    return Field(path, f"inside each of {' + '.join(paths(layout.slots.get(whole, whole)))}", None)


def _verdicts(sample: Sample, layout: Layout) -> list[str]:
    said = [slot for slot in ("winner", "votes") if slot in layout.slots and (slot == "winner" or layout.vote_form == "columns")]
    series = [sample.verdicts(path) for slot in said for path in paths(layout.slots[slot])]
    if not series:
        return []
    counts = pl.concat([one.rename("x") for one in series]).value_counts(sort=True).sort("count", "x", descending=[True, False])
    if counts.height <= _SPELLINGS:
        return [str(text) for text in counts["x"]]
    numbers = counts["x"].cast(pl.Float64, strict=False)
    if numbers.null_count():
        return [*counts["x"].head(_SPELLINGS), "..."]
    low, high = numbers.sort().to_list()[0], numbers.sort().to_list()[-1]
    return [f"{counts.height} numbers from {low:g} to {high:g}"]


def key_fits(place: str, other: str, field: str) -> bool:
    """Whether a field finds each row of a file its one partner in the other, as far as their first 10,000 rows show."""
    ours, theirs = (_values(one, field) for one in (place, other))
    if not ours.len() or theirs.n_unique() < theirs.len():
        return False
    whole = theirs.len() < _KEY_ROWS
    return bool(ours.is_in(theirs.implode()).all()) if whole else bool(ours.is_in(theirs.implode()).any())


def _values(place: str, field: str) -> pl.Series:
    """A field's values as text, of a file's first rows."""
    json = Json()
    try:
        found, rows = [pl.Series([], dtype=pl.String)], 0
        for batch in read_rows(place, json):
            found.append(json.texts(fragment(batch, field, json).to_frame("x"))["x"])
            rows += batch.count
            if rows >= _KEY_ROWS:
                break
        return pl.concat(found).drop_nulls().head(_KEY_ROWS)
    finally:
        json.close()
