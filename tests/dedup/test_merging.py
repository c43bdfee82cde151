"""A representative counts the votes of what it absorbed as if they had been given on its own answers."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.dedup.merging import apply_merges, name_answers, summarise_absorbed, summarise_answers, take_absorbed
from pipeline.pairing import mark_merged, mark_moved, pair_up
from pipeline.schemas import JUDGEMENT, conform
from pipeline.stage import bucket_of
from tests.builders import judged, row, swap

MERGES = {
    "pair_id": pl.String, "merged_into": pl.String, "swapped": pl.Boolean, "kind": pl.String, "score": pl.Float64, "threshold": pl.Float64,
}  # fmt: skip
MOVED = dict.fromkeys(("judgement_id", "merged_into", "response_a_id", "merged_a", "merged_b"), pl.String)
NOBODY = pl.DataFrame(schema={"pair_id": pl.String, "near_duplicate_of": pl.String})


def merges_of(*rows: tuple[str, str, bool], **fields: Any) -> pl.DataFrame:
    """(absorbed, representative, swapped)."""
    listed = [(*one, fields.get("kind", "cosine"), fields.get("score", 0.97), 0.95) for one in rows]
    return pl.DataFrame(listed, schema=MERGES, orient="row")


def merged(tally: pl.DataFrame, merges: pl.DataFrame, conflicting: pl.DataFrame = NOBODY) -> pl.DataFrame:
    return apply_merges(tally, merges, summarise_absorbed(tally, merges), conflicting)


def two(*votes: dict[str, Any], on: str = "near", **of_first: Any) -> tuple[pl.DataFrame, str, str, bool]:
    """A pair of one vote for `x`, and one of `votes` (each on answers x2, y2): tally, their ids, and whether x2 is high where x is low."""
    rows = judged(row("q", "x", "y", **of_first), *[{**row(on, "x2", "y2"), **vote} for vote in votes])
    said = {text: ids for text, *ids in rows.select(pl.col("response_a").list.first().struct["content"], "response_a_id").rows()}
    said |= {text: ids for text, *ids in rows.select(pl.col("response_b").list.first().struct["content"], "response_b_id").rows()}
    tally = pair_up(rows)
    ids = dict(tally.select(pl.col("prompt").list.first().struct["content"], "pair_id").rows())
    return tally, ids["q"], ids[on], (said["x"] < said["y"]) != (said["x2"] < said["y2"])


def of(rows: pl.DataFrame, pair_id: str) -> dict[str, Any]:
    return rows.filter(pl.col("pair_id") == pair_id).to_dicts()[0]


def vote(outcome: str, **fields: Any) -> dict[str, Any]:
    return {"outcome": outcome, "vote_layout": True, **fields}


def test_votes_models_annotators_sources_and_records_add_up() -> None:
    first = {"annotator": "w", "model_a": "m", "strength": 0.5, "source_split": "Test"}
    votes = [
        vote("a", annotator="w", source="two", model_a="n"),
        vote("b", annotator="v", strength=0.25),
        vote("tie", annotator_kind="judge"),
        vote("a"),
    ]
    tally, stands, absorbed, swapped = two(*votes, **first)

    rows = merged(tally, merges_of((absorbed, stands, swapped)))

    pair = of(rows, stands)
    x, y = ("low", "high") if pair["low"][0]["content"] == "x" else ("high", "low")
    assert (pair[f"votes_{x}"], pair[f"votes_{y}"], pair["votes_tie"], pair["n_votes"]) == (3, 1, 1, 5)
    assert (pair[f"{x}_models"], pair[f"{y}_models"]) == (["m", "n"], [])
    assert (pair["annotators"], pair["unnamed_votes"], pair["n_annotators"]) == (["src/v", "src/w", "two/w"], 2, 5)
    assert (pair["sources"], pair["source_splits"]) == (["src", "two"], ["test"])
    assert pair["records"] == sorted(tally["records"].explode().to_list())
    assert (pair["near_duplicates"], pair["left_stage"]) == (1, None)


def test_an_annotator_named_on_both_pairs_is_one() -> None:
    tally, stands, absorbed, swapped = two(vote("a", annotator="w"), vote("a", annotator="v"), annotator="w")

    assert of(merged(tally, merges_of((absorbed, stands, swapped))), stands)["n_annotators"] == 2


def test_an_absorbed_pair_keeps_its_own_votes_and_says_why_and_for_whom_it_leaves() -> None:
    tally, stands, absorbed, swapped = two(vote("a"), vote("b"))

    rows = merged(tally, merges_of((absorbed, stands, swapped), kind="jaccard", score=0.97))

    pair, before = of(rows, absorbed), of(tally, absorbed)
    assert {name: pair[name] for name in before} == before
    assert {name: value for name, value in pair.items() if name not in before} == {
        "near_duplicates": 0,
        "near_duplicate_conflict": False,
        "near_duplicate_of": None,
        "left_stage": "deduplicate",
        "left_reason": "near_duplicate",
        "left_score": 0.97,
        "left_threshold": 0.95,
        "left_detail": "jaccard, answers exchanged" if swapped else "jaccard",
        "left_witness_pair_id": stands,
    }


def test_pairs_that_are_in_no_merge_stay_as_they_are() -> None:
    tally, _, other, _ = two(vote("a"))

    rows = merged(tally, merges_of(), pl.DataFrame({"pair_id": [other], "near_duplicate_of": ["another"]}))

    assert_frame_equal(rows.select(tally.columns), tally)
    assert rows.filter("near_duplicate_conflict").select("pair_id", "near_duplicate_of").rows() == [(other, "another")]
    assert rows["near_duplicates"].to_list() == [0, 0]
    assert merged(tally.head(0), merges_of()).schema == rows.schema


def test_what_is_absorbed_leaves_with_its_reason_and_the_rest_goes_on() -> None:
    tally, stands, absorbed, swapped = two(vote("a"))

    result = take_absorbed(merged(tally, merges_of((absorbed, stands, swapped))))

    assert result.kept["pair_id"].to_list() == [stands]
    assert result.dropped.select("pair_id", "stage", "reason", "score", "threshold", "witness_pair_id").rows() == [
        (absorbed, "deduplicate", "near_duplicate", 0.97, 0.95, stands)
    ]
    assert set(result.kept.columns) == {*tally.columns, "near_duplicates", "near_duplicate_conflict", "near_duplicate_of"}


votes_on = st.builds(
    row,
    prompt=st.sampled_from(["q", "r", "s", "t"]),
    a=st.sampled_from(["x", "y"]),
    b=st.sampled_from(["y", "z"]),
    outcome=st.sampled_from(["a", "b", "tie"]),
    strength=st.sampled_from([None, 0.1, 0.7, 1.0]),
    model_a=st.sampled_from([None, "m", "n"]),
    model_b=st.sampled_from([None, "m", "o"]),
    annotator=st.sampled_from([None, "w", "v"]),
    annotator_kind=st.sampled_from(["human", "judge", "reward_model"]),
    source=st.sampled_from(["one", "two"]),
    source_split=st.sampled_from([None, "train", "Test"]),
    vote_layout=st.just(True),
).filter(lambda one: one["response_a"] != one["response_b"])


def merging(rows: pl.DataFrame, data: st.DataObject) -> pl.DataFrame:
    """Any merges among the pairs of judgements, without chains."""
    ids = pair_up(rows)["pair_id"].to_list()
    stand = data.draw(st.lists(st.sampled_from(ids), min_size=1, unique=True))
    chosen = [(one, data.draw(st.sampled_from([None, *stand])), data.draw(st.booleans())) for one in ids if one not in stand]
    return merges_of(*[(one, into, swapped) for one, into, swapped in chosen if into is not None])


@given(st.lists(votes_on, min_size=1, max_size=12), st.data())
@settings(max_examples=60, deadline=None)
def test_the_votes_count_as_if_they_were_given_on_the_representatives_answers(rows: list[dict[str, Any]], data: st.DataObject) -> None:
    judgements = judged(*rows)
    merges = merging(judgements, data)
    tally = pair_up(judgements)
    marked = mark_merged(mark_moved(judgements, pl.DataFrame(schema=MOVED)), name_answers(merges, [summarise_answers(tally, merges)]))
    conform(marked.select(JUDGEMENT.names), JUDGEMENT, "judgements")

    found = merged(tally, merges).filter(pl.col("left_stage").is_null())

    # The same votes, said of the representatives' prompts and answers.
    stand = tally.select(
        merged_into="pair_id", **{f"_{name}": name for name in ("prompt_id", "prompt", "low", "high", "low_id", "high_id")}
    )
    both = marked.join(stand, on="merged_into", how="left", maintain_order="left")
    a_low, moved = pl.col("merged_a") == pl.col("_low_id"), pl.col("merged_into").is_not_null()
    a, b = (pl.when(a_low == low) for low in (True, False))
    told = {
        **{"prompt_id": "_prompt_id", "pair_id": "merged_into", "prompt": "_prompt"},
        **{"response_a_id": a.then("_low_id").otherwise("_high_id"), "response_a": a.then("_low").otherwise("_high")},
        **{"response_b_id": b.then("_low_id").otherwise("_high_id"), "response_b": b.then("_low").otherwise("_high")},
    }
    again = pair_up(both.with_columns(pl.when(moved).then(what).otherwise(name).alias(name) for name, what in told.items()))
    assert_frame_equal(found.select(again.columns), again, check_exact=True)


@given(st.lists(votes_on, min_size=1, max_size=12), st.data())
@settings(max_examples=40, deadline=None)
def test_merges_do_not_depend_on_partitions_or_the_order_of_what_they_gave(rows: list[dict[str, Any]], data: st.DataObject) -> None:
    tally = pair_up(judged(*rows))
    merges = merging(judged(*rows), data)
    edge = data.draw(st.integers(0, 256))
    parts = [tally.filter(bucket_of("prompt_id").cast(pl.Int64) < edge), tally.filter(bucket_of("prompt_id").cast(pl.Int64) >= edge)]

    absorbed = pl.concat([summarise_absorbed(part, merges) for part in data.draw(st.permutations(parts))])
    in_parts = pl.concat([apply_merges(part, merges, absorbed, NOBODY) for part in parts])

    assert_frame_equal(in_parts, merged(tally, merges), check_exact=True)
    answers = [summarise_answers(part, merges) for part in parts]
    assert_frame_equal(name_answers(merges, answers), name_answers(merges, answers[::-1]))


@pytest.mark.parametrize("exchanged", [False, True])
def test_judgements_of_an_absorbed_pair_say_where_and_as_what_they_count(exchanged: bool) -> None:
    one = row("near", "x2", "y2")
    rows = judged(row("q", "x", "y"), swap(one) if exchanged else one)
    tally = pair_up(rows)
    pair, near = (tally.filter(pl.col("prompt").list.first().struct["content"] == text).to_dicts()[0] for text in ("q", "near"))
    x, x2 = ("low" if one["low"][0]["content"] in ("x", "x2") else "high" for one in (pair, near))
    merges = merges_of((near["pair_id"], pair["pair_id"], x != x2))

    marked = mark_merged(mark_moved(rows, pl.DataFrame(schema=MOVED)), name_answers(merges, [summarise_answers(tally, merges)]))

    y = {"low": "high", "high": "low"}[x]
    stands_for = pair[f"{y if exchanged else x}_id"]
    by_pair = {r["pair_id"]: (r["merged_into"], r["merged_a"]) for r in marked.to_dicts()}
    assert by_pair == {pair["pair_id"]: (None, None), near["pair_id"]: (pair["pair_id"], stands_for)}


@pytest.mark.parametrize("exchanged", [False, True])
def test_scores_of_an_absorbed_pair_are_said_of_the_answers_that_stand(exchanged: bool) -> None:
    def scores(a: float, b: float) -> list[dict[str, Any]]:
        return [{"model": "m", "a": a, "b": b}]

    tally, stands, absorbed, swapped = two(vote("a", model_scores=scores(1.0, 3.0)), model_scores=scores(1.5, 2.5))
    pair = of(merged(tally, merges_of((absorbed, stands, swapped != exchanged))), stands)

    x, y = ("low", "high") if pair["low"][0]["content"] == "x" else ("high", "low")
    told = sorted((one[x], one[y]) for one in pair["model_scores"])
    assert told == [(1.5, 2.5), (3.0, 1.0)] if exchanged else told == [(1.0, 3.0), (1.5, 2.5)]
