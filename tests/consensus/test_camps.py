from typing import Any

import numpy as np
import polars as pl
import pytest

from pipeline.consensus.camp_model import LEVELS, Ballots, first_tables, fit
from pipeline.consensus.camps import CAMP_VOTES, camp_votes, find_camps


def hexes(count: int, salt: int) -> pl.Series:
    return pl.Series([f"{number:016x}" for number in np.random.default_rng(salt).integers(0, 2**64, count, dtype=np.uint64)])


def planted(
    seed: int,
    *,
    minority: float = 0.0,
    conflict: float = 1.0,
    opposing: int = 0,
    skills: tuple[float, ...] = (0.85,),
    pairs: int = 500,
    annotators: int = 40,
) -> tuple[pl.DataFrame, dict[str, int]]:
    """VOTES, five a pair, and each annotator's camp. Where camps conflict, each prefers a side by itself."""
    rng = np.random.default_rng(seed)
    camp = (np.arange(annotators) < minority * annotators).astype(int)
    wins = np.where(rng.random((2, pairs)) < 0.5, -1, 1)
    wins[1] = np.where(rng.random(pairs) < conflict, -wins[0], wins[0])
    skill = rng.choice(skills, annotators)
    pair = np.repeat(np.arange(pairs), 5)
    who = np.concatenate([rng.permutation(annotators)[:5] for _ in range(pairs)])
    vote = np.where(rng.random(len(pair)) < skill[who], 1, -1) * wins[camp[who], pair]
    vote = np.where(who >= annotators - opposing, -vote, vote)  # the last ones always say the contrary
    vote = np.where(rng.random(len(pair)) < 0.1, 0, vote)
    votes = pl.DataFrame(
        {
            "pair_id": hexes(pairs, seed + 1).gather(pair),
            "judgement_id": hexes(len(pair), seed + 2),
            "annotator": pl.Series([f"w{number:02d}" for number in range(annotators)]).gather(who),
            "kind": "human",
            "source": "s",
            "vote": pl.Series(vote).cast(pl.Int8),
        }
    )
    return votes, {f"w{number:02d}": int(one) for number, one in enumerate(camp)}


def outcome(votes: pl.DataFrame) -> tuple[dict[str, Any], dict[str, Any], dict[str, int | None]]:
    found = find_camps([camp_votes(votes)], ["s"])
    rows = {row["statistic"]: row for row in found.statistics.iter_rows(named=True)}
    return rows["camps"], rows["camp_gain"], dict(found.groups.select("annotator_id", "group").iter_rows())


