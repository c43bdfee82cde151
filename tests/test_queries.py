"""A small version, written by publish, and everything one may ask of it."""

import json
import math
import tempfile
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from scipy.stats import binomtest, norm, spearmanr

from pipeline import storage
from pipeline.errors import NotFoundError, PrefineError, QueryError
from pipeline.publish import write_catalog
from pipeline.queries import (
    PARTS,
    PUBLISHED_PARTS,
    STAGES,
    TABLES,
    Catalogue,
    current_version,
    inputs_table,
    manifest_paths,
    open_version,
    run_checks,
    run_views,
    sql_files,
)
from pipeline.schemas import ANNOTATOR, RATIONALE
from pipeline.stories import explain
from tests.versions import (
    COUNTS,
    FILE,
    INPUTS,
    estimated,
    fated,
    judged,
    paired,
    publish,
    row,
    said,
    sample,
    sample_with_merges,
    sample_with_ratings,
    write,
)


@pytest.fixture(scope="module")
def catalogue(root: str) -> Catalogue:
    return open_version(root)


def test_every_table_can_be_read(catalogue: Catalogue) -> None:
    counts = {name: catalogue.query(f"select count(*) as n from {name}")["n"][0].as_py() for name in TABLES}
    assert counts == {
        "pairs": 2, "train": 1, "validation": 1, "test": 0, "other": 0, "dropped": 1, "judgements": 5, "ratings": 0,
        "quarantine": 1, "ledger": 6, "annotators": 0, "rationales": 0, "statistics": 2, "inputs": 1, "stages": 3, "previous_pairs": 0,
    }  # fmt: skip


def test_a_dataset_on_an_object_store_answers_too() -> None:
    root = "memory://queries/datasets/demo"
    publish(root, sample())
    assert open_version(root).query("select pair_id from pairs order by all")["pair_id"].to_pylist() == ["p1", "p2"]
    assert explain(root, "p2").pairs[0]["fate"] == "published"


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """The 95 % interval, from scipy; the views' own macro must agree."""
    found = binomtest(hits, trials).proportion_ci(method="wilson")
    return pytest.approx(found.low, abs=1e-9), pytest.approx(found.high, abs=1e-9)


def normal(*values: float) -> tuple[float, float]:
    """The 95 % interval of a mean, from scipy."""
    low, high = norm.interval(0.95, loc=mean(values), scale=stdev(values) / len(values) ** 0.5)
    return pytest.approx(low), pytest.approx(high)


VIEW_FACTS: dict[str, list[tuple[Any, ...]]] = {
    "split_shares": [("arena", "train", 1, 2, pytest.approx(2 / 3), 0), ("arena", "validation", 1, 1, pytest.approx(1 / 3), 0)],
    "split_moves": [],
    "version_diff": [("added", None, "train", 1), ("added", None, "validation", 1)],  # there is no version before
    "funnel": [("ingest", 6, 5, 1, "unparsable_row"), ("pair_up", 5, 3, 2, "copy"), ("split", 2, 2, 0, None)],
    "fates_by_source": [("arena", 6, 3, 1, 1, 1, 0.5)],
    "quarantine_reasons": [("arena", "unparsable_row", None, 1, FILE, 5, None)],
    "drop_reasons": [("rules", "tie", 1, 1, None, None, None)],
    "length_bias": [("arena", 2, 0, 1.0, wilson(2, 2)[0], 1.0, 3.0)],
    "conflicts": [("p1", "published", ["arena"], 1, 1, 0, 0.5, 0.5)],
    "annotator_agreement": [
        ("ann-j1", "human", 1, 0.0, 1, 0.0, *wilson(0, 1), *[None] * 5),
        ("ann-j2", "human", 1, 0.0, 1, 0.0, *wilson(0, 1), *[None] * 5),
        ("ann-j3", "human", 1, 0.0, 0, *[None] * 8),
        ("ann-j4", "human", 1, 1.0, 0, *[None] * 8),
    ],
    "annotators_by_source": [("arena", "human", 4, 4, 1.0, None, None, None, 0, 0)],
    "judge_audit": [],
    "noise_by_source": [("arena", 0.1, 0.05, 0.2, 100, "rests on repeated judgements")],
    "noise_estimates": [("arena", "label_noise_repeated", 0.1, 0.05, 0.2, 100, None)],
    "length_cost": [("arena", 2, None, None, None, 0.625, *normal(0.5, 0.75), 2, None)],
    "balance_cost": [],
    "selection_mixture": [],
    "selection_diversity": [],
    "duplicates": [("arena", "arena", 1)],
    "near_duplicates": [],
    "riskiest_pairs": [],
    "ches_extremes": [],
    "ches_distribution": [],
    "ches_length": [],
    "ches_backends": [],
    "difficulty_by_length": [],
    "ches_missing": [],
}


@pytest.mark.parametrize("view", VIEW_FACTS)
def test_a_view_asked_by_its_bare_name_answers_its_question(catalogue: Catalogue, view: str) -> None:
    assert [tuple(r.values()) for r in catalogue.query(view).to_pylist()] == VIEW_FACTS[view]


def said_of(statistic: str, **given: Any) -> dict[str, Any]:
    return {**estimated(statistic), **given}


