import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from flows import steps
from flows.inspecting import Group, inspect, is_personal
from flows.showing import clean, render
from flows.starting import _globs, example_source, starter_config
from pipeline.config import PipelineConfig, SourceConfig, load_config, parse_config
from tests.fakes import WordEncoder

PAIRS = [{"prompt": f"Question {i}?", "chosen": f"Right {i}.", "rejected": f"Wrong {i}.", "topic": "tests"} for i in range(5)]
VOTES = [
    {"prompt": "Which?", "response_a": "This.", "response_b": "That.", "annotator": who, "winner": said}
    for who, said in (("Ann Lee", "model_a"), ("bob@example.org", "model_b"), ("cy", "tie"))
]
NUMBERED = [{"input": f"Add {i} and 1.", "output_1": f"It is {i + 1}.", "output_2": "No idea.", "label": 1 + i % 2} for i in range(4)]
WEATHER = [{"station": "A", "degrees": 3}]
VERDICTS = [{"id": str(i), "who": "w7", "winner": said} for i, said in enumerate(["left", "right", "tie", "left"])]
TEXTS = [
    {"id": i, "text": f"Please write a poem about {i}.", "result_x": f"A poem of {i} lines, no more.", "result_y": "I cannot write that."}
    for i in range(4)
]

Prefine = Callable[..., tuple[int, str, str]]


def write_jsonl(place: Path, rows: list[dict[str, Any]]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_gz(place: Path, rows: list[dict[str, Any]]) -> None:
    place.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))


def write_json(place: Path, rows: list[dict[str, Any]]) -> None:
    place.write_text(json.dumps(rows))


def write_csv(place: Path, rows: list[dict[str, Any]]) -> None:
    with place.open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def write_parquet(place: Path, rows: list[dict[str, Any]]) -> None:
    pl.DataFrame(rows).write_parquet(place)


