from itertools import combinations
from statistics import pvariance

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.consensus.closest_three import closest_three

Votes = list[tuple[str, float | None]]


def items(*votes: Votes) -> pl.DataFrame:
    """One item for each list of (annotator, value)."""
    schema = {"item": pl.String, "annotators": pl.List(pl.String), "values": pl.List(pl.Float64)}
    rows = [
        (f"{i:03d}", [who for who, _ in one], [None if value is None else float(value) for _, value in one]) for i, one in enumerate(votes)
    ]
    return pl.DataFrame(rows, schema=schema, orient="row")


def values(*numbers: float) -> Votes:
    return list(zip("abcdefgh", numbers, strict=False))


def slow_rule(votes: Votes) -> list[tuple[float, str]]:
    """All threes: least range, least variance, smallest annotator ids."""
    usable = [(value, who) for who, value in votes if value is not None]
    if len(usable) < 3:
        return sorted(usable)

    def badness(three: tuple[tuple[float, str], ...]) -> tuple[float, float, list[str]]:
        numbers = [value for value, _ in three]
        return max(numbers) - min(numbers), pvariance(numbers), sorted(who for _, who in three)

    return sorted(min(combinations(usable, 3), key=badness))


@pytest.mark.parametrize(
    ("given_", "kept", "value"),
    [((4, 4, 1, 3, 4), [4, 4, 4], 4), ((0, 2, 4, 4, 3), [3, 4, 4], 4), ((1, 2, 2), [1, 2, 2], 2)],
)
def test_the_three_closest_annotations_settle_the_value(given_: tuple[float, ...], kept: list[float], value: float) -> None:
    found = closest_three(items(values(*given_))).row(0, named=True)
    assert (found["kept_values"], found["value"], found["ask_more"]) == (kept, value, False)
    assert found["mean"] == pytest.approx(sum(kept) / 3)


def test_three_that_differ_by_more_than_two_points_need_more_votes() -> None:
    found = closest_three(items(values(0, 2, 4), values(0, 2, 2)))
    assert found.select("range", "ask_more").rows() == [(4.0, True), (2.0, False)]
    assert closest_three(items(values(-1, 0.5, 1)), most_range=1.0)["ask_more"].item()


def test_fewer_than_three_are_kept_as_they_are_and_more_are_asked_for() -> None:
    found = closest_three(items(values(1, 2), values(3), []))
    assert found.select("n", "kept_values", "mean", "range", "ask_more").rows() == [
        (2, [1.0, 2.0], 1.5, 1.0, True),
        (1, [3.0], 3.0, 0.0, True),
        (0, [], None, None, True),
    ]


def test_annotations_without_a_number_do_not_count() -> None:
    found = closest_three(items([("a", None), ("b", float("nan")), ("c", 1.0), ("d", float("inf")), ("e", 1.0), ("f", 1.0)]))
    assert found.select("n", "kept_annotators", "ask_more").row(0) == (3, ["c", "e", "f"], False)


def test_the_smallest_ids_decide_between_equally_close_threes_even_where_they_are_no_neighbours() -> None:
    # {3, 4, 4} and {3, 3, 4} are equally close; a, b and x are the smallest ids of a three, and y stands between them.
    found = closest_three(items([("y", 3), ("x", 3), ("b", 4), ("a", 4)]))
    assert found["kept_annotators"].item().to_list() == ["x", "a", "b"]


def test_the_least_variance_decides_between_equal_ranges_before_ids_do() -> None:
    found = closest_three(items([("z", 0), ("y", 1), ("x", 2), ("a", 5), ("b", 5), ("c", 7)]))
    assert found["kept_values"].item().to_list() == [0, 1, 2]


def test_ranges_equal_but_for_rounding_are_equal() -> None:
    # 0.3 - 0.1 is not 0.2 - 0.0 in floating point; the ids decide.
    found = closest_three(items([("c", 0.0), ("b", 0.1), ("a", 0.2), ("d", 0.3)]))
    assert found["kept_annotators"].item().to_list() == ["c", "b", "a"]


votes_of_item = st.lists(st.one_of(st.none(), st.integers(0, 6)), max_size=8).flatmap(
    lambda numbers: st.permutations("abcdefgh").map(lambda who: list(zip(who, numbers, strict=False)))
)


@given(st.lists(votes_of_item, max_size=4))
def test_the_kept_three_are_the_best_of_all_threes(votes: list[Votes]) -> None:
    found = closest_three(items(*votes))
    kept = [list(zip(numbers, who, strict=True)) for numbers, who in found.select("kept_values", "kept_annotators").iter_rows()]
    assert kept == [slow_rule(one) for one in votes]


@given(votes_of_item, st.randoms(use_true_random=False))
def test_the_order_of_annotations_does_not_matter(votes: Votes, random: object) -> None:
    shuffled = list(votes)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert closest_three(items(votes)).equals(closest_three(items(shuffled)))
