"""The command line: every command is one question or one job, every failure one readable message."""

import json
import logging
import os
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from pipeline import queries, rules, storage, stories
from pipeline.config import PipelineConfig, load_config
from pipeline.errors import ConfigError, PrefineError

app = typer.Typer(
    name="prefine",
    help="Raw comparisons of model answers in, preference data that you can trust out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_wide = None if sys.stdout.isatty() else 120  # a log is not cut at 80 columns
out, err = Console(width=_wide), Console(stderr=True)
ConfigOption = Annotated[Path, typer.Option("--config", help="The dataset's config.")]
DEFAULT_CONFIG = Path("prefine.yaml")
INSPECTED_ROWS = 10_000
INCOMPLETE = 3  # exit code: published, but a budget ran out
SampleOption = Annotated[bool, typer.Option("--sample", help="Ask what `run --limit` published.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show tracebacks and Prefect's log.")]


@app.command()
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
    _make_prefect_home()
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


@app.command()
def plan(
    config: Annotated[Path, typer.Argument(help="The dataset's config.")] = DEFAULT_CONFIG,
    limit: Annotated[int | None, typer.Option(min=1, help="Read only the first rows of each file.")] = None,
    form: Annotated[str, typer.Option("--format", help="table or json.")] = "table",
    debug: DebugOption = False,
) -> None:
    """Say what a run would ask of language models, and what that can cost; nothing is asked and nothing is published."""
    if form not in ("table", "json"):
        raise ConfigError(f"--format {form}: expected table or json.")
    rules.check(load_config(config))
    _make_prefect_home()
    from flows import planning
    from flows.curate import plan_flow

    told = plan_flow(str(config), limit, threads=os.cpu_count() or 1)
    if form == "json":
        sys.stdout.write(json.dumps(planning.document(told), ensure_ascii=False, indent=2) + "\n")
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


def _make_prefect_home() -> None:
    """Prefect makes its folder but not the folders above, and only warns when that fails."""
    home = Path(os.environ["PREFECT_HOME"]).expanduser()
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PrefineError(
            f"{home}: cannot be made ({error.strerror}). Prefect keeps its state there; set PREFECT_HOME to a folder that can be written."
        ) from None


def print_funnel(counts: list[dict[str, Any]]) -> None:
    """The funnel as a table; in each line rows in = kept + dropped."""
    table = Table("stage", box=None, pad_edge=False)
    for column in ("rows in", "kept", "dropped"):
        table.add_column(column, justify="right")
    table.add_column("reasons")
    for line in counts:
        reasons = ", ".join(
            f"{reason} {count:,}" for reason, count in sorted(line["reasons"].items(), key=lambda item: (-item[1], item[0]))[:4]
        )
        table.add_row(line["stage"], f"{line['rows_in']:,}", f"{line['kept']:,}", f"{line['dropped']:,}", reasons)
    out.print(table)


@app.command()
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
        _catalogue(config)
        .query("select source_uri, source_row from ledger where fate = 'merged' order by source_uri, source_row limit 1")
        .to_pylist()
    )
    return f"{rows[0]['source_uri']}:{rows[0]['source_row']}" if rows else "ID"


@app.command()
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


@app.command()
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


@app.command()
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
    result = _catalogue(config, version, sample).query(sql)
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


@app.command()
def explain(
    asked: Annotated[str, typer.Argument(metavar="ID", help="A record id, a pair id, or FILE:ROW (rows count from 0).")],
    config: ConfigOption = DEFAULT_CONFIG,
    version: Annotated[str | None, typer.Option(help="A version; the current one when left out.")] = None,
    sample: SampleOption = False,
    debug: DebugOption = False,
) -> None:
    """Tell the whole story of one record or pair."""
    story = stories.explain(_dataset_root(config, sample), asked, version)
    out.print(stories.render_story(story), markup=False, highlight=False, soft_wrap=True)


@app.command()
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
    asked = queueing.questions(load_config(config), _catalogue(config, version, sample), budget)
    storage.write_bytes(str(output.resolve()), queueing.written(asked, form).encode())
    gain = f", {asked['gain_bits'][0]:.2f} to {asked['gain_bits'][-1]:.2f} bits each" if asked.height else ""
    out.print(f"wrote {output}: {asked.height} question(s){gain}", markup=False, highlight=False, soft_wrap=True)
    if form == "label-studio":
        out.print("How Label Studio shows them (Settings, Labeling Interface, Code):", highlight=False)
        out.print(routing.LABEL_STUDIO_CONFIG, markup=False, highlight=False, soft_wrap=True)
        out.print("Export the answers as JSON-MIN, and add the file to `sources:`.", markup=False, highlight=False)
    else:
        out.print("Fill in `winner` (a, b or tie) and `annotator`, and add the file to `sources:`.", markup=False, highlight=False)


