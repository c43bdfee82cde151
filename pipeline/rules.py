"""Rules: named predicates over signal columns that drop pairs, each drop with rule, score and threshold.

`check` reads a config's rules before any work. Rules then run in order, in rounds (`rounds`): consecutive `drop_if` rules look
at one pair at a time and run in one pass (`apply_local`); any other rule compares all pairs that are left, so it has three parts
(`summarise`, `reduce`, `apply_global`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Literal

import polars as pl
from polars.exceptions import PolarsError

from pipeline.bias.balance import Balance, Balanced, apply_balance, reduce_balance, summarise_balance
from pipeline.conditions import COLUMNS, plain_comparison, require_known, seen, tokens_of
from pipeline.config import ChesConfig, ContentConfig, PipelineConfig, RationalesConfig, RuleConfig, RulesConfig, ShareConfig
from pipeline.errors import ConfigError
from pipeline.schemas import CHES_SIGNALS, CONTENT_SIGNALS, RATIONALE_SIGNALS
from pipeline.stage import StageResult, split_by_reason

_NONE = [("identical_answers", "identical_answers"), ("no_vote_counts", "votes_admitted = 0"), ("tie", "tie")]
_SAFE = [
    ("empty_answer", "chosen_empty or rejected_empty"),
    *_NONE,
    ("unreadable_text", "chosen_unreadable_share > 0.2 or rejected_unreadable_share > 0.2"),
]
# Likely defects of the answer to imitate, two answers that say the same, and labels that votes or content speak against. Not here:
# answers that repeat over prompts (mostly a bare "yes" or "no"), that restate the question or change the language (mostly as asked), and
# labels of unaudited judges alone (where no human votes, that is everything).
_STRICT = [
    *_SAFE,
    ("chosen_degenerate", "chosen_degenerate"),
    ("chosen_injected", "chosen_injected"),
    ("chosen_garbled", "chosen_garbled_start"),
    ("chosen_repetitive", "chosen_repetitive"),
    ("chosen_runs_on", "chosen_role_marker"),
    ("chosen_cut_off", "chosen_truncated_tail"),
    ("answers_equivalent", "answers_equivalent"),
    # A single vote says nothing of its pair that it does not say of all its annotator's pairs.
    ("contested", "votes_admitted > 1 and p_chosen < 0.6"),
    ("suspect_label", "peer_verdict = 'suspect' and noise_score > 0.5"),
]
# Refusals are short and alike, and DPO on pairs of like answers takes probability from both: the paper kept the lowest 5 % of 382 pairs
# by ches_ln, and found up to 15 % about as good (Unintentional Unalignment, 2024). Not for other data: see README.
_SAFETY_DPO = [*_SAFE, ("no_ches", "ches_ln is null")]
PRESETS = {"safe": _SAFE, "strict": _STRICT, "none": _NONE, "safety-dpo": _SAFETY_DPO}
PRESET_SHARES = {"safety-dpo": RuleConfig(name="lowest_ches", keep_lowest_share=ShareConfig(signal="ches_ln", share=0.05))}

# What voters agree on. Where they form camps, disagreement says who voted rather than what is wrong with a pair.
_CONSENSUS = {
    "p_chosen", "p_tie", "p_soft", "p_chosen_length_controlled", "margin", "agreement", "vote_entropy", "posterior_entropy", "conflict",
    "votes_chosen", "votes_rejected", "votes_tie",
}  # fmt: skip

ONLY_IF = "rationales.only_if"
_ON_RATIONALES = {field.name for field in RATIONALE_SIGNALS}

_DROP_COLUMNS = ["stage", "reason", "score", "threshold", "detail", "witness_pair_id"]


@dataclass(frozen=True)
class Rule:
    """A checked rule. `sql` for drop_if, `signal` and `share` (exact, 0 to 1) for the others."""

    name: str
    kind: Literal["drop_if", "drop_top_share", "keep_lowest_share", "balance"]
    columns: tuple[str, ...]
    sql: str = ""
    score: str | None = None  # the one column that a plain comparison looks at
    threshold: float | None = None
    share: Decimal = Decimal(0)

    @property
    def is_global(self) -> bool:
        """Whether the rule compares all pairs, so that it must see a summary of every partition."""
        return self.kind != "drop_if"

    @property
    def signal(self) -> str:
        """The column a share rule ranks by, or that is balanced."""
        return self.columns[0]

    @property
    def rests_on_consensus(self) -> bool:
        """Whether it looks at what voters agree on."""
        return not _CONSENSUS.isdisjoint(self.columns)

    @property
    def on_rationales(self) -> bool:
        """Whether it looks at what rationales say, so that it comes after they are written."""
        return not _ON_RATIONALES.isdisjoint(self.columns)

    @property
    def balance(self) -> Balance:
        """What is balanced."""
        return Balance(self.name, self.signal, self.columns[1] if len(self.columns) > 1 else None)


@dataclass(frozen=True)
class Cutoff:
    """The first pair, from low to high, that a share rule drops; `dropped` of `ranked` pairs lie at or past it."""

    value: float
    pair_id: str
    dropped: int
    ranked: int


Found = Cutoff | Balanced | None  # what a rule that compares all pairs has found: where it cuts; None: it drops nothing


def check(config: PipelineConfig) -> list[Rule]:
    """Check what a config says of rules and weights, and give its rules.

    Raises:
        ConfigError: as `compile_rules` and `check_weights`.
    """
    off = not_computed(config.content, config.signals.ches, config.rationales)
    check_weights(config.weights.balance, off)
    if config.rationales.only_if is not None:
        for column in _drop_if(ONLY_IF, config.rationales.only_if).columns:
            _require_computed(ONLY_IF, column, off | dict.fromkeys(_ON_RATIONALES, "a rationale, which is not written yet"))
    return compile_rules(config.rules, off)


def holds(pairs: pl.DataFrame, name: str, sql: str) -> pl.Series:
    """Whether a condition, of the form of a rule's `drop_if`, is true of each pair; a null is not."""
    rule = _drop_if(name, sql)
    values = pairs.select(seen(pairs, list(rule.columns)))
    return values.select(pl.sql_expr(rule.sql).fill_null(False)).to_series()


