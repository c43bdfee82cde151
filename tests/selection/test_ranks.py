"""Which of a prompt's candidates train."""

import polars as pl
import pytest

from pipeline.selection.ranks import POLICIES, add_policy, best_and_worst, surprise


def candidates(**prompts: list[float | None]) -> pl.DataFrame:
    """Scores by prompt; answers are called 0, 1 and so on."""
    rows = [(prompt, str(n), score) for prompt, scores in prompts.items() for n, score in enumerate(scores)]
    return pl.DataFrame(rows, schema={"prompt_id": pl.String, "response_id": pl.String, "score": pl.Float64}, orient="row")


def weights(scores: list[float | None], policy: str) -> list[float]:
    return add_policy(candidates(p=scores), policy)["policy_weight"].to_list()  # type: ignore[arg-type]


def test_policies_of_the_reference() -> None:
    five, seven = [0.1, 0.9, 0.3, 0.5, 0.2], [0.1, 0.9, 0.3, 0.5, 0.2, 0.0, 0.4]
    assert weights(five, "best") == [0, 1, 0, 0, 0]
    assert weights(five, "best-random") == pytest.approx([0.125, 0.5, 0.125, 0.125, 0.125])
    assert weights(seven, "best-random")[1] == pytest.approx(0.4)
    assert weights(five, "best-worst") == [0.5, 0.5, 0, 0, 0]
    assert weights([1.0, -2.0, 0.0], "square") == pytest.approx([0.2, 0.8, 0.0])


@pytest.mark.parametrize("policy", POLICIES)
def test_prompts_with_more_candidates_do_not_dominate(policy: str) -> None:
    """The release draws with 0.4 and 0.1 as they are: seven candidates would weigh 1.0 and five 0.8."""
    rows = candidates(a=[1.0, 2.0], b=[3.0, 1.0, 0.0, 2.0, 5.0, 4.0, 6.0], c=[0.0, 0.0, 0.0], d=[None, 2.0], e=[1.0])
    found = add_policy(rows, policy)  # type: ignore[arg-type]

    assert found["response_id"].to_list() == rows["response_id"].to_list()
    sums = dict(found.group_by("prompt_id").agg(pl.col("policy_weight").sum()).iter_rows())
    assert sums == pytest.approx(dict.fromkeys("abcde", 1.0))
    assert found.filter(pl.col("score").is_null())["policy_weight"].to_list() == [0.0]


@pytest.mark.parametrize("policy", POLICIES)
def test_of_equal_scores_the_least_id_is_the_best_in_any_order_of_rows(policy: str) -> None:
    rows = candidates(p=[2.0, 2.0, 1.0, 1.0])
    found, back = (add_policy(one, policy).sort("response_id") for one in (rows, rows.reverse()))  # type: ignore[arg-type]
    assert found["policy_weight"].to_list() == back["policy_weight"].to_list()
    assert found["policy_weight"][0] >= found["policy_weight"][1]


def test_equal_scores_make_no_pair_of_an_answer_with_itself() -> None:
    rows = candidates(a=[0.2, 0.2, 0.2], b=[0.1, 0.5, 0.5], c=[None, 1.0], d=[3.0, None, 1.0, 1.0])
    expected = [("b", "1", "0", 0.4), ("d", "0", "2", 2.0)]
    assert best_and_worst(rows).rows() == expected
    assert best_and_worst(rows.reverse()).rows() == expected


def test_surprise_is_1_less_kendalls_tau() -> None:
    # Ranks 1, 2, 3 by score; 1, 3, 2 by the model: two of three pairs agree.
    rows = candidates(p=[3.0, 2.0, 1.0], q=[3.0, 2.0, 1.0], r=[2.0, 1.0], s=[1.0], t=[1.0, 1.0])
    rows = rows.with_columns(logp=pl.Series([-1.0, -3.0, -2.0, -1.0, -2.0, -3.0, -2.0, -1.0, -1.0, -1.0, -2.0]))
    found = surprise(rows)
    assert found["prompt_id"].to_list() == ["p", "q", "r", "t"]
    assert found["surprise"].to_list() == pytest.approx([2 / 3, 0.0, 2.0, 1.0])
    assert found["candidates"].to_list() == [3, 3, 2, 2]
