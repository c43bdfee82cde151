"""Charts: what is drawn is what was counted."""

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.report.charts import Chart, draw, label
from pipeline.report.kinds import bars, histogram, intervals, stacked
from pipeline.report.pictures import pictures
from pipeline.report.sankey import HEIGHT, THINNEST, Flow, sankey
from tests.report.pages import MANIFEST, views

DRAWN = draw(
    {
        "bars": bars([("one <b>", 2.0, "two"), ("other", 1.0, "one")], "Bars & more."),
        "stacked": stacked([("s", [3, 1, 0, 0]), ("t", [0, 0, 0, 5])], ("published", "merged", "dropped", "quarantined"), "Shares."),
        "intervals": intervals([("s", 0.5, 0.25, 0.75, True)], "Points.", (0, 1), 0.5),
        "histogram": histogram([(0.0, 1.0, 0.25, 0.5), (2.0, 3.0, 0.75, 0.5)], "Bins."),
        "one value": histogram([(1.0, 1.0, 1.0, 1.0)], "One value."),
    }
)


def drawn(name: str) -> ElementTree.Element:
    return ElementTree.fromstring(DRAWN[name])


def boxes(svg: ElementTree.Element, fill: str) -> list[tuple[float, float]]:
    """Width and height of the rectangles with a fill; the renderer draws them as M x,y h w v h."""
    found = [path.get("d", "") for path in svg.iter("path") if path.get("fill") == f"var(--{fill})"]
    shapes = [re.fullmatch(r"M[-\d.]+,[-\d.]+h([-\d.]+)v([-\d.]+)h[-\d.]+Z", d) for d in found]
    return [(float(shape[1]), float(shape[2])) for shape in shapes if shape]


def test_all_are_drawn_in_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    import vl_convert

    calls = []
    real = vl_convert.vega_to_svg
    monkeypatch.setattr(vl_convert, "vega_to_svg", lambda spec: calls.append(1) or real(spec))
    found = draw(pictures(MANIFEST, views()))
    assert list(found) == ["flow", "fates", "length", "annotators", "noise", "clusters", "time", "signal agreement", "signal weight"]
    assert calls == [1]
    assert draw({}) == {}


def test_bars_are_as_long_as_their_numbers() -> None:
    (long, high), (short, _) = boxes(drawn("bars"), "merged")
    assert long == pytest.approx(2 * short)
    assert high > 10


def test_shares_fill_the_row() -> None:
    row = [boxes(drawn("stacked"), fate) for fate in ("published", "merged", "dropped", "quarantined")]
    assert [len(part) for part in row] == [1, 1, 0, 1]
    (published,), (merged,), _, (quarantined,) = row
    assert published[0] == pytest.approx(3 * merged[0])
    assert published[0] + merged[0] == pytest.approx(quarantined[0])


def test_a_histogram_is_as_high_as_its_shares_and_has_an_outline() -> None:
    (_, low), (_, high) = boxes(drawn("histogram"), "published")
    assert high == pytest.approx(3 * low)
    assert [path.get("stroke") for path in drawn("histogram").iter("path") if path.get("stroke")] == ["var(--dropped)"]
    assert [text.text for text in drawn("one value").iter("text")] == ["1"]


def test_names_are_text_and_the_summary_is_the_alternative() -> None:
    assert [text.text for text in drawn("bars").iter("text")] == ["one <b>", "other", "two", "one"]
    assert drawn("bars").get("aria-label") == "Bars & more."
    assert {element.tag for svg in map(drawn, DRAWN) for element in svg.iter()} == {"svg", "g", "path", "line", "text"}


def test_a_label_is_one_line_of_bounded_length() -> None:
    assert label("a\n  b\u202e") == "a b⟨U+202E⟩"
    assert label("x" * 99, 10) == "x" * 9 + "…"


COUNTS = st.integers(0, 10**6)


@given(
    sources=st.lists(st.tuples(st.text(max_size=5), COUNTS, COUNTS, COUNTS), min_size=1, max_size=8),
    ends=st.lists(COUNTS, max_size=10),
)
def test_bands_keep_their_width_on_the_whole_way(sources: list[tuple[str, int, int, int]], ends: list[int]) -> None:
    names = ("in pairs", "copies", "unread")
    ways = [Flow(name, sum(source[1 + i] for source in sources), "trunk") for i, name in enumerate(names)]
    flows = [Flow(str(i), n, "published") for i, n in enumerate(ends)]
    chart = sankey([(name, dict(zip(names, counts, strict=True))) for name, *counts in sources], ways, sum(ends), flows, "")
    records = sum(way.count for way in ways)
    heights: dict[float, float] = {}
    for node in nodes(chart):
        heights[node["x"]] = heights.get(node["x"], 0.0) + node["height"]
    slack = THINNEST * (len(sources) + len(ends) + 4)
    expected = [HEIGHT, HEIGHT] if records else [0, 0]
    if sum(ends):
        joint = HEIGHT * ways[0].count / max(1, records)
        expected += [joint, joint]
    assert [heights[x] for x in sorted(heights)][: len(expected)] == pytest.approx(expected, abs=slack)
    assert all(node["y"] + node["height"] < chart.height for node in nodes(chart))


def nodes(chart: Chart) -> list[dict[str, float]]:
    return next(data["values"] for data in chart.body["data"] if data["name"] == "nodes")


def test_the_way_of_records_adds_up_and_rare_reasons_share_a_band() -> None:
    drops = [{"stage": "rules", "reason": f"r{i:02}", "pair_count": i} for i in range(1, 31)]
    exits = [{"source": f"s{i:02}", "way": "paired", "reason": None, "record_count": i} for i in range(1, 31)]
    chart = pictures(MANIFEST, {"record_exits": exits, "drop_reasons": drops})["flow"]
    written = [words.text for words in chart.words]

    assert chart.summary.startswith("Of 465 records, 465 state 1,706 pairs, of which 1,241 are published.")
    assert [text for text in written if text.startswith("s")] == [f"s{i} {i}" for i in range(30, 21, -1)]
    assert "21 others 231" in written
    assert "19 other reasons 190" in written
    assert sum(int(found[1]) for text in written if (found := re.fullmatch(r"(?:r\d+|\d+ other reasons) (\d+)", text))) == 465
