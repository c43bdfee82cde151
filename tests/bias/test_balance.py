"""Matched subsets and weights without a length bias."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.bias import balance as module
from pipeline.bias.balance import Balance, apply_balance, apply_weights, coefficient, reduce_balance, summarise_balance
from pipeline.errors import SchemaError
from pipeline.statistics.table import STATISTIC

RULE = Balance("even", "chars_gap")
NOISY = Balance("even", "chars_gap", drop_first="noise_score")


def rows(*gaps: int | None) -> pl.DataFrame:
    return pl.DataFrame({"pair_id": [f"p{i:05d}" for i in range(len(gaps))], "chars_gap": pl.Series(gaps, dtype=pl.Int64)})


def biased(n: int = 3000) -> pl.DataFrame:
    """Longer answers win the more often the longer they are."""
    rng = np.random.default_rng(8)
    size = rng.gamma(1.5, 200, n).round()
    sign = np.where(rng.random(n) < 0.5 + 0.45 * np.tanh(size / 500), 1, -1)
    return rows(*(size * sign).astype(int).tolist())


def numbers(pairs: pl.DataFrame, rule: Balance = RULE) -> dict[str, dict[str, float]]:
    return {
        row["statistic"].removeprefix("balance_"): row
        for row in reduce_balance([summarise_balance(pairs, rule)], rule).statistics.to_dicts()
    }


def test_the_fewest_pairs_go_and_of_equals_those_with_the_least_ids() -> None:
    pairs = rows(5, -4, 3, 2, 0, None, 6)
    found = reduce_balance([summarise_balance(pairs, RULE)], RULE)
    result = apply_balance(pairs, RULE, found)

    assert result.kept["pair_id"].to_list() == ["p00001", "p00004", "p00005", "p00006"]
    detail = "of the pairs with |chars_gap| up to 6.0, 4 are above 0 and 1 below: 3 dropped to make them as many"
    assert result.dropped.select("pair_id", "stage", "reason", "score", "threshold", "detail", "witness_pair_id").rows() == [
        ("p00000", "rules", "even", 5.0, 6.0, detail, None),
        ("p00002", "rules", "even", 3.0, 6.0, detail, None),
        ("p00003", "rules", "even", 2.0, 6.0, detail, None),
    ]
    assert result.kept.columns == pairs.columns


def test_the_highest_of_another_column_go_first() -> None:
    pairs = rows(5, -4, 3, 2, 6, -1).with_columns(noise_score=pl.Series([0.1, 0.9, 0.8, None, 0.1, 0.0]))
    result = apply_balance(pairs, NOISY, reduce_balance([summarise_balance(pairs, NOISY)], NOISY))

    assert result.dropped["pair_id"].to_list() == ["p00000", "p00002"]
    assert result.kept["noise_score"].to_list() == [0.9, None, 0.1, 0.0]


def test_large_differences_are_matched_with_large_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MIN_BIN_PAIRS", 4)
    pairs = rows(1, 1, -1, -1, 100, 100, 100, -100)
    result = apply_balance(pairs, RULE, reduce_balance([summarise_balance(pairs, RULE)], RULE))

    assert result.dropped["chars_gap"].to_list() == [100, 100]
    assert result.dropped["threshold"].to_list() == [100.0, 100.0]


def test_the_length_coefficient_is_gone_after_matching_and_weighing() -> None:
    pairs = biased()
    told = numbers(pairs)

    assert told["coefficient_before"]["low"] > 1.5
    assert abs(told["coefficient_matched"]["value"]) < 0.05
    assert told["coefficient_matched"]["low"] < 0 < told["coefficient_matched"]["high"]
    assert told["coefficient_weighted"]["value"] == pytest.approx(0.0, abs=1e-9)
    found = reduce_balance([summarise_balance(pairs, RULE)], RULE)
    lost = apply_balance(pairs, RULE, found).dropped.height
    gaps = pairs.filter(pl.col("chars_gap") != 0).height
    assert (told["lost_matched"]["value"], told["lost_matched"]["n"]) == (lost / gaps, gaps)
    assert told["lost_matched"]["low"] < lost / gaps < told["lost_matched"]["high"]
    assert 0 < told["lost_weighted"]["value"] < lost / gaps  # weights waste less


def test_weights_lighten_the_heavier_side_alone() -> None:
    pairs = rows(5, 5, 5, -5, 0, None)
    weighted = apply_weights(pairs, RULE, reduce_balance([summarise_balance(pairs, RULE)], RULE))

    assert weighted["balance_weight"].to_list() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1.0, 1.0, 1.0])


def test_a_bin_with_one_side_alone_weighs_nothing() -> None:
    pairs = rows(5, 4, 3)
    found = reduce_balance([summarise_balance(pairs, RULE)], RULE)

    assert apply_weights(pairs, RULE, found)["balance_weight"].to_list() == [0.0, 0.0, 0.0]
    assert apply_balance(pairs, RULE, found).kept.height == 0
    assert numbers(pairs)["lost_weighted"]["value"] == 1.0


def test_the_coefficient_is_that_of_the_vote_on_length() -> None:
    """Two thirds win by one deviation: sigma(b tanh 1) = 2 / 3, but for the weak prior."""
    value, low, high = coefficient(pl.Series([100] * 20_000 + [-100] * 10_000), 100.0)

    assert value == pytest.approx(np.log(2) / np.tanh(1), abs=1e-3)
    assert low < value < high


@given(st.lists(st.tuples(st.one_of(st.none(), st.integers(-4, 4)), st.sampled_from([0.0, 0.2, 0.7])), max_size=40), st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_every_bin_is_even_nothing_is_lost_and_partitions_do_not_matter(told: list[tuple[int | None, float]], parts: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MIN_BIN_PAIRS", 5)
        pairs = rows(*(gap for gap, _ in told)).with_columns(noise_score=pl.Series([noise for _, noise in told], dtype=pl.Float64))
        found = reduce_balance([summarise_balance(pairs, NOISY)], NOISY)
        cut = reduce_balance([summarise_balance(pairs[i::parts].reverse(), NOISY) for i in range(parts)], NOISY)
    result = apply_balance(pairs, NOISY, found)

    assert cut.bins == found.bins
    assert_frame_equal(cut.statistics, found.statistics, check_exact=True)
    assert sorted([*result.kept["pair_id"], *result.dropped["pair_id"]]) == pairs["pair_id"].to_list()
    lower = 0.0
    for one in found.bins:
        inside = pl.col("chars_gap").abs().is_between(lower, one.upper, closed="right")
        kept, all_of_it = result.kept.filter(inside)["chars_gap"], pairs.filter(inside)["chars_gap"]
        assert (kept > 0).sum() == (kept < 0).sum() == min((all_of_it > 0).sum(), (all_of_it < 0).sum())
        gone = result.dropped.filter(inside)
        assert gone.height == one.dropped
        if gone.height:
            stays = result.kept.filter(inside & (pl.col("chars_gap").sign() == gone["chars_gap"].sign()[0]))
            assert gone["noise_score"].min() >= max(stays["noise_score"], default=0.0)
        lower = one.upper
    pieces = [apply_balance(pairs[i::parts], NOISY, found) for i in range(parts)]
    assert sorted(pl.concat([piece.dropped for piece in pieces])["pair_id"]) == sorted(result.dropped["pair_id"])


def test_no_pairs_are_even() -> None:
    found = reduce_balance([], RULE)
    result = apply_balance(rows(), RULE, found)

    assert (found.bins, result.kept.height, result.dropped.height) == ((), 0, 0)
    assert found.statistics.schema == STATISTIC
    assert apply_weights(rows(), RULE, found).height == 0


def test_a_missing_column_is_named() -> None:
    with pytest.raises(SchemaError, match="rule 'even': the pairs lack the columns \\['chars_gap', 'noise_score'\\]"):
        summarise_balance(rows().select("pair_id"), Balance("even", "chars_gap", "noise_score"))
