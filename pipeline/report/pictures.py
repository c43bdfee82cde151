"""Which charts a report has: rows of views to charts, each with a summary in words."""

from collections import defaultdict
from typing import Any

from pipeline.report import kinds
from pipeline.report.charts import Chart, label
from pipeline.report.markup import number, percent
from pipeline.report.sankey import Flow, sankey

Rows = list[dict[str, Any]]
FATES = ("published", "merged", "dropped", "quarantined")
SOURCES_SHOWN = 10
REASONS_SHOWN = 12
BARS_SHOWN = 20
PARTS = ("train", "validation", "test", "other")


def rows_of_parts(manifest: dict[str, Any]) -> dict[str, int]:
    """Rows of each part of a version, from the names of its files."""
    rows: dict[str, int] = defaultdict(int)
    for file in manifest["files"]:
        rows[str(file["path"]).rsplit("/", 1)[-1].split("-")[0]] += int(file["rows"])
    return dict(rows)


def pictures(manifest: dict[str, Any], summaries: dict[str, Rows]) -> dict[str, Chart]:
    """Charts by name; those without rows are left out.

    Args:
        manifest: as published.
        summaries: rows of files of sql/views by name.
    """
    found: dict[str, Chart | None] = {
        "flow": _flow(manifest, summaries.get("record_exits", []), summaries.get("drop_reasons", [])),
        "fates": _fates(summaries.get("fates_by_source", [])),
        "length": _length(summaries.get("length_bias", [])),
        "annotators": _annotators(summaries.get("annotator_extremes", [])),
        "noise": _noise(summaries.get("noise_by_source", [])),
        "clusters": _clusters(summaries.get("cluster_size_bands", [])),
        "time": _time(manifest.get("timings", {})),
        **_histograms(summaries.get("signal_histograms", [])),
    }
    return {name: chart for name, chart in found.items() if chart is not None}


def _flow(manifest: dict[str, Any], exits: Rows, drops: Rows) -> Chart | None:
    if not exits:
        return None
    ways = {"paired": "trunk", "copy": "merged", "unpaired": "dropped", "quarantined": "quarantined"}
    names = {"paired": "in pairs", "copy": "copies of others", "unpaired": "not compared", "quarantined": "could not be read"}
    by_source: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    totals: dict[str, int] = dict.fromkeys(names.values(), 0)
    for row in exits:
        by_source[row["source"]][names[row["way"]]] += row["record_count"]
        totals[names[row["way"]]] += row["record_count"]
    sources = sorted(by_source.items(), key=lambda item: (-sum(item[1].values()), item[0]))
    if len(sources) > SOURCES_SHOWN:
        rest: dict[str, int] = defaultdict(int)
        for _, counts in sources[SOURCES_SHOWN - 1 :]:
            for way, n in counts.items():
                rest[way] += n
        sources = [*sources[: SOURCES_SHOWN - 1], (f"{len(sources) - SOURCES_SHOWN + 1} others", rest)]
    parts = rows_of_parts(manifest)
    ends = [Flow(part, parts[part], "published") for part in PARTS if parts.get(part)]
    order = {reason: i for i, entry in enumerate(manifest["counts"]) for reason in entry["reasons"]}
    left = sorted(drops, key=lambda row: (order.get(row["reason"], len(order)), -row["pair_count"], row["reason"]))
    if len(left) > REASONS_SHOWN:
        most = sorted(row["pair_count"] for row in left)[-REASONS_SHOWN + 1]
        shown = [row for row in left if row["pair_count"] >= most][: REASONS_SHOWN - 1]
        others = sum(row["pair_count"] for row in left) - sum(row["pair_count"] for row in shown)
        left = [*shown, {"reason": f"{len(left) - len(shown)} other reasons", "pair_count": others, "stage": ""}]
    ends += [Flow(row["reason"], row["pair_count"], "merged" if row["stage"] == "deduplicate" else "dropped") for row in left]
    pairs = sum(end.count for end in ends)
    flows = [Flow(name, totals[name], ways[way]) for way, name in names.items() if totals[name] or way == "paired"]
    kept = sum(end.count for end in ends if end.colour == "published")
    summary = (
        f"Of {number(sum(totals.values()))} records, {number(totals['in pairs'])} state {number(pairs)} pairs, of which {number(kept)} are "
        f"published. Records that ended before: {', '.join(f'{flow.name} {number(flow.count)}' for flow in flows[1:]) or 'none'}. "
        f"Pairs: {', '.join(f'{end.name} {number(end.count)}' for end in ends) or 'none'}."
    )
    return sankey(sources, flows, pairs, ends, summary)


def _fates(rows: Rows) -> Chart | None:
    if not rows:
        return None
    largest = sorted(rows, key=lambda row: (-row["records"], row["source"]))[:BARS_SHOWN]
    told = ". ".join(f"{row['source']}: {', '.join(f'{fate} {number(row[fate])}' for fate in FATES)}" for row in largest)
    return kinds.stacked(
        [(row["source"], [row[fate] for fate in FATES]) for row in largest], FATES, f"Records of each source by fate. {told}."
    )


