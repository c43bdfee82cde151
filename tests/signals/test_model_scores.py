"""What reward models say of a pair, and how far they agree with the labels."""

import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.pairing import SCORES
from pipeline.signals.model_scores import SIGNALS, add_model_scores, model_statistics, reduce_model_scores, summarise_models, summarise_sums

# methods 5.1: the first row of the set published with Secrets of RLHF II.
CHOSEN = (3.71875, 0.58984375, 3.390625, 0.006805419921875, -0.6953125, 1.0390625, 1.4140625, 0.8359375, 3.078125, 2.0)
REJECTED = (3.546875, 0.9921875, 2.125, -0.330078125, 1.171875, 1.2578125, 1.078125, 1.0546875, 3.546875, 2.265625)

Scores = dict[str, tuple[float | None, float | None]]  # model -> (chosen, rejected)


def frame(*told: Scores, chosen: str = "a", rejected: str = "b", ties: tuple[int, ...] = ()) -> pl.DataFrame:
    """A pair for each, whose chosen answer is the lesser response id unless said otherwise."""

    def sided(scores: Scores) -> list[dict[str, Any]]:
        swap = chosen > rejected
        return [{"model": m, "low": r if swap else c, "high": c if swap else r} for m, (c, r) in sorted(scores.items())]

    rows = [
        {"pair_id": f"p{i}", "chosen_id": chosen, "rejected_id": rejected, "tie": i in ties, "model_scores": sided(one)}
        for i, one in enumerate(told)
    ]
    names = ("pair_id", "chosen_id", "rejected_id")
    return pl.DataFrame(rows, schema={**dict.fromkeys(names, pl.String), "tie": pl.Boolean, "model_scores": SCORES})


