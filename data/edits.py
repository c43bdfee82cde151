"""Light edits of a text: what people and programs change without changing what is said."""

import re
from collections.abc import Callable
from random import Random

Edit = Callable[[Random, str, str], str]  # (rng, text, role: user or assistant) -> text; the same text where nothing fits

_SHORT = {
    "can't": "cannot", "won't": "will not", "don't": "do not", "doesn't": "does not", "didn't": "did not", "isn't": "is not",
    "aren't": "are not", "wasn't": "was not", "haven't": "have not", "hasn't": "has not", "couldn't": "could not", "wouldn't": "would not",
    "shouldn't": "should not", "it's": "it is", "that's": "that is", "I'm": "I am", "you're": "you are", "we're": "we are",
    "they're": "they are", "you'll": "you will", "I've": "I have", "you've": "you have", "there's": "there is", "I'd": "I would",
}  # fmt: skip
_LONG = {"cannot": "can't", "do not": "don't", "does not": "doesn't", "will not": "won't", "should not": "shouldn't", "you will": "you'll"}
_AMERICAN = {
    "colour": "color", "favour": "favor", "neighbour": "neighbor", "harbour": "harbor", "flavour": "flavor", "litre": "liter",
    "metre": "meter", "centre": "center", "grey": "gray", "apologis": "apologiz", "recognis": "recogniz", "realis": "realiz",
    "organis": "organiz", "summaris": "summariz", "fertilis": "fertiliz", "labell": "label", "travell": "travel", "mould": "mold",
    "defence": "defense", "licence": "license", "programme": "program", "cosy": "cozy", "plough": "plow", "maths": "math",
    "afterwards": "afterward", "towards": "toward",
}  # fmt: skip
_FILLERS = {
    ("user", True): ("Hola. ", "Una pregunta: "), ("user", False): ("Hi! ", "Hello, ", "Quick question: "),
    ("assistant", True): ("¡Claro! ", "Por supuesto. "), ("assistant", False): ("Sure! ", "Of course. ", "Certainly! ", "Okay, "),
}  # fmt: skip
_SPANISH = re.compile(r"[¿¡ñáíó]|\b(?:que|una?|los|las|por|con|para)\b")
# A slip in one of these would change or hide a number, a negation or a direction.
_KEPT = re.compile(
    r"(?:no|nothing|nobody|never|without|neither|cannot|before|always|inside|outside|quarter|double|single|second|fourth|ninth|twelve|eleven"
    r"|ninguna|ninguno|nadie|nunca|antes|después|siempre|cuatro|primero|segundo)s?|\w*(?:teen|ty|hundred|thousand|million|ciento|cientos)\w*"
)
_WORD = re.compile(r"(?<![\w'’`/.-])[a-záéíóúüñ]{6,}(?![\w'’`/-])")  # noqa: RUF001


def _is_spanish(text: str) -> bool:
    return len(_SPANISH.findall(text)) >= 2


def _swap_words(table: dict[str, str]) -> Edit:
    pattern = re.compile("|".join(rf"\b{re.escape(key)}" for key in table), re.IGNORECASE)

    def replaced(found: re.Match[str]) -> str:
        word = found.group()
        new = table.get(word) or table[next(key for key in table if key.lower() == word.lower())]
        return new[0].upper() + new[1:] if word[0].isupper() else new

    return lambda rng, text, role: pattern.sub(replaced, text)


def _punctuation(rng: Random, text: str, role: str) -> str:
    ends = {".": ("", "!", "..."), "?": ("??", ""), "!": (".", "!!")}
    new = text[:-1] + rng.choice(ends[text[-1]]) if text[-1:] in ends else text
    return new.replace(" \u2013 ", " - ").replace("; ", ", ", 1)


def _quotes(rng: Random, text: str, role: str) -> str:
    straight = text.translate(str.maketrans("“”«»\u2018\u2019", "\"\"\"\"''"))
    return straight if straight != text else text.replace("'", "\u2019")


def _first_letter(rng: Random, text: str, role: str) -> str:
    return text[:1].swapcase() + text[1:]


def _typos(rng: Random, text: str, role: str) -> str:
    """Exchange or leave out letters inside of about every 45th word."""
    words = [m for m in _WORD.finditer(text) if not _KEPT.fullmatch(m.group())]
    for found in sorted(rng.sample(words, min(len(words), 1 + len(text.split()) // 45)), key=lambda m: -m.start()):
        at = rng.randrange(found.start() + 1, found.end() - 2)
        slip = text[at + 1] + text[at] if text[at] != text[at + 1] else text[at]
        text = text[:at] + slip + text[at + 2 :]
    return text


def _contractions(rng: Random, text: str, role: str) -> str:
    spelled_out = _swap_words(_SHORT)(rng, text, role)
    return spelled_out if spelled_out != text else _swap_words(_LONG)(rng, text, role)


def _white_space(rng: Random, text: str, role: str) -> str:
    if role == "assistant" and "\n\n" in text:
        return text.replace("\n\n", rng.choice(("\n", "\n\n\n")))
    return re.sub(r"([.,:]) ", r"\1  ", text)


def _markdown(rng: Random, text: str, role: str) -> str:
    bare = text.replace("**", "").replace("*", "")
    return bare if bare != text else re.sub(r"^[^.:,!?\n]+", lambda m: f"**{m.group()}**", text)


def _filler(rng: Random, text: str, role: str) -> str:
    return rng.choice(_FILLERS[role, _is_spanish(text)]) + text


def _bullets(rng: Random, text: str, role: str) -> str:
    new = re.sub("(?m)^[-\u2013*] ", rng.choice(("* ", "• ")) if "\n- " in f"\n{text}" else "- ", text)
    return re.sub(r"(?m)^(\d)\. ", r"\1) ", new)


EDITS: dict[str, Edit] = {
    "punctuation": _punctuation,
    "quotes": _quotes,
    "first_letter": _first_letter,
    "lower_case": lambda rng, text, role: text.lower(),
    "typo": _typos,
    "contraction": _contractions,
    "white_space": _white_space,
    "markdown": _markdown,
    "filler": _filler,
    "bullets": _bullets,
    "spelling": _swap_words(_AMERICAN),
}
