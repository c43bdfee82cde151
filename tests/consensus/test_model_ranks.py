"""Win rates of models: plain, Borda's and Bradley-Terry's, with intervals over prompts."""

import hashlib
from itertools import combinations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.consensus import model_ranks
from pipeline.consensus.bradley_terry import bradley_terry
from pipeline.consensus.model_ranks import NAMES, model_statistics, summarise_models
from pipeline.consensus.votes import VOTES

Vote = tuple[str, str, str, int]  # prompt, low's model, high's model, -1 (low wins), 0 or 1


def tables(votes: list[Vote]) -> tuple[pl.DataFrame, pl.DataFrame]:
    pairs = pl.DataFrame(
        [{"pair_id": f"p{i}", "prompt_id": hashlib.sha256(prompt.encode()).hexdigest()[:32], "low_models": [low], "high_models": [high]}
         for i, (prompt, low, high, _) in enumerate(votes)],
        schema={"pair_id": pl.String, "prompt_id": pl.String, "low_models": pl.List(pl.String), "high_models": pl.List(pl.String)},
    )  # fmt: skip
    cast = pl.DataFrame({"pair_id": pairs["pair_id"], "vote": pl.Series([vote for *_, vote in votes], dtype=pl.Int8)})
    missing = [pl.lit(None, kind).alias(name) for name, kind in VOTES.items() if name not in cast.columns]
    return cast.with_columns(missing).select(VOTES.names()), pairs


def rates(votes: list[Vote]) -> dict[str, dict[str, float]]:
    found = model_statistics([summarise_models(*tables(votes))])
    return {name: dict(found.filter(pl.col("statistic") == name).select("subject", "value").iter_rows()) for name in NAMES}


def beat(winner: str, loser: str, wins: int, losses: int, ties: int = 0) -> list[Vote]:
    """Votes on prompts of their own, each model on either side in turn."""
    fell = [1] * wins + [-1] * losses + [0] * ties
    return [
        (f"{winner}{loser}{i}", winner, loser, -vote) if i % 2 else (f"{winner}{loser}{i}", loser, winner, vote)
        for i, vote in enumerate(fell)
    ]


def test_shares_count_ties_half_and_borda_counts_each_opponent_once() -> None:
    # Against weak b, a wins 9 of 10; against c, half of 2. Plainly a wins 10 of 12, by Borda the mean of 0.9 and 0.5.
    found = rates(beat("a", "b", 9, 1) + beat("a", "c", 0, 0, ties=2))
    assert found["win_rate"] == pytest.approx({"a": 10 / 12, "b": 0.1, "c": 0.5})
    assert found["win_rate_borda"] == pytest.approx({"a": 0.7, "b": 0.1, "c": 0.5})


def test_bradley_terry_allows_for_who_the_opponents_were() -> None:
    # c and d both win 4 of 8, c against a strong model, d against a weak one.
    found = rates(beat("a", "b", 30, 10) + beat("c", "a", 4, 4) + beat("d", "b", 4, 4))
    assert found["win_rate"]["c"] == found["win_rate"]["d"] == 0.5
    assert found["win_rate_bradley_terry"]["c"] > 0.55 > 0.45 > found["win_rate_bradley_terry"]["d"]


def test_the_fit_is_that_of_the_votes_one_by_one() -> None:
    votes = beat("a", "b", 5, 2, 1) + beat("b", "c", 6, 1) + beat("a", "c", 1, 0) + beat("c", "d", 2, 3, 2)
    said, pairs = tables(votes)
    ids = pairs.select("pair_id", low_id=pl.col("low_models").list.first(), high_id=pl.col("high_models").list.first())
    single = said.join(ids, on="pair_id").with_columns(group=pl.lit("all"), annotator=pl.lit("w"), low_first=pl.lit(None, pl.Boolean))
    scores = dict(bradley_terry(single).responses.select("response_id", "score").iter_rows())

    def chance(one: str) -> float:
        return float(np.mean([1 / (1 + np.exp(scores[other] - scores[one])) for other in scores if other != one]))

    assert rates(votes)["win_rate_bradley_terry"] == pytest.approx({one: chance(one) for one in scores}, abs=1e-9)


