"""Which votes of judges and reward models count: through gates only, never over three humans.

A judge that was shown a pair in both orders and names the same answer has one vote; one that names the same place has none (DMoERM,
2024, keeps a label only where both calls agree). Votes on pairs with a degenerate answer do not count, because judges fall for those
(One Token to Fool LLM-as-a-Judge, 2025). A judge is audited against the pairs that humans decided. Where three or more humans voted
judges do not: a third human is worth more than any of them (ACORN, 2024).
"""

from typing import Final

import polars as pl

from pipeline.stage import StageResult, split_by_reason
from pipeline.statistics.intervals import wilson

HUMAN: Final = "human"
GOLD_HUMANS: Final = 3  # human votes from which on a pair is decided, and judges keep out
# What a gate needs before it speaks; with fewer, the interval of a judge that is always right still reaches far down.
MIN_PAIRS: Final = 20
# A gate is passed where the whole 95 % interval is above what a coin reaches. More would refuse good judges for lack of pairs: on hard
# pairs even good ones agree with themselves on two of three, and the pairs on which one does not are dropped in any case.
COIN: Final = 0.5

# Sums over a judge's votes, which add up over partitions.
AUDIT: Final = pl.Schema(
    {
        "annotator": pl.String,
        "kind": pl.String,
        "votes": pl.Int64,
        "both_orders": pl.Int64,  # pairs
        "consistent": pl.Int64,  # of those: the same verdict in both
        "ordered": pl.Int64,  # votes for a side whose order is known
        "first": pl.Int64,  # of those: for the answer shown first
        "on_degenerate": pl.Int64,  # votes on pairs with a degenerate answer
        "gold_votes": pl.Int64,  # pairs decided by humans on which its vote counts and is no tie
        "gold_agree": pl.Int64,
    }
)
# One row = one judge.
JUDGES: Final = pl.Schema(
    {
        "annotator": pl.String,
        "kind": pl.String,
        "votes": pl.Int64,
        "admitted": pl.Boolean,
        "reason": pl.String,  # why not; null: admitted
        "both_orders": pl.Int64,
        "consistent": pl.Int64,
        "consistent_share": pl.Float64,  # with its 95 % interval, like all shares here; null: of nothing
        "consistent_share_low": pl.Float64,
        "consistent_share_high": pl.Float64,
        "first_share": pl.Float64,
        "first_share_low": pl.Float64,
        "first_share_high": pl.Float64,
        "on_degenerate": pl.Int64,
        "gold_votes": pl.Int64,
        "gold_agreement": pl.Float64,
        "gold_agreement_low": pl.Float64,
        "gold_agreement_high": pl.Float64,
        "note": pl.String,  # what could not be looked at
    }
)
_ORDER: Final = "_order"
_BY: Final = ["annotator", "pair_id"]


def audit(votes: pl.DataFrame, degenerate: pl.Series) -> pl.DataFrame:
    """What a partition says of its judges.

    Args:
        votes: VOTES of whole pairs, in any order.
        degenerate: ids of the pairs with a degenerate answer.

    Returns:
        AUDIT, one row a judge or reward model, sorted by annotator.
    """
    judged = _ordered(votes.filter(pl.col("kind") != HUMAN))
    shown = judged.filter(pl.col("low_first").is_not_null() & (pl.col("vote") != 0))
    for_first = (pl.col("vote") == -1) == pl.col("low_first")
    bad = pl.col("pair_id").is_in(degenerate.implode())
    counting = judged.filter(~bad & pl.col(_ORDER).is_in(["single", "kept"]))
    said = counting.group_by(_BY).agg(pl.col("vote").cast(pl.Int64).sum().sign()).filter(pl.col("vote") != 0)
    gold = said.join(decided(votes.join(said, on="pair_id", how="semi")), on="pair_id")
    parts = [
        judged.group_by("annotator").agg(
            pl.col("kind").min(),
            votes=pl.len(),
            both_orders=pl.col("pair_id").filter(pl.col(_ORDER) != "single").n_unique(),
            consistent=(pl.col(_ORDER) == "kept").sum(),
            on_degenerate=bad.sum(),
        ),
        shown.group_by("annotator").agg(ordered=pl.len(), first=for_first.sum()),
        gold.group_by("annotator").agg(gold_votes=pl.len(), gold_agree=(pl.col("vote") == pl.col("better")).sum()),
    ]
    sums = parts[0]
    for part in parts[1:]:
        sums = sums.join(part, on="annotator", how="left")
    return (
        sums.with_columns(pl.col("ordered", "first", "gold_votes", "gold_agree").fill_null(0))
        .select(AUDIT.names())
        .cast(AUDIT)
        .sort("annotator")
    )  # type: ignore[arg-type, unused-ignore]


