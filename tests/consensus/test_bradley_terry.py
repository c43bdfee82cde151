import math
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from scipy.optimize import minimize
from scipy.special import expit

from pipeline.consensus import bradley_terry as module
from pipeline.consensus.bradley_terry import bradley_terry
from pipeline.consensus.slopes import RIDGE, shift_of, steepness_of

FLAT = 1e-9  # a ridge that leaves the likelihood alone
SCHEMA = {
    "group": pl.String, "pair_id": pl.String, "low_id": pl.String, "high_id": pl.String, "annotator": pl.String, "vote": pl.Int8,
    "low_first": pl.Boolean,
}  # fmt: skip
Vote = tuple[str, str, str, str, int, bool | None]


def votes_of(*votes: Vote) -> pl.DataFrame:
    """(group, low, high, annotator, vote, low_first)."""
    rows = [(group, f"{group}:{low}{high}", low, high, *rest) for group, low, high, *rest in votes]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def score_of(low: str, high: str, wins_low: int, wins_high: int, ties: int = 0, group: str = "g") -> list[Vote]:
    """Votes of one annotator, by how they fell."""
    fell = [-1] * wins_low + [1] * wins_high + [0] * ties
    return [(group, low, high, "w", vote, None) for vote in fell]


def annotators(**known: tuple[float, float | None]) -> pl.DataFrame:
    rows = [(name, *skill) for name, skill in known.items()]
    return pl.DataFrame(rows, schema={"annotator": pl.String, "accuracy": pl.Float64, "first_share": pl.Float64}, orient="row")


def gap(votes: list[Vote], table: pl.DataFrame | None = None, ridge: float = RIDGE, pair: str = "g:ab") -> float:
    pairs = bradley_terry(votes_of(*votes), table, ridge).pairs
    return float(pairs.filter(pl.col("pair_id") == pair)["gap"].item())


def test_three_wins_to_one_are_log_odds_of_three_which_are_191_elo_points() -> None:
    found = gap(score_of("a", "b", 1, 3), ridge=FLAT)
    assert found == pytest.approx(1.098612, abs=1e-6)
    assert found * 400 / math.log(10) == pytest.approx(190.85, abs=0.005)


def test_a_tie_is_half_a_win_for_each_side() -> None:
    assert gap(score_of("a", "b", 1, 2, ties=1), ridge=FLAT) == pytest.approx(0.510826, abs=1e-6)


def test_a_cycle_makes_all_scores_equal() -> None:
    votes = score_of("a", "b", 3, 1) + score_of("b", "c", 3, 1) + score_of("a", "c", 1, 3)
    assert bradley_terry(votes_of(*votes), ridge=FLAT).responses["score"].to_list() == pytest.approx([0, 0, 0], abs=1e-6)


def test_scores_do_not_depend_on_the_order_of_votes_as_elo_ratings_do() -> None:
    def elo(outcomes: list[int]) -> tuple[float, float]:
        a, b = 1000.0, 1000.0
        for a_won in outcomes:
            step = 32 * (a_won - 1 / (1 + 10 ** ((b - a) / 400)))
            a, b = a + step, b - step
        return a, b

    assert elo([1, 1, 1, 0, 0, 0]) == pytest.approx((989.10, 1010.90), abs=0.005)
    assert elo([0, 0, 0, 1, 1, 1]) == pytest.approx((1010.90, 989.10), abs=0.005)
    votes = score_of("a", "b", 3, 3)
    assert gap(votes) == gap(votes[::-1]) == 0.0


def test_who_never_loses_has_a_score_all_the_same() -> None:
    found = bradley_terry(votes_of(*score_of("a", "b", 0, 2000)))
    assert 5 < found.pairs["gap"].item() < 12
    assert found.groups["converged"].item()


def test_a_response_between_two_others_tells_about_the_two() -> None:
    votes = score_of("a", "b", 0, 5) + score_of("b", "c", 0, 5) + score_of("a", "c", 1, 1)
    pairs = bradley_terry(votes_of(*votes)).pairs
    assert pairs.filter(pl.col("pair_id") == "g:ac")["p_high_above"].item() > 0.9


@pytest.mark.parametrize("accuracy", [0.5, 0.3])
def test_votes_of_who_guesses_or_worse_change_no_score(accuracy: float) -> None:
    table = annotators(good=(0.8, None), fine=(0.8, None), bad=(accuracy, None))
    good: list[Vote] = [("g", "a", "b", "good", 1, None), ("g", "b", "c", "fine", 1, None)]
    bad: list[Vote] = [("g", "a", "b", "bad", -1, None)] * 50
    assert gap(good + bad, table) == gap(good, table) > 0


