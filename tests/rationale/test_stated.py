"""Reasons that the data brings are told of chosen and rejected, whatever their source calls the two answers."""

from random import Random
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.config import RatingsConfig
from pipeline.identity import identify_derived
from pipeline.rating_pairs import judgements_from_ratings
from pipeline.rationale.stated import stated
from pipeline.schemas import JUDGEMENT, RATIONALE, conform
from tests.builders import judged, rated, rating, row, swap

_UNMERGED = {"merged_into": pl.lit(None, pl.String), "merged_a": pl.lit(None, pl.String)}
NO_RATINGS = rated(rating()).clear()


def votes(*rows: dict[str, Any]) -> pl.DataFrame:
    return judged(*rows).with_columns(**_UNMERGED)


def labelled(judgements: pl.DataFrame, chosen: str = "a") -> pl.DataFrame:
    """The pairs of some judgements, the label of each being a side of its first row."""
    other = {"a": "b", "b": "a"}[chosen]
    return judgements.unique("pair_id", keep="first", maintain_order=True).select(
        "pair_id", "prompt_id", "prompt", chosen=f"response_{chosen}", rejected=f"response_{other}",
        chosen_id=f"response_{chosen}_id", rejected_id=f"response_{other}_id",
    )  # fmt: skip


def told(text: str, **fields: Any) -> dict[str, Any]:
    """What becomes of the reason of one vote for the labelled answer, which is the source's first unless `outcome` says b."""
    given = votes(row(rationale=text, annotator="w", **fields))
    return stated(given, NO_RATINGS, labelled(given, fields.get("outcome", "a"))).row(0, named=True)


NAMES = [
    ("Response A", "Response B"), ("Response 1", "Response 2"), ("response 1", "response 2"), ("@Response 1", "@Response 2"),
    ("Assistant A", "Assistant B"), ("Assistant 1", "Assistant 2"), ("Answer A", "Answer B"), ("Answer #1", "Answer #2"),
    ("Output (a)", "Output (b)"), ("**Response 1**", "**Response 2**"), ("The first response", "the second response"),
    ("the first answer", "the second one's rival, the second answer"), ("the left response", "the right response"), ("A1", "A2"),
    ("argument A1", "a2"), ("Response (1)", "Response (2)"), ("Response One", "Response Two"),
]  # fmt: skip


@pytest.mark.parametrize(("first", "second"), NAMES)
@pytest.mark.parametrize("outcome", ["a", "b"])
def test_names_of_the_sides_are_undone_by_the_order_of_the_judgement(first: str, second: str, outcome: str) -> None:
    found = told(f"I like how {first} gets to the point; that of {second} is vague.", outcome=outcome)
    sides = ("the chosen response", "the rejected response") if outcome == "a" else ("the rejected response", "the chosen response")
    stars = "**" if "**" in first else ""
    rest = second.removesuffix("the second answer") if "rival" in second else ""
    assert found["text"] == (f"I like how {stars}{sides[0]}{stars} gets to the point; that of {rest}{stars}{sides[1]}{stars} is vague.")
    assert (found["accepted"], found["own_verdict"], found["generator"]) == (True, "chosen", "src/w")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Response 1's tone is better.", "The chosen response's tone is better."),
        ("Both Responses 1 and 2 are fine.", "The chosen response and the rejected response are fine."),
        ("Responses 2 and 1 differ.", "The rejected response and the chosen response differ."),
        ("The first and second responses differ.", "The chosen response and the rejected response differ."),
    ],
)
def test_plurals_possessives_and_capitals(text: str, wanted: str) -> None:
    assert told(text)["text"] == wanted


@pytest.mark.parametrize(
    "text",
    [
        "It gives the answer 2, which is right, in the first paragraph.",
        "In this response I see no error; one example is enough.",
        "(a) It is short. (b) It is right.",
        "It lists 1 and 2 before it goes on to the second step.",
        "Clear order, easy to follow.",
    ],
)
def test_what_counts_no_sides_is_left_as_it_is(text: str) -> None:
    assert told(text)["text"] == text


def test_a_text_about_the_road_a1_is_not_about_the_first_answer() -> None:
    found = told("The A1 runs along the coast, as it says.", prompt="Where does the A1 start?")
    assert (found["text"], found["accepted"], found["reason"]) == ("The A1 runs along the coast, as it says.", False, "order_unclear")


@pytest.mark.parametrize("text", ["Model M is more detailed than model m.", "Model 'm' is vague.", "Response 0 is short, response 1 long."])
def test_names_whose_order_no_one_knows_are_refused(text: str) -> None:
    assert (told(text)["accepted"], told(text)["reason"]) == (False, "order_unclear")


def test_the_first_may_be_what_was_shown_first() -> None:
    assert told("The first response is clear.", shown_first="b")["reason"] == "order_unclear"
    assert told("The first response is clear.", shown_first="a")["reason"] is None
    assert told("It is clear.", shown_first="b")["shown_first"] == "rejected"


