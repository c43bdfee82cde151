"""The first records of a file and what the config says about them: what every layout's `propose` looks at."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from pipeline.config import FieldPath, LayoutName, SourceConfig
from pipeline.errors import LayoutError
from pipeline.ingest.aliases import (
    GRADED_FIELDS,
    MODELS,
    PROMPT_TAIL,
    RATIONALE_TAIL,
    SIDED_PROMPTS,
    SIDES,
    SLOTS,
    TEXT_MEMBERS,
    plain,
)
from pipeline.ingest.fragments import Json, fragment
from pipeline.ingest.layouts.model_scores import SLOT
from pipeline.ingest.layouts.slots import used_fields
from pipeline.ingest.layouts.verdicts import encoding_of
from pipeline.ingest.records import Encoding, Rows

_SHARED: Final = ("prompt", "system", "tools", "annotator", "strength", "criterion", "context", "rationale", "split", "judged_at")
_PARTS: Final = ("info.title", "info.post", "info.article")  # summarize_from_feedback keeps the text to summarise one level down
_TYPES: Final = {'"': "text", "[": "list", "{": "object", "t": "boolean", "f": "boolean"}


@dataclass
class Proposal:
    """How one layout would read the file.

    Attributes:
        name: the layout.
        slots: what each slot would be read from.
        lacks: what the records do not have; the layout fits when this is empty.
        why: one sentence for people.
        encoding: settles what bare numbers mean in the verdicts; called for the layout that fits, raises LayoutError.
        refusal: why nobody can read such a file, as one message; the answer when no layout fits.
    """

    name: LayoutName
    slots: dict[str, FieldPath]
    lacks: list[str]
    why: str
    encoding: Callable[[], Encoding] = Encoding
    refusal: str | None = None


class Sample:
    """The first records and what the config says about them."""

    def __init__(self, rows: Rows, json: Json, name: str, source: SourceConfig) -> None:
        self.rows, self.json, self.name, self.source = rows, json, name, source
        self.types = {field: _types(rows.frame[column]) for field, column in rows.fields.items()}
        self.by_alias: dict[str, str] = {}
        for field in rows.fields:
            self.by_alias.setdefault(plain(field), field)
        said = source.fields.model_dump(exclude={"model_scores"})
        scored = {f"{SLOT}{model}": fields for model, fields in source.fields.model_scores.items()}
        self.configured = {slot: value for slot, value in said.items() if value is not None} | scored
        for slot, value in self.configured.items():
            if not slot.startswith(("vote_", "candidate_")):
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
        return next((path for path in map(self._named, SLOTS.get(slot, ())) if path is not None), None)

    def _named(self, alias: str) -> str | None:
        """The field of this name, or the part of one that a dotted name means."""
        outer, dot, inner = alias.partition(".")
        if not dot:
            return self.by_alias.get(alias)
        path = f"{self.by_alias[outer]}.{inner}" if outer in self.by_alias else None
        return path if path is not None and fragment(self.rows, path, self.json).drop_nulls().len() else None

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
        slots = {slot: self.text_of(path) for slot, path in found.items() if path is not None}
        self._settle(slots)
        if "prompt" not in slots:
            parts = [part for part in _PARTS if fragment(self.rows, part, self.json).drop_nulls().len()]
            slots |= {"prompt": parts} if parts else {}
        earlier = self.find("history")
        if isinstance(earlier, str) and slots.get("prompt", earlier) != earlier and self.mostly(earlier, r"^\[\s*[\[\]]"):
            slots["history"] = earlier
        first, tail = (self.by_alias.get(alias) for alias in PROMPT_TAIL)
        if first is None or tail is None or "prompt" in self.configured or slots.get("prompt") != first:
            return slots
        text = [r'^["\[{]' if self.rows.are_cells(field) else '^"' for field in (first, tail)]
        if self.mostly(first, text[0]) and self.mostly(tail, text[1]):
            slots["prompt"] = [first, tail]
        return slots

    def _settle(self, slots: dict[str, FieldPath]) -> None:
        """Slots whose names in the source say too little: what their values say decides."""
        context, strength, rationale = (
            None if slot in self.configured else slots.get(slot) for slot in ("context", "strength", "rationale")
        )
        if isinstance(context, str) and "prompt" not in slots and self._messages(context):
            slots["prompt"] = slots.pop("context")
        if isinstance(strength, str):
            numbers = self.verdicts(strength).cast(pl.Float64, strict=False).drop_nulls()
            grades = plain(strength) in GRADED_FIELDS and len(numbers) > 0 and bool((numbers == numbers.round()).all())
            if grades or not numbers.is_between(0, 1).all():  # 1 is not the strongest on a scale that goes on to 3
                del slots["strength"]
        if isinstance(rationale, str) and plain(rationale) == RATIONALE_TAIL[0] and RATIONALE_TAIL[1] in self.by_alias:
            slots["rationale"] = [rationale, self.by_alias[RATIONALE_TAIL[1]]]

    def _messages(self, path: str) -> bool:
        """Whether a field holds lists of messages."""
        roles = self.json.extract(fragment(self.rows, path, self.json), ["/0/role", "/0/from"])
        return self.mostly(path, r"^\[") and any(found.drop_nulls().len() for found in roles)

    def text_of(self, path: FieldPath) -> FieldPath:
        """The text's place inside a field that holds objects with a text (and no role); the field itself otherwise."""
        values = fragment(self.rows, path, self.json).drop_nulls() if isinstance(path, str) else pl.Series([], dtype=pl.String)
        objects = values.filter(values.str.starts_with("{"))
        if path in self.configured.values() or not len(objects) or not self.mostly(path, r"^\{"):
            return path
        keys = set(self.json.keys(objects))
        return next((f"{path}.{member}" for member in TEXT_MEMBERS if member in keys and not keys & {"role", "from"}), path)

    def prompts(self, slots: dict[str, FieldPath], names: tuple[tuple[str, str], ...] = SIDED_PROMPTS) -> list[str]:
        """Add the prompt of each side, where there is no shared one; returns what is missing."""
        given: dict[str, FieldPath] = {slot: self.configured[slot] for slot in ("prompt_a", "prompt_b") if slot in self.configured}
        if not given and "prompt" not in slots:
            found = ((self.by_alias[a], self.by_alias[b]) for a, b in names if a in self.by_alias and b in self.by_alias)
            a, b = next(found, (None, None))
            given = {"prompt_a": self.text_of(a), "prompt_b": self.text_of(b)} if a is not None and b is not None else {}
        if given:
            slots.pop("prompt", None)
        slots |= given
        missing = {"prompt_a", "prompt_b"} - set(given)
        return [f"{missing.pop()} (two prompts need a field each)"] if len(given) == 1 else []

    def begun(self, slots: dict[str, FieldPath], answer: FieldPath | None) -> None:
        """Add the beginning that both answers share, where they are texts that go on from it."""
        path = self.find("prefix")
        named = "prefix" in self.configured or (isinstance(path, str) and plain(path) != "steps" and self.textual(path))
        if path is not None and named and ("prefix" in self.configured or not self.spoken(str(answer))):
            slots["prefix"] = path

    def sides(self) -> tuple[dict[str, FieldPath], list[str]]:
        """The fields of the two answers, and what is missing to know them."""
        given: dict[str, FieldPath] = {slot: self.configured[slot] for slot in ("response_a", "response_b") if slot in self.configured}
        found = [(self.by_alias[a], self.by_alias[b]) for a, b in SIDES if a in self.by_alias and b in self.by_alias]
        found = [pair for pair in dict.fromkeys(found) if all(self.textual(side) for side in pair)]
        if len(given) == 2:
            return given, []
        if not found:
            return given, ["response_a and response_b (two fields such as 'response_a' and 'response_b', 'output_1' and 'output_2')"]
        if len(found) > 1:
            return given, [f"one pair of answers (there are several: {'; '.join(f'{a}, {b}' for a, b in found)})"]
        return {"response_a": self.text_of(found[0][0]), "response_b": self.text_of(found[0][1])} | given, []

    def answers(self) -> tuple[dict[str, FieldPath], list[str]]:
        """Two sides, their models, and the prompt they need when they are plain texts."""
        sides, lacks = self.sides()
        slots = self.shared("shown_first") | sides | self.scored()
        for slot in ("model_a", "model_b"):
            if slot in self.configured:
                slots[slot] = self.configured[slot]
        if "model_a" not in slots and "model_b" not in slots:
            models = [(self.by_alias[a], self.by_alias[b]) for a, b in MODELS if a in self.by_alias and b in self.by_alias]
            if models:
                slots["model_a"], slots["model_b"] = models[0]
        lacks += self.prompts(slots)
        if "prompt" in slots:
            self.begun(slots, slots.get("response_a"))
        asked = "prompt" in slots or "prompt_a" in slots
        if not lacks and not asked and self.source.layout is None and not self.spoken(str(sides["response_a"])):
            lacks.append("prompt (a field such as 'prompt' or 'instruction'; a `layout:` in the config says that there is none)")
        return slots, lacks

    def scored(self) -> dict[str, FieldPath]:
        """The fields of reward models' scores: only a config says which they are."""
        return {slot: path for slot, path in self.configured.items() if slot.startswith(SLOT)}

    def spoken(self, path: str) -> bool:
        """Whether a field's values can be whole conversations, which hold their prompts themselves."""
        values = fragment(self.rows, path, self.json).drop_nulls()
        return bool(values.str.contains(r'^[\[{]|^"(\\n|\s)*(Human|Assistant):').any())

    def verdicts(self, field: str) -> pl.Series:
        """The non-empty verdict texts of a field in the sample."""
        return self.texts(fragment(self.rows, field, self.json))

    def encoding(self, values: pl.Series, where: str, slots: dict[str, FieldPath]) -> Encoding:
        """What bare numbers mean in these verdict texts of the field `where`."""
        return encoding_of(values.to_list(), where, side_names(slots), self.source.outcomes, self.source.grades, self.name)

    def texts(self, fragments: pl.Series) -> pl.Series:
        """The non-empty texts among fragments."""
        texts = self.json.texts(fragments.to_frame("x"))["x"].drop_nulls()
        return texts.filter(texts.str.strip_chars() != "")

    def unmapped(self, proposal: Proposal) -> list[str]:
        """Fields that go to `extra`."""
        used = used_fields(proposal.slots)
        return [field for field in self.rows.fields if field not in used]

    def type(self, path: FieldPath) -> str:
        """The JSON types of a field's values, for messages."""
        return " or ".join(sorted(_types(fragment(self.rows, path if isinstance(path, str) else path[0], self.json)))) or "nothing"


def _types(fragments: pl.Series) -> set[str]:
    firsts = fragments.drop_nulls().str.slice(0, 1).unique().to_list()
    return {_TYPES.get(first, "number") for first in firsts}


def side_names(slots: Mapping[str, FieldPath]) -> tuple[str, str] | None:
    """The names of the two answers' fields; they can be verdicts."""
    a, b = slots.get("response_a"), slots.get("response_b")
    return (a, b) if isinstance(a, str) and isinstance(b, str) else None
