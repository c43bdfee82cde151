"""EDGE: what became of a record or pair in every version of its dataset, a line each."""

from typing import Any

import pyarrow.compute as pc

from pipeline import queries, versions
from pipeline.errors import PrefineError
from pipeline.queries import PUBLISHED_PARTS, Tables
from pipeline.stories.rows import ids_of, rows_of
from pipeline.stories.told import Fate

_PAIR = ["pair_id", "split", "chosen_id", "n_votes", "p_chosen"]
_MOST_ROWS = 5  # ledger rows of a record that are told of one version


def in_every_version(dataset_root: str, pair_ids: list[str], record_ids: list[str]) -> list[Fate]:
    """The fates of some pairs and records, version by version, oldest first.

    Args:
        dataset_root: the dataset's folder or URL.
        pair_ids: each gets a line a version.
        record_ids: each gets a line for each of its ledger rows.

    Returns:
        A version that cannot be read says so in a line of its own.
    """
    current = versions.current_version(dataset_root)
    found: list[Fate] = []
    for name in versions.complete_versions(dataset_root):
        try:
            tables = queries.open_version(dataset_root, name).tables
        except PrefineError as error:
            found.append(Fate(name, name == current, "version", name, "unreadable", str(error)))
            continue
        found += [Fate(name, name == current, "pair", *told) for told in _pairs(tables, pair_ids)]
        found += [Fate(name, name == current, "record", *told) for told in _records(tables, record_ids)]
    return found


def _pairs(tables: Tables, pair_ids: list[str]) -> list[tuple[str, str, str]]:
    if not pair_ids:
        return []
    wanted = pc.field("pair_id").isin(ids_of(pair_ids))
    told: dict[str, tuple[str, str]] = {}
    for part in PUBLISHED_PARTS:
        for row in rows_of(tables[part], wanted, ["pair_id"], _PAIR):
            place = f"{part} ({row['split']})" if part == "other" else part
            told[row["pair_id"]] = ("published", f"in {place}, {_votes(row)}")
    for row in rows_of(tables["dropped"], wanted, ["pair_id"], [*_PAIR, "stage", "reason", "witness_pair_id"]):
        witness = f" of {row['witness_pair_id']}" if row["witness_pair_id"] else ""
        told[row["pair_id"]] = ("dropped", f"at {row['stage']}: {row['reason']}{witness}, {_votes(row)}")
    return [(pair_id, *told.get(pair_id, ("absent", "not there"))) for pair_id in pair_ids]


def _votes(row: dict[str, Any]) -> str:
    return f"chosen {row['chosen_id'][:12]}, {row['n_votes']} vote(s), p_chosen {row['p_chosen']:.4g}"


def _records(tables: Tables, record_ids: list[str]) -> list[tuple[str, str, str]]:
    if not record_ids:
        return []
    order = ["record_id", "source", "source_uri", "source_row"]
    rows = rows_of(tables["ledger"], pc.field("record_id").isin(ids_of(record_ids)), order, [*order, "fate", "stage", "reason"])
    found: list[tuple[str, str, str]] = []
    for record_id in record_ids:
        mine = [row for row in rows if row["record_id"] == record_id]
        lines = [
            (record_id, row["fate"], f"at {row['stage']}: {row['reason']}, {row['source_uri']} row {row['source_row']}") for row in mine
        ]
        more = [(record_id, "more", f"{len(lines) - _MOST_ROWS} more rows state it")] if len(lines) > _MOST_ROWS else []
        found += lines[:_MOST_ROWS] + more if lines else [(record_id, "absent", "not there")]
    return found
