"""What a reader's verdict adds to the doubt about a label, with numbers worked out by hand."""

from random import Random
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.rationale.doubt import RATES, add_rationale_noise, reduce_verdicts, summarise_verdicts
from pipeline.schemas import RATIONALE

Row = tuple[float | None, float, float | None, bool | None]  # noise_score, p_chosen, share of verdicts for chosen, label shown
_SAID = {1.0: ("chosen", "chosen"), 0.75: ("chosen", "tie"), 0.5: ("tie", "tie"), 0.25: ("rejected", "tie"), 0.0: ("rejected", "rejected")}
_RATIONALES = pl.Schema(pl.DataFrame(RATIONALE.empty_table()).schema)


def table(*rows: Row) -> pl.DataFrame:
    told = [(f"{i:05d}", noise, p) for i, (noise, p, _, _) in enumerate(rows)]
    return pl.DataFrame(told, schema={"pair_id": pl.String, "noise_score": pl.Float64, "p_chosen": pl.Float64}, orient="row")


def rationales(*rows: Row) -> pl.DataFrame:
    """Of a pair whose label was hidden two, each with its writer's verdict; of another one, with its readers' verdicts."""
    told = []
    for i, (_, _, share, shown) in enumerate(rows):
        if share is not None:
            first, second = _SAID[share]
            row = {"pair_id": f"{i:05d}", "kind": "detailed", "label_shown": shown}
            if shown is False:
                told += [row | {"own_verdict": verdict} for verdict in (first, second)]
            else:
                told.append(row | {"recovered_first": first, "recovered_second": second})
    return pl.DataFrame(told, schema=_RATIONALES)


def rates(*rows: Row) -> pl.DataFrame:
    return reduce_verdicts([summarise_verdicts(table(*rows), rationales(*rows))])


def alike(*rows: Row) -> dict[str, float]:
    """P(verdict for the label | right), and | wrong, of pairs of one sort."""
    return rates(*rows).select("if_right", "if_wrong").row(0, named=True)


def known(right: float, wrong: float, *, informed: bool = False, firmness: float = 1.0) -> pl.DataFrame:
    return pl.DataFrame([(informed, firmness, right, wrong)], schema=RATES, orient="row")


def scores(found: pl.DataFrame, *rows: Row) -> list[float | None]:
    return add_rationale_noise(table(*rows), rationales(*rows), found)["rationale_noise_score"].to_list()


class TestAccuracy:
    def test_agreement_and_noise_say_how_often_the_verdict_is_right(self) -> None:
        # .8 right on labels of which .2 are wrong agrees with .8 x .8 + .2 x .2 = .68 of them.
        found = alike(*[(0.2, 0.7, 1.0, False)] * 6_800, *[(0.2, 0.7, 0.0, False)] * 3_200)
        assert (found["if_right"], found["if_wrong"]) == pytest.approx((0.8, 0.2), abs=1e-3)

    def test_few_pairs_are_drawn_towards_verdicts_that_say_nothing(self) -> None:
        # 9 of 10 agree, and of ten more a half: 14 / 20; (.7 - .2) / .6.
        assert alike(*[(0.2, 0.7, 1.0, False)] * 9, (0.2, 0.7, 0.0, False))["if_right"] == pytest.approx(5 / 6)

    @pytest.mark.parametrize(("noise", "agree"), [(0.5, 900), (0.46, 900), (0.2, 100)])
    def test_labels_at_random_or_verdicts_below_chance_say_nothing(self, noise: float, agree: int) -> None:
        found = alike(*[(noise, 0.7, 1.0, False)] * agree, *[(noise, 0.7, 0.0, False)] * (1000 - agree))
        assert found["if_right"] == found["if_wrong"] == 0.5

    def test_no_verdict_is_taken_to_be_certain(self) -> None:
        assert alike(*[(0.01, 0.7, 1.0, False)] * 5000)["if_right"] == 0.99

    def test_a_writer_who_knew_the_label_is_believed_only_as_far_as_noise_shows(self) -> None:
        always = alike(*[(noise, 0.7, 1.0, True) for noise in (0.05, 0.6)] * 500)
        assert always["if_right"] == always["if_wrong"]

        # Of labels that are surely right .96 are argued for, of surely wrong ones .56: the slope over noise is .4.
        found = alike(
            *[
                (noise, 0.7, verdict, True)
                for noise, agree in ((0.0, 4800), (1.0, 2800))
                for verdict in [1.0] * agree + [0.0] * (5000 - agree)
            ]
        )
        assert (found["if_right"], found["if_wrong"]) == pytest.approx((0.96, 0.56), abs=1e-3)

    def test_verdicts_that_change_with_the_order_are_counted_apart(self) -> None:
        steady, torn = [(0.2, 0.7, 1.0, False)] * 1000, [(0.2, 0.7, 0.75, False), (0.2, 0.7, 0.25, False)] * 500
        found = rates(*steady, *torn, (0.2, 0.7, 0.5, False))
        assert found.select("firmness", "if_right").rows() == [(0.5, 0.5), (1.0, 0.99)]


