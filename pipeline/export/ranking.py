"""The candidate answers to a prompt, and how good each is: what listwise formats and formats with scores are made of."""

from typing import Final

import polars as pl

READS_OF_RATINGS: Final = (
    "prompt_id", "response_id", "response", "score", "score_min", "score_max", "criterion", "annotator_id", "source", "context",
    "list_id", "flags", "is_copy",
)  # fmt: skip
READS_OF_JUDGEMENTS: Final = (
    "prompt_id", "response_a_id", "response_a", "response_b_id", "response_b", "outcome", "is_copy", "derived_from", "merged_into",
)  # fmt: skip
_OVERALL: Final = ("overall", "overall_score")
_DIGITS: Final = 9  # means of equal scores in another order are equal


def counted(ratings: pl.DataFrame) -> pl.DataFrame:
    """Ratings that count, with `share` of their scale (0 to 1): no copies, none that is flagged, none on a scale of one point.

    Where the source rates an overall impression beside other criteria, that alone counts: it sums them up.
    """
    width = pl.col("score_max") - pl.col("score_min")
    overall = pl.col("criterion").str.to_lowercase().is_in(_OVERALL)
    rows = ratings.filter(~pl.col("is_copy") & (pl.col("flags").list.len() == 0) & (width > 0))
    rows = rows.filter(overall | ~overall.any().over("prompt_id", "response_id", "source"))
    return rows.with_columns(share=(pl.col("score") - pl.col("score_min")) / width)


def rated(ratings: pl.DataFrame) -> pl.DataFrame:
    """Each answer's mean share of the scale: prompt_id, response_id, rating (0 to 1), sorted by ids."""
    told = counted(ratings).group_by("prompt_id", "response_id").agg(rating=pl.col("share").mean().round(_DIGITS))
    return told.sort("prompt_id", "response_id")


def wins(ratings: pl.DataFrame, judgements: pl.DataFrame) -> pl.DataFrame:
    """How often each answer is better than each other one of its prompt.

    Args:
        ratings: with the columns READS_OF_RATINGS. One comparison for each rater, source, criterion and list that scored both.
        judgements: with the columns READS_OF_JUDGEMENTS. Those derived from ratings are in the ratings already.

    Returns:
        prompt_id, response_id, other_id, won (0 to 1: share of comparisons, a tie is half), compared; a row for either order; sorted.
    """
    by = ["prompt_id", "source", "annotator_id", "criterion", "context", "list_id"]
    scores = counted(ratings).group_by(*by, "response_id").agg(pl.col("share").mean().round(_DIGITS))
    both = scores.join(scores, on=by, suffix="_other", nulls_equal=True).filter(pl.col("response_id") != pl.col("response_id_other"))
    higher = (pl.col("share") > pl.col("share_other")).cast(pl.Float64) + (pl.col("share") == pl.col("share_other")).cast(pl.Float64) / 2
    from_ratings = both.select("prompt_id", "response_id", other_id="response_id_other", won=higher)
    stated = judgements.filter(~pl.col("is_copy") & (pl.col("derived_from").list.len() == 0) & pl.col("merged_into").is_null())
    stated = stated.filter(pl.col("response_a_id") != pl.col("response_b_id"))
    a_won = pl.col("outcome").replace_strict({"a": 1.0, "b": 0.0, "tie": 0.5}, return_dtype=pl.Float64)
    sides = [
        stated.select("prompt_id", response_id=f"response_{one}_id", other_id=f"response_{other}_id", won=won)
        for one, other, won in (("a", "b", a_won), ("b", "a", 1 - a_won))
    ]
    told = pl.concat([from_ratings, *sides]).sort("prompt_id", "response_id", "other_id", "won")
    told = told.group_by("prompt_id", "response_id", "other_id").agg(pl.col("won").mean(), compared=pl.len().cast(pl.Int64))
    return told.sort("prompt_id", "response_id", "other_id")


def win_rates(won: pl.DataFrame) -> pl.DataFrame:
    """Each answer's mean win probability over the others of its prompt that it was compared with: psi of LiPO.

    Args:
        won: of `wins`.

    Returns:
        prompt_id, response_id, psi (0 to 1), sorted. From a full ranking of K answers: (K - 1, ..., 1, 0) / (K - 1).

    Source: LiPO: Listwise Preference Optimization through Learning-to-Rank (2024).
    """
    told = won.group_by("prompt_id", "response_id").agg(psi=pl.col("won").mean().round(_DIGITS))
    return told.sort("prompt_id", "response_id")


def texts(ratings: pl.DataFrame, judgements: pl.DataFrame) -> pl.DataFrame:
    """The answers themselves: prompt_id, response_id, response (messages); one row each."""
    tables = [(ratings, "response"), (judgements, "response_a"), (judgements, "response_b")]
    ids = [
        rows.select("prompt_id", response_id=f"{name}_id", _of=pl.lit(of), _at=pl.int_range(pl.len()))
        for of, (rows, name) in enumerate(tables)
    ]
    once = pl.concat(ids).unique(["prompt_id", "response_id"], keep="first", maintain_order=True)  # in the order of the tables
    # Texts are moved once: ids are what is compared.
    said = [rows[name].gather(once.filter(pl.col("_of") == of)["_at"]) for of, (rows, name) in enumerate(tables)]
    return once.select("prompt_id", "response_id").with_columns(pl.concat([one.alias("response") for one in said]))
