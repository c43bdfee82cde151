"""The config for data that nobody has described yet: what was found, and beside each key what a person has to decide."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from flows.inspecting import FileFacts, Group
from pipeline import ingest, storage
from pipeline.config import FieldsConfig, SourceConfig
from pipeline.errors import PrefineError

_ENDINGS: Final = r"(\.(jsonl|ndjson|json|csv|tsv|parquet|arrow|feather|ipc|zip|gz|bz2|xz|zst))+$"
_SAYS_NOTHING: Final = r"(?i)(data(set)?|annotations?|train(ing)?|test|valid(ation)?|dev|all|part|shard|results?)([-_]?\d+)*"
PASTE: Final = "under the source:\n"  # what a layout's error has before the config to write


@dataclass
class _Source:
    """One entry of `sources:`."""

    name: str
    uri: str
    files: list[FileFacts]
    group: Group
    joined: str | None = None  # the uri of the file it is joined to


def starter_config(uri: str, base: Path, config_folder: Path, groups: list[Group]) -> str:
    """A complete, commented config for the files at a URI.

    Args:
        uri: as the user gave it.
        base: where it starts when it is relative.
        config_folder: where the config will be; its paths start there.
        groups: what `inspect` found at the URI.
    """
    sources = [one for group in groups for one in _sources(group, uri, base, config_folder, alone=len(groups) == 1)]
    ready = [one for one in sources if one.group.layout is not None or one.group.completion is not None]
    left = [one for one in sources if one.group.first.error is not None and one not in ready and not one.group.texts_of]
    _tell_apart([*ready, *left])
    lines = [
        "# What `prefine init` found. Comments say what it cannot know; `prefine config-schema` lists every key.",
        f"dataset: {_scalar(plain_name(uri, base))}",
        "workspace: ./workspace  # versions are published here; any folder or URL, e.g. s3://bucket/curated",
        "sources:",
    ]
    for one in ready:
        lines += ["", *_lines(one)]
    for one in left:
        lines += ["", *(f"  # {line.removeprefix('  ').removeprefix('# ')}" if ready else line for line in _lines(one))]
    lines += [
        "",
        "rules: {preset: safe}  # drops ties, empty or identical answers and unreadable text; `add:` takes rules of your own",
        "publish: {validation_share: 0.05}  # share of prompts held out",
    ]
    return "\n".join(lines) + "\n"


def example_source(group: Group, uri: str, base: Path, *, alone: bool) -> str:
    """What a config would say of a group: YAML, to be pasted below `sources:`; paths start at `base`."""
    if group.layout is None and not (group.completion or PASTE in (group.first.error or "")):
        return ""  # empty, broken, or its error says what to write
    sources = _sources(group, uri, base, base, alone=alone)
    more = [f"  # and {len(sources) - 1} like it"] if len(sources) > 1 else []
    return "\n".join([*_lines(sources[0]), *more]) + "\n"


def _lines(source: _Source) -> list[str]:
    """The lines of one source: how it is read, as tried on its first file, else with a place for what has to be filled in."""
    group = source.group
    head = [f"  - name: {_scalar(source.name)}", f"    uri: {_scalar(source.uri)}"]
    licence = "    # licence: cc-by-4.0  # the data's own licence; goes into the manifest and the card"
    if group.layout is not None:
        rows, more = sum(file.rows for file in source.files), "" if all(file.whole for file in source.files) else " or more"
        many = f"{len(source.files)} files" if len(source.files) > 1 else "1 file"
        about = _comment(f"{many}, {rows:,}{more} rows: {group.layout.why}")
        return [about, *head, licence, *_reading_lines(_said(group)), _kind_line(group), *_quarantine_lines(source.files)]
    if group.completion is not None:
        said = group.completion.said
        joins = [f"      - {{uri: {_scalar(str(source.joined))}, on: {_scalar(join['on'])}}}" for join in said.get("join", [])]
        reading = [*(["    join:", *joins] if joins else []), *_reading_lines(said), _kind_line(group)]
        return [_comment(f"{group.completion.why[:1].upper()}{group.completion.why[1:]}."), *head, licence, *reading]
    error = group.first.error or ""
    reason = error.split("\n", 1)[0].removeprefix(f"{group.first.name}: ")
    snippet = error.rpartition(PASTE)[2].splitlines() if PASTE in error else []
    return [_comment(f"Not readable yet: {reason} Fill in what stands in <...>, or leave it out."), *head, *snippet]


def _comment(text: str) -> str:
    return f"  # {' '.join(text.split())}"


def _kind_line(group: Group) -> str:
    why = "guessed from names" if group.annotator_kind else "nothing says who judged; judge is a language model, or reward_model"
    return f"    annotator_kind: {group.annotator_kind or 'human'}  # {why}"


def _reading_lines(said: dict[str, Any]) -> list[str]:
    lines = [f"    layout: {said['layout']}"] if "layout" in said else []
    if said.get("fields"):
        lines += ["    fields:", *(f"      {slot}: {_value(path)}" for slot, path in said["fields"].items())]
    return lines


def _quarantine_lines(files: list[FileFacts]) -> list[str]:
    bad, rows = sum(file.quarantined for file in files), sum(file.rows for file in files)
    limit = SourceConfig.model_fields["max_quarantine_share"].default
    if not rows or bad <= limit * rows:
        return []
    share = min(1.0, round(bad / rows + 0.05, 2))
    return [f"    # {bad:,} of {rows:,} rows cannot be read, and a run stops above {limit:.0%}; this lets it go on:",
            f"    # max_quarantine_share: {share:g}"]  # fmt: skip


def _said(group: Group) -> dict[str, Any]:
    """The keys that say how a group is read, as far as a config that has them reads it the same way."""
    layout = group.layout
    assert layout is not None
    slots = {slot: layout.slots[slot] for slot in FieldsConfig.model_fields if slot in layout.slots}
    options: list[dict[str, Any]] = [{"layout": layout.name, "fields": slots}, {"layout": layout.name}, {}]
    return next(option for option in options if _reads_the_same(group.first, option, layout))


def _reads_the_same(file: FileFacts, said: dict[str, Any], layout: ingest.Layout) -> bool:
    if not said:
        return True
    try:
        found = ingest.detect(file.place, file.name, SourceConfig.model_validate({"name": "tried", "uri": file.place, **said}))
    except (PrefineError, ValidationError):
        return False
    return found is not None and (found.name, found.slots, found.encoding) == (layout.name, layout.slots, layout.encoding)


def _sources(group: Group, uri: str, base: Path, folder: Path, *, alone: bool) -> list[_Source]:
    """One source that names exactly the group's files, or one for each of them; `alone` when there is no other group."""
    places = [file.place for file in group.files]
    joined = _relative(group.completion.joined, folder) if group.completion and group.completion.joined else None
    options = [*([storage.resolve(uri, base)] if alone else []), *_globs(places)] if len(places) > 1 else []
    for option in options:
        if _files(option) == places:
            return [_Source(plain_name(option, base), _relative(option, folder), group.files, group, joined)]
    return [_Source(plain_name(file.place, base), _relative(file.place, folder), [file], group, joined) for file in group.files]


