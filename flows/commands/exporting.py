"""What trainers read: export."""

from typing import Annotated

import typer

from flows.commands import DEFAULT_CONFIG, ConfigOption, DebugOption, SampleOption, app, dataset_root, out


@app.command(rich_help_panel="Train")
def export(
    folder: Annotated[str, typer.Argument(help="Where to: an empty or new folder, or a URL.")],
    config: ConfigOption = DEFAULT_CONFIG,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            help="trl: prompt, chosen, rejected as TRL's trainers read them. rationale: with a rationale as a dialogue of its own. "
            "critique: what a judge is trained on. self-rationalization: pairs of written judgements.",
        ),
    ] = "trl",
    kind: Annotated[
        list[str] | None, typer.Option("--kind", help="Kinds of rationale, for rationale and critique. May be repeated.")
    ] = None,
    reference_logps: Annotated[
        bool, typer.Option("--reference-logps", help="With what signals.ches.logps published, for DPO without a reference model.")
    ] = False,
    version: Annotated[str | None, typer.Option(help="A version; the current one when left out.")] = None,
    sample: SampleOption = False,
    debug: DebugOption = False,
) -> None:
    """Write a published version in the form that a trainer reads."""
    from flows import exporting, progress

    with progress.stage("export", None, "pairs") as done:
        told = exporting.export(dataset_root(config, sample), version, folder, form, reference_logps, done, tuple(kind or ()))
    written = ", ".join(f"{split} {rows:,}" for split, rows in told.rows.items())
    out.print(f"{told.version} exported to {folder}: {written}", markup=False, highlight=False, soft_wrap=True)
    for reason, count in sorted(told.left_out.items()):
        out.print(f"left out, {reason}: {count:,}", markup=False, highlight=False)
