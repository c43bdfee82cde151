"""Signals: numbers about a pair, one module a family, one column a signal (`pipeline.schemas.SIGNALS`).

Each `add_<family>(pairs, ...)` returns the pairs, in the same order, with the family's columns.
"""

SIDES = ("chosen", "rejected")