def not_computed(content: ContentConfig, ches: ChesConfig, rationales: RationalesConfig | None = None) -> dict[str, str]:
    """Signals that a config does not ask for, and what in it would."""
    asked = {
        "backend: causal_lm": ches.causal,
        "last_hidden: true": ches.last_hidden,
        "logps: true": ches.logps or ches.weak_model is not None,
        "weak_model": ches.weak_model is not None,
        "follow_ups": ches.follow_ups is not None,
        "backend: encoder": ches.backend != "none",
    }
    off = {} if rationales is None else _not_argued(rationales)
    off |= {signal.name: f"signals.ches.{key}" for key, signals in CHES_SIGNALS.items() if not asked[key] for signal in signals}
    return off | {s.name: f"content.{key}: true" for key, signals in CONTENT_SIGNALS.items() if not getattr(content, key) for s in signals}


def _not_argued(config: RationalesConfig) -> dict[str, str]:
    """Signals of rationales that a config does not ask for: most need a reader, or a writer who was not told the label."""
    of_readers = {"rationale_verdict", "rationale_steady", "rationale_noise_score"}
    if config.endpoint is not None and config.asked:
        if config.verify:
            return {}
        return dict.fromkeys(of_readers | ({"rationale_against"} if config.labels == "shown" else set()), "rationales.verify: true")
    off = dict.fromkeys((*of_readers, "rationale_against", "rationale_leaks"), "rationales.endpoint")
    return off if config.asked or config.stated else dict.fromkeys(_ON_RATIONALES, "rationales.kinds")


def compile_rules(config: RulesConfig, off: Mapping[str, str] = MappingProxyType({})) -> list[Rule]:
    """Check all rules, the preset's first, then the added ones in order.

    Args:
        config: which rules.
        off: `not_computed`; every signal is computed when left out.

    Raises:
        ConfigError: a name is taken, a column is unknown or not computed, or a condition cannot be read or is not true or false.
    """
    rules = [_drop_if(name, sql) for name, sql in PRESETS[config.preset]]
    rules += [_compile(PRESET_SHARES[config.preset])] if config.preset in PRESET_SHARES else []
    of_preset = {rule.name for rule in rules}
    for added in config.add:
        if any(added.name == rule.name for rule in rules):
            kind = f"a rule of preset {config.preset!r}" if added.name in of_preset else "another rule"
            raise ConfigError(f"rules.add: rule {added.name!r} has the name of {kind}; every drop names its rule, so names must differ.")
        rules.append(_compile(added))
    for rule in rules:
        for column in rule.columns:
            by = f"preset {config.preset!r}, rule {rule.name!r}" if rule.name in of_preset else f"rule {rule.name!r}"
            _require_computed(by, column, off)
    return rules