def test_intervals_are_over_prompts_and_hold_the_truth() -> None:
    rng = np.random.default_rng(3)
    strength = {"a": 1.0, "b": 0.3, "c": 0.0, "d": -0.8}
    votes: list[Vote] = []
    for i in range(1500):
        low, high = rng.permutation(list(strength))[:2].tolist()
        wins = rng.random() < 1 / (1 + np.exp(strength[low] - strength[high]))
        votes.append((f"q{i}", low, high, 1 if wins else -1))
    found = model_statistics([summarise_models(*tables(votes))])
    for name in NAMES[1:]:
        for subject, value, low, high in found.filter(pl.col("statistic") == name).select("subject", "value", "low", "high").iter_rows():
            truth = np.mean([1 / (1 + np.exp(strength[other] - strength[subject])) for other in strength if other != subject])
            assert low <= value <= high
            assert low - 0.01 <= truth <= high + 0.01  # the prior pulls a little towards one half
            assert 0.03 < high - low < 0.12
    # Ten votes on each prompt that are always alike say no more than one does.
    alike = model_statistics([summarise_models(*tables([vote for vote in votes[:300] for _ in range(10)]))])
    single = model_statistics([summarise_models(*tables(votes[:300]))])
    widths = [
        table.filter(pl.col("statistic") == "win_rate").select(pl.col("high") - pl.col("low")).to_series() for table in (alike, single)
    ]
    assert widths[0].to_list() == pytest.approx(widths[1].to_list())


@given(
    st.lists(
        st.tuples(st.sampled_from("qrst"), st.sampled_from(["a", "b:", "3:a"]), st.sampled_from(["b:", "", "c"]), st.integers(-1, 1)),
        max_size=12,
    )
)
@settings(max_examples=25, deadline=None)
def test_partitions_and_sides_change_nothing(votes: list[Vote]) -> None:
    whole = model_statistics([summarise_models(*tables(votes))])
    swapped: list[Vote] = [(prompt, high, low, -vote) for prompt, low, high, vote in reversed(votes)]
    by_prompt = [[vote for vote in swapped if vote[0] in prompts] for prompts in ("qs", "rt")]
    assert model_statistics(summarise_models(*tables(part)) for part in by_prompt).equals(whole)


def test_a_model_against_itself_or_sides_with_several_models_do_not_count() -> None:
    assert rates([("q", "a", "a", 1)]) == {name: {} for name in NAMES}
    said, pairs = tables([("q", "a", "b", 1)])
    several = pairs.with_columns(low_models=pl.lit(["a", "c"]))
    assert model_statistics([summarise_models(said, several)]).is_empty()


def test_models_that_nothing_joins_and_models_left_out_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    votes = beat("a", "b", 3, 1) + beat("c", "d", 3, 1)
    found = model_statistics([summarise_models(*tables(votes))])
    notes = found.filter(pl.col("statistic") == "win_rate_bradley_terry")["note"].unique().to_list()
    assert notes == ["4 pairs only; no chain of comparisons joins all models: they form 2 parts"]
    monkeypatch.setattr(model_ranks, "MOST_MODELS", 2)
    few = model_statistics([summarise_models(*tables(votes + beat("a", "b", 1, 1)))])
    assert few["subject"].unique().sort().to_list() == ["a", "b"]
    assert few["note"].unique().to_list() == ["4 pairs only; the 2 models with fewest votes are left out"]


def test_every_two_models_have_votes_that_add_up() -> None:
    votes = [vote for one, other in combinations("abcde", 2) for vote in beat(one, other, 2, 1)]
    found = model_statistics([summarise_models(*tables(votes))])
    assert found.filter(pl.col("statistic") == "win_rate")["n"].to_list() == [12] * 5
