"""Signals: numbers about a pair, one module a family, one column a signal (`pipeline.schemas.SIGNALS`).

Each `add_<family>(pairs, ...)` returns the pairs, in the same order, with the family's columns.
"""

SIDES = ("chosen", "rejected")

from pipeline.texts import WORD, is_blank, text_of  # noqa: E402, F401 - TODO remove
