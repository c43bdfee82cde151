import itertools

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.noise import neighbours
from pipeline.noise.features import block_sizes, features
from pipeline.noise.folds import fold_of
from pipeline.noise.neighbours import siblings
from pipeline.noise.peers import Peers, apply, fit_peers, log_odds
from pipeline.noise.score import Reviewer, fit_reviewer, noise_columns, verdicts

Double = npt.NDArray[np.float64]


def unit(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float16]:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def vectors(rng: np.random.Generator, rows: int, dimensions: int = 6) -> npt.NDArray[np.float16]:
    return unit(rng.normal(size=(rows, dimensions)))


def world(rows: int, flips: float, seed: int = 0) -> dict[str, npt.NDArray]:
    """Pairs whose better answer lies further along one direction; a share of the labels is flipped."""
    rng = np.random.default_rng(seed)
    prompt, first, second = (vectors(rng, rows) for _ in range(3))
    better = np.where(first[:, 0] > second[:, 0], 1.0, -1.0)
    flipped = rng.random(rows) < flips
    cluster = pl.Series([f"c{row // 4}" for row in range(rows)])
    label = np.where(flipped, -better, better)
    return {"features": features(prompt, first, second), "label": label, "flipped": flipped, "fold": fold_of(cluster, 4)}


def fitted(data: dict[str, npt.NDArray], rows: npt.NDArray | slice = slice(None), sign: int = 1) -> Peers:
    """Peers of 4 folds on some rows of a world."""
    label = sign * data["label"][rows]
    return fit_peers(
        sign * data["features"][rows], (label + 1) / 2, np.ones(len(label)), data["fold"][rows], folds=4, blocks=block_sizes(6, 0)
    )


def area(score: Double, truth: npt.NDArray[np.bool_]) -> float:
    others = np.sort(score[~truth])
    below = np.searchsorted(others, score[truth]) + np.searchsorted(others, score[truth], side="right")
    return float(below.mean() / (2 * len(others)))


@given(st.integers(0, 2**32 - 1))
def test_features_change_sign_when_the_sides_change_places(seed: int) -> None:
    rng = np.random.default_rng(seed)
    prompt, first, second = (vectors(rng, 5) for _ in range(3))
    extra = rng.normal(size=(5, 2)).astype(np.float32)
    table = features(prompt, first, second, extra)
    assert table.shape == (5, sum(block_sizes(6, 2)))
    np.testing.assert_array_equal(table, -features(prompt, second, first, -extra))


def test_features_of_one_pair() -> None:
    table = features(
        np.array([[1, 0]], np.float16), np.array([[0, 1]], np.float16), np.array([[1, 0]], np.float16), np.array([[7]], np.float32)
    )
    assert table.tolist() == [[-1, 1, -1, 0, -1, 1, -1, 7]]


def test_features_of_blank_texts_are_finite_and_tables_that_do_not_match_are_refused() -> None:
    blank = np.zeros((2, 4), np.float16)
    assert not features(blank, blank, blank).any()
    with pytest.raises(ValueError, match="do not belong together"):
        features(blank, blank, blank[:1])
    with pytest.raises(ValueError, match="not finite"):
        features(blank, blank, np.full((2, 4), np.nan, np.float16))


def test_a_cluster_has_one_fold_whatever_stands_beside_it() -> None:
    clusters = pl.Series([f"c{number}" for number in range(2000)])
    folds = fold_of(clusters, 5)
    np.testing.assert_array_equal(folds[::-1], fold_of(clusters.reverse(), 5))
    assert fold_of(clusters.slice(7, 1), 5)[0] == folds[7]
    assert min(np.bincount(folds, minlength=5)) > 300
    with pytest.raises(ValueError, match="null"):
        fold_of(pl.Series(["a", None]), 5)
    with pytest.raises(ValueError, match="at least 2"):
        fold_of(clusters, 1)


def test_the_peers_learn_a_direction_and_say_the_reverse_of_exchanged_sides() -> None:
    data = world(800, 0.2)
    peers = fitted(data)
    p = apply(peers, data["features"], data["fold"])
    truth = np.where(data["flipped"], -data["label"], data["label"]) > 0
    assert area(p, truth) > 0.9
    np.testing.assert_allclose(p, 1 - apply(peers, -data["features"], data["fold"]), atol=1e-15)


def test_peers_do_not_depend_on_the_order_of_rows_or_on_which_side_comes_first() -> None:
    data = world(300, 0.1)
    peers, shuffled = fitted(data), fitted(data, np.random.default_rng(3).permutation(300))
    np.testing.assert_array_equal(peers.coefficients, shuffled.coefficients)
    np.testing.assert_array_equal(peers.coefficients, fitted(data, sign=-1).coefficients)


