"""Single answers, good or bad, as KTOTrainer (trl 1.16) and trainers of BCO read them: `prompt`, `completion`, `label`.

From pairs: chosen is good, rejected is bad. An answer that is in several pairs of a prompt is one row; one that won some of them and lost
others is left out, because no single label is true of it. From ratings, with a threshold: good at and above it, bad below; those in the
band around it are left out, because a rater's two neighbouring points are not good and bad.

KTO wants the two classes to count about the same; where they do not, `advice` says between which bounds the weights of its loss should
lie (TRL's own rule). It also needs batches of more than one row a device, read in order of the file: its estimate of the KL divergence
pairs each row with its neighbour.

Sources: KTO: Model Alignment as Prospect Theoretic Optimization (2024) and TRL's kto_trainer.py; Binary Classifier Optimization (2024).
"""

from collections.abc import Mapping
from typing import Final

import polars as pl
import pyarrow as pa

from pipeline.errors import ConfigError
from pipeline.export.form import Format, Options
from pipeline.export.messages import SPOKEN, mangled
from pipeline.export.sides import named, rendered, said_by, shaped
from pipeline.stage import StageResult, split_by_reason

READS: Final = ("pair_id", "prompt_id", "chosen_id", "rejected_id", "prompt", "chosen", "rejected", "tools")
READS_OF_RATINGS: Final = (
    "prompt_id", "response_id", "response", "tools", "score", "score_min", "score_max", "criterion", "source", "flags", "is_copy",
)  # fmt: skip
EVERY: Final = ""  # the threshold of all sources that have none of their own
_DIGITS: Final = 9
_LEAST, _MOST = 1.0, 1.33  # TRL's bounds for (weight of good * good rows) / (weight of bad * bad rows)


def unpaired(options: Options) -> Format:
    """Single answers with a label; see the module."""
    kind = pa.string() if options.form == "text" else SPOKEN
    schema = pa.schema(
        [
            pa.field("prompt", kind, nullable=False),
            pa.field("completion", kind, nullable=False),
            pa.field("label", pa.bool_(), nullable=False),
            *([pa.field("tools", pa.string())] if options.tools else []),
        ]
    )
    takes = {"form", "template", "tools", "thresholds", "drop_band"}
    if options.thresholds:
        check_thresholds(options.thresholds, options.drop_band)
    elif options.drop_band:
        raise ConfigError("--drop-band: there is no band without a --threshold. Expected --threshold SHARE or SOURCE=SHARE.")
    by_rating, by_pair = lambda pairs, ratings: from_ratings(pairs, ratings, options), lambda pairs: from_pairs(pairs, options)
    return Format(
        READS, schema, by_rating if options.thresholds else by_pair,
        beside={"ratings": READS_OF_RATINGS} if options.thresholds else {},
        takes=takes, represents=said_by(options), single_turns=options.form == "text" and not options.template,
        whole_prompts=True, tally=classes, advice=balance,
    )  # fmt: skip


def check_thresholds(thresholds: Mapping[str, float], band: float) -> None:
    """Stop at shares that no rating can be on both sides of.

    Raises:
        ConfigError: a threshold is outside (0, 1], or the band reaches beyond the scale.
    """
    for source, share in thresholds.items():
        if not 0 < share <= 1:
            raise ConfigError(f"--threshold {source}{'=' if source else ''}{share:g}: expected a share of the scale above 0, at most 1.")
        if share - band <= 0 and band:
            raise ConfigError(f"--drop-band {band:g}: no rating lies below {share:g} - {band:g}. Expected less than the threshold.")


def from_pairs(pairs: pl.DataFrame, options: Options = Options()) -> StageResult:  # noqa: B008  # frozen
    """Answers of pairs with their label.

    Args:
        pairs: with the columns READS, in any order; all pairs of a prompt.
        options: form, render, tools.

    Returns:
        `kept`: one row an answer of a prompt: in the order of the pairs, chosen before rejected. `dropped`: pairs with the reasons of
        `pipeline.export.sides.shaped`, and answers (a row each, with the columns of a pair in which it is) with `conflicting_labels`.
    """
    done = shaped(pairs, options)
    rows = done.kept
    answers = pl.concat(
        [
            rows.select("prompt_id", response_id=f"{side}_id", label=pl.lit(side == "chosen"), _at=pl.int_range(pl.len()))
            for side in ("chosen", "rejected")
        ]
    )
    by = ["prompt_id", "response_id"]
    told = answers.group_by(by).agg(pl.col("_at").min(), pl.col("label").first(), _clash=pl.col("label").n_unique() > 1)
    told = told.sort("_at", "label", "response_id", descending=[False, True, False])
    clash = told.filter("_clash")["_at"]
    single = told.filter(~pl.col("_clash"))
    at, good = single["_at"], single["label"]
    kept = rows[at].with_columns(completion=pl.when(good).then("chosen").otherwise("rejected"), label=good)
    conflicting = pairs.clear().with_columns(reason=pl.lit(None, pl.String))
    if clash.len():
        ids = rows[clash].select("pair_id")
        conflicting = (
            ids.join(pairs, on="pair_id", maintain_order="left").select(pairs.columns).with_columns(reason=pl.lit("conflicting_labels"))
        )
    return StageResult(kept.select(_columns(options)), pl.concat([done.dropped, conflicting]))


