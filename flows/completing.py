"""What a config would have to say of a file that detection refuses: guesses from names and values, each tried before it is told."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from flows.inputs import open_joins
from pipeline.config import SourceConfig
from pipeline.errors import PrefineError
from pipeline.ingest.aliases import PROMPT_TAIL, SLOTS, plain
from pipeline.ingest.layouts.verdicts import spelling, words
from pipeline.ingest.preview import Field, Preview, key_fits, preview
from pipeline.ingest.records import Encoding

_MARKS: Final = (("a", "b"), ("1", "2"), ("x", "y"), ("0", "1"), ("left", "right"), ("first", "second"))
_TEXT_CHARACTERS: Final = 20  # mean length; shorter values are names, ids or verdicts
_KEY: Final = r"(?i)(.*[-_. ])?(id|idx|index|key|uid|uuid|hash|no|number)"
_REASON: Final = r"(?i).*(reason|rationale|explanation|justification|critique).*"
_NEIGHBOURS: Final = 20  # files that are tried as the other half of a join


@dataclass(frozen=True)
class Completion:
    """Keys of a source that make a refused file readable; they were tried.

    Attributes:
        said: layout, fields and perhaps join, as in the config.
        why: one sentence for people.
        joined: the file that holds the texts; None when this one has them itself.
    """

    said: dict[str, Any]
    why: str
    joined: str | None = field(default=None)


def complete(place: str, name: str, seen: Preview, others: list[tuple[str, str, Preview]], base: Path) -> Completion | None:
    """What a config could say so that a refused file is read; None when nothing that was tried works.

    Args:
        place: the file.
        name: the file as published.
        seen: what its first records show.
        others: place, name and preview of the other files there.
        base: where published names start.
    """
    winner = _winner(seen)
    if winner is None:
        return None
    slots = _texts(seen.fields, winner)
    if slots is not None:
        return _tried(place, name, seen, {"winner": winner, **slots}, None, None, base)
    for other_place, other_name, other in others[:_NEIGHBOURS]:
        if _texts(other.fields, winner) is None:
            continue
        for key in _keys(seen, other):
            if not key_fits(place, other_place, key):
                continue
            join = {"uri": other_place, "on": key}
            both = _previewed(place, name, {"join": [join]}, base)
            slots = _texts(both.fields, winner) if both else None
            if slots is not None:
                done = _tried(place, name, seen, {"winner": winner, **slots}, join, other_name, base)
                if done is not None:
                    return done
    return None


def _previewed(place: str, name: str, said: dict[str, Any], base: Path) -> Preview | None:
    try:
        source = SourceConfig.model_validate({"name": "tried", "uri": place, **said})
        with open_joins(source, base) as joined:
            return preview(place, name, source, joined)
    except (PrefineError, ValidationError):
        return None


def _tried(
    place: str, name: str, seen: Preview, fields: dict[str, str | list[str]], join: dict[str, str] | None, other: str | None, base: Path
) -> Completion | None:
    has_annotator = any(plain(one.name) in SLOTS["annotator"] for one in seen.fields)
    reason = next((one.name for one in seen.fields if re.fullmatch(_REASON, one.name) and one.characters >= _TEXT_CHARACTERS), None)
    fields = fields | ({"rationale": reason} if reason else {})
    said: dict[str, Any] = {"layout": "votes" if has_annotator else "ab", "fields": fields} | ({"join": [join]} if join else {})
    found = _previewed(place, name, said, base)
    if found is None or found.layout is None:
        return None
    if join is None:
        return Completion(said, f"its fields look like a verdict ({fields['winner']!r}) on two answers. The config below works")
    why = f"it has verdicts ({fields['winner']!r}) and no texts; {other} has texts with the same {join['on']!r}. The join below works"
    return Completion(said, why, join["uri"])


def _winner(seen: Preview) -> str | None:
    """The field of the verdicts: by name, else the one whose values are verdicts."""
    named = next((str(one.slots["winner"]) for one in seen.proposals if one.name == "ab" and "winner" in one.slots), None)
    if named is not None:
        return named
    known = words(Encoding("one_based"), None, {})
    return next((one.name for one in seen.fields if sum(spelling(text) in known for text in one.spellings) > 1), None)


def _texts(fields: list[Field], winner: str) -> dict[str, str | list[str]] | None:
    """Fields of prompt and two answers, by their lengths and the pairs that their names make."""
    texts = {one.name: one for one in fields if one.characters >= _TEXT_CHARACTERS and one.name != winner}
    pairs = [(a, b) for a in texts for b in texts if _are_sides(a, b)]
    if not pairs:
        return None
    sides = max(pairs, key=lambda pair: texts[pair[0]].characters + texts[pair[1]].characters)  # the other pairs name models
    left = [one for one in texts.values() if one.name not in sides and not re.fullmatch(_REASON, one.name)]
    if not left:
        return None
    known = [*SLOTS["prompt"], "text"]
    first = min(left, key=lambda one: (known.index(_last(one.name)) if _last(one.name) in known else len(known), -one.characters))
    tail = [one.name for one in left if (_last(first.name), _last(one.name)) == PROMPT_TAIL]
    return {"prompt": [first.name, *tail] if tail else first.name, "response_a": sides[0], "response_b": sides[1]}


def _last(name: str) -> str:
    return plain(name.rsplit(".", 1)[-1])


def _are_sides(a: str, b: str) -> bool:
    """Whether two names differ in a mark of sides alone: result_x and result_y."""
    parts_a, parts_b = (re.findall(r"\d+|[a-z]+|[^a-z\d]+", plain(name)) for name in (a, b))
    differ = [pair for pair in zip(parts_a, parts_b, strict=False) if pair[0] != pair[1]]
    return len(parts_a) == len(parts_b) and len(differ) == 1 and differ[0] in _MARKS


def _keys(seen: Preview, other: Preview) -> list[str]:
    """Fields of both files that may be the key, those that are called like one first."""
    theirs = {one.name for one in other.fields}
    shared = [one.name for one in seen.fields if one.name in theirs and one.type in ("text", "number")]
    return sorted(shared, key=lambda name: re.fullmatch(_KEY, name) is None)
