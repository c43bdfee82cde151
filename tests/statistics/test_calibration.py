import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.statistics.calibration import calibration, calibration_statistics, reliability, summarise_calibration

P, Y = (0.9, 0.8, 0.6, 0.55), (1, 1, 0, 1)


def frame(p: list[float], y: list[int]) -> pl.DataFrame:
    ids = [f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}" for number in range(len(p))]
    return pl.DataFrame({"id": ids, "subject_kind": "dataset", "subject": "all", "p": p, "y": y})


@pytest.mark.parametrize("bins", [5, 10])
def test_the_worked_example(bins: int) -> None:
    found = calibration(P, Y, bins)
    assert (found.ece, found.brier, found.balance) == pytest.approx((0.1125, 0.153125, 0.0375), abs=1e-9)
    assert found.mce == pytest.approx(0.2)


def test_errors_that_cancel_in_balance_show_in_the_bins() -> None:
    found = calibration((0.9, 0.9, 0.6, 0.6), (1, 0, 1, 1), 10)
    assert found.balance == pytest.approx(0.0, abs=1e-9)
    assert found.ece == pytest.approx(0.40)


@pytest.mark.parametrize(
    ("p", "y", "words"),
    [([], [], "no probabilities"), ([1.2], [1], "between 0 and 1"), ([0.5], [2], "0 or 1"), ([math.nan], [1], "between")],
)
def test_what_is_no_probability_is_refused(p: list[float], y: list[int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        calibration(p, y, 5)


PAIRS = st.lists(st.tuples(st.integers(0, 100), st.integers(0, 1), st.booleans()), min_size=1, max_size=30)


@given(pairs=PAIRS, bins=st.sampled_from([5, 10, 20]))
def test_exchanging_sides_changes_nothing_when_both_orders_count(pairs: list[tuple[int, int, bool]], bins: int) -> None:
    p, y = [a / 100 for a, _, _ in pairs], [b for _, b, _ in pairs]
    turned = [(1 - a, 1 - b) if swap else (a, b) for a, b, (_, _, swap) in zip(p, y, pairs, strict=True)]
    assert calibration(p, y, bins, both_orders=True) == calibration([a for a, _ in turned], [b for _, b in turned], bins, both_orders=True)


@given(pairs=PAIRS, bins=st.sampled_from([5, 10, 20]))
def test_bins_are_those_of_plain_loops(pairs: list[tuple[int, int, bool]], bins: int) -> None:
    binned: dict[int, list[tuple[float, int]]] = {}
    for a, b, _ in pairs:
        # (low, high] above one half, [low, high) below, in whole hundredths
        number = -(-a * bins // 100) - 1 if a >= 50 else a * bins // 100
        binned.setdefault(number, []).append((a / 100, b))
    apart = [abs(sum(p for p, _ in held) - sum(y for _, y in held)) for held in binned.values()]
    means = [gap / len(held) for gap, held in zip(apart, binned.values(), strict=True)]
    found = calibration([a / 100 for a, _, _ in pairs], [b for _, b, _ in pairs], bins)
    assert (found.ece, found.ace, found.mce) == pytest.approx((sum(apart) / len(pairs), sum(means) / len(means), max(means)), abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(pairs=PAIRS, cut=st.integers(0, 30))
def test_partitions_add_up_to_what_is_measured_at_once(pairs: list[tuple[int, int, bool]], cut: int) -> None:
    p, y = [a / 100 for a, _, _ in pairs], [b for _, b, _ in pairs]
    table = frame(p, y)
    parts = [summarise_calibration(part) for part in (table[cut:], table[:cut]) if not part.is_empty()]
    found = dict(calibration_statistics(parts).select("statistic", "value").iter_rows())
    for bins in (5, 10, 20):
        assert found[f"ece_{bins}"] == pytest.approx(calibration(p, y, bins, both_orders=True).ece, abs=1e-9)
    exact = calibration(p, y, 10, both_orders=True)
    assert (found["ace_10"], found["mce_10"], found["brier"], found["balance"]) == pytest.approx(exact[1:], abs=1e-9)


def test_the_interval_of_a_calibrated_forecast_reaches_almost_to_0_and_of_a_bad_one_does_not() -> None:
    rng = np.random.default_rng(1)
    p = rng.random(1500)
    good = (rng.random(1500) < p).astype(int)
    bad = (rng.random(1500) < 0.5 + (p - 0.5) / 3).astype(int)
    low = {}
    for name, y in (("good", good), ("bad", bad)):
        table = calibration_statistics([summarise_calibration(frame(p.tolist(), y.tolist()))])
        assert table.filter((pl.col("low") > pl.col("value")) | (pl.col("high") < pl.col("value"))).is_empty()
        low[name] = table.row(by_predicate=pl.col("statistic") == "ece_10", named=True)["low"]
    assert low["good"] < 0.02
    assert low["bad"] > 0.08


def test_reliability_counts() -> None:
    table = reliability([summarise_calibration(frame([0.9, 0.85, 0.6], [1, 0, 1]))], 5)
    assert table.select("bin", "n", "mean_p", "share").rows() == [
        (0, 2, pytest.approx(0.125), 0.5),
        (1, 0, None, None),
        (2, 2, pytest.approx(0.5), 0.5),
        (3, 0, None, None),
        (4, 2, pytest.approx(0.875), 0.5),
    ]
