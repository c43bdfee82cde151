"""A query's answer for people: a table where it fits the screen, else one block a row."""

import json

import polars as pl

ROWS = 100  # shown; csv and json have all
_LONGEST = 100  # characters of a cell in a table
_LONGEST_ALONE = 500  # and in a block


def render(frame: pl.DataFrame, width: int, rows: int | None = None) -> str:
    """The answer as text, with the number of rows in its last line.

    Args:
        frame: the answer, or its beginning.
        width: characters of a line.
        rows: of the whole answer, where the frame is its beginning.
    """
    shown = frame.head(ROWS)
    columns = [[_text(value) for value in column.to_list()] for column in shown]
    widths = [max(len(_cut(text, _LONGEST)) for text in (name, *texts)) for name, texts in zip(shown.columns, columns, strict=True)]
    fits = sum(widths) + 2 * (len(widths) - 1) <= width
    lines = _table(shown, columns, widths) if fits else _blocks(shown, columns, width)
    rows = frame.height if rows is None else rows
    rest = f"; the first {ROWS:,} are shown, --output FILE.csv has all" if rows > ROWS else ""
    return "\n".join([*lines, f"{rows:,} row(s){rest}", ""])


def _table(frame: pl.DataFrame, columns: list[list[str]], widths: list[int]) -> list[str]:
    numeric = [kind.is_numeric() for kind in frame.dtypes]
    rows = [frame.columns, ["-" * width for width in widths], *zip(*columns, strict=True)]
    return [
        "  ".join(
            f"{_cut(text, _LONGEST):{'>' if is_number else '<'}{size}}" for text, size, is_number in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in rows
    ]


def _blocks(frame: pl.DataFrame, columns: list[list[str]], width: int) -> list[str]:
    size = max(len(name) for name in frame.columns)
    lines = []
    for number, row in enumerate(zip(*columns, strict=True), 1):
        lines.append(f"-- row {number} ".ljust(min(width, 60), "-"))
        lines += [f"{name:<{size}}  {_cut(text, _LONGEST_ALONE)}" for name, text in zip(frame.columns, row, strict=True)]
    return lines


def _text(value: object) -> str:
    """One line, without characters that would steer a terminal."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.1f}"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return "".join(sign if sign.isprintable() else " " for sign in text)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 3]}..."
