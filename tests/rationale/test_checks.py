"""What a rationale must be, told without another model."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.config import RationalesConfig
from pipeline.rationale.checks import check, near_copies_texts, settle_copies
from tests.rationale.written import GOOD, draft, drafts, pair, pairs

CONFIG = RationalesConfig()
PROMPT = "Please write down for me in which year the novel Emma by Jane Austen was first published in London."
CHOSEN = "Emma was first published in December 1815, by John Murray in London, in three volumes, though dated 1816 on the title page."
REJECTED = "I cannot say for certain when that novel came out, but it was probably around 1820, like most of her books were."
ALL = pairs(pair(PROMPT, CHOSEN, REJECTED))


def checked(text: str, **fields: Any) -> dict[str, Any]:
    return check(drafts(draft(text, **fields)), ALL, CONFIG).row(0, named=True)


def reason(text: str, **fields: Any) -> str | None:
    row = checked(text, **fields)
    assert row["accepted"] is (row["reason"] is None)
    return row["reason"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (GOOD, None),
        ("I'm sorry, but I can't compare these responses for you today.", "refused"),
        ("As an AI language model, I have no preference between the responses.", "refused"),
        ("The rejected response only says \"I cannot say for certain when that novel came out\".", None),
        ("<<<DATA 0123456789abcdef The chosen response is right and says so.", "boilerplate"),
        ("It is right.", "too_short"),
        ("The chosen response is right. " * 200, "too_long_text"),
        ("The first answer gives the year while the second answer guesses.", "names_a_side"),
        ("The chosen response is better. I prefer the chosen response overall.", "only_the_label"),
        (PROMPT, "copies_prompt"),
        (CHOSEN, "copies_answer"),
        ("The rejected response: " + REJECTED, "copies_answer"),
        ("The chosen response says \"published in December 1815, by John Murray\", which is right.", None),
        ("The chosen response says “PUBLISHED   in **December** 1815” and the rejected response does not.", None),
        ("The chosen response says \"Emma was first published ... in three volumes, though dated 1816\".", None),
        ("The rejected response says \"it came out in the year 1820\", which is a guess.", "quote_not_found"),
        ("The prompt asks \"in which year the novel Emma\" came out, and the chosen response says it.", None),
        ("The chosen response is 5\" wide, and the rejected response says \"probably around 1820, like most\".", None),
    ],
)  # fmt: skip
def test_each_text_is_accepted_or_has_its_reason(text: str, why: str | None) -> None:
    assert reason(text) == why


def test_a_copy_is_told_with_its_share_and_a_missing_quote_with_its_words() -> None:
    assert checked(CHOSEN)["detail"] == "1.0 of its word 5-grams"
    assert checked('It says "seven words that stand nowhere in it" twice.')["detail"] == '"seven words that stand nowhere in it"'


def test_a_rationale_that_names_the_label_beside_a_reason_is_flagged_and_stays() -> None:
    row = checked("The chosen response is better. It gives the year, while the rejected response guesses.")

    assert (row["accepted"], row["leaks_label"]) == (True, True)
    assert checked(GOOD)["leaks_label"] is False


def test_another_script_than_the_answers_is_told_and_nothing_else() -> None:
    row = checked("这个回答给出了正确的年份和出版社，而另一个回答只是随便猜测了一个年份，没有说明来源，也不完整，而且语气不确定。")  # noqa: RUF001

    assert (row["accepted"], row["detail"]) == (True, "another script than the answers")


def test_what_was_refused_before_and_measured_factors_stay_as_they_are() -> None:
    given_rows = drafts(draft("x", reason="not_json", detail="why"), draft("short", kind="factors"))

    assert_frame_equal(check(given_rows, ALL, CONFIG), given_rows)


def test_rubrics_and_checklists_argue_for_no_side() -> None:
    text = "The rejected response is better on tone, and the chosen response is better."

    assert reason(text, kind="rubric") is None
    assert checked(text, kind="checklist")["leaks_label"] is None


@given(order=st.permutations(range(4)))
def test_neither_order_nor_company_changes_a_row(order: list[int]) -> None:
    texts = [GOOD, CHOSEN, 'It says "seven words that stand nowhere in it" twice.', "It is right."]
    rows = drafts(*(draft(text, number) for number, text in enumerate(texts)))
    every = pairs(*(pair(PROMPT, CHOSEN, REJECTED) for _ in texts))

    together = check(rows[order], every, CONFIG).sort("pair_id")

    assert_frame_equal(together, pl.concat([check(rows[i], every[i], CONFIG) for i in range(4)]))


def test_what_is_said_of_three_other_prompts_is_refused() -> None:
    rows = drafts(draft(number=0), draft(number=1), draft(number=2), draft(number=3, reason="refused"))
    ids = rows["rationale_id"]

    settled = settle_copies(rows, pl.DataFrame({"rationale_id": ids[[0, 1, 3]], "near_copies": [3, 2, 9]}))

    assert settled.select("accepted", "reason", "near_copies").rows() == [
        (False, "near_copy", 3), (True, None, 2), (True, None, 0), (False, "refused", 9),
    ]  # fmt: skip
    assert near_copies_texts(settled).rows() == sorted(rows.select("rationale_id", "prompt_id", "text").rows()[1:3])
