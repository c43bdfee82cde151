"""Rows that say nearly what another row says: light edits, near misses, paraphrases, and edits with the opposite verdict.

They come after the ordinary rows of a file. `near.yaml` has what is written by hand, `edits.py` what is changed by rule.
"""

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from edits import EDITS
from layouts import ARENA, MESSAGES, PANEL, REVIEWS, TRANSCRIPTS, VOTES, Message, Row, Vote, plain
from plant import Rows, copy_row, is_single, swap

Fits = Callable[[Row], bool]

_EVERYONE = (ARENA, TRANSCRIPTS, MESSAGES, PANEL, REVIEWS)
_ONE_VOTE = (ARENA, TRANSCRIPTS, MESSAGES)
_OTHER_FILES = (VOTES, ARENA, PANEL, TRANSCRIPTS, REVIEWS, MESSAGES)
_WHERE = (("a",), ("prompt", "a", "b"), ("b",), ("a", "b"), ("prompt",), ("prompt", "b"))
_SINGLE_KINDS = (
    "punctuation", "quotes", "first_letter", "lower_case", "typo", "contraction", "white_space", "markdown", "filler", "bullets",
    "spelling",
)  # fmt: skip
_ENGLISH_KINDS = ("contraction", "spelling")
_MIXED = (
    ("typo", "punctuation"), ("first_letter", "filler"), ("quotes", "contraction"), ("markdown", "typo"), ("lower_case", "punctuation"),
    ("white_space", "filler"), ("bullets", "typo"),
)  # fmt: skip
_STAR = (
    ((("typo",), ("a",)), (("punctuation",), ("a", "b")), (("white_space",), ("prompt",))),
    ((("typo",), ("b",)), (("punctuation",), ("a", "b")), (("markdown",), ("prompt", "a"))),
)
_GENTLE = (("punctuation",), ("first_letter",), ("quotes",), ("white_space",), ("typo",), ("lower_case",))


class Near:
    """Makes the rows; every original is used once."""

    def __init__(self, rng: Random, rows: Rows, tasks: Iterator[int]) -> None:
        """Find the rows to start from: no defect, no copies."""
        self.rng, self.tasks, self.turn = rng, tasks, itertools.count()
        self.rows = rows
        taken = {id(row.of) for row in itertools.chain.from_iterable(rows.values())}
        plain_rows = (row for file in _EVERYONE for row in rows[file] if row.planted is None and row.of is None and not row.alike)
        self.free = [row for row in plain_rows if id(row) not in taken and _has_winner(row)]
        rng.shuffle(self.free)
        self.made: Rows = {file: [] for file in rows}

    def take(self, fits: Fits, about: object) -> Row:
        """Return the next unused row that fits."""
        found = next((row for row in self.free if fits(row)), None)
        if found is None:
            raise LookupError(f"no row is left for {about}")
        self.free.remove(found)
        return found

    def add(self, row: Row) -> Row:
        """Note a new row."""
        row.task = next(self.tasks)
        self.made[row.file].append(row)
        return row

    def finish(self) -> None:
        """Put the new rows in their files, in any order, and number them."""
        for file, members in self.made.items():
            self.rng.shuffle(members)
            for number, row in enumerate(members, start=self.rows[file][-1].number + 1):
                row.number = number
            self.rows[file].extend(members)

    def copy(self, row: Row, kind: str, *, elsewhere: bool = False) -> Row:
        """Copy a row into its own file or, as one vote, into another."""
        if not (elsewhere and is_single(row)):
            return copy_row(row, row.file, kind)
        turn = next(self.turn)
        file = next(f for f in (_OTHER_FILES * 2)[turn % 6 :] if f != row.file)
        new = copy_row(row, file, kind)
        outcome = next(vote.outcome for vote in row.votes if vote.outcome in ("a", "b"))
        names = {VOTES: ("heron",), PANEL: ("annotator_1", "annotator_2", "annotator_3"), REVIEWS: ("w-1",)}
        people = names.get(file, (None,))
        new.votes = [Vote(outcome if n == 0 else None, name) for n, name in enumerate(people)]
        if file in (TRANSCRIPTS, MESSAGES) and outcome == "b":
            swap(new)
        return new


def plant_near(rng: Random, rows: Rows, material: dict[str, Any], tasks: Iterator[int]) -> None:
    """Plant every kind; rows that are there already keep their numbers."""
    mark_alike(rows, material["alike"])
    near = Near(rng, rows, tasks)
    _paraphrases(near, material["paraphrases"])
    _near_misses(near, material["near_misses"])
    _long(near, material["long"])
    _chains(near, material["chains"])
    _light_edits(near)
    _stars(near)
    _opposed(near)
    near.finish()


