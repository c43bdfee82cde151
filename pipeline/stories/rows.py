"""EDGE: single rows of a version's tables, found by a filter expression: what is asked for is a value, never text in SQL."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from pipeline.queries import Table


def ids_of(values: list[str]) -> pa.StringArray:
    """Ids as a set to filter by; an empty list has no type of its own."""
    return pa.array(values, pa.string())


def rows_of(table: Table, matches: pc.Expression, order: list[str], columns: list[str] | None = None) -> list[dict[str, Any]]:
    """The rows that match, as dictionaries, in the order of some columns."""
    source = table if isinstance(table, ds.Dataset) else ds.dataset(table)
    source = _holding(source, matches) if isinstance(source, ds.FileSystemDataset) else source
    return list(source.to_table(columns=columns, filter=matches).sort_by([(name, "ascending") for name in order]).to_pylist())


def _holding(table: ds.FileSystemDataset, matches: pc.Expression) -> ds.Dataset:
    """The row groups with a match. Arrow alone would read all that is wanted of each row that it tests, texts among it."""
    groups = [group for file in table.get_fragments(matches) for group in file.split_by_row_group(matches, schema=table.schema)]
    with ThreadPoolExecutor(2) as pool:
        counts = pool.map(lambda group: group.count_rows(filter=matches), groups)
        held = [group for group, count in zip(groups, counts, strict=True) if count]
    return ds.FileSystemDataset(held, table.schema, table.format, table.filesystem)