def _files(pattern: str) -> list[str]:
    return [place for place, _, _ in storage.look(pattern, "/").files]


def _globs(places: list[str]) -> list[str]:
    """Patterns that may name these files and no other."""
    parts = [place.split("/") for place in places]
    folder = "/".join(_common([own[:-1] for own in parts]))
    if not folder.strip("/"):
        return []  # everything there is
    names = _pattern([own[-1] for own in parts])
    options = [folder, f"{folder}/{names}", f"{folder}/**/{names}"]
    if len({len(own) for own in parts}) == 1:
        steps = [list(step) for step in zip(*parts, strict=True)]
        options.append("/".join(step[0] if len(set(step)) == 1 else "*" for step in steps))
        options.append("/".join(_pattern(step) for step in steps))
    return options


def _pattern(names: list[str]) -> str:
    """The narrowest pattern with one `*` that fits all names."""
    if len(set(names)) == 1:
        return names[0]
    start = _common_text(names)
    return f"{start}*{_common_text([name[len(start) :][::-1] for name in names])[::-1]}"


def _common(parts: list[list[str]]) -> list[str]:
    """The steps that all paths begin with."""
    end = next((i for i, step in enumerate(zip(*parts, strict=False)) if len(set(step)) > 1), min(map(len, parts)))
    return parts[0][:end]


def _common_text(texts: list[str]) -> str:
    low, high = min(texts), max(texts)
    return next((low[:i] for i, letter in enumerate(low) if high[i : i + 1] != letter), low)


def _tell_apart(sources: list[_Source]) -> None:
    """Give sources names that differ: by what differs in their paths, else by number."""
    counts = Counter(source.name for source in sources)
    for name in [name for name, count in counts.items() if count > 1]:
        same = [source for source in sources if source.name == name]
        parts = [[re.sub(_ENDINGS, "", part) for part in source.uri.split("/")] for source in same]
        for source, own in zip(same, parts, strict=True):
            telling = [part for i, part in enumerate(own) if any(other[i : i + 1] != [part] for other in parts)]
            source.name = re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(telling)).strip("-._") or name
    seen: Counter[str] = Counter()
    for source in sources:
        seen[source.name] += 1
        if seen[source.name] > 1:
            source.name += f"-{seen[source.name]}"


def plain_name(uri: str, base: Path) -> str:
    """A name for what is at a place, of letters, digits, '.', '_' and '-'; the folder's where the file's says nothing."""
    parts = [re.sub(_ENDINGS, "", part) for part in re.split(r"[/\\]", storage.resolve(uri, base)) if part]
    parts = parts[: next((i for i, part in enumerate(parts) if "*" in part), len(parts))]
    telling = next((part for part in reversed(parts) if not re.fullmatch(_SAYS_NOTHING, part)), parts[-1] if parts else "data")
    return re.sub(r"[^A-Za-z0-9._-]+", "-", telling).strip("-._") or "data"


def _relative(place: str, folder: Path) -> str:
    if "://" in place:
        return place
    path = Path(place)
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else place


def _value(path: str | list[str]) -> str:
    return _scalar(path) if isinstance(path, str) else f"[{', '.join(_scalar(one) for one in path)}]"


def _scalar(text: str) -> str:
    """A text as YAML, in quotes only where it needs them."""
    bare = re.fullmatch(r"[A-Za-z_./][\w./*-]*", text) and not text.startswith("*") and yaml.safe_load(text) == text
    return text if bare else yaml.safe_dump(text, default_style='"', allow_unicode=True, width=10**6).strip()
