"""What a causal model says of answers, in whole runs: scores, reasons, the store, memory that runs out, models that cannot be used."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from flows import hidden
from pipeline.config import PipelineConfig, parse_config
from pipeline.errors import ConfigError
from tests.ches.lms import save_llama
from tests.flows.test_promises import Row
from tests.flows.test_voting import Case, Published

PAIRS = 40
FOLLOW_UPS = {"positive": ["Thank you!", "That is right.", "Thank you!"], "negative": ["That is wrong."]}
WORDS = ("river", "lamp", "stone", "window", "paper", "engine", "forest", "letter", "harbour", "needle", "garden", "candle")


def words(seed: int, count: int) -> str:
    rng = np.random.default_rng(seed)
    return " ".join(f"{WORDS[i]}{seed}" for i in rng.integers(0, len(WORDS), count))


def rows_of(start: int, count: int) -> list[Row]:
    """Pairs whose answers have all lengths from one word up; every fifth prompt is long enough to be shared."""
    return [
        {
            "prompt": f"Say something about topic{n} {words(n, 20 if n % 5 == 0 else 3)}?",
            "chosen": f"Well: {words(1000 + n, 1 + n % 9)}.",
            "rejected": f"No: {words(2000 + n, 1 + n % 13)}!",
        }
        for n in range(start, start + count)
    ]


def odd_rows() -> list[Row]:
    """Pairs that cannot be scored: an empty answer, a prompt that fills the window; and one that is scored in part."""
    return [
        {"prompt": "Which one is empty?", "chosen": "Not this one, surely.", "rejected": ""},
        {"prompt": f"Too long: {words(7, 100)}", "chosen": "It certainly is.", "rejected": "Is it really so?"},
    ]


pytestmark = pytest.mark.usefixtures("encoder")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def weak_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_llama(tmp_path_factory.mktemp("weak"), seed=1)


def case(model: str, rows: list[Row], partitions: int = 2, rules: Row | None = None, **ches: Any) -> Case:
    settings: Row = {"partitions": partitions, "rules": {"preset": "none", **(rules or {})}, "publish": {"validation_share": 0.2}}
    settings["signals"] = {"ches": {"backend": "causal_lm", "model": model, "max_length": 400, **ches}}
    return Case({"pairs.jsonl": rows}, [{"name": "pairs", "uri": "pairs.jsonl"}], settings)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hidden")


@pytest.fixture(scope="module")
def everything(model: str, weak_model: str, home: Path) -> Published:
    """A run that asks for all that a model can say."""
    asked = {"logps": True, "last_hidden": True, "weak_model": weak_model, "follow_ups": FOLLOW_UPS}
    return case(model, [*rows_of(0, PAIRS), *odd_rows()], **asked).run(home)


def config_of(given: Case) -> PipelineConfig:
    return parse_config({"dataset": "votes", "sources": given.sources, **given.settings}, "test")


def states(model: str, prompt: str, answer: str) -> tuple[torch.Tensor, float]:
    """States that predict an answer's tokens, and its log-probability: one conversation, float64, everything at once."""
    network: Any = AutoModelForCausalLM.from_pretrained(model).double()
    tokenizer: Any = AutoTokenizer.from_pretrained(model)
    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    before = tokenizer.apply_chat_template(turns[:1], add_generation_prompt=True, tokenize=True)["input_ids"]
    ids = torch.tensor([tokenizer.apply_chat_template(turns, tokenize=True)["input_ids"]])
    assert ids[0, : len(before)].tolist() == before
    with torch.inference_mode():
        out = network(ids, output_hidden_states=True)
    logps = out.logits[0, len(before) - 1 : -1].log_softmax(-1)
    return out.hidden_states[-1][0, len(before) - 1 : -1], float(logps.gather(1, ids[0, len(before) :, None]).sum())


def test_scores_are_those_of_two_whole_passes_in_float64(model: str, everything: Published) -> None:
    pairs = everything.table("data").filter(pl.col("ches").is_not_null())

    assert pairs.height == PAIRS
    for pair in pairs.sort("pair_id").head(6).iter_rows(named=True):
        prompt = pair["prompt"][0]["content"]
        (chosen, logp), (rejected, other) = (states(model, prompt, pair[side][0]["content"]) for side in ("chosen", "rejected"))
        own, against, n, m = chosen.sum(0), rejected.sum(0), len(chosen), len(rejected)
        assert pair["ches"] == pytest.approx(float(own @ against - own @ own), abs=1e-5 * float(own @ own))
        assert pair["ches_ln"] == pytest.approx(float(own @ against / (n * m) - own @ own / n**2), abs=1e-5 * float(own @ own) / n**2)
        assert (pair["chosen_lm_tokens"], pair["rejected_lm_tokens"]) == (n, m)
        assert (pair["chosen_logp"], pair["rejected_logp"]) == pytest.approx((logp, other), rel=1e-5)
        assert pair["difficulty"] == pytest.approx(other - logp, rel=1e-3, abs=1e-3)
        assert pair["reference_ranks_right"] == (pair["difficulty"] < 0)


def test_a_pair_without_a_score_says_why_and_has_no_number(everything: Published) -> None:
    lacking = everything.pairs().filter(pl.col("ches_missing").is_not_null())
    reasons = dict(lacking.select(pl.col("prompt").list.first().struct.field("content").str.head(5), "ches_missing").iter_rows())

    assert reasons == {"Which": "empty_answer", "Too l": "prompt_fills_window"}
    assert lacking.select("ches", "ches_ln", "chosen_logp", "difficulty", "chosen_follow_up").null_count().row(0) == (2,) * 5


