"""Questions to language models: counted first, admitted by the budget, then asked; what the store has is never asked again.

A purpose (judges, rationales) is a chain of questions about a partition's pairs, later ones made from earlier answers. The same chain
runs three times with another `Ask`: to count what it lacks, to ask it for the pairs that the budget admits, and to read the answers.
Nothing here decides about data.
"""

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import polars as pl

from flows import steps
from flows.steps import Run
from pipeline import storage
from pipeline.config import PipelineConfig
from pipeline.llm.tables import FAILURES, REQUESTS, Form, admission
from pipeline.store import Store

if TYPE_CHECKING:  # the extra `llm` is needed only where an endpoint is
    from pipeline.llm.budget import Budget
    from pipeline.llm.client import LanguageModel

DEMAND = pl.Schema(
    {
        "endpoint": pl.String,
        "pair_id": pl.String,
        "requests": pl.Int64,
        "tokens": pl.Int64,  # at most
        "output": pl.Int64,  # of these: answers, at most
        "cost": pl.Float64,  # at most
        "bytes": pl.Int64,  # of the questions
    }
)
_NOT_ASKED = "budget"


@dataclass(frozen=True)
class Answered:
    """What a question brought: ANSWERS of those that have one, FAILURES of the others."""

    answers: pl.DataFrame
    failures: pl.DataFrame


class Ask(Protocol):
    """How a chain asks: REQUESTS in, what came back out."""

    def __call__(self, endpoint: str, form: Form, requests: pl.DataFrame, later: Sequence[tuple[str, Form]] = ()) -> Answered:
        """Ask an endpoint; `later`: the questions (endpoint, form) that each answer leads to, as far as they add to the cost."""
        ...


Chain = Callable[[Run, int, Ask], Any]


@dataclass
class Session:
    """The language models of one run, and the budget they share."""

    models: "dict[str, LanguageModel]"
    budget: "Budget"
    sent: dict[str, int] = field(default_factory=dict)  # requests in this run, by purpose

    def close(self) -> None:
        """Close every connection."""
        for model in self.models.values():
            model.close()


_sessions: dict[str, Session] = {}
_lock = threading.Lock()


def session(run: Run) -> Session:
    """The run's own, opened when first asked for.

    Raises:
        ConfigError: an endpoint cannot be used.
    """
    with _lock:
        if run.scratch not in _sessions:
            _sessions[run.scratch] = open_session(run.config, run.store, run.dataset, used(run.config))
        return _sessions[run.scratch]


def open_session(config: PipelineConfig, store: str, dataset: str, endpoints: Sequence[str]) -> Session:
    """Models for some of the config's endpoints, and the budget, less what the data set's questions have cost so far.

    Raises:
        ConfigError: an endpoint cannot be used.
    """
    from pipeline.llm.budget import Budget
    from pipeline.llm.client import LanguageModel
    from pipeline.llm.journal import spent_so_far

    budget = Budget(config.budget)
    models = {name: LanguageModel(config.endpoint(name), Store(store), dataset, budget) for name in endpoints}
    before = spent_so_far(Store(store), dataset)
    budget.spent(before.requests, before.tokens, before.cost)
    return Session(models, budget)


def used(config: PipelineConfig) -> list[str]:
    """The endpoints that judges and rationales ask, sorted."""
    named = [name for judge in config.judges for name in (judge.endpoint, judge.meta)]
    named += [config.rationales.endpoint, config.rationales.verifier or config.rationales.endpoint]
    return sorted({name for name in named if name is not None})


def _open(run: Run) -> Session | None:
    return session(run) if used(run.config) else None


def close(run: Run) -> None:
    """Close what `session` opened."""
    with _lock:
        opened = _sessions.pop(run.scratch, None)
    if opened is not None:
        opened.close()


def about(run: Run) -> list[dict[str, Any]]:
    """What the manifest says of the endpoints."""
    opened = _open(run)
    return [] if opened is None else [model.about() for _, model in sorted(opened.models.items())]


