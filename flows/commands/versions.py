"""The versions of a dataset: versions, rollback, gc, verify, push."""

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from flows.commands import DEFAULT_CONFIG, ConfigOption, DebugOption, SampleOption, app, dataset_root, err, out
from pipeline.config import load_config
from pipeline.errors import CheckFailedError, ConfigError

PANEL = "Versions"
SHOWN = ("train", "validation", "test", "other", "dropped")  # parts whose rows are listed
FormOption = Annotated[str, typer.Option("--format", help="table or json.")]


def _checked(form: str) -> None:
    if form not in ("table", "json"):
        raise ConfigError(f"--format {form}: expected table or json.")


def _say(line: str) -> None:
    out.print(line, markup=False, highlight=False, soft_wrap=True)


@app.command("versions", rich_help_panel=PANEL)
def list_versions(
    config: ConfigOption = DEFAULT_CONFIG, sample: SampleOption = False, form: FormOption = "table", debug: DebugOption = False
) -> None:
    """List the versions of a dataset, oldest first: when, how many pairs, which one readers get."""
    _checked(form)
    from pipeline import versions

    root = dataset_root(config, sample)
    listed = versions.versions(root)
    if form == "json":
        sys.stdout.write(json.dumps([asdict(version) for version in listed], ensure_ascii=False, indent=2) + "\n")
        return
    if not listed:
        _say(f"{root}: nothing is published there yet. `prefine run CONFIG` publishes a first version.")
        return
    table = Table("", "version", "created (UTC)", box=None, pad_edge=False)
    for column in (*SHOWN, "MB"):
        table.add_column(column, justify="right")
    table.add_column("content")
    for one in listed:
        rows = [f"{one.rows.get(part, 0):,}" for part in SHOWN]
        told = [one.created_at[:19], *rows, f"{one.bytes / 1e6:,.1f}", one.content_sha256[:12]]
        table.add_row("*" if one.is_current else "", one.name, *(told if one.problem is None else ["cannot be read"]))
    out.print(table)
    for one in listed:
        if one.problem is not None:
            _say(one.problem)
    if half := versions.half_written(root):
        _say(f"half-written, seen by no reader: {', '.join(half)}. The next run, or `prefine gc`, removes what a crash left.")


@app.command(rich_help_panel=PANEL)
def rollback(
    version: Annotated[str, typer.Argument(help="The version that readers get from now on.")],
    config: ConfigOption = DEFAULT_CONFIG,
    sample: SampleOption = False,
    debug: DebugOption = False,
) -> None:
    """Let readers get an older version; nothing is deleted, and the next run publishes a new one."""
    from flows import versioning
    from pipeline.versions import full_name

    root = dataset_root(config, sample)
    version = full_name(root, version)
    was = versioning.rollback(root, version)
    _say(f"{version} is current already." if was == version else f"{version} is current now; it was {was}. {was} stays, and can come back.")


@app.command(rich_help_panel=PANEL)
def gc(
    keep: Annotated[int, typer.Option(min=1, help="How many of the newest versions stay; the current one stays besides.")],
    yes: Annotated[bool, typer.Option("--yes", help="Delete. Without it, only say what would go.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    sample: SampleOption = False,
    form: FormOption = "table",
    debug: DebugOption = False,
) -> None:
    """Delete old versions and what crashes left, except what is current, new, or the source of another version."""
    _checked(form)
    from flows import versioning

    do = versioning.collect if yes else versioning.collectable
    fates = do(dataset_root(config, sample), keep, load_config(config), str(config.resolve().parent))
    if form == "json":
        sys.stdout.write(json.dumps({"deleted": yes, "versions": [asdict(fate) for fate in fates]}, ensure_ascii=False, indent=2) + "\n")
        return
    goes, stays = ("deleted", "kept") if yes else ("would go", "stays")
    for fate in fates:
        _say(f"{fate.name}  {goes if fate.goes else stays}: {fate.why} ({fate.bytes / 1e6:,.1f} MB)")
    freed = sum(fate.bytes for fate in fates if fate.goes)
    some = any(fate.goes for fate in fates)
    _say(f"{freed / 1e6:,.1f} MB {'freed' if yes else 'would be freed'}." + (" Delete them with --yes." if some and not yes else ""))


@app.command(rich_help_panel=PANEL)
def verify(
    version: Annotated[str | None, typer.Argument(help="A version; the current one when left out.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    sample: SampleOption = False,
    form: FormOption = "table",
    debug: DebugOption = False,
) -> None:
    """Read a whole version again: hashes, rows, columns, stray files, and every invariant of sql/checks."""
    _checked(form)
    from flows import progress
    from pipeline.verify import verify as read_again
    from pipeline.versions import full_name

    root = dataset_root(config, sample)
    name = full_name(root, version)
    with progress.stage("verify", None, "bytes") as done:
        found = read_again(root, name, done)
    if form == "json":
        sys.stdout.write(json.dumps(asdict(found), ensure_ascii=False, indent=2) + "\n")
    else:
        for note in found.notes:
            _say(f"note: {note}")
    if found.problems:
        raise CheckFailedError(
            f"{root}, {name}: {len(found.problems)} problem(s). Go to another version with `prefine rollback VERSION`, or restore the "
            "files from a copy.\n" + "\n".join(f"  {problem}" for problem in found.problems)
        )
    if form == "table":
        read = f"{found.files} files, {found.rows:,} rows, {found.bytes / 1e6:,.1f} MB"
        _say(f"{name} is as it was published: {read}; every check of sql/ holds.")


@app.command(rich_help_panel=PANEL)
def push(
    to: Annotated[str, typer.Argument(metavar="FOLDER", help="A new folder, or hf://datasets/ORGANISATION/NAME.")],
    repo: Annotated[str | None, typer.Option(help="Upload the folder to this dataset repository; needs a token (HF_TOKEN).")] = None,
    everything: Annotated[
        bool, typer.Option("--everything", help="With judgements, ratings, ledger, dropped and quarantined rows.")
    ] = False,
    public: Annotated[bool, typer.Option("--public", help="A repository that is made now is public; private without it.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    version: Annotated[str | None, typer.Option(help="A version; the current one when left out.")] = None,
    sample: SampleOption = False,
    debug: DebugOption = False,
) -> None:
    """Write a version as a folder that a hub takes as it is: card, data, manifest, report; upload it where a token is there."""
    from flows import progress, pushing

    root = dataset_root(config, sample)
    folder, repository = pushing.destination(to, repo, root)
    with progress.stage("push", None, "bytes") as done:
        told = pushing.prepare(root, version, folder, everything, done)
    rows = ", ".join(f"{part} {count:,}" for part, count in told.rows.items())
    _say(f"{told.version} written to {folder}: {rows or 'no pairs'}; {told.files} files, {told.bytes / 1e6:,.1f} MB")
    for line in told.taken_out:
        _say(f"left out: {line}")
    for line in told.warnings:
        err.print(f"look at: {line}", markup=False, highlight=False, soft_wrap=True)
    if repository is None:
        _say("Nothing was uploaded. `--repo ORGANISATION/NAME` does, or `hf upload --repo-type dataset`.")
        return
    try:
        _say(f"uploaded: {pushing.upload(folder, repository, told.version, not public)}")
    except ConfigError as error:
        raise ConfigError(
            f"{repository}: {error} {folder} is ready: `hf upload --repo-type dataset {repository} {folder}` uploads it."
        ) from None
