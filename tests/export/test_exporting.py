"""Exports of a published version: shards in, shards out, with the rationales and judgements of their pairs."""

from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from flows import exporting
from pipeline.errors import ConfigError, PrefineError
from pipeline.export import FORMATS
from pipeline.publish import VersionWriter, finish
from pipeline.queries import PARTS
from tests.export.rows import judged, pair, written
from tests.versions import publish

Rows = dict[str, list[dict[str, Any]]]


def version() -> Rows:
    """Three pairs to train on and one held out; p0 and p3 have a rationale, p1 two contrary judgements, a dropped pair all of it."""
    contrary = [judged("p1", "j1", "a", "Response A is right."), judged("p1", "j2", "b", "Response B is right.")]
    return {
        "train": [{**pair(f"p{i}"), "split": "train"} for i in range(3)],
        "validation": [{**pair("p3"), "split": "validation"}],
        "rationales": [written("p0"), written("p3", "factors"), written("p3", "general"), written("gone")],
        "judgements": [*contrary, judged("gone", "j3", "a", "Response A is right.")],
    }


def export(root: str, folder: Path, form: str, *kinds: str, reference_logps: bool = False) -> exporting.Exported:
    return exporting.export(root, None, str(folder), form, reference_logps, lambda _: None, kinds)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = str(tmp_path_factory.mktemp("exporting"))
    publish(root, version())
    return root


def exported(folder: Path) -> pl.DataFrame:
    return pl.concat([pl.read_parquet(file) for file in sorted(folder.glob("*.parquet"))])


def test_each_pair_is_exported_with_its_own_rationale_by_split(place: str, tmp_path: Path) -> None:
    told = export(place, tmp_path / "out", "rationale")
    assert (told.rows, told.left_out) == ({"train": 1, "validation": 1}, {"no_rationale": 2})
    assert exported(tmp_path / "out").select("pair_id", "kind").rows() == [("p0", "detailed"), ("p3", "general")]
    assert [file.name for file in sorted((tmp_path / "out").iterdir())] == [
        "train-00000-of-00001.parquet",
        "validation-00000-of-00001.parquet",
    ]


def test_kinds_can_be_asked_for(place: str, tmp_path: Path) -> None:
    assert export(place, tmp_path / "out", "rationale", "factors").rows == {"train": 0, "validation": 1}
    assert exported(tmp_path / "out")["kind"].to_list() == ["factors"]


def test_a_critique_is_a_row_in_either_order(place: str, tmp_path: Path) -> None:
    assert export(place, tmp_path / "out", "critique").rows == {"train": 2, "validation": 2}
    rows = exported(tmp_path / "out").filter(pl.col("pair_id") == "p0")
    assert sorted(rows["chosen_first"]) == [False, True]


def test_judgements_of_published_pairs_alone_are_compared(place: str, tmp_path: Path) -> None:
    told = export(place, tmp_path / "out", "self-rationalization")
    assert (told.rows, told.left_out) == ({"train": 1, "validation": 0}, {"no_written_judgement": 3})
    assert exported(tmp_path / "out")["pair_id"].to_list() == ["p1"]


@pytest.mark.parametrize("form", ["rationale", "critique", "self-rationalization"])
def test_shards_are_exported_as_the_whole_is(form: str, tmp_path: Path) -> None:
    rows = version()
    rows["train"] = [{**pair(f"p{i}", prompt_id=f"{i:02}"), "split": "train"} for i in range(9)]
    rows["rationales"] = [written(f"p{i}", prompt_id=f"{i:02}") for i in range(0, 9, 2)]
    rows["judgements"] = [
        {**judged(f"p{i}", f"j{i}-{n}", verdict, f"Response {verdict.upper()} is right."), "prompt_id": f"{i:02}"}
        for i in range(1, 9, 2)
        for n, verdict in enumerate("ab")
    ]
    parts: dict[str, Any] = {"inputs": [], "counts": [], "config": {"sources": []}, "rules": []}
    parts |= {"packages": {}, "models": {}, "causal_models": [], "endpoints": [], "seeds": {}, "timings": {}}
    for name, size in (("whole", 100), ("sharded", 2)):
        root = str(tmp_path / name)
        writer = VersionWriter(root, "v000001", {part: len(r) for part, r in rows.items()}, rows_per_shard=size)
        for part, part_rows in rows.items():
            writer.write(part, pa.Table.from_pylist(part_rows, schema=PARTS[part][1]))
        finish(root, "v000001", writer.close(), parts)
        export(root, tmp_path / f"{name}-out", form)
    assert exported(tmp_path / "whole-out").height > 2
    assert exported(tmp_path / "sharded-out").to_dicts() == exported(tmp_path / "whole-out").to_dicts()


def test_a_format_or_an_option_that_is_not_there_is_a_config_error(place: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"--format jsonl: expected one of {', '.join(FORMATS)}"):
        export(place, tmp_path, "jsonl")
    with pytest.raises(ConfigError, match="--format critique takes no --reference-logps; --format trl does"):
        export(place, tmp_path, "critique", reference_logps=True)
    with pytest.raises(ConfigError, match="--kind detailed: --format trl takes none"):
        export(place, tmp_path, "trl", "detailed")
    with pytest.raises(ConfigError, match="--kind factor: expected stated, detailed, general, factors"):
        export(place, tmp_path, "rationale", "factor")


def test_a_version_without_what_is_exported_says_what_to_set(tmp_path: Path) -> None:
    root = str(tmp_path / "version")
    publish(root, {"train": [pair("p0")]})
    with pytest.raises(PrefineError, match="no pair has an accepted rationale of these kinds"):
        export(root, tmp_path / "out", "rationale")
    with pytest.raises(PrefineError, match="no judge has written why"):
        export(root, tmp_path / "out", "self-rationalization")
    with pytest.raises(PrefineError, match="log-probabilities of a reference model"):
        export(root, tmp_path / "out", "trl", reference_logps=True)
    assert not (tmp_path / "out").exists()
