"""A version for people: the HTML report and the dataset card. Text from data is always escaped."""

from html import escape
from typing import Any

import pyarrow as pa
import yaml

from pipeline.schemas import PAIR

REPORTED_VIEWS = {  # file of sql/views -> heading
    "fates_by_source": "What became of the records of each source",
    "quarantine_reasons": "What could not be read",
    "drop_reasons": "Why pairs were dropped",
    "duplicates": "Copies merged",
    "near_duplicates_by_source": "Near duplicates, by source",
    "contamination_by_benchmark": "Benchmark prompts found",
    "flags": "Flags",
    "languages": "Languages of the prompts",
    "agreement_by_source": "How far annotators agree",
    "vote_limits": "What the votes cannot tell",
    "annotators_by_source": "How reliable annotators are",
    "judge_audit": "Whose votes count among judges and reward models",
    "noise_by_source": "How noisy labels are: the epsilon for rDPO",
    "length_bias": "Is the longer answer the chosen one?",
    "length_cost": "What the length bias cost",
    "balance_cost": "What balancing cost",
    "style_by_source": "What votes follow besides quality",
    "signal_quantiles": "Signals of the published pairs",
    "ches_distribution": "Likelihood displacement: CHES, and how hard pairs are for the model",
    "ches_extremes": "Pairs with the highest and the lowest CHES",
    "ches_length": "Does CHES follow length or likeness?",
    "ches_backends": "Does the encoder rank pairs as the causal model does?",
    "difficulty_by_length": "Pairs that the model ranks wrongly, by length gap (tokens, chosen less rejected)",
    "ches_missing": "Why pairs have no CHES",
    "rationale_coverage": "Rationales: how many pairs have one",
    "rationale_reasons": "Why rationales were not accepted",
    "rationale_recovery": "Can a reader tell the label from the rationale?",
    "judge_behaviour": "How judges that were asked behave",
    "llm_cost": "What language models were asked for, and what it cost",
}
_OPTIONAL = ("ches_", "difficulty_", "rationale_", "judge_behaviour", "llm_")
SHOWN_WITH_ROWS = {name for name in REPORTED_VIEWS if name.startswith(_OPTIONAL)}  # of what a run may be without
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1c2733;background:#f6f7f9;margin:0}
main{max-width:1000px;margin:0 auto;padding:2rem 1.5rem 4rem}
h1{font-size:1.7rem;margin:0}h2{font-size:1.1rem;margin:2.2rem 0 .6rem}
.sub{color:#5b6875;margin:.2rem 0 1.4rem}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(140px,1fr));gap:.8rem}
.tile{background:#fff;border:1px solid #e1e5ea;border-radius:8px;padding:.8rem 1rem}
.tile b{display:block;font-size:1.5rem;font-weight:600}
.box{background:#fff;border:1px solid #e1e5ea;border-radius:8px;overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.4rem .8rem;text-align:left;border-bottom:1px solid #eef1f4;vertical-align:top;overflow-wrap:anywhere}
th{font-weight:600;color:#5b6875;font-size:.85rem;white-space:nowrap}tr:last-child td{border-bottom:0}
td.n,th.n{text-align:right;white-space:nowrap}
.bar{background:#e8ecf1;border-radius:3px;height:.8rem;min-width:140px}
.bar i{display:block;height:100%;border-radius:3px;background:#2f7d6d}
.pair{border-bottom:1px solid #eef1f4;padding:.7rem .8rem}.pair:last-child{border-bottom:0}
.pair p{margin:0 0 .4rem;color:#5b6875;font-size:.85rem}
.texts{display:grid;grid-template-columns:repeat(3,minmax(0,1fr));gap:.8rem}
.texts div{white-space:pre-wrap;overflow-wrap:anywhere;font-size:.9rem}
.texts b{display:block;color:#5b6875;font-size:.85rem}
"""


def render_report(manifest: dict[str, Any], summaries: dict[str, list[dict[str, Any]]]) -> str:
    """One self-contained HTML file.

    Args:
        manifest: as published.
        summaries: rows of files of sql/views by name (REPORTED_VIEWS); small, one question each.
    """
    title = f"{manifest['dataset']} {manifest['version']}"
    sections = [_section("Funnel", _funnel(manifest["counts"]))]
    shown = {name: rows for name, rows in summaries.items() if rows or name not in SHOWN_WITH_ROWS}
    bodies = {name: _pairs(rows) if name == "ches_extremes" else _table(rows) for name, rows in shown.items()}
    sections += [_section(heading, bodies[name]) for name, heading in REPORTED_VIEWS.items() if name in bodies]
    sections.append(_section("Input files", _table([_input_row(row) for row in manifest["inputs"]])))
    sections.append(_section("Rules, in order", _table([{"rule": str(rule)} for rule in manifest["rules"]])))
    tiles = "".join(f'<div class="tile"><b>{value:,}</b>{escape(name)}</div>' for name, value in _totals(manifest).items())
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>\n'
        f'<body><main><h1>{escape(title)}</h1><p class="sub">Preference data: what came in, what is published, and why the rest left.</p>\n'
        f'<div class="tiles">{tiles}</div>\n{"".join(sections)}</main></body></html>\n'
    )


def _totals(manifest: dict[str, Any]) -> dict[str, int]:
    rows = {part: 0 for part in ("train", "validation", "other", "dropped", "quarantine")}
    for file in manifest["files"]:
        part = str(file["path"]).rsplit("/", 1)[-1].split("-")[0]
        if part in rows:
            rows[part] += int(file["rows"])
    return {
        "rows read": sum(int(row["rows"]) for row in manifest["inputs"] if row.get("role") != "joined"),
        "pairs to train on": rows["train"],
        "pairs held out": rows["validation"],
        "other pairs": rows["other"],
        "pairs dropped": rows["dropped"],
        "records quarantined": rows["quarantine"],
    }


def _section(heading: str, body: str) -> str:
    return f'<section><h2>{escape(heading)}</h2><div class="box">{body}</div></section>\n'


def _by_count(reasons: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(reasons.items(), key=lambda item: (-item[1], item[0]))


def _funnel(counts: list[dict[str, Any]]) -> str:
    rows = []
    for entry in counts:
        share = entry["kept"] / entry["rows_in"] if entry["rows_in"] else 0.0
        reasons = _by_count(entry["reasons"])
        rows.append(
            f'<tr><td>{escape(entry["stage"])}</td><td class="n">{entry["rows_in"]:,}</td><td class="n">{entry["kept"]:,}</td>'
            f'<td class="n">{entry["dropped"]:,}</td><td><div class="bar"><i style="width:{100 * share:.1f}%"></i></div></td>'
            f"<td>{escape(', '.join(f'{reason} {n:,}' for reason, n in reasons))}</td></tr>"
        )
    head = '<th>stage</th><th class="n">rows in</th><th class="n">kept</th><th class="n">dropped</th><th>kept share</th><th>reasons</th>'
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def _table(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "<table><tr><td>none</td></tr></table>"
    numeric = {name: any(isinstance(row[name], int | float) for row in rows) for name in rows[0]}
    css = {name: ' class="n"' if is_number else "" for name, is_number in numeric.items()}
    head = "".join(f"<th{css[name]}>{escape(name.replace('_', ' '))}</th>" for name in rows[0])
    body = "".join("<tr>" + "".join(f"<td{css[name]}>{escape(_text(row[name]))}</td>" for name in css) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _pairs(rows: list[dict[str, Any]]) -> str:
    """Pairs to read, each below its place in the ranking."""
    return "".join(
        f'<div class="pair"><p>{escape(row["extreme"])}, {row["rank"]:,} of {row["pair_count"]:,}: {escape(row["score_name"])} '
        f'{_text(row["score"])}, pair {escape(row["pair_id"])}</p><div class="texts">'
        + "".join(f"<div><b>{name}</b>{escape(row[name] or '')}</div>" for name in ("prompt", "chosen", "rejected"))
        + "</div></div>"
        for row in rows
    )


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}" if isinstance(value, float) else str(value)[:500]


def _input_row(row: dict[str, Any]) -> dict[str, Any]:
    told = {name: row[name] for name in ("source", "source_uri", "layout", "rows", "records", "quarantined_rows")}
    return {**told, "unused_rows": row.get("unused_rows"), "unmatched_rows": row.get("unmatched_rows"), "unreadable": row["unreadable"]}


def render_card(manifest: dict[str, Any]) -> str:
    """The dataset card, README.md: front matter that `datasets` reads, licences, funnel, columns."""
    paths = [str(file["path"]) for file in manifest["files"]]
    splits = [s for s in ("train", "validation") if any(p.startswith(f"data/{s}-") for p in paths)]
    sources = manifest["config"].get("sources", [])
    licences = sorted({source.get("licence") or "unknown" for source in sources}) or ["unknown"]
    front: dict[str, Any] = {"license": licences[0] if len(licences) == 1 else licences, "tags": ["preference", "prefine"]}
    if splits:
        data_files = [{"split": split, "path": f"data/{split}-*.parquet"} for split in splits]
        front["configs"] = [{"config_name": "default", "data_files": data_files}]
    top = [next((reason for reason, _ in _by_count(c["reasons"])), "") for c in manifest["counts"]]
    funnel = [(c["stage"], c["rows_in"], c["kept"], c["dropped"], t) for c, t in zip(manifest["counts"], top, strict=True)]
    columns = [(f.name, str(f.type) if pa.types.is_primitive(f.type) else _kind(f.type), *_about(f)) for f in PAIR]
    return "\n".join(
        [
            f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True).strip()}\n---",
            f"# {_cell(manifest['dataset'])}, {manifest['version']}",
            "",
            "Preference pairs curated by prefine: one row is one comparison of two answers to the same prompt, all votes merged. "
            "`data/` holds what trainers take as it is (`other-*`: pairs without a shared prompt or with tool calls, which a plain "
            "trainer would mangle), `dropped/` the pairs that left with their reasons, `quarantine/` the rows that could not be read, "
            "`judgements/` and `ratings/` everything that was read (a judgement with `derived_from` follows from those ratings), "
            "`ledger/` what became of every input record.",
            "",
            "## Sources",
            _markdown(("source", "licence"), [(s["name"], s.get("licence") or "unknown") for s in sources]),
            "## Funnel",
            _markdown(("stage", "rows in", "kept", "dropped", "top reason"), funnel),
            "## Columns",
            _markdown(("column", "type", "unit", "range", "source"), columns),
        ]
    )


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return "list of messages" if pa.types.is_struct(kind.value_type) else f"list of {kind.value_type}"
    return "struct" if pa.types.is_struct(kind) else str(kind)


def _about(column: "pa.Field[pa.DataType]") -> tuple[str, str, str]:
    about = column.metadata or {}
    unit, range_, source = (about.get(key, b"").decode() for key in (b"unit", b"range", b"source"))
    return unit, range_, source


def _cell(value: object) -> str:
    return escape(" ".join(str(value).split()), quote=False).replace("|", "\\|")


def _markdown(head: tuple[str, ...], rows: list[Any]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(["", *("| " + " | ".join(_cell(value) for value in line) + " |" for line in lines), ""])
