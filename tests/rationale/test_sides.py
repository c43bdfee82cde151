"""Letters become sides, and sides letters; what may be something else stays and is told."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.rationale.sides import has_letters, names_letter, names_place, show_sides, undo_order

ANSWERS = st.sampled_from(
    ["Response A", "Response B", "**Response B**", "Response A's tone", "Responses A and B", "(Response B)", "Answer A"]
)
WORDS = st.sampled_from(["is clear.", "cites 1969, while", "fails\n-", "", 'says "no" twice;', "and", "更好。", "B12 helps:"])


def undone(text: str, chosen_first: bool = True, lettered: bool = False) -> str:
    return pl.select(undo_order(pl.lit(text), pl.lit(chosen_first), pl.lit(lettered))).item()


def told(text: str, lettered: bool = False) -> bool:
    return pl.select(names_letter(pl.lit(text), pl.lit(lettered))).item()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Response A is clear; Response B is not.", "The chosen response is clear; the rejected response is not."),
        ("It helps that Response A's list is short.", "It helps that the chosen response's list is short."),
        ("Both Responses A and B name it.", "Both the chosen response and the rejected response name it."),
        ("Responses A/B differ.", "The chosen response/the rejected response differ."),
        ("The Response B misses it.", "The rejected response misses it."),
        ("- **Response A**: right\n- Response (B): wrong", "- **The chosen response**: right\n- The rejected response: wrong"),
        ("1. Answer A cites.\n2. Assistant B guesses.", "1. The chosen response cites.\n2. The rejected response guesses."),
        ("Option A is right where (B) is wrong.", "The chosen response is right where (the rejected response) is wrong."),
        ("A is clear, whereas B's tone is off.", "The chosen response is clear, whereas the rejected response's tone is off."),
        ("One prefers A over B.", "One prefers the chosen response over the rejected response."),
        ("Response A更好、Response B不好", "The chosen response更好、the rejected response不好"),
        ("A good start, and vitamin B is named in response.", "A good start, and vitamin B is named in response."),
    ],
)  # fmt: skip
def test_letters_become_the_sides_they_stood_for(text: str, wanted: str) -> None:
    assert undone(text)[0].upper() + undone(text)[1:] == wanted


def test_the_other_order_gives_the_other_sides() -> None:
    assert undone("Response A is clear.", chosen_first=False) == "The rejected response is clear."


def test_options_of_the_question_stay_what_they_are() -> None:
    text = "Response A picks Option B, as (B) is Paris."

    assert undone(text, lettered=True) == "The chosen response picks Option B, as (B) is Paris."
    assert not told(undone(text, lettered=True), lettered=True)


@pytest.mark.parametrize(
    ("data", "lettered"),
    [
        ("Pick one:\nA) Rome\nB) Paris", True),
        ("Is option B cheaper?", True),
        ("Which vitamin B helps?", True),
        ("A big question: why?", False),
    ],
)
def test_data_with_options_is_told(data: str, lettered: bool) -> None:
    assert pl.select(has_letters(pl.lit(data))).item() is lettered


@pytest.mark.parametrize("text", ["I like A more, B less.", "A and B differ.", "One sees B's bias.", "So candidate B"])
def test_letters_that_may_be_something_else_stay_or_are_undone(text: str) -> None:
    left = undone(text)
    assert told(left) or "rejected response" in left


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("The first answer is right.", True),
        ("Response 2 is wrong.", True),
        ("The answer above explains it.", True),
        ("The latter is wrong.", True),
        ("前者更准确", True),
        ("The chosen response first lists two steps; the second one is wrong.", False),
        ("The former president answers.", False),
    ],
)
def test_names_by_place_are_told(text: str, place: bool) -> None:
    assert pl.select(names_place(pl.lit(text))).item() is place


@given(parts=st.lists(st.tuples(ANSWERS, WORDS), max_size=8))
def test_a_swap_of_letters_and_order_changes_no_text(parts: list[tuple[str, str]]) -> None:
    """The same answer, written about the same two texts shown the other way round."""
    other = {"A": "B", "B": "A"}

    def swap(name: str) -> str:
        return "".join(other[c] if c in other and name[max(i - 1, 0)] == " " else c for i, c in enumerate(name))

    text = " ".join(f"{name} {words}" for name, words in parts)
    swapped = " ".join(f"{swap(name)} {words}" for name, words in parts)

    assert undone(text) == undone(swapped, chosen_first=False)


@given(parts=st.lists(st.tuples(st.sampled_from(["the chosen response", "the rejected response"]), WORDS), max_size=6), first=st.booleans())
def test_what_is_shown_with_letters_comes_back_as_it_was(parts: list[tuple[str, str]], first: bool) -> None:
    text = undone(" ".join(f"{name} {words}" for name, words in parts))

    shown = pl.select(show_sides(pl.lit(text), pl.lit(first))).item()

    assert "chosen" not in shown
    assert "rejected" not in shown
    assert undone(shown, chosen_first=first) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("The chosen answer cites sources, the rejected one does not.", "Response A cites sources, Response B does not."),
        ("Chosen response is longer than the rejected reply.", "Response A is longer than Response B."),
    ],
)
def test_sides_are_hidden_by_whatever_noun_they_are_called(text: str, shown: str) -> None:
    assert pl.select(show_sides(pl.lit(text), pl.lit(True))).item() == shown


@pytest.mark.parametrize(
    "text", ["In A, all is right.", "It is short. In B it is not.", "*A*: clear. *B*: no.", "It says what B gives.", "A: so.\nB: not."]
)
def test_a_letter_that_stands_alone_is_seen(text: str) -> None:
    assert told(text)


@pytest.mark.parametrize("text", ["In a word: clear.", "A clear answer to what was asked.", "It names vitamin B6 and plan 9."])
def test_what_only_looks_like_a_letter_is_not(text: str) -> None:
    assert not told(text)
