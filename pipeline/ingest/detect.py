"""Which layout a file has, from its field names and the types in its first records; never from its name."""

import difflib
import re
from dataclasses import dataclass
from typing import Final

import polars as pl

from pipeline.config import FieldPath, LayoutName, SourceConfig
from pipeline.errors import LayoutError
from pipeline.ingest.aliases import MODELS, PROMPT_TAIL, SIDES, SLOTS, VOTE_COLUMN, VOTE_SLOTS, plain
from pipeline.ingest.fragments import Json, pointer
from pipeline.ingest.records import Encoding, Layout, Rows
from pipeline.ingest.slots import fragment, used_fields
from pipeline.ingest.verdicts import encoding_of, spelled, words

SAMPLE_ROWS: Final = 200

_SHARED: Final = ("prompt", "system", "tools", "annotator", "strength", "criterion", "context", "rationale", "split", "judged_at")
_TEXTUAL: Final = frozenset({"text", "list", "object"})
_TYPES: Final = {'"': "text", "[": "list", "{": "object", "t": "boolean", "f": "boolean"}


@dataclass
class _Candidate:
    name: LayoutName
    slots: dict[str, FieldPath]
    lacks: list[str]
    why: str


def detect_layout(rows: Rows, json: Json, name: str, source: SourceConfig) -> Layout:
    """The one layout that fits.

    Args:
        rows: the first records (at most SAMPLE_ROWS, at least one).
        json: the reader's session.
        name: the file as published, for messages.
        source: `layout`, `fields` and `outcomes` settle what the records leave open.

    Raises:
        LayoutError: no layout fits, or several do, or a configured field is not there; shows the columns found, what
            each candidate lacks, and the config to write.
    """
    sample = _Sample(rows, json, name, source)
    candidates = [sample.chosen_rejected(), sample.ab(), sample.votes()]
    if source.layout is not None:
        candidates = [one for one in candidates if one.name == source.layout]
    fits = [one for one in candidates if not one.lacks]
    if {"ab", "votes"} <= {one.name for one in fits}:
        fits = [one for one in fits if one.name != "ab"]  # votes is ab plus who voted
    if len(fits) != 1:
        raise LayoutError(_unsettled(sample, candidates, fits))
    chosen = fits[0]
    return Layout(chosen.name, chosen.slots, chosen.why, sample.unmapped(chosen), sample.encoding(chosen))


