"""From votes to what is published about them: annotators, statistics and labels of whole runs on small data.

The model is a stand-in that tells texts apart by their words. Better answers have words of their own: peers have something to learn.
"""

import json
import random
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from flows.curate import Outcome, run_flow
from pipeline.errors import ConfigError
from tests.flows.test_promises import Row, as_lines, exchange, version_of

PAIRS = 130
GOOD = ("careful", "sound", "checked", "plain", "exact")
BAD = ("vague", "hasty", "sloppy", "muddled", "wrong")
SKILL = {"heron": 0.95, "otter": 0.9, "gull": 0.85, "finch": 0.85, "lynx": 0.75, "wren": 0.1}


def answers(n: int, rng: random.Random) -> tuple[str, str]:
    """A better and a worse answer to prompt n."""
    return (
        f"Answer {n}: {' '.join(rng.choices(GOOD, k=4))} item{n} good{n}." + " More." * (n % 4),
        f"Reply {n}: {' '.join(rng.choices(BAD, k=4))} thing{n} bad{n}.",
    )


def row_of(n: int, better: bool | None, swapped: bool, **fields: Any) -> Row:
    """A verdict on the two answers to prompt n: whether the better one won (None: a tie), shown as b or as a."""
    good, bad = answers(n, random.Random(n))
    a, b = (bad, good) if swapped else (good, bad)
    winner = "tie" if better is None else "ab"[better == swapped]
    return {"prompt": f"Task number {n} about topic{n}?", "response_a": a, "response_b": b, "winner": winner, **fields}


def crowd_rows() -> list[Row]:
    """Three of six annotators on each prompt, with and without strength and order."""
    rng = random.Random(5)
    rows: list[Row] = []
    for n in range(PAIRS):
        for name in rng.sample(sorted(SKILL), 3):
            better = None if rng.random() < 0.08 else rng.random() < SKILL[name]
            row = row_of(n, better, rng.random() < 0.5, annotator=name, strength=None, shown_first=None)
            if n % 3:
                row["strength"] = rng.choice((0.2, 0.9))
            if n % 2:
                row["shown_first"] = rng.choice("ab")
            rows.append(row)
    return rows


def judge_rows() -> list[Row]:
    """`steady` is right in both orders, `firstly` picks what it sees first, `lonely` votes where nobody else does."""
    rows: list[Row] = []
    for n in range(60):
        for shown in "ab":
            rows.append(row_of(n, n % 10 > 0, False, annotator="steady", shown_first=shown))
            rows.append(row_of(n, shown == "a", False, annotator="firstly", shown_first=shown))
    rows += [row_of(n, True, False, annotator="lonely", shown_first=None) for n in range(1000, 1010)]
    return [*rows, row_of(PAIRS + 5, True, False, annotator="steady", shown_first="a")]


