"""Benchmark prompts: read and embedded once, then looked for in every partition of a run.

Nothing here decides about data: that is `pipeline.decontaminate`.
"""

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from flows import steps, vectors
from flows.steps import Run
from pipeline import decontaminate, masking, storage
from pipeline.config import BenchmarkConfig, PipelineConfig
from pipeline.decontaminate import Prompts
from pipeline.errors import ConfigError, UnreadableFileError
from pipeline.identity import content_hash
from pipeline.ingest.prompts import TURN, read_prompts
from pipeline.normalise import normalised
from pipeline.schemas import MESSAGE_FIELDS
from pipeline.stage import bucket_of
from pipeline.store import Store
from pipeline.texts import is_blank, text_of

_TABLE: Final = "benchmarks"  # in the scratch folder
# One row = one turn of a user in a benchmark.
ENTRIES: Final = pl.Schema(
    {"benchmark": pl.String(), "prompt": pl.String(), "turn": pl.Int64(), "text_id": pl.String(), "text": pl.String()}
)


def read_benchmarks(config: PipelineConfig, base: str | Path) -> pl.DataFrame:
    """Every prompt of the configured benchmarks, as the run's texts are: masked and normalised.

    Args:
        config: `decontaminate.benchmarks`, and `content.mask`.
        base: where relative paths start.

    Returns:
        Schema ENTRIES, in the order of the config, of file names and of rows; a row with several turns of the user has a line for each.

    Raises:
        ConfigError: nothing is there, a file or row cannot be read, or a benchmark has no prompt at all.
    """
    parts = [ENTRIES.to_frame()]
    for benchmark in config.decontaminate.benchmarks:
        try:
            files = storage.list_files(benchmark.uri, base)
            turns = [_turns(benchmark, file, len(files) > 1) for file in files]
        except (ConfigError, UnreadableFileError) as error:
            raise ConfigError(f"decontaminate.benchmarks: {benchmark.name!r}: {error}") from None
        spoken = _as_in_pairs(pl.concat(turns), config)
        if spoken.is_empty():
            raise ConfigError(f"decontaminate.benchmarks: {benchmark.name!r}: no prompt in {benchmark.uri}; expected at least one.")
        parts.append(spoken.match_to_schema(ENTRIES))
    return pl.concat(parts)


def _turns(benchmark: BenchmarkConfig, file: tuple[str, str, int], several: bool) -> pl.DataFrame:
    place, name, _ = file
    turns = pl.concat([TURN.to_frame(), *read_prompts(place, name, benchmark.field)])
    label = f"{benchmark.name}:{name}" if several else benchmark.name
    return turns.with_columns(benchmark=pl.lit(benchmark.name), prompt=pl.lit(f"{label}:") + pl.col("row").cast(pl.String))


def _as_in_pairs(turns: pl.DataFrame, config: PipelineConfig) -> pl.DataFrame:
    """Turns with the text and id that they have as the prompt of a pair."""
    said = {"role": pl.lit("user"), "content": pl.col("text")}
    message = pl.struct(said.get(name, pl.lit(None, pl.String)).alias(name) for name in MESSAGE_FIELDS)
    masked = masking.mask(turns.with_columns(prompt_=pl.col("prompt"), prompt=pl.concat_list(message)), config.content.mask)
    messages, _ = normalised(masked.get_column("prompt"))
    spoken = masked.with_columns(messages).with_columns(text=text_of("prompt"), prompt="prompt_").filter(~is_blank(pl.col("text")))
    return spoken.with_columns(text_id=content_hash(spoken.get_column("text"), "text")).select(ENTRIES.names())


def prepare(run: Run, entries: pl.DataFrame) -> dict[str, int]:
    """Embed the benchmark prompts that the store does not have, and leave all for the partitions' tasks."""
    storage.write_table(entries, run.whole(_TABLE))
    long = decontaminate.prepare(entries, run.config.decontaminate.ngram).entries.filter("long")
    embedded = vectors.embed_missing(Store(run.store), steps.encoder(run.config.embed), placed(long), lambda _: None)
    return {"prompts": entries.height, "embedded": embedded}


def mark(run: Run, partition: int, table: str, marked: str) -> dict[str, int]:
    """Mark a partition's pairs that hold a benchmark prompt.

    Args:
        run: the run.
        partition: its number.
        table: scratch table of the pairs, with text ids and perhaps `left_*` columns.
        marked: scratch table to write.

    Returns:
        How many pairs hold one, and how many leave for it.
    """
    config = run.config.decontaminate
    prompts = decontaminate.prepare(storage.read_table(run.whole(_TABLE)), config.ngram)
    pairs = storage.read_table(run.place(table, partition))
    texts = storage.read_table(run.place("texts", partition))
    store = Store(run.store)
    hits = hits_of(store, run.config, texts, prompts, prompt_vectors(store, run.config, prompts))
    result = decontaminate.mark(pairs, hits, prompts, config)
    storage.write_table(result, run.place(marked, partition))
    left = result.filter(pl.col("left_stage") == decontaminate.STAGE).height
    return {"contaminated": int(result.get_column("contamination").is_not_null().sum()), "left": left}


def placed(texts: pl.DataFrame) -> pl.DataFrame:
    """Texts of no pair with a bucket, their id's own."""
    return texts.select("text_id", "text", bucket=bucket_of("text_id"))


def prompt_vectors(store: Store, config: PipelineConfig, prompts: Prompts) -> npt.NDArray[np.float16]:
    """The vectors of the long prompts, in their order."""
    long = prompts.entries.filter("long")
    if long.is_empty():
        return np.empty((0, steps.encoder(config.embed).dimensions), np.float16)
    index, stored = vectors.needed(store, steps.encoder(config.embed), long.get_column("text_id"))
    rows = long.join(index, on="text_id", how="left", maintain_order="left").get_column("index").drop_nulls()
    asked: npt.NDArray[np.float16] = stored[rows.to_numpy()]
    return asked


def hits_of(store: Store, config: PipelineConfig, texts: pl.DataFrame, prompts: Prompts, asked: npt.NDArray[np.float16]) -> pl.DataFrame:
    """Which of the texts (bucket, text_id, text) hold which prompts, whose vectors are `asked`: `decontaminate.HITS`."""
    if prompts.entries.is_empty():  # most runs: their vectors need not be read once more
        return decontaminate.HITS.to_frame()
    first, last = int(texts.get_column("bucket").min() or 0), int(texts.get_column("bucket").max() or 0)  # type: ignore[arg-type]
    index, stored = vectors.needed(store, steps.encoder(config.embed), texts.get_column("text_id"), first, last)
    return decontaminate.find_hits(texts, index, stored, prompts, asked, config.decontaminate)
