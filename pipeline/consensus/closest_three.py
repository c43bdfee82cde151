"""Keep the closest three: the rule by which HelpSteer2 settles several annotators' scores of one thing.

Of all annotations the three closest to each other count, and their mean is the value (HelpSteer2, Wang et al. 2024). The rule makes
agreement where there was none: agreement is to be reported on the raw annotations, which stay as they are.
"""

from typing import Final

import polars as pl

MOST_RANGE: Final = 2.0  # points on HelpSteer2's scale of five levels, 0 to 4

_DIGITS: Final = 9  # ranges that differ by less are equal: 0.3 - 0.1 and 0.2 - 0.0 are


def closest_three(items: pl.DataFrame, most_range: float = MOST_RANGE) -> pl.DataFrame:
    """Keep the three annotations of each item that are closest to each other.

    Of all three the ones with the least range are kept, of those the ones with the least variance, and of those the ones with the
    smallest annotator ids. Three with the least range are neighbours among the sorted values but for equal ones, so two sorted passes
    (equal values by id, from below and from above) meet the best: n log n, not n^3.

    Args:
        items: item (string, unique), annotators (list of strings), values (list of numbers, of the same length). Annotations whose
            value is null or not finite do not count.
        most_range: the widest range of three that settles an item, in units of the values: 2 of the 4 points between the ends
            of HelpSteer2's scale, so 1.0 on a scale from -1 to 1.

    Returns:
        item, n (annotations that count), kept_annotators and kept_values (lists, by value, then id; all of them where n < 3), mean
        (of those kept; null when n is 0), value (the mean rounded to a whole number), range (highest - lowest kept; null when n is
        0), ask_more (bool: fewer than three, or a range above `most_range`); in the order of `items`.
    """
    rows = items.select("item", annotator="annotators", value=pl.col("values").cast(pl.List(pl.Float64)))
    rows = rows.explode("annotator", "value", empty_as_null=False, keep_nulls=False).filter(pl.col("value").is_finite())
    few = rows.with_columns(n=pl.len().over("item")).filter(pl.col("n") < 3)
    windows = pl.concat([_windows(rows, descending) for descending in (False, True)])
    best = windows.sort("item", "range", "off_centre", "ids").unique("item", keep="first", maintain_order=True)
    three = best.select("item", annotator="annotators", value="values").explode("annotator", "value")
    kept = pl.concat([few.select("item", "annotator", "value"), three]).sort("item", "value", "annotator")
    settled = kept.group_by("item", maintain_order=True).agg(
        kept_annotators="annotator",
        kept_values="value",
        mean=pl.col("value").mean(),
        range=(pl.col("value").max() - pl.col("value").min()).round(_DIGITS),
    )
    counts = rows.group_by("item").agg(n=pl.len().cast(pl.Int64))
    return (
        items.select("item")
        .join(counts, on="item", how="left", maintain_order="left")
        .join(settled, on="item", how="left", maintain_order="left")
        .with_columns(pl.col("n").fill_null(0), pl.col("kept_annotators", "kept_values").fill_null([]))
        .select(
            "item", "n", "kept_annotators", "kept_values", "mean", "range",
            value=pl.col("mean").round(),
            ask_more=(pl.col("n") < 3) | (pl.col("range") > most_range),
        )
    )  # fmt: skip


def _windows(rows: pl.DataFrame, descending: bool) -> pl.DataFrame:
    """Every three neighbours of each item's sorted values, with what decides between them."""
    rows = rows.sort("item", "value", "annotator", descending=[False, descending, False])
    named = {name: [pl.col(name).shift(-k).over("item") for k in range(3)] for name in ("annotator", "value")}
    windows = rows.select(
        "item",
        values=pl.concat_list(named["value"]),
        annotators=pl.concat_list(named["annotator"]),
        whole=pl.int_range(pl.len()).over("item") + 2 < pl.len().over("item"),
    ).filter("whole")
    first, middle, last = (pl.col("values").list.get(k) for k in range(3))
    # Of three values with one range, the variance grows with the distance of the middle one from the centre.
    return windows.with_columns(
        range=(last - first).abs().round(_DIGITS),
        off_centre=(2 * middle - first - last).abs().round(_DIGITS),
        ids=pl.col("annotators").list.sort(),
    )
