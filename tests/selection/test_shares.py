"""Whole numbers from shares."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.selection.shares import exact, largest_remainder, most_that_fit, most_with_least, quotas

SHARES = st.dictionaries(st.sampled_from("abcdef"), st.floats(0.001, 1.0).map(exact), min_size=1)


@pytest.mark.parametrize(("total", "given_"), [(100, [50, 30, 20]), (101, [51, 30, 20]), (0, [0, 0, 0]), (1, [1, 0, 0])])
def test_the_mixture_of_the_reference(total: int, given_: list[int]) -> None:
    shares = {"arena": exact(0.5), "helpsteer": exact(0.3), "rest": exact(0.2)}
    assert list(largest_remainder(total, shares).values()) == given_


def test_equal_remainders_go_to_those_named_first() -> None:
    assert largest_remainder(2, dict.fromkeys("abc", Fraction(1))) == {"a": 1, "b": 1, "c": 0}
    assert largest_remainder(5, {}) == {}


@given(st.integers(0, 10_000), SHARES)
def test_numbers_add_up_and_are_their_share_rounded_down_or_up(total: int, shares: dict[str, Fraction]) -> None:
    found, whole = largest_remainder(total, shares), sum(shares.values())
    assert sum(found.values()) == total
    assert all(abs(found[name] - total * share / whole) < 1 for name, share in shares.items())


@given(SHARES, st.lists(st.integers(0, 60), min_size=6, max_size=6))
def test_the_most_that_fits_fits_and_one_more_is_too_much_for_some_group(shares: dict[str, Fraction], numbers: list[int]) -> None:
    sizes = dict(zip(shares, numbers, strict=False))
    most, whole = most_that_fit(sizes, shares), sum(shares.values())
    assert all(part <= sizes[name] for name, part in largest_remainder(most, shares).items())
    assert any((most + 1) * share / whole > sizes[name] for name, share in shares.items())


def test_the_most_of_which_groups_have_their_least_share() -> None:
    # 6 of b are 20 % of 30; and with all of b there, b is no limit.
    assert most_with_least({"b": 6}, {"b": exact(0.2)}, 100) == 30
    assert most_with_least({"b": 60}, {"b": exact(0.2)}, 100) == 100
    assert most_with_least({}, {}, 7) == 7
    assert quotas(10, {"b": exact(0.2)}) == {"b": 2}
    assert quotas(11, {"b": exact(0.2)}) == {"b": 3}
