import itertools
import math

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.statistics.agreement import (
    accuracy_at_margin,
    accuracy_from_agreement,
    accuracy_of_majority,
    kappas,
    single_votes,
    summarise_kappas,
    summarise_votes,
    vote_statistics,
)

LETTERS = {"l": -1, "t": 0, "h": 1}


def key(number: int) -> str:
    return f"{(number + 1) * 0x9E3779B97F4A7C15 % 2**64:016x}"


def votes_of(*pairs: str, source: str = "s", kind: str = "human", names: bool = True) -> pl.DataFrame:
    """One text a pair, one letter a vote: l, t, h. The first letter of each is annotator 0's, and so on."""
    rows = [
        (key(pair), key(10_000 + 100 * pair + place), f"w{place}" if names else f"unnamed {source}", kind, source, LETTERS[vote])
        for pair, said in enumerate(pairs)
        for place, vote in enumerate(said)
    ]
    names_of = ["pair_id", "judgement_id", "annotator", "kind", "source", "vote"]
    return pl.DataFrame(rows, schema=dict(zip(names_of, [pl.String] * 5 + [pl.Int8], strict=True)), orient="row")


def found(votes: pl.DataFrame, subject: str = "all") -> dict[str, dict[str, object]]:
    table = vote_statistics([summarise_votes(votes)]).filter(pl.col("subject") == subject)
    return {row["statistic"]: row for row in table.iter_rows(named=True)}


@pytest.mark.parametrize(("agreement", "accuracy"), [(0.60, 0.7236), (0.65, 0.7739), (0.70, 0.8162), (0.75, 0.8536), (0.5, 0.5), (1, 1)])
def test_accuracy_from_agreement(agreement: float, accuracy: float) -> None:
    assert float(accuracy_from_agreement(agreement)) == pytest.approx(accuracy, abs=5e-5)


def test_agreement_below_chance_has_no_accuracy() -> None:
    assert math.isnan(float(accuracy_from_agreement(0.49)))


def test_majorities_and_margins() -> None:
    assert accuracy_of_majority(0.7, 3) == pytest.approx(0.784)
    assert float(accuracy_at_margin(0.7, 2)) == pytest.approx(0.8448, abs=5e-5)
    assert float(accuracy_at_margin(0.7, 0)) == 0.5
    assert float(accuracy_at_margin(0.7, 1)) == pytest.approx(0.7)


def test_kappa_of_balanced_labels() -> None:
    votes = votes_of(*["ll", "hh"] * 36, *["lh", "hl"] * 14)
    table = kappas([summarise_kappas(votes, ["w0", "w1"])])
    assert table.select("statistic", "subject", "n").rows() == [("kappa", "w0 x w1", 100)]
    value, low, high = table.select("value", "low", "high").row(0)
    assert value == pytest.approx(0.44)
    assert 0.2 < low < 0.44 < high < 0.65


def test_kappa_of_ties_alone_is_unknown() -> None:
    assert kappas([summarise_kappas(votes_of("tt", "tt"), ["w0", "w1"])]).select("value", "note").rows() == [
        (None, "every vote is a tie: there is nothing to agree or disagree on")
    ]


def test_an_annotator_speaks_once_of_a_pair_and_unnamed_votes_each_count() -> None:
    named = votes_of("lh").with_columns(annotator=pl.lit("w"))
    assert single_votes(named).select("annotator", "vote").rows() == [("w", 0)]
    assert single_votes(votes_of("lth").with_columns(annotator=pl.lit("w"), vote=pl.Series([-1, 0, -1], dtype=pl.Int8)))[
        "vote"
    ].to_list() == [-1]
    assert single_votes(votes_of("lh", names=False))["vote"].to_list() == [-1, 1]


def slow_alpha(pairs: list[str], distance: dict[frozenset[str], float]) -> float | None:
    """Krippendorff's coincidences, summed over every pair and its mirror image, so that neither side is special."""
    mirror = str.maketrans("lh", "hl")
    coincidences = dict.fromkeys(itertools.product("lth", repeat=2), 0.0)
    for said in pairs:
        for one in (said, said.translate(mirror)):
            for first, second in itertools.permutations(one, 2):
                coincidences[first, second] += 0.5 / (len(one) - 1)
    totals = {value: sum(coincidences[value, other] for other in "lth") for value in "lth"}
    n = sum(totals.values())
    unlike = [(a, b) for a, b in itertools.product("lth", repeat=2) if a != b]
    expected = sum(totals[a] * totals[b] * distance[frozenset((a, b))] for a, b in unlike) / (n - 1)
    return 1 - sum(coincidences[pair] * distance[frozenset(pair)] for pair in unlike) / expected if expected else None