def test_the_better_annotator_counts_for_more() -> None:
    table = annotators(good=(0.9, None), fine=(0.75, None), poor=(0.6, None))
    votes: list[Vote] = [("g", "a", "b", "good", 1, None), ("g", "a", "b", "poor", -1, None)]
    assert gap(votes, table) > 0.2


def test_votes_that_follow_the_order_are_explained_by_it() -> None:
    table = annotators(w=(0.75, 0.9))
    first: list[Vote] = [("g", "a", "b", "w", 1, False)] * 4  # high shown first, and preferred
    assert 0 < gap(first, table) < gap(first) / 2
    against: list[Vote] = [("g", "a", "b", "w", 1, True)] * 4  # high preferred though low was shown first
    assert gap(against, table) > gap(first, table)
    assert gap([("g", "a", "b", "w", 1, None)] * 4, table) == gap(first)


def test_the_median_annotator_has_slope_one_whatever_the_accuracy() -> None:
    votes = score_of("a", "b", 1, 3)
    for accuracy in (0.6, 0.75, 0.9):
        assert gap(votes, annotators(w=(accuracy, None))) == pytest.approx(gap(votes))


def test_an_annotator_of_whom_nothing_is_known_counts_as_the_median_one() -> None:
    votes = score_of("a", "b", 1, 3)
    assert gap(votes, annotators(x=(0.9, None))) == gap(votes)
    unknown = annotators(w=(0.0, None), x=(0.9, None)).with_columns(accuracy=pl.when(pl.col("annotator") == "x").then("accuracy"))
    assert gap(votes, unknown) == gap(votes)


def random_votes(seed: int, groups: int = 4, annotators_: int = 5) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    votes: list[Vote] = []
    for group in range(groups):
        names = [f"r{i}" for i in range(rng.integers(2, 9))]
        for _ in range(rng.integers(1, 25)):
            low, high = sorted(rng.choice(names, 2, replace=False).tolist())
            order = [None, True, False][rng.integers(3)]
            votes.append((f"g{group}", low, high, f"w{rng.integers(annotators_)}", int(rng.integers(-1, 2)), order))
    return votes_of(*votes)


TABLE = annotators(w0=(0.9, 0.5), w1=(0.8, 0.7), w2=(0.7, None), w3=(0.55, 0.3), w4=(0.99, 0.95))


def slow_fit(votes: list[dict[str, Any]], ridge: float) -> tuple[dict[str, float], np.ndarray, list[str]]:
    """Scores by a general optimiser, and the inverse of the curvature, written out vote by vote."""
    table = {name: (accuracy, share) for name, accuracy, share in TABLE.iter_rows()}
    steepness = {name: float(steepness_of(np.array([accuracy]))[0]) for name, (accuracy, _) in table.items()}
    median = float(np.median(list(steepness.values())))
    names = sorted({row[side] for row in votes for side in ("low_id", "high_id")})
    terms = []
    for row in votes:
        slope = steepness[row["annotator"]] / median
        share = table[row["annotator"]][1]
        shift = 0.0 if share is None else float(shift_of(np.array([share]), np.array([slope]))[0])
        sign = {None: 0, True: -1, False: 1}[row["low_first"]]
        terms.append((names.index(row["low_id"]), names.index(row["high_id"]), slope, sign * shift, (row["vote"] + 1) / 2))

    def loss(t: np.ndarray) -> float:
        total = ridge / 2 * float(t @ t)
        for low, high, slope, shift, target in terms:
            z = slope * (t[high] - t[low]) + shift
            total += math.log1p(math.exp(-z)) * target + math.log1p(math.exp(z)) * (1 - target)
        return total

    t = minimize(loss, np.zeros(len(names)), method="BFGS", options={"gtol": 1e-7, "maxiter": 2000}).x
    curvature = ridge * np.eye(len(names))
    for low, high, slope, shift, _ in terms:
        p = expit(slope * (t[high] - t[low]) + shift)
        direction = np.zeros(len(names))
        direction[high], direction[low] = slope, -slope
        curvature += p * (1 - p) * np.outer(direction, direction)
    return dict(zip(names, t, strict=True)), np.linalg.inv(curvature), names


