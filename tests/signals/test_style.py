"""Style counts, and lengths among the answers to the same prompt."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.schemas import MESSAGES_PL
from pipeline.signals.style import add_length_percentiles, add_style
from tests.builders import message

GAPS = ["markdown_gap", "citations_gap", "hedges_gap", "confidence_gap"]


def pairs_of(*answers: tuple[str, str]) -> pl.DataFrame:
    sides = {name: [[message("assistant", pair[i])] for pair in answers] for i, name in enumerate(("chosen", "rejected"))}
    return pl.DataFrame(sides, schema={"chosen": MESSAGES_PL, "rejected": MESSAGES_PL})


def count(name: str, text: str) -> int:
    value: int = add_style(pairs_of((text, "")))[f"{name}_gap"][0]
    return value


@pytest.mark.parametrize(
    ("text", "marks"),
    [
        ("# Title\n\n## Part\ntext", 2),
        ("####### seven\n#hashtag\n# ", 0),
        ("- one\n* two\n  + three\n1. four\n12) five", 5),
        ("-no blank\n3.5 is a number\n2024. A year", 0),
        ("A **bold** word, **two words**; 2 ** 3 ** 4, __init__ and *italics*", 2),
        ("See:\n```python\n# no heading\n- no item\nx = 2**3**4\n```\nDone.", 1),
        ("```\nnever closed\n# no heading", 1),
        ("```\na\n```\n```\nb\n```", 2),
        ("| a | b |\n|---|---|\n| 1 | 2 |\n", 3),
        ("true || false", 0),
        ("一、标题\n- 第一\n- 第二", 2),
        ("", 0),
    ],
)
def test_markdown_counts_headings_items_bold_blocks_and_lines_of_tables(text: str, marks: int) -> None:
    assert count("markdown", text) == marks


@pytest.mark.parametrize(
    ("text", "citations"),
    [
        ("It is known[1][2]; see also [3, 7] and [12-15].", 4),
        ("`a[1]` and\n```\nb[2]\n```\nand [0-9], [a] and [1, 2, 3, 4, 5]", 0),
        ("It holds (Smith, 2020), (see Lee et al., 2019, p. 7) and (Chen & Wu, 2021b).", 3),
        ("Smith et al. (2020), Lee and Kim (2019)", 2),
        ("Dune (1984), in (1984) or (about 20 of them, 300 in all)", 0),
        ("https://example.org/a?b=1, www.example.org and (http://example.com/x)", 3),
    ],
)
def test_citations_are_numbers_in_brackets_authors_with_a_year_and_addresses(text: str, citations: int) -> None:
    assert count("citations", text) == citations


@pytest.mark.parametrize(
    ("text", "hedges", "confidence"),
    [
        ("I think it might rain, but maybe not.", 3, 0),
        ("In May it may rain.", 1, 0),
        ("It may be so; I\u2019m not sure.", 2, 0),
        ("I'm sure. It is definitely, without a doubt, the best.", 0, 3),
        ("Clearly and always. Mighty and Cleary are names.", 0, 2),
        ("`maybe` is a function", 0, 0),
    ],
)
def test_hedges_and_confident_words_are_whole_words_outside_code(text: str, hedges: int, confidence: int) -> None:
    assert (count("hedges", text), count("confidence", text)) == (hedges, confidence)


def test_a_gap_is_chosen_less_rejected() -> None:
    assert add_style(pairs_of(("- a", "- a\n- b\nmaybe [1]"))).select(GAPS).rows() == [(-1, -1, -1, 0)]


@given(st.lists(st.tuples(*[st.text(alphabet="a #*-|`\n[1](, 2019)", max_size=40)] * 2), min_size=1, max_size=5))
@settings(max_examples=30, deadline=None)
def test_swapping_the_sides_turns_the_sign_and_neighbours_do_not_matter(texts: list[tuple[str, str]]) -> None:
    forward = add_style(pairs_of(*texts)).select(GAPS)
    backward = add_style(pairs_of(*[(b, a) for a, b in texts])).select(GAPS)
    alone = pl.concat([add_style(pairs_of(text)).select(GAPS) for text in texts])

    assert forward.rows() == backward.select(-pl.all()).rows() == alone.rows()


def lengths(*rows: tuple[str, str, str, int, int]) -> pl.DataFrame:
    names = ["prompt_id", "chosen_id", "rejected_id", "chosen_chars", "rejected_chars"]
    return add_length_percentiles(pl.DataFrame(rows, schema=names, orient="row"))


def percentiles(*rows: tuple[str, str, str, int, int]) -> list[tuple[float | None, float | None]]:
    return lengths(*rows).select("chosen_length_percentile", "rejected_length_percentile").rows()


def test_two_answers_are_the_shortest_and_the_longest() -> None:
    assert percentiles(("p", "x", "y", 5, 9), ("q", "x", "z", 5, 5)) == [(0.0, 1.0), (0.5, 0.5)]


def test_an_answer_is_ranked_among_all_answers_to_its_prompt_once() -> None:
    rows = [("p", "a", "b", 10, 30), ("p", "a", "c", 10, 20), ("p", "d", "b", 30, 30), ("q", "a", "z", 10, 1)]

    assert percentiles(*rows) == [(0.0, 2.5 / 3), (0.0, 1 / 3), (2.5 / 3, 2.5 / 3), (1.0, 0.0)]


def test_a_single_answer_has_no_percentile() -> None:
    assert percentiles(("p", "a", "a", 10, 10)) == [(None, None)]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=12))
@settings(max_examples=40, deadline=None)
def test_percentiles_are_those_of_a_slow_reference(found: list[tuple[int, int, int]]) -> None:
    rows = [(f"p{p}", f"r{a}", f"r{b}", a // 2, b // 2) for p, a, b in found]

    def reference(prompt: str, answer: str) -> float | None:
        known = {x: n for p, a, b, i, j in rows if p == prompt for x, n in ((a, i), (b, j))}
        others = [n for x, n in known.items() if x != answer]
        mine = known[answer]
        return sum((n < mine) + (n == mine) / 2 for n in others) / len(others) if others else None

    assert percentiles(*rows) == [pytest.approx((reference(p, a), reference(p, b))) for p, a, b, *_ in rows]


def test_no_pairs_give_no_signals() -> None:
    assert add_style(pairs_of()).height == 0
    assert lengths().height == 0
