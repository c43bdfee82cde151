"""EDGE: the rows of a version as a torch dataset; imported only where torch is wanted."""

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import IterableDataset, get_worker_info

from pipeline.errors import PrefineError
from pipeline.load.order import delivered
from pipeline.load.reading import Shards
from pipeline.load.state import State, rows


class TorchRows(IterableDataset[dict[str, Any]]):
    """Rows as dicts; the workers of a DataLoader share them, and every row is in one of them.

    `state_dict` and `load_state_dict` are what torchdata's StatefulDataLoader calls in every worker. With torch's own DataLoader, count
    the batches and use `resume_after`.
    """

    def __init__(self, shards: Shards, epoch: int = 0) -> None:
        """Use `Loader.torch`."""
        self.shards = shards
        self._epoch = torch.tensor(epoch)  # shared, so that workers that live on hear of a new epoch
        self._epoch.share_memory_()  # type: ignore[no-untyped-call, unused-ignore]
        self._state: State | None = None
        self._resume: tuple[int, int, list[int]] | None = None  # epoch, which worker comes first, rows that each has given

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of another epoch; call it in the main process, between iterations."""
        self._epoch.fill_(epoch)

    def resume_after(self, batches: int, batch_size: int, num_workers: int = 0) -> None:
        """Begin this epoch, until another is set, after so many batches of a DataLoader; what follows is what would have followed.

        Args:
            batches: that the DataLoader has handed out in this epoch.
            batch_size: its batch size, without `drop_last`.
            num_workers: its workers, with batches `in_order` (torch's default).

        Raises:
            PrefineError: a number is negative, or batch_size is 0.
        """
        if batches < 0 or batch_size < 1 or num_workers < 0:
            raise PrefineError(
                f"load: resume after {batches} batches of {batch_size}, {num_workers} workers: expected 0, 1 and 0 at least."
            )
        workers = max(1, num_workers)
        given = delivered(batches, batch_size, [self.shards.rows(worker, workers) for worker in range(workers)])
        self._resume = (int(self._epoch), batches % workers, given)

    def state_dict(self) -> dict[str, Any]:
        """Where this worker is."""
        return self._own().state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Begin this worker's next iteration where a state was taken.

        Raises:
            PrefineError: the state is of another version, split, order, rank or worker.
        """
        own = self._own()
        own.load_state_dict(state)
        self._epoch.fill_(own.epoch)

    def _own(self) -> State:
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        if self._state is None or (self._state.worker, self._state.workers) != (worker, workers):
            self._state = State(self.shards, int(self._epoch), worker, workers)
        return self._state

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """What is left of the epoch for this worker."""
        own = self._own()
        own.set_epoch(int(self._epoch))
        if self._resume is not None and self._resume[0] == own.epoch:
            _, first, given = self._resume
            if len(given) != own.workers:
                raise PrefineError(f"load: resume_after was told of {len(given)} workers, but there are {own.workers}.")
            role = (own.worker + first) % own.workers
            resumed = State(self.shards, own.epoch, role, own.workers)
            resumed.load_state_dict(resumed.state_dict() | {"position": given[role]})
            return rows(resumed)
        return rows(own)
