"""What a model is asked: the label only where it is to be told, the answers in an order of their own, data as data."""

import json
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.config import EndpointConfig, RationalesConfig
from pipeline.rationale.asking import ask, form, rubrics, schema_of
from tests.rationale.written import draft, drafts, pair, pairs

ENDPOINT = EndpointConfig(name="local", base_url="http://127.0.0.1:1/v1", model="m")
LEVELS = ["one", "two", "three", "four", "five"]
TONE = {"criterion": "Is the tone kind?", "levels": LEVELS, "reference": "A kind answer."}
BRIEF = {"criterion": "Is it brief?", "levels": LEVELS}
SHOWN = RationalesConfig(endpoint="local", kinds=["general", "detailed"])
HIDDEN = RationalesConfig(endpoint="local", labels="hidden")
RUBRIC = RationalesConfig(endpoint="local", kinds=["rubric"], rubrics=[TONE, BRIEF])
CHECKLIST = RationalesConfig(endpoint="local", kinds=["checklist"])
MANY = pairs(*(pair(f"question {i}", f"good {i}", f"bad {i}") for i in range(200)))


def said(asked: pl.DataFrame, row: int = 0) -> str:
    """All that one request says."""
    return "\n".join(message["content"] for message in asked["messages"][row])


def flipped(rows: pl.DataFrame) -> pl.DataFrame:
    """The same pairs with the other label."""
    other = {"chosen": "rejected", "rejected": "chosen", "chosen_id": "rejected_id", "rejected_id": "chosen_id"}
    return rows.rename(other).select(rows.columns)


@pytest.mark.parametrize(("kind", "config"), [("general", SHOWN), ("detailed", SHOWN), ("rubric", RUBRIC), ("checklist", CHECKLIST)])
def test_every_kind_has_a_form_that_strict_servers_take(kind: str, config: RationalesConfig) -> None:
    made = form(kind, config)

    assert (made.name, made.version, made.max_output_tokens, made.temperature) == (f"rationale-{kind}", 1, 700, 0.0)
    assert set(made.schema["required"]) == set(made.schema["properties"])
    assert made.schema["additionalProperties"] is False


def test_either_side_is_shown_first_about_half_of_the_time() -> None:
    """The released code of RDPO always has the chosen answer first, which a model can learn."""
    first = ask(MANY, "detailed", SHOWN, ENDPOINT).kept["shown_first"]

    assert 70 < (first == "chosen").sum() < 130
    assert first.is_in(["chosen", "rejected"]).all()


def test_the_same_answer_stands_first_whatever_the_label() -> None:
    asked, other = (ask(rows, "detailed", HIDDEN, ENDPOINT).kept for rows in (MANY, flipped(MANY)))

    assert asked["key"].to_list() == other["key"].to_list()  # not told the label, it is the very same question
    assert (asked["shown_first"] != other["shown_first"]).all()


def test_the_label_is_told_where_it_is_to_be_told_and_nowhere_else() -> None:
    for kind, config, told in (
        ("detailed", SHOWN, True),
        ("general", HIDDEN, False),
        ("rubric", RUBRIC, False),
        ("checklist", CHECKLIST, False),
    ):
        asked = ask(MANY[:4], kind, config, ENDPOINT).kept
        for row in range(4):
            letter = "A" if asked["shown_first"][row] == "chosen" else "B"
            assert (f"preferred Response {letter}." in said(asked, row)) is told
            assert asked["label_shown"][row] is told
    assert "verdict" in schema_of("general", HIDDEN)["properties"]
    assert "verdict" not in schema_of("general", SHOWN)["properties"]


def test_the_answers_stand_under_their_letters() -> None:
    asked = ask(MANY[:6], "detailed", SHOWN, ENDPOINT).kept
    for row in range(6):
        text = said(asked, row)
        good_first = text.index("good ") < text.index("bad ")
        assert good_first is (asked["shown_first"][row] == "chosen")


