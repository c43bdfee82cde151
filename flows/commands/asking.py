"""Questions to a published version: query, explain, methods."""

import json
import sys
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
from pipeline import stories
from pipeline.errors import ConfigError


@app.command(rich_help_panel="Ask")
def query(
    sql: Annotated[str, typer.Argument(help="One SQL statement, or the name of a view.")],
    config: ConfigOption = DEFAULT_CONFIG,
    version: Annotated[str | None, typer.Option(help="A version; the current one when left out.")] = None,
    sample: SampleOption = False,
    output: Annotated[str, typer.Option("--format", help="table, csv or json (one object a line).")] = "table",
    debug: DebugOption = False,
) -> None:
    """Ask a published version, read-only. Tables: pairs, train, validation, other, dropped, judgements, ledger, quarantine ..."""
    if output not in ("table", "csv", "json"):
        raise ConfigError(f"--format {output}: expected table, csv or json.")
    result = catalogue(config, version, sample).query(sql)
    if output == "json":
        for line in result.to_pylist():
            sys.stdout.write(json.dumps(line, ensure_ascii=False, default=str) + "\n")
        return
    import polars as pl

    from flows import tables

    frame = pl.DataFrame(pl.from_arrow(result))
    if output == "csv":
        nested = [name for name, kind in frame.schema.items() if kind.is_nested()]
        as_json = frame.with_columns(pl.struct(name).struct.json_encode().alias(name) for name in nested)
        sys.stdout.write(as_json.write_csv())
        return
    sys.stdout.write(tables.render(frame, out.width))


@app.command(rich_help_panel="Ask")
def explain(
    asked: Annotated[str, typer.Argument(metavar="ID", help="A record id, a pair id, or FILE:ROW (rows count from 0).")],
    config: ConfigOption = DEFAULT_CONFIG,
    version: Annotated[str | None, typer.Option(help="A version; the current one when left out.")] = None,
    sample: SampleOption = False,
    debug: DebugOption = False,
) -> None:
    """Tell the whole story of one record or pair."""
    story = stories.explain(dataset_root(config, sample), asked, version)
    out.print(stories.render_story(story), markup=False, highlight=False, soft_wrap=True)


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