def check_weights(balance: str | None, off: Mapping[str, str] = MappingProxyType({})) -> None:
    """Check what `weights.balance` names.

    Raises:
        ConfigError: it is no signal, no number, or not computed.
    """
    if balance is not None:
        _require_number("weights.balance", balance, "balance")
        _require_computed("rule 'weights.balance'", balance, off)


def rounds(rules: list[Rule]) -> list[list[Rule]]:
    """Group rules, in order, into rounds: consecutive `drop_if` rules together, each other rule by itself."""
    grouped: list[list[Rule]] = []
    for rule in rules:
        if grouped and not rule.is_global and not grouped[-1][0].is_global:
            grouped[-1].append(rule)
        else:
            grouped.append([rule])
    return grouped


def apply_local(pairs: pl.DataFrame, rules: list[Rule]) -> StageResult:
    """Apply `drop_if` rules; the first that is true drops the pair, a null means 'does not apply'.

    Returns:
        `dropped` has stage, reason (the rule's name), witness_pair_id (null) and: for a comparison of one column with a number its
        value as `score` and the number as `threshold`; for a bare flag 1.0 and 1.0; otherwise nulls, and every value in `detail`.
    """
    numbered = pairs.with_row_index("_row")
    values = numbered.select("_row", *seen(pairs, sorted({column for rule in rules for column in rule.columns})))
    marked = split_by_reason(values, {rule.name: pl.sql_expr(rule.sql) for rule in rules}).dropped
    score, threshold, detail = pl.lit(None, pl.Float64), pl.lit(None, pl.Float64), pl.lit(None, pl.String)
    for rule in rules:
        mine = pl.col("reason") == rule.name
        if rule.score is None:
            detail = pl.when(mine).then(_detail(rule)).otherwise(detail)
        else:
            score = pl.when(mine).then(pl.col(rule.score).cast(pl.Float64)).otherwise(score)
            threshold = pl.when(mine).then(pl.lit(rule.threshold, pl.Float64)).otherwise(threshold)
    reasons = marked.select(
        "_row", "reason", stage=pl.lit("rules"), score=score, threshold=threshold, detail=detail, witness_pair_id=pl.lit(None, pl.String)
    )
    return StageResult(
        kept=numbered.join(reasons, on="_row", how="anti", maintain_order="left").drop("_row"),
        dropped=numbered.join(reasons, on="_row", maintain_order="left").select(*pairs.columns, *_DROP_COLUMNS),
    )


def summarise(pairs: pl.DataFrame, rule: Rule) -> pl.DataFrame:
    """What a global rule needs to know of one partition."""
    return summarise_balance(pairs, rule.balance) if rule.kind == "balance" else summarise_share(pairs, rule)


def reduce(summaries: list[pl.DataFrame], rule: Rule) -> Found:
    """Where a global rule cuts, from `summarise` of all partitions; None if it drops nothing."""
    return reduce_balance(summaries, rule.balance) if rule.kind == "balance" else reduce_share(summaries, rule)


def apply_global(pairs: pl.DataFrame, rule: Rule, found: Found) -> StageResult:
    """Apply a global rule to one partition, with what `reduce` found."""
    return apply_balance(pairs, rule.balance, found) if isinstance(found, Balanced) else apply_share(pairs, rule, found)


def summarise_share(pairs: pl.DataFrame, rule: Rule) -> pl.DataFrame:
    """One partition's ranked pairs: (pair_id, value: float64). Pairs without a value are not ranked and not counted."""
    value = seen(pairs, [rule.signal])[0].cast(pl.Float64).fill_nan(None) + 0.0  # + 0.0: -0.0 ranks as 0.0
    return pairs.select("pair_id", value=value).drop_nulls("value")


def reduce_share(summaries: list[pl.DataFrame], rule: Rule) -> Cutoff | None:
    """Find where a share rule cuts; None if it drops nothing.

    Of n ranked pairs, floor(share * n) are dropped (drop_top_share) or kept (keep_lowest_share), with the share as the decimal
    number the config states. Among equal values the smaller pair_id is dropped first, and kept first.
    """
    empty = pl.DataFrame(schema={"pair_id": pl.String, "value": pl.Float64})
    drops_top = rule.kind == "drop_top_share"
    ranked = pl.concat([empty, *summaries]).sort(["value", "pair_id"], descending=[False, drops_top])
    count = int(rule.share * ranked.height)  # share >= 0, so int() is floor()
    dropped = count if drops_top else ranked.height - count
    if dropped == 0:
        return None
    pair_id, value = ranked.select("pair_id", "value").row(ranked.height - dropped)
    return Cutoff(value=value, pair_id=pair_id, dropped=dropped, ranked=ranked.height)


