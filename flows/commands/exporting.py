"""What trainers read: export."""

from typing import Annotated, Any, Literal

import typer

from flows.commands import DEFAULT_CONFIG, ConfigOption, DebugOption, SampleOption, app, dataset_root, err, out

_FORMATS = (
    "trl: preferences. unpaired: KTO, BCO. reward: with a margin. prompts: for GRPO and other online methods. soft: with probabilities. "
    "listwise, list-pairs: from ratings. reward-conditioned: a goal in the system prompt. stepwise: process rewards. rationale, critique, "
    "self-rationalization: with reasons. See `prefine formats` for all of them."
)


@app.command(rich_help_panel="Train")
def export(
    folder: Annotated[str, typer.Argument(help="Where to: an empty or new folder, or a URL. A stopped export goes on there.")],
    config: ConfigOption = DEFAULT_CONFIG,
    form: Annotated[str, typer.Option("--format", help=_FORMATS)] = "trl",
    split: Annotated[
        list[str] | None,
        typer.Option(
            "--split", help="train, validation, test; other: pairs with tools or several turns. May be repeated; the first three."
        ),
    ] = None,
    prompt: Annotated[
        Literal["explicit", "implicit"], typer.Option(help="A column of its own, or the beginning of both answers.")
    ] = "explicit",
    shape: Annotated[Literal["messages", "text"], typer.Option("--as", help="Messages, or plain strings.")] = "messages",
    template: Annotated[str, typer.Option(help="A model (name or folder) whose chat template writes --as text.")] = "",
    tools: Annotated[bool, typer.Option("--tools", help="A column `tools`, and with --split other pairs that define some.")] = False,
    ties: Annotated[bool, typer.Option("--ties", help="Pairs that were dropped as ties, too.")] = False,
    weights: Annotated[
        Literal["none", "column", "repeat"], typer.Option(help="A column `weight`, or rows as often as they weigh.")
    ] = "none",
    threshold: Annotated[
        list[str] | None,
        typer.Option(help="unpaired: from ratings; good at and above this share of the scale (0 to 1), or SOURCE=SHARE. May be repeated."),
    ] = None,
    drop_band: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="unpaired: leave out ratings nearer than this to the threshold.")
    ] = 0.0,
    margin: Annotated[str, typer.Option(help="reward: the column that margins come from: margin, p_chosen, p_soft or rm_mean.")] = "",
    system: Annotated[str, typer.Option(help="reward-conditioned: the system prompt, with {score} in it.")] = "",
    policy: Annotated[
        str, typer.Option(help="listwise: best, best-random, best-worst or square; list-pairs: all, best-vs-rest or best-vs-worst.")
    ] = "",
    references: Annotated[bool, typer.Option("--references", help="prompts: a column with the best answer.")] = False,
    kind: Annotated[
        list[str] | None, typer.Option("--kind", help="Kinds of rationale, for rationale and critique. May be repeated.")
    ] = None,
    reference_logps: Annotated[
        bool, typer.Option("--reference-logps", help="With what signals.ches.logps published, for DPO without a reference model.")
    ] = False,
    allow_loss: Annotated[bool, typer.Option("--allow-loss", help="Leave out what the format cannot say.")] = False,
    version: Annotated[str | None, typer.Option(help="A version; the current one when left out.")] = None,
    sample: SampleOption = False,
    debug: DebugOption = False,
) -> None:
    """Write a published version in the form that a trainer reads."""
    from flows import exporting, progress
    from pipeline.export.reasons import LEFT_OUT

    given: dict[str, Any] = {
        "prompt": prompt, "form": shape, "template": template, "tools": tools, "ties": ties, "weights": weights,
        "thresholds": exporting.thresholds(threshold or []), "drop_band": drop_band, "margin": margin, "system": system,
        "policy": policy, "references": references, "kinds": tuple(kind or ()), "reference_logps": reference_logps,
    }  # fmt: skip
    request = exporting.Request(form, exporting.options(given), version, tuple(split or exporting.SPLITS), allow_loss)
    with progress.stage("export", None, "pairs") as done:
        told = exporting.export(dataset_root(config, sample), folder, request, done)
    written = ", ".join(f"{name} {rows:,}" for name, rows in told.rows.items())
    out.print(f"{told.version} exported to {folder}: {written}", markup=False, highlight=False, soft_wrap=True)
    if told.resumed:
        out.print(f"of its shards, {told.resumed:,} were there already", markup=False, highlight=False)
    for reason, count in sorted(told.left_out.items()):
        out.print(f"left out, {reason}: {count:,} ({LEFT_OUT[reason]})", markup=False, highlight=False, soft_wrap=True)
    for note in told.notes:
        err.print(note, markup=False, highlight=False, soft_wrap=True)


@app.command(rich_help_panel="Train")
def formats(debug: DebugOption = False) -> None:
    """The formats of `prefine export`: what each is, which options it takes, and what it can say beyond plain pairs."""
    from rich.table import Table

    from flows import exporting

    table = Table(box=None, pad_edge=False)
    for heading in ("format", "what it is", "file", "options", "can say"):
        table.add_column(heading, overflow="fold")
    for one in exporting.described():
        table.add_row(one.name, one.about, one.file, " ".join(one.flags), ", ".join(one.represents))
    out.print(table)
