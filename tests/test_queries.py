"""A small version, written by publish, and everything one may ask of it."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline import storage
from pipeline.errors import NotFoundError, PrefineError, QueryError
from pipeline.publish import VersionWriter, finish
from pipeline.queries import (
    PARTS,
    TABLES,
    Catalogue,
    current_version,
    explain,
    manifest_paths,
    open_version,
    render_story,
    run_checks,
    sql_files,
)

FILE = "raw/arena.jsonl"


def row(schema: pa.Schema, **given: Any) -> dict[str, Any]:
    """A row with the values given, null where allowed, and nothing (0, False, "", []) elsewhere."""
    nothing = {"string": "", "bool": False, "int64": 0, "double": 0.0, "float": 0.0}
    blank = {f.name: None if f.nullable else [] if pa.types.is_list(f.type) else nothing[str(f.type)] for f in schema}
    assert set(given) <= set(blank)
    return {**blank, **given}


def said(role: str, content: str) -> list[dict[str, Any]]:
    return [{"role": role, "content": content}]


def judged(judgement_id: str, pair_id: str, source_row: int, outcome: str, **given: Any) -> dict[str, Any]:
    given = {"annotator_id": f"ann-{judgement_id}", "annotator_kind": "human", "normalised": [], "is_copy": False, **given}
    texts = {"prompt": said("user", "Hi?"), "response_a": said("assistant", "Hello!"), "response_b": said("assistant", "No.")}
    ids = {"judgement_id": judgement_id, "pair_id": pair_id, "response_a_id": "ra", "response_b_id": "rb"}
    place = {"source": "arena", "source_uri": FILE, "source_row": source_row}
    return row(PARTS["judgements"][1], **texts, **ids, **place, outcome=outcome, criterion="overall", **given)


def paired(part: str, pair_id: str, records: list[str], votes: tuple[int, int, int], **given: Any) -> dict[str, Any]:
    chosen, rejected, tie = votes
    texts = {"prompt": said("user", "Hi?"), "chosen": said("assistant", "Hello!"), "rejected": said("assistant", "No.")}
    counts = {"n_votes": sum(votes), "n_annotators": sum(votes), "votes_chosen": chosen, "votes_rejected": rejected, "votes_tie": tie}
    given = {"p_chosen": 0.75, "weight": 1.0, "split": part, "chosen_chars": 6, "rejected_chars": 3, "chars_gap": 3, **given}
    ids = {"pair_id": pair_id, "chosen_id": "ra", "rejected_id": "rb", "prompt_cluster_id": f"cluster-{pair_id}", "criterion": "overall"}
    return row(PARTS[part][1], **texts, **counts, **ids, sources=["arena"], records=records, **given)


def fated(record_id: str, source_row: int, fate: str, reason: str, **given: Any) -> dict[str, Any]:
    place = {"source": "arena", "source_uri": FILE, "source_row": source_row}
    return row(PARTS["ledger"][1], record_id=record_id, **place, fate=fate, reason=reason, **{"stage": "publish", **given})


def sample() -> dict[str, list[dict[str, Any]]]:
    """Six rows of one file: two votes on p1 and a copy of the first, one on p2, a tie on p3, an unreadable row."""
    copied = {"stage": "pair_up", "score": 1.0, "threshold": 1.0, "pair_id": "p1", "witness_pair_id": "p1"}
    return {
        "train": [paired("train", "p1", ["j1", "j2"], (1, 1, 0), p_chosen=0.5, conflict=True, agreement=0.5)],
        "validation": [paired("validation", "p2", ["j3"], (1, 0, 0), chosen_injected=True, agreement=1.0, cosine_chosen_rejected=0.25)],
        "dropped": [paired("dropped", "p3", ["j4"], (0, 0, 1), split="train", tie=True, stage="rules", reason="tie", detail="p_tie 0.5")],
        "judgements": [
            judged("j1", "p1", 0, "a", normalised=["prompt.line_ends"], extra='{"lang": "en\x1b[31m"}'),
            judged("j1", "p1", 1, "a", is_copy=True),
            judged("j2", "p1", 2, "b"),
            judged("j3", "p2", 3, "a"),
            judged("j4", "p3", 4, "tie"),
        ],
        "quarantine": [
            row(PARTS["quarantine"][1], record_id="q1", source="arena", source_uri=FILE, source_row=5, reason="unparsable_row", raw="{oops")
        ],
        "ledger": [
            fated("j1", 0, "published", "train", pair_id="p1"),
            fated("j1", 1, "merged", "copy", **copied),
            fated("j2", 2, "published", "train", pair_id="p1"),
            fated("j3", 3, "published", "validation", pair_id="p2"),
            fated("j4", 4, "dropped", "tie", stage="rules", pair_id="p3"),
            fated("q1", 5, "quarantined", "unparsable_row", stage="ingest"),
        ],
    }


def rated(rating_id: str, response: str, score: float, source_row: int, **given: Any) -> dict[str, Any]:
    place = {"source": "arena", "source_uri": FILE, "source_row": source_row}
    texts = {"prompt": said("user", "Hi?"), "response": said("assistant", response), "response_id": f"r-{response}"}
    given = {"annotator_id": "rater", "annotator_kind": "human", "criterion": "help", **given}
    return row(PARTS["ratings"][1], rating_id=rating_id, score=score, score_min=1.0, score_max=5.0, **texts, **place, **given)


def sample_with_ratings() -> dict[str, list[dict[str, Any]]]:
    """The sample and, instead of its first row, four ratings and a copy: r1 over r2 is pair p1's vote, r1 over r3 dropped."""
    rows = sample()
    rows["ratings"] = [
        rated("r1", "Hello!", 5.0, 0),
        rated("r2", "No.", 2.0, 0),
        rated("r3", "Er.", 1.0, 0),
        rated("r4", "Hm.", 3.0, 0, flags=["overall_score_doubtful"]),
        rated("r4", "Hm.", 3.0, 1, is_copy=True),
    ]
    rows["judgements"][:2] = [
        judged("d1", "p1", 0, "a", derived_from=["r1", "r2"], strength=0.75),
        judged("d1", "p1", 0, "a", derived_from=["r1", "r2"], strength=0.75, is_copy=True, model_a="m"),
        judged("d2", "p4", 0, "a", derived_from=["r1", "r3"], strength=1.0),
    ]
    rows["train"][0]["records"] = ["j2", "r1", "r2"]
    rows["dropped"].append(paired("dropped", "p4", ["r1", "r3"], (1, 0, 0), split="train", stage="rules", reason="low", detail="d"))
    unused = {"stage": "pair_up", "detail": "overall_score_doubtful"}
    rows["ledger"][:2] = [
        fated("r1", 0, "published", "published", pair_id="p1"),
        fated("r2", 0, "published", "published", pair_id="p1"),
        fated("r3", 0, "dropped", "low", stage="rules", pair_id="p4"),
        fated("r4", 0, "dropped", "not_selected", **unused),
        fated("r4", 1, "merged", "copy", stage="pair_up", score=1.0, threshold=1.0),
    ]
    return rows