def reduced(*parts: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    return reduce_model_scores([summarise_models(part) for part in parts], [summarise_sums(part) for part in parts])


def added(pairs: pl.DataFrame) -> pl.DataFrame:
    return add_model_scores(pairs, *reduced(pairs))


@pytest.mark.parametrize("sides", [{}, {"chosen": "b", "rejected": "a"}])
def test_the_first_published_row_of_secrets_ii(sides: dict[str, str]) -> None:
    pair = added(frame({f"m{i}": scores for i, scores in enumerate(zip(CHOSEN, REJECTED, strict=True))}, **sides)).row(0, named=True)

    assert pair["rm_models"] == 10
    assert pair["rm_mean"] == pytest.approx(-0.133109, abs=1e-6)
    assert pair["rm_std"] == pytest.approx(0.755961, abs=1e-6)  # population; 0.796853 with n - 1
    assert pair["rm_agreement"] == 0.4
    assert 1 / (1 + math.exp(-pair["rm_mean"])) == pytest.approx(0.466772, abs=1e-6)
    assert "model_scores" not in pair


def test_a_pair_without_scores_of_both_answers_has_none_of_the_signals() -> None:
    pairs = added(frame({}, {"m": (1.0, None)}, {"m": (None, 2.0)}, {"m": (2.0, 1.0), "n": (1.0, None)}))

    assert pairs["rm_models"].to_list() == [0, 0, 0, 1]
    assert pairs.select(SIGNALS[1:]).rows() == [(None,) * 4] * 3 + [(1.0, 0.0, 1.0, 0.5)]


def test_equal_answers_have_no_scores_of_their_own() -> None:
    assert added(frame({"m": (1.0, 2.0)}, chosen="a", rejected="a"))["rm_models"].to_list() == [0]


def test_two_scores_of_one_model_are_one_opinion_their_mean() -> None:
    told = [("m", 1.0, 0.0), ("m", 2.0, 5.0), ("n", 3.0, 0.0)]
    listed = [[dict(zip(("model", "low", "high"), one, strict=True)) for one in told]]
    pairs = frame({}).with_columns(model_scores=pl.Series(listed, dtype=SCORES))

    assert added(pairs).select("rm_models", "rm_mean", "rm_agreement").row(0) == (2, 1.0, 0.5)


def test_a_margin_too_large_for_a_number_is_none() -> None:
    assert added(frame({"m": (1.7e308, -1.7e308), "n": (1.0, 0.0)})).select("rm_models", "rm_mean").row(0) == (1, 1.0)


def test_a_constant_model_counts_in_no_mean_and_is_told() -> None:
    pairs = frame({"flat": (5.0, 5.0), "m": (2.0, 0.0)}, {"flat": (5.0, 5.0), "m": (0.0, 1.0)}, {"flat": (5.0, 5.0)})
    models, ranks = reduced(pairs)
    told = model_statistics(models, ranks, "d").rows_by_key("subject", named=True, unique=True)

    assert added(pairs).select("rm_models", "rm_mean").rows() == [(1, 2.0), (1, -1.0), (0, None)]
    assert told["flat"]["value"] is None
    assert (told["flat"]["n"], told["flat"]["note"]) == (
        3,
        "the same score for both answers of every pair: it tells nothing, and no mean counts it",
    )
    assert (told["m"]["value"], told["m"]["n"]) == (0.5, 2)
    assert told["m"]["low"] == pytest.approx(0.0945, abs=1e-4)
    assert (told["d"]["statistic"], told["d"]["value"], told["d"]["n"]) == ("rm_mean_negative", 0.5, 2)


def test_a_model_that_is_constant_in_one_partition_only_is_not() -> None:
    first, second = frame({"m": (1.0, 1.0)}), frame({"m": (1.0, 0.0)})

    assert add_model_scores(first, *reduced(first, second)).select("rm_models", "rm_mean", "rm_percentile").row(0) == (1, 0.0, 0.25)


def test_the_percentile_is_the_share_below_and_half_of_the_equal_ones_ties_left_out() -> None:
    pairs = frame({"m": (0.0, 1.0)}, {"m": (3.0, 1.0)}, {"m": (2.0, 0.0)}, {"m": (9.0, 0.0)}, {"m": (4.0, 0.0)}, ties=(4,))

    assert added(pairs)["rm_percentile"].to_list() == [0.125, 0.5, 0.5, 0.875, 0.75]


def test_agreement_with_labels_knows_ties_missing_scores_and_tied_pairs() -> None:
    pairs = frame(
        {"m": (1.0, 0.0)}, {"m": (1.0, 1.0)}, {"m": (0.0, 1.0)}, {"m": (1.0, None)}, {"m": (1.0, 0.0)}, {"n": (None, 1.0)}, ties=(4,)
    )
    told = model_statistics(*reduced(pairs), "d").rows_by_key("subject", named=True, unique=True)

    assert (told["m"]["value"], told["m"]["n"], told["m"]["note"]) == (0.5, 3, "1 pairs have a score for one answer only")
    assert told["n"]["value"] is None
    assert told["n"]["note"] == "no pair with a label has a score for both answers; 1 pairs have a score for one answer only"


def test_without_scores_there_is_nothing_to_tell() -> None:
    assert model_statistics(*reduced(frame({})), "d").is_empty()
    assert added(frame()).columns == ["pair_id", "chosen_id", "rejected_id", "tie", *SIGNALS]


number = st.one_of(st.none(), st.integers(-3, 3).map(float), st.floats(-10, 10))
SETS = st.lists(st.dictionaries(st.sampled_from(["m", "n", "o"]), st.tuples(number, number)), max_size=8)


@given(told=SETS, cut=st.integers(0, 8), data=st.data())
@settings(max_examples=30, deadline=None)
def test_signals_match_a_plain_loop_whatever_the_order_and_the_partitions(told: list[Scores], cut: int, data: st.DataObject) -> None:
    pairs = frame(*told)
    order = data.draw(st.permutations(range(len(told))))
    parts = [pairs[:cut], pairs[cut:]]

    margins = [{m: c - r for m, (c, r) in one.items() if c is not None and r is not None} for one in told]
    telling = {m for one in margins for m, d in one.items() if d != 0}
    each = [[d for m, d in sorted(one.items()) if m in telling] for one in margins]
    means = [sum(ds) / len(ds) if ds else None for ds in each]
    known = [mean for mean in means if mean is not None]
    wanted = [
        (0, None, None, None, None)
        if mean is None
        else (
            len(ds),
            mean,
            pytest.approx(float(np.std(ds)), abs=1e-12),
            sum((d > 0) + 0.5 * (d == 0) for d in ds) / len(ds),
            (sum(one < mean for one in known) + sum(one == mean for one in known) / 2) / len(known),
        )
        for ds, mean in zip(each, means, strict=True)
    ]
    found = add_model_scores(pairs, *reduced(*parts))
    shuffled = pairs[order]

    assert found.select(SIGNALS).rows() == wanted
    assert_frame_equal(add_model_scores(shuffled, *reduced(shuffled)).sort("pair_id"), found.sort("pair_id"), check_exact=True)
