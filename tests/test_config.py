"""A config is read whole, or refused with the key, what was found and what was expected."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from pipeline.config import PipelineConfig, load_config, parse_config
from pipeline.errors import ConfigError, PrefineError
from pipeline.storage import resolve


def config(**changes: Any) -> dict[str, Any]:
    return {"dataset": "chat", "sources": [{"name": "arena", "uri": "raw/*.jsonl"}], **changes}


def source(**fields: Any) -> dict[str, Any]:
    return config(sources=[{"name": "arena", "uri": "x", **fields}])


def rule(**fields: Any) -> dict[str, Any]:
    return config(rules={"add": [{"name": "mine", **fields}]})


def ches(**fields: Any) -> dict[str, Any]:
    return config(signals={"ches": fields})


CHES = "signals.ches"


def written(folder: Path, text: str) -> Path:
    file = folder / "prefine.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_dataset_and_one_source_are_enough(tmp_path: Path) -> None:
    found = load_config(written(tmp_path, "dataset: chat\nsources:\n  - {name: arena, uri: raw/a.jsonl}\n"))

    assert found == PipelineConfig.model_validate(config(sources=[{"name": "arena", "uri": "raw/a.jsonl"}]))
    assert (found.workspace, found.criterion, found.partitions) == ("./workspace", "overall", None)
    assert (found.rules.preset, found.annotators.ids, found.sources[0].max_quarantine_share) == ("safe", "hashed", 0.05)


def test_what_a_config_says_survives_writing_and_reading_it(tmp_path: Path) -> None:
    given = parse_config(rule(drop_top_share={"signal": "chars_gap", "share": 0.1}), "c")

    assert load_config(written(tmp_path, yaml.safe_dump(given.model_dump()))) == given


def test_a_config_cannot_be_changed_once_read() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        parse_config(config(), "c").dataset = "other"


@pytest.mark.parametrize(
    ("outcomes", "read"),
    [
        ("{0: a, 1: b, '2': a, 0.5: tie}", {"0": "a", "1": "b", "2": "a", "0.5": "tie"}),
        ("{true: a, No: both_bad, 'True': tie}", {"true": "a", "No": "both_bad", "True": "tie"}),
    ],
)
def test_verdict_values_that_yaml_reads_as_numbers_and_booleans_are_text(tmp_path: Path, outcomes: str, read: dict[str, str]) -> None:
    text = f"dataset: d\nsources:\n  - name: s\n    uri: x\n    outcomes: {outcomes}\n"

    assert load_config(written(tmp_path, text)).sources[0].outcomes == read


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (config(sorces=[]), "c: unknown key 'sorces'; did you mean 'sources'?"),
        (source(fields={"promt": "p"}), "c: unknown key 'sources.0.fields.promt'; did you mean 'prompt'?"),
        (source(license="mit"), "c: unknown key 'sources.0.license'; did you mean 'licence'?"),
        (config(publish={"validation": 0.1}), "c: unknown key 'publish.validation'; did you mean 'validation_share'?"),
        (
            rule(drop_top_share={"signal": "x", "share": 0.1, "shar": 0.1}),
            "c: unknown key 'rules.add.0.drop_top_share.shar'; did you mean 'share'?",
        ),
        (config(embed={"zzz": 1}), "c: unknown key 'embed.zzz'; valid keys: dtype, model, threads."),
        ({"sources": [{"name": "a", "uri": "x"}]}, "c: 'dataset' is required."),
        ({"dataset": "d"}, "c: 'sources' is required."),
        (config(sources=[{"uri": "x"}]), "c: 'sources.0.name' is required."),
        (config(sources=[{"name": "a"}]), "c: sources.0: source 'a' needs exactly one of uri and version."),
        (source(version="v"), "c: sources.0: source 'arena' needs exactly one of uri and version."),
        (
            config(sources=[{"name": "a", "version": "v", "layout": "ab", "fields": {"winner": "w"}}]),
            "c: sources.0: source 'a': a published version is read as it is; leave `layout`, `fields` out.",
        ),
        (config(sources=[]), "c: sources: List should have at least 1 item after validation, not 0."),
        (config(sources="raw"), "c: sources: Input should be a valid list (found 'raw')."),
        (source(uri=""), "c: sources.0.uri: String should have at least 1 character (found '')."),
        (
            source(layout="listwise"),
            "c: sources.0.layout: Input should be 'chosen_rejected', 'ab', 'votes', 'ratings' or 'candidates' (found 'listwise').",
        ),
        (source(outcomes={"1": "c"}), "c: sources.0.outcomes.1: Input should be 'a', 'b', 'tie', 'both_bad' or 'none' (found 'c')."),
        (source(max_quarantine_share=2), "c: sources.0.max_quarantine_share: Input should be less than or equal to 1 (found 2)."),
        (config(annotators={"ids": "open"}), "c: annotators.ids: Input should be 'hashed' or 'plain' (found 'open')."),
        (
            config(rules={"preset": "strickt"}),
            "c: rules.preset: Input should be 'safe', 'strict', 'none' or 'safety-dpo' (found 'strickt').",
        ),
        (config(consensus={"prior": 0}), "c: consensus.prior: Input should be greater than 0 (found 0)."),
        (
            config(publish={"validation_share": 0.6, "test_share": 0.4}),
            "c: publish: validation_share 0.6 and test_share 0.4 leave nothing to train on; expected a sum below 1.",
        ),
        (config(publish={"validation_share": 1.0}), "c: publish.validation_share: Input should be less than 1 (found 1.0)."),
        (config(publish={"rows_per_shard": 0}), "c: publish.rows_per_shard: Input should be greater than 0 (found 0)."),
        (config(partitions=257), "c: partitions: Input should be less than or equal to 256 (found 257)."),
        (config(partitions=0), "c: partitions: Input should be greater than or equal to 1 (found 0)."),
        (
            config(dataset="../up"),
            "c: dataset: use letters, digits, '.', '_' and '-' only, starting with a letter or digit (found '../up').",
        ),
        (
            config(sources=[{"name": "a b", "uri": "x"}]),
            "c: sources.0.name: use letters, digits, '.', '_' and '-' only, starting with a letter or digit (found 'a b').",
        ),
        (
            rule(),
            "c: rules.add.0: rule 'mine' needs exactly one of drop_if, drop_top_share, keep_lowest_share, balance; has none.",
        ),
        (
            rule(drop_if="tie", keep_lowest_share={"signal": "x", "share": 0.5}),
            "c: rules.add.0: rule 'mine' needs exactly one of drop_if, drop_top_share, keep_lowest_share, balance; "
            "has ['drop_if', 'keep_lowest_share'].",
        ),
        (
            rule(drop_top_share={"signal": "x", "share": 1.5}),
            "c: rules.add.0.drop_top_share.share: Input should be less than or equal to 1 (found 1.5).",
        ),
        (
            config(sources=[{"name": "a", "uri": "x"}, {"name": "a", "uri": "y"}]),
            "c: config: two sources are called 'a'; names must differ.",
        ),
        (
            config(rules={"add": [{"name": "r", "drop_if": "tie"}] * 2}),
            "c: config: two rules are called 'r'; names must differ.",
        ),
        (
            ches(backend="causal_lm"),
            f"c: {CHES}: backend causal_lm needs model: the policy about to be trained, a hub id or a folder.",
        ),
        (ches(model="m", logps=True), f"c: {CHES}: backend encoder has no use for model and logps; set backend: causal_lm."),
        (ches(follow_ups={"positive": ["Thanks!"]}), f"c: '{CHES}.follow_ups.negative' is required."),
        ([], "c: expected a mapping with `dataset:` and `sources:`, found list."),
        (None, "c: expected a mapping with `dataset:` and `sources:`, found NoneType."),
    ],
)
def test_a_mistake_is_named_with_its_key_and_what_was_expected(data: object, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        parse_config(data, "c")


def test_all_mistakes_are_named_at_once_a_line_each() -> None:
    with pytest.raises(ConfigError, match=r"^c: .*\nc: .*\nc: .*$") as caught:
        parse_config(config(partitions=0, datset="x", embed={"threads": 0}), "c")

    assert {"partitions", "datset", "embed.threads"} <= set(re.findall(r"[a-z.]+", str(caught.value)))


def test_a_file_that_is_not_there_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: no such file\. `prefine init URI` writes a config for your data\."):
        load_config(tmp_path / "none.yaml")


def test_a_folder_or_bytes_that_are_no_text_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "bytes.yaml").write_bytes(b"dataset: \xff\xfe")

    for place in (tmp_path, tmp_path / "bytes.yaml"):
        with pytest.raises(ConfigError, match=f"^{re.escape(str(place))}: cannot be read: "):
            load_config(place)


@pytest.mark.parametrize("text", ["dataset: [", "a: b: c", "x: !!python/object/apply:os.getcwd []"])
def test_what_is_not_plain_yaml_is_refused_with_its_place(tmp_path: Path, text: str) -> None:
    file = written(tmp_path, text)

    with pytest.raises(ConfigError, match=rf"(?s)^{re.escape(str(file))}: not valid YAML: .*line 1"):
        load_config(file)


def test_an_empty_file_is_no_mapping(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a mapping with `dataset:` and `sources:`, found NoneType"):
        load_config(written(tmp_path, ""))


def test_a_config_mistake_is_wrong_usage_and_other_failures_are_not() -> None:
    assert (ConfigError.exit_code, PrefineError.exit_code) == (2, 1)


def test_relative_paths_start_at_the_folder_given_and_urls_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    assert resolve("./workspace", tmp_path) == str(tmp_path.resolve() / "workspace")
    assert resolve("../raw/*.jsonl", tmp_path / "conf") == str(tmp_path.resolve() / "raw" / "*.jsonl")
    assert resolve("/data/x", tmp_path) == str(Path("/data/x").resolve())
    assert resolve("~/x", tmp_path) == str((tmp_path / "home" / "x").resolve())
    assert resolve("s3://bucket/x", tmp_path) == "s3://bucket/x"
    assert resolve("memory://x", tmp_path) == "memory://x"
