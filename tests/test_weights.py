"""Soft labels and weights, with numbers worked out by hand."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline import weights
from pipeline.config import WeightsConfig
from pipeline.errors import ConfigError
from pipeline.stage import partition_buckets

SOURCES = pl.lit(["s", "t"])
BOTH = [(noise, strength) for noise in (False, True) for strength in (False, True)]


def pair_frame(*rows: tuple[str, float, float, bool, list[str]]) -> pl.DataFrame:
    """One pair for each (pair_id, p_soft, margin, tie, sources); content says something of each."""
    names = ["pair_id", "p_soft", "margin", "tie", "sources"]
    return (
        pl.DataFrame(rows, schema=names, orient="row")
        .cast({"margin": pl.Float32, "tie": pl.Boolean, "sources": pl.List(pl.String)})
        .with_columns(noise_score=0.5)
    )


def soft(typical: float, *rows: tuple[float, float | None]) -> list[float]:
    """`p_soft` of (p_chosen, noise_score)."""
    pairs = pl.DataFrame(rows, schema={"p_chosen": pl.Float64, "noise_score": pl.Float64}, orient="row").with_columns(sources=SOURCES)
    return weights.add_p_soft(pairs, pl.DataFrame({"weighed_as": ["s\nt"], "typical": [typical]})).get_column("p_soft").to_list()


def weighed(pairs: pl.DataFrame, *, noise: bool, strength: bool, parts: int = 1) -> pl.DataFrame:
    """All three parts, over as many partitions."""
    cut = [pairs.slice(first, last - first + 1) for first, last in partition_buckets(parts)]
    scales = weights.reduce_weights([weights.summarise_weights(part) for part in cut], noise=noise, strength=strength)
    return pl.concat(weights.add_weights(part, scales, noise=noise, strength=strength) for part in cut)


def test_two_independent_opinions_multiply_their_odds() -> None:
    # The reference's check of fusing: .7 and .7 -> .844828, which is .49 / (.49 + .09).
    assert soft(0.5, (0.7, 0.3)) == pytest.approx([0.844828], abs=1e-6)
    # .8 x .4 against .2 x .6.
    assert soft(0.5, (0.8, 0.6)) == pytest.approx([0.32 / 0.44])


def test_votes_count_by_how_much_surer_they_are_than_typical_ones() -> None:
    typical = 2 / 3
    as_usual, surer, weaker, unknown = soft(typical, (2 / 3, 0.4), (6 / 7, 0.4), (0.6, 0.4), (6 / 7, None))
    assert as_usual == pytest.approx(0.6)  # content alone: odds 1.5
    assert surer == pytest.approx(4.5 / 5.5)  # odds 6 over 2, times 1.5
    assert weaker == pytest.approx(1.125 / 2.125)  # odds 1.5 over 2, times 1.5
    assert unknown == pytest.approx(6 / 7)


def test_p_soft_is_one_half_where_votes_and_content_are_certain_of_opposite_sides() -> None:
    assert soft(0.5, (1.0, 1.0)) == [0.5]


def test_p_soft_below_one_half_turns_no_label_round() -> None:
    pairs = pl.DataFrame({"chosen": ["a"], "rejected": ["b"], "p_chosen": [0.6], "noise_score": [0.95], "sources": [["s"]]})
    told = weights.add_p_soft(pairs, weights.reduce_votes([]))
    assert told.select(pairs.columns).equals(pairs)
    assert told.get_column("p_soft")[0] < 0.1
    assert told.select(weights.trust()).item() == 0.0


@given(p=st.floats(0.5, 0.999), noise=st.floats(0.001, 0.999), typical=st.floats(0.5, 0.99))
def test_p_soft_rises_with_the_votes_and_falls_with_the_noise(p: float, noise: float, typical: float) -> None:
    lower, here, surer = soft(typical, (p, min(0.9995, noise + 0.0005)), (p, noise), (min(0.9995, p + 0.0005), noise))
    assert 0 <= lower < here < surer <= 1


def test_the_typical_label_is_the_mean_of_its_sources_over_partitions_without_ties() -> None:
    pairs = pl.DataFrame(
        {"p_chosen": [0.6, 0.8, 0.5, 0.9], "tie": [False, False, True, False], "sources": [["a"], ["a"], ["a"], ["a", "b"]]}
    )
    found = weights.reduce_votes([weights.summarise_votes(pairs.slice(i, 1)) for i in range(4)])
    assert found.get_column("weighed_as").to_list() == ["a", "a\nb"]
    assert found.get_column("typical").to_list() == pytest.approx([0.7, 0.9])
    assert weights.reduce_votes([]).is_empty()


@pytest.mark.parametrize(
    ("p_soft", "noise", "expected"),
    [(1.0, 0.1, 1.0), (5 / 6, 0.1, 0.5), (0.66, 0.1, 0.0), (0.2, 0.1, 0.0), (0.75, None, 0.5), (0.4, None, 0.0)],
)
def test_trust_begins_where_a_label_is_twice_as_likely_right_as_wrong(p_soft: float, noise: float | None, expected: float) -> None:
    pairs = pl.DataFrame({"p_soft": [p_soft], "noise_score": [noise]}, schema={"p_soft": pl.Float64, "noise_score": pl.Float64})
    assert pairs.select(weights.trust()).item() == pytest.approx(expected)


def test_noise_weighs_over_all_sources_and_strength_within_them() -> None:
    pairs = pair_frame(
        ("1", 1.0, 0.25, False, ["stated"]),  # strengths 0.25 and 0.75: mean 0.5 -> 0.5 and 1.5
        ("2", 5 / 6, 0.75, False, ["stated"]),
        ("3", 0.5, 1.0, False, ["unstated"]),  # no strength: both 1
        ("4", 1.0, 1.0, False, ["unstated"]),
    )

    def of(noise: bool, strength: bool) -> list[float]:
        return weighed(pairs, noise=noise, strength=strength).get_column("weight").to_list()

    assert of(False, False) == [1.0] * 4
    assert of(False, True) == pytest.approx([0.5, 1.5, 1.0, 1.0])
    assert of(True, False) == pytest.approx([1 / 0.625, 0.5 / 0.625, 0.0, 1 / 0.625])  # trust 1, .5, 0, 1: mean .625
    assert of(True, True) == pytest.approx([0.5 / 0.5625, 0.75 / 0.5625, 0.0, 1 / 0.5625])  # .5, .75, 0, 1: mean .5625


def test_ties_get_a_weight_and_move_no_other() -> None:
    pairs = pair_frame(("1", 0.9, 0.5, False, ["s"]), ("2", 0.7, 1.0, False, ["s"]))
    tied = pl.concat([pairs, pair_frame(("3", 0.5, 0.0, True, ["only ties"]))])
    for noise, strength in BOTH:
        alone, together = (weighed(rows, noise=noise, strength=strength) for rows in (pairs, tied))
        assert_frame_equal(alone, together.head(2))
        assert together.get_column("weight").null_count() == 0


def test_where_nothing_can_be_compared_nothing_is_scaled() -> None:
    worthless = pair_frame(("1", 0.5, 0.0, False, ["s"]), ("2", 0.4, 0.0, False, ["s"]))
    assert weighed(worthless, noise=True, strength=True).get_column("weight").to_list() == [0.0, 0.0]
    assert weighed(worthless.clear(), noise=True, strength=True).get_column("weight").to_list() == []


def test_the_columns_stay_in_their_order_and_an_old_weight_is_replaced() -> None:
    pairs = pair_frame(("1", 0.9, 0.5, False, ["s"])).with_columns(weight=pl.lit(7.0, pl.Float32), last=pl.lit(1))
    told = weighed(pairs, noise=True, strength=False)
    assert told.schema == pairs.schema
    assert told.get_column("weight").to_list() == [1.0]


row = st.tuples(st.floats(0, 1), st.floats(0, 1), st.booleans(), st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=2, unique=True))


@given(rows=st.lists(row, min_size=1, max_size=40), seed=st.integers(0, 9), parts=st.integers(2, 7), kind=st.sampled_from(BOTH))
def test_weights_have_mean_one_whatever_the_order_and_the_partitions(
    rows: list[tuple[float, float, bool, list[str]]], seed: int, parts: int, kind: tuple[bool, bool]
) -> None:
    noise, strength = kind
    pairs = pair_frame(*((f"{i:02x}", p, m, tie, sorted(sources)) for i, (p, m, tie, sources) in enumerate(rows)))
    found = weighed(pairs, noise=noise, strength=strength)
    shuffled = weighed(pairs.sample(fraction=1.0, shuffle=True, seed=seed), noise=noise, strength=strength, parts=parts)
    assert_frame_equal(found, shuffled.sort("pair_id"), check_exact=True)
    decided = found.filter(~pl.col("tie"), pl.col("weight") >= 0).get_column("weight").cast(pl.Float64)
    raw = pairs.filter(~pl.col("tie")).select(pl.when(noise).then(weights.trust()).otherwise(1) * (pl.col("margin") if strength else 1))
    if len(decided) and raw.to_series().max() > 1e-3:  # type: ignore[operator]  # numbers are rounded to 2^-32
        assert decided.mean() == pytest.approx(1, rel=1e-4)


def test_the_mean_weight_is_taken_over_partitions_without_ties() -> None:
    pairs = pl.DataFrame({"weight": [0.5, 2.0, 9.0], "tie": [False, False, True]}, schema={"weight": pl.Float32, "tie": pl.Boolean})
    assert weights.reduce_mean([weights.summarise_mean(pairs.slice(i, 1)) for i in range(3)]) == pytest.approx(1.25)
    assert weights.reduce_mean([]) == 1.0
    assert weights.reduce_mean([weights.summarise_mean(pairs.tail(1))]) == 1.0


def value(expression: pl.Expr, **columns: list[float | None]) -> list[float]:
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.Float64)).select(expression).to_series().to_list()


def test_semantic_weights_of_the_reference() -> None:
    found = value(weights.semantic(pl.col("cosine"), 5.0), cosine=[0.8, 1.0, 1.0000001, -1.0, None])
    assert found == pytest.approx([0.367879, 1.0, 1.0, 4.54e-5, 1.0], abs=1e-6)
    assert max(found) <= 1


def test_combined_rewards_of_the_reference() -> None:
    gaps = [pl.col("first"), pl.col("second")]
    assert value(weights.rewarded(gaps[:1]), first=[0.0, None]) == pytest.approx([-0.693147] * 2, abs=1e-6)
    # Raw sums are 1 both times.
    assert value(weights.rewarded(gaps), first=[2.0, 0.5], second=[-1.0, 0.5]) == pytest.approx([-1.440190, -0.948154], abs=1e-6)
    assert value(weights.rewarded(gaps[:1]), first=[-800.0, 800.0]) == pytest.approx([-800.0, 0.0])


@pytest.mark.parametrize(("progress", "expected"), [(0.0, 0.2), (0.5, 0.6), (1.0, 1.0), (2.0, 1.0)])
def test_curriculum_weights_of_the_reference(progress: float, expected: float) -> None:
    found = value(weights.curriculum(pl.col("easy"), progress), easy=[0.2, 1.0, 3.0, None])
    assert found == pytest.approx([expected, 1.0, 1.0, min(1.0, progress)])


def factored(pairs: pl.DataFrame, **config: Any) -> list[float]:
    asked = weights.check_factors(WeightsConfig.model_validate(config))
    assert set(asked.columns) <= set(pairs.columns)
    found = weights.add_factors(pairs, asked)
    assert found.columns == pairs.columns
    return found["weight"].to_list()


def several() -> pl.DataFrame:
    about = {"pair_id": ["1", "2", "3"], "prompt_id": ["p", "p", "q"], "cosine_prompt_chosen": [0.8, 1.0, None]}
    signals = {"rm_mean": [0.0, None, 2.0], "agreement": [0.5, 1.0, 0.0]}
    return pl.DataFrame({**about, **signals, "weight": pl.Series([1.0, 2.0, 3.0], dtype=pl.Float32)})


def test_prompts_count_alike_whatever_the_number_of_their_pairs() -> None:
    assert factored(several().with_columns(weight=pl.lit(1.0, pl.Float32)), per_prompt=True) == [0.5, 0.5, 1.0]


def test_factors_multiply_the_weight_there_is() -> None:
    assert factored(several()) == [1.0, 2.0, 3.0]
    assert factored(several(), semantic=5.0) == pytest.approx([0.367879, 2.0, 3.0], abs=1e-6)
    assert factored(several(), rewards=["rm_mean"]) == pytest.approx([0.5, 1.0, 3 * 0.880797])
    assert factored(several(), curriculum={"easiness": "agreement", "progress": 0}) == pytest.approx([0.5, 2.0, 0.0])
    everything = {"per_prompt": True, "semantic": 5.0, "rewards": ["rm_mean"], "curriculum": {"easiness": "agreement", "progress": 0.5}}
    assert factored(several(), **everything)[2] == pytest.approx(3 * 0.880797 * 0.5)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"rewards": ["rm_mean", "rm_men"]}, r"weights\.rewards\.1: unknown column 'rm_men'; did you mean 'rm_mean'"),
        ({"curriculum": {"easiness": "tie", "progress": 0.5}}, r"weights\.curriculum\.easiness: 'tie' gives Boolean; expected a number"),
    ],
)
def test_a_factor_that_is_no_number_is_named(config: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        weights.check_factors(WeightsConfig.model_validate(config))
