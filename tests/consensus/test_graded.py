"""The graded model: its curves against plain loops, what it learns, and what it must not."""

import itertools
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.consensus import graded
from pipeline.consensus.em import Fitted, fit, posteriors
from pipeline.consensus.graded import GAP, LAPSE, POSITION, SLOPE, WIDTH, Graded, GradedParameters
from pipeline.consensus.majority import majority
from pipeline.consensus.patterns import CATEGORIES, CELLS, HIGH, LOW, SHOWN, TIE, mirror, number_annotators, patterns_of
from pipeline.consensus.patterns import merge as merge_patterns
from tests.benchmarks.annotators import simulate
from tests.consensus.vote_rows import ROWS, Vote, exchanged, votes

NODES = [0.8 * k for k in range(-3, 4)]


def fitted(frame: pl.DataFrame) -> tuple[pl.DataFrame, Fitted[GradedParameters], pl.DataFrame]:
    numbers = number_annotators([frame])
    patterns = merge_patterns([patterns_of(frame, numbers)], numbers)
    model = fit(patterns, Graded(numbers), tolerance=1e-5, most_iterations=100)
    return numbers, model, posteriors(frame, numbers, model.log_tables, model.log_prior, model.signs)


def said_of(rows: list[Vote]) -> dict[str, tuple[float, float, float]]:
    return {pair: (low, tie, high) for pair, low, tie, high in fitted(votes(rows))[2].iter_rows()}


def curve(parameters: list[float], node: float, shown: int, category: int) -> float:
    """P(category), spelt out."""
    if shown == 0:
        return (curve(parameters, node, 1, category) + curve(parameters, node, 2, category)) / 2
    slope, width, position, gap, lapse = parameters
    reading = math.sinh(slope) * node + position * (1 if shown == 2 else -1)
    inner, outer = math.exp(width), math.exp(width) + math.exp(gap)
    logistic = [1 / (1 + math.exp(reading - at)) for at in (-outer, -inner, inner, outer)]
    strong_low, low, not_high, not_strong_high = logistic
    read = [strong_low, low - strong_low, low, not_high - low, 1 - not_high, not_strong_high - not_high, 1 - not_strong_high][category]
    guess = [1 / 6, 1 / 6, 1 / 3, 1 / 3, 1 / 3, 1 / 6, 1 / 6][category]
    missed = 1 / (1 + math.exp(-lapse))
    return (1 - missed) * read + missed * guess


PARAMETERS = st.tuples(*(st.floats(*bounds) for bounds in ((-1.5, 1.5), (-2, 1), (-1.5, 1.5), (-1, 1), (-4, 0)))).map(list)


@settings(deadline=None, max_examples=25)
@given(PARAMETERS)
def test_tables_are_the_curves_of_the_model(parameters: list[float]) -> None:
    row = np.array([parameters])
    chances = graded._probabilities(row, graded._boundaries(row))[0]
    for shown, category, node in itertools.product(range(SHOWN), range(CATEGORIES), range(len(NODES))):
        assert chances[shown, category, node] == pytest.approx(curve(parameters, NODES[node], shown, category), abs=1e-9)
    np.testing.assert_allclose(chances[:, [LOW, TIE, HIGH]].sum(axis=1), 1.0, atol=1e-7)
    np.testing.assert_allclose(chances[:, [0, 1, TIE, 5, 6]].sum(axis=1), 1.0, atol=1e-7)


@settings(deadline=None, max_examples=25)
@given(PARAMETERS, st.sampled_from(range(5)))
def test_derivatives_are_those_of_the_curves(parameters: list[float], by: int) -> None:
    row, step = np.array([parameters]), 1e-5 * np.eye(5)[[by]]
    found = graded._slopes(row, graded._boundaries(row), graded._ALL)[by]
    above, below = (graded._probabilities(at, graded._boundaries(at)) for at in (row + step, row - step))
    np.testing.assert_allclose(found, (above - below) / 2e-5, atol=1e-6)


