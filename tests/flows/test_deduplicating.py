"""Near duplicates in a run over small data, literal: what is merged, what stays, what explains it, and what is not searched for again.

The model is a stand-in in which each word is a direction of its own, so one other word in 30 is a cosine of about 29 / 30.
"""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from flows.curate import Outcome, run_flow
from pipeline.store import Store

Row = dict[str, Any]
Prefine = Callable[..., tuple[int, str, str]]

ASKED = {
    "bread": "my sourdough comes out flat and dense every weekend, so please explain which step of the usual routine i should change first",
    "bike": "the chain of my old bicycle squeaks whenever it rains, so what is a cheap way of keeping it quiet on a daily commute",
    "tea": "friends from abroad visit soon, so tell me how a strong pot of breakfast tea is brewed properly without making it bitter",
    "cat": "our kitten scratches the sofa while nobody watches, so which habits would keep her claws busy with something else instead",
    "tent": "we camp beside a windy lake this summer, so describe how a family tent is pitched such that it stands through a storm",
    "ink": "fountain pens leak in my bag during flights, so how would a careful traveller carry them and keep every shirt clean",
    "jam": "last year the plum jam stayed runny after cooling, so what makes fruit set firmly and how do cooks test it beforehand",
    "bees": "a swarm settled in the hedge beside our gate, so whom should a nervous gardener call and what is best left alone",
}
BETTER = (
    "begin with the simplest cause and look at it calmly, write down what happens each time, change a single thing per attempt, "
    "and give every change a fair trial before judging it, about the matter of {}"
)
WORSE = (
    "honestly people make far too much of this whole subject, buy whatever the nearest shop recommends, hope that it works somehow, "
    "and otherwise complain loudly until somebody else deals with it, about the matter of {}"
)

CHAIN = ("calmly>quietly", "fair>proper", "cause>reason", "judging>trusting", "write>note", "single>lone")  # each two a cosine of 0.96


def votes(topic: str, verdicts: str, start: int = 0, **changed: Any) -> list[Row]:
    """A vote a row, each of another annotator: for the first answer (a), for the second (b); in capitals with the sides exchanged."""
    texts = {"prompt": ASKED.get(topic), "response_a": BETTER.format(topic), "response_b": WORSE.format(topic), **changed}
    rows = []
    for number, verdict in enumerate(verdicts, start):
        row = {"criterion": "overall", "context": None, **texts, "annotator": f"{topic}-{number}", "winner": verdict.lower()}
        if verdict.isupper():
            row |= {"response_a": row["response_b"], "response_b": row["response_a"], "winner": {"A": "b", "B": "a"}[verdict]}
        rows.append(row)
    return rows


def better(topic: str, *changes: str) -> str:
    """The better answer with words changed, each "old>new"."""
    text = BETTER.format(topic)
    for change in changes:
        old, new = change.split(">")
        assert text.count(old) == 1
        text = text.replace(old, new)
    return text


FIRST = [
    # The same with other words here and there; one of them seen the other way round by half of its annotators.
    *votes("bread", "aab"),
    *votes("bread", "aA", 3, response_a=better("bread", "calmly>quietly")),
    *votes("bread", "A", 5, prompt=ASKED["bread"].replace("usual", "weekly"), response_b=WORSE.format("bread").replace("shop", "store")),
    # Judged the other way round.
    *votes("bike", "aaa"),
    *votes("bike", "bB", 3, response_a=better("bike", "calmly>quietly")),
    # Another number, in one answer.
    *votes("tea", "a", response_a=BETTER.format("tea") + ", for 4 minutes in the pot"),
    *votes("tea", "a", 1, response_a=BETTER.format("tea") + ", for 9 minutes in the pot"),
    # A chain: each is close to the one before it, and the ends are not close.
    *votes("cat", "aaa"),
    *votes("cat", "aa", 3, response_a=better("cat", *CHAIN[:2])),
    *votes("cat", "a", 5, response_a=better("cat", *CHAIN[:4])),
    # Other criterion, other context.
    *votes("tent", "a"),
    *votes("tent", "a", 1, response_a=better("tent", "calmly>quietly"), criterion="harmless"),
    *votes("tent", "a", 2, response_a=better("tent", "calmly>quietly"), context="for children"),
]
SECOND = [
    # Seven votes and four: together enough for the rule that drops crowds.
    *votes("ink", "aaaaaaa"),
    *votes("ink", "aaaa", 7, response_a=better("ink", "calmly>quietly")),
    # And one more for the bread, and one for the chain.
    *votes("bread", "aaaa", 6, response_a=better("bread", "happens>occurs")),
    *votes("cat", "a", 6, response_a=better("cat", *CHAIN)),
    *votes("jam", "a"),
]


