"""The list of blocks a join consists of, and threads that work through it."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Block = tuple[int, int, int, int]
T = TypeVar("T")


def blocks(rows: int, columns: int | None, side: int) -> Iterator[Block]:
    """Blocks that together hold every pair once.

    Args:
        rows: number of queries.
        columns: size of the corpus; None joins the rows with themselves: blocks on and above the diagonal, where those on it
            hold both orders of a pair.
        side: most rows and columns of a block.

    Yields:
        (first row, row after the last, first column, column after the last).
    """
    for top in range(0, rows, side):
        for begin in range(top if columns is None else 0, rows if columns is None else columns, side):
            yield top, min(top + side, rows), begin, min(begin + side, rows if columns is None else columns)


def work_through(todo: Iterator[Block], work: Callable[[Block], T], threads: int) -> list[T]:
    """Results of `work` for every block, in no particular order; a thread takes the next block when it is done with one."""
    lock = threading.Lock()

    def drain(_: int) -> list[T]:
        results: list[T] = []
        while True:
            with lock:
                block = next(todo, None)
            if block is None:
                return results
            results.append(work(block))

    if threads == 1:
        return drain(0)
    with ThreadPoolExecutor(threads) as pool:
        return [result for results in pool.map(drain, range(threads)) for result in results]
