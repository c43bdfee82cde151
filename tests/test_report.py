"""The report and the card are plain text made of escaped data."""

from html.parser import HTMLParser
from typing import Any

import yaml

from pipeline.queries import sql_files
from pipeline.report import REPORTED_VIEWS, render_card, render_report

EVIL = "<script>alert(1)</script>"
MANIFEST: dict[str, Any] = {
    "dataset": "demo",
    "version": "v000001",
    "files": [
        {"path": "data/train-00000-of-00001.parquet", "rows": 1234, "bytes": 1, "sha256": ""},
        {"path": "data/validation-00000-of-00001.parquet", "rows": 5, "bytes": 1, "sha256": ""},
        {"path": "ledger/ledger-00000-of-00001.parquet", "rows": 9, "bytes": 1, "sha256": ""},
    ],
    "inputs": [
        {"source": "arena", "source_uri": EVIL, "layout": "ab", "rows": 2000, "records": 2000, "quarantined_rows": 3, "unreadable": None}
    ],
    "counts": [
        {"stage": "ingest", "rows_in": 2000, "kept": 1500, "dropped": 500, "reasons": {"b": 100, "a": 400}},
        {"stage": "empty", "rows_in": 0, "kept": 0, "dropped": 0, "reasons": {}},
    ],
    "config": {"sources": [{"name": "arena", "licence": "see | the\nsource"}]},
    "rules": ["tie", EVIL],
}


class Tags(HTMLParser):
    """Counts tags and collects their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.links += [name for name, _ in attrs if name in ("src", "href")]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def report(**summaries: list[dict[str, Any]]) -> str:
    return render_report(MANIFEST, summaries)


def test_the_report_is_one_well_formed_file_without_scripts_or_links() -> None:
    tags = Tags()
    tags.feed(report(quarantine_reasons=[{"source": "arena", "example": EVIL}]))
    assert tags.open == []
    assert "script" not in tags.seen
    assert "link" not in tags.seen
    assert tags.links == []


def test_data_in_the_report_is_escaped() -> None:
    text = report(quarantine_reasons=[{"source": EVIL, EVIL: 1}])
    assert "<script>" not in text
    assert text.count("&lt;script&gt;") == 4


def test_the_funnel_shows_counts_bars_and_reasons_most_frequent_first() -> None:
    text = report()
    assert '<td>ingest</td><td class="n">2,000</td><td class="n">1,500</td><td class="n">500</td>' in text
    assert "width:75.0%" in text
    assert "a 400, b 100" in text
    assert "<b>1,234</b>pairs to train on" in text


def test_tables_show_numbers_short_and_nothing_as_a_dash() -> None:
    text = report(length_bias=[{"source": "arena", "share": 0.123456, "tie": True, "gap": None}], flags=[])
    assert '<td>arena</td><td class="n">0.1235</td><td class="n">yes</td><td>-</td>' in text
    assert "<td>none</td>" in text


EXTREME: dict[str, Any] = {
    "extreme": "highest", "rank": 1, "pair_count": 1234, "pair_id": "p1", "score_name": "ches_ln", "score": 12.3456,
    "prompt": "Hi?\nAnd " + EVIL, "chosen": f"a {EVIL}", "rejected": None,
}  # fmt: skip


def test_pairs_with_the_highest_and_the_lowest_scores_can_be_read() -> None:
    text = report(ches_extremes=[EXTREME, {**EXTREME, "extreme": "lowest", "rank": 1234, "score": -0.5}])
    tags = Tags()
    tags.feed(text)

    assert tags.open == []
    assert "<p>highest, 1 of 1,234: ches_ln 12.35, pair p1</p>" in text
    assert "<p>lowest, 1,234 of 1,234: ches_ln -0.5, pair p1</p>" in text
    assert "<div><b>prompt</b>Hi?\nAnd &lt;script&gt;" in text
    assert "<div><b>rejected</b></div>" in text
    assert "<script>" not in text


def test_what_was_not_computed_has_no_section() -> None:
    unasked = report(**{name: [] for name in REPORTED_VIEWS})
    assert "CHES" not in unasked
    assert "ranks wrongly" not in unasked
    assert "Signals of the published pairs" in unasked

    asked = report(ches_length=[{"score_name": "ches_ln", "spearman": 0.25}], ches_backends=[])
    assert "Does CHES follow length" in asked
    assert "Does the encoder rank" not in asked


def test_every_reported_view_exists() -> None:
    assert set(REPORTED_VIEWS) <= set(sql_files("views"))


def test_the_card_names_the_splits_licences_and_columns() -> None:
    card = render_card(MANIFEST)
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["license"] == "see | the\nsource"
    assert [f["split"] for f in front["configs"][0]["data_files"]] == ["train", "validation"]
    assert "| arena | see \\| the source |" in card
    assert "| ingest | 2000 | 1500 | 500 | a |" in card
    assert "| empty | 0 | 0 | 0 |  |" in card
    assert "| prompt | list of messages |" in card
    assert "| sources | list of string |" in card


def test_a_card_without_train_or_sources_is_still_valid() -> None:
    front = yaml.safe_load(render_card({**MANIFEST, "files": [], "config": {}}).split("---\n")[1])
    assert front == {"license": "unknown", "tags": ["preference", "prefine"]}
