"""From data to a version: run, plan, demo."""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from flows.commands import (
    DEFAULT_CONFIG,
    INCOMPLETE,
    DebugOption,
    app,
    catalogue,
    err,
    make_prefect_home,
    out,
)
from pipeline import rules, storage
from pipeline.config import load_config
from pipeline.errors import ConfigError


@app.command(rich_help_panel="Curate")
def run(
    config: Annotated[Path, typer.Argument(help="The dataset's config.")] = DEFAULT_CONFIG,
    limit: Annotated[int | None, typer.Option(min=1, help="Read only the first rows of each file; publishes to <dataset>-sample.")] = None,
    debug: DebugOption = False,
) -> None:
    """Curate a dataset: ingest, merge, score, filter, split and publish a version."""
    loaded = load_config(config)
    rules.check(loaded)  # a mistake is told before anything starts
    _curate(config, limit)


def _curate(config: Path, limit: int | None) -> None:
    make_prefect_home()
    from flows.curate import run_flow  # Prefect and torch load only where they are needed

    outcome = run_flow(str(config), limit, threads=os.cpu_count() or 1)
    print_funnel(outcome.counts)
    news = "unchanged: the content is that of" if outcome.unchanged else "published"
    out.print(f"{outcome.dataset} {news} {outcome.version} in {outcome.dataset_root}", markup=False, highlight=False, soft_wrap=True)
    read = "" if outcome.read_by_model is None else f"; answers read by the model now: {outcome.read_by_model:,}"
    read += f"; requests to language models now: {outcome.asked:,}" if outcome.asked else ""
    now = f"texts embedded now: {outcome.embedded:,}; compared now: {outcome.compared:,}{read}; peak memory {outcome.peak_mb:,} MB"
    out.print(now, highlight=False)
    if outcome.incomplete is not None:
        message = f"published, but incomplete: {outcome.incomplete}. Raise `budget:` and run again; what was answered is not asked again."
        err.print(message, markup=False, highlight=False, soft_wrap=True)
        sys.exit(INCOMPLETE)


@app.command(rich_help_panel="Curate")
def plan(
    config: Annotated[Path, typer.Argument(help="The dataset's config.")] = DEFAULT_CONFIG,
    limit: Annotated[int | None, typer.Option(min=1, help="Read only the first rows of each file.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Count what is reused and stop: embed nothing to find out the requests.")] = False,
    form: Annotated[str, typer.Option("--format", help="table or json.")] = "table",
    debug: DebugOption = False,
) -> None:
    """Say what of the input is new, what a run reuses, and what it would ask of language models; nothing is asked or published.

    Which pairs are asked about is known when all texts are embedded. So where the config names endpoints, texts that are new are embedded
    after the first lines (the run finds them in the store), unless with --quick.
    """
    if form not in ("table", "json"):
        raise ConfigError(f"--format {form}: expected table or json.")
    loaded = load_config(config)
    rules.check(loaded)
    make_prefect_home()
    from flows import planning, reusing
    from flows.curate import plan_flow, reuse_flow

    threads = os.cpu_count() or 1
    found = reuse_flow(str(config), limit, threads)
    if form == "table":
        for sentence in reusing.sentences(found):
            out.print(sentence, markup=False, highlight=False, soft_wrap=True)
    asks = not quick and (bool(loaded.judges) or loaded.rationales.endpoint is not None)
    told = plan_flow(str(config), limit, threads) if asks else None
    if form == "json":
        document = {"reuse": reusing.document(found), **(planning.document(told) if told is not None else {})}
        sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")
        return
    if told is None:
        unknown = "Requests: not counted (--quick)." if quick and (loaded.judges or loaded.rationales.endpoint is not None) else None
        out.print(unknown or "Nothing is to be asked: no judge and no endpoint for rationales.", highlight=False)
        return
    if told.lines:
        table = Table(box=None, pad_edge=False)
        for column in planning.COLUMNS:
            table.add_column(column, justify="left" if column in ("for", "endpoint", "model") else "right")
        for line in planning.cells(told):
            table.add_row(*line)
        out.print(table)
    for sentence in planning.sentences(told):
        out.print(sentence, markup=False, highlight=False, soft_wrap=True)


def print_funnel(counts: list[dict[str, Any]]) -> None:
    """The funnel as a table; in each line rows in = kept + dropped."""
    table = Table("stage", box=None, pad_edge=False)
    for column in ("rows in", "kept", "dropped"):
        table.add_column(column, justify="right")
    table.add_column("reasons")
    for line in counts:
        by_count = sorted(line["reasons"].items(), key=lambda item: (-item[1], item[0]))
        reasons = ", ".join([*(f"{reason} {count:,}" for reason, count in by_count[:4]), *(["..."] if len(by_count) > 4 else [])])
        table.add_row(line["stage"], f"{line['rows_in']:,}", f"{line['kept']:,}", f"{line['dropped']:,}", reasons)
    out.print(table)


@app.command(rich_help_panel="Curate")
def demo(
    folder: Annotated[Path, typer.Argument(help="Where the sample data and its workspace go.")] = Path("prefine-demo"),
    debug: DebugOption = False,
) -> None:
    """Curate the sample data that ships with prefine."""
    sample = storage.package_folder("data")
    config = folder / "prefine.yaml"
    if folder.exists() and any(folder.iterdir()) and not config.exists():
        raise ConfigError(f"{folder}: is not empty and holds no demo. Give another folder: `prefine demo FOLDER`.")
    shutil.copytree(sample / "raw", folder / "raw", dirs_exist_ok=True)
    shutil.copyfile(sample / "prefine.yaml", config)
    _curate(config, None)
    row = _a_merged_row(config)
    out.print("\nNext:", highlight=False)
    prefine = "prefine" if shutil.which("prefine") else f"{Path(sys.executable).parent}/prefine".removeprefix(f"{Path.cwd()}/")
    for line in (
        f"{prefine} query drop_reasons --config {config}",
        f'{prefine} query "select prompt, chosen, rejected, p_chosen from train limit 3" --config {config}',
        f"{prefine} explain {row} --config {config}",
    ):
        out.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)


def _a_merged_row(config: Path) -> str:
    rows = (
        catalogue(config)
        .query("select source_uri, source_row from ledger where fate = 'merged' order by source_uri, source_row limit 1")
        .to_pylist()
    )
    return f"{rows[0]['source_uri']}:{rows[0]['source_row']}" if rows else "ID"