INPUTS = [
    {
        "source": "arena", "source_uri": FILE, "layout": "ab", "bytes": 99, "sha256": "0" * 64,
        "rows_counted": 6, "rows": 6, "records": 6, "quarantined_rows": 1, "unreadable": None,
    }
]  # fmt: skip
COUNTS: list[dict[str, Any]] = [
    {"stage": "ingest", "rows_in": 6, "kept": 5, "dropped": 1, "reasons": {"unparsable_row": 1}},
    {"stage": "pair_up", "rows_in": 5, "kept": 3, "dropped": 2, "reasons": {"copy": 1, "same_pair": 1}},
    {"stage": "split", "rows_in": 2, "kept": 2, "dropped": 0, "reasons": {}},
]


def write(root: str, rows: dict[str, list[dict[str, Any]]], version: str = "v000001") -> list[dict[str, Any]]:
    writer = VersionWriter(root, version, {part: len(r) for part, r in rows.items()}, rows_per_shard=10)
    for part, part_rows in rows.items():
        writer.write(part, pa.Table.from_pylist(part_rows, schema=PARTS[part][1]))
    return writer.close()


def publish(root: str) -> str:
    parts = {"inputs": INPUTS, "counts": COUNTS, "config": {"sources": []}, "rules": ["tie"]}
    parts |= {"packages": {}, "models": {}, "seeds": {}, "timings": {}}
    return finish(root, "v000001", write(root, sample()), parts).version


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    place = str(tmp_path_factory.mktemp("workspace") / "datasets" / "it's a=b [1]")
    publish(place)
    return place


