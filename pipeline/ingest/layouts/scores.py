"""Scores and ranks in their spellings -> numbers, higher is better, with their scale and criterion."""

from collections.abc import Iterable
from typing import Final

import polars as pl

from pipeline.ingest.aliases import CRITERIA, PLAIN_SCORES, plain
from pipeline.ingest.conversations.messages import problem
from pipeline.ingest.layouts.slots import Task
from pipeline.ingest.layouts.verdicts import spelled
from pipeline.ingest.records import Encoding

ASPECTS: Final = frozenset({"helpfulness", "honesty", "instruction_following", "truthfulness"})  # UltraFeedback's four
VALUE_KEYS: Final = ("Rating", "rating", "score", "Score", "value")  # the score inside an object of one criterion
_NO_SCORE: Final = ("", "n/a", "na", "none", "null", "nan", "-")
_UP: Final = ("true", "1", "thumbs_up", "thumb_up", "up", "thumbsup", "like", "liked", "upvote", "desirable", "good", "positive", "👍")
_DOWN: Final = (
    "false", "-1", "thumbs_down", "thumb_down", "down", "thumbsdown", "dislike", "disliked", "downvote", "undesirable", "bad", "negative",
    "👎",
)
_THUMBS: Final = dict.fromkeys(_UP, 1.0) | dict.fromkeys(_DOWN, 0.0)


def stated(text: pl.Expr) -> pl.Expr:
    """Whether a text is there and is not one of the spellings of "no score"."""
    return (~text.str.strip_chars().str.to_lowercase().is_in(_NO_SCORE)).fill_null(False)


def number(text: pl.Expr) -> pl.Expr:
    """The finite number a text states, or null."""
    value = text.str.strip_chars().cast(pl.Float64, strict=False)
    return pl.when(value.is_finite()).then(value)


def numeric(texts: pl.Series) -> bool:
    """Whether most of the scores that a field's texts state are numbers, and there is one."""
    said = texts.to_frame("x").filter(stated(pl.col("x")))
    numbers = said.select(number(pl.col("x")).is_not_null().sum()).item()
    return bool(numbers) and 2 * int(numbers) >= said.height


def thumbs(texts: pl.Series, *, named: bool) -> Encoding | None:
    """How thumbs are written; None when the texts are no thumbs.

    Args:
        texts: the values of the first records.
        named: whether the field's name says thumbs, so that 0, 1 and -1 are ones.
    """
    said = texts.to_frame("x").filter(stated(pl.col("x"))).select(spelled(pl.col("x")))["x"]
    found = set(said.to_list())
    numbers = {"0", "1", "-1"}
    if not found or not found <= set(_THUMBS) | numbers or (not named and found & numbers):
        return None
    return Encoding("signed_thumbs" if "-1" in found else "thumbs")


def criteria_of(paths: list[str]) -> list[str | None]:
    """The criteria that the names of scores' fields state; None where one states none and the row's holds.

    Args:
        paths: the fields; inside a candidate, `<candidates>.*.<keys>`.
    """
    names = [_last_name(path) for path in paths]
    unsaid = [name for name in names if known_criterion(name) is None]
    plain_ones = [name for name in unsaid if plain(name) in PLAIN_SCORES or len(paths) == 1]
    only = plain_ones[0] if len(plain_ones) == 1 else None
    return [None if name == only else known_criterion(name) or plain(name) for name in names]


def _last_name(path: str) -> str:
    parts = path.rpartition("*.")[2].split(".")
    return parts[-2] if len(parts) > 1 and parts[-1] in VALUE_KEYS else parts[-1]


def known_criterion(field: str) -> str | None:
    """`helpfulness` for Helpfulness, helpfulness_score and helpfulness-rating; None for a name that is no known criterion."""
    name = plain(field)
    for ending in ("", "_score", "_rating"):
        if name.endswith(ending) and name.removesuffix(ending) in CRITERIA:
            return name.removesuffix(ending)
    return None