@pytest.mark.parametrize(("minority", "conflict"), [(0.5, 0.9), (0.2, 1.0)])
def test_two_planted_camps_are_found_with_their_members(minority: float, conflict: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.consensus.camps.MOST_CAMPS", 2)  # a third is tried below
    votes, camp = planted(3, minority=minority, conflict=conflict, pairs=600)
    camps, gain, groups = outcome(votes)
    assert camps["value"] == 2
    assert camps["note"].startswith("a single consensus would hide several views: 2 groups over 1 group gain 0.")
    assert 0 < gain["low"] < gain["value"] < gain["high"]
    same = [group == camp[name] for name, group in groups.items() if group is not None]
    assert len(same) >= 38
    if minority < 0.5:
        assert np.mean(same) == 1.0  # group 0 is the larger
    else:
        assert np.mean(same) in (0.0, 1.0)
    assert gain["n"] == 3000


@pytest.mark.parametrize(
    "crowd",
    [
        {"skills": (0.55, 0.95)},  # careful and careless are one camp
        {"skills": (0.7, 0.95), "opposing": 1},
        {"skills": (0.85,), "opposing": 2},
    ],
)
def test_unequal_skill_and_a_lone_contrarian_are_no_camps(crowd: dict[str, Any]) -> None:
    votes, _ = planted(5, **crowd)
    camps, gain, groups = outcome(votes)
    assert camps["value"] == 1
    assert set(groups.values()) == {0}
    assert gain["low"] <= gain["value"] <= gain["high"]
    assert camps["note"].startswith("2 groups over 1 group gain ")


def test_two_who_oppose_all_others_are_outliers_even_if_it_helps_to_know_them() -> None:
    votes, _ = planted(5, skills=(0.9,), opposing=2, annotators=8, pairs=300)
    camps, gain, groups = outcome(votes)
    assert camps["value"] == 1
    assert gain["low"] > 0
    assert camps["note"].endswith("one of 2 groups has fewer than 3 annotators or 5% of the votes: outliers, not a camp")
    assert set(groups.values()) == {0}


def test_the_order_of_rows_parts_and_sides_changes_nothing_but_rounding() -> None:
    votes, _ = planted(8, minority=0.5, pairs=90, annotators=12)
    whole = find_camps([camp_votes(votes)], ["s"])
    shuffled = votes.sample(fraction=1, shuffle=True, seed=1)
    parts = [camp_votes(shuffled.filter(pl.col("pair_id") < "7")), camp_votes(shuffled.filter(pl.col("pair_id") >= "7"))]
    assert whole.statistics.filter(statistic="camps")["value"].to_list() == [2]
    assert "3 groups over 2 groups gain" in whole.statistics["note"][0]
    again = find_camps(parts[::-1], ["s"])
    assert again.groups.equals(whole.groups)
    assert again.statistics.equals(whole.statistics)
    mirrored = pl.when(pl.col("pair_id") < "7").then(-pl.col("vote")).otherwise("vote").cast(pl.Int8)
    turned = find_camps([camp_votes(votes.with_columns(vote=mirrored))], ["s"])
    assert turned.statistics["value"].to_list() == pytest.approx(whole.statistics["value"].to_list(), abs=1e-6)


def test_too_few_annotators_are_said_in_words() -> None:
    votes, _ = planted(1, pairs=60, annotators=5)
    camps, gain, groups = outcome(votes)
    assert (camps["value"], gain["value"]) == (None, None)
    assert camps["note"] == "5 annotators have 8 votes or more on pairs that others judged too; telling camps apart needs 6"
    assert set(groups.values()) == {None}


def test_an_annotator_with_few_votes_joins_no_group() -> None:
    votes, _ = planted(2, pairs=150, annotators=20)
    rare = votes.filter(pl.col("annotator") == "w00").head(3)
    _, _, groups = outcome(pl.concat([votes.filter(pl.col("annotator") != "w00"), rare]))
    assert groups["w00"] is None
    assert groups["w01"] == 0


def test_only_named_votes_on_shared_pairs_count_and_repeats_once() -> None:
    rows = [
        ("aa", "01" * 8, "w1", "s", 1),
        ("aa", "02" * 8, "w2", "s", -1),
        ("aa", "03" * 8, "w2", "s", -1),
        ("aa", "04" * 8, "unnamed s", "s", 1),
        ("bb", "05" * 8, "w1", "s", 1),  # alone on its pair
        ("bb", "06" * 8, "unnamed s", "s", 1),
        ("aa", "07" * 8, "w3", "other", 1),  # alone in its source
    ]
    votes = pl.DataFrame(rows, schema=["pair_id", "judgement_id", "annotator", "source", "vote"], orient="row").with_columns(
        kind=pl.lit("human"), vote=pl.col("vote").cast(pl.Int8)
    )
    found = camp_votes(votes)
    assert found.schema == CAMP_VOTES
    assert found.select("pair_id", "annotator", "vote").rows() == [("aa", "w1", 1), ("aa", "w2", -1)]
    nothing = find_camps([camp_votes(votes.head(0))], ["s"])
    assert nothing.groups.is_empty()
    assert nothing.statistics.select("statistic", "subject", "value", "n").rows() == [("camp_gain", "s", None, 0), ("camps", "s", None, 0)]
    assert nothing.statistics["note"].unique().to_list() == ["no pair was judged by two named annotators: camps cannot be told apart"]


def slow_bound(ballots: Ballots, members: np.ndarray, tables: np.ndarray, joint: np.ndarray) -> float:
    """The bound of one group by plain loops: log evidence of each pair, less what knowing the members' skills costs."""
    total = 0.0
    for pair in range(ballots.pairs):
        evidence = []
        for level in range(LEVELS):
            log = np.log(joint[level])
            for one, who, vote in zip(ballots.pair, ballots.annotator, ballots.vote, strict=True):
                if one == pair:
                    log += sum(members[who, 0, skill] * np.log(tables[skill, vote + 1, level]) for skill in range(len(tables)))
            evidence.append(log)
        total += np.log(np.sum(np.exp(evidence)))
    share = (members.sum(axis=(0, 1)) + 1) / (members.sum() + len(tables))
    for who in range(ballots.annotators):
        total += sum(q * (np.log(share[skill]) - np.log(q)) for skill, q in enumerate(members[who, 0]))
    return float(total)


def test_one_step_of_the_fit_is_that_of_plain_loops_and_the_bound_rises() -> None:
    rng = np.random.default_rng(4)
    ballots = Ballots(np.repeat(np.arange(12), 3), rng.integers(0, 4, 36), rng.integers(-1, 2, 36), 12, 4)
    tables = first_tables()
    start = np.full((4, 1, len(tables)), 1 / len(tables))
    first = fit(ballots, start, tables, most_iterations=1)
    assert first.bound == pytest.approx(slow_bound(ballots, start, tables, np.full(LEVELS, 1 / LEVELS)))
    bounds = [fit(ballots, start, tables, most_iterations=most, tolerance=0.0).bound for most in (1, 3, 10, 40)]
    assert bounds == sorted(bounds)


def test_tables_are_mirrored_and_no_skill_prefers_the_worse_side() -> None:
    votes, _ = planted(6, opposing=20, pairs=100)
    numbered = votes.with_columns(pl.col("pair_id").rank("dense") - 1, pl.col("annotator").rank("dense") - 1)
    ballots = Ballots(*(numbered[name].cast(pl.Int64).to_numpy() for name in ("pair_id", "annotator", "vote")), 100, 40)
    tables = first_tables()
    found = fit(ballots, np.full((40, 1, len(tables)), 1 / len(tables)), tables, most_iterations=30).tables
    assert found == pytest.approx(found[:, ::-1, ::-1])
    assert found.sum(axis=1) == pytest.approx(np.ones((len(tables), LEVELS)))
    assert (found[:, 2, 2:] >= found[:, 0, 2:] - 1e-12).all()
