"""Selection over all partitions: what they sum up, which pairs leave, and how diverse the pairs of each stage are.

Nothing here decides about data: that is `pipeline.selection`.
"""

import logging

import numpy as np
import polars as pl

from flows import steps, vectors
from flows.steps import Run
from pipeline import rules, storage, weights
from pipeline.config import PipelineConfig
from pipeline.selection import select, topics, vendi
from pipeline.selection.select import Selection
from pipeline.stage import UNNAMED
from pipeline.statistics.table import STATISTIC
from pipeline.store import Store

log = logging.getLogger("prefine")


def check(config: PipelineConfig) -> Selection | None:
    """Check what a config says of selection and of weights; None where nothing is selected.

    Raises:
        ConfigError: as `pipeline.selection.select.check` and `pipeline.weights.check_factors`.
    """
    off = rules.not_computed(config.content, config.signals.ches, config.rationales)
    weights.check_factors(config.weights, off)
    return select.check(config, off)


def prepare(run: Run, partitions: list[int], step: int, selection: Selection) -> None:
    """Find the topics of prompts, where pairs are told apart by them."""
    if not selection.by_topic:
        return
    texts = [storage.read_table(run.place(f"pairs-{step}", p), ["prompt_text"]).to_series() for p in partitions]
    drawn = topics.sample(pl.concat(texts), selection.config.seed)
    index, embedded = vectors.needed(Store(run.store), steps.encoder(run.config.embed), drawn)
    found = drawn.to_frame("text_id").join(index, on="text_id", maintain_order="left").get_column("index").to_numpy()
    centres = topics.fit(embedded[found], selection.config.topics)
    storage.write_table(pl.DataFrame({"centre": centres.tolist()}, schema={"centre": pl.List(pl.Float32)}), run.whole("topics"))


def summarise(run: Run, partition: int, step: int, selection: Selection) -> None:
    """What a partition's pairs add to the selection from all."""
    known = topics_of(run, partition, step) if selection.by_topic else None
    voters = _voters(run, partition) if selection.by_annotator else None
    pairs = storage.read_table(run.place(f"pairs-{step}", partition), selection.columns)
    storage.write_table(select.summarise(pairs, selection, voters, known), run.place("selection", partition))


def topics_of(run: Run, partition: int, step: int) -> pl.DataFrame:
    """The topic of each of a partition's pairs: pair_id, topic."""
    pairs = storage.read_table(run.place(f"pairs-{step}", partition), ["pair_id", "prompt_text"])
    centres = storage.read_table(run.whole("topics")).get_column("centre")
    ids = pairs.get_column("prompt_text").drop_nulls().unique()
    index, embedded = vectors.needed(Store(run.store), steps.encoder(run.config.embed), ids, *run.buckets(partition))
    nearest = topics.assign(embedded, centres.list.to_array(len(centres[0])).to_numpy()) if len(ids) else np.zeros(0, dtype=np.int64)
    numbers = pl.DataFrame({"number": nearest}).with_row_index("index").with_columns(pl.col("index").cast(pl.Int64))
    rows = pairs.join(index, left_on="prompt_text", right_on="text_id", how="left", maintain_order="left").join(
        numbers, on="index", how="left"
    )
    return rows.select("pair_id", topic=topics.name_of(pl.col("number")))


def _voters(run: Run, partition: int) -> pl.DataFrame:
    """Whose votes decide each pair; what is unnamed may be anybody's."""
    votes = storage.read_table(run.place("admitted", partition), ["pair_id", "annotator"])
    return votes.filter(~pl.col("annotator").str.starts_with(f"{UNNAMED} "))


def reduce(run: Run, partitions: list[int], selection: Selection) -> None:
    """Which pairs of each partition leave, and what there is to tell of it."""
    found = select.reduce(steps.read_each(run, "selection", partitions), selection)
    for partition, left in zip(partitions, found.left, strict=True):
        storage.write_table(left, run.place("not-selected", partition))
    for line in found.warnings:
        log.warning("%s", line)
    storage.write_table(found.statistics, run.whole("selection-statistics"))


def apply(run: Run, partition: int, step: int) -> None:
    """What stays goes to the next round, what leaves is kept apart. Can be run again."""
    pairs = storage.read_table(run.place(f"pairs-{step}", partition))
    result = select.apply(pairs, storage.read_table(run.place("not-selected", partition)))
    storage.write_table(result.kept, run.place(f"pairs-{step + 1}", partition))
    storage.write_table(result.dropped, storage.join(run.scratch, "left", f"{partition:03d}", f"{step:03d}{storage.SCRATCH}"))


def statistics(run: Run, partitions: list[int], stages: dict[str, int]) -> pl.DataFrame:
    """The mixture before and after, and the Vendi scores of each stage: schema STATISTIC; no rows where nothing is asked for.

    Args:
        run: the run.
        partitions: those that have pairs.
        stages: which round of pairs each stage is, in their order.
    """
    config, tables = run.config.selection, [STATISTIC.to_frame()]
    if config.selects and partitions:
        tables.append(storage.read_table(run.whole("selection-statistics")))
    if config.measured and partitions:
        columns = ["pair_id", "prompt_text", "chosen_text"]
        parts = {
            stage: [
                vendi.summarise(storage.read_table(run.place(f"pairs-{step}", p), columns), config.seed, config.measured)
                for p in partitions
            ]
            for stage, step in stages.items()
        }
        drawn = vendi.samples(parts, config.measured)
        texts = pl.concat([table.get_column(name) for table in drawn.values() for name in columns[1:]]).drop_nulls().unique()
        index, embedded = vectors.needed(Store(run.store), steps.encoder(run.config.embed), texts)
        tables.append(vendi.statistics(drawn, index, embedded))
    return pl.concat(tables)
