"""How much likelier good reactions than bad ones are."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.ches.follow_up import (
    FollowUps,
    distinct_follow_ups,
    follow_up_fingerprint,
    follow_up_schema,
    follow_up_scores,
    follow_up_table,
)
from pipeline.errors import ConfigError, PrefineError

SAID = distinct_follow_ups(["Thanks!", "Great"], ["No."])  # Great, No., Thanks!


def scores_of(rows: list[int], which: list[int], logps: list[float], tokens: list[int], said: FollowUps = SAID) -> list[tuple[int, float]]:
    found = follow_up_scores(np.array(rows, np.int64), np.array(which, np.int64), np.array(logps), np.array(tokens, np.int32), said)
    return list(zip(*(one.tolist() for one in found), strict=True))


def test_good_reactions_less_bad_ones() -> None:
    # Tokens (-1, -1) and (-2, -2) of good ones, (-3, -3) of the bad one.
    assert scores_of([7, 7, 7], [0, 1, 2], [-2.0, -6.0, -4.0], [2, 2, 2]) == [(7, 1.5)]


def test_long_follow_ups_count_as_much_as_short_ones() -> None:
    assert scores_of([0, 0, 0], [0, 1, 2], [-1.0, -30.0, -20.0], [1, 10, 10]) == [(0, 1.5)]


def test_a_follow_up_that_stands_there_twice_counts_once() -> None:
    said = distinct_follow_ups(["Thanks!", "Great", " Thanks!\n"], ["No.", "No."])
    assert said == FollowUps(("Great", "No.", "Thanks!"), (True, False, True))
    assert said == SAID


@pytest.mark.parametrize(
    ("positive", "negative", "message"),
    [
        ([], ["No."], r"follow_ups\.positive: the list is empty; expected"),
        (["Thanks!"], ["No.", " \n"], r"follow_ups\.negative: a text is blank; expected"),
        (["Thanks!", "Hm."], ["Hm. "], r"'Hm\.' is positive and negative; leave it in one of the lists"),
    ],
)
def test_lists_that_tell_nothing_are_refused(positive: list[str], negative: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        distinct_follow_ups(positive, negative)


def test_whatever_changes_a_score_changes_the_fingerprint() -> None:
    others = [
        follow_up_fingerprint("m", "u", SAID),
        follow_up_fingerprint("n", "t", SAID),
        follow_up_fingerprint("m", "t", distinct_follow_ups(["Thanks!"], ["Great", "No."])),
        follow_up_fingerprint("m", "t", distinct_follow_ups(["Thanks!", "Great."], ["No."])),
        follow_up_fingerprint("m", "t", distinct_follow_ups(["Great", "Thanks! 04:No."], ["No"])),
    ]
    same = follow_up_fingerprint("m", "t", distinct_follow_ups(["Great", "Thanks!"], ["No."]))
    assert same == follow_up_fingerprint("m", "t", SAID)
    assert len({same, *others}) == 6
    assert all(len(one) == 32 for one in others)


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.integers(1, 20), st.integers(1, 20))
def test_neither_the_order_of_continuations_nor_other_answers_change_a_bit(seed: int, good: int, bad: int) -> None:
    rng, answers = np.random.default_rng(seed), 5
    said = distinct_follow_ups([f"+{i}" for i in range(good)], [f"-{i}" for i in range(bad)])
    rows, which = (one.ravel() for one in np.divmod(np.arange(answers * (good + bad)), good + bad))
    logps, tokens = rng.normal(-20, 5, rows.size), rng.integers(1, 30, rows.size)
    found, whole = follow_up_scores(rows, which, logps, tokens, said)

    order = rng.permutation(rows.size)
    np.testing.assert_array_equal(follow_up_scores(rows[order], which[order], logps[order], tokens[order], said), (found, whole))
    one_each = [rows == i for i in range(answers)]
    alone = [follow_up_scores(rows[one], which[one], logps[one], tokens[one], said)[1].item() for one in one_each]
    np.testing.assert_array_equal(alone, whole)
    means, positive = (logps / tokens).reshape(answers, -1), np.array(said.positive)
    np.testing.assert_allclose(whole, means[:, positive].mean(axis=1) - means[:, ~positive].mean(axis=1), rtol=0, atol=1e-12)


def test_no_continuations_have_no_scores() -> None:
    assert scores_of([], [], [], []) == []


@pytest.mark.parametrize(
    ("rows", "which", "tokens", "message"),
    [
        ([3, 3], [0, 1], [1, 1], "response 3 has follow-up 2 0 times; expected each once"),
        ([3, 3, 3, 3], [0, 1, 2, 1], [1, 1, 1, 1], "response 3 has follow-up 1 2 times; expected each once"),
        ([3, 3, 3], [0, 1, 2], [1, 0, 1], "a continuation has 0 tokens"),
    ],
)
def test_means_over_different_texts_do_not_compare(rows: list[int], which: list[int], tokens: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scores_of(rows, which, [-1.0] * len(rows), tokens)


def test_scores_become_rows_of_the_store() -> None:
    responses = pl.DataFrame({"bucket": pl.Series([0, 7], dtype=pl.UInt8), "key": ["a", "b"], "response": ["x", "y"]})

    table = follow_up_table(responses, np.array([1]), np.array([1.5]), ["prompt_fills_window", None])

    assert table.schema.equals(follow_up_schema())
    assert table.to_pylist() == [
        {"bucket": 0, "key": "a", "reason": "prompt_fills_window", "follow_up": None},
        {"bucket": 7, "key": "b", "reason": None, "follow_up": 1.5},
    ]
    with pytest.raises(ValueError, match="response 1 has values 0 times and the reason None"):
        follow_up_table(responses, np.array([], np.int64), np.array([]), ["prompt_fills_window", None])
    with pytest.raises(PrefineError, match="`follow_up` of 1 of 1 responses is not finite"):
        follow_up_table(responses, np.array([1]), np.array([-np.inf]), ["prompt_fills_window", None])
