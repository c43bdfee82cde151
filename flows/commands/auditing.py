"""A second look at what is published, by people, scorers, models and benchmarks: queue, contrast, decontaminate, mine."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from flows.commands import (
    DEFAULT_CONFIG,
    INCOMPLETE,
    ConfigOption,
    DebugOption,
    SampleOption,
    app,
    catalogue,
    dataset_root,
    err,
    out,
)
from pipeline import storage
from pipeline.config import load_config
from pipeline.errors import ConfigError


@app.command(rich_help_panel="Check")
def queue(
    budget: Annotated[int, typer.Option(min=1, help="How many votes to ask for, one a pair.")],
    output: Annotated[Path, typer.Option("--output", help="The file to write.")],
    form: Annotated[str, typer.Option("--format", help="jsonl (answer in place) or label-studio (tasks to import).")] = "jsonl",
    config: ConfigOption = DEFAULT_CONFIG,
    version: Annotated[str | None, typer.Option(help="A version; the current one when left out.")] = None,
    sample: SampleOption = False,
    debug: DebugOption = False,
) -> None:
    """Write the pairs that deserve a human's second look, for an annotation tool; the answers are a source like any other."""
    from flows import queueing
    from pipeline import routing

    if form not in queueing.FORMATS:
        raise ConfigError(f"--format {form}: expected {' or '.join(queueing.FORMATS)}.")
    if output.exists():
        raise ConfigError(f"{output}: exists already; it is left as it is, it may hold answers. Give another name with --output.")
    asked = queueing.questions(load_config(config), catalogue(config, version, sample), budget)
    storage.write_bytes(str(output.resolve()), queueing.written(asked, form).encode())
    gain = f", {asked['gain_bits'][0]:.2f} to {asked['gain_bits'][-1]:.2f} bits each" if asked.height else ""
    out.print(f"wrote {output}: {asked.height} question(s){gain}", markup=False, highlight=False, soft_wrap=True)
    if form == "label-studio":
        out.print("How Label Studio shows them (Settings, Labeling Interface, Code):", highlight=False)
        out.print(routing.LABEL_STUDIO_CONFIG, markup=False, highlight=False, soft_wrap=True)
        out.print("Export the answers as JSON-MIN, and add the file to `sources:`.", markup=False, highlight=False)
    else:
        out.print("Fill in `winner` (a, b or tie) and `annotator`, and add the file to `sources:`.", markup=False, highlight=False)


@app.command(rich_help_panel="Check")
def contrast(
    output: Annotated[Path | None, typer.Option("--output", help="Write the items to score there, one JSON object a line.")] = None,
    most: Annotated[int, typer.Option(min=1, help="Contrasts at most, each of four items; the nearest prompts first.")] = 1000,
    scores: Annotated[Path | None, typer.Option("--scores", help="The file of items, scored: report each scorer.")] = None,
    form: Annotated[str, typer.Option("--format", help="Of the report: text or json.")] = "text",
    config: ConfigOption = DEFAULT_CONFIG,
    version: Annotated[str | None, typer.Option(help="A version; the current one when left out.")] = None,
    sample: SampleOption = False,
    debug: DebugOption = False,
) -> None:
    """Check a scorer: does it know which answer belongs to which of two similar prompts of yours?"""
    if (output is None) == (scores is None):
        raise ConfigError("expected either --output FILE, to write what is to be scored, or --scores FILE, to report what was.")
    if form not in ("text", "json"):
        raise ConfigError(f"--format {form}: expected text or json.")
    from flows import contrasting, progress

    if scores is not None:
        if not scores.is_file():
            raise ConfigError(f"{scores}: no such file. `prefine contrast --output FILE` writes the items to score.")
        found = contrasting.report(storage.read_bytes(str(scores.resolve())), str(scores))
        if form == "json":
            sys.stdout.write(json.dumps(found.to_dicts(), ensure_ascii=False, indent=2) + "\n")
            return
        for line in contrasting.render(found):
            out.print(line, markup=False, highlight=False, soft_wrap=True)
        return
    assert output is not None
    if output.exists():
        raise ConfigError(f"{output}: exists already; it is left as it is, it may hold scores. Give another name with --output.")
    loaded, published = load_config(config), catalogue(config, version, sample)
    with progress.stage("contrast", None, "prompts") as done:
        asked = contrasting.items(loaded, config.resolve().parent, published, most, done)
    storage.write_bytes(str(output.resolve()), contrasting.written(asked).encode())
    out.print(f"wrote {output}: {asked.height} item(s)", markup=False, highlight=False, soft_wrap=True)
    if asked.height:
        out.print('Add each scorer\'s number to `scores` of every line, {"my-model": 1.5}, then:', markup=False, highlight=False)
        out.print(f"  prefine contrast --scores {output}", markup=False, highlight=False, soft_wrap=True)
    else:
        out.print("No two prompts of it are similar enough, and ask for different things.", markup=False, highlight=False)


