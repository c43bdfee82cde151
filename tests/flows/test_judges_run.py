"""Language models as judges in whole runs: whom they are asked about, what their verdicts count, and what is told of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from tests.flows.asked import EVERYTHING, case, content, endpoint, words
from tests.flows.test_promises import Row
from tests.flows.test_voting import Case, Published
from tests.llm.scripted import Script, Server, scripted_server

DECIDED, SINGLE, GOLD, PROBES = 30, 20, 25, 6  # pairs with three human votes, with one; of the first, asked all the same; of both, probed
JUDGES = ("panel (scripted)", "firstly (another)")

pytestmark = pytest.mark.usefixtures("encoder")


def vote(n: int, name: str, *, longer: bool = True, **changed: str) -> Row:
    """One person's verdict on a long and a short answer."""
    long, short = f"Well: {words(10_000 + n, 14)}.", f"No: {words(20_000 + n, 9)}!"
    a, b = (long, short) if n % 2 else (short, long)
    winner = "ab"[(a == long) != longer]
    row = {"prompt": f"Task number {n}: {words(n, 4)}?", "response_a": a, "response_b": b, "winner": winner, "annotator": name}
    return row | changed


def votes() -> list[Row]:
    """People prefer the longer answer where three were asked, and every other time where one was; one answer says nothing."""
    three = [vote(n, name) for n in range(DECIDED) for name in ("ada", "bea", "cid")]
    one = [vote(n, "ada", longer=n % 2 == 0) for n in range(DECIDED, DECIDED + SINGLE)]
    return [*three, *one, vote(99, "ada", response_a="...")]


def judged(longer: Server, first: Server, partitions: int = 1) -> Case:
    """A judge that prefers the longer answer, and one that prefers what it is shown first."""
    endpoints = [endpoint(longer), endpoint(first, "other", model="another")]
    each = {"gold_pairs": GOLD, "probes": PROBES}
    judges = [{"name": "panel", "endpoint": "local", **each}, {"name": "firstly", "endpoint": "other", **each}]
    return case(votes(), endpoints, partitions, judges=judges, rationales={"kinds": []})


@dataclass(frozen=True)
class Judged:
    """A run, and how often the servers of its two judges were asked."""

    home: Path
    given: Case
    found: Published
    sent: tuple[int, int]
    servers: tuple[Server, Server]

    def asked(self) -> tuple[int, int]:
        longer, first = self.servers
        return len(longer.log()), len(first.log())

    def votes_of(self, judge: str) -> pl.DataFrame:
        return self.found.table("judgements").filter(pl.col("annotator_id") == judge)


@pytest.fixture(scope="module")
def both(encoder: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judged]:
    home = tmp_path_factory.mktemp("judged")
    with (
        scripted_server(Script(answer=EVERYTHING)) as longer,
        scripted_server(Script(answer="tests.judging.scripted_judges:first_shown", model="another")) as first,
    ):
        given = judged(longer, first, partitions=3)
        found = given.run(home)
        yield Judged(home, given, found, (len(longer.log()), len(first.log())), (longer, first))


def by_people(found: Published) -> pl.DataFrame:
    """The pairs, with the number of human votes."""
    people = found.table("judgements").filter(pl.col("annotator_kind") == "human").group_by("pair_id").agg(people=pl.len())
    return found.pairs().join(people, on="pair_id", validate="1:1")


def test_each_is_asked_in_both_orders_about_what_people_left_open_and_a_few_they_decided(both: Judged) -> None:
    pairs = GOLD + SINGLE  # without the five others that three people decided, and the one with an answer without content

    assert both.sent == (2 * (pairs + PROBES), 2 * (pairs + PROBES))
    assert both.found.outcome.asked == sum(both.sent)
    for judge in JUDGES:
        said = both.votes_of(judge)
        assert said.group_by("pair_id").agg(pl.col("response_a_id").n_unique())["response_a_id"].to_list() == [2] * pairs
        assert set(said["annotator_kind"]) == {"judge"}
        assert said["source"].unique().to_list() == [f"judge:{judge.split()[0]}"]


def test_verdicts_count_through_the_gates_alone(both: Judged) -> None:
    pairs = by_people(both.found)
    asked = both.votes_of(JUDGES[0])["pair_id"].unique()

    three, one = pairs.filter(pl.col("people") == 3), pairs.filter((pl.col("people") == 1) & pl.col("pair_id").is_in(asked.implode()))
    assert (three.height, one.height) == (DECIDED, SINGLE)
    assert set(three["votes_admitted"]) == {3}  # a third person is worth more than any judge
    assert set(one["votes_admitted"]) == {2}  # one vote a judge, not one an order; and none of the judge that follows the order
    panel, firstly = (both.found.annotator(judge) for judge in JUDGES)
    assert (panel["admitted"], firstly["admitted"]) == (True, False)
    longer = pl.col("chosen").list.first().struct.field("content").str.starts_with("Well")
    assert three.filter(longer).height == DECIDED


def test_statistics_tell_how_the_judges_behave(both: Judged) -> None:
    def told(name: str) -> list[float]:
        return [both.found.statistic(name, judge)["value"] for judge in JUDGES]

    assert told("judge_answered") == [1.0, 1.0]
    assert told("judge_first_share") == [0.5, 1.0]
    assert told("judge_consistent_share") == [1.0, 0.0]
    assert told("judge_key_wins") == [0.0, 0.5]  # an answer without content, in both orders
    assert min(told("judge_cost")) > 0.0
    assert any(line["stage"].startswith("ask judge panel") and line["dropped"] == 0 for line in both.found.outcome.counts)


def test_a_second_run_asks_nothing_whatever_the_partitions(both: Judged) -> None:
    again = judged(*both.servers, partitions=1).run(both.home)

    assert (again.outcome.asked, both.asked()) == (0, both.sent)
    assert (again.outcome.unchanged, content(again)) == (True, content(both.found))


def test_a_version_with_verdicts_is_curated_again_without_asking_merging_or_dropping(both: Judged) -> None:
    source = {"name": "again", "version": str(both.found.version.folder)}
    again = Case({}, [source], both.given.settings | {"dataset": "again"}).run(both.home)

    def pairs(found: Published) -> list[Row]:
        return found.table("data").select("pair_id", "chosen_id", "votes_admitted", "p_chosen", "split").sort("pair_id").to_dicts()

    def said(found: Published) -> set[str]:
        return set(found.table("judgements").filter(pl.col("pair_id").is_in(found.table("data")["pair_id"].implode()))["judgement_id"])

    assert both.asked() == both.sent
    assert pairs(again) == pairs(both.found)
    assert said(again) == said(both.found)
    assert set(again.table("ledger")["fate"]) == {"published"}
    assert sum(line["dropped"] for line in again.outcome.counts if "judge" not in line["stage"]) == 0
