"""What `prefine inspect` prints: the facts of `flows.inspecting` for a person, cut to the terminal's width."""

import json
import re
import textwrap
from collections.abc import Iterator
from typing import Any, Final

from rich.text import Text

from flows.inspecting import Group, is_personal
from flows.starting import PASTE
from pipeline.ingest.preview import Field, Preview

_INDENT: Final = 2
_LABEL: Final = 11
_NAMED: Final = 3  # files of a group that are named
_ENCODINGS: Final = {
    "words": "words or names: a, first, left or its model's name = first better; b, second, right ... = second; tie, equal = tie",
    "one_based": "1 = first better, 2 = second better, 0 or 1.5 = tie; between 1 and 2, 1 + the probability that the second is better",
    "zero_based": "0 = first better, 1 = second better",
    "flags": "a field for each answer (and for a tie) says whether that is the verdict",
    "scores": "a score for each answer; the higher one wins",
    "thumbs": "thumbs: up is 1, down is 0",
    "signed_thumbs": "thumbs: up is 1, down is -1",
}
_CANDIDATES: Final = {
    "pair_verdicts": "a verdict for each two candidates, in the order (1,2) (1,3) ... (2,3) ...: 1 = first, 2 = second better, 0 = tie",
    "order": "an order of the candidates, best first",
    "candidate_rank": "ranks of the candidates; the lowest is best",
    "candidate_scores": "scores of the candidates; the higher one is better",
}
_NEAREST: Final = 3  # layouts told of a file that none fits
_UNSHOWN: Final = "(names are not shown)"


def render(groups: list[Group], configs: list[str], width: int) -> Iterator[Text]:
    """Each group as lines of text.

    Args:
        groups: what `inspect` found.
        configs: the source each group would have in a config, YAML.
        width: of the terminal, in columns; only what is meant to be pasted may be wider.
    """
    names = {file.number: file.name for group in groups for file in group.files}
    for group, config in zip(groups, configs, strict=True):
        yield from _head(group, width)
        if group.first.error is not None:
            yield from _refused(group, config, width)
        elif group.layout is None:
            yield _line("rows", "none that can be read", width)
            yield from _findings(group, names, width)
        else:
            yield from _read(group, names, width)
            if config:
                yield _title("config", "below `sources:`, if you want to say it rather than have it detected")
            yield from (Text(f"    {line}") for line in config.splitlines())
        yield Text()


def _head(group: Group, width: int) -> Iterator[Text]:
    for file in group.files[:_NAMED]:
        yield Text(clean(file.name, 500), style="bold")
    left = group.files[_NAMED:]
    if left:
        yield Text(f"and {len(left)} files like these", style="bold")
    formats = sorted({f"{file.format}{'' if file.compression == 'none' else f', {file.compression}'}" for file in group.files})
    rows = sum(file.rows for file in group.files)
    read = f"{rows:,} rows, all read" if all(file.whole for file in group.files) else f"the first {rows:,} rows read"
    told = [" / ".join(formats), f"{sum(file.bytes for file in group.files):,} bytes"]
    if group.first.error is None:
        told.append(read)
    yield _line("files", f"{len(group.files)}: {'; '.join(told)}" if len(group.files) > 1 else "; ".join(told), width)


def _refused(group: Group, config: str, width: int) -> Iterator[Text]:
    error, preview = str(group.first.error), group.first.preview
    reason = error.split("\n", 1)[0].removeprefix(f"{group.first.name}: ")
    unsettled = preview is not None and PASTE in error
    lines = [reason] if unsettled else [reason, *error.splitlines()[1:]]
    for number, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        yield from _wrapped("problem" if number == 0 else "", line, width, "bold red", indent)
    if preview is not None and unsettled:
        yield _title("fields", "")
        yield from _table([("", field) for field in preview.fields], width)
        yield _title("layouts", "the nearest, and what each lacks here")
        for one in sorted(preview.proposals, key=lambda proposal: len(proposal.lacks))[:_NEAREST]:
            yield from _wrapped("", f"{one.name}: {'; '.join(one.lacks) or 'fits'}", width)
    if group.texts_of:
        yield from _wrapped("hint", f"it holds the texts of {', '.join(group.texts_of)}", width)
        return
    if group.completion is not None:
        yield from _wrapped("hint", group.completion.why, width)
    if config:
        yield _title("config", "to paste below `sources:`" if group.completion else "to fill in and paste below `sources:`")
        yield from (Text(f"    {line}") for line in config.splitlines() if not line.lstrip().startswith("#"))


