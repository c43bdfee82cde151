"""Charts as SVG inside the page: Vega specifications, drawn offline by vl-convert, all of a report in one call.

Every chart is a Vega group with data of its own. One call draws them all below each other, then each is cut out, and only the elements and
attributes named here are taken over. Vega draws shapes and axes; names and numbers from data are written beside them here, escaped like all
other text (and because the renderer takes a millisecond to measure each). Colours are the style sheet's variables, so that charts follow
light, dark and print.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from xml.etree import ElementTree

from pipeline.report.markup import Markup, tag, visible

WIDE = 900  # pixels
LABEL_CHARS = 60
FONT = 12.5
_ELEMENTS = {"g", "path", "line", "text", "rect"}
_ATTRIBUTES = {
    "class", "d", "transform", "x", "y", "x2", "y2", "width", "height", "fill", "fill-opacity", "stroke", "stroke-width",
    "stroke-dasharray", "stroke-opacity", "opacity", "font-size", "font-weight", "text-anchor",
}  # fmt: skip

Spec = dict[str, Any]


@dataclass(frozen=True)
class Words:
    """Text in a chart: where (pixels from the plot's upper left corner; y is the middle of the line), and which end is there."""

    x: float
    y: float
    text: str
    anchor: Literal["start", "middle", "end"] = "start"
    soft: bool = False


@dataclass(frozen=True)
class Chart:
    """A picture: its size, the margins around what is plotted, and what Vega draws.

    Attributes:
        width: of the whole picture, in pixels.
        height: likewise.
        margins: left, top, right, bottom, in pixels.
        body: data, scales, axes and marks of a Vega group of the size that the margins leave.
        summary: what it shows, in words, for who cannot see it.
        words: names and numbers.
    """

    width: int
    height: int
    margins: tuple[int, int, int, int]
    body: Spec
    summary: str
    words: Sequence[Words] = ()


def draw(charts: dict[str, Chart]) -> dict[str, Markup]:
    """Every chart as an `<svg>` with its summary as text alternative."""
    if not charts:
        return {}
    import vl_convert  # takes about 0.7 s and 60 MB at its first picture

    tops: list[int] = []
    marks: list[Spec] = []
    below = 0
    for i, chart in enumerate(charts.values()):
        left, top, right, bottom = chart.margins
        place = {"x": left, "y": below + top, "width": chart.width - left - right, "height": chart.height - top - bottom}
        encode = {"enter": {key: {"value": value} for key, value in place.items()}}
        marks.append({"type": "group", "name": f"chart{i}", "encode": encode, **chart.body})
        tops.append(below)
        below += chart.height
    width = max(chart.width for chart in charts.values())
    spec = {"width": width, "height": below, "padding": 0, "autosize": "none", "config": _CONFIG, "marks": marks}
    drawn = list(_groups(ElementTree.fromstring(vl_convert.vega_to_svg(spec))))
    return {
        name: tag(
            "svg",
            _taken_over(group),
            *(_written(words, chart.margins, top) for words in chart.words),
            viewBox=f"0 {top} {chart.width} {chart.height}",
            width=chart.width,
            height=chart.height,
            fill="none",  # as the renderer's own root has it
            role="img",
            aria_label=chart.summary,
        )
        for (name, chart), top, group in zip(charts.items(), tops, drawn, strict=True)
    }


_CONFIG: Spec = {
    "axis": {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "titlePadding": 6, "tickSize": 4, "domain": False},
}


def _groups(root: ElementTree.Element) -> Iterator[ElementTree.Element]:
    """The group of each chart, in order."""
    return (element for element in root.iter() if "role-scope chart" in (element.get("class") or ""))


def _taken_over(element: ElementTree.Element) -> Markup:
    name = element.tag.rsplit("}", 1)[-1]
    if name not in _ELEMENTS or (element.get("class") in ("background", "foreground")):
        return Markup("")
    given = {key: value for key, value in element.attrib.items() if key in _ATTRIBUTES}
    return tag(name, element.text or "", *map(_taken_over, element), **given)


def _written(words: Words, margins: tuple[int, int, int, int], top: int) -> Markup:
    x, y = words.x + margins[0], words.y + margins[1] + top + FONT * 0.35
    place = {"text-anchor": None if words.anchor == "start" else words.anchor, "class": "soft" if words.soft else None}
    return tag("text", words.text, x=f"{x:.1f}", y=f"{y:.1f}", **place)


def label(text: object, limit: int = LABEL_CHARS) -> str:
    """Text from data as one line of a chart."""
    line = visible(" ".join(str(text).split()))
    return line if len(line) <= limit else line[: limit - 1] + "…"


def value(of: Any) -> Spec:  # noqa: ANN401
    """A constant."""
    return {"value": of}


def at(scale: str, field: str, **more: Any) -> Spec:  # noqa: ANN401
    """A field of the data on a scale."""
    return {"scale": scale, "field": field, **more}


def mark(kind: str, name: str, data: str, **encode: Spec) -> Spec:
    """One mark a row of the data; its name becomes a class."""
    return {"type": kind, "name": name, "from": {"data": data}, "encode": {"enter": encode}}
