"""Exports of a published version: shards in, shards out, with the rationales and judgements of their pairs."""

import hashlib
import json
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows import exporting
from pipeline import export_files, storage
from pipeline.errors import ConfigError, PrefineError, UnreadableFileError
from pipeline.export import FORMATS
from pipeline.export_files import UNDER_WAY
from pipeline.publish import VersionWriter, content_sha256
from pipeline.queries import PARTS, read_manifest
from tests.builders import says
from tests.export.rows import judged, pair, written
from tests.versions import row

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


def export(
    root: str,
    folder: Path | str,
    name: str,
    *kinds: str,
    splits: tuple[str, ...] = exporting.SPLITS,
    allow_loss: bool = False,
    **options: Any,
) -> exporting.Exported:
    request = exporting.Request(name, exporting.options({"kinds": kinds, **options}), None, splits, allow_loss)
    return exporting.export(root, str(folder), request)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = str(tmp_path_factory.mktemp("exporting"))
    write_version(root, version(), 100)
    return root


def exported(folder: Path) -> pl.DataFrame:
    return pl.concat([pl.read_parquet(file) for file in sorted(folder.glob("*.parquet"))])


def test_each_pair_is_exported_with_its_own_rationale_by_split(place: str, tmp_path: Path) -> None:
    told = export(place, tmp_path / "out", "rationale")
    assert (told.rows, told.left_out) == ({"train": 1, "validation": 1, "test": 0}, {"no_rationale": 2})
    assert exported(tmp_path / "out").select("pair_id", "kind").rows() == [("p0", "detailed"), ("p3", "general")]
    assert [file.name for file in sorted((tmp_path / "out").iterdir())] == [
        "export.json",
        "train-00000-of-00001.parquet",
        "validation-00000-of-00001.parquet",
    ]


def test_kinds_can_be_asked_for(place: str, tmp_path: Path) -> None:
    assert export(place, tmp_path / "out", "rationale", "factors").rows == {"train": 0, "validation": 1, "test": 0}
    assert exported(tmp_path / "out")["kind"].to_list() == ["factors"]


def test_a_critique_is_a_row_in_either_order(place: str, tmp_path: Path) -> None:
    assert export(place, tmp_path / "out", "critique").rows == {"train": 2, "validation": 2, "test": 0}
    rows = exported(tmp_path / "out").filter(pl.col("pair_id") == "p0")
    assert sorted(rows["chosen_first"]) == [False, True]


def test_judgements_of_published_pairs_alone_are_compared(place: str, tmp_path: Path) -> None:
    told = export(place, tmp_path / "out", "self-rationalization")
    assert (told.rows, told.left_out) == ({"train": 1, "validation": 0, "test": 0}, {"no_written_judgement": 3})
    assert exported(tmp_path / "out")["pair_id"].to_list() == ["p1"]


@pytest.mark.parametrize("form", ["rationale", "critique", "self-rationalization", "trl", "unpaired", "prompts"])
def test_shards_are_exported_as_the_whole_is(form: str, tmp_path: Path) -> None:
    rows = version()
    rows["train"] = [{**pair(f"p{i}", prompt_id=f"{i:02}"), "split": "train"} for i in range(9)]
    rows["rationales"] = [written(f"p{i}", prompt_id=f"{i:02}") for i in range(0, 9, 2)]
    rows["judgements"] = [
        {**judged(f"p{i}", f"j{i}-{n}", verdict, f"Response {verdict.upper()} is right."), "prompt_id": f"{i:02}"}
        for i in range(1, 9, 2)
        for n, verdict in enumerate("ab")
    ]
    for name, size in (("whole", 100), ("sharded", 2)):
        root = str(tmp_path / name)
        write_version(root, rows, size)
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
    write_version(root, {"train": [pair("p0")]}, 100)
    with pytest.raises(PrefineError, match="no pair has an accepted rationale of these kinds"):
        export(root, tmp_path / "out", "rationale")
    with pytest.raises(PrefineError, match="no judge has written why"):
        export(root, tmp_path / "out", "self-rationalization")
    with pytest.raises(PrefineError, match="log-probabilities of a reference model"):
        export(root, tmp_path / "out", "trl", reference_logps=True)
    assert not (tmp_path / "out").exists()


