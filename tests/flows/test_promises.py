"""The promises of a run on small data: nothing is lost, nothing depends on order, threads or partitions, everything is explained.

The model is a stand-in that tells texts apart by their words: what is tested here does not depend on what vectors mean.
"""

import csv
import io
import json
import random
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from flows.curate import Outcome, run_flow
from tests.fakes import WordEncoder

Row = dict[str, Any]
OTHER = {"a": "b", "b": "a", "model_a": "model_b", "model_b": "model_a"}
RULES: Row = {
    "preset": "safe",
    "add": [
        {"name": "low_agreement", "drop_if": "agreement < 0.65"},
        {"name": "short_and_split", "drop_if": "n_votes > 2 and vote_entropy > 0.8"},
        {"name": "longest", "drop_top_share": {"signal": "chosen_chars", "share": 0.2}},
        {"name": "nearest", "keep_lowest_share": {"signal": "cosine_chosen_rejected", "share": 0.9}},
    ],
}


def pair_rows() -> list[Row]:
    """Chosen and rejected: 14 pairs, a source's test split, three copies, a conflict, an empty answer, four rows without sense."""
    rows: list[Row] = [
        {
            "prompt": f"Question {n} about café {n % 4}?", "chosen": f"Answer {n}: {'well ' * (n % 5 + 1)}", "rejected": f"No idea, {n}.",
            "split": "train",
        }
        for n in range(14)
    ]  # fmt: skip
    rows[3]["split"] = "test"
    copy, decomposed, crlf = dict(rows[0]), dict(rows[1]), dict(rows[2])
    decomposed["prompt"] = unicodedata.normalize("NFD", decomposed["prompt"])
    crlf["chosen"] = crlf["chosen"] + "\r\n"
    conflict = {**rows[4], "chosen": rows[4]["rejected"], "rejected": rows[4]["chosen"]}
    empty = {**rows[5], "chosen": "Something.", "rejected": "  "}
    identical = {**rows[6], "rejected": rows[6]["chosen"]}
    broken: list[Row] = [{"prompt": "no answers", "split": "train"}, {**rows[7], "chosen": None}, {**rows[8], "rejected": 7}]
    broken.append({**rows[9], "chosen": {"x": []}})
    return [*rows, copy, decomposed, crlf, conflict, empty, identical, *broken]


def arena_rows(start: int, count: int) -> list[Row]:
    """Two sides and a winner: some ties, conflicts with the row before, exact copies, copies with the sides exchanged."""
    rows: list[Row] = []
    for n in range(start, start + count):
        row = {
            "prompt": f"Compare item {n} with item {n + 1}.",
            "response_a": f"The first one, {n}.", "response_b": f"{'Both ' * (n % 3)}are fine ({n}).",
            "model_a": "alder", "model_b": "birch",
            "winner": ("model_a", "model_b", "model_a", "tie", "model_b")[n % 5], "shown_first": "ab"[n % 2],
        }  # fmt: skip
        rows.append(row)
        if n % 4 == 1:
            rows.append(exchange(row))
        if n % 7 == 2:
            rows.append({**row, "winner": OTHER.get(row["winner"], "model_a")})
        if n % 6 == 3:
            rows.append(dict(row))
    return [*rows, {**rows[0], "winner": "perhaps"}, {"prompt": "Nothing else."}]


def vote_rows() -> list[Row]:
    """One vote a row: three to four votes on six pairs, sides in either order, one vote stated twice, one unreadable."""
    rows: list[Row] = []
    for n in range(6):
        for m, name in enumerate(("heron", "otter", "lynx", "gull")[: 3 + n % 2]):
            verdict = ("a", "a", "b", "tie", "a", "b")[(n * m) % 6]
            row = {"prompt": f"Vote {n}", "response_a": f"left {n} {'x' * n}", "response_b": f"right {n}"}
            row |= {"annotator": name, "winner": verdict}
            rows.append(exchange(row) if (n + m) % 3 == 0 else row)
    return [*rows, dict(rows[0]), exchange(rows[1]), {**rows[2], "winner": "sideways"}]


