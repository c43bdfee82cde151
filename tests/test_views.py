"""Named questions: golden answers of those about models and dropped pairs, and a test that every one has a golden answer somewhere."""

import ast
from pathlib import Path
from typing import Any

import pytest

from pipeline.queries import PARTS, Catalogue, sql_files, version_tables
from tests.versions import COUNTS, INPUTS, estimated, sample, write


def told() -> dict[str, list[dict[str, Any]]]:
    """The sample with two models' win rates, three languages and a contaminated pair of each fate."""
    rows = sample()
    rows["train"][0] |= {"prompt_language": "en", "chosen_language": "en", "rejected_language": "de"}
    rows["train"][0] |= {"contaminated_by": "mtbench:3", "contamination": 0.8}
    rows["validation"][0] |= {"prompt_language": "en", "chosen_language": "fr", "rejected_language": None}
    rows["dropped"][0] |= {"contaminated_by": "mtbench:5", "contamination": 1.0, "score": 0.5, "threshold": 0.4}
    rates = {"win_rate": (0.6, 0.4), "win_rate_borda": (0.55, 0.45), "win_rate_bradley_terry": (0.5, 0.52)}
    rows["statistics"] += [
        {
            **estimated(name),
            "subject_kind": "model",
            "subject": model,
            "value": value,
            "note": "n" if name == "win_rate_bradley_terry" else None,
        }
        for name, values in rates.items()
        for model, value in zip("ab", values, strict=True)
    ]
    return rows


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    root = str(tmp_path_factory.mktemp("views"))
    files = write(root, told())
    return Catalogue("v000001", version_tables(f"{root}/v000001", [f["path"] for f in files], INPUTS, COUNTS, files))


FACTS: dict[str, list[tuple[Any, ...]]] = {
    "model_win_rates": [  # the strongest by Bradley-Terry first
        ("b", 100, 0.4, 0.05, 0.2, 0.45, 0.05, 0.2, 0.52, 0.05, 0.2, "n"),
        ("a", 100, 0.6, 0.05, 0.2, 0.55, 0.05, 0.2, 0.5, 0.05, 0.2, "n"),
    ],
    "why_dropped": [("p3", "rules", "tie", 0.5, 0.4, "p_tie 0.5", None, "0 : 0 : 1", "Hi?", "Hello!", "No.", ["arena"])],
    "contamination_hits": [("p3", False, "mtbench:5", 1.0, "Hi?", ["arena"]), ("p1", True, "mtbench:3", 0.8, "Hi?", ["arena"])],
    "languages": [("en", 2, 0, 1, 1), (None, 0, 1, 0, 0)],
}


@pytest.mark.parametrize("view", FACTS)
def test_a_view_answers_its_question(catalogue: Catalogue, view: str) -> None:
    assert [tuple(answer.values()) for answer in catalogue.query(view).to_pylist()] == FACTS[view]


def test_every_view_has_a_golden_answer() -> None:
    """Each is named, as a string, by a test file that asks a catalogue."""
    named: set[str] = set()
    for file in Path(__file__).parent.rglob("test_*.py"):
        text = file.read_text(encoding="utf-8")
        if any(call in text for call in (".query(", "run_views(", 'prefine("query"')):
            named |= {node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    words = {word.removesuffix(";") for text in named for word in (text, *(text.split("from ", 1)[1:]))}
    assert set(sql_files("views")) - words == set()


def test_a_version_written_before_a_column_existed_shows_null(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    files = write(str(tmp_path), told())
    for file in files:
        place = tmp_path / "v000001" / file["path"]
        table = pq.read_table(place)
        old = [name for name in ("noise_score", "weight") if name in table.column_names]
        pq.write_table(table.drop_columns(old), place)
    paths = [file["path"] for file in files]
    catalogue = Catalogue("v000001", version_tables(str(tmp_path / "v000001"), paths, INPUTS, COUNTS))

    answer = catalogue.query("select pair_id, noise_score, weight from pairs order by 1")

    assert answer.to_pylist() == [{"pair_id": name, "noise_score": None, "weight": None} for name in ("p1", "p2")]
    assert catalogue.query("from train").column_names == PARTS["train"][1].names
