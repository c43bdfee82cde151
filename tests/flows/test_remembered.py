"""What is worked out once is read from then on, and is the same."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from flows import remembered
from pipeline.dedup import lexical
from pipeline.signals import equivalence, truncation
from pipeline.stage import bucket_of
from tests.fakes import WordEncoder

WORDS = ["the", "cat", "sat", "on", "a", "mat", "not"]


class Counting(WordEncoder):
    """Shows its tokens, as rows of a small table, and counts the texts whose tokens were asked for."""

    def __init__(self, name: str = "fake") -> None:
        super().__init__(name)
        self.asked = 0

    def token_table(self) -> np.ndarray:
        return np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)

    def token_ids(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        self.asked += len(texts)
        ids, offsets = super().token_ids(texts)
        return ids % 64, offsets


@pytest.fixture
def place(tmp_path: Path) -> str:
    return str(tmp_path / "store")


def hexed(number: int) -> str:
    return f"{number * 37 % 256:02x}{number:030x}"


def said(text: str) -> list[dict[str, Any]]:
    return [{"role": "assistant", "content": text}]


def pairs_of(*numbers: int) -> pl.DataFrame:
    texts = [" ".join(WORDS[(n + k) % len(WORDS)] for k in range(n % 5)) for n in range(40)]
    rows = [
        {
            "pair_id": hexed(n),
            "prompt_id": hexed(n),
            "prompt": said(texts[n + 1]),
            "chosen": said(texts[n]),
            "rejected": said(texts[2 * n % 40]),
        }
        for n in numbers
    ]
    return pl.DataFrame(rows)


def swapped(pairs: pl.DataFrame) -> pl.DataFrame:
    return pairs.rename({"chosen": "rejected", "rejected": "chosen"}).select(pairs.columns)


COLUMNS: list[tuple[Callable[..., pl.DataFrame], Callable[..., pl.DataFrame]]] = [
    (remembered.add_bmas, equivalence.add_bmas),
    (remembered.add_token_counts, truncation.add_token_counts),
]


@pytest.mark.parametrize(("kept", "worked_out"), COLUMNS)
def test_pairs_get_what_is_worked_out_and_only_new_ones_cost_anything(
    place: str, kept: Callable[..., pl.DataFrame], worked_out: Callable[..., pl.DataFrame]
) -> None:
    encoder = Counting()

    assert_frame_equal(kept(place, pairs_of(5, 3, 8), encoder), worked_out(pairs_of(5, 3, 8), Counting()))
    before, encoder.asked = encoder.asked, 0
    assert before > 0
    assert_frame_equal(kept(place, pairs_of(8, 3), encoder), worked_out(pairs_of(8, 3), Counting()))
    assert_frame_equal(kept(place, swapped(pairs_of(8, 3)), encoder), worked_out(swapped(pairs_of(8, 3)), Counting()))
    assert encoder.asked == 0
    assert_frame_equal(kept(place, pairs_of(3, 9, 8), encoder), worked_out(pairs_of(3, 9, 8), Counting()))
    assert 0 < encoder.asked <= 5
    assert kept(place, pairs_of(3).clear(), encoder).columns == worked_out(pairs_of(3), Counting()).columns


def test_another_tokenizer_has_values_of_its_own(place: str) -> None:
    remembered.add_bmas(place, pairs_of(1, 2), Counting("one"))
    other = Counting("other")
    remembered.add_bmas(place, pairs_of(1, 2), other)

    assert other.asked == 4


def test_an_encoder_that_shows_no_tokens_gives_nulls_and_stores_nothing(place: str) -> None:
    assert remembered.add_bmas(place, pairs_of(1), WordEncoder())["bmas"].to_list() == [None]
    assert not Path(place).exists()


def texts_of(numbers: list[int]) -> pl.DataFrame:
    texts = [" ".join(WORDS[(n * k) % len(WORDS)] for k in range(1, 12)) for n in numbers]
    ids = [hexed(n) for n in numbers]
    return pl.DataFrame({"text_id": ids, "text": texts}, schema=dict.fromkeys(("text_id", "text"), pl.String)).with_columns(
        bucket=bucket_of("text_id")
    )


@given(first=st.lists(st.integers(0, 30), unique=True), second=st.lists(st.integers(0, 30), unique=True))
def test_bands_are_those_of_the_texts_whatever_was_stored_before(
    tmp_path_factory: pytest.TempPathFactory, first: list[int], second: list[int]
) -> None:
    place = str(tmp_path_factory.mktemp("bands"))
    for numbers in (first, second, second):
        texts = texts_of(numbers)
        assert_frame_equal(remembered.signatures(place, texts, "words"), lexical.signatures(texts, "words"))


def test_texts_with_stored_bands_are_not_cut_again(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = list[int]()
    work_out = lexical.signatures
    monkeypatch.setattr(lexical, "signatures", lambda texts, shingles: seen.append(texts.height) or work_out(texts, shingles))

    for numbers in ([1, 2, 3], [3, 2, 1], [2, 4]):
        remembered.signatures(place, texts_of(numbers), "words")
    remembered.signatures(place, texts_of([2, 4]), "characters")

    assert seen == [3, 1, 2]


def test_what_is_damaged_is_worked_out_again(place: str, caplog: pytest.LogCaptureFixture) -> None:
    whole = remembered.add_token_counts(place, pairs_of(1, 2), Counting())
    [segment] = Path(place).rglob("*.parquet")
    segment.write_bytes(segment.read_bytes()[:100])
    encoder = Counting()

    assert_frame_equal(remembered.add_token_counts(place, pairs_of(1, 2), encoder), whole)
    assert encoder.asked > 0
    assert "set aside" in caplog.text