def test_each_rubric_is_a_question_of_its_own_with_criterion_levels_and_reference() -> None:
    """Prometheus (2023): {criterion, levels[5], reference, feedback, score}."""
    asked = ask(MANY[:2], "rubric", RUBRIC, ENDPOINT).kept

    assert asked["pair_id"].to_list() == sorted([*MANY["pair_id"][:2]] * 2)
    assert json.loads(asked["rubric"][0]) == TONE
    assert "Is the tone kind?\n1: one\n2: two\n3: three\n4: four\n5: five\n\nA response that deserves a 5:\nA kind answer." in said(
        asked, 0
    )
    assert "deserves a 5" not in said(asked, 1)
    assert asked["key"].n_unique() == 4


def test_criterion_and_context_are_said_where_there_are_any() -> None:
    asked = ask(pairs(pair(criterion="honesty", context="Be kind.", pair_id="a" * 32)), "detailed", SHOWN, ENDPOINT).kept

    assert "honesty" in said(asked)
    assert "Be kind." in said(asked)
    assert "criterion" not in said(ask(MANY[:1], "detailed", SHOWN, ENDPOINT).kept)


def test_a_pair_too_long_is_refused_or_shortened_as_the_config_says() -> None:
    long = pairs(pair("word " * 3000, "yes " * 9000, "no " * 9000))
    refusing = SHOWN.model_copy(update={"too_long": "refuse"})

    refused = ask(long, "detailed", refusing, ENDPOINT)
    assert refused.kept.is_empty()
    assert refused.dropped.select("pair_id", "reason").rows() == [(long["pair_id"][0], "too_long")]
    kept = ask(long, "detailed", SHOWN, ENDPOINT).kept
    assert len(said(kept).encode()) < 3 * ENDPOINT.context_tokens


def test_options_in_the_data_are_told() -> None:
    asked = ask(pairs(pair("Pick one.\nA) Rome\nB) Paris"), pair("Why?")), "detailed", SHOWN, ENDPOINT).kept

    assert asked.sort("pair_id")["lettered"].to_list() == [True, False]


def test_only_what_another_attempt_may_mend_is_asked_again_and_told_why() -> None:
    reasons = ["not_json", "verdict_not_recovered", "refused", None, "quote_not_found"]
    tried = drafts(*(draft(number=i, reason=why) for i, why in enumerate(reasons)), draft(number=4))

    again = ask(MANY[:5], "detailed", SHOWN, ENDPOINT, sample=1, again=tried).kept

    assert again["pair_id"].to_list() == [MANY["pair_id"][0]]
    assert "An earlier answer could not be used: it was not one JSON object and nothing else." in said(again)
    assert again["key"][0] not in ask(MANY[:5], "detailed", SHOWN, ENDPOINT).kept["key"]


def test_only_the_last_attempt_says_whether_there_is_another() -> None:
    """Else what argued for the other side would be asked again, because the attempt before had the wrong form."""
    ends = ["verdict_not_recovered", "budget", "too_short"]
    tried = drafts(*(draft(number=i, reason="not_json") for i in range(3)), *(draft(number=i, reason=why) for i, why in enumerate(ends)))

    again = ask(MANY[:3], "detailed", SHOWN, ENDPOINT, sample=2, again=tried).kept

    assert again["pair_id"].to_list() == [MANY["pair_id"][2]]
    assert "it was too short" in said(again)


def test_of_several_rubrics_only_the_refused_one_is_asked_again() -> None:
    items = rubrics("rubric", RUBRIC)["rubric"]
    tried = drafts(draft(kind="rubric", items=items[0]), draft(None, kind="rubric", items=items[1], reason="wrong_schema"))

    assert ask(MANY[:1], "rubric", RUBRIC, ENDPOINT, sample=1, again=tried).kept["rubric"].to_list() == [items[1]]


def test_nothing_asks_nothing() -> None:
    assert ask(MANY[:0], "detailed", SHOWN, ENDPOINT).kept.is_empty()
    assert ask(MANY[:0], "rubric", RUBRIC, ENDPOINT).kept.is_empty()


@settings(max_examples=20)
@given(order=st.permutations(range(5)), cut=st.integers(0, 5))
def test_order_and_partition_change_no_question(order: list[int], cut: int) -> None:
    rows = MANY[:5]
    whole = ask(rows, "detailed", SHOWN, ENDPOINT).kept
    mixed = rows[order]
    parts: list[Any] = [ask(part, "detailed", SHOWN, ENDPOINT).kept for part in (mixed[:cut], mixed[cut:])]

    assert_frame_equal(pl.concat(parts).sort("pair_id"), whole)