@dataclass(frozen=True)
class Case:
    """What a run is given."""

    files: dict[str, list[Row]]
    sources: list[Row]
    settings: Row = field(default_factory=dict)
    threads: int = 2

    def run(self, folder: Path) -> "Published":
        for name, rows in self.files.items():
            (folder / name).write_bytes(as_lines(rows))
        config = {"dataset": "votes", "sources": self.sources, "annotators": {"ids": "plain"}, **self.settings}
        (folder / "prefine.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        return Published(run_flow(str(folder / "prefine.yaml"), None, self.threads))


class Published:
    """A version's tables."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome, self.version = outcome, version_of(outcome)

    def table(self, name: str) -> pl.DataFrame:
        return pl.read_parquet(sorted((self.version.folder / name).glob("*.parquet")))

    def pairs(self) -> pl.DataFrame:
        """All pairs, those that were dropped too."""
        return pl.concat([self.table(name) for name in ("data", "dropped") if (self.version.folder / name).exists()], how="diagonal")

    def manifest(self) -> Row:
        manifest: Row = json.loads((self.version.folder / "manifest.json").read_text(encoding="utf-8"))
        return manifest

    def annotator(self, name: str) -> Row:
        return self.table("annotators").row(by_predicate=pl.col("annotator_id") == name, named=True)

    def about(self, source: str) -> pl.DataFrame:
        """The pairs of one source."""
        return self.pairs().filter(pl.col("sources").list.contains(source))

    def statistic(self, name: str, subject: str | None = None) -> Row:
        found = self.table("statistics").filter(pl.col("statistic") == name)
        found = found if subject is None else found.filter(pl.col("subject") == subject)
        assert found.height == 1, found
        return found.row(0, named=True)


pytestmark = pytest.mark.usefixtures("encoder")


SOURCES: list[Row] = [{"name": "crowd", "uri": "crowd.jsonl"}, {"name": "judges", "uri": "judges.jsonl", "annotator_kind": "judge"}]


@pytest.fixture(scope="module")
def given() -> Case:
    settings = {
        "partitions": 1,
        "weights": {"noise": True, "strength": True, "balance": "chars_gap"},
        "rules": {"add": [{"name": "doubtful", "drop_if": "p_chosen < 0.6"}, {"name": "even", "balance": {"signal": "chars_gap"}}]},
        "content": {"truncation": {"lengths": [1, 2, 512]}, "language": False},
    }
    return Case({"crowd.jsonl": crowd_rows(), "judges.jsonl": judge_rows()}, SOURCES, settings)


@pytest.fixture(scope="module")
def crowd(given: Case, tmp_path_factory: pytest.TempPathFactory) -> Published:
    return given.run(tmp_path_factory.mktemp("crowd"))


# Judges


def test_a_judge_that_is_steady_and_right_is_admitted_and_its_habits_rest_on_all_its_votes(crowd: Published) -> None:
    steady, humans = crowd.annotator("judges/steady"), crowd.annotator("crowd/heron")

    assert (steady["admitted"], steady["reason"], steady["votes"], steady["pairs"]) == (True, None, 121, 61)
    assert (steady["both_orders"], steady["consistent"]) == (60, 60)
    assert steady["gold_votes"] > 40
    assert steady["gold_agreement_low"] < steady["gold_agreement"] < steady["gold_agreement_high"]
    assert (steady["tie_share"], steady["tie_share_low"]) == (0.0, 0.0)
    assert steady["tie_share_high"] < 0.05
    assert steady["first_share"] == pytest.approx(61 / 121)
    assert steady["note"].startswith("1 of its 121 votes enter consensus; nobody else's votes count on its pairs")
    assert humans["both_orders"] is humans["gold_votes"] is None


def test_a_judge_that_names_the_first_place_is_refused_and_why_is_said(crowd: Published) -> None:
    firstly = crowd.annotator("judges/firstly")

    assert (firstly["admitted"], firstly["consistent"], firstly["first_share"]) == (False, 0, 1.0)
    assert firstly["first_share_low"] > 0.95
    assert firstly["reason"].startswith("names the same answer in both orders on 0 of 60 pairs")
    assert firstly["note"] == "no vote of it enters consensus"


def test_where_three_humans_voted_no_judge_counts_and_where_nobody_did_an_unaudited_one_does_and_it_is_told(crowd: Published) -> None:
    humans = crowd.about("crowd")
    alone = crowd.about("judges").filter(pl.col("sources").list.len() == 1)

    assert humans["votes_admitted"].to_list() == [3] * PAIRS
    assert humans["n_votes"].unique().sort().to_list() == [3, 7]
    assert alone["votes_admitted"].to_list() == [1] * 11
    assert alone["unaudited_votes"].sort().to_list() == [0] + [1] * 10


def test_votes_that_do_not_enter_consensus_are_counted_by_reason(crowd: Published) -> None:
    found = crowd.table("statistics").filter(pl.col("statistic") == "votes_left_out")
    shares = dict(found.select("subject", "value").iter_rows())
    total = 3 * PAIRS + 251

    assert found["n"].unique().to_list() == [total]
    assert shares == pytest.approx(
        {"all": 240 / total, "order_flipped": 120 / total, "other_order": 60 / total, "humans_decided": 60 / total}
    )
    assert found.filter((pl.col("low") >= pl.col("value")) | (pl.col("high") <= pl.col("value"))).is_empty()


# Humans


def test_annotators_have_the_reliability_that_was_planted(crowd: Published) -> None:
    found = {name: crowd.annotator(f"crowd/{name}") for name in SKILL}

    assert min(found, key=lambda name: found[name]["accuracy"]) == "wren"
    assert found["wren"]["accuracy_high"] < 0.5
    assert found["wren"]["note"] == "its picks are more often those that the others reject"
    assert sum(row["accuracy_low"] <= SKILL[name] <= row["accuracy_high"] for name, row in found.items()) >= 5
    assert all(row["group"] is None and row["admitted"] for row in found.values())
    assert crowd.statistic("camps", "crowd")["value"] == 1


def test_labels_are_more_often_right_than_the_count_of_votes(crowd: Published) -> None:
    pairs = crowd.about("crowd").filter(~pl.col("tie"))
    right = pairs.select(pl.col("chosen").list.last().struct.field("content").str.starts_with("Answer")).to_series()

    assert right.mean() > 0.9
    assert pairs.filter(~right)["noise_score"].min() > pairs.filter(right)["noise_score"].max()


def test_content_says_which_labels_are_wrong_and_p_soft_follows(crowd: Published) -> None:
    pairs = crowd.pairs().filter(~pl.col("tie"))
    suspect = pl.col("peer_verdict") == "suspect"

    assert pairs["noise_score"].null_count() == 0
    assert 0 < pairs.filter(suspect).height < pairs.height / 4
    assert pairs.filter(suspect)["p_soft"].mean() < 0.3 < 0.9 < pairs.filter(~suspect)["p_soft"].mean()


# Weights, balance, truncation


def test_weights_are_one_on_average_and_leave_the_balanced_signal_without_a_say(crowd: Published) -> None:
    kept = crowd.table("data")

    assert kept["weight"].mean() == pytest.approx(1.0, abs=1e-5)
    assert kept["weight"].min() >= 0
    assert crowd.statistic("balance_coefficient_weighted", "weights")["value"] == pytest.approx(0.0, abs=1e-9)
    assert crowd.statistic("balance_lost_matched", "even")["value"] > 0.5


def test_a_balanced_signal_is_as_often_above_0_as_below(crowd: Published) -> None:
    gaps = crowd.table("data")["chars_gap"]

    assert (gaps > 0).sum() == (gaps < 0).sum() > 0


def test_lengths_at_which_both_sides_are_one_text_are_named(crowd: Published) -> None:
    assert crowd.pairs()["identical_at_lengths"].to_list() == [[1, 2]] * (PAIRS + 11)


def test_every_share_has_an_interval_or_says_why_not(crowd: Published) -> None:
    bare = crowd.table("statistics").filter((pl.col("unit") == "share") & pl.col("low").is_null() & pl.col("note").is_null())

    assert bare.is_empty()


# Promises 2 and 3


def test_partitions_threads_order_and_sides_change_no_table(given: Case, crowd: Published, tmp_path: Path) -> None:
    rng = random.Random(3)
    files = {
        name: [exchange(row) if rng.random() < 0.5 else row for row in rng.sample(rows, len(rows))] for name, rows in given.files.items()
    }
    other = replace(given, files=files, sources=given.sources[::-1], settings={**given.settings, "partitions": 7}, threads=1).run(tmp_path)
    compared = ("data/", "dropped/", "annotators/", "statistics/")

    def hashes(version: Published) -> dict[str, str]:
        return {path: sha for path, sha in version.version.hashes.items() if path.startswith(compared)}

    assert len(hashes(crowd)) >= 5
    assert hashes(other) == hashes(crowd)


# Bad and odd input


def plain_row(prompt: str, one: str, other: str, winner: str, **fields: Any) -> Row:
    return {"prompt": prompt, "response_a": one, "response_b": other, "winner": winner, **fields}


ODD_FILES: dict[str, list[Row]] = {
    "anonymous.jsonl": [plain_row(f"Unknown {n} wonder{n}", f"Yes yes{n}", f"Never no{n}", "a") for n in range(5)],
    "ones.jsonl": [
        plain_row(f"Single {n} lonely{n}", f"Red red{n}", f"Green green{n}", "ab"[i == 2], annotator=f"w{n}-{i}")
        for n in range(4)
        for i in range(3)
    ],
    "ties.jsonl": [
        plain_row(f"Even {n} odd{n}", f"Left{n}", f"Right{n}", "tie", annotator=name) for n in range(3) for name in ("tina", "tom")
    ],
    "repeats.jsonl": [plain_row("Again and again", "Sun moon", "Rain snow", winner, annotator="ray") for winner in "ab"],
    "rings.jsonl": [
        plain_row(prompt, one, other, "a", annotator=name, shown_first=first)
        for prompt, last in (("Round the ring", "ba"), ("Down the chain", "ab"))
        for one, other in (("stone", "paper"), ("paper", "knife"), ("knife", "stone") if last == "ba" else ("stone", "knife"))
        for name, first in (("ann", "a"), ("bob", "b"), ("cyd", "a"))
    ],
    "scored.jsonl": [
        {"id": n, "prompt": f"Scored {n} number{n}", "chosen": f"Up{n}", "rejected": f"Down{n}", "flat": 1.0, "nan_c": "NaN", "nan_r": n}
        for n in range(6)
    ],
    "scores.jsonl": [{"id": n, "c": float(n), "r": 2.5} for n in range(2, 9)],
}  # fmt: skip
ODD_SOURCES: list[Row] = [
    *({"name": name, "uri": f"{name}.jsonl"} for name in ("anonymous", "ones", "ties", "repeats", "rings")),
    {
        "name": "scored",
        "uri": "scored.jsonl",
        "join": [{"uri": "scores.jsonl", "on": "id", "as": "rm", "optional": True}],
        "fields": {"model_scores": {"flat": ["flat", "flat"], "gappy": ["nan_c", "nan_r"], "joined": ["rm.c", "rm.r"]}},
    },
]
METHODS = ("dawid-skene", "graded-response", "bradley-terry", "closest-three", "majority")


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Published]:
    """Odd input under each method."""
    return {
        method: Case(ODD_FILES, ODD_SOURCES, {"partitions": 1, "consensus": {"method": method}}).run(tmp_path_factory.mktemp(method))
        for method in METHODS
    }


def test_unknown_annotators_are_one_voter_of_their_source_whose_accuracy_is_not_told(odd: dict[str, Published]) -> None:
    row = odd["dawid-skene"].annotator("unnamed anonymous")

    assert (row["votes"], row["pairs"], row["shared_pairs"], row["accuracy"]) == (5, 5, 0, None)
    assert row["note"] == "nobody else's votes count on its pairs: how often it is right cannot be told"


def test_one_vote_makes_nobody_an_oracle(odd: dict[str, Published]) -> None:
    row = odd["dawid-skene"].annotator("ones/w0-0")

    assert row["accuracy"] < 0.9
    assert row["accuracy_high"] - row["accuracy_low"] > 0.4
    assert "the interval is mostly the prior's" in row["note"]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_says_the_same_of_the_plainest_votes(method: str, odd: dict[str, Published]) -> None:
    ties, again, ones = (odd[method].about(name) for name in ("ties", "repeats", "ones"))

    assert ties["reason"].to_list() == ["tie"] * 3
    assert again.select("p_chosen", "tie", "votes_chosen", "votes_rejected", "conflict").rows() == [(0.5, True, 1, 1, True)]
    assert ones["votes_chosen"].to_list() == [2] * 4
    assert ones["p_chosen"].is_between(0.5, 0.95, closed="none").all()
    assert ones.select((1 - pl.col("p_tie")) * pl.col("p_chosen") > 0).to_series().all()
    assert odd[method].annotator("ties/tina")["note"] == "all its votes are ties"
    assert odd[method].annotator("repeats/ray")["note"].endswith("votes for both sides of 1 of its pairs")


@pytest.mark.parametrize("method", METHODS)
def test_a_prompt_whose_preferences_go_round_has_no_ranking_and_says_so(method: str, odd: dict[str, Published]) -> None:
    pairs = odd[method].about("rings").with_columns(asked=pl.col("prompt").list.last().struct.field("content"))
    ring, chain = (pairs.filter(pl.col("asked") == asked) for asked in ("Round the ring", "Down the chain"))

    assert ring["no_ranking"].to_list() == ["1 of 1 triads are cyclic (100.0 %), more than 5 %: no single ranking"] * 3
    assert ring["cyclic_share"].to_list() == [1.0] * 3
    assert chain["no_ranking"].to_list() == [None] * 3
    assert chain["cyclic_share"].to_list() == [0.0] * 3
    for name, value in (("cyclic_share", 0.5), ("no_ranking_share", 0.5)):
        row = odd[method].statistic(name)
        assert (row["value"], row["n"]) == (value, 2)
        assert row["low"] < value < row["high"]


def test_one_scale_is_used_where_there_is_one_and_nowhere_else(odd: dict[str, Published]) -> None:
    def labels(method: str) -> dict[tuple[str, str], float]:
        rows = odd[method].about("rings").select(pl.col("prompt").list.last().struct.field("content"), "pair_id", "p_chosen")
        return {(asked, pair_id): p for asked, pair_id, p in rows.iter_rows()}

    scaled, alone = labels("bradley-terry"), labels("graded-response")

    assert {asked for (asked, pair), p in scaled.items() if p != alone[asked, pair]} == {"Down the chain"}
    assert min(scaled.values()) > 0.5


def test_scores_of_reward_models_that_tell_nothing_are_no_signal_and_unmatched_rows_are_counted(odd: dict[str, Published]) -> None:
    run = odd["dawid-skene"]
    pairs = run.about("scored").with_columns(n=pl.col("chosen").list.last().struct.field("content").str.slice(2).cast(pl.Int64)).sort("n")
    inputs = {row["source_uri"].rsplit("/", 1)[-1]: row for row in run.manifest()["inputs"]}

    assert pairs["rm_models"].to_list() == [0, 0, 1, 1, 1, 1]
    assert pairs["rm_mean"].to_list() == [None, None, -0.5, 0.5, 1.5, 2.5]
    assert run.statistic("rm_label_agreement", "joined")["value"] == 0.75
    assert run.statistic("rm_label_agreement", "flat")["value"] is None
    assert "tells nothing" in run.statistic("rm_label_agreement", "flat")["note"]
    assert "6 pairs have a score for one answer only" in run.statistic("rm_label_agreement", "gappy")["note"]
    assert inputs["scored.jsonl"]["unmatched_rows"] == 2
    assert inputs["scores.jsonl"]["unused_rows"] == 3
    assert "rm" not in set(run.table("annotators")["annotator_id"])


def test_too_few_pairs_teach_no_peers_and_votes_stand_alone(odd: dict[str, Published]) -> None:
    pairs = odd["dawid-skene"].pairs()

    assert pairs["noise_score"].null_count() == pairs.height
    assert pairs["weight"].to_list() == [1.0] * pairs.height
    assert pairs.select(pl.col("p_soft") == pl.col("p_chosen")).to_series().all()


def test_what_votes_cannot_tell_is_said_in_words(odd: dict[str, Published]) -> None:
    found = odd["dawid-skene"].table("statistics").filter(pl.col("statistic") == "identifiability")

    assert found["value"].null_count() == found.height
    assert any("share no pair" in note for note in found["note"])
    assert any("have one vote" in note for note in found["note"])
    assert odd["dawid-skene"].statistic("vote_model_gain")["note"].startswith("converged after")


# Camps


def camp_rows() -> list[Row]:
    """Two camps of five, whose tastes are opposite; five of the ten on each of 80 prompts."""
    rng = random.Random(11)
    rows: list[Row] = []
    for n in range(80):
        for name in rng.sample(range(10), 5):
            mine = name < 5
            rows.append(row_of(n, mine if rng.random() < 0.95 else not mine, rng.random() < 0.5, annotator=f"c{name}"))
    return rows


@pytest.mark.parametrize("several_camps", ["refuse", "ignore"])
def test_where_camps_explain_the_votes_no_rule_on_consensus_drops_unless_told_to(several_camps: str, tmp_path: Path) -> None:
    rule = {"name": "contested", "drop_if": "p_chosen < 0.99 or conflict"}
    settings = {"partitions": 2, "consensus": {"several_camps": several_camps}, "rules": {"add": [rule]}}
    run = Case({"crowd.jsonl": camp_rows()}, SOURCES[:1], settings).run(tmp_path)
    camps = run.statistic("camps")
    line = next(line for line in run.outcome.counts if "contested" in line["stage"])

    assert camps["value"] == 2
    assert camps["note"].startswith("a single consensus would hide several views: 2 groups over 1 group gain")
    assert run.statistic("camp_gain")["low"] is not None
    assert [len(run.table("annotators").filter(pl.col("group") == group)) for group in (0, 1)] == [5, 5]
    if several_camps == "refuse":
        assert line["dropped"] == 0
        assert "refused: 2 camps of annotators in crowd" in str(line)
    else:
        assert line["dropped"] > 50


# Config


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"consensus": {"method": "dawid-sken"}}, "consensus.method"),
        ({"consensus": {"prior": 0}}, "consensus.prior"),
        ({"consensus": {"judges": "some"}}, "consensus.judges"),
        ({"consensus": {"max_cyclic_share": 1.5}}, "consensus.max_cyclic_share"),
        ({"consensus": {"several_camps": True}}, "consensus.several_camps"),
        ({"weights": {"nois": True}}, "nois"),
        ({"weights": {"balance": "chars_gapp"}}, "chars_gap"),
        ({"weights": {"balance": "chosen_language"}}, "chosen_language"),
        ({"rules": {"add": [{"name": "x", "balance": {"signal": "tie"}}]}}, "tie"),
        ({"content": {"truncation": {"lengths": [0]}}}, "content.truncation.lengths"),
    ],
)
def test_a_wrong_setting_is_named_before_any_work(settings: Row, named: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=named):
        Case({"crowd.jsonl": crowd_rows()[:3]}, SOURCES[:1], settings).run(tmp_path)
