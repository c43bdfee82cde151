import polars as pl

from pipeline.identity import content_hash
from pipeline.prompts import chosen_first, order_first

IDS = content_hash(pl.Series([f"pair {i}" for i in range(4000)]), "pair")


def test_either_answer_is_first_about_half_of_the_time() -> None:
    # Four standard deviations of 4,000 throws of a coin are 3.2 points.
    assert 0.468 < order_first(IDS, "x").mean() < 0.532  # type: ignore[operator]


def test_the_order_depends_on_the_pair_and_on_what_is_asked_alone() -> None:
    drawn = order_first(IDS, "x")
    assert order_first(IDS[::-1], "x").to_list() == drawn.to_list()[::-1]
    assert order_first(IDS[:7], "x").to_list() == drawn[:7].to_list()
    assert 0.4 < (drawn == order_first(IDS, "y")).mean() < 0.6  # type: ignore[operator]


def test_the_same_answer_is_first_whichever_is_chosen() -> None:
    low, high = pl.repeat("1", 4000, eager=True), pl.repeat("2", 4000, eager=True)
    one = chosen_first(pl.DataFrame({"pair_id": IDS, "chosen_id": low, "rejected_id": high}), "x")
    other = chosen_first(pl.DataFrame({"pair_id": IDS, "chosen_id": high, "rejected_id": low}), "x")

    assert one.to_list() == order_first(IDS, "x").to_list()
    assert (one != other).all()


def test_no_pairs_have_no_order() -> None:
    assert chosen_first(pl.DataFrame(schema=dict.fromkeys(("pair_id", "chosen_id", "rejected_id"), pl.String)), "x").len() == 0
