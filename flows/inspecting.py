"""What files hold, as facts: the fields and layout of each, its first records, what is wrong with it. `prefine inspect` shows them."""

import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import polars as pl

from flows.completing import Completion, complete
from flows.inputs import open_joins
from pipeline import ingest, profile, storage
from pipeline.config import SourceConfig, load_config
from pipeline.errors import ConfigError, LayoutError, UnreadableFileError
from pipeline.ingest.aliases import SLOTS, VOTE_SLOTS, plain
from pipeline.ingest.files import sources
from pipeline.ingest.preview import Preview, preview
from pipeline.profile import examples

_REPEATS: Final = 5  # files told that repeat another one
_NAMES: Final = 1_000  # annotators' names kept to guess what they are
_KINDS: Final = {
    "lines": "JSON lines",
    "array": "JSON array",
    "object": "JSON object",
    "parquet": "Parquet",
    "arrow": "Arrow",
    "arrow_stream": "Arrow stream",
}
_CELLS: Final = {",": "CSV", "\t": "TSV", ";": "CSV with semicolons"}
_PEOPLE: Final = {*SLOTS["annotator"], *VOTE_SLOTS["vote_annotator"]} - {"name"}
_PERSONAL: Final = (
    r"(?i)(.*[-_ ])?(annotator|worker|rater|labell?er|judge|user|author|person|reviewer|assessor|e[-_]?mail|phone|ip)"
    r"([-_ ]?(id|name|hash|ip|address|number))?[-_ ]?\d*"
)
_MODELS: Final = (
    r"(?i)(gpt|claude[-_ ]?(v|\d|opus|sonnet|haiku|instant)|llama|gemini|mi[sx]tral|qwen|deepseek|llm|judge[-_ ]?model|alpaca|turbo|"
    r"[-_ ]\d+b([-_ .]|$))"
)
_REWARD: Final = r"(?i)(reward|(^|[-_ ])rm([-_ ]|$))"


@dataclass
class FileFacts:
    """What one file holds."""

    number: int  # position among the files looked at
    place: str
    name: str
    bytes: int
    format: str = "unknown"
    compression: str = "none"
    preview: Preview | None = None
    rows: int = 0  # read
    whole: bool = False  # whether those are all of the file's rows
    judgements: int = 0
    ratings: int = 0
    quarantined: int = 0  # rows of which something could not be read
    error: str | None = None


@dataclass
class Group:
    """Files of one layout with the same fields, and what their records show together."""

    files: list[FileFacts]
    records: list[dict[str, Any]] = field(default_factory=list)
    findings: pl.DataFrame = field(default_factory=profile.FINDING.to_frame)
    annotator_kind: str | None = None  # guessed from names; None where they say nothing
    completion: Completion | None = None  # what would make refused files readable
    texts_of: list[str] = field(default_factory=list)  # files whose texts are here

    @property
    def first(self) -> FileFacts:
        """The file that stands for the others."""
        return self.files[0]

    @property
    def layout(self) -> ingest.Layout | None:
        """How its files are read; None when they cannot be, or hold no row."""
        return self.first.preview.layout if self.first.preview and not self.first.error else None


@dataclass
class _Seen:
    """Facts of the records of one file."""

    judgements: list[pl.DataFrame] = field(default_factory=lambda: [profile.JUDGEMENT_FACTS.to_frame()])
    ratings: list[pl.DataFrame] = field(default_factory=lambda: [profile.RATING_FACTS.to_frame()])
    quarantined: list[pl.DataFrame] = field(default_factory=lambda: [profile.QUARANTINE_FACTS.to_frame()])
    records: list[dict[str, Any]] = field(default_factory=list)
    names: set[str] = field(default_factory=set)


