"""Lists of answers and pairs among them, from ratings and from judgements."""

from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.export import FORMATS, Options
from pipeline.export.listwise import lambda_weight, lipo_loss, pro_loss
from pipeline.schemas import JUDGEMENT, PAIR, RATING, conform
from tests.builders import says
from tests.export.rows import judged, pair, table
from tests.versions import rated


def rates(*scores: float, **given: Any) -> list[dict[str, Any]]:
    """Answers r0, r1, ... to p0's prompt with these scores on a scale of 1 to 5, by one rater."""
    prompt = {"prompt": says("user", "Capital of France?"), "prompt_id": "q-p0"}
    return [{**rated(f"{given.get('annotator_id', 'a')}{at}", f"r{at}", score, at, **given), **prompt} for at, score in enumerate(scores)]


def converted(
    name: str,
    ratings: list[dict[str, Any]],
    judgements: list[dict[str, Any]] | None = None,
    pairs: list[dict[str, Any]] | None = None,
    **options: Any,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    form = FORMATS[name](Options(**options))
    beside = [
        table(RATING, *ratings).select(form.beside["ratings"]),
        table(JUDGEMENT, *(judgements or [])).select(form.beside["judgements"]),
    ]
    done = form.convert(table(PAIR, *(pairs or [pair("p0"), pair("p1", prompt_id="q-p0")])).select(form.reads), *beside)
    conform(done.kept, form.schema, name)
    return done.kept, done.dropped


def answers(rows: pl.DataFrame, column: str = "responses") -> list[Any]:
    return [[one[0]["content"] for one in row] if column == "responses" else row[0]["content"] for row in rows[column].to_list()]


def test_answers_are_best_first_with_their_mean_win_probability_and_rating() -> None:
    kept, dropped = converted("listwise", rates(2, 5, 3, 1))
    assert (answers(kept), dropped.height) == ([["r1", "r2", "r0", "r3"]], 0)
    assert kept["scores"].to_list()[0] == pytest.approx([1, 2 / 3, 1 / 3, 0])
    assert kept["ratings"].to_list()[0] == pytest.approx([1, 0.5, 0.25, 0])


def test_raters_who_disagree_make_scores_that_an_order_alone_does_not_tell() -> None:
    apart, _ = converted("listwise", [*rates(5, 3, 1), *rates(5, 3, 1, annotator_id="b")])
    close, _ = converted("listwise", [*rates(5, 3, 1), *rates(1, 3, 5, annotator_id="b"), *rates(5, 3, 1, annotator_id="c")])
    assert answers(apart) == answers(close) == [["r0", "r1", "r2"]]
    assert apart["scores"].to_list() == [[1.0, 0.5, 0.0]]
    assert close["scores"].to_list()[0] == pytest.approx([2 / 3, 0.5, 1 / 3])


def test_an_overall_score_is_not_counted_beside_what_it_sums_up() -> None:
    kept, _ = converted("listwise", [*rates(5, 1, criterion="overall"), *rates(1, 5, criterion="honesty")])
    assert (answers(kept), kept["ratings"].to_list()) == ([["r0", "r1"]], [[1.0, 0.0]])


def test_judgements_alone_make_a_list_and_ties_count_half() -> None:
    votes = [judged("p0", "j1", "a", None), judged("p0", "j2", "tie", None), {**judged("p0", "j3", "b", None), "is_copy": True}]
    for vote in votes:
        vote |= {"response_a": says("assistant", "Paris."), "response_b": says("assistant", "Lyon.")}
    kept, _ = converted("listwise", [], votes)
    assert (answers(kept), kept["scores"].to_list(), kept["ratings"].to_list()) == ([["Paris.", "Lyon."]], [[0.75, 0.25]], [[None, None]])


def test_answers_without_anything_visible_are_no_candidates_and_one_answer_is_no_list() -> None:
    blank = {**rates(5)[0], "response": says("assistant", " "), "response_id": "blank"}
    kept, dropped = converted("listwise", [blank, rates(1, 3)[1]])
    assert (kept.height, dropped["reason"].to_list()) == (0, ["fewer_than_two", "fewer_than_two"])
    kept, _ = converted("listwise", [blank, *rates(1, 3)])
    assert kept["scores"].to_list() == [[1.0, 0.0]]


def test_a_prompt_with_tools_is_no_list() -> None:
    assert converted("listwise", rates(1, 3), pairs=[pair("p0", tools="[]")])[1]["reason"].to_list() == ["tools"]


def test_a_policy_weighs_the_answers_of_each_prompt_to_one() -> None:
    weights = {
        policy: converted("listwise", rates(5, 4, 3, 2, 1), policy=policy)[0]["policy_weights"].to_list()[0]
        for policy in ("best", "best-random", "best-worst")
    }
    assert weights["best"] == [1, 0, 0, 0, 0]
    assert weights["best-random"] == pytest.approx([0.5, 0.125, 0.125, 0.125, 0.125])
    assert weights["best-worst"] == [0.5, 0, 0, 0, 0.5]


@pytest.mark.parametrize(
    ("scores", "policy", "expected"),
    [
        ((4, 3, 2, 1), "all", 6),
        ((4, 3, 3, 1), "all", 5),
        ((4, 3, 3, 1), "best-vs-rest", 3),
        ((4, 3, 3, 1), "best-vs-worst", 1),
        ((2, 2, 2), "all", 0),
    ],
)
def test_pairs_of_different_scores_weigh_one_prompt_together(scores: tuple[float, ...], policy: str, expected: int) -> None:
    kept, dropped = converted("list-pairs", rates(*scores), policy=policy)
    assert kept.height == expected
    assert (kept["chosen_score"] > kept["rejected_score"]).all()
    assert kept["weight"].sum() == pytest.approx(1.0 if expected else 0.0)
    assert dropped["reason"].to_list() == ([] if expected else ["no_better_answer"] * 2)


@settings(max_examples=15)
@given(st.lists(st.integers(1, 5), min_size=2, max_size=5))
def test_scores_fall_and_pairs_never_contradict_them(scores: list[int]) -> None:
    kept, _ = converted("listwise", rates(*scores))
    told = kept["scores"].to_list()[0]
    assert all(better >= worse for better, worse in pairwise(told))
    assert sum(told) == pytest.approx(len(scores) / 2)
    pairs, _ = converted("list-pairs", rates(*scores))
    assert pairs.height == sum(a > b for a in scores for b in scores)


def test_policies_that_are_none_are_config_errors() -> None:
    with pytest.raises(ConfigError, match="--policy nice: expected one of best, best-random, best-worst, square"):
        FORMATS["listwise"](Options(policy="nice"))
    with pytest.raises(ConfigError, match="--policy best: expected one of all, best-vs-rest, best-vs-worst"):
        FORMATS["list-pairs"](Options(policy="best"))


def test_the_lambda_weights_and_loss_of_the_check() -> None:
    psi, scores = (1.0, 0.5, 0.0), (0.2, 0.4, 0.1)  # ranks by the policy: 2, 1, 3
    assert [lambda_weight((psi[i], psi[j]), ranks) for i, j, ranks in ((0, 1, (2, 1)), (0, 2, (2, 3)), (1, 2, (1, 3)))] == pytest.approx(
        [0.3119, 0.1889, 0.2988], abs=1e-4
    )
    assert lipo_loss(psi, scores) == pytest.approx(0.536302, abs=1e-6)


def test_the_loss_of_the_check_for_rewards() -> None:
    assert pro_loss((2, 1, 0), (-1, -1.2, -1.5)) == pytest.approx(1.833460, abs=1e-6)
