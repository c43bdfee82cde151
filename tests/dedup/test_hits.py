"""Stored hits give what one search over everything would, however the texts came in."""

import hashlib
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.dedup.hits import HITS, edges, new_members, rows_of

FLOOR = 0.5


def text_id(n: int) -> str:
    return hashlib.blake2b(str(n).encode(), digest_size=16).hexdigest()


IDS = [text_id(n) for n in range(12)]


def cosine(one: str, other: str) -> float:
    """A number for any two texts, -1 to 1, the same in either order."""
    both = hashlib.blake2b("".join(sorted((one, other))).encode(), digest_size=4).digest()
    return int.from_bytes(both) / 2**31 - 1


def search(queries: list[str], corpus: list[str], *, itself: bool) -> Any:
    """A join by definition: (left, right, cosine)."""
    every = [(i, j, cosine(one, other)) for i, one in enumerate(queries) for j, other in enumerate(corpus) if not itself or i < j]
    found = [hit for hit in every if hit[2] >= FLOOR]
    return (
        np.array([hit[0] for hit in found], dtype=np.int64),
        np.array([hit[1] for hit in found], dtype=np.int64),
        np.array([hit[2] for hit in found], dtype=np.float64),
    )


def added(rows: pl.DataFrame, wanted: list[str]) -> pl.DataFrame:
    """The rows, and those of the texts that are new."""
    new = new_members(pl.Series(wanted, dtype=pl.String), rows["key"])
    old = rows["key"]
    found = rows_of(new, search(new.to_list(), new.to_list(), itself=True), search(new.to_list(), old.to_list(), itself=False), old)
    assert found.schema == HITS
    return pl.concat([rows, pl.DataFrame(found)])


def empty() -> pl.DataFrame:
    return pl.DataFrame(HITS.empty_table())


def expected(wanted: list[str], min_cosine: float = FLOOR) -> list[tuple[str, str, float]]:
    ids = sorted(set(wanted))
    return [(a, b, cosine(a, b)) for i, a in enumerate(ids) for b in ids[i + 1 :] if cosine(a, b) >= min_cosine]


def test_every_new_text_has_a_row_even_without_hits() -> None:
    rows = added(empty(), IDS[:4])

    assert sorted(rows["key"]) == sorted(IDS[:4])
    assert rows["bucket"].to_list() == [int(key[:2], 16) for key in rows["key"]]
    assert rows.select("bucket", "key").rows() == sorted(rows.select("bucket", "key").rows())
    assert added(rows, IDS[:4]).height == 4


def test_no_texts_have_no_rows() -> None:
    nothing = np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float64)
    none = pl.Series([], dtype=pl.String)

    assert rows_of(none, nothing, nothing, none).equals(HITS.empty_table())
    assert edges(empty(), none, FLOOR).rows() == []
    assert edges(empty(), none, FLOOR).schema == {"left": pl.String, "right": pl.String, "cosine": pl.Float64}


def test_what_is_new_is_distinct_and_sorted() -> None:
    assert new_members(pl.Series(["c", "a", "b", "c"]), pl.Series(["b", "z"])).to_list() == ["a", "c"]
    assert new_members(pl.Series(["c", "a"]), pl.Series([], dtype=pl.String)).to_list() == ["a", "c"]


@pytest.mark.parametrize("threshold", [FLOOR, 0.7, 0.9, 1.0])
def test_a_higher_threshold_is_a_filter(threshold: float) -> None:
    rows = added(empty(), IDS)

    assert edges(rows, pl.Series(IDS), threshold).rows() == expected(IDS, threshold)


def test_a_hit_at_the_threshold_itself_counts() -> None:
    exactly = max(hit[2] for hit in expected(IDS))

    assert edges(added(empty(), IDS), pl.Series(IDS), exactly).height == 1


@given(
    st.lists(st.lists(st.sampled_from(IDS), max_size=8), min_size=1, max_size=5),
    st.sets(st.sampled_from(IDS)),
    st.lists(st.sampled_from(IDS)),
)
@settings(max_examples=150, deadline=None)
def test_increments_and_lost_rows_give_the_hits_of_one_search(runs: list[list[str]], lost: set[str], wanted: list[str]) -> None:
    """Runs over any texts, then rows are lost, then a run over `wanted`."""
    rows = empty()
    for run in runs:
        rows = added(rows, run)
        assert edges(rows, pl.Series(run, dtype=pl.String), FLOOR).rows() == expected(run)
    rows = rows.filter(~pl.col("key").is_in(list(lost)))

    rows = added(rows, wanted)

    assert edges(rows, pl.Series(wanted, dtype=pl.String), FLOOR).rows() == expected(wanted)
    assert rows["key"].is_unique().all()
    every = added(rows, IDS)
    assert_frame_equal(edges(every, pl.Series(IDS), FLOOR), edges(added(empty(), IDS), pl.Series(IDS), FLOOR))


def test_rows_fit_the_store() -> None:
    table = added(empty(), IDS).to_arrow().cast(HITS)

    assert table.schema.field("cosines").type == pa.list_(pa.float64())
    assert HITS.names[:2] == ["bucket", "key"]
