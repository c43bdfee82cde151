"""The sample data, curated with the real model, against what is known to be true about each of its rows."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from scipy.stats import mannwhitneyu, spearmanr

from flows.curate import Outcome
from pipeline import stories
from pipeline.config import EmbedConfig
from pipeline.embed import load_encoder
from pipeline.identity import content_hash
from pipeline.schemas import SIGNALS

DATA = Path(__file__).parents[2] / "data"
NORMALISED = {"copy_nfd": "unicode", "copy_crlf": "line_ends", "copy_trailing": "trailing_space", "copy_roles": "roles"}
COPIES = {"copy", "swap", *NORMALISED}
EDITS = ("light_edit", "chain_edit", "opposed_edit", "near_miss", "paraphrase")
SAYS_SOMETHING_ELSE = ("number", "name", "negation", "opposite")
PAIR_FLAGS = {"conflict", "identical_answers", "near_duplicate_conflict"}
ABOUT_OTHERS = {"conflict", "near_duplicate_conflict"}  # what a pair without a defect may raise
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
        self.pairs = {row["pair_id"]: row for folder in ("data", "dropped") for row in self.table(folder)}  # absorbed ones as they were
        self.groups: dict[Place, list[Place]] = defaultdict(list)  # original: the original and its copies
        for place, row in self.truth.items():
            if row["planted"] in COPIES:
                of = (row["of"]["file"].removeprefix("raw/"), row["of"]["row"])
                self.groups.setdefault(of, [of]).append(place)
        self.grouped = {place for group in self.groups.values() for place in group}
        self.edits = {kind: [place for place, row in self.truth.items() if row["planted"] == kind] for kind in EDITS}
        self.families: dict[Place, list[Place]] = defaultdict(list)  # original: the original and its light edits
        for place in self.edits["light_edit"]:
            self.families.setdefault(self.of(place), [self.of(place)]).append(place)
        self.in_families = {place for family in self.families.values() for place in family}
        self.alike = {place for place, row in self.truth.items() if row["planted"] == "alike" or row["expected"] is None} - self.in_families

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

    def of(self, place: Place) -> Place:
        """The row that a planted one was made from."""
        of = self.truth[place]["of"]
        return of["file"].removeprefix("raw/"), of["row"]

    def absorbed(self, place: Place) -> str | None:
        """The pair into which the row's pair was merged as a near duplicate."""
        found = {row["witness_pair_id"] for row in self.ledger[place] if (row["fate"], row["reason"]) == ("merged", "near_duplicate")}
        assert len(found) <= 1, place
        return next(iter(found), None)

    def counting(self, place: Place) -> str:
        """The pair that counts the row's votes."""
        return self.absorbed(place) or self.pair_of(place)["pair_id"]

    def column(self, place: Place, side: str | None, flag: str) -> str:
        """The column of a flag of the row's side a or b."""
        if side is None:
            return flag
        a_id = self.judgements[place][0]["response_a_id"]
        return f"{'chosen' if (self.pair_of(place)['chosen_id'] == a_id) == (side == 'a') else 'rejected'}_{flag}"

    def labels(self) -> dict[str, bool]:
        """Whether each pair's label names the better answer; of the pairs that have a label and a better answer."""
        right = {}
        for place, row in self.truth.items():
            if row["verdicts"] and row["better"] in ("a", "b") and not (pair := self.pair_of(place))["tie"]:
                right[pair["pair_id"]] = self.column(place, row["better"], "x") == "chosen_x"
        return right

    def open_fate(self, place: Place) -> bool:
        """Whether the truth calls a row a tie because as many vote for either side, or most for a tie: who votes decides that."""
        expected = self.truth[place]["expected"]
        if expected is None or expected["reason"] != "tie":
            return False
        pair = self.pair_of(place)
        return bool(pair["votes_tie"] < pair["n_votes"])

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


