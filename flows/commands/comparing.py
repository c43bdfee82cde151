"""What changed between two versions: diff."""

import sys
from pathlib import Path
from typing import Annotated, cast

import typer

from flows.commands import DEFAULT_CONFIG, ConfigOption, DebugOption, SampleOption, app, dataset_root, out
from pipeline.errors import ConfigError

FORMATS = ("text", "json", "csv")
CHANGES = ("added", "removed", "relabelled", "moved")
SHOWN = 5  # pairs of each change on a terminal


@app.command("diff", rich_help_panel="Versions")
def diff_versions(
    first: Annotated[
        str | None, typer.Argument(metavar="[V1]", help="The earlier version, or a path to one; else the one before V2.")
    ] = None,
    second: Annotated[str | None, typer.Argument(metavar="[V2]", help="The later version; the current one when left out.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    change: Annotated[str | None, typer.Option(help="Only these pairs: added, removed, relabelled or moved.")] = None,
    limit: Annotated[int | None, typer.Option(min=0, help=f"Pairs shown of each change; {SHOWN} as text, all as json or csv.")] = None,
    form: Annotated[str, typer.Option("--format", help="text, json or csv (one row a pair).")] = "text",
    sample: SampleOption = False,
    debug: DebugOption = False,
) -> None:
    """Tell which pairs two versions do not share, or label or split otherwise, and the reason for each."""
    if form not in FORMATS:
        raise ConfigError(f"--format {form}: expected {', '.join(FORMATS)}.")
    if change is not None and change not in CHANGES:
        raise ConfigError(f"--change {change}: expected {', '.join(CHANGES)}.")
    from flows import comparing
    from pipeline import diff

    compared = comparing.open_both(dataset_root(config, sample), first, second, str(Path.cwd()))
    most = SHOWN if limit is None and form == "text" else limit
    found = diff.compare(compared.old.tables, compared.new.tables, most, cast("diff.Change | None", change))
    if form == "json":
        sys.stdout.write(comparing.as_json(found, compared))
    elif form == "csv":
        sys.stdout.write(comparing.as_csv(found))
    else:
        for line in comparing.render(found, compared):
            out.print(line, markup=False, highlight=False, soft_wrap=True)
