"""Before training: lint."""

import dataclasses
import json
import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table

from flows.commands import DEFAULT_CONFIG, ConfigOption, DebugOption, SampleOption, app, dataset_root, err, out
from pipeline.config import load_config

if TYPE_CHECKING:
    from flows.linting import Linted


@app.command(rich_help_panel="Train")
def lint(
    config: ConfigOption = DEFAULT_CONFIG,
    form: Annotated[
        str, typer.Option("--format", help="As for export: trl, reward, unpaired, openrlhf, axolotl, llama-factory ...")
    ] = "trl",
    tokenizer: Annotated[
        str | None, typer.Option(help="Hub id or folder of the model to be trained; content.truncation.tokenizer when left out.")
    ] = None,
    max_length: Annotated[int | None, typer.Option(min=1, help="The trainer's window, tokens; its default when left out.")] = None,
    max_prompt_length: Annotated[int | None, typer.Option(min=1, help="Likewise of trainers that limit prompts alone.")] = None,
    prompt: Annotated[Literal["explicit", "implicit"], typer.Option(help="As for export.")] = "explicit",
    shape: Annotated[Literal["messages", "text"], typer.Option("--as", help="As for export.")] = "messages",
    tools: Annotated[bool, typer.Option("--tools", help="As for export.")] = False,
    weights: Annotated[Literal["none", "column", "repeat"], typer.Option(help="As for export.")] = "none",
    split: Annotated[list[str] | None, typer.Option("--split", help="As for export; all four when left out. May be repeated.")] = None,
    version: Annotated[str | None, typer.Option(help="A version; the current one when left out.")] = None,
    output: Annotated[Literal["table", "json"], typer.Option(help="For people or for programs.")] = "table",
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 if rows would be dropped, cut or misread.")] = False,
    sample: SampleOption = False,
    debug: DebugOption = False,
) -> None:
    """Count the rows that a trainer would drop, cut or misread, with reasons, before it is started."""
    from flows import exporting, linting, progress

    given: dict[str, Any] = {"prompt": prompt, "form": shape, "tools": tools, "weights": weights}
    asked = linting.Asked(form, exporting.options(given), version, tokenizer, max_length, max_prompt_length, tuple(split or linting.PARTS))
    with progress.stage("lint", None, "pairs") as done:
        told = linting.lint(load_config(config), dataset_root(config, sample), asked, done)
    if output == "json":
        sys.stdout.write(json.dumps(dataclasses.asdict(told), ensure_ascii=False, indent=2) + "\n")
    else:
        _show(told)
    if strict and told.affected:
        raise typer.Exit(1)


def _show(told: "Linted") -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("what happens", "reason", "pairs", "share", "first pairs"):
        table.add_column(name, justify="right" if name in {"pairs", "share"} else "left", overflow="fold")
    for one in told.findings:
        table.add_row(
            one.effect.replace("_", " "), one.reason, f"{one.rows:,}", f"{one.share:.2%}", " ".join(id[:12] for id in one.examples[:2])
        )
    out.print(table)
    window = "no window" if told.window is None else f"window {told.window:,} tokens"
    longest = f", longest conversation counted {told.longest:,}" if told.longest else ""
    counted = (
        "" if told.exact else " Token counts are estimates: no chat template of the model wrote the conversations (--tokenizer MODEL)."
    )
    summary = f"{told.trainer}, {window}{longest}: {told.affected:,} of {told.pairs:,} pairs dropped, cut or misread.{counted}"
    out.print(summary, markup=False, highlight=False, soft_wrap=True)
    for reason, says in {one.reason: one.says for one in told.findings}.items():
        out.print(f"{reason}: {says}", markup=False, highlight=False, soft_wrap=True)
    for note in told.notes:
        err.print(note, markup=False, highlight=False, soft_wrap=True)
