"""Languages, personal data and masks in a whole run. The model is a stand-in: what vectors mean plays no part here."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from flows import steps
from flows.curate import Outcome, run_flow
from pipeline.config import load_config
from pipeline.errors import ConfigError
from pipeline.rules import check
from tests.fakes import WordEncoder

MAIL, PHONE = "jane.doe@planted.example", "+49 30 901820"
KEY = "ghp" + "_" + "a1B2" * 9
ENGLISH, SPANISH = "It is the largest city of the country by far.", "Es la ciudad más grande de todo el país, con diferencia."
ROWS: list[dict[str, Any]] = [
    {"prompt": f"Write to {MAIL}, please.", "chosen": f"Dear {MAIL}, hello.", "rejected": "I would rather not do that."},
    {"prompt": "How do I push?", "chosen": f"With {KEY} as the password.", "rejected": f"Call {PHONE}.", "note": f"seen by {MAIL}"},
    {"prompt": "¿Qué ciudad es la más grande del país?", "chosen": SPANISH, "rejected": ENGLISH},
    {"prompt": "Which city is the largest of the country?", "chosen": ENGLISH, "rejected": "Paris."},
    {"prompt": f"Broken, says {MAIL}", "chosen": 7, "rejected": [MAIL, {"x": PHONE}]},
]


@pytest.fixture(autouse=True)
def letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "encoder", lambda config: ENCODER)


ENCODER = WordEncoder()


def curate(folder: Path, partitions: int = 2, **config: Any) -> Outcome:
    folder.mkdir(exist_ok=True)
    (folder / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in ROWS) + "\n" + f'{{"cut": "{MAIL}', encoding="utf-8")
    sources = [{"name": "made", "uri": "rows.jsonl", "max_quarantine_share": 1.0}]
    settings = {"dataset": "d", "sources": sources, "partitions": partitions, "publish": {"validation_share": 0.0}, **config}
    (folder / "prefine.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return run_flow(str(folder / "prefine.yaml"), threads=2)


def rows_of(outcome: Outcome, part: str) -> list[dict[str, Any]]:
    files = sorted(Path(outcome.dataset_root, outcome.version).glob(part))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def texts_in(folder: Path) -> str:
    """Every byte of every file, Parquet unpacked."""
    read = [json.dumps(pq.read_table(f).to_pylist(), ensure_ascii=False, default=str) for f in sorted(folder.rglob("*.parquet"))]
    plain = [f.read_bytes().decode("utf-8", "replace") for f in sorted(folder.rglob("*")) if f.is_file()]
    return "\n".join(read + plain)


def test_signals_of_content_are_published_and_rules_may_use_them(tmp_path: Path) -> None:
    rules = {"add": [
        {"name": "not_spanish", "drop_if": "prompt_language = 'es' and rejected_language <> 'es'"},
        {"name": "secrets", "drop_if": "chosen_secrets > 0"},
    ]}  # fmt: skip

    outcome = curate(tmp_path, rules=rules)

    assert [text for text in (MAIL, PHONE, KEY) if text not in texts_in(tmp_path / "workspace")] == []
    found = {row["prompt"][0]["content"]: row for row in rows_of(outcome, "data/*.parquet")}
    assert set(found) == {ROWS[0]["prompt"], ROWS[3]["prompt"]}
    first = found[ROWS[0]["prompt"]]
    assert (first["prompt_personal"], first["chosen_personal"], first["rejected_personal"]) == (1, 1, 0)
    assert first["sensitive_kinds"] == ["email"]
    dropped = {row["reason"]: row for row in rows_of(outcome, "dropped/*.parquet")}
    assert dropped["not_spanish"]["detail"] == "prompt_language=es, rejected_language=en"
    assert dropped["not_spanish"]["language_mismatch"]
    assert (dropped["secrets"]["score"], dropped["secrets"]["threshold"]) == (1.0, 0.0)
    assert dropped["secrets"]["sensitive_kinds"] == ["phone", "secret"]


def test_a_masked_run_leaves_nothing_of_what_it_masks_in_the_workspace(tmp_path: Path) -> None:
    outcome = curate(tmp_path, content={"mask": ["email", "phone", "secret"]})

    written = texts_in(tmp_path / "workspace")
    assert [mark for mark in ("<EMAIL>", "<PHONE>", "<SECRET>") if mark not in written] == []
    planted = (MAIL, PHONE, KEY, "901820", "planted.example")
    assert [text for text in planted if text in written] == []
    noted = sorted(entry for row in rows_of(outcome, "judgements/*.parquet") for entry in row["normalised"])
    assert noted == sorted(
        ["prompt.masked_email", "response_a.masked_email", "response_a.masked_secret", "response_b.masked_phone", "extra.masked_email"]
    )
    assert [row["reason"] for row in rows_of(outcome, "quarantine/*.parquet")].count("unparsable_row") == 1
    manifest = json.loads(Path(outcome.dataset_root, outcome.version, "manifest.json").read_text())
    assert manifest["config"]["content"]["mask"] == ["email", "phone", "secret"]


def test_curating_a_masked_version_again_with_the_same_mask_changes_nothing(tmp_path: Path) -> None:
    mask = {"mask": ["email", "phone", "secret"]}
    first = curate(tmp_path, content=mask)
    again = {"dataset": "again", "sources": [{"name": "made", "version": first.dataset_root}], "content": mask}
    (tmp_path / "again.yaml").write_text(yaml.safe_dump({**again, "publish": {"validation_share": 0.0}}), encoding="utf-8")

    second = run_flow(str(tmp_path / "again.yaml"), threads=2)

    assert {row["pair_id"] for row in rows_of(first, "data/*.parquet")} == {row["pair_id"] for row in rows_of(second, "data/*.parquet")}
    assert {row["fate"] for row in rows_of(second, "ledger/*.parquet")} == {"published"}


def test_an_unmasked_version_cannot_be_curated_with_a_mask(tmp_path: Path) -> None:
    first = curate(tmp_path)
    again = {"dataset": "again", "sources": [{"name": "made", "version": first.dataset_root}], "content": {"mask": ["email"]}}
    (tmp_path / "again.yaml").write_text(yaml.safe_dump(again), encoding="utf-8")

    with pytest.raises(ConfigError, match=r"content\.mask names 'email', but this version .* Curate its raw sources again"):
        run_flow(str(tmp_path / "again.yaml"), threads=2)


def test_content_signals_do_not_depend_on_partitions(tmp_path: Path) -> None:
    one, many = curate(tmp_path / "one", partitions=1), curate(tmp_path / "many", partitions=16)  # more than there are prompts
    assert rows_of(one, "data/*.parquet") == rows_of(many, "data/*.parquet")


def test_checks_that_are_switched_off_leave_nulls(tmp_path: Path) -> None:
    rows = rows_of(curate(tmp_path, content={"language": False, "personal": False}), "data/*.parquet")
    names = ("prompt_language", "chosen_language", "language_mismatch", "chosen_personal", "chosen_secrets", "sensitive_kinds")
    assert {row[name] for row in rows for name in names} == {None}


@pytest.mark.parametrize(
    ("content", "condition", "key"),
    [
        ("language", "chosen_language <> 'en'", "language"),
        ("language", "language_mismatch", "language"),
        ("personal", "chosen_secrets > 0", "personal"),
    ],
)
def test_a_rule_on_a_check_that_is_switched_off_is_a_config_error(tmp_path: Path, content: str, condition: str, key: str) -> None:
    settings = {"dataset": "d", "sources": [{"name": "s", "uri": "x"}], "content": {content: False}}
    settings["rules"] = {"add": [{"name": "mine", "drop_if": condition}]}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    config = load_config(tmp_path / "c.yaml")

    with pytest.raises(ConfigError, match=f"rule 'mine': .* is not computed; it needs `content.{key}: true`"):
        check(config)
