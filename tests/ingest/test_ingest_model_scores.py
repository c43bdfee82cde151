"""Reward models' scores stand in fields of the row, or of a file that it is joined to."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.config import SourceConfig, parse_config
from pipeline.errors import ConfigError, LayoutError
from pipeline.ingest import JoinedFile, open_joins, read_records

Ingest = Callable[..., Any]
TEXT = {"prompt": "q", "chosen": "x", "rejected": "y"}
RM = {"fields": {"model_scores": {"rm": ["rm_chosen", "rm_rejected"]}}}


def scores(read: Any) -> list[list[tuple[str, float | None, float | None]] | None]:
    return [found and [(one["model"], one["a"], one["b"]) for one in found] for found in read.judgements["model_scores"].to_list()]


def extras(read: Any) -> list[dict[str, Any]]:
    return [json.loads(text or "{}") for text in read.judgements["extra"].to_list()]


@pytest.mark.parametrize(
    ("row", "source"),
    [
        (TEXT, {}),
        ({"prompt": "q", "response_a": "x", "response_b": "y", "winner": "b"}, {}),
        ({"prompt": "q", "response_a": "x", "response_b": "y", "winner": "b", "annotator": "w"}, {}),
        ({"prompt": "q", "response_a": "x", "response_b": "y", "votes": ["a", "b"]}, {}),
    ],
)
def test_every_layout_of_two_answers_has_place_for_scores(ingest: Ingest, row: dict[str, Any], source: dict[str, Any]) -> None:
    read = ingest([{**row, "rm_chosen": 1.5, "rm_rejected": -2}], **RM, **source)

    assert set(map(str, scores(read))) == {str([("rm", 1.5, -2.0)])}
    assert "rm_chosen" not in extras(read)[0]


def test_lists_of_scores_are_an_ensemble_and_models_are_sorted(ingest: Ingest) -> None:
    fields = {"model_scores": {"small": ["s.c", "s.r"], "ens": ["cs", "rs"]}}
    read = ingest([{**TEXT, "s": {"c": 1, "r": 0}, "cs": [3.71875, 0.58984375], "rs": [3.546875, 0.9921875]}], fields=fields)

    assert scores(read) == [[("ens-0", 3.71875, 3.546875), ("ens-1", 0.58984375, 0.9921875), ("small", 1.0, 0.0)]]


@pytest.mark.parametrize(
    ("chosen", "rejected", "wanted", "kept"),
    [
        (1, None, [("rm", 1.0, None)], None),
        ("1.5", " 2e1 ", [("rm", 1.5, 20.0)], None),
        ("n/a", 2, [("rm", None, 2.0)], {"rm_chosen": "n/a", "rm_rejected": 2}),
        ("NaN", "inf", None, {"rm_chosen": "NaN", "rm_rejected": "inf"}),
        (True, {"x": 1}, None, {"rm_chosen": True, "rm_rejected": {"x": 1}}),
        ("", None, None, None),
        ("[oops", 1, [("rm", None, 1.0)], {"rm_chosen": "[oops", "rm_rejected": 1}),
        ([1, 2, 3], [4], [("rm-0", 1.0, 4.0), ("rm-1", 2.0, None), ("rm-2", 3.0, None)], None),
        ([1, None], ["x", 2], [("rm-0", 1.0, None), ("rm-1", None, 2.0)], {"rm_chosen": [1, None], "rm_rejected": ["x", 2]}),
        ([], [], None, None),
        (1, [2], [("rm", 1.0, None), ("rm-0", None, 2.0)], None),
    ],
)
def test_what_is_no_number_is_no_score_and_not_lost(ingest: Ingest, chosen: Any, rejected: Any, wanted: Any, kept: Any) -> None:
    read = ingest([{**TEXT, "rm_chosen": chosen, "rm_rejected": rejected}, {**TEXT, "prompt": "other"}], **RM)

    assert read.quarantined.is_empty()
    assert scores(read) == [wanted, None]
    assert extras(read) == [kept or {}, {}]


def test_nan_and_infinity_of_a_typed_file_are_no_scores(ingest: Ingest, tmp_path: Path) -> None:
    nan, inf = float("nan"), float("inf")
    place = tmp_path / "x.parquet"
    rows = {
        **{k: [v, v] for k, v in TEXT.items()},
        "rm_chosen": [nan, 1.0],
        "rm_rejected": [1.0, inf],
        "cs": [[nan, 1.0]] * 2,
        "rs": [[2.0, inf]] * 2,
    }
    pl.DataFrame(rows).write_parquet(place)
    fields = {"model_scores": {**RM["fields"]["model_scores"], "ens": ["cs", "rs"]}}
    read = ingest(place.read_bytes(), name="data.parquet", fields=fields)

    listed = [("ens-0", None, 2.0), ("ens-1", 1.0, None)]
    assert scores(read) == [[*listed, ("rm", None, 1.0)], [*listed, ("rm", 1.0, None)]]


def test_cells_of_a_table_hold_numbers_and_lists(ingest: Ingest) -> None:
    read = ingest('prompt,chosen,rejected,rm_chosen,rm_rejected\nq,x,y,1.5,\nq2,x,y,"[1, 2]","[3, 4]"\n', name="data.csv", **RM)

    assert scores(read) == [[("rm", 1.5, None)], [("rm-0", 1.0, 3.0), ("rm-1", 2.0, 4.0)]]


def test_a_row_that_lists_answers_does_not_say_whose_the_scores_are(ingest: Ingest) -> None:
    rows = [{"prompt": "q", "chosen": ["x", "z"], "rejected": ["y"], "rm_chosen": 1, "rm_rejected": 2}]
    read = ingest([*rows, {**TEXT, "rm_chosen": 1, "rm_rejected": 2}], **RM)

    assert scores(read) == [None, None, [("rm", 1.0, 2.0)]]


def test_a_field_that_is_not_there_and_a_layout_without_two_answers_are_refused(ingest: Ingest) -> None:
    with pytest.raises(LayoutError, match=r"`fields: model_scores.rm: rm_chosen` is not in the first 1 records; did you mean 'rm_choosen'"):
        ingest([{**TEXT, "rm_choosen": 1, "rm_rejected": 2}], **RM)
    with pytest.raises(LayoutError, match=r"layout ratings has no place for `fields: model_scores.rm"):
        ingest([{"prompt": "q", "response": "x", "score": 1, "rm_chosen": 1, "rm_rejected": 2}], layout="ratings", **RM)


def test_a_model_needs_two_fields() -> None:
    source = {"name": "s", "uri": "f", "fields": {"model_scores": {"rm": ["one"]}}}
    with pytest.raises(ConfigError, match=r"sources\.0\.fields\.model_scores\.rm: name two fields.*found 1"):
        parse_config({"dataset": "d", "sources": [source]}, "c.yaml")


class TestOptionalJoin:
    """A scores file joined by id, which need not know every row."""

    @staticmethod
    def read(
        tmp_path: Path, rows: list[Any], scored: list[Any], limit: int | None = None, **join: Any
    ) -> tuple[pl.DataFrame, pl.DataFrame, int]:
        for name, content in (("pairs.jsonl", rows), ("scores.jsonl", scored)):
            (tmp_path / name).write_text("".join(json.dumps(one) + "\n" for one in content))
        source = SourceConfig.model_validate(
            {"name": "src", "uri": "pairs.jsonl", "join": [{"uri": "scores.jsonl", "optional": True, **join}], **RM}
        )
        with open_joins(source, [[JoinedFile(str(tmp_path / "scores.jsonl"), "scores.jsonl", 0)]]) as opened:
            batches = list(read_records(str(tmp_path / "pairs.jsonl"), "pairs.jsonl", source, "overall", limit, opened))
        judgements, quarantined = (pl.concat([getattr(one, name) for one in batches]) for name in ("judgements", "quarantined"))
        return judgements, quarantined, sum(one.unmatched for one in batches)

    def test_rows_without_a_partner_stay_without_scores_and_are_counted(self, tmp_path: Path) -> None:
        rows = [{**TEXT, "id": 1}, {**TEXT, "id": 2}, {**TEXT, "id": None}, {**TEXT, "id": 3}]
        scored = [
            {"id": 3, "rm_chosen": 3.0, "rm_rejected": 0.5},
            {"id": 1, "rm_chosen": 1.0, "rm_rejected": 0.0},
            {"id": 9, "rm_chosen": 9},
        ]
        judgements, quarantined, unmatched = self.read(tmp_path, rows, scored, on="id")

        given = [found and found[0]["a"] for found in judgements["model_scores"].to_list()]
        assert (given, judgements["source_row"].to_list()) == ([1.0, None, None, 3.0], [0, 1, 2, 3])
        assert (quarantined.height, unmatched) == (0, 2)

    def test_a_key_that_is_there_twice_with_different_scores_is_still_an_error_of_its_row(self, tmp_path: Path) -> None:
        rows = [{**TEXT, "id": i} for i in (1, 2)]
        scored = [{"id": 1, "rm_chosen": c, "rm_rejected": 0.0} for c in (1.0, 2.0)]
        judgements, quarantined, unmatched = self.read(tmp_path, rows, scored, on="id")

        assert quarantined.select("source_row", "reason").rows() == [(0, "ambiguous_key")]
        assert (judgements["source_row"].to_list(), judgements["model_scores"].to_list(), unmatched) == ([1], [None], 1)

    def test_a_shorter_file_row_by_row_leaves_the_rest_alone(self, tmp_path: Path) -> None:
        judgements, _, unmatched = self.read(tmp_path, [{**TEXT, "n": i} for i in range(3)], [{"rm_chosen": 1, "rm_rejected": 2}], by="row")

        assert [found is not None for found in judgements["model_scores"].to_list()] == [True, False, False]
        assert unmatched == 2

    def test_where_no_row_has_a_partner_all_stay(self, tmp_path: Path) -> None:
        judgements, _, unmatched = self.read(
            tmp_path, [{**TEXT, "id": i} for i in range(3)], [{"id": 7, "rm_chosen": 1, "rm_rejected": 2}], on="id"
        )

        assert (judgements["model_scores"].null_count(), unmatched) == (3, 3)

    def test_a_limited_run_counts_the_rows_it_read(self, tmp_path: Path) -> None:
        rows = [{**TEXT, "id": i} for i in range(5)]
        assert self.read(tmp_path, rows, [{"id": 0, "rm_chosen": 1, "rm_rejected": 2}], limit=3, on="id")[2] == 2

    def test_a_path_cannot_be_optional(self) -> None:
        source = {"name": "s", "uri": "f", "join": [{"path": "(?P<x>.)", "optional": True}]}
        with pytest.raises(ConfigError, match="optional is for joined files"):
            parse_config({"dataset": "d", "sources": [source]}, "c.yaml")
