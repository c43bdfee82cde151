"""Which of a prompt's candidates train: weights by rank, the best against the worst, and how far two orders disagree.

Candidates are rows; those of one prompt share a key. Among equal scores the least id comes first, so no order of rows matters.
"""

from typing import Literal

import polars as pl

Policy = Literal["best", "best-random", "best-worst", "square"]
POLICIES: tuple[Policy, ...] = ("best", "best-random", "best-worst", "square")
_BEST, _OTHER = 0.4, 0.1  # of best-random, before they are made to add up to 1


def add_policy(
    candidates: pl.DataFrame, policy: Policy, *, key: str = "prompt_id", score: str = "score", identity: str = "response_id"
) -> pl.DataFrame:
    """Add `policy_weight`: how likely each candidate is to be drawn among its prompt's (Policy Filtration in RLHF, 2024).

    The release draws with weights as they are, so that prompts with more candidates dominate; here those of a prompt add up to 1.

    Args:
        candidates: one row a candidate: key, score (null: not a candidate, weight 0), identity.
        policy: best: it alone (BoN in the paper); best-random: the best four times as likely as each other one (BR); best-worst: both
            alike (BW); square: in proportion to the square of the score.
        key: the column that candidates of one prompt share.
        score: higher is better.
        identity: settles ties.

    Returns:
        The rows in their order; Float64, 0 to 1.
    """
    known = pl.col(score).cast(pl.Float64).fill_nan(None)
    last, size = pl.col("_place").max().over(key), pl.len().over(key)
    shares = {
        "best": pl.when(pl.col("_place") == 0).then(1.0).otherwise(0.0),
        "best-random": pl.when(pl.col("_place") == 0).then(_BEST).otherwise(_OTHER) / (_BEST + _OTHER * (size - 1)),
        "best-worst": ((pl.col("_place") == 0).cast(pl.Float64) + (pl.col("_place") == last).cast(pl.Float64)) / 2,
        "square": pl.when((known**2).sum().over(key) > 0).then(known**2 / (known**2).sum().over(key)).otherwise(1 / size),
    }
    rows = candidates.with_row_index("_row")
    ranked = rows.filter(known.is_not_null()).sort([key, score, identity], descending=[False, True, False])
    weighed = ranked.with_columns(_place=pl.int_range(pl.len()).over(key)).select("_row", policy_weight=shares[policy])
    return (
        rows.join(weighed, on="_row", how="left", maintain_order="left").with_columns(pl.col("policy_weight").fill_null(0.0)).drop("_row")
    )


def best_and_worst(
    candidates: pl.DataFrame, *, key: str = "prompt_id", score: str = "score", identity: str = "response_id"
) -> pl.DataFrame:
    """The best and the worst candidate of each prompt (SimPO, 2024); no row where all score the same.

    The release takes the first of equal scores for both ends, so that a prompt whose scores all tie makes a pair of one answer with itself.

    Args:
        candidates: as `add_policy` takes them; null scores are no candidates.
        key: as there.
        score: as there.
        identity: as there; the least one of equal scores is taken, at either end.

    Returns:
        key, chosen, rejected (identities), gap (Float64, above 0), sorted by key.
    """
    known = candidates.with_columns(_score=pl.col(score).cast(pl.Float64).fill_nan(None)).drop_nulls("_score").sort(key)
    ends = known.group_by(key, maintain_order=True).agg(
        chosen=pl.col(identity).sort_by("_score", identity, descending=[True, False]).first(),
        rejected=pl.col(identity).sort_by("_score", identity).first(),
        gap=pl.col("_score").max() - pl.col("_score").min(),
    )
    return ends.filter(pl.col("gap") > 0)


def surprise(candidates: pl.DataFrame, *, key: str = "prompt_id", score: str = "score", model: str = "logp") -> pl.DataFrame:
    """Per prompt, how far a model's order of the candidates disagrees with the scores': 1 - Kendall's tau.

    What are the Desired Characteristics of Calibration Sets? (2023) wants little of it; the definition by tau is ours. Two candidates
    whose order one of the two does not decide count as half agreed (tau-a).

    Args:
        candidates: one row a candidate: key and both scores, higher first.
        key: the column that candidates of one prompt share.
        score: what the candidates are judged by.
        model: how likely a model finds them.

    Returns:
        key, surprise (Float64, 0: the same order, 2: the opposite one), candidates; for prompts with two or more, sorted by key.
    """
    rows = candidates.select(key, score, model).drop_nulls().with_row_index("_row")
    met = rows.join(rows, on=key, suffix="_other").filter(pl.col("_row") < pl.col("_row_other"))
    agreement = (pl.col(score) - pl.col(f"{score}_other")).sign() * (pl.col(model) - pl.col(f"{model}_other")).sign()
    sizes = rows.group_by(key).agg(candidates=pl.len())
    told = met.group_by(key).agg(surprise=1 - agreement.cast(pl.Float64).mean())
    return told.join(sizes, on=key).sort(key)
