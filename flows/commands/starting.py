"""Before the first run: init, inspect, doctor, config-schema."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from flows.commands import (
    DEFAULT_CONFIG,
    INSPECTED_ROWS,
    ConfigOption,
    DebugOption,
    app,
    err,
    make_prefect_home,
    out,
)
from pipeline import storage
from pipeline.config import PipelineConfig, load_config
from pipeline.errors import ConfigError, PrefineError


@app.command(rich_help_panel="Begin")
def init(
    uri: Annotated[str, typer.Argument(help="File, folder, glob or fsspec URL.")],
    output: Annotated[Path, typer.Option("--output", "--config", help="The file to write.")] = DEFAULT_CONFIG,
    debug: DebugOption = False,
) -> None:
    """Write a config for the data at URI, from what is found there."""
    from flows.inspecting import inspect
    from flows.starting import starter_config

    if output.exists():
        raise ConfigError(f"{output}: exists already; it is left as it is. Give another name with --output.")
    groups = inspect(uri, Path.cwd(), INSPECTED_ROWS)
    storage.write_bytes(str(output.resolve()), starter_config(uri, Path.cwd(), output.resolve().parent, groups).encode())
    open_questions = [group for group in groups if group.first.error and not group.completion and not group.texts_of]
    for group in open_questions:
        more = f" and {len(group.files) - 1} like it" if len(group.files) > 1 else ""
        reason = str(group.first.error).split("\n", 1)[0].removeprefix(f"{group.first.name}: ")
        err.print(f"{group.first.name}{more}: {reason}", markup=False, highlight=False, soft_wrap=True)
    sources, files = len(load_config(output).sources), sum(len(group.files) for group in groups)
    out.print(f"wrote {output}: {sources} source(s); {files} file(s) looked at", markup=False, highlight=False, soft_wrap=True)
    stuck = len(open_questions) == len(groups)
    out.print("Next, when what the config leaves open is filled in:" if stuck else "Next:", highlight=False)
    for line in (f"prefine inspect {uri}", f"prefine run {output}"):
        out.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)


@app.command(rich_help_panel="Begin")
def inspect(
    uri: Annotated[str, typer.Argument(help="File, folder, glob or fsspec URL.")],
    rows: Annotated[int, typer.Option(min=0, help="Rows read of each file; 0 reads all.")] = INSPECTED_ROWS,
    config: Annotated[Path | None, typer.Option("--config", help="A config: URI may then be the name of one of its sources.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document with the same facts.")] = False,
    debug: DebugOption = False,
) -> None:
    """Show each file's layout and why, its fields, first records, problems, and the config that reads it."""
    from flows import inspecting, showing
    from flows.starting import example_source

    source, base = (None, Path.cwd()) if config is None else inspecting.source_of(uri, config)
    where = str(source.uri) if source else uri
    groups = inspecting.inspect(where, base, rows or None, source)
    known = source is not None  # a config says already how it is read
    configs = ["" if known else example_source(group, where, base, alone=len(groups) == 1) for group in groups]
    if as_json:
        document = inspecting.document(groups, configs)
        sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2, default=str) + "\n")
    else:
        for line in showing.render(groups, configs, out.width):
            out.print(line, highlight=False, soft_wrap=True)
    unread = sum(len(group.files) for group in groups if group.first.error is not None)
    if unread:
        of = sum(len(group.files) for group in groups)
        raise PrefineError(f"{unread} of {of} file(s) cannot be read as they are; each is shown with the config that would settle it.")


@app.command(rich_help_panel="Begin")
def doctor(config: ConfigOption = DEFAULT_CONFIG, debug: DebugOption = False) -> None:
    """Check that everything a run needs is here and works."""
    make_prefect_home()
    from flows.doctoring import examine

    failed = 0
    for name, works, detail in examine(config if config.exists() else None):
        out.print(f"{'ok  ' if works else 'FAIL'} {name}: {detail}", markup=False, highlight=False, soft_wrap=True)
        failed += not works
    if failed:
        raise PrefineError(f"{failed} check(s) failed; see above.")


@app.command("config-schema", rich_help_panel="Begin")
def config_schema() -> None:
    """Print the config's JSON Schema, for editors."""
    sys.stdout.write(json.dumps(PipelineConfig.model_json_schema(), indent=2) + "\n")
