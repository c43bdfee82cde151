"""Dawid and Skene's model: what it learns, what it must not, and one step against loops over votes."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.consensus.dawid_skene import (
    FIRST_EQUAL,
    RIGHT,
    RIGHT_FIRST,
    RIGHT_SECOND,
    STRONG_EQUAL,
    STRONG_RIGHT,
    STRONG_WRONG,
    TIE_BETTER,
    TIE_EQUAL,
    Confusion,
    DawidSkene,
    _tie_shares,
)
from pipeline.consensus.em import Fitted, expected_cells, fit, posteriors
from pipeline.consensus.patterns import Patterns, merge, number_annotators, patterns_of
from tests.consensus.vote_rows import ROWS, Vote, votes


def fitted(rows: list[Vote]) -> tuple[Patterns, Fitted[Confusion], pl.DataFrame]:
    frame = votes(rows)
    numbers = number_annotators([frame])
    patterns = merge([patterns_of(frame, numbers)], numbers)
    model = fit(patterns, DawidSkene(numbers), tolerance=1e-9, most_iterations=500)
    return patterns, model, posteriors(frame, numbers, model.log_tables, model.log_prior, model.signs)


def shares_of(patterns: Patterns, model: Fitted[Confusion], name: str) -> np.ndarray:
    return model.parameters.shares[patterns.numbers["annotator"].to_list().index(name), :, 0]


def simulated(
    skills: dict[str, float], pairs: int, *, seed: int = 0, first: dict[str, float] | None = None, kinds: dict[str, str] | None = None
) -> tuple[list[Vote], list[int]]:
    """Everybody judges every pair; `first`: how often somebody picks the side shown first without looking. Sides are shown by turns."""
    rng = np.random.default_rng(seed)
    truth = rng.choice([-1, 1], pairs).tolist()
    rows: list[Vote] = []
    for i, better in enumerate(truth):
        for name, skill in skills.items():
            low_first = bool(rng.random() < 0.5) if first else None
            vote = better if rng.random() < skill else -better
            if first and rng.random() < first[name]:
                vote = -1 if low_first else 1
            rows.append((f"p{i:05}", name, (kinds or {}).get(name, "human"), vote, None, low_first))
    return rows, truth


SKILLS = {"a": 0.95, "b": 0.9, "c": 0.8, "d": 0.7, "e": 0.55}


def test_skills_are_found_without_the_truth_and_beat_the_majority() -> None:
    rows, truth = simulated(SKILLS, 2000)
    patterns, model, found = fitted(rows)

    for name in SKILLS:
        right = np.mean([vote == truth[int(pair[1:])] for pair, who, _, vote, _, _ in rows if who == name])
        assert shares_of(patterns, model, name)[RIGHT] == pytest.approx(right, abs=0.015)
    majority = votes(rows).group_by("pair_id").agg(pl.col("vote").sum()).sort("pair_id")["vote"].sign().to_numpy()
    chosen = np.where(found["p_low"] > found["p_high"], -1, 1)
    assert (chosen == truth).mean() > (majority == truth).mean() + 0.01
    assert model.converged


def test_after_the_priors_are_learnt_no_step_lowers_the_penalised_likelihood() -> None:
    rows, _ = simulated(SKILLS, 300, first=dict.fromkeys(SKILLS, 0.2))
    rows += [(f"p{i:05}", "t", "human", 0, None, None) for i in range(60)]
    frame = votes(rows)
    numbers = number_annotators([frame])
    model = fit(merge([patterns_of(frame, numbers)], numbers), DawidSkene(numbers), tolerance=0.0, most_iterations=60)

    steps = np.diff(model.log_likelihood)[30:]
    assert len(steps) > 5
    assert steps.min() >= -1e-9
    assert steps.max() > 1e-6


def test_a_pick_of_the_side_shown_first_says_less_from_somebody_who_likes_first_sides() -> None:
    rows, _ = simulated({"a": 0.9, "b": 0.9, "c": 0.9, "x": 0.9}, 1500, first={"a": 0.0, "b": 0.0, "c": 0.0, "x": 0.5})
    patterns, model, _ = fitted(rows)
    asked = votes([("q1", "x", "human", -1, None, True), ("q2", "x", "human", -1, None, False), ("q3", "a", "human", -1, None, True)])
    first, second, fair = posteriors(asked, patterns.numbers, model.log_tables, model.log_prior, model.signs)["p_low"]

    assert shares_of(patterns, model, "x")[RIGHT_FIRST] == pytest.approx(0.5 + 0.5 * 0.9, abs=0.03)
    assert shares_of(patterns, model, "x")[RIGHT_SECOND] == pytest.approx(0.5 * 0.9, abs=0.04)
    assert first == pytest.approx(0.95 / (0.95 + 0.55), abs=0.05)
    assert second == pytest.approx(0.9, abs=0.05)
    assert fair == pytest.approx(0.9, abs=0.03)


def test_strong_picks_say_more_where_they_are_more_often_right() -> None:
    rng = np.random.default_rng(5)
    rows, truth = simulated({"a": 0.8, "b": 0.8, "c": 0.8, "d": 0.8}, 1500, seed=5)
    strong = [rng.random() < (0.7 if vote == truth[int(pair[1:])] else 0.2) for pair, _, _, vote, _, _ in rows]
    rows = [(p, a, k, v, 1.0 if s else 0.1, f) for (p, a, k, v, _, f), s in zip(rows, strong, strict=True)]
    patterns, model, _ = fitted(rows)
    asked = votes([(f"q{i}", "a", "human", -1, s, None) for i, s in enumerate((1.0, 0.1, None))])
    high, low, unknown = posteriors(asked, patterns.numbers, model.log_tables, model.log_prior, model.signs)["p_low"]

    assert low < unknown < high
    assert shares_of(patterns, model, "a")[STRONG_RIGHT] == pytest.approx(0.7, abs=0.05)
    assert shares_of(patterns, model, "a")[STRONG_WRONG] == pytest.approx(0.2, abs=0.06)


def test_an_annotator_with_two_votes_is_no_oracle() -> None:
    rows, truth = simulated({f"a{i}": 0.8 for i in range(7)}, 400)
    rows += [(f"p{i:05}", "new", "human", truth[i], None, None) for i in range(2)]
    rows += [(f"p{i:05}", "bad", "human", -truth[i], None, None) for i in range(2, 4)]
    patterns, model, _ = fitted(rows)
    asked = votes([("q1", "new", "human", -1, None, None), ("q2", "a0", "human", -1, None, None), ("q3", "bad", "human", -1, None, None)])
    new, old, bad = posteriors(asked, patterns.numbers, model.log_tables, model.log_prior, model.signs)["p_low"]

    assert old - 0.01 <= new < old + 0.08
    assert old - 0.12 < bad < new


def test_annotators_are_drawn_towards_their_own_kind() -> None:
    names = {f"h{i}": 0.95 for i in range(5)} | {f"j{i}": 0.65 for i in range(5)}
    kinds = {name: "judge" for name in names if name[0] == "j"}
    rows, truth = simulated(names, 500, kinds=kinds)
    rows += [("p00000", "h new", "human", truth[0], None, None), ("p00000", "j new", "judge", truth[0], None, None)]
    patterns, model, _ = fitted(rows)

    assert shares_of(patterns, model, "h new")[RIGHT] > 0.88
    assert shares_of(patterns, model, "j new")[RIGHT] < 0.75


def test_one_vote_of_one_annotator_rests_on_the_prior() -> None:
    """The prior's accuracy is 0.7; its share of equal pairs is 0.1, of which half would have been called a tie."""
    _, _, found = fitted([("p1", "ann", "human", 1, None, None)])
    _, low, tie, high = found.row(0)

    assert high / (low + high) == pytest.approx(0.7, abs=0.03)
    assert tie == pytest.approx(0.05 / (0.05 + 0.9 * 0.9), abs=0.03)