def said(pair: Row) -> tuple[str, str, str, str]:
    """The texts that near duplicates are compared by: prompt, last user turn, both answers."""
    joined = {name: "\n".join(message["content"] for message in pair[name]) for name in ("prompt", "chosen", "rejected")}
    turn = [message["content"] for message in pair["prompt"] if message["role"] == "user"][-1]
    return joined["prompt"], turn, joined["chosen"], joined["rejected"]


@pytest.fixture(scope="module")
def curated(demo: Outcome) -> Curated:
    return Curated(demo)


def test_the_ledger_has_every_row_of_the_truth_with_its_records(curated: Curated) -> None:
    assert {place: len(rows) for place, rows in curated.ledger.items()} == {place: row["records"] for place, row in curated.truth.items()}


def test_every_row_that_is_in_no_copy_group_has_the_expected_fate(curated: Curated) -> None:
    wrong = []
    for place, row in curated.truth.items():
        if place in curated.grouped | curated.in_families or row["expected"] is None:
            continue
        fate, reason, records = (row["expected"][name] for name in ("fate", "reason", "records"))
        found = [r for r in curated.ledger[place] if r["fate"] == fate and reason in (None, r["reason"])]
        if len(found) != records and not curated.open_fate(place):
            wrong.append((place, row["planted"], row["expected"], [(r["fate"], r["reason"]) for r in curated.ledger[place]]))
    assert wrong == []


def test_where_votes_are_even_who_cast_them_decides_and_is_more_often_right(curated: Curated) -> None:
    open_rows = {place for place in curated.truth if curated.open_fate(place)}
    even = {pair["pair_id"]: pair for pair in map(curated.pair_of, open_rows)}
    labels = {pair_id: right for pair_id, right in curated.labels().items() if pair_id in even}
    claimed = float(np.mean([even[pair_id]["p_chosen"] for pair_id in labels]))
    fates = {(row["fate"], row["reason"]) for place in open_rows - curated.in_families for row in curated.ledger[place]}

    assert fates <= {("published", "published"), ("dropped", "tie"), ("merged", "copy")}
    assert len(labels) > 50
    assert 0.6 < float(np.mean(list(labels.values()))) < 0.9
    assert abs(float(np.mean(list(labels.values()))) - claimed) < 0.12


def test_of_each_group_of_copies_one_row_counts_and_the_others_are_merged(curated: Curated) -> None:
    assert len(curated.groups) > 50
    for original, group in curated.groups.items():
        rows = [row for place in group for row in curated.ledger[place]]
        kept = [row for row in rows if row["reason"] != "copy"]
        expected = curated.truth[original]["expected"]

        assert len(kept) == curated.truth[original]["records"], group
        assert {row["record_id"] for row in kept} == {row["record_id"] for row in rows}, group
        if expected is not None and not curated.open_fate(original):
            assert {row["fate"] for row in kept} == {expected["fate"]}, group
            assert {row["reason"] for row in kept} <= {expected["reason"] or "published"}, group


def test_only_planted_copies_are_merged_as_copies(curated: Curated) -> None:
    assert {place for place, rows in curated.ledger.items() for row in rows if row["reason"] == "copy"} <= curated.grouped


def test_nothing_is_merged_that_is_neither_a_light_edit_nor_left_open(curated: Curated) -> None:
    assert {place for place in curated.ledger if curated.absorbed(place)} <= curated.in_families | curated.alike


def test_nearly_all_light_edits_are_merged(curated: Curated, record_property: Callable[[str, object], None]) -> None:
    missed = {original: [p for p in family if not curated.absorbed(p)] for original, family in curated.families.items()}
    found, planted = sum(len(f) for f in curated.families.values()) - sum(map(len, missed.values())), len(curated.edits["light_edit"])
    record_property("light_edit_recall", found / planted)

    assert planted > 100
    assert all(missed.values())  # somebody stays
    assert found >= 0.95 * planted, {p: curated.truth[p]["change"] for family in missed.values() if len(family) > 1 for p in family}


