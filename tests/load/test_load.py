"""A version as a stream of rows: ranks, workers, epochs, resuming, and what is refused."""

import json
import pickle
import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from pipeline.errors import NotFoundError, PrefineError
from pipeline.load import Loader, load
from pipeline.queries import PARTS
from tests import versions

ROWS = 23


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A version with 23 pairs in three shards of row groups of at most three rows."""
    place = tmp_path_factory.mktemp("loaded")
    rows = versions.sample()
    pairs = [versions.paired("train", f"p{n:02}", ["j1"], (1, 0, 0)) for n in range(ROWS)]
    rows["train"], rows["ledger"], rows["judgements"] = pairs, [], []
    versions.publish(str(place), rows)
    folder = place / "v000001"
    manifest = json.loads((folder / "manifest.json").read_text())
    for file in manifest["files"]:
        if file["path"].startswith("data/train-"):
            shard = folder / file["path"]
            pq.write_table(pq.read_table(shard, partitioning=None), shard, row_group_size=3, write_page_checksum=True)
            file["bytes"] = shard.stat().st_size
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return str(place)


def ids(batches: Iterator[pa.Table]) -> list[str]:
    return [one for table in batches for one in table.column("pair_id").to_pylist()]


def opened(root: str, **given: Any) -> Loader:
    return load(root, **{"columns": ["pair_id"], "shuffle": True, "window_rows": 5, "seed": 1} | given)


EVERY = [f"p{n:02}" for n in range(ROWS)]


def test_rows_come_in_the_order_of_the_files_or_shuffled(root: str) -> None:
    assert ids(opened(root, shuffle=False).arrow(4)) == EVERY
    shuffled = ids(opened(root).arrow(4))
    assert shuffled != EVERY
    assert sorted(shuffled) == EVERY
    assert ids(opened(root, split=["validation", "train"], shuffle=False).arrow()) == ["p2", *EVERY]
    assert ids(opened(root, split="test").arrow()) == []


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    ranks=st.integers(1, 4), epoch=st.integers(0, 3), seed=st.integers(0, 9), window=st.integers(1, 30), batch=st.integers(1, 9),
    at=st.integers(0, ROWS), shuffle=st.booleans(),
)  # fmt: skip
def test_every_row_goes_to_one_rank_and_a_resumed_reader_goes_on_exactly(
    root: str, ranks: int, epoch: int, seed: int, window: int, batch: int, at: int, shuffle: bool
) -> None:
    seen = []
    for rank in range(ranks):

        def fresh(rank: int = rank) -> Loader:
            return opened(root, rank=rank, world_size=ranks, seed=seed, window_rows=window, shuffle=shuffle)

        loader = fresh()
        loader.set_epoch(epoch)
        whole = ids(loader.arrow(batch))
        assert len(whole) == loader.rows_per_epoch
        seen += whole
        stopped = fresh()
        stopped.set_epoch(epoch)
        rows = [row["pair_id"] for row in islice(stopped.rows(), at)]
        state = json.loads(json.dumps(stopped.state_dict()))
        resumed = fresh()
        resumed.load_state_dict(state)
        assert rows + ids(resumed.arrow(batch)) == whole
        assert ids(resumed.arrow(batch)) == whole  # the iteration after that begins the epoch again
    assert sorted(seen) == EVERY


def test_batches_have_their_size_and_any_columns(root: str) -> None:
    loader = opened(root, columns=["rejected", "prompt"])

    assert [table.num_rows for table in loader.arrow(10)] == [10, 10, 3]
    assert [frame.columns for frame in loader.polars(100)] == [["rejected", "prompt"]]
    assert ids(loader.with_columns(["pair_id"]).arrow(7)) == ids(opened(root).arrow(23))
    assert next(opened(root, columns=None).rows()).keys() == set(PARTS["train"][1].names)


def test_ranks_may_be_given_equally_many_rows(root: str) -> None:
    counted = {
        uneven: [len(ids(opened(root, rank=r, world_size=4, uneven=uneven).arrow())) for r in range(4)]
        for uneven in ("keep", "drop", "repeat")
    }

    assert counted == {"keep": [6, 6, 6, 5], "drop": [5, 5, 5, 5], "repeat": [6, 6, 6, 6]}


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more than there are cores: so that one has fewer batches
@pytest.mark.parametrize("workers", [0, 3])
def test_the_workers_of_a_loader_share_the_rows_and_a_resumed_one_goes_on_exactly(root: str, workers: int) -> None:
    def batches(data: Any) -> list[list[str]]:
        return [[row["pair_id"] for row in batch] for batch in DataLoader(data, batch_size=3, num_workers=workers, collate_fn=list)]

    data = opened(root).torch()
    data.set_epoch(2)
    whole = batches(data)

    assert sorted(one for batch in whole for one in batch) == EVERY
    for done in range(len(whole) + 1) if workers == 0 else (1, 5, 8):
        resumed = opened(root).torch()
        resumed.set_epoch(2)
        resumed.resume_after(done, batch_size=3, num_workers=workers)
        assert batches(resumed) == whole[done:]
    resumed.set_epoch(3)
    assert sorted(one for batch in batches(resumed) for one in batch) == EVERY


def test_workers_that_live_on_hear_of_a_new_epoch(root: str) -> None:
    data = opened(root).torch()
    loader = DataLoader(data, batch_size=None, num_workers=1, persistent_workers=True)
    orders = []
    for epoch in range(2):
        data.set_epoch(epoch)
        orders.append([row["pair_id"] for row in loader])
    alone = opened(root)
    alone.set_epoch(1)

    assert orders[0] != orders[1] == ids(alone.arrow())


def test_torch_rows_keep_the_state_that_stateful_loaders_ask_for(root: str) -> None:
    data = opened(root).torch()
    rows = [row["pair_id"] for row in islice(data, 7)]
    other = pickle.loads(pickle.dumps(opened(root).torch()))  # as a spawned worker gets it
    other.load_state_dict(data.state_dict())

    assert rows + [row["pair_id"] for row in other] == ids(opened(root).arrow())


def test_a_model_is_trained_on_the_rows(root: str) -> None:
    """Two epochs of a small loop, fed by Hugging Face's streaming data set and by torch's loader: the same losses."""
    datasets = pytest.importorskip("datasets", reason="needs the `train` extra")

    def losses(rows: Any, loader: Loader) -> list[float]:
        torch.manual_seed(0)
        model = torch.nn.Linear(1, 1)
        optimiser, found = torch.optim.SGD(model.parameters(), lr=0.01), []
        for epoch in range(2):
            loader.set_epoch(epoch)
            for row in rows:
                loss = -torch.nn.functional.logsigmoid(model(torch.tensor([float(int(row["pair_id"][1:]))]))).mean()
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                found.append(loss.item())
        return found

    streamed = opened(root, columns=["pair_id", "prompt", "chosen", "rejected"])
    ours = opened(root).torch()
    first = losses(datasets.IterableDataset.from_generator(streamed.rows), streamed)
    second = losses(ours, ours)

    assert first == second
    assert len(first) == 2 * ROWS


def test_a_version_may_be_given_by_its_dataset_its_name_or_its_folder(root: str) -> None:
    expected = ids(opened(root).arrow())

    assert ids(opened(f"{root}/v000001/").arrow()) == expected
    assert ids(opened(root, version="v000001").arrow()) == expected
    with pytest.raises(NotFoundError, match="no version 'v000009'"):
        opened(root, version="v000009")


@pytest.mark.parametrize(
    ("given_wrong", "message"),
    [
        ({"split": "dev"}, "split 'dev': expected some of train"),
        ({"columns": ["chosne"]}, "Did you mean 'chosen'"),
        ({"rank": 2, "world_size": 2}, "rank 2 of 2"),
        ({"uneven": "pad"}, "expected keep, drop or repeat"),
    ],
)
def test_wrong_arguments_are_named(root: str, given_wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(PrefineError, match=message):
        opened(root, **given_wrong)


def test_a_state_of_another_order_is_refused(root: str) -> None:
    state = opened(root, seed=2).state_dict()

    with pytest.raises(PrefineError, match=r"does not belong to this order of rows \(seed 2, here 1\)"):
        opened(root).load_state_dict(state)
    with pytest.raises(PrefineError, match="expected a state with epoch, position and order"):
        opened(root).load_state_dict({"epoch": 1})
    with pytest.raises(PrefineError, match="position is 24"):
        opened(root).load_state_dict(opened(root).state_dict() | {"position": 24})


def copied(root: str, place: Path) -> Path:
    return Path(shutil.copytree(root, place / "copy"))


def test_a_missing_shard_is_named_before_anything_is_read(root: str, tmp_path: Path) -> None:
    place = copied(root, tmp_path)
    (place / "v000001/data/train-00001-of-00003.parquet").unlink()

    with pytest.raises(PrefineError, match=r"data/train-00001-of-00003\.parquet is missing"):
        opened(str(place))


def test_an_altered_page_is_an_error_and_no_rows(root: str, tmp_path: Path) -> None:
    place = copied(root, tmp_path)
    shard = place / "v000001/data/train-00000-of-00003.parquet"
    column = pq.read_metadata(shard).row_group(0).column(0)
    content = bytearray(shard.read_bytes())
    at = (column.dictionary_page_offset or column.data_page_offset) + column.total_compressed_size - 3
    content[at] ^= 0xFF
    shard.write_bytes(content)

    with pytest.raises(PrefineError, match=r"cannot read data/train-00000-of-00003\.parquet.*CRC"):
        list(opened(str(place), shuffle=False).arrow())
