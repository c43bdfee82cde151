"""Sentences that name the label are no reasons."""

import polars as pl
import pytest

from pipeline.rationale.label import names_label, without_label


def parted(text: str) -> tuple[bool, str | None]:
    return pl.select(named=names_label(pl.lit(text)), left=without_label(pl.lit(text))).row(0)


@pytest.mark.parametrize(
    "text",
    [
        "The chosen response is clearly better.",
        "The chosen response is better because the winner is the chosen response.",
        "Overall, the rejected response was worse than the other.",
        "I would prefer the chosen response.",
        "The winner is the chosen response.",
        "Its length makes it the better choice.",
        "The chosen response wins.",
        "Most annotators preferred it.",
        "The preferred response is short.",
        "The chosen response更好。",
    ],
)
def test_a_sentence_that_names_the_label_is_left_out_and_nothing_stays(text: str) -> None:
    assert parted(text) == (True, None)


@pytest.mark.parametrize(
    "text",
    [
        "The chosen response is better structured and cites 3.5 sources.",
        "The rejected response gives the wrong year, 1820, and no source.",
        "The chosen response offers a better explanation of the second step.",
        "The rejected response tells users which of three chargers they should buy.",
    ],
)
def test_a_reason_stays_whole(text: str) -> None:
    assert parted(text) == (False, text)


def test_only_the_sentences_that_name_the_label_go() -> None:
    text = "The chosen response names 1815, e.g. in its title.\nTherefore the chosen response wins! The rejected response stops early."

    assert parted(text) == (True, "The chosen response names 1815, e.g. in its title.\nThe rejected response stops early.")


def test_a_reason_in_the_sentence_that_names_the_label_stays() -> None:
    """Of 923 verdicts with reasons by GPT-3.5 (PandaLM, 2023), a quarter is one such sentence."""
    text = "Overall, the chosen response is better than the rejected response because it names the year."

    assert parted(text) == (True, "Overall, the chosen response: it names the year.")