@pytest.fixture(scope="module")
def catalogue(root: str) -> Catalogue:
    return open_version(root)


def test_every_table_can_be_read(catalogue: Catalogue) -> None:
    counts = {name: catalogue.query(f"select count(*) as n from {name}")["n"][0].as_py() for name in TABLES}
    assert counts == {
        "pairs": 2, "train": 1, "validation": 1, "other": 0, "dropped": 1, "judgements": 5, "ratings": 0,
        "quarantine": 1, "ledger": 6, "inputs": 1, "stages": 3,
    }  # fmt: skip


def test_a_dataset_on_an_object_store_answers_too() -> None:
    root = "memory://queries/datasets/demo"
    publish(root)
    assert open_version(root).query("select pair_id from pairs order by all")["pair_id"].to_pylist() == ["p1", "p2"]
    assert explain(root, "p2").pairs[0]["fate"] == "published"


VIEW_FACTS: dict[str, list[tuple[Any, ...]]] = {
    "funnel": [("ingest", 6, 5, 1, "unparsable_row"), ("pair_up", 5, 3, 2, "copy"), ("split", 2, 2, 0, None)],
    "fates_by_source": [("arena", 6, 3, 1, 1, 1, 0.5)],
    "quarantine_reasons": [("arena", "unparsable_row", None, 1, FILE, 5, None)],
    "drop_reasons": [("rules", "tie", 1, 1, None, None, None)],
    "length_bias": [("arena", 2, 0, 1.0, 3.0)],
    "conflicts": [("p1", "published", ["arena"], 1, 1, 0, 0.5, 0.5)],
    "annotators": [
        ("ann-j1", "human", 1, 0.0, 1.0, 1, 1.0),
        ("ann-j2", "human", 1, 0.0, 0.0, 1, 0.0),
        ("ann-j3", "human", 1, 0.0, 1.0, 0, None),
        ("ann-j4", "human", 1, 1.0, None, 0, None),
    ],
    "duplicates": [("arena", "arena", 1)],
}


@pytest.mark.parametrize("view", VIEW_FACTS)
def test_a_view_asked_by_its_bare_name_answers_its_question(catalogue: Catalogue, view: str) -> None:
    assert [tuple(r.values()) for r in catalogue.query(view).to_pylist()] == VIEW_FACTS[view]


def test_flags_and_quantiles_cover_published_and_dropped_pairs(catalogue: Catalogue) -> None:
    flags = {r["flag"]: (r["published_count"], r["dropped_count"]) for r in catalogue.query("flags;").to_pylist()}
    assert len(flags) == 25
    assert {name: n for name, n in flags.items() if n != (0, 0)} == {"conflict": (1, 0), "chosen_injected": (1, 0)}
    quantiles = {r["signal"]: (r["pair_count"], r["lowest"], r["highest"]) for r in catalogue.query("signal_quantiles").to_pylist()}
    assert quantiles["cosine_chosen_rejected"] == (1, 0.25, 0.25)
    assert quantiles["agreement"] == (2, 0.5, 1.0)


def test_every_view_has_a_header_and_every_table_name_is_free(catalogue: Catalogue) -> None:
    for kind in ("views", "checks"):
        for name, text in sql_files(kind).items():
            assert text.startswith("-- "), name
            assert "Reads: " in text, name
    assert not set(sql_files("views")) & set(TABLES)
    for view in sql_files("views"):
        catalogue.query(view)


