"""Lengths, with gap and ratio."""

import polars as pl
import pytest

from pipeline.errors import SchemaError
from pipeline.signals.lengths import add_lengths


def pair(chosen: list[str], rejected: list[str]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "chosen": [[{"role": "assistant", "content": c} for c in chosen]],
            "rejected": [[{"role": "assistant", "content": c} for c in rejected]],
            "chosen_text": ["c" if any(chosen) else None],
            "rejected_text": ["r" if any(rejected) else None],
        },
        schema_overrides={"chosen_text": pl.String, "rejected_text": pl.String},
    )


def test_gap_is_chosen_less_rejected_and_ratio_shorter_by_longer() -> None:
    tokens = pl.DataFrame({"text_id": ["r", "c"], "tokens": [4, 1]})

    row = add_lengths(pair(["héé"], ["abcd", "e"]), tokens).row(0, named=True)

    assert (row["chosen_chars"], row["rejected_chars"], row["chars_gap"], row["chars_ratio"]) == (3, 6, -3, 0.5)  # "abcd\ne"
    assert (row["chosen_tokens"], row["rejected_tokens"], row["tokens_gap"], row["tokens_ratio"]) == (1, 4, -3, 0.25)


def test_two_empty_answers_have_ratio_one() -> None:
    tokens = pl.DataFrame(schema={"text_id": pl.String, "tokens": pl.Int32})

    row = add_lengths(pair([""], [""]), tokens).row(0, named=True)

    assert (row["chars_ratio"], row["tokens_ratio"], row["chars_gap"]) == (1.0, 1.0, 0)


def test_one_empty_answer_has_ratio_zero() -> None:
    tokens = pl.DataFrame({"text_id": ["r", "c"], "tokens": [7, 9]})

    assert add_lengths(pair(["abc"], [""]), tokens)["chars_ratio"].to_list() == [0.0]


def test_an_answer_without_a_token_count_is_an_error() -> None:
    with pytest.raises(SchemaError, match="1 rejected answers have no token count, the first is r"):
        add_lengths(pair(["a"], ["b"]), pl.DataFrame({"text_id": ["c"], "tokens": [1]}))


def test_two_token_counts_for_a_text_are_an_error() -> None:
    with pytest.raises(SchemaError, match="more than one token count"):
        add_lengths(pair(["a"], ["b"]), pl.DataFrame({"text_id": ["c", "c", "r"], "tokens": [1, 2, 3]}))