def from_ratings(pairs: pl.DataFrame, ratings: pl.DataFrame, options: Options) -> StageResult:
    """Rated answers to the prompts of pairs, with their label.

    Args:
        pairs: with the columns READS, in any order; all pairs of a prompt.
        ratings: with the columns READS_OF_RATINGS, of these prompts. Copies and flagged ones do not count.
        options: form, render, tools, thresholds, drop_band.

    Returns:
        `kept`: one row an answer of a prompt, by prompt in the order of the pairs, then by id. An answer's score is the mean share of the
        scale that a source's raters gave it (criteria together). `dropped`: pairs of prompts without a row, and answers (a row each,
        with the columns of a pair of their prompt), with the first reason that applies: those of `mangled` and `shaped`,
        `no_rating`, `no_threshold` (for its source), `middle_band`, `conflicting_labels` (of two sources).
    """
    band = options.drop_band
    prompts = pairs.sort("pair_id").unique("prompt_id", keep="first", maintain_order=True).select("prompt_id", "prompt", "pair_id")
    counted = ratings.filter(~pl.col("is_copy") & (pl.col("flags").list.len() == 0))
    width = pl.col("score_max") - pl.col("score_min")
    share = pl.when(width > 0).then((pl.col("score") - pl.col("score_min")) / width)
    scored = counted.group_by("prompt_id", "response_id", "source").agg(pl.col("response", "tools").first(), _share=share.mean())
    every = options.thresholds.get(EVERY)
    limit = pl.col("source").replace_strict(dict(options.thresholds), default=every, return_dtype=pl.Float64)
    # Shares are sums of fractions: a score on the threshold must not fall below it by rounding.
    scored = scored.with_columns(_gap=(pl.col("_share") - limit).round(_DIGITS), _limit=limit)
    bad = pl.col("_gap") <= -band if band else pl.col("_gap") < 0
    label = pl.when(pl.col("_gap") >= band).then(True).when(bad).then(False)
    told = scored.with_columns(_label=label).group_by("prompt_id", "response_id").agg(
        pl.col("response", "tools").first(), pl.col("_label").drop_nulls().first().alias("label"),
        _clash=pl.col("_label").drop_nulls().n_unique() > 1, _unlimited=pl.col("_limit").is_null().all(),
        _unrated=pl.col("_share").is_null().all(),
    )  # fmt: skip
    rows = prompts.join(told, on="prompt_id", how="left", maintain_order="left").sort("prompt_id", "response_id", maintain_order=True)
    rows = rows.with_columns(chosen="response", rejected="response")  # what `mangled` says of pairs it says of each answer
    reasons = {name: says for name, says in mangled(said_by(options)).items() if name != "identical_answers"}
    reasons = {
        "no_rating": pl.col("response_id").is_null() | pl.col("_unrated"),
        **reasons,
        "no_threshold": pl.col("_unlimited"),
        "conflicting_labels": pl.col("_clash"),
        "middle_band": pl.col("label").is_null(),
    }
    done = split_by_reason(rows, reasons)
    made = rendered(done.kept, options, ("response",))
    kept = named(made.kept, ("response",)).rename({"response": "completion"}).select(_columns(options))
    lost = [one.select("pair_id", "reason") for one in (done.dropped, made.dropped)]
    dropped = pl.concat(lost).join(pairs, on="pair_id", maintain_order="left").select(*pairs.columns, "reason")
    return StageResult(kept, dropped)


def _columns(options: Options) -> list[str]:
    return ["prompt", "completion", "label", *(["tools"] if options.tools else [])]


def classes(rows: pl.DataFrame) -> dict[str, int]:
    """How many rows are good and bad."""
    good = int(rows["label"].sum())
    return {"desirable": good, "undesirable": rows.height - good}


def weight_bounds(desirable: int, undesirable: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Between which bounds one weight of KTO's loss should lie while the other is 1: (of good rows, of bad rows).

    Args:
        desirable: good rows, 1 and up.
        undesirable: bad rows, 1 and up.

    Source: TRL, trl/trainer/kto_trainer.py: (weight of good * good rows) is 1 to 1.33 times (weight of bad * bad rows).
    """
    good, bad = undesirable / desirable, desirable / undesirable
    return (_LEAST * good, _MOST * good), (bad / _MOST, bad / _LEAST)


TRL_WEIGHTS: Final = ("desirable_weight", "undesirable_weight")


def balance(counts: dict[str, int], weights: tuple[str, str] = TRL_WEIGHTS) -> list[str]:
    """What to set where the classes do not count the same.

    Args:
        counts: of `classes`, summed.
        weights: what the trainer calls the weight of the good and of the bad rows.
    """
    good, bad = counts.get("desirable", 0), counts.get("undesirable", 0)
    if not good or not bad:
        missing = "undesirable" if good else "desirable"
        return [f"There is no {missing} answer: KTO and BCO learn nothing from one class."] if good or bad else []
    if _LEAST <= good / bad <= _MOST:
        return []
    (low, high), (lowest, highest) = weight_bounds(good, bad)
    return [
        f"{good:,} desirable and {bad:,} undesirable answers: set {weights[0]} from {low:.2f} to {high:.2f}, or "
        f"{weights[1]} from {lowest:.2f} to {highest:.2f}."
    ]
