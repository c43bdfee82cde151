"""EDGE: asks language models behind OpenAI-compatible servers, and keeps what they answer."""

import asyncio
import concurrent.futures
import hashlib
import json
import os
import re
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import polars as pl
import pyarrow as pa

from pipeline import storage
from pipeline.config import EndpointConfig
from pipeline.errors import ConfigError, EndpointError
from pipeline.llm import journal, wire
from pipeline.llm.budget import Budget
from pipeline.llm.tables import ANSWERS, FAILURES, Form, admission
from pipeline.llm.usage import Spent, cost_of, input_bound
from pipeline.store import Store

if TYPE_CHECKING:
    from pipeline.llm.batch import BatchClient, Batched
    from pipeline.llm.sending import Question, Sender, Turn

_T = TypeVar("_T")
_TELL_SECONDS: Final = 0.25  # how often progress is told
_END_SECONDS: Final = 10.0  # for requests under way to be let go


@dataclass(frozen=True)
class Asked:
    """What an ask came to.

    Attributes:
        answered: questions that have an answer now and had none before.
        failures: schema FAILURES: those of this ask that have none.
        sent: requests, failed ones included.
        cost: of all of them, in the money of the price.
    """

    answered: int
    failures: pl.DataFrame
    sent: int
    cost: float


