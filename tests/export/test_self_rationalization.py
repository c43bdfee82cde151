"""Preference pairs among judgements, and what TRL's DPOTrainer makes of them."""

import warnings
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.export import FORMATS, Options
from pipeline.export.questions import READS
from pipeline.export.self_rationalization import READS_OF_JUDGEMENTS, READS_OF_RATIONALES, SCHEMA, to_self_rationalization
from pipeline.schemas import JUDGEMENT, PAIR, RATIONALE, conform
from pipeline.stage import StageResult
from tests.export.rows import judged, pair, table, written

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what these libraries say about each other while they are imported
    import datasets  # type: ignore[import-untyped]
    from transformers import PreTrainedTokenizerFast
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

Rows = list[dict[str, Any]]


def exported(pairs: Rows, judgements: Rows, rationales: Rows | None = None) -> StageResult:
    return to_self_rationalization(
        table(PAIR, *pairs).select(READS),
        table(JUDGEMENT, *judgements).select(READS_OF_JUDGEMENTS),
        table(RATIONALE, *rationales or []).select(READS_OF_RATIONALES),
    )


def both_orders(pair_id: str) -> Rows:
    """A judge that prefers the place: right with chosen first, wrong with rejected first."""
    return [
        judged(pair_id, "j1", "a", "Response A names the capital; Response B does not.", a="chosen"),
        judged(pair_id, "j2", "a", "Response A is the shorter one.", a="rejected"),
    ]


def test_a_judgement_that_gives_the_label_beats_one_that_does_not_and_both_speak_of_one_order() -> None:
    ids = [f"p{i}" for i in range(8)]
    kept = exported([pair(name) for name in ids], [row for name in ids for row in both_orders(name)]).kept

    assert kept["pair_id"].to_list() == ids
    seen = set()
    for row in kept.to_dicts():
        ahead = "<response_a>\nParis.\n</response_a>" in row["prompt"][0]["content"]
        label, other = ("A", "B") if ahead else ("B", "A")
        seen.add(ahead)
        right = f"Response {label} names the capital; Response {other} does not.\n\nVerdict: Response {label}"
        wrong = f"Response {other} is the shorter one.\n\nVerdict: Response {other}"
        assert row["chosen"] == [{"role": "assistant", "content": right}]
        assert row["rejected"] == [{"role": "assistant", "content": wrong}]
        assert (row["chosen_verdict"], row["rejected_verdict"]) == (f"Response {label}", f"Response {other}")
        assert row["prompt"][0]["content"].endswith("Verdict: Response A, Verdict: Response B, or Verdict: tie.")
        assert row["writer"] == "panel (gpt)"
    assert seen == {True, False}


def test_a_tie_is_not_the_label() -> None:
    said = [judged("p1", "j1", "b", "x", a="rejected"), judged("p1", "j2", "tie", "Both are fine.")]
    (row,) = exported([pair("p1")], said).kept.to_dicts()
    assert row["rejected"][0]["content"] == "Both are fine.\n\nVerdict: tie"
    assert row["rejected_verdict"] == "tie"


def test_no_judgement_is_in_two_rows_and_writers_are_compared_with_themselves_alone() -> None:
    said = [
        *(judged("p1", f"j{i}", "a", f"right {i}") for i in range(3)),
        *(judged("p1", f"k{i}", "b", f"wrong {i}") for i in range(2)),
        *(judged("p1", f"l{i}", "b", f"other {i}", annotator_id="another") for i in range(5)),
    ]
    kept = exported([pair("p1")], said).kept
    texts = [(row["chosen"][0]["content"].split("\n")[0], row["rejected"][0]["content"].split("\n")[0]) for row in kept.to_dicts()]
    assert texts == [("right 0", "wrong 0"), ("right 1", "wrong 1")]


def test_a_writer_that_was_not_told_the_label_beats_itself_too() -> None:
    hidden = {"label_shown": False, "generator": "gpt"}
    said = [
        written("p1", "detailed", "The chosen response is right.", own_verdict="chosen", **hidden),
        written(
            "p1", "general", "The rejected response is right.", own_verdict="rejected", accepted=False, reason="other_verdict", **hidden
        ),
    ]
    (row,) = exported([pair("p1")], [], said).kept.to_dicts()
    label, other = row["chosen_verdict"], row["rejected_verdict"]
    assert row["chosen"][0]["content"] == f"{label} is right.\n\nVerdict: {label}"
    assert row["rejected"][0]["content"] == f"{other} is right.\n\nVerdict: {other}"
    told = [{**one, "label_shown": True} for one in said]
    assert exported([pair("p1")], [], told).dropped["reason"].to_list() == ["no_written_judgement"]


