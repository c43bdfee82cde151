"""`prefine mine`: rules and criteria that the preferences of a published version follow, found by asking a language model.

Nothing here decides about data: that is `pipeline.rationale.mined` and `pipeline.judging.criteria`. Pairs are chosen by their ids, and only
those are read. They are of `train`, so that `validation` stays unseen; ties prefer nothing and are left out.

It may work beside a run of the same data set: answers and journals of both are kept apart by locks. What it asks counts towards the
data set's budget, but two that work at once each know only what was spent before they began.
"""

import difflib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import yaml

from flows import asking
from pipeline import queries, storage
from pipeline.config import EndpointConfig, PipelineConfig
from pipeline.errors import ConfigError, PrefineError
from pipeline.identity import content_hash
from pipeline.judging import criteria_found
from pipeline.judging.criteria import CriteriaSettings, mine_criteria
from pipeline.llm.tables import REQUESTS, Form
from pipeline.prompts.replies import Ask
from pipeline.rationale import mined
from pipeline.rationale.mined import RuleSettings, mine_rules

if TYPE_CHECKING:  # the extra `llm` is needed only where an endpoint is
    from pipeline.llm.client import LanguageModel

_TEXTS: Final = ("pair_id", "prompt_id", "context", "prompt", "chosen", "rejected", "chosen_id", "rejected_id")
_WRITTEN: Final = ("rationale_id", "pair_id", "prompt_id", "kind", "accepted")
_CHANCE: Final = 0.5
_BATCH_ROWS: Final = 1024  # of texts in memory at once


@dataclass(frozen=True)
class Report:
    """What was found.

    Attributes:
        document: the same for tools: about (dataset, version, endpoint, model, requests, cost, unanswered), and all tables of
            `mined.Mined` or `criteria_found.Criteria`.
        text: for people.
        incomplete: which cap of the budget left questions without an answer; None: none did.
    """

    document: dict[str, Any]
    text: str
    incomplete: str | None


@dataclass(frozen=True)
class _Found:
    text: str
    document: dict[str, Any]


@dataclass
class _Asking:
    """Puts questions to a model, until the budget leaves one out: what follows from a part of the answers would be paid for in vain."""

    model: "LanguageModel"
    done: Callable[[int], None]
    sent: int = 0
    cost: float = 0.0
    unanswered: Counter[str] = field(default_factory=Counter)  # questions by reason

    def __call__(self, form: Form, requests: pl.DataFrame) -> pl.DataFrame:
        """The answers that there are."""
        if not self.unanswered["budget"]:
            asked = self.model.ask(form, requests.select(REQUESTS.names()), self.done)
            self.sent, self.cost = self.sent + asked.sent, self.cost + asked.cost
            self.unanswered.update(asked.failures.get_column("reason").to_list())
        return self.model.answers(form, requests)


def mine(
    what: str, config: PipelineConfig, base: Path, dataset_root: str, version: str | None, name: str, done: Callable[[int], None]
) -> Report:
    """Find rules or criteria.

    Args:
        what: rules or criteria.
        config: of the dataset; its store gets the answers, its budget caps what they cost.
        base: where the config's relative paths start.
        dataset_root: the dataset's folder or URL.
        version: e.g. v000001; the current one when None.
        name: of the endpoint that is asked.
        done: gets the number of questions settled since its last call.

    Raises:
        ConfigError: `what` is neither, or the endpoint is not there or cannot be used.
        EndpointError: its server cannot be used; what it has answered is kept.
        NotFoundError: no such version.
        PrefineError: the version has nothing to mine from.
    """
    if what not in _MINERS:
        raise ConfigError(f"mine {what}: expected {' or '.join(_MINERS)}.")
    endpoint = _endpoint(config, name)
    version_ = queries.open_version(dataset_root, version)
    work = _MINERS[what](version_, endpoint)
    dataset = dataset_root.rsplit("/", 1)[-1]
    opened = asking.open_session(config, storage.join(storage.resolve(config.workspace, base), "store"), dataset, [name])
    try:
        ask = _Asking(opened.models[name], done)
        found = work(ask)
    finally:
        opened.close()
    incomplete = opened.budget.told() if ask.unanswered["budget"] else None
    unanswered = {reason: count for reason, count in sorted(ask.unanswered.items()) if count}
    about: dict[str, Any] = {"dataset": dataset, "version": version_.version, "endpoint": name, "model": endpoint.model}
    about |= {"requests": ask.sent, "cost": ask.cost, "unanswered": unanswered}
    lines = [f"{dataset} {version_.version}, {what} by {endpoint.model}", "", found.text, ""]
    lines += [f"{count:,} questions have no answer: {reason}." for reason, count in unanswered.items()]
    lines += [f"Requests now: {ask.sent:,}; cost {ask.cost:,.4f}. What was answered before is not asked again."]
    text = "\n".join("".join(c if c.isprintable() else "?" for c in line) for told in lines for line in told.splitlines() or [""])
    return Report({"about": about} | found.document, text, incomplete)


def written(report: Report, form: str) -> str:
    """A report as it is printed: `text` or `json`."""
    return (json.dumps(report.document, ensure_ascii=False, indent=2) if form == "json" else report.text) + "\n"


