import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.consensus.borda import borda

SCHEMA = {"group": pl.String, "annotator": pl.String, "response_id": pl.String, "score": pl.Float64}


def ballots(scores: dict[str, list[float | None]], group: str = "g") -> pl.DataFrame:
    """Response -> its score on each ballot."""
    rows = [(group, f"t{i}", name, score) for name, row in scores.items() for i, score in enumerate(row)]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def points(found: pl.DataFrame) -> dict[str, float]:
    return dict(found.select("response_id", "points").iter_rows())


def best_first(found: pl.DataFrame) -> list[str]:
    return found.sort("rank", "response_id")["response_id"].to_list()


def test_ranks_do_not_let_one_outlying_score_win_as_means_do() -> None:
    rows = ballots({"A": [90, 50, 50], "B": [10, 60, 60], "C": [20, 55, 55]})
    means = rows.group_by("response_id").agg(pl.col("score").mean()).sort("score", descending=True)
    assert means["score"].to_list() == pytest.approx([63.33, 43.33, 43.33], abs=0.01)
    found = borda(rows)
    assert points(found) == {"A": 2, "B": 4, "C": 3}
    assert best_first(found) == ["B", "C", "A"]


def test_ties_share_the_points_whatever_the_order_of_rows() -> None:
    rows = ballots({"A": [1], "B": [1], "C": [0]})
    for order in ([0, 1, 2], [1, 0, 2], [2, 1, 0]):
        found = borda(rows[order])
        assert points(found) == {"A": 1.5, "B": 1.5, "C": 0}
        assert found["rank"].to_list() == [1.5, 1.5, 3.0]


def test_a_ballot_that_leaves_a_response_out_says_nothing_of_it() -> None:
    found = borda(ballots({"A": [3, 3], "B": [2, 2], "C": [None, 1], "D": [float("nan"), None]}))
    assert found.select("response_id", "points", "ballots", "beaten_share").rows() == [
        ("A", 3.0, 2, 1.0),
        ("B", 1.0, 2, pytest.approx(1 / 3)),
        ("C", 0.0, 1, 0.0),
    ]


def test_a_ballot_of_one_ranks_nothing() -> None:
    found = borda(ballots({"A": [5]}))
    assert found.select("points", "ballots", "beaten_share", "rank").row(0) == (0.0, 0, None, None)


def test_two_levels_count_tasks_and_not_their_instances() -> None:
    # Task 1 has three instances that A wins, tasks 2 and 3 one each that B wins: one level says A, two levels say B.
    tasks = {
        "1": ballots({"A": [1, 1, 1], "B": [0, 0, 0]}, "1"),
        "2": ballots({"A": [0], "B": [1]}, "2"),
        "3": ballots({"A": [0], "B": [1]}, "3"),
    }
    one = pl.concat(rows.with_columns(annotator=pl.col("annotator") + name, group=pl.lit("all")) for name, rows in tasks.items())
    assert points(borda(one)) == {"A": 3, "B": 2}
    first = borda(pl.concat(tasks.values()))
    second = first.select(group=pl.lit("all"), annotator="group", response_id="response_id", score="points")
    assert points(borda(second)) == {"A": 1, "B": 2}


score_rows = st.dictionaries(
    st.sampled_from("ABCDE"), st.lists(st.one_of(st.none(), st.integers(0, 3)), min_size=3, max_size=3), min_size=1
)


@given(score_rows, st.randoms(use_true_random=False))
def test_points_are_the_others_beaten_and_half_of_those_tied_with(scores: dict[str, list[float | None]], random: object) -> None:
    rows = ballots(scores)
    order = list(range(rows.height))
    random.shuffle(order)  # type: ignore[attr-defined]
    expected: dict[str, float] = {}
    for name, own in scores.items():
        if any(score is not None for score in own):
            others = [(mine, row[i]) for i, mine in enumerate(own) if mine is not None for other, row in scores.items() if other != name]
            expected[name] = sum((mine > score) + 0.5 * (mine == score) for mine, score in others if score is not None)
    assert points(borda(rows[order])) == expected


def test_no_ballots_rank_nobody() -> None:
    assert borda(pl.DataFrame(schema=SCHEMA)).height == 0
