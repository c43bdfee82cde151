"""Margins for a reward model, and probabilities and weights for trainers of one's own: what the columns hold and what they are for."""

import math
from typing import Any

import pytest

from pipeline.errors import ConfigError
from pipeline.export import FORMATS, Options
from pipeline.export.soft import margin_loss, soft_loss, weighted_loss
from pipeline.schemas import PAIR, conform
from tests.export.rows import pair, table


def converted(name: str, *rows: dict[str, Any], **options: Any) -> tuple[list[dict[str, Any]], list[str]]:
    form = FORMATS[name](Options(**options))
    done = form.convert(table(PAIR, *rows).select(form.reads))
    conform(done.kept, form.schema, name)
    assert set(done.dropped.columns) == {*form.reads, "reason"}
    return done.kept.to_dicts(), done.dropped["reason"].to_list()


def test_a_margin_is_a_float_and_never_null() -> None:
    kept, reasons = converted("reward", pair("p0", margin=0.5), pair("p1", margin=0.0))
    assert ([row["margin"] for row in kept], reasons) == ([0.5, 0.0], [])
    kept, reasons = converted("reward", pair("p0", rm_mean=1.25), pair("p1"), pair("p2", rm_mean=math.nan), margin="rm_mean")
    assert ([row["margin"] for row in kept], reasons) == ([1.25], ["no_margin", "no_margin"])


def test_a_probability_becomes_log_odds_that_are_finite_and_not_negative() -> None:
    kept, _ = converted("reward", *(pair(f"p{p}", p_soft=p) for p in (0.8, 1.0, 0.3)), margin="p_soft")
    assert [row["margin"] for row in kept] == pytest.approx([1.386294, 6.906755, 0.0], abs=1e-5)


def test_an_unknown_margin_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="--margin score: expected one of margin, p_chosen, p_soft, rm_mean"):
        FORMATS["reward"](Options(margin="score"))


def test_soft_labels_stand_beside_the_pair_and_a_tie_is_even() -> None:
    numbers = {"p_chosen": 0.75, "p_soft": 0.4, "p_tie": 0.1, "margin": 0.5, "weight": 2.0}
    kept, _ = converted("soft", pair("p0", **numbers), pair("p1", **numbers, tie=True))
    assert [{name: row[name] for name in numbers} for row in kept] == [
        {**numbers, "margin": pytest.approx(0.5)},
        {**numbers, "p_chosen": 0.5, "p_soft": 0.5, "margin": 0.0},
    ]


def test_the_three_losses_of_the_check_at_a_gap_of_1() -> None:
    assert weighted_loss(1, 1) == pytest.approx(0.313262, abs=1e-6)
    assert weighted_loss(1, 3) == pytest.approx(0.939785, abs=1e-6)
    assert margin_loss(1, 3) == pytest.approx(2.126928, abs=1e-6)
    assert soft_loss(1, 0.8) == pytest.approx(0.513262, abs=1e-6)
    least = math.log(0.8 / 0.2)
    assert least == pytest.approx(1.386294, abs=1e-6)
    assert soft_loss(least, 0.8) == pytest.approx(0.500402, abs=1e-6)
    assert soft_loss(least, 0.8) < min(soft_loss(least - 0.01, 0.8), soft_loss(least + 0.01, 0.8))
