from itertools import combinations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.consensus import cycles
from pipeline.consensus.cycles import count_triads, cycle_statistics, refuse_rankings, summarise_cycles, with_shares

Net = dict[tuple[str, str], float | None]


def compared(nets: Net, group: str = "g") -> pl.DataFrame:
    """Pairs (low, high) -> net, above 0 where high is preferred."""
    schema = {"group": pl.String, "low_id": pl.String, "high_id": pl.String, "net": pl.Float64}
    return pl.DataFrame([(group, low, high, net) for (low, high), net in nets.items()], schema=schema, orient="row")


def matrix(*rows: list[float], group: str = "g") -> pl.DataFrame:
    """P(row beats column) -> pairs."""
    names = "abcdefgh"
    return compared({(names[i], names[j]): rows[j][i] - rows[i][j] for i, j in combinations(range(len(rows)), 2)}, group)


def slow_count(nets: Net) -> tuple[int, int]:
    """Every three responses, looked at one by one."""
    beats = {}
    for (low, high), net in nets.items():
        if net and low != high and not np.isnan(net):
            beats[low, high], beats[high, low] = net < 0, net > 0
    names = sorted({name for pair in nets for name in pair})
    triads = cyclic = 0
    for a, b, c in combinations(names, 3):
        if (a, b) in beats and (b, c) in beats and (a, c) in beats:
            triads += 1
            wins = sorted([beats[a, b] + beats[a, c], beats[b, a] + beats[b, c], beats[c, a] + beats[c, b]])
            cyclic += wins == [1, 1, 1]
    return triads, cyclic


def test_a_win_matrix_that_goes_round_is_one_cyclic_triad_and_an_ordered_one_is_none() -> None:
    round_ = matrix([0.5, 0.75, 0.25], [0.25, 0.5, 0.75], [0.75, 0.25, 0.5], group="round")
    ordered = matrix([0.5, 0.9, 0.9], [0.1, 0.5, 0.9], [0.1, 0.1, 0.5], group="ordered")
    assert count_triads(pl.concat([round_, ordered])).rows() == [("ordered", 1, 0), ("round", 1, 1)]


def test_a_score_of_two_dimensions_can_go_round() -> None:
    # Unit vectors at 0, 120 and 240 degrees: the score v_a x v_b is 0.8660 for 1 > 2, 2 > 3 and 3 > 1.
    angles = np.radians([0, 120, 240])
    x, y = np.cos(angles), np.sin(angles)
    scores = x[:, None] * y[None, :] - y[:, None] * x[None, :]
    assert scores[0, 1] == pytest.approx(0.8660, abs=1e-4)
    assert 1 / (1 + np.exp(-scores[0, 1])) == pytest.approx(0.70392, abs=1e-5)
    assert count_triads(matrix(*scores.tolist())).row(0) == ("g", 1, 1)


def test_a_pair_without_a_majority_decides_nothing() -> None:
    round_: Net = {("a", "b"): 1, ("b", "c"): 1, ("a", "c"): -1}
    for undecided in (0, None, float("nan")):
        assert count_triads(compared(round_ | {("a", "c"): undecided})).row(0) == ("g", 0, 0)
    assert count_triads(compared(round_)).row(0) == ("g", 1, 1)


def test_a_response_against_itself_is_no_pair() -> None:
    assert count_triads(compared({("a", "a"): 1, ("a", "b"): 1, ("b", "c"): 1, ("a", "c"): 1})).row(0) == ("g", 1, 0)


def test_equal_responses_of_other_prompts_make_no_triad() -> None:
    parts = [compared({pair: 1}, group) for pair, group in ((("a", "b"), "g"), (("b", "c"), "h"), (("a", "c"), "g"))]
    assert count_triads(pl.concat(parts)).rows() == [("g", 0, 0), ("h", 0, 0)]


