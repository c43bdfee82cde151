"""The flow: which stages run, in which order, on which partitions."""

import importlib.metadata
import logging
import platform
import resource
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl
from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner

from flows import (
    asking,
    decontaminating,
    deduplicating,
    hidden,
    ingesting,
    joining,
    judging,
    planning,
    progress,
    reasons,
    reusing,
    scoring,
    selecting,
    splitting,
    steps,
    storing,
    voting,
    writing,
)  # fmt: skip
from flows.inputs import InputFile, input_files
from flows.steps import Run
from pipeline import publish, queries, rules, storage
from pipeline.bias.balance import Balanced
from pipeline.config import PipelineConfig, load_config
from pipeline.errors import CheckFailedError, LayoutError, PrefineError, TooManyQuarantinedError
from pipeline.lease import Lease, hold_lease
from pipeline.schemas import INPUT
from pipeline.selection import select

log = logging.getLogger("prefine")
Planned = Literal["reuse", "requests"] | None  # what to tell instead of publishing
BYTES_PER_PARTITION = 64 << 20
MOST_PARTITIONS = 48  # with seven tasks each: a few hundred tasks whatever the size
MOST_INGEST_TASKS = 64
GZIP_FACTOR = 4  # text grows by about that when unpacked
PACKAGES = (
    "prefine", "polars", "pyarrow", "duckdb", "prefect", "torch", "transformers", "sentence-transformers", "numpy", "py3langid",
    "phonenumbers", "python-stdnum", "detect-secrets", "numba", "rensa", "rapidfuzz", "scipy",
)  # fmt: skip

SEEDS = {  # nothing is drawn by a clock or a machine: a hash of the content named here decides, so that equal data gives equal draws
    "splits": "hash of prompt_cluster_id",
    "folds": "hash of prompt_cluster_id",
    "bootstrap": "hash of pair_id",
    "held_out_votes": "hash of the ballot",
    "order_shown_to_judges": "hash of pair_id and question",
}


@dataclass(frozen=True)
class Outcome:
    """What a run did: the version that is current now, and the funnel that led to it."""

    dataset: str
    dataset_root: str
    version: str
    unchanged: bool
    counts: list[dict[str, Any]]
    embedded: int
    compared: int
    read_by_model: int | None  # None: no causal model was asked for
    asked: int  # requests that went to endpoints now
    incomplete: str | None  # what a budget left out, in words
    peak_mb: int
    seconds: dict[str, float]  # by stage


def dataset_root(config: PipelineConfig, base: str | Path, limit: int | None = None) -> str:
    """Where a config's dataset lives; a limited run has a dataset of its own, `<dataset>-sample`."""
    name = config.dataset if limit is None else f"{config.dataset}-sample"
    return storage.join(storage.resolve(config.workspace, base), "datasets", name)


def _storage_failed(_task: Any, _run: Any, state: State[Any]) -> bool:  # noqa: ANN401 - Prefect's signature
    """Whether a task failed for a reason that may pass: storage or network. Every step can be run again."""
    return isinstance(state.result(raise_on_failure=False), OSError)


# Tasks are only names, retries and visibility: what they do is in flows/steps.py.
@task(
    task_run_name="{label}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=2,
    retry_delay_seconds=[1, 5],
    retry_condition_fn=_storage_failed,
)
def work(label: str, step: Callable[..., Any], *arguments: Any) -> Any:  # noqa: ANN401 - each step has its own arguments and result
    """Run one step of one partition."""
    return step(*arguments)


