"""Which rules a pair met, in their order, and what they made of it: the run's own code on the values that the version holds."""

from collections.abc import Callable
from typing import Any

import polars as pl
import pyarrow as pa

from pipeline import rules
from pipeline.errors import PrefineError
from pipeline.rules import Rule
from pipeline.schemas import PAIR
from pipeline.stories.told import Trial

BEFORE = {"deduplicate", "decontaminate"}  # stages that pairs leave at without having met a rule; selection comes after them


def tried(pairs: list[dict[str, Any]], stated: list[Any], cut_of: Callable[[str], float | None]) -> dict[str, list[Trial]]:
    """Every rule of a version on some of its pairs.

    Args:
        pairs: PAIR or DROPPED rows plus `fate`.
        stated: the manifest's rules: name, kind, columns, sql, share. Rules that the run refused are not among them.
        cut_of: where a rule that compares all pairs cut: the threshold its dropped pairs have; None where it dropped none.

    Returns:
        By pair id, a trial for each rule, in the order of the run. None for pairs that left before any rule.
    """
    ruleset = sorted((_rule(one) for one in stated if isinstance(one, dict)), key=lambda rule: rule.on_rationales)
    met = [row for row in pairs if row["fate"] == "published" or row["stage"] not in BEFORE]
    if not ruleset or not met:
        return {}
    frame = pl.DataFrame(pl.from_arrow(pa.Table.from_pylist([{name: row[name] for name in PAIR.names} for row in met], schema=PAIR)))
    trials: dict[str, list[Trial]] = {row["pair_id"]: [] for row in met}
    dropped_by = {row["pair_id"]: row["reason"] for row in met if row["fate"] == "dropped"}
    left = set[str]()
    for rule in ruleset:
        applies, problem = _applies(frame, rule, dropped_by)
        cut = cut_of(rule.name) if rule.is_global else None
        for row, holds in zip(met, applies, strict=True):
            pair_id = row["pair_id"]
            outcome = "cannot be told" if problem else "applies" if holds else "does not apply"
            values = {name: row[name] for name in rule.columns if name in row}
            detail = problem or (None if cut is None else f"cut at {cut:.4g}")
            if pair_id in left:
                outcome, values, detail = "not tried", {}, None
            trials[pair_id].append(Trial(rule.name, _condition(rule), outcome, values, detail))
            if dropped_by.get(pair_id) == rule.name:
                left.add(pair_id)
    return trials


def _rule(stated: dict[str, Any]) -> Rule:
    columns = tuple(str(name) for name in stated.get("columns", ()))
    return Rule(name=str(stated.get("name")), kind=stated.get("kind", "drop_if"), columns=columns, sql=str(stated.get("sql") or ""))


def _applies(pairs: pl.DataFrame, rule: Rule, dropped_by: dict[str, str]) -> tuple[list[bool], str | None]:
    """Whether a rule drops each pair, and why that cannot be told."""
    if rule.is_global:  # it looked at all pairs of then: what it did is what stands there
        return [dropped_by.get(pair_id) == rule.name for pair_id in pairs["pair_id"]], None
    try:
        # The manifest's SQL goes through the same gate as a config's: columns, numbers and a few words only.
        return rules.holds(pairs, rule.name, rule.sql).to_list(), None
    except PrefineError as error:
        return [False] * pairs.height, str(error)


def _condition(rule: Rule) -> str:
    words = {"drop_top_share": "the highest share by", "keep_lowest_share": "all but the lowest share by", "balance": "until balanced:"}
    return rule.sql if rule.kind == "drop_if" else f"{words.get(rule.kind, rule.kind)} {', '.join(rule.columns)}"