def scorelike(field: str) -> bool:
    """Whether a field's name says that it holds a score."""
    return known_criterion(field) is not None or plain(field) in PLAIN_SCORES


def read_scores(task: Task, scores: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Score texts -> numbers on their scale, and the problems of those that are none.

    Args:
        task: the batch; its layout says whether scores are thumbs, its config which scale other scores have.
        scores: id, text, field (where it stands), label (which response; "" when there is one), and what else shall stay.

    Returns:
        The rows with `score`, `score_min` and `score_max` (null when nobody states the scale), without those that state
        no score; and the rows whose text is no number, with `reason` and `detail` as in PROBLEM.
    """
    text = pl.col("text")
    kind = task.layout.encoding.kind
    scale = task.source.ratings.scale
    low: float | None
    high: float | None
    if kind in ("thumbs", "signed_thumbs"):
        thumb = _THUMBS if kind == "signed_thumbs" else _THUMBS | {"0": 0.0}
        value = spelled(text).replace_strict(thumb, default=None, return_dtype=pl.Float64)
        low, high, expected = 0.0, 1.0, "a thumb: " + ("-1 or 1" if kind == "signed_thumbs" else "true or false, 1 or 0, up or down")
    else:
        low, high = scale if scale is not None else (None, None)
        value = number(text)
        expected = "a number"
        if scale is not None:
            value = pl.when(value.is_between(*scale)).then(value)
            expected = f"a number from {low:g} to {high:g} (`ratings: scale:`)"
    read = scores.filter(stated(text)).with_columns(
        score=value, score_min=pl.lit(low, pl.Float64), score_max=pl.lit(high, pl.Float64)
    )
    wrong = read.filter(pl.col("score").is_null())
    detail = pl.concat_str("label", pl.lit("found "), text.str.slice(0, 60), pl.lit(f"; expected {expected}"))
    return read.filter(pl.col("score").is_not_null()), wrong.with_columns(reason=pl.lit("unknown_score"), detail=detail)


def unscored(ids: pl.Series, field: str | None, labels: pl.Series | str = "") -> pl.DataFrame:
    """Problems of rows, or responses of rows, that have no score at all."""
    detail = pl.select(pl.lit(labels) + "no score; expected at least one number").to_series()
    return problem(ids, "no_score", field, detail.new_from_index(0, len(ids)) if len(detail) == 1 else detail)


def placed(rank: pl.Expr, group: str | Iterable[str]) -> list[pl.Expr]:
    """`score`, `score_min`, `score_max` and `ranked` from ranks, lowest best, among those of one group.

    The score is n minus the place: n - 1 for the first of n, 0 for the last; equal ranks share the better place.
    """
    count = rank.count().over(group).cast(pl.Float64)
    return [
        (count - rank.rank("min").over(group)).alias("score"),
        pl.lit(0.0).alias("score_min"),
        (count - 1).alias("score_max"),
        pl.lit(True).alias("ranked"),
    ]


def overall_score_defect(overall: pl.Expr, aspect_mean: pl.Expr) -> pl.Expr:
    """What is doubtful about an UltraFeedback overall score: `overall_score_misread`, `overall_score_doubtful`, or null.

    2,628 completions of the set say 10 where many meant 1. Its authors' repair: 10 beside aspects of at most 2 on average
    is a 1, up to 4 it has to be rated again, above it stands.

    Args:
        overall: 1 to 10.
        aspect_mean: mean of the aspect ratings (1 to 5) that are there; null where none is.

    Source: UltraFeedback (Cui et al. 2023), the authors' repository.
    """
    ten = overall == 10
    return (
        pl.when(ten & (aspect_mean <= 2)).then(pl.lit("overall_score_misread"))
        .when(ten & (aspect_mean <= 4)).then(pl.lit("overall_score_doubtful"))
    )
