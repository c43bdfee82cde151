"""Joins and nearest rows against the full matrix of cosines, on the plain and on the compiled path."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.similarity import Hits, cross_join, join, nearest, plain, round_vectors, self_join
from tests.similarity.reference import Vectors, all_cosines, assert_same, clustered, cross_hits, self_hits
from tests.similarity.test_bound import hard_tables

Join = Callable[[Vectors, Vectors | None, float], Hits]

# Rows around the borders of tiles (6 queries, 64 corpus rows), of padding (192) and of blocks (1,920 and 2,048).
BORDERS = [1, 2, 5, 6, 7, 63, 64, 65, 191, 192, 193]
BEYOND = [1919, 1921, 2049]


def fused(threads: int) -> Join:
    from pipeline.similarity import fused

    return lambda queries, corpus, min_cosine: fused.join(queries, corpus, min_cosine, threads)


needs_vnni = pytest.mark.skipif(not join.compiles(), reason="needs numba and a processor with AVX-512 VNNI")
PATHS = [pytest.param(lambda: plain.join, id="plain"), pytest.param(lambda: fused(2), id="fused", marks=needs_vnni)]


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest) -> Join:
    return request.param()  # type: ignore[no-any-return]


@pytest.mark.parametrize("min_cosine", [-np.inf, -1.0, 0.0, 0.9, 1.0, np.nextafter(1.0, 2.0), 1.5])
@pytest.mark.parametrize("rows", BORDERS)
def test_joins_equal_the_reference_around_the_borders_of_tiles(path: Join, rows: int, min_cosine: float) -> None:
    vectors, queries = clustered(rows, 12, rows), clustered(17, 12, rows)

    assert_same(path(vectors, None, min_cosine), self_hits(vectors, min_cosine))
    assert_same(path(queries, vectors, min_cosine), cross_hits(queries, vectors, min_cosine))
    assert_same(path(vectors, queries, min_cosine), cross_hits(vectors, queries, min_cosine))


@pytest.mark.parametrize("dimensions", [20, 100])
@pytest.mark.parametrize("rows", BEYOND)
def test_joins_equal_the_reference_around_the_borders_of_blocks(path: Join, rows: int, dimensions: int) -> None:
    vectors, queries = clustered(rows, dimensions), clustered(rows - 900, dimensions, 0, spread=0.31)

    assert_same(path(vectors, None, 0.9), self_hits(vectors, 0.9))
    assert_same(path(queries, vectors, 0.85), cross_hits(queries, vectors, 0.85))


@pytest.mark.parametrize("min_cosine", [-1.0, 0.5, 0.99, 1.0])
@pytest.mark.parametrize("name", hard_tables())
def test_joins_of_vectors_that_are_hard_to_round_equal_the_reference(path: Join, name: str, min_cosine: float) -> None:
    vectors = hard_tables()[name]

    assert_same(path(vectors, None, min_cosine), self_hits(vectors, min_cosine))
    assert_same(path(vectors[:7], vectors, min_cosine), cross_hits(vectors[:7], vectors, min_cosine))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    rows=st.integers(1, 200),
    dimensions=st.integers(1, 70),
    seed=st.integers(0, 9),
    spread=st.sampled_from([0.01, 0.3, 3.0]),
    rank=st.floats(0, 1),
)
def test_a_cosine_that_occurs_is_a_hit_as_the_threshold_and_none_one_step_above(
    path: Join, rows: int, dimensions: int, seed: int, spread: float, rank: float
) -> None:
    vectors = clustered(rows, dimensions, seed, spread)
    cosines = np.sort(all_cosines(vectors, vectors).ravel())
    at = float(cosines[round(rank * (len(cosines) - 1))])

    for min_cosine in (at, float(np.nextafter(at, 2.0)), float(np.nextafter(at, -2.0))):
        assert_same(path(vectors, None, min_cosine), self_hits(vectors, min_cosine))


@needs_vnni
def test_one_and_two_threads_give_the_same() -> None:
    vectors = clustered(4500, 48)

    assert_same(fused(1)(vectors, None, 0.8), fused(2)(vectors, None, 0.8))


@needs_vnni
def test_a_block_with_more_hits_than_room_is_done_again_and_loses_none(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.similarity import fused as module

    vectors = clustered(700, 8)
    monkeypatch.setattr(module, "_CAPACITY", 3)

    assert_same(fused(2)(vectors, None, 0.2), self_hits(vectors, 0.2))


@needs_vnni
def test_the_filter_lets_few_pairs_through() -> None:
    """Exactness alone would also hold if everything passed: the constants of the bound must be as small as they claim."""
    from pipeline.similarity import fused as module

    vectors = clustered(1000, 64)
    left, right, starts, offsets = module.prepare(vectors, None, 0.9, 1)
    sums = left.codes.astype(np.int64) @ right.panels.transpose(0, 2, 1, 3).reshape(len(right.codes), -1).T.astype(np.int64)
    passed = sums + starts[:, np.newaxis] + offsets >= 0

    assert not passed[1000:].any()
    assert not passed[:, 1000:].any()
    cosines = all_cosines(vectors, vectors)
    assert passed[:1000, :1000][cosines >= 0.9].all()
    assert passed.sum() < 1.5 * (cosines >= 0.9).sum()


def test_both_paths_are_what_the_public_functions_run(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, queries = clustered(300, 16), clustered(20, 16)
    for many in (1, 10**12):
        monkeypatch.setattr(join, "_MANY_PAIRS", many)
        assert_same(self_join(vectors, 0.7, device="cpu", threads=2), self_hits(vectors, 0.7))
        assert_same(cross_join(queries, vectors, 0.7, device="cpu"), cross_hits(queries, vectors, 0.7))


def test_unit_vectors_at_0_6_and_rows_of_any_length_in_one_direction() -> None:
    """methods.md 2.1."""
    assert self_join(np.array([[1, 0], [0.6, 0.8]]), 0.5).cosine == pytest.approx([0.6], abs=2e-4)
    assert self_join(np.array([[3, 4], [6, 8]], np.float32), 1.0).cosine.tolist() == [1.0]
    with pytest.raises(ValueError, match="vectors: row 1 is a zero vector"):
        self_join(np.array([[3, 4], [0, 0]], np.float32), 0.5)


def test_equal_vectors_have_cosine_1_and_only_they_are_found_at_1() -> None:
    vectors = np.concatenate([clustered(50, 20, spread=1.0)] * 2)
    hits = self_join(vectors, 1.0)

    assert set(zip(hits.left.tolist(), hits.right.tolist(), strict=True)) >= {(i, i + 50) for i in range(50)}
    assert all((vectors[i] == vectors[j]).all() for i, j in zip(hits.left, hits.right, strict=True))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_no_rows_give_no_hits(dtype: type) -> None:
    none, some = np.empty((0, 3), dtype), np.eye(3, dtype=dtype)

    for hits in (self_join(none, -1.0), cross_join(none, some, -1.0), cross_join(some, none, -1.0), self_join(some[:1], -1.0)):
        assert [len(part) for part in hits] == [0, 0, 0]
    assert nearest(none, some, 2)[0].shape == (0, 2)
    assert nearest(some, none, 2)[0].tolist() == [[-1, -1]] * 3


def test_vectors_may_be_read_only_memory_maps_and_any_layout(tmp_path: Path, path: Join) -> None:
    vectors = clustered(300, 24)
    np.save(tmp_path / "vectors.npy", vectors)
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")

    assert_same(path(mapped, None, 0.8), self_hits(vectors, 0.8))
    assert_same(path(mapped[:50], mapped, 0.8), cross_hits(vectors[:50], vectors, 0.8))
    assert_same(self_join(np.asfortranarray(vectors), 0.8), self_hits(vectors, 0.8))
    assert_same(self_join(vectors[::2], 0.8), self_hits(vectors[::2], 0.8))


@pytest.mark.parametrize("min_cosine", [-2.0, 0.5, 2.0])
def test_a_row_without_direction_is_an_error_that_names_it_whatever_the_threshold(path: Join, min_cosine: float) -> None:
    vectors = clustered(300, 4)
    vectors[250] = 0

    with pytest.raises(ValueError, match="vectors: row 250 is a zero vector"):
        self_join(vectors, min_cosine)
    with pytest.raises(ValueError, match="vectors: row 250 is a zero vector"):
        path(vectors, None, min_cosine)
    with pytest.raises(ValueError, match="corpus: row 250 is a zero vector"):
        cross_join(vectors[:3], vectors, min_cosine)
    vectors[250] = np.inf
    with pytest.raises(ValueError, match="queries: row 250 is not finite"):
        cross_join(vectors, vectors[:3], min_cosine)
    with pytest.raises(ValueError, match="corpus: row 250 is not finite"):
        nearest(vectors[:3], vectors, 1)


def test_what_cannot_be_joined_is_an_error_that_says_why() -> None:
    vectors = clustered(5, 4)
    with pytest.raises(ValueError, match="min_cosine is NaN"):
        self_join(vectors, float("nan"))
    with pytest.raises(ValueError, match="threads is 0"):
        self_join(vectors, 0.5, threads=0)
    with pytest.raises(ValueError, match="queries have 4 dimensions, the corpus 3"):
        cross_join(vectors, clustered(5, 3), 0.5)
    with pytest.raises(ValueError, match=r"vectors: int64 \(2, 2\)"):
        self_join(np.eye(2, dtype=np.int64), 0.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"vectors: float16 \(4,\)"):
        self_join(vectors[0], 0.5)
    with pytest.raises(ValueError, match="row 0 has length 5; expected unit length"):
        self_join(np.array([[3, 4]], np.float16), 0.5)
    with pytest.raises(ValueError, match="k is 0"):
        nearest(vectors, vectors, 0)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 9), st.integers(1, 70))
def test_nearest_rows_equal_the_reference_with_ties_by_index(queries: int, rows: int, dimensions: int, k: int) -> None:
    left, right = clustered(queries, dimensions, 1), clustered(rows, dimensions, 1)
    cosines = all_cosines(left, right)
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :k]

    indices, found = nearest(left, right, k)

    assert indices[:, : order.shape[1]].tolist() == order.tolist()
    assert found[:, : order.shape[1]].tolist() == np.take_along_axis(cosines, order, axis=1).tolist()
    assert (indices[:, order.shape[1] :] == -1).all()
    assert np.isnan(found[:, order.shape[1] :]).all()


def test_nearest_rows_across_the_borders_of_blocks() -> None:
    right = round_vectors(np.tile(clustered(4250, 6), (4, 1)).astype(np.float32))  # each row four times, in several blocks
    left = right[:1100]
    cosines = all_cosines(left, right)

    indices, found = nearest(left, right, 6)

    assert indices.tolist() == np.argsort(-cosines, axis=1, kind="stable")[:, :6].tolist()
    assert (found[:, 0] == 1.0).all()