@pytest.mark.parametrize("who", ["unnamed web", "ann"])
def test_one_vote_on_each_of_many_pairs_changes_little_of_the_prior(who: str) -> None:
    _, _, found = fitted([(f"p{i}", who, "human", -1 if i % 3 else 1, None, None) for i in range(300)])

    share = (found["p_low"] / (found["p_low"] + found["p_high"])).to_numpy()
    assert sorted(set(np.round(share, 9))) == pytest.approx([0.3, 0.7], abs=0.06)
    assert found["p_tie"].max() < 0.2


@pytest.mark.parametrize(("agreement", "accuracy"), [(0.60, 0.7236), (0.65, 0.7739), (0.70, 0.8162), (0.75, 0.8536)])
def test_how_often_two_agree_says_how_often_they_are_right(agreement: float, accuracy: float) -> None:
    rows: list[Vote] = [(f"p{i}", "unnamed web", "human", -1, None, None) for i in range(10_000)]
    rows += [(f"p{i}", "unnamed web", "human", -1 if i < 10_000 * agreement else 1, None, None) for i in range(10_000)]
    patterns, model, _ = fitted(rows)

    assert shares_of(patterns, model, "unnamed web")[RIGHT] == pytest.approx(accuracy, abs=0.01)


def test_with_one_vote_for_each_annotator_what_counts_is_how_often_people_agree() -> None:
    """At accuracy 0.8, three agree on 52 of 100 pairs, and are right then with 0.985."""
    rows: list[Vote] = [(f"p{i // 3:02}", f"a{i}", "human", 1 if i % 3 == 2 and i > 156 else -1, None, None) for i in range(300)]
    _, _, found = fitted(rows)

    agreed, split = found["p_low"].to_numpy()[:52], found["p_low"].to_numpy()[52:]
    assert agreed == pytest.approx(np.full(52, 0.985), abs=0.02)
    assert split == pytest.approx(np.full(48, 0.8), abs=0.06)


