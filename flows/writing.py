"""The end of a run: what became of every pair and record, and the tables of the version."""

from typing import Any

import polars as pl
import pyarrow as pa

from flows import judging, reasons, scoring, splitting, steps
from flows.steps import Run
from pipeline import ledger, pairing, rating_pairs, split, storage
from pipeline.queries import PUBLISHED_PARTS
from pipeline.schemas import DROPPED, JUDGEMENT, LEDGER, PAIR, QUARANTINE, RATING, RATIONALE
from pipeline.stage import bucket_of

_RECORD_ORDER = ("judgement_id", "source", "source_uri", "source_row")


def gather_fates(run: Run, partitions: list[int], rounds: int) -> None:
    """What became of the pairs that count the votes of others, over all partitions."""
    parts = [ledger.fates_of(steps.empty(DROPPED), steps.empty(DROPPED))]
    counted = storage.read_table(run.whole("merges")).get_column("merged_into").unique() if partitions else pl.Series(dtype=pl.String)
    for partition in partitions:
        left = steps.read_parts(run, "left", partition, ["pair_id", *ledger.WHY, "witness_pair_id"])
        assert left is not None
        fates = ledger.fates_of(storage.read_table(run.place(f"pairs-{rounds}", partition), ["pair_id"]), left)
        parts.append(fates.filter(pl.col("pair_id").is_in(counted.implode())))
    storage.write_table(pl.concat(parts), run.whole("fates"))


def write_up(run: Run, partition: int, rounds: int) -> dict[str, Any]:
    """Split, shape and account for a partition: the tables of the version, in their final order."""
    unread = steps.read_parts(run, "quarantine", partition)
    quarantine = steps.empty(QUARANTINE) if unread is None else unread.select(QUARANTINE.names)
    quarantine = quarantine.sort("record_id", "source", "source_uri", "source_row")
    parts: dict[str, pl.DataFrame] = {"quarantine": quarantine}
    why, moves = dict[str, int](), dict[str, int]()
    judged = _read_scratch(run, "judged", partition, JUDGEMENT)
    judged = pl.concat([judged, judging.judgements(run, partition).select(judged.columns)]).sort(bucket_of("prompt_id"), *_RECORD_ORDER)
    if storage.exists(run.whole("counted")):  # not where no partition has a pair
        judged = pairing.mark_merged(judged, storage.read_table(run.whole("counted")))
    ratings = _read_scratch(run, "ratings", partition, RATING)
    ratings = ratings.sort(bucket_of("prompt_id"), "rating_id", *_RECORD_ORDER[1:], maintain_order=True)
    unused = _read_scratch(run, "unused", partition, rating_pairs.UNUSED)
    kept = dropped = steps.empty(DROPPED)
    if storage.exists(run.place(f"pairs-{rounds}", partition)):
        assigned = storage.read_table(run.whole("assigned-splits"))
        kept = _shape(run, storage.read_table(run.place(f"pairs-{rounds}", partition)), assigned)
        left = steps.read_parts(run, "left", partition)
        assert left is not None
        dropped = _shape(run, left, assigned)
        for name in PUBLISHED_PARTS:
            parts[name] = kept.filter(pl.col("part") == name).select(PAIR.names)
        parts["dropped"] = dropped.select(DROPPED.names)
        why = dict(dropped.group_by("reason").len().iter_rows())
        moves = splitting.count_moves(run, partition, pl.concat([part.select("prompt_id", "split") for part in (kept, dropped)]))
    parts |= {"judgements": judged, "ratings": ratings, "rationales": reasons.rationales(run, partition)}
    parts["ledger"] = ledger.write_up(judged, ratings, unused, kept, dropped, quarantine, storage.read_table(run.whole("fates")))
    schemas = {"quarantine": QUARANTINE, "dropped": DROPPED, "judgements": JUDGEMENT, "ratings": RATING, "ledger": LEDGER}
    schemas |= {"rationales": RATIONALE}
    for name, table in parts.items():
        storage.write_table(table, run.place(f"out-{name}", partition), schemas.get(name, PAIR))
    return {"rows": {name: table.height for name, table in parts.items()}, "reasons": why, "moves": moves}


def _read_scratch(run: Run, table: str, partition: int, schema: pa.Schema) -> pl.DataFrame:
    """A partition's file of one scratch table; no rows where it has none."""
    place = run.place(table, partition)
    return storage.read_table(place, schema.names) if storage.exists(place) else steps.empty(schema)


def _shape(run: Run, pairs: pl.DataFrame, assigned: pl.DataFrame) -> pl.DataFrame:
    """The columns of PAIR that come last, and the published order."""
    pairs = split.assign_part(split.assign_split(pairs, run.config.publish, assigned))
    return scoring.add_weights(run, pairs).sort("prompt_id", "pair_id")
