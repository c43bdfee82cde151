"""What a judge is worth, as statistics: whether it follows the order, agrees with itself, falls for answers without content, and its cost.

Sums are whole numbers, so that they are the same whatever the partitions.
"""

from collections.abc import Iterable
from typing import Final

import polars as pl

from pipeline.judging.tables import TIE
from pipeline.judging.verdicts import over_orders
from pipeline.statistics.table import STATISTIC, Statistic, share, statistics_table, unknown

_BILLIONTHS: Final = 1_000_000_000  # costs are added as whole billionths of the price's money
SUMS: Final = pl.Schema({"judge": pl.String, "quantity": pl.String, "of": pl.String, "sum": pl.Int64})

# Shares with their interval: name -> what is counted, of what.
_SHARES: Final = {
    "judge_first_share": ("first", "ordered"),
    "judge_consistent_share": ("agreed", "both_orders"),
    "judge_summed_share": ("summed", "disagreed"),
    "judge_self_consistency": ("supporting", "repeated"),
    "judge_agrees_with_scores": ("as_scored", "scored"),
    "judge_tie_share": ("ties", "verdicts"),
    "judge_meta_rejected": ("rejected", "reviewed"),
    "judge_answered": ("answered", "questions"),
}
_NOTES: Final = {
    "judge_first_share": "verdicts that are no tie: share for the answer shown first; n counts verdicts, 0.5 is no position bias",
    "judge_consistent_share": "share of the pairs judged in both orders with the same verdict in both",
    "judge_summed_share": "of the pairs judged differently in the two orders: share that the sum over both decides",
    "judge_self_consistency": "share of the samples of one question that say what most of them say; n counts samples",
    "judge_agrees_with_scores": "share of the verdicts that name the answer which the same judge scored higher; n counts verdicts",
    "judge_tie_share": "n counts verdicts",
    "judge_meta_rejected": "share of the reviewed verdicts that the meta judge threw out",
    "judge_answered": "share of the questions with a verdict; n counts questions",
}
_NOTHING: Final = "nothing to count it on"


def summarise(verdicts: pl.DataFrame, combined: pl.DataFrame, judge: str) -> pl.DataFrame:
    """What a partition says of a judge.

    Args:
        verdicts: VERDICTS, without probes.
        combined: COMBINED of these.
        judge: its name among annotators.

    Returns:
        SUMS.
    """
    there, sided = pl.col("verdict").is_not_null(), pl.col("verdict") != TIE
    told = verdicts.select(
        questions=pl.len(),
        answered=there.sum(),
        ties=(pl.col("verdict") == TIE).sum(),
        ordered=sided.sum(),
        first=(sided & ((pl.col("verdict") < TIE) == pl.col("low_first"))).sum(),
        scored=pl.col("agrees_with_scores").count(),
        as_scored=pl.col("agrees_with_scores").sum(),
        reviewed=pl.col("stands").count(),
        rejected=(~pl.col("stands")).sum(),
        input_tokens=pl.col("input_tokens").sum(),
        output_tokens=pl.col("output_tokens").sum(),
        cost=(pl.col("cost") * _BILLIONTHS).round().cast(pl.Int64).sum(),
    ).with_columns(verdicts=pl.col("answered"))
    samples = verdicts.filter(there).group_by("pair_id", "low_first", "criterion", "verdict").len()
    samples = samples.group_by("pair_id", "low_first", "criterion").agg(pl.col("len").sum(), most=pl.col("len").max())
    repeated = samples.filter(pl.col("len") > 1).select(repeated=pl.col("len").sum(), supporting=pl.col("most").sum())
    pairs = over_orders(combined).select(
        both_orders=pl.len(),
        agreed=pl.col("agreed").count(),
        disagreed=pl.col("agreed").is_null().sum(),
        summed=(pl.col("agreed").is_null() & (pl.col("summed") != TIE)).sum(),
    )
    whole = (
        pl.concat([told, repeated, pairs], how="horizontal")
        .select(pl.all().cast(pl.Int64))
        .unpivot(variable_name="quantity", value_name="sum")
    )
    failed = verdicts.drop_nulls("reason").group_by(of="reason").agg(sum=pl.len()).with_columns(quantity=pl.lit("failed"))
    unused = combined.drop_nulls("reason").group_by(of="reason").agg(sum=pl.len()).with_columns(quantity=pl.lit("no_vote"))
    return _named(judge, [whole.with_columns(of=pl.lit("")), failed, unused])


