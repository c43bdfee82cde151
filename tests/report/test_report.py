"""The report is one readable file made of escaped data."""

import re
from itertools import pairwise
from typing import Any

import pytest

from pipeline.queries import sql_files
from pipeline.report import SECTIONS, Comparison, render_report, reported_views
from pipeline.report.style import STYLE
from tests.report.pages import MANIFEST, Page, views

ELEMENTS = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "a",
        "header",
        "nav",
        "main",
        "section",
        "article",
        "footer",
        "div",
        "p",
        "h1",
        "h2",
        "h3",
    ),
    *("ul", "li", "dl", "dt", "dd", "strong", "mark", "details", "summary", "figure", "figcaption", "svg", "g", "path", "line", "text"),
    *("table", "caption", "thead", "tbody", "tr", "th", "td"),
}
ATTRIBUTES = {
    *(
        "lang",
        "charset",
        "http-equiv",
        "content",
        "name",
        "href",
        "class",
        "id",
        "aria-label",
        "aria-labelledby",
        "role",
        "tabindex",
        "scope",
    ),
    *("open", "dir", "style", "viewbox", "width", "height", "fill", "fill-opacity", "stroke", "stroke-width", "stroke-opacity"),
    *("stroke-dasharray", "opacity", "d", "transform", "x", "y", "x2", "y2", "text-anchor", "font-size", "font-weight"),
}


def test_every_reported_view_exists() -> None:
    assert set(reported_views()) <= set(sql_files("views"))


HOSTILE = {
    "script": "<script>alert(1)</script>",
    "image": '"><img src=x onerror=alert(1)>',
    "svg": "</text></svg><svg onload=alert(1)>",
    "style": "</style><style>body{display:none}</style>",
    "entity": "&lt;script&gt;&#60;",
    "comment": "<!-- ]]> --!>",
    "expression": "${alert(1)} {{datum}} datum.x",
}


@pytest.mark.parametrize("planted", HOSTILE.values(), ids=HOSTILE)
def test_planted_markup_stays_text(planted: str) -> None:
    manifest = {**MANIFEST, "dataset": planted, "models": {planted: planted}, "rules": [planted, {"name": planted, "sql": planted}]}
    manifest |= {"inputs": [{**MANIFEST["inputs"][0], "source": planted, "source_uri": planted, "unreadable": planted}]}
    manifest |= {
        "counts": [{"stage": planted, "rows_in": 1, "kept": 0, "dropped": 1, "reasons": {planted: 1}}],
        "config": {planted: planted},
    }
    manifest |= {
        "packages": {planted: planted},
        "seeds": {planted: planted},
        "endpoints": [planted],
        "timings": {"seconds": {planted: 1.0}},
    }
    before = Comparison({**MANIFEST, "version": planted}, [{"change": "added", "reason": planted, "pairs": 1}], planted)
    page = Page(render_report(manifest, views(planted), before))

    assert {tag for tag, _ in page.tags} == ELEMENTS
    assert {name for _, attributes in page.tags for name in attributes} <= ATTRIBUTES
    assert all(str(link["href"]).startswith("#") for link in page.of("a"))
    assert all(re.fullmatch(r"--key:var\(--\w+\)", style) for _, a in page.tags if (style := a.get("style")) is not None)
    assert page.texts.count(STYLE) == 1
    for text in (f"Hi {planted}", f"Because {planted}", f"{planted} v000002"):
        assert text in page.text
    assert sum(planted in str(a.get("aria-label")) for a in page.of("svg")) >= 5


def test_what_cannot_be_seen_is_written_out() -> None:
    html = render_report({**MANIFEST, "dataset": "a\u202eb"}, views("bidi \u202e zero\u200b bell\x07 half\ud800"))
    html.encode()
    page = Page(html)

    assert not re.search("[\u202e\u200b\x07\ud800]", html)
    assert "Hi bidi ⟨U+202E⟩ zero⟨U+200B⟩ bell⟨U+0007⟩ half⟨U+D800⟩" in page.text
    assert "a⟨U+202E⟩b v000002" in page.text


def test_nothing_is_fetched_or_run() -> None:
    page = Page(render_report(MANIFEST, views()))
    policy = next(meta["content"] for meta in page.of("meta") if meta.get("http-equiv") == "Content-Security-Policy")

    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'")
    assert "script" not in policy
    assert not re.search(r"url\(|@import|@font-face|http", STYLE)


