"""How a rationale names the two answers: by side in what is kept, by letter in what a model reads and writes.

A model sees `Response A` and `Response B` in an order that differs from pair to pair, so letters mean nothing outside one request:
what is kept says `the chosen response` and `the rejected response` (the released code of RDPO, 2024, kept its labels, and the chosen
answer was always the first of them, which a model can learn).
"""

from typing import Final

import polars as pl

CHOSEN: Final = "the chosen response"
REJECTED: Final = "the rejected response"
A: Final = "Response A"
B: Final = "Response B"

_END: Final = r"(?-u:\b)"  # of ASCII words: a letter before a Chinese sign ends there too
# Nouns that only ever mean the answers, and those that a prompt with options ("Option B: Paris") means otherwise.
_OURS: Final = r"(?:responses?|respuestas?|réponses?|antwort(?:en)?|rispost[ae]|respostas?|ответы?|响应|回复|回答|応答|응답|답변)"
_THEIRS: Final = r"(?:answers?|assistants?|options?|outputs?|candidates?|completions?|models?|repl(?:y|ies)|choices?)"
_JOINED: Final = r"(\s*(?:,|and|or|&|/|vs\.?|versus|than|over|y|et|und|e|и|和|与)\s*)"
# A letter alone is a side where it is the subject of a clause, has a possessive, or is what something is compared with.
_CLAUSE: Final = r"((?:\A|[.!?;:,\n]|\b(?:while|whereas|but|and|than|that|because|both|over|however|since|although|though|if))[\s*_>•-]*)"
_VERB: Final = (
    r"((?:['’]s|\s+(?:is|was|has|does|did|gives?|provides?|offers?|fails?|lacks?|answers?|explains?|uses?|misses|includes?|makes?|says"  # noqa: RUF001
    r"|states|also|only|clearly|simply|correctly|incorrectly|directly|never|adds|ignores|addresses|covers|mentions|contains|goes))"
    rf"{_END})"
)
_COMPARED: Final = r"(\b(?:than|over|unlike|between|prefer(?:s|red)?|favou?r(?:s|ed)?|choose|chose|like[sd]?)\s+)"
_CLOSERS: Final = r"[\"'”’)\]*_]*"  # noqa: RUF001
_START: Final = rf"((?:\A|[.!?]{_CLOSERS}\s|\n)[\s>*_#•–-]*(?:\d+[.)]\s*)?[*_\"“(]*)"  # noqa: RUF001
# Data in which letters are options of the question, so that a letter in a rationale may be one of these.
_LETTERED: Final = (
    rf"(?m)(?i:\b{_THEIRS})\s*[(\[\"*]*[AB]{_END}|^[ \t>*-]*\(?\**[AB]\**[.):]|\([AB]\)"
    rf"|\b(?i:plan|type|group|vitamin|part|team|class)\s+[AB]{_END}"
)
_OURS_LEFT: Final = rf"(?i:{_OURS})[\s_-]*[(\[\"'“*_]*[AB]{_END}"
_BARE_LEFT: Final = (
    rf"(?i:{_THEIRS})[\s_-]*[(\[\"'“*_]*[AB]{_END}|\([AB]\)|\b[AB]['’]s{_END}|(?:\A|[.,;:!?]\s|\n)\s*B\s+\p{{Ll}}|{_COMPARED}[AB]{_END}"  # noqa: RUF001
    rf"|\bA\s*(?:and|or|vs\.?|versus|over|than|>|<|/)\s*B{_END}|\bB\s*(?:and|or|vs\.?|versus|over|than|>|<|/)\s*A{_END}"
    rf"|\b(?i:in|by|from|with|of|to|for|what|that|says?)\s+B{_END}|\b[Ii]n A\s*[,;:]|[*_]+[AB][*_]+\s*:|(?:\A|\n|[.!?;]\s)\s*[AB]:"
)
_SIDE_NOUN: Final = r"(?:response|answer|reply|completion|output|one)"  # as those who know the label may call a side
_NOUN: Final = r"(?:responses?|answers?|assistants?|candidates?|repl(?:y|ies)|completions?|outputs?)"
_PLACE: Final = (
    rf"(?i)\b(?:first|second|1st|2nd|last|left|right|left-hand|right-hand|upper|lower|top|bottom|former|latter|above)[\s-]+{_NOUN}\b"
    rf"|\b{_NOUN}\s+(?:above|below|(?:(?:#|no\.?|number)\s*)?(?:[12]|one|two))\b"
    r"|\bthe (?:former|latter)\b(?:['’]s|\s*[,.;:)]|\s+(?:is|was|has|does|gives|provides|fails|lacks|offers|only|also|one)\b)"  # noqa: RUF001
    r"|第一个(?:回答|回复|响应|答案)|第二个(?:回答|回复|响应|答案)|前者|后者"
)


