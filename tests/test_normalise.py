"""Messages that say the same become equal, and what was changed is told."""

import re
import unicodedata

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from pipeline.normalise import UNCHANGED_BY_NFC, normalised
from pipeline.schemas import MESSAGES_PL

STEPS = ("roles", "unicode", "line_ends", "trailing_space")
SPACES = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
ROLES = {"human": "user", "gpt": "assistant", "developer": "system", "observation": "tool"}

letters = st.sampled_from("ae\u0301\u030a\u00c5\u212b\u2019\u4e00\u1100\u1161\uac00\u11a8\u0915\u093c\r\n \t\u2003")
texts = st.text(letters, max_size=6)
conversations = st.lists(st.tuples(st.sampled_from(["user", "Human", " gpt ", "assistant", "developer", "observation"]), texts), max_size=3)


def column(rows: list[list[tuple[str, str]]]) -> pl.Series:
    return pl.Series("prompt", [[{"role": role, "content": text} for role, text in row] for row in rows], dtype=MESSAGES_PL)


@given(rows=st.lists(conversations, max_size=5))
def test_every_text_is_what_the_steps_make_of_it_one_after_the_other(rows: list[list[tuple[str, str]]]) -> None:
    expected, changes = [], []
    for row in rows:
        said, changed = [], dict.fromkeys(STEPS, False)
        for role, text in row:
            name = ROLES.get(role.strip().lower(), role.strip().lower())
            composed = unicodedata.normalize("NFC", text)
            lines = re.sub("\r\n?", "\n", composed)
            end = lines.rstrip(SPACES)
            marks = (name != role, composed != text, lines != composed, end != lines)
            changed = {step: changed[step] or mark for step, mark in zip(STEPS, marks, strict=True)}
            said.append((name, end))
        expected.append(said)
        changes.append(changed)

    messages, found = normalised(column(rows))

    assert [[(m["role"], m["content"]) for m in row] for row in messages.to_list()] == expected
    assert messages.dtype == MESSAGES_PL
    assert {step: found[step].to_list() for step in STEPS} == {step: [one[step] for one in changes] for step in STEPS}


def test_characters_taken_for_unchanged_by_nfc_never_change_or_combine() -> None:
    safe = re.compile(f"[{UNCHANGED_BY_NFC}]")
    every = [chr(c) for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
    later = {part for c in every for part in unicodedata.decomposition(c).split()[1:] if not unicodedata.decomposition(c).startswith("<")}
    vowels_and_finals = {chr(c) for c in [*range(0x1161, 0x1176), *range(0x11A8, 0x11C3)]}

    changed = {
        c
        for c in every
        if unicodedata.normalize("NFC", c) != c or unicodedata.combining(c) or f"{ord(c):04X}" in later or c in vowels_and_finals
    }

    assert [f"U+{ord(c):04X}" for c in sorted(changed) if safe.match(c)] == []


def test_a_long_text_of_common_characters_keeps_its_other_fields() -> None:
    text = "caf\u00e9 \u201cyes\u201d \u4e2d\u6587 \U0001f600 "
    told = {"role": "user", "content": text, "name": "n", "tool_calls": None, "tool_call_id": "1", "reasoning_content": None}

    messages, _ = normalised(pl.Series([[told], []], dtype=MESSAGES_PL))

    assert messages.to_list() == [[told | {"content": text.strip()}], []]