@pytest.mark.parametrize("seed", range(3))
def test_scores_and_errors_are_those_of_a_general_optimiser(seed: int) -> None:
    votes = random_votes(seed)
    found = bradley_terry(votes, TABLE, ridge=0.3)
    for group in votes["group"].unique():
        scores, covariance, names = slow_fit(votes.filter(pl.col("group") == group).to_dicts(), 0.3)
        mine = found.responses.filter(pl.col("group") == group)
        assert dict(mine.select("response_id", "score").iter_rows()) == pytest.approx(scores, abs=1e-4)
        component = mine["component"].to_numpy()
        for row in found.pairs.filter(pl.col("group") == group).to_dicts():
            one, other = names.index(row["low_id"]), names.index(row["high_id"])
            variance = covariance[one, one] + covariance[other, other] - 2 * covariance[one, other]
            assert row["gap_error"] == pytest.approx(math.sqrt(variance), abs=1e-3)
        for i, error in enumerate(mine["score_error"]):
            members = np.flatnonzero(component == component[i])
            centred = (np.arange(len(names)) == i) - np.isin(np.arange(len(names)), members) / len(members)
            assert error == pytest.approx(math.sqrt(max(centred @ covariance @ centred, 0)), abs=1e-3)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_a_groups_numbers_are_the_same_bits_whatever_the_order_of_rows_and_the_other_groups(seed: int, random: object) -> None:
    votes = random_votes(seed, groups=3)
    order = list(range(votes.height))
    random.shuffle(order)  # type: ignore[attr-defined]
    whole, shuffled = bradley_terry(votes, TABLE), bradley_terry(votes[order], TABLE)
    alone = [bradley_terry(votes.filter(pl.col("group") == group), TABLE) for group in votes["group"].unique().sort()]
    for name in ("pairs", "responses", "groups"):
        assert_frame_equal(getattr(whole, name), getattr(shuffled, name), check_exact=True)
        assert_frame_equal(getattr(whole, name), pl.concat(getattr(one, name) for one in alone), check_exact=True)


def test_blocks_are_solved_in_runs_that_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    votes = random_votes(5, groups=12)
    whole = bradley_terry(votes, TABLE)
    monkeypatch.setattr(module, "_CELLS", 1)
    assert_frame_equal(whole.pairs, bradley_terry(votes, TABLE).pairs, check_exact=True)


def test_swapping_the_sides_turns_everything_round() -> None:
    votes = random_votes(7)
    turned = votes.rename({"low_id": "high_id", "high_id": "low_id"}).with_columns(-pl.col("vote"), ~pl.col("low_first"))
    one, other = bradley_terry(votes, TABLE), bradley_terry(turned.select(votes.columns), TABLE)
    assert_frame_equal(one.responses, other.responses, check_exact=False)
    back = other.pairs.select(gap=-pl.col("gap"), p_low="p_high", p_high="p_low", p_tie="p_tie", p_high_above=1 - pl.col("p_high_above"))
    assert_frame_equal(one.pairs.select(back.columns), back, check_exact=False, abs_tol=1e-9)


def test_responses_that_nothing_joins_are_scored_apart_and_it_is_said() -> None:
    votes = score_of("a", "b", 0, 2) + score_of("c", "d", 0, 1) + score_of("d", "e", 0, 1) + score_of("a", "b", 1, 3, group="h")
    found = bradley_terry(votes_of(*votes))
    responses = found.responses.filter(pl.col("group") == "g")
    assert responses["component"].to_list() == [1, 1, 2, 2, 2]
    assert responses.group_by("component").agg(pl.col("score").sum())["score"].to_list() == pytest.approx([0, 0], abs=1e-9)
    assert found.groups.select("group", "responses", "votes", "components", "note").rows() == [
        ("g", 5, 4, 2, "the responses form 2 parts that no comparison joins: scores compare only within a part"),
        ("h", 2, 4, 1, None),
    ]


def test_a_fit_that_stops_early_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_STEPS", 1)
    groups = bradley_terry(votes_of(*score_of("a", "b", 0, 9))).groups
    assert groups.select("converged", "note").row(0) == (False, "the fit did not converge in 1 steps")


