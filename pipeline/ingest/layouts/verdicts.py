"""Verdicts in their many spellings -> a, b, tie, both_bad or none, and how strong the preference is."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

import polars as pl

from pipeline.config import GradesConfig
from pipeline.errors import LayoutError
from pipeline.ingest.aliases import GRADED_FIELDS, plain
from pipeline.ingest.records import Encoding

_NOUNS: Final = (
    "model", "response", "answer", "assistant", "output", "completion", "candidate", "system", "generator", "option", "text",
    "argument", "side", "conversation", "summary", "reply",
)
_TIES: Final = (
    "tie", "tied", "draw", "equal", "same", "both", "both_good", "tie_both_good", "tie_(bothgood)", "tie_(both_good)", "no_preference",
    "about_the_same", "equally_good", "neither_is_better", "a=b", "a_=_b", "[[a=b]]", "[[b=a]]", "[[c]]",
)
_BOTH_BAD: Final = (
    "both_bad", "bothbad", "tie_(bothbad)", "tie_(both_bad)", "tie_both_bad", "tie_bothbad", "neither", "both_are_bad", "equally_bad",
)
_ID_FIELDS: Final = ("better_response_id", "preferred_response_id", "safer_response_id")  # hold an index into response_0, response_1
_ACCEPTED: Final = "a, b, tie, both_bad in their usual spellings (model_a, response_b, left, right, first, 1, 2, ...)"

# Degree of a comparison in words -> strength. The steps are those of the Llama 2 report (arXiv:2307.09288, table 27: negligibly 0,
# slightly 1/3, better 2/3, significantly 1) and of HelpSteer2 (slightly better, better, much better).
LADDER: Final[dict[str, float]] = (
    {"negligibly": 0.0}
    | dict.fromkeys(("slightly", "marginally", "somewhat", "weakly", "a_little", "a_bit"), 1 / 3)
    | {"moderately": 2 / 3}
    | dict.fromkeys(("much", "far", "significantly", "strongly", "considerably", "substantially", "vastly", "a_lot", "clearly"), 1.0)
)
_BETTER: Final = LADDER["moderately"]  # `better` without a degree
# Signs. In double brackets they are Arena-Hard's, whose words for them are "significantly better" and "slightly better".
_SIGNS: Final = {">>": LADDER["significantly"], ">": _BETTER, "[[>>": LADDER["significantly"], "[[>": LADDER["slightly"]}

# HelpSteer2 and 3: -3 is "response 1 is much better", 3 "response 2 is much better"; -100 is "neither response is valid".
_SIGNED: Final = GradesConfig(first=-3, second=3)
SENTINELS: Final = (-100.0, -99.0, -999.0)  # outside a scale they say that there is no verdict

_SHOWN: Final = 8  # values an error lists
_NUMBER: Final = r"^[+-]?\d+(\.\d+)?(e[+-]?\d+)?$"
_DEGREE: Final = rf"(?:^|_)({'|'.join(LADDER)})(?:_|$)"
_BEFORE: Final = r"^_?(?:the_)?(?:prefers?_)?(?:the_)?"
MARKED: Final = r"\[\[[^\[\]]{1,8}\]\]"  # the verdict at the end of what a judge writes
_AFTER: Final = r"(?:_is|_was)?_(?:better|preferred|wins?|won)(?:_than_.+)?_?$"


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
    """Spelling -> a, b, tie, both_bad or none.

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
                known[mark] = outcome
            if mark.isdigit() and not numbered:
                continue
            known |= {form: outcome for noun in _NOUNS for form in (f"{noun}_{mark}", f"{noun}{mark}", f"{mark}_{noun}")}
        for more in (">", ">>"):
            less = more.replace(">", "<")
            for form in (f"{outcome}{more}{other}", f"{outcome}_{more}_{other}", f"{other}{less}{outcome}", f"{other}_{less}_{outcome}"):
                known |= {form: outcome, f"[[{form}]]": outcome}
    known |= {"a1": "a", "a2": "b", "[[a]]": "a", "[[b]]": "b"}
    if encoding.kind == "one_based":
        known |= {"1": "a", "2": "b", "0": "tie"}
    elif encoding.kind == "zero_based":
        known |= {"0": "a", "1": "b"}
    if sides is not None:
        known |= {spelling(sides[0]): "a", spelling(sides[1]): "b"}
        if plain(sides[1]).startswith("baseline_"):
            known |= {"model": "a", "baseline": "b"}
    return known | {spelling(text): outcome for text, outcome in outcomes.items()}


