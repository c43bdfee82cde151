"""Lint's verdicts on TRL's formats against what TRL 1.16 itself does with the exported rows: what it drops and cuts."""

import warnings
from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest

from pipeline.embed import BareTokenizer
from pipeline.export import FORMATS, Options
from pipeline.export.lint import PROFILES, Rendering, check
from tests.ches.tokenizers import tokenizer as made_tokenizer
from tests.export.texts import TEXTS, WINDOW, around_the_window, flagged

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what these libraries say about each other while they are imported
    import datasets  # type: ignore[import-untyped]
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DataCollatorForPreference, DPOTrainer
    from trl.trainer.kto_config import KTOConfig
    from trl.trainer.kto_trainer import KTOTrainer
    from trl.trainer.reward_config import RewardConfig
    from trl.trainer.reward_trainer import RewardTrainer

ARGS: dict[str, Any] = {"report_to": [], "use_cpu": True, "bf16": False, "activation_checkpointing": False, "max_length": WINDOW}


@pytest.fixture(autouse=True)
def cache(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cache of data sets of the test's own, without its progress bars."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


@pytest.fixture(scope="module")
def pairs() -> pl.DataFrame:
    return around_the_window()


def prepared(trainer: Any, config: Any, pairs: pl.DataFrame, form: str, tokenizer: Any) -> Any:
    """The export's rows after the trainer's own preparation, without a trainer: the method reads no more of it than this."""
    result = FORMATS[form](Options()).convert(pairs)
    assert not result.dropped.height
    bare = object.__new__(trainer)
    bare._tokenizer, bare.calculate_KL, bare._is_vision_dataset = tokenizer, False, False
    rows = result.kept.to_dicts()
    if form != "unpaired":
        rows = [{**row, "pair_id": name} for row, name in zip(rows, pairs["pair_id"], strict=True)]
    return bare._prepare_dataset(datasets.Dataset.from_list(rows), tokenizer, config, "some")


@pytest.mark.parametrize("kind", ["bytes", "pieces"])
@pytest.mark.parametrize("template", ["chatml", "bare", "thinks", "ignores_system"])
def test_dpo_drops_cuts_and_equates_the_rows_that_lint_names(pairs: pl.DataFrame, kind: str, template: str) -> None:
    tokenizer = made_tokenizer(kind, template)
    told = flagged(pairs, "trl", tokenizer)

    rows = prepared(DPOTrainer, DPOConfig(**ARGS), pairs, "trl", tokenizer)

    left = rows["pair_id"]
    assert told["prompt_over_window"] == set(TEXTS) - set(left)
    full = [(row["pair_id"], row["prompt_ids"], row["chosen_ids"], row["rejected_ids"]) for row in rows]
    assert told["chosen_truncated"] == {name for name, prompt, chosen, _ in full if len(prompt) + len(chosen) > WINDOW}
    assert told["rejected_truncated"] == {name for name, prompt, _, rejected in full if len(prompt) + len(rejected) > WINDOW}
    batch = DataCollatorForPreference(0, max_length=WINDOW)([dict(row) for row in rows])
    ids, mask = batch["input_ids"], batch["attention_mask"]
    same = [bool((ids[at] == ids[at + len(left)]).all() and (mask[at] == mask[at + len(left)]).all()) for at in range(len(left))]
    assert told["identical_after_truncation"] == {name for name, equal in zip(left, same, strict=True) if equal}
    assert "04" in told["prompt_over_window"]
    assert "05" in told["identical_after_truncation"]


def test_a_prompt_that_is_written_otherwise_before_an_answer_is_named(pairs: pl.DataFrame) -> None:
    tokenizer = made_tokenizer("bytes", "thinks")

    told = flagged(pairs, "trl", tokenizer)

    rows = prepared(DPOTrainer, DPOConfig(**ARGS), pairs, "trl", tokenizer)
    opened = [tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, return_dict=True)["input_ids"] for row in rows]
    assert all(len(row["prompt_ids"]) < len(ids) for row, ids in zip(rows, opened, strict=True))
    assert told["prompt_end_lost"] == set(TEXTS)
    assert not flagged(pairs, "trl", made_tokenizer("bytes", "chatml"))["prompt_end_lost"]


def test_the_reward_trainer_drops_the_pairs_that_lint_names(pairs: pl.DataFrame) -> None:
    tokenizer = made_tokenizer("bytes", "chatml")
    told = flagged(pairs, "reward", tokenizer)

    rows = prepared(RewardTrainer, RewardConfig(**ARGS), pairs, "reward", tokenizer)

    assert told["prompt_over_window"] | told["pair_over_window"] == set(TEXTS) - set(rows["pair_id"])
    assert {"02", "03", "05"} <= told["pair_over_window"]


def test_kto_drops_and_cuts_the_answers_that_lint_names(pairs: pl.DataFrame) -> None:
    tokenizer = made_tokenizer("pieces", "chatml")
    told = flagged(pairs, "unpaired", tokenizer)

    rows = prepared(KTOTrainer, KTOConfig(**ARGS), pairs, "unpaired", tokenizer)

    names = {table_["prompt"][-1]["content"] + table_["chosen"][-1]["content"]: table_["pair_id"] for table_ in pairs.to_dicts()}
    good = [row for row in rows if row["label"]]
    found = {names[row["prompt"][-1]["content"] + row["completion"][-1]["content"]]: row for row in good}
    assert told["prompt_over_window"] == set(TEXTS) - set(found)
    cut = {name for name, row in found.items() if len(row["prompt_ids"]) + len(row["completion_ids"]) > WINDOW}
    assert told["chosen_truncated"] == cut


def test_counting_only_what_may_be_long_changes_no_verdict(pairs: pl.DataFrame) -> None:
    tokenizer = made_tokenizer("bytes", "chatml")

    for window in (20, WINDOW, 150):
        flags, longest = check(pairs, PROFILES["trl"], Rendering(tokenizer), BareTokenizer(tokenizer), window)
        every, longest_of_all = check(pairs, PROFILES["trl"], Rendering(tokenizer), BareTokenizer(tokenizer), window, may_shrink=True)
        assert flags.equals(every)
        assert longest == longest_of_all


def test_a_template_without_system_turns_is_named_whether_it_refuses_or_ignores_them(pairs: pl.DataFrame) -> None:
    for template in ("ignores_system", "refuses_system"):
        assert flagged(pairs, "trl", made_tokenizer("bytes", template))["system_turn_unsupported"] == {"06"}
    assert not flagged(pairs, "trl", made_tokenizer("bytes", "chatml"))["system_turn_unsupported"]
