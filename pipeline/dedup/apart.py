"""What was told apart in a comparison must be further apart than what is taken for the same between two comparisons.

Four answers that all begin alike are near duplicates of each other. Then "the first beats the second" and "the third beats the first"
look alike too, text by text, and are not the same judgement.
"""

import polars as pl


def own_answers(edges: pl.DataFrame) -> pl.DataFrame:
    """The two answers of every pair in `edges` (rows of `pairs.score_pairs`): left, right with left < right, distinct, sorted."""
    both = pl.concat(edges.select(one=f"low_{end}", other=f"high_{end}") for end in ("left", "right"))
    return both.select(left=pl.min_horizontal("one", "other"), right=pl.max_horizontal("one", "other")).unique().sort("left", "right")


def told_apart(edges: pl.DataFrame, scores: pl.DataFrame) -> pl.DataFrame:
    """The edges whose matched answers are closer to each other than either pair's own two answers are.

    Args:
        edges: rows of `pairs.score_pairs`.
        scores: left, right (left < right), cosine, jaccard of the matched answers and of `own_answers(edges)`. Where the own two have no
            score, they are apart.

    Returns:
        Those rows, in their order. Similarities are of the edge's kind. Pairs with equal answers always stay.
    """
    columns = {
        "low": ("low_left", "low_right"), "high": ("high_left", "high_right"),
        "left": ("low_left", "high_left"), "right": ("low_right", "high_right"),
    }  # fmt: skip
    alike = pl.DataFrame({name: _similarity(edges, one, other, scores) for name, (one, other) in columns.items()})
    own = pl.max_horizontal("left", "right")
    apart = alike.select(own.is_null() | (pl.min_horizontal("low", "high") > own)).to_series()
    equal = (edges["low_left"] == edges["low_right"]) & (edges["high_left"] == edges["high_right"])
    return edges.filter(apart | equal)


def _similarity(edges: pl.DataFrame, one: str, other: str, scores: pl.DataFrame) -> pl.Series:
    """How alike the texts of two columns are, row by row, by the edge's kind: 1 for equal ones, null where it is not known."""
    ends = edges.select("kind", left=pl.min_horizontal(one, other), right=pl.max_horizontal(one, other))
    known = ends.join(scores.select("left", "right", "cosine", "jaccard"), on=["left", "right"], how="left", maintain_order="left")
    score = pl.when(pl.col("kind") == "cosine").then("cosine").otherwise("jaccard")
    return known.select(pl.when(pl.col("left") == pl.col("right")).then(1.0).otherwise(score)).to_series()
