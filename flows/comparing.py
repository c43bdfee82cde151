"""`prefine diff`: which two versions, and what changed between them for a person to read."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow.compute as pc
import pyarrow.dataset as ds

from pipeline import diff, queries, storage, versions
from pipeline.errors import NotFoundError
from pipeline.queries import Catalogue, Table

_TEXT_CHARS = 100  # shown of a prompt or an answer


@dataclass(frozen=True)
class Compared:
    """Two versions, open, and their names as they were asked for."""

    old: Catalogue
    new: Catalogue
    names: tuple[str, str]


def open_both(root: str, first: str | None, second: str | None, base: str) -> Compared:
    """The two versions that are to be compared.

    Args:
        root: the dataset's folder or URL.
        first: a version's name, or a path or URL of a version of any dataset; the one before `second` when left out.
        second: likewise; the current one when left out.
        base: what relative paths start at.

    Raises:
        NotFoundError: there is no such version, or none before `second`.
    """
    there = versions.complete_versions(root)
    listed = f"there {'are' if len(there) > 1 else 'is'} {', '.join(there) or 'none yet'}"
    new = versions.full_name(root, second)
    if first is not None:
        old = versions.full_name(root, first)
    else:
        earlier = there[: there.index(new)] if new in there else []
        if not earlier:
            raise NotFoundError(f"{root}: no version before {new}; {listed}. Name two: `prefine diff V1 V2`.")
        old = earlier[-1]
    return Compared(_open(root, old, base), _open(root, new, base), (old, new))


def _open(root: str, asked: str, base: str) -> Catalogue:
    if "/" not in asked:
        return queries.open_version(root, asked)
    home, _, name = storage.resolve(asked, base).rstrip("/").rpartition("/")
    return queries.open_version(home, name)


def render(found: diff.Diff, compared: Compared) -> Iterator[str]:
    """The change for a terminal: counts, totals by reason, then some pairs of each change with the beginning of their texts."""
    counts = found.counts
    yield f"{compared.names[0]} -> {compared.names[1]}: {counts['pairs_before']:,} pairs before, {counts['pairs_now']:,} now"
    if not found.totals:
        yield "the same pairs, labels and splits"
    for change in dict.fromkeys(row["change"] for row in found.totals):
        mine = [row for row in found.totals if row["change"] == change]
        yield f"{change:<12}{sum(row['pairs'] for row in mine):>9,}"
        yield from (f"  {row['pairs']:>19,}  {row['reason']}" for row in mine)
    told = (("p_chosen_changed", "of pairs in both, with another probability"), ("weight_changed", "of pairs in both, with another weight"))
    yield from (f"{counts[name]:>21,}  {words}" for name, words in told if counts[name])
    rows = found.rows.to_pylist()
    texts = _texts(compared.old, rows) | _texts(compared.new, rows)
    for row in rows:
        yield ""
        yield f"{row['change']}  {row['pair_id']}  {row['before'] or 'not there'} -> {row['now'] or 'not there'}"
        yield f"  {row['reason']}{': ' + row['detail'] if row['detail'] else ''}"
        if row["other_pair_id"]:
            yield f"  with pair {row['other_pair_id']}"
        yield from (
            f"  {name:<9}{said}" for name, said in zip(("prompt", "chosen", "rejected"), texts.get(row["pair_id"], ()), strict=False)
        )


def _texts(version: Catalogue, rows: list[dict[str, Any]]) -> dict[str, tuple[str, str, str]]:
    """Last turn of the prompt and of both answers of some pairs, cut to a line."""
    wanted = pc.field("pair_id").isin([row["pair_id"] for row in rows])
    found: dict[str, tuple[str, str, str]] = {}
    for name in ("dropped", "pairs"):  # what is published goes before what is not
        table: Table = version.tables[name]
        source = table if isinstance(table, ds.Dataset) else ds.dataset(table)
        said = source.to_table(columns=["pair_id", "prompt", "chosen", "rejected"], filter=wanted) if rows else None
        for row in said.to_pylist() if said is not None else ():
            prompt, chosen, rejected = (_cut(row[side][-1]["content"] if row[side] else "") for side in ("prompt", "chosen", "rejected"))
            found[row["pair_id"]] = (prompt, chosen, rejected)
    return found


def _cut(text: str) -> str:
    """One line, without characters that would steer a terminal."""
    flat = "".join(sign if sign.isprintable() else " " for sign in " ".join(text.split()))
    return flat if len(flat) <= _TEXT_CHARS else f"{flat[: _TEXT_CHARS - 3]}..."


def as_json(found: diff.Diff, compared: Compared) -> str:
    """The whole change as one object: versions, counts, totals, rows. No texts: `prefine explain` has a pair's."""
    told = {"before": compared.names[0], "now": compared.names[1], **found.counts, "totals": found.totals, "rows": found.rows.to_pylist()}
    return json.dumps(told, ensure_ascii=False, indent=2) + "\n"


def as_csv(found: diff.Diff) -> str:
    """The rows, with a head."""
    return pl.DataFrame(pl.from_arrow(found.rows)).write_csv()
