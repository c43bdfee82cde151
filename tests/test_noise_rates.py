import math

import numpy as np
import polars as pl
import pytest

from pipeline.noise_rates import BINS, lapse_rate, noise_rates, summarise_labels
from pipeline.statistics.agreement import summarise_votes

NAMES = {"pair_id": pl.String, "judgement_id": pl.String, "annotator": pl.String, "kind": pl.String, "source": pl.String, "vote": pl.Int8}
PAIRS = {"pair_id": pl.String, "sources": pl.List(pl.String), "p_chosen": pl.Float64, "peer_logit": pl.Float64, "noise_score": pl.Float64}


def hexes(count: int, salt: int) -> pl.Series:
    return pl.Series([f"{number:016x}" for number in np.random.default_rng(salt).integers(0, 2**64, count, dtype=np.uint64)])


def flipped_votes(seed: int, share: float, pairs: int, each: int = 3) -> pl.DataFrame:
    """VOTES of `each` annotators a pair; each vote for the better side is flipped with probability `share`."""
    rng = np.random.default_rng(seed)
    pair = np.repeat(np.arange(pairs), each)
    vote = np.where(rng.random(len(pair)) < share, -1, 1) * np.where(rng.random(pairs) < 0.5, -1, 1)[pair]
    return pl.DataFrame(
        {
            "pair_id": hexes(pairs, seed).gather(pair),
            "judgement_id": hexes(len(pair), seed + 1000),
            "annotator": pl.Series([f"w{number}" for number in range(each)]).gather(np.tile(np.arange(each), pairs)),
            "kind": "human",
            "source": "s",
            "vote": pl.Series(vote).cast(pl.Int8),
        }
    )


def labels(
    pair_ids: pl.Series, p_chosen: float = 0.9, peer_logit: list[float] | None = None, noise_score: float | None = None
) -> pl.DataFrame:
    columns = {"pair_id": pair_ids, "sources": [["s"]] * len(pair_ids), "peer_logit": peer_logit}
    return pl.DataFrame(columns, schema_overrides=PAIRS).with_columns(
        p_chosen=pl.lit(p_chosen), peer_logit=pl.col("peer_logit").cast(pl.Float64), noise_score=pl.lit(noise_score, pl.Float64)
    )


def rates(votes: pl.DataFrame, pairs: pl.DataFrame) -> dict[str, dict[str, object]]:
    table = noise_rates([summarise_votes(votes)], [summarise_labels(pairs)]).filter(subject_kind="source", subject="s")
    return {row["statistic"]: row for row in table.iter_rows(named=True)}


@pytest.mark.parametrize("share", [0.1, 0.2, 0.4])
def test_planted_flips_are_inside_the_intervals_of_repeated_votes(share: float) -> None:
    votes = flipped_votes(7, share, pairs=1200)
    found = rates(votes, labels(votes["pair_id"].unique(), 1 - share))
    single, majority = found["vote_noise_repeated"], found["label_noise_repeated"]
    of_three = share**3 + 3 * share**2 * (1 - share)
    assert single["low"] < share < single["high"]
    assert majority["low"] < of_three < majority["high"]
    assert single["high"] - single["low"] < 0.12


@pytest.mark.parametrize("share", [0.1, 0.2, 0.4])
def test_planted_flips_are_inside_the_interval_of_peers(share: float) -> None:
    rng = np.random.default_rng(11)
    n = 6000
    raw = rng.normal(0, 3, n)
    better = rng.random(n) < 1 / (1 + np.exp(-raw))
    label = better != (rng.random(n) < share)
    found = rates(flipped_votes(1, 0, 1, each=1), labels(hexes(n, 3), peer_logit=(np.where(label, raw, -raw) * 0.5).tolist()))
    peers = found["label_noise_peers"]
    assert peers["low"] <= share <= peers["high"]
    assert abs(peers["value"] - share) < 0.06
    assert found["epsilon"]["value"] == peers["value"]
    assert "no repeated judgements" in str(found["epsilon"]["note"])


def test_the_lapse_rate_of_exact_counts_is_the_rate_they_were_made_with() -> None:
    sure = (np.arange(BINS) + 0.5) * 0.5
    for eps, slope in ((0.1, 1.0), (0.3, 2.0), (0.0, 0.7)):
        agree = 1e5 * (eps + (1 - 2 * eps) / (1 + np.exp(-slope * sure)))
        rate, low, high = lapse_rate(agree, 1e5 - agree)
        assert rate == pytest.approx(eps, abs=0.011)
        assert low <= rate <= high


def test_peers_that_are_never_sure_say_nothing() -> None:
    n = 400
    rng = np.random.default_rng(2)
    found = rates(flipped_votes(1, 0, 1, each=1), labels(hexes(n, 3), peer_logit=rng.normal(0, 0.05, n).tolist()))
    assert found["label_noise_peers"]["value"] is None
    assert "not sure often enough" in str(found["label_noise_peers"]["note"])
    few = rates(flipped_votes(1, 0, 1, each=1), labels(hexes(9, 3), peer_logit=[1.0] * 9))
    assert few["label_noise_peers"]["note"] == "9 pairs have an opinion of peers; 200 are needed"