@app.command(rich_help_panel="Check")
def decontaminate(
    config: ConfigOption = DEFAULT_CONFIG,
    benchmark: Annotated[list[str] | None, typer.Option(help="A further benchmark: a path, glob or URL. May be repeated.")] = None,
    version: Annotated[str | None, typer.Option(help="A version; the current one when left out.")] = None,
    sample: SampleOption = False,
    output: Annotated[str, typer.Option("--format", help="text or json.")] = "text",
    debug: DebugOption = False,
) -> None:
    """Report which published pairs hold benchmark prompts, and how sure that is; nothing is dropped."""
    if output not in ("text", "json"):
        raise ConfigError(f"--format {output}: expected text or json.")
    added = benchmark or []
    from flows import auditing, progress

    loaded = auditing.with_benchmarks(load_config(config), added, Path.cwd())
    with progress.stage("decontaminate", None, "pairs") as done:
        report = auditing.examine(loaded, config.resolve().parent, dataset_root(config, sample), version, done)
    if output == "json":
        sys.stdout.write(json.dumps(report, ensure_ascii=False, indent=2) + "\n")
        return
    for line in auditing.render(report, loaded, config, added):
        out.print(line, markup=False, highlight=False, soft_wrap=True)


@app.command(rich_help_panel="Check")
def mine(
    what: Annotated[str, typer.Argument(metavar="WHAT", help="rules: of rationales. criteria: of the pairs whose labels are surest.")],
    endpoint: Annotated[str, typer.Option(help="The one of `endpoints:` that is asked.")],
    output: Annotated[Path | None, typer.Option(help="Write the report there instead.")] = None,
    form: Annotated[str, typer.Option("--format", help="text or json.")] = "text",
    config: ConfigOption = DEFAULT_CONFIG,
    version: Annotated[str | None, typer.Option(help="A version; the current one when left out.")] = None,
    sample: SampleOption = False,
    debug: DebugOption = False,
) -> None:
    """Ask a language model which rules or criteria the published preferences follow, and measure how far they do."""
    if form not in ("text", "json"):
        raise ConfigError(f"--format {form}: expected text or json.")
    if output is not None and output.exists():
        raise ConfigError(f"{output}: exists already; it is left as it is. Give another name with --output.")
    from flows import mining, progress

    loaded = load_config(config)
    with progress.stage(f"mine {what}", None, "questions") as done:
        found = mining.mine(what, loaded, config.resolve().parent, dataset_root(config, sample), version, endpoint, done)
    if output is not None:
        storage.write_bytes(str(output.resolve()), mining.written(found, form).encode())
        out.print(f"wrote {output}", markup=False, highlight=False, soft_wrap=True)
    else:
        sys.stdout.write(mining.written(found, form))
    if found.incomplete is not None:
        message = f"incomplete, for want of budget: {found.incomplete}. Raise `budget:` and do it again; what was answered stays."
        err.print(message, markup=False, highlight=False, soft_wrap=True)
        sys.exit(INCOMPLETE)
