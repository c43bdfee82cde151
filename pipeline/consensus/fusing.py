"""Several opinions of models on one item -> one: small rules from the literature, each a function from a table to a table."""

import polars as pl

from pipeline.statistics.intervals import wilson


def ranking_consistency(scores: pl.DataFrame) -> pl.DataFrame:
    """How far two rankers agree on the order of each prompt's answers.

    CREAM: Consistency Regularized Self-Rewarding Language Models (2024): C = (tau + 1) / 2. Kendall's tau-b, so that equal scores
    neither agree nor disagree.

    Args:
        scores: prompt_id, first, second (Float64; null: not scored): one row an answer, in any order.

    Returns:
        prompt_id, answers (scored by both), tau (-1 to 1), consistency (0 to 1), sorted by prompt_id. Both are null where a ranker
        scores all answers alike, or there are fewer than two: agreement is then not defined, and 0.5 would claim that it is.
    """
    ranked = scores.filter(pl.col("first").is_finite() & pl.col("second").is_finite()).sort("prompt_id", "first", "second")
    numbered = ranked.with_columns(n=pl.int_range(pl.len()).over("prompt_id"))
    both = numbered.join(numbered, on="prompt_id", suffix="_other").filter(pl.col("n") < pl.col("n_other"))
    by_first, by_second = (pl.col(f"{name}_other").sub(pl.col(name)).sign() for name in ("first", "second"))
    counted = both.group_by("prompt_id").agg(
        agree=(by_first * by_second).sum(), apart_first=(by_first != 0).sum(), apart_second=(by_second != 0).sum()
    )
    scale = (pl.col("apart_first").cast(pl.Float64) * pl.col("apart_second")).sqrt()
    tau = pl.when(scale > 0).then(pl.col("agree") / scale)
    answers = scores.select("prompt_id").unique().join(ranked.group_by("prompt_id").agg(answers=pl.len()), on="prompt_id", how="left")
    told = answers.join(counted, on="prompt_id", how="left").with_columns(pl.col("answers").fill_null(0).cast(pl.Int64), tau=tau)
    return told.select("prompt_id", "answers", "tau", consistency=(pl.col("tau") + 1) / 2).sort("prompt_id")


def both_point_one_way(first: pl.Expr, second: pl.Expr) -> pl.Expr:
    """Whether two judges' probabilities of one answer are on the same side of one half.

    Self-Consistency of the Internal Reward Models (2025) keeps such pairs alone. One half is no direction; null where one is unknown.
    """
    return (first - 0.5) * (second - 0.5) > 0


def fused(probabilities: pl.Expr) -> pl.Expr:
    """One probability from independent ones of the same event: prod p / (prod p + prod (1 - p)).

    Bayesian aggregation (2025). Judges who share their mistakes make it too sure.

    Args:
        probabilities: a list of Float64, 0 to 1; nulls are left out.

    Returns:
        0 to 1; one half for an empty list; null where one is sure of the event and another of its opposite.
    """
    known = probabilities.list.drop_nulls()
    odds = known.list.eval((pl.element() / (1 - pl.element())).log()).list.sum()  # a sum of logarithms does not underflow
    return pl.when(odds.is_not_nan()).then(1 / (1 + (-odds).exp()))


def summed_orders(first_shown: pl.Expr, second_shown: pl.Expr) -> pl.Expr:
    """P(answer) of a judge who saw it first and then second: the mean of the two, so that a liking for a place cancels.

    Dissecting Human and LLM Preferences (2024) prefers the answer with the larger sum over both orders: above one half here.

    Args:
        first_shown: P(answer) when it was shown first.
        second_shown: P(answer) when it was shown second.
    """
    return (first_shown + second_shown) / 2