def apply_share(pairs: pl.DataFrame, rule: Rule, cutoff: Cutoff | None) -> StageResult:
    """Drop one partition's pairs at or past the cutoff; pairs without a value stay.

    Returns:
        `dropped` has the signal as `score`, the cutoff's value as `threshold`, and how many of how many went in `detail`.
    """
    if cutoff is None:
        cutoff = Cutoff(value=float("inf"), pair_id="", dropped=0, ranked=0)
        past = pl.lit(False)
    else:
        at = pl.col("pair_id") <= cutoff.pair_id if rule.kind == "drop_top_share" else pl.col("pair_id") >= cutoff.pair_id
        past = (pl.col("_score") > cutoff.value) | ((pl.col("_score") == cutoff.value) & at)
    scored = pairs.with_columns(_score=seen(pairs, [rule.signal])[0].cast(pl.Float64).fill_nan(None) + 0.0)
    result = split_by_reason(scored, {rule.name: past})
    dropped = result.dropped.with_columns(
        stage=pl.lit("rules"),
        score=pl.col("_score"),
        threshold=pl.lit(cutoff.value, pl.Float64),
        detail=pl.lit(f"rank cut: {cutoff.dropped} of {cutoff.ranked} dropped"),
        witness_pair_id=pl.lit(None, pl.String),
    )
    return StageResult(kept=result.kept.drop("_score"), dropped=dropped.select(*pairs.columns, *_DROP_COLUMNS))


def _compile(config: RuleConfig) -> Rule:
    if config.drop_if is not None:
        return _drop_if(config.name, config.drop_if)
    if config.balance is not None:
        first = config.balance.drop_first
        columns = (config.balance.signal, *([] if first is None else [first]))
        for column in columns:
            _require_number(config.name, column, "balance")
        return Rule(name=config.name, kind="balance", columns=columns)
    kind: Literal["drop_top_share", "keep_lowest_share"] = "drop_top_share" if config.drop_top_share else "keep_lowest_share"
    share = config.drop_top_share or config.keep_lowest_share
    if share is None:
        raise ConfigError(f"rule {config.name!r}: expected one of drop_if, drop_top_share, keep_lowest_share, balance.")
    _require_number(config.name, share.signal, kind)
    return Rule(name=config.name, kind=kind, columns=(share.signal,), share=Decimal(repr(share.share)))


def _require_number(name: str, column: str, kind: str) -> None:
    require_known(name, column)
    if not COLUMNS[column].is_numeric():
        raise ConfigError(f"rule {name!r}: {kind} ranks by {column!r}, which is no number; use drop_if for flags and text.")


def _drop_if(name: str, sql: str) -> Rule:
    tokens = tokens_of(name, sql)
    columns = tuple(dict.fromkeys(value for kind, value in tokens if kind == "column"))
    if not columns:
        raise ConfigError(f"rule {name!r}: drop_if {sql!r} uses no column, so it would treat all pairs alike.")
    try:
        # A row of values and a row of nulls: a condition must give true, false or null for each row by itself.
        sample = pl.DataFrame({c: [1, None] for c in columns}).cast({c: COLUMNS[c] for c in columns}, strict=False)
        result = sample.select(pl.sql_expr(sql).alias("result")).to_series()
    except PolarsError as error:
        raise ConfigError(f"rule {name!r}: drop_if {sql!r} is not a valid condition: {str(error).splitlines()[0]}.") from None
    if result.dtype != pl.Boolean or len(result) != 2:
        raise ConfigError(f"rule {name!r}: drop_if {sql!r} gives {result.dtype}; expected true or false, as in `{columns[0]} < 0.5`.")
    score, threshold = plain_comparison(tokens)
    return Rule(name=name, kind="drop_if", columns=columns, sql=sql, score=score, threshold=threshold)


def _require_computed(by: str, column: str, off: Mapping[str, str]) -> None:
    if column in off:
        raise ConfigError(f"{by}: {column!r} is not computed; it needs `{off[column]}`. Set that, or leave the rule out.")


def _detail(rule: Rule) -> pl.Expr:
    return pl.concat_str(
        [pl.format("{}={}", pl.lit(column), pl.col(column).cast(pl.String).fill_null("null")) for column in rule.columns], separator=", "
    )
