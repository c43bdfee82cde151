import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flows import steps
from flows.curate import run_flow
from tests.fakes import WordEncoder

ROOT = Path(__file__).resolve().parents[2]
ROWS = [
    {"prompt": "Name a fruit.", "response_a": "An apple.", "response_b": "A brick.", "winner": "model_a"},
    {"prompt": "Name a fruit.", "response_a": "A brick.", "response_b": "An apple.", "winner": "model_b"},  # row 0, swapped
    {"prompt": "Name a bird.", "response_a": "A stone.", "response_b": "A wren.", "winner": "model_b"},
    {"prompt": "Name a fish.", "response_a": "A trout.", "response_b": "A carp.", "winner": "tie"},
    {"prompt": "Name a tree.", "response_a": "", "response_b": "An oak.", "winner": "model_b"},
    {"prompt": "Name a metal.", "response_a": "Iron.", "response_b": "Wool.", "winner": "the left one, I think"},
]
FATES = {0: "published", 1: "merged", 2: "published", 3: "dropped", 4: "dropped", 5: "quarantined"}
CONFIG = "dataset: small\nsources:\n  - {name: arena, uri: arena.jsonl, max_quarantine_share: 0.5}\npublish: {validation_share: 0.0}\n"

Prefine = Callable[..., tuple[int, str, str]]


def write_rows(place: Path, rows: list[dict[str, str]] = ROWS) -> Path:
    place.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return place


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, prefect_server: object) -> Path:
    """The config of a published dataset."""
    folder = tmp_path_factory.mktemp("published")
    write_rows(folder / "arena.jsonl")
    config = folder / "prefine.yaml"
    config.write_text(CONFIG)
    letters = WordEncoder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "encoder", lambda embed: letters)
        run_flow(str(config))
    return config


@pytest.fixture
def config(tmp_path: Path) -> Callable[[str], Path]:
    """Write a config beside a readable file."""

    def write(text: str) -> Path:
        write_rows(tmp_path / "arena.jsonl")
        place = tmp_path / "prefine.yaml"
        place.write_text(text)
        return place

    return write


class TestConfigMistakes:
    @pytest.mark.parametrize(
        ("text", "named"),
        [
            pytest.param(CONFIG.replace("publish:", "publsh:"), ["unknown key 'publsh'", "'publish'"], id="key"),
            pytest.param(CONFIG.replace("uri:", "url:"), ["unknown key 'sources.0.url'", "'uri'"], id="key-of-a-source"),
            pytest.param(
                CONFIG.replace("validation_share: 0.0", "validation_share: 2"), ["publish.validation_share", "less than 1"], id="value"
            ),
            pytest.param(CONFIG + "rules: {add: [{name: r, drop_if: 'p_chosn < 0.6'}]}\n", ["p_chosn", "p_chosen"], id="rule-column"),
            pytest.param(CONFIG + "rules: {add: [{name: r, drop_top_share: {signal: chas, share: 0.1}}]}\n", ["chas"], id="rule-signal"),
            pytest.param(CONFIG.replace("arena.jsonl", "nowhere.jsonl"), ["nowhere.jsonl", "no data files there"], id="source"),
            pytest.param("dataset: [", ["not valid YAML"], id="yaml"),
        ],
    )
    def test_exits_2_and_names_it_before_any_work(
        self, text: str, named: list[str], config: Callable[[str], Path], prefine: Prefine, prefect_server: object
    ) -> None:
        place = config(text)
        code, out, err = prefine("run", place)
        assert code == 2
        assert out == ""
        assert all(word in err for word in named), err
        assert not (place.parent / "workspace").exists()

    def test_a_missing_config_says_how_to_get_one(self, tmp_path: Path, prefine: Prefine) -> None:
        code, _, err = prefine("run", tmp_path / "none.yaml")
        assert code == 2
        assert "none.yaml: no such file. `prefine init URI` writes" in err

    @pytest.mark.parametrize("command", [["query", "train"], ["explain", "abc"]])
    def test_questions_need_a_config_too(self, command: list[str], tmp_path: Path, prefine: Prefine) -> None:
        code, _, err = prefine(*command, "--config", tmp_path / "none.yaml")
        assert code == 2
        assert "no such file" in err

    def test_an_ambiguous_layout_names_the_config_to_write(self, tmp_path: Path, prefine: Prefine, prefect_server: object) -> None:
        row = {"prompt": "q", "response_a": "x", "response_b": "y", "output_1": "u", "output_2": "v", "winner": "model_a"}
        write_rows(tmp_path / "both.jsonl", [row])
        (tmp_path / "prefine.yaml").write_text(CONFIG.replace("arena.jsonl", "both.jsonl"))
        code, _, err = prefine("run", tmp_path / "prefine.yaml")
        assert code == 2
        for word in ("both.jsonl", "response_a, response_b", "output_1, output_2", "layout:", "fields:"):
            assert word in err
        assert not list((tmp_path / "workspace").rglob("*.*"))

    def test_an_unknown_command_or_option_is_wrong_usage(self, prefine: Prefine) -> None:
        assert prefine("runn")[0] == 2
        assert prefine("run", "--limits", 3)[0] == 2
        assert prefine("run", "--limit", 0)[0] == 2