def source_of(asked: str, config: Path) -> tuple[SourceConfig, Path]:
    """The source that a config calls so, with its `fields:`, and the folder that its path starts at."""
    named = [source for source in load_config(config).sources if asked in (source.name, source.uri) and source.uri]
    if not named:
        known = ", ".join(source.name for source in load_config(config).sources if source.uri)
        raise ConfigError(f"{config}: no source with a uri is called {asked!r}; it has {known or 'none'}.")
    return named[0], config.resolve().parent


def inspect(uri: str, base: Path, rows: int | None, source: SourceConfig | None = None) -> list[Group]:
    """The files at a URI, in groups of one layout and the same fields, in the order of their names.

    Args:
        uri: file, folder, glob or fsspec URL.
        base: where relative paths start.
        rows: read at most that many of each file; all when None.
        source: what a config says about them.
    """
    source = source or SourceConfig(name="inspected", uri=uri)
    groups: dict[object, Group] = {}
    seen: list[_Seen] = []
    with open_joins(source, base) as joined:
        for number, (place, name, size) in enumerate(storage.list_files(uri, base)):
            file = FileFacts(number, place, name, size)
            seen.append(_examine(file, source, rows, joined))
            groups.setdefault(_alike(file), Group([])).files.append(file)
    for group in groups.values():
        _summarise(group, [seen[file.number] for file in group.files])
    _tell_copies(list(groups.values()), seen)
    if not source.join:
        _complete(list(groups.values()), base)
    return list(groups.values())


def _alike(file: FileFacts) -> object:
    """What files of one group have in common."""
    if file.preview is None:
        return ("empty", file.error and file.name)
    fields = tuple(one.name for one in file.preview.fields)
    if file.preview.layout is None or file.error:
        return ("refused", fields, re.sub(re.escape(file.name), "", file.error or ""))
    layout = {key: value for key, value in asdict(file.preview.layout).items() if key != "why"}
    return ("read", tuple(sorted(fields)), repr(sorted(layout.items())))


def _examine(file: FileFacts, source: SourceConfig, limit: int | None, joined: ingest.Joins) -> _Seen:
    """Read a file; what it is goes into `file`, what its records are is returned."""
    seen = _Seen()
    try:
        file.format, file.compression = _format(file.place)
        file.preview = preview(file.place, file.name, source, joined)
        file.error = file.preview.error if file.preview else None
        layout = file.preview.layout if file.preview else None
        if file.error is not None:
            return seen
        for batch in ingest.read_records(file.place, file.name, source, "overall", limit, joined, layout):
            file.rows += batch.rows
            file.judgements += batch.judgements.height
            file.ratings += batch.ratings.height
            file.quarantined += batch.unread
            _remember(seen, batch, file.number)
        file.whole = limit is None or file.rows < limit
    except (LayoutError, UnreadableFileError) as error:
        file.error = str(error).replace(file.place, file.name)
    return seen


def _remember(seen: _Seen, batch: ingest.Batch, number: int) -> None:
    seen.judgements.append(profile.judgement_facts(batch.judgements, number))
    seen.ratings.append(profile.rating_facts(batch.ratings, number))
    seen.quarantined.append(profile.quarantine_facts(batch.quarantined, number))
    for annotators in (batch.judgements["annotator"], batch.ratings["annotator"]):
        if len(seen.names) < _NAMES:
            seen.names.update(annotators.drop_nulls().unique(maintain_order=True).head(_NAMES))
    if len(seen.records) < examples.SHOWN:
        seen.records += [*examples.judged(batch.judgements), *examples.rated(batch.ratings)]


def _format(place: str) -> tuple[str, str]:
    """What a file is and how it is packed, in words."""
    kind = str(sources.sniff(place))
    told = _CELLS[sources.delimiter(place)] if kind == "table" else _KINDS.get(kind, kind)
    return told, str(sources.packing_of(place) or "none")