@flow(name="curate", flow_run_name="curate {config_path}", persist_result=False, validate_parameters=False)
def curate(config_path: str, limit: int | None = None, plan: Planned = None) -> "Outcome | planning.Plan | reusing.Reuse":
    """Raw comparisons in, one published version out.

    Args:
        config_path: the YAML config.
        limit: read at most that many rows of each file; publishes to `<dataset>-sample`.
        plan: publish nothing and ask no endpoint: with `reuse`, count what the store lacks and stop there; with `requests`, work out on
            this machine what would be asked, which embeds what is not embedded yet.

    Raises:
        PrefineError: with a message for people; nothing is published.
    """
    config = load_config(config_path)
    base = str(Path(config_path).resolve().parent)
    ruleset = rules.check(config)
    selecting.check(config)
    judging.check(config)
    files = input_files(config, base, limit)
    benchmarks = decontaminating.read_benchmarks(config, base)
    if config.signals.ches.causal:
        hidden.scorers(config)  # a model that cannot be used is told before any work
    root = dataset_root(config, base, limit)
    run_name = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{uuid.uuid4().hex[:6]}"
    runs = storage.join(storage.resolve(config.workspace, base), "runs", root.rsplit("/", 1)[-1])
    with storing.refusals_told(root), hold_lease(root, run_name) as lease:
        storage.delete(runs)  # scratch of runs that died; the lease says that none is alive
        run = Run(
            config=config,
            dataset=root.rsplit("/", 1)[-1],
            scratch=storage.join(runs, run_name),
            store=storage.join(storage.resolve(config.workspace, base), "store"),
            partitions=config.partitions or _partitions(files),
            limit=limit,
        )
        try:
            asking.about(run)  # an endpoint that cannot be used is told before any work
            return _curate(run, root, files, benchmarks, ruleset, lease, plan)
        finally:
            asking.close(run)
            storage.delete(runs)