def test_what_is_said_of_a_fold_does_not_depend_on_its_labels() -> None:
    data = world(400, 0.1)
    before = log_odds(fitted(data), data["features"], data["fold"])
    own = data["fold"] == 2
    data["label"] = np.where(own, -data["label"], data["label"])
    after = log_odds(fitted(data), data["features"], data["fold"])
    np.testing.assert_array_equal(before[:, own], after[:, own])
    assert (before[0, ~own] != after[0, ~own]).any()


def test_peers_come_back_from_their_table() -> None:
    peers = fitted(world(200, 0.1))
    back = Peers.from_table(peers.to_table().reverse())
    np.testing.assert_array_equal(peers.coefficients, back.coefficients)
    np.testing.assert_array_equal(peers.scale, back.scale)


@pytest.mark.parametrize("target", [0.5, 1.0])
def test_labels_that_say_nothing_teach_nothing(target: float) -> None:
    blank = np.zeros((20, 6), np.float16)
    table = world(20, 0)["features"] if target == 0.5 else features(blank, blank, blank)
    peers = fit_peers(table, np.full(20, target), np.ones(20), np.arange(20) % 4, folds=4)
    assert (apply(peers, table, np.arange(20) % 4) == 0.5).all()


def test_an_empty_sample_and_an_empty_fold_give_peers_without_an_opinion() -> None:
    data = world(40, 0)
    assert not fitted(data, slice(0, 0)).coefficients.any()
    assert np.isfinite(fitted(data, data["fold"] == 1).coefficients).all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"target": 1.5}, "target"),
        ({"weight": -1.0}, "weight"),
        ({"fold": 9}, "fold"),
        ({"folds": 2}, "folds"),
        ({"blocks": (1,)}, "blocks"),
    ],
)
def test_input_out_of_range_is_refused(changed: dict[str, object], message: str) -> None:
    table = world(8, 0)["features"]
    column = {"target": 1.0, "weight": 1.0, "fold": 0} | {
        name: value for name, value in changed.items() if name in {"target", "weight", "fold"}
    }
    options = {name: value for name, value in changed.items() if name in {"folds", "blocks"}}
    with pytest.raises(ValueError, match=message):
        fit_peers(table, np.full(8, column["target"]), np.full(8, column["weight"]), np.full(8, column["fold"], np.int64), **options)


def test_siblings_against_a_loop_over_pairs() -> None:
    rng = np.random.default_rng(5)
    first, second = vectors(rng, 40), vectors(rng, 40)
    second[7] = first[7]  # equal answers point nowhere
    cluster = pl.Series([*rng.choice(["a", "b", "c"], 39), "alone"])
    target, weight = rng.integers(0, 5, 40) / 4, rng.integers(0, 3, 40).astype(float)
    balance, mass = siblings(cluster, first, second, target, weight)
    apart = first.astype(float) - second.astype(float)
    for one in range(40):
        expected, expected_mass = 0.0, 0.0
        for other in range(40):
            lengths = np.linalg.norm(apart[one]) * np.linalg.norm(apart[other])
            if one != other and cluster[one] == cluster[other] and lengths > 0:
                cosine = apart[one] @ apart[other] / lengths
                expected += cosine * (2 * target[other] - 1) * weight[other]
                expected_mass += abs(cosine) * weight[other]
        assert balance[one] == pytest.approx(expected, abs=0.02)
        assert mass[one] == pytest.approx(expected_mass, abs=0.02)
    assert (balance[39], mass[39], balance[7]) == (0, 0, 0)