ATTACKS = [
    "copy pairs to '{tmp}/out.parquet'",
    "copy (select 1) to '{tmp}/out.csv' (use_tmp_file false)",
    "explain analyze copy (select 1) to '{tmp}/out.csv'",
    "with x as (copy (select 1) to '{tmp}/out.csv') select * from x",
    "with x as (delete from pairs) select * from x",
    "attach '{tmp}/out.db' as other_db",
    "install httpfs",
    "load httpfs",
    "set enable_external_access = true",
    "set lock_configuration = false",
    "reset enable_external_access",
    "pragma enable_profiling = 'json'",
    "create secret s (type s3, key_id 'x', secret 'y')",
    "select * from read_csv('/etc/passwd')",
    "select * from read_text('/etc/passwd')",
    "select * from read_parquet('{root}/v000001/data/*.parquet')",
    "select * from '/etc/passwd'",
    "select * from glob('/etc/*')",
    "select getenv('HOME')",
    "select * from storage",
    "delete from pairs",
    "insert into pairs select * from pairs",
    "update pairs set weight = 2",
    "export database '{tmp}/out'",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_user_sql_reaches_nothing_but_the_tables(root: str, catalogue: Catalogue, tmp_path: Path, attack: str) -> None:
    local_variable = pa.table({"a": [1]})  # a Python variable must not become a table
    assert local_variable.num_rows == 1
    with pytest.raises(QueryError):
        catalogue.query(attack.format(tmp=tmp_path, root=root.replace("'", "''")))
    assert list(tmp_path.iterdir()) == []
    assert catalogue.query("select count(*) as n from pairs")["n"].to_pylist() == [2]


def test_python_variables_are_no_tables(catalogue: Catalogue) -> None:
    hidden = pa.table({"a": [1]})
    assert hidden.num_rows == 1
    with pytest.raises(QueryError, match="hidden does not exist"):
        catalogue.query("from hidden")


def test_a_refused_statement_says_what_queries_may_see(catalogue: Catalogue) -> None:
    with pytest.raises(QueryError, match="Queries are read-only: they see the dataset's tables, no files"):
        catalogue.query("select * from read_csv('/etc/passwd')")


def test_an_unknown_table_is_answered_with_the_list_of_tables(catalogue: Catalogue) -> None:
    with pytest.raises(QueryError, match=r"(?s)Table with name nope does not exist.*Tables and views: pairs, train, .*funnel"):
        catalogue.query("select * from nope")


def test_an_unknown_column_is_answered_with_candidates(catalogue: Catalogue) -> None:
    with pytest.raises(QueryError, match=r"pair_idd.*not found"):
        catalogue.query("select pair_idd from pairs")


@pytest.mark.parametrize(("sql", "found"), [("select 1; select 2", 2), ("", 0), ("-- nothing", 0)])
def test_exactly_one_statement_is_run(catalogue: Catalogue, sql: str, found: int) -> None:
    with pytest.raises(QueryError, match=f"^Expected one SQL statement, found {found}"):
        catalogue.query(sql)


@pytest.mark.parametrize("harmless", ["drop view pairs", "create or replace view pairs as select 1 as a", "create table mine as select 1"])
def test_what_a_query_does_to_its_own_session_harms_no_later_query(catalogue: Catalogue, harmless: str) -> None:
    catalogue.query(harmless)
    assert catalogue.query("pairs").num_rows == 2
    with pytest.raises(QueryError, match="mine does not exist"):
        catalogue.query("from mine")


def test_a_query_over_the_time_limit_is_stopped(root: str) -> None:
    slow = open_version(root, timeout_seconds=0.2)
    with pytest.raises(QueryError, match=r"Stopped after 0\.2 seconds"):
        slow.query("select count(*) from range(10000000) a, range(10000000) b where a.range + b.range = 7")


def test_versions_that_do_not_exist_are_not_found(root: str, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="nothing is published there yet"):
        open_version(str(tmp_path))
    with pytest.raises(NotFoundError, match="no version 'v000009'; there are v000001"):
        open_version(root, "v000009")
    with pytest.raises(NotFoundError, match="no version"):
        open_version(root, "../../etc")


def test_a_current_file_that_names_no_version_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "CURRENT").write_text("../elsewhere\n")
    with pytest.raises(PrefineError, match=r"expected a version such as v000001, found '\.\./elsewhere'"):
        current_version(str(tmp_path))


