"""Lists that a model is shown by number, and what it says of each number."""

import polars as pl


def as_lines(texts: pl.Expr) -> pl.Expr:
    """A list of texts as numbered lines, from 1. Each text is one line, so that none can pass for two."""
    line = pl.format("{}. {}", pl.int_range(1, pl.len() + 1), pl.element().str.replace_all(r"[\s\p{Cc}]+", " ").str.strip_chars())
    return texts.list.eval(line).list.join("\n")


def in_order(said: pl.Expr, flag: str, count: pl.Expr) -> pl.Expr:
    """What was said of numbers 1 to `count`, in that order.

    Args:
        said: list of structs with `number` and the Boolean `flag`, in any order.
        flag: the field's name.
        count: how many there are to speak of.

    Returns:
        A list of Booleans; null unless each number is spoken of once and no other is.
    """
    ordered = said.list.eval(pl.element().sort_by(pl.element().struct.field("number")))
    numbers = ordered.list.eval(pl.element().struct.field("number").cast(pl.Int64))
    complete = numbers == pl.int_ranges(1, count + 1)
    return pl.when(complete).then(ordered.list.eval(pl.element().struct.field(flag)))


def cleaned(texts: pl.Expr, most: int) -> pl.Expr:
    """A list of texts without blank ones and repetitions, in its order, at most `most`; each on one line."""
    line = pl.element().str.replace_all(r"[\s\p{Cc}]+", " ").str.strip_chars()
    lines = texts.list.eval(line)
    return lines.list.eval(pl.element().filter(pl.element() != "")).list.unique(maintain_order=True).list.head(most)
