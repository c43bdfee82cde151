"""The report's last sections: time and cost, the version before, inputs and settings."""

import json
from typing import Any

from pipeline.report.markup import Markup, Told, details, joined, number, table, tag
from pipeline.report.material import Comparison, Material, Rows
from pipeline.report.pictures import PARTS, rows_of_parts


def cost(of: Material) -> Markup:
    """Time and money."""
    timings = of.manifest.get("timings") or {}
    seconds = {str(name): float(spent) for name, spent in (timings.get("seconds") or {}).items()}
    peak = timings.get("peak_mb")
    told = f"{number(sum(seconds.values()), 3)} seconds in all" + (f", at most {number(peak)} MB of memory" if peak else "") + "."
    spent = of.titled("What language models were asked for, and what it cost", "llm_cost", "One row is one purpose and model")
    return joined([tag("p", told), of.figure("time", "Seconds per stage, the longest first."), spent]) if seconds else spent


def comparison(of: Material) -> Markup:
    """What changed since the version before."""
    before = of.before
    if before is None or (before.manifest is None and before.problem is None):
        return Markup("")
    problem = tag("p", f"Not compared pair by pair: {before.problem}") if before.problem else ""
    if before.manifest is None:
        return joined([problem])
    then, now = rows_of_parts(before.manifest), rows_of_parts(of.manifest)
    parts = [
        {"part": part, "before": then.get(part, 0), "now": now.get(part, 0), "change": Told(f"{now.get(part, 0) - then.get(part, 0):+,}")}
        for part in (*PARTS, "dropped", "quarantine", "ledger")
        if then.get(part) or now.get(part)
    ]
    name, this = before.manifest["version"], of.manifest["version"]
    settings = _changes(before.manifest.get("config"), of.manifest.get("config"))
    packages = _changes(before.manifest.get("packages"), of.manifest.get("packages"))
    return joined(
        [
            problem,
            table(parts, f"Rows of {name} and of {this}"),
            *_pairs(before, f"One row is one kind of change from {name} to {this}, and its reason"),
            joined([tag("h3", "Settings that changed"), table(settings, "One row is one setting")]) if settings else "",
            details("Packages that changed", table(packages, "One row is one package")) if packages else "",
        ]
    )


def _pairs(before: Comparison, caption: str) -> tuple[Markup, ...]:
    if before.problem:
        return ()
    told = table(before.totals, caption) if before.totals else tag("p", "No pair was added, removed, relabelled or moved.")
    return tag("h3", "Pairs added, removed, relabelled, moved"), told


def _changes(then: object, now: object) -> Rows:
    old, new = _flat(then or {}), _flat(now or {})
    names = sorted({*old, *new})
    return [{"name": name, "before": old.get(name), "now": new.get(name)} for name in names if old.get(name) != new.get(name)]


def _flat(nested: object, prefix: str = "") -> dict[str, str]:
    if isinstance(nested, dict):
        parts = [_flat(value, f"{prefix}.{key}" if prefix else str(key)) for key, value in nested.items()]
        return {name: value for part in parts for name, value in part.items()}
    return {prefix: json.dumps(nested, ensure_ascii=False, default=str)}


def provenance(of: Material) -> Markup:
    """Inputs, rules, models, packages, settings."""
    manifest = of.manifest
    inputs = [_input_row(row) for row in manifest["inputs"]]
    ruled = [{"rule": rule.get("name"), **rule} if isinstance(rule, dict) else {"rule": str(rule)} for rule in manifest["rules"]]
    columns = list(dict.fromkeys(key for rule in ruled for key in rule if key != "name"))
    models = {**(manifest.get("models") or {})}
    named = [{"model": name, "fingerprint": number(mark)} for name, mark in models.items()]
    named += [
        {"model": json.dumps(one, ensure_ascii=False, default=str), "fingerprint": None} for one in manifest.get("causal_models") or []
    ]
    named += [
        {"model": json.dumps(one, ensure_ascii=False, default=str), "fingerprint": "endpoint"} for one in manifest.get("endpoints") or []
    ]
    packages = [{"package": name, "version": version} for name, version in sorted((manifest.get("packages") or {}).items())]
    seeds = [{"of": name, "seed": number(seed)} for name, seed in (manifest.get("seeds") or {}).items()]
    config = json.dumps(manifest.get("config"), ensure_ascii=False, indent=2, default=str)
    return joined(
        [
            tag("h3", "Input files"),
            table(inputs, "One row is one file", "inputs"),
            tag("h3", "Rules, in order"),
            table([{key: rule.get(key) for key in columns} for rule in ruled], "One row is one rule"),
            details("Models", table(named, "One row is one model or endpoint")) if named else "",
            details("Seeds", table(seeds, "One row is one seed")) if seeds else "",
            details("Packages", table(packages, "One row is one package")) if packages else "",
            details("Settings", tag("div", tag("p", config[:20_000]), class_="text")),
        ]
    )


def _input_row(row: dict[str, Any]) -> dict[str, Any]:
    told = {name: row[name] for name in ("source", "source_uri", "layout", "rows", "records", "quarantined_rows")}
    return {**told, "unused_rows": row.get("unused_rows"), "unmatched_rows": row.get("unmatched_rows"), "unreadable": row["unreadable"]}
