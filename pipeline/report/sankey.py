"""The way of records and pairs as a Sankey diagram: sources, records that speak in a pair, pairs, what left and why, splits.

Bands keep their width: records left of the middle, pairs right of it. The two units meet where records become pairs; there the pairs are
drawn as high as the records that state them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.report.charts import WIDE, Chart, Spec, Words, label, mark, value
from pipeline.report.markup import number

HEIGHT = 250  # pixels that stand for all records
NODE = 12
GAP = 8
LINE = 17  # room of a label
THINNEST = 0.7
SOURCES, PAIRED, PAIRS, ENDS = 175, 410, 520, 700  # left edges of the four columns


@dataclass(frozen=True)
class Flow:
    """A band from or to a named place.

    Attributes:
        name: what is written beside it.
        count: records or pairs.
        colour: a variable of the style sheet.
    """

    name: str
    count: int
    colour: str


def sankey(sources: Sequence[tuple[str, dict[str, int]]], ways: Sequence[Flow], pairs: int, ends: Sequence[Flow], summary: str) -> Chart:
    """Lay out and draw.

    Args:
        sources: name, and how many of its records took each way.
        ways: what records did, by name of the way: first the one that became pairs, then those that ended before.
        pairs: of all ends.
        ends: where pairs are now: splits first, then what left, in the order of the run.
        summary: in words.
    """
    records = sum(way.count for way in ways)
    scale = HEIGHT / max(1, records)
    pair_scale = ways[0].count * scale / max(1, pairs)
    nodes: list[Spec] = []
    bands: list[Spec] = []
    words: list[Words] = []

    def node(x: float, y: float, high: float, colour: str) -> None:
        nodes.append({"x": x, "y": y, "height": max(high, THINNEST), "fill": f"var(--{colour})"})

    tops = {}
    y = 0.0
    for i, way in enumerate(ways):
        tops[way.name] = y
        high = way.count * scale
        node(PAIRED, y, high, way.colour)
        if i:
            words.append(Words(PAIRED + NODE + 6, y + high / 2, f"{way.name} {number(way.count)}"))
        y += max(high + GAP, LINE if i else GAP)
    lowest = y
    y = 0.0
    filled = dict(tops)
    for name, counts in sources:
        high = sum(counts.values()) * scale
        node(SOURCES, y, high, "trunk")
        words.append(Words(SOURCES - 7, y + high / 2, f"{label(name, 18)} {number(sum(counts.values()))}", "end"))
        left = y
        for way in ways:
            thick = counts.get(way.name, 0) * scale
            if thick:
                bands.append({"path": _band(SOURCES + NODE, left, PAIRED, filled[way.name], thick), "fill": f"var(--{way.colour})"})
                left += thick
                filled[way.name] += thick
        y += max(high + GAP, LINE)
    lowest = max(lowest, y)
    if pairs:
        high = pairs * pair_scale
        bands.append({"path": _band(PAIRED + NODE, 0, PAIRS, 0, high), "fill": f"var(--{ways[0].colour})"})
        node(PAIRS, 0, high, "trunk")
        left = y = 0.0
        for end in ends:
            thick = end.count * pair_scale
            bands.append({"path": _band(PAIRS + NODE, left, ENDS, y, thick), "fill": f"var(--{end.colour})"})
            node(ENDS, y, thick, end.colour)
            words.append(Words(ENDS + NODE + 6, y + thick / 2, f"{label(end.name, 20)} {number(end.count)}"))
            left += thick
            y += max(thick + GAP, LINE)
        lowest = max(lowest, y)
    heads = ((SOURCES, f"{number(records)} records"), (PAIRED, f"{number(ways[0].count)} in pairs"), (PAIRS, f"{number(pairs)} pairs"))
    words += [Words(x + NODE, -16, text, "end", soft=True) for x, text in heads]
    body = {
        "data": [{"name": name, "values": rows} for name, rows in (("bands", bands), ("nodes", nodes))],
        "marks": [
            mark("path", "band", "bands", path={"field": "path"}, fill={"field": "fill"}, fillOpacity=value(0.38)),
            mark("rect", "node", "nodes", **{key: {"field": key} for key in ("x", "y", "height", "fill")}, width=value(NODE)),
        ],
    }
    return Chart(WIDE, int(lowest) + 42, (0, 32, 0, 10), body, summary, words)


def _band(x: float, y: float, to_x: float, to_y: float, thick: float) -> str:
    """The outline of a band of constant width between two edges."""
    thick = max(thick, THINNEST)
    middle = (x + to_x) / 2
    return (
        f"M{x:.1f},{y:.2f}C{middle:.1f},{y:.2f} {middle:.1f},{to_y:.2f} {to_x:.1f},{to_y:.2f}"
        f"V{to_y + thick:.2f}C{middle:.1f},{to_y + thick:.2f} {middle:.1f},{y + thick:.2f} {x:.1f},{y + thick:.2f}Z"
    )