def _length(rows: Rows) -> Chart | None:
    told = [row for row in rows if row["longer_chosen_share"] is not None]
    told = sorted(told, key=lambda row: (-row["pair_count"], row["source"]))[:BARS_SHOWN]
    if not told:
        return None
    shown = [
        (row["source"], row["longer_chosen_share"], low, high, low > 0.5 or high < 0.5)
        for row in told
        for low, high in [(row["longer_chosen_low"], row["longer_chosen_high"])]
    ]
    words = ". ".join(f"{name}: {percent(v)} ({percent(low)} to {percent(high)})" for name, v, low, high, _ in shown)
    return kinds.intervals(shown, f"How often the longer answer is the chosen one, with 95 % intervals. {words}.", (0, 1), 0.5)


def _annotators(rows: Rows) -> Chart | None:
    known = [row for row in rows if row["accuracy"] is not None and row["accuracy_low"] is not None and row["accuracy_high"] is not None]
    if not known:
        return None
    shown = [(_voter(row), row["accuracy"], row["accuracy_low"], row["accuracy_high"], row["accuracy_high"] < 0.5) for row in known]
    words = ". ".join(f"{name}: {number(v, 3)} ({number(low, 3)} to {number(high, 3)})" for name, v, low, high, _ in shown)
    return kinds.intervals(shown, f"Accuracy of annotators with 95 % intervals. {words}.", (0, 1), 0.5)


def _voter(row: dict[str, Any]) -> str:
    return f"{label(row['annotator_id'], 18)} ({number(row['votes'])})"


def _noise(rows: Rows) -> Chart | None:
    known = [row for row in rows if row["epsilon"] is not None and row["epsilon_low"] is not None and row["epsilon_high"] is not None]
    if not known:
        return None
    known = sorted(known, key=lambda row: (-row["epsilon"], row["source"]))[:BARS_SHOWN]
    shown = [(row["source"], row["epsilon"], row["epsilon_low"], row["epsilon_high"], row["epsilon_low"] > 0.1) for row in known]
    words = ". ".join(f"{name}: {percent(v)} ({percent(low)} to {percent(high)})" for name, v, low, high, _ in shown)
    return kinds.intervals(shown, f"Share of wrong labels by source, with 95 % intervals. {words}.", (0, 0.5), None)


def band(row: dict[str, Any]) -> str:
    """The sizes of a band of clusters."""
    return str(row["smallest"]) if row["smallest"] == row["largest"] else f"{number(row['smallest'])} to {number(row['largest'])}"


def _clusters(rows: Rows) -> Chart | None:
    if not rows:
        return None
    shown = [
        (
            f"{band(row)} pair{'' if row['largest'] == 1 else 's'}",
            float(row["pair_count"]),
            f"{number(row['cluster_count'])} clusters, {percent(row['pair_share'])}",
        )
        for row in rows
    ]
    words = ". ".join(f"{name}: {told} of the pairs" for name, _, told in shown)
    return kinds.bars(shown, f"Published pairs by the size of their prompt cluster. {words}.", "published")


def _time(timings: dict[str, Any]) -> Chart | None:
    seconds = {str(name): float(spent) for name, spent in timings.get("seconds", {}).items()}
    if not seconds:
        return None
    longest = sorted(seconds.items(), key=lambda item: (-item[1], item[0]))[:BARS_SHOWN]
    whole = sum(seconds.values()) or 1.0
    shown = [(name, spent, f"{number(spent, 3)} s, {percent(spent / whole)}") for name, spent in longest]
    return kinds.bars(shown, f"Seconds per stage. {'. '.join(f'{name}: {told}' for name, _, told in shown)}.")


def _histograms(rows: Rows) -> dict[str, Chart | None]:
    by_signal: dict[str, Rows] = defaultdict(list)
    for row in rows:
        by_signal[row["signal"]].append(row)
    return {f"signal {name}": _histogram(name, bins) for name, bins in by_signal.items()}


def _histogram(signal: str, bins: Rows) -> Chart | None:
    published, dropped = (sum(row[f"{side}_count"] for row in bins) for side in ("published", "dropped"))
    shares = [(row["low"], row["high"], row["published_count"] / (published or 1), row["dropped_count"] / (dropped or 1)) for row in bins]
    most = max(shares, key=lambda one: one[2])
    summary = (
        f"{signal}: {number(published)} published and {number(dropped)} dropped pairs, from {number(bins[0]['low'])} to "
        f"{number(bins[-1]['high'])}; most published pairs, {percent(most[2])}, between {number(most[0])} and {number(most[1])}."
    )
    return kinds.histogram(shares, summary)
