"""`prefine export`: a published version in the form that a trainer reads, one shard after the other."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from pipeline import queries, storage
from pipeline.errors import ConfigError, NotFoundError, PrefineError
from pipeline.export import FORMATS

SPLITS = ("train", "validation")


@dataclass(frozen=True)
class Exported:
    """What an export wrote, and what it left out and why."""

    version: str
    rows: dict[str, int]
    left_out: dict[str, int]


def export(
    dataset_root: str, version: str | None, folder: str, form: str, reference_logps: bool, done: Callable[[int], None]
) -> Exported:
    """Write `<folder>/train-*.parquet` and `<folder>/validation-*.parquet`; a shard without rows is not written.

    Args:
        dataset_root: the dataset's folder or URL.
        version: e.g. v000001; the current one when None.
        folder: where to; a folder or fsspec URL that holds no such files yet.
        form: one of `pipeline.export.FORMATS`.
        reference_logps: with the log-probabilities that a run with `signals.ches.logps` has published.
        done: gets the number of pairs done since its last call.

    Raises:
        ConfigError: no such format, or the folder holds shards already.
        NotFoundError: no such version.
        PrefineError: log-probabilities are asked for, and no pair has any.
    """
    if form not in FORMATS:
        raise ConfigError(f"--format {form}: expected one of {', '.join(FORMATS)}.")
    taken = [name for name in storage.children(folder) if name.endswith(".parquet")]
    if taken:
        raise ConfigError(f"{folder}: holds {taken[0]} already; a trainer would read both. Give an empty folder.")
    name = version or queries.current_version(dataset_root)
    if name is None:
        raise NotFoundError(f"{dataset_root}: nothing is published there yet. `prefine run CONFIG` publishes a first version.")
    home = storage.join(dataset_root, name)
    shards = queries.part_paths(queries.manifest_paths(home, queries.read_manifest(dataset_root, name)))
    wanted, rows, left_out = FORMATS[form](reference_logps), dict.fromkeys(SPLITS, 0), Counter[str]()
    for split in SPLITS:
        for shard in shards[split]:
            pairs = storage.read_table(storage.join(home, shard), list(wanted.reads))
            result = wanted.convert(pairs)
            if result.kept.height:
                storage.write_table(result.kept, storage.join(folder, shard.rsplit("/", 1)[-1]), wanted.schema)
            rows[split] += result.kept.height
            left_out.update(dict(result.dropped.group_by("reason").len().iter_rows()))
            done(pairs.height)
    if reference_logps and left_out["no_reference_logps"] and not any(rows.values()):
        raise PrefineError(
            f"{dataset_root}, {name}: no pair has the log-probabilities of a reference model. Set `signals.ches` to "
            "{backend: causal_lm, model: ..., logps: true}, run again, then export."
        )
    return Exported(name, rows, dict(left_out))