def talk(last: str) -> list[Row]:
    """A long conversation, whose last turn is a small part of it."""
    said = [("user", ASKED["bees"]), ("assistant", BETTER.format("bees")), ("user", last)]
    return [{"role": role, "content": text} for role, text in said]


TURNS = [
    {"prompt": talk(last), "chosen": BETTER.format("hives"), "rejected": WORSE.format("hives")}
    for last in ("thanks, and how do they spend the winter", "thanks, and where would one buy such a veil")
]
ALL_STAY = {"preset": "none"}
RULES = {"preset": "safe", "add": [{"name": "crowded", "drop_if": "n_votes > 10"}]}


def write(folder: Path, second: bool = True, sources: list[Row] | None = None, **config: Any) -> Path:
    """Write files and config below a folder, which may hold an earlier run's workspace."""
    folder.mkdir(exist_ok=True)
    files = {"first": FIRST, "turns": TURNS, **({"second": SECOND} if second else {})}
    for name, rows in files.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    named = sources or [{"name": name, "uri": f"{name}.jsonl"} for name in files]
    whole = {"dataset": "small", "sources": named, "rules": RULES, "publish": {"validation_share": 0.3}, "partitions": 3, **config}
    (folder / "prefine.yaml").write_text(yaml.safe_dump(whole), encoding="utf-8")
    return folder / "prefine.yaml"


@dataclass(frozen=True)
class Version:
    """A published version as plain rows."""

    outcome: Outcome

    @property
    def folder(self) -> Path:
        return Path(self.outcome.dataset_root) / self.outcome.version

    @property
    def files(self) -> dict[str, str]:
        """Each data file's path and hash."""
        manifest = json.loads((self.folder / "manifest.json").read_text(encoding="utf-8"))
        return {file["path"]: file["sha256"] for file in manifest["files"]}

    def table(self, name: str) -> list[Row]:
        return [row for file in sorted((self.folder / name).glob("*.parquet")) for row in pq.read_table(file).to_pylist()]

    def pairs(self, topic: str, name: str = "data") -> list[Row]:
        """The pairs about a topic, those with the most votes first."""
        rows = [row for row in self.table(name) if f"the matter of {topic}" in row["chosen"][0]["content"]]
        return sorted(rows, key=lambda row: (-row["n_votes"], row["pair_id"]))

    def merged(self, topic: str) -> list[Row]:
        return [row for row in self.pairs(topic, "dropped") if row["reason"] == "near_duplicate"]


def run(folder: Path, second: bool = True, **config: Any) -> Version:
    return Version(run_flow(str(write(folder, second, **config))))


pytestmark = pytest.mark.usefixtures("encoder")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("near") / "baseline"


@pytest.fixture(scope="module")
def baseline(home: Path) -> Version:
    """The run that all others are compared with."""
    return run(home)


@dataclass(frozen=True)
class Grown:
    """A folder that was curated without the second source, and again with it."""

    folder: Path
    first: Version
    increment: Version


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Grown:
    folder = tmp_path_factory.mktemp("grown")
    return Grown(folder, run(folder, second=False), run(folder))


def copied(folder: Path, to: Path) -> Path:
    """A folder with its workspace, to go on from: places are relative, so that a copy is as good as the same runs again."""
    return shutil.copytree(folder, to)