class TestScore:
    def test_odds_multiply(self) -> None:
        # Odds of .2 are 1 to 4; a verdict of accuracy .8 against the label makes them 4 times as large, one for it a quarter.
        against, agreed = scores(known(0.8, 0.2), (0.2, 0.7, 0.0, False), (0.2, 0.7, 1.0, False))
        assert against == pytest.approx(0.5)
        assert agreed == pytest.approx(1 / 17)

    def test_two_doubts_of_seven_tenths_are_the_fusing_check(self) -> None:
        assert scores(known(0.7, 0.3), (0.7, 0.6, 0.0, False)) == pytest.approx([0.844828], abs=1e-6)

    def test_without_a_verdict_for_a_side_the_score_stays(self) -> None:
        assert scores(known(0.8, 0.2), (0.3, 0.7, None, None), (0.3, 0.7, 0.5, False), (None, 0.7, None, None)) == [0.3, 0.3, None]

    def test_votes_stand_in_where_content_says_nothing(self) -> None:
        assert scores(known(0.8, 0.2), (None, 0.8, 0.0, False)) == pytest.approx([0.5])

    def test_an_informed_verdict_has_rates_of_its_own(self) -> None:
        both = pl.concat([known(0.8, 0.2), known(0.95, 0.9, informed=True)])
        hidden, shown, unknown = scores(both, (0.2, 0.7, 0.0, False), (0.2, 0.7, 0.0, True), (0.2, 0.7, 0.0, None))
        assert hidden == pytest.approx(0.5)
        assert shown == unknown == pytest.approx(1 / 3)  # odds 1 to 4 times .1 to .05

    def test_the_label_and_all_else_of_a_pair_stays(self) -> None:
        rows: list[Row] = [(0.1, 0.7, 0.0, False), (0.9, 0.7, 1.0, True)]
        pairs = table(*rows).with_columns(chosen=pl.Series(["x", "y"]))
        assert_frame_equal(add_rationale_noise(pairs, rationales(*rows), known(0.9, 0.1)).drop("rationale_noise_score"), pairs)


class TestWhoseVerdict:
    def counted(self, **fields: str | bool | None) -> list[tuple[bool, float, int]]:
        row = {"pair_id": "00000", "kind": "detailed", "recovered_first": "chosen", "recovered_second": "chosen", **fields}
        said = pl.DataFrame([row], schema=_RATIONALES)
        found = summarise_verdicts(table((0.2, 0.7, None, None)), said)
        return found.select("informed", "firmness", "agree").rows()

    def test_a_writer_that_was_not_told_speaks_for_itself(self) -> None:
        assert self.counted(label_shown=False, own_verdict="rejected") == [(False, 1.0, 0)]

    def test_readers_speak_for_one_that_was_told_and_for_stated_ones(self) -> None:
        assert self.counted(label_shown=True, own_verdict="rejected") == [(True, 1.0, 1)]
        assert self.counted(kind="stated", label_shown=None, own_verdict="rejected") == [(True, 1.0, 1)]

    def test_readers_of_those_alone_that_agree_are_not_asked(self) -> None:
        assert self.counted(label_shown=False, own_verdict=None) == []

    def test_scores_by_a_rubric_and_measured_factors_are_no_verdict(self) -> None:
        silent = {"recovered_first": None, "recovered_second": None}
        assert self.counted(kind="rubric", label_shown=False, own_verdict="chosen", **silent) == []
        assert self.counted(kind="factors", **silent) == []


shares = st.floats(0, 1, allow_nan=False)
verdicts = st.none() | st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])


@settings(max_examples=50)
@given(st.lists(st.tuples(st.none() | shares, st.floats(0.5, 1), verdicts, st.none() | st.booleans()), max_size=30), st.randoms())
def test_neither_order_nor_partitions_change_a_score_and_scores_are_probabilities(rows: list[Row], random: Random) -> None:
    pairs, said = table(*rows), rationales(*rows)
    order = list(range(len(rows)))
    random.shuffle(order)
    shuffled, turned = pairs[order], said.reverse()
    halves = [shuffled[: len(rows) // 3], shuffled[len(rows) // 3 :]]
    whole = reduce_verdicts([summarise_verdicts(pairs, said)])
    assert_frame_equal(
        reduce_verdicts([summarise_verdicts(h, turned.join(h, on="pair_id", how="semi")) for h in halves]), whole, check_exact=True
    )
    found = add_rationale_noise(pairs, said, whole)
    again = pl.concat(add_rationale_noise(half, turned, whole) for half in halves).sort("pair_id")
    assert_frame_equal(again, found, check_exact=True)
    assert found["rationale_noise_score"].drop_nulls().is_between(0, 1).all()


def test_verdicts_of_known_accuracy_make_a_calibrated_score_that_finds_more() -> None:
    draw = np.random.default_rng(0)
    noise = draw.beta(1.2, 4, 10_000)
    wrong = draw.random(len(noise)) < noise
    agrees = (draw.random(len(noise)) < 0.8) != wrong
    rows = [(float(e), 0.7, float(agreed), False) for e, agreed in zip(noise, agrees, strict=True)]
    found = np.array(scores(rates(*rows), *rows), dtype=np.float64)

    def loss(score: "np.ndarray[Any, np.dtype[np.float64]]") -> float:
        return float(-np.mean(np.where(wrong, np.log(score), np.log1p(-score))))

    assert found.mean() == pytest.approx(wrong.mean(), abs=0.02)
    assert loss(found) < 0.85 * loss(noise)