def test_a_damaged_manifest_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "v000001").mkdir()
    (tmp_path / "v000001" / "manifest.json").write_text("{")
    with pytest.raises(PrefineError, match="not valid JSON"):
        open_version(str(tmp_path), "v000001")
    (tmp_path / "v000001" / "manifest.json").write_text("[]")
    with pytest.raises(PrefineError, match="expected an object with `files`"):
        open_version(str(tmp_path), "v000001")


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../v000002/data/x.parquet", "data/../../x", "s3://b/x", "file:///etc/passwd", "data//x", "a\\..\\b", "", "."]
)
def test_paths_that_leave_the_version_folder_are_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(PrefineError, match="leaves the version folder; refusing to read it"):
        manifest_paths(str(tmp_path), {"files": [{"path": path}]})


def test_links_that_leave_the_version_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "data").symlink_to("/etc")
    with pytest.raises(PrefineError, match="leaves the version folder"):
        manifest_paths(str(tmp_path / "v"), {"files": [{"path": "data/passwd"}]})


def test_the_checks_pass_on_a_version_without_a_manifest(tmp_path: Path) -> None:
    write(str(tmp_path), sample())
    assert run_checks(str(tmp_path / "v000001"), INPUTS, COUNTS) == []


def test_the_checks_pass_where_pairs_are_derived_from_ratings(tmp_path: Path) -> None:
    write(str(tmp_path), sample_with_ratings())
    assert run_checks(str(tmp_path / "v000001"), [{**INPUTS[0], "records": 9, "ratings": 5}], COUNTS) == []


def changed(part: str, index: int, *, of: Any = sample, **given: Any) -> dict[str, list[dict[str, Any]]]:
    rows = of()
    rows[part][index] = {**rows[part][index], **given}
    return rows


def without(part: str, index: int) -> dict[str, list[dict[str, Any]]]:
    rows = sample()
    del rows[part][index]
    return rows