class _Sample:
    """The first records and what the config says about them."""

    def __init__(self, rows: Rows, json: Json, name: str, source: SourceConfig) -> None:
        self.rows, self.json, self.name, self.source = rows, json, name, source
        self.types = {field: _types(rows.frame[column]) for field, column in rows.fields.items()}
        self.by_alias: dict[str, str] = {}
        for field in rows.fields:
            self.by_alias.setdefault(plain(field), field)
        self.configured = {slot: value for slot, value in source.fields.model_dump().items() if value is not None}
        for slot, value in self.configured.items():
            if not slot.startswith("vote_"):
                for path in [value] if isinstance(value, str) else value:
                    self._require(slot, path)

    def _require(self, slot: str, path: str) -> None:
        if fragment(self.rows, path, self.json).drop_nulls().len() or path in self.rows.fields:
            return
        near = difflib.get_close_matches(path, self.rows.fields, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"fields found: {', '.join(self.rows.fields)}."
        raise LayoutError(f"{self.name}: `fields: {slot}: {path}` is not in the first {self.rows.frame.height} records; {hint}")

    def find(self, slot: str) -> FieldPath | None:
        """The field of a slot: as configured, else by alias."""
        if slot in self.configured:
            value: FieldPath = self.configured[slot]
            return value
        return next((self.by_alias[alias] for alias in SLOTS.get(slot, ()) if alias in self.by_alias), None)

    def mostly(self, path: FieldPath, starts: str) -> bool:
        """Whether most values start like this; a few wrong ones are facts about their rows, not about the layout."""
        values = fragment(self.rows, path if isinstance(path, str) else path[0], self.json).drop_nulls()
        return values.is_empty() or 2 * int(values.str.contains(starts).sum()) >= len(values)

    def textual(self, path: FieldPath) -> bool:
        """Whether most values can be text or messages."""
        return self.mostly(path, r'^["\[{]')

    def shared(self, *extra: str) -> dict[str, FieldPath]:
        """Slots every layout may have."""
        found = {slot: self.find(slot) for slot in (*_SHARED, *extra)}
        slots = {slot: path for slot, path in found.items() if path is not None}
        first, tail = (self.by_alias.get(alias) for alias in PROMPT_TAIL)
        if first is None or tail is None or "prompt" in self.configured or slots.get("prompt") != first:
            return slots
        text = r'^["\[{]' if self.rows.cells else '^"'
        if self.mostly(first, text) and self.mostly(tail, text):
            slots["prompt"] = [first, tail]
        return slots

    def chosen_rejected(self) -> _Candidate:
        slots, lacks = self.shared("chosen", "rejected", "model_chosen", "model_rejected"), []
        for slot in ("chosen", "rejected"):
            path = slots.get(slot)
            if path is None:
                lacks.append(f"{slot} (a field such as {SLOTS[slot][0]!r} or {SLOTS[slot][1]!r})")
            elif not self.textual(path):
                lacks.append(f"{slot} as text or messages (field {path!r} holds {self._type(path)})")
        return _Candidate("chosen_rejected", slots, lacks, f"fields {slots.get('chosen')!r} and {slots.get('rejected')!r}")

    def _sides(self) -> tuple[dict[str, FieldPath], list[str]]:
        given: dict[str, FieldPath] = {slot: self.configured[slot] for slot in ("response_a", "response_b") if slot in self.configured}
        found = [(self.by_alias[a], self.by_alias[b]) for a, b in SIDES if a in self.by_alias and b in self.by_alias]
        found = [pair for pair in dict.fromkeys(found) if all(self.textual(side) for side in pair)]
        if len(given) == 2:
            return given, []
        if not found:
            return given, ["response_a and response_b (two fields such as 'response_a' and 'response_b', 'output_1' and 'output_2')"]
        if len(found) > 1:
            return given, [f"one pair of answers (there are several: {'; '.join(f'{a}, {b}' for a, b in found)})"]
        return {"response_a": found[0][0], "response_b": found[0][1]} | given, []

    def _answers(self) -> tuple[dict[str, FieldPath], list[str]]:
        """Two sides, their models, and the prompt they need when they are plain texts."""
        sides, lacks = self._sides()
        slots = self.shared("shown_first") | sides
        for slot in ("model_a", "model_b"):
            if slot in self.configured:
                slots[slot] = self.configured[slot]
        if "model_a" not in slots and "model_b" not in slots:
            models = [(self.by_alias[a], self.by_alias[b]) for a, b in MODELS if a in self.by_alias and b in self.by_alias]
            if models:
                slots["model_a"], slots["model_b"] = models[0]
        if not lacks and "prompt" not in slots and self.source.layout is None and not self._spoken(str(sides["response_a"])):
            lacks.append("prompt (a field such as 'prompt' or 'instruction'; a `layout:` in the config says that there is none)")
        return slots, lacks

    def _spoken(self, path: str) -> bool:
        values = fragment(self.rows, path, self.json).drop_nulls()
        return bool(values.str.contains(r'^[\[{]|^"(\\n|\s)*(Human|Assistant):').any())

    def ab(self) -> _Candidate:
        slots, lacks = self._answers()
        winner = self.find("winner")
        if winner is None:
            lacks.append("winner (a field such as 'winner', 'label' or 'preference')")
        else:
            slots["winner"] = winner
        return _Candidate("ab", slots, lacks, f"fields {slots.get('response_a')!r}, {slots.get('response_b')!r} and the verdict {winner!r}")

    def votes(self) -> _Candidate:
        slots, lacks = self._answers()
        votes = self.find("votes")
        if isinstance(votes, str) and "votes" not in self.configured and not self.mostly(votes, r"^\["):
            votes = None
        columns = votes if isinstance(votes, list) else self._vote_columns() if votes is None else []
        winner = self.find("winner")
        if isinstance(votes, str):
            slots["votes"] = votes
            inside = self._vote_slots(votes)
            slots |= inside
            if "vote_winner" not in inside and self._holds_objects(votes):
                lacks.append(f"vote_winner (the verdict inside each element of {votes!r})")
            why = f"a list of votes in {votes!r}"
        elif columns:
            slots["votes"] = columns
            why = f"one vote in each of {', '.join(columns)}"
        else:
            why = f"one vote a row: the verdict {winner!r} by {slots.get('annotator')!r}"
            if winner is not None:
                slots["winner"] = winner
            if winner is None or "annotator" not in slots:
                lacks.append(
                    "votes (a list such as 'votes'; two fields such as 'annotator1' and 'annotator2'; or a verdict such as 'winner' with "
                    "a field such as 'annotator')"
                )
        if slots.get("annotator") is not None and "votes" in slots and "annotator" not in self.configured:
            del slots["annotator"]
        return _Candidate("votes", slots, lacks, why)

    def _vote_columns(self) -> list[str]:
        names = [field for field in self.rows.fields if re.match(VOTE_COLUMN, field)]
        known = list(words("one_based", self.sides(self._sides()[0]), self.source.outcomes))
        values = [self.verdicts(field) for field in names]
        verdict = spelled(pl.col("x")).is_in(known) | pl.col("x").str.contains(r"^-?[\d.]+$")
        voting = [
            field for field, one in zip(names, values, strict=True) if one.len() and one.to_frame("x").select(verdict.all()).item()
        ]
        return voting if len(voting) >= 2 else []

    def _holds_objects(self, votes: str) -> bool:
        elements = self.json.elements(fragment(self.rows, votes, self.json))
        return bool(elements["element"].str.starts_with("{").any())

    def _vote_slots(self, votes: str) -> dict[str, FieldPath]:
        elements = self.json.elements(fragment(self.rows, votes, self.json))["element"]
        keys = self.json.keys(elements.filter(elements.str.starts_with("{").fill_null(False)))
        by_alias = {plain(key): key for key in reversed(keys)}
        found: dict[str, FieldPath] = {}
        for slot, aliases in VOTE_SLOTS.items():
            name = self.configured.get(slot) or next((by_alias[alias] for alias in aliases if alias in by_alias), None)
            if name is not None:
                found[slot] = name
        return found

    def verdicts(self, field: str) -> pl.Series:
        """The non-empty verdict texts of a field in the sample."""
        return self._texts(fragment(self.rows, field, self.json))

    def sides(self, slots: dict[str, FieldPath]) -> tuple[str, str] | None:
        """The names of the two answers' fields."""
        a, b = slots.get("response_a"), slots.get("response_b")
        return (a, b) if isinstance(a, str) and isinstance(b, str) else None

    def encoding(self, chosen: _Candidate) -> Encoding:
        """What bare numbers mean in the verdicts of this layout."""
        if chosen.name == "chosen_rejected":
            return "words"
        votes, winner = chosen.slots.get("votes"), chosen.slots.get("winner")
        if isinstance(votes, str):
            elements = self.json.elements(fragment(self.rows, votes, self.json))["element"].drop_nulls()
            inside = str(chosen.slots.get("vote_winner", "value"))
            nested = elements.str.starts_with("{")
            found = self.json.extract(elements.filter(nested), [pointer(inside)])[0]
            values, where = self._texts(pl.concat([found, elements.filter(~nested)])), f"{votes}.{inside}"
        elif votes is not None:
            values, where = pl.concat([self.verdicts(field) for field in votes]), ", ".join(votes)
        else:
            values, where = self.verdicts(str(winner)), str(winner)
        return encoding_of(values.to_list(), where, self.sides(chosen.slots), self.source.outcomes, self.name)

    def unmapped(self, chosen: _Candidate) -> list[str]:
        """Fields that go to `extra`."""
        used = used_fields(chosen.slots)
        return [field for field in self.rows.fields if field not in used]

    def _texts(self, fragments: pl.Series) -> pl.Series:
        texts = self.json.texts(fragments.to_frame("x"))["x"].drop_nulls()
        return texts.filter(texts.str.strip_chars() != "")

    def _type(self, path: FieldPath) -> str:
        return " or ".join(sorted(_types(fragment(self.rows, path if isinstance(path, str) else path[0], self.json)))) or "nothing"


def _types(fragments: pl.Series) -> set[str]:
    firsts = fragments.drop_nulls().str.slice(0, 1).unique().to_list()
    return {_TYPES.get(first, "number") for first in firsts}


def _unsettled(sample: _Sample, candidates: list[_Candidate], fits: list[_Candidate]) -> str:
    columns = "\n".join(
        f"    {field}: {' or '.join(sorted(kinds)) or 'always null'}" for field, kinds in list(sample.types.items())[:60]
    )
    if fits:
        head = f"{sample.name}: more than one layout fits: {' and '.join(f'{one.name} ({one.why})' for one in fits)}."
    else:
        head = f"{sample.name}: no known layout fits these records."
    lacks = "\n".join(f"    {one.name}: {'fits' if not one.lacks else 'lacks ' + '; '.join(one.lacks)}" for one in candidates)
    return (
        f"{head}\n  Columns found:\n{columns}\n  Candidates:\n{lacks}\n"
        f"  Say it in the config, under the source:\n{_snippet(sample, fits or candidates)}"
    )


_NEEDED: Final[dict[str, tuple[str, ...]]] = {
    "chosen_rejected": ("prompt", "chosen", "rejected"),
    "ab": ("prompt", "response_a", "response_b", "winner"),
    "votes": ("prompt", "response_a", "response_b", "votes"),
}


def _snippet(sample: _Sample, candidates: list[_Candidate]) -> str:
    nearest = min(candidates, key=lambda one: len(one.lacks))
    lines = [f"      {slot}: {nearest.slots.get(slot, '<field>')}" for slot in _NEEDED[nearest.name]]
    return "\n".join([f"    layout: {nearest.name}", "    fields:", *lines])