def test_a_merged_light_edit_is_merged_into_its_family_and_what_stays_is_published(curated: Curated) -> None:
    for family in curated.families.values():
        pairs = {curated.pair_of(place)["pair_id"] for place in family}
        for place in family:
            witness = curated.absorbed(place)
            rows = curated.ledger[place]
            assert {row["fate"] for row in rows} == {"merged" if witness else "published"}, place
            assert witness is None or witness in pairs - {curated.pair_of(place)["pair_id"]}, place
            assert all(row["score"] >= row["threshold"] for row in rows if witness), place


def test_every_merged_pair_is_near_its_witness_itself_and_the_witness_stays(curated: Curated) -> None:
    merged = [row for row in curated.pairs.values() if row.get("reason") == "near_duplicate"]
    assert len(merged) > 100
    assert {row["witness_pair_id"] for row in merged}.isdisjoint(row["pair_id"] for row in merged)

    by_meaning = [row for row in merged if row["detail"].startswith("cosine")]
    both = [(row, curated.pairs[row["witness_pair_id"]]) for row in by_meaning]
    texts = sorted({text for pair in both for row in pair for text in said(row)})
    vectors = dict(zip(texts, load_encoder(EmbedConfig()).encode(texts).vectors.astype(np.float64), strict=True))

    def cosine(one: str, two: str) -> float:
        a, b = vectors[one], vectors[two]
        return float(a @ b / np.sqrt((a @ a) * (b @ b)))

    for row, witness in both:
        (asked, turn, *answers), (its_prompt, its_turn, *its_answers) = said(row), said(witness)
        either_way = [min(map(cosine, answers, order)) for order in (its_answers, its_answers[::-1])]
        assert min(cosine(asked, its_prompt), cosine(turn, its_turn), max(either_way)) >= row["threshold"], row["pair_id"]


def test_of_three_edits_in_a_row_only_neighbours_are_merged(curated: Curated) -> None:
    ends = [place for place in curated.edits["chain_edit"] if curated.truth[curated.of(place)]["planted"] == "chain_edit"]
    assert len(ends) == 6
    for end in ends:
        middle, first = curated.of(end), curated.of(curated.of(end))
        pairs = [curated.pair_of(place)["pair_id"] for place in (first, middle, end)]
        counting = [curated.counting(place) for place in (first, middle, end)]
        assert counting in ([pairs[0], pairs[0], pairs[2]], [pairs[0], pairs[2], pairs[2]], [pairs[1]] * 3), end


def test_near_misses_are_never_merged(curated: Curated, record_property: Callable[[str, object], None]) -> None:
    merged = [place for place in curated.edits["near_miss"] if curated.counting(place) == curated.counting(curated.of(place))]
    kinds = Counter(kind for place in merged for kind in curated.truth[place]["change"])
    record_property("near_misses_merged", dict(kinds))

    assert len(curated.edits["near_miss"]) > 100
    assert [place for place in merged if curated.truth[place]["change"][0] in SAYS_SOMETHING_ELSE] == []


def test_pairs_that_were_judged_the_other_way_stay_and_are_flagged(curated: Curated) -> None:
    assert len(curated.edits["opposed_edit"]) >= 12
    for place in curated.edits["opposed_edit"]:
        pairs = [curated.pair_of(p) for p in (place, curated.of(place))]
        assert [pair["near_duplicate_conflict"] for pair in pairs] == [True, True], place
        assert curated.absorbed(place) is curated.absorbed(curated.of(place)) is None


def test_only_rows_with_a_near_duplicate_are_flagged(curated: Curated) -> None:
    near = {p for kind in EDITS for place in curated.edits[kind] for p in (place, curated.of(place))} | curated.alike
    flagged = {pair_id for pair_id, pair in curated.pairs.items() if pair["near_duplicate_conflict"]}
    assert flagged <= {curated.pair_of(place)["pair_id"] for place in near}


def test_paraphrases_may_stay(curated: Curated, record_property: Callable[[str, object], None]) -> None:
    merged = [place for place in curated.edits["paraphrase"] if curated.counting(place) == curated.counting(curated.of(place))]
    record_property("paraphrase_recall", len(merged) / len(curated.edits["paraphrase"]))


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
    assert fates <= {("published", "published"), ("dropped", "tie"), ("merged", "near_duplicate")}


