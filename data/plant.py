"""The planted defects: each function changes or adds rows and notes on them what was done."""

import dataclasses
import json
import unicodedata
from collections.abc import Callable, Iterable
from random import Random
from typing import Any

from layouts import ARENA, MESSAGES, PANEL, REVIEWS, TRANSCRIPTS, VOTES, Message, Payload, Row, Vote, pair_key, payload

Material = dict[str, Any]  # planted.yaml
Rows = dict[str, list[Row]]  # by file
Change = Callable[[Row], None]
Revote = Change  # draws a row's votes again after an answer changed

_OTHER = {"a": "b", "b": "a"}


def plant_all(rng: Random, rows: Rows, material: Material, revote: Revote) -> None:
    """Plant every kind of defect, each on rows that carry none yet."""
    _answers(rng, rows, material, revote)
    _verdicts(rng, rows)
    _diverging(rng, rows, material)
    _copies(rng, rows)
    _malformed(rng, rows)


def _pick(rng: Random, rows: Iterable[Row], n: int, fits: Callable[[Row], bool] = lambda _: True) -> list[Row]:
    free = [r for r in rows if r.planted is None and r.of is None and fits(r)]
    return rng.sample(free, n)


def is_single(row: Row) -> bool:
    """Whether the row has one question and one message on each side."""
    return len(row.prompt) == 1 and len(row.a) == len(row.b) == 1


def _gap(row: Row) -> int:
    a, b = row.levels
    return abs(a - b)


def _reply(text: str) -> list[Message]:
    return [{"role": "assistant", "content": text}]


def _replace(row: Row, side: str, text: str, kind: str, flag: str | None, revote: Revote) -> None:
    """Put another answer on one side."""
    if side == "a":
        row.a, row.levels = _reply(text), (0, row.levels[1])
    else:
        row.b, row.levels = _reply(text), (row.levels[0], 0)
    row.planted = kind
    row.flags = [{"side": side, "flag": flag}] if flag else []
    revote(row)


def _answers(rng: Random, rows: Rows, material: Material, revote: Revote) -> None:
    def old(row: Row, side: str) -> str:
        return str((row.a if side == "a" else row.b)[-1]["content"])

    def plant(kind: str, flag: str, texts: list[str], files: list[str], make: Callable[[Row, str, str], str] | None = None) -> None:
        for number, text in enumerate(texts):
            file = files[number % len(files)]
            (row,) = _pick(rng, rows[file], 1, lambda r: is_single(r) and len(r.prompt[-1]["content"].split()) > 8)
            side = rng.choice("ab") if file not in (TRANSCRIPTS, MESSAGES) else "a" if number % 3 == 2 else "b"
            _replace(row, side, make(row, side, text) if make else text, kind, flag, revote)

    every = [ARENA, TRANSCRIPTS, MESSAGES, PANEL, REVIEWS]
    plant("empty", "empty", ["", "", "", "", "  \n", ""], every)
    plant("punctuation", "degenerate", material["punctuation"], every)
    plant("opener", "degenerate", material["openers"], [*every[1:], ARENA])
    plant("foreign_opener", "degenerate", material["foreign_openers"], [MESSAGES, ARENA, REVIEWS, PANEL])
    plant("repetitive", "repetitive", [unit * times for unit, times in material["repetitive"]], every)
    plant("copies_prompt", "copies_prompt", ["", " That is a good question.", "", ""], every, lambda r, _, t: r.prompt[-1]["content"] + t)
    plant("truncated_tail", "truncated_tail", material["truncated"], every, lambda r, s, t: f"{old(r, s)}\n\n{t}")
    # In a chosen/rejected file a marker after a blank line would start a new turn.
    for text in material["role_markers"]:
        files = [ARENA, PANEL, REVIEWS] if text.startswith("\n\n") else [TRANSCRIPTS, MESSAGES]
        plant("role_marker", "role_marker", [text], [rng.choice(files)], lambda r, s, t: old(r, s) + t)
    plant("injected", "injected", material["injected"], [ARENA, MESSAGES, PANEL, REVIEWS])
    plant("unreadable", "unreadable_share", [""] * 4, [REVIEWS, ARENA, TRANSCRIPTS, MESSAGES], lambda r, s, _: _garble(rng, old(r, s)))
    for file, text in ((ARENA, material["repeated"]["arena"]), (PANEL, material["repeated"]["panel"])):
        by_prompt = {r.prompt_id: r for r in _pick(rng, rows[file], 20, is_single)}
        for row in list(by_prompt.values())[:5]:
            _replace(row, rng.choice("ab"), text, "repeated_answer", "repeated_prompts", revote)
    for file, tail in ((TRANSCRIPTS, ""), (MESSAGES, " \n"), (ARENA, ""), (ARENA, "  "), (PANEL, ""), (REVIEWS, "")):
        (row,) = _pick(rng, rows[file], 1, is_single)
        row.b, row.levels = _reply(row.a[0]["content"] + tail), (row.levels[0], row.levels[0])
        row.planted, row.flags = "identical", [{"side": None, "flag": "identical_answers"}]
    _empty_in_votes(rng, rows[VOTES])