def test_a_reader_without_sight_or_mouse_finds_everything() -> None:
    page = Page(render_report(MANIFEST, views()))
    levels = [level for level, _ in page.headings]
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}

    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert {str(link["href"])[1:] for link in page.of("a")} <= ids
    assert len(page.of("a")) == 1 + len(page.of("section"))  # the skip link, and one for each section
    assert len(page.of("main")) == len(page.of("nav")) == len(page.of("header")) == len(page.of("footer")) == 1
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in page.of("svg"))
    assert len(page.of("caption")) == len(page.of("table"))
    assert all(th["scope"] in ("col", "row") for th in page.of("th"))
    assert all(div["tabindex"] == "0" and div["aria-label"] for div in page.of("div") if div.get("class") == "scroll")


def test_the_funnel_shows_counts_shares_and_reasons_most_frequent_first() -> None:
    html = render_report(MANIFEST, views())
    cells = '<td class="n">2,000</td><td class="n">1,500</td><td class="n">500</td><td>75.0 %</td><td>a 400, b 100</td>'
    assert f'<th scope="row">ingest</th>{cells}' in html
    assert "<dt>pairs to train on</dt><dd>1,234</dd>" in html
    assert "<dt>pairs held out</dt><dd>7</dd>" in html


def test_what_stands_out_is_said_only_where_its_interval_leaves_no_doubt() -> None:
    said = Page(render_report(MANIFEST, views("arena"))).text
    assert "In 1 of 1 sources the longer answer wins more often than not; most in arena: 60.0 % (55.0 % to 65.0 %)." in said
    assert "The noisiest labels are those of arena: 20.0 % (10.0 % to 30.0 %) are wrong." in said

    unsure = views("arena")
    unsure["length_bias"][0]["longer_chosen_low"] = 0.45
    unsure["noise_by_source"][0]["epsilon_low"] = 0.0
    said = Page(render_report(MANIFEST, unsure)).text
    assert "longer answer wins" not in said
    assert "noisiest" not in said


def test_what_was_not_computed_has_no_section() -> None:
    bare = Page(render_report({**MANIFEST, "timings": {}}, {name: [] for name in reported_views()}))
    absent = {"What selection kept", "Likelihood displacement: CHES", "Rationales", "Time and cost", "Compared with the version before"}
    assert [text for level, text in bare.headings if level == 2] == [heading for _, heading, _, _ in SECTIONS if heading not in absent]

    full = Page(render_report(MANIFEST, views(), Comparison(problem="v000001: gone")))
    assert [text for level, text in full.headings if level == 2] == [heading for _, heading, _, _ in SECTIONS]


def test_an_old_manifest_without_newer_keys_still_has_a_report() -> None:
    old = {key: MANIFEST[key] for key in ("dataset", "version", "files", "inputs", "counts", "rules")}
    assert "demo v000002" in Page(render_report(old, {})).text


def test_the_version_before_is_compared_by_rows_pairs_settings_and_packages() -> None:
    files = [{**MANIFEST["files"][0], "rows": 1000}]
    then = {
        **MANIFEST,
        "version": "v000001",
        "files": files,
        "config": {"publish": {"validation_share": 0.1}},
        "packages": {"duckdb": "1.9"},
    }
    html = render_report(MANIFEST, views(), Comparison(then, [{"change": "added", "reason": "new file", "pairs": 234}]))

    assert '<th scope="row">train</th><td class="n">1,000</td><td class="n">1,234</td><td class="n">+234</td>' in html
    assert '<th scope="row">added</th><td>new file</td><td class="n">234</td>' in html
    assert '<th scope="row">publish.validation_share</th><td>0.1</td><td>0.05</td>' in html
    assert '<th scope="row">duckdb</th><td>&quot;1.9&quot;</td><td>&quot;2.0.0&quot;</td>' in html


def test_many_rows_are_cut_and_the_rest_is_named() -> None:
    row = views()["fates_by_source"][0]
    html = render_report(MANIFEST, {**views(), "fates_by_source": [{**row, "source": f"s{i:04}", "records": 10} for i in range(2000)]})

    assert "1,900 more rows: prefine query fates_by_source." in html
    assert html.count('scope="row">s0') == 100
    assert len(html) < 250_000


def test_the_report_of_equal_content_is_equal() -> None:
    given: Any = (MANIFEST, views(), Comparison(MANIFEST, []))
    assert render_report(*given) == render_report(*given)
