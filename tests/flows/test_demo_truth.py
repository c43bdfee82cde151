"""The sample data, curated with the real model, against what is known to be true about each of its rows."""

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from flows.curate import Outcome
from pipeline import stories
from pipeline.schemas import SIGNALS

DATA = Path(__file__).parents[2] / "data"
NORMALISED = {"copy_nfd": "unicode", "copy_crlf": "line_ends", "copy_trailing": "trailing_space", "copy_roles": "roles"}
COPIES = {"copy", "swap", *NORMALISED}
PAIR_FLAGS = {"conflict", "identical_answers"}
SIDE_FLAGS = {field.name.removeprefix("chosen_") for field in SIGNALS if field.name.startswith("chosen_") and str(field.type) == "bool"}
UNREADABLE = 0.2  # the default rule's threshold

Row = dict[str, Any]
Place = tuple[str, int]


class Curated:
    """The published demo beside the truth, both by place: (file, row)."""

    def __init__(self, outcome: Outcome) -> None:
        """Read every table once."""
        self.outcome = outcome
        self.folder = Path(outcome.dataset_root) / outcome.version
        self.truth: dict[Place, Row] = {}
        for line in (DATA / "truth.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            self.truth[row["file"].removeprefix("raw/"), row["row"]] = row
        self.ledger = self.by_place("ledger")
        self.judgements = self.by_place("judgements")
        self.quarantine = self.by_place("quarantine")
        self.pairs = {row["pair_id"]: row for folder in ("data", "dropped") for row in self.table(folder)}
        self.groups: dict[Place, list[Place]] = defaultdict(list)  # original: the original and its copies
        for place, row in self.truth.items():
            if row["planted"] in COPIES:
                of = (row["of"]["file"].removeprefix("raw/"), row["of"]["row"])
                self.groups.setdefault(of, [of]).append(place)
        self.grouped = {place for group in self.groups.values() for place in group}

    def table(self, folder: str, part: str = "*") -> list[Row]:
        """The rows of one table."""
        return [row for file in sorted((self.folder / folder).glob(f"{part}-*.parquet")) for row in pq.read_table(file).to_pylist()]

    def by_place(self, folder: str) -> dict[Place, list[Row]]:
        """The rows of a table by the file's name and the row they came from."""
        rows: dict[Place, list[Row]] = defaultdict(list)
        for row in self.table(folder):
            rows[row["source_uri"].rsplit("/", 1)[-1], row["source_row"]].append(row)
        return rows

    def pair_of(self, place: Place) -> Row:
        """The one pair that all readable records of a row voted on."""
        (pair_id,) = {row["pair_id"] for row in self.ledger[place] if row["pair_id"]}
        return self.pairs[pair_id]

    def column(self, place: Place, side: str | None, flag: str) -> str:
        """The column of a flag of the row's side a or b."""
        if side is None:
            return flag
        a_id = self.judgements[place][0]["response_a_id"]
        return f"{'chosen' if (self.pair_of(place)['chosen_id'] == a_id) == (side == 'a') else 'rejected'}_{flag}"

    def expected_flags(self) -> dict[str, set[str]]:
        """The columns that planted defects must raise, by pair."""
        flags: dict[str, set[str]] = defaultdict(set)
        for place, row in self.truth.items():
            kinds = {flag["flag"] for flag in row["flags"]}
            for flag in row["flags"]:
                # The truth calls different votes on two equal answers a conflict too; equal answers have no sides to be for.
                if flag["flag"] != "conflict" or "identical_answers" not in kinds:
                    flags[self.pair_of(place)["pair_id"]].add(self.column(place, flag["side"], flag["flag"]))
        return flags


def raised(pair: Row) -> set[str]:
    """The columns of a pair that raise a flag."""
    flags = {name for name in PAIR_FLAGS if pair[name]}
    for side in ("chosen", "rejected"):
        flags |= {f"{side}_{name}" for name in SIDE_FLAGS if pair[f"{side}_{name}"]}
        flags |= {f"{side}_repeated_prompts"} if pair[f"{side}_repeated_prompts"] >= 3 else set()
        flags |= {f"{side}_unreadable_share"} if pair[f"{side}_unreadable_share"] > UNREADABLE else set()
    return flags


@pytest.fixture(scope="module")
def curated(demo: Outcome) -> Curated:
    return Curated(demo)


def test_the_ledger_has_every_row_of_the_truth_with_its_records(curated: Curated) -> None:
    assert {place: len(rows) for place, rows in curated.ledger.items()} == {place: row["records"] for place, row in curated.truth.items()}


def test_every_row_that_is_in_no_copy_group_has_the_expected_fate(curated: Curated) -> None:
    wrong = []
    for place, row in curated.truth.items():
        if place in curated.grouped or row["expected"] is None:
            continue
        fate, reason, records = (row["expected"][name] for name in ("fate", "reason", "records"))
        found = [r for r in curated.ledger[place] if r["fate"] == fate and reason in (None, r["reason"])]
        if len(found) != records:
            wrong.append((place, row["planted"], row["expected"], [(r["fate"], r["reason"]) for r in curated.ledger[place]]))
    assert wrong == []


def test_of_each_group_of_copies_one_row_counts_and_the_others_are_merged(curated: Curated) -> None:
    assert len(curated.groups) > 50
    for original, group in curated.groups.items():
        rows = [row for place in group for row in curated.ledger[place]]
        kept = [row for row in rows if row["fate"] != "merged"]
        expected = curated.truth[original]["expected"]

        assert len(kept) == curated.truth[original]["records"], group
        assert {row["record_id"] for row in kept} == {row["record_id"] for row in rows}, group
        if expected is not None:
            assert {row["fate"] for row in kept} == {expected["fate"]}, group
            assert {row["reason"] for row in kept} <= {expected["reason"] or "published"}, group


def test_nothing_is_merged_that_is_no_planted_copy(curated: Curated) -> None:
    assert {place for place, rows in curated.ledger.items() for row in rows if row["fate"] == "merged"} <= curated.grouped


@pytest.mark.parametrize(("planted", "step"), NORMALISED.items())
def test_normalised_copies_say_what_normalisation_changed(planted: str, step: str, curated: Curated) -> None:
    places = [place for place, row in curated.truth.items() if row["planted"] == planted]

    def changes(place: Place) -> set[str]:
        return {change.partition(".")[2] for row in curated.judgements[place] for change in row["normalised"]}

    assert places
    for place in places:
        of = curated.truth[place]["of"]
        assert changes(place) - changes((of["file"].removeprefix("raw/"), of["row"])) == {step}, place


def test_what_cannot_be_read_is_quarantined_for_its_reason_and_nothing_else_is(curated: Curated) -> None:
    expected = Counter(
        {
            (place, row["expected"]["reason"]): row["expected"]["records"]
            for place, row in curated.truth.items()
            if row["expected"] and row["expected"]["fate"] == "quarantined"
        }
    )
    assert Counter((place, row["reason"]) for place, rows in curated.quarantine.items() for row in rows) == expected


def test_the_other_votes_of_a_row_with_an_unreadable_vote_count(curated: Curated) -> None:
    for place, row in curated.truth.items():
        if row["planted"] == "bad_vote":
            fates = Counter(r["fate"] for r in curated.ledger[place])
            assert fates == {"quarantined": 1, "published": len(row["verdicts"])}
            assert curated.pair_of(place)["n_votes"] == len(row["verdicts"])


def test_rows_of_which_truth_expects_nothing_are_published_or_ties(curated: Curated) -> None:
    fates = {
        (row["fate"], row["reason"])
        for place, line in curated.truth.items()
        if line["expected"] is None and place not in curated.grouped
        for row in curated.ledger[place]
    }
    assert fates <= {("published", "published"), ("dropped", "tie")}


def test_every_planted_flag_is_raised_on_its_side(curated: Curated) -> None:
    expected = curated.expected_flags()
    missing = {pair_id: flags - raised(curated.pairs[pair_id]) for pair_id, flags in expected.items()}

    assert sum(map(len, expected.values())) > 100
    assert {pair_id: flags for pair_id, flags in missing.items() if flags} == {}


def test_pairs_without_a_planted_defect_raise_no_flag_but_conflict(curated: Curated) -> None:
    planted = {pair_id for pair_id, flags in curated.expected_flags().items() if flags - {"conflict"}}
    stray = {pair_id: raised(pair) - {"conflict"} for pair_id, pair in curated.pairs.items() if pair_id not in planted}

    assert {pair_id: flags for pair_id, flags in stray.items() if flags} == {}


def test_the_answer_beside_a_planted_one_raises_no_flag(curated: Curated) -> None:
    for pair_id, flags in curated.expected_flags().items():
        sides = {flag.partition("_")[0] for flag in flags - PAIR_FLAGS}
        found = {flag.partition("_")[0] for flag in raised(curated.pairs[pair_id]) - PAIR_FLAGS}
        assert found <= sides, pair_id


def test_pairs_conflict_where_the_truth_says_so_and_nowhere_else(curated: Curated) -> None:
    expected = {pair_id for pair_id, flags in curated.expected_flags().items() if "conflict" in flags}
    assert {pair_id for pair_id, pair in curated.pairs.items() if pair["conflict"]} == expected


def test_votes_are_those_of_the_truth_with_every_copy_counted_once(curated: Curated) -> None:
    copies = {place for group in curated.groups.values() for place in group[1:]}
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    for place, row in curated.truth.items():
        if row["verdicts"] and place not in copies:
            pair = curated.pair_of(place)
            for verdict in row["verdicts"]:
                side = verdict if verdict in ("a", "b") else None
                votes[pair["pair_id"]][curated.column(place, side, "x").removesuffix("_x") if side else "tie"] += 1
    for pair_id, counts in votes.items():
        pair = curated.pairs[pair_id]
        if not pair["identical_answers"]:  # two equal answers have no sides to tell apart
            assert counts == Counter(chosen=pair["votes_chosen"], rejected=pair["votes_rejected"], tie=pair["votes_tie"]), pair_id
    assert set(votes) == set(curated.pairs)


def test_the_funnel_has_the_counts_of_the_truth(curated: Curated) -> None:
    rows = curated.truth.values()
    merged = sum(row["records"] for row in rows if row["planted"] in COPIES)
    quarantined = sum(len(found) for found in curated.quarantine.values())
    counts = curated.outcome.counts

    assert (counts[0]["rows_in"], counts[0]["dropped"]) == (sum(row["records"] for row in rows), quarantined)
    assert (counts[1]["rows_in"], counts[1]["dropped"]) == (counts[0]["kept"], merged)
    assert counts[2]["rows_in"] == len(curated.pairs)
    assert all(line["rows_in"] == line["kept"] + line["dropped"] for line in counts)
    assert all(counts[i]["kept"] == counts[i + 1]["rows_in"] for i in range(2, len(counts) - 1))
    assert counts[-1]["kept"] == len(curated.table("data"))


def test_no_prompt_is_in_both_splits(curated: Curated) -> None:
    train, validation = ({row["prompt_cluster_id"] for row in curated.table("data", part)} for part in ("train", "validation"))

    assert train
    assert validation
    assert train.isdisjoint(validation)


def test_tool_calls_and_diverging_transcripts_go_where_plain_trainers_do_not_read(curated: Curated) -> None:
    other = {row["pair_id"] for row in curated.table("data", "other")}
    apart = {curated.pair_of(place)["pair_id"] for place, row in curated.truth.items() if row["planted"] in ("tool_calls", "diverging")}

    assert other == apart


@pytest.mark.parametrize("planted", sorted(COPIES))
def test_explain_names_the_witness_of_a_merged_row(planted: str, curated: Curated) -> None:
    place = next(place for place, row in curated.truth.items() if row["planted"] == planted)
    group = next(group for group in curated.groups.values() if place in group)
    file, row = next(p for p in group if any(r["fate"] == "merged" for r in curated.ledger[p]))
    witness = next(r["witness_pair_id"] for r in curated.ledger[file, row] if r["fate"] == "merged")

    text = stories.render_story(stories.explain(curated.outcome.dataset_root, f"raw/{file}:{row}"))

    assert "merged at pair_up: copy (score 1, threshold 1)" in text
    assert f"witness  {witness}" in text
    assert f"pair {witness} (" in text
