"""EDGE: the story of one record, pair, response or prompt of a published version: what it was, who judged it, what became of it."""

from typing import Any

import pyarrow.compute as pc

from pipeline import versions
from pipeline.errors import NotFoundError, PrefineError
from pipeline.queries import Catalogue, open_version, session
from pipeline.stage import ASKED
from pipeline.stories.fates import in_every_version
from pipeline.stories.rows import ids_of, rows_of
from pipeline.stories.text import render_story, voter
from pipeline.stories.told import Fate, Story, Trial
from pipeline.stories.trials import tried

__all__ = ["Fate", "Story", "Trial", "explain", "render_story"]

MOST_PAIRS = 20  # of one response or prompt that are told


def explain(dataset_root: str, asked: str, version: str | None = None) -> Story:
    """What became of a record, a pair, a response, a prompt, or a row of a file.

    Args:
        dataset_root: the dataset's folder or URL.
        asked: a record id, a pair id, a response id, a prompt id, or FILE:ROW, where FILE is the published name or its last parts.
        version: the one to tell in full; when left out the current one, or else the newest that knows it.

    Raises:
        NotFoundError: nothing in the version, or in any when left out, has that id or row.
    """
    version = None if version is None else versions.full_name(dataset_root, version)
    for name in [version] if version is not None else _newest_first(dataset_root):
        try:
            catalogue = open_version(dataset_root, name)
        except PrefineError:
            if name is None or name == version or name == versions.current_version(dataset_root):
                raise
            continue  # an older version that cannot be read has a line among the fates
        if (story := _story(dataset_root, catalogue, asked)) is not None:
            return story
    known = version or ", ".join(versions.complete_versions(dataset_root))
    raise NotFoundError(
        f"{dataset_root} {known}: nothing is known as {asked!r}. Give the id of a record, pair, response or prompt, or FILE:ROW "
        "(rows count from 0; `prefine query ledger` lists all)."
    )


def _newest_first(dataset_root: str) -> list[str | None]:
    """The current version, then the others from the newest on; None, which names nothing, where there is no current one."""
    current = versions.current_version(dataset_root)
    return [current, *(name for name in reversed(versions.complete_versions(dataset_root)) if name != current)]


def _story(dataset_root: str, catalogue: Catalogue, asked: str) -> Story | None:
    """The story as one version knows it; None where it does not."""
    if not asked:  # would be the prompt of pairs that have none
        return None
    tables = catalogue.tables
    file, _, row = asked.rpartition(":")
    id_, uri = pc.field("record_id"), pc.field("source_uri")
    matches = (id_ == asked) | (pc.field("pair_id") == asked) | (pc.field("witness_pair_id") == asked)
    if file and row.isascii() and (row.isdigit() or row == "-1") and len(row) < 19:  # -1: a file that could not be read
        matches = ((uri == file) | pc.ends_with(uri, f"/{file}")) & (pc.field("source_row") == int(row))
    place = ["source", "source_uri", "source_row"]
    is_asked = pc.field("pair_id") == asked
    for name in ("prompt_id", "chosen_id", "rejected_id"):
        is_asked |= pc.field(name) == asked
    holding = [one for name in ("pairs", "dropped") for one in rows_of(tables[name], is_asked, ["pair_id"], ["pair_id", "records"])]
    holding, left_out = holding[:MOST_PAIRS], max(0, len(holding) - MOST_PAIRS)
    of_asked = [one["pair_id"] for one in holding]
    rated = rows_of(tables["ratings"], (pc.field("response_id") == asked) | (pc.field("prompt_id") == asked), ["rating_id"], ["rating_id"])
    listed = sorted({record for one in holding for record in one["records"]} | {one["rating_id"] for one in rated[:MOST_PAIRS]})
    ledger = rows_of(tables["ledger"], matches | id_.isin(ids_of(listed)), [*place, "record_id"])
    records = sorted({r["record_id"] for r in ledger})
    derived = _derived_from(catalogue, records)
    pair_ids = sorted({p for r in ledger for p in (r["pair_id"], r["witness_pair_id"]) if p} | set(derived.values()) | {asked, *of_asked})
    pairs = [
        {**row, "fate": fate}
        for name, fate in (("pairs", "published"), ("dropped", "dropped"))
        for row in rows_of(tables[name], pc.field("pair_id").isin(ids_of(pair_ids)), ["pair_id"])
    ]
    if not ledger and not pairs:
        return None
    stated = {(r["record_id"], r["source_uri"], r["source_row"]) for r in ledger}
    of_pairs = ids_of([row["pair_id"] for row in pairs])
    on_them = pc.field("pair_id").isin(of_pairs) | pc.field("merged_into").isin(of_pairs)
    # What judges say belongs to the story of every record of the pair.
    wanted = pc.field("judgement_id").isin(ids_of(sorted({*records, *derived}))) | (pc.starts_with(pc.field("source"), ASKED) & on_them)
    judgements = rows_of(tables["judgements"], wanted, [*place, "judgement_id"])
    judgements = [
        r
        for r in judgements
        if r["judgement_id"] in derived or r["source"].startswith(ASKED) or (r["judgement_id"], r["source_uri"], r["source_row"]) in stated
    ]
    ratings = rows_of(tables["ratings"], pc.field("rating_id").isin(ids_of(records)), [*place, "rating_id"])
    ratings = [r for r in ratings if (r["rating_id"], r["source_uri"], r["source_row"]) in stated]
    quarantined = rows_of(tables["quarantine"], id_.isin(ids_of(records)), [*place, "record_id"])
    quarantined = [r for r in quarantined if (r["record_id"], r["source_uri"], r["source_row"]) in stated]
    names = ids_of(sorted({voter(r) for r in judgements}))
    annotators = rows_of(tables["annotators"], pc.field("annotator_id").isin(names), ["annotator_id", "annotator_kind"])
    rationales = rows_of(tables["rationales"], pc.field("pair_id").isin(of_pairs), ["pair_id", "kind", "rationale_id"])
    rules = versions.read_manifest(dataset_root, catalogue.version).get("rules", [])
    its_own = of_asked or sorted({r["pair_id"] for r in ledger if r["pair_id"]})
    return Story(
        asked, catalogue.version, ledger, judgements, ratings, pairs, quarantined, annotators, rationales,
        rules=tried(pairs, rules, lambda rule: _cut_of(catalogue, rule)),
        fates=in_every_version(dataset_root, its_own, [] if of_asked else records),
        left_out=left_out,
    )  # fmt: skip


def _cut_of(catalogue: Catalogue, rule: str) -> float | None:
    """The threshold that the pairs which a rule dropped have."""
    sql = "select any_value(threshold) from dropped where reason = ?"
    with session(catalogue.tables, catalogue.threads, catalogue.memory_limit, asked=sql) as con:
        found: tuple[Any, ...] | None = con.execute(sql, [rule]).fetchone()
    return None if found is None else found[0]


def _derived_from(catalogue: Catalogue, records: list[str]) -> dict[str, str]:
    """The judgements derived from some of these ratings, and their pairs."""
    sql = "select distinct judgement_id, pair_id from judgements where list_has_any(derived_from, ?::varchar[])"
    with session(catalogue.tables, catalogue.threads, catalogue.memory_limit, asked=sql) as con:
        return dict(con.execute(sql, [records]).fetchall())