class TestQuery:
    def test_prints_a_table(self, published: Path, prefine: Prefine) -> None:
        code, out, err = prefine("query", "select source_row, fate from ledger order by 1", "--config", published)
        assert (code, err) == (0, "")
        assert "source_row" in out
        assert "6 row(s)" in out

    def test_prints_json_one_object_a_line(self, published: Path, prefine: Prefine) -> None:
        _, out, _ = prefine("query", "select source_row, fate from ledger order by 1", "--config", published, "--format", "json")
        rows = [json.loads(line) for line in out.splitlines()]
        assert {row["source_row"]: row["fate"] for row in rows} == FATES

    def test_prints_csv_with_nested_values_as_json(self, published: Path, prefine: Prefine) -> None:
        _, out, _ = prefine("query", "select n_votes, sources from train limit 1", "--config", published, "--format", "csv")
        header, line = out.splitlines()
        assert header == "n_votes,sources"
        assert json.loads(line.split(",", 1)[1].strip('"').replace('""', '"')) is not None

    def test_a_view_is_asked_by_its_name(self, published: Path, prefine: Prefine) -> None:
        code, out, _ = prefine("query", "fates_by_source", "--config", published, "--format", "json")
        assert code == 0
        assert json.loads(out.splitlines()[0])["source"] == "arena"

    def test_every_view_answers(self, published: Path, prefine: Prefine) -> None:
        for view in sorted((ROOT / "sql" / "views").glob("*.sql")):
            assert prefine("query", view.stem, "--config", published)[0] == 0, view.stem

    @pytest.mark.parametrize(
        ("sql", "said"),
        [
            ("from nowhere", "Tables and views: "),
            ("select nothing from train", "nothing"),
            ("selec 1", "syntax error"),
            ("copy train to 'stolen.csv'", "Queries are read-only"),
            ("with gone as (copy train to 'stolen.csv') select 1", ""),
            ("select * from read_csv('/etc/hostname')", "Queries are read-only"),
            ("select 1; select 2", "Expected one SQL statement, found 2"),
            ("", "Expected one SQL statement, found 0"),
        ],
    )
    def test_what_it_cannot_or_may_not_answer_is_one_message(
        self, sql: str, said: str, published: Path, prefine: Prefine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        code, out, err = prefine("query", sql, "--config", published)
        assert (code, out) == (1, "")
        assert err.startswith("prefine: ")
        assert said in err
        assert not list(tmp_path.iterdir())

    def test_an_unknown_format_is_wrong_usage(self, published: Path, prefine: Prefine) -> None:
        code, _, err = prefine("query", "train", "--config", published, "--format", "xml")
        assert code == 2
        assert "expected table, csv, json, parquet" in err

    def test_an_unknown_version_names_those_there_are(self, published: Path, prefine: Prefine) -> None:
        code, _, err = prefine("query", "train", "--config", published, "--version", "v000009")
        assert code == 1
        assert "no version 'v000009'; there is v000001" in " ".join(err.split()) or "there are v000001" in err

    def test_before_the_first_run_it_says_so(self, config: Callable[[str], Path], prefine: Prefine) -> None:
        code, _, err = prefine("query", "train", "--config", config(CONFIG))
        assert code == 1
        assert "nothing is published there yet" in err


class TestExplain:
    def ids(self, published: Path, prefine: Prefine, row: int) -> dict[str, str]:
        _, out, _ = prefine("query", f"select * from ledger where source_row = {row}", "--config", published, "--format", "json")
        found: dict[str, str] = json.loads(out)
        return found

    def test_a_file_and_row(self, published: Path, prefine: Prefine) -> None:
        for row, fate in FATES.items():
            code, out, _ = prefine("explain", f"arena.jsonl:{row}", "--config", published)
            assert code == 0
            assert f"fate     {fate}" in out

    def test_a_record(self, published: Path, prefine: Prefine) -> None:
        code, out, _ = prefine("explain", self.ids(published, prefine, 5)["record_id"], "--config", published)
        assert code == 0
        assert "quarantined" in out
        assert "the left one, I think" in out

    def test_a_pair_shows_every_record_that_counted(self, published: Path, prefine: Prefine) -> None:
        code, out, _ = prefine("explain", self.ids(published, prefine, 0)["pair_id"], "--config", published)
        assert code == 0
        assert "arena.jsonl row 0" in out
        assert "arena.jsonl row 1" in out
        assert "An apple." in out

    @pytest.mark.parametrize("asked", ["0" * 32, "arena.jsonl:77", "other.jsonl:0", "%", "' or 1=1 --"])
    def test_what_is_not_there_is_said(self, asked: str, published: Path, prefine: Prefine) -> None:
        code, out, err = prefine("explain", asked, "--config", published)
        assert (code, out) == (1, "")
        assert f"nothing is known as {asked!r}" in err


class TestOtherCommands:
    def test_the_config_schema_is_json_schema(self, prefine: Prefine) -> None:
        code, out, _ = prefine("config-schema")
        assert code == 0
        schema = json.loads(out)
        assert schema["type"] == "object"
        assert {"dataset", "sources"} <= set(schema["properties"])

    def test_init_writes_a_config_that_run_accepts_and_overwrites_nothing(
        self, tmp_path: Path, prefine: Prefine, monkeypatch: pytest.MonkeyPatch, prefect_server: object
    ) -> None:
        monkeypatch.chdir(tmp_path)
        letters = WordEncoder()
        monkeypatch.setattr(steps, "encoder", lambda embed: letters)
        (tmp_path / "raw").mkdir()
        write_rows(tmp_path / "raw" / "arena.jsonl", ROWS[:5])
        write_rows(tmp_path / "raw" / "pairs.jsonl", [{"prompt": "Say hi.", "chosen": "Hi!", "rejected": "No."}])
        code, out, _ = prefine("init", "raw")
        assert code == 0
        assert "prefine run prefine.yaml" in out
        text = Path("prefine.yaml").read_text()
        assert str(tmp_path) not in text
        code, _, err = prefine("init", "raw")
        assert code == 2
        assert "exists already" in err
        assert Path("prefine.yaml").read_text() == text
        code, out, _ = prefine("run")
        assert code == 0
        assert "published v000001" in out
        assert "read records" in out
        code, out, _ = prefine("run")
        assert code == 0
        assert "unchanged" in out
        assert "embedded now: 0;" in out

    def test_init_where_nothing_is_says_what_it_reads(self, tmp_path: Path, prefine: Prefine) -> None:
        code, _, err = prefine("init", tmp_path / "none", "--config", tmp_path / "prefine.yaml")
        assert code == 2
        assert "no data files there" in err
        assert not (tmp_path / "prefine.yaml").exists()

    def test_demo_leaves_a_folder_of_someone_else_alone(self, tmp_path: Path, prefine: Prefine) -> None:
        (tmp_path / "thesis.txt").write_text("mine")
        code, _, err = prefine("demo", tmp_path)
        assert code == 2
        assert "is not empty and holds no demo" in err
        assert [place.name for place in tmp_path.iterdir()] == ["thesis.txt"]

    def test_doctor_finds_everything_in_order(self, published: Path, prefine: Prefine) -> None:
        code, out, err = prefine("doctor", "--config", published)
        assert code == 0, out + err
        assert all(line.startswith("ok ") for line in out.splitlines())
        for name in ("versions", "config", "source arena", "workspace", "embedding model", "Prefect"):
            assert f"ok   {name}: " in out

    def test_doctor_names_what_is_broken(self, config: Callable[[str], Path], prefine: Prefine) -> None:
        code, out, err = prefine("doctor", "--config", config(CONFIG.replace("arena.jsonl", "nowhere.jsonl")))
        assert code == 1
        assert "FAIL source arena: nowhere.jsonl" in out
        assert "1 check(s) failed" in err


def module(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    given = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb", **environment}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, env=given, capture_output=True, text=True, timeout=120, check=False)


class TestAsAProgram:
    def test_the_module_is_the_console_script(self) -> None:
        script = "import sys; sys.argv[0] = 'prefine'; from flows.cli import main; main()"
        as_module, as_script = module("-m", "flows", "--help"), module("-c", script, "--help")
        assert as_module.returncode == as_script.returncode == 0
        assert as_module.stdout == as_script.stdout
        for command in ("demo", "init", "run", "inspect", "query", "explain", "doctor", "config-schema"):
            assert f" {command} " in as_module.stdout

    def test_help_loads_neither_torch_nor_prefect(self) -> None:
        script = (
            "import sys; sys.argv = ['prefine', '--help']\n"
            "from flows.cli import main\n"
            "try:\n    main()\nexcept SystemExit:\n    pass\n"
            "heavy = {'torch', 'prefect', 'transformers', 'sentence_transformers'} & set(sys.modules)\n"
            "sys.exit(f'loaded: {sorted(heavy)}' if heavy else 0)"
        )
        done = module("-c", script)
        assert done.returncode == 0, done.stderr

    def test_a_mistake_shows_a_traceback_only_with_debug(self, tmp_path: Path) -> None:
        missing = str(tmp_path / "none.yaml")
        plain, debug = module("-m", "flows", "run", missing), module("-m", "flows", "run", missing, "--debug")
        assert plain.returncode == 2
        assert plain.stderr.count("\n") == 1
        assert "Traceback" not in plain.stderr
        assert debug.returncode != 0
        assert "Traceback" in debug.stderr