def test_votes_that_agree_no_more_than_by_chance_say_nothing() -> None:
    rows: list[Vote] = [(f"p{i // 3}", f"a{i}", "human", [-1, -1, 1][i % 3], None, None) for i in range(300)]
    _, _, found = fitted(rows)

    assert found["p_low"].to_numpy() == pytest.approx(np.full(100, 0.5), abs=0.02)


def test_all_ties_say_that_pairs_are_equal_and_nothing_about_sides() -> None:
    rows: list[Vote] = [(f"p{i}", who, "human", 0, None, None) for i in range(30) for who in ("ann", "bob")]
    _, model, found = fitted(rows)

    assert found["p_tie"].min() > 0.7
    assert found["p_low"].to_list() == found["p_high"].to_list()
    assert np.isfinite(model.log_tables).all()


def test_an_annotator_who_contradicts_themself_says_nothing_of_the_sides() -> None:
    rows, _ = simulated(SKILLS, 100)
    rows += [("q", "a", "human", vote, None, None) for vote in (-1, 1, 1)]
    _, _, found = fitted(rows)
    _, low, _, high = found.row(-1)

    assert low == high


@settings(max_examples=25)
@given(ROWS.filter(bool), st.integers(0, 3))
def test_a_step_is_what_loops_over_votes_make_of_it(rows: list[Vote], seed: int) -> None:
    frame = votes(rows)
    numbers = number_annotators([frame])
    patterns = merge([patterns_of(frame, numbers)], numbers)
    model = DawidSkene(numbers)
    rng = np.random.default_rng(seed)
    posterior = rng.dirichlet([1, 1, 1], len(patterns.counts))
    start = model.first(np.zeros(0))
    frozen = replace(start, steps=10**6)

    counts = np.repeat(start.kinds[:1], numbers.height, axis=0)
    for p, count in enumerate(patterns.counts):
        for c in patterns.cells[patterns.indptr[p] : patterns.indptr[p + 1]]:
            who, shown, category = int(c) // 21, int(c) // 7 % 3, int(c) % 7
            vote, strength = int(np.sign(category - 3)), abs(category - 3)  # 1 unknown, 2 slight, 3 strong
            for truth, weight in zip((-1, 0, 1), posterior[p] * count, strict=True):
                counts[who, TIE_BETTER if truth else TIE_EQUAL, 0 if vote == 0 else 1] += weight
                if vote == 0:
                    continue
                if truth:
                    row = RIGHT if shown == 0 else RIGHT_FIRST if (shown == 1) == (truth == -1) else RIGHT_SECOND
                    counts[who, row, 0 if vote == truth else 1] += weight
                elif shown:
                    counts[who, FIRST_EQUAL, 0 if (vote == -1) == (shown == 1) else 1] += weight
                if strength > 1:
                    row = STRONG_EQUAL if not truth else STRONG_RIGHT if vote == truth else STRONG_WRONG
                    counts[who, row, 3 - strength] += weight
    cells = expected_cells(patterns, posterior)
    mirrored = np.array([0, 2, 1])[:, None] * 7 + np.arange(7)[::-1]
    by_annotator = cells.reshape(-1, 21, 3)
    symmetric = ((by_annotator + by_annotator[:, mirrored.ravel(), ::-1]) / 2).reshape(cells.shape)
    classes = (posterior * patterns.counts[:, None]).sum(axis=0)
    step = model.improve(frozen, symmetric, (classes + classes[::-1]) / 2)

    shares = counts / counts.sum(axis=2, keepdims=True)
    for who, (better, equal) in enumerate(shares[:, :2, 0]):  # bounds are another test's; here, where they do not bind
        if equal < max(1 / 3, 1.5 * better):
            shares[who, :2] = step.shares[who, :2]
    assert step.shares == pytest.approx(shares, abs=1e-12)
    assert step.ties == pytest.approx((classes[1] + 1) / (patterns.pairs + 10), abs=1e-12)


