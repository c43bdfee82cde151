"""Ids depend on what was said and judged, and on nothing else."""

import re
from hashlib import blake2b
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.config import AnnotatorsConfig
from pipeline.identity import content_hash, identify, identify_ratings, number_ratings, number_votes, quarantine_ids
from pipeline.ingest import QUARANTINED, RAW_JUDGEMENT
from pipeline.stage import UNNAMED
from tests.builders import message, rated, rating, raw, raw_ratings, row, swap

PLAIN = AnnotatorsConfig(ids="plain")
IDS = ["prompt_id", "pair_id", "base_id"]


def identified(*rows: dict[str, Any]) -> pl.DataFrame:
    return identify(raw(*rows), PLAIN, "d")


def ids(given: dict[str, Any]) -> dict[str, Any]:
    return identified(given).select(IDS).row(0, named=True)


def test_ids_are_sixteen_bytes_in_hex() -> None:
    found = identified(row()).select(*IDS, "response_a_id", "response_b_id").row(0)

    assert all(re.fullmatch(r"[0-9a-f]{32}", i) for i in found)
    assert len(set(found)) == 5


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (row("caf\u00e9", "\u00e4", "y"), row("cafe\u0301", "a\u0308", "y")),
        (row("a\nb", "c\nd", "e\nf"), row("a\r\nb", "c\rd", "e\r\nf")),
        (row("q", "x", "y"), row("q \n\t", "x  ", "y\n")),
        (row("q"), row([message("Human", "q")])),
        (row("q"), row([message(" prompter", "q")])),
        (row([message("system", "s"), message("user", "q")]), row([message("developer", "s"), message("human", "q")])),
        (row(a="x"), row(a=[message("GPT", "x")])),
        (row(a=[message("tool", "x")]), row(a=[message("observation", "x")])),
        (row(both_bad=False), row(both_bad=None)),
        (row(strength=0.3), row(strength=0.3 + 1e-9)),
        (row(), row(model_a="m", model_b="n", extra="{}", source_split="test")),
        (row(), row(source="other", source_uri="g.csv", source_row=9)),
    ],
)
def test_what_says_the_same_has_the_same_ids(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert ids(one) == ids(other)


@pytest.mark.parametrize("verdict", ["a", "b", "tie"])
@pytest.mark.parametrize("first", ["a", "b", None])
@pytest.mark.parametrize("prompt", ["q", []])
def test_ids_do_not_change_when_the_sides_swap_with_verdict_and_shown_first(verdict: str, first: str | None, prompt: Any) -> None:
    given = row(prompt, outcome=verdict, shown_first=first, model_a="m", annotator="w")

    assert ids(given) == ids(swap(given))


@pytest.mark.parametrize(
    ("other", "changed"),
    [
        (row("other"), IDS),
        (row([message("system", "s"), message("user", "q")]), IDS),
        (row([message("system", "q")]), IDS),
        (row([message("user", "q", name="n")]), IDS),
        (row(a="other"), ["pair_id", "base_id"]),
        (row(b="other"), ["pair_id", "base_id"]),
        (row(a="x" * 2, b=""), ["pair_id", "base_id"]),
        (row(a=[message("assistant", "x", tool_calls="[]")]), ["pair_id", "base_id"]),
        (row(a=[message("assistant", "x", tool_call_id="[]")]), ["pair_id", "base_id"]),
        (row(a=[message("assistant", "x", reasoning_content="r")]), ["pair_id", "base_id"]),
        (row(context="c"), ["pair_id", "base_id"]),
        (row(context=""), ["pair_id", "base_id"]),
        (row(criterion="help"), ["pair_id", "base_id"]),
        (row(tools="[]"), ["pair_id", "base_id"]),
        (row(outcome="b"), ["base_id"]),
        (row(outcome="tie"), ["base_id"]),
        (row(both_bad=True), ["base_id"]),
        (row(strength=0.5), ["base_id"]),
        (row(shown_first="a"), ["base_id"]),
        (row(shown_first="b"), ["base_id"]),
        (row(annotator="w"), ["base_id"]),
        (row(annotator_kind="judge"), ["base_id"]),
        (row(rationale="r"), ["base_id"]),
        (row(judged_at="2024-01-01"), ["base_id"]),
    ],
)
def test_what_says_something_else_has_other_ids(other: dict[str, Any], changed: list[str]) -> None:
    before, after = ids(row()), ids(other)

    assert [name for name in IDS if before[name] != after[name]] == changed


def test_texts_that_read_alike_when_joined_are_told_apart() -> None:
    turns = [
        [message("user", "ab"), message("user", "c")],
        [message("user", "a"), message("user", "bc")],
        [message("user", "abc")],
        [message("user", "ab4:user1:c----")],
        [message("user", "ab----4:user1:c")],
        [message("user", "-")],
        [message("user", None)],
        [message("user", "")],
        [message("user", "", name="1")],
        [message("user", "", tool_calls="1")],
    ]
    contexts = [{"criterion": "ab", "context": "c"}, {"criterion": "a", "context": "bc"}, {"tools": "a", "criterion": "b", "context": "c"}]
    verdicts = [{"rationale": "ab", "judged_at": "c"}, {"rationale": "a", "judged_at": "bc"}, {"rationale": "-"}, {"judged_at": "-"}]

    assert identified(*[row(t) for t in turns])["prompt_id"].n_unique() == len(turns)
    assert identified(*[row(a=t, b="other") for t in turns])["pair_id"].n_unique() == len(turns)
    assert identified(*[row(**c) for c in contexts])["pair_id"].n_unique() == len(contexts)
    assert identified(*[row(**v) for v in verdicts])["base_id"].n_unique() == len(verdicts)


texts = st.text(alphabet="a1:-\n", max_size=6)
turns = st.lists(st.tuples(st.sampled_from(["user", "assistant"]), texts, st.none() | texts, st.none() | texts), max_size=3)


@given(st.lists(turns, min_size=2, max_size=6))
@settings(max_examples=30, deadline=None)
def test_two_answers_share_an_id_only_when_they_are_equal(answers: list[list[Any]]) -> None:
    messages = [[message(r, c) | {"name": n, "tool_calls": t} for r, c, n, t in answer] for answer in answers]
    rows = identified(*[row(a=m) for m in messages])

    by_id = rows.with_columns(pl.col("response_a").map_elements(repr, return_dtype=pl.String).alias("said"))

    assert by_id["response_a_id"].n_unique() == by_id["said"].n_unique() == by_id.select("response_a_id", "said").unique().height


def test_pairs_without_a_prompt_spread_over_buckets_by_their_answers() -> None:
    found = identified(row([], "x", "y"), row([], "y", "x", outcome="b"), row([], "x", "z"), row("", "x", "y"))["prompt_id"].to_list()

    assert found[0] == found[1]
    assert len(set(found)) == 3


def test_a_prompt_cannot_pose_as_no_prompt() -> None:
    bare = identified(row([], "x", "y")).row(0, named=True)
    low, high = sorted([bare["response_a_id"], bare["response_b_id"]])

    posing = [message("none", low), message("none", low, name=high), message("none", f"{low}32:{high}")]

    assert bare["prompt_id"] not in [ids(row([m], "x", "y"))["prompt_id"] for m in posing]


def test_normalisation_says_what_it_changed_and_where() -> None:
    rows = identified(
        row([message("human", "cafe\u0301\r\n")], "x", "y "),
        row("q", " x", "y"),
    )

    assert rows["normalised"].to_list() == [
        ["prompt.roles", "prompt.unicode", "prompt.line_ends", "prompt.trailing_space", "response_b.trailing_space"],
        [],
    ]
    assert rows["prompt"].to_list()[0] == [message("user", "caf\u00e9")]
    assert rows["response_a"].to_list()[1] == [message("assistant", " x")]


def test_normalising_twice_changes_nothing() -> None:
    once = identified(row([message("Bot", "e\u0301 \r\n")], "x\r", "y\t", annotator="w"))
    again = identify(once.select(list(RAW_JUDGEMENT)), PLAIN, "d")

    assert again["normalised"].to_list() == [[]]
    assert_frame_equal(again.drop("normalised"), once.drop("normalised"))


def test_no_rows_give_no_rows_of_the_same_columns() -> None:
    none, one = identify(raw(), PLAIN, "d"), identified(row())

    assert none.height == 0
    assert none.schema == one.schema
    assert number_votes(none).schema == number_votes(one).schema


def test_annotators_are_hashed_with_the_key_of_the_environment_or_the_name_of_the_dataset(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = AnnotatorsConfig(key_env="A_KEY")
    rows = raw(row(annotator="7"), row(annotator="7", source="other"), row())

    def names(dataset: str) -> list[str]:
        return identify(rows, hashed, dataset)["annotator_id"].to_list()

    monkeypatch.delenv("A_KEY", raising=False)
    by_dataset, by_another = names("one"), names("two")
    monkeypatch.setenv("A_KEY", "secret")
    by_key, by_same_key = names("one"), names("two")
    monkeypatch.setenv("A_KEY", "one")

    key = blake2b(b"one", digest_size=32).digest()
    assert by_dataset[0] == blake2b(b"annotator\nsrc/7", digest_size=16, key=key).hexdigest()
    assert by_dataset[2] == UNNAMED
    assert by_key == by_same_key
    assert names("any") == by_dataset
    assert len({*by_dataset, *by_another, *by_key}) == 7  # two sources under three keys, and unnamed


def test_plain_annotators_are_named_within_their_source() -> None:
    rows = identified(row(annotator="7"), row(annotator="7", source="other"), row(), row(annotator="unnamed"))

    assert rows["annotator_id"].to_list() == ["src/7", "other/7", UNNAMED, "src/unnamed"]


def test_judgements_of_two_annotators_with_one_name_in_two_sources_are_not_copies() -> None:
    rows = number_votes(identified(row(annotator="7"), row(annotator="7", source="other")))

    assert rows["is_copy"].to_list() == [False, False]


def copies(*rows: dict[str, Any]) -> list[tuple[str, int, bool]]:
    return sorted(number_votes(identified(*rows)).select("source_uri", "source_row", "is_copy").rows())


def test_identical_unnamed_votes_of_one_file_are_separate_votes() -> None:
    vote = row(vote_layout=True)
    rows = number_votes(identified(vote, vote, vote))

    assert rows["is_copy"].to_list() == [False] * 3
    assert rows["judgement_id"].n_unique() == 3


def test_identical_unnamed_votes_of_another_file_are_copies_one_by_one() -> None:
    here, there = row(vote_layout=True), row(vote_layout=True, source_uri="g.jsonl")

    assert copies(here, here, there, there, there) == [
        ("f.jsonl", 0, False),
        ("f.jsonl", 1, False),
        ("g.jsonl", 2, True),
        ("g.jsonl", 3, True),
        ("g.jsonl", 4, False),
    ]


@pytest.mark.parametrize(
    "fields", [{"vote_layout": True, "annotator": "w"}, {"vote_layout": False}, {"vote_layout": False, "annotator": "w"}]
)
def test_identical_rows_of_named_annotators_or_other_layouts_are_copies(fields: dict[str, Any]) -> None:
    assert copies(row(**fields), row(**fields), row(**fields, source_uri="e.jsonl")) == [
        ("e.jsonl", 2, False),
        ("f.jsonl", 0, True),
        ("f.jsonl", 1, True),
    ]


def test_the_first_unnamed_vote_keeps_the_id_of_the_same_row_in_another_layout() -> None:
    assert copies(row(vote_layout=True), row(vote_layout=True), row(source_uri="g.jsonl")) == [
        ("f.jsonl", 0, False),
        ("f.jsonl", 1, False),
        ("g.jsonl", 2, True),
    ]


some_rows = st.lists(
    st.builds(
        row,
        prompt=st.sampled_from(["q", "r"]),
        a=st.sampled_from(["x", "y"]),
        b=st.sampled_from(["x", "y"]),
        outcome=st.sampled_from(["a", "b", "tie"]),
        annotator=st.sampled_from([None, "w"]),
        source_uri=st.sampled_from(["f", "g"]),
        source_row=st.integers(1, 2),
        vote_layout=st.just(True),
    ),
    max_size=8,
)


@given(some_rows, st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None)
def test_ids_and_copies_do_not_depend_on_the_order_of_rows(rows: list[dict[str, Any]], random: Any) -> None:
    shuffled = random.sample(rows, len(rows))

    one, other = number_votes(identified(*rows)), number_votes(identified(*shuffled))

    columns = ["judgement_id", "source", "source_uri", "source_row", "is_copy", "outcome"]
    assert_frame_equal(one.select(columns), other.select(columns))
    assert (~one["is_copy"]).sum() == one["judgement_id"].n_unique()


@given(some_rows, st.data())
@settings(max_examples=25, deadline=None)
def test_judgement_ids_do_not_change_when_sides_swap(rows: list[dict[str, Any]], data: st.DataObject) -> None:
    swapped = [swap(r) if data.draw(st.booleans()) else r for r in rows]

    columns = ["judgement_id", "source_uri", "source_row", "is_copy"]
    assert_frame_equal(number_votes(identified(*rows)).select(columns), number_votes(identified(*swapped)).select(columns))


# Ratings


def rating_id(given: dict[str, Any]) -> str:
    return str(identify_ratings(raw_ratings(given), PLAIN, "d")["rating_id"].item())


def test_a_rating_shares_prompt_and_response_ids_with_a_judgement_on_them() -> None:
    judgement = identified(row("q\r\n", "x", "y"))
    found = identify_ratings(raw_ratings(rating("x ", prompt="q")), PLAIN, "d")

    assert found["prompt_id"].to_list() == judgement["prompt_id"].to_list()
    assert found["response_id"].to_list() == judgement["response_a_id"].to_list()
    assert found["response"].to_list() == [[message("assistant", "x")]]
    assert found["normalised"].to_list() == [["response.trailing_space"]]


@pytest.mark.parametrize(
    "change",
    [
        {"response": "y"}, {"score": 2.0}, {"prompt": "r"}, {"tools": "[]"}, {"criterion": "help"}, {"context": "c"}, {"annotator": "w"},
        {"annotator_kind": "judge"}, {"rationale": "why"}, {"ranked": True},
    ],
)  # fmt: skip
def test_a_rating_of_something_else_or_by_somebody_else_has_another_id(change: dict[str, Any]) -> None:
    assert rating_id(rating(**change)) != rating_id(rating())


@pytest.mark.parametrize(
    "change",
    [
        {"source": "s2"}, {"source_uri": "g"}, {"source_row": 7}, {"source_split": "test"}, {"model": "m"}, {"extra": "{}"},
        {"flags": ["f"]}, {"score_min": 0.0, "score_max": 9.0},
    ],
)  # fmt: skip
def test_the_place_model_scale_and_flags_of_a_rating_are_not_part_of_its_id(change: dict[str, Any]) -> None:
    assert rating_id(rating(**change)) == rating_id(rating())


def test_minus_zero_is_zero() -> None:
    assert rating_id(rating(score=-0.0)) == rating_id(rating(score=0.0))


def test_a_later_row_with_the_same_rating_is_a_copy_whichever_came_first() -> None:
    rows = [rating(source_uri="g"), rating(source_uri="f"), rating(score=2.0)]

    for some in (rows, rows[::-1]):
        found = number_ratings(identify_ratings(raw_ratings(*some), PLAIN, "d"))
        assert dict(found.filter(pl.col("score") == 1).select("source_uri", "is_copy").rows()) == {"f": False, "g": True}
        assert found["is_copy"].sum() == 1


def test_a_ranked_rating_is_known_by_the_list_that_it_stands_in() -> None:
    def ranks(source_row: int, **scores: float) -> list[dict[str, Any]]:
        return [rating(text, score, ranked=True, source_row=source_row) for text, score in scores.items()]

    found = rated(*ranks(1, x=1, y=0), *ranks(2, y=0, x=1), *ranks(3, x=1, z=0), rating("x", 1, source_row=4))

    lists = dict(found.group_by("source_row").agg(pl.col("list_id").unique()).rows())
    assert lists[1] == lists[2]
    assert [len(ids) for ids in lists.values()] == [1] * 4
    assert lists[4] == [None]
    assert len({tuple(ids) for ids in lists.values()}) == 3
    assert sorted(found.filter("is_copy")["source_row"]) == [2, 2]


def test_ratings_without_a_prompt_do_not_all_share_one_bucket() -> None:
    found = identify_ratings(raw_ratings(rating("x", prompt=[]), rating("y", prompt=[]), rating("x", 2, prompt=[])), PLAIN, "d")

    assert found["prompt_id"].n_unique() == 2
    assert found["prompt_id"][0] == found["prompt_id"][2]


def test_no_ratings_are_identified_as_none() -> None:
    assert rated().height == 0


def quarantined(**fields: Any) -> str:
    broken = {"source": "s", "source_uri": "f", "source_row": 1, "reason": "wrong_type", "field": "a", "detail": "d", "raw": "{}"}
    rows = quarantine_ids(pl.DataFrame([broken | fields], schema=QUARANTINED))
    return str(rows["record_id"].item())


def test_a_quarantined_record_is_known_by_what_was_read_and_what_was_wrong() -> None:
    same = {quarantined(), quarantined(source_uri="g"), quarantined(source_row=7), quarantined(detail="other")}
    changes = ({"raw": "[]"}, {"raw": None}, {"reason": "no_votes"}, {"field": None}, {"source": "t"})
    others = [quarantined(**change) for change in changes]

    assert len(same) == 1
    assert len({*same, *others}) == 6


def test_no_quarantined_rows_give_an_empty_column_of_ids() -> None:
    assert quarantine_ids(QUARANTINED.to_frame()).schema == {**QUARANTINED, "record_id": pl.String()}


def test_a_content_hash_names_the_kind_and_leaves_nulls() -> None:
    hashes = content_hash(pl.Series(["x", None, "x"]), "response")

    expected = blake2b(b"response\nx", digest_size=16).hexdigest()
    assert hashes.to_list() == [expected, None, expected]
    assert content_hash(pl.Series([None], dtype=pl.String), "response").to_list() == [None]


def test_scores_of_models_are_no_part_of_an_id_and_a_judgement_has_those_of_its_copies() -> None:
    def score(model: str, a: float, b: float | None) -> dict[str, Any]:
        return {"model": model, "a": a, "b": b}

    first = row(annotator="w", model_scores=[score("m", 1.0, 2.0)])
    copies = [
        swap(row(annotator="w", model_scores=[score("m", 2.0, 1.0), score("n", 3.0, None)])),
        row(annotator="w", source_uri="g.jsonl"),
    ]
    other = row(annotator="v", model_scores=[score("o", 1.0, 1.0)])
    rows = number_votes(identified(first, *copies, other))

    shown = rows.with_columns(turned=pl.col("response_a").list.first().struct["content"] == "y").sort("annotator_id", "source_row")
    assert rows["judgement_id"].n_unique() == 2
    straight = [score("m", 1.0, 2.0), score("n", None, 3.0)]  # type: ignore[arg-type]
    given = {
        (turned, str(found)) for turned, found in shown.filter(pl.col("annotator_id") != "src/v").select("turned", "model_scores").rows()
    }
    assert given == {(False, str(straight)), (True, str([score("m", 2.0, 1.0), score("n", 3.0, None)]))}
    assert rows.filter(pl.col("annotator_id") == "src/v")["model_scores"].to_list() == [[score("o", 1.0, 1.0)]]
