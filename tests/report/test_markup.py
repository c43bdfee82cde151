"""Text from data becomes text."""

from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.report.markup import Markup, escaped, joined, number, percent, table, tag, visible, with_intervals
from tests.report.pages import Page

ANY = st.text(alphabet=st.characters(codec=None, exclude_categories=()), max_size=60)


@given(text=ANY)
def test_an_element_holds_its_text_and_nothing_else(text: str) -> None:
    html = tag("p", text, title=text)
    html.encode()
    page = Page(html.replace("\r", "\n"))

    assert [name for name, _ in page.tags] == ["p"]
    assert page.text == visible(text)
    assert page.of("p")[0]["title"] == visible(text)


@given(text=ANY)
def test_no_text_is_left_that_hides_or_turns_others(text: str) -> None:
    hidden = set(map(chr, [*range(9), *range(0x202A, 0x202F), 0x200B, 0x2066, 0x2067, 0x2068, 0x2069, 0xFEFF, 0x7F, 0x9F, 0xAD]))
    assert not hidden & set(visible(text))
    assert visible(visible(text)) == visible(text)


def test_markup_is_not_escaped_twice_and_text_once() -> None:
    assert joined(["a<b", tag("b", "c&d")]) == "a&lt;b<b>c&amp;d</b>"
    assert unescape(escaped("\"'<>&")) == "\"'<>&"
    assert escaped(Markup("<i></i>")) == "<i></i>"


def test_attributes_are_named_as_html_does_and_left_out_when_false() -> None:
    assert tag("a", href="#x", class_="c", aria_label='"', hidden=True, title=None, open=False) == (
        '<a href="#x" class="c" aria-label="&quot;" hidden></a>'
    )
    assert tag("meta", charset="utf-8") == '<meta charset="utf-8">'


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "-"), (True, "yes"), (False, "no"), (1234567, "1,234,567"), (0.123456, "0.1235"), (12345.678, "12,346"),
        (float("nan"), "nan"), (float("inf"), "inf"), (["a", 1], "a, 1"), ([], "-"), ("x" * 301, "x" * 300 + " ..."),
    ],
)  # fmt: skip
def test_values_are_told_short(value: object, told: str) -> None:
    assert number(value) == told


def test_a_share_is_told_in_percent() -> None:
    assert (percent(0.1234), percent(None)) == ("12.3 %", "-")


def test_an_interval_stands_behind_its_value() -> None:
    rows = [
        {"source": "s", "tie_share": 0.5, "tie_low": 0.25, "tie_high": 0.75, "gap": 1.0, "lowest_score": 3, "n": 2},
        {"source": "t", "tie_share": None, "tie_low": None, "tie_high": None, "gap": 2.0, "lowest_score": 3, "n": 2},
    ]
    assert with_intervals(rows) == [
        {"source": "s", "tie_share": "0.5 (0.25 to 0.75)", "gap": 1.0, "lowest_score": 3, "n": 2},
        {"source": "t", "tie_share": None, "gap": 2.0, "lowest_score": 3, "n": 2},
    ]


def test_a_table_leaves_out_columns_without_values_and_marks_numbers() -> None:
    html = table([{"source": "s", "share": 0.5, "note": None}, {"source": None, "share": None, "note": None}], "One row is one source")
    assert "<caption>One row is one source</caption>" in html
    assert '<th scope="col">source</th><th scope="col" class="n">share</th>' in html
    assert '<tr><th scope="row">s</th><td class="n">0.5</td></tr><tr><th scope="row">-</th><td class="n">-</td></tr>' in html
    assert "note" not in html
    assert table([], "x") == '<p class="none">None.</p>'
