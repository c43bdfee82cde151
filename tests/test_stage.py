"""What every stage promises: rows in are rows kept and rows dropped."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.stage import BUCKETS, bucket_of, partition_buckets, runs_of, split_by_reason


def test_the_first_reason_that_applies_is_named_and_null_does_not_apply() -> None:
    rows = pl.DataFrame({"n": [1, 2, 3, None]})

    result = split_by_reason(rows, {"small": pl.col("n") < 2, "below_three": pl.col("n") < 3})

    assert result.kept.rows() == [(3,), (None,)]
    assert result.kept.columns == rows.columns
    assert result.dropped.rows() == [(1, "small"), (2, "below_three")]


def test_without_reasons_everything_is_kept() -> None:
    rows = pl.DataFrame({"n": [2, 1]})

    result = split_by_reason(rows, {})

    assert_frame_equal(result.kept, rows)
    assert result.dropped.schema == {"n": pl.Int64(), "reason": pl.String()}
    assert result.dropped.height == 0


@given(st.lists(st.none() | st.integers(-3, 3)), st.lists(st.integers(-3, 3), max_size=3))
def test_no_row_is_lost_or_doubled(values: list[int | None], limits: list[int]) -> None:
    rows = pl.DataFrame({"n": values}, schema={"n": pl.Int64}).with_row_index()

    result = split_by_reason(rows, {f"below {limit}": pl.col("n") < limit for limit in limits})

    assert_frame_equal(pl.concat([result.kept, result.dropped.drop("reason")]).sort("index"), rows)
    assert result.dropped["reason"].null_count() == 0


def test_the_bucket_is_the_first_byte_of_an_id() -> None:
    ids = pl.DataFrame({"id": [f"{byte:02x}" + "a9" * 15 for byte in range(256)]})

    buckets = ids.select(bucket_of("id")).to_series()

    assert buckets.dtype == pl.UInt8
    assert buckets.to_list() == list(range(256))


def test_partitions_cover_every_bucket_once_and_in_order() -> None:
    for partitions in range(1, BUCKETS + 1):
        runs = partition_buckets(partitions)
        sizes = [last - first + 1 for first, last in runs]

        assert [bucket for first, last in runs for bucket in range(first, last + 1)] == list(range(BUCKETS))
        assert len(runs) == partitions
        assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(
    ("sizes", "runs"),
    [
        ([], []),
        ([3], [(0, 1)]),
        ([9, 9], [(0, 1), (1, 2)]),  # larger than a run: each by itself
        ([2, 2, 2, 2], [(0, 2), (2, 4)]),
        ([0, 0, 0], [(0, 3)]),
    ],
)
def test_runs_hold_every_row_once_and_one_large_row_at_least(sizes: list[int], runs: list[tuple[int, int]]) -> None:
    assert [(run.start, run.stop) for run in runs_of(np.array(sizes, dtype=np.uint32), 4)] == runs
