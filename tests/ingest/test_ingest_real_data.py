"""Public files, where a checkout has them beside it; their text is never shown."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.config import SourceConfig
from pipeline.ingest import count_rows, read_records

RAW = Path(__file__).resolve().parents[3] / "shared" / "data" / "raw"
UKP: dict[str, Any] = {"prompt": ["title", "stance"], "response_a": "argument_1.text", "response_b": "argument_2.text"}
ALPACA: list[tuple[str, dict[str, int], dict[str, int]]] = [
    ("alpaca-7b/alpaca_eval_gpt4", {"a": 584, "b": 205, "tie": 16}, {}),
    ("claude-2/alpaca_eval_gpt4", {"a": 69, "b": 734, "tie": 1}, {"missing_field": 1}),
    ("falcon-40b-instruct/alpaca_eval_gpt4", {"a": 435, "b": 366, "tie": 4}, {}),
    ("falcon-7b-instruct/alpaca_eval_gpt4", {"a": 435, "b": 366, "tie": 4}, {}),
    ("gpt-3.5-turbo-0301/alpaca_eval_cot_gpt4_turbo_fn", {"a": 751, "b": 53, "tie": 1}, {}),
    ("gpt-3.5-turbo-0301/alpaca_eval_gpt4_turbo_fn", {"a": 740, "b": 64, "tie": 1}, {}),
    ("gpt-3.5-turbo-0301/weighted_alpaca_eval_gpt4_turbo", {"a": 733, "b": 71, "tie": 1}, {}),
    ("text_davinci_001/alpaca_eval_gpt4", {"a": 672, "b": 112, "tie": 20}, {"missing_field": 1}),
    ("vicuna-13b/alpaca_eval_gpt4", {"a": 237, "b": 566, "tie": 2}, {}),
]


@pytest.mark.parametrize(
    ("path", "fields", "rows", "outcomes", "reasons"),
    [
        ("hh_rlhf/harmless-base/test.jsonl.gz", {}, 2312, {"a": 2312}, {}),
        *((f"alpaca_eval/{path}/annotations.json.gz", {}, 805, outcomes, reasons) for path, outcomes, reasons in ALPACA),
        ("llama_factory/dpo_en_demo.json.gz", {}, 300, {"a": 300}, {}),
        ("llama_factory/dpo_zh_demo.json.gz", {}, 300, {"a": 300}, {}),
        ("llama_factory/v1_dpo_demo.jsonl", {}, 10, {"a": 10}, {}),
        ("medicalgpt_dpo_zh/dpo_zh_500.jsonl.gz", {}, 500, {"a": 500}, {}),
        ("pandalm/testset-v1.json.gz", {}, 999, {"a": 1246, "b": 1411, "tie": 322}, {"wrong_type": 6}),
        ("llmbar/LLMBar/Natural/dataset.json", {}, 100, {"a": 42, "b": 58}, {}),
        ("ukp_convarg1/pairs.jsonl.gz", UKP, 12646, {"a": 24358, "b": 24027, "tie": 14713}, {}),
    ],
)
def test_a_public_file_is_read_whole(
    path: str, fields: dict[str, Any], rows: int, outcomes: dict[str, int], reasons: dict[str, int]
) -> None:
    place = RAW / path
    if not place.exists():
        pytest.skip("the public raw data is not beside this checkout")
    batches = list(read_records(str(place), path, SourceConfig.model_validate({"name": "s", "uri": path, "fields": fields}), "overall"))
    judgements = pl.concat([batch.judgements for batch in batches])
    quarantined = pl.concat([batch.quarantined for batch in batches])
    assert sum(batch.rows for batch in batches) == count_rows(str(place)) == rows
    assert dict(judgements["outcome"].value_counts().iter_rows()) == outcomes
    assert dict(quarantined["reason"].value_counts().iter_rows()) == reasons


def test_transcripts_split_where_a_plain_reading_of_the_text_splits_them() -> None:
    place = RAW / "hh_rlhf/harmless-base/test.jsonl.gz"
    if not place.exists():
        pytest.skip("the public raw data is not beside this checkout")
    batches = read_records(str(place), "x", SourceConfig(name="s", uri="x"), "overall")
    frame = pl.concat([batch.judgements for batch in batches])
    answer = pl.col("response_a").list.first().struct.field("content")
    assert frame.filter(answer == "")["source_row"].to_list() == [86, 516, 925, 1103]
    more = frame.filter((pl.col("response_a").list.len() > 1) | (pl.col("response_b").list.len() > 1))
    assert more["source_row"].to_list() == [1254, 1688, 1950, 1952, 2036]
