"""Held-out votes: what is hidden, what is foretold, against loops over votes."""

import math

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipeline.config import ConsensusConfig
from pipeline.consensus import held_out as held_out_module
from pipeline.consensus.dawid_skene import DawidSkene
from pipeline.consensus.em import fit
from pipeline.consensus.graded import Graded
from pipeline.consensus.held_out import held_out, held_out_statistics, sample
from pipeline.consensus.models import foretell
from pipeline.consensus.patterns import merge, number_annotators, patterns_of
from pipeline.consensus.votes import VOTES
from pipeline.identity import content_hash
from tests.benchmarks.annotators import simulate
from tests.consensus.vote_rows import cell

MODELS = {"graded": Graded, "dawid_skene": DawidSkene}
HOW = {"prior": 1.0, "tolerance": 1e-6, "most_iterations": 100}
WORLD = simulate(1, pairs=60, annotators=8).votes


def is_hidden(frame: pl.DataFrame) -> list[bool]:
    ballots = frame.select(pl.concat_str("pair_id", "kind", "annotator", separator="\n")).to_series()
    return [int(text[:8], 16) % 5 == 0 for text in content_hash(ballots, "held out")]


def test_scores_are_those_of_loops_over_votes() -> None:
    scores = held_out(WORLD, MODELS, **HOW)
    mark = pl.Series("hidden", is_hidden(WORLD))
    hidden, rest = WORLD.filter(mark), WORLD.filter(~mark)
    assert 0 < hidden.height < WORLD.height / 3
    assert scores["votes"].sum() == hidden.height

    numbers = number_annotators([WORLD])
    number = {name: at for at, name in enumerate(numbers["annotator"])}
    patterns = merge([patterns_of(rest, numbers)], numbers)
    others: dict[str, list[tuple[int, str, bool]]] = {}
    for row in rest.iter_rows(named=True):
        others.setdefault(row["pair_id"], []).append((row["vote"], row["annotator"], row["low_first"]))
    tie_share = ((rest["vote"] == 0).sum() + 1) / (rest.height + 3)
    weights = {-1: (1 - tie_share) / 2, 0: tie_share, 1: (1 - tie_share) / 2}
    expected = {name: dict.fromkeys(scores["pair_id"], 0.0) for name in ("majority", "shares", *MODELS)}
    fits = {name: fit(patterns, make(numbers), tolerance=1e-6, most_iterations=100) for name, make in MODELS.items()}
    for row in hidden.iter_rows(named=True):
        pair, vote = row["pair_id"], row["vote"]
        seen = others.get(pair, [])
        alike = sum(other == vote for other, _, _ in seen)
        expected["majority"][pair] += math.log((alike + 1) / (len(seen) + 3))
        expected["shares"][pair] += math.log((alike + 3 * weights[vote]) / (len(seen) + 3))
        for name, one in fits.items():

            def evidence(votes: list[tuple[int, str, bool]], one=one) -> float:  # noqa: ANN001
                total = 0.0
                for k, prior in enumerate(one.log_prior):
                    total += math.exp(prior + sum(one.log_tables[cell(number[who], said, None, first), k] for said, who, first in votes))
                return total

            whole = [evidence([*seen, (said, row["annotator"], row["low_first"])]) for said in (-1, 0, 1)]
            expected[name][pair] += math.log(whole[vote + 1] / sum(whole))
    for name, sums in expected.items():
        found = dict(scores.select("pair_id", name).iter_rows())
        assert found == pytest.approx({pair: 1e6 * total for pair, total in sums.items()}, abs=5), name


def test_hidden_votes_teach_nothing_and_order_is_nothing() -> None:
    plain = held_out(WORLD, MODELS, **HOW)
    assert held_out(WORLD.sample(fraction=1.0, shuffle=True, seed=1), MODELS, **HOW).equals(plain)
    mark = pl.Series("hidden", is_hidden(WORLD))
    first = WORLD.filter(mark)["judgement_id"][0]
    other = WORLD.with_columns(
        vote=pl.when(pl.col("judgement_id") == first).then((pl.col("vote") + 2) % 3 - 1).otherwise("vote").cast(pl.Int8)
    )
    changed = plain.join(held_out(other, MODELS, **HOW), on=["pair_id", "source"]).filter(pl.col("graded") != pl.col("graded_right"))
    assert changed["pair_id"].to_list() == WORLD.filter(pl.col("judgement_id") == first)["pair_id"].to_list()


def test_pairs_with_one_voter_take_no_part() -> None:
    alone = WORLD.group_by("pair_id").first().select(WORLD.columns)
    assert held_out(alone, MODELS, **HOW).is_empty()
    assert held_out_statistics(held_out(alone, MODELS, **HOW)).is_empty()


def test_statistics_say_how_far_a_model_is_ahead_of_majority() -> None:
    scores = pl.DataFrame(
        {
            "pair_id": content_hash(pl.Series([str(number) for number in range(100)]), "pair"),
            "source": ["web"] * 100,
            "votes": [1, 3] * 50,
            "majority": [-1_000_000, -3_000_000] * 50,
            "better": [-500_000, -1_500_000] * 50,
        }
    )
    table = held_out_statistics(scores)
    assert table.select("statistic", "subject_kind", "value", "low", "high", "n", "unit").rows() == [
        (name, kind, value, value, value, 200, "nats a vote")
        for name, value in (
            ("held_out_gain_better", 0.5),
            ("held_out_log_likelihood_better", -0.5),
            ("held_out_log_likelihood_majority", -1.0),
        )
        for kind in ("dataset", "source")
    ]


def test_the_graded_model_foretells_simulated_votes_better_than_majority() -> None:
    world = simulate(1, pairs=400, annotators=20)
    table = held_out_statistics(held_out(world.votes, {"graded": Graded}, **HOW))
    gain = table.filter((pl.col("statistic") == "held_out_gain_graded") & (pl.col("subject_kind") == "dataset"))
    assert gain["low"].item() > 0
    assert np.isfinite(gain["high"].item())


def test_a_sample_holds_whole_pairs_with_two_votes_and_is_the_same_however_it_was_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(f"{pair:02d}", f"{pair:02d}{n}", f"w{n}", "human", "s", 1, None, None) for pair in range(9) for n in range(1 + pair % 3)]
    votes = pl.DataFrame(rows, schema=VOTES, orient="row")
    monkeypatch.setattr(held_out_module, "MOST_VOTES", 9)

    drawn = sample(votes)
    assert drawn.group_by("pair_id", maintain_order=True).len().rows() == [("01", 2), ("02", 3), ("04", 2)]
    parts = [sample(votes.filter(pl.col("pair_id") < "04")), sample(votes.filter(pl.col("pair_id") >= "04"))]
    assert_frame_equal(sample(pl.concat(parts[::-1])), drawn)


def test_too_few_votes_to_hide_any_give_no_statistics() -> None:
    rows = [("ab", "1", "u", "human", "s", 1, None, None), ("ab", "2", "v", "human", "s", 1, None, None)]
    for votes in (pl.DataFrame(rows, schema=VOTES, orient="row"), pl.DataFrame(schema=VOTES)):
        found = foretell(votes, ConsensusConfig())
        assert set(found["subject_kind"].to_list()) <= {"dataset", "source"}
        assert found["n"].sum() <= 12
