"""What is measured of both answers is said as it is, the largest difference first."""

import json
from random import Random
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.rationale.factors import factors, reduce_factors, summarise_factors
from pipeline.schemas import PAIR, RATIONALE, conform

_SCHEMA = pl.Schema(pl.DataFrame(PAIR.empty_table()).schema)
_EVEN: dict[str, Any] = {
    "n_votes": 1, "votes_chosen": 1, "votes_rejected": 0, "votes_tie": 0, "margin": 1.0, "rm_models": 0,
    **{f"{side}_tokens": 50 for side in ("chosen", "rejected")},
    **{f"{name}_gap": 0 for name in ("markdown", "citations", "hedges", "confidence")},
    **{f"{side}_{flag}": False for side in ("chosen", "rejected") for flag in (
        "empty", "degenerate", "injected", "repetitive", "garbled_start", "copies_prompt", "truncated_tail", "role_marker",
    )},
    **{f"{side}_{name}": 0 for side in ("chosen", "rejected") for name in ("unreadable_share", "repeated_prompts")},
}  # fmt: skip


def pairs(*rows: dict[str, Any]) -> pl.DataFrame:
    """A pair a row, alike on both sides but for what the row says."""
    ids = [{"pair_id": f"{i:032x}", "prompt_id": f"{i:032x}"} for i in range(len(rows))]
    return pl.DataFrame([{**dict.fromkeys(_SCHEMA), **_EVEN, **a, **row} for a, row in zip(ids, rows, strict=True)], schema=_SCHEMA)


def told(*rows: dict[str, Any]) -> pl.DataFrame:
    table = pairs(*rows)
    return factors(table, reduce_factors([summarise_factors(table)]))


def text(*rows: dict[str, Any]) -> str:
    """Of the first row; the others are the data set around it."""
    return str(told(*rows)["text"][0])


def items(*rows: dict[str, Any]) -> Any:
    return json.loads(told(*rows)["items"][0])


LONGER: dict[str, Any] = {"chosen_tokens": 212, "rejected_tokens": 87}


def test_a_difference_is_stated_with_its_numbers_and_no_cause() -> None:
    assert text(LONGER, {}) == (
        "Measured differences: the chosen response is longer: 212 tokens against 87. "
        "Votes: 1 of 1 preferred the chosen response; net strength 1.0 on a scale of 0 to 1."
    )


def test_what_usually_loses_is_said_of_the_chosen_answer_too() -> None:
    row = {"chosen_empty": True, "chosen_tokens": 0, "cosine_prompt_chosen": 0.2, "cosine_prompt_rejected": 0.7}
    said = text(row, {}, {})
    assert "only the chosen response has no text." in said
    assert "The chosen response is farther from the prompt (cosine of sentence embeddings): 0.2 against 0.7." in said
    assert "tokens against" not in said  # an answer without text is shorter: said already


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"rejected_repetitive": True}, "only the rejected response repeats itself over and over."),
        ({"chosen_truncated_tail": True}, "only the chosen response ends in a colon."),
        ({"rejected_role_marker": True}, "only the rejected response holds a speaker marker."),
        ({"markdown_gap": 7}, "the chosen response has 7 more marks of Markdown than the rejected response."),
        ({"hedges_gap": -1}, "the chosen response has 1 fewer hedge than the rejected response."),
        (
            {"chosen_trigram_uniqueness": 0.98, "rejected_trigram_uniqueness": 0.709},
            "the chosen response repeats itself less (distinct three-word sequences): 98 % against 71 %.",
        ),
        (
            {"chosen_language": "en", "rejected_language": "de", "prompt_language": "en"},
            "the chosen response is in the language en, the rejected response in de; the prompt is in en.",
        ),
        ({"chosen_language": "en", "rejected_language": "de"}, "the chosen response is in the language en, the rejected response in de."),
        (
            {"rm_models": 3, "rm_mean": -1.25, "rm_agreement": 1 / 3},
            "Reward models give the chosen response 1.25 points less on average; 33 % of 3 prefer it (equal scores count half).",
        ),
        (
            {"chosen_logp_mean": -1.5, "rejected_logp_mean": -2.0},
            "the chosen response is likelier to the language model (nats a token): -1.5 against -2.0.",
        ),
        ({"chosen_secrets": 0, "rejected_secrets": 2}, "the chosen response holds fewer secrets: 0 against 2."),
    ],
)
def test_each_signal_says_which_answer_has_more(row: dict[str, Any], sentence: str) -> None:
    assert text(row, {}).startswith(f"Measured differences: {sentence} Votes:")


