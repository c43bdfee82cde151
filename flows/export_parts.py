"""A published version as exports read it: shard after shard, prompts whole where that is asked, with other tables' rows about them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from pipeline import export_files, queries, storage, versions
from pipeline.export import Format, Options

SPLITS: Final = queries.SPLITS
OTHER: Final = "other"
TIES: Final = "ties"  # as part of a file's name: pairs of dropped/ without a better answer
TIE: Final = (pc.field("reason") == "tie") & pc.field("tie")


@dataclass(frozen=True)
class Request:
    """What is to be exported.

    Attributes:
        form: one of `pipeline.export.FORMATS`.
        options: for it.
        version: e.g. v000001; the current one when None.
        splits: of SPLITS and OTHER; pairs of `other` go to files of the split that they are of.
        allow_loss: leave out what the format cannot say, rather than stop.
    """

    form: str = "trl"
    options: Options = field(default_factory=Options)
    version: str | None = None
    splits: tuple[str, ...] = SPLITS
    allow_loss: bool = False


@dataclass(frozen=True)
class Version:
    """A version to export.

    Attributes:
        name: e.g. v000001.
        home: its folder or URL.
        manifest: its manifest.
        shards: paths relative to it, in order, by part.
        tables: of `queries.version_tables`, where the format reads other tables beside pairs; else empty.
    """

    name: str
    home: str
    manifest: dict[str, Any]
    shards: dict[str, list[str]]
    tables: queries.Tables


@dataclass(frozen=True)
class Unit:
    """One shard of a version to convert.

    Attributes:
        path: relative to the version.
        part: train, validation, test, OTHER or TIES.
        before, after: other shards of the part, in order: a prompt's pairs may go on in the next ones.
    """

    path: str
    part: str
    before: tuple[str, ...]
    after: tuple[str, ...]

    def names(self, split: str) -> str:
        """The name of the file with this shard's pairs of a split."""
        number = self.path.rsplit("/", 1)[-1].split("-", 1)[1].removesuffix(".parquet")
        return f"{split}-{number}" if self.part == split else f"{split}-{self.part}-{number}"


def opened(dataset_root: str, version: str | None, tables: bool) -> Version:
    """Find a version (the current one when None) and make sure that its files are there.

    Raises:
        NotFoundError: no such version.
        PrefineError: a file is missing or has another size.
    """
    name = versions.full_name(dataset_root, version)
    home, manifest = storage.join(dataset_root, name), queries.read_manifest(dataset_root, name)
    queries.check_files(home, manifest)
    shards = queries.part_paths(queries.manifest_paths(home, manifest))
    return Version(name, home, manifest, shards, queries.open_version(dataset_root, name).tables if tables else {})


def units_of(version: Version, request: Request, wanted: Format) -> Iterator[Unit]:
    """The shards to convert, in order: of the splits asked for, then those with ties."""
    ties = [TIES] if request.options.ties and "ties" in wanted.represents else []
    for part in [*(part for part in (*SPLITS, OTHER) if part in request.splits), *ties]:
        shards = version.shards["dropped" if part == TIES else part]
        for at, path in enumerate(shards):
            yield Unit(path, part, tuple(shards[:at]), tuple(shards[at + 1 :]))


def pairs_of(version: Version, unit: Unit, wanted: Format) -> Iterator[pl.DataFrame]:
    """The pairs of a shard: all at once where prompts must be whole or other tables are asked, else a row group at a time."""
    more = [*(("prompt_id", "pair_id") if wanted.beside else ()), *(("prompt_id",) if wanted.whole_prompts else ())]
    columns = list(dict.fromkeys([*wanted.reads, *more, *(("split",) if unit.part in (OTHER, TIES) else ())]))
    place = storage.join(version.home, unit.path)
    if not wanted.beside and not wanted.whole_prompts and unit.part != TIES:
        yield from export_files.in_parts(place, columns)
        return
    pairs = export_files.whole(place, columns, TIE if unit.part == TIES else None)
    if wanted.whole_prompts and unit.part == TIES:
        pairs = _unpublished(version, pairs)
    if wanted.whole_prompts and pairs.height:
        pairs = _whole_prompts(version, unit, columns, pairs)
    yield pairs


def _unpublished(version: Version, pairs: pl.DataFrame) -> pl.DataFrame:
    """Pairs of prompts of which no pair is published: what is known of the others is exported with their published pairs."""
    if not pairs.height:
        return pairs
    lowest, highest = pairs.select(pl.col("prompt_id").min(), pl.col("prompt_id").max().alias("highest")).row(0)
    near = (pc.field("prompt_id") >= lowest) & (pc.field("prompt_id") <= highest)
    for path in (path for split in SPLITS for path in version.shards[split]):
        known = export_files.whole(storage.join(version.home, path), ["prompt_id"], near)["prompt_id"].unique()
        pairs = pairs.filter(~pl.col("prompt_id").is_in(known.implode()))
    return pairs


def _whole_prompts(version: Version, unit: Unit, columns: list[str], pairs: pl.DataFrame) -> pl.DataFrame:
    """Without the pairs of a prompt that began in an earlier shard, with those that later shards hold of the last prompt; by prompt."""
    tie = TIE if unit.part == TIES else None
    for path in reversed(unit.before):  # shards hold runs of prompts, in the order of their ids
        earlier = export_files.whole(storage.join(version.home, path), ["prompt_id"], tie)
        if earlier.height:
            pairs = pairs.filter(pl.col("prompt_id") != earlier["prompt_id"].max())
            break
    if not pairs.height:
        return pairs
    last = pairs["prompt_id"].max()
    found = [pairs]
    for path in unit.after:
        same = pc.field("prompt_id") == last
        found.append(export_files.whole(storage.join(version.home, path), columns, same if tie is None else same & tie))
        if not found[-1].height:
            break
    return pl.concat(found).sort("prompt_id", maintain_order=True)


def by_split(pairs: pl.DataFrame, unit: Unit, request: Request) -> list[tuple[str, pl.DataFrame]]:
    """The pairs of each split. Shards of splits hold one; the others any, of which ties follow the splits that were asked for."""
    if unit.part in SPLITS:
        return [(unit.part, pairs)]
    asked = SPLITS if unit.part == OTHER else [split for split in SPLITS if split in request.splits]
    parts = [(split, pairs.filter(pl.col("split") == split)) for split in asked]
    return [(split, mine) for split, mine in parts if mine.height]


def beside_of(table: queries.Table, columns: list[str], pairs: pl.DataFrame) -> pl.DataFrame:
    """The rows of another part that are about these pairs, or about their prompts."""
    source = table if isinstance(table, ds.Dataset) else ds.dataset(table)
    key = "pair_id" if "pair_id" in columns else "prompt_id"
    lowest, highest = pairs.select(pl.col("prompt_id").min(), pl.col("prompt_id").max().alias("highest")).row(0)
    # All parts are in the order of prompts, so the bounds skip most of a file without reading it.
    near = (pc.field("prompt_id") >= lowest) & (pc.field("prompt_id") <= highest)
    found = source.to_table(columns=columns, filter=near & pc.field(key).isin(pairs[key].unique().to_arrow().cast(pa.string())))
    return pl.DataFrame(pl.from_arrow(found))