def _garble(rng: Random, text: str) -> str:
    return "".join("\ufffd" if rng.random() < 0.7 else c for c in text)


def _same_pair(rows: list[Row], row: Row) -> list[Row]:
    key = pair_key(row)
    return [r for r in rows if pair_key(r) == key]


def _empty_in_votes(rng: Random, rows: list[Row]) -> None:
    """Empty one answer of a pair in every row that votes on it."""
    for _ in range(2):
        (first,) = _pick(rng, rows, 1)
        gone = first.a
        for row in _same_pair(rows, first):
            side = "a" if row.a == gone else "b"
            row.levels = (0, row.levels[1]) if side == "a" else (row.levels[0], 0)
            row.votes[0].outcome = _OTHER[side]
            row.planted, row.flags = "empty", [{"side": side, "flag": "empty"}]
            row.a, row.b = (_reply(""), row.b) if side == "a" else (row.a, _reply(""))


def _verdicts(rng: Random, rows: Rows) -> None:
    """Flips, ties and conflicts."""
    for file in (TRANSCRIPTS, MESSAGES):
        for row in _pick(rng, rows[file], 7, lambda r: _gap(r) >= 2):
            row.a, row.b, row.levels, row.models = row.b, row.a, row.levels[::-1], row.models[::-1]
            row.planted = "flip"
    for row in _pick(rng, rows[ARENA], 8, lambda r: _gap(r) >= 2):
        row.votes[0].outcome, row.planted = _worse(row), "flip"
    for row in _pick(rng, rows[ARENA], 9, lambda r: set(r.levels) == {1, 2}):
        row.votes[0].outcome, row.planted = "both_bad", "tie"
    for row in _pick(rng, rows[ARENA], 15, lambda r: _gap(r) == 1):
        row.votes[0].outcome, row.planted = "tie", "tie"
    for row in [*_pick(rng, rows[PANEL], 5, lambda r: _gap(r) == 1), *_pick(rng, rows[REVIEWS], 4, lambda r: _gap(r) == 1)]:
        row.planted = "tie"
        for vote in row.votes:
            vote.outcome = "tie"
    for _ in range(3):
        (first,) = _pick(rng, rows[VOTES], 1, lambda r: _gap(r) == 1)
        for row in _same_pair(rows[VOTES], first):
            row.votes[0].outcome, row.planted = "tie", "tie"
    for row in [*_pick(rng, rows[PANEL], 4), *_pick(rng, rows[REVIEWS], 4, lambda r: len(r.votes) >= 2)]:
        row.planted = "conflict"
        for number, vote in enumerate(row.votes):  # the last one against the others: 2 to 1, 3 to 1 or 1 to 1
            vote.outcome = _worse(row) if number == len(row.votes) - 1 else _OTHER[_worse(row)]
    for file in (ARENA, ARENA, MESSAGES, MESSAGES, TRANSCRIPTS):
        (first,) = _pick(rng, rows[ARENA], 1)
        against = copy_row(first, file, "conflict")
        if file == ARENA or first.votes[0].outcome == "a":
            swap(against)
        # The same letter for swapped sides, or the arena's loser as the chosen side.
        against.votes[0].outcome = first.votes[0].outcome if file == ARENA else "a"
        first.planted = "conflict"
        rows[file].append(against)
    for row in _pick(rng, rows[REVIEWS], 2):
        row.planted, row.votes = "unnamed_votes", [Vote(_OTHER[_worse(row)]), Vote(_OTHER[_worse(row)])]
    for row in _pick(rng, rows[PANEL], 5):
        row.planted = "missing_vote"
        rng.choice(row.votes).outcome = None


