"""A scorer gets items made of a dataset's own prompts, and is told how consistent its scores are."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows import contrasting, steps
from pipeline.errors import ConfigError
from tests.fakes import WordEncoder
from tests.versions import paired, publish, said

Prefine = Callable[..., tuple[int, str, str]]

TREE = "Name one tall tree that grows near a cold river in {}"
CONFIG = "dataset: small\nsources:\n  - {name: arena, uri: arena.jsonl}\n"


def pair(prompt: str, answer: str, p_soft: float, **fields: Any) -> dict[str, Any]:
    """A published pair."""
    texts = {"prompt": said("user", prompt), "chosen": said("assistant", answer)}
    number = hashlib.blake2b(prompt.encode(), digest_size=16).hexdigest()
    named = paired("train", f"{answer} {p_soft}", ["j"], (1, 0, 0), prompt_id=number, p_soft=p_soft)
    return named | texts | {"prompt_cluster_id": number} | fields


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """The config of a published dataset: two prompts that are alike, and some that are not."""
    rows = [
        pair(TREE.format("Norway"), "A birch, I should say.", 0.8),
        pair(TREE.format("Norway"), "Spruce.", 0.9),
        pair(TREE.format("Chile"), "The southern beech.", 0.6),
        pair(TREE.format("Peru"), "A stone.", 0.9, tools="[]"),  # an item could not be scored without the tools
        pair("Write a song about rain.", "Drip drop.", 0.7, prompt_cluster_id="rain"),
        pair("Write a song about much rain.", "Drip drip drop.", 0.7, prompt_cluster_id="rain"),  # a near duplicate: one of the two
        pair(" ", "To nothing.", 0.7),
    ]
    publish(str(tmp_path / "workspace" / "datasets" / "small"), {"train": rows})
    config = tmp_path / "prefine.yaml"
    config.write_text(CONFIG)
    return config


@pytest.fixture(autouse=True)
def words(monkeypatch: pytest.MonkeyPatch) -> WordEncoder:
    encoder = WordEncoder()
    monkeypatch.setattr(steps, "encoder", lambda embed: encoder)
    return encoder


def line(prompt: str, answer: str, **scores: Any) -> dict[str, Any]:
    return {"prompt_id": prompt, "answer_of": answer, "scores": scores}


def four(own_p: Any, other_p: Any, other_q: Any, own_q: Any, model: str = "rm") -> list[dict[str, Any]]:
    """r(p, a_p), r(p, a_q), r(q, a_p), r(q, a_q)."""
    return [
        line("p", "p", **{model: own_p}), line("p", "q", **{model: other_p}),
        line("q", "p", **{model: other_q}), line("q", "q", **{model: own_q}),
    ]  # fmt: skip


def lines(*told: dict[str, Any]) -> bytes:
    return "".join(json.dumps(one) + "\n" for one in told).encode()


class TestItems:
    def test_two_prompts_that_are_alike_make_four_items_and_nothing_is_embedded_twice(
        self, published: Path, prefine: Prefine, words: WordEncoder, tmp_path: Path
    ) -> None:
        file = tmp_path / "items.jsonl"
        code, out, err = prefine("contrast", "--output", file, "--config", published)
        assert code == 0, err
        assert "4 item(s)" in out

        found = [json.loads(one) for one in file.read_text().splitlines()]
        assert {(one["prompt"][0]["content"], one["answer"][0]["content"]) for one in found} == {
            (TREE.format(country), answer) for country in ("Norway", "Chile") for answer in ("Spruce.", "The southern beech.")
        }  # of Norway's answers the surer one
        assert all(one["scores"] == {} and set(one["prompt"][0]) == {"role", "content"} for one in found)
        assert words.texts_encoded == 3  # the prompts that are not blank, and that have no tools

        again = tmp_path / "again.jsonl"
        prefine("contrast", "--output", again, "--config", published)
        assert again.read_bytes() == file.read_bytes()
        assert words.texts_encoded == 3

    def test_scored_items_are_reported(self, published: Path, prefine: Prefine, tmp_path: Path) -> None:
        file = tmp_path / "items.jsonl"
        prefine("contrast", "--output", file, "--config", published)
        asked = [json.loads(one) for one in file.read_text().splitlines()]
        for one in asked:
            one["scores"] = {"good": float(one["prompt_id"] == one["answer_of"]), "blind": 1}
        file.write_bytes(lines(*asked))

        code, out, _ = prefine("contrast", "--scores", file)
        assert code == 0
        assert out.split("\n")[:2] == [
            "blind",
            "  response consistency: 0.000 (0.000 to 0.658, 2 comparisons)  (a prompt's own answer above the other prompt's)",
        ]
        assert "good\n  response consistency: 1.000 (0.342 to 1.000, 2 comparisons)" in out

        code, out, _ = prefine("contrast", "--scores", file, "--format", "json")
        told = json.loads(out)
        assert [(one["subject"], one["statistic"], one["value"], one["n"]) for one in told] == [
            (model, name, value, 2)
            for model, value in (("blind", 0.0), ("good", 1.0))
            for name in ("response_consistency", "instruction_consistency")
        ]

    def test_where_no_prompts_are_alike_it_says_so(self, prefine: Prefine, tmp_path: Path) -> None:
        publish(str(tmp_path / "workspace" / "datasets" / "small"), {"train": [pair("Write a song about rain.", "Drip drop.", 0.7)]})
        (tmp_path / "prefine.yaml").write_text(CONFIG)
        code, out, _ = prefine("contrast", "--output", tmp_path / "items.jsonl", "--config", tmp_path / "prefine.yaml")
        assert (code, (tmp_path / "items.jsonl").read_text()) == (0, "")
        assert "No two prompts of it are similar enough" in out

    def test_a_file_that_may_hold_scores_is_left_alone(self, published: Path, prefine: Prefine, tmp_path: Path) -> None:
        file = tmp_path / "items.jsonl"
        file.write_text("mine")
        code, _, err = prefine("contrast", "--output", file, "--config", published)
        assert (code, file.read_text()) == (2, "mine")
        assert "exists already" in err

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ([], "expected either --output FILE"),
            (["--output", "x.jsonl", "--scores", "y.jsonl"], "expected either --output FILE"),
            (["--scores", "nowhere.jsonl"], "nowhere.jsonl: no such file"),
            (["--scores", "nowhere.jsonl", "--format", "xml"], "expected text or json"),
        ],
    )
    def test_what_cannot_be_asked_is_one_message(
        self, arguments: list[str], said: str, prefine: Prefine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        code, out, err = prefine("contrast", *arguments)
        assert (code, out) == (2, "")
        assert said in err


class TestReport:
    def test_the_rewards_of_the_check_in_any_order_of_lines(self) -> None:
        told = contrasting.report(lines(*reversed(four(2, 1, 3, 4))), "f")
        assert told.select("statistic", "subject", "value", "n").rows() == [
            ("response_consistency", "rm", 1.0, 2),
            ("instruction_consistency", "rm", 0.5, 2),
        ]

    def test_what_lacks_a_score_is_told_apart_for_each_scorer(self) -> None:
        scored = four(2, 1, 3, 4)
        scored[0]["scores"] |= {"half": 1.0}
        scored[1]["scores"] |= {"half": 0.0}
        scored[2]["scores"] |= {"half": None}
        told = contrasting.report(lines(*scored), "f").filter(subject="half")
        assert told.select("value", "n", "note").rows() == [
            (1.0, 1, "1 of 2 comparisons lack a score"),
            (None, 0, "no contrast has the scores it needs"),
        ]
        shown = list(contrasting.render(told))
        assert shown[0] == "half"
        assert shown[3].startswith("  instruction consistency: not known: no contrast has the scores it needs")

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (lines(line("p", "p"), line("p", "q")), "f: no line has a score"),
            (b"", "f: no line has a score"),
            (lines(*four(1, 2, 3, 4), line("p", "q", rm=5)), "prompt p with the answer of q stands there twice"),
            (b'\n{"prompt_id": "p"', "f, line 2: is not JSON"),
            (b"[1]", "f, line 1: expected an object with prompt_id, answer_of and scores"),
            (lines({"prompt_id": "p", "answer_of": "q", "scores": 3}), "f, line 1: expected an object"),
            (lines({"prompt_id": 1, "answer_of": "q", "scores": {}}), "f, line 1: expected an object"),
            (lines(line("p", "p", rm="7")), "the score of 'rm' is '7'; expected a number"),
            (lines(line("p", "p", rm=True)), "the score of 'rm' is True; expected a number"),
        ],
    )
    def test_a_file_of_something_else_is_refused_with_the_line(self, content: bytes, said: str) -> None:
        with pytest.raises(ConfigError, match=said):
            contrasting.report(content, "f")