NOMINAL = {frozenset("lt"): 1.0, frozenset("th"): 1.0, frozenset("lh"): 1.0}
PAIRS = st.lists(st.text("lth", min_size=1, max_size=6), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None)
@given(pairs=PAIRS)
def test_alphas_are_krippendorffs(pairs: list[str]) -> None:
    repeated = [said for said in pairs if len(said) > 1]
    statistics = found(votes_of(*pairs))
    if not repeated:
        assert "no pair has votes of two annotators" in str(statistics["alpha"]["note"])
        return
    joined = "".join(repeated)
    ties, sides = joined.count("t"), len(joined) - joined.count("t")
    step, whole = (sides / 2 + ties) / 2, sides / 2 + ties
    ordinal = {frozenset("lt"): step**2, frozenset("th"): step**2, frozenset("lh"): whole**2}
    for name, distance in (("alpha", NOMINAL), ("alpha_ordinal", ordinal)):
        expected = slow_alpha(repeated, distance)
        assert statistics[name]["value"] == (None if expected is None else pytest.approx(expected))
    alike = sum(sum(a == b for a, b in itertools.permutations(said, 2)) / (len(said) - 1) for said in repeated) / len(joined)
    assert statistics["agreement"]["value"] == pytest.approx(alike)
    assert statistics["tie_share"]["value"] == pytest.approx("".join(pairs).count("t") / len("".join(pairs)))
    assert statistics["repeated_share"]["value"] == pytest.approx(len(repeated) / len(pairs))


def test_alpha_of_krippendorffs_data() -> None:
    """The nominal example with two coders of ten binary units (Krippendorff 2011): mirrored, chance agreement is one half."""
    pairs = ["ll"] * 5 + ["hh"] * 1 + ["lh"] * 4
    # 6 of 10 agree; 20 votes; chance disagreement 20 * 10 * 2 / 4 / (20 * 19) = 10 / 19
    assert found(votes_of(*pairs))["alpha"]["value"] == pytest.approx(1 - 0.4 / (10 / 19))


@settings(max_examples=20, deadline=None)
@given(pairs=PAIRS, swaps=st.lists(st.booleans(), min_size=12, max_size=12), seed=st.integers(0, 99))
def test_neither_the_order_of_rows_nor_which_side_is_high_changes_anything(pairs: list[str], swaps: list[bool], seed: int) -> None:
    votes = votes_of(*pairs)
    turned = pl.DataFrame({"pair_id": [key(n) for n in range(len(pairs))], "swap": swaps[: len(pairs)]})
    other = votes.join(turned, on="pair_id").with_columns(vote=pl.when("swap").then(-pl.col("vote")).otherwise("vote").cast(pl.Int8))
    other = other.drop("swap").sample(fraction=1, shuffle=True, seed=seed)
    in_first = other["pair_id"] < "8"
    parts = [summarise_votes(other.filter(in_first)), summarise_votes(other.filter(~in_first))]
    assert vote_statistics(parts).equals(vote_statistics([summarise_votes(votes)]))


def test_sources_and_kinds_are_told_apart() -> None:
    votes = pl.concat(
        [votes_of(*["ll"] * 40), votes_of(*["hl"] * 40, source="j", kind="judge").with_columns(annotator="x" + pl.col("annotator"))]
    )
    table = vote_statistics([summarise_votes(votes)])
    agreement = {row[:2]: row[2] for row in table.filter(statistic="agreement").select("subject_kind", "subject", "value").rows()}
    assert agreement == {
        ("dataset", "all"): pytest.approx(0.5),  # three l and one h a pair: 3 x 2/3 of 4
        ("source", "s"): 1.0,
        ("source", "j"): 0.0,
        ("annotator_kind", "human"): 1.0,
        ("annotator_kind", "judge"): 0.0,
    }
    below = table.filter(statistic="accuracy_from_agreement", subject="j")
    assert below.select("value", "note").rows() == [(None, "annotators agree less often than by chance: no common accuracy explains it")]


def test_perfect_agreement_of_a_few_pairs_is_not_certain() -> None:
    row = found(votes_of("ll", "hhh", "ll"))["alpha"]
    assert row["value"] == 1.0
    assert row["low"] < 0.1 < row["high"] == 1.0
    assert row["note"] == "3 pairs only"
    many = found(votes_of(*["ll"] * 400))["alpha"]
    assert 0.95 < many["low"] < many["high"] == 1.0


def test_ties_alone_leave_alpha_unknown() -> None:
    statistics = found(votes_of("tt", "ttt"))
    assert statistics["alpha"]["note"] == "every vote is a tie: there is nothing to agree or disagree on"
    assert statistics["agreement"]["value"] == 1.0
    assert statistics["agreement_decided"]["note"] == "no pair has two votes for a side: agreement on sides cannot be known"


def test_no_votes_give_no_statistics() -> None:
    assert vote_statistics([summarise_votes(votes_of())]).is_empty()
