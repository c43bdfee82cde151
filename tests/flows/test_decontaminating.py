"""Benchmark prompts in a run and in `prefine decontaminate`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from flows import auditing, decontaminating, steps, vectors
from flows.curate import run_flow
from flows.steps import Run
from pipeline import storage
from pipeline.config import parse_config
from pipeline.errors import ConfigError
from pipeline.pairing import pair_up
from pipeline.stage import bucket_of
from pipeline.store import Store
from pipeline.texts import add_text_ids
from tests.builders import judged, row
from tests.fakes import WordEncoder

RIVER = "Which river flows through the capital of the country that invented paper money?"
KNIGHT = "Introduce yourself as a medieval knight at a royal banquet, and end with a toast."
BENCH = [{"turns": [KNIGHT, "Now in verse."]}, {"turns": [RIVER]}, {"turns": ["Write a poem"]}]
ROWS = [
    {"prompt": prompt, "response_a": a, "response_b": b, "winner": "model_a"}
    for prompt, a, b in [
        (f"Answer in one word: {RIVER}", "Wei.", "Thames."),
        (" ".join(reversed(KNIGHT.split())), "Sir.", "Hi."),  # the same words, so the encoder of this file gives it the same vector
        ("Make up a quiz question.", f"Sure! Here is one for all of you: {RIVER}", "No."),
        ("write a poem!", "Roses are red.", "Never."),
        ("Write a poem about winter and call it Snow.", "White it falls.", "Cold."),
        ("Name a fruit.", "An apple.", "A brick."),
    ]
]
CONTAMINATED = [0, 1, 2, 3]
CONFIG = "dataset: small\nsources:\n  - {name: arena, uri: arena.jsonl}\npublish: {validation_share: 0.0}\n"
BENCHMARKS = "decontaminate: {benchmarks: [{name: mt_bench, uri: bench/mt.jsonl}]%s}\n"

Prefine = Callable[..., tuple[int, str, str]]


def write(place: Path, rows: list[dict[str, Any]]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(autouse=True)
def words(monkeypatch: pytest.MonkeyPatch) -> WordEncoder:
    encoder = WordEncoder()
    monkeypatch.setattr(steps, "encoder", lambda embed: encoder)
    return encoder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config beside its source and its benchmark, in the working directory."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "arena.jsonl", ROWS)
    write(tmp_path / "bench" / "mt.jsonl", BENCH)
    (tmp_path / "prefine.yaml").write_text(CONFIG)
    return tmp_path


def configured(text: str = BENCHMARKS % "", **content: Any) -> Any:
    import yaml

    return parse_config({**yaml.safe_load(CONFIG + text), **content}, "prefine.yaml")


def scratch(config: Any, folder: Path, partitions: int) -> Run:
    places = {"scratch": str(folder / f"scratch{partitions}"), "store": str(folder / "store")}
    return Run(config=config, dataset="small", partitions=partitions, **places)


class TestReadBenchmarks:
    def test_names_each_turn_by_benchmark_and_row(self, folder: Path) -> None:
        entries = decontaminating.read_benchmarks(configured(), folder)

        assert entries.select("benchmark", "prompt", "turn", "text").rows() == [
            ("mt_bench", "mt_bench:0", 0, KNIGHT),
            ("mt_bench", "mt_bench:0", 1, "Now in verse."),
            ("mt_bench", "mt_bench:1", 0, RIVER),
            ("mt_bench", "mt_bench:2", 0, "Write a poem"),
        ]

    def test_names_the_file_too_where_there_are_several(self, folder: Path) -> None:
        write(folder / "bench" / "more.jsonl", [{"prompt": "One more?"}])

        entries = decontaminating.read_benchmarks(configured(BENCHMARKS.replace("mt.jsonl", "*.jsonl") % ""), folder)

        assert entries["prompt"].to_list()[:2] == ["mt_bench:bench/more.jsonl:0", "mt_bench:bench/mt.jsonl:0"]

    def test_reads_them_as_the_pairs_are_masked_and_normalised(self, folder: Path) -> None:
        write(folder / "bench" / "mt.jsonl", [{"prompt": "Cafe\u0301\r\nMail ann@example.com  "}])

        entries = decontaminating.read_benchmarks(configured(content={"mask": ["email"]}), folder)

        assert entries["text"].to_list() == ["Café\nMail <EMAIL>"]

    @pytest.mark.parametrize(
        ("rows", "benchmark", "said"),
        [
            (BENCH, "{name: b, uri: nowhere.jsonl}", "'b': nowhere.jsonl: no data files there"),
            (BENCH, "{name: b, uri: bench/mt.jsonl, field: ask}", "'b': bench/mt.jsonl: no row has the field 'ask'; fields: turns"),
            ([{"prompt": " "}], "{name: b, uri: bench/mt.jsonl}", "'b': no prompt in bench/mt.jsonl"),
            ([{"prompt": "x"}, {"prompt": 1}], "{name: b, uri: bench/mt.jsonl}", "'b': bench/mt.jsonl: row 1: prompt: found 1"),
        ],
    )
    def test_what_cannot_be_read_is_named(self, rows: list[dict[str, Any]], benchmark: str, said: str, folder: Path) -> None:
        write(folder / "bench" / "mt.jsonl", rows)

        with pytest.raises(ConfigError, match="decontaminate.benchmarks: " + said):
            decontaminating.read_benchmarks(configured(f"decontaminate: {{benchmarks: [{benchmark}]}}\n"), folder)

    def test_a_broken_file_is_a_mistake_of_the_config(self, folder: Path) -> None:
        (folder / "bench" / "mt.jsonl.gz").write_bytes(b"\x1f\x8b123")

        with pytest.raises(ConfigError, match=r"'mt_bench': .*mt.jsonl.gz: cannot be read to its end"):
            decontaminating.read_benchmarks(configured(BENCHMARKS.replace("mt.jsonl", "mt.jsonl.gz") % ""), folder)


def test_two_benchmarks_need_two_names() -> None:
    with pytest.raises(ConfigError, match="two benchmarks are called 'b'; names must differ"):
        configured("decontaminate: {benchmarks: [{name: b, uri: x}, {name: b, uri: y}]}\n")


class TestSteps:
    def marked(self, folder: Path, partitions: int) -> tuple[list[dict[str, int]], pl.DataFrame]:
        """What the steps say of each of so many partitions, and the marked pairs."""
        config = configured()
        run = scratch(config, folder, partitions)
        decontaminating.prepare(run, decontaminating.read_benchmarks(config, folder))
        pairs = pair_up(judged(*(row(one["prompt"], one["response_a"], one["response_b"]) for one in ROWS)))
        counts, marked = [], []
        for partition in range(partitions):
            tally, texts = add_text_ids(pairs.filter(bucket_of("prompt_id").is_between(*run.buckets(partition))))
            storage.write_table(tally, run.place("tally", partition))
            storage.write_table(texts, run.place("texts", partition))
            vectors.embed_missing(Store(run.store), steps.encoder(config.embed), texts, lambda _: None)
            counts.append(decontaminating.mark(run, partition, "tally", "marked"))
            marked.append(storage.read_table(run.place("marked", partition)))
        return counts, pl.concat(marked).sort("pair_id")

    def test_mark_the_pairs_of_every_partition_alike(self, folder: Path) -> None:
        counts, whole = self.marked(folder, 1)
        cut, parts = self.marked(folder, 16)

        assert counts == [{"contaminated": 4, "left": 4}]
        assert sum(one["left"] for one in cut) == 4
        assert parts.equals(whole)
        told = {one["prompt"][0]["content"]: one["left_detail"] for one in whole.iter_rows(named=True)}
        assert told[ROWS[0]["prompt"]].startswith("mt_bench:1 in the prompt, 8-gram overlap 1.0: ")
        assert told[ROWS[1]["prompt"]].startswith("mt_bench:0 in the prompt, cosine 1.0: ")
        assert told[ROWS[2]["prompt"]].startswith("mt_bench:1 in an answer, 8-gram overlap 1.0: ")
        assert told[ROWS[3]["prompt"]] == 'mt_bench:2 in the prompt, the same words: "Write a poem"'
        assert [told[one["prompt"]] for one in ROWS[4:]] == [None, None]

    def test_embed_each_benchmark_prompt_once(self, folder: Path, words: WordEncoder) -> None:
        config = configured()
        run = scratch(config, folder, 1)
        entries = decontaminating.read_benchmarks(config, folder)

        assert decontaminating.prepare(run, entries) == {"prompts": 4, "embedded": 2}  # short ones need no vector
        assert decontaminating.prepare(run, entries) == {"prompts": 4, "embedded": 0}
        assert words.texts_encoded == 2


class TestReport:
    @pytest.fixture
    def published(self, folder: Path, prefect_server: object) -> Path:
        run_flow(str(folder / "prefine.yaml"))
        return folder

    def report(self, prefine: Prefine, *arguments: object) -> dict[str, Any]:
        code, out, err = prefine("decontaminate", *arguments, "--format", "json")
        assert code == 0, err
        told: dict[str, Any] = json.loads(out)
        return told

    def test_counts_pairs_by_text_and_kind_and_changes_nothing(self, published: Path, prefine: Prefine) -> None:
        (published / "prefine.yaml").write_text(CONFIG + BENCHMARKS % "")
        before = {place: place.read_bytes() for place in (published / "workspace" / "datasets").rglob("*.*")}

        report = self.report(prefine)

        assert (report["dataset"], report["version"], report["pairs"], report["contaminated"]) == ("small", "v000001", 6, 4)
        [bench] = report["benchmarks"]
        assert (bench["name"], bench["uri"], bench["prompts"], bench["pairs"]) == ("mt_bench", "bench/mt.jsonl", 4, 4)
        assert bench["hits"] == {
            "prompt": {"ngram": 2, "cosine": 1},
            "chosen": {"ngram": 1, "cosine": 0},
            "rejected": {"ngram": 0, "cosine": 0},
        }
        assert {one["benchmark_prompt"]: one["text"] for one in bench["examples"] if one["kind"] == "cosine"} == {"mt_bench:0": "prompt"}
        assert sorted(bench["examples"][0]) == ["asked", "benchmark_prompt", "found", "kind", "pair_id", "score", "text", "threshold"]
        assert {place: place.read_bytes() for place in (published / "workspace" / "datasets").rglob("*.*")} == before

    def test_embeds_what_is_missing_once(self, published: Path, prefine: Prefine, words: WordEncoder) -> None:
        encoded = words.texts_encoded
        self.report(prefine, "--benchmark", "bench/mt.jsonl")
        assert words.texts_encoded - encoded == 2
        self.report(prefine, "--benchmark", "bench/mt.jsonl")
        assert words.texts_encoded - encoded == 2

    def test_takes_benchmarks_that_the_config_does_not_name(self, published: Path, prefine: Prefine) -> None:
        write(published / "bench" / "other" / "mt.jsonl", [{"prompt": RIVER}])

        code, out, _ = prefine("decontaminate", "--benchmark", "bench/mt.jsonl", "--benchmark", "bench/other")

        assert code == 0
        assert "small v000001: 4 of 6 pairs hold a benchmark prompt" in out
        assert "mt: 4 prompts (2 of fewer words), found in 4 pairs" in out
        assert "other: 1 prompts, found in 2 pairs" in out
        assert RIVER in out
        assert "Nothing was changed." in out
        written = out[out.index("  decontaminate:\n") :]
        proposed = configured("\n".join(line[2:] for line in written.splitlines()) + "\n")
        assert [(one.name, one.uri) for one in proposed.decontaminate.benchmarks] == [("mt", "bench/mt.jsonl"), ("other", "bench/other")]
        assert proposed.decontaminate.action == "drop"

    @pytest.mark.parametrize(("action", "said"), [("", "drops these pairs"), (", action: flag", "with `action: drop`")])
    def test_says_what_a_run_will_do(self, action: str, said: str, published: Path, prefine: Prefine) -> None:
        (published / "prefine.yaml").write_text(CONFIG + BENCHMARKS % action)

        _, out, _ = prefine("decontaminate")

        assert said in out

    @pytest.mark.parametrize(
        ("arguments", "code", "said"),
        [
            ([], 2, "names no benchmark, and no --benchmark is given"),
            (["--benchmark", "nowhere.jsonl"], 2, "nowhere.jsonl: no data files there"),
            (["--benchmark", "bench/mt.jsonl", "--format", "xml"], 2, "expected text or json"),
            (["--benchmark", "bench/mt.jsonl", "--version", "v000009"], 1, "no version 'v000009'"),
            (["--config", "none.yaml"], 2, "no such file"),
        ],
    )
    def test_what_cannot_be_asked_is_one_message(
        self, arguments: list[str], code: int, said: str, published: Path, prefine: Prefine
    ) -> None:
        found, out, err = prefine("decontaminate", *arguments)

        assert (found, out) == (code, "")
        assert said in " ".join(err.split())

    def test_before_the_first_run_it_says_so(self, folder: Path, prefine: Prefine) -> None:
        code, _, err = prefine("decontaminate", "--benchmark", "bench/mt.jsonl")

        assert code == 1
        assert "nothing is published there yet" in err


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Wei.", "Wei."),
        (f"{'so ' * 100}{RIVER}", "..." + "so " * 13 + RIVER),
        (f"{RIVER} {'so ' * 100}", None),
    ],
)
def test_an_excerpt_starts_before_the_shared_words(text: str, shown: str | None) -> None:
    found = auditing.excerpt(text, RIVER, 8)

    assert RIVER in found or text == "Wei."
    assert len(found) <= 206
    assert shown is None or found == shown


class TestRun:
    """What a run makes of it."""

    def run(self, folder: Path, action: str = "") -> Any:
        (folder / "prefine.yaml").write_text(CONFIG + BENCHMARKS % action)
        return run_flow(str(folder / "prefine.yaml"))

    def test_drops_them_with_reason_and_detail(self, folder: Path, prefine: Prefine, prefect_server: object) -> None:
        outcome = self.run(folder)

        code, out, _ = prefine("query", "select * from ledger order by source_row", "--format", "json")
        ledger = [json.loads(line) for line in out.splitlines()]
        assert code == 0
        assert [one["source_row"] for one in ledger if one["reason"] == "contaminated"] == CONTAMINATED
        first = ledger[0]
        assert (first["fate"], first["stage"], first["score"], first["threshold"]) == ("dropped", "decontaminate", 1.0, 0.5)
        assert first["detail"].startswith('mt_bench:1 in the prompt, 8-gram overlap 1.0: "Which river')
        assert next(line for line in outcome.counts if "decontaminate" in line["stage"])["dropped"] == 4
        _, out, _ = prefine("query", "contamination_by_benchmark", "--format", "json")
        assert json.loads(out) == {
            "benchmark": "mt_bench",
            "published_count": 0,
            "dropped_count": 4,
            "prompt_count": 3,
            "lowest_score": 1.0,
        }
        assert prefine("decontaminate")[1].startswith("small v000001: 0 of 2 pairs hold a benchmark prompt")

    def test_flags_them_where_the_config_says_so(self, folder: Path, prefine: Prefine, prefect_server: object) -> None:
        self.run(folder, ", action: flag")

        _, out, _ = prefine("query", "select contaminated_by from pairs where contamination is not null order by all", "--format", "json")

        assert [json.loads(line)["contaminated_by"] for line in out.splitlines()] == [f"mt_bench:{row}" for row in (0, 1, 1, 2)]

    def test_an_unreadable_benchmark_stops_it_before_any_work(self, folder: Path, prefine: Prefine, prefect_server: object) -> None:
        (folder / "bench" / "mt.jsonl").write_text("{oops\n")
        (folder / "prefine.yaml").write_text(CONFIG + BENCHMARKS % "")

        code, out, err = prefine("run")

        assert (code, out) == (2, "")
        assert "decontaminate.benchmarks: 'mt_bench': bench/mt.jsonl: row 0 cannot be read" in " ".join(err.split())
        assert not (folder / "workspace").exists()
