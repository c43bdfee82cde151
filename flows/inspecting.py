"""What a file holds, for people: `prefine inspect` and the config that `prefine init` writes."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from pipeline import ingest, storage
from pipeline.config import SourceConfig, load_config
from pipeline.errors import ConfigError, LayoutError, UnreadableFileError

_SHOWN = 3
_CUT = 160


def source_of(asked: str, config: Path) -> tuple[SourceConfig, Path]:
    """The source that a config calls so, with its `fields:`, and the folder that its path starts at."""
    named = [source for source in load_config(config).sources if asked in (source.name, source.uri) and source.uri]
    if not named:
        raise ConfigError(f"{config}: no source with a uri is called {asked!r}.")
    return named[0], config.resolve().parent


def describe(uri: str, base: Path, rows: int, source: SourceConfig | None = None) -> Iterator[tuple[str, bool]]:
    """A text for each file, and whether it can be read; with what a config says about the source, where there is one."""
    source = source or SourceConfig(name="inspected", uri=uri)
    for place, name, size in storage.list_files(uri, base):
        head = f"{name}  ({size:,} bytes)"
        try:
            layout = ingest.detect(place, name, source)
        except (LayoutError, UnreadableFileError) as error:
            yield f"{head}\n{error}\n", False
            continue
        if layout is None:
            yield f"{head}\n  no row that can be read\n", True
            continue
        lines = [head, f"  layout    {layout.name}: {layout.why}"]
        lines += [f"  mapped    {', '.join(f'{slot} <- {_path(path)}' for slot, path in layout.slots.items())}"]
        lines += [f"  unmapped  {', '.join(layout.unmapped) or 'nothing'} (kept in `extra`)"]
        contents, whole = _contents(place, name, source, rows)
        yield "\n".join([*lines, *contents]) + "\n", whole


def _path(path: str | list[str]) -> str:
    return path if isinstance(path, str) else " + ".join(path)


def _contents(place: str, name: str, source: SourceConfig, rows: int) -> tuple[list[str], bool]:
    seen = judgements = 0
    outcomes: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    records: list[str] = []
    first_bad: dict[str, str] = {}
    try:
        for batch in ingest.read_records(place, name, source, "overall", rows):
            seen += batch.rows
            judgements += batch.judgements.height
            outcomes.update(dict(batch.judgements.group_by("outcome").len().iter_rows()))
            reasons.update(dict(batch.quarantined.group_by("reason").len().iter_rows()))
            for row in batch.quarantined.unique("reason", keep="first", maintain_order=True).iter_rows(named=True):
                first_bad.setdefault(row["reason"], f"row {row['source_row']}, {row['field'] or 'whole row'}: {row['detail']}")
            for row in batch.judgements.head(_SHOWN - len(records)).iter_rows(named=True):
                records.append(_record(row))
    except UnreadableFileError as error:
        return [*records, f"  unreadable after {seen:,} rows: {error}"], False
    verdicts = ", ".join(f"{outcome} {count:,}" for outcome, count in sorted(outcomes.items()))
    lines = [*records, f"  in the first {seen:,} rows: {judgements:,} judgements ({verdicts}), {sum(reasons.values()):,} quarantined"]
    return lines + [f"    {reason} x {count:,}, first at {first_bad[reason]}" for reason, count in sorted(reasons.items())], True


def _record(row: dict[str, Any]) -> str:
    who = row["annotator"] or "unnamed"
    said = {side: " | ".join(f"{m['role']}: {m['content']}" for m in row[side]) for side in ("prompt", "response_a", "response_b")}
    texts = "\n".join(f"      {side:<10} {_short(text)}" for side, text in said.items())
    return f"    row {row['source_row']}: {row['outcome']} by {who}\n{texts}"


def _short(text: str) -> str:
    line = re.sub(r"\s+", " ", text)
    return line if len(line) <= _CUT else line[: _CUT - 1] + "…"


def starter_config(uri: str, base: Path, config_folder: Path) -> tuple[str, list[str]]:
    """A config for the data at a URI, and notes on what it cannot know.

    Returns:
        YAML text; for a file whose layout is not clear, a note with what is missing (the run would say the same).
    """
    notes: list[str] = []
    layouts: dict[str, str] = {}
    files = storage.list_files(uri, base)
    for place, name, _ in files:
        try:
            found = ingest.detect(place, name, SourceConfig(name="new", uri=uri))
            layouts[place] = found.name if found else "empty"
        except (LayoutError, UnreadableFileError) as error:
            layouts[place] = "unclear"
            notes.append(f"{name}: {error}")
    if len(set(layouts.values())) == 1:
        sources = [{"name": _name(uri), "uri": _relative(storage.resolve(uri, base), config_folder)}]
    else:
        sources = [{"name": _name(place), "uri": _relative(place, config_folder)} for place, _, _ in files]
    names = Counter(source["name"] for source in sources)
    for number, source in enumerate(sources):
        if names[source["name"]] > 1:
            source["name"] = f"{source['name']}-{number + 1}"
    body = {"dataset": _name(uri), "workspace": "./workspace", "sources": sources, "rules": {"preset": "safe"}}
    kinds = ", ".join(sorted(set(layouts.values())))
    head = f"# Layouts found: {kinds}. `prefine config-schema` lists every key.\n"
    return head + yaml.safe_dump(
        body, sort_keys=False, allow_unicode=True
    ), notes


def _name(uri: str) -> str:
    parts = [p for p in re.split(r"[/\\]", uri) if p and "*" not in p and p != "."]
    stem = re.sub(r"(\.(jsonl|ndjson|json|csv|tsv|parquet|gz))+$", "", parts[-1]) if parts else "data"
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._") or "data"


def _relative(place: str, folder: Path) -> str:
    if "://" in place:
        return place
    path = Path(place)
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else place
