"""What a run will find done already, counted before anything expensive begins: `prefine plan`'s first lines."""

from dataclasses import asdict, dataclass
from typing import Any

from flows import deduplicating, hidden, judging, steps, vectors
from flows.steps import Run
from pipeline import embed as embedding
from pipeline import storage, versions
from pipeline.ches import tables
from pipeline.errors import PrefineError
from pipeline.store import Store

_VERSIONS_LOOKED_AT = 20
_LEAST_EMBEDDED = 100  # fewer say more about how long the model takes to load
_OWN_RATE = {"embed", "read by model"}  # stages whose time goes with what the store lacks
_SIDES = {"low_id": "chosen_id", "low": "chosen", "high_id": "rejected_id", "high": "rejected"}


@dataclass(frozen=True)
class Reuse:
    """What is new and what is known.

    Attributes:
        dataset: its name.
        version: the current version, which files are compared with; None before the first.
        files: input files by what the version's manifest says of them: new, changed (the name is known, the content is not),
            unchanged (the content is known, under whatever name), gone.
        rows: rows of those files, but for those that are gone.
        pairs: of all files.
        texts: distinct in each bucket of prompts.
        texts_to_embed: those that the store has no vector of.
        texts_to_compare: those that were never compared with the others.
        readings: of answers by causal models, at most: pairs that are dropped early are not read. None: no such model is asked for.
        seconds: the run's, about; without requests. None: there is no run to tell from.
        basis: where `seconds` comes from.
    """

    dataset: str
    version: str | None
    files: dict[str, int]
    rows: dict[str, int]
    pairs: int
    texts: int
    texts_to_embed: int
    texts_to_compare: int
    readings: int | None
    seconds: float | None
    basis: str


def count(run: Run, root: str, inputs: list[dict[str, Any]], partitions: list[int], pairs: int) -> Reuse:
    """Count what the store lacks. Embeds nothing and compares nothing.

    Args:
        run: after `steps.pair_up`.
        root: the data set's folder or URL.
        inputs: INPUT rows of the files that were read.
        partitions: those with pairs.
        pairs: how many there are.
    """
    version = versions.current_version(root)
    before = [row for row in _manifest(root, version).get("inputs", []) if row["role"] != judging.PURPOSE]  # verdicts come from no file
    files, rows = _compared(inputs, before)
    store, model = Store(run.store), steps.encoder(run.config.embed)
    texts = to_embed = 0
    for partition in partitions:
        table = storage.read_table(run.place("texts", partition))
        texts += table.height
        to_embed += embedding.missing_texts(table, store.keys(vectors.EMBEDDINGS, model.fingerprint, *run.buckets(partition))).height
    to_compare = sum(deduplicating.count_new(run, partitions, role) for role in deduplicating.ROLES) if partitions else 0
    readings = sum(_readings(run, partition) for partition in partitions) if run.config.signals.ches.causal else None
    seconds, basis = _estimate(root, pairs, {"embed": to_embed, "read by model": readings or 0})
    return Reuse(root.rsplit("/", 1)[-1], version, files, rows, pairs, texts, to_embed, to_compare, readings, seconds, basis)


def _compared(inputs: list[dict[str, Any]], before: list[dict[str, Any]]) -> tuple[dict[str, int], dict[str, int]]:
    known = {row["sha256"] for row in before if row["sha256"]}
    names = {(row["source"], row["source_uri"]) for row in before}
    files, rows = dict.fromkeys(("new", "changed", "unchanged", "gone"), 0), dict.fromkeys(("new", "changed", "unchanged"), 0)
    for row in inputs:
        state = "unchanged" if row["sha256"] in known else "changed" if (row["source"], row["source_uri"]) in names else "new"
        files[state] += 1
        rows[state] += int(row["rows"])
    here, same = {(row["source"], row["source_uri"]) for row in inputs}, {row["sha256"] for row in inputs}
    files["gone"] = sum((row["source"], row["source_uri"]) not in here and row["sha256"] not in same for row in before)
    return files, rows


def _readings(run: Run, partition: int) -> int:
    tally = storage.read_table(run.place("tally", partition), ["prompt_id", "prompt", "tools", *_SIDES]).rename(_SIDES)
    wanted, store = tables.responses_of(tally), Store(run.store)
    return sum(
        tables.missing_responses(wanted, store.keys(kind, scorer.fingerprint(kind), *run.buckets(partition))).height
        for scorer in hidden.scorers(run.config)[0]
        for kind in scorer.kinds
    )


def _manifest(root: str, version: str | None) -> dict[str, Any]:
    return {} if version is None else versions.read_manifest(root, version)


def _estimate(root: str, pairs: int, todo: dict[str, int]) -> tuple[float | None, str]:
    """How long a run takes by what the newest runs took: what the store lacks at their rate, the rest by the number of pairs."""
    rates: dict[str, tuple[float, str]] = {}
    rest, newest = None, ""
    for name in reversed(versions.complete_versions(root)[-_VERSIONS_LOOKED_AT:]):
        try:
            timings = versions.read_manifest(root, name)["timings"]
            seconds, worked = dict(timings["seconds"]), dict(timings["worked"])
        except (KeyError, TypeError, ValueError, PrefineError):  # of an older release, or damaged: another one tells
            continue
        for stage in _OWN_RATE & seconds.keys():
            if stage not in rates and (worked.get(stage) or 0) >= _LEAST_EMBEDDED:
                rates[stage] = (seconds[stage] / worked[stage], name)
        if rest is None and worked.get("pair up"):
            spent = sum(float(of) for stage, of in seconds.items() if stage not in _OWN_RATE and not stage.startswith("ask "))
            rest, newest = spent / worked["pair up"], name
    wanted = {stage for stage, amount in todo.items() if amount}
    if rest is None or wanted - rates.keys():
        return None, "no earlier run of this data set tells how long it takes"
    total = rest * pairs + sum(rates[stage][0] * todo[stage] for stage in wanted)
    return round(total, 1), f"from the times of {', '.join(sorted({newest, *(rates[stage][1] for stage in wanted)}))}"


def sentences(told: Reuse) -> list[str]:
    """What is reused, for people."""
    of = f"since {told.version}" if told.version else "no version yet"
    files = ", ".join(f"{told.files[state]:,} {state} ({told.rows[state]:,} rows)" for state in told.rows if told.files[state])
    gone = f", {told.files['gone']:,} gone" if told.files["gone"] else ""
    said = [
        f"Input files, {of}: {files or 'none'}{gone}.",
        f"Texts: {told.texts:,}; {told.texts - told.texts_to_embed:,} are embedded already, {told.texts_to_embed:,} are to be embedded.",
        f"Near duplicates: {told.texts_to_compare:,} texts are to be compared with the others; between the rest it is known.",
    ]
    if told.readings is not None:
        said.append(f"Causal models: at most {told.readings:,} readings of answers; the others are stored.")
    spent = f"about {_duration(told.seconds)}" if told.seconds is not None else "not known"
    return [*said, f"Time, without requests: {spent} ({told.basis})."]


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def document(told: Reuse) -> dict[str, Any]:
    """The same as JSON."""
    return asdict(told)