@pytest.mark.parametrize("at_once", [1, 3, 8])
def test_siblings_do_not_depend_on_how_many_are_compared_at_once_or_on_the_order_of_rows(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(6)
    first, second, target, weight = vectors(rng, 60), vectors(rng, 60), rng.integers(0, 5, 60) / 4, rng.random(60)
    cluster = pl.Series([*["many"] * 13, *[f"{row // 4}" for row in range(40)], *"aabbcde"])
    whole = siblings(cluster, first, second, target, weight)
    assert all(np.count_nonzero(part[:57]) > 50 for part in whole)
    assert not any(part[57:].any() for part in whole)
    monkeypatch.setattr(neighbours, "_PAIRS", at_once)
    order = rng.permutation(60)
    shuffled = siblings(cluster[order.tolist()], first[order], second[order], target[order], weight[order])
    for one, other in zip(whole, shuffled, strict=True):
        np.testing.assert_array_equal(one[order], other)


def test_a_siblings_label_counts_reversed_when_its_sides_are_exchanged_and_ones_own_never() -> None:
    first, second = np.eye(2, dtype=np.float16)[[0, 1]], np.eye(2, dtype=np.float16)[[1, 0]]
    balance, mass = siblings(pl.Series(["a", "a"]), first, second, np.array([1.0, 1.0]), np.ones(2))
    np.testing.assert_allclose(balance, [-1, -1], atol=1e-3)
    np.testing.assert_allclose(mass, [1, 1], atol=1e-3)


def reviewed(rows: int, flips: float, strength: float, seed: int = 0) -> tuple[pl.DataFrame, npt.NDArray[np.bool_], Reviewer]:
    """Evidence of a known strength for the truth, and labels of which a share is wrong."""
    rng = np.random.default_rng(seed)
    truth = rng.choice([-1.0, 1.0], rows)
    z = rng.normal(0, strength, rows)
    truth = np.where(rng.random(rows) < 1 / (1 + np.exp(-z)), 1.0, -1.0)
    flipped = rng.random(rows) < flips
    label, nothing, fold = np.where(flipped, -truth, truth), np.zeros(rows), np.arange(rows) % 5
    said = np.stack([z, z + rng.normal(0, 0.5, rows), z + rng.normal(0, 0.5, rows)])
    reviewer = fit_reviewer(said, nothing, nothing, (label + 1) / 2, np.ones(rows), fold)
    return noise_columns(reviewer, said, nothing, nothing, fold, label), flipped, reviewer


@pytest.mark.parametrize("flips", [0.05, 0.1, 0.2, 0.4])
def test_where_the_evidence_is_strong_the_score_is_calibrated_and_finds_the_rate(flips: float) -> None:
    columns, flipped, reviewer = reviewed(40_000, flips, 5.0)
    score = columns["noise_score"].to_numpy()
    tenth = np.minimum((score * 10).astype(int), 9)
    error = sum(abs(score[tenth == one].mean() - flipped[tenth == one].mean()) * (tenth == one).mean() for one in np.unique(tenth))
    assert error < 0.03
    assert score.mean() == pytest.approx(flips, abs=0.03)
    assert reviewer.rate[1] - 0.01 <= flips
    assert flips <= reviewer.rate[2] + 0.01
    assert reviewer.rate[2] - reviewer.rate[1] < 0.08
    assert area(score, flipped) > 0.85


def test_where_the_evidence_is_weak_the_rate_is_the_priors_with_a_wide_interval() -> None:
    _, _, reviewer = reviewed(500, 0.1, 0.05)
    assert reviewer.rate[2] - reviewer.rate[1] > 0.25


def test_a_label_the_evidence_speaks_for_is_never_more_suspect_and_no_siblings_are_null() -> None:
    columns, _, reviewer = reviewed(1000, 0.2, 2.0)
    assert (np.diff(reviewer.curve) <= 0).all()
    assert columns["neighbour_agreement"].null_count() == 1000
    back = Reviewer.from_table(reviewer.to_table().reverse())
    np.testing.assert_array_equal(back.curve, reviewer.curve)
    np.testing.assert_array_equal(back.slopes, reviewer.slopes)


def test_siblings_that_contradict_the_label_raise_its_score() -> None:
    rng = np.random.default_rng(1)
    truth = rng.choice([-1.0, 1.0], 2000)
    label = np.where(rng.random(2000) < 0.2, -truth, truth)
    said, fold, mass = np.zeros((3, 2000)), np.arange(2000) % 5, np.full(2000, 3.0)
    reviewer = fit_reviewer(said, 3 * truth, mass, (label + 1) / 2, np.ones(2000), fold)
    columns = noise_columns(reviewer, said, 3 * truth, mass, fold, label)
    assert columns.filter(label != truth)["noise_score"].min() > columns.filter(label == truth)["noise_score"].max()
    assert columns["neighbour_agreement"].to_list() == np.where(label == truth, 1.0, 0.0).tolist()


def test_nothing_to_fit_on_leaves_the_prior() -> None:
    empty = np.zeros(0)
    reviewer = fit_reviewer(np.zeros((3, 0)), empty, empty, empty, empty, np.zeros(0, np.int64))
    assert reviewer.rate == pytest.approx([0.27, 0.045, 0.48], abs=0.005)


def test_verdicts_of_the_published_example() -> None:
    losses = np.array([[0.1, 0.2, 0.9, 1.5], [0.2, 1.4, 0.1, 1.6]])
    limits = np.quantile(losses, 0.5, axis=1, keepdims=True)  # eta = 0.5: each peer hands on the half it finds easier
    assert verdicts(losses, limits).to_list() == ["keep", "ambiguous", "ambiguous", "suspect"]


def test_half_peers_share_no_fold() -> None:
    data = world(400, 0.1)
    base = fitted(data).coefficients
    for changed, own in itertools.permutations(range(4), 2):
        label = data["label"].copy()
        label[np.flatnonzero(data["fold"] == changed)[:8]] *= -1
        other = fitted(data | {"label": label}).coefficients
        directions = [other[peer, own] / np.linalg.norm(other[peer, own]) for peer in (1, 2)]
        before = [base[peer, own] / np.linalg.norm(base[peer, own]) for peer in (1, 2)]
        moved = [float(1 - one @ two) for one, two in zip(directions, before, strict=True)]
        assert max(moved) > 2 * min(moved)  # the other half only hears of it through the shrinkage that both share