def shown(uri: str, base: Path, rows: int | None = 1000, width: int = 120) -> str:
    groups = inspect(uri, base, rows)
    configs = [example_source(group, uri, base, alone=len(groups) == 1) for group in groups]
    return "\n".join(line.plain for line in render(groups, configs, width))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands run in `tmp_path`."""
    monkeypatch.chdir(tmp_path)


FORMATS: list[tuple[str, Callable[[Path, list[dict[str, Any]]], None], str]] = [
    ("pairs.jsonl", write_jsonl, "JSON lines"),
    ("pairs.jsonl.gz", write_gz, "JSON lines, gzip"),
    ("pairs.json", write_json, "JSON array"),
    ("pairs.csv", write_csv, "CSV"),
    ("pairs.parquet", write_parquet, "Parquet"),
]


class TestAFile:
    @pytest.mark.parametrize(("name", "write", "form"), FORMATS, ids=[name for name, _, _ in FORMATS])
    def test_of_every_format_shows_its_layout_fields_and_first_records(
        self, name: str, write: Callable[[Path, list[dict[str, Any]]], None], form: str, tmp_path: Path
    ) -> None:
        write(tmp_path / name, PAIRS)
        text = shown(name, tmp_path)
        assert text.startswith(f"{name}\n  files     {form}; ")
        assert "5 rows, all read" in text
        assert "layout    chosen_rejected: fields 'chosen' and 'rejected'" in text
        assert "verdicts  the order of the fields: 'chosen' is the better answer" in text
        assert "    prompt   <- prompt    text  Question 0?" in text
        assert "    extra    <- topic     text  tests" in text
        assert text.count("    row ") == 3
        assert "      a       assistant: Right 2." in text

    def test_says_what_its_numbers_mean_as_verdicts_and_which_were_found(self, tmp_path: Path) -> None:
        write_jsonl(tmp_path / "n.jsonl", NUMBERED)
        assert "verdicts  1 = first better, 2 = second better" in shown("n.jsonl", tmp_path)
        assert "(found: 1, 2)" in shown("n.jsonl", tmp_path)

    def test_shows_votes_on_one_comparison_together_and_nobodys_name(self, tmp_path: Path) -> None:
        nested = {"prompt": "Which?", "response_a": "This.", "response_b": "That.", "user_email": "di@example.org"}
        votes = [{"worker": one["annotator"], "value": one["winner"], "reason": "as I say"} for one in VOTES]
        write_jsonl(tmp_path / "nested.jsonl", [{**nested, "votes": votes}])
        write_csv(tmp_path / "votes.csv", VOTES)
        text = shown(".", tmp_path)
        assert "row 0: a is better, by annotator 1; b is better, by annotator 2; tie, by annotator 3" in text
        assert "3 x {worker, value, reason}" in text
        for name in ("Ann", "bob", "cy\n", "di@"):
            assert name not in text
        assert "(names are not shown)" in text

    def test_has_names_hidden_in_the_document_for_tools_too(self, tmp_path: Path, prefine: Prefine) -> None:
        write_csv(tmp_path / "votes.csv", VOTES)
        code, out, _ = prefine("inspect", "votes.csv", "--json")
        assert code == 0
        assert "Ann" not in out
        assert "annotator 1" in out

    def test_with_rows_that_cannot_be_read_tells_reason_count_place_and_detail(self, tmp_path: Path) -> None:
        lines = [json.dumps(row) for row in PAIRS]
        lines[2] = '{"prompt": "cut'
        lines[4] = json.dumps({"prompt": "q", "chosen": True, "rejected": "no"})
        (tmp_path / "pairs.jsonl").write_text("\n".join(lines) + "\n")
        text = shown("pairs.jsonl", tmp_path)
        assert "1  rows go to quarantine as unparsable_row; first at row 2" in text
        assert "1  rows go to quarantine as wrong_type; first at row 4; chosen: found true" in text
        assert "# 2 of 5 rows cannot be read, and a run stops above 5%" in text

    def test_is_read_no_further_than_asked(self, tmp_path: Path) -> None:
        write_jsonl(tmp_path / "pairs.jsonl", PAIRS * 20)
        assert "the first 7 rows read" in shown("pairs.jsonl", tmp_path, 7)
        assert "100 rows, all read" in shown("pairs.jsonl", tmp_path, None)

    def test_with_long_and_hostile_texts_stays_within_the_width_and_controls_no_terminal(self, tmp_path: Path) -> None:
        bad = {**PAIRS[0], "chosen": "word\n" * 400, "rejected": "\x1b[2J\u202e" + "字" * 400, "topic": "\x07" + "t" * 300}
        write_jsonl(tmp_path / "long.jsonl", [bad])
        groups = inspect("long.jsonl", tmp_path, 10)
        lines = list(render(groups, [""], 80))
        assert max(line.cell_len for line in lines) <= 80
        assert not {"\x1b", "\x07", "\u202e"} & set("".join(line.plain for line in lines))

    def test_that_no_layout_fits_shows_its_fields_what_is_lacking_and_what_to_paste(self, tmp_path: Path) -> None:
        write_jsonl(tmp_path / "weather.jsonl", WEATHER)
        text = shown("weather.jsonl", tmp_path)
        for words in ("no known layout fits", "station  text    A", "degrees  number  3", "chosen_rejected: chosen", ": <field>"):
            assert words in text
        pasted = yaml.safe_load("sources:\n" + text[text.index("      - name:") :])
        parse_config({"dataset": "d", **pasted}, "pasted")

    def test_whose_verdicts_are_ambiguous_shows_the_whole_message(self, tmp_path: Path) -> None:
        write_jsonl(tmp_path / "n.jsonl", [{**row, "label": label} for row, label in zip(NUMBERED, (0, 1, 7, 9), strict=True)])
        text = shown("n.jsonl", tmp_path)
        assert "can be read in more than one way" in " ".join(text.split())
        assert "outcomes:" in text

    def test_that_is_broken_is_told_beside_the_good_ones(self, tmp_path: Path, prefine: Prefine) -> None:
        write_jsonl(tmp_path / "a.jsonl", PAIRS)
        many = "".join(json.dumps({**PAIRS[0], "chosen": f"{i * 7919 % 10007}"}) + "\n" for i in range(40_000))
        (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(many.encode())[:-50])
        code, out, err = prefine("inspect", ".", "--rows", "0")
        assert code == 1
        assert "layout    chosen_rejected" in out
        assert "cannot be read to its end" in " ".join(out.split())
        assert "1 of 2 file(s) cannot be read as they are" in err

    def test_that_is_empty_is_no_problem(self, tmp_path: Path, prefine: Prefine) -> None:
        (tmp_path / "empty.jsonl").write_text("")
        code, out, _ = prefine("inspect", "empty.jsonl")
        assert code == 0
        assert "none that can be read" in out


class TestSeveralFiles:
    def test_of_one_layout_and_the_same_fields_are_shown_once(self, tmp_path: Path) -> None:
        for i in range(5):
            write_jsonl(tmp_path / "raw" / f"part-{i}.jsonl", [{**row, "prompt": f"{i} {row['prompt']}"} for row in PAIRS])
        text = shown("raw", tmp_path)
        assert text.count("layout    ") == 1
        assert "and 2 files like these" in text
        assert "5: JSON lines; " in text
        assert "25 rows, all read" in text

    def test_with_other_fields_are_shown_apart(self, tmp_path: Path) -> None:
        write_jsonl(tmp_path / "a.jsonl", PAIRS)
        write_jsonl(tmp_path / "b.jsonl", [{**row, "more": 1} for row in PAIRS])
        assert shown(".", tmp_path).count("layout    ") == 2

    def test_that_repeat_each_other_are_named(self, tmp_path: Path) -> None:
        write_jsonl(tmp_path / "a.jsonl", PAIRS)
        write_jsonl(tmp_path / "b.jsonl", [*PAIRS[:2], {**PAIRS[0], "prompt": "new"}])
        text = " ".join(shown(".", tmp_path).split())
        assert "2 judgements of b.jsonl are also in a.jsonl (67 % of 3); first at row 0 of b.jsonl" in text

    def test_problems_name_file_and_row(self, tmp_path: Path) -> None:
        write_jsonl(tmp_path / "a.jsonl", PAIRS)
        write_jsonl(tmp_path / "b.jsonl", [{**PAIRS[0], "prompt": "new", "chosen": ""}])
        assert "an answer is empty (17 % of 6); first at row 0 of b.jsonl" in " ".join(shown(".", tmp_path).split())


class TestVerdictsInOneFileAndTextsInAnother:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        write_csv(tmp_path / "votes.csv", VERDICTS)
        write_jsonl(tmp_path / "texts.jsonl", TEXTS)
        return tmp_path

    def test_get_the_join_that_was_tried(self, folder: Path) -> None:
        text = shown(".", folder)
        assert "texts.jsonl has texts with the same 'id'" in " ".join(text.split())
        assert "- {uri: texts.jsonl, on: id}" in text
        for line in ("prompt: text", "response_a: result_x", "response_b: result_y", "winner: winner"):
            assert line in text
        assert "it holds the texts of votes.csv" in text

    def test_are_one_source_that_can_be_inspected_by_its_name(self, folder: Path, prefine: Prefine) -> None:
        code, out, err = prefine("init", ".")
        assert code == 0, err
        assert [one.name for one in load_config(folder / "prefine.yaml").sources] == ["votes"]
        code, out, err = prefine("inspect", "votes", "--config", "prefine.yaml")
        assert code == 0, out + err
        assert "user: Please write a poem about 0." in out
        assert "4 rows, all read" in out

    def test_are_not_joined_where_the_key_finds_two_texts(self, folder: Path) -> None:
        write_jsonl(folder / "texts.jsonl", [*TEXTS, TEXTS[0]])
        assert "join:" not in shown(".", folder)

    def test_are_not_joined_where_a_verdict_has_no_text(self, folder: Path) -> None:
        write_jsonl(folder / "texts.jsonl", TEXTS[:2])
        assert "join:" not in shown(".", folder)


class TestTheDocumentForTools:
    def test_has_the_same_facts(self, tmp_path: Path, prefine: Prefine) -> None:
        write_jsonl(tmp_path / "a.jsonl", PAIRS)
        write_jsonl(tmp_path / "weather.jsonl", WEATHER)
        code, out, err = prefine("inspect", ".", "--json")
        assert code == 1
        assert "1 of 2 file(s)" in err
        told = json.loads(out)
        good, bad = told["groups"]
        assert not told["readable"]
        assert good["files"][0] | {"bytes": 0} == {
            "name": "a.jsonl", "bytes": 0, "format": "JSON lines", "compression": "none", "rows": 5, "whole": True,
            "judgements": 5, "ratings": 0, "quarantined": 0, "error": None,
        }  # fmt: skip
        assert (good["layout"], good["unmapped"]) == ("chosen_rejected", ["topic"])
        assert good["mapped"] == {"prompt": ["prompt"], "chosen": ["chosen"], "rejected": ["rejected"]}
        assert good["findings"][0]["code"] == "unnamed_annotators"
        assert good["records"][0]["responses"][0]["text"] == "assistant: Right 0."
        assert bad["layout"] is None
        assert bad["fields"] == {"station": "text", "degrees": "number"}
        assert "no known layout fits" in bad["error"]
        assert {one["layout"] for one in bad["candidates"]} >= {"chosen_rejected", "ab", "votes"}


def sources(config: PipelineConfig) -> list[tuple[str, str | None]]:
    return [(source.name, source.uri) for source in config.sources]


def written(uri: str, base: Path, folder: Path) -> PipelineConfig:
    return parse_config(yaml.safe_load(starter_config(uri, base, folder, inspect(uri, base, 100))), "starter")


class TestInit:
    def test_pins_the_layout_and_the_fields_that_were_found(self, tmp_path: Path) -> None:
        write_jsonl(tmp_path / "n.jsonl", NUMBERED)
        (source,) = written("n.jsonl", tmp_path, tmp_path).sources
        assert source.layout == "ab"
        said = source.fields.model_dump(exclude_defaults=True)
        assert said == {"prompt": "input", "response_a": "output_1", "response_b": "output_2", "winner": "label"}

    def test_one_layout_is_one_source(self, tmp_path: Path) -> None:
        for name in ("one.jsonl", "two.jsonl"):
            write_jsonl(tmp_path / "raw" / name, PAIRS)
        assert sources(written("raw", tmp_path, tmp_path)) == [("raw", "raw")]

    def test_layouts_that_a_pattern_can_tell_apart_are_a_source_each(self, tmp_path: Path) -> None:
        for i in range(2):
            write_jsonl(tmp_path / "raw" / f"pairs-{i}.jsonl", PAIRS)
            write_jsonl(tmp_path / "raw" / f"sums-{i}.jsonl", NUMBERED)
        found = sources(written("raw", tmp_path, tmp_path))
        assert [uri for _, uri in found] == ["raw/pairs-*.jsonl", "raw/sums-*.jsonl"]
        assert len({name for name, _ in found}) == 2

    def test_a_pattern_may_name_the_folders_that_differ(self, tmp_path: Path) -> None:
        for model in ("alder", "birch"):
            write_jsonl(tmp_path / "raw" / model / "judged" / "data.jsonl", PAIRS)
            write_jsonl(tmp_path / "raw" / model / "sums" / "data.jsonl", NUMBERED)
        found = sources(written("raw", tmp_path, tmp_path))
        assert [uri for _, uri in found] == ["raw/*/judged/data.jsonl", "raw/*/sums/data.jsonl"]

    def test_layouts_that_no_pattern_tells_apart_are_a_source_a_file_with_names_that_differ(self, tmp_path: Path) -> None:
        for name, rows in (("a", PAIRS), ("b", NUMBERED), ("c", PAIRS)):
            write_jsonl(tmp_path / "raw" / name / "data.jsonl", rows)
        found = sources(written("raw", tmp_path, tmp_path))
        assert sorted(found) == [("a", "raw/a/data.jsonl"), ("b", "raw/b/data.jsonl"), ("c", "raw/c/data.jsonl")]

    def test_names_are_valid_whatever_the_path(self, tmp_path: Path) -> None:
        write_jsonl(tmp_path / "my data (1)" / "_x: #y.jsonl", PAIRS)
        for uri in ("my data (1)", "my data (1)/*.jsonl", "my data (1)/_x: #y.jsonl", "."):
            assert len(written(uri, tmp_path, tmp_path).sources) == 1

    def test_paths_start_at_the_config_not_at_the_working_folder(self, tmp_path: Path) -> None:
        write_jsonl(tmp_path / "project" / "raw" / "a.jsonl", PAIRS)
        assert sources(written("project/raw/a.jsonl", tmp_path, tmp_path / "project")) == [("a", "raw/a.jsonl")]

    def test_field_names_that_yaml_reads_otherwise_are_quoted(self, tmp_path: Path) -> None:
        odd = [{"on": row["prompt"], "1": row["chosen"], "no: yes #": row["rejected"]} for row in PAIRS]
        write_jsonl(tmp_path / "odd.jsonl", odd)
        fields = {"prompt": "on", "chosen": "1", "rejected": "no: yes #"}
        source = SourceConfig.model_validate({"name": "odd", "uri": "odd.jsonl", "layout": "chosen_rejected", "fields": fields})
        groups: list[Group] = inspect("odd.jsonl", tmp_path, 10, source)
        text = starter_config("odd.jsonl", tmp_path, tmp_path, groups)
        said = parse_config(yaml.safe_load(text), "starter").sources[0].fields.model_dump(exclude_defaults=True)
        assert said == fields

    def test_annotators_called_like_models_are_judges(self, tmp_path: Path) -> None:
        write_jsonl(tmp_path / "judged.jsonl", [{**row, "annotator": "gpt-4-turbo"} for row in VOTES[:1]])
        write_jsonl(tmp_path / "rm.jsonl", [{**row, "annotator": "reward_v2", "more": 1} for row in VOTES[:1]])
        mixed = zip(VOTES, ("gpt-4", "Claude", "x"), strict=True)
        write_jsonl(tmp_path / "people.jsonl", [{**row, "annotator": who, "other": 1} for row, who in mixed])
        kinds = {source.name: source.annotator_kind for source in written(".", tmp_path, tmp_path).sources}
        assert kinds == {"judged": "judge", "rm": "reward_model", "people": "human"}

    def test_what_is_unclear_is_left_as_a_comment_beside_what_is_not(self, tmp_path: Path, prefine: Prefine) -> None:
        write_jsonl(tmp_path / "pairs.jsonl", PAIRS)
        write_jsonl(tmp_path / "weather.jsonl", WEATHER)
        code, out, err = prefine("init", ".", "--output", "my.yaml")
        assert code == 0
        assert err.strip() == "weather.jsonl: no known layout fits these records."
        assert "prefine run my.yaml" in out
        assert sources(load_config(tmp_path / "my.yaml")) == [("pairs", "pairs.jsonl")]
        assert "# - name: weather" in (tmp_path / "my.yaml").read_text()

    def test_what_is_all_unclear_is_a_config_with_places_to_fill_in(self, tmp_path: Path, prefine: Prefine) -> None:
        write_jsonl(tmp_path / "weather.jsonl", WEATHER)
        code, out, _ = prefine("init", "weather.jsonl")
        assert code == 0
        assert "Next, when what the config leaves open is filled in:" in out
        assert sources(load_config(tmp_path / "prefine.yaml")) == [("weather", "weather.jsonl")]
        assert ": <field>" in (tmp_path / "prefine.yaml").read_text()

    def test_the_config_of_mixed_layouts_runs_at_once(
        self, tmp_path: Path, prefine: Prefine, monkeypatch: pytest.MonkeyPatch, prefect_server: object
    ) -> None:
        letters = WordEncoder()
        monkeypatch.setattr(steps, "encoder", lambda embed: letters)
        write_jsonl(tmp_path / "raw" / "pairs.jsonl", PAIRS)
        write_jsonl(tmp_path / "raw" / "sums.jsonl", NUMBERED)
        write_csv(tmp_path / "raw" / "votes.csv", VOTES)
        assert prefine("init", "raw")[0] == 0
        code, out, err = prefine("run")
        assert code == 0, err
        assert "published v000001" in out

    def test_a_config_that_exists_is_left_alone(self, tmp_path: Path, prefine: Prefine) -> None:
        write_jsonl(tmp_path / "a.jsonl", PAIRS)
        (tmp_path / "prefine.yaml").write_text("mine")
        code, _, err = prefine("init", "a.jsonl")
        assert code == 2
        assert "prefine.yaml: exists already; it is left as it is. Give another name with --output." in err
        assert (tmp_path / "prefine.yaml").read_text() == "mine"


def test_a_source_that_the_config_does_not_have_is_told_with_those_it_has(tmp_path: Path, prefine: Prefine) -> None:
    (tmp_path / "prefine.yaml").write_text("dataset: d\nsources: [{name: a, uri: a.jsonl}]\n")
    code, _, err = prefine("inspect", "b", "--config", "prefine.yaml")
    assert code == 2
    assert "no source with a uri is called 'b'; it has a." in err


@pytest.mark.parametrize("name", ["worker", "annotator_id", "Worker-ID", "rater2", "user", "author", "email", "crowd_worker_hash"])
def test_fields_that_name_people_are_known(name: str) -> None:
    assert is_personal(name)


@pytest.mark.parametrize("name", ["prompt", "user_prompt", "judge_reason", "topic", "description", "recipe", "author_note"])
def test_fields_that_name_nobody_are_shown(name: str) -> None:
    assert not is_personal(name)


def test_cut_texts_say_so_and_count_wide_letters_twice() -> None:
    assert clean("a  b\n c", 20) == "a b c"
    assert clean("abcdef", 4) == "abc…"
    assert clean("字字字字", 5) == "字字…"


def test_files_that_share_no_folder_are_not_looked_for_everywhere() -> None:
    assert _globs(["/data/a.jsonl", "zip://a.jsonl::/data/b.zip"]) == []
    assert _globs(["/data/a.jsonl", "/data/b.jsonl"])[0] == "/data"
