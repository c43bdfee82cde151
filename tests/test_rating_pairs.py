"""Which responses of one annotator's ratings are compared, and how far apart they are said to be."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.config import RatingsConfig
from pipeline.errors import ConfigError
from pipeline.identity import identify_derived
from pipeline.rating_pairs import SCALES, Derived, add_scales, check_criteria, join_scales, judgements_from_ratings, summarise_scales
from pipeline.schemas import JUDGEMENT, conform
from tests.builders import message, rated, rating

STRATEGIES = ("best_vs_worst", "best_vs_rest", "adjacent", "all")
Verdict = tuple[str, str, str, float]


def derive(*rows: dict[str, Any], **config: Any) -> Derived:
    ratings = rated(*rows, **config)
    return judgements_from_ratings(ratings, dict.fromkeys(ratings["source"].unique(), RatingsConfig(**config)), "overall")


def verdicts(derived: Derived) -> list[Verdict]:
    """The votes as (text, ">" or "=", text, strength): the better text first, of equal ones the lesser; sorted."""
    found = []
    for row in derived.judgements.filter(~pl.col("is_copy")).iter_rows(named=True):
        a, b = row["response_a"][0]["content"], row["response_b"][0]["content"]
        better, other = (b, a) if row["outcome"] == "b" else (a, b)
        is_tie = row["outcome"] == "tie" and row["strength"] == 0
        found.append(tie(a, b) if is_tie else (better, ">", other, round(row["strength"], 6)))
    return sorted(found)


def tie(x: str, y: str) -> Verdict:
    return min(x, y), "=", max(x, y), 0.0


def scores(**given: float) -> list[dict[str, Any]]:
    """One rating for each response."""
    return [rating(text, score) for text, score in given.items()]


def ordered(*texts: str) -> list[str]:
    """Texts by the id of the response that they are."""
    found = rated(*[rating(text) for text in texts]).sort("response_id")
    return [str(response[0]["content"]) for response in found["response"]]


# One annotator gives w 1, x 2, y 4 and z 5 of 1 to 5.
TABLE: dict[str, list[Verdict]] = {
    "best_vs_worst": [("z", ">", "w", 1.0)],
    "best_vs_rest": [("z", ">", "w", 1.0), ("z", ">", "x", 0.75), ("z", ">", "y", 0.25)],
    "adjacent": [("x", ">", "w", 0.25), ("y", ">", "x", 0.5), ("z", ">", "y", 0.25)],
    "all": [
        ("x", ">", "w", 0.25), ("y", ">", "w", 0.75), ("y", ">", "x", 0.5),
        ("z", ">", "w", 1.0), ("z", ">", "x", 0.75), ("z", ">", "y", 0.25),
    ],
}  # fmt: skip


@pytest.mark.parametrize("pairs", STRATEGIES)
def test_each_strategy_compares_its_responses_with_the_gap_as_strength(pairs: str) -> None:
    assert verdicts(derive(*scores(w=1, x=2, y=4, z=5), pairs=pairs)) == TABLE[pairs]


@pytest.mark.parametrize("pairs", STRATEGIES)
def test_two_equal_scores_are_one_tie(pairs: str) -> None:
    found = derive(*scores(x=3, y=3), rating("other", 1, "another prompt"), pairs=pairs)

    assert verdicts(found) == [("x", "=", "y", 0.0)]


def test_the_best_meets_one_of_the_others_whatever_their_scores_and_always_the_same_one() -> None:
    picked = set()
    for best in "wxyz":
        given = {name: 5 if name == best else number for number, name in enumerate("wxyz", 1)}
        other = ordered(*(name for name in given if name != best))[0]
        found = verdicts(derive(*scores(**given), pairs="best_vs_random"))
        assert [(one, sign, two) for one, sign, two, _ in found] == [(best, ">", other)]
        picked.add(given[other])
    assert len(picked) > 1  # not the worst each time


def test_of_equal_best_and_equal_worst_responses_the_lesser_id_is_taken() -> None:
    best, worst = ordered("v", "w", "x"), ordered("y", "z")
    given = scores(v=5, w=5, x=5, y=1, z=1)

    assert verdicts(derive(*given)) == [(best[0], ">", worst[0], 1.0)]
    assert verdicts(derive(*given, pairs="best_vs_rest")) == sorted(
        [tie(best[0], best[1]), tie(best[0], best[2]), (best[0], ">", worst[0], 1.0), (best[0], ">", worst[1], 1.0)]
    )
    assert [row for row in verdicts(derive(*given, pairs="adjacent")) if row[1] == ">"] == [(best[2], ">", worst[0], 1.0)]
    assert [sign for _, sign, _, _ in verdicts(derive(*given, pairs="all"))].count("=") == 4


@pytest.mark.parametrize(("pairs", "ties"), [("best_vs_worst", 1), ("best_vs_rest", 3), ("adjacent", 3), ("all", 6)])
def test_responses_that_all_have_one_score_are_ties(pairs: str, ties: int) -> None:
    found = verdicts(derive(*scores(w=3, x=3, y=3, z=3), pairs=pairs))

    assert [(sign, strength) for _, sign, _, strength in found] == [("=", 0.0)] * ties
    if pairs == "best_vs_worst":
        first, second, *_ = ordered("w", "x", "y", "z")
        assert found == [tie(first, second)]


@pytest.mark.parametrize(
    ("min_gap", "left"),
    [(0.0, ["x", "y", "z"]), (0.3, ["x", "y", "z"]), (0.31, ["x", "y"]), (0.7, ["x", "y"]), (0.71, ["x"]), (1.0, ["x"])],
)
def test_a_gap_of_exactly_the_minimum_is_a_preference_and_a_smaller_one_no_pair(min_gap: float, left: list[str]) -> None:
    """0.7 and 0.4 of 0 to 1 are 0.29999999999999993 apart in floating point."""
    given = [rating("best", 1.0), rating("x", 0.0), rating("y", 0.3), rating("z", 0.7)]

    found = verdicts(derive(*given, pairs="best_vs_rest", min_gap=min_gap))

    assert [worse for _, _, worse, _ in found] == left


def test_equal_scores_are_a_tie_whatever_the_minimum() -> None:
    assert verdicts(derive(*scores(x=3, y=3, z=1), pairs="all", min_gap=1.0)) == [
        ("x", "=", "y", 0.0), ("x", ">", "z", 1.0), ("y", ">", "z", 1.0),
    ]  # fmt: skip


def aspects(text: str, **given: float) -> list[dict[str, Any]]:
    return [rating(text, score, criterion=criterion) for criterion, score in given.items()]


def test_the_mean_of_the_criteria_is_compared_each_on_its_own_scale_and_missing_ones_left_out() -> None:
    rows = [*aspects("x", help=5, honesty=1), *aspects("y", help=1), *aspects("z", honesty=11)]

    found = derive(*rows, pairs="all")

    # help is 1 to 5 and honesty 1 to 11: x is (1 + 0) / 2, y is 0, z is 1
    assert verdicts(found) == [("x", ">", "y", 0.5), ("z", ">", "x", 0.5), ("z", ">", "y", 1.0)]
    assert found.judgements["criterion"].unique().to_list() == ["overall"]
    assert sorted(len(ids) for ids in found.judgements["derived_from"]) == [2, 3, 3]


def test_means_of_the_same_scores_in_another_order_are_equal() -> None:
    scale = {"scale": (0, 1)}
    rows = [*aspects("x", a=0.1, b=0.2, c=0.3), *aspects("y", a=0.3, b=0.2, c=0.1)]

    assert (0.1 + 0.2) + 0.3 != (0.3 + 0.2) + 0.1
    assert verdicts(derive(*rows, **scale)) == [("x", "=", "y", 0.0)]


@pytest.mark.parametrize("name", ["overall", "overall_score", "Overall"])
def test_an_overall_score_beside_other_criteria_is_left_out_of_the_mean(name: str) -> None:
    rows = [*aspects("x", help=5, **{name: 1}), *aspects("y", help=1, **{name: 10})]

    found = derive(*rows)

    assert verdicts(found) == [("x", ">", "y", 1.0)]
    assert found.unused["detail"].to_list() == [f"criterion {name} is not compared (on: mean)"] * 2


def test_an_overall_score_alone_is_compared() -> None:
    assert verdicts(derive(*aspects("x", overall_score=5), *aspects("y", overall_score=1))) == [("x", ">", "y", 1.0)]


def test_each_criterion_can_be_compared_by_itself() -> None:
    found = derive(*aspects("x", help=5, honesty=1), *aspects("y", help=1, honesty=2), on="each")

    rows = found.judgements.with_columns(better=pl.when(pl.col("outcome") == "a").then("response_a").otherwise("response_b"))
    assert {row["criterion"]: row["better"][0]["content"] for row in rows.iter_rows(named=True)} == {"help": "x", "honesty": "y"}


def test_one_criterion_can_be_compared_and_the_others_are_not_selected() -> None:
    found = derive(*aspects("x", help=5, honesty=1), *aspects("y", help=1, honesty=2), on="honesty")

    assert verdicts(found) == [("y", ">", "x", 1.0)]
    assert found.judgements["criterion"].to_list() == ["honesty"]
    assert found.unused["detail"].to_list() == ["criterion help is not compared (on: honesty)"] * 2


def test_a_criterion_that_no_rating_has_stops_the_run_and_names_the_nearest() -> None:
    scales = summarise_scales(rated(*aspects("x", help=5, honesty=1)))

    check_criteria(scales, {"src": RatingsConfig(on="honesty")})
    with pytest.raises(ConfigError, match="source 'src': `ratings: on: honest` is no criterion of its ratings; did you mean 'honesty'"):
        check_criteria(scales, {"src": RatingsConfig(on="honest")})
    with pytest.raises(ConfigError, match="criteria found: help, honesty; or mean, or each"):
        check_criteria(scales, {"src": RatingsConfig(on="wit")})


@pytest.mark.parametrize(
    "other", [{"annotator": "v"}, {"context": "c"}, {"tools": "[]"}, {"prompt": "r"}, {"source": "s2"}, {"annotator_kind": "judge"}]
)
def test_ratings_by_somebody_else_or_of_something_else_are_not_compared(other: dict[str, Any]) -> None:
    found = derive(rating("x", 1, annotator="w"), rating("y", 5, **{"annotator": "w", **other}))

    assert verdicts(found) == []
    assert found.unused["detail"].to_list() == ["no other response to compare with"] * 2


def test_the_unnamed_annotator_of_a_source_is_one_annotator_across_rows_and_files() -> None:
    assert verdicts(derive(rating("x", 1), rating("y", 5, source_uri="g.jsonl"))) == [("y", ">", "x", 1.0)]


def test_two_scores_of_one_response_count_as_their_mean_and_two_models_with_one_answer_as_one_response() -> None:
    found = derive(rating("x", 1, model="m"), rating("x", 3, model="n"), rating("y", 5, model="o"), pairs="all")

    assert verdicts(found) == [("y", ">", "x", 0.75)]
    assert [len(ids) for ids in found.judgements.filter(~pl.col("is_copy"))["derived_from"]] == [3]


def test_lists_of_one_row_are_compared_within_themselves() -> None:
    ranks = {"ranked": True, "score_min": 0.0, "score_max": 1.0}
    first = [rating("x", 1, source_row=7, **ranks), rating("y", 0, source_row=7, **ranks)]
    second = [rating("x", 0, source_row=8, **ranks), rating("z", 1, source_row=8, **ranks)]

    assert verdicts(derive(*first, *second, pairs="all")) == [("x", ">", "y", 1.0), ("z", ">", "x", 1.0)]
    ids = rated(*first, *second)
    assert ids.group_by("source_row").agg(pl.col("list_id").n_unique())["list_id"].to_list() == [1, 1]
    assert ids["list_id"].n_unique() == 2
    assert rated(*second, *first)["list_id"].to_list() == ids["list_id"].to_list()


def test_a_doubtful_score_is_never_compared_and_says_why() -> None:
    rows = [rating("x", 1), rating("y", 5), rating("z", 10, flags=["overall_score_misread"], source_uri="g")]
    copy = rating("z", 10, source_uri="f")  # the first of the two by its place, and without the flag

    found = derive(*rows, copy, pairs="all", scale=(1, 10))

    assert verdicts(found) == [("y", ">", "x", round(4 / 9, 6))]
    assert found.unused["detail"].to_list() == ["overall_score_misread"]


# Scales


def test_a_scale_is_stated_configured_or_what_the_whole_source_has() -> None:
    rows = [rating("x", 3, score_min=0.0, score_max=4.0), rating("y", 3), rating("z", 1, criterion="help")]
    every = rated(*rows)
    plain = every.drop("score_min", "score_max").with_columns(score_min=pl.lit(None, pl.Float64), score_max=pl.lit(None, pl.Float64))
    parts = [summarise_scales(every), pl.DataFrame([("src", "overall", -1.0, 9.0)], schema=SCALES, orient="row")]
    scales = join_scales(parts)

    assert scales.rows() == [("src", "help", 1.0, 1.0), ("src", "overall", -1.0, 9.0)]
    assert join_scales(parts[::-1]).rows() == scales.rows()
    found = add_scales(plain, scales, {"src": RatingsConfig()})
    assert dict(found.select("criterion", pl.concat_list("score_min", "score_max")).rows()) == {"help": [1.0, 1.0], "overall": [-1.0, 9.0]}
    found = add_scales(plain, scales, {"src": RatingsConfig(scale=(1, 5))})
    assert found.select("score_min", "score_max").unique().rows() == [(1.0, 5.0)]
    assert rated(*rows).filter(pl.col("response").list.first().struct.field("content") == "x")["score_max"].to_list() == [4.0]


def test_a_criterion_with_one_constant_score_sets_nobody_apart() -> None:
    assert verdicts(derive(*aspects("x", help=3, wit=1), *aspects("y", help=3, wit=2))) == [("y", ">", "x", 0.5)]
    assert verdicts(derive(*scores(x=3, y=3))) == [("x", "=", "y", 0.0)]


# What becomes of the rest of a rating


def test_a_derived_judgement_says_what_its_ratings_say_and_has_its_own_id() -> None:
    about = {"context": "c", "tools": "[]", "annotator": "w", "annotator_kind": "judge", "source_split": "train"}
    found = identify_derived(derive(rating("x", 1, model="m", **about), rating("y", 5, model="n", **about)).judgements)

    (row,) = conform(found.with_columns(merged_into=None, merged_a=None).select(JUDGEMENT.names), JUDGEMENT, "judgements").to_pylist()
    better, worse = ("a", "b") if row["outcome"] == "a" else ("b", "a")
    assert {name: row[name] for name in about if name != "annotator"} == {k: v for k, v in about.items() if k != "annotator"}
    assert (row[f"model_{better}"], row[f"model_{worse}"]) == ("n", "m")
    assert row[f"response_{better}"] == [message("assistant", "y")]
    assert row["annotator_id"] == "src/w"
    assert row["response_a_id"] < row["response_b_id"]
    assert (row["both_bad"], row["is_copy"], row["rationale"], row["normalised"]) == (False, False, None, [])
    assert len(row["derived_from"]) == 2


def test_the_same_ratings_in_two_sources_are_one_vote_that_names_both() -> None:
    rows = [rating("x", 1, model="m"), rating("y", 5), rating("x", 1, source="s2", source_split="test"), rating("y", 5, source="s2")]

    found = identify_derived(derive(*rows).judgements)

    assert found["judgement_id"].n_unique() == found["pair_id"].n_unique() == 1
    assert found.filter(~pl.col("is_copy")).height == 1
    assert set(found["source"]) == {"src", "s2"}
    assert "test" in found["source_split"].to_list()


def test_every_model_and_split_that_a_copy_names_is_named_by_a_copy_of_the_vote() -> None:
    rows = [rating("x", 1, model="m"), rating("x", 1, model="n", source_split="test"), rating("y", 5, model="o")]

    found = derive(*rows).judgements.sort("is_copy", "source_split", "model_a", "model_b")

    assert set(found.select(pl.concat_list("model_a", "model_b").list.explode()).to_series().drop_nulls()) == {"m", "n", "o"}
    assert found["is_copy"].to_list().count(False) == 1
    assert set(found["source_split"]) == {"test", None}


# Promises

RATINGS = st.lists(
    st.builds(
        lambda text, score, prompt, about: rating(text, score, prompt, **about),
        st.sampled_from("vwxyz"),
        st.integers(0, 4).map(float),
        st.sampled_from("pq"),
        st.fixed_dictionaries(
            {
                "criterion": st.sampled_from(["help", "wit", "overall"]),
                "annotator": st.sampled_from([None, "one", "two"]),
                "source": st.sampled_from(["src", "s2"]),
                "source_uri": st.sampled_from(["f", "g"]),
                "source_split": st.sampled_from([None, "test"]),
                "model": st.sampled_from([None, "m", "n"]),
                "flags": st.sampled_from([[], [], [], ["doubtful"]]),
            }
        ),
    ),
    max_size=14,
)


@given(
    RATINGS,
    st.sampled_from(STRATEGIES),
    st.sampled_from(["mean", "each"]),
    st.sampled_from([0.0, 0.25, 0.5]),
    st.randoms(use_true_random=False),
)
@settings(max_examples=60, deadline=None)
def test_no_order_of_rows_and_files_changes_a_vote_and_every_rating_is_used_or_not_selected(
    rows: list[dict[str, Any]], pairs: str, on: str, min_gap: float, random: Any
) -> None:
    config = {"pairs": pairs, "on": on, "min_gap": min_gap}
    shuffled = [{**row, "source_uri": {"f": "g", "g": "f"}[row["source_uri"]]} for row in random.sample(rows, len(rows))]

    found, again = (derive(*some, **config) for some in (rows, shuffled))

    places = ["source_uri", "source_row"]
    votes, other_votes = (identify_derived(one.judgements).drop(places) for one in (found, again))
    order = ["judgement_id", "is_copy", "source", "source_split", "model_a", "model_b"]
    assert_frame_equal(votes.sort(order), other_votes.sort(order))
    assert_frame_equal(found.unused, again.unused)
    used = {record for ids in votes["derived_from"] for record in ids}
    unused = found.unused["rating_id"].to_list()
    assert sorted([*used, *unused]) == rated(*rows)["rating_id"].unique().sort().to_list()
    assert (votes["response_a_id"] < votes["response_b_id"]).all()
    assert votes["strength"].is_between(0, 1).all()
    assert votes.filter(~pl.col("is_copy"))["judgement_id"].is_unique().all()
    assert ((votes["outcome"] == "tie") == (votes["strength"] == 0)).all()
    assert votes.filter((pl.col("strength") > 0) & (pl.col("strength") < min_gap)).is_empty()