def _read(group: Group, names: dict[int, str], width: int) -> Iterator[Text]:
    layout, preview = group.layout, group.first.preview
    assert layout is not None
    assert preview is not None
    yield from _wrapped("layout", f"{layout.name}: {layout.why}", width)
    yield from _wrapped("verdicts", verdicts_in_words(group), width)
    yield from _fields(preview, layout.unmapped, width)
    yield from _records(group.records, width)
    yield from _findings(group, names, width)


def verdicts_in_words(group: Group) -> str:
    """How a group's verdicts are understood."""
    layout, preview = group.layout, group.first.preview
    assert layout is not None
    scale, slots = layout.encoding.grades, layout.slots
    if scale is not None:
        how = f"a scale: {scale.first:g} = first much better, {scale.middle:g} = tie, {scale.second:g} = second much better"
    elif layout.name == "chosen_rejected":
        how = f"the order of the fields: {slots.get('chosen', 'chosen')!r} is the better answer"
    elif layout.name == "candidates":
        how = _CANDIDATES[next((slot for slot in _CANDIDATES if slot in slots), "candidate_scores")]
    elif layout.name == "ratings" and layout.encoding.kind == "words":
        how = "scores; the higher one is better"
    else:
        how = _ENCODINGS.get(layout.encoding.kind, layout.encoding.kind)
    found = f" (found: {', '.join(clean(one, 40) for one in preview.verdicts)})" if preview and preview.verdicts else ""
    return how + found


def _fields(preview: Preview, unmapped: list[str], width: int) -> Iterator[Text]:
    rows = [(slot if number == 0 else "+", field) for slot, fields in preview.read.items() for number, field in enumerate(fields)]
    rows += [("extra", field) for field in preview.fields if field.name in set(unmapped)]
    yield _title("fields", "what each is read from; `extra` keeps what nothing is read from")
    yield from _table(rows, width)


def _table(rows: list[tuple[str, Field]], width: int) -> Iterator[Text]:
    slots = max((len(slot) for slot, _ in rows), default=0)
    names = min(max((len(field.name) for _, field in rows), default=0), 40)
    types = min(max((len(field.type) for _, field in rows), default=0), 30)
    for slot, field in rows:
        private = slot in ("annotator", "vote_annotator") or (slot in ("", "extra") and is_personal(field.name))
        arrow = f"{slot:<{slots}} {'  ' if slot == '+' else '<-'} " if slots else ""
        line = f"    {arrow}{clean(field.name, 40):<{names}}  {field.type:<{types}}  "
        shown = clean(_UNSHOWN if private else example(field), max(10, width - len(line)))
        yield Text(line + shown, style="dim" if slot == "extra" else "")


def example(field: Field) -> str:
    """A field's first value; of lists and objects only the shape, since they may hold names."""
    if field.example is None:
        return ""
    try:
        value = json.loads(field.example)
    except ValueError:  # cut in the middle
        return field.example if field.example[:1] not in "[{" else _shape_of_cut(field.example)
    return value if isinstance(value, str) else _shape(value)


def _shape(value: object) -> str:
    match value:
        case dict():
            return "{" + ", ".join(value) + "}"
        case [dict() as first, *_]:
            return f"{len(value)} x {_shape(first)}"
        case [first, *_]:
            return f"{len(value)} x {type(first).__name__.replace('str', 'text')}"
    return json.dumps(value)