def review_rows() -> list[Row]:
    """A list of votes in each row; one vote that cannot be read among good ones, one row without votes."""
    verdicts = [("a", "a", "b"), ("b", "b"), ("a", "tie", "a"), ("a", "b"), ("b", "both", "b"), ()]
    return [
        {
            "prompt": f"Review {n}", "response_a": f"Review text {n}", "response_b": f"Another review {n}",
            "votes": [{"worker": f"w-{i}", "value": value} for i, value in enumerate(values)],
        }
        for n, values in enumerate(verdicts)
    ]  # fmt: skip


def rating_rows(start: int, count: int) -> list[Row]:
    """One response a row, scored on two criteria: three for each prompt and then one alone, on an arena's prompts where there are
    such, ties, copies, a test split, a score that is none, the highest and the lowest of all scores in the one and the other file."""
    rows: list[Row] = []
    for n in range(start, start + count):
        for m, text in enumerate((f"The first one, {n}.", f"{'Both ' * (n % 3)}are fine ({n}).", f"A third, {n}.")):
            first, second = (n + 3 * m) % 5 + (start > 3), (2 * n + m * m) % 4 + 1
            row = {"prompt": f"Compare item {n} with item {n + 1}.", "response": text, "helpfulness": first, "correctness": second}
            rows.append({**row, "annotator": ("lark", "wren")[n % 2], "model": "abc"[m], "split": "test" if n == 7 else "train"})
        if n % 3 == 1:
            rows.append(dict(rows[-1]))
        if n % 3 == 2:
            rows[-1] |= {"helpfulness": rows[-2]["helpfulness"], "correctness": rows[-2]["correctness"]}
    return [*rows, {**rows[0], "prompt": f"Alone {start}"}, {**rows[0], "helpfulness": "many"}]


def exchange(row: Row) -> Row:
    """The same judgement with its sides, and everything that names one, the other way round."""
    pairs = (("response_a", "response_b"), ("model_a", "model_b"))
    new = {**row, **{a: row[b] for pair in pairs for a, b in (pair, pair[::-1]) if a in row and b in row}}
    if "votes" in row:
        new["votes"] = [exchange(vote) for vote in row["votes"]]
    return {**new, **{name: OTHER.get(row[name], row[name]) for name in ("winner", "shown_first", "value") if name in row}}


