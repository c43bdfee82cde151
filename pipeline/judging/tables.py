"""The tables that judging hands from step to step. `low` and `high` are a pair's answers, as `pipeline.pairing` orders them."""

from typing import Final

import polars as pl

from pipeline.llm.tables import REQUESTS

LOW, TIE, HIGH = -1, 0, 1  # a verdict: which answer is better

# One row = one question to a judge.
ASKED: Final = pl.Schema(
    REQUESTS
    | {
        "low_first": pl.Boolean,  # low was shown as Response A
        "sample": pl.Int64,  # 0 and up
        "criterion": pl.String,  # of `criteria:`; null: the pair's own
    }
)

# One row = what became of one question.
VERDICTS: Final = pl.Schema(
    {
        "pair_id": pl.String,
        "low_first": pl.Boolean,
        "sample": pl.Int64,
        "criterion": pl.String,
        "verdict": pl.Int8,  # LOW, TIE or HIGH; null: none, and `reason` says why
        "strength": pl.Float64,  # 0 to 1; null: not stated
        "score_low": pl.Float64,  # 1 to 10, or a checklist's share of yes, 0 to 1; null: not stated
        "score_high": pl.Float64,
        "agrees_with_scores": pl.Boolean,  # the verdict names the answer with the higher score, or calls equal ones a tie
        "rationale": pl.String,  # as the judge wrote it, of Response A (shown first) and Response B
        "stands": pl.Boolean,  # what a meta judge says of it; null: none was asked, or it gave no answer
        "reason": pl.String,
        "detail": pl.String,
        "input_tokens": pl.Int64,
        "output_tokens": pl.Int64,
        "cost": pl.Float64,  # money of the price
    }
)

# One row = what a judge says of a pair in one order.
COMBINED: Final = pl.Schema(
    {
        "pair_id": pl.String,
        "low_first": pl.Boolean,
        "verdict": pl.Int8,
        "support": pl.Float64,  # share of what was counted that names it, 0 to 1
        "votes_low": pl.Int64,  # what was counted: samples, or criteria where there are some
        "votes_tie": pl.Int64,
        "votes_high": pl.Int64,
        "asked": pl.Int64,  # questions
        "strength": pl.Float64,
        "score_low": pl.Float64,  # sum over the counted samples
        "score_high": pl.Float64,
        "rationale": pl.String,  # of the first sample that says the same
        "reason": pl.String,  # why it is no vote
    }
)
