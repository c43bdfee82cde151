import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.statistics.bootstrap import REPLICATES, SUMS, add_sums, by_subject, percentiles, ratio, replicate_sums, weights

MASK = 2**64 - 1
POISSON = [math.exp(-1) / math.factorial(k) for k in range(9)]


def ids(count: int) -> list[str]:
    return [f"{number * 0x9E3779B97F4A7C15 & MASK:016x}{number:016x}" for number in range(count)]


def mixed(state: int) -> int:
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK
    return state ^ (state >> 31)


def slow_weights(name: str) -> list[int]:
    """SplitMix64 and the inverse of Poisson's distribution, one draw at a time."""
    drawn = []
    for counter in range(1, REPLICATES // 4 + 1):
        state = mixed((mixed(int(name[:16], 16)) + counter * 0x9E3779B97F4A7C15) & MASK)
        for shift in (0, 16, 32, 48):
            share, k = ((state >> shift & 0xFFFF) + 0.5) / 65536, 0
            while k < 8 and share > sum(POISSON[: k + 1]):
                k += 1
            drawn.append(k)
    return [1, *drawn]


def test_weights_are_those_of_a_slow_generator() -> None:
    names = [*ids(5), "f" * 32, "0" * 16]
    assert weights(pl.Series(names)).tolist() == [slow_weights(name) for name in names]


def test_weights_have_the_frequencies_of_poisson_1() -> None:
    drawn = weights(pl.Series(ids(4000)))[:, 1:]
    for k in range(6):
        assert abs((drawn == k).mean() - POISSON[k]) < 1e-3
    assert abs(np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1]) < 0.06
    assert abs(np.corrcoef(drawn[:-1, 7], drawn[1:, 7])[0, 1]) < 0.06


def rows(values: list[tuple[int, str, int, int]]) -> pl.DataFrame:
    names = ids(50)
    return pl.DataFrame(
        [(names[unit], "source", subject, x, y) for unit, subject, x, y in values],
        schema={"id": pl.String, "subject_kind": pl.String, "subject": pl.String, "x": pl.Int64, "y": pl.Int64},
        orient="row",
    )


VALUES = st.lists(
    st.tuples(st.integers(0, 49), st.sampled_from("ab"), st.integers(-(10**11), 10**11), st.integers(0, 3)), min_size=1, max_size=40
)


@settings(max_examples=25, deadline=None)
@given(values=VALUES)
def test_sums_are_those_of_plain_loops(values: list[tuple[int, str, int, int]]) -> None:
    found = by_subject(replicate_sums(rows(values), ["x", "y"]))
    names = ids(50)
    for subject in {value[1] for value in values}:
        mine = [value for value in values if value[1] == subject]
        for column, quantity in ((2, "x"), (3, "y")):
            expected = [
                sum(value[column] * slow for value, slow in zip(mine, per_vote, strict=True))
                for per_vote in zip(*(slow_weights(names[v[0]]) for v in mine), strict=True)
            ]
            assert found["source", subject][quantity].tolist() == expected


@settings(max_examples=25, deadline=None)
@given(values=VALUES, cut=st.integers(0, 40), seed=st.integers(0, 99))
def test_parts_in_any_order_add_up_to_the_whole(values: list[tuple[int, str, int, int]], cut: int, seed: int) -> None:
    whole = replicate_sums(rows(values), ["x", "y"])
    shuffled = rows(values).sample(fraction=1, shuffle=True, seed=seed)
    parts = [replicate_sums(shuffled[cut:], ["x", "y"]), replicate_sums(shuffled[:cut], ["x", "y"])]
    assert add_sums(parts).equals(whole)


def test_more_units_than_a_block_give_the_same_sums_as_one_at_a_time() -> None:
    table = pl.DataFrame({"id": ids(2500), "subject_kind": "dataset", "subject": "all", "x": range(2500)})
    parts = [replicate_sums(table[first : first + 500], ["x"]) for first in range(0, 2500, 500)]
    whole = replicate_sums(table, ["x"])
    assert add_sums(parts).equals(whole)
    assert by_subject(whole)["dataset", "all"]["x"][0] == sum(range(2500))


def test_nothing_gives_no_sums() -> None:
    assert replicate_sums(rows([]), ["x"]).schema == SUMS
    assert add_sums([]).schema == SUMS
    assert add_sums([replicate_sums(rows([]), ["x"])]).is_empty()


def test_a_quantity_that_would_not_add_exactly_is_refused() -> None:
    with pytest.raises(ValueError, match="would not be exact"):
        replicate_sums(rows([(0, "a", 10**12, 0)]), ["x"])


def test_the_interval_of_a_mean_has_the_width_theory_gives() -> None:
    value = np.random.default_rng(0).normal(5, 2, 2000)
    table = pl.DataFrame({"id": ids(2000), "subject_kind": "dataset", "subject": "all", "x": (value * 1e6).astype(int), "n": 1})
    sums = by_subject(replicate_sums(table, ["x", "n"]))["dataset", "all"]
    low, high = percentiles(ratio(sums["x"], sums["n"]) / 1e6)
    assert high - low == pytest.approx(2 * 1.96 * 2 / math.sqrt(2000), rel=0.12)
    assert low < value.mean() < high


def test_replicates_without_a_value_leave_no_interval() -> None:
    values = np.where(np.arange(REPLICATES + 1) % 5 == 0, math.nan, 1.0)
    assert all(math.isnan(bound) for bound in percentiles(values))