def test_the_difference_that_fewest_pairs_reach_comes_first() -> None:
    # All have one hedge more or less; only the first is much longer.
    others = [{"hedges_gap": -1, "chosen_tokens": 50 + i} for i in range(20)]
    found = items({"hedges_gap": -1, **LONGER}, *others)
    assert [item["signal"] for item in found] == ["tokens", "hedges_gap"]
    assert found[0] == {"signal": "tokens", "chosen": 212, "rejected": 87, "standardised": pytest.approx(20.5 / 21, abs=1e-4)}
    assert found[1] == {"signal": "hedges_gap", "chosen": None, "rejected": None, "standardised": -0.5}


def test_at_most_three_are_told_and_none_that_most_pairs_exceed() -> None:
    many = {"hedges_gap": 9, "markdown_gap": 9, "citations_gap": 9, "confidence_gap": 9, **LONGER}
    assert len(items(many, {})) == 3
    assert items({"hedges_gap": 1}, *[{"hedges_gap": 5}] * 9) == []


def test_the_sign_tells_the_side() -> None:
    assert items({"rejected_empty": True}, {})[0]["standardised"] < 0 < items({"chosen_empty": True}, {})[0]["standardised"]
    german = {"chosen_language": "de", "rejected_language": "en", "prompt_language": "en"}
    assert items(german, {})[0]["standardised"] < 0


@pytest.mark.parametrize("row", [{}, {"cosine_prompt_chosen": 0.701, "cosine_prompt_rejected": 0.699}])
def test_where_nothing_differs_one_sentence_says_so(row: dict[str, Any]) -> None:
    found = told(row).row(0, named=True)
    assert found["text"].startswith("Measured differences: none that stands out among the pairs of the data set. Votes:")
    assert found["items"] == "[]"


def test_votes_are_counted_for_both_sides() -> None:
    row = {"n_votes": 5, "votes_chosen": 3, "votes_rejected": 1, "votes_tie": 1, "margin": 0.4}
    assert text(row).endswith(
        "Votes: 3 of 5 preferred the chosen response, 1 the rejected response, 1 neither; net strength 0.4 on a scale of 0 to 1."
    )


def test_a_row_is_a_rationale_that_cost_nothing() -> None:
    found = told(LONGER, {})
    conform(found, RATIONALE, "factors")
    assert found.select("kind", "generator", "accepted", "reason", "cost").unique().rows() == [("factors", "prefine", True, None, 0.0)]
    assert found["rationale_id"].n_unique() == 2


def test_no_pairs_have_no_rationales() -> None:
    assert factors(pairs({}).clear(), reduce_factors([])).is_empty()


numbers = st.fixed_dictionaries(
    {"chosen_tokens": st.integers(0, 300), "rejected_tokens": st.integers(0, 300), "hedges_gap": st.integers(-3, 3)}
    | {f"cosine_prompt_{side}": st.none() | st.floats(-1, 1) for side in ("chosen", "rejected")}
    | {"chosen_empty": st.booleans(), "rejected_language": st.sampled_from([None, "en", "de"]), "chosen_language": st.just("en")}
)


@settings(max_examples=40, deadline=None)
@given(st.lists(numbers, min_size=1, max_size=12), st.randoms())
def test_neither_order_nor_partitions_change_what_is_said(rows: list[dict[str, Any]], random: Random) -> None:
    table = pairs(*rows)
    whole = reduce_factors([summarise_factors(table)])
    order = list(range(len(rows)))
    random.shuffle(order)
    parts = [table[order[: len(rows) // 2]], table[order[len(rows) // 2 :]]]
    assert_frame_equal(reduce_factors([summarise_factors(part) for part in parts]), whole, check_exact=True)
    again = pl.concat(factors(part, whole) for part in parts).sort("pair_id")
    assert_frame_equal(again, factors(table, whole), check_exact=True)


@given(st.lists(numbers, min_size=1, max_size=8))
@settings(max_examples=40, deadline=None)
def test_swapping_the_sides_swaps_what_is_said(rows: list[dict[str, Any]]) -> None:
    def turned(row: dict[str, Any]) -> dict[str, Any]:
        other = {"chosen": "rejected", "rejected": "chosen"}
        sides = {"_".join(other.get(part, part) for part in name.split("_")): value for name, value in row.items() if name != "hedges_gap"}
        return {"rejected_empty": False, "chosen_empty": False, **sides, "hedges_gap": -row["hedges_gap"]}

    there, back = (told(*some)["items"].to_list() for some in (rows, [turned(row) for row in rows]))
    for one, other in zip(map(json.loads, there), map(json.loads, back), strict=True):
        assert [(i["signal"], i["chosen"], i["rejected"], abs(i["standardised"])) for i in one] == [
            (i["signal"], i["rejected"], i["chosen"], abs(i["standardised"])) for i in other
        ]
