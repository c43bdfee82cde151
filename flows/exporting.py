"""`prefine export`: a published version in the form that a trainer reads, one shard after the other."""

import importlib.metadata
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

import polars as pl

from flows.export_formats import Described, described, format_of
from flows.export_parts import OTHER, SPLITS, TIE, TIES, Request, Unit, Version, beside_of, by_split, opened, pairs_of, units_of
from pipeline import export_files, storage
from pipeline.errors import ConfigError, PrefineError
from pipeline.export import Facts, Format, Options
from pipeline.export.messages import SIDES, held
from pipeline.export.reasons import LEFT_OUT
from pipeline.export_files import Output, Progress
from pipeline.stage import StageResult

__all__ = ["OTHER", "SPLITS", "Described", "Exported", "Request", "converted", "described", "export", "options", "thresholds"]

_SAYS: Final = {
    "tools": "define tools",
    "tool_calls": "have tool calls",
    "turns": "have answers of several messages",
    "history": "have prompts of several messages",
    "ties": "are ties",
}


@dataclass(frozen=True)
class Exported:
    """What an export wrote, what it left out and why, and what is worth knowing about it."""

    version: str
    rows: dict[str, int]
    left_out: dict[str, int]
    counts: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    resumed: int = 0  # shards that an export before had done


def export(dataset_root: str, folder: str, request: Request, done: Callable[[int], None] = lambda _: None) -> Exported:
    """Write `<folder>/train-*`, `validation-*`, `test-*` and `export.json`; a shard without rows is not written.

    Shards that are finished are kept when an export is stopped: the same call goes on after them.

    Args:
        dataset_root: the dataset's folder or URL.
        folder: where to; a folder or fsspec URL that holds no other files of data.
        request: what.
        done: gets the number of pairs done since its last call.

    Raises:
        ConfigError: no such format or split, options that it does not take, pairs that it cannot say, or a folder with other files.
        NotFoundError: no such version.
        PrefineError: log-probabilities, rationales or scores are asked for, and no pair has any; or a file of the version is not as
            published.
    """
    if not folder.strip():
        raise ConfigError("the folder to export to has no name. Give an empty or new folder, or a URL.")
    wanted = format_of(request)
    version = opened(dataset_root, request.version, bool(wanted.beside))
    _check_sources(version, request)
    units = list(units_of(version, request, wanted))
    lost_ties = _refuse_losses(version, units, request, wanted)
    asked = {
        "format": request.form,
        "options": request.options.given(),
        "version": version.name,
        "content": version.manifest.get("content_sha256"),
        "splits": [part for part in (*SPLITS, OTHER) if part in request.splits],
        "allow_loss": request.allow_loss,
        "prefine": importlib.metadata.version("prefine"),
    }
    progress = export_files.take_up(folder, asked)
    if progress.finished is not None:
        told = progress.finished
        rows = {split: told["rows"][split] for split in SPLITS}
        return Exported(version.name, rows, told["left_out"], told["counts"], told["notes"], len(units))
    resumed = len(progress.units)
    for unit in units:
        if unit.path not in progress.units:
            progress.add(unit.path, _convert(version, unit, request, wanted, folder, done))
    return _finish(dataset_root, version, request, wanted, progress, units, resumed, lost_ties)


def converted(
    dataset_root: str, request: Request, also: tuple[str, ...]
) -> Iterator[tuple[pl.DataFrame, StageResult, dict[str, int], Format]]:
    """What an export would write and leave out, part after part; nothing is written.

    Args:
        dataset_root: the dataset's folder or URL.
        request: as for `export`; losses are no reason to stop.
        also: further columns of PAIR to read.

    Returns:
        For each part, read as it is asked for: its pairs, what the format makes of them, its own numbers of that, and the format.

    Raises:
        ConfigError: as for `export`.
        NotFoundError: no such version.
    """
    made = format_of(request)
    wanted = replace(made, reads=tuple(dict.fromkeys([*made.reads, *also])))
    version = opened(dataset_root, request.version, bool(wanted.beside))

    def parts() -> Iterator[tuple[pl.DataFrame, StageResult, dict[str, int], Format]]:
        for unit in units_of(version, request, wanted):
            for pairs in pairs_of(version, unit, wanted):
                for _, mine in by_split(pairs, unit, request):
                    beside = [beside_of(version.tables[part], list(columns), mine) for part, columns in wanted.beside.items()]
                    result = wanted.convert(mine, *beside)
                    yield mine, result, wanted.tally(result.kept) if wanted.tally and result.kept.height else {}, wanted

    return parts()


