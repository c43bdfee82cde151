"""Where a rationale names the label, instead of a reason for it.

Patterns are English, with a few Chinese ones: in another language a sentence that names the label may go unseen.
"""

from typing import Final

import polars as pl

from pipeline.texts import WORD

MIN_REASON_WORDS: Final = 4  # with fewer left beside the label, nothing was said
_SIDE: Final = r"(?:the )?(?:chosen|rejected) (?:response|answer)"
_HOW: Final = r"(?:(?:clearly|much|far|slightly|somewhat|overall|generally|simply|therefore|thus|also|still|indeed|a|the|significantly) )*"
_BETTER: Final = r"(?:better|best|superior|preferable|stronger|strongest|worse|worst|inferior|weaker|weakest|winner|loser)"
_TAKEN: Final = r"(?:preferred|favou?red|chosen|rejected|selected|picked)"
_NOUN: Final = r"(?:response|answer|one|choice|option|reply|of the two)"
_END: Final = r"(?: overall| here)?(?:\s*[.,;:!?)*]|\s*\z|\s*\n| (?:because|since|as|due|than|overall|by|over|and|of)\b)"
_VERDICT: Final = "(?i)" + "|".join(
    (
        rf"\b{_SIDE}\*{{0,2}} (?:is|was|seems|remains|would be|becomes|has been) {_HOW}(?:{_BETTER}|{_TAKEN})(?: {_NOUN})*{_END}",
        rf"\b{_SIDE}\*{{0,2}} {_HOW}(?:wins|won|prevails|loses|lost|beats|outperforms|surpasses|edges out|comes out ahead)\b",
        rf"\b(?:prefer|prefers|preferred|favou?r|favou?rs|favou?red|choose|chose|chooses|pick|picked|select|selected|voted? for) {_SIDE}",
        rf"\b(?:{_BETTER}|preferred|winning|verdict|preference|judg[e]?ment)(?: {_NOUN})?\s*(?:is|was|:|goes to|would be) {_HOW}\**{_SIDE}",
        rf"\b(?:preferred|dispreferred|winning|losing|better|worse|superior|inferior) {_NOUN}\b",
        rf"\bmak(?:e|es|ing) (?:it|this one|{_SIDE}) {_HOW}(?:{_BETTER}|preferred)(?: {_NOUN})*{_END}",
        r"\b(?:people|users?|humans?|annotators?|raters?|voters?|readers?) (?:\w+ )?(?:prefer|preferred|favou?red|chose|liked)\b",
        rf"{_SIDE}(?:更好|更优|胜出|优于|更受)",
    )
)
# "S is better because it ..." keeps its reason, as "S: it ...".
_BECAUSE: Final = (
    rf"(?i)\b({_SIDE})\*{{0,2}} (?:is|was|seems|remains|would be) {_HOW}(?:{_BETTER}|{_TAKEN})(?: {_NOUN})*"
    rf"(?: overall| here| than {_SIDE})?,? (?:because(?: of)?|since|as|due to|in that)\b"
)
_BREAK: Final = "\x1f"  # between sentences; a text of its own has none, since it is taken out first
_SENTENCE: Final = r"([.!?][\"'”’)\]*_]*\s+|[。！？]|\n+)"  # noqa: RUF001


def names_label(text: pl.Expr) -> pl.Expr:
    """Whether a rationale says which response is better, was preferred or wins, as a whole; that one is clearer is a reason.

    Args:
        text: a rationale as kept (`the chosen response`, `the rejected response`).
    """
    return text.str.contains(_VERDICT)


def without_label(text: pl.Expr) -> pl.Expr:
    """The rationale without the sentences that name the label; null where nothing is left that could be a reason.

    Of `the chosen response is better because it ...` stays `the chosen response: it ...`.
    """
    sentences = (
        text.str.replace_all(_BECAUSE, "${1}:")
        .str.replace_all(_BREAK, " ", literal=True)
        .str.replace_all(_SENTENCE, f"${{1}}{_BREAK}")
        .str.split(_BREAK)
    )
    left = sentences.list.eval(pl.element().filter(~pl.element().str.contains(_VERDICT))).list.join("").str.strip_chars()
    return pl.when(left.str.count_matches(WORD) >= MIN_REASON_WORDS).then(left)
