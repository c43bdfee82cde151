"""Where a reader of a version is, and the batches and rows that follow from there."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from pipeline.errors import PrefineError
from pipeline.load.reading import Shards

_ROWS_AT_ONCE = 256  # turned into Python objects


class State:
    """Epoch and position of one worker of one rank.

    Args:
        shards: what is read.
        epoch: to begin with.
        worker: of the rank, from 0.
        workers: how many the rank has.
    """

    def __init__(self, shards: Shards, epoch: int = 0, worker: int = 0, workers: int = 1) -> None:
        self.shards, self.epoch, self.worker, self.workers = shards, epoch, worker, workers
        self.position = 0  # rows of the epoch that were handed out
        self._next = 0  # where the next iteration begins

    def begin(self) -> int:
        """Where an iteration begins: where a loaded state says, once; else at the start."""
        self.position, self._next = self._next, 0
        return self.position

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of another epoch; nothing happens where it is the same."""
        if epoch != self.epoch:
            self.epoch, self.position, self._next = epoch, 0, 0

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"epoch": self.epoch, "position": self.position, "order": self.shards.order(self.worker, self.workers)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Begin the next iteration where `state` was taken.

        Raises:
            PrefineError: it is no state, or one of another order.
        """
        try:
            epoch, position, order = int(state["epoch"]), int(state["position"]), dict(state["order"])
        except (KeyError, TypeError, ValueError) as error:
            raise PrefineError(f"load: expected a state with epoch, position and order, found {state!r:.200}.") from error
        own = self.shards.order(self.worker, self.workers)
        differing = [f"{name} {order.get(name)!r:.80}, here {own[name]!r:.80}" for name in own if order.get(name) != own[name]]
        if differing:
            raise PrefineError(
                f"load: the state does not belong to this order of rows ({'; '.join(differing)}). "
                "Open the same version with the same split, seed, window_rows, ranks and workers, or begin the epoch again."
            )
        rows = self.shards.rows(self.worker, self.workers)
        if not 0 <= position <= rows:
            raise PrefineError(f"load: the state's position is {position}; expected 0 to {rows}.")
        self.epoch, self.position, self._next = epoch, position, position


def batches(state: State, batch_rows: int) -> Iterator[pa.Table]:
    """What is left of the epoch as tables of so many rows, the last one excepted."""
    if batch_rows < 1:
        raise PrefineError(f"load: batch_rows {batch_rows}: expected at least 1.")
    rest = None
    for table in state.shards.tables(state.epoch, state.begin(), state.worker, state.workers):
        held = table if rest is None else pa.concat_tables([rest, table])
        whole = held.num_rows - held.num_rows % batch_rows
        for start in range(0, whole, batch_rows):
            state.position += batch_rows
            yield held.slice(start, batch_rows)
        rest = held.slice(whole) if whole < held.num_rows else None
    if rest is not None:
        state.position += rest.num_rows
        yield rest


def rows(state: State) -> Iterator[dict[str, Any]]:
    """What is left of the epoch, row by row."""
    for table in state.shards.tables(state.epoch, state.begin(), state.worker, state.workers):
        for start in range(0, table.num_rows, _ROWS_AT_ONCE):
            for row in table.slice(start, _ROWS_AT_ONCE).to_pylist():
                state.position += 1
                yield row
