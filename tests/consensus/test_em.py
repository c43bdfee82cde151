"""The loop and its posteriors, against sums written out in Python."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.consensus.dawid_skene import Confusion, DawidSkene
from pipeline.consensus.em import expected_cells, fit, posteriors
from pipeline.consensus.patterns import Patterns, merge, number_annotators, patterns_of
from tests.consensus.vote_rows import NUMBERS, ROWS, Vote, cell, exchanged, votes

SIGNS = np.array([-1, -1, 0, 1, 1], np.int8)


def random_tables(seed: int, annotators: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric log tables (C, 5) and log prior (5,) of no particular meaning."""
    rng = np.random.default_rng(seed)
    raw = rng.normal(-2.0, 1.0, (annotators, 3, 7, 5))
    return (raw + raw[:, [0, 2, 1], ::-1, ::-1]).reshape(-1, 5) / 2, np.log([0.1, 0.25, 0.3, 0.25, 0.1])


def patterns(rows: list[Vote]) -> Patterns:
    frame = votes(rows)
    numbers = number_annotators([frame])
    return merge([patterns_of(frame, numbers)], numbers)


def panel(accuracy: float, names: int) -> tuple[pl.DataFrame, Confusion]:
    """Annotators who never tie and are right with this probability; half of the pairs have a better low side."""
    numbers = number_annotators([pl.DataFrame({"annotator": [f"a{i}" for i in range(names)], "kind": "human"})])
    row = np.array([1e-12, 0.5, *[accuracy] * 3, *[0.5] * 4])
    shares = np.repeat(np.stack([row, 1 - row], axis=1)[None], names, axis=0)
    return numbers, Confusion(shares, shares[:1], 1e-12, 0)