def sample_with_opinions() -> dict[str, list[dict[str, Any]]]:
    """The sample with what the vote model and the statistics may say, and two unnamed votes of another source on p1."""
    rows = sample()
    place = {"annotator_id": "unnamed", "source": "crowd", "source_uri": "raw/crowd.csv"}
    rows["judgements"] += [{**judged(name, "p1", at, "a"), **place} for at, name in enumerate(("j8", "j9"))]
    for part, controlled in (("train", 0.5), ("validation", 0.55)):
        rows[part][0]["p_chosen_length_controlled"] = controlled
    voters = [("ann-j1", "human", 0.7, 0.4, 0.9), ("ann-j2", "human", 0.2, 0.1, 0.4), ("unnamed crowd", "human", 0.8, 0.6, 0.9)]
    rows["annotators"] = [
        row(ANNOTATOR, annotator_id=name, annotator_kind=kind, accuracy=value, accuracy_low=low, accuracy_high=high, admitted=True)
        for name, kind, value, low, high in voters
    ]
    gold = {"gold_votes": 30, "gold_agreement": 0.4, "gold_agreement_low": 0.3, "gold_agreement_high": 0.5}
    rows["annotators"].append(row(ANNOTATOR, annotator_id="gpt", annotator_kind="judge", votes=40, reason="below one half", **gold))
    rule = {"subject_kind": "rule", "subject": "even"}
    rows["statistics"] = [
        said_of("alpha"),
        said_of("agreement_decided", value=0.75, low=0.7, high=0.8, n=90, note="few"),
        said_of("alpha", subject_kind="dataset", subject="all", value=None, low=None, high=None, n=0, note="alone"),
        said_of("identifiability", subject_kind="dataset", subject="all", value=None, note="one vote a pair"),
        said_of("camps", value=2.0, low=None, high=None, note="two views"),
        said_of("camps", subject="panel", value=None, note="too few"),
        said_of("camps", subject="crowd", value=None, note="too few"),
        said_of("tau_length", value=0.3, low=0.2, high=0.4),
        said_of("tau_hedges", value=0.5, low=-0.1, high=0.9),
        said_of("tau_language", value=None),
        said_of("coefficient_length", value=1.0, low=0.5, high=1.5),
        said_of("length_coefficient", value=0.5, low=0.25, high=0.75, note="alone"),
        said_of("balance_coefficient_before", value=1.0, low=0.5, high=1.5, **rule),
        said_of("balance_coefficient_matched", value=0.0, low=-0.5, high=0.5, n=75, **rule),
        said_of("balance_coefficient_weighted", value=0.125, low=-0.25, high=0.25, **rule),
        said_of("balance_lost_matched", value=0.25, low=0.2, high=0.3, **rule),
        said_of("balance_lost_weighted", value=0.5, low=None, high=None, **rule),
        said_of("mixture_before", value=0.75, n=300, note="n"),
        said_of("mixture_after", value=0.5, n=51),
        said_of("mixture_requested", value=0.25, n=102),
        said_of("mixture_before", value=0.25, n=100, subject="crowd", note="n"),
        said_of("mixture_after", value=0.5, n=51, subject="crowd"),
        *(
            said_of(f"vendi_{texts}_q{order}", value=value, n=50, subject_kind="stage", subject=stage)
            for texts, stage, value in (("prompts", "before rules", 9), ("prompts", "after selection", 8), ("chosen", "before rules", 7))
            for order in ("0.1", "0.5", "1", "2", "inf")
        ),
    ]
    return rows


OPINIONS: dict[str, list[tuple[Any, ...]]] = {
    "annotator_agreement": [
        ("ann-j2", "human", 1, 0.0, 1, 0.0, *wilson(0, 1), 0.2, 0.1, 0.4, True, None),  # three others say the opposite
        ("ann-j1", "human", 1, 0.0, 1, 1.0, *wilson(1, 1), 0.7, 0.4, 0.9, True, None),
        ("unnamed crowd", "human", 2, 0.0, 2, 1.0, *wilson(2, 2), 0.8, 0.6, 0.9, True, None),  # each has the other one, and j1
        ("ann-j3", "human", 1, 0.0, 0, *[None] * 8),
        ("ann-j4", "human", 1, 1.0, 0, *[None] * 8),
    ],
    "annotators_by_source": [
        ("arena", "human", 4, 4, 1.0, pytest.approx(0.225), pytest.approx(0.45), pytest.approx(0.675), 1, 1),
        ("crowd", "human", 1, 2, 2.0, 0.8, 0.8, 0.8, 0, 0),
    ],
    "judge_audit": [("gpt", "judge", 40, False, "below one half", None, None, None, 30, 0.4, 0.3, 0.5, *[None] * 6)],
    "agreement_by_source": [
        ("dataset", "all", 0, None, None, None, None, None, None, None, "alone"),
        ("source", "arena", 100, 0.1, 0.05, 0.2, 90, 0.75, 0.7, 0.8, "few"),
    ],
    "vote_limits": [
        ("what is not identified?", "all", None, "one vote a pair"),
        ("how many camps of annotators?", "arena", 2.0, "two views"),
        ("how many camps of annotators?", "crowd, panel", None, "too few"),
    ],
    "style_by_source": [
        ("arena", "length", 100, 0.3, 0.2, 0.4, 1.0, 0.5, 1.5),
        ("arena", "hedges", 100, 0.5, -0.1, 0.9, None, None, None),
    ],
    "length_cost": [("arena", 2, 0.5, 0.25, 0.75, pytest.approx(0.1), *normal(0.0, 0.2), 2, "alone")],
    "selection_mixture": [
        ("source", "arena", 300, 0.75, 51, 0.5, 0.25, 0.25, "n"),
        ("source", "crowd", 100, 0.25, 51, 0.5, None, None, "n"),
    ],
    "selection_diversity": [
        ("prompts", "before rules", 50, *[9.0] * 5),
        ("prompts", "after selection", 50, *[8.0] * 5),
        ("chosen", "before rules", 50, *[7.0] * 5),
    ],
    "balance_cost": [("even", 100, 1.0, 0.5, 1.5, 0.0, -0.5, 0.5, 0.125, -0.25, 0.25, 0.25, 0.2, 0.3, 0.5)],
}


