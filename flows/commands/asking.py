"""Questions to a published version: query, explain, methods."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from flows.commands import (
    DEFAULT_CONFIG,
    ConfigOption,
    DebugOption,
    SampleOption,
    app,
    catalogue,
    dataset_root,
    out,
)
from pipeline import queries, storage
from pipeline.errors import ConfigError, PrefineError


@app.command(rich_help_panel="Ask")
def query(
    sql: Annotated[str | None, typer.Argument(help="One SQL statement, or the name of a question; without it, all are listed.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    version: Annotated[str | None, typer.Option(help="A version; the current one when left out.")] = None,
    sample: SampleOption = False,
    form: Annotated[str | None, typer.Option("--format", help="table, csv, json (one object a line) or parquet.")] = None,
    output: Annotated[str | None, typer.Option(help="Write to this file or URL; its ending names the format.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds after which the query is stopped.")] = 300.0,
    memory: Annotated[str, typer.Option(help="Memory that it may use, e.g. 500MB; beyond, it goes to a temporary folder.")] = "4GB",
    list_: Annotated[bool, typer.Option("--list", help="List the named questions.")] = False,
    debug: DebugOption = False,
) -> None:
    """Ask a published version, read-only. Tables: pairs, train, validation, test, other, dropped, judgements, ledger, quarantine ..."""
    if sql is None or list_:
        out.print(_questions())
        return
    from flows import answering

    named = answering.format_of(output) if output else "table"
    form = form or named
    if form not in answering.FORMATS:
        raise ConfigError(f"--format {form}: expected {', '.join(answering.FORMATS)}." if form else f"--output {output}: say --format.")
    if output is None and form == "parquet":
        raise ConfigError("--format parquet: needs --output FILE.")
    if output is not None and form == "table":
        raise ConfigError("--format table: is for the terminal; --output takes csv, json or parquet.")
    if not timeout > 0:
        raise ConfigError(f"--timeout {timeout:g}: expected seconds above 0.")
    place = storage.resolve(output, Path.cwd()) if output else None
    asked = dataclasses.replace(catalogue(config, version, sample), timeout_seconds=timeout, memory_limit=memory)
    with asked.stream(sql) as answer:
        if form == "table":
            answering.show(answer, out.width)
            return
        rows = answering.write(answer, form, place)
    if place is not None:
        out.print(f"{output}: {rows:,} row(s).", markup=False, highlight=False, soft_wrap=True)


def _questions() -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("question", "what it answers", "one row is"):
        table.add_column(column, overflow="fold", no_wrap=column == "question")
    for one in queries.questions():
        table.add_row(one.name, one.question, one.grain)
    return table


@app.command(rich_help_panel="Ask")
def explain(
    asked: Annotated[str, typer.Argument(metavar="ID", help="Id of a record, pair, response or prompt, or FILE:ROW (rows count from 0).")],
    config: ConfigOption = DEFAULT_CONFIG,
    version: Annotated[str | None, typer.Option(help="The version to tell in full; else the current one, or the newest with it.")] = None,
    sample: SampleOption = False,
    form: Annotated[str, typer.Option("--format", help="text or json.")] = "text",
    debug: DebugOption = False,
) -> None:
    """Tell the whole story of one record, pair, response or prompt: where from, votes, rules tried, what became of it in every version."""
    if form not in ("text", "json"):
        raise ConfigError(f"--format {form}: expected text or json.")
    from dataclasses import asdict

    from pipeline import stories

    story = stories.explain(dataset_root(config, sample), asked, version)
    if form == "json":
        sys.stdout.write(json.dumps(asdict(story), ensure_ascii=False, indent=2, default=str) + "\n")
        return
    out.print(stories.render_story(story), markup=False, highlight=False, soft_wrap=True)


@app.command(rich_help_panel="Ask")
def report(
    config: ConfigOption = DEFAULT_CONFIG,
    version: Annotated[str | None, typer.Option(help="A version; the current one when left out.")] = None,
    against: Annotated[str | None, typer.Option(help="The version to compare with; the one before when left out.")] = None,
    output: Annotated[Path | None, typer.Option(help="The file to write; DATASET-VERSION-report.html here when left out.")] = None,
    sample: SampleOption = False,
    debug: DebugOption = False,
) -> None:
    """Write the report of a published version, as one HTML file, and print its path."""
    from pipeline import reporting

    if output is not None and not output.parent.is_dir():  # known before the work is done
        raise PrefineError(f"{output}: cannot be written, there is no folder {output.parent}. Name another file with --output.")
    root = dataset_root(config, sample)
    told, page = reporting.report_of(root, version, against)
    place = output or Path(f"{root.rsplit('/', 1)[-1]}-{told}-report.html")
    try:
        place.write_bytes(page.encode())
    except OSError as error:
        raise PrefineError(f"{place}: cannot be written ({error.strerror}). Name another file with --output.") from None
    out.print(str(place), markup=False, highlight=False, soft_wrap=True)


@app.command(rich_help_panel="Ask")
def methods(
    left_out: Annotated[bool, typer.Option("--left-out", help="Instead, what there is no code for, and why.")] = False,
    form: Annotated[str, typer.Option("--format", help="table or json.")] = "table",
    debug: DebugOption = False,
) -> None:
    """List every method behind the signals, votes, statistics and weights: what it yields, where, and its source."""
    if form not in ("table", "json"):
        raise ConfigError(f"--format {form}: expected table or json.")
    from dataclasses import asdict

    from pipeline.methods import LEFT_OUT, METHODS

    told = LEFT_OUT if left_out else METHODS
    if form == "json":
        sys.stdout.write(json.dumps([asdict(one) for one in told], ensure_ascii=False, indent=2) + "\n")
        return
    table = Table(box=None, pad_edge=False)
    for column in ("method", "source", "reason") if left_out else ("method", "kind", "yields", "source"):
        table.add_column(column, overflow="fold", no_wrap=column == "method")
    for lacking in LEFT_OUT if left_out else ():
        table.add_row(lacking.name, lacking.source, lacking.reason)
    for method in () if left_out else METHODS:
        called = () if method.in_run else (f"by call: {method.function}",)
        yields = ", ".join((*method.columns, *method.statistics, *called))
        table.add_row(method.name, method.kind, yields, method.source)
    out.print(table)
