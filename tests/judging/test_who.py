"""A judge is asked where people did not decide, and on some pairs where they did, to be held against them."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.judging.who import annotator, check, reduce_gold, select, summarise_gold
from tests.judging.rows import ENDPOINT, HIGH, LOW, TIE, config, tally, votes

NOBODY = pl.Series([], dtype=pl.String)
PAIRS = tally(("q1", "x", "y"), ("q2", "x", "y"), ("q3", "x", "y"), ("q4", "x", "y"))
ONE, TWO, THREE, FOUR = PAIRS["pair_id"]


def humans(pair: str, *said: int) -> list[tuple[str, str, int]]:
    return [(pair, f"h{i}", vote) for i, vote in enumerate(said)]


def test_pairs_with_three_human_votes_are_not_asked_about() -> None:
    cast = votes(*humans(ONE, LOW, LOW), *humans(TWO, LOW, LOW, LOW), *humans(THREE, LOW, HIGH, TIE), (FOUR, "j", LOW), (FOUR, "j2", LOW))
    result = select(PAIRS, cast, config(), NOBODY)

    assert result.kept["pair_id"].to_list() == [pair for pair in PAIRS["pair_id"] if pair in (ONE, FOUR)]
    assert dict(result.dropped.select("pair_id", "reason").rows()) == {TWO: "humans_decided", THREE: "humans_decided"}


def test_gold_is_asked_about_although_people_decided() -> None:
    cast = votes(*humans(ONE, LOW, LOW, LOW), *humans(TWO, LOW, LOW, HIGH), *humans(THREE, LOW, HIGH, TIE), *humans(FOUR, TIE, TIE, LOW))
    gold = reduce_gold([summarise_gold(PAIRS, cast, config())], config())

    assert gold.to_list() == sorted([ONE, TWO])  # a draw, or a tie, decides nothing that a judge could be held against
    assert sorted(select(PAIRS, cast, config(), gold).kept["pair_id"]) == sorted([ONE, TWO])


@given(most=st.integers(0, 5), first=st.integers(0, 4))
def test_gold_is_the_same_however_pairs_are_parted(most: int, first: int) -> None:
    settings = config(gold_pairs=most)
    cast = votes(*(vote for pair in PAIRS["pair_id"] for vote in humans(pair, LOW, LOW, LOW)))
    whole = reduce_gold([summarise_gold(PAIRS, cast, settings)], settings)
    parted = reduce_gold([summarise_gold(part, cast, settings) for part in (PAIRS[first:], PAIRS[:first])], settings)

    assert whole.to_list() == parted.to_list()
    assert len(whole) == min(most, 4)


def test_pairs_that_left_or_show_one_answer_twice_or_nothing_are_not_asked_about() -> None:
    pairs = PAIRS.with_columns(
        left_stage=pl.when(pl.col("pair_id") == ONE).then(pl.lit("deduplicate")),
        high_id=pl.when(pl.col("pair_id") == TWO).then("low_id").otherwise("high_id"),
    )
    result = select(pairs, votes(), config(), NOBODY, pl.Series([THREE]))

    assert dict(result.dropped.select("pair_id", "reason").rows()) == {ONE: "left", TWO: "identical_answers", THREE: "degenerate_answer"}
    assert result.kept.columns == PAIRS.columns


def test_a_condition_sees_what_the_votes_say_and_does_not_apply_to_gold() -> None:
    cast = votes(
        *humans(ONE, LOW, HIGH), *humans(TWO, LOW), *humans(FOUR, LOW, LOW, LOW), (TWO, "unnamed web", LOW), (TWO, "unnamed web", LOW)
    )

    def asked(only_if: str) -> set[str]:
        return set(select(PAIRS, cast, config(only_if=only_if), pl.Series([FOUR])).kept["pair_id"])

    assert asked("votes_low = votes_high and n_votes > 0") == {ONE, FOUR}
    assert asked("n_annotators >= 3") == {TWO, FOUR}
    assert asked("votes_tie > 0 or n_votes = 0") == {THREE, FOUR}


@pytest.mark.parametrize(
    ("only_if", "told"),
    [
        ("chosen_chars > 3", "unknown column 'chosen_chars'; columns: n_votes"),
        ("1 = 1", "no column"),
        ("n_votes + 1", "expected true or false"),
        ("n_votes <", "not a valid condition"),
        ("n_votes > (select 1)", "select"),
        ("votes_chosen > 1", "not a valid condition"),
    ],
)
def test_a_wrong_condition_is_named(only_if: str, told: str) -> None:
    with pytest.raises(ConfigError, match=r"judges\.panel\.only_if") as error:
        check(config(only_if=only_if))
    assert told in str(error.value)


def test_a_judge_is_named_after_its_model() -> None:
    assert annotator(config(), ENDPOINT) == "panel (qwen)"