def _endpoint(config: PipelineConfig, name: str) -> EndpointConfig:
    known = [one.name for one in config.endpoints]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"`endpoints:` has {', '.join(known) or 'none'}."
        raise ConfigError(f"--endpoint {name}: there is none of that name; {hint}")
    endpoint = config.endpoint(name)
    if config.budget.max_cost is not None and not (endpoint.price.input or endpoint.price.output):
        raise ConfigError(f"budget.max_cost needs the price of endpoint {name!r}; say `price: {{input: ..., output: ...}}`.")
    return endpoint


def _rules(version: queries.Catalogue, endpoint: EndpointConfig) -> Callable[[Ask], _Found]:
    settings = RuleSettings(context_tokens=endpoint.context_tokens)
    pairs = _decided(version, ["prompt_id"])
    told = pc.field("accepted") & pc.field("text").is_valid()
    ids = _read(version.tables["rationales"], _WRITTEN, told).join(pairs, on="pair_id", how="semi")
    sample = mined.sample_rationales(ids.with_columns(text=pl.lit("")), settings)
    if sample.is_empty():
        raise PrefineError(
            f"{version.version}: no pair of `train` has an accepted rationale in words. Set `rationales.endpoint` and run again, or bring "
            "reasons that annotators wrote."
        )
    tried, _ = mined.sample_pairs(pairs, sample, settings)
    texts = _rows(version.tables["train"], _TEXTS, "pair_id", tried)
    rationales = _rows(version.tables["rationales"], (*_WRITTEN, "text"), "rationale_id", sample)

    def work(ask: Ask) -> _Found:
        found = mine_rules(texts, rationales, ask, settings)
        tables = {name: getattr(found, name).to_dicts() for name in ("rules", "scores", "failed")}
        return _Found(mined.text(found), tables | {"seen": found.seen, "left_out": found.left_out})

    return work


def _criteria(version: queries.Catalogue, endpoint: EndpointConfig) -> Callable[[Ask], _Found]:
    settings = CriteriaSettings(context_tokens=endpoint.context_tokens)
    ids = _decided(version, ["prompt_id", "prompt_cluster_id", "p_chosen", "n_votes"])
    if ids.is_empty():
        raise PrefineError(f"{version.version}: `train` has no pair with a preference.")
    texts = _rows(version.tables["train"], _TEXTS, "pair_id", surest(ids, settings.pairs + settings.held_out))

    def work(ask: Ask) -> _Found:
        found = mine_criteria(texts, ask, settings)
        lines = judge_lines(found.criteria, endpoint.name)
        below = f"\n\nTo judge by these, below `judges:` of the config:\n{lines}" if lines else ""
        tables = {name: getattr(found, name).to_dicts() for name in ("criteria", "verdicts", "majority", "failed")}
        return _Found(criteria_found.text(found) + below, tables | {"judges": lines})

    return work


_MINERS: Final = {"rules": _rules, "criteria": _criteria}


def surest(pairs: pl.DataFrame, most: int) -> pl.DataFrame:
    """The pairs whose labels are surest.

    That is: the highest p_chosen, to two digits, since its noise is larger than what follows; of equals those with most votes; then by a
    hash of pair_id. One a cluster of near-duplicate prompts, so that what criteria are tried on is not what they come from.

    Args:
        pairs: pair_id, prompt_cluster_id, p_chosen, n_votes.
        most: that many at most.
    """
    hashed = pairs.with_columns(_sure=pl.col("p_chosen").round(2), _place=content_hash(pairs.get_column("pair_id"), "surest"))
    ranked = hashed.sort("_sure", "n_votes", "_place", descending=[True, True, False])
    return ranked.unique("prompt_cluster_id", keep="first", maintain_order=True).head(most).select(pairs.columns)


def judge_lines(criteria: pl.DataFrame, endpoint: str) -> str:
    """YAML of a judge that goes by criteria, best first: those that are right more often than chance, on other pairs where known."""
    right = pl.coalesce("held_out_accuracy", "accuracy") > _CHANCE
    texts = criteria.filter(right).select(pl.format("{}: {}", "name", "description")).to_series().to_list()
    judge = [{"name": "criteria", "endpoint": endpoint, "criteria": texts}]
    told = yaml.safe_dump(judge, sort_keys=False, allow_unicode=True, width=10**6) if texts else ""
    return "".join(f"  {line}\n" for line in told.splitlines())


def _decided(version: queries.Catalogue, columns: list[str]) -> pl.DataFrame:
    return _read(version.tables["train"], ("pair_id", *columns), ~pc.field("tie"))


def _rows(table: queries.Table, columns: tuple[str, ...], key: str, wanted: pl.DataFrame) -> pl.DataFrame:
    # Ids are only ever values in a filter expression.
    return _read(table, columns, pc.field(key).isin(pa.array(wanted.get_column(key).to_list(), pa.string())))


def _read(table: queries.Table, columns: tuple[str, ...], matches: pc.Expression) -> pl.DataFrame:
    source = table if isinstance(table, ds.Dataset) else ds.dataset(table)
    scan = source.scanner(columns=list(columns), filter=matches, batch_size=_BATCH_ROWS, batch_readahead=2, fragment_readahead=1)
    return pl.DataFrame(pl.from_arrow(scan.to_table()))