def _worse(row: Row) -> str:
    a, b = row.levels
    return "a" if a < b else "b"


def _diverging(rng: Random, rows: Rows, material: Material) -> None:
    """Let both sides of a transcript go on after their first answers."""
    for row, turns in zip(_pick(rng, rows[TRANSCRIPTS], len(material["follow_ups"]), is_single), material["follow_ups"], strict=True):
        asked = {"role": "user", "content": turns["user"]}
        row.a = [*row.a, asked, *_reply(turns["good"])]
        row.b = [*row.b, asked, *_reply(turns["bad"])]
        row.planted = "diverging"


def copy_row(row: Row, file: str, kind: str) -> Row:
    """Return the row again, planted in a file as a copy of the first."""
    messages = [[dict(m) for m in part] for part in (row.prompt, row.a, row.b)]
    prompt, a, b = messages
    votes = [dataclasses.replace(v) for v in row.votes]
    return dataclasses.replace(row, file=file, prompt=prompt, a=a, b=b, votes=votes, planted=kind, of=row, flags=[])


def swap(row: Row) -> None:
    """Exchange the sides with all that is said about them."""
    row.a, row.b, row.levels, row.models = row.b, row.a, row.levels[::-1], row.models[::-1]
    for vote in row.votes:
        vote.outcome = _OTHER.get(str(vote.outcome), vote.outcome)


def _copies(rng: Random, rows: Rows) -> None:
    taken: set[int] = set()  # an original has one copy, so that each says what it is a copy of

    def add(file: str, to: str, kind: str, n: int, change: Change | None = None, fits: Callable[[Row], bool] = is_single) -> None:
        for row in _pick(rng, rows[file], n, lambda r: fits(r) and r.votes[0].outcome in _OTHER and id(r) not in taken):
            taken.add(id(row))
            copy = copy_row(row, to, kind)
            if to in (TRANSCRIPTS, MESSAGES) and copy.votes[0].outcome == "b":
                swap(copy)
            if change:
                change(copy)
            rows[to].append(copy)

    for file, n in ((TRANSCRIPTS, 4), (MESSAGES, 3), (ARENA, 5), (VOTES, 5), (PANEL, 2), (REVIEWS, 2)):
        add(file, file, "copy", n)
    add(ARENA, MESSAGES, "copy", 4)
    add(ARENA, TRANSCRIPTS, "copy", 4)
    add(MESSAGES, TRANSCRIPTS, "copy", 4, fits=lambda r: len(r.prompt) > 1 and r.prompt[0]["role"] == "user")
    for file in (TRANSCRIPTS, MESSAGES, ARENA, VOTES):
        add(file, file, "copy_nfd", 2, _edit(lambda t: unicodedata.normalize("NFD", t)), fits=lambda r: is_single(r) and _accents(r))
        add(file, file, "copy_crlf", 2, _edit(lambda t: t.replace("\n", "\r\n")), fits=lambda r: is_single(r) and "\n" in r.a[0]["content"])
        add(file, file, "copy_trailing", 2, _edit(lambda t: t + "  \n"))
    add(MESSAGES, MESSAGES, "copy_roles", 3, _rename, fits=lambda r: len(r.prompt) > 1)
    for file, n in ((ARENA, 8), (VOTES, 5), (PANEL, 3), (REVIEWS, 3)):
        add(file, file, "swap", n, swap)


def _accents(row: Row) -> bool:
    text = json.dumps([row.prompt, row.a, row.b], ensure_ascii=False)
    return unicodedata.normalize("NFD", text) != text


def _edit(change: Callable[[str], str]) -> Change:
    def edit(row: Row) -> None:
        for message in (*row.prompt, *row.a, *row.b):
            message["content"] = change(message["content"])

    return edit


def _rename(row: Row) -> None:
    for message in (*row.prompt, *row.a, *row.b):
        message["role"] = {"user": "human", "assistant": "gpt"}.get(message["role"], message["role"])