@pytest.fixture(scope="module")
def opinions(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    place = str(tmp_path_factory.mktemp("opinions"))
    publish(place, sample_with_opinions())
    return open_version(place)


@pytest.mark.parametrize("view", OPINIONS)
def test_a_view_tells_what_votes_and_statistics_say(opinions: Catalogue, view: str) -> None:
    assert [tuple(r.values()) for r in opinions.query(view).to_pylist()] == OPINIONS[view]


def scored(part: str, pair_id: str, ches_ln: float | None, encoder: float | None, **given: Any) -> dict[str, Any]:
    """A pair with its scores per token; the others are ten times as high."""
    by_token = {"ches_ln": ches_ln, "ches_encoder_ln": encoder}
    whole = {name.removesuffix("_ln"): None if value is None else 10 * value for name, value in by_token.items()}
    return paired(part, pair_id, [], (1, 0, 0), **by_token, **whole, **given)


LONG = "x" * 400


def sample_with_ches() -> dict[str, list[dict[str, Any]]]:
    """Seven published pairs, of which one has no score of the causal model and another none of the encoder; two that left."""
    asked = [*said("user", "Hi?"), *said("assistant", "Yes?"), *said("user", LONG)]
    chosen = said("assistant", "One.") + said("assistant", "Two.")
    train = [
        scored("train", "p1", 0.5, 2.0, difficulty=5.0, chosen_lm_tokens=20, rejected_lm_tokens=10, chosen_tokens=1, edit_distance=0.5),
        scored("train", "p2", 1.5, 3.0, difficulty=-1.0, chosen_lm_tokens=10, rejected_lm_tokens=20, chosen_tokens=2, edit_distance=0.5),
        scored("train", "p3", -1.0, 1.0, difficulty=9.0, chosen_lm_tokens=9, rejected_lm_tokens=300, chosen_tokens=3, edit_distance=0.5),
        scored(
            "train", "p4", -2.0, None, difficulty=0.0, chosen_lm_tokens=9, rejected_lm_tokens=230, chosen_tokens=5, edit_distance=0.5,
            ches_encoder_missing="pooling",
        ),
        scored("train", "p5", 1.5, 4.0, chosen_tokens=2, edit_distance=0.5, prompt=asked, chosen=chosen),
        scored("train", "p6", None, 9.0, edit_distance=0.5, ches_missing="prompt_fills_window"),
    ]  # fmt: skip
    held_out = [scored("validation", "p7", 0.0, 0.0, chosen_tokens=4, edit_distance=0.5)]
    left = {"ches_missing": "left_earlier", "ches_encoder_missing": "left_earlier"}
    dropped = [scored("dropped", name, None, None, stage="rules", reason="tie", **left) for name in ("p8", "p9")]
    return {"train": train, "validation": held_out, "dropped": dropped}


def alike(*values: float) -> tuple[Any, ...]:
    return tuple(pytest.approx(value, abs=1e-9) for value in values)


HI = ("Hi?", "Hello!", "No.")
CHES: dict[str, list[tuple[Any, ...]]] = {
    "riskiest_pairs": [
        (1, "p2", "ches_ln", 1.5, *HI, ["arena"]),
        (2, "p5", "ches_ln", 1.5, "x" * 300 + " ...", "One.\nTwo.", "No.", ["arena"]),  # as high as p2: by pair_id
        (3, "p1", "ches_ln", 0.5, *HI, ["arena"]),
        (4, "p7", "ches_ln", 0.0, *HI, ["arena"]),
        (5, "p3", "ches_ln", -1.0, *HI, ["arena"]),
        (6, "p4", "ches_ln", -2.0, *HI, ["arena"]),
    ],
    "ches_extremes": [
        ("highest", 1, 6, "p2", "ches_ln", 1.5, *HI),
        ("highest", 2, 6, "p5", "ches_ln", 1.5, "x" * 300 + " ...", "One.\nTwo.", "No."),
        ("highest", 3, 6, "p1", "ches_ln", 0.5, *HI),
        ("highest", 4, 6, "p7", "ches_ln", 0.0, *HI),
        ("highest", 5, 6, "p3", "ches_ln", -1.0, *HI),
        ("lowest", 6, 6, "p4", "ches_ln", -2.0, *HI),
    ],
    "ches_distribution": [
        ("ches", 6, 1, -20.0, -20.0, -20.0, -10.0, 0.0, 15.0, 15.0, 15.0, 0.5, *wilson(3, 6)),
        ("ches_encoder", 6, 1, 0.0, 0.0, 0.0, 10.0, 20.0, 40.0, 90.0, 90.0, alike(5 / 6)[0], *wilson(5, 6)),
        ("ches_encoder_ln", 6, 1, 0.0, 0.0, 0.0, 1.0, 2.0, 4.0, 9.0, 9.0, alike(5 / 6)[0], *wilson(5, 6)),
        ("ches_ln", 6, 1, -2.0, -2.0, -2.0, -1.0, 0.0, 1.5, 1.5, 1.5, 0.5, *wilson(3, 6)),
        ("difficulty", 4, 3, -1.0, -1.0, -1.0, -1.0, 0.0, 5.0, 9.0, 9.0, 0.5, *wilson(2, 4)),
    ],
    "difficulty_by_length": [
        (None, -201, 2, 0.5, *wilson(1, 2), 4.5),
        (-10, 10, 2, 0.5, *wilson(1, 2), 2.0),
    ],
    "ches_missing": [
        ("causal_lm", "prompt_fills_window", 1, 0),
        ("causal_lm", "left_earlier", 0, 2),
        ("encoder", "pooling", 1, 0),
        ("encoder", "left_earlier", 0, 2),
    ],
}


@pytest.fixture(scope="module")
def displaced(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    place = str(tmp_path_factory.mktemp("displaced"))
    publish(place, sample_with_ches())
    return open_version(place)


@pytest.mark.parametrize("view", CHES)
def test_a_view_tells_of_displacement_and_difficulty(displaced: Catalogue, view: str) -> None:
    assert [tuple(r.values()) for r in displaced.query(view).to_pylist()] == CHES[view]


def test_rank_correlations_average_ties_and_are_null_where_nothing_varies(displaced: Catalogue) -> None:
    found = {(r["score_name"], r["measure"]): r for r in displaced.query("ches_length").to_pylist()}
    scores, tokens = [0.5, 1.5, -1.0, -2.0, 1.5, 0.0], [1, 2, 3, 5, 2, 4]

    assert len(found) == 16
    assert found["ches_ln", "chosen_tokens"]["pair_count"] == 6
    assert found["ches_ln", "chosen_tokens"]["spearman"] == pytest.approx(spearmanr(scores, tokens).statistic)
    assert found["ches", "chosen_tokens"]["spearman"] == pytest.approx(spearmanr(scores, tokens).statistic)
    assert [found["ches_ln", "edit_distance"][name] for name in ("spearman", "spearman_low", "spearman_high")] == [None] * 3


def test_both_backends_are_compared_on_the_pairs_that_have_both(displaced: Catalogue) -> None:
    (row,) = displaced.query("ches_backends").to_pylist()
    rho = spearmanr([0.5, 1.5, -1.0, 1.5, 0.0], [2.0, 3.0, 1.0, 4.0, 0.0]).statistic

    assert (row["pair_count"], row["spearman"]) == (5, pytest.approx(rho))
    assert (row["riskiest_shared_share"], row["riskiest_shared_low"]) == (0.0, 0.0)  # p2 and p5: a tie goes to the first pair_id


def test_spearman_and_its_interval_are_those_of_scipy_and_of_the_formula(tmp_path: Path) -> None:
    draw = [(i * 7919 % 31, i * 104729 % 17, i) for i in range(60)]
    rows = [scored("train", f"p{i:02}", float(a), None, chosen_tokens=b, edit_distance=a / 31, chosen_lm_tokens=i) for a, b, i in draw]
    publish(str(tmp_path), {"train": rows})
    found = {(r["score_name"], r["measure"]): r for r in open_version(str(tmp_path)).query("ches_length").to_pylist()}
    rho = float(spearmanr([a for a, _, _ in draw], [b for _, b, _ in draw]).statistic)
    half = 1.959963985 * math.sqrt((1 + rho * rho / 2) / 57)

    told = found["ches_ln", "chosen_tokens"]
    assert set(found) == {(s, m) for s in ("ches", "ches_ln") for m in ("chosen_tokens", "rejected_tokens", "tokens_gap", "edit_distance")}
    assert told["spearman"] == pytest.approx(rho, abs=1e-12)
    assert (told["spearman_low"], told["spearman_high"]) == alike(math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half))
    same = found["ches_ln", "edit_distance"]
    assert [same[name] for name in ("spearman", "spearman_low", "spearman_high")] == [pytest.approx(1.0)] * 3


def test_without_a_causal_model_the_riskiest_pairs_are_those_of_the_encoder(tmp_path: Path) -> None:
    publish(str(tmp_path), {"train": [scored("train", f"p{i}", None, float(i)) for i in range(12)]})
    catalogue = open_version(str(tmp_path))

    assert [(r["pair_id"], r["score_name"]) for r in catalogue.query("riskiest_pairs").to_pylist()][:2] == [
        ("p11", "ches_encoder_ln"),
        ("p10", "ches_encoder_ln"),
    ]
    ends = [(r["extreme"], r["rank"], r["score"]) for r in catalogue.query("ches_extremes").to_pylist()]
    assert ends[4:6] == [("highest", 5, 7.0), ("lowest", 8, 4.0)]
    assert len(ends) == 10


def test_flags_and_quantiles_cover_published_and_dropped_pairs(catalogue: Catalogue) -> None:
    flags = {r["flag"]: (r["published_count"], r["dropped_count"]) for r in catalogue.query("flags;").to_pylist()}
    assert len(flags) == 27
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
    # the files of the version, by the names under which the session reads them
    "copy pairs to '{file}'",
    "copy pairs to '{file}' (use_tmp_file false)",
    "copy (select 1) to '{file}' (format csv, use_tmp_file false)",
    "copy (select 1) to 'prefine://0/data/new.parquet' (use_tmp_file false)",
    "copy (select 1 as a, 2 as b) to 'prefine://0/data' (format csv, partition_by (a), overwrite_or_ignore true)",
    "with x as (copy pairs to '{file}' (use_tmp_file false)) select * from x",
    "explain analyze copy pairs to '{file}' (use_tmp_file false)",
    "select * from read_text('prefine://0/manifest.json')",
    "select * from read_text('prefine://0/../CURRENT')",
    "select * from read_text('prefine:///etc/passwd')",
    "select * from glob('prefine://**')",
    "attach 'prefine://0/data/x.db'",
    # the session's temporary folder, which DuckDB allows itself
    "copy (select 1) to (current_setting('temp_directory') || '/x.csv')",
    "copy (select 1) to (current_setting('temp_directory') || '/../{name}.csv') (use_tmp_file false)",
    "select * from read_text(current_setting('temp_directory') || '/../../etc/passwd')",
    "select * from glob(current_setting('temp_directory') || '/../*')",
    "attach (current_setting('temp_directory') || '/x.db')",
    # other ways out
    "select * from read_text('file:///etc/passwd')",
    "select * from read_blob('/proc/self/environ')",
    "select * from read_csv('http://127.0.0.1:9/x')",
    "select * from read_json('memory://x')",
    "from parquet_schema('/etc/passwd')",
    "from sniff_csv('/etc/passwd')",
    "from read_duckdb('{tmp}/x.db')",
    "copy (select 1) to '/dev/stdout' (format csv)",
    "import database '{tmp}'",
    "set allowed_paths = ['/etc/passwd']",
    "set allowed_directories = ['/']",
    "reset allowed_paths",
    "set temp_directory = '{tmp}'",
    "set memory_limit = '1TB'",
    "set profiling_output = '{tmp}/p'",
    "set secret_directory = '{tmp}'",
    "set home_directory = '{tmp}'",
    "call enable_logging('QueryLog', storage = 'file', storage_config = {{'path': '{tmp}/log'}})",
    "create persistent secret s (type s3, key_id 'x', secret 'y')",
    "from duckdb_secrets()",
    "load '{tmp}/x.duckdb_extension'",
    "from python_map_function(1)",
    "from arrow_scan(0, 0, 0)",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_user_sql_reaches_nothing_but_the_tables(root: str, catalogue: Catalogue, tmp_path: Path, attack: str) -> None:
    local_variable = pa.table({"a": [1]})  # a Python variable must not become a table
    assert local_variable.num_rows == 1
    table = catalogue.tables["train"]
    assert isinstance(table, ds.Dataset)
    sql = attack.format(tmp=tmp_path, root=root.replace("'", "''"), file=f"prefine://0/{table.files[0]}", name=tmp_path.name)
    with pytest.raises(QueryError):
        catalogue.query(sql)
    assert list(tmp_path.iterdir()) == []
    assert not list(Path(tempfile.gettempdir()).glob(f"{tmp_path.name}*"))
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


def test_the_checks_pass_where_near_duplicates_were_merged(tmp_path: Path) -> None:
    write(str(tmp_path), sample_with_merges())
    assert run_checks(str(tmp_path / "v000001"), [{**INPUTS[0], "rows_counted": 9, "rows": 9, "records": 9}], COUNTS) == []


def test_merged_pairs_are_shown_with_what_counts_their_votes(tmp_path: Path) -> None:
    publish(str(tmp_path), sample_with_merges())
    catalogue = open_version(str(tmp_path))

    assert [tuple(row.values()) for row in catalogue.query("near_duplicates").to_pylist()] == [
        ("p5", "p2", True, "cosine", 0.97, 0.95, 2, ["arena"]),
        ("p6", "p3", False, "cosine", 0.97, 0.95, 1, ["arena"]),
    ]
    flags = {row["flag"]: (row["published_count"], row["dropped_count"]) for row in catalogue.query("flags").to_pylist()}
    assert (flags["near_duplicates"], flags["near_duplicate_conflict"]) == ((1, 1), (0, 0))


@pytest.mark.parametrize(("outcome", "expected"), [("b", (1.0, 1.0, 1.0)), ("a", (None, None, 0.0))])
def test_a_merged_vote_is_compared_with_the_others_on_the_pair_that_counts_it(
    tmp_path: Path, outcome: str, expected: tuple[float | None, ...]
) -> None:
    rows = sample_with_merges()
    rows["judgements"][-2]["outcome"] = outcome  # its answers are exchanged
    publish(str(tmp_path), rows)

    shares = {row["annotator_id"]: row["agreeing_share"] for row in open_version(str(tmp_path)).query("annotator_agreement").to_pylist()}

    assert (shares["ann-j3"], shares["ann-j5"], shares["ann-j6"]) == expected
    assert shares["ann-j7"] is None


def test_a_repeated_voter_is_not_among_the_others(tmp_path: Path) -> None:
    rows = sample()
    rows["judgements"][2:3] = [judged(name, "p1", 2, "a", annotator_id="ann-j1") for name in ("j2", "j5")]
    publish(str(tmp_path), rows)

    told = {row["annotator_id"]: row["shared_votes"] for row in open_version(str(tmp_path)).query("annotator_agreement").to_pylist()}

    assert told["ann-j1"] == 0


def changed(part: str, index: int, *, of: Any = sample, **given: Any) -> dict[str, list[dict[str, Any]]]:
    rows = of()
    rows[part][index] = {**rows[part][index], **given}
    return rows


def without(part: str, index: int) -> dict[str, list[dict[str, Any]]]:
    rows = sample()
    del rows[part][index]
    return rows


def test_split_shares_counts_clusters_of_every_source_and_those_that_leak() -> None:
    rows = sample()
    rows["test"] = [paired("test", "p4", ["j9"], (1, 0, 0), sources=["arena", "forum"], prompt_cluster_id="cluster-p1")]
    tables = {part: pa.Table.from_pylist(rows.get(part, []), schema=PARTS[part][1]) for part in PARTS}
    tables["pairs"] = pa.concat_tables([tables[part] for part in PUBLISHED_PARTS])
    everything = {**tables, "previous_pairs": tables["validation"], "stages": STAGES.empty_table(), "inputs": inputs_table(INPUTS)}

    found = run_views(everything, ["split_shares", "version_diff"])

    assert [tuple(row.values()) for row in found["split_shares"]] == [
        ("arena", "test", 1, 1, 0.25, 1), ("arena", "train", 1, 2, 0.5, 1), ("arena", "validation", 1, 1, 0.25, 0),
        ("forum", "test", 1, 1, 1.0, 1),
    ]  # fmt: skip
    assert [tuple(row.values()) for row in found["version_diff"]] == [("added", None, "test", 1), ("added", None, "train", 1)]


def test_split_moves_and_version_diff_speak_of_the_version_before(tmp_path: Path) -> None:
    moved = {"stage": "keep splits (prompts)", "rows_in": 9, "kept": 2, "dropped": 7}
    counts = [*COUNTS, {**moved, "reasons": {"train to validation": 2, "train to test": 5}}]
    turned = paired("train", "p1", ["j1", "j2"], (1, 1, 0), chosen_id="rb", rejected_id="ra")
    now = {"train": [turned], "test": [paired("test", "p2", ["j3"], (1, 0, 0))]}
    now["other"] = [paired("other", "p9", ["j9"], (1, 0, 0), split="train")]
    for name, rows in (("v000001", {**sample(), "other": [paired("other", "p8", ["j8"], (1, 0, 0), split="test")]}), ("v000002", now)):
        files = write(str(tmp_path), rows, name)
        storage.write_json(str(tmp_path / name / "manifest.json"), {"files": files, "inputs": INPUTS, "counts": counts})
    (tmp_path / "v000003").mkdir()  # half written: nobody's version before

    opened = open_version(str(tmp_path), "v000002")

    assert [tuple(row.values()) for row in opened.query("split_moves").to_pylist()] == [("train", "test", 5), ("train", "validation", 2)]
    assert [tuple(row.values()) for row in opened.query("version_diff").to_pylist()] == [
        ("added", None, "train", 1), ("moved", "validation", "test", 1), ("relabelled", "train", "train", 1), ("removed", "test", None, 1),
    ]  # fmt: skip
    assert write_catalog(str(tmp_path), "v000002")
    with duckdb.connect(str(tmp_path / "catalog.duckdb"), read_only=True) as con:
        assert con.sql("select sum(pair_count) from version_diff").fetchall() == [(4,)]


def with_more(part: str, extra: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    rows = sample()
    rows[part] = [*rows.get(part, []), extra]
    return rows


def sample_with_annotators() -> dict[str, list[dict[str, Any]]]:
    voters = [{"annotator_id": f"ann-j{n}", "annotator_kind": "human", "votes": 1, "pairs": 1, "admitted": True} for n in (1, 2, 3, 4)]
    return sample() | {"annotators": [row(ANNOTATOR, **voter) for voter in voters]}


def test_the_checks_pass_where_annotators_are_told_of(tmp_path: Path) -> None:
    write(str(tmp_path), sample_with_annotators())
    assert run_checks(str(tmp_path / "v000001"), INPUTS, COUNTS) == []


def with_rationale(**given: Any) -> dict[str, list[dict[str, Any]]]:
    """The sample with an accepted rationale of p1."""
    said_of_p1 = {"rationale_id": "x1", "pair_id": "p1", "kind": "general", "generator": "m", "text": "It greets.", "accepted": True}
    return sample() | {"rationales": [row(RATIONALE, **{**said_of_p1, **given})]}


def test_the_checks_pass_where_there_are_rationales(tmp_path: Path) -> None:
    rows = with_rationale()
    rows["train"][0]["rationale"] = {"text": "It greets.", "kind": "general", "generator": "m"}
    write(str(tmp_path), rows)
    assert run_checks(str(tmp_path / "v000001"), INPUTS, COUNTS) == []


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
    ("no_prompt_cluster_in_two_splits", changed("validation", 0, prompt_cluster_id="cluster-p3")),  # that of a dropped pair
    ("no_prompt_cluster_in_two_splits", with_more("test", paired("test", "p4", ["j9"], (1, 0, 0), prompt_cluster_id="cluster-p1"))),
    ("pair_ids_unique", changed("dropped", 0, pair_id="p2")),
    ("votes_add_up", changed("train", 0, votes_tie=1)),
    ("votes_add_up", changed("validation", 0, n_votes=2, votes_chosen=2)),
    ("drops_are_explained", changed("ledger", 4, reason="")),
    ("drops_are_explained", changed("ledger", 4, pair_id="p2")),
    ("drops_are_explained", changed("ledger", 1, witness_pair_id=None)),
    ("drops_are_explained", changed("ledger", 1, score=0.5)),
    ("drops_are_explained", changed("ledger", 1, threshold=None)),
    ("drops_are_explained", changed("dropped", 0, reason="")),
    ("one_fate_per_record", changed("ledger", 6, of=sample_with_merges, record_id="j6")),
    ("pair_ids_unique", changed("dropped", 1, of=sample_with_merges, pair_id="p2")),
    ("votes_add_up", changed("validation", 0, of=sample_with_merges, n_votes=1, votes_chosen=1)),
    ("votes_add_up", changed("dropped", 1, of=sample_with_merges, n_votes=0, votes_chosen=0)),
    ("votes_add_up", changed("judgements", 5, of=sample_with_merges, merged_into=None)),
    ("records_match_votes", changed("validation", 0, of=sample_with_merges, records=["j3"])),
    ("records_match_votes", changed("dropped", 1, of=sample_with_merges, records=["j5"])),
    ("records_match_votes", changed("ledger", 6, of=sample_with_merges, witness_pair_id="p1")),
    ("records_match_votes", changed("ledger", 8, of=sample_with_merges, fate="merged", reason="near_duplicate")),
    ("records_match_votes", changed("ledger", 6, of=sample_with_merges, fate="dropped")),
    ("drops_are_explained", changed("ledger", 6, of=sample_with_merges, witness_pair_id=None)),
    ("drops_are_explained", changed("ledger", 6, of=sample_with_merges, score=0.9)),
    ("drops_are_explained", changed("ledger", 8, of=sample_with_merges, witness_pair_id=None)),
    ("near_duplicates_have_witnesses", changed("dropped", 1, of=sample_with_merges, witness_pair_id=None)),
    ("probabilities_in_range", changed("train", 0, p_chosen=0.4)),
    ("probabilities_in_range", changed("train", 0, p_tie=float("nan"))),
    ("probabilities_in_range", changed("train", 0, weight=float("inf"))),
    ("probabilities_in_range", changed("dropped", 0, margin=1.5)),
    ("probabilities_in_range", changed("train", 0, p_soft=1.5)),
    ("probabilities_in_range", changed("train", 0, noise_score=-0.5)),
    ("admitted_votes_are_votes", changed("train", 0, votes_admitted=3)),
    ("admitted_votes_are_votes", changed("dropped", 0, unaudited_votes=1)),
    ("admitted_votes_are_votes", changed("train", 0, votes_admitted=-1, unaudited_votes=-1)),
    ("plain_parts_are_plain", changed("validation", 0, split="train")),
    ("plain_parts_are_plain", changed("train", 0, prompt=said("assistant", "Hi?"))),
    ("plain_parts_are_plain", changed("train", 0, prompt=[])),
    ("plain_parts_are_plain", changed("train", 0, chosen=[*said("assistant", "Hello!"), *said("user", "And?")])),
    ("plain_parts_are_plain", changed("train", 0, rejected=said("user", "No."))),
    ("plain_parts_are_plain", changed("train", 0, tools="[]")),
    ("statistics_in_range", changed("statistics", 0, value=float("nan"))),
    ("statistics_in_range", changed("statistics", 0, low=None)),
    ("statistics_in_range", changed("statistics", 0, low=0.3)),
    ("statistics_in_range", changed("statistics", 0, high=1.5)),
    ("statistics_in_range", changed("statistics", 0, n=-1)),
    ("statistics_in_range", with_more("statistics", estimated("label_noise_repeated"))),
    ("rationales_explain_pairs", with_rationale(pair_id="p9")),
    ("rationales_explain_pairs", with_rationale(text=None)),
    ("rationales_explain_pairs", with_rationale(accepted=False)),
    ("rationales_explain_pairs", with_rationale() | {"rationales": with_rationale()["rationales"] * 2}),
    ("rationales_explain_pairs", changed("train", 0, rationale={"text": "Other.", "kind": "general", "generator": "m"})),
    ("voters_are_annotators", changed("annotators", 0, of=sample_with_annotators, annotator_id="ann-j9")),
    ("voters_are_annotators", changed("annotators", 0, of=sample_with_annotators, annotator_kind="judge")),
    ("voters_are_annotators", changed("annotators", 1, of=sample_with_annotators, votes=2)),
    ("voters_are_annotators", changed("annotators", 2, of=sample_with_annotators, admitted=False)),
    (
        "voters_are_annotators",
        changed("annotators", 3, of=sample_with_annotators, accuracy=0.9, accuracy_low=0.4, accuracy_high=0.8),
    ),
]


@pytest.mark.parametrize(("check", "rows"), BROKEN, ids=[f"{i}-{name}" for i, (name, _) in enumerate(BROKEN)])
def test_each_check_finds_what_it_is_for(tmp_path: Path, check: str, rows: dict[str, list[dict[str, Any]]]) -> None:
    write(str(tmp_path), rows)
    found = {v.check: v for v in run_checks(str(tmp_path / "v000001"), INPUTS, COUNTS)}
    assert check in found
    assert found[check].total == len(found[check].rows) >= 1
    assert str(found[check]).startswith(f"{check}: {found[check].total} row(s) break it; first: {{")


def merged_wrongly(part: str, index: int, **given: Any) -> dict[str, list[dict[str, Any]]]:
    return changed(part, index, of=sample_with_merges, **given)


WRONG_MERGES: list[tuple[str, dict[str, list[dict[str, Any]]]]] = [
    ("its witness is no pair", merged_wrongly("dropped", 1, witness_pair_id=None)),
    ("its witness is no pair", merged_wrongly("dropped", 1, witness_pair_id="p9")),
    ("its witness was merged too", merged_wrongly("dropped", 1, witness_pair_id="p6")),
    ("merged below the threshold", merged_wrongly("dropped", 1, score=0.9)),
    ("merged below the threshold", merged_wrongly("dropped", 1, threshold=None)),
    ("its witness is about something else", merged_wrongly("dropped", 1, criterion="help")),
    ("its witness is about something else", merged_wrongly("dropped", 1, context="c")),
    ("its witness is about something else", merged_wrongly("dropped", 1, tools="[]")),
    ("its witness has the opposite majority", merged_wrongly("judgements", 3, outcome="b")),
    ("its votes name no answer there", merged_wrongly("judgements", 5, merged_a="rc")),
    ("its votes count elsewhere", merged_wrongly("judgements", 5, merged_into="p1")),
    ("its votes count elsewhere", merged_wrongly("judgements", 5, merged_into=None)),
    ("its votes count elsewhere", merged_wrongly("judgements", 3, merged_into="p1")),
    ("counts another number of merged pairs", merged_wrongly("validation", 0, near_duplicates=0)),
    ("counts another number of merged pairs", merged_wrongly("train", 0, near_duplicates=1)),
]


@pytest.mark.parametrize(("problem", "rows"), WRONG_MERGES, ids=[f"{i}-{name}" for i, (name, _) in enumerate(WRONG_MERGES)])
def test_a_wrong_merge_is_named(tmp_path: Path, problem: str, rows: dict[str, list[dict[str, Any]]]) -> None:
    write(str(tmp_path), rows)
    found = {v.check: v for v in run_checks(str(tmp_path / "v000001"), INPUTS, COUNTS)}
    assert problem in {row["problem"] for row in found["near_duplicates_have_witnesses"].rows}


def test_every_check_is_seen_to_fail_above() -> None:
    assert {name for name, _ in BROKEN} | {"stages_add_up"} == set(sql_files("checks"))


@pytest.mark.parametrize("wrong", [{"kept": 4}, {"reasons": {"unparsable_row": 2}}, {"rows_in": -1, "kept": -2}])
def test_a_stage_that_loses_rows_without_a_word_is_found(tmp_path: Path, wrong: dict[str, Any]) -> None:
    write(str(tmp_path), sample())
    assert [v.check for v in run_checks(str(tmp_path / "v000001"), INPUTS, [{**COUNTS[0], **wrong}, *COUNTS[1:]])] == ["stages_add_up"]


def test_rows_are_compared_with_the_independent_count_where_the_file_is_readable(tmp_path: Path) -> None:
    write(str(tmp_path), sample())
    folder = str(tmp_path / "v000001")
    assert [v.check for v in run_checks(folder, [{**INPUTS[0], "rows_counted": 7}], COUNTS)] == ["rows_conserved"]
    assert run_checks(folder, [{**INPUTS[0], "rows_counted": 7, "unreadable": "gzip ends early"}], COUNTS) == []


def test_the_catalogue_shows_ratings(rated_root: str) -> None:
    assert open_version(rated_root).query("select count(*) as n from ratings where is_copy")["n"].to_pylist() == [1]


def test_a_manifest_edited_to_leave_the_workspace_is_refused(tmp_path: Path) -> None:
    place = str(tmp_path / "demo")
    publish(place, sample())
    manifest = storage.read_json(f"{place}/v000001/manifest.json")
    manifest["files"][0]["path"] = "../../../etc/passwd"
    Path(f"{place}/v000001/manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(PrefineError, match="leaves the version folder"):
        open_version(place)