def test_every_kind_of_score_is_there_and_the_manifest_names_the_models(model: str, weak_model: str, everything: Published) -> None:
    pairs = everything.table("data").filter(pl.col("ches").is_not_null())
    ratio = pairs.select(pl.col("chosen_logp") - pl.col("chosen_density_ratio")).to_series()  # what the weak model says

    told = pairs.select("last_hidden_inner", "chosen_density_ratio", "rejected_density_ratio", "chosen_follow_up", "rejected_follow_up")
    assert told.null_count().row(0) == (0,) * 5
    first = pairs.row(0, named=True)
    assert ratio[0] == pytest.approx(states(weak_model, first["prompt"][0]["content"], first["chosen"][0]["content"])[1], rel=1e-5)
    strong, weak = everything.manifest()["causal_models"]
    assert (strong["model"], weak["model"], strong["template"], strong["max_length"]) == (model, weak_model, "chat", 400)
    assert strong["fingerprint"] != weak["fingerprint"]
    assert strong["stepped_down_from"] is None


def test_an_export_has_what_dpo_reads_instead_of_a_reference_model(
    home: Path, everything: Published, prefine: Callable[..., tuple[int, str, str]]
) -> None:
    code, said, _ = prefine("export", home / "for-trl", "--reference-logps", "--config", home / "prefine.yaml")

    shards = pl.read_parquet(home / "for-trl" / "*.parquet")
    assert (code, shards.columns) == (0, ["prompt", "chosen", "rejected", "ref_chosen_logps", "ref_rejected_logps"])
    assert f"left out, no_reference_logps: {len(odd_rows())}" in said
    known = everything.table("data").filter(pl.col("chosen_logp").is_not_null())
    assert sorted(shards["ref_chosen_logps"]) == sorted(known["chosen_logp"])
    again, _, told = prefine("export", home / "for-trl", "--config", home / "prefine.yaml")
    assert again == 2
    assert "Give an empty folder" in told


def test_a_second_run_reads_nothing_and_new_rows_read_only_themselves(model: str, home: Path, everything: Published) -> None:
    asked = dict(everything.manifest()["config"]["signals"]["ches"])
    same = case(**{**asked, "backend": "causal_lm"}, rows=[*rows_of(0, PAIRS), *odd_rows()], partitions=3).run(home)
    assert (same.outcome.read_by_model, same.outcome.unchanged) == (0, True)

    more = case(model, rows_of(0, PAIRS + 3)).run(home)  # without log-probabilities: other results
    assert more.outcome.read_by_model == 2 * (PAIRS + 3)
    assert case(model, rows_of(0, PAIRS + 5)).run(home).outcome.read_by_model == 4


def test_safety_dpo_publishes_the_lowest_twentieth(model: str, home: Path, everything: Published) -> None:
    lowest = case(model, rows_of(0, PAIRS + 3), rules={"preset": "safety-dpo"}).run(home)

    ranked = everything.table("data").filter(pl.col("ches_ln").is_not_null())
    assert lowest.outcome.read_by_model == 0
    assert lowest.table("data").height == int(0.05 * (PAIRS + 3)) == 2
    assert lowest.table("data")["ches_ln"].max() <= ranked["ches_ln"].sort()[2]  # type: ignore[operator]
    assert lowest.table("dropped").filter(pl.col("reason") == "lowest_ches").height == PAIRS + 1


def test_where_memory_runs_out_the_shape_shrinks_and_the_run_says_so(model: str, tmp_path: Path, everything: Published) -> None:
    small = case(model, rows_of(0, 8), batch_tokens=512)
    network = hidden.scorers(config_of(small))[0][0].model

    def check(_module: torch.nn.Module, _args: tuple[()], given: dict[str, torch.Tensor]) -> None:
        if given["input_ids"].numel() > 300:
            raise torch.OutOfMemoryError("300 tokens fit")

    network.network.base.register_forward_pre_hook(check, with_kwargs=True)

    found = small.run(tmp_path)

    told = found.manifest()["causal_models"][0]
    assert (told["batch_tokens"], told["stepped_down_from"]) == (256, 512)
    known = everything.table("data").select("pair_id", "ches_ln")
    both = found.table("data").select("pair_id", "ches_ln").join(known, on="pair_id", validate="1:1")
    assert both.height == 8
    np.testing.assert_allclose(both["ches_ln"], both["ches_ln_right"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "signals.ches.model"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0broken"), "signals.ches.model"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "signals.ches.model"),
        (lambda folder: (folder / "config.json").write_text(json.dumps({"model_type": "bert"})), "signals.ches.model"),
    ],
    ids=["no weights", "broken weights", "no tokenizer", "no causal model"],
)
def test_a_model_that_cannot_be_used_is_told_before_any_work(
    harm: Callable[[Path], object], message: str, tmp_path: Path, prefine: Callable[..., tuple[int, str, str]]
) -> None:
    folder = tmp_path / "model"
    save_llama(folder)
    harm(folder)

    with pytest.raises(ConfigError, match=message):
        case(str(folder), rows_of(0, 2)).run(tmp_path)
    assert not (tmp_path / "workspace" / "datasets").exists()
    code, _, told = prefine("run", tmp_path / "prefine.yaml")
    assert code == 2
    assert message in told


def test_a_template_that_is_not_there_is_told_before_any_work(tmp_path: Path) -> None:
    folder = save_llama(tmp_path / "model", template=None)

    with pytest.raises(ConfigError, match=r"signals\.ches\.template"):
        case(folder, rows_of(0, 2), template="chat").run(tmp_path)


def test_a_weak_model_that_is_not_there_is_told_by_its_own_name(model: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"signals\.ches\.weak_model: there is no folder .*gone"):
        case(model, rows_of(0, 2), weak_model=str(tmp_path / "gone")).run(tmp_path)