def _partitions(files: list[InputFile]) -> int:
    packed = (*storage.PACKED_ENDINGS, ".parquet", ".arrow", ".feather")
    read = {(f.source.name, f.place): (f.name, f.bytes) for f in files}
    read |= {(f.source.name, one.place): (one.name, one.bytes) for f in files for some in f.joined for one in some}
    size = sum(stored * (GZIP_FACTOR if name.endswith(packed) else 1) for name, stored in read.values())
    return max(1, min(MOST_PARTITIONS, -(-size // BYTES_PER_PARTITION)))


class _Stages:
    """Runs the steps of a stage on all partitions and keeps what each took."""

    def __init__(self, run: Run) -> None:
        self.run, self.seconds = run, dict[str, float]()

    @contextmanager
    def timed(self, name: str, total: int | None, unit: str) -> Iterator[Callable[[int], None]]:
        began = time.monotonic()
        with progress.stage(name, total, unit) as done:
            yield done
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.monotonic() - began, 3)

    def each(self, name: str, step: Callable[..., Any], partitions: list[int], *arguments: Any) -> list[Any]:  # noqa: ANN401 - as above
        """A step on every partition, with the rest of its arguments equal for all."""
        with self.timed(name, len(partitions), "partitions") as done:
            futures = [work.submit(f"{name} {self.run.name(p)}", step, self.run, p, *arguments) for p in partitions]
            return [_result(future, done) for future in futures]


def _result(future: PrefectFuture[Any], done: Callable[[int], None]) -> Any:  # noqa: ANN401
    result = future.result()
    done(1)
    return result


def _curate(
    run: Run,
    root: str,
    files: list[InputFile],
    benchmarks: pl.DataFrame,
    ruleset: list[rules.Rule],
    lease: Lease,
    plan: Planned,
) -> "Outcome | planning.Plan | reusing.Reuse":
    stages = _Stages(run)
    with stages.timed("detect layouts", len(files), "files") as done:
        futures = [work.submit(f"detect {name}", ingesting.detect_layouts, group, done) for name, group in _grouped(files)]
        files = sorted((file for future in futures for file in future.result()), key=lambda file: file.index)
    _stop_at_refused(run.config, files)
    curated = {file.place.rsplit("/judgements/", 1)[0] for file in files if file.source.version is not None}
    known = work.submit("read earlier splits", splitting.read_earlier, run, root, sorted(curated)).result()
    with stages.timed("ingest", None, "rows") as done:
        futures = [work.submit(f"ingest {name}", ingesting.ingest_files, run, group, done) for name, group in _grouped(files)]
        results = [future.result() for future in futures]
    inputs, asked = ([row for result in results for row in result[part]] for part in (0, 1))
    if asked:
        inputs += work.submit("count unused rows", joining.account_joined, asked, run.limit is not None).result()
    inputs.sort(key=lambda row: (row["source"], row["source_uri"]))
    _stop_at_too_many(run.config, inputs)
    steps.reduce_scales(run, inputs)
    everything = list(range(run.partitions))
    paired = stages.each("pair up", steps.pair_up, everything)
    filled = [p for p, counts in zip(everything, paired, strict=True) if counts["pairs"]]
    pairs, texts = (sum(counts[of] for counts in paired) for of in ("pairs", "texts"))
    if plan == "reuse":
        return reusing.count(run, root, inputs, filled, pairs)
    steps.encoder(run.config.embed)  # once, before two workers ask for it at the same time and each load it
    with stages.timed("embed", texts, "texts") as done:
        futures = [work.submit(f"embed {run.name(p)}", steps.embed, run, p, done) for p in filled]
        embedded = sum(future.result() for future in futures)
        work.submit("compact embeddings", steps.compact_embeddings, run).result()
    compared = _find_near_duplicates(stages, filled) if filled else 0
    work.submit("embed benchmarks", decontaminating.prepare, run, benchmarks).result()
    stages.each("merge, decontaminate", _settle, filled)
    incomplete = list[str]()
    if run.config.judges and filled:
        work.submit("draw pairs for judges", judging.draw, run, filled).result()
        incomplete += _ask(stages, filled, "judges", judging.question, plan)
        stages.each("read verdicts", judging.settle, filled)
        inputs += judging.number(run, filled)
    stages.each("gather votes", voting.collect, filled)
    work.submit("audit judges", voting.reduce_audit, run, filled).result()
    stages.each("count votes", voting.count, filled)
    work.submit("fit votes", voting.fit, run, filled).result()
    learnable = sum(stages.each("consensus", _decide, filled))
    steps.reduce_summaries(run, filled)
    splitting.reduce(run, filled)
    read = _read_by_model(stages, filled, 2 * learnable) if run.config.signals.ches.causal else None
    hidden.tell_missing({"pairs": 0} | _added_up(stages.each("signals", _add_signals, filled, learnable)))
    if filled:
        work.submit("fit scores", scoring.fit, run, filled).result()
    stages.each("scores", scoring.apply, filled)
    camps = voting.several_camps(run) if filled else None
    refused = [rule.name for rule in ruleset if camps is not None and rule.rests_on_consensus]
    for name in refused:
        log.warning("rule %s drops nothing: it rests on consensus, and there are %s. `several_camps: ignore` applies it.", name, camps)
    ruleset = [rule for rule in ruleset if rule.name not in refused]
    rounds, balanced, explained = 0, list[pl.DataFrame](), {"pairs": 0}
    for on_rationales in (False, True):  # rules on rationales come after those that say who gets one
        if on_rationales and filled:
            incomplete += _write_rationales(stages, filled, rounds, explained, plan)
            rounds += 1
        if on_rationales and plan:
            return planning.plan(run, root, filled)
        for group in rules.rounds([rule for rule in ruleset if rule.on_rationales == on_rationales]):
            found = steps.compare_all(run, filled, rounds, group[0]) if group[0].is_global else None
            balanced += [found.statistics] if isinstance(found, Balanced) else []
            name = f"rules {rounds + 1}: {group[0].name}{' ...' if len(group) > 1 else ''}"
            stages.each(name, steps.apply_rules, filled, group, rounds, found)
            rounds += 1
    measured = {"before rules": 0, "before selection": rounds}
    selection = selecting.check(run.config)
    if selection is not None and filled:
        work.submit("find topics", selecting.prepare, run, filled, rounds, selection).result()
        stages.each("select: sum up", selecting.summarise, filled, rounds, selection)
        work.submit("select", selecting.reduce, run, filled, selection).result()
        stages.each("select: apply", selecting.apply, filled, rounds)
        rounds += 1
        measured["after selection"] = rounds
    balanced.append(selecting.statistics(run, filled, measured))
    writing.gather_fates(run, filled, rounds)
    balanced += scoring.reduce_weights(run, filled, rounds)
    written = stages.each("write up", writing.write_up, everything, rounds)
    told = pl.concat([judging.statistics(run, filled), reasons.statistics(run)])
    counts = _funnel(inputs, paired, written, ruleset, {name: f"refused: {camps}" for name in refused}, told, explained)
    counts[-1:-1] = splitting.funnel_line(known, [part["moves"] for part in written])
    whole = {}
    if filled:
        statistics = scoring.statistics(run, filled, [*balanced, told])
        whole = {"annotators": storage.read_table(run.whole("annotators")), "statistics": statistics}
    with stages.timed("publish", 1, "version") as done, storing.room_given_back(root, lease):
        worked = {"pair up": pairs, "embed": embedded, "read by model": read or 0}  # what the store lacked, where there is a store
        timings = {"seconds": stages.seconds, "worked": worked, "peak_mb": _peak_mb()}
        published = _publish(run, root, written, whole, inputs, counts, ruleset, lease, timings)
        done(1)
    funnel = [{key: row[key] for key in ("stage", "rows_in", "kept", "dropped")} | {"reasons": str(row["reasons"])} for row in counts]
    dataset = root.rsplit("/", 1)[-1]
    about = f"{dataset} {published.version}: what became of every record"
    try:
        create_table_artifact(key=_artifact_key(dataset), table=funnel, description=about)
    except Exception as error:  # the version is published: a server that is gone by now must not turn that into a failure
        log.warning("the funnel could not be shown in Prefect: %s", error)
    sent, left = asking.sent(run), "; ".join(incomplete) or None
    told_now = (counts, embedded, compared, read, sent, left, _peak_mb(), stages.seconds)
    return Outcome(dataset, root, published.version, published.unchanged, *told_now)


def _ask(stages: _Stages, partitions: list[int], purpose: str, chain: asking.Chain, plan: Planned) -> list[str]:
    """Ask what a chain of questions lacks, and the budget admits. Returns what it left out, in words."""
    run = stages.run
    wanted, number = sum(stages.each(f"{purpose}: count", asking.count, partitions, purpose, chain)), 0
    while wanted and not plan:
        left, before = wanted, number
        while left and (requests := asking.admit(run, purpose, partitions)):  # what answers cost less than reserved admits more
            where = asking.admitted_in(run, purpose, partitions)
            with stages.timed(f"ask {purpose}", requests, "requests") as done:
                futures = [work.submit(f"ask {purpose} {run.name(p)}", asking.ask, run, p, purpose, chain, number, done) for p in where]
                for future in futures:
                    future.result()
            left, number = left - requests, number + 1
        if not left or number == before:
            break
        # A cap bound. Answers may be those to other pairs' questions too.
        wanted = sum(stages.each(f"{purpose}: count", asking.count, partitions, purpose, chain))
    return [] if plan else asking.left_out(run, purpose, partitions)


def _write_rationales(stages: _Stages, partitions: list[int], rounds: int, explained: dict[str, int], plan: Planned) -> list[str]:
    """Rationales of the pairs that the rules left, which go to the next round. Returns what a budget left out, in words."""
    run, left = stages.run, list[str]()
    stages.each("measure", reasons.prepare, partitions, rounds)
    work.submit("compare measures", reasons.reduce, run, partitions).result()
    if run.config.rationales.endpoint is not None:
        left = _ask(stages, partitions, "rationales", reasons.question, plan)
    if not plan:
        stages.each("read rationales", reasons.settle, partitions)
        work.submit("find copied rationales", reasons.find_copies, run, partitions).result()
        work.submit("sum up rationales", reasons.sum_up, run, partitions).result()
        explained.update(_added_up(stages.each("add rationales", reasons.add, partitions, rounds)))
    return left


def _find_near_duplicates(stages: _Stages, partitions: list[int]) -> int:
    """Find out which pairs repeat another one. Returns how many texts were compared with all others."""
    compared = 0
    with stages.timed("search near duplicates", len(deduplicating.ROLES) + 1, "steps") as done:
        for role in deduplicating.ROLES:  # one after the other: each uses every core
            compared += _result(work.submit(f"search near {role}s", deduplicating.search, stages.run, partitions, role), done)
        _result(work.submit("group near duplicates", deduplicating.group, stages.run, partitions), done)
    return compared


def _read_by_model(stages: _Stages, partitions: list[int], answers: int) -> int:
    """Let the causal model read the answers that it has not read yet. Returns how many times it read one."""
    run, read = stages.run, 0
    with stages.timed("read by model", answers * hidden.readings(run.config), "readings") as done:
        shapes = None
        while shapes != hidden.shapes(run.config):  # where memory ran out, or prompts cannot be shared, all are read again in one shape
            shapes = hidden.shapes(run.config)
            futures = [work.submit(f"read by model {run.name(p)}", hidden.score, run, p, done) for p in partitions]
            read += sum(future.result() for future in futures)
        work.submit("compact scores", hidden.compact, run).result()
    return read


def _settle(run: Run, partition: int) -> None:
    """What follows for a partition from the near duplicates of all: one task for three short steps."""
    deduplicating.merge(run, partition)
    decontaminating.mark(run, partition, "merged", "marked")
    voting.gather(run, partition)


def _decide(run: Run, partition: int) -> int:
    """From votes to labels, and what those say to the stages that look at the whole data set."""
    learnable = steps.summarise(run, partition, voting.decide(run, partition))
    splitting.summarise(run, partition)
    return learnable


def _add_signals(run: Run, partition: int, learnable: int) -> dict[str, int]:
    """Signals, and what they say to the scores that compare a pair with all others. Returns what has no score of a causal model."""
    pairs = hidden.decided_pairs(run, partition)
    steps.add_signals(run, partition, pairs, learnable)
    scoring.summarise(run, partition)
    return hidden.count_missing(pairs)


def _artifact_key(dataset: str) -> str:
    return "funnel-" + "".join(c if c.isalnum() and c.isascii() else "-" for c in dataset.lower())


def _grouped(files: list[InputFile]) -> list[tuple[str, list[InputFile]]]:
    """The files as a few groups, each with a name for its task; a joined source's stay together: each task reads what it joins."""
    joined: dict[str, list[InputFile]] = {}
    for file in files:
        if file.joined:
            joined.setdefault(file.source.name, []).append(file)
    alone = [file for file in files if not file.joined]
    groups = [*joined.values(), *(alone[i::MOST_INGEST_TASKS] for i in range(min(MOST_INGEST_TASKS, len(alone))))]
    return [(g[0].name + (f" and {len(g) - 1} more" if len(g) > 1 else ""), g) for g in groups]


def _stop_at_refused(config: PipelineConfig, files: list[InputFile]) -> None:
    """Raise when a source has more files without a layout than it may."""
    for source in config.sources:
        mine = [file for file in files if file.source.name == source.name]
        refused = [file.refused for file in mine if file.refused is not None]
        if len(refused) > source.max_quarantine_share * len(mine):
            raise LayoutError(refused[0])


def _stop_at_too_many(config: PipelineConfig, inputs: list[dict[str, Any]]) -> None:
    """Raise when a source has more unreadable rows, or files, than it may."""
    for source in config.sources:
        mine = [row for row in inputs if row["source"] == source.name and row["role"] == "records"]
        bad_files = [row for row in mine if row["unreadable"]]
        if len(bad_files) > source.max_quarantine_share * len(mine):
            first = bad_files[0]
            raise TooManyQuarantinedError(
                f"source {source.name!r}: {len(bad_files)} of {len(mine)} files cannot be read "
                f"(allowed share {source.max_quarantine_share:g}). First: {first['unreadable']} Nothing was published."
            )
        rows, bad = sum(row["rows"] for row in mine), sum(row["quarantined_rows"] for row in mine)
        if bad > source.max_quarantine_share * rows:
            worst = max(mine, key=lambda row: row["quarantined_rows"])
            raise TooManyQuarantinedError(
                f"source {source.name!r}: {bad} of {rows} rows cannot be read as comparisons "
                f"(allowed share {source.max_quarantine_share:g}), {worst['quarantined_rows']} of them in {worst['source_uri']}: "
                f"{_leading_reasons(mine)}. Nothing was published. "
                "`prefine inspect SOURCE --config FILE` shows the rows; name the fields under `fields:`, "
                "or raise `max_quarantine_share` of this source."
            )


def _leading_reasons(mine: list[dict[str, Any]]) -> str:
    total = _added_up(row["reasons"] for row in mine)
    return ", ".join(f"{reason} {count}" for reason, count in sorted(total.items(), key=lambda item: (-item[1], item[0]))[:3])


def _added_up(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    """Counts by name, summed name by name."""
    total: Counter[str] = Counter()
    for some in counts:
        total.update(some)
    return dict(total)


def _funnel(
    inputs: list[dict[str, Any]],
    paired: list[dict[str, int]],
    written: list[dict[str, Any]],
    ruleset: list[rules.Rule],
    refused: dict[str, str],
    told: pl.DataFrame,
    explained: dict[str, int],
) -> list[dict[str, Any]]:
    """Records, then pairs, stage by stage; in each line rows_in = kept + dropped."""
    total = _added_up(paired)
    records, copies, pairs = total["records"], total["copies"], total["pairs"]
    read = sum(row["records"] for row in inputs if row["role"] != judging.PURPOSE)
    quarantined = _added_up(row["reasons"] for row in inputs)
    dropped = _added_up(part["reasons"] for part in written)
    lines = [
        _line("read records", read, sum(quarantined.values()), quarantined),
        _line("merge copies (records)", records, copies, {"copy": copies} if copies else {}),
    ]
    if total["ratings"]:
        unused = total["unused"]
        lines.append(_line("compare ratings (records)", records - copies, unused, {"not_selected": unused} if unused else {}))
    for reason, stage in (("near_duplicate", "merge near duplicates"), ("contaminated", "decontaminate")):
        if count := dropped.get(reason, 0):
            lines.append(_line(f"{stage} (pairs)", pairs, count, {reason: count}))
            pairs -= count
    asked = planning.funnel_lines(told, explained)
    lines += [_line(*line) for line in asked["judges"]]
    for rule in sorted(ruleset, key=lambda rule: rule.on_rationales):
        if rule.on_rationales:
            lines += [_line(*line) for line in asked.pop("rationales", [])]
        count = dropped.get(rule.name, 0)
        if count or rule.is_global:
            lines.append(_line(f"rule {rule.name} (pairs)", pairs, count, {rule.name: count} if count else {}))
        pairs -= count
    lines += [_line(*line) for line in asked.get("rationales", [])]
    lines += [_line(f"rule {name} (pairs), {why}", pairs, 0, {}) for name, why in refused.items()]
    for stage, reasons_of in select.STAGES.items():
        left = {reason: dropped[reason] for reason in reasons_of if dropped.get(reason)}
        if left:
            lines.append(_line(f"{stage} (pairs)", pairs, sum(left.values()), left))
            pairs -= sum(left.values())
    lines.append(_line("publish (pairs)", pairs, 0, {}))
    return lines


def _line(stage: str, rows_in: int, dropped: int, reasons: dict[str, int]) -> dict[str, Any]:
    return {"stage": stage, "rows_in": rows_in, "kept": rows_in - dropped, "dropped": dropped, "reasons": reasons}


def _publish(
    run: Run,
    root: str,
    written: list[dict[str, Any]],
    whole: dict[str, pl.DataFrame],
    inputs: list[dict[str, Any]],
    counts: list[dict[str, Any]],
    ruleset: list[rules.Rule],
    lease: Lease,
    timings: dict[str, Any],
) -> publish.Published:
    """Write the shards in bucket order, check every invariant, then let readers see them."""
    version = publish.next_version(root)
    totals = _added_up(part["rows"] for part in written) | {name: rows.height for name, rows in whole.items()}
    writer = publish.VersionWriter(root, version, totals, run.config.publish.rows_per_shard)
    try:
        for partition, part in enumerate(written):
            for name, rows in part["rows"].items():
                if rows:
                    writer.write(name, storage.read_table(run.place(f"out-{name}", partition)))
        for name, rows in whole.items():
            writer.write(name, rows)
        data_files = writer.close()
    except BaseException:
        writer.abort()
        raise
    rows_of_inputs = [{key: row[key] for key in INPUT.names} for row in inputs]
    violations = queries.run_checks(storage.join(root, version), rows_of_inputs, counts)
    if violations:
        storage.delete(storage.join(root, version))
        raise CheckFailedError("The new version breaks its own checks; nothing was published.\n" + "\n".join(map(str, violations)))
    config = storage.without_credentials(run.config.model_dump(mode="json", exclude_none=True))
    model = steps.encoder(run.config.embed)
    parts = {
        "dataset": root.rsplit("/", 1)[-1],
        "inputs": rows_of_inputs,
        "counts": counts,
        "config": config | ({"limit": run.limit} if run.limit is not None else {}),
        "packages": {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in PACKAGES},
        "models": {run.config.embed.model: model.fingerprint},
        "causal_models": hidden.about(run.config),
        "endpoints": asking.about(run),
        "seeds": SEEDS | ({"selection": run.config.selection.seed} if run.config.selection.selects else {}),
        "timings": timings,
        "rules": [{"name": r.name, "kind": r.kind, "columns": r.columns, "sql": r.sql, "share": str(r.share)} for r in ruleset],
    }
    return publish.finish(root, version, data_files, parts, before_publish=lease.check)


def _peak_mb() -> int:
    """Highest resident memory of this process so far, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak // 1024) if sys.platform != "darwin" else int(peak // (1 << 20))


def run_flow(config_path: str, limit: int | None = None, threads: int = 2) -> Outcome:
    """Run the flow on this machine's threads."""
    result = _run(config_path, limit, threads, plan=None)
    if not isinstance(result, Outcome):
        raise PrefineError(f"The flow ended without a result: {result}")
    return result


def reuse_flow(config_path: str, limit: int | None = None, threads: int = 2) -> reusing.Reuse:
    """Read the input and say what of it a run would find in the store; embeds nothing."""
    result = _run(config_path, limit, threads, plan="reuse")
    if not isinstance(result, reusing.Reuse):
        raise PrefineError(f"The flow ended without a plan: {result}")
    return result


def plan_flow(config_path: str, limit: int | None = None, threads: int = 2) -> planning.Plan:
    """Run everything up to what costs money, and say what that would be."""
    result = _run(config_path, limit, threads, plan="requests")
    if not isinstance(result, planning.Plan):
        raise PrefineError(f"The flow ended without a plan: {result}")
    return result


def _run(config_path: str, limit: int | None, threads: int, *, plan: Planned) -> Outcome | planning.Plan | reusing.Reuse:
    runner: Any = ThreadPoolTaskRunner(max_workers=threads)  # its future type does not match with_options' own annotation
    return curate.with_options(task_runner=runner)(config_path, limit, plan)
