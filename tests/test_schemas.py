"""A table has its declared columns, or it is refused."""

from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from pipeline import schemas
from pipeline.errors import SchemaError
from pipeline.schemas import conform

FIELDS: "list[pa.Field[Any]]" = [
    pa.field("id", pa.string(), nullable=False),
    pa.field("n", pa.int64(), nullable=False, metadata={"unit": "votes"}),
    pa.field("share", pa.float32()),
]
SCHEMA = pa.schema(FIELDS)


def test_columns_are_put_in_order_and_given_their_types() -> None:
    table = conform(pl.DataFrame({"share": [0.5, None], "n": pl.Series([1, 2], dtype=pl.Int32), "id": ["a", "b"]}), SCHEMA, "t")

    assert table.schema.equals(SCHEMA)
    assert table.to_pylist() == [{"id": "a", "n": 1, "share": 0.5}, {"id": "b", "n": 2, "share": None}]


def test_an_arrow_table_is_taken_as_it_is_but_for_what_its_maker_noted() -> None:
    table = pa.table({"id": ["a"], "n": [1], "share": pa.array([0.5], pa.float32())}, metadata={"pandas": "{}"})

    found = conform(table, SCHEMA, "t")

    assert not found.schema.metadata
    assert found.to_pylist() == table.to_pylist()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": ["a"], "n": [1]}, r"^t: missing columns \['share'\], unexpected columns \[\]; expected \['id', 'n', 'share'\]\.$"),
        ({"id": ["a"], "n": [1], "share": [0.5], "more": [1]}, r"^t: missing columns \[\], unexpected columns \['more'\]; expected"),
        ({"id": [None], "n": [None], "share": [None]}, r"^t: .*(null|non-nullable)"),
        ({"id": [None], "n": [1], "share": [0.5]}, r"^t: .*(null|non-nullable)"),
        ({"id": ["a"], "n": [1.5], "share": [0.5]}, r"^t: Float value 1\.5\d* was truncated converting to int64"),
        ({"id": ["a"], "n": ["many"], "share": [0.5]}, r"^t: Failed to parse string: 'many'"),
        ({"id": ["a"], "n": [[1]], "share": [0.5]}, r"^t: Unsupported cast from"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_by_name(columns: dict[str, list[object]], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        conform(pl.DataFrame(columns), SCHEMA, "t")


@pytest.mark.parametrize("name", ["JUDGEMENT", "RATING", "QUARANTINE", "LEDGER", "PAIR", "DROPPED", "INPUT"])
def test_column_names_are_unique_and_an_empty_table_conforms(name: str) -> None:
    schema = getattr(schemas, name)

    assert len(set(schema.names)) == len(schema.names)
    assert not {"image", "images"} & set(schema.names)
    assert conform(schema.empty_table(), schema, name).schema.equals(schema)


def test_every_signal_says_its_unit_range_and_source() -> None:
    assert [f.name for f in schemas.SIGNALS if set(f.metadata or {}) != {b"unit", b"range", b"source"}] == []


def test_messages_read_the_same_in_arrow_and_polars() -> None:
    assert pl.Series([], dtype=schemas.MESSAGES_PL).to_arrow().type.value_type.names == [f.name for f in schemas.MESSAGE]
