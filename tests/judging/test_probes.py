"""Answers without content are planted beside real ones; what a judge makes of them is counted, and is no vote."""

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from pipeline.judging.probes import KEYS, planted, reduce_probes, summarise_probes
from pipeline.signals.degenerate import add_degenerate
from tests.judging.rows import config, tally

NOBODY = pl.Series([], dtype=pl.String)
PAIRS = tally(*((f"Explain number {i}.", f"It is {i} and more.", f"Well, {i} it is.") for i in range(60)))


def test_the_ten_keys_are_answers_without_content() -> None:
    probes = planted(PAIRS, PAIRS["pair_id"])
    flagged = add_degenerate(probes.rename({"low": "chosen", "high": "rejected"}))
    found = [pl.col(f"{side}_degenerate") | pl.col(f"{side}_empty") for side in ("chosen", "rejected")]

    assert len(set(KEYS)) == 10
    assert set(probes["key"]) == set(KEYS)
    assert flagged.select(pl.when("key_is_low").then(found[0]).otherwise(found[1])).to_series().all()
    assert flagged.select(pl.when("key_is_low").then(found[1]).otherwise(found[0])).to_series().any() is False


def test_one_answer_is_a_key_and_the_other_is_as_it_was() -> None:
    probes = planted(PAIRS, PAIRS["pair_id"])
    real = probes.select(pl.when("key_is_low").then("high").otherwise("low").alias("m")).to_series()
    was = probes.select("pair_id", "key_is_low").join(PAIRS, on="pair_id", maintain_order="left")
    key = probes.select(pl.when("key_is_low").then("low").otherwise("high").list.first().struct.field("content")).to_series()

    assert real.to_list() == was.select(pl.when("key_is_low").then("high").otherwise("low").alias("m")).to_series().to_list()
    assert key.to_list() == probes["key"].to_list()
    assert set(probes["key_is_low"]) == {True, False}


@given(data=st.data())
def test_which_key_stands_where_follows_from_the_pair_alone(data: st.DataObject) -> None:
    some = PAIRS[data.draw(st.lists(st.integers(0, 59), min_size=1, unique=True))]
    whole = planted(PAIRS, PAIRS["pair_id"]).select("pair_id", "key", "key_is_low").rows()
    assert set(planted(some, PAIRS["pair_id"]).select("pair_id", "key", "key_is_low").rows()) <= set(whole)


def test_probes_are_drawn_over_the_data_set_and_not_from_pairs_that_left_or_have_no_content() -> None:
    settings = config(probes=20)
    gone, empty = PAIRS["pair_id"][:15], PAIRS["pair_id"][15:30]
    marked = PAIRS.with_columns(left_stage=pl.when(pl.col("pair_id").is_in(gone.implode())).then(pl.lit("deduplicate")))
    whole = reduce_probes([summarise_probes(marked, empty, settings)], settings)
    parted = reduce_probes([summarise_probes(part, empty, settings) for part in (marked[40:], marked[:40])], settings)

    assert len(whole) == 20
    assert whole.to_list() == parted.to_list()
    assert set(whole).isdisjoint(PAIRS["pair_id"][:30])
    assert reduce_probes([summarise_probes(PAIRS, NOBODY, config())], config()).is_empty()
