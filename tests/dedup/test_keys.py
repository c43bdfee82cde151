"""Pairs by the ids of their texts."""

from pipeline.dedup.keys import keys_of
from pipeline.pairing import pair_up
from pipeline.texts import add_text_ids
from tests.builders import judged, message, row


def test_texts_are_named_by_content_and_blank_ones_by_message() -> None:
    tally, _ = add_text_ids(pair_up(judged(row("q", "", "y"))))

    key = keys_of(tally).row(0, named=True)
    pair = tally.row(0, named=True)
    assert key["prompt_text"] == pair["prompt_text"]
    blank = "low" if pair["low_text"] is None else "high"
    assert key[f"{blank}_text"] == pair[f"{blank}_id"]


def test_a_message_with_tool_calls_is_known_by_its_id_because_its_text_does_not_say_all() -> None:
    called = [message("assistant", "I will look it up.", tool_calls='[{"name": "find"}]')]
    tally, _ = add_text_ids(pair_up(judged(row("q", called, "y"))))

    key, pair = keys_of(tally).row(0, named=True), tally.row(0, named=True)
    assert {key["low_text"], key["high_text"]} & {pair["low_id"], pair["high_id"]}
    assert key["prompt_text"] == key["turn_text"] == pair["prompt_text"]