def _has_winner(row: Row) -> bool:
    return any(vote.outcome in ("a", "b") for vote in row.votes)


def _unanimous(row: Row) -> bool:
    return {vote.outcome for vote in row.votes if vote.outcome} in ({"a"}, {"b"})


def _text(messages: list[Message]) -> str:
    return str(messages[-1]["content"])


def _parts(row: Row) -> dict[str, list[Message]]:
    return {"prompt": row.prompt, "a": row.a, "b": row.b}


def _texts(row: Row) -> list[str]:
    return [_text(side) for side in (row.prompt, row.a, row.b)]


def _near_misses(near: Near, changes: dict[str, list[list[str]]]) -> None:
    for kind, entries in changes.items():
        for number, (prompt_id, old, new) in enumerate(entries):
            row = near.take(lambda r, p=prompt_id, o=old: r.prompt_id == p and _count(r, o) == 1, (prompt_id, old))
            miss = near.copy(row, "near_miss", elsewhere=number % 4 == 3)
            _replace(miss, old, new)
            miss.change = [kind]
            if number % 5 == 2 and miss.file not in (TRANSCRIPTS, MESSAGES):
                swap(miss)
            near.add(miss)


def _count(row: Row, old: str) -> int:
    return sum(message["content"].count(old) for part in _parts(row).values() for message in part)


def _replace(row: Row, old: str, new: str) -> None:
    for part in _parts(row).values():
        for message in part:
            message["content"] = message["content"].replace(old, new)


def _paraphrases(near: Near, entries: list[dict[Any, Any]]) -> None:
    for number, entry in enumerate(entries):
        levels = {key for key in entry if isinstance(key, int)}
        row = near.take(lambda r, e=entry, s=levels: r.prompt_id == e["id"] and set(r.levels) == s and is_single(r), entry["id"])
        other = near.copy(row, "paraphrase", elsewhere=number % 3 == 2)
        other.prompt[-1]["content"] = plain(entry["prompt"])
        for side, level in zip((other.a, other.b), other.levels, strict=True):
            side[-1]["content"] = plain(entry[level])
        near.add(other)


def _long(near: Near, entries: list[dict[Any, Any]]) -> None:
    """Pairs of long answers, each with a light edit and with a near miss in the last sentence of either answer."""
    for number, entry in enumerate(entries):
        better, worse = sorted((key for key in entry if isinstance(key, int)), reverse=True)
        prompt = [{"role": "user", "content": entry["prompt"]}]
        a, b = ([{"role": "assistant", "content": entry[level]}] for level in (better, worse))
        file = (ARENA, REVIEWS)[number % 2]
        votes = [Vote("a")] if file == ARENA else [Vote("a", "w-1"), Vote("a", "w-2")]
        row = near.add(Row(file, entry["id"], prompt, a, b, (better, worse), ("model-alder", "model-elm"), votes, 0))
        for kinds in (("typo",), ("white_space", "filler")):
            _edited(near, row, kinds, ("prompt", "a", "b"))
        for old, new in entry["last"]:
            miss = near.copy(row, "near_miss")
            _replace(miss, old, new)
            miss.change = ["number" if old.endswith("palms") or old.endswith("year") else "name"]
            near.add(miss)


def _changed(row: Row, kinds: tuple[str, ...], where: tuple[str, ...]) -> dict[str, str] | None:
    """Apply edits to some texts of a row: new texts by place, or none where a kind leaves a text as it is."""
    rng = Random(f"{row.task} {kinds}")
    new = {place: _text(_parts(row)[place]) for place in where}
    for kind in kinds:
        for place, text in new.items():
            new[place] = EDITS[kind](rng, text, "user" if place == "prompt" else "assistant")
            if plain(new[place]) == plain(text):
                return None
    return new


def _edited(
    near: Near, row: Row, kinds: tuple[str, ...], where: tuple[str, ...], planted: str = "light_edit", *, elsewhere: bool = False
) -> Row:
    """Add a copy of a row with its texts edited."""
    texts = _changed(row, kinds, where)
    if texts is None:
        raise LookupError(f"{kinds} leave {row.prompt_id} as it is")
    other = near.copy(row, planted, elsewhere=elsewhere)
    swapped = other.levels != row.levels
    for place, text in texts.items():
        at = {"a": "b", "b": "a"}.get(place, place) if swapped else place
        _parts(other)[at][-1]["content"] = text
    other.change = list(kinds)
    return near.add(other)


