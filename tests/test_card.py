"""The dataset card: what hubs read of it, what people read of it, and that `datasets` loads the folder it lies in."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import DatasetCard

from pipeline import card, publish, queries, reporting, versions
from pipeline.schemas import PAIR
from tests.versions import INPUTS, estimated, paired, row, sample
from tests.versions import publish as publish_rows

EVIL = "<script>alert(1)</script> | x"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version with all four parts of data/, in two languages, and with what is known of annotators."""
    rows = sample()
    rows["train"][0] |= {"prompt_language": "en"}
    rows["validation"][0] |= {"prompt_language": "de"}
    rows["test"] = [paired("test", "p8", ["j8"], (1, 0, 0), prompt_language="en")]
    rows["other"] = [paired("other", "p9", ["j9"], (1, 0, 0), split="train")]
    rows["annotators"] = [
        row(queries.PARTS["annotators"][1], annotator_id=f"a{n}", annotator_kind="human", votes=10, first_share=share, **interval)
        for n, (share, interval) in enumerate(
            [
                (0.9, {"first_share_low": 0.6, "first_share_high": 0.99}),
                (0.6, {"first_share_low": 0.4, "first_share_high": 0.8}),
                (None, {}),
            ]
        )
    ]
    rows["statistics"] += [{**estimated("identifiability", note=f"one vote {EVIL}"), "value": None}]
    root = str(tmp_path_factory.mktemp("card") / "demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reporting, "report", lambda *_: "page")
        patch.setattr(publish, "write_catalog", lambda *_: False)
        publish_rows(root, rows)
    return Path(root) / "v000001"


def rendered(folder: Path, **config: Any) -> str:
    manifest = versions.manifest_in(str(folder))
    tables = queries.open_version(str(folder.parent), folder.name).tables
    return card.render_card({**manifest, "config": config}, tables)


def test_datasets_loads_the_folder_with_the_card_s_splits_columns_and_sizes(folder: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="needs prefine[train]")
    copy = str(shutil.copytree(folder, tmp_path / "hub"))
    cache = str(tmp_path / "cache")
    assert datasets.get_dataset_config_names(copy) == ["default", "other"]
    default = datasets.load_dataset(copy, cache_dir=cache)
    assert {name: split.num_rows for name, split in default.items()} == {"train": 1, "validation": 1, "test": 1}
    assert {name: split.num_rows for name, split in datasets.load_dataset(copy, "other", cache_dir=cache).items()} == {"other": 1}
    told = datasets.load_dataset_builder(copy, cache_dir=cache).info
    assert told.features == default["train"].features
    assert list(told.features) == PAIR.names
    assert {name: split.num_examples for name, split in told.splits.items()} == {"train": 1, "validation": 1, "test": 1}
    assert default["train"][0]["chosen"][0]["content"] == "Hello!"


def test_hubs_read_licence_size_and_languages(folder: Path) -> None:
    text = (folder / "README.md").read_text()
    front = DatasetCard(text).data
    assert (front.pretty_name, front.size_categories, front.license) == ("demo", ["n<1K"], "unknown")
    assert sorted(front.language) == ["de", "en"]
    assert front.task_categories == ["text-generation"]
    (default, _) = front.to_dict()["dataset_info"]
    assert [split["name"] for split in default["splits"]] == ["train", "validation", "test"]
    stored = {file["path"]: file["bytes"] for file in versions.manifest_in(str(folder))["files"]}
    assert default["download_size"] == sum(
        size for path, size in stored.items() if path.startswith(("data/train", "data/val", "data/test"))
    )


@pytest.mark.parametrize(
    ("stated", "front"),
    [
        (["CC-BY-4.0", "cc-by-4.0"], {"license": "cc-by-4.0"}),
        (["Apache-2.0"], {"license": "apache-2.0"}),
        (["CC BY 4.0"], {"license": "cc-by-4.0"}),
        (["mit", None], {"license": "other", "license_name": "mit, unknown"}),
        (["our own\nwords"], {"license": "other", "license_name": "our own words"}),
        ([None], {"license": "unknown"}),
        ([], {"license": "unknown"}),
    ],
)
def test_one_known_licence_is_named_as_hubs_do_and_all_others_in_full(
    folder: Path, stated: list[str | None], front: dict[str, str]
) -> None:
    sources = [{"name": f"s{n}", "licence": licence} for n, licence in enumerate(stated)]
    told = card.front_matter({"dataset": "demo", "files": [], "config": {"sources": sources}}, {}, [])
    assert {name: value for name, value in told.items() if name.startswith("license")} == front


def test_known_biases_come_with_numbers_and_intervals(folder: Path) -> None:
    text = (folder / "README.md").read_text()
    assert "- Length, source arena: the longer answer is the chosen one in 100.0% (95 % interval" in text
    assert "the answer shown first gets 75.0% of their votes; 1 of 2 prefer the first one beyond chance, 0 the second." in text
    assert "- Wrong labels, arena: about 10.0% (95 % interval 5.0% to 20.0%) (rests on repeated judgements)." in text


def test_position_bias_is_told_by_kind_of_annotator_from_those_whose_order_is_known(folder: Path) -> None:
    tables = queries.open_version(str(folder.parent), folder.name).tables
    assert queries.run_views(tables, ["position_bias"])["position_bias"] == [
        {"annotator_kind": "human", "annotators": 2, "votes": 20, "first_share": 0.75, "prefer_first": 1, "prefer_second": 0}
    ]


def test_inputs_are_listed_with_rows_bytes_and_hash(folder: Path) -> None:
    one = INPUTS[0]
    assert f"| arena | {one['source_uri']} | {one['rows']} | {one['bytes']} | {'0' * 16} |" in (folder / "README.md").read_text()


def test_text_from_data_and_config_is_escaped(folder: Path) -> None:
    text = rendered(folder, sources=[{"name": EVIL, "licence": EVIL}])
    body = text.split("---\n", 2)[2]
    assert "<script" not in body
    assert "| &lt;script&gt;alert(1)&lt;/script&gt; \\| x | &lt;script&gt;alert(1)&lt;/script&gt; \\| x |" in body
    assert "one vote &lt;script&gt;" in body
    assert yaml.safe_load(text.split("---\n")[1])["license_name"] == EVIL


def test_a_version_without_pairs_has_a_card_without_configs(tmp_path: Path) -> None:
    manifest = {"dataset": "demo", "version": "v000001", "files": [], "inputs": [], "counts": [], "config": {}}
    tables = queries.version_tables(str(tmp_path), [], [], [])
    front = yaml.safe_load(card.render_card(manifest, tables).split("---\n")[1])
    assert front["size_categories"] == ["n<1K"]
    assert not {"configs", "dataset_info", "language"} & set(front)
