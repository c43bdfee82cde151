import re

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.llm.tables import SAID
from pipeline.prompts import render
from pipeline.prompts.data import BREAK
from pipeline.prompts.template import parse_template
from tests.prompts.texts import texts

TEMPLATE = parse_template(
    "x",
    "---\nversion: 1\nmax_output_tokens: 9\n---\n# system\nData: {{mark}}.\n# user\n"
    "{{context|It depends on:}}\nA:\n{{a}}\nB:\n{{b}}\n{{word}}!",
)
SLOTS = {name: pl.col(name) for name in ("context", "a", "b")}


def rendered(rows: pl.DataFrame, word: pl.Expr | str = "Go") -> list[tuple[str, str]]:
    said = render(rows, TEMPLATE, SLOTS, {"word": word})
    assert said.dtype == SAID
    assert said.name == "messages"
    for one in said.to_list():
        assert [message["role"] for message in one] == ["system", "user"]
    return [(one[0]["content"], one[1]["content"]) for one in said.to_list()]


def rows(*given: tuple[str | None, str, str]) -> pl.DataFrame:
    return pl.DataFrame(given, schema=dict.fromkeys(("context", "a", "b"), pl.String), orient="row")


def test_data_stands_in_fences_with_the_mark_that_the_system_message_names() -> None:
    ((system, user),) = rendered(rows(("law", "yes", "")))
    mark = system.removeprefix("Data: ").removesuffix(".")

    assert re.fullmatch("[0-9a-f]{16}", mark)

    def fenced(text: str) -> str:
        return f"<<<DATA {mark}\n{text}\nDATA {mark}>>>"

    assert user == f"It depends on:\n{fenced('law')}\nA:\n{fenced('yes')}\nB:\n{fenced('')}\nGo!"


def test_where_there_is_no_data_neither_caption_nor_line_is_left() -> None:
    ((_, user),) = rendered(rows((None, "x", "y")))
    assert user.startswith("A:\n<<<DATA ")


@given(st.lists(st.tuples(st.none() | texts, texts, texts), max_size=4))
def test_whatever_the_data_say_each_is_found_between_its_own_fences_and_nothing_else_is(given: list[tuple[str | None, str, str]]) -> None:
    said = rendered(rows(*given))
    assert len(said) == len(given)
    for (system, user), (context, *_) in zip(said, given, strict=True):
        mark = system.removeprefix("Data: ").removesuffix(".")
        pieces = re.split(f"<<<DATA {mark}\n|\nDATA {mark}>>>", user)
        assert pieces[::2] == [*(["It depends on:\n", "\nA:\n"] if context is not None else ["A:\n"]), "\nB:\n", "\nGo!"]
        assert len(pieces) == (7 if context is not None else 5)


@given(texts, texts)
def test_ordinary_text_comes_through_as_it_is(a: str, b: str) -> None:
    plain = [re.sub(r"[^\w\s.,;!?{}%$#`'\"-]|[\x00-\x08\x0b-\x1f\x7f-\x9f]", "", text) for text in (a, b)]
    ((_, user),) = rendered(rows((None, *plain)))
    assert re.findall(r"<<<DATA \w+\n(.*?)\nDATA \w+>>>", user, re.DOTALL) == plain


def test_a_row_does_not_depend_on_the_others_and_the_mark_depends_on_all_its_data() -> None:
    many = rows((None, "x", "y"), (None, "y", "x"), ("c", "x", "y"), (None, "xy", ""), (None, "x", "y"))
    said = rendered(many)
    assert [rendered(many[i])[0] for i in range(5)] == said
    assert said[0] == said[4]
    assert len({system for system, _ in said}) == 4


def test_words_are_ours_and_stand_as_they_are() -> None:
    told = rendered(rows((None, "x", "y"), (None, "x", "y")).with_columns(w=pl.Series(["<s>", "b"])), pl.col("w"))
    assert [user.rpartition("\n")[2] for _, user in told] == ["<s>!", "b!"]


def test_a_slot_that_is_not_filled_or_not_there_is_an_error() -> None:
    some = rows((None, "x", "y"))
    with pytest.raises(ValueError, match=r"given \['a'\]; expected each of \['a', 'b', 'context', 'word'\] once"):
        render(some, TEMPLATE, {"a": pl.col("a")})
    with pytest.raises(ValueError, match="expected each of"):
        render(some, TEMPLATE, {**SLOTS, "word": pl.col("a")}, {"word": "x"})
    with pytest.raises(ValueError, match="word is null"):
        render(some, TEMPLATE, SLOTS, {"word": pl.lit(None, pl.String)})


def test_no_rows_make_no_messages() -> None:
    assert rendered(rows()) == []


def test_turn_marks_are_broken_within_data() -> None:
    ((_, user),) = rendered(rows((None, "<|im_end|>", "</s>")))
    assert f"<{BREAK}|im_end|>" in user
    assert f"<{BREAK}/s>" in user
