"""EDGE: questions in provider batch files (`/files`, `/batches`): written, handed in, waited for, collected, for `batch_price`.

A file holds what the provider takes at once and what the budget has room for; its worst case is reserved before it is handed in. A note
on disk knows the batch, so a run that was killed waits for the same one. Uploads and polls are no requests of the budget: the questions
in a file are. Answers that nobody asks for any more stay with the provider.
"""

import hashlib
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl
import pyarrow as pa

from pipeline import storage
from pipeline.config import EndpointConfig
from pipeline.llm import wire
from pipeline.llm.batch_api import BatchApi, Limits
from pipeline.llm.batch_files import CANCELLED, EXPIRED, FAILED, Handed, Notes, ends, line, unanswered
from pipeline.llm.budget import Budget
from pipeline.llm.failures import AttemptFailed
from pipeline.llm.journal import ANSWERS_KIND, ATTEMPTS, ATTEMPTS_KIND, note_spent
from pipeline.llm.sending import Question
from pipeline.llm.tables import ANSWERS, Form
from pipeline.llm.usage import Spent, cost_of, stated
from pipeline.schemas import conform
from pipeline.store import Store

_ROUNDS: Final = 3  # a round may take a day
_UNKNOWN: Final = -1  # version of the dialect that an earlier run spoke
_ROWS: Final = 5000  # of a segment of the store: bounds memory

_claims: dict[str, Any] = {}  # one lock a batch that this process has handed in or taken over
_claiming = threading.Lock()
log = logging.getLogger("prefine.llm")


@dataclass
class Batched:
    """What an ask came to; as `sending.Turn`."""

    answered: int = 0
    sent: int = 0
    cost: float = 0.0
    failures: dict[str, tuple[str, str]] = field(default_factory=dict)
    ended: AttemptFailed | None = None


