"""What the preferences of a published version follow, asked of a model over HTTP: `prefine mine`."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from flows import mining
from flows.curate import run_flow
from pipeline.config import load_config
from pipeline.judging import criteria_forms
from pipeline.lease import hold_lease
from pipeline.rationale import mined
from tests.fakes import WordEncoder
from tests.flows.scripted_mining import POLITE, SOURCED
from tests.llm.scripted import Script, Server, scripted_server
from tests.versions import paired, publish, said

Prefine = Callable[..., tuple[int, str, str]]

PAIRS = 80
SCRIPT = Script(answer="tests.flows.scripted_mining:answer")
CONFIG = """
dataset: small
sources:
  - {{name: arena, uri: arena.jsonl}}
endpoints:
  - {{name: local, base_url: "{url}", model: scripted, context_tokens: 16384, retries: 2, price: {{input: 1.0, output: 1.0}}}}
  - {{name: free, base_url: "{url}", model: scripted}}
publish: {{validation_share: 0.25}}
"""


def row(n: int) -> dict[str, Any]:
    """A vote for the answer with a source, and why."""
    good = f"Topic{n} is known{n} from the source{n} source, {'please ' * (n % 2)}read{n} it there{n}."
    bad = f"Perhaps{n} it may{n} be a guess, {'please ' * (n % 3 == 0)}that{n} I would{n} not trust{n}."
    won = n % 2
    a, b = (good, bad) if won == 0 else (bad, good)
    why = f"Response {'AB'[won]} says where{n} it knows topic{n} from, and Response {'BA'[won]} leaves{n} the reader{n} with a guess{n}."
    why += "".join(f" There is more{n} of it{i}." for i in range(25))
    return {
        "prompt": f"Tell{n} me about topic{n}.",
        "response_a": a,
        "response_b": b,
        "winner": "ab"[won],
        "rationale": why,
        "annotator": f"p{n % 5}",
    }


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with scripted_server(SCRIPT) as running:
        yield running


@pytest.fixture(scope="module")
def curated(tmp_path_factory: pytest.TempPathFactory, server: Server, encoder: WordEncoder) -> Path:
    """The config of a curated data set, whose rationales are stated in the data."""
    folder = tmp_path_factory.mktemp("curated")
    (folder / "arena.jsonl").write_text("".join(json.dumps(row(n)) + "\n" for n in range(PAIRS)))
    config = folder / "prefine.yaml"
    config.write_text(CONFIG.format(url=server.url))
    run_flow(str(config))
    return config


@pytest.fixture
def asked(curated: Path, server: Server, tmp_path: Path) -> Path:
    """The same, with a store of its own: nothing is answered yet. The server counts anew."""
    server.rewrite(SCRIPT)
    server.forget()
    config = tmp_path / "prefine.yaml"
    config.write_text(curated.read_text())
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace" / "datasets").symlink_to(curated.parent / "workspace" / "datasets")
    return config


def forms(server: Server) -> dict[str, int]:
    """Requests by the name of what was asked."""
    names = [one["body"]["response_format"]["json_schema"]["name"] for one in server.log()]
    return {name: names.count(name) for name in names}


def published(config: Path, prefine: Prefine, sql: str) -> list[dict[str, Any]]:
    _, out, _ = prefine("query", sql, "--config", config, "--format", "json")
    return [json.loads(line) for line in out.splitlines()]


class TestRules:
    def test_they_are_mined_from_accepted_rationales_tried_on_pairs_and_asked_once(
        self, asked: Path, server: Server, prefine: Prefine
    ) -> None:
        code, out, err = prefine("mine", "rules", "--endpoint", "local", "--config", asked)
        assert code == 0, err
        lines = out.splitlines()
        train = published(asked, prefine, "select prompt_id from train")
        assert lines[0] == "small v000001, rules by scripted"
        assert lines[2] == SOURCED
        assert f"differs on {len(train)} of {len(train)} pairs (1.00); with the preference on {len(train)} of these (1.00" in lines[3]
        assert POLITE in lines
        sent = forms(server)
        assert sent[mined.MERGE_FORM.name] == 1
        assert sent[mined.VERIFY_FORM.name] == 2 * len(train)
        assert f"Requests now: {sum(sent.values())};" in out

        server.forget()
        code, again, _ = prefine("mine", "rules", "--endpoint", "local", "--config", asked)
        assert code == 0
        assert server.log() == []
        assert again.splitlines()[:-1] == lines[:-1]
        assert "Requests now: 0; cost 0.0000" in again

    def test_as_json_in_a_file_that_must_be_new(self, asked: Path, prefine: Prefine, tmp_path: Path) -> None:
        command = ("mine", "rules", "--endpoint", "local", "--config", asked, "--output", tmp_path / "rules.json", "--format", "json")
        code, out, err = prefine(*command)
        assert (code, out.split()[0]) == (0, "wrote"), err
        told = json.loads((tmp_path / "rules.json").read_text())
        assert {key: told["about"][key] for key in ("dataset", "version", "endpoint", "model", "unanswered")} == {
            "dataset": "small", "version": "v000001", "endpoint": "local", "model": "scripted", "unanswered": {},
        }  # fmt: skip
        assert [one["rule"] for one in told["rules"]] == [SOURCED, POLITE, None]
        assert told["about"]["cost"] > 0
        assert len(told["scores"]) == told["rules"][0]["pairs"] > 0
        assert told["seen"] == len(told["scores"])  # every prompt has a rationale here
        assert told["failed"] == []

        code, _, err = prefine(*command)
        assert code == 2
        assert "exists already" in err

    def test_neither_validation_nor_what_was_not_accepted_is_read(
        self, asked: Path, server: Server, prefine: Prefine, tmp_path: Path
    ) -> None:
        prefine("mine", "rules", "--endpoint", "local", "--config", asked, "--output", tmp_path / "r.json", "--format", "json")
        train, validation = (
            {one["pair_id"] for one in published(asked, prefine, f"select pair_id from {part}")} for part in ("train", "validation")
        )
        tried = {one["pair_id"] for one in json.loads((tmp_path / "r.json").read_text())["scores"]}
        assert tried == train
        assert validation
        accepted = published(
            asked, prefine, "select pair_id from rationales where accepted and kind = 'stated' and pair_id in (select pair_id from train)"
        )
        assert forms(server)[mined.EXTRACT_FORM.name] == -(-len(accepted) // 10)

    def test_answers_are_those_of_a_version_that_is_named(self, asked: Path, prefine: Prefine) -> None:
        code, _, err = prefine("mine", "rules", "--endpoint", "local", "--config", asked, "--version", "v000007")
        assert code == 1
        assert "no version 'v000007'" in err


class TestCriteria:
    def test_they_are_mined_tried_on_other_pairs_and_given_as_lines_of_a_config(
        self, asked: Path, server: Server, prefine: Prefine
    ) -> None:
        code, out, err = prefine("mine", "criteria", "--endpoint", "local", "--config", asked)
        assert code == 0, err
        assert "Sources: Which has more Sources?\n    right 1.00 on other pairs (30 of 30, 95 %" in out
        assert "Guesses" not in out  # always wrong: it was thrown out
        assert criteria_forms.REFINE_FORM.name not in forms(server)
        below = out.split("below `judges:` of the config:\n")[1].split("\n\n")[0]
        pasted = asked.with_name("pasted.yaml")
        pasted.write_text(asked.read_text() + "judges:\n" + below + "\n")
        (judge,) = load_config(pasted).judges
        assert (judge.endpoint, judge.criteria) == ("local", ["Sources: Which has more Sources?"])

    def test_as_json(self, asked: Path, prefine: Prefine) -> None:
        code, out, _ = prefine("mine", "criteria", "--endpoint", "local", "--config", asked, "--format", "json")
        told = json.loads(out)
        assert code == 0
        assert [(one["name"], one["held_out_accuracy"]) for one in told["criteria"]] == [("Sources", 1.0)]
        assert [(one["held_out"], one["pairs"], one["wrong"]) for one in told["majority"]] == [(False, 30, 0), (True, 30, 0)]
        assert yaml.safe_load(told["judges"])[0]["criteria"] == ["Sources: Which has more Sources?"]
        assert len(told["verdicts"]) == 60

    def test_only_those_better_than_chance_on_other_pairs_become_lines(self) -> None:
        rows = [("good", 0.9, 0.8), ("lucky", 0.9, 0.5), ("untried", 0.7, None), ("silent", None, None), ("a: 'b' # c\u202e", 0.6, 0.6)]
        table = pl.DataFrame(rows, schema=["name", "accuracy", "held_out_accuracy"], orient="row").with_columns(description=pl.lit("d"))
        (judge,) = yaml.safe_load(mining.judge_lines(table, "local"))
        assert judge["criteria"] == ["good: d", "untried: d", "a: 'b' # c\u202e: d"]
        assert mining.judge_lines(table.head(0), "local") == ""


class TestSurest:
    def test_the_highest_probability_then_most_votes_and_one_a_cluster(self) -> None:
        rows = [
            ("a", "c1", 0.912, 9),
            ("b", "c1", 0.99, 2),
            ("c", "c2", 0.991, 3),
            ("d", "c3", 0.914, 4),
            ("e", "c4", 0.6, 50),
            ("f", "c5", 0.909, 5),
        ]
        pairs = pl.DataFrame(rows, schema=["pair_id", "prompt_cluster_id", "p_chosen", "n_votes"], orient="row")
        assert mining.surest(pairs, 10)["pair_id"].to_list() == ["c", "b", "f", "d", "e"]
        assert mining.surest(pairs.reverse(), 2)["pair_id"].to_list() == ["c", "b"]

    def test_of_equals_a_hash_decides_and_not_their_order(self) -> None:
        pairs = pl.DataFrame({"pair_id": [f"p{n}" for n in range(50)], "prompt_cluster_id": [f"c{n}" for n in range(50)]})
        pairs = pairs.with_columns(p_chosen=pl.lit(1.0), n_votes=pl.lit(1))
        first = mining.surest(pairs, 10)["pair_id"].to_list()
        assert mining.surest(pairs.reverse(), 10)["pair_id"].to_list() == first != [f"p{n}" for n in range(10)]


@pytest.mark.parametrize("what", ["rules", "criteria"])
def test_a_budget_that_runs_out_ends_with_3_and_a_higher_one_goes_on(what: str, asked: Path, server: Server, prefine: Prefine) -> None:
    text = asked.read_text()
    asked.write_text(text + "budget: {max_requests: 12}\n")
    code, out, err = prefine("mine", what, "--endpoint", "local", "--config", asked)
    assert code == 3
    assert "incomplete, for want of budget: max_requests 12; spent: 12 requests" in err
    assert "questions have no answer: budget." in out
    assert len(server.log()) == 12
    assert prefine("mine", what, "--endpoint", "local", "--config", asked)[0] == 3
    assert len(server.log()) == 12  # earlier spending counts

    asked.write_text(text)
    code, out, _ = prefine("mine", what, "--endpoint", "local", "--config", asked)
    assert code == 0
    assert set(server.counts().values()) == {1}
    assert "1.00" in out


def test_nothing_is_asked_on_from_a_part_of_the_answers(asked: Path, server: Server, prefine: Prefine) -> None:
    """There is room for one question with ten rationales. Then there would be some for shorter ones, which all rationales would change."""
    asked.write_text(asked.read_text() + "budget: {max_tokens: 10000}\n")
    code, out, _ = prefine("mine", "rules", "--endpoint", "local", "--config", asked)
    assert code == 3
    assert forms(server) == {mined.EXTRACT_FORM.name: 1}
    assert "No rules." in out


def test_a_run_that_works_on_the_data_set_is_no_hindrance(asked: Path, prefine: Prefine) -> None:
    root = asked.parent / "workspace" / "datasets" / "small"
    before = {place.name for place in root.iterdir()}
    with hold_lease(str(root), "a run"):
        assert prefine("mine", "rules", "--endpoint", "local", "--config", asked)[0] == 0
    assert {place.name for place in root.iterdir()} - {"LEASE"} == before - {"LEASE"}


def test_a_question_that_fails_is_counted_by_its_reason(asked: Path, server: Server, prefine: Prefine) -> None:
    server.rewrite(Script(answer=SCRIPT.answer, where={"Topic7 ": ["context"] * 9}))
    code, out, _ = prefine("mine", "rules", "--endpoint", "local", "--config", asked)
    in_train = {"Topic7 " in one["chosen"][0]["content"] for one in published(asked, prefine, "select chosen from train")}
    assert code == 0
    assert in_train == {True, False}
    assert "1 questions have no answer: context_too_long." in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("rules", "--endpoint", "locl"), "--endpoint locl: there is none of that name; did you mean 'local'?"),
        (("rules", "--endpoint", "zzz"), "`endpoints:` has local, free."),
        (("habits", "--endpoint", "local"), "mine habits: expected rules or criteria."),
        (("rules", "--endpoint", "local", "--format", "xml"), "--format xml: expected text or json."),
        (("rules",), "Missing option '--endpoint'"),
    ],
)
def test_what_cannot_be_meant_is_told_before_any_question(
    arguments: tuple[str, ...], message: str, asked: Path, server: Server, prefine: Prefine
) -> None:
    code, out, err = prefine("mine", *arguments, "--config", asked)
    assert (code, out) == (2, "")
    assert message in " ".join(err.split())
    assert server.log() == []


def test_a_cap_on_cost_needs_a_price(asked: Path, server: Server, prefine: Prefine) -> None:
    asked.write_text(asked.read_text() + "budget: {max_cost: 1.0}\n")
    code, _, err = prefine("mine", "rules", "--endpoint", "free", "--config", asked)
    assert code == 2
    assert "budget.max_cost needs the price of endpoint 'free'" in err
    assert server.log() == []


class TestWithoutAnythingToMine:
    @pytest.fixture
    def small(self, tmp_path: Path, server: Server) -> Callable[..., Path]:
        """The config of a data set with these pairs and no rationale."""

        def write(*pairs: dict[str, Any]) -> Path:
            publish(str(tmp_path / "workspace" / "datasets" / "small"), {"train": list(pairs)})
            config = tmp_path / "prefine.yaml"
            config.write_text(CONFIG.format(url=server.url))
            server.forget()
            return config

        return write

    def test_without_rationales_it_says_how_to_get_some(self, small: Callable[..., Path], prefine: Prefine) -> None:
        code, _, err = prefine("mine", "rules", "--endpoint", "local", "--config", small(paired("train", "p", ["j"], (1, 0, 0))))
        assert code == 1
        assert "no pair of `train` has an accepted rationale in words. Set `rationales.endpoint`" in err

    def test_ties_prefer_nothing(self, small: Callable[..., Path], server: Server, prefine: Prefine) -> None:
        tie = paired("train", "p", ["j"], (0, 0, 1), tie=True)
        code, _, err = prefine("mine", "criteria", "--endpoint", "local", "--config", small(tie))
        assert code == 1
        assert "`train` has no pair with a preference" in err
        assert server.log() == []

    def test_what_a_model_says_cannot_command_a_terminal(self, small: Callable[..., Path], server: Server, prefine: Prefine) -> None:
        rows = [
            paired("train", f"{n:032x}", ["j"], (1, 0, 0), prompt_id=f"{n:032x}", prompt=said("user", f"q{n}"), prompt_cluster_id=f"{n}")
            for n in range(3)
        ]
        server.rewrite(Script(answer="tests.flows.scripted_mining:bold"))
        code, out, err = prefine("mine", "criteria", "--endpoint", "local", "--config", small(*rows))
        assert code == 0, err
        assert "Which is bold??" in out  # the second one stands for what turns the line around
        assert "\x1b" not in out
        assert "\u202e" not in out
