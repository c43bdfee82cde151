import re
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.prompts import shorten
from pipeline.prompts.shortening import LEAST
from pipeline.prompts.template import parse_template
from pipeline.stage import StageResult

TEMPLATE = parse_template("x", "---\nversion: 1\nmax_output_tokens: 9\n---\n# user\n{{p}}\n{{a}}\n{{b}}\n{{c}}")
BESIDE = len("\n\n\n") + 32 + 4 * 50  # the template's text, a message's frame and four fences, in bytes
NOTE = re.compile(r"\[\.\.\. (\d+) characters left out \.\.\.\]")
ALPHABET = "".join(chr(ord("a") + i) for i in range(26))


def text(chars: int, alphabet: str = ALPHABET) -> str:
    return (alphabet * (chars // len(alphabet) + 1))[:chars]


def fitted(*given: tuple[str, str, str, str | None], room: int, **settings: Any) -> StageResult:
    """Of questions for whose data there are `room` bytes, or up to 2 less, because a token is taken for 3."""
    rows = pl.DataFrame(given, schema=dict.fromkeys("pabc", pl.String), orient="row").with_row_index("row")
    tokens = (room + BESIDE) // 3 + 100
    stated: dict[str, Any] = {"prompt": "p", "answers": ["a", "b"], "others": ["c"], "context_tokens": tokens, "max_output_tokens": 100}
    return shorten(rows, TEMPLATE, **(stated | settings))


def sizes(result: StageResult) -> list[int]:
    return [len(value.encode()) for value in result.kept.select("p", "a", "b").row(0)]


def test_what_fits_stays_as_it_is() -> None:
    given = (text(300), text(500), text(420), "c" * 42)
    result = fitted(given, room=1262)
    assert result.kept.rows() == [(0, *given, False)]
    assert result.dropped.is_empty()


def test_the_prompt_loses_its_middle_first() -> None:
    p, a, b = text(900), text(500), text(300)
    result = fitted((p, a, b, None), room=1562)
    short = result.kept["p"][0]
    head, tail = NOTE.split(short)[::2]

    assert result.kept.select("a", "b", "shortened").rows() == [(a, b, True)]
    assert p.startswith(head.removesuffix("\n"))
    assert p.endswith(tail.removeprefix("\n"))
    assert abs(len(head) - len(tail)) <= 1
    assert len(short) <= 762
    assert int(NOTE.findall(short)[0]) == 900 - len(head) - len(tail) + 2


def test_then_both_answers_are_cut_to_one_common_length() -> None:
    result = fitted((text(4000), text(3000), text(2000), None), room=2001)
    p, a, b = sizes(result)
    # A quarter of the room for the prompt, half of the rest for each answer.
    assert 440 <= p <= 500
    assert a == b
    assert 734 <= a <= 750
    for name, whole in (("a", text(3000)), ("b", text(2000))):
        head = NOTE.split(result.kept[name][0])[0].removesuffix("\n")
        assert whole.startswith(head)
        assert int(NOTE.findall(result.kept[name][0])[0]) == len(whole) - len(head)


def test_an_answer_within_the_common_length_stays_whole() -> None:
    result = fitted((text(200), text(3000), text(400), None), room=2001)
    assert result.kept["b"][0] == text(400)
    p, a, b = sizes(result)
    assert 1984 <= p + a + b <= 2001


def test_one_answer_alone_has_all_the_room() -> None:
    result = fitted((text(200), text(3000), "", None), room=2001, answers=["a"])
    assert 1784 <= sizes(result)[1] <= 1801


def test_what_cannot_be_compared_any_more_is_refused_with_the_numbers() -> None:
    few = fitted((text(100), text(800), text(800), text(600)), room=1200)
    assert few.kept.is_empty()
    assert few.kept.columns == ["row", "p", "a", "b", "c", "shortened"]
    assert few.dropped["reason"].to_list() == ["too_long"]
    assert few.dropped["detail"][0].startswith("2300 bytes of text beside 235 of the template; ")
    assert few.dropped["a"][0] == text(800)


def test_nothing_is_cut_where_cutting_is_not_wanted() -> None:
    result = fitted((text(100), text(300), text(300), None), (text(1), text(2), text(3), None), room=600, too_long="refuse")
    assert result.kept["row"].to_list() == [1]
    assert result.dropped["row"].to_list() == [0]


@pytest.mark.parametrize("too_long", ["shorten", "refuse"])
def test_without_a_limit_everything_fits(too_long: str) -> None:
    given = (text(9000), text(9000), text(9000), text(9000))
    result = fitted(given, room=1200, context_tokens=None, too_long=too_long)
    assert result.kept.rows() == [(0, *given, False)]


def test_a_context_smaller_than_the_answer_takes_no_question() -> None:
    assert fitted(("", "", "", None), room=1200, context_tokens=50).dropped.height == 1


pieces = st.builds(text, st.integers(0, 3000), st.sampled_from([ALPHABET, "ä", "aé日😀", "第一个", "x\n"]))


@given(st.lists(st.tuples(pieces, pieces, pieces, st.none() | pieces), max_size=4), st.integers(0, 6000))
def test_every_question_fits_or_is_refused_and_no_row_or_order_of_answers_changes_that(
    given: list[tuple[str, str, str, str | None]], room: int
) -> None:
    result = fitted(*given, room=room)

    assert sorted([*result.kept["row"], *result.dropped["row"]]) == list(range(len(given)))
    for row, p, a, b, c, shortened in result.kept.iter_rows():
        assert sum(len(said.encode()) for said in (p, a, b, c or "")) <= room
        assert shortened == ((p, a, b) != given[row][:3])
        cut = [said for said, whole in zip((a, b), given[row][1:3], strict=True) if said != whole]
        # One common length: whatever was cut is as long as the other, but for the note's digits and a character.
        assert all(len(said.encode()) + 16 >= max(len(a.encode()), len(b.encode()), LEAST - 16) for said in cut)
    other = fitted(*((p, b, a, c) for p, a, b, c in given), room=room)
    assert other.kept.rename({"a": "b", "b": "a"}).select(result.kept.columns).equals(result.kept)
    alone = pl.concat([fitted(one, room=room).kept.select("p", "a", "b") for one in given] or [result.kept.select("p", "a", "b")])
    assert alone.equals(result.kept.select("p", "a", "b"))
