"""Rationales as prompts and completions for a judge, and what TRL's SFTTrainer learns of them."""

import json
import warnings
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.export import FORMATS, Options
from pipeline.export.critique import READS_OF_RATIONALES, SCHEMA, to_critique
from pipeline.export.questions import READS
from pipeline.schemas import PAIR, RATIONALE, conform
from pipeline.stage import StageResult
from tests.export.rows import pair, table, written

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what these libraries say about each other while they are imported
    import datasets  # type: ignore[import-untyped]
    from transformers import PreTrainedTokenizerFast
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

Rows = list[dict[str, Any]]
LEVELS = ["wrong", "vague", "fair", "good", "exact"]
FEEDBACK = "The chosen response is exact; the rejected response is wrong."


def exported(pairs: Rows, rationales: Rows, *kinds: str) -> StageResult:
    return to_critique(table(PAIR, *pairs).select(READS), table(RATIONALE, *rationales).select(READS_OF_RATIONALES), kinds)


def scored(pair_id: str, **items: Any) -> dict[str, Any]:
    """A rubric's rationale, `items` as the reader of answers writes them."""
    rubric = {"criterion": "Is it right?", "levels": LEVELS, "reference": None, "chosen": 5, "rejected": 1, **items}
    return written(pair_id, "rubric", FEEDBACK, items=json.dumps(rubric), own_verdict="chosen", label_shown=False)


def test_a_critique_ends_in_the_verdict_and_is_there_in_both_orders() -> None:
    rows = exported([pair("p1")], [written("p1", text="The chosen response is right.\n")]).kept.to_dicts()

    assert sorted(row["chosen_first"] for row in rows) == [False, True]
    assert [row["swapped"] for row in rows] == [False, True]
    for row in rows:
        label, other = ("A", "B") if row["chosen_first"] else ("B", "A")
        asked = row["prompt"][0]["content"]
        assert f"<response_{label.lower()}>\nParis.\n</response_{label.lower()}>" in asked
        assert f"<response_{other.lower()}>\nLyon.\n</response_{other.lower()}>" in asked
        assert asked.endswith("Verdict: Response A, Verdict: Response B, or Verdict: tie.")
        assert row["completion"] == [{"role": "assistant", "content": f"Response {label} is right.\n\nVerdict: Response {label}"}]
        assert [row[name] for name in ("criterion", "levels", "reference", "feedback", "chosen_score", "rejected_score")] == [None] * 6


def test_a_rubrics_row_has_criterion_levels_reference_feedback_and_scores() -> None:
    rows = exported([pair("p1", criterion="safety", context="c")], [scored("p1", reference="It is Paris.")]).kept.to_dicts()

    assert len(rows) == 2
    for row in rows:
        label, other, a, b = ("A", "B", 5, 1) if row["chosen_first"] else ("B", "A", 1, 5)
        feedback = f"Response {label} is exact; Response {other} is wrong."
        assert row["completion"][0]["content"] == f"{feedback}\n\nScores: Response A {a}, Response B {b}"
        assert row["prompt"][0]["content"].endswith(
            "\n</response_b>\n\nScore Response A and Response B from 1 to 5 by this rubric: Is it right?"
            "\n1: wrong\n2: vague\n3: fair\n4: good\n5: exact\n\nA response that deserves a 5:\nIt is Paris."
            "\n\nExplain, then end with one line, with numbers for n: Scores: Response A n, Response B n."
        )
        told = [row[name] for name in ("criterion", "levels", "reference", "feedback", "chosen_score", "rejected_score")]
        assert told == ["Is it right?", LEVELS, "It is Paris.", feedback, 5, 1]


def test_a_rubric_may_favour_the_rejected_answer_and_each_of_several_gives_its_rows() -> None:
    said = [
        {**scored("p1", chosen=2, rejected=4), "own_verdict": "rejected", "rationale_id": "a"},
        {**scored("p1", criterion="Is it kind?"), "rationale_id": "b"},
    ]
    kept = exported([pair("p1")], said).kept
    assert kept.filter(~pl.col("swapped"))["criterion"].to_list() == ["Is it right?", "Is it kind?"]
    assert kept.filter(pl.col("chosen_first"))["completion"][0][0]["content"].endswith("Scores: Response A 2, Response B 4")