def options(given: dict[str, Any]) -> Options:
    """What a command line asks for, as options; a chat template is loaded.

    Raises:
        ConfigError: --template without --as text, or a model that has no chat template.
    """
    name = given.get("template", "")
    if not name:
        return Options(**given)
    if given.get("form") != "text":
        raise ConfigError("--template writes text: add --as text.")
    from flows.chat_templates import load_renderer

    return Options(**given, render=load_renderer(name))


def thresholds(given: list[str]) -> dict[str, float]:
    """Shares as typed, by source; "" for one without.

    Raises:
        ConfigError: one is no number, or is given twice.
    """
    found: dict[str, float] = {}
    for text in given:
        source, _, share = text.rpartition("=")
        if source in found:
            raise ConfigError(f"--threshold {text}: {source or 'one for all sources'} is given twice.")
        try:
            found[source] = float(share)
        except ValueError:
            raise ConfigError(f"--threshold {text}: expected a share of the scale such as 0.5, or SOURCE=0.5.") from None
    return found


def _check_sources(version: Version, request: Request) -> None:
    sources = version.manifest.get("config", {}).get("sources", [])
    if any(one.get("version") for one in sources):
        return  # a published version brings sources of its own
    known = [str(one["name"]) for one in sources]
    for name in request.options.thresholds:
        if name and known and name not in known:
            raise ConfigError(f"--threshold {name}=...: {version.name} has no source {name!r}; sources: {', '.join(known)}.")


def _refuse_losses(version: Version, units: list[Unit], request: Request, wanted: Format) -> int:
    """Count what the format cannot say, before anything is written; stop unless the user allows it. Returns the ties that are lost."""
    lost = Counter[str]()
    for unit in units:
        # A published split has neither tools nor answers of several messages (`pipeline.split.assign_part`).
        cannot = {"tools", "tool_calls", "turns"} - wanted.represents if unit.part in (OTHER, TIES) else set()
        cannot |= {"history"} if wanted.single_turns else set()
        if not cannot:
            continue
        columns = [f"{side}.list.element.{name}" for side in SIDES for name in ("role", "tool_calls")]
        rows = export_files.whole(storage.join(version.home, unit.path), [*columns, "tools"])
        found = rows.select(expression.fill_null(False).sum().alias(name) for name, expression in held().items() if name in cannot)
        lost.update(found.row(0, named=True))
    if request.options.ties and "ties" not in wanted.represents:
        for path in version.shards["dropped"]:
            of = export_files.whole(storage.join(version.home, path), ["split"], TIE)["split"]
            lost["ties"] += int(of.is_in(request.splits).sum())
    if not any(lost.values()) or request.allow_loss:
        return lost["ties"]
    told = "; ".join(f"{rows:,} {_SAYS[name]}" for name, rows in lost.items() if rows)
    hint = " --tools writes definitions of tools." if lost["tools"] and "tools" in wanted.takes else ""
    hint += " With --template, a conversation can be text." if lost["history"] and "template" in wanted.takes else ""
    raise ConfigError(
        f"--format {request.form} would leave out pairs that it cannot say: {told} (a pair may count twice).{hint} "
        "Add --allow-loss to export without them."
    )


