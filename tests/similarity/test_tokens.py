"""BMAS, against its definition in plain Python."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.similarity import tokens
from pipeline.similarity.tokens import bmas

TABLE = np.array([[1, 0], [0, 1], [0.6, 0.8], [-2, 0], [0, 0]], dtype=np.float32)
RANDOM = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)


def flat(texts: list[list[int]]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    return np.array([token for text in texts for token in text], dtype=np.int32), np.cumsum([0, *map(len, texts)])


def scores(left: list[list[int]], right: list[list[int]], table: npt.NDArray[np.float32] = TABLE) -> list[float]:
    return list(bmas(*flat(left), *flat(right), table))


def slow_bmas(left: list[int], right: list[int], table: npt.NDArray[np.float32]) -> float:
    def cosine(a: int, b: int) -> float:
        one, other = table[a].astype(np.float64), table[b].astype(np.float64)
        return float(one @ other / np.sqrt((one @ one) * (other @ other)))

    def mean(ones: list[int], others: list[int]) -> float:
        return sum(max(cosine(a, b) for b in others) for a in ones) / len(ones)

    return (mean(left, right) + mean(right, left)) / 2


def test_the_example_of_the_methods_reference() -> None:
    assert scores([[0, 1]], [[0, 2, 1]]) == pytest.approx([0.966667], abs=2e-4)  # (0.6, 0.8) is rounded to fp16


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ([0, 1], [1, 0], 1.0),  # sets: order says nothing
        ([0, 0, 0, 1], [0], (0.75 + 1) / 2),  # a repeated token counts as often as it stands
        ([0], [3], -1.0),
        ([0], [1], 0.0),
        ([2], [2], 1.0),
    ],
)
def test_scores_by_hand(left: list[int], right: list[int], expected: float) -> None:
    assert scores([left], [right]) == [expected]


def test_a_text_without_tokens_has_no_score() -> None:
    found = scores([[], [0], [0]], [[0], [], [0]])

    assert np.isnan(found[:2]).all()
    assert found[2] == 1.0
    assert scores([], []) == []
    assert np.isnan(scores([[]], [[]])).all()


texts = st.lists(st.integers(0, 49), min_size=1, max_size=12)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=8))
def test_scores_are_those_of_the_definition_and_do_not_depend_on_sides_or_neighbours(pairs: list[tuple[list[int], list[int]]]) -> None:
    left, right = [one for one, _ in pairs], [other for _, other in pairs]

    found = scores(left, right, RANDOM)

    assert found == pytest.approx([slow_bmas(one, other, RANDOM) for one, other in pairs], abs=1e-3)
    assert found == scores(right, left, RANDOM)
    assert found == [scores([one], [other], RANDOM)[0] for one, other in pairs]
    assert found == scores(left[::-1], right[::-1], RANDOM)[::-1]
    assert scores(left, left, RANDOM) == [1.0] * len(pairs)


def test_scores_do_not_depend_on_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    left, right = ([rng.integers(0, 50, rng.integers(0, 30)).tolist() for _ in range(60)] for _ in range(2))
    whole = scores(left, right, RANDOM)

    monkeypatch.setattr(tokens, "_BLOCK_NUMBERS", 300)

    assert np.array_equal(scores(left, right, RANDOM), whole, equal_nan=True)


def test_only_the_first_tokens_of_a_long_text_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MAX_TOKENS", 2)

    assert scores([[0, 0, 1], [1]], [[0], [1, 1, 3]]) == [1.0, 1.0]


def test_what_is_wrong_is_named() -> None:
    with pytest.raises(ValueError, match="1 left texts, 2 right texts"):
        scores([[0]], [[0], [1]])
    with pytest.raises(ValueError, match="token ids from 0 to 5; expected rows of a table of 5"):
        scores([[0]], [[5]])
    with pytest.raises(ValueError, match="token embeddings: row 1 is not finite"):
        scores([[0]], [[1]], np.array([[1, 0], [np.nan, 1]], dtype=np.float32))


def test_a_token_without_a_direction_does_not_count() -> None:
    assert scores([[4, 0, 4], [4], [0]], [[0], [0], [4, 3]], TABLE)[::2] == [1.0, -1.0]
    assert np.isnan(scores([[4], [0]], [[0], [4]])).all()


def test_the_longest_sums_are_exact() -> None:
    """Equal numbers in every dimension: the products of a row with itself are as large as they get, with one sign."""
    for dimensions in (1, 2, 384, 4096):
        table = np.stack([np.ones(dimensions), -np.ones(dimensions), np.arange(1, dimensions + 1)]).astype(np.float32)
        rows, squares = tokens._whole_numbers(table)

        assert squares.max() < 2**24
        assert (rows @ rows.T == rows.astype(np.float64) @ rows.T.astype(np.float64)).all()
        assert scores([[0]], [[1]], table) == [-1.0]