def sent(run: Run) -> int:
    """How many requests went out in this run."""
    opened = _open(run)
    return 0 if opened is None else sum(opened.sent.values())


def room(run: Run) -> dict[str, float]:
    """What the budget has left, by what it caps; infinite where it caps nothing."""
    opened = _open(run)
    return {} if opened is None else opened.budget.room()


def count(run: Run, partition: int, purpose: str, chain: Chain) -> int:
    """Write what a chain lacks in a partition: DEMAND, the most it can cost. Returns how many questions."""
    parts: list[pl.DataFrame] = [DEMAND.to_frame()]

    def ask(endpoint: str, form: Form, requests: pl.DataFrame, later: Sequence[tuple[str, Form]] = ()) -> Answered:
        models = session(run).models
        missing = models[endpoint].missing(form, requests)
        for name, asked, more in ((endpoint, form, 0), *((*one, form.max_output_tokens) for one in later)):
            parts.append(_demand(models[name], name, asked, missing, more))
        return Answered(models[endpoint].answers(form, requests), _unanswered(missing))

    chain(run, partition, ask)
    demand = pl.concat(parts)
    storage.write_table(demand, run.place(f"demand-{purpose}", partition))
    return int(demand.get_column("requests").sum())


def _demand(model: "LanguageModel", endpoint: str, form: Form, requests: pl.DataFrame, more: int) -> pl.DataFrame:
    """DEMAND of questions, each with `more` tokens of an earlier answer in it."""
    content = pl.element().struct.field("content").str.len_bytes()
    told = model.worst_case(form, requests).with_columns(endpoint=pl.lit(endpoint), output=pl.lit(form.max_output_tokens, pl.Int64))
    size = requests.group_by("pair_id").agg(bytes=pl.col("messages").list.eval(content).list.sum().sum().cast(pl.Int64))
    added = pl.col("requests") * more
    return (
        told.group_by("pair_id", "endpoint")
        .agg(pl.col("requests", "tokens", "cost").sum(), output=(pl.col("requests") * pl.col("output")).sum())
        .join(size, on="pair_id")
        .with_columns(
            tokens=pl.col("tokens") + added,
            cost=pl.col("cost") + added * model.endpoint.price.input / 1e6,
            bytes=pl.col("bytes") + added * 4,
        )
        .select(DEMAND.names())
        .cast(DEMAND)  # type: ignore[arg-type, unused-ignore]
    )


def admit(run: Run, purpose: str, partitions: list[int]) -> int:
    """Choose the pairs that the budget lets be asked about now, whatever their answers cost; how many questions that is.

    They come in the order of a hash of pair_id over the whole data set, so that what a cap leaves out depends on content alone. Each
    pair is admitted once a run: one whose questions failed is not asked about again.
    """
    ordered = _ordered(run, purpose, partitions)
    room = session(run).budget.room()
    fits = [pl.col(name).cum_sum() <= limit for name, limit in room.items() if math.isfinite(limit)]
    admitted = ordered.filter(pl.all_horizontal(fits) if fits else pl.lit(True))
    tried = [_admitted(run, purpose), admitted.get_column("pair_id")]
    storage.write_table(pl.DataFrame({"pair_id": tried[1]}), run.whole(f"admitted-{purpose}"))
    storage.write_table(pl.DataFrame({"pair_id": pl.concat(tried)}), run.whole(f"tried-{purpose}"))
    return int(admitted.get_column("requests").sum())


def _ordered(run: Run, purpose: str, partitions: list[int]) -> pl.DataFrame:
    """The pairs that were not admitted yet, with the most their questions can cost, in the order of admission."""
    demand = pl.concat([DEMAND.to_frame(), *steps.read_each(run, f"demand-{purpose}", partitions)])
    pairs = demand.group_by("pair_id").agg(pl.col("requests", "tokens", "cost").sum())
    pairs = pairs.filter(~pl.col("pair_id").is_in(_admitted(run, purpose).implode()))
    return pairs.with_columns(_order=admission(pairs.get_column("pair_id"))).sort("_order", "pair_id")


