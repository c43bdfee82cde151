"""`prefine export`: a published version in the form that a trainer reads, one shard after the other."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from pipeline import queries, storage
from pipeline.errors import ConfigError, NotFoundError, PrefineError
from pipeline.export import FORMATS, Format, Options

SPLITS = ("train", "validation")


@dataclass(frozen=True)
class Exported:
    """What an export wrote, and what it left out and why."""

    version: str
    rows: dict[str, int]
    left_out: dict[str, int]


def export(
    dataset_root: str,
    version: str | None,
    folder: str,
    form: str,
    reference_logps: bool,
    done: Callable[[int], None],
    kinds: tuple[str, ...] = (),
) -> Exported:
    """Write `<folder>/train-*.parquet` and `<folder>/validation-*.parquet`; a shard without rows is not written.

    Args:
        dataset_root: the dataset's folder or URL.
        version: e.g. v000001; the current one when None.
        folder: where to; a folder or fsspec URL that holds no such files yet.
        form: one of `pipeline.export.FORMATS`.
        reference_logps: with the log-probabilities that a run with `signals.ches.logps` has published.
        done: gets the number of pairs done since its last call.
        kinds: of rationales; those that the format takes by itself when empty.

    Raises:
        ConfigError: no such format, one that does not take these options, or the folder holds shards already.
        NotFoundError: no such version.
        PrefineError: log-probabilities or rationales are asked for, and no pair has any.
    """
    wanted = _format(form, Options(reference_logps, kinds))
    taken = [name for name in storage.children(folder) if name.endswith(".parquet")]
    if taken:
        raise ConfigError(f"{folder}: holds {taken[0]} already; a trainer would read both. Give an empty folder.")
    name = version or queries.current_version(dataset_root)
    if name is None:
        raise NotFoundError(f"{dataset_root}: nothing is published there yet. `prefine run CONFIG` publishes a first version.")
    home = storage.join(dataset_root, name)
    shards = queries.part_paths(queries.manifest_paths(home, queries.read_manifest(dataset_root, name)))
    tables = queries.open_version(dataset_root, name).tables if wanted.beside else {}
    reads = list(dict.fromkeys([*wanted.reads, *(("prompt_id", "pair_id") if wanted.beside else ())]))
    rows, left_out = dict.fromkeys(SPLITS, 0), Counter[str]()
    for split in SPLITS:
        for shard in shards[split]:
            pairs = storage.read_table(storage.join(home, shard), reads)
            beside = [_beside(tables[part], list(columns), pairs) for part, columns in wanted.beside.items()]
            result = wanted.convert(pairs.select(wanted.reads), *beside)
            if result.kept.height:
                storage.write_table(result.kept, storage.join(folder, shard.rsplit("/", 1)[-1]), wanted.schema)
            rows[split] += result.kept.height
            left_out.update(dict(result.dropped.group_by("reason").len().iter_rows()))
            done(pairs.height)
    if not any(rows.values()):
        _explain(f"{dataset_root}, {name}", left_out)
    return Exported(name, rows, dict(left_out))


def _format(form: str, options: Options) -> Format:
    if form not in FORMATS:
        raise ConfigError(f"--format {form}: expected one of {', '.join(FORMATS)}.")
    wanted = FORMATS[form](options)
    if options.reference_logps and not wanted.reference_logps:
        raise ConfigError(f"--format {form} takes no --reference-logps; --format trl does.")
    wrong = [kind for kind in options.kinds if kind not in wanted.kinds]
    if wrong:
        takes = f"expected {', '.join(wanted.kinds)}" if wanted.kinds else f"--format {form} takes none"
        raise ConfigError(f"--kind {wrong[0]}: {takes}.")
    return wanted


def _beside(table: queries.Table, columns: list[str], pairs: pl.DataFrame) -> pl.DataFrame:
    """The rows of another part that are about these pairs."""
    source = table if isinstance(table, ds.Dataset) else ds.dataset(table)
    lowest, highest = pairs.select(pl.col("prompt_id").min(), pl.col("prompt_id").max().alias("highest")).row(0)
    # All parts are in the order of prompts, so the bounds skip most of a file without reading it.
    near = (pc.field("prompt_id") >= lowest) & (pc.field("prompt_id") <= highest)
    found = source.to_table(columns=columns, filter=near & pc.field("pair_id").isin(pairs["pair_id"].to_arrow().cast(pa.string())))
    return pl.DataFrame(pl.from_arrow(found))


def _explain(where: str, left_out: Counter[str]) -> None:
    """Stop where nothing could be written because a run was not asked for it."""
    if left_out["no_reference_logps"]:
        raise PrefineError(
            f"{where}: no pair has the log-probabilities of a reference model. Set `signals.ches` to "
            "{backend: causal_lm, model: ..., logps: true}, run again, then export."
        )
    if left_out["no_rationale"]:
        raise PrefineError(
            f"{where}: no pair has an accepted rationale of these kinds. Set `rationales.endpoint`, run again, then export; measured "
            "differences are exported with --format rationale --kind factors."
        )
    if left_out["no_written_judgement"]:
        raise PrefineError(
            f"{where}: no judge has written why. Set `judges:`, or `rationales: {{labels: hidden, ...}}`, run again, then export."
        )
