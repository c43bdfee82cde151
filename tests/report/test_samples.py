"""Pairs side by side: nothing is lost, and marks stand where texts differ."""

import re
from html import unescape

from hypothesis import given
from hypothesis import strategies as st

from pipeline.report.markup import visible
from pipeline.report.samples import COMPARED_WORDS, marked

TEXT = st.text(alphabet=st.sampled_from("ab <&>\n\u202e.é"), max_size=80)


def plain(html: str) -> str:
    return unescape(re.sub("<[^>]*>", "", html))


@given(left=TEXT, right=TEXT)
def test_marks_change_no_text(left: str, right: str) -> None:
    first, second, _ = marked(left, right)
    assert (plain(first), plain(second)) == (visible(left), visible(right))


@given(left=TEXT, right=TEXT)
def test_what_is_not_marked_stands_on_both_sides(left: str, right: str) -> None:
    first, second, _ = marked(left, right)
    if "<mark" in first + second:
        assert unmarked(first) == unmarked(second)


def unmarked(html: str) -> str:
    return re.sub(r"\s", "", plain(re.sub("<mark.*?</mark>", "", html, flags=re.DOTALL)))


def test_words_that_the_other_side_lacks_are_marked() -> None:
    first, second, note = marked("The cat sat down.", "The dog sat down now.")
    assert first == 'The <mark class="ins">cat</mark> sat down.'
    assert second == 'The <mark class="del">dog</mark> sat down<mark class="del"> now</mark>.'
    assert note == ""


def test_texts_that_share_little_or_are_the_same_have_no_marks() -> None:
    assert marked("One two three four five.", "Quite another answer, isn't it?")[2] == ""
    assert "<mark" not in "".join(marked("One two three four five.", "Quite another answer, isn't it?"))
    assert marked("same <b>", "same <b>") == ("same &lt;b&gt;", "same &lt;b&gt;", "Both are the same.")
    assert marked("", "a")[:2] == ("", "a")


def test_very_long_texts_are_not_compared_and_say_so() -> None:
    long = "a b " * COMPARED_WORDS
    assert marked(long, long + "c")[2] == "Too long to mark differences."
