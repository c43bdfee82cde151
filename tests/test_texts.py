"""What the texts of pairs are, and that equal ones are one."""

import polars as pl

from pipeline.pairing import pair_up
from pipeline.texts import add_text_ids, last_user_turn
from tests.builders import judged, message, row


def names(*rows: dict[str, object]) -> tuple[pl.DataFrame, pl.DataFrame]:
    return add_text_ids(pair_up(judged(*rows)))


def test_a_text_has_one_id_whoever_says_it() -> None:
    tally, texts = names(row("hello", "hello", "bye"))

    pair = tally.row(0, named=True)
    assert pair["prompt_text"] == pair["turn_text"]
    assert pair["prompt_text"] in (pair["low_text"], pair["high_text"])
    assert texts["text"].sort().to_list() == ["bye", "hello"]


def test_the_last_turn_of_the_user_is_a_text_of_its_own() -> None:
    tally, texts = names(row([message("user", "one"), message("assistant", "two"), message("user", "three")], "x", "y"))

    said = dict(texts.select("text_id", "text").iter_rows())
    assert said[tally["prompt_text"][0]] == "one\ntwo\nthree"
    assert said[tally["turn_text"][0]] == "three"


def test_a_prompt_without_a_turn_of_the_user_is_its_own_last_turn() -> None:
    tally, _ = names(row([message("system", "be brief")], "x", "y"))

    assert tally["turn_text"].to_list() == tally["prompt_text"].to_list()


def test_blank_texts_have_no_id_and_are_no_texts() -> None:
    tally, texts = names(row([], " \n", "y"))

    pair = tally.row(0, named=True)
    assert (pair["prompt_text"], pair["turn_text"]) == (None, None)
    assert sorted([pair["low_text"], pair["high_text"]], key=str).count(None) == 1
    assert texts["text"].to_list() == ["y"]


def test_a_text_under_two_prompts_is_listed_in_the_bucket_of_each() -> None:
    tally, texts = names(row("one", "same", "x"), row("two", "same", "y"))

    assert texts.filter(text="same")["bucket"].to_list() == sorted(int(i[:2], 16) for i in tally["prompt_id"])


def test_the_last_turn_is_the_last_of_the_user_even_before_an_answer() -> None:
    turns = pl.DataFrame({"prompt": [[message("user", "a"), message("user", "b"), message("assistant", "c")], []]}, schema_overrides={})

    assert turns.select(last_user_turn("prompt")).to_series().to_list() == ["b", ""]