def test_an_export_has_a_manifest_with_every_file_and_the_reasons_of_what_was_left_out(place: str, tmp_path: Path) -> None:
    export(place, tmp_path / "out", "rationale")
    told = json.loads((tmp_path / "out" / "export.json").read_text())
    files = {file["path"]: file for file in told["files"]}
    assert {name: (file["split"], file["rows"]) for name, file in files.items()} == {
        "train-00000-of-00001.parquet": ("train", 1),
        "validation-00000-of-00001.parquet": ("validation", 1),
    }
    for name, file in files.items():
        written = (tmp_path / "out" / name).read_bytes()
        assert (file["bytes"], file["sha256"]) == (len(written), hashlib.sha256(written).hexdigest())
    assert (told["format"], told["version"], told["rows"]["train"], told["left_out"]) == ("rationale", "v000001", 1, {"no_rationale": 2})
    assert told["content_sha256"] == read_manifest(place, "v000001")["content_sha256"]
    assert not (tmp_path / "out" / UNDER_WAY).exists()


def test_an_export_that_is_there_already_is_left_as_it_is_and_a_lost_file_of_it_is_made_again(place: str, tmp_path: Path) -> None:
    first = export(place, tmp_path / "out", "trl")
    file = tmp_path / "out" / "train-00000-of-00001.parquet"
    before, made = file.read_bytes(), file.stat().st_mtime_ns
    again = export(place, tmp_path / "out", "trl")
    assert (again.rows, again.left_out, again.resumed) == (first.rows, first.left_out, 2)
    assert file.stat().st_mtime_ns == made
    file.unlink()
    export(place, tmp_path / "out", "trl")
    assert file.read_bytes() == before


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Nine pairs of three prompts in shards of two, so that prompts go on in the next one; one with tools, one of several turns; ties."""
    pairs = [pair(f"p{i}", prompt_id=f"{i // 3:02}", chosen=f"Good {i}.", rejected=f"Bad {i}.") for i in range(9)]
    odd = [
        {**pair("t0", prompt_id="07", tools="[]"), "split": "train"},
        {
            **pair("t1", prompt_id="08", chosen=[*says("assistant", "a"), *says("user", "b"), *says("assistant", "c")]),
            "split": "validation",
        },
    ]
    ties = [tied("e0", "00", "train"), tied("e1", "09", "train"), tied("e2", "10", "test")]
    rows: Rows = {
        "train": [{**one, "split": "train"} for one in pairs],
        "other": odd,
        "dropped": [*ties, {**tied("e3", "09", "train"), "reason": "near_duplicate"}],
        "judgements": [
            {**judged(one["pair_id"], f"j-{one['pair_id']}", "tie" if one["tie"] else "a", None), "prompt_id": one["prompt_id"],
             "response_a": one["chosen"], "response_b": one["rejected"]}
            for one in [*pairs, *ties]
        ],
    }  # fmt: skip
    root = str(tmp_path_factory.mktemp("sharded"))
    write_version(root, rows, 2)
    return root


def tied(pair_id: str, prompt_id: str, split: str) -> dict[str, Any]:
    about = {"split": split, "tie": True, "stage": "rules", "reason": "tie", "p_chosen": 0.7, "p_soft": 0.7, "margin": 0.5}
    texts = {"chosen": f"One {pair_id}.", "rejected": f"Other {pair_id}."}
    return row(PARTS["dropped"][1], **{**pair(pair_id, prompt_id=prompt_id, **texts), **about})


def write_version(root: str, rows: Rows, rows_per_shard: int) -> None:
    writer = VersionWriter(root, "v000001", {part: len(r) for part, r in rows.items()}, rows_per_shard=rows_per_shard)
    for part, part_rows in rows.items():
        writer.write(part, pa.Table.from_pylist(part_rows, schema=PARTS[part][1]))
    files = writer.close()
    about = {"dataset": "d", "inputs": [], "counts": [], "files": files, "content_sha256": content_sha256(files)}
    storage.write_json(f"{root}/v000001/manifest.json", about)
    storage.write_bytes(f"{root}/CURRENT", b"v000001\n")


def test_prompts_that_go_on_in_the_next_shard_are_one(sharded: str, tmp_path: Path) -> None:
    told = export(sharded, tmp_path / "prompts", "prompts")
    assert (told.rows["train"], told.left_out) == (3, {"same_prompt": 6})
    assert exported(tmp_path / "prompts")["prompt_id"].to_list() == ["00", "01", "02"]
    export(sharded, tmp_path / "lists", "listwise")
    assert exported(tmp_path / "lists").select("prompt_id", pl.col("responses").list.len()).rows() == [("00", 8), ("01", 6), ("02", 6)]


def test_an_export_that_was_killed_goes_on_after_the_shards_that_are_done(
    sharded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(sharded, tmp_path / "whole", "unpaired")
    real, calls = export_files.Output.close, 0

    def killed(output: export_files.Output) -> dict[str, Any]:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return real(output)

    monkeypatch.setattr(export_files.Output, "close", killed)
    with pytest.raises(KeyboardInterrupt):
        export(sharded, tmp_path / "out", "unpaired")
    monkeypatch.undo()
    assert not (tmp_path / "out" / "export.json").exists()
    (tmp_path / "out" / "train-00002-of-00005.parquet.0123.part").write_bytes(b"half")  # as a kill -9 leaves it

    with pytest.raises(ConfigError, match=r'half-done export of something else .*format: "unpaired" there, "trl" asked for'):
        export(sharded, tmp_path / "out", "trl")
    with pytest.raises(ConfigError, match=r"half-done export of something else \(options: "):
        export(sharded, tmp_path / "out", "unpaired", form="text")
    told = export(sharded, tmp_path / "out", "unpaired")
    assert 0 < told.resumed < 5
    assert {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()} == {
        file.name: file.read_bytes() for file in (tmp_path / "whole").iterdir()
    }


def test_a_folder_with_other_shards_is_not_written_to(place: str, tmp_path: Path) -> None:
    (tmp_path / "train-00000-of-00001.parquet").touch()
    with pytest.raises(ConfigError, match=r"holds train-00000-of-00001.parquet already"):
        export(place, tmp_path, "trl")


def test_pairs_that_a_format_cannot_say_are_counted_before_anything_is_written(sharded: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"1 define tools; 1 have answers of several messages .* --tools .* Add --allow-loss"):
        export(sharded, tmp_path / "out", "trl", splits=("train", "other"))
    with pytest.raises(ConfigError, match="--format trl would leave out pairs that it cannot say: 3 are ties"):
        export(sharded, tmp_path / "out", "trl", ties=True)
    assert not (tmp_path / "out").exists()
    told = export(sharded, tmp_path / "out", "trl", splits=("train", "other"), allow_loss=True)
    assert (told.rows, told.left_out) == ({"train": 9, "validation": 0, "test": 0}, {"tools": 1, "several_turns": 1})
    told = export(sharded, tmp_path / "ties", "trl", ties=True, allow_loss=True)
    assert told.left_out == {"tie": 3}
    assert told.notes == ["2 pairs with tools or answers of several messages are not in it; --split other exports them."]
    assert list(export(sharded, tmp_path / "ties", "trl", ties=True, allow_loss=True).rows) == ["train", "validation", "test"]


def test_nothing_to_export_is_an_error_that_says_why(sharded: str, tmp_path: Path) -> None:
    with pytest.raises(PrefineError, match=r"nothing to export from other as .*left out: 1 tools \(tools are defined\); 1 several"):
        export(sharded, tmp_path / "out", "trl", splits=("other",), allow_loss=True)
    with pytest.raises(PrefineError, match="there are no pairs"):
        export(sharded, tmp_path / "out", "trl", splits=("test",))
    assert not (tmp_path / "out").exists()


def test_a_place_that_is_no_folder_is_a_config_error(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for wrong in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigError, match="file is a file"):
            export(place, wrong, "trl")
    with pytest.raises(ConfigError, match="has no name"):
        exporting.export(place, "", exporting.Request("trl"))


def test_pairs_with_tools_go_to_a_file_of_their_split(sharded: str, tmp_path: Path) -> None:
    told = export(sharded, tmp_path / "out", "trl", splits=("other",), tools=True, allow_loss=True)
    assert (told.rows, told.left_out) == ({"train": 1, "validation": 0, "test": 0}, {"several_turns": 1})
    assert pl.read_parquet(tmp_path / "out" / "train-other-00000-of-00001.parquet")["tools"].to_list() == ["[]"]


def test_ties_are_even_and_of_their_own_split(sharded: str, tmp_path: Path) -> None:
    told = export(sharded, tmp_path / "out", "soft", splits=("train",), ties=True)
    assert told.rows == {"train": 11, "validation": 0, "test": 0}
    ties = pl.concat(pl.read_parquet(file) for file in sorted((tmp_path / "out").glob("train-ties-*.parquet")))
    assert ties.select("pair_id", "p_chosen", "p_soft", "margin").rows() == [("e0", 0.5, 0.5, 0.0), ("e1", 0.5, 0.5, 0.0)]


def test_a_list_of_ties_alone_has_equal_scores_and_a_prompt_is_listed_once(sharded: str, tmp_path: Path) -> None:
    export(sharded, tmp_path / "out", "listwise", ties=True)
    lists = exported(tmp_path / "out").sort("prompt_id")
    assert lists["prompt_id"].to_list() == ["00", "01", "02", "09", "10"]  # e0 is in the list of its prompt
    assert lists["scores"].to_list()[-2:] == [[0.5, 0.5]] * 2


def test_an_export_to_a_store_is_the_same_as_one_to_a_disk(sharded: str, tmp_path: Path) -> None:
    url = f"memory://{tmp_path.name}/out"
    assert export(sharded, url, "trl") == export(sharded, tmp_path / "out", "trl")
    assert {name: storage.read_bytes(f"{url}/{name}") for name in storage.children(url)} == {
        file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()
    }


def test_a_version_with_a_lost_shard_is_not_exported(tmp_path: Path) -> None:
    root = str(tmp_path / "version")
    write_version(root, {"train": [pair("p0")]}, 100)
    (tmp_path / "version" / "v000001" / "data" / "train-00000-of-00001.parquet").unlink()
    with pytest.raises(PrefineError, match=r"train-00000-of-00001.parquet"):
        export(root, tmp_path / "out", "trl")


@pytest.mark.parametrize("name", ["trl", "prompts"])
def test_a_version_with_an_altered_shard_is_not_exported(name: str, tmp_path: Path) -> None:
    root = str(tmp_path / "version")
    write_version(root, {"train": [pair(f"p{at}", chosen=f"Paris {at}.") for at in range(50)]}, 100)
    shard = tmp_path / "version" / "v000001" / "data" / "train-00000-of-00001.parquet"
    where = pq.ParquetFile(shard).metadata.row_group(0).column(_leaf(shard, "prompt.list.element.content"))
    content = bytearray(shard.read_bytes())
    content[where.dictionary_page_offset + where.total_compressed_size - 2] ^= 0xFF
    shard.write_bytes(content)
    with pytest.raises(UnreadableFileError, match=r"train-00000-of-00001.parquet: is not as it was published"):
        export(root, tmp_path / "out", name)
    assert not list((tmp_path / "out").glob("*.parquet"))


def _leaf(shard: Path, path: str) -> int:
    schema = pq.ParquetFile(shard).schema
    return next(at for at in range(len(schema)) if schema.column(at).path == path)


def test_thresholds_are_shares_of_all_sources_or_of_one() -> None:
    assert exporting.thresholds(["0.5", "arena=0.75"]) == {"": 0.5, "arena": 0.75}
    with pytest.raises(ConfigError, match="--threshold arena=high: expected a share"):
        exporting.thresholds(["arena=high"])
    with pytest.raises(ConfigError, match="one for all sources is given twice"):
        exporting.thresholds(["0.5", "0.6"])


def test_a_split_that_is_none_is_a_config_error(place: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--split dev: expected some of train, validation, test, other"):
        export(place, tmp_path, "trl", splits=("dev",))
    with pytest.raises(ConfigError, match="--template writes text: add --as text"):
        export(place, tmp_path, "trl", template="somewhere")
    with pytest.raises(ConfigError, match="--template /nowhere/at/all: no tokenizer can be loaded"):
        export(place, tmp_path, "trl", template="/nowhere/at/all", form="text")