def test_one_vote_each_and_no_peers_leave_epsilon_unknown() -> None:
    votes = flipped_votes(1, 0.2, pairs=50, each=1)
    found = rates(votes, labels(votes["pair_id"]))
    assert found["epsilon"]["value"] is None
    assert found["epsilon"]["note"] == "pairs with two votes for a side: 0, 30 are needed; and no peers say more: the rate cannot be known"
    assert found["vote_noise_repeated"]["note"] == "no pair has two votes for a side"
    assert found["label_noise_votes"]["value"] is None
    assert "nothing to tell right from wrong by" in str(found["label_noise_votes"]["note"])
    assert found["label_noise_scores"]["note"] == "no pair has a noise score"


def test_epsilon_follows_the_vote_model_and_its_interval_covers_both_ways() -> None:
    votes = flipped_votes(5, 0.2, pairs=300)
    found = rates(votes, labels(votes["pair_id"].unique(), 0.8, noise_score=0.25))
    epsilon, repeated = found["epsilon"], found["label_noise_repeated"]
    assert epsilon["value"] == pytest.approx(0.2)
    assert epsilon["low"] == min(0.2, repeated["low"])
    assert epsilon["high"] == pytest.approx(max(0.2, repeated["high"]))
    assert epsilon["note"] == f"rests on {repeated['n']} pairs with two votes or more for a side: label_noise_votes"
    assert found["label_noise_scores"]["value"] == pytest.approx(0.25)


def test_where_most_labels_rest_on_one_vote_they_are_as_wrong_as_a_repeated_vote_is() -> None:
    votes = flipped_votes(5, 0.2, pairs=300)
    found = rates(votes, labels(pl.concat([votes["pair_id"].unique(), pl.Series(hexes(3 * 300, 9))]), 0.6))
    epsilon, repeated, single = (found[name] for name in ("epsilon", "label_noise_repeated", "vote_noise_repeated"))
    share = 1 - repeated["n"] / epsilon["n"]
    assert epsilon["value"] == pytest.approx(share * single["value"] + (1 - share) * repeated["value"])
    assert epsilon["low"] < epsilon["value"] < epsilon["high"]
    assert single["value"] > repeated["value"]
    assert f"the other {epsilon['n'] - repeated['n']} labels" in str(epsilon["note"])


def test_noise_near_one_half_is_no_epsilon() -> None:
    votes = flipped_votes(5, 0.2, pairs=60)
    found = rates(votes, labels(votes["pair_id"].unique(), 0.52))
    assert found["epsilon"]["value"] is None
    assert "too near one half for rDPO" in str(found["epsilon"]["note"])


def test_annotators_who_agree_less_than_by_chance_have_no_rate() -> None:
    votes = flipped_votes(5, 0.0, pairs=40, each=2).with_columns(
        vote=pl.when(pl.col("annotator") == "w0").then(1).otherwise(-1).cast(pl.Int8)
    )
    found = rates(votes, labels(votes["pair_id"].unique()))
    assert found["label_noise_repeated"]["value"] is None
    assert "less often than by chance" in str(found["label_noise_repeated"]["note"])


def test_a_pair_of_two_sources_counts_for_both_and_once_for_the_data_set() -> None:
    pairs = labels(hexes(2, 1), 0.75, noise_score=0.25).with_columns(sources=pl.Series([["s", "t"], ["t"]]))
    table = noise_rates([], [summarise_labels(pairs), summarise_labels(pairs.head(0))])
    counts = table.filter(statistic="label_noise_scores").select("subject_kind", "subject", "value", "n").rows()
    assert counts == [("dataset", "all", 0.25, 2), ("source", "s", 0.25, 1), ("source", "t", 0.25, 2)]


def nls(h: float) -> float:
    return math.log1p(math.exp(-h))


def robust(h: float, eps: float) -> float:
    """rDPO's loss (Provably Robust DPO, 2024): what `epsilon` is for."""
    return ((1 - eps) * nls(h) - eps * nls(-h)) / (1 - 2 * eps)


def test_epsilon_makes_rdpo_unbiased() -> None:
    assert robust(1, 0.1) == pytest.approx(0.188262, abs=1e-6)
    assert 0.9 * nls(1) + 0.1 * nls(-1) == pytest.approx(0.413262, abs=1e-6)  # cDPO, which is biased
    assert robust(0, 0.1) == pytest.approx(0.693147, abs=1e-6)
    assert robust(5, 0.3) == pytest.approx(-3.743285, abs=1e-6)
    assert 0.9 * robust(1, 0.1) + 0.1 * robust(-1, 0.1) == pytest.approx(nls(1))
    # With the rate that repeated votes with planted flips show, the mean loss over flipped labels is close to the clean one.
    votes = flipped_votes(9, 0.2, pairs=2000)
    eps = float(str(rates(votes, labels(votes["pair_id"].unique()))["vote_noise_repeated"]["value"]))
    assert 0.8 * robust(1, eps) + 0.2 * robust(-1, eps) == pytest.approx(nls(1), abs=0.06)
