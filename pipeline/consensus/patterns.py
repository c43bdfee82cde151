"""Votes -> patterns: whole numbers that say all a vote model has to know, and add up over partitions.

A vote is a *cell*: who voted, which side was shown first as far as known, and what the vote said. A pair is the multiset of its
cells, its *pattern*, and a fit needs only how many pairs have which pattern. Counts of pairs are integers, so a fit is the same to
the last bit however the rows were partitioned, and a million pairs with one unnamed vote each are a handful of patterns.

Which side of a pair is called low says nothing. A pattern and its mirror image (sides exchanged) are therefore one pattern,
written as the smaller of the two; that an exchange of sides changes nothing follows from here, exactly.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from pipeline.stage import UNNAMED

# What a vote can say, in order of preference; the mirror image of category c is CATEGORIES - 1 - c.
LOW_STRONG, LOW_SLIGHT, LOW, TIE, HIGH, HIGH_SLIGHT, HIGH_STRONG = range(7)  # LOW and HIGH: of unspecified strength
CATEGORIES: Final = 7
SHOWN_UNKNOWN, SHOWN_LOW_FIRST, SHOWN_HIGH_FIRST = range(3)
SHOWN: Final = 3
CELLS: Final = SHOWN * CATEGORIES  # cells of one annotator; cell = (annotator * SHOWN + shown) * CATEGORIES + category
STRONG: Final = 0.5  # votes of this strength and above are strong, those below slight

Cells = npt.NDArray[np.uint32]
Index = npt.NDArray[np.int64]

_MIRROR_SHOWN = np.array([SHOWN_UNKNOWN, SHOWN_HIGH_FIRST, SHOWN_LOW_FIRST], np.uint32)
_MIRROR = (_MIRROR_SHOWN[:, None] * CATEGORIES + np.arange(CATEGORIES, dtype=np.uint32)[::-1]).ravel()  # within one annotator
_CELL_BITS = 32
_PATTERN: dict[str, pl.DataType] = {"cells": pl.List(pl.UInt32), "pairs": pl.Int64()}


@dataclass(frozen=True)
class Patterns:
    """How many pairs have which pattern.

    Attributes:
        indptr: int64 (P + 1,): pattern p has the cells `cells[indptr[p]:indptr[p + 1]]`.
        cells: uint32 (V,): sorted within a pattern. Patterns stand shorter first, then in the order of their cells.
        counts: int64 (P,): pairs with this pattern, 1 and up.
        numbers: `number_annotators`'s table, A rows. There are C = A * CELLS cells.
    """

    indptr: Index
    cells: Cells
    counts: Index
    numbers: pl.DataFrame

    @property
    def pairs(self) -> int:
        """How many pairs there are."""
        return int(self.counts.sum())

    @property
    def pattern_of_cell(self) -> Index:
        """int64 (V,): the pattern that each entry of `cells` belongs to."""
        return np.repeat(np.arange(len(self.counts)), np.diff(self.indptr))


@dataclass(frozen=True)
class PairCells:
    """The pattern of each pair of a partition.

    Attributes:
        pair_ids: P ids, ascending.
        indptr: int64 (P + 1,), and
        cells: uint32 (V,), as in `Patterns`, a pair a pattern.
        swapped: bool (P,): the pattern is said of the sides exchanged.
        even: bool (P,): the pattern is its own mirror image: it says as much for one side as for the other.
    """

    pair_ids: pl.Series
    indptr: Index
    cells: Cells
    swapped: npt.NDArray[np.bool_]
    even: npt.NDArray[np.bool_]


def mirror(cells: Cells) -> Cells:
    """The cells of the same votes when the sides of their pair change names."""
    within = cells % CELLS
    return cells - within + _MIRROR[within]


def number_annotators(parts: list[pl.DataFrame]) -> pl.DataFrame:
    """Number the annotators of all partitions.

    Args:
        parts: annotator, kind (String) of the votes of each partition; repeats do not matter.

    Returns:
        number (UInt32, 0 and up), annotator, kind; one row an annotator, sorted by kind, annotator. The same name under two
        kinds is two annotators.
    """
    empty = pl.DataFrame(schema={"annotator": pl.String, "kind": pl.String})
    found = pl.concat([empty, *(part.select("annotator", "kind") for part in parts)]).unique().sort("kind", "annotator")
    return found.with_row_index("number").with_columns(pl.col("number").cast(pl.UInt32))


def cells_by_pair(votes: pl.DataFrame, numbers: pl.DataFrame) -> PairCells:
    """The pattern of each pair.

    A named annotator who says the same of a pair more than once, in the same order shown, is one vote: asking again is no second
    opinion. Contradictions stay, and cancel. Each vote of an unnamed annotator is another person's.

    Args:
        votes: pair_id, annotator, kind, vote (-1, 0, +1), strength (0 to 1; null or NaN: unspecified), low_first (null: unknown); in
            any order, all votes of a pair.
        numbers: from `number_annotators`, over all partitions.

    Raises:
        ValueError: a vote's annotator has no number.
    """
    if not votes["pair_id"].is_sorted():
        votes = votes.sort("pair_id")
    keys = _keys(votes, numbers)
    named = ~numbers["annotator"].str.starts_with(f"{UNNAMED} ").to_numpy()
    first = np.ones(len(keys), np.bool_)
    first[1:] = keys[1:] != keys[:-1]
    keys = keys[first | ~named[(keys & np.uint64(2**_CELL_BITS - 1)) // CELLS]] if len(keys) else keys

    pair = (keys >> np.uint64(_CELL_BITS)).astype(np.int64)
    cells = keys.astype(np.uint32)
    mirrored = np.sort((keys & ~np.uint64(2**_CELL_BITS - 1)) | mirror(cells)).astype(np.uint32)
    pair_ids = votes["pair_id"].unique(maintain_order=True)
    apart = np.flatnonzero(cells != mirrored)
    apart = apart[np.flatnonzero(np.diff(pair[apart], prepend=-1))]  # the first cell of each pair that differs decides
    swapped = np.zeros(len(pair_ids), np.bool_)
    swapped[pair[apart]] = mirrored[apart] < cells[apart]
    even = np.ones(len(pair_ids), np.bool_)
    even[pair[apart]] = False
    indptr = np.concatenate([[0], np.cumsum(np.bincount(pair, minlength=len(pair_ids)))])
    return PairCells(pair_ids, indptr.astype(np.int64), np.where(swapped[pair], mirrored, cells), swapped, even)


def patterns_of(votes: pl.DataFrame, numbers: pl.DataFrame) -> pl.DataFrame:
    """Count the patterns of a partition.

    Args:
        votes: as for `cells_by_pair`.
        numbers: from `number_annotators`, over all partitions.

    Returns:
        cells (List of UInt32, sorted), pairs (Int64); one row a pattern, in the order of `Patterns`.
    """
    found = cells_by_pair(votes, numbers)
    indptr, cells, counts = _count(found.indptr, found.cells, np.ones(len(found.pair_ids), np.int64))
    lists = pa.LargeListArray.from_arrays(pa.array(indptr, pa.int64()), pa.array(cells, pa.uint32()))
    return pl.DataFrame({"cells": pl.Series(lists, dtype=_PATTERN["cells"]), "pairs": counts}, schema=_PATTERN)


def merge(parts: list[pl.DataFrame], numbers: pl.DataFrame) -> Patterns:
    """Add up the patterns of all partitions.

    Args:
        parts: what `patterns_of` returned for each, in any order.
        numbers: the table they were made with.
    """
    rows = pl.concat([pl.DataFrame(schema=_PATTERN), *parts], rechunk=True)
    indptr = np.concatenate([[0], np.cumsum(rows["cells"].list.len().to_numpy())]).astype(np.int64)
    cells = rows["cells"].list.explode(keep_nulls=False, empty_as_null=False).to_numpy()
    return Patterns(*_count(indptr, cells, rows["pairs"].to_numpy()), numbers)


def _keys(votes: pl.DataFrame, numbers: pl.DataFrame) -> npt.NDArray[np.uint64]:
    """Pair number and cell of each vote as one whole number, ascending. `votes` are sorted by pair."""
    numbered = votes.join(numbers, on=["annotator", "kind"], how="left", maintain_order="left")
    if numbered["number"].null_count():
        name = numbered.filter(pl.col("number").is_null()).select(pl.concat_str("kind", pl.lit(" "), "annotator").min()).item()
        raise ValueError(f"{name!r} votes but has no number; number the annotators of all partitions")
    strength = pl.col("strength").fill_nan(None)
    how = pl.when(strength.is_null()).then(1).when(strength < STRONG).then(2).otherwise(3)  # steps away from a tie
    shown = pl.when(pl.col("low_first").is_null()).then(SHOWN_UNKNOWN).when("low_first").then(SHOWN_LOW_FIRST).otherwise(SHOWN_HIGH_FIRST)
    cell = (pl.col("number").cast(pl.Int64) * SHOWN + shown) * CATEGORIES + TIE + pl.col("vote").cast(pl.Int64) * how
    keys = numbered.select(pl.col("pair_id").rle_id().cast(pl.Int64) * 2**_CELL_BITS + cell).to_series()
    return np.sort(keys.cast(pl.UInt64).to_numpy())


def _count(indptr: Index, cells: Cells, counts: Index) -> tuple[Index, Cells, Index]:
    """Sort patterns (shorter first, then by cells) and add up the counts of equal ones: (indptr, cells, counts)."""
    lengths = np.diff(indptr)
    by_length = np.argsort(lengths, kind="stable")
    sizes, starts = np.unique(lengths[by_length], return_index=True)
    blocks, sums = [np.empty(0, np.uint32)], [np.empty(0, np.int64)]
    # A loop over lengths, of which n take n * n / 2 votes.
    for length, (start, end) in zip(sizes.tolist(), pairwise([*starts.tolist(), len(lengths)]), strict=True):
        rows = by_length[start:end]
        block = cells[indptr[rows, None] + np.arange(length)]
        order = np.lexsort(block.T[::-1])
        block = block[order]
        new = np.ones(len(rows), np.bool_)
        new[1:] = (block[1:] != block[:-1]).any(axis=1)
        blocks.append(block[new].ravel())
        sums.append(np.add.reduceat(counts[rows[order]], np.flatnonzero(new)))
    distinct = np.repeat(sizes, [len(part) for part in sums[1:]])
    return np.concatenate([[0], np.cumsum(distinct)]).astype(np.int64), np.concatenate(blocks), np.concatenate(sums)