class TestMerged:
    def test_votes_of_light_edits_add_up_whichever_side_they_were_seen_on(self, baseline: Version) -> None:
        [kept], merged = baseline.pairs("bread"), baseline.merged("bread")

        # four of the second file's annotators, three, two and one
        assert [row["n_votes"] for row in merged] == [3, 2, 1]
        assert (kept["votes_chosen"], kept["votes_rejected"], kept["n_votes"], kept["n_annotators"]) == (9, 1, 10, 10)
        assert (kept["near_duplicates"], kept["near_duplicate_conflict"], kept["sources"]) == (3, False, ["first", "second"])
        assert {row["witness_pair_id"] for row in merged} == {kept["pair_id"]}
        assert all(row["stage"] == "deduplicate" and row["score"] >= row["threshold"] == 0.95 for row in merged)
        assert sorted(record for row in merged for record in row["records"]) == sorted(
            set(kept["records"]) - {row["record_id"] for row in baseline.table("ledger") if row["pair_id"] == kept["pair_id"]}
        )
        assert [m["content"] for m in kept["chosen"]] == [better("bread", "happens>occurs")]

    def test_both_orientations_occur(self, baseline: Version) -> None:
        details = {row["detail"] for row in baseline.table("dropped") if row["reason"] == "near_duplicate"}

        assert details == {"cosine", "cosine, answers exchanged"}

    def test_records_of_a_merged_pair_are_merged_with_their_witness(self, baseline: Version) -> None:
        absorbed = {row["pair_id"]: row for row in baseline.table("dropped") if row["reason"] == "near_duplicate"}
        fates = {row["pair_id"] for row in baseline.table("dropped") if row["reason"] == "crowded"}
        ledger = [row for row in baseline.table("ledger") if row["pair_id"] in absorbed]

        assert len(ledger) == sum(row["n_votes"] for row in absorbed.values())
        for row in ledger:
            pair = absorbed[row["pair_id"]]
            assert row["witness_pair_id"] == pair["witness_pair_id"]
            if pair["witness_pair_id"] not in fates:
                assert [row[name] for name in ("fate", "stage", "reason", "score", "threshold", "detail")] == [
                    "merged", "deduplicate", "near_duplicate", pair["score"], 0.95, pair["detail"],
                ]  # fmt: skip

    def test_what_is_merged_into_a_dropped_pair_is_dropped_with_it(self, baseline: Version) -> None:
        by_reason = {row["reason"]: row for row in baseline.pairs("ink", "dropped")}
        kept, absorbed = by_reason["crowded"], by_reason["near_duplicate"]
        ledger = [row for row in baseline.table("ledger") if row["pair_id"] in (kept["pair_id"], absorbed["pair_id"])]

        assert (kept["n_votes"], absorbed["n_votes"]) == (11, 4)
        assert Counter((row["fate"], row["stage"], row["reason"]) for row in ledger) == {("dropped", "rules", "crowded"): 11}
        told = {row["detail"] for row in ledger if row["pair_id"] == absorbed["pair_id"]}
        assert told == {f"merged into {kept['pair_id']}, which was dropped"}
        assert {(row["score"], row["threshold"]) for row in ledger} == {(11.0, 10.0)}

    def test_a_chain_is_not_followed(self, baseline: Version) -> None:
        """Four in a row with 3, 2, 1 and 1 votes: the first takes the second, and the third, next to the second only, does not go along."""
        kept, merged = baseline.pairs("cat"), baseline.merged("cat")

        assert [row["n_votes"] for row in kept] == [5, 2]
        assert [row["n_votes"] for row in merged] == [2, 1]
        assert [row["witness_pair_id"] for row in merged] == [row["pair_id"] for row in kept]


class TestStays:
    def test_an_opposite_majority(self, baseline: Version) -> None:
        kept = baseline.pairs("bike")

        assert [(row["votes_chosen"], row["votes_rejected"]) for row in kept] == [(3, 0), (2, 0)]
        assert [row["near_duplicate_conflict"] for row in kept] == [True, True]
        assert {row["chosen"][0]["content"] for row in kept} == {BETTER.format("bike"), WORSE.format("bike")}
        assert baseline.merged("bike") == []

    @pytest.mark.parametrize(
        ("topic", "flagged", "pairs"),
        [("tea", True, 2), ("tent", False, 3), ("hives", False, 2), ("jam", False, 1)],
        ids=["another number", "another criterion or context", "another last turn", "nothing like it"],
    )
    def test_what_says_something_else(self, topic: str, flagged: bool, pairs: int, baseline: Version) -> None:
        kept = baseline.pairs(topic)

        assert [row["n_votes"] for row in kept] == [1] * pairs
        assert {row["near_duplicate_conflict"] for row in kept} == {flagged}
        assert {row["near_duplicates"] for row in kept} == {0}

    def test_everything_where_nothing_is_to_be_merged(self, baseline: Version, tmp_path: Path) -> None:
        other = run(tmp_path, deduplicate={"merge": False})

        assert {row["reason"] for row in other.table("dropped")} <= {"crowded"}
        assert other.table("dropped") == []  # the crowd stands apart
        assert {row["near_duplicates"] for row in other.table("data")} == {0}
        flagged = [{row["pair_id"] for row in version.table("data") if row["near_duplicate_conflict"]} for version in (baseline, other)]
        assert flagged[0] == flagged[1]


