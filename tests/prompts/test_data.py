import polars as pl
import pytest
from hypothesis import given

from pipeline.prompts import answer_text, conversation_text, shown
from pipeline.prompts.data import BREAK
from tests.prompts.texts import message_list, messages, texts


def seen(text: str) -> str:
    return str(pl.select(shown(pl.lit(text))).item())


@pytest.mark.parametrize("mark", ["<|im_end|>", "<|eot_id|>", "</s>", "<s>", "<think>", "</think>", "<end_of_turn>", "<eos>", "<<SYS>>",
                                  "<</SYS>>", "[INST]", "[/INST]", "[TOOL_CALLS]", "</tool_call>", "<\uff5cUser\uff5c>"])  # fmt: skip
def test_what_ends_a_turn_in_a_chat_template_is_broken_and_reads_the_same(mark: str) -> None:
    assert mark not in seen(f"a{mark}b")
    assert seen(f"a{mark}b").replace(BREAK, "") == f"a{mark}b"


@pytest.mark.parametrize("text", ["a < b | c", "<div>[x](y)</div>", "x[INST", "a\tb\nc", "第一", "سلام", "e\u0301 👩\u200d👧"])
def test_other_text_is_shown_as_it_is(text: str) -> None:
    assert seen(text) == text


def test_control_and_tag_characters_are_made_visible_and_line_ends_are_one() -> None:
    assert seen("a\x00b\x1bc\x7fd\u0085e\U000e0041") == "a\ufffdb\ufffdc\ufffdd\ufffde\ufffd"
    assert seen("a\r\nb\rc") == "a\nb\nc"


@given(texts)
def test_showing_twice_changes_nothing_more(text: str) -> None:
    assert seen(seen(text)) == seen(text)


def test_a_conversation_names_who_speaks() -> None:
    said = messages(
        [*message_list("system", "Be kind."), *message_list("user", "Hi\nyou", name="Ann")],
        message_list("assistant", "", tool_calls='[{"f": 1}]', reasoning_content="secret"),
        [],
        None,
    )
    assert pl.DataFrame(said).select(conversation_text("said")).to_series().to_list() == [
        "[system]\nBe kind.\n\n[user Ann]\nHi\nyou",
        '[assistant]\n\n[tool calls]\n[{"f": 1}]',
        "",
        "",
    ]


def test_an_answer_of_one_plain_message_is_its_content() -> None:
    said = messages(
        message_list("assistant", "Yes."),
        message_list("assistant", ""),
        message_list("assistant", "", tool_calls="[]"),
        [*message_list("assistant", "a"), *message_list("tool", "b")],
        [],
    )
    assert pl.DataFrame(said).select(answer_text("said")).to_series().to_list() == [
        "Yes.",
        "",
        "[assistant]\n\n[tool calls]\n[]",
        "[assistant]\na\n\n[tool]\nb",
        "",
    ]
