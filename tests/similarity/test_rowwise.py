"""Row-wise cosines of fp16 vectors."""

import math
import subprocess
import sys

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.similarity import cosine_rows, renormalise, round_vectors

Vectors = npt.NDArray[np.float16]


def random_vectors(rows: int, dimensions: int = 384, seed: int = 0) -> Vectors:
    return round_vectors(np.random.default_rng(seed).normal(size=(rows, dimensions)).astype(np.float32))


def reference_cosine(left: Vectors, right: Vectors) -> list[float]:
    """Plain loops over the fp16 values, with exact sums."""
    cosines = []
    for p, q in zip(left.tolist(), right.tolist(), strict=True):
        dot, aa, bb = (math.fsum(x * y for x, y in zip(u, v, strict=True)) for u, v in ((p, q), (p, p), (q, q)))
        cosines.append(dot / math.sqrt(aa * bb))
    return cosines


def test_cosines_of_simple_vectors_are_the_ones_worked_out_by_hand() -> None:
    left = np.array([[1, 0], [1, 0], [3, 4], [1, 0]], dtype=np.float16)
    right = np.array([[1, 0], [0, 1], [4, 3], [-1, 0]], dtype=np.float16)

    assert cosine_rows(left, right).tolist() == pytest.approx([1.0, 0.0, 0.96, -1.0], abs=1e-7)


def test_cosines_equal_an_independent_reference() -> None:
    left, right = random_vectors(40, seed=1), random_vectors(40, seed=2)

    assert cosine_rows(left, right).tolist() == reference_cosine(left, right)


@pytest.mark.parametrize("dimensions", [1, 7, 27, 384, 1024])
def test_a_row_does_not_depend_on_the_other_rows_bit_for_bit(dimensions: int) -> None:
    left, right = random_vectors(500, dimensions, 1), random_vectors(500, dimensions, 2)
    whole = cosine_rows(left, right)
    order = np.random.default_rng(3).permutation(500)

    assert (cosine_rows(left[order], right[order]) == whole[order]).all()
    assert (cosine_rows(left[::3], right[::3]) == whole[::3]).all()
    assert [cosine_rows(left[i : i + 1], right[i : i + 1])[0] for i in range(50)] == whole[:50].tolist()
    assert (cosine_rows(np.asfortranarray(left), np.asfortranarray(right)) == whole).all()
    assert (renormalise(left)[7:8] == renormalise(left[7:8])).all()


def test_rows_beyond_one_block_are_computed_too() -> None:
    left, right = random_vectors(8200, 8, 1), random_vectors(8200, 8, 2)

    assert (cosine_rows(left, right)[8190:] == cosine_rows(left[8190:], right[8190:])).all()


def test_the_fp16_values_are_the_vectors_in_whatever_type_they_are_held() -> None:
    left, right = random_vectors(100, seed=1), random_vectors(100, seed=2)

    assert (cosine_rows(left, right) == cosine_rows(left.astype(np.float32), right)).all()
    assert cosine_rows(renormalise(left), renormalise(right)) == pytest.approx(cosine_rows(left, right), abs=1e-7)


@given(arrays(np.float32, (2, 16), elements=st.floats(-100, 100, width=32).filter(lambda x: abs(x) > 1e-3)))
def test_swapping_the_sides_changes_nothing_and_a_vector_equals_itself(vectors: npt.NDArray[np.float32]) -> None:
    left, right = round_vectors(vectors[:1]), round_vectors(vectors[1:])

    assert cosine_rows(left, right)[0] == cosine_rows(right, left)[0]
    assert -1.0 <= cosine_rows(left, right)[0] <= 1.0
    assert cosine_rows(left, left)[0] == 1.0


def test_rounded_vectors_have_unit_length_and_renormalised_ones_more_exactly_so() -> None:
    vectors = np.random.default_rng(0).normal(scale=1000, size=(50, 384)).astype(np.float32)

    rounded = round_vectors(vectors)

    assert rounded.dtype == np.float16
    assert np.linalg.norm(rounded.astype(np.float64), axis=1) == pytest.approx(1.0, abs=3e-4)
    assert renormalise(rounded).dtype == np.float32
    assert np.linalg.norm(renormalise(rounded).astype(np.float64), axis=1) == pytest.approx(1.0, abs=1e-6)


def test_rows_beyond_the_range_of_fp32_have_a_direction_too() -> None:
    assert round_vectors(np.array([[3e100, 4e100], [3e-100, -4e-100]])).tolist() == np.array([[0.6, 0.8], [0.6, -0.8]], np.float16).tolist()


def test_no_rows_give_no_cosines() -> None:
    assert cosine_rows(np.empty((0, 384), np.float16), np.empty((0, 384), np.float16)).shape == (0,)


def test_a_zero_row_is_an_error_that_names_side_and_row() -> None:
    good, zero = np.ones((3, 4), np.float16), np.ones((3, 4), np.float16)
    zero[2] = 0

    with pytest.raises(ValueError, match="right: row 2 is a zero vector"):
        cosine_rows(good, zero)
    with pytest.raises(ValueError, match="left: row 2 is a zero vector"):
        cosine_rows(zero.astype(np.float32), good)
    with pytest.raises(ValueError, match="vectors: row 2 is a zero vector"):
        renormalise(zero)


def test_the_row_named_counts_from_the_first_block() -> None:
    vectors = np.ones((9000, 2), np.float16)
    zero = vectors.copy()
    zero[8500] = 0

    with pytest.raises(ValueError, match="right: row 8500 is a zero vector"):
        cosine_rows(vectors, zero)


def test_a_vector_that_is_not_finite_is_an_error_that_names_the_row() -> None:
    vectors = np.ones((2, 4), np.float32)
    vectors[1, 2] = np.nan

    with pytest.raises(ValueError, match="row 1 is not finite"):
        round_vectors(vectors)


def test_unequal_shapes_are_an_error_that_shows_both() -> None:
    with pytest.raises(ValueError, match=r"left is \(2, 4\), right is \(3, 4\)"):
        cosine_rows(np.ones((2, 4), np.float16), np.ones((3, 4), np.float16))
    with pytest.raises(ValueError, match=r"shape \(4,\); expected \(rows, dimensions\)"):
        renormalise(np.ones(4, np.float16))


def test_the_kernel_imports_when_only_torch_and_numpy_exist() -> None:
    hide = "import sys; sys.modules.update(dict.fromkeys(['polars', 'pyarrow', 'pydantic', 'prefect', 'duckdb'])); "
    subprocess.run([sys.executable, "-c", hide + "import pipeline.similarity"], check=True)
