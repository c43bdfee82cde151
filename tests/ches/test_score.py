"""CHES, worked out by hand and against its definition."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline.ches import score
from pipeline.ches.score import ches, density_ratio, last_hidden_inner, row_blocks

# methods 3.1: H+ = [(1, 0), (1, 1)], H- = [(0, 1), (2, 0), (1, 1)].
CHOSEN, REJECTED = np.array([[1, 0], [1, 1]]), np.array([[0, 1], [2, 0], [1, 1]])


def of_states(chosen: np.ndarray, rejected: np.ndarray) -> tuple[float, float]:
    sums = [states.sum(axis=0, keepdims=True).astype(np.float32) for states in (chosen, rejected)]
    raw, normalised = ches(*sums, *(np.array([len(states)]) for states in (chosen, rejected)))
    return raw.item(), normalised.item()


@pytest.mark.parametrize(
    ("chosen", "rejected", "raw", "normalised"),
    [
        (CHOSEN, REJECTED, 3.0, 0.0833333),
        (REJECTED, CHOSEN, -5.0, -0.1111111),
        (CHOSEN, CHOSEN, 0.0, 0.0),
        (CHOSEN, np.concatenate([REJECTED, REJECTED]), 11.0, 0.0833333),
        (4 * CHOSEN, 4 * REJECTED, 48.0, 16 * 0.08333333),
    ],
    ids=["worked example", "sides swapped", "identical answers", "rejected answer twice", "four times as long states"],
)
def test_the_worked_numbers_of_the_paper_s_formula(chosen: np.ndarray, rejected: np.ndarray, raw: float, normalised: float) -> None:
    assert of_states(chosen, rejected) == (raw, pytest.approx(normalised, abs=1e-7))


@st.composite
def rows(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    count, dimensions = draw(st.integers(0, 6)), draw(st.integers(1, 40))
    sums = arrays.arrays(np.float32, (count, dimensions), elements=st.floats(-1e4, 1e4, width=32))
    tokens = arrays.arrays(np.int32, count, elements=st.integers(1, 100_000))
    return draw(sums), draw(sums), draw(tokens), draw(tokens)


@given(rows())
def test_ches_is_its_definition_in_exact_arithmetic(drawn: tuple[np.ndarray, ...]) -> None:
    chosen, rejected, n, m = drawn
    raw, normalised = ches(chosen, rejected, n, m)
    for i in range(len(chosen)):
        a, b = ([Fraction(float(x)) for x in side[i]] for side in (chosen, rejected))
        cross, square = sum(x * y for x, y in zip(a, b, strict=True)), sum(x * x for x in a)
        size = float(sum(abs(x * y) for x, y in zip(a, b, strict=True)) + square)
        tokens, others = int(n[i]), int(m[i])
        assert raw[i] == pytest.approx(float(cross - square), abs=1e-13 * size + 1e-300)
        exact = float(cross / (tokens * others) - square / tokens**2)
        assert normalised[i] == pytest.approx(exact, abs=1e-13 * size / min(tokens * others, tokens**2) + 1e-300)


@given(rows())
def test_ches_is_minus_the_product_of_the_chosen_sum_with_the_difference(drawn: tuple[np.ndarray, ...]) -> None:
    chosen, rejected, n, m = drawn
    gap = chosen.astype(np.float64) - rejected
    size = (np.abs(chosen.astype(np.float64)) * (np.abs(chosen) + np.abs(rejected))).sum(axis=1)
    np.testing.assert_array_less(np.abs(ches(chosen, rejected, n, m)[0] + (chosen * gap).sum(axis=1)), 1e-12 * size + 1e-300)


@given(rows())
def test_swapped_sides_differ_by_the_squared_lengths(drawn: tuple[np.ndarray, ...]) -> None:
    chosen, rejected, n, m = drawn
    one, other = ches(chosen, rejected, n, m)[0], ches(rejected, chosen, m, n)[0]
    squares = [(side.astype(np.float64) ** 2).sum(axis=1) for side in (chosen, rejected)]
    np.testing.assert_array_less(np.abs((one - other) - (squares[1] - squares[0])), 1e-12 * sum(squares) + 1e-300)


@given(rows(), st.sampled_from([0.25, 2.0, 64.0]))
def test_states_c_times_as_long_give_c_squared_times_the_score(drawn: tuple[np.ndarray, ...], c: float) -> None:
    chosen, rejected, n, m = drawn
    for plain, scaled in zip(ches(chosen, rejected, n, m), ches(chosen * np.float32(c), rejected * np.float32(c), n, m), strict=True):
        np.testing.assert_allclose(scaled, c * c * plain, rtol=1e-12, atol=1e-30)


@given(rows())
def test_equal_answers_give_exactly_zero(drawn: tuple[np.ndarray, ...]) -> None:
    chosen, _, n, _ = drawn
    for one in ches(chosen, chosen.copy(), n, n):
        np.testing.assert_array_equal(one, 0.0)


def test_a_row_s_score_depends_on_its_own_sums_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    chosen, rejected = (rng.normal(0, 30, (500, 96)).astype(np.float32) for _ in range(2))
    n, m = (rng.integers(1, 400, 500) for _ in range(2))
    whole = ches(chosen, rejected, n, m)

    alone = [ches(chosen[i : i + 1], rejected[i : i + 1], n[i : i + 1], m[i : i + 1]) for i in range(500)]
    columns = [np.asfortranarray(side) for side in (chosen, rejected)]
    monkeypatch.setattr(score, "_BLOCK_VALUES", 7 * 96)
    for i, blocked in enumerate(ches(*columns, n, m)):
        np.testing.assert_array_equal(blocked, whole[i])
        np.testing.assert_array_equal(np.concatenate([one[i] for one in alone]), whole[i])


def test_two_large_numbers_that_nearly_cancel_keep_their_difference() -> None:
    chosen = np.full((1, 4096), 3e4, np.float32)
    rejected = chosen.copy()
    rejected[0, 0] += 0.001953125  # the next float32; in float32 the two products are equal

    one = np.array([1])
    assert np.float32(chosen[0] @ rejected[0]) == np.float32(chosen[0] @ chosen[0])
    assert ches(chosen, rejected, one, one)[0].item() == pytest.approx(58.59375, rel=1e-6)


@pytest.mark.parametrize(("values", "dimensions", "expected"), [(10, 4, [(0, 2), (2, 4), (4, 5)]), (3, 4, [(i, i + 1) for i in range(5)])])
def test_blocks_bound_what_is_held_at_once(
    monkeypatch: pytest.MonkeyPatch, values: int, dimensions: int, expected: list[tuple[int, int]]
) -> None:
    monkeypatch.setattr(score, "_BLOCK_VALUES", values)
    assert [(block.start, block.stop) for block in row_blocks(5, dimensions)] == expected
    assert list(row_blocks(0, dimensions)) == []


def test_the_last_states_inner_product() -> None:
    chosen, rejected = np.array([[1, 2], [0, 0]], np.float32), np.array([[3, -1], [5, 5]], np.float32)
    assert last_hidden_inner(chosen, rejected).tolist() == [1.0, 0.0]


def test_a_strong_model_s_preference_is_relative_to_the_weak_one_s() -> None:
    ratios = density_ratio(np.array([-10.0, -9.0]), np.array([-14.0, -11.0]))
    assert ratios.tolist() == [4.0, 2.0]  # the first is better, though the second is likelier


ONE = np.ones((1, 2), np.float32)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((ONE, np.ones((1, 3), np.float32), [1], [1]), r"chosen is \(1, 2\), rejected is \(1, 3\); expected two equal shapes"),
        ((ONE[0], ONE[0], [1], [1]), r"expected two equal shapes \(pairs, dimensions\)"),
        ((ONE, ONE, [1, 1], [1]), r"chosen has \(2,\) token counts for 1 pairs"),
        ((ONE, ONE, [1], [0]), "rejected answer 0 has 0 tokens"),
        ((ONE, np.array([[np.nan, 1]], np.float32), [1], [1]), "states of pair 0 are not finite"),
    ],
)
def test_what_cannot_be_scored_is_refused(arguments: tuple[np.ndarray, np.ndarray, list[int], list[int]], message: str) -> None:
    chosen, rejected, n, m = arguments
    with pytest.raises(ValueError, match=message):
        ches(chosen, rejected, np.array(n), np.array(m))


def test_last_states_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="last_hidden_inner: the states of pair 1 are not finite"):
        last_hidden_inner(np.ones((2, 1), np.float32), np.array([[1], [np.inf]], np.float32))
