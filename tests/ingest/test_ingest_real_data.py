"""Public files, where a checkout has them beside it; their text is never shown."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.config import SourceConfig
from pipeline.ingest import count_rows, read_records

RAW = Path(__file__).resolve().parents[3] / "shared" / "data" / "raw"
UKP: dict[str, Any] = {"prompt": ["title", "stance"], "response_a": "argument_1.text", "response_b": "argument_2.text"}


@pytest.mark.parametrize(
    ("path", "fields", "rows", "outcomes", "reasons"),
    [
        ("hh_rlhf/harmless-base/test.jsonl.gz", {}, 2312, {"a": 2312}, {}),
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
