"""What two messages may differ in and still say the same: names of roles, Unicode form, line ends, white space at the end."""

from typing import Final

import numpy as np
import polars as pl

from pipeline.schemas import ROLES

_KEPT: Final = ["system", "user", "assistant", "tool"]

# Characters that NFC neither changes nor combines with a character before them. Normalising costs some twenty times what
# this look costs, and nearly all texts are of these alone.
UNCHANGED_BY_NFC: Final = (
    r"\x00-\u02FF\u0370-\u0373\u0388-\u0482\u048A-\u0590\u05D0-\u05EA\u0620-\u064A\u0E01-\u0E30\u1E00-\u1EFF\u2010-\u20CF\u2100-\u2125"
    r"\u2190-\u2328\u232B-\u2ADB\u3000-\u3029\u3030-\u3098\u309B-\u9FFF\uAC00-\uD7A3\uE000-\uF8FF\uFE00-\uFE0F\uFF00-\uFFFD"
    r"\U0001F000-\U0001FAFF"
)


def normalised(messages: pl.Series) -> tuple[pl.Series, dict[str, pl.Series]]:
    """Normalise a column of message lists.

    Args:
        messages: list of messages a row; none is null.

    Returns:
        The column, and for each of roles, unicode, line_ends, trailing_space whether it changed anything, per row.
    """
    flat = messages.explode(empty_as_null=False)
    said, roles = flat.struct.field("content"), flat.struct.field("role")
    changed: dict[str, pl.Series] = {}
    new_roles = roles
    if not roles.is_in(_KEPT).all():
        new_roles = roles.str.to_lowercase().str.strip_chars().replace(ROLES)
        changed["roles"] = new_roles.ne_missing(roles)
    text = said
    for name, step in (("unicode", _composed), ("line_ends", _line_ends), ("trailing_space", _stripped)):
        after = step(text)
        if after is not None:
            changed[name] = after.ne_missing(text)
            text = after
    starts = np.concatenate([[0], messages.list.len().fill_null(0).cast(pl.Int64).cum_sum().to_numpy()])
    if any(one.any() for one in changed.values()):
        fields = [new_roles if name == "role" else text if name == "content" else flat.struct.field(name) for name in flat.struct.fields]
        messages = _listed(pl.DataFrame(fields).to_struct(messages.name), starts)
    flags = {name: _rows(changed[name], starts) for name in changed}
    none = pl.Series([False], dtype=pl.Boolean).new_from_index(0, len(starts) - 1)
    return messages, {name: flags.get(name, none) for name in ("roles", "unicode", "line_ends", "trailing_space")}


def _composed(texts: pl.Series) -> pl.Series | None:
    ascii_ = texts.str.len_bytes() == texts.str.len_chars()
    some = (~ascii_).arg_true()
    some = some.filter(texts.gather(some).str.contains(f"[^{UNCHANGED_BY_NFC}]"))
    return _replaced(texts, some, texts.gather(some).str.normalize("NFC"))


def _line_ends(texts: pl.Series) -> pl.Series | None:
    some = texts.str.contains("\r", literal=True).arg_true()
    return _replaced(texts, some, texts.gather(some).str.replace_all("\r\n?", "\n"))


def _stripped(texts: pl.Series) -> pl.Series | None:
    some = texts.str.contains(r"\s\z").arg_true()
    return _replaced(texts, some, texts.gather(some).str.strip_chars_end())


def _replaced(texts: pl.Series, places: pl.Series, values: pl.Series) -> pl.Series | None:
    return texts.clone().scatter(places, values) if len(places) else None


def _rows(marks: pl.Series, starts: "np.typing.NDArray[np.int64]") -> pl.Series:
    """Whether a list holds a marked element; list i holds the elements from starts[i] to starts[i + 1]."""
    lists = np.searchsorted(starts, marks.arg_true().to_numpy(), side="right") - 1
    hit = np.zeros(len(starts) - 1, dtype=bool)
    hit[lists] = True
    return pl.Series(hit)


def _listed(elements: pl.Series, starts: "np.typing.NDArray[np.int64]") -> pl.Series:
    lengths = pl.DataFrame({"row": pl.int_range(len(starts) - 1, eager=True), "n": np.diff(starts)})
    rows = lengths.select(pl.col("row").repeat_by("n").explode(empty_as_null=False))["row"]
    lists = pl.DataFrame({"row": rows, "x": elements}).group_by("row", maintain_order=True).agg("x")
    if lists.height == lengths.height:
        return lists["x"].alias(elements.name)
    joined = lengths.join(lists, on="row", how="left", maintain_order="left")["x"]
    return joined.fill_null(pl.Series([[]], dtype=joined.dtype)).alias(elements.name)