def _shape_of_cut(text: str) -> str:
    keys = list(dict.fromkeys(re.findall(r'"([A-Za-z_][\w -]{0,40})":', text)))[:8]
    return ("a list of " if text.startswith("[") else "") + "{" + ", ".join([*keys, "..."]) + "}"


def _records(records: list[dict[str, Any]], width: int) -> Iterator[Text]:
    if not records:
        return
    yield _title("records", "as prefine reads them")
    for record in records:
        start = f"    row {record['row']}: "
        yield Text(start + clean("; ".join(_vote(vote) for vote in record["votes"]), width - len(start)))
        parts = [("prompt", record["prompt"] or "(none)")]
        parts += [(one["label"] + (f" ({one['model']})" if one["model"] else ""), one["text"]) for one in record["responses"]]
        label = min(max(len(name) for name, _ in parts), 40)
        for name, text in parts:
            start = f"      {clean(name, 40):<{label}}  "
            yield Text(start + clean(text, max(20, width - len(start))), style="dim")


def _vote(vote: dict[str, Any]) -> str:
    said = {"a": "a is better, ", "b": "b is better, ", "tie": "tie, ", "both_bad": "both bad, "}.get(vote["outcome"], "scored ")
    strength = "" if vote["strength"] is None else f", strength {vote['strength']:.2g}"
    criterion = "" if vote["criterion"] in (None, "overall") else f" on {vote['criterion']}"
    return f"{said}by {vote['annotator'] or 'an unnamed annotator'}{criterion}{strength}"


def _findings(group: Group, names: dict[int, str], width: int) -> Iterator[Text]:
    told = group.findings
    for level, title in (("problem", "problems"), ("note", "notes")):
        rows = told.filter(told["level"] == level).rows(named=True)
        if not rows:
            yield _title(title, "none found")
            continue
        yield _title(title, "", style="bold yellow" if level == "problem" else "bold")
        count = max(len(f"{row['count']:,}") for row in rows)
        for row in rows:
            share = f" ({_percent(row['count'], row['total'])} of {row['total']:,})" if row["total"] and row["code"] != "scale" else ""
            place = "" if row["row"] is None else f"; first at row {row['row']}"
            if place and len(group.files) > 1:
                place += f" of {names[row['file']]}"
            detail = f"; {row['detail']}" if row["detail"] else ""
            said = f"{row['says']}{share}{place}{detail}"
            lead = f"    {row['count']:>{count},}  "
            lines = textwrap.wrap(clean(said, 1_000), max(40, width - len(lead)), break_on_hyphens=False, break_long_words=False)
            yield Text(lead + lines[0])
            yield from (Text(" " * len(lead) + line) for line in lines[1:])


def _percent(part: int, whole: int) -> str:
    share = 100 * part / whole
    return f"{share:.0f} %" if share >= 10 or share == 0 else f"{share:.2g} %"


def _title(name: str, said: str, style: str = "bold") -> Text:
    return Text.assemble((f"  {name}", style), (f"  {said}", "dim") if said else "")


def _line(label: str, said: str, width: int) -> Text:
    return Text.assemble((f"  {label:<{_LABEL - _INDENT}} ", "bold"), clean(said, max(40, width - _LABEL - 1)))


def _wrapped(label: str, said: str, width: int, style: str = "bold", indent: int = 0) -> Iterator[Text]:
    room = max(40, width - _LABEL - 1 - indent)
    lines = textwrap.wrap(clean(said, 4_000), room, break_long_words=False, break_on_hyphens=False)
    for number, line in enumerate(lines):
        yield Text.assemble((f"  {label if number == 0 else '':<{_LABEL - _INDENT}} ", style), " " * indent, line)


def clean(text: str, most: int) -> str:
    """A text on one line, at most so many columns wide, without what a terminal would obey."""
    line = re.sub(r"\s+", " ", text[: 10 * most]).strip()
    line = re.sub(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]", "\N{REPLACEMENT CHARACTER}", line)
    cut = Text(line)
    cut.truncate(most, overflow="ellipsis")
    return cut.plain