def test_uncertainty_flattens_the_curve_as_an_average_over_it_would() -> None:
    row, covariance = np.array([[0.4, -1.0, 0.3, 0.0, -4.0]]), np.zeros((1, 5, 5))
    covariance[0, SLOPE, SLOPE], covariance[0, POSITION, POSITION] = 0.09, 0.09
    flat = graded._probabilities(row, graded._boundaries(row, covariance))
    drawn = np.repeat(row, 40_000, axis=0)
    drawn[:, [SLOPE, POSITION]] += np.random.default_rng(0).normal(size=(40_000, 2)) * 0.3
    sampled = sum(graded._probabilities(part, graded._boundaries(part)).sum(axis=0) for part in np.split(drawn, 40)) / 40_000
    sharp = graded._probabilities(row, graded._boundaries(row))
    assert np.abs(flat[0] - sampled).max() < 0.02
    assert np.abs(flat[0] - sampled).mean() < np.abs(sharp[0] - sampled).mean() / 2


@pytest.mark.parametrize("votes_a_cell", [0.0, 0.05, 2.0, 300.0])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_step_never_makes_an_annotator_less_likely(seed: int, votes_a_cell: float) -> None:
    rng = np.random.default_rng(seed)
    expected = votes_a_cell * rng.gamma(0.3, size=(20, SHOWN, CATEGORIES, len(NODES)))
    start = graded._MEAN + rng.normal(size=(20, 5)) * graded._SPREAD
    made, covariance = graded._step(start, expected, start, np.tile(graded._SPREAD**-2.0, (20, 1)))

    def log_posterior(at: np.ndarray) -> np.ndarray:
        likely = (expected * np.log(graded._probabilities(at, graded._boundaries(at)))).sum(axis=(1, 2, 3))
        return likely - (((at - start) / graded._SPREAD) ** 2).sum(axis=1) / 2

    assert (log_posterior(made) >= log_posterior(start) - 1e-9).all()
    assert np.array_equal(made, start) == (votes_a_cell == 0.0)
    assert (np.linalg.eigvalsh(covariance) > 0).all()


@settings(deadline=None, max_examples=15)
@given(ROWS, st.sets(st.sampled_from(["p1", "p2", "p3", "p4"])))
def test_an_exchange_of_sides_exchanges_the_posterior(rows: list[Vote], pairs: set[str]) -> None:
    plain, turned = said_of(rows), said_of(exchanged(rows, pairs))
    assert turned == {pair: said[::-1] if pair in pairs else said for pair, said in plain.items()}


@settings(deadline=None, max_examples=15)
@given(ROWS)
def test_posteriors_are_probabilities_and_the_order_of_rows_is_nothing(rows: list[Vote]) -> None:
    said = said_of(rows)
    assert all(sum(three) == pytest.approx(1.0) and min(three) >= 0 for three in said.values())
    assert said == said_of(rows[::-1])


def test_tables_mirror() -> None:
    numbers, model, _ = fitted(simulate(1, pairs=60, annotators=8).votes)
    tables = Graded(numbers).log_tables(model.parameters)
    np.testing.assert_allclose(tables[mirror(np.arange(len(tables), dtype=np.uint32)), ::-1], tables, atol=1e-7)
    assert np.array_equal(Graded(numbers).signs, [-1] * 3 + [0] + [1] * 3)


def test_a_simulated_world_is_read_better_than_by_counting_votes() -> None:
    world = simulate(3, pairs=600, annotators=30)
    numbers, model, said = fitted(world.votes)
    high = (world.truth["better"] == 1).to_numpy().astype(float)

    def brier(posterior: pl.DataFrame) -> float:
        return float(((posterior.select(pl.col("p_high") + pl.col("p_tie") / 2).to_series().to_numpy() - high) ** 2).mean())

    assert model.converged
    assert brier(said) < brier(majority(world.votes, 1.0)) - 0.005
    told = numbers.join(world.skills, on="annotator", how="left", maintain_order="left")
    slopes = model.parameters.annotators[:, SLOPE]
    assert np.corrcoef(slopes, told["skill"].to_numpy() * (1 - told["first"].to_numpy()))[0, 1] > 0.5
    lazy = told["first"].to_numpy() > 0
    assert model.parameters.annotators[lazy, POSITION].mean() > model.parameters.annotators[~lazy, POSITION].mean() + 0.4


def test_who_is_always_against_the_others_counts_the_other_way() -> None:
    rows: list[Vote] = []
    for pair in range(40):
        side = 1 if pair % 2 else -1
        rows += [(f"{pair:02}", name, "human", side, None, None) for name in ("ann", "bob", "cyd")]
        rows.append((f"{pair:02}", "dan", "human", -side, None, None))
    rows.append(("alone", "dan", "human", 1, None, None))
    low, _, high = said_of(rows)["alone"]
    assert low > high + 0.2


