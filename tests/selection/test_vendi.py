"""Vendi scores."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.selection.vendi import ORDERS, samples, spectrum, statistics, summarise, vendi
from tests.selection.rows import ids

SIMILAR = np.array([[1, 0.9, 0], [0.9, 1, 0], [0, 0, 1]])


def of(vectors: np.ndarray, order: float) -> float:
    return vendi(spectrum(vectors), order)


@pytest.mark.parametrize(("order", "expected"), [(0.1, 2.8455), (0.5, 2.4203), (1, 2.1573), (2, 1.9481), (math.inf, 1.5789)])
def test_scores_of_the_reference(order: float, expected: float) -> None:
    assert vendi(np.linalg.eigvalsh(SIMILAR / 3), order) == pytest.approx(expected, abs=5e-5)
    # Vectors with these cosines give the same; the release takes every order for 1.
    assert of(np.linalg.cholesky(SIMILAR), order) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("n", [1, 2, 7])
def test_equal_texts_count_as_one_and_orthogonal_ones_as_many(order: float, n: int) -> None:
    assert of(np.tile([3.0, 4.0], (n, 1)), order) == pytest.approx(1.0)
    assert of(np.eye(n), order) == pytest.approx(n)


@settings(max_examples=20)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 10**6))
def test_both_products_have_the_same_spectrum(n: int, dimensions: int, seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(n, dimensions))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    both = [np.sort(np.linalg.eigvalsh(product / n))[-min(n, dimensions) :] for product in (unit @ unit.T, unit.T @ unit)]
    assert both[0] == pytest.approx(both[1], abs=1e-9)
    scores = [vendi(spectrum(vectors), order) for order in ORDERS]
    assert scores == pytest.approx(sorted(scores, reverse=True))  # higher orders see less
    assert all(1 - 1e-9 <= score <= min(n, dimensions) + 1e-9 for score in scores)


def test_samples_are_of_one_size_drawn_by_hash_whatever_the_partitions() -> None:
    names = ids(30)
    pairs = pl.DataFrame({"pair_id": names, "prompt_text": names, "chosen_text": names})
    whole = samples({"before": [summarise(pairs, 0, 10)], "after": [summarise(pairs[:7], 0, 10)]}, 10)
    parts = samples({"before": [summarise(pairs[i::3], 0, 10) for i in range(3)], "after": [summarise(pairs[:7], 0, 10)]}, 10)

    assert {name: table.height for name, table in whole.items()} == {"before": 7, "after": 7}
    assert all(whole[name].equals(parts[name]) for name in whole)
    assert samples({"before": [summarise(pairs, 0, 10)], "after": []}, 10)["after"].is_empty()


def test_statistics_say_of_how_many_texts_of_which_stage() -> None:
    stages = {"before": pl.DataFrame({"pair_id": ["1", "2", "3"], "prompt_text": ["x", "x", None], "chosen_text": ["x", "y", "y"]})}
    stages["after"] = stages["before"].head(0)
    index = pl.DataFrame({"text_id": ["x", "y"], "index": [0, 1]})
    table = statistics(stages, index, np.eye(2, dtype=np.float16))

    found = {row["statistic"]: (row["subject"], row["value"], row["n"]) for row in table.iter_rows(named=True)}
    assert len(found) == 10
    assert found["vendi_prompts_q1"] == ("before", 1.0, 2)
    assert found["vendi_chosen_qinf"] == ("before", 1.5, 3)