def _convert(version: Version, unit: Unit, request: Request, wanted: Format, folder: str, done: Callable[[int], None]) -> dict[str, Any]:
    """Convert one shard; returns its files, rows by split, reasons of what was left out, and the format's own numbers."""
    rows, left_out, counts, files = Counter[str](), Counter[str](), Counter[str](), []
    outputs: dict[str, Output] = {}
    try:
        for pairs in pairs_of(version, unit, wanted):
            for split, mine in by_split(pairs, unit, request):
                beside = [beside_of(version.tables[part], list(columns), mine) for part, columns in wanted.beside.items()]
                result = wanted.convert(mine.select(wanted.reads), *beside)
                left_out.update(dict(result.dropped.group_by("reason").len().iter_rows()))
                if result.kept.height:
                    if split not in outputs:
                        outputs[split] = Output(folder, unit.names(split), wanted.schema, wanted.file)
                    outputs[split].write(result.kept)
                    rows[split] += result.kept.height
                    counts.update(wanted.tally(result.kept) if wanted.tally else {})
            done(pairs.height)
        for split in list(outputs):
            files.append({**outputs[split].close(), "split": split})
            del outputs[split]
    finally:
        for output in outputs.values():
            output.abort()
    return {"files": sorted(files, key=lambda file: str(file["path"])), "rows": rows, "left_out": left_out, "counts": counts}


def _finish(
    dataset_root: str, version: Version, request: Request, wanted: Format, progress: Progress, units: list[Unit], resumed: int, ties: int
) -> Exported:
    told = [progress.units[unit.path] for unit in units]
    rows, left_out, counts = (sum((Counter(one[name]) for one in told), Counter[str]()) for name in ("rows", "left_out", "counts"))
    if ties:
        left_out["tie"] += ties
    if not rows.total():
        _explain(f"{dataset_root}, {version.name}", left_out, request)
    files = sorted((file for one in told for file in one["files"]), key=lambda file: str(file["path"]))
    by_split = {split: rows[split] for split in SPLITS}
    notes = [*(wanted.advice(dict(counts)) if wanted.advice else []), *_not_asked(version, request)]
    dataset = str(version.manifest.get("dataset", ""))
    facts = Facts(dataset, version.name, request.form, files, by_split, dict(counts))
    manifest = {
        "dataset": dataset,
        "version": version.name,
        "content_sha256": version.manifest.get("content_sha256"),
        "format": request.form,
        "options": progress.asked["options"],
        "prefine": progress.asked["prefine"],
        "schema": {one.name: str(one.type) for one in wanted.schema},
        "files": files,
        "rows": by_split,
        "left_out": dict(sorted(left_out.items())),
        "counts": dict(sorted(counts.items())),
        "notes": notes,
    }
    progress.finish(manifest, wanted.beside_files(facts) if wanted.beside_files else {})
    return Exported(version.name, by_split, dict(left_out), dict(counts), notes, resumed)


def _not_asked(version: Version, request: Request) -> list[str]:
    """Pairs that only --split other exports: nobody should miss them without a word."""
    paths = [] if OTHER in request.splits else version.shards[OTHER]
    rows = sum(export_files.rows_of(storage.join(version.home, path)) for path in paths)
    return [f"{rows:,} pairs with tools or answers of several messages are not in it; --split other exports them."] if rows else []


def _explain(where: str, left_out: Counter[str], request: Request) -> None:
    """Stop where nothing could be written, and say why."""
    for reason, what in _MISSING.items():
        if left_out[reason]:
            raise PrefineError(f"{where}: {what}")
    told = "; ".join(f"{rows:,} {reason} ({LEFT_OUT[reason]})" for reason, rows in left_out.most_common())
    raise PrefineError(
        f"{where}: nothing to export from {', '.join(request.splits)} as --format {request.form}: "
        f"{f'left out: {told}' if told else 'there are no pairs'}."
    )


_MISSING: Final = {
    "no_reference_logps": "no pair has the log-probabilities of a reference model. Set `signals.ches` to "
    "{backend: causal_lm, model: ..., logps: true}, run again, then export.",
    "no_rationale": "no pair has an accepted rationale of these kinds. Set `rationales.endpoint`, run again, then export; measured "
    "differences are exported with --format rationale --kind factors.",
    "no_written_judgement": "no judge has written why. Set `judges:`, or `rationales: {labels: hidden, ...}`, run again, then export.",
    "no_rating": "no prompt of a published pair has ratings. --threshold needs a source of ratings; without it, labels are those of pairs.",
    "no_score": "no pair has ratings of both answers. This format needs a source of ratings.",
    "no_steps": "no rating states labels of steps. This format needs a source whose rows have lists `completions` and `labels`.",
    "no_margin": "no pair has this margin. --margin margin is there for every pair.",
}
