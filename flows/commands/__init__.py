"""The command line, one module a topic: every command is one question or one job, every failure one readable message.

A module here is loaded whenever any command is typed, so that it imports Prefect, torch and polars inside its commands only.
"""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipeline import queries, storage
from pipeline.config import load_config
from pipeline.errors import PrefineError

app = typer.Typer(
    name="prefine",
    help="Raw comparisons of model answers in, preference data that you can trust out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_wide = None if sys.stdout.isatty() else 120  # a log is not cut at 80 columns
out, err = Console(width=_wide), Console(stderr=True)
ConfigOption = Annotated[Path, typer.Option("--config", help="The dataset's config.")]
DEFAULT_CONFIG = Path("prefine.yaml")
INSPECTED_ROWS = 10_000
INCOMPLETE = 3  # exit code: published, but a budget ran out
SampleOption = Annotated[bool, typer.Option("--sample", help="Ask what `run --limit` published.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show tracebacks and Prefect's log.")]


def dataset_root(file: Path, sample: bool) -> str:
    """Where a config's dataset lives; with `sample`, what `run --limit` published."""
    config = load_config(file)
    name = f"{config.dataset}-sample" if sample else config.dataset
    return storage.join(storage.resolve(config.workspace, file.resolve().parent), "datasets", name)


def catalogue(config: Path, version: str | None = None, sample: bool = False) -> queries.Catalogue:
    """A version of a config's dataset, open for questions."""
    return queries.open_version(dataset_root(config, sample), version)


def make_prefect_home() -> None:
    """Prefect makes its folder but not the folders above, and only warns when that fails."""
    home = Path(os.environ["PREFECT_HOME"]).expanduser()
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PrefineError(
            f"{home}: cannot be made ({error.strerror}). Prefect keeps its state there; set PREFECT_HOME to a folder that can be written."
        ) from None