def _editable(row: Row, kinds: tuple[str, ...], where: tuple[str, ...], spanish: bool) -> bool:
    """Whether all votes agree and every text to edit is prose on which every kind of edit changes something."""
    prose = not any(mark in text for text in _texts(row) for mark in ("```", "|", "{", "<"))
    language = str(row.prompt_id).startswith("spanish") == spanish
    return _unanimous(row) and prose and language and _changed(row, kinds, where) is not None


def _light_edits(near: Near) -> None:
    plans = [((kind,), n) for kind in _SINGLE_KINDS for n in range(7)] + [(kinds, n) for kinds in _MIXED for n in range(2)]
    for number, (kinds, n) in enumerate(plans):
        spanish = n == 1 and not set(kinds) & {*_ENGLISH_KINDS, "bullets"}
        scarce = set(kinds) & {"quotes", "contraction", "spelling", "bullets"}
        where = ("a",) if scarce and n % 2 else ("b",) if scarce else _WHERE[number % len(_WHERE)]
        elsewhere = number % 3 == 1
        fits = lambda r, k=kinds, w=where, s=spanish, e=elsewhere: _editable(r, k, w, s) and (is_single(r) or not e)  # noqa: E731
        row = near.take(fits, (kinds, where))
        other = _edited(near, row, kinds, where, elsewhere=elsewhere)
        if number % 4 == 2 and other.file not in (TRANSCRIPTS, MESSAGES):
            swap(other)


def _stars(near: Near) -> None:
    """Edit one row three times."""
    for number in range(6):
        row = near.take(lambda r, n=number: is_single(r) and all(_editable(r, k, w, False) for k, w in _STAR[n % 2]), "a star")
        for kinds, where in _STAR[number % 2]:
            _edited(near, row, kinds, where, elsewhere=kinds == ("punctuation",))


def _chains(near: Near, entries: list[list[Any]]) -> None:
    """Edit a row, and then the edited one: which of the three are merged depends on which comes first."""
    for prompt_id, *edits in entries:
        slips = [list(zip(edit[::2], edit[1::2], strict=True)) for edit in edits]
        old = [before for edit in slips for before, _ in edit]
        fits = lambda r, p=prompt_id, o=old: r.prompt_id == p and _unanimous(r) and all(_count(r, one) == 1 for one in o)  # noqa: E731
        row = near.take(fits, edits)
        for edit in slips:
            row = near.add(copy_row(row, row.file, "chain_edit"))
            for before, after in edit:
                _replace(row, before, after)
            row.change = ["typo"]


def mark_alike(rows: Rows, entries: list[tuple[str, int, int]]) -> None:
    """Mark the rows whose answers are nearly those of another row: what becomes of them is left open."""
    alike = {(prompt, low, high) for prompt, *levels in entries for low, high in (levels, levels[::-1])}
    concerned: dict[str, list[Row]] = defaultdict(list)
    for row in itertools.chain.from_iterable(rows.values()):
        if row.prompt_id in {prompt for prompt, *_ in alike} and row.levels[0] != row.levels[1]:
            concerned[row.prompt_id].append(row)

    def same(one: Row, two: Row) -> bool:
        matched = [
            all(x == y or (one.prompt_id, x, y) in alike for x, y in zip(one.levels, levels, strict=True))
            for levels in (two.levels, two.levels[::-1])
        ]
        return any(matched) and set(one.levels) != set(two.levels)

    for members in concerned.values():
        for row in members:
            row.alike = any(same(row, other) for other in members)


def _opposed(near: Near) -> None:
    for file, n in zip(_ONE_VOTE, (6, 4, 4), strict=True):
        for number in range(n):
            kinds = _GENTLE[number % len(_GENTLE)]
            row = near.take(lambda r, k=kinds, f=file: r.file == f and _editable(r, k, ("a",), False), kinds)
            other = _edited(near, row, kinds, ("a",), "opposed_edit")
            if file == ARENA:
                other.votes[0].outcome = {"a": "b", "b": "a"}[str(row.votes[0].outcome)]
            else:  # what was rejected is the chosen side now
                swap(other)
                other.votes = [Vote("a")]
            for one in (row, other):
                one.flags = [{"side": None, "flag": "near_duplicate_conflict"}]
