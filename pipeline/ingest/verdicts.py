"""Verdicts in their many spellings -> a, b, tie, both_bad."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

import polars as pl

from pipeline.errors import LayoutError
from pipeline.ingest.aliases import plain
from pipeline.ingest.records import Encoding

_NOUNS: Final = (
    "model", "response", "answer", "assistant", "output", "completion", "candidate", "system", "generator", "option", "text",
    "argument", "side", "conversation", "summary", "reply",
)
_TIES: Final = (
    "tie", "tied", "draw", "equal", "same", "both", "both_good", "tie_both_good", "tie_(bothgood)", "tie_(both_good)", "no_preference",
    "a=b", "a_=_b", "[[c]]",
)
_BOTH_BAD: Final = (
    "both_bad", "bothbad", "tie_(bothbad)", "tie_(both_bad)", "tie_both_bad", "tie_bothbad", "neither", "both_are_bad",
)
_ID_FIELDS: Final = ("better_response_id", "preferred_response_id", "safer_response_id")  # hold an index into response_0, response_1
ACCEPTED: Final = "a, b, tie, both_bad in their usual spellings (model_a, response_b, left, right, first, 1, 2, ...)"


_NUMBER: Final = r"^-?\d+(\.\d+)?$"


def spelled(text: pl.Expr) -> pl.Expr:
    """Verdict texts as they are compared: without case and outer blanks, `-` and blanks as `_`, 1.0 as 1."""
    bare = text.str.strip_chars().str.to_lowercase()
    number = bare.str.replace(r"\.0+$", "")
    return pl.when(bare.str.contains(_NUMBER)).then(number).otherwise(bare.str.replace_all(r"[\s_\-]+", "_"))


def spelling(text: str) -> str:
    """`spelled` for one text."""
    bare = text.strip().lower()
    return re.sub(r"\.0+$", "", bare) if re.match(_NUMBER, bare) else re.sub(r"[\s_\-]+", "_", bare)


def words(encoding: Encoding, sides: tuple[str, str] | None, outcomes: Mapping[str, str]) -> dict[str, str]:
    """Spelling -> a, b, tie or both_bad.

    Args:
        encoding: what bare integers mean.
        sides: the source's names of the two answers; they are verdicts too.
        outcomes: the config's own words; they win over everything.
    """
    known = dict.fromkeys(_TIES, "tie") | dict.fromkeys(_BOTH_BAD, "both_bad")
    numbered = zero_based(sides) is False
    for outcome, other, marks in (("a", "b", ("a", "1", "left", "first")), ("b", "a", ("b", "2", "right", "second"))):
        for mark in marks:
            if not mark.isdigit():
                known |= {mark: outcome, f"{mark}_is_better": outcome, f"{mark}_wins": outcome, f"{mark}_better": outcome}
            if mark.isdigit() and not numbered:
                continue
            known |= {f"{noun}_{mark}": outcome for noun in _NOUNS} | {f"{noun}{mark}": outcome for noun in _NOUNS}
            known |= {f"{mark}_{noun}": outcome for noun in _NOUNS}
            known |= {f"{noun}_{mark}_is_better": outcome for noun in _NOUNS} | {f"{noun}_{mark}_wins": outcome for noun in _NOUNS}
        for sign in (">", ">>", "_>_", "_>>_"):
            known |= {f"{outcome}{sign}{other}": outcome}
        for sign in ("<", "<<", "_<_", "_<<_"):
            known |= {f"{other}{sign}{outcome}": outcome}
    known |= {"a1": "a", "a2": "b", "[[a]]": "a", "[[b]]": "b"}
    if encoding == "one_based":
        known |= {"1": "a", "2": "b", "0": "tie"}
    elif encoding == "zero_based":
        known |= {"0": "a", "1": "b"}
    if sides is not None:
        known |= {spelling(sides[0]): "a", spelling(sides[1]): "b"}
    return known | {spelling(text): outcome for text, outcome in outcomes.items()}


def zero_based(sides: tuple[str, str] | None) -> bool:
    """Whether the sides are called ..._0 and ..._1, so that 1 names the second."""
    return sides is not None and plain(sides[0]).endswith("0") and plain(sides[1]).endswith("1")


def encoding_of(
    values: Iterable[str], winner: str, sides: tuple[str, str] | None, outcomes: Mapping[str, str], where: str
) -> Encoding:
    """What the bare numbers and booleans of a file's first verdicts mean.

    1 and 2 are a and b, and a 0 beside them is a tie. Everything else that is not a word is ambiguous.

    Args:
        values: verdict texts of the first records.
        winner: the field they stand in.
        sides: the source's names of the two answers.
        outcomes: the config's own words.
        where: the file, for the message.

    Raises:
        LayoutError: the numbers can be read in more than one way; names them and the config that settles it.
    """
    known = {spelling(text) for text in outcomes}
    bare = {spelling(value) for value in values} - known
    numbers = {value for value in bare if re.match(_NUMBER, value) or value in {"true", "false"}}
    if not numbers:
        return "words"
    if zero_based(sides):
        if numbers <= {"0", "1"} and plain(winner) in _ID_FIELDS:
            return "zero_based"
    elif numbers <= {"0", "1", "2"} and not numbers <= {"0"} and numbers != {"0", "1"}:
        return "one_based"
    found = sorted(numbers)
    guess = ", ".join(f"'{value}': {outcome}" for value, outcome in zip(found, ("a", "b", "tie", "both_bad"), strict=False))
    raise LayoutError(
        f"{where}: the verdicts in {winner!r} are {', '.join(found)}, which can be read in more than one way; expected 1 and 2, "
        f"with 0 for a tie, or words. Say in the config what each means, e.g.\n  outcomes: {{{guess}}}"
    )