def with_more(part: str, extra: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    rows = sample()
    rows[part] = [*rows[part], extra]
    return rows


BROKEN: list[tuple[str, dict[str, list[dict[str, Any]]]]] = [
    ("rows_conserved", without("ledger", 4)),
    ("rows_conserved", changed("ledger", 5, source_uri="raw/unheard_of.jsonl")),
    ("records_conserved", with_more("ledger", fated("j9", 5, "dropped", "tie", pair_id="p3"))),
    ("one_fate_per_record", changed("ledger", 0, record_id="j9")),
    ("one_fate_per_record", changed("ledger", 1, fate="published", reason="train")),
    ("one_fate_per_record", changed("ledger", 5, fate="dropped")),
    ("one_fate_per_record", changed("ledger", 4, fate="vanished")),
    ("records_match_votes", changed("ledger", 3, pair_id="p1")),
    ("records_match_votes", changed("validation", 0, records=["j1"])),
    ("records_match_votes", changed("ledger", 3, fate="dropped", reason="tie", pair_id="p3")),
    ("records_match_votes", changed("dropped", 1, of=sample_with_ratings, records=["r1", "r2", "r3"])),
    ("records_match_votes", changed("judgements", 0, of=sample_with_ratings, derived_from=["r1"])),
    ("records_match_votes", changed("ledger", 1, of=sample_with_ratings, fate="dropped", pair_id="p4")),
    ("records_conserved", changed("ratings", 0, of=sample_with_ratings)),
    ("one_fate_per_record", changed("ratings", 0, of=sample_with_ratings, rating_id="r9")),
    ("one_fate_per_record", changed("judgements", 0, of=sample_with_ratings, derived_from=[])),
    ("votes_add_up", changed("judgements", 1, of=sample_with_ratings, is_copy=False)),
    ("drops_are_explained", changed("ledger", 3, of=sample_with_ratings, detail=None)),
    ("drops_are_explained", changed("ledger", 4, of=sample_with_ratings, record_id="r3")),
    ("chosen_differs_from_rejected", changed("train", 0, rejected_id="ra")),
    ("chosen_differs_from_rejected", changed("train", 0, rejected=said("assistant", "Hello!"))),
    ("no_prompt_cluster_in_two_splits", changed("validation", 0, prompt_cluster_id="cluster-p1")),
    ("pair_ids_unique", changed("dropped", 0, pair_id="p2")),
    ("votes_add_up", changed("train", 0, votes_tie=1)),
    ("votes_add_up", changed("validation", 0, n_votes=2, votes_chosen=2)),
    ("drops_are_explained", changed("ledger", 4, reason="")),
    ("drops_are_explained", changed("ledger", 4, pair_id="p2")),
    ("drops_are_explained", changed("ledger", 1, witness_pair_id=None)),
    ("drops_are_explained", changed("ledger", 1, score=0.5)),
    ("drops_are_explained", changed("ledger", 1, threshold=None)),
    ("drops_are_explained", changed("dropped", 0, reason="")),
    ("probabilities_in_range", changed("train", 0, p_chosen=0.4)),
    ("probabilities_in_range", changed("train", 0, p_tie=float("nan"))),
    ("probabilities_in_range", changed("train", 0, weight=float("inf"))),
    ("probabilities_in_range", changed("dropped", 0, margin=1.5)),
]


@pytest.mark.parametrize(("check", "rows"), BROKEN, ids=[f"{i}-{name}" for i, (name, _) in enumerate(BROKEN)])
def test_each_check_finds_what_it_is_for(tmp_path: Path, check: str, rows: dict[str, list[dict[str, Any]]]) -> None:
    write(str(tmp_path), rows)
    found = {v.check: v for v in run_checks(str(tmp_path / "v000001"), INPUTS, COUNTS)}
    assert check in found
    assert found[check].total == len(found[check].rows) >= 1
    assert str(found[check]).startswith(f"{check}: {found[check].total} row(s) break it; first: {{")


def test_every_check_is_seen_to_fail_above() -> None:
    assert {name for name, _ in BROKEN} == set(sql_files("checks"))


def test_rows_are_compared_with_the_independent_count_where_the_file_is_readable(tmp_path: Path) -> None:
    write(str(tmp_path), sample())
    folder = str(tmp_path / "v000001")
    assert [v.check for v in run_checks(folder, [{**INPUTS[0], "rows_counted": 7}], COUNTS)] == ["rows_conserved"]
    assert run_checks(folder, [{**INPUTS[0], "rows_counted": 7, "unreadable": "gzip ends early"}], COUNTS) == []


def test_explain_tells_a_records_story_by_its_id(root: str) -> None:
    story = explain(root, "j3")
    assert [(r["source_row"], r["fate"]) for r in story.ledger] == [(3, "published")]
    assert [r["judgement_id"] for r in story.judgements] == ["j3"]
    assert [(r["pair_id"], r["fate"]) for r in story.pairs] == [("p2", "published")]
    assert story.quarantined == []


def test_explain_shows_the_copies_of_a_record(root: str) -> None:
    story = explain(root, "j1")
    assert [(r["source_row"], r["fate"]) for r in story.ledger] == [(0, "published"), (1, "merged")]
    assert [r["is_copy"] for r in story.judgements] == [False, True]


def test_explain_tells_a_pairs_story_with_all_its_records(root: str) -> None:
    story = explain(root, "p1")
    assert [r["source_row"] for r in story.ledger] == [0, 1, 2]
    assert [r["pair_id"] for r in story.pairs] == ["p1"]


@pytest.fixture(scope="module")
def rated_root(tmp_path_factory: pytest.TempPathFactory) -> str:
    place = str(tmp_path_factory.mktemp("rated") / "datasets" / "demo")
    parts: dict[str, Any] = {"inputs": INPUTS, "counts": COUNTS, "config": {"sources": []}, "rules": ["tie"]}
    parts |= {"packages": {}, "models": {}, "seeds": {}, "timings": {}}
    finish(place, "v000001", write(place, sample_with_ratings()), parts)
    return place


def test_explain_tells_a_ratings_story_with_every_pair_it_fed(rated_root: str) -> None:
    story = explain(rated_root, "r1")
    assert [(r["record_id"], r["fate"]) for r in story.ledger] == [("r1", "published")]
    assert [(r["response"][0]["content"], r["score"]) for r in story.ratings] == [("Hello!", 5.0)]
    assert [r["judgement_id"] for r in story.judgements] == ["d1", "d1", "d2"]
    assert [(r["pair_id"], r["fate"]) for r in story.pairs] == [("p1", "published"), ("p4", "dropped")]


def test_explain_tells_a_pairs_story_with_the_ratings_whose_best_fate_is_in_another(rated_root: str) -> None:
    story = explain(rated_root, "p4")
    assert [r["record_id"] for r in story.ledger] == ["r1", "r3"]
    assert [r["rating_id"] for r in story.ratings] == ["r1", "r3"]


def test_a_rendered_rating_names_its_score_scale_flags_and_what_was_derived_from_it(rated_root: str) -> None:
    text = render_story(explain(rated_root, "r1"))
    assert "score    5 on a scale of 1 to 5" in text
    assert "derived  from ratings r1, r2" in text
    assert "response assistant: Hello!" in text
    unused = render_story(explain(rated_root, "r4"))
    assert "fate     dropped at pair_up: not_selected" in unused
    assert "detail   overall_score_doubtful" in unused
    assert "flags    overall_score_doubtful" in unused
    assert "(a copy)" in unused


def test_the_catalogue_shows_ratings(rated_root: str) -> None:
    assert open_version(rated_root).query("select count(*) as n from ratings where is_copy")["n"].to_pylist() == [1]


@pytest.mark.parametrize("place", [f"{FILE}:4", "arena.jsonl:4"])
def test_explain_tells_a_rows_story_by_file_and_row(root: str, place: str) -> None:
    story = explain(root, place)
    assert [r["record_id"] for r in story.ledger] == ["j4"]
    assert [(r["reason"], r["fate"]) for r in story.pairs] == [("tie", "dropped")]


def test_explain_tells_why_a_row_is_in_quarantine(root: str) -> None:
    story = explain(root, "arena.jsonl:5")
    assert [r["reason"] for r in story.quarantined] == ["unparsable_row"]
    assert story.judgements == story.pairs == []


@pytest.mark.parametrize("asked", ["nobody", "arena.jsonl:6", "rena.jsonl:4", "x' or 1=1 --", "arena.jsonl:²", ""])
def test_what_is_not_there_is_not_found(root: str, asked: str) -> None:
    with pytest.raises(NotFoundError, match="nothing is known as"):
        explain(root, asked)


def test_a_rendered_story_names_verdict_fate_reason_and_signals(root: str) -> None:
    text = render_story(explain(root, "j4"))
    for fact in (
        "j4 in version v000001",
        "from     arena: raw/arena.jsonl row 4",
        "fate     dropped at rules: tie",
        "verdict  tie",
        "by       human ann-j4, criterion overall",
        "dropped  at rules: tie - p_tie 0.5",
        "votes    0 chosen, 0 rejected, 1 tie",
        "prompt   user: Hi?",
        "chosen_chars 6",
    ):
        assert fact in text
    copy = render_story(explain(root, "arena.jsonl:1"))
    assert "fate     merged at pair_up: copy (score 1, threshold 1)" in copy
    assert "witness  p1" in copy
    quarantined = render_story(explain(root, "q1"))
    assert "reason   unparsable_row" in quarantined
    assert "raw      {oops" in quarantined


def test_a_rendered_story_shows_no_control_characters_of_the_data(root: str) -> None:
    text = render_story(explain(root, "arena.jsonl:0"))
    assert "\x1b" not in text
    assert 'extra     {"lang": "en?[31m"}' in text
    assert "changed  prompt.line_ends by normalisation" in text


def test_a_manifest_edited_to_leave_the_workspace_is_refused(tmp_path: Path) -> None:
    place = str(tmp_path / "demo")
    publish(place)
    manifest = storage.read_json(f"{place}/v000001/manifest.json")
    manifest["files"][0]["path"] = "../../../etc/passwd"
    Path(f"{place}/v000001/manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(PrefineError, match="leaves the version folder"):
        open_version(place)
