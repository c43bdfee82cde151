"""Judgements become pairs whichever way round, and in whatever order, they arrive."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.pairing import add_votes, by_sources, mark_moved, pair_up
from tests.builders import judged, message, row, swap


def pairs(*rows: dict[str, Any]) -> pl.DataFrame:
    return pair_up(judged(*rows))


def by_answer(*rows: dict[str, Any]) -> dict[str, Any]:
    """The only pair, with what is said of `low` and `high` renamed to the text of the answer."""
    (pair,) = pairs(*rows).to_dicts()
    side = {"low": pair["low"][0]["content"], "high": pair["high"][0]["content"]}
    return {name.replace("low", side["low"]).replace("high", side["high"]): value for name, value in pair.items()}


def vote(outcome: str, **fields: Any) -> dict[str, Any]:
    return row(outcome=outcome, vote_layout=True, **fields)


def test_votes_are_counted_for_each_answer_and_for_ties() -> None:
    pair = by_answer(vote("a"), vote("a"), vote("b"), vote("tie"), swap(vote("a")))

    assert (pair["votes_x"], pair["votes_y"], pair["votes_tie"], pair["n_votes"]) == (3, 1, 1, 5)


def test_a_pair_keeps_what_all_its_judgements_share() -> None:
    fields = {"criterion": "help", "context": "c", "tools": "[]"}
    pair = by_answer(row("q", **fields), swap(row("q", **fields, annotator="w")))

    assert {name: pair[name] for name in fields} == fields
    assert pair["prompt"] == [message("user", "q")]
    assert pair["x"] == [message("assistant", "x")]
    assert pair["y"] == [message("assistant", "y")]


@pytest.mark.parametrize("other", [{"prompt": "r"}, {"criterion": "help"}, {"context": "c"}, {"tools": "[]"}, {"a": "z"}])
def test_judgements_on_something_else_are_another_pair(other: dict[str, Any]) -> None:
    assert pairs(row(), row(**other))["n_votes"].to_list() == [1, 1]


def test_the_lesser_response_id_is_low_and_pairs_are_sorted() -> None:
    found = pairs(*[row(f"q{i % 3}", f"x{i}", f"y{i}") for i in range(12)])

    assert (found["low_id"] < found["high_id"]).all()
    assert found.select("prompt_id", "pair_id").rows() == sorted(found.select("prompt_id", "pair_id").rows())


def test_a_copy_is_no_vote_but_the_models_and_sources_it_names_are_kept() -> None:
    original = row(model_a="m", model_b="n", source="one", source_split="Train", strength=0.5)
    copy = swap(row(model_a="m2", source="two", source_split="TEST", strength=0.5))

    pair = by_answer(original, copy)

    assert (pair["n_votes"], pair["votes_x"], len(pair["records"])) == (1, 1, 1)
    assert (pair["x_models"], pair["y_models"]) == (["m", "m2"], ["n"])
    assert pair["sources"] == ["one", "two"]
    assert pair["source_splits"] == ["test", "train"]


def test_models_and_splits_that_nobody_names_are_empty_lists() -> None:
    pair = by_answer(row())

    assert (pair["x_models"], pair["y_models"], pair["source_splits"]) == ([], [], [])


def test_an_unnamed_vote_is_an_annotator_of_its_own_and_a_named_one_counts_once() -> None:
    named = [vote("a", annotator="w"), vote("b", annotator="w"), vote("a", annotator="v"), vote("a", annotator="v")]

    assert by_answer(*named)["n_annotators"] == 2
    assert by_answer(*named, vote("a"), vote("a"))["n_annotators"] == 4


def test_the_records_of_a_pair_are_its_votes_sorted() -> None:
    rows = judged(vote("a"), vote("a"), vote("b"), vote("a", source_uri="g.jsonl"))
    (pair,) = pair_up(rows).to_dicts()

    assert pair["records"] == sorted(rows.filter(~pl.col("is_copy"))["judgement_id"].to_list())
    assert len(pair["records"]) == pair["n_votes"] == 3


def test_a_derived_judgement_is_one_vote_and_stands_for_its_ratings() -> None:
    votes = judged(row(annotator="v"), row(annotator="w", outcome="b"))
    derived = votes.head(1).with_columns(judgement_id=pl.lit("derived"), derived_from=pl.lit(["r2", "r1"]))

    (pair,) = pair_up(pl.concat([votes.tail(1), derived])).to_dicts()

    assert pair["n_votes"] == 2
    assert pair["records"] == sorted([votes["judgement_id"][1], "r1", "r2"])


def test_two_equal_answers_count_their_votes_alike_whichever_side_won() -> None:
    def counts(*rows: dict[str, Any]) -> tuple[Any, ...]:
        wanted = "votes_low", "votes_high", "low_models", "high_models"
        return pairs(*rows).select(wanted).row(0)

    first = row(b="x", annotator="w", model_a="m", model_b="n", strength=0.5)
    second = row(b="x", annotator="v", model_a="m", strength=0.5)

    assert counts(first, second) == counts(first, swap(second)) == counts(swap(first), swap(second)) == (2, 0, ["m"], ["n"])


def test_no_judgements_make_no_pairs() -> None:
    assert pairs().height == 0
    assert pairs().schema == pairs(row()).schema


rows = st.lists(
    st.builds(
        row,
        prompt=st.sampled_from(["q", "r"]),
        a=st.sampled_from(["x", "y"]),
        b=st.sampled_from(["x", "y", "z"]),
        outcome=st.sampled_from(["a", "b", "tie"]),
        strength=st.sampled_from([None, 0.1, 0.7, 1.0]),
        shown_first=st.sampled_from([None, "a", "b"]),
        model_a=st.sampled_from([None, "m", "n"]),
        model_b=st.sampled_from([None, "m", "n"]),
        annotator=st.sampled_from([None, "w", "v"]),
        source=st.sampled_from(["one", "two"]),
        source_split=st.sampled_from([None, "train", "Test"]),
        vote_layout=st.just(True),
    ),
    max_size=10,
)


@given(rows, st.data())
@settings(max_examples=40, deadline=None)
def test_pairs_do_not_change_when_sides_swap_and_rows_are_shuffled(rows: list[dict[str, Any]], data: st.DataObject) -> None:
    numbered = [{**r, "source_row": i + 1} for i, r in enumerate(rows)]
    swapped = [swap(r) if data.draw(st.booleans()) else r for r in numbered]
    shuffled = data.draw(st.permutations(swapped))

    assert_frame_equal(pairs(*shuffled), pairs(*numbered), check_exact=True)


@given(rows)
@settings(max_examples=40, deadline=None)
def test_every_vote_is_counted_exactly_once(rows: list[dict[str, Any]]) -> None:
    judgements = judged(*rows)
    found = pair_up(judgements)

    votes = judgements.filter(~pl.col("is_copy"))
    assert found["n_votes"].sum() == votes.height
    assert sorted(found["records"].explode().drop_nulls()) == sorted(votes["judgement_id"])
    assert found.filter(pl.sum_horizontal("votes_low", "votes_high", "votes_tie") != pl.col("n_votes")).height == 0
    assert found.filter(~pl.col("n_annotators").is_between(1, pl.col("n_votes"))).height == 0


def test_annotators_are_those_who_are_named_and_voted() -> None:
    rows = [vote("a", annotator="w"), vote("b", annotator="v"), vote("a"), vote("tie"), row(annotator="w", source_uri="g.jsonl")]
    (pair,) = pairs(*rows).to_dicts()

    assert (pair["annotators"], pair["unnamed_votes"], pair["n_annotators"]) == (["src/v", "src/w"], 2, 4)


@pytest.mark.parametrize(
    ("kinds", "best"), [(["reward_model"], 2), (["reward_model", "judge"], 1), (["judge", "human", "reward_model"], 0), (["human"], 0)]
)
def test_the_best_kind_is_that_of_the_best_vote(kinds: list[str], best: int) -> None:
    found = pairs(*[vote("a", annotator_kind=kind) for kind in kinds])

    assert (found["best_kind"].to_list(), found["best_kind"].dtype) == ([best], pl.Int8)


def moved(*rows: tuple[str, ...]) -> pl.DataFrame:
    names = ("judgement_id", "merged_into", "response_a_id", "merged_a", "merged_b")
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")


def test_a_vote_that_a_version_counts_in_another_pair_is_a_copy_here_and_says_where_it_counts() -> None:
    rows = judged(row("near", "x", "y"), swap(row("near", "x", "y", annotator="w")), row("other"))
    first, second, other = (rows.filter(pl.col("source_row") == n).to_dicts()[0] for n in range(3))
    moves = [(one["judgement_id"], "elsewhere", first["response_a_id"], "left", "right") for one in (first, second)]

    marked = mark_moved(rows, moved(*moves))

    told = {r["judgement_id"]: (r["is_copy"], r["merged_into"], r["merged_a"]) for r in marked.to_dicts()}
    assert told == {
        first["judgement_id"]: (True, "elsewhere", "left"),
        second["judgement_id"]: (True, "elsewhere", "right"),
        other["judgement_id"]: (False, None, None),
    }
    assert pair_up(marked)["pair_id"].to_list() == [other["pair_id"]]


@pytest.mark.parametrize("source", ["a", "z"])
def test_the_vote_counts_where_the_version_has_it_whichever_row_comes_first(source: str) -> None:
    """Both pairs are in one bucket: among its rows, the one that comes first is the original at first."""
    raw_vote = judged(row("near", "x", "y", source=source))
    again = raw_vote.with_columns(pair_id=pl.lit("elsewhere"), source=pl.lit("m"))
    both = pl.concat([raw_vote, again, again]).sort("judgement_id", "source")
    both = both.with_columns(is_copy=pl.int_range(pl.len()) > 0)

    marked = mark_moved(both, moved((raw_vote["judgement_id"][0], "elsewhere", raw_vote["response_a_id"][0], "left", "right")))

    counted = marked.filter(~pl.col("is_copy"))
    assert counted.select("pair_id", "merged_into").rows() == [("elsewhere", None)]
    assert marked.filter(pl.col("pair_id") != "elsewhere").select("merged_into", "merged_a").rows() == [("elsewhere", "left")]


def test_of_two_versions_that_moved_a_vote_one_counts_it() -> None:
    original = judged(row("near", "x", "y"))
    rows = pl.concat([original.with_columns(pair_id=pl.lit(pair), is_copy=pl.lit(False)) for pair in ("p2", "p1")])
    a_id = original["response_a_id"][0]
    moves = [(original["judgement_id"][0], pair, a_id, "left", "right") for pair in ("p2", "p1")]

    marked = mark_moved(rows, moved(*moves))

    assert marked.select("pair_id", "is_copy", "merged_into").rows() == [("p2", True, "p1"), ("p1", False, None)]


def test_where_nothing_was_moved_judgements_stay_as_they_are() -> None:
    rows = judged(row(), row(source_uri="g.jsonl"))

    marked = mark_moved(rows, moved())

    assert_frame_equal(marked.drop("merged_into", "merged_a"), rows)
    assert marked.select("merged_into", "merged_a").rows() == [(None, None)] * 2


def scored(**models: tuple[float | None, float | None]) -> dict[str, Any]:
    return {"model_scores": [{"model": model, "a": a, "b": b} for model, (a, b) in models.items()]}


def test_a_pair_has_the_scores_of_all_its_rows_each_once_and_said_of_its_sides() -> None:
    rows = [
        row(annotator="v", **scored(m=(1.0, 2.0), n=(None, 3.0))),
        swap(row(annotator="w")) | scored(m=(2.0, 1.0)),
        swap(row(annotator="v", source_uri="g.jsonl")) | scored(o=(5.0, 4.0)),  # a copy
        row(annotator="u", **scored(m=(7.0, 2.0))),
    ]
    (pair,) = pairs(*rows).to_dicts()

    low, high = ("x", "y") if pair["low"][0]["content"] == "x" else ("y", "x")
    told = sorted(
        (one["model"], one["low"], one["high"]) for one in pair["model_scores"] if one["low"] is not None and one["high"] is not None
    )
    wanted = [("m", {"x": 1.0, "y": 2.0}), ("m", {"x": 7.0, "y": 2.0}), ("o", {"x": 4.0, "y": 5.0})]
    assert told == [(model, by[low], by[high]) for model, by in wanted]
    assert [one["model"] for one in pair["model_scores"]] == ["m", "m", "n", "o"]


def test_pairs_without_scores_have_an_empty_list() -> None:
    assert pairs(row(), row("other", **scored(m=(1.0, 2.0))))["model_scores"].list.len().sort().to_list() == [0, 1]


def test_scores_of_a_pair_stand_in_one_order_whichever_way_round_its_rows_are() -> None:
    def listed(*scores: tuple[float, float]) -> dict[str, Any]:
        return {"model_scores": [{"model": "m", "a": a, "b": b} for a, b in scores]}

    given = row() | listed((1.0, 9.0), (2.0, 3.0))
    turned = swap(row()) | listed((3.0, 2.0), (9.0, 1.0))

    assert pairs(given)["model_scores"].to_list() == pairs(turned)["model_scores"].to_list()


ASKED = {"annotator": "panel (m)", "annotator_kind": "judge", "source": "judge:panel"}


def test_verdicts_that_a_run_asked_for_are_added_to_the_votes_and_no_source() -> None:
    stated, asked = judged(vote("a", annotator="ann")), judged(vote("a", **ASKED), vote("tie", **ASKED))
    both = pair_up(pl.concat([stated, asked]).unique("judgement_id", maintain_order=True))
    added = add_votes(pair_up(stated), asked)
    counted = ["n_votes", "votes_low", "votes_high", "votes_tie", "annotators", "n_annotators", "records", "best_kind", "sources"]
    assert_frame_equal(added.select(counted), both.select(counted))
    assert added.select("n_votes", "votes_tie", "best_kind", "n_annotators").row(0) == (3, 1, 0, 2)
    assert "judge:panel" not in added["sources"][0]


def test_pairs_nobody_was_asked_about_stay_as_they_are() -> None:
    tally = pairs(vote("a"))
    assert_frame_equal(add_votes(tally, judged(vote("a", **ASKED)).clear()), tally)
    assert_frame_equal(by_sources(tally, judged(vote("a"))), tally)


def test_verdicts_that_a_version_brings_back_say_nothing_of_what_repeats_what() -> None:
    rows = judged(vote("a", annotator="ann"), vote("b", **ASKED), vote("b", **ASKED, strength=1.0))
    told = by_sources(pair_up(rows), rows)
    alone = pair_up(judged(vote("a", annotator="ann")))
    names = ["n_votes", "votes_low", "votes_high", "votes_tie", "best_kind"]
    assert_frame_equal(told.select(names), alone.select(names))