names = st.sampled_from("abcdefg")
pairs_of = st.dictionaries(st.tuples(names, names).filter(lambda pair: pair[0] <= pair[1]), st.sampled_from([-2.0, -0.5, 0.0, 1.0, None]))


@given(pairs_of, pairs_of, st.randoms(use_true_random=False), st.sampled_from([1, 3, 2_000_000]))
def test_triads_are_those_found_one_by_one(first: Net, second: Net, random: object, at_once: int) -> None:
    rows = pl.concat([compared(first, "g"), compared(second, "h")])
    order = list(range(rows.height))
    random.shuffle(order)  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cycles, "_WEDGES", at_once)
        found = count_triads(rows[order])
    expected = [(group, *slow_count(nets)) for group, nets in (("g", first), ("h", second)) if nets]
    assert found.rows() == expected


@given(pairs_of)
def test_turning_every_verdict_round_keeps_every_cycle(nets: Net) -> None:
    turned: Net = {pair: None if net is None else -net for pair, net in nets.items()}
    assert count_triads(compared(nets)).equals(count_triads(compared(turned)))


def test_a_quarter_of_the_triads_of_coin_flips_is_cyclic() -> None:
    rng = np.random.default_rng(0)
    names = [f"{i:03d}" for i in range(120)]
    found = count_triads(compared({pair: float(rng.choice([-1, 1])) for pair in combinations(names, 2)}))
    assert found["triads"].item() == 120 * 119 * 118 // 6
    assert found["cyclic"].item() / found["triads"].item() == pytest.approx(0.25, abs=0.01)


def test_a_ranking_is_refused_above_the_threshold_and_the_reason_says_why() -> None:
    triads = pl.DataFrame({"group": ["at", "above", "none"], "triads": [100, 100, 0], "cyclic": [5, 6, 0]})
    judged = refuse_rankings(triads)
    assert judged.select("group", "single_ranking", "reason").rows() == [
        ("at", True, None),
        ("above", False, "6 of 100 triads are cyclic (6.0 %), more than 5 %: no single ranking"),
        ("none", True, None),
    ]
    assert refuse_rankings(triads, most_cyclic=0.2)["single_ranking"].all()


def test_a_share_has_its_wilson_interval_and_is_null_where_no_triad_is_decided() -> None:
    shares = with_shares(pl.DataFrame({"triads": [10, 0], "cyclic": [0, 0]}))
    assert shares.row(0)[2:] == pytest.approx((0.0, 0.0, 0.27753), abs=1e-5)  # z^2 / (n + z^2)
    assert shares.row(1)[2:] == (None, None, None)


def test_the_share_of_the_data_set_adds_up_over_partitions_and_its_interval_draws_prompts() -> None:
    triads = pl.DataFrame({"group": [f"g{n:02d}" for n in range(60)], "triads": [4] * 40 + [0] * 20, "cyclic": [2, 0] * 20 + [0] * 20})
    refused = refuse_rankings(triads)
    whole = cycle_statistics([summarise_cycles(refused)])
    parts = cycle_statistics([summarise_cycles(part) for part in (refused[37:], refused[:3], refused[3:37])])

    assert parts.equals(whole)
    assert whole.select("statistic", "value", "n").rows() == [("cyclic_share", 0.25, 40), ("no_ranking_share", 0.5, 40)]
    # A prompt's triads go round together: 40 prompts tell less than 160 triads would.
    low, high = whole.select("low", "high").row(0)
    assert high - low > 1.1 * 2 * 1.96 * (0.25 * 0.75 / 160) ** 0.5
    assert whole["note"][0] == "of 160 triads under 40 prompts"


def test_without_triads_there_is_no_share() -> None:
    found = cycle_statistics([summarise_cycles(refuse_rankings(pl.DataFrame({"group": ["g"], "triads": [0], "cyclic": [0]})))])

    assert found["value"].null_count() == 2
    assert found["n"].to_list() == [0, 0]


def test_no_pairs_have_no_triads() -> None:
    assert refuse_rankings(count_triads(compared({}))).height == 0