def zero_based(sides: tuple[str, str] | None) -> bool:
    """Whether the sides are called ..._0 and ..._1, so that 1 names the second."""
    return sides is not None and plain(sides[0]).endswith("0") and plain(sides[1]).endswith("1")


def read(verdicts: pl.Series, encoding: Encoding, known: Mapping[str, str]) -> pl.DataFrame:
    """What verdict texts say.

    Args:
        verdicts: texts, as the source has them.
        encoding: what bare numbers mean.
        known: spelling -> outcome, see `words`.

    Returns:
        `outcome` (a, b, tie, both_bad, none; null when it says nothing known) and `strength` (0 to 1; null where it tells none).
    """
    texts = verdicts.alias("verdict").to_frame()
    each = texts.unique().lazy().with_columns(text=spelled(pl.col("verdict")))  # lazy: a shared expression is computed once
    word, force = in_words(pl.col("text"), known)
    number, grade = in_numbers(pl.col("text"), encoding)
    each = each.with_columns(word=word, force=force, number=number, grade=grade)
    strength = pl.when(pl.col("word").is_null()).then("grade").otherwise("force").cast(pl.Float32)
    said = each.select("verdict", outcome=pl.coalesce("word", "number"), strength=strength).collect()
    return texts.join(said, on="verdict", how="left", maintain_order="left").select("outcome", "strength")


def in_words(text: pl.Expr, known: Mapping[str, str]) -> tuple[pl.Expr, pl.Expr]:
    """Outcome and strength of spelled texts that are words."""
    exact = text.replace_strict(dict(known), default=None, return_dtype=pl.String)
    sides = {name: outcome for name, outcome in known.items() if outcome in ("a", "b")}
    side = text.str.replace(_DEGREE, "_").str.replace(_BEFORE, "").str.replace(_AFTER, "").str.strip_chars("_")
    outcome = pl.coalesce(exact, side.replace_strict(sides, default=None, return_dtype=pl.String))
    marked = text.str.extract_all(MARKED).list.unique()
    mark = pl.when(outcome.is_null() & (marked.list.len() == 1)).then(marked.list.first())  # two different marks say nothing
    outcome = pl.coalesce(outcome, mark.replace_strict(dict(known), default=None, return_dtype=pl.String))
    return outcome, pl.when(outcome.is_in(["a", "b"])).then(degree(pl.coalesce(mark, text)))


def degree(bare: pl.Expr) -> pl.Expr:
    """The strength that words of comparison tell in spelled texts, by LADDER; null where there are none."""
    told = bare.str.extract(_DEGREE).replace_strict(LADDER, default=None, return_dtype=pl.Float64)
    arrow = bare.str.extract(r"(>+|<+)").str.replace_all("<", ">")
    marked = pl.when(bare.str.starts_with("[[")).then(pl.lit("[[") + arrow).otherwise(arrow)
    sign = marked.replace_strict(_SIGNS, default=None, return_dtype=pl.Float64)
    return pl.coalesce(told, sign, pl.when(bare.str.contains(r"(?:^|_)better(?:_|$)")).then(pl.lit(_BETTER)))


def in_numbers(text: pl.Expr, encoding: Encoding) -> tuple[pl.Expr, pl.Expr]:
    """Outcome and strength of spelled texts that are numbers on a scale; both null where the encoding has none."""
    nothing = pl.lit(None, pl.String), pl.lit(None, pl.Float64)
    scale = encoding.grades
    if encoding.kind == "one_based":
        scale = GradesConfig(first=1, second=2)
    if scale is None:
        return nothing
    value = pl.when(text.str.contains(_NUMBER)).then(text).cast(pl.Float64, strict=False)
    if encoding.kind == "one_based":
        value = pl.when((value > 1) & (value < 2)).then(value)  # 1 and 2 are sides, of whatever strength
    middle = scale.middle
    on_scale = value.is_between(min(scale.first, scale.second), max(scale.first, scale.second))
    towards_first = (value < middle) if scale.first < middle else (value > middle)
    outcome = (
        pl.when(~on_scale & value.is_in(SENTINELS)).then(pl.lit("none"))
        .when(~on_scale).then(None)
        .when(value == middle).then(pl.lit("tie"))
        .when(towards_first).then(pl.lit("a"))
        .when(value.is_not_null()).then(pl.lit("b"))
    )
    furthest = pl.when(towards_first).then(pl.lit(abs(scale.first - middle))).otherwise(pl.lit(abs(scale.second - middle)))
    return outcome, pl.when(on_scale).then((value - middle).abs() / furthest)