class TestTold:
    @pytest.fixture
    def folder(self, home: Path, baseline: Version, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.chdir(home)
        return home

    def test_a_merged_pair_names_the_pair_that_counts_its_votes(self, folder: Path, baseline: Version, prefine: Prefine) -> None:
        merged = baseline.merged("bread")[0]

        code, out, _ = prefine("explain", merged["pair_id"])

        assert code == 0
        assert f"pair {merged['pair_id']} (dropped)" in out
        assert "at deduplicate: near_duplicate (score 0.9" in out
        assert f"witness  {merged['witness_pair_id']}" in out[out.index(f"pair {merged['pair_id']} (dropped)") :]
        assert f"pair {merged['witness_pair_id']} (published)" in out

    def test_a_merged_record_names_it_too(self, folder: Path, baseline: Version, prefine: Prefine) -> None:
        merged = baseline.merged("bread")[0]
        record = next(row for row in baseline.table("ledger") if row["pair_id"] == merged["pair_id"])

        code, out, _ = prefine("explain", record["record_id"])

        assert code == 0
        assert "fate     merged at deduplicate: near_duplicate (score 0.9" in out
        assert f"witness  {merged['witness_pair_id']}" in out
        assert f"pair {merged['witness_pair_id']} (published)" in out

    def test_the_pair_that_counts_them_lists_its_near_duplicates(self, folder: Path, baseline: Version, prefine: Prefine) -> None:
        [kept] = baseline.pairs("bread")

        _, out, _ = prefine("explain", kept["pair_id"])

        assert "near     counts the votes of 3 near duplicates" in out
        assert all(f"pair {row['pair_id']} (dropped)" in out for row in baseline.merged("bread"))
        assert "  conflict near duplicate" not in out

    def test_a_conflict_is_said(self, folder: Path, baseline: Version, prefine: Prefine) -> None:
        one, other = baseline.pairs("bike")

        _, out, _ = prefine("explain", one["pair_id"])

        assert f"conflict near duplicate {other['pair_id']} says something else, or was judged the other way" in out

    def test_the_view_lists_every_merge(self, folder: Path, baseline: Version, prefine: Prefine) -> None:
        _, out, _ = prefine("query", "near_duplicates", "--format", "json")
        rows = [json.loads(line) for line in out.splitlines()]

        assert Counter(row["is_published"] for row in rows) == {True: 5, False: 1}
        merged = {row["pair_id"] for row in baseline.table("dropped") if row["reason"] == "near_duplicate"}
        assert {row["pair_id"] for row in rows} == merged
        assert sum(row["votes"] for row in rows) == 3 + 2 + 1 + 2 + 1 + 4

    def test_another_view_counts_them_by_source(self, folder: Path, prefine: Prefine) -> None:
        _, out, _ = prefine("query", "near_duplicates_by_source", "--format", "json")
        rows = {row.pop("source"): row for row in map(json.loads, out.splitlines())}

        assert sorted(rows) == ["first", "second"]
        assert {name: (row["merged_count"], row["merged_votes"]) for name, row in rows.items()} == {"first": (4, 8), "second": (2, 5)}
        assert {name: row["counting_count"] for name, row in rows.items()} == {"first": 3, "second": 3}
        assert {name: row["conflict_count"] for name, row in rows.items()} == {"first": 4, "second": 0}
        assert all(0.95 <= row["lowest_score"] < 1 for row in rows.values())

    def test_the_report_has_them(self, baseline: Version) -> None:
        page = (baseline.folder / "report.html").read_text(encoding="utf-8")

        assert "Near duplicates, by source" in page


def held(folder: Path, kind: str) -> list[Path]:
    return sorted((folder / "workspace" / "store" / kind).rglob("*.parquet"))


class TestSearchedOnce:
    def test_a_second_run_compares_nothing(self, home: Path, baseline: Version) -> None:
        again = run(home).outcome

        assert (again.unchanged, again.embedded, again.compared) == (True, 0, 0)
        assert baseline.outcome.compared > 0

    def test_another_threshold_compares_nothing_and_gives_what_a_fresh_run_gives(
        self, home: Path, baseline: Version, tmp_path: Path
    ) -> None:
        copied(home, tmp_path / "one")
        config = {"deduplicate": {"min_cosine": 0.97, "min_jaccard": 1.0}}

        moved, fresh = run(tmp_path / "one", **config), run(tmp_path / "two", **config)

        assert (moved.outcome.embedded, moved.outcome.compared) == (0, 0)
        assert moved.files == fresh.files != baseline.files
        merged = [sum(row["reason"] == "near_duplicate" for row in version.table("dropped")) for version in (moved, baseline)]
        assert merged[0] < merged[1]

    def test_a_threshold_below_what_is_stored_is_searched_for(self, home: Path, baseline: Version, tmp_path: Path) -> None:
        copied(home, tmp_path / "one")
        config = {"deduplicate": {"min_cosine": 0.85}}

        moved, fresh = run(tmp_path / "one", **config), run(tmp_path / "two", **config)

        assert (moved.outcome.embedded, moved.outcome.compared) == (0, baseline.outcome.compared)
        assert moved.files == fresh.files

    def test_an_increment_compares_the_new_texts_only_and_publishes_what_a_run_from_scratch_does(
        self, baseline: Version, grown: Grown
    ) -> None:
        first, increment = grown.first, grown.increment

        # ink and jam: two prompts, five answers; and an edit each of the answers about bread and cats
        assert (increment.outcome.compared, increment.outcome.embedded) == (9, 9)
        assert first.outcome.compared + increment.outcome.compared == baseline.outcome.compared
        assert increment.files == baseline.files

    def test_lost_segments_are_made_again(self, baseline: Version, grown: Grown, tmp_path: Path) -> None:
        folder = copied(grown.folder, tmp_path / "one")
        for kind in ("embeddings", "hits"):
            segments = held(folder, kind)
            assert len(segments) > 1
            for segment in segments[::2]:
                segment.unlink()

        again = run(folder)

        assert again.outcome.unchanged
        assert 0 < again.outcome.embedded < baseline.outcome.embedded
        assert 0 < again.outcome.compared < baseline.outcome.compared
        assert again.files == baseline.files

    def test_new_texts_are_compared_even_where_the_vectors_of_left_out_ones_are_lost(self, baseline: Version, tmp_path: Path) -> None:
        gone = votes("jam", "a", prompt="nothing of this is asked any more", response_a="gone", response_b="lost")
        (tmp_path / "gone.jsonl").write_text("".join(json.dumps(row) + "\n" for row in gone), encoding="utf-8")
        run(tmp_path, second=False, sources=[{"name": name, "uri": f"{name}.jsonl"} for name in ("first", "turns", "gone")])
        for segment in held(tmp_path, "embeddings"):
            segment.unlink()

        again = run(tmp_path)

        assert again.outcome.compared == baseline.outcome.compared
        assert again.files == baseline.files


def test_partitions_change_nothing(baseline: Version, tmp_path: Path) -> None:
    assert run(tmp_path, partitions=8).files == baseline.files


class TestPublishedAgain:
    def again(self, folder: Path, version: Version, *more: Row) -> Version:
        return run(folder, sources=[{"name": "small", "version": str(version.folder)}, *more], rules=ALL_STAY)

    def told(self, version: Version) -> list[tuple[Any, ...]]:
        names = ("pair_id", "n_votes", "votes_chosen", "votes_rejected", "p_chosen", "n_annotators", "chosen", "split")
        return sorted(tuple(str(row[name]) for name in names) for row in version.table("data"))

    def test_nothing_is_merged_or_dropped(self, baseline: Version, tmp_path: Path) -> None:
        again = self.again(tmp_path, baseline)

        assert {row["fate"] for row in again.table("ledger")} == {"published"}
        assert again.table("dropped") == []
        assert self.told(again) == self.told(baseline)

    def test_a_version_beside_its_raw_data_counts_no_vote_twice(self, tmp_path: Path) -> None:
        version = run(tmp_path / "one", rules=ALL_STAY)
        raw = [{"name": name, "uri": f"{name}.jsonl"} for name in ("first", "second", "turns")]

        both = self.again(tmp_path / "two", version, *raw)

        assert [row[:-1] for row in self.told(both)] == [row[:-1] for row in self.told(version)]


def test_near_prompts_share_a_split_unless_only_equal_ones_should(baseline: Version, tmp_path: Path) -> None:
    other = run(tmp_path, publish={"validation_share": 0.3, "split_by": "equal_prompts"})

    def clusters(version: Version) -> int:
        # kept and merged bread pairs: one of the merged ones asks in other words
        return len({row["prompt_cluster_id"] for row in [*version.pairs("bread"), *version.merged("bread")]})

    assert (clusters(baseline), clusters(other)) == (1, 2)
    assert [row["n_votes"] for row in other.pairs("bread")] == [10]


def test_the_store_holds_a_row_for_every_text_that_was_compared(home: Path, baseline: Version) -> None:
    store = Store(str(home / "workspace" / "store"))
    fingerprints = [place.name for place in (home / "workspace" / "store" / "hits").iterdir()]

    assert sum(store.keys("hits", name, 0, 255).num_rows for name in fingerprints) == baseline.outcome.compared
