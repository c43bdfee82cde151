"""What a person sees while a run works: a bar with rate and time left on a terminal, one line a stage in a log."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

log = logging.getLogger("prefine")


@contextmanager
def stage(name: str, total: int | None, unit: str) -> Iterator[Callable[[int], None]]:
    """Report one stage of `total` units (None: not known beforehand); the block gets a function that says how many more are done."""
    began = time.monotonic()
    done = 0
    if sys.stderr.isatty():
        rate = TextColumn("{task.fields[unit]} {task.fields[rate]}")
        columns = (TextColumn("{task.description:<22}"), BarColumn(), MofNCompleteColumn(), rate)
        with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True)) as bar:
            task = bar.add_task(name, total=total, unit=unit, rate="")

            def advance(count: int) -> None:
                nonlocal done
                done += count
                bar.update(task, advance=count, rate=f"{done / max(time.monotonic() - began, 1e-3):,.0f}/s")

            yield advance
        return

    def count_only(count: int) -> None:
        nonlocal done
        done += count

    yield count_only
    seconds = time.monotonic() - began
    log.info("%-22s %9s %s in %.1f s", name, f"{done:,}", unit, seconds)