def as_lines(rows: list[Row]) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def as_csv(rows: list[Row]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


@dataclass(frozen=True)
class Input:
    """What a run is given: the rows of each file, the order of the sources, and the settings a result must not depend on."""

    files: dict[str, list[Row]] = field(
        default_factory=lambda: {
            "pairs.jsonl": pair_rows(),
            "arena/one.jsonl": arena_rows(0, 12),
            "arena/two.jsonl": arena_rows(9, 9),
            "votes.csv": vote_rows(),
            "reviews.jsonl": review_rows(),
            "ratings/one.jsonl": rating_rows(0, 5),
            "ratings/two.jsonl": rating_rows(4, 5),
        }
    )
    sources: tuple[tuple[str, str], ...] = (
        ("pairs", "pairs.jsonl"), ("arena", "arena/*.jsonl"), ("votes", "votes.csv"), ("reviews", "reviews.jsonl"),
        ("ratings", "ratings/*.jsonl"),
    )  # fmt: skip
    partitions: int = 3
    threads: int = 2
    rules: Row = field(default_factory=lambda: RULES)
    broken_line: str = "pairs.jsonl"  # ends in a line that is no JSON

    def write(self, folder: Path) -> Path:
        """Write the files and the config; returns the config's place."""
        for name, rows in self.files.items():
            place = folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            content = as_csv(rows) if name.endswith(".csv") else as_lines(rows)
            place.write_bytes(content + b'{"prompt": "cut of' if name == self.broken_line else content)
        config = {
            "dataset": "small",
            "sources": [{"name": name, "uri": uri, "max_quarantine_share": 0.5} for name, uri in self.sources],
            "rules": self.rules,
            "publish": {"validation_share": 0.25, "rows_per_shard": 7},
            "partitions": self.partitions,
        }
        (folder / "prefine.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        return folder / "prefine.yaml"

    def run(self, folder: Path) -> Outcome:
        """Write everything below a folder, which may hold an earlier run's workspace, and curate it."""
        return run_flow(str(self.write(folder)), None, self.threads)


@dataclass(frozen=True)
class Version:
    """A published version as plain rows."""

    folder: Path
    outcome: Outcome

    @property
    def hashes(self) -> dict[str, str]:
        """Each data file's path and the hash that the manifest states."""
        manifest = json.loads((self.folder / "manifest.json").read_text(encoding="utf-8"))
        return {file["path"]: file["sha256"] for file in manifest["files"]}

    def shards(self) -> dict[str, str]:
        """The hashes of what trainers read, of what was dropped, and of what is told of annotators and of the whole."""
        told = ("data/", "dropped/", "annotators/", "statistics/")
        return {path: sha for path, sha in self.hashes.items() if path.startswith(told)}

    def table(self, folder: str, part: str = "*") -> list[Row]:
        """The rows of one table."""
        return [row for file in sorted((self.folder / folder).glob(f"{part}-*.parquet")) for row in pq.read_table(file).to_pylist()]

    def ledger_without_places(self) -> Counter[str]:
        """Ledger rows, without where they stood, and how often each occurs."""
        return Counter(json.dumps({k: v for k, v in row.items() if k not in ("source_uri", "source_row")}) for row in self.table("ledger"))


def version_of(outcome: Outcome) -> Version:
    return Version(Path(outcome.dataset_root) / outcome.version, outcome)


@pytest.fixture(scope="module")
def given() -> Input:
    return Input()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("baseline")


@pytest.fixture(scope="module")
def baseline(home: Path, given: Input, encoder: WordEncoder) -> Version:
    """The run that all others are compared with."""
    return version_of(given.run(home))


def test_the_small_data_takes_every_path(baseline: Version) -> None:
    assert {row["fate"] for row in baseline.table("ledger")} == {"published", "merged", "dropped", "quarantined"}
    assert {row["reason"] for row in baseline.table("dropped")} == {
        "empty_answer", "identical_answers", "tie", "low_agreement", "short_and_split", "longest", "nearest",
    }  # fmt: skip
    assert {row["split"] for row in baseline.table("data")} == {"train", "validation", "test"}
    assert len(baseline.table("quarantine")) > 8
    assert {"data/train-00000-of-00003.parquet", "data/validation-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"} <= set(
        baseline.hashes
    )
    assert {path.partition("/")[0] for path in baseline.shards()} == {"data", "dropped", "annotators", "statistics"}
    assert {row["annotator_id"] for row in baseline.table("annotators")} >= {f"unnamed {source}" for source in ("arena", "pairs")}


# Promise 1: conservation


def test_every_row_of_every_file_is_in_the_ledger_and_no_other(given: Input, baseline: Version) -> None:
    counted = {name: len(rows) + (name == given.broken_line) for name, rows in given.files.items()}
    found: dict[str, set[int]] = {name: set() for name in counted}
    for row in baseline.table("ledger"):
        name = next(name for name in counted if row["source_uri"].endswith(name))
        found[name].add(row["source_row"])

    assert found == {name: set(range(rows)) for name, rows in counted.items()}


def test_every_vote_has_one_fate_and_the_fates_of_a_file_add_up_to_its_votes(given: Input, baseline: Version) -> None:
    votes = {name: sum(len(row.get("votes") or [1, 2][: 1 + ("correctness" in row)]) for row in rows) for name, rows in given.files.items()}
    votes[given.broken_line] += 1
    ledger = baseline.table("ledger")
    rows = Counter(next(name for name in votes if row["source_uri"].endswith(name)) for row in ledger)
    by_fate = Counter((row["source_uri"], row["fate"]) for row in ledger)

    assert rows == votes
    assert sum(by_fate.values()) == len(ledger)
    for record_id, fates in _fates(ledger).items():
        assert len([fate for fate in fates if fate in ("published", "dropped")]) <= 1, record_id


def test_the_funnel_adds_up_from_records_to_published_pairs(baseline: Version) -> None:
    counts = baseline.outcome.counts

    assert counts[0]["rows_in"] == len(baseline.table("ledger"))
    assert all(line["rows_in"] == line["kept"] + line["dropped"] and sum(line["reasons"].values()) == line["dropped"] for line in counts)
    assert counts[-1]["kept"] == len(baseline.table("data"))
    assert [line["stage"] for line in counts[:3]] == ["read records", "merge copies (records)", "compare ratings (records)"]
    assert [line["kept"] for line in counts[:2]] == [line["rows_in"] for line in counts[1:3]]
    assert counts[3]["rows_in"] == len(baseline.table("data")) + len(baseline.table("dropped"))
    assert counts[2]["dropped"] == sum(row["reason"] == "not_selected" for row in baseline.table("ledger")) > 0
    assert counts[2]["kept"] == len({record for part in ("data", "dropped") for row in baseline.table(part) for record in row["records"]})


def _fates(ledger: list[Row]) -> dict[str, list[str]]:
    fates: dict[str, list[str]] = {}
    for row in ledger:
        fates.setdefault(row["record_id"], []).append(row["fate"])
    return fates


# Promise 2: determinism


@pytest.mark.parametrize(("partitions", "threads"), [(1, 1), (8, 2)])
def test_every_file_is_the_same_for_any_partitions_and_threads(
    partitions: int, threads: int, given: Input, baseline: Version, tmp_path: Path
) -> None:
    other = version_of(replace(given, partitions=partitions, threads=threads).run(tmp_path))

    assert other.hashes == baseline.hashes


# Promise 3: order independence


def shuffled(given: Input, seed: int) -> Input:
    rng = random.Random(seed)
    return replace(given, files={name: rng.sample(rows, len(rows)) for name, rows in given.files.items()})


def reordered(given: Input) -> Input:
    """The sources of the config backwards, and the files of one source under each other's names."""
    files = dict(given.files)
    for name in ("arena", "ratings"):
        files[f"{name}/one.jsonl"], files[f"{name}/two.jsonl"] = files[f"{name}/two.jsonl"], files[f"{name}/one.jsonl"]
    return replace(given, files=files, sources=given.sources[::-1])


def exchanged(given: Input, seed: int) -> Input:
    """About half of the rows with two sides, shown the other way round; a row that cannot be read stays as it is."""
    rng = random.Random(seed)

    def maybe(row: Row) -> Row:
        verdicts = [row["winner"]] if "winner" in row else [vote["value"] for vote in row.get("votes", ())]
        readable = "response_b" in row and bool(verdicts) and not {"perhaps", "sideways", "both"} & set(verdicts)
        return exchange(row) if readable and rng.random() < 0.5 else row

    return replace(given, files={name: [maybe(row) for row in rows] for name, rows in given.files.items()})


CHANGES: dict[str, Callable[[Input], Input]] = {
    "rows, sources and files reordered": lambda given: reordered(shuffled(given, 1)),
    "that, and sides exchanged": lambda given: reordered(shuffled(exchanged(given, 4), 5)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_order_of_rows_files_and_sides_changes_nothing_but_places(change: str, given: Input, baseline: Version, tmp_path: Path) -> None:
    changed = CHANGES[change](given)
    assert (changed.files, changed.sources) != (given.files, given.sources)

    other = version_of(changed.run(tmp_path))

    assert other.shards() == baseline.shards()
    assert other.ledger_without_places() == baseline.ledger_without_places()


# Promise 7: explained


def test_every_drop_names_its_rule_and_what_it_was_measured_against(baseline: Version) -> None:
    rules = {"empty_answer", "identical_answers", "tie", "unreadable_text", *(rule["name"] for rule in RULES["add"])}
    for row in baseline.table("dropped"):
        assert row["reason"] in rules
        assert row["stage"] == "rules"
        assert (row["score"] is not None and row["threshold"] is not None) or row["detail"], row["reason"]


def test_a_dropped_record_says_what_its_pair_says(baseline: Version) -> None:
    pairs = {row["pair_id"]: row for row in baseline.table("dropped")}
    dropped = [row for row in baseline.table("ledger") if row["fate"] == "dropped"]
    told = ("stage", "reason", "score", "threshold", "detail", "witness_pair_id")
    in_pairs = [row for row in dropped if row["reason"] != "not_selected"]
    better = {record for row in baseline.table("data") for record in row["records"]}  # ratings that fed a published pair too

    assert {row["pair_id"] for row in in_pairs} == {i for i, row in pairs.items() if not better.issuperset(row["records"])}
    assert all(row[name] == pairs[row["pair_id"]][name] for row in in_pairs for name in told)
    assert all(row["pair_id"] is None and row["detail"] for row in dropped if row["reason"] == "not_selected")


def test_a_threshold_was_really_passed(baseline: Version) -> None:
    by_rule: dict[str, list[Row]] = {}
    for row in baseline.table("dropped"):
        by_rule.setdefault(row["reason"], []).append(row)

    assert all(row["score"] == row["agreement"] < row["threshold"] == 0.65 for row in by_rule["low_agreement"])
    assert all(row["score"] == row["chosen_chars"] >= row["threshold"] for row in by_rule["longest"])
    assert all(row["score"] == row["cosine_chosen_rejected"] >= row["threshold"] for row in by_rule["nearest"])
    assert all(row["detail"].startswith("n_votes=") for row in by_rule["short_and_split"])


def test_every_merged_record_has_a_witness_that_holds_its_original(baseline: Version) -> None:
    ledger = baseline.table("ledger")
    pairs = {row["pair_id"]: row for row in [*baseline.table("data"), *baseline.table("dropped")]}
    merged = [row for row in ledger if row["fate"] == "merged"]
    nowhere = {row["record_id"] for row in ledger if row["reason"] == "not_selected"}

    assert merged
    for row in merged:
        assert row["reason"] == "copy"
        assert row["score"] >= row["threshold"]
        if row["record_id"] in nowhere:
            assert row["witness_pair_id"] is None
        else:
            assert row["record_id"] in pairs[row["witness_pair_id"]]["records"]


def test_every_quarantined_record_says_what_was_wrong(baseline: Version) -> None:
    quarantined = [row for row in baseline.table("ledger") if row["fate"] == "quarantined"]

    assert len(quarantined) == len(baseline.table("quarantine"))
    assert all(row["stage"] == "ingest" and row["reason"] and row["detail"] for row in quarantined)


# A run over the same data does nothing again.


def test_curating_a_published_version_again_merges_and_drops_nothing(baseline: Version, tmp_path: Path) -> None:
    config = {
        "dataset": "again",
        "sources": [{"name": "small", "version": str(baseline.folder)}],
        "publish": {"validation_share": 0.25},
        "partitions": 5,
    }
    (tmp_path / "prefine.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")

    again = version_of(run_flow(str(tmp_path / "prefine.yaml")))

    def told(version: Version) -> list[Row]:
        votes = ("p_chosen", "p_tie", "n_votes", "n_annotators")
        stays = ("pair_id", "prompt", "chosen", "rejected", "chosen_models", "split", *votes)
        return sorted(({name: row[name] for name in stays} for row in version.table("data")), key=lambda row: str(row["pair_id"]))

    def judgements(version: Version) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {row["pair_id"]: [] for row in version.table("data")}
        for row in version.table("judgements"):
            if not row["is_copy"] and row["pair_id"] in found:
                found[row["pair_id"]].append(row["judgement_id"])
        return {pair_id: sorted(ids) for pair_id, ids in found.items()}

    assert {row["fate"] for row in again.table("ledger")} == {"published"}
    assert told(again) == told(baseline)
    assert {row["pair_id"]: row["records"] for row in again.table("data")} == judgements(again) == judgements(baseline)
    assert any(row["derived_from"] for row in baseline.table("judgements"))
    assert not any(row["derived_from"] for row in again.table("judgements"))
    assert again.table("dropped") == []


def test_a_published_version_is_decided_anew_where_consensus_is_set_otherwise(baseline: Version, tmp_path: Path) -> None:
    config = {
        "dataset": "anew",
        "sources": [{"name": "small", "version": str(baseline.folder)}],
        "consensus": {"method": "majority"},
        "rules": {"preset": "none"},
    }
    (tmp_path / "prefine.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")

    anew = version_of(run_flow(str(tmp_path / "prefine.yaml")))

    def of_one_vote(version: Version) -> set[float]:
        return {row["p_chosen"] for row in version.table("data") if row["n_votes"] == row["votes_chosen"] == 1}

    assert len(of_one_vote(baseline)) > 1  # it matters who voted
    assert len(of_one_vote(anew)) == 1


def test_a_version_and_the_ratings_it_was_made_of_publish_the_same_votes_once(given: Input, baseline: Version, tmp_path: Path) -> None:
    given.write(tmp_path)
    ratings = {"name": "ratings", "uri": "ratings/*.jsonl", "max_quarantine_share": 0.5}
    sources = [{"name": "small", "version": str(baseline.folder)}, ratings]
    config = {"dataset": "small", "sources": sources, "rules": {"preset": "none"}, "publish": {"validation_share": 0.25}}
    (tmp_path / "both.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")

    both = version_of(run_flow(str(tmp_path / "both.yaml")))

    votes = {row["pair_id"]: row["n_votes"] for row in both.table("data")}
    published = {row["pair_id"]: row["n_votes"] for row in baseline.table("data")}
    assert {pair_id: votes[pair_id] for pair_id in published} == published
    assert "derived_before" in {row["reason"] for row in both.table("ledger")}


def test_ratings_and_judgements_of_one_pair_are_votes_on_it(baseline: Version) -> None:
    by_pair: dict[str, set[bool]] = {}
    for row in baseline.table("judgements"):
        by_pair.setdefault(row["pair_id"], set()).add(bool(row["derived_from"]))

    assert {True, False} in by_pair.values()


def test_the_scale_of_a_source_is_that_of_all_its_files(baseline: Version) -> None:
    scales = {(row["criterion"], row["score_min"], row["score_max"]) for row in baseline.table("ratings")}
    files = {row["source_uri"] for row in baseline.table("ratings") if row["score"] in (0.0, 5.0)}

    assert scales == {("helpfulness", 0.0, 5.0), ("correctness", 1.0, 4.0)}
    assert len(files) == 2


def test_a_second_run_publishes_nothing_and_embeds_nothing(home: Path, given: Input, baseline: Version, encoder: WordEncoder) -> None:
    before = encoder.texts_encoded

    again = given.run(home)

    assert (again.version, again.unchanged, again.embedded) == (baseline.outcome.version, True, 0)
    assert encoder.texts_encoded == before
    assert sorted(p.name for p in Path(again.dataset_root).glob("v*")) == ["v000001"]


@dataclass(frozen=True)
class Grown:
    """A folder that was curated, again with another threshold, and again with one more file and late votes in an old one."""

    more: Input
    first: Outcome
    stricter: Outcome
    second: Outcome
    encoded: tuple[int, int]  # in the runs after the first


@pytest.fixture(scope="module")
def grown(given: Input, encoder: WordEncoder, tmp_path_factory: pytest.TempPathFactory) -> Grown:
    folder = tmp_path_factory.mktemp("grown")
    rules = {**RULES, "add": [{"name": "low_agreement", "drop_if": "agreement < 0.7"}, *RULES["add"][1:]]}
    late = [
        {"prompt": "Vote 0", "response_a": "left 0", "response_b": "right 0", "annotator": f"late {n}", "winner": "b"} for n in range(9)
    ]
    files = {**given.files, "arena/zero.jsonl": arena_rows(100, 8), "votes.csv": [*vote_rows(), *late]}
    more = replace(given, files=files, rules=rules)
    before, outcomes = [encoder.texts_encoded], list[Outcome]()
    for one in (given, replace(given, rules=rules), more):
        outcomes.append(one.run(folder))
        before.append(encoder.texts_encoded)
    return Grown(more, *outcomes, (before[2] - before[1], before[3] - before[2]))


def test_another_threshold_is_applied_without_encoding_or_comparing_anything(grown: Grown) -> None:
    assert (grown.stricter.version, grown.stricter.unchanged) == ("v000002", False)
    assert (grown.stricter.embedded, grown.stricter.compared, grown.stricter.asked, grown.encoded[0]) == (0, 0, 0, 0)


def test_one_more_file_makes_the_next_version_and_embeds_only_what_is_new(baseline: Version, grown: Grown) -> None:
    first, second = grown.first, grown.second

    assert (first.version, second.version, second.unchanged) == ("v000001", "v000003", False)
    assert first.embedded == baseline.outcome.embedded
    assert 0 < second.embedded == grown.encoded[1] <= 3 * 8
    assert 0 < second.compared <= 3 * 8
    assert (Path(second.dataset_root) / "CURRENT").read_text().strip() == "v000003"
    assert version_of(first).hashes == baseline.hashes


def test_late_votes_on_an_old_pair_change_it(grown: Grown) -> None:
    def counted(outcome: Outcome) -> tuple[int, str]:
        version = version_of(outcome)
        [pair] = [
            row for row in version.table("data") + version.table("dropped") if row["prompt"] and row["prompt"][0]["content"] == "Vote 0"
        ]
        return pair["n_votes"], pair["chosen"][0]["content"]

    assert counted(grown.first) == counted(grown.stricter) == (3, "left 0")
    assert counted(grown.second) == (12, "right 0")


def test_an_increment_publishes_what_a_run_from_scratch_does(grown: Grown, tmp_path: Path) -> None:
    assert version_of(grown.second).hashes == version_of(grown.more.run(tmp_path)).hashes


def test_a_version_that_published_no_pair_can_still_be_a_source(encoder: WordEncoder, tmp_path: Path) -> None:
    ties = [{"prompt": f"q {i}", "response_a": f"one {i}", "response_b": f"two {i}", "winner": "tie"} for i in range(3)]
    (tmp_path / "ties.jsonl").write_bytes(as_lines(ties))
    for dataset, source in (("ties", {"uri": "ties.jsonl"}), ("again", {"version": "workspace/datasets/ties"})):
        config = {"dataset": dataset, "sources": [{"name": "s", **source}]}
        (tmp_path / f"{dataset}.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")

    first, again = (version_of(run_flow(str(tmp_path / f"{name}.yaml"))) for name in ("ties", "again"))

    assert [row["reason"] for row in first.table("ledger")] == ["tie"] * 3
    assert again.table("ledger") == []


def test_a_source_that_holds_the_workspace_reads_only_what_lies_outside_it(encoder: WordEncoder, tmp_path: Path) -> None:
    rows = [{"prompt": f"q {i}", "response_a": f"one {i}", "response_b": f"two {i}", "winner": "b"} for i in range(3)]
    (tmp_path / "rows.jsonl").write_bytes(as_lines(rows))
    (tmp_path / "prefine.yaml").write_text(yaml.safe_dump({"dataset": "d", "sources": [{"name": "s", "uri": "."}]}), encoding="utf-8")

    run_flow(str(tmp_path / "prefine.yaml"))
    again = run_flow(str(tmp_path / "prefine.yaml"))

    assert again.unchanged