def test_two_votes_make_no_oracle() -> None:
    rows: list[Vote] = []
    for pair in range(60):
        rows += [(f"{pair:02}", name, "human", 1 if (pair * 7 + turn) % 10 < 7 else -1, None, None) for turn, name in enumerate("abcd")]
    rows += [("new1", "new", "human", 1, None, None), ("new1", "a", "human", 1, None, None)]
    rows += [("new2", "new", "human", -1, None, None), ("new2", "b", "human", 1, None, None), ("new2", "c", "human", 1, None, None)]
    low, _, high = said_of(rows)["new2"]
    assert high > low


def test_a_strong_vote_says_more_than_a_slight_one() -> None:
    rows: list[Vote] = []
    for pair in range(60):
        side, clear = (1 if pair % 2 else -1), pair % 3 == 0
        for turn, name in enumerate("abcd"):
            wrong = not clear and (pair + turn) % 4 == 0
            rows.append((f"{pair:02}", name, "human", -side if wrong else side, 1.0 if clear else 0.2, None))
    rows += [("slight", "a", "human", 1, 0.2, None), ("strong", "a", "human", 1, 1.0, None)]
    said = said_of(rows)
    assert said["strong"][2] > said["slight"][2] + 0.02


def test_all_ties_favour_no_side() -> None:
    """Who never says anything else says little by it: the tie is hardly likelier than before."""
    rows: list[Vote] = [(f"{pair:02}", name, "human", 0, None, None) for pair in range(30) for name in "abc"]
    for low, tie, high in said_of(rows).values():
        assert low == high
        assert tie > graded._EQUAL


def test_pairs_that_all_call_a_tie_among_pairs_that_none_does_are_ties() -> None:
    rows: list[Vote] = []
    for pair in range(60):
        rows += [(f"{pair:02}", name, "human", pair % 3 - 1, None, None) for name in "abc"]
    for pair, (low, tie, high) in said_of(rows).items():
        assert max(low, tie, high) == (low, tie, high)[int(pair) % 3]
        assert max(low, tie, high) > 0.8


def test_contradictory_repeats_favour_no_side() -> None:
    low, _, high = said_of([("p", "a", "human", 1, None, None), ("p", "a", "human", -1, None, None)])["p"]
    assert low == high


def test_one_vote_an_annotator_is_taken_for_the_side_it_names() -> None:
    rows: list[Vote] = [(f"{pair:02}", f"ann{pair:02}", "human", 1, None, None) for pair in range(20)]
    assert {0.5 < high / (high + low) < 0.9 for low, _, high in said_of(rows).values()} == {True}


def test_no_votes_give_no_posteriors() -> None:
    assert said_of([]) == {}


def test_kinds_have_their_own_prior() -> None:
    world = simulate(2, pairs=200, annotators=12, tie_peak=0.1)
    noisy = world.votes.with_columns(kind=pl.lit("judge"), annotator="j" + pl.col("annotator"), vote=-pl.col("vote"))
    both = pl.concat([world.votes, noisy.filter(pl.col("judgement_id").str.ends_with("1"))])
    means = fitted(both)[1].parameters.means
    assert means[0, SLOPE] > means[1, SLOPE] + 0.1
    assert np.array_equal(means[2], graded._MEAN)  # nobody of this kind


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = simulate(4, pairs=40, annotators=9).votes
    whole = fitted(frame)[2]
    monkeypatch.setattr(graded, "_BLOCK", 2)
    assert fitted(frame)[2].equals(whole)


def test_parameters_travel_as_a_table() -> None:
    parameters = fitted(simulate(5, pairs=40, annotators=9).votes)[1].parameters
    again = GradedParameters.from_table(parameters.to_table())
    for name in ("annotators", "covariance", "means", "spreads", "weights"):
        assert np.array_equal(getattr(again, name), getattr(parameters, name)), name
    assert parameters.annotators.shape == (9, len((SLOPE, WIDTH, POSITION, GAP, LAPSE)))
    assert Graded(number_annotators([simulate(5, annotators=9).votes])).log_tables(again).shape == (9 * CELLS, len(NODES))
