"""Kinds of charts: rows in, a Chart out."""

from collections.abc import Iterator, Sequence

from pipeline.report.charts import WIDE, Chart, Spec, Words, at, label, mark, value
from pipeline.report.markup import number

ROW = 22  # pixels
LEFT = 235  # room of a name
CHARACTER = 7


def _band(rows: int) -> Spec:
    domain = {"data": "rows", "field": "at"}
    return {"name": "y", "type": "band", "domain": domain, "range": [0, rows * ROW], "paddingInner": 0.3, "paddingOuter": 0.15}


def _names(names: Sequence[str]) -> Iterator[Words]:
    """Names of the rows, left of the plot."""
    return (Words(-10, (i + 0.5) * ROW, label(name, LEFT // CHARACTER), "end") for i, name in enumerate(names))


def _numbers(numbers: Sequence[str], x: float) -> Iterator[Words]:
    """Numbers of the rows, right of the plot."""
    return (Words(x, (i + 0.5) * ROW, label(told), soft=True) for i, told in enumerate(numbers))


def stacked(rows: Sequence[tuple[str, Sequence[int]]], keys: Sequence[str], summary: str) -> Chart:
    """Horizontal bars, one a row, each filled to its whole width by the shares of its parts.

    Args:
        rows: name and the count of each part.
        keys: what the parts are, in order; each a colour variable of the style sheet.
        summary: in words.
    """
    right = 80
    parts = []
    for i, (_, counts) in enumerate(rows):
        total, before = sum(counts), 0
        for key, count in zip(keys, counts, strict=True):
            if count:
                parts.append({"at": i, "from": before / total, "to": (before + count) / total, "fill": f"var(--{key})"})
            before += count
    place = {"x": at("x", "from"), "x2": at("x", "to"), "y": at("y", "at"), "height": {"scale": "y", "band": 1}}
    body = {
        "data": [{"name": "rows", "values": [{"at": i} for i in range(len(rows))]}, {"name": "parts", "values": parts}],
        "scales": [_band(len(rows)), {"name": "x", "domain": [0, 1], "range": [0, WIDE - LEFT - right]}],
        "axes": [{"scale": "x", "orient": "bottom", "format": "%", "tickCount": 5}],
        "marks": [mark("rect", "part", "parts", **place, fill={"field": "fill"})],
    }
    totals = _numbers([number(sum(counts)) for _, counts in rows], WIDE - LEFT - right + 8)
    return Chart(WIDE, len(rows) * ROW + 30, (LEFT, 4, right, 26), body, summary, (*_names([name for name, _ in rows]), *totals))


def intervals(
    rows: Sequence[tuple[str, float, float, float, bool]], summary: str, domain: tuple[float, float], reference: float | None
) -> Chart:
    """Points with their intervals, one a row.

    Args:
        rows: name, value, low, high, whether it is one to look at.
        summary: in words.
        domain: ends of the axis.
        reference: where a dashed line stands.
    """
    right = 70
    told = [
        {"at": i, "value": v, "low": low, "high": high, "stroke": f"var(--{'dropped' if odd else 'merged'})"}
        for i, (_, v, low, high, odd) in enumerate(rows)
    ]
    high = len(rows) * ROW
    middle, colour = at("y", "at", band=0.5), {"field": "stroke"}
    thick = {"stroke": colour, "strokeWidth": value(3), "strokeOpacity": value(0.55)}
    marks = [
        mark("rule", "interval", "rows", x=at("x", "low"), x2=at("x", "high"), y=middle, **thick),
        mark("symbol", "point", "rows", x=at("x", "value"), y=middle, size=value(55), fill=colour),
    ]
    if reference is not None:
        dashes = {"stroke": value("var(--soft)"), "strokeDash": value([4, 3])}
        line = {"x": {"scale": "x", "value": reference}, "y": value(0), "y2": value(high), **dashes}
        marks.insert(0, {"type": "rule", "name": "reference", "encode": {"enter": line}})
    body = {
        "data": [{"name": "rows", "values": told}],
        "scales": [_band(len(rows)), {"name": "x", "domain": list(domain), "range": [0, WIDE - LEFT - right], "clamp": True}],
        "axes": [{"scale": "x", "orient": "bottom", "grid": True, "tickCount": 5}],
        "marks": marks,
    }
    numbers = _numbers([number(v, 3) for _, v, _, _, _ in rows], WIDE - LEFT - right + 8)
    return Chart(WIDE, high + 30, (LEFT, 4, right, 26), body, summary, (*_names([row[0] for row in rows]), *numbers))


def bars(rows: Sequence[tuple[str, float, str]], summary: str, colour: str = "merged") -> Chart:
    """Horizontal bars from zero, each with its number.

    Args:
        rows: name, length, the number as told.
        summary: in words.
        colour: a variable of the style sheet.
    """
    right = 180
    room = WIDE - LEFT - right
    longest = max(length for _, length, _ in rows) or 1.0
    place = {"x": value(0), "x2": at("x", "length"), "y": at("y", "at"), "height": {"scale": "y", "band": 1}}
    body = {
        "data": [{"name": "rows", "values": [{"at": i, "length": length} for i, (_, length, _) in enumerate(rows)]}],
        "scales": [_band(len(rows)), {"name": "x", "domain": [0, longest], "range": [0, room]}],
        "marks": [mark("rect", "bar", "rows", **place, fill=value(f"var(--{colour})"))],
    }
    told = (Words(length / longest * room + 6, (i + 0.5) * ROW, label(text), soft=True) for i, (_, length, text) in enumerate(rows))
    return Chart(WIDE, len(rows) * ROW + 8, (LEFT, 4, right, 4), body, summary, (*_names([name for name, _, _ in rows]), *told))


def histogram(bins: Sequence[tuple[float, float, float, float]], summary: str) -> Chart:
    """Shares of two groups by bin: filled bars of the first, an outline of the second.

    Args:
        bins: low, high, share of the published pairs, share of the dropped ones (0 to 1), in order.
        summary: in words.
    """
    width, height, margins = 290, 118, (4, 6, 4, 20)
    room, floor = width - margins[0] - margins[2], height - margins[1] - margins[3]
    lowest, highest = bins[0][0], bins[-1][1]
    ends = [Words(0, floor + 11, number(lowest, 3), soft=True), Words(room, floor + 11, number(highest, 3), "end", soft=True)]
    if lowest == highest:  # one value
        ends = [Words(room / 2, floor + 11, number(lowest, 3), "middle", soft=True)]
        lowest, highest = lowest - 0.5, highest + 0.5
        bins = [(lowest, highest, bins[0][2], bins[0][3])]
    edges: list[Spec] = [{"at": lowest, "share": 0.0}]
    reached = lowest
    for low, high, _, share in bins:
        if low > reached:
            edges += [{"at": reached, "share": 0.0}, {"at": low, "share": 0.0}]
        edges += [{"at": low, "share": share}, {"at": high, "share": share}]
        reached = high
    edges.append({"at": highest, "share": 0.0})
    place = {"x": at("x", "low"), "x2": at("x", "high"), "y": at("y", "share"), "y2": {"scale": "y", "value": 0}}
    base = {"x": value(0), "x2": value(room), "y": value(floor), "stroke": value("var(--line)")}
    line = {"x": at("x", "at"), "y": at("y", "share"), "stroke": value("var(--dropped)"), "strokeWidth": value(1.8)}
    body = {
        "data": [
            {"name": "bins", "values": [{"low": low, "high": high, "share": share} for low, high, share, _ in bins]},
            {"name": "edges", "values": edges},
        ],
        "scales": [
            {"name": "x", "domain": [lowest, highest], "range": [0, room], "zero": False},
            {"name": "y", "domain": [0, max(max(one[2:]) for one in bins) or 1], "range": [floor, 0]},
        ],
        "marks": [
            {"type": "rule", "name": "base", "encode": {"enter": base}},
            mark("rect", "bar", "bins", **place, fill=value("var(--published)"), fillOpacity=value(0.75)),
            mark("line", "outline", "edges", **line),
        ],
    }
    return Chart(width, height, margins, body, summary, ends)