def _admitted(run: Run, purpose: str, which: str = "tried") -> pl.Series:
    place = run.whole(f"{which}-{purpose}")
    return storage.read_table(place).to_series() if storage.exists(place) else pl.Series("pair_id", dtype=pl.String)


def admitted_now(run: Run, purpose: str) -> int:
    """How many pairs `admit` chose last."""
    return len(_admitted(run, purpose, "admitted"))


def admitted_in(run: Run, purpose: str, partitions: list[int]) -> list[int]:
    """The partitions with pairs that `admit` chose last: the last rounds of a budget are about few of them."""
    now = _admitted(run, purpose, "admitted").implode()
    each = zip(partitions, steps.read_each(run, f"demand-{purpose}", partitions), strict=True)
    return [partition for partition, demand in each if demand.get_column("pair_id").is_in(now).any()]


def left_out(run: Run, purpose: str, partitions: list[int]) -> list[str]:
    """What the budget left out, in words; nothing where it left out nothing."""
    pairs, failed = _ordered(run, purpose, partitions).height, 0
    for partition in partitions:
        known = steps.read_parts(run, f"failed-{purpose}", partition)
        failed += 0 if known is None else known.filter(pl.col("reason") == _NOT_ASKED).get_column("pair_id").n_unique()
    if not pairs + failed:
        return []
    return [f"{purpose}: {pairs + failed:,} pairs were not asked about, for want of budget ({session(run).budget.told()})"]


def ask(run: Run, partition: int, purpose: str, chain: Chain, number: int, done: Callable[[int], None]) -> None:
    """Run a chain for the admitted pairs of a partition; why questions have no answer is kept for `reading`."""
    failed: list[pl.DataFrame] = [FAILURES.to_frame()]
    admitted = _admitted(run, purpose, "admitted")

    def ask_now(endpoint: str, form: Form, requests: pl.DataFrame, later: Sequence[tuple[str, Form]] = ()) -> Answered:
        opened = session(run)
        mine = requests.filter(pl.col("pair_id").is_in(admitted.implode()))
        asked = opened.models[endpoint].ask(form, mine.select(REQUESTS.names()), done)
        failed.append(asked.failures.select(FAILURES.names()))
        with _lock:
            opened.sent[purpose] = opened.sent.get(purpose, 0) + asked.sent
        return Answered(opened.models[endpoint].answers(form, mine), asked.failures)

    chain(run, partition, ask_now)
    place = storage.join(run.scratch, f"failed-{purpose}", f"{partition:03d}", f"{number:03d}{storage.SCRATCH}")
    storage.write_table(pl.concat(failed), place)


def reading(run: Run, partition: int, purpose: str) -> Ask:
    """What reads a partition's answers; a question without one has the reason why, or was not admitted."""
    known = steps.read_parts(run, f"failed-{purpose}", partition)

    def read(endpoint: str, form: Form, requests: pl.DataFrame, later: Sequence[tuple[str, Form]] = ()) -> Answered:
        model = session(run).models[endpoint]
        missing = _unanswered(model.missing(form, requests))
        if known is not None:
            why = known.unique("key", keep="last", maintain_order=True).select("key", _why="reason", _more="detail")
            missing = missing.join(why, on="key", how="left", maintain_order="left").with_columns(
                reason=pl.coalesce("_why", "reason"), detail=pl.coalesce("_more", "detail")
            )
        return Answered(model.answers(form, requests), missing.select(FAILURES.names()))

    return read


def _unanswered(requests: pl.DataFrame) -> pl.DataFrame:
    told = requests.select("key", "pair_id", reason=pl.lit(_NOT_ASKED), detail=pl.lit(None, pl.String))
    return told.select(FAILURES.names()).cast(FAILURES)  # type: ignore[arg-type, unused-ignore]