def test_rationales_that_do_not_argue_for_the_label_or_are_not_accepted_are_left_out() -> None:
    said = [
        written("p0", accepted=False, reason="too_short"),
        written("p1", own_verdict="tie", label_shown=False),
        written("p2", "factors"),
        written("p3", "checklist", None, items='{"questions": [], "chosen": 1.0, "rejected": 0.0}'),
        scored("p4", chosen=None),
        written("p5", "detailed", None),
    ]
    done = exported([pair(f"p{i}") for i in range(6)], said)
    assert (done.kept.height, done.dropped["reason"].to_list()) == (0, ["no_rationale"] * 6)


def test_kinds_come_in_the_order_asked_for() -> None:
    said = [written("p1", "general"), written("p1", "stated"), written("p1"), scored("p1")]

    def kinds(*asked: str) -> list[str]:
        return exported([pair("p1")], said, *asked).kept.filter(~pl.col("swapped"))["kind"].to_list()

    assert kinds() == ["stated", "detailed", "general", "rubric"]
    assert kinds("rubric", "general") == ["rubric", "general"]


def test_pairs_that_a_plain_trainer_would_mangle_can_be_criticised() -> None:
    (row, _) = exported([pair("p1", prompt=[], tools="[]")], [written("p1")]).kept.to_dicts()
    assert row["prompt"][0]["content"].startswith("<conversation>\n")


@settings(max_examples=25)
@given(st.permutations(range(6)), st.integers(0, 6))
def test_neither_the_order_of_rows_nor_how_they_are_parted_changes_a_row(order: list[int], cut: int) -> None:
    pairs = [pair(f"p{i}") for i in range(6)]
    said = [row for i in range(5) for row in (written(f"p{i}"), scored(f"p{i}"))]
    whole = exported(pairs, said).kept
    mixed = [pairs[i] for i in order]
    parts = [exported(mixed[:cut], said[::-1]).kept, exported(mixed[cut:], said).kept]
    assert pl.concat(parts).sort("pair_id", maintain_order=True).to_dicts() == whole.to_dicts()


def test_the_format_reads_columns_of_the_tables_and_gives_its_schema_for_no_rows_too() -> None:
    form = FORMATS["critique"](Options())
    assert set(form.reads) <= set(PAIR.names)
    assert set(form.beside["rationales"]) <= set(RATIONALE.names)
    for pairs, said in (([], []), ([pair("p1")], []), ([pair("p1")], [written("p1"), scored("p1")])):
        done = form.convert(table(PAIR, *pairs).select(form.reads), table(RATIONALE, *said).select(READS_OF_RATIONALES))
        assert conform(done.kept, SCHEMA, "critique").num_rows == 2 * len(said)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_sft_learns_the_completions_of_the_file_as_it_is(model: str, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    said = [written("p0"), scored("p1")]
    kept = exported([pair("p0"), pair("p1")], said).kept
    pl.DataFrame(pl.from_arrow(conform(kept, SCHEMA, "critique"))).write_parquet(tmp_path / "train.parquet")
    train = datasets.load_dataset("parquet", data_files=str(tmp_path / "train.parquet"), cache_dir=str(tmp_path / "cache"))["train"]
    args = SFTConfig(
        output_dir=str(tmp_path / "out"), max_steps=2, per_device_train_batch_size=4, max_length=1024, logging_steps=1, learning_rate=1e-3,
        save_strategy="no", report_to=[], use_cpu=True, disable_tqdm=True, bf16=False, activation_checkpointing=False,
        dataloader_pin_memory=False,
    )  # fmt: skip
    made = SFTTrainer(model, args=args, train_dataset=train, processing_class=tokenizer)

    labels = next(iter(made.get_train_dataloader()))["labels"]
    made.train()

    learnt = {tokenizer.decode(row[row >= 0]).strip().removesuffix("<|end|>") for row in labels}
    assert learnt == {row[0]["content"] for row in kept["completion"]}
    first, second = [line["loss"] for line in made.state.log_history if "loss" in line]
    assert second < first