def test_every_planted_flag_is_raised_on_its_side(curated: Curated) -> None:
    expected = curated.expected_flags()
    missing = {pair_id: flags - raised(curated.pairs[pair_id]) for pair_id, flags in expected.items()}

    assert sum(map(len, expected.values())) > 100
    assert {pair_id: flags for pair_id, flags in missing.items() if flags} == {}


def test_pairs_without_a_planted_defect_raise_no_flag_but_conflict(curated: Curated) -> None:
    planted = {pair_id for pair_id, flags in curated.expected_flags().items() if flags - ABOUT_OTHERS}
    stray = {pair_id: raised(pair) - ABOUT_OTHERS for pair_id, pair in curated.pairs.items() if pair_id not in planted}

    assert {pair_id: flags for pair_id, flags in stray.items() if flags} == {}


def test_the_answer_beside_a_planted_one_raises_no_flag(curated: Curated) -> None:
    for pair_id, flags in curated.expected_flags().items():
        sides = {flag.partition("_")[0] for flag in flags - PAIR_FLAGS}
        found = {flag.partition("_")[0] for flag in raised(curated.pairs[pair_id]) - PAIR_FLAGS}
        assert found <= sides, pair_id


def test_pairs_conflict_where_the_truth_says_so_and_nowhere_else(curated: Curated) -> None:
    expected = {pair_id for pair_id, flags in curated.expected_flags().items() if "conflict" in flags}
    left_open = {curated.counting(place) for place in curated.alike}
    assert {pair_id for pair_id, pair in curated.pairs.items() if pair["conflict"]} - left_open == expected - left_open


def test_votes_are_those_of_the_truth_with_every_copy_counted_once(curated: Curated) -> None:
    copies = {place for group in curated.groups.values() for place in group[1:]}
    voted = [place for place, row in curated.truth.items() if row["verdicts"] and place not in copies]
    # Which answer of a merged pair is which of its witness's, its quality says: of a pair's two answers one is better.
    is_chosen = {place: curated.column(place, "a", "x") == "chosen_x" for place in voted}
    chosen_level = {curated.pair_of(p)["pair_id"]: curated.truth[p]["a_level" if is_chosen[p] else "b_level"] for p in voted}
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    for place in voted:
        row, counting = curated.truth[place], curated.counting(place)
        for verdict in row["verdicts"]:
            if verdict in ("a", "b"):
                votes[counting]["chosen" if row[f"{verdict}_level"] == chosen_level[counting] else "rejected"] += 1
            else:
                votes[counting]["tie"] += 1
    left_open = {curated.counting(place) for place in curated.alike if place in voted}
    for pair_id, counts in votes.items():
        pair = curated.pairs[pair_id]
        if not pair["identical_answers"] and pair_id not in left_open:  # two equal answers have no sides to tell apart
            assert counts == Counter(chosen=pair["votes_chosen"], rejected=pair["votes_rejected"], tie=pair["votes_tie"]), pair_id
    assert set(votes) == {pair_id for pair_id, pair in curated.pairs.items() if pair.get("reason") != "near_duplicate"}


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
    file, row = next(p for p in group if any(r["reason"] == "copy" for r in curated.ledger[p]))
    witness = next(r["witness_pair_id"] for r in curated.ledger[file, row] if r["reason"] == "copy")

    text = stories.render_story(stories.explain(curated.outcome.dataset_root, f"raw/{file}:{row}"))

    assert "merged at pair_up: copy (score 1, threshold 1)" in text
    assert f"witness  {witness}" in text
    assert f"pair {witness} (" in text


def test_explain_names_the_witness_of_a_near_duplicate(curated: Curated) -> None:
    (file, row), witness = next((p, curated.absorbed(p)) for p in sorted(curated.in_families) if curated.absorbed(p))

    text = stories.render_story(stories.explain(curated.outcome.dataset_root, f"raw/{file}:{row}"))

    assert "merged at deduplicate: near_duplicate" in text
    assert f"witness  {witness}" in text
    assert f"pair {witness} (" in text