def summarise_probes(probes: pl.DataFrame, combined: pl.DataFrame, judge: str) -> pl.DataFrame:
    """What a partition's probes say of a judge.

    Args:
        probes: pair_id, key, key_is_low of `probes.planted`.
        combined: COMBINED of the answers to them.
        judge: its name among annotators.

    Returns:
        SUMS: a probe counts twice, divided among the orders it has a verdict in, so that both orders weigh the same.
    """
    said = combined.filter(pl.col("verdict").is_not_null()).join(probes.select("pair_id", "key", "key_is_low"), on="pair_id")
    wins = (pl.col("verdict") != TIE) & ((pl.col("verdict") < TIE) == pl.col("key_is_low"))
    pairs = said.with_columns(_wins=wins, _tie=pl.col("verdict") == TIE).group_by("pair_id", "key")
    halves = pairs.agg(probes=pl.lit(2), key_wins=pl.col("_wins").sum() * 2 // pl.len(), key_ties=pl.col("_tie").sum() * 2 // pl.len())
    parts = [
        halves.group_by(of="key").agg(sum=pl.col(name).sum()).with_columns(quantity=pl.lit(name))
        for name in ("probes", "key_wins", "key_ties")
    ]
    return _named(judge, parts)


def reduce(parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Statistics of every judge, from what `summarise` and `summarise_probes` gave for every partition.

    Intervals are Wilson's and take verdicts, or pairs, for independent.

    Returns:
        STATISTIC; subject_kind `judge`, and `judge_key` for one of the ten keys (judge, then the key in quotes):
        judge_first_share (0.5: the order does not matter), judge_consistent_share, judge_summed_share, judge_self_consistency,
        judge_agrees_with_scores, judge_tie_share, judge_meta_rejected, judge_answered, judge_key_wins and judge_key_ties (share of the
        probes on which an answer without content wins, or is called equal), judge_failed:<reason> and judge_no_vote:<reason> (counts of
        questions, of pairs in one order), judge_input_tokens, judge_output_tokens, judge_cost.
    """
    total = (
        pl.concat([SUMS.to_frame(), *parts]).group_by("judge", "quantity", "of").agg(pl.col("sum").sum()).sort("judge", "quantity", "of")
    )
    told = [STATISTIC.to_frame()]
    for judge in total.get_column("judge").unique().sort().to_list():
        counts = {(quantity, of): n for _, quantity, of, n in total.filter(pl.col("judge") == judge).iter_rows()}
        told.append(statistics_table(_of_judge(judge, counts)))
    return pl.concat(told).sort("statistic", "subject_kind", "subject")


def _of_judge(judge: str, counts: dict[tuple[str, str], int]) -> list[Statistic]:
    subject = ("judge", judge)
    rows = []
    for name, (hits, of) in _SHARES.items():
        n = counts.get((of, ""), 0)
        rows.append(share(name, subject, counts[hits, ""], n, _NOTES[name]) if n else unknown(name, subject, 0, "share", _NOTHING))
    asked = counts.get(("questions", ""), 0)
    for quantity, unit in (("input_tokens", "tokens"), ("output_tokens", "tokens"), ("cost", "money of the price")):
        value = counts.get((quantity, ""), 0) / (_BILLIONTHS if quantity == "cost" else 1)
        rows.append(_plain(f"judge_{quantity}", judge, value, asked, unit))
    for kind, unit in (("failed", "questions"), ("no_vote", "pairs in one order")):
        rows += [_plain(f"judge_{kind}:{of}", judge, n, asked, unit) for (quantity, of), n in counts.items() if quantity == kind]
    keys = [of for quantity, of in counts if quantity == "probes"]
    for name in ("key_wins", "key_ties"):
        tried = sum(counts["probes", key] for key in keys)
        if tried:
            rows.append(_probed(name, subject, sum(counts[name, key] for key in keys), tried))
        rows += [_probed(name, ("judge_key", f"{judge} '{key}'"), counts[name, key], counts["probes", key]) for key in keys]
    return rows


def _probed(name: str, subject: tuple[str, str], halves: int, twice: int) -> Statistic:
    return share(f"judge_{name}", subject, halves / 2, twice // 2, "probes: a real answer against one without content, in both orders")


def _plain(name: str, judge: str, value: float, n: int, unit: str) -> Statistic:
    return unknown(name, ("judge", judge), n, unit, "sum over all questions, failed ones included")._replace(value=float(value))


def _named(judge: str, parts: list[pl.DataFrame]) -> pl.DataFrame:
    columns = [pl.col("quantity"), pl.col("of"), pl.col("sum").cast(pl.Int64)]
    return pl.concat([part.select(columns) for part in parts]).with_columns(judge=pl.lit(judge)).select(SUMS.names())