def test_a_response_against_itself_is_even_and_says_nothing_of_others() -> None:
    alone = score_of("a", "b", 0, 2)
    found = bradley_terry(votes_of(*alone, *score_of("a", "a", 0, 9))).pairs
    same = found.filter(pl.col("pair_id") == "g:aa").row(0, named=True)
    assert (same["gap"], same["gap_error"], same["p_high_above"]) == (0.0, 0.0, 0.5)
    assert same["p_low"] == pytest.approx(same["p_high"])
    assert found.filter(pl.col("pair_id") == "g:ab")["gap"].item() == pytest.approx(gap(alone))


def test_a_forecast_is_davidsons_over_the_posterior() -> None:
    votes = score_of("a", "b", 2, 5, ties=3) + score_of("b", "c", 1, 1, ties=1)
    found = bradley_terry(votes_of(*votes))
    nu = found.groups["tie_odds"].item()
    for row in found.pairs.to_dicts():
        x = row["gap"] + row["gap_error"] * np.linspace(-8, 8, 4001)
        density = np.exp(-(((x - row["gap"]) / row["gap_error"]) ** 2) / 2)
        total = np.exp(x / 2) + np.exp(-x / 2) + nu
        assert row["p_high"] == pytest.approx((np.exp(x / 2) / total * density).sum() / density.sum(), abs=1e-5)
        assert row["p_tie"] == pytest.approx((nu / total * density).sum() / density.sum(), abs=1e-5)
        assert row["p_low"] + row["p_tie"] + row["p_high"] == pytest.approx(1)


def test_ties_are_foretold_as_often_as_they_were_seen_but_for_three_prior_votes() -> None:
    # On equal answers P(tie) = nu / (2 + nu): (ties + 1) / (votes + 3).
    for ties, others in ((0, 10), (10, 0), (4, 6)):
        nu = bradley_terry(votes_of(*score_of("a", "b", others // 2, others // 2, ties))).groups["tie_odds"].item()
        assert nu / (2 + nu) == pytest.approx((ties + 1) / (ties + others + 3), abs=1e-6)


def simulated(seed: int, skills: list[float], groups: int = 150, responses: int = 6, votes: int = 20) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Votes on responses with scores N(0, 4), and which side of each pair is better: group, pair_id, high_better."""
    rng = np.random.default_rng(seed)
    rows: list[Vote] = []
    truth = []
    for group in range(groups):
        scores = rng.normal(0, 2, responses)
        for low in range(responses):
            truth += [(f"g{group}", f"g{group}:r{low}r{high}", bool(scores[high] > scores[low])) for high in range(low + 1, responses)]
        for _ in range(votes):
            low, high = sorted(rng.choice(responses, 2, replace=False).tolist())
            who = int(rng.integers(len(skills)))
            vote = 1 if rng.random() < expit(skills[who] * (scores[high] - scores[low])) else -1
            rows.append((f"g{group}", f"r{low}", f"r{high}", f"w{who}", vote, None))
    return votes_of(*rows), pl.DataFrame(truth, schema=["group", "pair_id", "high_better"], orient="row")


def test_the_probability_that_a_side_is_better_is_calibrated() -> None:
    votes, truth = simulated(3, [1.0, 1.0, 1.0])
    judged = bradley_terry(votes).pairs.join(truth, on=["group", "pair_id"])
    p, right = judged["p_high_above"].to_numpy(), judged["high_better"].to_numpy()
    for low, high in pairwise((0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)):
        inside = (p >= low) & (p < high)
        assert inside.sum() > 50
        assert right[inside].mean() == pytest.approx(p[inside].mean(), abs=0.06)


def test_knowing_who_guesses_finds_more_of_the_better_sides() -> None:
    skills = [2.0, 2.0, 0.0, 0.0, 1.0]
    votes, truth = simulated(4, skills)
    accuracies = np.interp(skills, steepness_of(np.linspace(0.5, 0.94, 400)), np.linspace(0.5, 0.94, 400))
    table = annotators(**{f"w{i}": (float(accuracy), None) for i, accuracy in enumerate(accuracies)})
    blind, seeing = (bradley_terry(votes, known).pairs.join(truth, on=["group", "pair_id"]) for known in (None, table))

    def share(judged: pl.DataFrame) -> float:
        return float(((judged["gap"] > 0) == judged["high_better"]).mean())  # type: ignore[arg-type]

    assert share(seeing) > share(blind) + 0.02


def test_no_votes_rank_nothing() -> None:
    found = bradley_terry(votes_of())
    assert (found.pairs.height, found.responses.height, found.groups.height) == (0, 0, 0)
