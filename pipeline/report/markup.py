"""HTML from text: what is not `Markup` is escaped, so that text from data cannot become anything but text."""

import math
import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

ROWS_SHOWN = 100
CELL_CHARS = 300
PROSE_CHARS = 36  # a cell longer than this needs room to be read
_VOID = {"meta", "br"}
# Control characters, direction marks, what has no width, halves of surrogate pairs. Line ends and tabs stay; so do the joiners that
# emoji and many scripts need.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff\ud800-\udfff"
    "\U000e0000-\U000e007f\U0001d173-\U0001d17a]"
)


class Markup(str):
    """HTML that may be shown as it is."""

    __slots__ = ()


def visible(text: str) -> str:
    """The text with control, direction and zero-width characters written out, e.g. `⟨U+202E⟩`."""
    return _UNSEEN.sub(lambda found: f"⟨U+{ord(found.group()):04X}⟩", text)


def escaped(text: str) -> Markup:
    """Text as HTML; Markup stays what it is."""
    return text if isinstance(text, Markup) else Markup(escape(visible(text), quote=True))


def joined(parts: Iterable[str]) -> Markup:
    """Parts one after the other."""
    return Markup("".join(escaped(part) for part in parts))


def tag(name: str, *children: str, **attributes: str | int | bool | None) -> Markup:
    """An element.

    Args:
        name: of the element; never from data.
        children: text (escaped) or Markup.
        attributes: a trailing `_` is dropped and others become `-` (class_, aria_label); True is bare, None and False are left out.
    """
    given = ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items() if value is not None and value is not False)
    text = "".join(f" {key}" if value is True else f' {key}="{escaped(str(value))}"' for key, value in given)
    return Markup(f"<{name}{text}>" if name in _VOID else f"<{name}{text}>{joined(children)}</{name}>")


def number(value: object, places: int = 4) -> str:
    """A value as people read it: thousands parted, four digits of a fraction, a dash for nothing."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.{places}g}" if abs(value) < 10**places or not math.isfinite(value) else f"{value:,.0f}"
    if isinstance(value, list | tuple):
        return ", ".join(number(one) for one in value) or "-"
    text = str(value)
    return text if len(text) <= CELL_CHARS else text[:CELL_CHARS] + " ..."


def percent(share: float | None) -> str:
    """A share of 0 to 1 as a percentage; a dash for nothing."""
    return "-" if share is None else f"{100 * share:.1f} %"


def with_intervals(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows whose intervals (`x_low`, `x_high`) stand in brackets behind their value (`x`, `x_share` or `x_mean`)."""
    keys = list(rows[0]) if rows else []
    stems = {key: stem for key in keys for stem in (key, key.removesuffix("_share"), key.removesuffix("_mean")) if f"{stem}_low" in keys}
    ends = {f"{stem}_{end}" for stem in stems.values() for end in ("low", "high")}

    def told(row: dict[str, Any], key: str) -> object:
        low, high = (row[f"{stems[key]}_{end}"] for end in ("low", "high")) if key in stems else (None, None)
        return row[key] if low is None else Told(f"{number(row[key], 3)} ({number(low, 3)} to {number(high, 3)})")

    return [{key: told(row, key) for key in keys if key not in ends} for row in rows]


class Told(str):
    """A number that is told as text, e.g. with its interval; set like a number."""

    __slots__ = ()


def table(rows: Sequence[dict[str, Any]], caption: str, more: str | None = None, shown: int = ROWS_SHOWN) -> Markup:
    """Rows as a table that scrolls inside its box: one column a key, the first one heads its row. Columns without any value are left out.

    Args:
        rows: with the same keys.
        caption: what one row is.
        more: where the rest of the rows can be seen, if there are more than are shown.
        shown: rows at most.
    """
    if not rows:
        return tag("p", "None.", class_="none")
    total, rows = len(rows), with_intervals(rows[:shown])
    first_key = next(iter(rows[0]))
    filled = [name for name in rows[0] if name == first_key or any(row[name] is not None for row in rows)]
    rows = [{name: row[name] for name in filled} for row in rows]
    numeric = {name: any(isinstance(row[name], int | float | Told) for row in rows) for name in rows[0]}
    css = {name: "n" if is_number else "t" if _is_prose(rows, name) else None for name, is_number in numeric.items()}
    head = joined(tag("th", name.replace("_", " "), scope="col", class_=css[name]) for name in rows[0])
    body = []
    for row in rows:
        (first, value), *others = row.items()
        cells = [tag("th", number(value), scope="row", class_=css[first])]
        cells += [tag("td", cell if isinstance(cell, Markup) else number(cell), class_=css[name]) for name, cell in others]
        body.append(tag("tr", *cells))
    whole = tag("table", tag("caption", caption), tag("thead", tag("tr", head)), tag("tbody", *body))
    box = tag("div", whole, class_="scroll", role="region", aria_label=caption, tabindex=0)
    if total <= shown:
        return box
    rest = f"{total - shown:,} more rows" + (f": prefine query {more}" if more else "") + "."
    return joined([box, tag("p", rest, class_="note")])


def _is_prose(rows: Sequence[dict[str, Any]], name: str) -> bool:
    return any(isinstance(row[name], str) and len(row[name]) > PROSE_CHARS and " " in row[name] for row in rows)


def details(summary: str, *children: str, is_open: bool = False) -> Markup:
    """A part that opens when asked."""
    return tag("details", tag("summary", summary), *children, open=is_open)