def accepted(encoding: Encoding) -> str:
    """The verdicts that are understood, for messages."""
    if encoding.kind == "flags":
        return "exactly one of them to be set"
    if encoding.kind == "scores":
        return "a number for each answer"
    scale = encoding.grades
    values = _ACCEPTED if scale is None else f"a number from {scale.first:g} to {scale.second:g}"
    return f"{values}, or a word from `outcomes:`"


def encoding_of(
    values: Iterable[str],
    winner: str,
    sides: tuple[str, str] | None,
    outcomes: Mapping[str, str],
    grades: GradesConfig | None,
    where: str,
) -> Encoding:
    """What the bare numbers and booleans of a file's first verdicts mean.

    1 and 2 are a and b, a 0 or 1.5 beside them is a tie, and numbers between them are grades. Integers from -3 to 3 in a field
    for graded preferences are grades. Beside words that name both sides, a number is no verdict. Everything else that is not a
    word is ambiguous.

    Args:
        values: verdict texts of the first records.
        winner: the field they stand in.
        sides: the source's names of the two answers.
        outcomes: the config's own words.
        grades: the config's scale; it settles everything.
        where: the file, for the message.

    Raises:
        LayoutError: the verdicts can be read in more than one way; names them and the config that settles it.
    """
    if grades is not None:
        return Encoding("graded", grades)
    known = {spelling(text) for text in outcomes}
    bare = {spelling(value) for value in values} - known
    booleans = bare & {"true", "false"}
    numbers = sorted((float(value), value) for value in bare if re.match(_NUMBER, value))
    if not numbers and not booleans:
        sideless = sorted(value for value in bare if value.removesuffix("_better") in LADDER)
        if sideless:
            raise LayoutError(_ambiguous(where, winner, sideless, f"outcomes: {{'{sideless[0]}': a}}"))
        return Encoding()
    if not booleans:
        amounts = [number for number, _ in numbers]
        if zero_based(sides) and set(amounts) <= {0, 1}:
            if plain(winner) in _ID_FIELDS:
                return Encoding("zero_based")
        elif not zero_based(sides) and all(n == 0 or 1 <= n <= 2 for n in amounts) and max(amounts) >= 1 and set(amounts) != {0, 1}:
            return Encoding("one_based")
        if plain(winner) in GRADED_FIELDS and _signed([n for n in amounts if n not in SENTINELS]):
            return Encoding("graded", _SIGNED)
    spoken = words(Encoding(), sides, outcomes)
    if {"a", "b"} <= {spoken.get(value) for value in bare if not re.match(_NUMBER, value)}:
        return Encoding()  # words name both sides, so a stray number is a fact about its row
    found = [value for _, value in numbers] + sorted(booleans)
    raise LayoutError(_ambiguous(where, winner, found, _remedy(found)))


def _signed(amounts: list[float]) -> bool:
    whole = all(n == int(n) and abs(n) <= 3 for n in amounts)
    return whole and any(n < 0 for n in amounts) and any(abs(n) >= 2 for n in amounts)


def _ambiguous(where: str, winner: str, found: list[str], remedy: str) -> str:
    shown = ", ".join(found[:_SHOWN]) + (f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else "")
    return (
        f"{where}: the verdicts in {winner!r} are {shown}, which can be read in more than one way; expected 1 and 2, "
        f"with 0 or 1.5 for a tie, or words that name a side. Say in the config what each means, e.g.\n  {remedy}"
    )


def _remedy(found: list[str]) -> str:
    """The config to write; which end of a scale is the first answer's is for the reader to know."""
    silent = [value for value in found if re.match(_NUMBER, value) and float(value) in SENTINELS]
    spoken = [value for value in found if value not in silent]
    if silent and spoken:
        nothing = ", ".join(f"'{value}': none" for value in silent)
        first = spoken[0] if len(spoken) > 1 else "<grade>"
        return f"grades: {{first: {first}, second: {spoken[-1]}}}\n  outcomes: {{{nothing}}}"
    if len(found) <= 3:
        meant = ("a", "tie", "b") if len(found) == 3 else ("a", "b")
        outcomes = ", ".join(f"'{value}': {outcome}" for value, outcome in zip(found, meant, strict=False))
        if len(found) < 3:
            return f"outcomes: {{{outcomes}}}"
        return f"outcomes: {{{outcomes}}}\nor, where they are grades,\n  grades: {{first: {found[0]}, second: {found[-1]}}}"
    return (
        f"grades: {{first: {found[0]}, second: {found[-1]}}}\nwith the value that favours the first answer most under first, "
        f"or\n  outcomes: {{'{found[0]}': a, '{found[-1]}': b}}"
    )
