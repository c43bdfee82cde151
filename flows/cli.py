"""The command line's entry: knows every command, and turns failures into one message and an exit code."""

import logging
import os
import sys

from flows.commands import app, asking, auditing, comparing, curating, err, exporting, linting, starting, versions
from pipeline.errors import PrefineError

COMMANDS = (
    curating,
    starting,
    asking,
    auditing,
    exporting,
    linting,
    versions,
    comparing,
)  # each adds its commands to `app` as it is imported; this is their order in --help


def main() -> None:
    """Run a command; exit 0 done, 1 failed, 2 wrong usage or config, 3 published but incomplete."""
    logging.basicConfig(format="%(message)s", stream=sys.stderr, level=logging.WARNING)
    debug = "--debug" in sys.argv
    logging.getLogger("prefine").setLevel(logging.DEBUG if debug else logging.INFO)
    if debug:
        os.environ["PREFECT_LOGGING_LEVEL"] = "DEBUG"
    code = _run(debug)
    if code:  # raised here, where no error is in hand: its frames would keep DuckDB's sessions to the end, which DuckDB reports as leaks
        sys.exit(code)


def _run(debug: bool) -> int:
    try:
        app(prog_name="prefine")
    except PrefineError as error:
        if debug:
            raise
        err.print(f"prefine: {error}", markup=False, highlight=False, soft_wrap=True)
        return error.exit_code
    except Exception as error:
        if debug:
            raise
        err.print(f"prefine: {type(error).__name__}: {error}. `--debug` shows where.", markup=False, highlight=False, soft_wrap=True)
        return 1
    return 0
