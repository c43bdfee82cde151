"""EDGE: a published version as a stream of rows for trainers: `from pipeline.load import load`.

```python
pairs = load("workspace/datasets/helpful-chat", columns=["prompt", "chosen", "rejected"], shuffle=True, seed=1)
for table in pairs.arrow(batch_rows=1024): ...           # pyarrow tables; .polars() gives data frames, .rows() dicts
loader = torch.utils.data.DataLoader(pairs.torch(), batch_size=32, num_workers=4, collate_fn=list)
```
"""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from pipeline import queries, storage, versions
from pipeline.errors import NotFoundError, PrefineError
from pipeline.load.order import Uneven
from pipeline.load.reading import Shards, row_groups
from pipeline.load.state import State, batches, rows

if TYPE_CHECKING:
    from pipeline.load.torch_rows import TorchRows

__all__ = ["Loader", "load"]

WINDOW_ROWS = 16_384


def load(
    place: str,
    *,
    version: str | None = None,
    split: str | Sequence[str] = "train",
    columns: Sequence[str] | None = None,
    shuffle: bool = False,
    seed: int = 0,
    window_rows: int = WINDOW_ROWS,
    rank: int = 0,
    world_size: int = 1,
    uneven: Uneven = "keep",
) -> "Loader":
    """Open a version for reading. What is read then goes from disk or object store in windows; nothing is held but two of them.

    Args:
        place: a dataset's folder or URL (its current version is read, or `version`), or a version's.
        version: e.g. v000001.
        split: train, validation, test or other; or several, which are read one after the other.
        columns: of PAIR, all when left out. Fewer are much faster.
        shuffle: an order of its own for every epoch: row groups are shuffled, and then the rows of each window. False: as in the files.
        seed: of the order.
        window_rows: rows that are shuffled with each other, at least; row groups are read whole. Memory: two windows of the columns read.
        rank: of this process. Leave rank and world_size alone where something else deals out rows to processes (accelerate and the
            Trainers built on it do): dealt out twice, most rows would be read by nobody.
        world_size: how many processes share the rows: every row goes to one of them.
        uneven: where rows cannot be shared evenly: `keep` (the default) gives the first ranks one row more, and loses and repeats
            none; `drop` leaves out up to world_size - 1 rows of each epoch; `repeat` reads as many again. With both, ranks have
            equally many rows, as DistributedDataParallel needs.

    Raises:
        NotFoundError: no such version, or nothing is published there.
        PrefineError: a shard is missing or has another size, a path leaves the folder, or an argument is wrong.
    """
    folder = _folder(place, version)
    manifest = versions.manifest_in(folder)
    versions.check_files(folder, manifest)
    splits = [split] if isinstance(split, str) else list(split)
    for wrong in sorted(set(splits) - set(queries.PUBLISHED_PARTS)):
        raise PrefineError(f"load: split {wrong!r}: expected some of {', '.join(queries.PUBLISHED_PARTS)}.")
    if world_size < 1 or not 0 <= rank < world_size or window_rows < 1:
        raise PrefineError(
            f"load: rank {rank} of {world_size}, window_rows {window_rows}: expected 0 <= rank < world_size, window_rows > 0."
        )
    if uneven not in ("keep", "drop", "repeat"):
        raise PrefineError(f"load: uneven {uneven!r}: expected keep, drop or repeat.")
    parts = queries.part_paths(versions.manifest_paths(folder, manifest))
    paths = [path for one in splits for path in parts[one]]
    groups, schema = row_groups(folder, paths)
    known = (schema or queries.PARTS["train"][1]).names
    wanted = list(known) if columns is None else list(columns)
    for wrong in [column for column in wanted if column not in known]:
        near = difflib.get_close_matches(wrong, known, 1)
        hint = f"Did you mean {near[0]!r}?" if near else f"There are {', '.join(known)}."
        raise PrefineError(f"load: {folder} has no column {wrong!r}. {hint}")
    content = str(manifest.get("content_sha256", ""))
    order = (shuffle, seed, window_rows, uneven, rank, world_size)
    return Loader(Shards(content, folder, tuple(paths), groups, tuple(wanted), *order))


def _folder(place: str, version: str | None) -> str:
    """The folder of the version that a place means."""
    if version is None and storage.exists(storage.join(place, "manifest.json")):
        return place.rstrip("/")
    name = version or versions.current_version(place)
    if name is None:
        raise NotFoundError(f"{place}: neither a dataset with a published version (no CURRENT) nor a version's folder (no manifest.json).")
    versions.read_manifest(place, name)  # says which versions there are, where this is none
    return storage.join(place, name)


class Loader:
    """The rows of a version for one rank, in an order that seed and epoch decide, whatever the sizes of batches.

    It remembers how many rows of the epoch it has handed out: `state_dict` and `load_state_dict` go on exactly there.
    """

    def __init__(self, shards: Shards) -> None:
        """Use `load`."""
        self.shards = shards
        self._state = State(shards)

    @property
    def rows_per_epoch(self) -> int:
        """Rows of one epoch for this rank."""
        return self.shards.rows()

    def with_columns(self, columns: Sequence[str]) -> "Loader":
        """The same rows in the same order, with other columns, from the epoch's start."""
        unknown = sorted(set(columns) - set(queries.PARTS["train"][1].names))
        if unknown:
            raise PrefineError(f"load: {self.shards.folder} has no columns {unknown}.")
        return Loader(replace(self.shards, columns=tuple(columns)))

    def arrow(self, batch_rows: int = 1024) -> Iterator[pa.Table]:
        """The rest of the epoch as tables of so many rows, the last one excepted; the next call begins the epoch again.

        Raises:
            PrefineError: a shard cannot be read or one of its pages is damaged.
        """
        yield from batches(self._state, batch_rows)

    def polars(self, batch_rows: int = 1024) -> Iterator[pl.DataFrame]:
        """`arrow` as data frames."""
        for table in self.arrow(batch_rows):
            yield pl.DataFrame(pl.from_arrow(table))

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rest of the epoch row by row: what `datasets.IterableDataset.from_generator` takes."""
        yield from rows(self._state)

    def torch(self) -> "TorchRows":
        """The rows as a torch IterableDataset of dicts, from this loader's epoch on; DataLoader's workers share them."""
        from pipeline.load.torch_rows import TorchRows  # torch takes seconds to import

        return TorchRows(self.shards, self._state.epoch)

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of another epoch; the one that is set already goes on where it is."""
        self._state.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Where it is: plain values, to be stored beside a model's checkpoint. Rows handed out so far are not handed out again."""
        return self._state.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was called, with the next iteration.

        Raises:
            PrefineError: the state is of another version, split, order or rank.
        """
        self._state.load_state_dict(state)