def annotator_id(file: str, name: str | None) -> str:
    """The published id of an annotator: a hash of the source and the name, under a key that is the data set's name if nothing is set."""
    source = file.removeprefix("raw/").partition(".")[0]
    key = hashlib.blake2b(b"demo", digest_size=32).digest()
    return f"unnamed {source}" if name is None else content_hash(pl.Series([f"{source}/{name}"]), "annotator", key).item()


def test_annotators_are_as_reliable_as_planted(curated: Curated, record_property: Callable[[str, object], None]) -> None:
    people = {
        annotator_id(one["file"], one["annotator"]): one["reliability"]
        for one in json.loads((DATA / "annotators.json").read_text(encoding="utf-8"))
    }
    told = {row["annotator_id"]: row for row in curated.table("annotators")}
    right: dict[str, list[bool]] = defaultdict(list)
    for place, rows in curated.judgements.items():
        for row in rows:
            if not row["is_copy"] and row["annotator_id"] in people and {row["outcome"], curated.truth[place]["better"]} <= {"a", "b"}:
                right[row["annotator_id"]].append(row["outcome"] == curated.truth[place]["better"])
    assert set(people) <= set(told)
    shares = [float(np.mean(hits)) for hits in right.values()]
    by_model = [told[i]["accuracy"] for i in right]
    held = {i for i, hits in right.items() if told[i]["accuracy_low"] <= np.mean(hits) <= told[i]["accuracy_high"]}
    record_property("accuracy_error", float(np.abs(np.subtract(by_model, shares)).mean()))

    assert len(right) >= len(people) - 1
    assert len(held) >= len(right) - 1, {i: (np.mean(right[i]), told[i]) for i in set(right) - held}
    assert spearmanr(by_model, shares).statistic > 0.8
    assert spearmanr(by_model, [people[i] for i in right]).statistic > 0.65  # with some 60 votes each, luck moves the shares too


def test_wrong_labels_have_the_higher_noise_scores(curated: Curated, record_property: Callable[[str, object], None]) -> None:
    right = curated.labels()
    scores = {pair_id: curated.pairs[pair_id]["noise_score"] for pair_id in right}
    good = [scores[pair_id] for pair_id, is_right in right.items() if is_right]

    def area(wrong: list[float]) -> float:
        """The probability that a wrong label has a higher score than a right one."""
        return float(mannwhitneyu(wrong, good).statistic) / len(wrong) / len(good)

    honest = area([scores[pair_id] for pair_id, is_right in right.items() if not is_right])
    flips = [curated.counting(place) for place, row in curated.truth.items() if row["planted"] == "flip"]
    planted = area([scores[pair_id] for pair_id in flips if not right.get(pair_id, True)])
    record_property("noise_score_auc", {"wrong labels": honest, "planted flips": planted})

    assert honest > 0.8
    assert planted > 0.9


def test_soft_labels_are_nearer_the_truth_than_votes_alone(curated: Curated) -> None:
    right = curated.labels()
    brier = {
        name: float(np.mean([(curated.pairs[pair_id][name] - is_right) ** 2 for pair_id, is_right in right.items()]))
        for name in ("p_chosen", "p_soft")
    }

    assert brier["p_soft"] < 0.9 * brier["p_chosen"], brier


def test_the_noise_of_a_source_is_nearly_found_and_not_belittled(curated: Curated) -> None:
    right = curated.labels()
    wrong: dict[str, list[bool]] = defaultdict(list)
    for pair_id, is_right in right.items():
        if curated.pairs[pair_id].get("reason") != "near_duplicate":
            for source in curated.pairs[pair_id]["sources"]:
                wrong[source].append(not is_right)
    told = {row["subject"]: row for row in curated.table("statistics") if (row["statistic"], row["subject_kind"]) == ("epsilon", "source")}

    assert len(wrong) == 6
    for source, labels in wrong.items():
        assert abs(told[source]["value"] - np.mean(labels)) < 0.08, source
        assert np.mean(labels) < told[source]["high"], source