@app.command()
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
    loaded, published = load_config(config), _catalogue(config, version, sample)
    with progress.stage("contrast", None, "prompts") as done:
        asked = contrasting.items(loaded, config.resolve().parent, published, most, done)
    storage.write_bytes(str(output.resolve()), contrasting.written(asked).encode())
    out.print(f"wrote {output}: {asked.height} item(s)", markup=False, highlight=False, soft_wrap=True)
    if asked.height:
        out.print('Add each scorer\'s number to `scores` of every line, {"my-model": 1.5}, then:', markup=False, highlight=False)
        out.print(f"  prefine contrast --scores {output}", markup=False, highlight=False, soft_wrap=True)
    else:
        out.print("No two prompts of it are similar enough, and ask for different things.", markup=False, highlight=False)


@app.command()
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
        report = auditing.examine(loaded, config.resolve().parent, _dataset_root(config, sample), version, done)
    if output == "json":
        sys.stdout.write(json.dumps(report, ensure_ascii=False, indent=2) + "\n")
        return
    for line in auditing.render(report, loaded, config, added):
        out.print(line, markup=False, highlight=False, soft_wrap=True)


@app.command()
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
        told = exporting.export(_dataset_root(config, sample), version, folder, form, reference_logps, done, tuple(kind or ()))
    written = ", ".join(f"{split} {rows:,}" for split, rows in told.rows.items())
    out.print(f"{told.version} exported to {folder}: {written}", markup=False, highlight=False, soft_wrap=True)
    for reason, count in sorted(told.left_out.items()):
        out.print(f"left out, {reason}: {count:,}", markup=False, highlight=False)


@app.command()
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


@app.command()
def doctor(config: ConfigOption = DEFAULT_CONFIG, debug: DebugOption = False) -> None:
    """Check that everything a run needs is here and works."""
    _make_prefect_home()
    from flows.doctoring import examine

    failed = 0
    for name, works, detail in examine(config if config.exists() else None):
        out.print(f"{'ok  ' if works else 'FAIL'} {name}: {detail}", markup=False, highlight=False, soft_wrap=True)
        failed += not works
    if failed:
        raise PrefineError(f"{failed} check(s) failed; see above.")


@app.command("config-schema")
def config_schema() -> None:
    """Print the config's JSON Schema, for editors."""
    sys.stdout.write(json.dumps(PipelineConfig.model_json_schema(), indent=2) + "\n")


@app.command()
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
        found = mining.mine(what, loaded, config.resolve().parent, _dataset_root(config, sample), version, endpoint, done)
    if output is not None:
        storage.write_bytes(str(output.resolve()), mining.written(found, form).encode())
        out.print(f"wrote {output}", markup=False, highlight=False, soft_wrap=True)
    else:
        sys.stdout.write(mining.written(found, form))
    if found.incomplete is not None:
        message = f"incomplete, for want of budget: {found.incomplete}. Raise `budget:` and do it again; what was answered stays."
        err.print(message, markup=False, highlight=False, soft_wrap=True)
        sys.exit(INCOMPLETE)


def _dataset_root(file: Path, sample: bool) -> str:
    config = load_config(file)
    name = f"{config.dataset}-sample" if sample else config.dataset
    return storage.join(storage.resolve(config.workspace, file.resolve().parent), "datasets", name)


def _catalogue(config: Path, version: str | None = None, sample: bool = False) -> queries.Catalogue:
    return queries.open_version(_dataset_root(config, sample), version)


def main() -> None:
    """Run a command; exit 0 done, 1 failed, 2 wrong usage or config, 3 published but incomplete."""
    debug = "--debug" in sys.argv
    logging.basicConfig(format="%(message)s", stream=sys.stderr, level=logging.WARNING)
    logging.getLogger("prefine").setLevel(logging.DEBUG if debug else logging.INFO)
    if debug:
        os.environ["PREFECT_LOGGING_LEVEL"] = "DEBUG"
    try:
        app(prog_name="prefine")
    except PrefineError as error:
        if debug:
            raise
        err.print(f"prefine: {error}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except Exception as error:
        if debug:
            raise
        err.print(f"prefine: {type(error).__name__}: {error}. `--debug` shows where.", markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)
