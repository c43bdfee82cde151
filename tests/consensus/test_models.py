"""What each method makes of the same votes, and of prompts with several answers."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipeline.config import ConsensusConfig
from pipeline.consensus import models
from pipeline.consensus.cycles import cycle_statistics
from pipeline.consensus.models import DECIDED, VoteModel
from pipeline.consensus.patterns import merge, number_annotators, patterns_of
from pipeline.consensus.votes import VOTES

Vote = tuple[str, str, int, float | None]  # pair, annotator, vote, strength
METHODS = ("dawid-skene", "graded-response", "bradley-terry", "closest-three", "majority")
NOBODY = pl.DataFrame(schema={"annotator": pl.String, "accuracy": pl.Float64, "first_share": pl.Float64})


def votes(rows: list[Vote]) -> pl.DataFrame:
    told = [
        {"pair_id": p, "judgement_id": f"{i:04d}", "annotator": who, "kind": "human", "source": "s", "vote": vote, "strength": strength}
        for i, (p, who, vote, strength) in enumerate(rows)
    ]
    return pl.DataFrame(told, schema=VOTES)


def pairs(*rows: tuple[str, str, str, str | None]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"pair_id": pl.String, "low_id": pl.String, "high_id": pl.String, "group": pl.String}, orient="row")


def decide(rows: list[Vote], about: pl.DataFrame, **config: Any) -> models.Decided:
    table, settings = votes(rows), ConsensusConfig(**config)
    numbers = number_annotators([table])
    fitted = models.fit(merge([patterns_of(table, numbers)], numbers), settings)
    model = VoteModel(fitted.log_tables, fitted.log_prior, fitted.signs)
    return models.decide(table, about, settings, model, numbers, NOBODY)


def people(pair: str, *said: int) -> list[Vote]:
    return [(pair, f"a{i}", vote, None) for i, vote in enumerate(said)]


CHAIN = pairs(("p1", "x", "y", "g"), ("p2", "x", "z", "g"), ("p3", "y", "z", "g"), ("p4", "u", "v", "h"))
IN_ORDER = [*people("p1", -1, -1, 1), *people("p2", -1, -1, -1), *people("p3", -1, 0, -1), *people("p4", 1, 1, 1)]
ROUND = [*people("p1", -1, -1, -1), *people("p2", 1, 1, 1), *people("p3", -1, -1, -1), *people("p4", 1, 1, 1)]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_three_probabilities_that_add_up(method: str) -> None:
    said, _ = decide(IN_ORDER, CHAIN, method=method)

    assert said.schema == DECIDED
    assert said["pair_id"].to_list() == ["p1", "p2", "p3", "p4"]
    assert said["votes_admitted"].to_list() == [3] * 4
    assert said.select(pl.sum_horizontal("p_low", "p_tie", "p_high")).to_series().to_list() == pytest.approx([1.0] * 4)
    assert said.select(pl.col("p_low") > pl.col("p_high")).to_series().to_list() == [True, True, True, False]
    p = said.select("p_low", "p_tie", "p_high").to_numpy()
    assert said["posterior_entropy"].to_list() == pytest.approx((-p * np.log2(p)).sum(axis=1).tolist())


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_rows_changes_nothing(method: str) -> None:
    table = votes(IN_ORDER)
    numbers, settings = number_annotators([table]), ConsensusConfig(method=method)  # type: ignore[arg-type]
    fitted = models.fit(merge([patterns_of(table, numbers)], numbers), settings)
    model = VoteModel(fitted.log_tables, fitted.log_prior, fitted.signs)

    def said(rows: pl.DataFrame) -> pl.DataFrame:
        return models.decide(rows, CHAIN[::-1], settings, model, numbers, NOBODY).pairs

    assert_frame_equal(said(table[::-1]), said(table), check_exact=True)


def test_majority_and_closest_three_are_counts_under_the_prior() -> None:
    rows: list[Vote] = [("p4", f"a{i}", vote, s) for i, (vote, s) in enumerate([(1, 0.9), (1, 0.8), (1, 1.0), (-1, 1.0), (-1, 0.2)])]
    all_of_them, _ = decide(rows, CHAIN, method="majority", prior=1.0)
    three, _ = decide(rows, CHAIN, method="closest-three", prior=0.5)

    assert all_of_them.select("p_low", "p_tie", "p_high").rows() == [(3 / 8, 1 / 8, 4 / 8)]
    assert three.select("p_low", "p_tie", "p_high").rows() == [(0.5 / 4.5, 0.5 / 4.5, 3.5 / 4.5)]
    assert three["votes_admitted"].to_list() == [5]


def test_closest_votes_keep_two_where_there_are_two_and_take_unstated_strength_for_full() -> None:
    table = votes(
        [("p1", "a", 1, None), ("p1", "b", -1, 0.1), ("p2", "a", 1, None), ("p2", "b", 1, 1.0), ("p2", "c", 0, None), ("p2", "d", 1, 0.9)]
    )

    assert models.closest_votes(table).select("pair_id", "annotator").rows() == [
        ("p1", "a"),
        ("p1", "b"),
        ("p2", "a"),
        ("p2", "b"),
        ("p2", "d"),
    ]


@pytest.mark.parametrize("method", METHODS)
def test_a_cycle_is_named_on_its_pairs_and_nowhere_else(method: str) -> None:
    said, cycles = decide(ROUND, CHAIN, method=method)

    assert said["cyclic_share"].to_list() == [1.0, 1.0, 1.0, None]
    assert said["no_ranking"].to_list() == ["1 of 1 triads are cyclic (100.0 %), more than 5 %: no single ranking"] * 3 + [None]
    assert cycle_statistics([cycles]).select("statistic", "value", "n").rows() == [("cyclic_share", 1.0, 1), ("no_ranking_share", 1.0, 1)]


def test_cycles_below_the_threshold_leave_the_ranking_in_use() -> None:
    tolerant, _ = decide(ROUND, CHAIN, method="bradley-terry", max_cyclic_share=1.0)
    strict, _ = decide(ROUND, CHAIN, method="bradley-terry")
    alone, _ = decide(ROUND, CHAIN, method="graded-response")

    assert tolerant["no_ranking"].null_count() == 4
    # On one scale three answers that beat each other in a circle are equal.
    assert (tolerant["p_low"] - tolerant["p_high"]).abs()[:3].max() < 1e-6
    assert_frame_equal(strict, alone, check_exact=True)


def test_bradley_terry_scales_prompts_with_three_answers_only_and_lets_pairs_help_each_other() -> None:
    rows = [*people("p1", -1, -1, -1), *people("p3", -1, -1, -1), *people("p2", -1, 1), *people("p4", 1, 1, 1)]
    scaled, _ = decide(rows, CHAIN, method="bradley-terry")
    alone, _ = decide(rows, CHAIN, method="graded-response")

    assert scaled.row(3) == alone.row(3)
    # x beats y and y beats z, so x beats z, of which its own two votes say nothing.
    assert alone.row(1, named=True)["p_low"] == pytest.approx(alone.row(1, named=True)["p_high"])
    assert scaled.row(1, named=True)["p_low"] > 0.6


def test_a_pair_without_a_group_takes_no_part_in_rankings_and_cycles() -> None:
    apart = CHAIN.with_columns(group=pl.when(pl.col("pair_id") != "p2").then("group"))
    said, cycles = decide(ROUND, apart, method="bradley-terry")
    alone, _ = decide(ROUND, apart, method="graded-response")

    assert said["cyclic_share"].null_count() == 4
    assert said.row(1) == alone.row(1)
    assert said.row(0) != alone.row(0)
    assert cycle_statistics([cycles])["value"].null_count() == 2


def test_strength_is_the_mean_over_the_votes_and_an_unstated_one_is_whole() -> None:
    rows: list[Vote] = [
        ("p1", "a", -1, 0.5),
        ("p1", "b", -1, None),
        ("p1", "c", 0, 0.9),
        ("p1", "d", 1, 0.25),
        ("p4", "a", 1, float("nan")),
    ]
    said, _ = decide(rows, CHAIN)

    assert said["strength"].to_list() == [-1.25 / 4, 1.0]


def test_no_votes_no_rows() -> None:
    said, cycles = decide([], CHAIN.clear())

    assert said.is_empty()
    assert said.schema == DECIDED
    assert "no triads" in cycle_statistics([cycles])["note"][0]


@pytest.mark.parametrize("method", METHODS)
def test_a_model_travels_as_a_table(method: str) -> None:
    table = votes(IN_ORDER)
    numbers = number_annotators([table])
    counted = merge([patterns_of(table, numbers)], numbers)
    fitted = models.fit(counted, ConsensusConfig(method=method))  # type: ignore[arg-type]
    model = VoteModel(fitted.log_tables, fitted.log_prior, fitted.signs)
    back = VoteModel.from_table(model.to_table())

    np.testing.assert_array_equal(back.log_tables, model.log_tables)
    np.testing.assert_array_equal(back.log_prior, model.log_prior)
    np.testing.assert_array_equal(back.signs, model.signs)
    assert back.signs.dtype == model.signs.dtype
    (told,) = models.fit_statistics(fitted, counted).to_dicts()
    assert told["note"].startswith("converged after")
    assert told["n"] == 4


def test_a_fit_that_was_stopped_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "MOST_ITERATIONS", 1)
    table = votes(IN_ORDER)
    numbers = number_annotators([table])
    counted = merge([patterns_of(table, numbers)], numbers)

    (told,) = models.fit_statistics(models.fit(counted, ConsensusConfig()), counted).to_dicts()

    assert told["note"] == "stopped after 1 iterations, not converged"