def test_a_text_that_calls_the_other_answer_better_is_in_another_order() -> None:
    assert told("Response 2 is better because it is short.")["reason"] == "argues_otherwise"
    assert told("Response 2 is better at jokes, but wrong.")["reason"] is None
    assert told("I did not choose Response 2.")["reason"] is None


@pytest.mark.parametrize(("outcome", "verdict"), [("b", "rejected"), ("tie", "tie")])
def test_reasons_of_votes_against_the_label_stay_as_a_sign_of_noise(outcome: str, verdict: str) -> None:
    given = votes(row(rationale="Response 2 is better.", outcome=outcome))
    found = stated(given, NO_RATINGS, labelled(given)).row(0, named=True)
    assert (found["accepted"], found["reason"], found["own_verdict"]) == (False, "other_verdict", verdict)
    assert found["text"] == "The rejected response is better."


def test_the_first_row_of_a_pair_is_the_one_to_prefer() -> None:
    given = votes(
        row(rationale="Against it.", outcome="b", annotator="w1"),
        row(rationale="Response 1 beats Response 2.", annotator="gpt", annotator_kind="judge"),
        row(rationale="It is right.", annotator="w2"),
        row(rationale="Response 1 is right, Response 2 is not.", annotator="w3"),
    )
    found = stated(given, NO_RATINGS, labelled(given))
    assert found["generator"].to_list() == ["src/w3", "src/w2", "src/gpt", "src/w1"]
    conform(found, RATIONALE, "stated")


def test_copies_blank_reasons_and_votes_of_other_pairs_have_no_rationale() -> None:
    given = votes(
        row(rationale="So."), row(rationale=" \n", annotator="w"), row(rationale=None, annotator="v"), row(prompt="other", rationale="No.")
    )
    copied = pl.concat([given, given.filter(pl.col("rationale") == "So.").with_columns(is_copy=True)])
    found = stated(copied, NO_RATINGS, labelled(given.filter(pl.col("rationale") == "So.")))
    assert found["text"].to_list() == ["So."]


def test_a_merged_vote_speaks_of_the_answers_of_the_pair_that_counts_it() -> None:
    kept, merged = votes(row(a="x", b="y")), votes(row(a="y!", b="x!", outcome="b", rationale="Response 2 is short."))
    into = kept.row(0, named=True)
    moved = merged.with_columns(merged_into=pl.lit(into["pair_id"]), merged_a=pl.lit(into["response_b_id"]))
    found = stated(pl.concat([kept, moved]), NO_RATINGS, labelled(kept))
    assert found.select("pair_id", "prompt_id", "text", "accepted").rows() == [
        (into["pair_id"], into["prompt_id"], "The chosen response is short.", True)
    ]


def scored(*rows: dict[str, Any]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Votes that derive from ratings, and these."""
    ratings = rated(*rows)
    derived = identify_derived(judgements_from_ratings(ratings, {"src": RatingsConfig()}, "overall").judgements)
    return derived.with_columns(**_UNMERGED).select(JUDGEMENT.names), ratings


@pytest.mark.parametrize(
    ("reasons", "wanted"),
    [
        (("Clear.", "Wrong."), "About the chosen response: Clear.\n\nAbout the rejected response: Wrong."),
        (("Clear.", None), "About the chosen response: Clear."),
        ((None, "Response 1 is wrong."), "About the rejected response: Response 1 is wrong."),
    ],
)
def test_reasons_of_ratings_are_each_about_one_answer(reasons: tuple[str | None, str | None], wanted: str) -> None:
    best, worst = reasons
    given, ratings = scored(rating("x", 5, annotator="w", rationale=best), rating("y", 1, annotator="w", rationale=worst))
    better = "a" if given["outcome"][0] == "a" else "b"
    found = stated(given, ratings, labelled(given, better)).row(0, named=True)
    assert (found["text"], found["accepted"], found["own_verdict"]) == (wanted, True, "chosen")


def test_no_judgements_have_no_rationales() -> None:
    given = votes(row(rationale="So."))
    assert stated(given.clear(), NO_RATINGS, labelled(given)).is_empty()


texts = st.sampled_from(["Response 1 is right, Response 2 is not.", "The second answer is vague.", "Model m is.", "So.", None])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("pq"), st.sampled_from(["a", "b", "tie"]), texts), min_size=1, max_size=8), st.randoms())
def test_order_does_not_matter(rows: list[tuple[str, str, str | None]], random: Random) -> None:
    given = votes(*[row(prompt=p, outcome=o, rationale=text, annotator=str(i)) for i, (p, o, text) in enumerate(rows)])
    order = list(range(given.height))
    random.shuffle(order)
    pairs = labelled(given)
    assert_frame_equal(stated(given[order], NO_RATINGS, pairs.reverse()), stated(given, NO_RATINGS, pairs), check_exact=True)


@pytest.mark.parametrize("text", ["It is right.", "Right. The other one is not."])
def test_a_reason_that_counts_no_sides_does_not_change_when_the_sides_swap(text: str) -> None:
    one = row(rationale=text, annotator="w")
    given, turned = votes(one), votes(swap(one))
    assert_frame_equal(stated(given, NO_RATINGS, labelled(given)), stated(turned, NO_RATINGS, labelled(turned, "b")))
