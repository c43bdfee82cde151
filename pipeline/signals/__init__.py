"""Signals: numbers about a pair, one module a family, one column a signal (`pipeline.schemas.SIGNALS`).

Each `add_<family>(pairs, ...)` returns the pairs, in the same order, with the family's columns. This file holds what the
families share: what the text of an answer is, and what a word is.
"""

import polars as pl

SIDES = ("chosen", "rejected")

_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
# Scripts written without spaces count one word a character; elsewhere a word is a run of letters, digits and apostrophes.
WORD = rf"[{_UNSPACED}]|[[\p{{L}}\p{{N}}\p{{M}}_'’]--[{_UNSPACED}]]+"  # noqa: RUF001


def text_of(messages: str) -> pl.Expr:
    """The text of a list of messages: their contents, one a line; "" when there are none."""
    contents = pl.col(messages).list.eval(pl.element().struct.field("content").fill_null(""))
    return contents.list.join("\n").fill_null("")


def is_blank(text: pl.Expr) -> pl.Expr:
    """Whether a text has no visible character: only white space, controls, format characters and fillers."""
    visible = r"[^\s\p{Z}\p{Cc}\p{Cf}\x{034F}\x{115F}\x{1160}\x{2800}\x{3164}\x{FFA0}\x{FE00}-\x{FE0F}]"
    return ~text.str.contains(visible)