def undo_order(text: pl.Expr, chosen_first: pl.Expr, lettered: pl.Expr) -> pl.Expr:
    """Put sides in the place of letters.

    Args:
        text: what a model wrote about Response A and Response B.
        chosen_first: whether the chosen response was shown as Response A.
        lettered: whether the data has options or the like called A or B (`has_letters`): then `Option A` and a bare A stay as they are,
            and only nouns that mean the answers count.

    Returns:
        The text with `the chosen response` and `the rejected response`, capital at the start of a sentence, for Response A or B,
        its plurals (Responses A and B), possessives and brackets; for answers, assistants, options and the like called A or B; and for
        a bare letter that begins a clause or is compared with. What may be something else stays: `names_letter` tells it.
    """
    first = pl.when(chosen_first).then(pl.lit(CHOSEN)).otherwise(pl.lit(REJECTED))
    second = pl.when(chosen_first).then(pl.lit(REJECTED)).otherwise(pl.lit(CHOSEN))
    plain = _named(text, _OURS)
    free = _named(plain, _THEIRS)
    for letter in "AB":
        free = free.str.replace_all(rf"\({letter}\)", f"(Response {letter})")
        free = free.str.replace_all(rf"{_COMPARED}{letter}{_END}", f"${{1}}Response {letter}")
        free = free.str.replace_all(_CLAUSE + letter + _VERB, f"${{1}}Response {letter}${{2}}")
    joined = pl.when(lettered).then(plain).otherwise(free)
    for letter, side in (("A", first), ("B", second)):
        joined = joined.str.replace_all(rf"(?i:\bthe )?Response {letter}{_END}", side)
    return capitals(joined)


def _named(text: pl.Expr, noun: str) -> pl.Expr:
    """Every way to write a noun with a letter as `Response A`, plurals as two of them."""
    named = text.str.replace_all(rf"(?i:{noun})\s+([AB]){_JOINED}([AB]){_END}", "Response ${1}${2}Response ${3}")
    for letter in "AB":
        wrapped = rf"(?:\({letter}\)|\[{letter}\]|\"{letter}\"|'{letter}'|“{letter}”|\*\*{letter}\*\*|{letter}{_END})"
        named = named.str.replace_all(rf"(?i:{noun})[\s_-]*{wrapped}", f"Response {letter}")
    return named


def capitals(text: pl.Expr) -> pl.Expr:
    """`The chosen response` at the start of a sentence, a line or a list item, for either side."""
    return text.str.replace_all(_START + r"the (chosen|rejected) response\b", "${1}The ${2} response")


def show_sides(text: pl.Expr, chosen_first: pl.Expr, first: str = A, second: str = B) -> pl.Expr:
    """Put letters, or other labels, in the place of sides: the inverse of `undo_order`.

    Args:
        text: a rationale as kept.
        chosen_first: whether the chosen response is shown first.
        first: label of the answer that is shown first.
        second: label of the other.
    """
    chosen = pl.when(chosen_first).then(pl.lit(first)).otherwise(pl.lit(second))
    rejected = pl.when(chosen_first).then(pl.lit(second)).otherwise(pl.lit(first))
    shown = text.str.replace_all(rf"(?i:\b(?:the )?chosen {_SIDE_NOUN}\b)", chosen)
    return shown.str.replace_all(rf"(?i:\b(?:the )?rejected {_SIDE_NOUN}\b)", rejected)


def has_letters(text: pl.Expr) -> pl.Expr:
    """Whether a prompt or an answer has options or the like that are called A or B."""
    return text.str.contains(_LETTERED)


def names_letter(text: pl.Expr, lettered: pl.Expr) -> pl.Expr:
    """Whether a text still names an answer by a letter; where the data is `lettered`, only by a noun that means the answers."""
    return text.str.contains(_OURS_LEFT) | (~lettered & text.str.contains(_BARE_LEFT))


def names_place(text: pl.Expr) -> pl.Expr:
    """Whether a text names an answer by its place: the first answer, response 2, the answer above, the latter."""
    return text.str.contains(_PLACE)
