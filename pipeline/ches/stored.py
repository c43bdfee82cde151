"""A response's row in the store: its key, and either values or the reason why there are none."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from pipeline.errors import PrefineError, SchemaError

KEY_FIELDS: Final[list[Any]] = [
    pa.field("bucket", pa.uint8(), nullable=False),
    pa.field("key", pa.string(), nullable=False),
    pa.field("reason", pa.string()),  # why there are no values; null: there are
]


def keyed(responses: pl.DataFrame, rows: npt.NDArray[np.int64], reasons: Sequence[str | None]) -> list["pa.Array[Any]"]:
    """The columns of KEY_FIELDS, once it is clear that each response has either values or a reason.

    Args:
        responses: bucket, key; N rows.
        rows: (R,), those that have values.
        reasons: N; null for those.

    Raises:
        ValueError: a response has both, or neither, or values twice.
    """
    reason = pl.Series("reason", reasons, dtype=pl.String)
    times = np.bincount(rows, minlength=responses.height)
    if not len(reason) == len(times) == responses.height:
        raise ValueError(f"{responses.height} responses, {len(reason)} reasons, values up to row {len(times) - 1}; expected one of each")
    wrong = np.flatnonzero(times != reason.is_null().to_numpy())
    if wrong.size:
        first = int(wrong[0])
        raise ValueError(
            f"response {first} has values {times[first]} times and the reason {reason[first]!r}; expected one of the two, once"
        )
    columns: list[Any] = [responses.get_column("bucket").cast(pl.UInt8), responses.get_column("key"), reason]
    return [column.to_arrow().cast(field.type) for column, field in zip(columns, KEY_FIELDS, strict=True)]


def placed(values: npt.NDArray[Any], rows: npt.NDArray[np.int64], count: int, field: "pa.Field[Any]") -> "pa.Array[Any]":
    """Values (R,) or (R, D) as a column of `count` rows, each at its row, null elsewhere.

    Raises:
        PrefineError: a value is not finite.
    """
    wrong = int((~np.isfinite(values).all(axis=tuple(range(1, values.ndim)))).sum())
    if wrong:
        raise PrefineError(
            f"signals.ches: `{field.name}` of {wrong} of {len(values)} responses is not finite, so nothing is stored; the model's numbers "
            "overflow. Set signals.ches.dtype: float32."
        )
    whole, lacking = np.zeros((count, *values.shape[1:]), values.dtype), np.ones(count, np.bool_)
    whole[rows], lacking[rows] = values, False
    array: pa.Array[Any]
    if values.ndim == 1:
        array = pa.array(whole, field.type, mask=lacking)
    else:
        array = pa.FixedSizeListArray.from_arrays(pa.array(whole.ravel(), pa.float32()), whole.shape[1], mask=pa.array(lacking))
    return array


def rows_of(keys: pl.Series, table: pa.Table, kind: str) -> pl.Series:
    """Where each key is in a table of some kind of result, Int64.

    Raises:
        PrefineError: a key is not there.
        SchemaError: a key is there twice.
    """
    index = column(table, "key").cast(pl.String).to_frame("key").with_row_index("row")
    if index.get_column("key").is_duplicated().any():
        raise SchemaError(f"{kind}: a response is in the table twice; expected one row a key.")
    rows = keys.to_frame("key").join(index, on="key", how="left", maintain_order="left").get_column("row").cast(pl.Int64)
    lost = keys.filter(rows.is_null())
    if len(lost):
        raise PrefineError(
            f"{kind}: {lost.n_unique()} responses lost their results after they were computed, the first is {lost.sort()[0]}: a file of "
            "the store was broken and is set aside, as the log says. Run again: what is missing is computed then, and nothing else."
        )
    return rows


def column(table: pa.Table, name: str) -> pl.Series:
    """A column of numbers or texts."""
    return pl.DataFrame(pl.from_arrow(table.select([name]))).to_series()


def vectors(table: pa.Table, name: str) -> npt.NDArray[np.float32]:
    """A column of lists as float32 (N, D), without a copy; rows that are null hold anything."""
    lists: Any = table[name].combine_chunks()
    size = table.schema.field(name).type.list_size
    values = lists.values  # not `flatten`, which leaves null rows out and so renumbers the others
    # Null rows that came from a file have null values, and numpy would copy the column to write nan there.
    bare: Any = pa.Array.from_buffers(pa.float32(), len(values), [None, values.buffers()[1]], offset=values.offset)
    rows: npt.NDArray[np.float32] = bare.to_numpy().reshape(-1, size)[lists.offset : lists.offset + len(lists)]
    return rows