def reduce_audit(parts: list[pl.DataFrame]) -> pl.DataFrame:
    """Each judge's gates, from what `audit` gave for every partition.

    Returns:
        JUDGES, sorted by annotator. Admitted is who agrees with the humans' decisions on at least `MIN_PAIRS` pairs, more often than a
        coin by the whole interval; and, where as many pairs were shown in both orders, agrees with itself likewise. That the order is
        not known fails nothing; the note says so.
    """
    counts = [name for name in AUDIT.names() if name not in ("annotator", "kind")]
    sums = pl.concat([AUDIT.to_frame(), *parts]).group_by("annotator").agg(pl.col("kind").min(), pl.col(counts).sum()).sort("annotator")
    shares = {
        "consistent_share": ("consistent", "both_orders"),
        "first_share": ("first", "ordered"),
        "gold_agreement": ("gold_agree", "gold_votes"),
    }
    told = sums
    for name, (hits, of) in shares.items():
        low, high = wilson(sums[hits].to_numpy(), sums[of].to_numpy())
        some = pl.col(of) > 0
        told = told.with_columns(
            pl.when(some).then(pl.col(hits) / pl.col(of)).alias(name),
            pl.when(some).then(pl.Series(low)).alias(f"{name}_low"),
            pl.when(some).then(pl.Series(high)).alias(f"{name}_high"),
        )
    seen, gold = pl.col("both_orders"), pl.col("gold_votes")
    few = pl.format("no gold: {} of its votes are on pairs that {} humans decided, {} needed", gold, pl.lit(GOLD_HUMANS), pl.lit(MIN_PAIRS))
    wrong = _failed("agrees with the humans", "gold_agree", "gold_votes", "gold_agreement_low")
    biased = _failed("names the same answer in both orders", "consistent", "both_orders", "consistent_share_low")
    unsure = (seen >= MIN_PAIRS) & (pl.col("consistent_share_low") <= COIN)
    reason = pl.when(unsure).then(biased).when(gold < MIN_PAIRS).then(few).when(pl.col("gold_agreement_low") <= COIN).then(wrong)
    never = (
        pl.when(seen == 0)
        .then(pl.lit("never seen in both orders"))
        .when(seen < MIN_PAIRS)
        .then(pl.format("seen in both orders on {} pairs only", seen))
    )
    return (
        told.with_columns(reason=reason, note=never).with_columns(admitted=pl.col("reason").is_null()).select(JUDGES.names()).cast(JUDGES)
    )  # type: ignore[arg-type, unused-ignore]


def admit(votes: pl.DataFrame, judges: pl.DataFrame, degenerate: pl.Series, policy: str) -> StageResult:
    """Part the votes that enter consensus from those that do not.

    Args:
        votes: VOTES of whole pairs, in any order.
        judges: JUDGES of the data set.
        degenerate: as for `audit`.
        policy: `consensus.judges`. all: every vote counts. none: those of humans alone. audited: by the gates; a judge that did not
            pass them counts only where neither a human nor an admitted judge has a vote: such a pair's label rests on nothing else, and
            `unaudited_votes` tells it.

    Returns:
        VOTES in their order; a judge's vote that was the same in both orders has no order any more (`low_first` null). Dropped ones
        have a reason: judges_left_out, degenerate_answer, order_flipped, other_order (the second vote of a judge that said the same in
        both orders), humans_decided, judge_not_admitted.
    """
    is_judge = pl.col("kind") != HUMAN
    if policy != "audited":
        return split_by_reason(votes, {"judges_left_out": is_judge & (policy == "none")})
    numbered = votes.with_row_index("_row")
    judged = _ordered(numbered.filter(is_judge))  # humans' votes are many and stay: nothing is looked up for them but their number
    humans = votes.filter(~is_judge).join(judged, on="pair_id", how="semi").group_by("pair_id").agg(_humans=pl.len())
    bad = pl.col("pair_id").is_in(degenerate.implode())
    passed = pl.col("annotator").is_in(judges.filter("admitted")["annotator"].implode())
    sound = ~bad & pl.col(_ORDER).is_in(["single", "kept"])
    known = judged.join(humans, on="pair_id", how="left", maintain_order="left").with_columns(
        pl.col("_humans").fill_null(0), _passed=passed
    )
    audited = known.filter(sound & pl.col("_passed")).select("pair_id", _audited=True).unique()
    known = known.join(audited, on="pair_id", how="left", maintain_order="left")
    parted = split_by_reason(
        known,
        {
            "degenerate_answer": bad,
            "order_flipped": pl.col(_ORDER) == "flipped",
            "other_order": pl.col(_ORDER) == "again",
            "humans_decided": pl.col("_humans") >= GOLD_HUMANS,
            "judge_not_admitted": ~pl.col("_passed") & ((pl.col("_humans") > 0) | pl.col("_audited")),
        },
    )
    left = parted.dropped.select("_row", "reason").sort("_row")
    told = numbered.join(left, on="_row", how="left", maintain_order="left") if left.height else numbered.with_columns(reason=None)
    steady = pl.col("_row").is_in(parted.kept.filter(pl.col(_ORDER) == "kept")["_row"].implode())
    stays = told.filter(pl.col("reason").is_null()).with_columns(low_first=pl.when(~steady).then("low_first"))
    return StageResult(kept=stays.select(votes.columns), dropped=told.filter(pl.col("reason").is_not_null()).drop("_row"))


