"""The bound holds for every pair, and what it lets through is decided exactly."""

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.similarity import round_vectors
from pipeline.similarity.blocks import blocks
from pipeline.similarity.bound import basis, choose_k, confirm, merge, product_slack, reduce, squared_lengths
from tests.similarity.reference import Vectors, all_cosines, assert_same, clustered, cross_hits


def hard_tables() -> dict[str, Vectors]:
    """Vectors whose coordinates differ much in size, or do not vary, or have few directions."""
    random = np.random.default_rng(0)
    one = random.normal(size=(80, 24)).astype(np.float32)
    one[:, 5] += 100
    line = np.outer(random.normal(size=80), random.normal(size=24)).astype(np.float32)
    return {
        "clusters": clustered(80, 24),
        "one coordinate dominates": round_vectors(one),
        "all equal": round_vectors(np.ones((80, 24), np.float32)),
        "one direction, both ways": round_vectors(line),
        "axes": round_vectors(np.tile(np.eye(24, dtype=np.float32), (4, 1))),
        "more dimensions than rows": clustered(9, 300),
        "one dimension": round_vectors(random.normal(size=(9, 1)).astype(np.float32)),
    }


@pytest.mark.parametrize("name", hard_tables())
def test_the_bound_holds_for_every_pair_and_every_k(name: str) -> None:
    vectors = hard_tables()[name]
    cosines = all_cosines(vectors, vectors)
    columns = basis(vectors)

    for k in {1, (columns.shape[1] + 1) // 2, columns.shape[1], vectors.shape[1]}:
        reduced = reduce(vectors, columns, k)
        rows = reduced.coordinates.astype(np.float64)
        assert (rows @ rows.T + reduced.slack >= cosines).all()
        assert (reduced.coordinates @ reduced.coordinates.T + product_slack(k + 1) + reduced.slack >= cosines).all()
        assert rows.shape == (len(vectors), k + 1)


def test_the_bound_holds_for_any_orthonormal_basis_and_is_tight_with_the_leading_directions() -> None:
    vectors = clustered(200, 32, spread=0.1)
    cosines = all_cosines(vectors, vectors)
    other = np.linalg.qr(np.random.default_rng(1).normal(size=(32, 32)))[0].astype(np.float32)
    excess = {}
    for name, columns in (("leading", basis(vectors)), ("other", other)):
        reduced = reduce(vectors, columns, 16)
        bound = reduced.coordinates.astype(np.float64) @ reduced.coordinates.T + reduced.slack
        assert (bound >= cosines).all()
        excess[name] = float((bound - cosines).mean())

    assert excess["leading"] < 0.5 * excess["other"]


def test_columns_that_are_not_quite_orthonormal_widen_the_bound_instead_of_breaking_it() -> None:
    vectors = clustered(60, 16)
    columns = basis(vectors) * np.float32(1.01)

    reduced = reduce(vectors, columns, 12)

    assert (reduced.coordinates.astype(np.float64) @ reduced.coordinates.T + reduced.slack >= all_cosines(vectors, vectors)).all()


def test_a_basis_is_orthonormal_and_ordered_by_second_moment() -> None:
    vectors = clustered(300, 40)
    columns = basis(vectors[:100], vectors[100:]).astype(np.float64)

    assert columns.T @ columns == pytest.approx(np.eye(40), abs=1e-5)
    moments = np.square(vectors.astype(np.float64) @ columns).mean(axis=0)
    assert (np.diff(moments) <= 1e-6).all()


def test_the_number_of_coordinates_follows_the_data_and_the_threshold() -> None:
    few = np.random.default_rng(0).normal(size=(2000, 4)) @ np.random.default_rng(1).normal(size=(4, 128))
    narrow, wide = round_vectors(few.astype(np.float32)), clustered(2000, 128, spread=5.0)

    assert choose_k(narrow, narrow, basis(narrow), 0.9, check=1000) == 16
    assert choose_k(wide, wide, basis(wide), 0.2, check=100_000) == 128
    assert choose_k(wide, wide, basis(wide), 0.95, check=1000) < 128


def test_candidates_at_the_threshold_are_kept_and_one_step_below_are_not() -> None:
    vectors = clustered(20, 8)
    cosines = all_cosines(vectors, vectors)
    left, right = (side.ravel() for side in np.indices(cosines.shape))
    at = float(cosines[3, 11])

    assert_same(confirm(vectors, vectors, left, right, at), cross_hits(vectors, vectors, at))
    kept = confirm(vectors, vectors, left, right, np.nextafter(at, 2.0))
    assert (3, 11) not in set(zip(kept.left.tolist(), kept.right.tolist(), strict=True))


@settings(max_examples=30)
@given(st.integers(1, 9), st.integers(1, 6), st.randoms(use_true_random=False))
def test_hits_of_blocks_in_any_order_become_one_sorted_table(rows: int, side: int, random: Random) -> None:
    vectors = clustered(rows, 3)
    parts = []
    for top, bottom, begin, end in blocks(rows, rows, side):
        pairs = [(i, j) for i in range(top, bottom) for j in range(begin, end)]
        random.shuffle(pairs)
        left, right = np.array(pairs, np.int64).T
        parts.append((top, confirm(vectors, vectors, left, right, 0.3)))
    random.shuffle(parts)

    assert_same(merge(parts), cross_hits(vectors, vectors, 0.3))
    assert parts == []
    assert_same(merge([]), cross_hits(vectors, vectors, 2.0))


def test_squared_lengths_are_exact_and_wrong_rows_are_named() -> None:
    vectors = clustered(5000, 7)
    assert squared_lengths(vectors).tolist() == [sum(x * x for x in row) for row in vectors.astype(np.float64).tolist()]

    for value, what in ((0, "row 4000 is a zero vector"), (np.nan, "row 4000 is not finite"), (5, "row 4000 has length 13.2")):
        wrong = vectors.copy()
        wrong[4000] = value
        with pytest.raises(ValueError, match=what):
            squared_lengths(wrong)
