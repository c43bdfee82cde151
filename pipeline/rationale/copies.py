"""How much of a rationale is somebody else's text, and whether what it quotes was ever written."""

from typing import Final

import polars as pl

from pipeline.texts import WORD

GRAM_WORDS: Final = 5
MIN_QUOTE_WORDS: Final = 4  # shorter quotes are names and single words, often inflected
_MAX_QUOTE_CHARS: Final = 600
# A straight mark opens a quote only after a space or a bracket, so that 5" is none.
_QUOTE: Final = (
    rf"(?:^|[\s(\[—–:-])\"[^\"\s][^\"\n]{{0,{_MAX_QUOTE_CHARS}}}\"|“[^”\n]{{1,{_MAX_QUOTE_CHARS}}}”|«[^»\n]{{1,{_MAX_QUOTE_CHARS}}}»"  # noqa: RUF001
    rf"|「[^」\n]{{1,{_MAX_QUOTE_CHARS}}}」|`[^`\n]{{1,{_MAX_QUOTE_CHARS}}}`"
)
_PLACES: Final = ("prompt", "chosen", "rejected")
_LEFT_OUT: Final = r"\[\s*(?:\.\.\.|…)\s*\]|\.\.\.|…"


def containment(rows: pl.DataFrame) -> pl.DataFrame:
    """How much of each text stands in its prompt and in either answer.

    Args:
        rows: `_row` (unique), text, prompt, chosen, rejected (String).

    Returns:
        `_row`, in_prompt, in_chosen, in_rejected: shares of the text's word 5-grams, repeated ones counted each time, 0 to 1. Rows without
        any are left out. Words are compared whatever their case and the marks and white space between them.
    """
    # A rationale is short: its grams are looked for in the texts, whose own are never listed.
    words = rows.select("_row", word=_words("text").str.extract_all(WORD)).explode("word", empty_as_null=False)
    gram = pl.concat_str([pl.lit(" "), *(pl.col("word").shift(-i) + " " for i in range(GRAM_WORDS))])
    inside = pl.col("_row") == pl.col("_row").shift(1 - GRAM_WORDS)
    grams = words.select("_row", gram=gram, inside=inside).filter("inside")
    held = grams.join(rows.select("_row", *(_words(name).alias(name) for name in _PLACES)), on="_row")
    found = [pl.col(name).str.contains(pl.col("gram"), literal=True).alias(f"in_{name}") for name in _PLACES]
    return held.select("_row", *found).group_by("_row").agg(pl.all().mean())


def missing_quotes(rows: pl.DataFrame) -> pl.DataFrame:
    """The first quote of each text that stands nowhere in its pair.

    Quotes are compared word by word, whatever their case, marks and white space; `...` parts a quote in two. Pieces of fewer than 4
    words are not looked for.

    Args:
        rows: `_row` (unique), text, prompt, chosen, rejected (String).

    Returns:
        `_row`, missing (String): rows with such a quote.
    """
    quotes = rows.select("_row", quote=pl.col("text").str.extract_all(_QUOTE)).explode("quote", empty_as_null=False)
    quotes = quotes.with_row_index("_at").with_columns(
        piece=pl.col("quote").str.replace_all(_LEFT_OUT, "\x1f").str.split("\x1f")
    ).explode("piece", empty_as_null=False)  # fmt: skip
    pieces = quotes.filter(pl.col("piece").str.count_matches(WORD) >= MIN_QUOTE_WORDS).select("_at", "_row", "quote", piece=_words("piece"))
    places = pl.concat_str([_words(name) for name in _PLACES], separator="\x1f")
    where = rows.join(pieces, on="_row", how="semi").select("_row", where=places)
    unseen = pieces.join(where, on="_row").filter(~pl.col("where").str.contains(pl.col("piece"), literal=True))
    return unseen.sort("_at").group_by("_row").agg(missing=pl.col("quote").first().str.strip_chars())


def _words(column: str) -> pl.Expr:
    """The words of a text, each between spaces."""
    plain = pl.col(column).str.normalize("NFKC").str.to_lowercase().str.replace_all("’", "'", literal=True)  # noqa: RUF001
    return pl.concat_str(pl.lit(" "), plain.str.extract_all(WORD).list.join(" "), pl.lit(" "))