def _malformed(rng: Random, rows: Rows) -> None:
    """Add rows that cannot be read, made from readable ones."""
    picture = {"type": "image_url", "image_url": {"url": "cat.png"}}
    parts = [{"role": "user", "content": [picture, {"type": "text", "text": "What is this?"}]}]
    narrator = [{"role": "narrator", "content": "It was a dark night."}]
    broken = ("broken_json", "unparsable_row", lambda p: json.dumps(p)[:-25].encode())
    not_utf8 = ("invalid_utf8", "invalid_utf8", lambda p: json.dumps({**p, "note": "caf?"}).encode().replace(b"caf?", b"caf\xe9"))
    cases: dict[str, list[tuple[str, str, Callable[[Any], Payload]]]] = {
        TRANSCRIPTS: [
            broken,
            not_utf8,
            ("not_an_object", "not_an_object", lambda p: [p["chosen"], p["rejected"]]),
            ("missing_field", "missing_field", lambda p: {"chosen": p["chosen"]}),
            ("null_field", "missing_field", lambda p: {**p, "chosen": None}),
            ("wrong_type", "wrong_type", lambda p: {**p, "rejected": True}),
        ],
        MESSAGES: [
            ("null_field", "missing_field", lambda p: {**p, "rejected": None}),
            ("unknown_role", "unknown_role", lambda p: {**p, "prompt": narrator}),
            ("empty_conversation", "empty_conversation", lambda p: {**p, "chosen": []}),
        ],
        ARENA: [
            broken,
            not_utf8,
            ("not_an_object", "not_an_object", lambda _: 17),
            ("missing_field", "missing_field", lambda p: {k: v for k, v in p.items() if k != "winner"}),
            ("null_field", "missing_field", lambda p: {**p, "response_a": None}),
            ("wrong_type", "wrong_type", lambda p: {**p, "response_b": 3}),
            ("wrong_type", "wrong_type", lambda p: {**p, "response_a": False}),
            ("unknown_verdict", "unknown_verdict", lambda p: {**p, "winner": "model_c"}),
        ],
        VOTES: [
            ("wrong_columns", "wrong_column_count", lambda p: [*p, "late"]),
            ("wrong_columns", "wrong_column_count", lambda p: p[:-1]),
            ("wrong_columns", "wrong_column_count", lambda p: p[:2]),
            ("unknown_verdict", "unknown_verdict", lambda p: [*p[:-1], "C"]),
            ("unknown_verdict", "unknown_verdict", lambda p: [*p[:-1], "not sure"]),
        ],
        PANEL: [
            ("not_an_object", "not_an_object", lambda p: p["output_1"]),
            ("missing_field", "missing_field", lambda p: {k: v for k, v in p.items() if k != "output_2"}),
            ("null_field", "missing_field", lambda p: {**p, "output_1": None}),
            ("wrong_type", "wrong_type", lambda p: {**p, "output_1": False}),
            ("no_votes", "no_votes", lambda p: {k: None if k.startswith("annotator") else v for k, v in p.items()}),
        ],
        REVIEWS: [
            ("no_votes", "no_votes", lambda p: {**p, "votes": []}),
            ("missing_field", "missing_field", lambda p: {k: v for k, v in p.items() if k != "response_b"}),
            ("wrong_type", "wrong_type", lambda p: {**p, "response_a": {"markdown": p["response_a"]}}),
            ("non_text", "non_text_content", lambda p: {**p, "prompt": parts}),
            ("wrong_type", "wrong_type", lambda p: {**p, "votes": 2}),
        ],
    }
    for file, kinds in cases.items():
        originals = _pick(rng, rows[file], len(kinds), lambda r: is_single(r) and not r.whole)
        for (kind, reason, spoil), row in zip(kinds, originals, strict=True):
            spoilt = copy_row(row, file, kind)
            spoilt.of, spoilt.reason, spoilt.raw = None, reason, spoil(payload(row))
            rows[file].append(spoilt)
    for row in _pick(rng, rows[REVIEWS], 2):
        spelled = payload(row)
        odd = {"worker": "w-9", "value": "a3", "submitted": "2026-03-30T08:00:00Z"}
        row.raw = {**spelled, "votes": [spelled["votes"][0], odd, *spelled["votes"][1:]]}
        row.planted, row.reason, row.unreadable_votes = "bad_vote", "unknown_verdict", 1