def unaudited_votes(kept: pl.DataFrame, judges: pl.DataFrame) -> pl.DataFrame:
    """How many of each pair's counted votes come from judges that did not pass.

    Args:
        kept: what `admit` kept.
        judges: JUDGES of the data set.

    Returns:
        pair_id, unaudited_votes (Int64, 1 and up), sorted; pairs without such votes are not there.
    """
    refused = judges.filter(~pl.col("admitted"))["annotator"].implode()
    unaudited = kept.filter((pl.col("kind") != HUMAN) & pl.col("annotator").is_in(refused))
    return unaudited.group_by("pair_id").agg(unaudited_votes=pl.len().cast(pl.Int64)).sort("pair_id")


def _failed(what: str, hits: str, of: str, low: str) -> pl.Expr:
    return pl.format(f"{what} on {{}} of {{}} pairs: the 95 % interval starts at {{}}, not above {COIN}", hits, of, pl.col(low).round(2))


def _ordered(judged: pl.DataFrame) -> pl.DataFrame:
    """Judges' votes with `_order`: single (seen in one order, or unknown), flipped, or of a judge that said the same in both: kept, again.

    Several votes in one order speak with their majority, a draw being a tie. A vote of unknown order beside both known ones says nothing
    of its own.
    """

    def said(low_first: bool) -> pl.Expr:
        return pl.col("vote").filter(pl.col("low_first") == low_first).cast(pl.Int64).sum().sign()

    shown = judged.filter(pl.col("low_first").is_not_null()).group_by(_BY)
    verdicts = shown.agg(pl.col("low_first").n_unique(), _verdict=said(True), _same=said(True) == said(False))
    verdicts = verdicts.filter(pl.col("low_first") == 2).drop("low_first")
    both = judged.join(verdicts, on=_BY).sort(*_BY, "judgement_id")
    agrees = pl.col("_same") & (pl.col("vote") == pl.col("_verdict"))
    first = agrees & (agrees.cast(pl.Int64).cum_sum().over(_BY) == 1)
    speaks = agrees.any().over(_BY)  # a draw in both orders is a tie that perhaps no single vote states: then there is none to keep
    order = pl.when(first).then(pl.lit("kept")).when(speaks).then(pl.lit("again")).otherwise(pl.lit("flipped"))
    single = judged.join(verdicts, on=_BY, how="anti").with_columns(pl.lit("single").alias(_ORDER))
    return pl.concat([single, both.with_columns(order.alias(_ORDER)).select(single.columns)])


def decided(votes: pl.DataFrame) -> pl.DataFrame:
    """The pairs that at least three human votes decided: pair_id, better (-1 or 1, with more votes than the other side and than ties)."""
    counts = (
        votes.filter(pl.col("kind") == HUMAN)
        .group_by("pair_id")
        .agg(low=(pl.col("vote") == -1).sum(), tie=(pl.col("vote") == 0).sum(), high=(pl.col("vote") == 1).sum())
    )
    most = pl.max_horizontal("low", "high")
    clear = (pl.sum_horizontal("low", "tie", "high") >= GOLD_HUMANS) & (pl.col("low") != pl.col("high")) & (most > pl.col("tie"))
    return counts.filter(clear).select("pair_id", better=pl.when(pl.col("low") > pl.col("high")).then(-1).otherwise(1).cast(pl.Int64))