def _summarise(group: Group, seen: list[_Seen]) -> None:
    """Add up what the files of a group hold."""
    group.records = next((one.records[: examples.SHOWN] for one in seen if one.records), [])
    examples.hide_names(group.records)
    names = set().union(*(one.names for one in seen))
    group.annotator_kind = _kind_of(names)
    if group.first.error is None:
        ordered = group.layout is not None and group.layout.name != "chosen_rejected"
        judgements = pl.concat(frame for one in seen for frame in one.judgements)
        ratings = pl.concat(frame for one in seen for frame in one.ratings)
        quarantined = pl.concat(frame for one in seen for frame in one.quarantined)
        group.findings = profile.findings(judgements, ratings, quarantined, ordered=ordered)


def _tell_copies(groups: list[Group], seen: list[_Seen]) -> None:
    """Add a finding for each file that repeats records of an earlier one: the few that repeat most."""
    files = {file.number: file for group in groups for file in group.files}
    for what in ("judgements", "ratings"):
        shared = profile.shared_records(frame for one in seen for frame in getattr(one, what)).sort("count", descending=True)
        for group in groups:
            here = shared.filter(pl.col("file").is_in([file.number for file in group.files]))
            told = [
                profile.repeats(what, files[number].name, count, getattr(files[number], what), number, row, files[of].name)
                for number, of, count, row in here.head(_REPEATS).rows()
            ]
            group.findings = pl.concat([*told, group.findings])


def _complete(groups: list[Group], base: Path) -> None:
    """Find out what would make refused files readable."""
    previews = {group.first.name: (group.first.place, group.first.name, group.first.preview) for group in groups if group.first.preview}
    for group in groups:
        if group.first.error is None or group.first.preview is None:
            continue
        others = [(place, name, seen) for place, name, seen in previews.values() if seen is not None and name != group.first.name]
        group.completion = complete(group.first.place, group.first.name, group.first.preview, others, base)
        if group.completion:
            names = (str(group.completion.said["fields"]["winner"]), group.first.name.rsplit("/", 1)[-1])
            group.annotator_kind = next((kind for kind in (_kind_of({name}) for name in names) if kind), None)
        for other in groups:
            if group.completion and other.first.place == group.completion.joined:
                other.texts_of += [file.name for file in group.files]


def _kind_of(names: set[str]) -> str | None:
    """What annotators called so are; None when their names do not say."""
    for kind, pattern in (("reward_model", _REWARD), ("judge", _MODELS)):
        if names and all(re.search(pattern, name) for name in names):
            return kind
    return None


def document(groups: list[Group], configs: list[str]) -> dict[str, Any]:
    """The same facts for tools; `configs` has each group's source as YAML."""
    names = {file.number: file.name for group in groups for file in group.files}
    told = []
    for group, config in zip(groups, configs, strict=True):
        layout, seen = group.layout, group.first.preview
        told.append(
            {
                "files": [
                    {key: value for key, value in vars(file).items() if key not in ("preview", "place", "number")} for file in group.files
                ],
                "layout": layout.name if layout else None,
                "why": layout.why if layout else None,
                "verdicts": seen.verdicts if seen else [],
                "mapped": {slot: [one.name for one in read] for slot, read in seen.read.items()} if seen else {},
                "unmapped": layout.unmapped if layout else [],
                "fields": {one.name: one.type for one in seen.fields} if seen else {},
                "candidates": [{"layout": one.name, "lacks": one.lacks} for one in seen.proposals] if seen else [],
                "records": group.records,
                "findings": [{**row, "file": names.get(row["file"])} for row in group.findings.iter_rows(named=True)],
                "annotator_kind": group.annotator_kind,
                "completion": asdict(group.completion) if group.completion else None,
                "texts_of": group.texts_of,
                "config": config,
                "error": group.first.error,
            }
        )
    return {"readable": all(group.first.error is None for group in groups), "groups": told}


def is_personal(name: str) -> bool:
    """Whether a field may name people, so that its values are not shown."""
    return plain(name) in _PEOPLE or re.fullmatch(_PERSONAL, name) is not None
