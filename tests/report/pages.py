"""A manifest and views to make reports of, and a parser that looks at a page as a browser would."""

from html.parser import HTMLParser
from typing import Any

MANIFEST: dict[str, Any] = {
    "dataset": "demo",
    "version": "v000002",
    "files": [
        {"path": "data/train-00000-of-00001.parquet", "rows": 1234, "bytes": 1, "sha256": ""},
        {"path": "data/validation-00000-of-00001.parquet", "rows": 5, "bytes": 1, "sha256": ""},
        {"path": "data/test-00000-of-00001.parquet", "rows": 2, "bytes": 1, "sha256": ""},
        {"path": "ledger/ledger-00000-of-00001.parquet", "rows": 9, "bytes": 1, "sha256": ""},
    ],
    "inputs": [
        {
            "source": "arena",
            "source_uri": "raw/a.jsonl",
            "layout": "ab",
            "rows": 2000,
            "records": 2000,
            "quarantined_rows": 3,
            "unreadable": None,
        }
    ],
    "counts": [
        {"stage": "ingest", "rows_in": 2000, "kept": 1500, "dropped": 500, "reasons": {"b": 100, "a": 400}},
        {"stage": "empty", "rows_in": 0, "kept": 0, "dropped": 0, "reasons": {}},
        {"stage": "rule tie (pairs)", "rows_in": 1300, "kept": 1241, "dropped": 59, "reasons": {"tie": 59}},
    ],
    "config": {"sources": [{"name": "arena"}], "publish": {"validation_share": 0.05}},
    "packages": {"duckdb": "2.0.0"},
    "models": {"bundled-minilm": "53e2"},
    "causal_models": [],
    "endpoints": [],
    "seeds": {"split": 7},
    "timings": {"seconds": {"embed": 20.0, "ingest": 5.0}, "peak_mb": 1302},
    "rules": [{"name": "tie", "kind": "drop_if", "sql": "tie"}],
}


def views(text: str = "plain") -> dict[str, list[dict[str, Any]]]:
    """A few rows of every view whose rows people read; `text` stands wherever data has text."""
    shares = {"longer_chosen_share": 0.6, "longer_chosen_low": 0.55, "longer_chosen_high": 0.65}
    pair = {"pair_id": "p1", "prompt": f"Hi {text}", "chosen": f"one two {text}", "rejected": f"one three {text}"}
    witness = {f"witness_{name}": pair[name] for name in ("prompt", "chosen", "rejected")}
    about = {"score": 0.25, "threshold": 0.2, "detail": text, "sources": [text], "votes_chosen": 2, "votes_rejected": 1, "votes_tie": 1}
    voter = {
        "annotator_kind": "human",
        "votes": 9,
        "accuracy": 0.4,
        "accuracy_low": 0.3,
        "accuracy_high": 0.45,
        "admitted": True,
        "note": text,
    }
    return {
        "record_exits": [
            {"source": text, "way": "paired", "reason": None, "record_count": 1400},
            {"source": text, "way": "quarantined", "reason": text, "record_count": 3},
            {"source": "other", "way": "copy", "reason": "copy", "record_count": 97},
        ],
        "fates_by_source": [
            {"source": text, "records": 10, "published": 5, "merged": 2, "dropped": 2, "quarantined": 1, "published_share": 0.5}
        ],
        "quarantine_reasons": [{"source": text, "reason": text, "field": text, "record_count": 1, "example_uri": text, "example_row": 5}],
        "drop_reasons": [
            {
                "stage": "rules",
                "reason": text,
                "pair_count": 59,
                "vote_count": 60,
                "lowest_score": 0.5,
                "highest_score": 1.0,
                "threshold": 0.5,
            }
        ],
        "rule_effects": [{"stage": "rules", "reason": text, "pair_count": 59, "top_source": text}],
        "rule_examples": [
            {
                "stage": None,
                "reason": "published",
                "place": 1,
                "of_count": 1241,
                **pair,
                **about,
                "votes_tie": 0,
                "score": None,
                "detail": None,
            },
            {"stage": "rules", "reason": text, "place": 1, "of_count": 59, **pair, **about},
        ],
        "selection_diversity": [{"texts": "prompts", "stage": text, "sampled_count": 9, "vendi_q1": 4.5}],
        "annotator_extremes": [{"kind": "most votes", "annotator_count": 1, "annotator_id": text, **voter}],
        "annotators_by_source": [{"source": text, "annotator_kind": "human", "annotators": 1, "worse_than_chance": 1}],
        "noise_by_source": [{"source": text, "epsilon": 0.2, "epsilon_low": 0.1, "epsilon_high": 0.3, "n": 100, "note": text}],
        "length_bias": [{"source": text, "pair_count": 9, "same_length_count": 0, **shares, "median_chars_gap": 3.0}],
        "signal_histograms": [
            {"signal": "agreement", "bin": 0, "low": 0.0, "high": 0.5, "published_count": 1, "dropped_count": 4},
            {"signal": "agreement", "bin": 23, "low": 0.5, "high": 1.0, "published_count": 3, "dropped_count": 0},
            {"signal": "weight", "bin": 0, "low": 1.0, "high": 1.0, "published_count": 4, "dropped_count": 4},
        ],
        "flags": [
            {"flag": "conflict", "published_count": 1, "dropped_count": 0},
            {"flag": "injected", "published_count": 0, "dropped_count": 0},
        ],
        "near_duplicate_examples": [
            {
                "kind": "sample",
                "merged_count": 1,
                "witness_pair_id": "p2",
                "detail": "cosine",
                "score": 0.97,
                "threshold": 0.95,
                **pair,
                **witness,
            }
        ],
        "cluster_size_bands": [
            {"smallest": 1, "largest": 1, "cluster_count": 2, "pair_count": 2, "pair_share": 0.4, "largest_cluster": text},
            {"smallest": 3, "largest": 4, "cluster_count": 1, "pair_count": 3, "pair_share": 0.6, "largest_cluster": text},
        ],
        "ches_extremes": [{"extreme": "highest", "rank": 1, "pair_count": 1234, "score_name": "ches_ln", "score": 12.3456, **pair}],
        "rationale_examples": [
            {"kind": "general", "accepted": True, "reason": None, "detail": None, "generator": text, "text": f"Because {text}", **pair},
            {"kind": "general", "accepted": False, "reason": text, "detail": text, "generator": text, "text": None, **pair},
        ],
        "llm_cost": [{"asked_for": text, "who": text, "cost": 1.5}],
    }


class Page(HTMLParser):
    """Tags, attributes, texts and headings of a page; fails where a tag closes another one."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.headings: list[tuple[int, str]] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self.open and len(self.open[-1]) == 2 and self.open[-1][0] == "h" and self.open[-1][1].isdigit():
            self.headings.append((int(self.open[-1][1]), data))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of every element with that name."""
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        return "".join(self.texts)
