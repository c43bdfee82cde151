"""Votes of each source beside what the answers differ in."""

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipeline.bias import outcomes as module
from pipeline.bias.outcomes import FACTORS, outcomes, sample
from tests.bias.builders import pairs, votes


def test_votes_are_turned_towards_chosen_and_weighed_by_strength() -> None:
    rows = outcomes(
        pairs({}, {"chosen_id": "a", "rejected_id": "b"}, {}),
        votes(("p0", 1), ("p0", -1), ("p0", 1), ("p1", 1, 0.5), ("p2", 0), ("p2", 1, 0.5), ("elsewhere", 1)),
    )

    assert rows.select("source", "pair_id", "preferred", "outcome").rows() == [
        ("s", "p0", 1, 0.5 + 1 / 6),
        ("s", "p1", -1, 0.25),  # chosen is `low` here, and the vote was for `high`
        ("s", "p2", 1, 0.625),
    ]


def test_the_order_of_votes_changes_nothing() -> None:
    told = votes(("p0", 1, 0.1), ("p0", 1, 0.2), ("p0", 1, 0.3), ("p0", -1, 0.7), ("p0", -1, 0.6))

    assert_frame_equal(outcomes(pairs({}), told), outcomes(pairs({}), told.reverse()), check_exact=True)


def test_each_source_of_a_pair_has_its_own_row() -> None:
    rows = outcomes(pairs({}), votes(("p0", 1, None, "one"), ("p0", -1, None, "two"), ("p0", -1, None, "two")))

    assert rows.select("source", "preferred").rows() == [("one", 1), ("two", -1)]


def test_the_factors_are_gaps_and_whether_chosen_alone_is_in_the_prompts_language() -> None:
    spoken = [("en", "en", "de"), ("en", "de", "en"), ("en", "en", "en"), ("en", "de", "fr"), ("en", "en", None), (None, "en", "de")]
    languages = [{f"{who}_language": one for who, one in zip(("prompt", "chosen", "rejected"), row, strict=True)} for row in spoken]
    gaps = {"chars_gap": 5, "markdown_gap": -1, "citations_gap": 2, "hedges_gap": -3, "confidence_gap": 4}
    rows = outcomes(pairs(*({**gaps, **row} for row in languages)), votes(*((f"p{i}", 1) for i in range(6))))

    assert rows["language"].to_list() == [1, -1, 0, 0, 0, 0]
    assert rows.select(list(FACTORS)).row(0) == (5, -1, 2, -3, 4, 1)


def test_the_first_model_by_name_stands_for_an_answer() -> None:
    rows = outcomes(pairs({"chosen_models": ["z", "m"], "rejected_models": []}), votes(("p0", 1)))

    assert rows.select("chosen_model", "rejected_model").rows() == [("m", None)]


def test_a_sample_is_the_least_pair_ids_of_each_source_however_it_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SAMPLE", 3)
    rows = pl.DataFrame({"source": ["s"] * 6 + ["t"] * 2, "pair_id": [*"fbdace", *"zy"]})

    whole = sample([rows])
    assert whole.rows() == [("s", "a"), ("s", "b"), ("s", "c"), ("t", "y"), ("t", "z")]
    assert_frame_equal(sample([sample([rows[::2]]), sample([rows[1::2]])]), whole)