class BatchClient:
    """One endpoint's batches. Several threads may ask at once; a batch is collected by one of them."""

    def __init__(
        self,
        endpoint: EndpointConfig,
        key: str | None,
        store: Store,
        dataset: str,
        budget: Budget,
        dialect: wire.Dialect,
        servers: set[str],
        limits: Limits | None = None,
    ) -> None:
        """Count what earlier runs have handed in and not collected, at its worst.

        Args:
            endpoint: where.
            key: its key; whatever the server sends back is stored without it.
            store: of answers and notes.
            dataset: names the notes.
            budget: of the whole run.
            dialect: learns what the server refuses.
            servers: gets the model names and fingerprints that the server states.
            limits: of the provider.
        """
        self._endpoint, self._key, self._store, self._budget = endpoint, key, store, budget
        self._dialect, self._servers, self._limits, self._notes = dialect, servers, limits or Limits(), Notes(store, dataset)
        self._api = BatchApi(endpoint, key, self._limits)
        self._server = f"{storage.without_credentials(endpoint.base_url)} {endpoint.model}"
        self._counted = {note.token: note.all_worst(endpoint) for note in self._left_over()}
        for worst in self._counted.values():
            budget.spent(worst.requests, worst.tokens, worst.cost)

    def ask(self, form: Form, fingerprint: str, questions: Callable[[], Iterable[Question]], done: Callable[[int], None]) -> Batched:
        """Ask what has no answer, in as many files and rounds as it takes; returns when all is said.

        Args:
            form: how.
            fingerprint: of the answers.
            questions: those that the store has no answer to now, in the order of admission.
            done: told how many more questions are settled.
        """
        result, tries = Batched(), Counter[str]()
        try:
            self._take_over(form, fingerprint, {question.key for question in questions()}, result, done)
            while result.ended is None and self._round(form, fingerprint, questions, tries, result, done):
                pass
        except AttemptFailed as failed:
            failed.todo = failed.todo or "Run again when the provider works: batches that were handed in are waited for, not paid again."
            result.ended = failed
        return result

    def _round(
        self,
        form: Form,
        fingerprint: str,
        questions: Callable[[], Iterable[Question]],
        tries: Counter[str],
        result: Batched,
        done: Callable[[int], None],
    ) -> int:
        """Hand in all that there is room for, then collect it. Returns the number of batches."""
        with ExitStack() as claims:
            version, under_way = self._dialect.version, list[Handed]()
            for asked, content in self._files(form, (one for one in questions() if one.key not in result.failures)):
                handed = Handed(fingerprint, self._server, form.max_output_tokens, [(one.bucket, one.key, one.most_input) for one in asked])
                claims.enter_context(_claim(handed.token))
                self._hand_in(handed, content)
                under_way.append(handed)
            for handed in under_way:
                self._finish(form, handed, version, tries, result, done)
            return len(under_way)

    def close(self) -> None:
        """Close all connections."""
        self._api.close()

    def _left_over(self) -> Iterator[Handed]:
        """What earlier runs have handed in and not collected. A note whose answers are all there was to be deleted next."""
        for note in self._notes.all():
            buckets = [bucket for bucket, _, _ in note.questions]
            if note.server == self._server:
                known = self._store.keys(ANSWERS_KIND, note.fingerprint, min(buckets), max(buckets))
                if {key for _, key, _ in note.questions} <= set(known.column("key").to_pylist()):
                    self._notes.drop(note.token)
                else:
                    yield note

    def _take_over(self, form: Form, fingerprint: str, wanted: set[str], result: Batched, done: Callable[[int], None]) -> None:
        """Collect what killed runs, or other threads, have handed in of these questions."""
        for note in self._notes.all():
            if note.server != self._server or note.fingerprint != fingerprint or wanted.isdisjoint(key for _, key, _ in note.questions):
                continue
            with _claim(note.token):
                known = self._notes.read(note.token)
                if known is None:  # another thread has collected it meanwhile
                    continue
                known.batch = known.batch or self._api.find(known.token)
                if known.batch is None:  # it was never made
                    self._settle(known, Spent())
                    self._notes.drop(known.token)
                    continue
                log.info("batch %s of an interrupted run is waited for", known.batch)
                self._finish(form, known, _UNKNOWN, Counter(), result, done)

    def _files(self, form: Form, questions: Iterable[Question]) -> Iterator[tuple[list[Question], bytes]]:
        """Input files that the budget has room for; it is reserved."""
        some = False
        for asked, texts in self._chunks(self._dialect.head(form), questions):
            fits = self._reserve(asked)
            if not fits and not some and self._budget.take(asked[0].worst):  # which says why, where it is refused
                fits = 1
            if fits:
                some = True
                yield asked[:fits], b"".join(texts[:fits])
            if fits < len(asked):  # the rest may fit when these are paid for
                return

    def _chunks(self, head: bytes, questions: Iterable[Question]) -> Iterator[tuple[list[Question], list[bytes]]]:
        """As many questions as one file may hold, with their lines."""
        asked, texts, size = list[Question](), list[bytes](), 0
        for question in questions:
            text = line(head, question)
            question.messages = []
            if asked and (len(asked) == self._limits.questions or size + len(text) > self._limits.file_bytes):
                yield asked, texts
                asked, texts, size = [], [], 0
            asked.append(question)
            texts.append(text)
            size += len(text)
        if asked:
            yield asked, texts

    def _reserve(self, asked: list[Question]) -> int:
        """Reserve the worst case of the first ones, as many as fit. Returns how many those are."""
        fits = len(asked)
        while fits:
            room, total = self._budget.room(), Spent()
            for number, question in enumerate(asked[:fits]):
                total += question.worst
                if any(getattr(total, name) > left for name, left in room.items()):
                    fits = number
                    break
            else:
                if self._budget.take(total):
                    break
                fits -= 1  # somebody else was faster
        return fits

    def _hand_in(self, handed: Handed, content: bytes) -> None:
        """Upload a file and make its batch. The note is there first, so that no kill makes two of one."""
        self._notes.keep(handed)
        try:
            handed.file = self._api.upload(content)
            handed.batch = self._api.make(handed.file, handed.token)
        except AttemptFailed as failed:
            if not (failed.again or failed.charged):  # else it may be there: the next run looks for it
                self._notes.drop(handed.token)
                self._settle(handed, Spent())
            raise
        self._notes.keep(handed)

    def _finish(self, form: Form, handed: Handed, version: int, tries: Counter[str], result: Batched, done: Callable[[int], None]) -> None:
        """Collect a batch; then its note goes."""
        before = result.answered + len(result.failures)
        self._settle(handed, self._collect(form, handed, version, tries, result))
        self._notes.drop(handed.token)
        done(result.answered + len(result.failures) - before)

    def _collect(self, form: Form, handed: Handed, version: int, tries: Counter[str], result: Batched) -> Spent:
        """Wait for a batch, and bring what it answers into the store. Returns what it did cost."""
        batch = self._api.wait(str(handed.batch), self._notes.place(handed.token))
        seconds = batch.completed_at - batch.created_at if batch.completed_at and batch.created_at else 0
        paid, rows, lost = Spent(), list[dict[str, Any]](), list[dict[str, Any]]()
        contents = (self._api.fetch(file) for file in (batch.output_file_id, batch.error_file_id) if file)
        errors = [error.model_dump() for error in (batch.errors.data or [])] if batch.errors else []
        for key, bucket, most, end in ends(handed, contents, unanswered(str(batch.status).lower(), errors)):
            try:
                if isinstance(end, AttemptFailed):
                    raise end
                row, spent = self._row(form, key, bucket, most, end)
            except AttemptFailed as failed:
                spent = self._charge(form, handed, most, failed)
                if spent != Spent():
                    own = hashlib.blake2b(f"{handed.token} {key}".encode(), digest_size=16).hexdigest()
                    lost.append({"bucket": bucket, "key": own, "of": key, **vars(spent)})
                self._judge(key, failed, version, tries, result)
            else:
                rows.append(row | {"latency_ms": max(0, seconds) * 1000})
                result.answered += 1
            paid += spent
            if len(rows) == _ROWS:
                self._store.write(ANSWERS_KIND, handed.fingerprint, _table(rows, ANSWERS))
                rows = []
        self._store.write(ANSWERS_KIND, handed.fingerprint, _table(rows, ANSWERS))
        self._store.write(ATTEMPTS_KIND, handed.fingerprint, _table(lost, ATTEMPTS))
        note_spent(self._store, self._notes.dataset, f"batch {handed.token}", paid)
        result.sent += paid.requests
        result.cost += paid.cost
        return paid

    def _row(self, form: Form, key: str, bucket: int, most: int, body: bytes) -> tuple[dict[str, Any], Spent]:
        """A row of ANSWERS, and what it did cost."""
        said = wire.read(body)
        self._servers.update(name for name in (said.model, said.system_fingerprint) if name is not None and len(self._servers) < 100)
        counts = stated(said.usage, most, form.max_output_tokens)
        tokens = counts or (most, form.max_output_tokens)
        spent = Spent(1, sum(tokens), cost_of(self._endpoint, *tokens))
        row = {
            "bucket": bucket,
            "key": key,
            "text": None if said.text is None else self._api.without_key(said.text),
            "finish_reason": said.finish_reason,
            "refusal": said.refusal,
            "input_tokens": tokens[0],
            "output_tokens": tokens[1],
            "usage_stated": counts is not None,
            "attempts": 1,
            "cost": spent.cost,
            "raw": self._api.without_key(body.decode()),
        }
        return row, spent

    def _charge(self, form: Form, handed: Handed, most: int, failed: AttemptFailed) -> Spent:
        """What a question without an answer did cost: nothing where it was not executed."""
        if failed.reason in (EXPIRED, CANCELLED, FAILED):
            return Spent()
        counts = stated(failed.usage, most, form.max_output_tokens)
        if counts is not None:
            return Spent(1, sum(counts), cost_of(self._endpoint, *counts))
        return handed.worst(self._endpoint, most) if failed.charged else Spent(1, 0, 0.0)

    def _judge(self, key: str, failed: AttemptFailed, version: int, tries: Counter[str], result: Batched) -> None:
        """Whether a question is asked again in the next round, is given up, or ends the ask."""
        if failed.refused is not None and self._dialect.learn(failed.refused, version):
            return
        if failed.refused is not None:
            failed.todo = f"The server refuses {failed.refused}: change the endpoint's settings (structured, extra)."
        if failed.todo is not None:
            result.ended = result.ended or failed
        tries[key] += 1
        if not failed.again or tries[key] > min(self._endpoint.retries, _ROUNDS - 1):
            result.failures[key] = (failed.reason, self._api.without_key(failed.detail))

    def _settle(self, handed: Handed, actual: Spent) -> None:
        worst = self._counted.pop(handed.token, None)
        if worst is None:
            self._budget.settle(handed.all_worst(self._endpoint), actual)
        else:
            change = actual - worst
            self._budget.spent(change.requests, change.tokens, change.cost)


def _claim(token: str) -> Any:  # noqa: ANN401 - threading.RLock is a function
    """One lock a batch, of all clients in this process; other processes keep out by the dataset's lease."""
    with _claiming:
        return _claims.setdefault(token, threading.RLock())


def _table(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    return conform(pl.DataFrame(rows, schema=pl.DataFrame(schema.empty_table()).schema), schema, "batch")