@settings(max_examples=40)
@given(ROWS, st.integers(0, 5))
def test_posteriors_are_bayes_rule(rows: list[Vote], seed: int) -> None:
    tables, prior = random_tables(seed)
    found = posteriors(votes(rows), NUMBERS, tables, prior, SIGNS)

    names = NUMBERS["annotator"].to_list()
    for pair, *shares in found.rows():
        cells = [cell(names.index(r[1]), *r[3:]) for r in rows if r[0] == pair]
        cells = [c for i, c in enumerate(cells) if c // 21 == 2 or c not in cells[:i]]
        weights = [math.exp(prior[k] + sum(tables[c, k] for c in cells)) for k in range(5)]
        expected = np.array([weights[0] + weights[1], weights[2], weights[3] + weights[4]]) / sum(weights)
        assert shares == pytest.approx(expected, abs=1e-12)
    assert found["pair_id"].to_list() == sorted({r[0] for r in rows})


@settings(max_examples=40)
@given(ROWS, st.sets(st.sampled_from(["p1", "p2", "p3", "p4"])), st.integers(0, 5))
def test_exchanging_sides_exchanges_posteriors_to_the_last_bit(rows: list[Vote], pairs: set[str], seed: int) -> None:
    tables, prior = random_tables(seed)
    plain = posteriors(votes(rows), NUMBERS, tables, prior, SIGNS)
    other = posteriors(votes(exchanged(rows, pairs)), NUMBERS, tables, prior, SIGNS)

    swap = pl.col("pair_id").is_in(list(pairs))
    back = other.with_columns(p_low=pl.when(swap).then("p_high").otherwise("p_low"), p_high=pl.when(swap).then("p_low").otherwise("p_high"))
    assert_frame_equal(plain, back, check_exact=True)


@settings(max_examples=40)
@given(ROWS, st.integers(0, 5))
def test_a_pairs_posterior_does_not_depend_on_the_other_pairs(rows: list[Vote], seed: int) -> None:
    tables, prior = random_tables(seed)
    whole = posteriors(votes(rows), NUMBERS, tables, prior, SIGNS)
    alone = [posteriors(votes(r for r in rows if r[0] == pair), NUMBERS, tables, prior, SIGNS) for pair in whole["pair_id"]]

    assert_frame_equal(whole, pl.concat([whole.clear(), *alone]), check_exact=True)


@pytest.mark.parametrize("seed", range(10))
def test_votes_that_say_as_much_for_either_side_leave_both_equally_likely(seed: int) -> None:
    """Sums over cells run in opposite directions for the two sides, so without care their last bits differ."""
    tables, prior = random_tables(seed)
    said = [(vote, strength, low_first) for vote in (-1, 1) for strength in (None, 0.1, 0.9) for low_first in (None, True, False)]
    rows: list[Vote] = [("p", name, "human", *what) for name in ("ann", "bob", "unnamed web") for what in said]
    _, low, tie, high = posteriors(votes(rows), NUMBERS, tables, prior, SIGNS).row(0)

    assert low == high
    assert low + tie + high == pytest.approx(1.0, abs=1e-12)


def test_what_a_model_learns_from_knows_no_sides() -> None:
    """Patterns are written as the smaller of two mirror images, which has more votes for low than for high."""
    told: list[np.ndarray] = []

    class Listening(DawidSkene):
        def first(self, cell_counts: np.ndarray) -> Confusion:
            told.append(cell_counts[:, None])
            return super().first(cell_counts)

        def improve(self, parameters: Confusion, expected: np.ndarray, class_counts: np.ndarray) -> Confusion:
            told.extend([expected, class_counts[None]])
            return super().improve(parameters, expected, class_counts)

    found = patterns([(f"p{i}", f"a{i % 3}", "human", -1 if i % 5 else 0, None, i % 2 == 0) for i in range(30)])
    fit(found, Listening(found.numbers), tolerance=0.0, most_iterations=2)

    cells, expected, classes, *_ = told
    within = np.array([0, 2, 1])[:, None] * 7 + np.arange(7)[::-1]
    mirrored = (np.arange(3)[:, None] * 21 + within.ravel()).ravel()
    assert np.array_equal(cells, cells[mirrored])
    assert cells.sum() == 30
    assert np.array_equal(expected, expected[mirrored, ::-1])
    assert np.array_equal(classes, classes[:, ::-1])
    assert classes.sum() == pytest.approx(30)


def test_two_who_agree_and_a_majority_of_three() -> None:
    """At accuracy 0.70, two annotators who agree are right with 0.8448, and a majority of three with 0.784."""
    numbers, parameters = panel(0.7, 3)
    model = DawidSkene(numbers)
    tables, prior = model.log_tables(parameters), model.log_prior(parameters)
    rows: list[Vote] = [(f"p{n}", f"a{i}", "human", -1, None, None) for n in (1, 2, 3) for i in range(n)]
    split: list[Vote] = [("p4", f"a{i}", "human", -1 if i < 2 else 1, None, None) for i in range(3)]
    one, two, three, two_of_three = posteriors(votes([*rows, *split]), numbers, tables, prior, model.signs)["p_low"]

    assert one == pytest.approx(0.7, abs=1e-9)
    assert two == pytest.approx(0.8448, abs=5e-5)
    # All three say the same with 0.37, two of three with 0.63.
    assert 0.37 * three + 0.63 * two_of_three == pytest.approx(0.784, abs=1e-9)


def test_expected_cells_count_votes_by_weight() -> None:
    found = patterns(
        [("p1", "ann", "human", -1, None, None), ("p2", "ann", "human", -1, None, None), ("p3", "bob", "human", 0, None, None)]
    )

    sums = expected_cells(found, np.array([[1.0, 0.5], [1.0, 0.25]]))
    assert {(c, *row) for c, row in enumerate(sums.tolist()) if any(row)} == {(2, 2.0, 1.0), (21 + 3, 1.0, 0.25)}


@settings(max_examples=20)
@given(ROWS, st.sets(st.sampled_from(["p1", "p2", "p3", "p4"])), st.randoms(use_true_random=False))
def test_a_fit_is_the_same_to_the_last_bit_in_any_order_with_any_sides_exchanged(rows: list[Vote], pairs: set[str], rng: object) -> None:
    plain = fit(merge([patterns_of(votes(rows), NUMBERS)], NUMBERS), DawidSkene(NUMBERS), tolerance=1e-9, most_iterations=5)
    other = exchanged(rows, pairs)
    rng.shuffle(other)  # type: ignore[attr-defined]
    parts = [patterns_of(votes(r for r in other if (r[0] == "p2") is here), NUMBERS) for here in (True, False)]
    again = fit(merge(parts, NUMBERS), DawidSkene(NUMBERS), tolerance=1e-9, most_iterations=5)

    assert np.array_equal(plain.log_tables, again.log_tables)
    assert np.array_equal(plain.posterior_by_pattern, again.posterior_by_pattern)
    assert plain.log_likelihood == again.log_likelihood


def test_a_fit_says_whether_it_converged_and_how_long_it_took() -> None:
    found = patterns(
        [("p1", "ann", "human", -1, None, None), ("p1", "bob", "human", -1, None, None), ("p2", "ann", "human", 0, None, None)]
    )
    short = fit(found, DawidSkene(found.numbers), tolerance=0.0, most_iterations=3)
    long = fit(found, DawidSkene(found.numbers), tolerance=1e-8, most_iterations=1000)
    still = fit(found, DawidSkene(found.numbers), tolerance=1e-8, most_iterations=0)

    assert (short.iterations, short.converged, len(short.log_likelihood)) == (3, False, 4)
    assert long.converged
    assert len(long.log_likelihood) == long.iterations + 1 < 1001
    assert abs(long.log_likelihood[-1] - long.log_likelihood[-2]) <= 2e-8
    assert (still.iterations, still.converged) == (0, False)


def test_nobodys_votes_fit_and_leave_nothing() -> None:
    nobody = number_annotators([])
    fitted = fit(merge([], nobody), DawidSkene(nobody), tolerance=1e-6, most_iterations=10)

    assert fitted.converged
    assert posteriors(votes([]), nobody, fitted.log_tables, fitted.log_prior, fitted.signs).height == 0