def test_a_table_holds_what_a_vote_says_given_the_order_and_the_truth() -> None:
    numbers = number_annotators([pl.DataFrame({"annotator": ["a"], "kind": ["human"]})])
    row = np.array([0.1, 0.6, 0.7, 0.8, 0.6, 0.75, 0.6, 0.2, 0.1])
    shares = np.stack([row, 1 - row], axis=1)[None]
    model = DawidSkene(numbers)
    parameters = Confusion(shares, shares, 0.2, 0)
    tables = np.exp(model.log_tables(parameters)).reshape(3, 7, 3)

    # low strong, slight, unknown; tie; high unknown, slight, strong
    assert tables[0, :, 0] == pytest.approx([0.378, 0.252, 0.63, 0.1, 0.27, 0.216, 0.054])  # 0.9 * 0.7 * 0.6 ...
    assert tables[1, :, 0] == pytest.approx([0.432, 0.288, 0.72, 0.1, 0.18, 0.144, 0.036])  # low first, low better
    assert tables[2, :, 0] == pytest.approx([0.324, 0.216, 0.54, 0.1, 0.36, 0.288, 0.072])
    assert tables[1, :, 2] == pytest.approx([0.072, 0.288, 0.36, 0.1, 0.54, 0.216, 0.324])  # low first, high better
    assert tables[0, :, 1] == pytest.approx([0.02, 0.18, 0.2, 0.6, 0.2, 0.18, 0.02])
    assert tables[1, :, 1] == pytest.approx([0.03, 0.27, 0.3, 0.6, 0.1, 0.09, 0.01])
    assert tables[2, :, 1] == pytest.approx([0.01, 0.09, 0.1, 0.6, 0.3, 0.27, 0.03])
    assert np.exp(model.log_prior(parameters)) == pytest.approx([0.4, 0.2, 0.4])


@given(st.integers(0, 2**32 - 1))
def test_tie_shares_are_the_likeliest_within_their_bounds(seed: int) -> None:
    """Against a grid of what is allowed: ties in a third of equal pairs at least, and half as often again as in other pairs."""
    votes_of = np.random.default_rng(seed).gamma(0.7, 4.0, (2, 2)) + 0.2
    better, equal = _tie_shares(votes_of[None, 0], votes_of[None, 1])[0]

    def score(one: npt.ArrayLike, two: npt.ArrayLike) -> np.ndarray:
        shares = np.stack(np.broadcast_arrays(one, 1 - np.asarray(one), two, 1 - np.asarray(two)))
        return np.tensordot(votes_of.ravel(), np.log(shares), axes=1)

    grid = np.linspace(0.002, 0.998, 250)
    one, two = np.meshgrid(grid, grid)
    allowed = (two >= 1 / 3) & (two >= 1.5 * one)
    assert score(better, equal) >= score(one[allowed], two[allowed]).max() - 1e-9
    assert equal >= 1 / 3 - 1e-12
    assert equal >= 1.5 * better - 1e-12
