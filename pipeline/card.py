"""EDGE: the dataset card, README.md of a version: what hubs and people need to know before they use it.

The front matter is what `datasets` and model hubs read: which files are which split, the columns' types, sizes, licence, languages. The
rest is for people: where the pairs come from and under which licence, what became of the rest, known biases with their numbers, and how
to load them. Text from data and configs is escaped.
"""

import re
from html import escape
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import yaml

from pipeline.queries import PUBLISHED_PARTS, SPLITS, Tables, part_paths, run_views
from pipeline.schemas import PAIR

CARD_VIEWS = ("languages", "length_bias", "position_bias", "noise_by_source", "vote_limits", "judge_behaviour")
LANGUAGE_SHARE = 0.01  # of the published pairs; rarer ones are as likely to be mistakes of the detector
SIZES = [(10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"), (10**8, "10M<n<100M")]
HUB_LICENCES = {
    "afl-3.0", "agpl-3.0", "apache-2.0", "artistic-2.0", "bigscience-openrail-m", "bsd", "bsd-2-clause", "bsd-3-clause", "bsl-1.0", "c-uda",
    "cc", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-nd-3.0",
    "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc0-1.0",
    "cdla-permissive-1.0", "cdla-permissive-2.0", "cdla-sharing-1.0", "gfdl", "gpl", "gpl-2.0", "gpl-3.0", "lgpl-3.0", "mit", "mpl-2.0",
    "odbl", "odc-by", "openrail", "pddl", "unlicense",
}  # fmt: skip
DTYPES = {"string": "string", "bool": "bool", "int64": "int64", "double": "float64", "float": "float32"}


def render_card(manifest: dict[str, Any], tables: Tables, facts: dict[str, list[dict[str, Any]]] | None = None) -> str:
    """The card's text, which holds no clock: equal content gives an equal card.

    Args:
        manifest: as published, or as it is about to be.
        tables: the version's, by name.
        facts: rows of CARD_VIEWS, if they were asked already.
    """
    facts = run_views(tables, list(CARD_VIEWS)) if facts is None else facts
    sources = manifest["config"].get("sources", [])
    top = [next((reason for reason, _ in _by_count(c["reasons"])), "") for c in manifest["counts"]]
    funnel = [(c["stage"], c["rows_in"], c["kept"], c["dropped"], t) for c, t in zip(manifest["counts"], top, strict=True)]
    columns = [(f.name, str(f.type) if pa.types.is_primitive(f.type) else _kind(f.type), *_about(f)) for f in PAIR]
    code = manifest.get("code", {})
    front = yaml.safe_dump(front_matter(manifest, tables, facts["languages"]), sort_keys=False, allow_unicode=True).strip()
    return "\n".join(
        [
            f"---\n{front}\n---",
            f"# {_cell(manifest['dataset'])}, {manifest['version']}",
            "",
            "Preference pairs curated by prefine: one row is one comparison of two answers to the same prompt, all votes merged. "
            "`data/` holds what trainers take as it is (`other-*`: pairs without a shared prompt or with tool calls, which a plain "
            "trainer would mangle), `dropped/` the pairs that left with their reasons, `quarantine/` the rows that could not be read, "
            "`judgements/` and `ratings/` everything that was read (a judgement with `derived_from` follows from those ratings), "
            "`ledger/` what became of every input record. A copy made for a hub holds `data/` alone.",
            "",
            "## How to load it",
            "",
            *_how_to_load(manifest),
            "",
            "## Sources",
            _markdown(("source", "licence"), [(s["name"], s.get("licence") or "unknown") for s in sources]),
            "## Where it comes from",
            "",
            f"prefine {_cell(code.get('version', 'unknown'))}, source files {_cell(str(code.get('sha256', 'unknown'))[:16])}. "
            "`manifest.json` holds the whole config, package versions, and fingerprints of models. Files read:",
            _markdown(
                ("source", "file", "rows", "bytes", "SHA-256"),
                [(r["source"], r["source_uri"], r["rows"], r.get("bytes"), (r.get("sha256") or "-")[:16]) for r in manifest["inputs"]],
            ),
            "## Funnel",
            _markdown(("stage", "rows in", "kept", "dropped", "top reason"), funnel),
            "## Known biases",
            "",
            *_biases(facts),
            "",
            "## Columns",
            _markdown(("column", "type", "unit", "range", "source"), columns),
        ]
    )


def front_matter(manifest: dict[str, Any], tables: Tables, languages: list[dict[str, Any]]) -> dict[str, Any]:
    """What hubs read of the card.

    Args:
        manifest: as published.
        tables: the version's, by name.
        languages: rows of the view of that name.
    """
    paths = part_paths([str(file["path"]) for file in manifest["files"]])
    here = [part for part in PUBLISHED_PARTS if paths[part]]
    pairs = {part: sum(int(f["rows"]) for f in manifest["files"] if str(f["path"]) in paths[part]) for part in here}
    published = sum(row["published_count"] for row in languages)
    told = [row["language"] for row in languages if row["language"] and row["published_count"] >= LANGUAGE_SHARE * published > 0]
    front: dict[str, Any] = {
        "pretty_name": str(manifest["dataset"]),
        **_licence([source.get("licence") for source in manifest["config"].get("sources", [])]),
        "task_categories": ["text-generation"],
        "tags": ["preference", "dpo", "reward-model", "trl", "prefine"],
        "size_categories": [next((name for top, name in SIZES if sum(pairs.values()) < top), "n>100M")],
    }
    if told:
        front["language"] = told
    configs = {"default": [part for part in SPLITS if part in here], "other": ["other"] if "other" in here else []}
    configs = {name: parts for name, parts in configs.items() if parts}
    if configs:
        front["configs"] = [
            {"config_name": name, "data_files": [{"split": part, "path": f"data/{part}-*.parquet"} for part in parts]}
            for name, parts in configs.items()
        ]
        stored = {part: sum(int(f["bytes"]) for f in manifest["files"] if str(f["path"]) in paths[part]) for part in here}
        sizes = {part: _bytes(tables[part]) for part in here}
        front["dataset_info"] = [
            {
                "config_name": name,
                "features": [_feature(column.name, column.type) for column in PAIR],
                "splits": [{"name": part, "num_bytes": sizes[part], "num_examples": pairs[part]} for part in parts],
                "download_size": sum(stored[part] for part in parts),
                "dataset_size": sum(sizes[part] for part in parts),
            }
            for name, parts in configs.items()
        ]
    return front


def _licence(stated: list[str | None]) -> dict[str, Any]:
    """One licence by the hub's name; of several, or one it does not know, `other` and their names."""
    names = sorted({name or "unknown" for name in stated}) or ["unknown"]
    slugs = {re.sub(r"[\s_]+", "-", name.strip().lower()) for name in names}
    if len(slugs) == 1 and slugs <= HUB_LICENCES | {"unknown"}:
        return {"license": slugs.pop()}
    return {"license": "other", "license_name": ", ".join(" ".join(name.split()) for name in names)}


def _bytes(table: ds.Dataset | pa.Table) -> int:
    """Bytes of the columns before compression, from the files' footers."""
    if isinstance(table, pa.Table):
        return int(table.nbytes)
    return sum(int(group.total_byte_size) for piece in table.get_fragments() for group in piece.row_groups)


def _feature(name: str, kind: pa.DataType) -> dict[str, Any]:
    """A column as `datasets` writes it into a card."""
    if pa.types.is_list(kind):
        inner = kind.value_type
        return {"name": name, "list": [_feature(f.name, f.type) for f in inner] if pa.types.is_struct(inner) else DTYPES[str(inner)]}
    if pa.types.is_struct(kind):
        return {"name": name, "struct": [_feature(f.name, f.type) for f in kind]}
    return {"name": name, "dtype": DTYPES[str(kind)]}


def _how_to_load(manifest: dict[str, Any]) -> list[str]:
    paths = part_paths([str(file["path"]) for file in manifest["files"]])
    split = next((part for part in SPLITS if paths[part]), "train")
    return [
        "In the folder that holds this file:",
        "",
        "```python",
        "from datasets import load_dataset",
        "",
        f'pairs = load_dataset(".", split="{split}")  # a trainer of TRL takes prompt, chosen and rejected as they are',
        'trainable = pairs.select_columns(["prompt", "chosen", "rejected"])  # trl.DPOTrainer(..., train_dataset=trainable)',
        "```",
        "",
        "```sql",
        f"select prompt, chosen, rejected, p_chosen from read_parquet('data/{split}-*.parquet') limit 3;  -- DuckDB",
        "```",
        "",
        "With prefine, over the dataset's folder, in an order that a seed decides:",
        "",
        "```python",
        "from pipeline.load import load",
        "",
        'pairs = load("datasets/name", columns=["prompt", "chosen", "rejected"], shuffle=True, seed=1)',
        "```",
    ]


def _biases(facts: dict[str, list[dict[str, Any]]]) -> list[str]:
    """What is known to be wrong or one-sided, each with its number and what it rests on."""
    lines = [
        f"- Length, source {_cell(row['source'])}: the longer answer is the chosen one in "
        f"{_share(row, 'longer_chosen_share', 'longer_chosen')} of {row['pair_count'] - row['same_length_count']:,} pairs "
        "whose lengths differ (one half: no bias)."
        for row in facts["length_bias"]
        if row["longer_chosen_share"] is not None
    ]
    lines += [
        f"- Position, {_cell(row['annotator_kind'])} annotators: the answer shown first gets {row['first_share']:.1%} of their votes; "
        f"{row['prefer_first']:,} of {row['annotators']:,} prefer the first one beyond chance, {row['prefer_second']:,} the second."
        for row in facts["position_bias"]
    ]
    if not facts["position_bias"]:
        lines.append("- Position: no source says which answer was shown first, so that nobody can tell whether annotators favour it.")
    lines += [
        f"- Position, judge {_cell(row['judge'])}: the answer shown first gets {row['first_share']:.1%} of its verdicts."
        for row in facts["judge_behaviour"]
        if row.get("first_share") is not None
    ]
    lines += [
        f"- Wrong labels, {_cell(row['source'])}: about {_share(row, 'epsilon', 'epsilon')} ({_cell(row['note'] or 'as votes tell')})."
        for row in facts["noise_by_source"]
        if row["epsilon"] is not None
    ]
    limits = [row for row in facts["vote_limits"] if row["note"]]
    lines += [f"- Votes: {_cell(row['question'])} ({_cell(row['subjects'])}): {_cell(row['note'])}" for row in limits]
    return lines or ["Nothing could be measured: too few votes and pairs."]


def _share(row: dict[str, Any], value: str, name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    interval = "" if low is None or high is None else f" (95 % interval {low:.1%} to {high:.1%})"
    return f"{row[value]:.1%}{interval}"


def _by_count(reasons: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(reasons.items(), key=lambda item: (-item[1], item[0]))


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