def test_pairs_without_a_row_are_dropped_with_a_reason() -> None:
    right, wrong = judged("p", "j", "a", "x"), judged("p", "k", "b", "y")
    cases: dict[str, Rows] = {
        "no_written_judgement": [],
        "no_written_judgement-people": [{**right, "annotator_kind": "human"}, {**wrong, "annotator_kind": "human"}],
        "no_written_judgement-copy": [{**right, "is_copy": True}],
        "no_written_judgement-silent": [{**right, "rationale": None}],
        "names_a_place": [{**right, "rationale": "The first response is better."}],
        "names_a_place-order": [{**right, "rationale": "Response A is better.", "shown_first": "b"}],
        "none_right": [wrong],
        "none_wrong": [right],
        "no_counterpart": [right, {**wrong, "annotator_id": "another"}],
    }
    pairs = [pair(f"p{i}") for i in range(len(cases))]
    ids = [
        {"pair_id": one["pair_id"], "prompt_id": one["prompt_id"], "chosen_id": one["chosen_id"], "rejected_id": one["rejected_id"]}
        for one in pairs
    ]
    said = []
    for own, rows in zip(ids, cases.values(), strict=True):
        sides = {"response_a_id": own["chosen_id"], "response_b_id": own["rejected_id"]}
        said += [{**row, **sides, "pair_id": own["pair_id"], "judgement_id": f"{own['pair_id']}-{row['judgement_id']}"} for row in rows]
    done = exported(pairs, said)
    assert done.kept.height == 0
    assert done.dropped["reason"].to_list() == [name.split("-")[0] for name in cases]
    assert done.dropped.columns == [*READS, "reason"]


@settings(max_examples=25)
@given(st.permutations(range(8)))
def test_the_order_of_rows_changes_nothing(order: list[int]) -> None:
    pairs = [pair(f"p{i}") for i in range(4)]
    said = [row for i in range(4) for row in both_orders(f"p{i}")]
    said = [{**row, "judgement_id": f"{row['pair_id']}-{row['judgement_id']}"} for row in said]
    whole = exported(pairs, said).kept
    assert exported(pairs[::-1], [said[i] for i in order]).kept.sort("pair_id").to_dicts() == whole.to_dicts()


def test_the_format_reads_columns_of_the_tables_and_gives_its_schema_for_no_rows_too() -> None:
    form = FORMATS["self-rationalization"](Options())
    assert set(form.reads) <= set(PAIR.names)
    assert set(form.beside["judgements"]) <= set(JUDGEMENT.names)
    assert set(form.beside["rationales"]) <= set(RATIONALE.names)
    for pairs, said in (([], []), ([pair("p1")], []), ([pair("p1")], both_orders("p1"))):
        done = exported(pairs, said)
        assert conform(done.kept, SCHEMA, "self").num_rows + done.dropped.height == len(pairs)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_dpo_trains_a_judge_on_the_file_as_it_is(model: str, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    ids = [f"p{i}" for i in range(4)]
    kept = exported([pair(name) for name in ids], [row for name in ids for row in both_orders(name)]).kept
    pl.DataFrame(pl.from_arrow(conform(kept, SCHEMA, "self"))).write_parquet(tmp_path / "train.parquet")
    train = datasets.load_dataset("parquet", data_files=str(tmp_path / "train.parquet"), cache_dir=str(tmp_path / "cache"))["train"]
    args = DPOConfig(
        output_dir=str(tmp_path / "out"), max_steps=2, per_device_train_batch_size=4, max_length=1024, logging_steps=1, learning_rate=1e-3,
        save_strategy="no", report_to=[], use_cpu=True, disable_tqdm=True, bf16=False, activation_checkpointing=False,
        dataloader_pin_memory=False,
    )  # fmt: skip
    made = DPOTrainer(model, args=args, train_dataset=train, processing_class=tokenizer)

    made.train()

    first, second = [line["loss"] for line in made.state.log_history if "loss" in line]
    assert second < first
