"""From votes to what is published about them: annotators, statistics and labels of whole runs on small data.

The model is a stand-in that tells texts apart by their words; better answers have words of their own, so that peers have something to learn.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from flows import steps
from flows.curate import Outcome, run_flow
from tests.fakes import WordEncoder
from tests.flows.test_promises import OTHER, Row, as_lines, version_of

PAIRS = 130
GOOD = ("careful", "sound", "checked", "plain", "exact")
BAD = ("vague", "hasty", "sloppy", "muddled", "wrong")
SKILL = {"heron": 0.95, "otter": 0.9, "gull": 0.85, "lynx": 0.75, "wren": 0.1}


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
    """Three of five annotators on each prompt, with and without strength and order."""
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

    def annotator(self, name: str) -> Row:
        return self.table("annotators").row(by_predicate=pl.col("annotator_id") == name, named=True)

    def statistic(self, name: str, subject: str | None = None) -> Row:
        found = self.table("statistics").filter(pl.col("statistic") == name)
        found = found if subject is None else found.filter(pl.col("subject") == subject)
        assert found.height == 1, found
        return found.row(0, named=True)


@pytest.fixture(scope="module", autouse=True)
def encoder() -> Iterator[WordEncoder]:
    fake = WordEncoder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "encoder", lambda config: fake)
        yield fake


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


def test_x(crowd: Published) -> None:
    with pl.Config(tbl_rows=200, tbl_cols=60, fmt_str_lengths=160, tbl_width_chars=400):
        print(crowd.table("annotators").drop("note"))
        print(crowd.table("annotators").select("annotator_id", "reason", "note"))
        print(crowd.table("statistics").select("statistic", "subject", "value", "low", "high", "n", "note"))
        print(crowd.pairs().select("n_votes", "votes_admitted", "unaudited_votes", "p_chosen", "p_tie", "noise_score", "p_soft", "weight", "identical_at_lengths","reason").sort("votes_admitted"))
    print(crowd.outcome.counts)
    assert 0
