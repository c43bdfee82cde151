"""The splits of a run: what earlier versions say of its prompts, then one split for each cluster of the whole data set.

Nothing here decides about data: that is `pipeline.split`. The earlier splits are one small table, cut by bucket like everything else.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds

from flows import steps
from flows.steps import Run
from pipeline import queries, split, storage, versions
from pipeline.stage import bucket_of

_EARLIER = {"prompt_id": pl.String, "split": pl.String, "before": pl.String}


def read_earlier(run: Run, root: str, sources: list[str]) -> int:
    """What this data set's current version, and versions among the sources, say of prompts: published ones and dropped ones.

    Args:
        run: where to write, cut by partition: prompt_id, split (the most held out of all), before (this data set's; null: none).
        root: the data set's folder or URL.
        sources: folders of versions that are read as sources.

    Returns:
        How many prompts have a split.

    Raises:
        PrefineError: a version's file is missing or has another size: without its splits, held-out prompts could become train.
    """
    current = queries.current_version(root)
    own = [] if current is None else [storage.join(root, current)]
    splits = [_splits_of(folder).with_columns(before="split") for folder in own]
    splits += [_splits_of(folder).with_columns(before=pl.lit(None, pl.String)) for folder in sources]
    every = split.most_held_out(pl.concat([pl.DataFrame(schema=_EARLIER), *splits]))
    for partition in range(run.partitions):
        mine = every.filter(bucket_of("prompt_id").is_between(*run.buckets(partition)))
        storage.write_table(mine, run.place("earlier-splits", partition))
    return every.height


def _splits_of(folder: str) -> pl.DataFrame:
    """The distinct (prompt_id, split) of a version's pairs."""
    manifest = versions.manifest_in(folder)  # a source may be a copy under any name
    versions.check_files(folder, manifest)
    tables = queries.version_tables(folder, versions.manifest_paths(folder, manifest), [], [], manifest["files"])
    found = [pl.DataFrame(schema={name: _EARLIER[name] for name in ("prompt_id", "split")})]
    for part in ("pairs", "dropped"):
        table = tables[part]
        source = table if isinstance(table, ds.Dataset) else ds.dataset(table)
        for batch in source.to_batches(columns=["prompt_id", "split"]):
            found.append(pl.DataFrame(pl.from_arrow(pa.table(batch))).unique())
    return pl.concat(found).unique()


def summarise(run: Run, partition: int) -> None:
    """The splits that a partition's clusters have already, and how many pairs of which source they have."""
    columns = ["prompt_id", "prompt_cluster_id", "sources", "source_splits"]
    pairs = storage.read_table(run.place("decided", partition), columns)
    earlier = storage.read_table(run.place("earlier-splits", partition))
    storage.write_table(split.summarise_splits(pairs, earlier), run.place("splits", partition))
    if run.config.publish.stratify_by is not None:
        storage.write_table(split.summarise_strata(pairs), run.place("strata", partition))


def reduce(run: Run, partitions: list[int]) -> None:
    """One split for each cluster that has one already; for every cluster, where shares hold within strata."""
    joined = storage.read_table(run.whole("joined"))
    assigned = split.reduce_splits(steps.read_each(run, "splits", partitions), joined)
    if run.config.publish.stratify_by is not None:
        assigned = split.stratify(steps.read_each(run, "strata", partitions), joined, assigned, run.config.publish)
    storage.write_table(assigned, run.whole("assigned-splits"))


def count_moves(run: Run, partition: int, pairs: pl.DataFrame) -> dict[str, int]:
    """How many of a partition's prompts left the split that they had: `train to validation` and so on."""
    moved = split.count_moves(pairs, storage.read_table(run.place("earlier-splits", partition)))
    return {f"{before} to {now}": prompts for before, now, prompts in moved.iter_rows()}


def funnel_line(known: int, moves: Iterable[dict[str, int]]) -> list[dict[str, Any]]:
    """The funnel's line about prompts that had a split and did not keep it; none where all did. No pair is lost here."""
    total = Counter[str]()
    for some in moves:
        total.update(some)
    if not total:
        return []
    moved = total.total()
    return [{"stage": "keep splits (prompts)", "rows_in": known, "kept": known - moved, "dropped": moved, "reasons": dict(total)}]