def self_agreement(verdicts: pl.DataFrame) -> pl.DataFrame:
    """The answer that most of a model's samples give, by count and by probability.

    By count: Ask One More Time (2023). By probability mass: RPC (2025), which weighs samples by their sequence's probability; the two
    can differ, and both are told.

    Args:
        verdicts: item, verdict, and perhaps `probability` (Float64, 0 and up): one row a sample.

    Returns:
        item, samples, verdict (null: two are equally frequent), support (share of the samples for the most frequent, 0 to 1), and with
        probabilities likely_verdict and likely_support of the same by mass; sorted by item.
    """
    weights = {"": pl.lit(1.0)} | ({"likely_": pl.col("probability").fill_null(0.0)} if "probability" in verdicts.columns else {})
    told = verdicts.group_by("item").agg(samples=pl.len().cast(pl.Int64))
    for name, weight in weights.items():
        # Sorted, because a float sum must not depend on the order of the rows.
        mass = verdicts.with_columns(_weight=weight).sort("item", "verdict", "_weight").group_by("item", "verdict", maintain_order=True)
        ranked = mass.agg(pl.col("_weight").sum()).sort("item", "_weight", "verdict", descending=[False, True, False])
        best = ranked.group_by("item", maintain_order=True).agg(
            verdict=pl.col("verdict").first(),
            top=pl.col("_weight").first(),
            next=pl.col("_weight").get(1, null_on_oob=True),
            all=pl.col("_weight").sum(),
        )
        clear = pl.col("next").is_null() | (pl.col("top") > pl.col("next"))
        found = best.select(
            "item",
            pl.when(clear).then("verdict").alias(f"{name}verdict"),
            pl.when(pl.col("all") > 0).then(pl.col("top") / pl.col("all")).alias(f"{name}support"),
        )
        told = told.join(found, on="item", how="left")
    return told.sort("item")


def summed_scores(critiques: pl.DataFrame) -> pl.DataFrame:
    """A judge's verdict on two answers from several critiques with scores: the larger sum wins.

    Inference-Time Scaling for Generalist Reward Modeling (2025): voting adds scores up, after a meta judge rejected bad critiques.

    Args:
        critiques: item, a, b (scores), rejected (Boolean): one row a critique.

    Returns:
        item, critiques (counted), a, b (sums), verdict (a, b or tie; null: every critique was rejected), sorted by item.
    """
    counted = ~pl.col("rejected")
    sums = (
        critiques.sort("item", "a", "b")
        .group_by("item", maintain_order=True)
        .agg(pl.col("a", "b").filter(counted).sum(), critiques=counted.sum().cast(pl.Int64))
    )
    verdict = (
        pl.when(pl.col("a") > pl.col("b")).then(pl.lit("a")).when(pl.col("a") < pl.col("b")).then(pl.lit("b")).otherwise(pl.lit("tie"))
    )
    return sums.select("item", "critiques", "a", "b", verdict=pl.when(pl.col("critiques") > 0).then(verdict))


def majority_of_criteria(verdicts: pl.DataFrame, least_margin: int = 0) -> pl.DataFrame:
    """The answer that more criteria favour: CritiQ (2025).

    Args:
        verdicts: item, criterion, verdict (`a`, `b`; anything else or null: the criterion cannot say): one row a criterion, each once.
        least_margin: the winner must lead by more criteria than this, 0 and up.

    Returns:
        item, a, b, unsure (criteria), verdict (a, b; null: neither), sorted by item.
    """
    told = verdicts.group_by("item").agg(
        a=(pl.col("verdict") == "a").sum().cast(pl.Int64),
        b=(pl.col("verdict") == "b").sum().cast(pl.Int64),
        unsure=(~pl.col("verdict").is_in(["a", "b"]).fill_null(False)).sum().cast(pl.Int64),
    )
    ahead = pl.col("a") - pl.col("b")
    verdict = pl.when(ahead > least_margin).then(pl.lit("a")).when(-ahead > least_margin).then(pl.lit("b"))
    return told.with_columns(verdict=verdict).sort("item")


def criterion_accuracy(verdicts: pl.DataFrame, truth: pl.DataFrame) -> pl.DataFrame:
    """How often each criterion is right where it says something: CritiQ (2025) keeps criteria by it.

    Args:
        verdicts: as `majority_of_criteria` takes them.
        truth: item, truth (`a` or `b`; others do not count), each item once.

    Returns:
        criterion, right, wrong, unsure (items), accuracy (right / (right + wrong), 0 to 1; null: it never says anything), low, high
        (Wilson, 95 %), sorted by criterion.
    """
    known = verdicts.join(truth.filter(pl.col("truth").is_in(["a", "b"])), on="item")
    says = pl.col("verdict").is_in(["a", "b"]).fill_null(False)
    right = says & (pl.col("verdict") == pl.col("truth"))
    told = (
        known.group_by("criterion")
        .agg(right=right.sum().cast(pl.Int64), wrong=(says & ~right).sum().cast(pl.Int64), unsure=(~says).sum().cast(pl.Int64))
        .sort("criterion")
    )
    said = pl.col("right") + pl.col("wrong")
    low, high = wilson(told["right"].to_numpy(), told.select(said).to_series().to_numpy())
    known_share = told.with_columns(
        accuracy=pl.col("right") / said, low=pl.Series(low, dtype=pl.Float64), high=pl.Series(high, dtype=pl.Float64)
    )
    return known_share.with_columns(pl.when(said > 0).then(name).alias(name) for name in ("accuracy", "low", "high"))