class LanguageModel:
    """One model behind one server. Several threads may ask at once; they share its connections and limits."""

    def __init__(self, endpoint: EndpointConfig, store: Store, dataset: str, budget: Budget) -> None:
        """Check what can be checked without asking, and take over the answers of killed runs.

        Args:
            endpoint: whom to ask.
            store: of answers.
            dataset: names the journal.
            budget: shared by all endpoints of a run.

        Raises:
            ConfigError: the key's environment variable is not set, or packages are missing.
        """
        self.endpoint, self._store, self._dataset, self._budget = endpoint, store, dataset, budget
        self._key = key_of(endpoint)
        needs_packages(endpoint)
        self._dialect, self._servers = wire.Dialect(endpoint), set[str]()
        self._lock = threading.Lock()
        self._running: tuple[asyncio.AbstractEventLoop, threading.Thread, Sender] | None = None
        self._batch_client: BatchClient | None = None
        self._fingerprints: set[str] = set()
        journal.fold_left_over(store, dataset)

    def fingerprint(self, form: Form) -> str:
        """What answers depend on besides the question, as a plain name: model, form and parameters; neither server nor key."""
        parts = [
            self.endpoint.model,
            dict(form.schema),
            form.max_output_tokens,
            form.temperature,
            self.endpoint.structured,
            self.endpoint.extra,
        ]
        digest = hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=8).hexdigest()
        model = re.sub(r"[^A-Za-z0-9._-]+", "-", self.endpoint.model).strip("-.")[-60:].strip("-.")
        return f"{model or 'model'}-{form.name}-{form.version}-{digest}"

    def answers(self, form: Form, requests: pl.DataFrame) -> pl.DataFrame:
        """Those of REQUESTS that are answered: ANSWERS, sorted by bucket and key, one row a key."""
        return _frame(self._stored(journal.ANSWERS_KIND, form, requests, ANSWERS, keys=requests.get_column("key")))

    def missing(self, form: Form, requests: pl.DataFrame) -> pl.DataFrame:
        """The rows of REQUESTS without an answer, in their order."""
        if requests.is_empty():
            return requests
        first, last = _buckets(requests)
        # The values are read along, so that damaged ones are missing now and not when they are needed.
        known = _frame(self._store.keys(journal.ANSWERS_KIND, self.fingerprint(form), first, last))
        return requests.join(known, on=["bucket", "key"], how="anti", maintain_order="left")

    def worst_case(self, form: Form, requests: pl.DataFrame) -> pl.DataFrame:
        """The most that asking REQUESTS once can take, by pair: pair_id, requests, tokens, cost; sorted by pair_id."""
        rows = self._with_bounds(form, requests)
        return (
            rows.group_by("pair_id")
            .agg(requests=pl.len().cast(pl.Int64), tokens=pl.col("_tokens").sum(), cost=pl.col("_cost").sum())
            .sort("pair_id")
        )

    def spent_before(self, form: Form, requests: pl.DataFrame) -> Spent:
        """What the answers that the store has to REQUESTS did cost, failed requests for any of them included."""
        columns = ["input_tokens", "output_tokens", "attempts", "cost"]
        answers = _frame(self._stored(journal.ANSWERS_KIND, form, requests, ANSWERS, columns, requests.get_column("key")))
        tokens = pl.col("input_tokens") + pl.col("output_tokens")
        paid = answers.select(requests="attempts", tokens=tokens, cost="cost")
        failed = _frame(self._stored(journal.ATTEMPTS_KIND, form, requests, journal.ATTEMPTS))
        failed = failed.filter(pl.col("of").is_in(requests.get_column("key").implode())).select(paid.columns)
        requests_sent, all_tokens, cost = pl.concat([paid, failed]).sum().row(0)
        return Spent(requests_sent, all_tokens, cost)

    def ask(self, form: Form, requests: pl.DataFrame, done: Callable[[int], None]) -> Asked:
        """Ask those of REQUESTS that have no answer, in the order of a hash of their pairs; returns when all is said.

        What is answered is on disk before it counts, so that whatever happens no answer is paid for twice.

        Args:
            form: how.
            requests: schema REQUESTS.
            done: told how many more questions are settled, from the calling thread.

        Raises:
            EndpointError: nothing can be answered any more: wrong URL, key or model, no TLS, or the server is down. What was answered
                until then is kept.
        """
        from pipeline.llm.sending import Turn

        missing = self.missing(form, requests)
        if missing.is_empty():
            return Asked(0, FAILURES.to_frame(), 0, 0.0)
        fingerprint = self.fingerprint(form)
        self._fingerprints.add(fingerprint)
        turn: Turn | Batched
        if self.endpoint.batch:
            turn = self._batches().ask(form, fingerprint, lambda: self._questions(form, self.missing(form, missing)), done)
        else:
            loop, sender = self._started()
            with journal.open_journal(self._store, self._dataset, fingerprint) as written:
                turn = here = Turn(form, written)
                _wait_for(sender.ask(here, self._questions(form, missing)), loop, lambda: here.answered + len(here.failures), done)
        if turn.ended is not None:
            where = storage.without_credentials(self.endpoint.base_url).partition("?")[0]
            raise EndpointError(
                f"endpoint {self.endpoint.name} ({where}, model {self.endpoint.model}): {turn.ended.detail}. {turn.ended.todo} "
                f"{turn.answered} answers of this step are kept."
            )
        return Asked(turn.answered, self._failures(form, missing, turn), turn.sent, turn.cost)

    def close(self) -> None:
        """Close connections, and join small files of the store."""
        with self._lock:
            running, self._running = self._running, None
            batches, self._batch_client = self._batch_client, None
        if batches is not None:
            batches.close()
        if running is not None:
            loop, thread, sender = running
            asyncio.run_coroutine_threadsafe(sender.close(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()
        for fingerprint in sorted(self._fingerprints):
            for kind in (journal.ANSWERS_KIND, journal.ATTEMPTS_KIND):
                self._store.compact(kind, fingerprint)
        self._fingerprints.clear()

    def about(self) -> dict[str, Any]:
        """What a manifest says of it: never the key."""
        return {
            "name": self.endpoint.name,
            "model": self.endpoint.model,
            "base_url": str(storage.without_credentials(self.endpoint.base_url)).partition("?")[0],
            "structured": self._dialect.structured,
            "server_says": sorted(self._servers),
        }

    def _started(self) -> "tuple[asyncio.AbstractEventLoop, Sender]":
        """The event loop, in a thread of its own, and what sends from it."""
        from pipeline.llm.sending import Sender

        with self._lock:
            if self._running is None:
                loop = asyncio.new_event_loop()
                thread = threading.Thread(target=loop.run_forever, name=f"prefine-{self.endpoint.name}", daemon=True)
                thread.start()

                async def make() -> Sender:  # within the loop that it belongs to
                    return Sender(self.endpoint, self._key, self._budget, self._dialect, self._servers)

                self._running = running = loop, thread, asyncio.run_coroutine_threadsafe(make(), loop).result()
            else:
                running = self._running
            return running[0], running[2]

    def _batches(self) -> "BatchClient":
        from pipeline.llm.batch import BatchClient

        with self._lock:
            if self._batch_client is None:
                of = self.endpoint, self._key, self._store, self._dataset, self._budget
                self._batch_client = BatchClient(*of, self._dialect, self._servers)
            return self._batch_client

    def _questions(self, form: Form, missing: pl.DataFrame) -> "Iterator[Question]":
        """In the order of admission; equal questions once."""
        from pipeline.llm.sending import Question

        rows = self._with_bounds(form, missing.unique("key", keep="first", maintain_order=True))
        ordered = rows.with_columns(_order=admission(rows.get_column("pair_id"))).sort("_order", "key")
        for bucket, key, messages, most, tokens, cost in ordered.select(
            "bucket", "key", "messages", "_input", "_tokens", "_cost"
        ).iter_rows():
            yield Question(bucket, key, messages, most, Spent(1, tokens, cost))

    def _with_bounds(self, form: Form, requests: pl.DataFrame) -> pl.DataFrame:
        """REQUESTS with `_input`, `_tokens` and `_cost`: the most of one request each."""
        most = requests.with_columns(_input=input_bound(form, self.endpoint))
        per_input, answer = cost_of(self.endpoint, 1_000_000, 0) / 1e6, cost_of(self.endpoint, 0, form.max_output_tokens)
        return most.with_columns(_tokens=pl.col("_input") + form.max_output_tokens, _cost=pl.col("_input") * per_input + answer)

    def _failures(self, form: Form, missing: pl.DataFrame, turn: "Turn | Batched") -> pl.DataFrame:
        """FAILURES of what is missing still; what was not even begun is left out by the budget."""
        told = [(key, *why) for key, why in turn.failures.items()]
        reasons = pl.DataFrame(told, schema={"key": pl.String, "reason": pl.String, "detail": pl.String}, orient="row")
        left = self.missing(form, missing).join(reasons, on="key", how="left", maintain_order="left")
        not_begun = pl.col("reason").is_null()
        return left.select(
            "key",
            "pair_id",
            pl.col("reason").fill_null("budget"),
            pl.when(not_begun).then(pl.lit(self._budget.exhausted, pl.String)).otherwise("detail").alias("detail"),
        )

    def _stored(
        self,
        kind: str,
        form: Form,
        requests: pl.DataFrame,
        schema: pa.Schema,
        columns: list[str] | None = None,
        keys: pl.Series | None = None,
    ) -> pa.Table:
        if requests.is_empty():
            return schema.empty_table()
        first, last = _buckets(requests)
        return self._store.read(kind, self.fingerprint(form), first, last, schema, columns, keys)


def _wait_for(
    work: Coroutine[Any, Any, _T], loop: asyncio.AbstractEventLoop, progress: Callable[[], int], done: Callable[[int], None]
) -> _T:
    """Run on another thread's loop, and tell progress from this one. An interrupt ends the work before it is passed on."""
    ended = threading.Event()

    async def run() -> _T:
        try:
            return await work
        finally:
            ended.set()

    future, told = asyncio.run_coroutine_threadsafe(run(), loop), 0
    try:
        while not future.done():
            concurrent.futures.wait([future], _TELL_SECONDS)
            if (now := progress()) > told:
                done(now - told)
                told = now
        return future.result()
    except BaseException:
        future.cancel()
        ended.wait(_END_SECONDS)  # it writes to a journal that is closed next
        raise


def key_of(endpoint: EndpointConfig) -> str | None:
    """The key that its environment variable holds; None where it needs none.

    Raises:
        ConfigError: the variable is not set, or holds no key.
    """
    if endpoint.key_env is None:
        return None
    key = os.environ.get(endpoint.key_env, "").strip()
    if not key:
        raise ConfigError(
            f"endpoint {endpoint.name}: the environment variable {endpoint.key_env} (key_env) is not set; it must hold the key."
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError(f"endpoint {endpoint.name}: what the environment variable {endpoint.key_env} holds cannot be a key.")
    return key


def needs_packages(endpoint: EndpointConfig) -> None:
    """Check that what an endpoint needs is installed.

    Raises:
        ConfigError: it is not.
    """
    try:
        from pipeline.llm import sending  # noqa: F401 - what it needs is an optional extra
    except ModuleNotFoundError as error:
        raise ConfigError(f'endpoint {endpoint.name}: {error.name} is not installed. Do: pip install "prefine[llm]"') from error


def _buckets(requests: pl.DataFrame) -> tuple[int, int]:
    buckets = requests.get_column("bucket")
    return int(buckets.min()), int(buckets.max())  # type: ignore[arg-type]


def _frame(table: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame
