"""EDGE: what an ask has sent and received, on disk at once; folded into the store when it ends, or by the next run if it was killed.

Place: `<store>/answers/journal/<dataset>.<ask>.jsonl`, a line an event: `sent` (before a request goes out, with the most it can
cost), `failed` (with what it did cost), or a row of ANSWERS. A killed ask leaves its file and no lock on it; requests that were
under way count at their worst. Object stores cannot append: there lines are put as files of their own
(`<dataset>.<ask>.<number>.jsonl`), one a second at most.
"""

import asyncio
import fcntl
import hashlib
import json
import logging
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow as pa
from fsspec.core import url_to_fs

from pipeline import storage
from pipeline.llm.tables import ANSWERS
from pipeline.llm.usage import Spent
from pipeline.schemas import conform
from pipeline.store import KEY_SCHEMA, Store

ANSWERS_KIND: Final = "answers"
ATTEMPTS_KIND: Final = "attempts"
# One row = what the failed requests of one ask for one question took that is not in its answer's row.
ATTEMPTS: Final = pa.schema(
    [
        *KEY_SCHEMA,  # key: of the ask and the question
        pa.field("of", pa.string(), nullable=False),  # the question's key
        pa.field("requests", pa.int64(), nullable=False),
        pa.field("tokens", pa.int64(), nullable=False),
        pa.field("cost", pa.float64(), nullable=False),
    ]
)
_ANSWER: Final = b'{"bucket"'  # how the line of an answer begins: with the first column
_ANSWER_ROWS: Final = pl.Schema(pl.DataFrame(ANSWERS.empty_table()).schema | {"bucket": pl.Int64})  # polars reads no UInt8 from JSON
_EVENTS: Final = pl.Schema(
    {
        "fingerprint": pl.String,  # of the ask; the first line of a file
        "sent": pl.String,  # key of a question
        "failed": pl.String,  # the same
        "bucket": pl.Int64,
        "n": pl.Int64,  # 1 for the first request
        "tokens": pl.Int64,
        "cost": pl.Float64,
    }
)
SPENT_KIND: Final = "spent"
# One row = what one ask took altogether; the fingerprint is the data set's name. Budgets speak of the sum, whatever it was spent on.
SPENT: Final = pa.schema(
    [
        *KEY_SCHEMA,  # key: of the ask
        pa.field("requests", pa.int64(), nullable=False),
        pa.field("tokens", pa.int64(), nullable=False),
        pa.field("cost", pa.float64(), nullable=False),
    ]
)
_FILE: Final = re.compile(r"(?P<dataset>.+)\.(?P<ask>[0-9a-f]{32})(\.\d{6})?\.jsonl")
_APART_SECONDS: Final = 1.0
_open_here: set[str] = set()  # asks of this very process

log = logging.getLogger("prefine.llm")


class Journal:
    """The journal of one ask; `open_journal` makes it."""

    def __init__(self, store: Store, dataset: str, fingerprint: str) -> None:
        """Name it; nothing is written yet."""
        self.ask, self.dataset, self.store, self._head = uuid.uuid4().hex, dataset, store, {"fingerprint": fingerprint}
        self.folder = folder(store)

    def sent(self, bucket: int, key: str, number: int, worst: Spent) -> None:
        """A request goes out now."""
        self._write({"sent": key, "bucket": bucket, "n": number, "tokens": worst.tokens, "cost": worst.cost})

    def failed(self, key: str, number: int, actual: Spent) -> None:
        """It brought nothing."""
        self._write({"failed": key, "n": number, "tokens": actual.tokens, "cost": actual.cost})

    async def answered(self, row: dict[str, Any]) -> None:
        """A row of ANSWERS; it is on disk when this returns."""
        self._write(row)
        await self._on_disk()

    def close(self) -> None:
        """Write what is not yet written and let go of the file."""
        raise NotImplementedError

    def _write(self, line: dict[str, Any]) -> None:
        raise NotImplementedError

    async def _on_disk(self) -> None:
        """Return when the lines so far would survive the process."""


class _LocalJournal(Journal):
    """A file that is held locked while the ask lasts; each line is one write, so no line is torn but the last."""

    def __init__(self, store: Store, dataset: str, fingerprint: str) -> None:
        super().__init__(store, dataset, fingerprint)
        self._path = Path(url_to_fs(self.folder)[1]) / f"{dataset}.{self.ask}.jsonl"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        beside = self._path.with_suffix(".part")  # named when it is locked: nobody may take it for a dead run's
        self._file = os.open(beside, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o644)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        beside.rename(self._path)
        self._write(self._head)

    def _write(self, line: dict[str, Any]) -> None:
        data = json.dumps(line, ensure_ascii=False).encode() + b"\n"
        while data:  # a disk that is nearly full takes a part
            data = data[os.write(self._file, data) :]

    def close(self) -> None:
        os.close(self._file)


class _RemoteJournal(Journal):
    """Small files, each put as a whole. What a kill loses is the last second."""

    def __init__(self, store: Store, dataset: str, fingerprint: str) -> None:
        super().__init__(store, dataset, fingerprint)
        self._lines: list[bytes] = []
        self._files, self._turn = 0, asyncio.Lock()
        self._written, self._put_lines, self._last = 0, 0, 0.0

    def _write(self, line: dict[str, Any]) -> None:
        self._lines.append(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        self._written += 1

    async def _on_disk(self) -> None:
        wanted = self._written
        async with self._turn:  # whoever comes first puts the lines of all that wait
            if self._put_lines < wanted:
                loop = asyncio.get_running_loop()
                await asyncio.sleep(max(0.0, self._last + _APART_SECONDS - loop.time()))
                lines, self._lines = self._lines, []
                await asyncio.to_thread(self._put, lines, self._next())
                self._put_lines, self._last = self._put_lines + len(lines), loop.time()

    def _next(self) -> int:
        """The number of the next file: taken before it is put, since an interrupt leaves a put under way behind."""
        self._files += 1
        return self._files - 1

    def _put(self, lines: list[bytes], number: int) -> None:
        head = json.dumps(self._head).encode() + b"\n"
        storage.write_bytes(storage.join(self.folder, f"{self.dataset}.{self.ask}.{number:06d}.jsonl"), head + b"".join(lines))

    def close(self) -> None:
        if self._lines:
            self._put(self._lines, self._next())
            self._lines = []


def folder(store: Store) -> str:
    """Where the journals of a store are."""
    return storage.join(store.root, ANSWERS_KIND, "journal")


@contextmanager
def open_journal(store: Store, dataset: str, fingerprint: str) -> Iterator[Journal]:
    """A journal for one ask; when the block ends, however it ends, what is in it is in the store."""
    kind = _LocalJournal if storage.is_local(store.root) else _RemoteJournal
    journal = kind(store, dataset, fingerprint)
    _open_here.add(journal.ask)
    try:
        yield journal
    finally:
        journal.close()
        try:
            _fold(store, journal.ask, [name for name in storage.children(journal.folder) if journal.ask in name])
        finally:
            _open_here.discard(journal.ask)


def fold_left_over(store: Store, dataset: str) -> int:
    """Bring into the store what killed runs have left. Returns the number of asks.

    On local disks a lock tells which asks live, whatever dataset they are of. On object stores there is none: the asks of this dataset
    are dead but for those of this process, as a dataset has one run at a time.
    """
    place, asks = folder(store), dict[str, list[str]]()
    for name in storage.children(place):
        if found := _FILE.fullmatch(name):
            local = storage.is_local(place)
            if found["ask"] not in _open_here and (_is_let_go(Path(url_to_fs(place)[1]) / name) if local else found["dataset"] == dataset):
                asks.setdefault(found["ask"], []).append(name)
    for ask, names in asks.items():
        log.info("%s: answers of an interrupted run are taken over", ", ".join(names))
        _fold(store, ask, names)
    return len(asks)


def _is_let_go(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, FileNotFoundError):  # at work, or folded by another process
        return False
    return True


def _fold(store: Store, ask: str, names: list[str]) -> None:
    """Write a journal into the store, then delete it. Doing it twice writes the same."""
    places = [storage.join(folder(store), name) for name in sorted(names)]
    lines = [line for place in places for line in _lines(place)]
    answers = _parsed([line for line in lines if line.startswith(_ANSWER)], _ANSWER_ROWS)
    events = _parsed([line for line in lines if not line.startswith(_ANSWER)], _EVENTS)
    lost = _lost(events, answers)
    own = [hashlib.blake2b(f"{ask} {key}".encode(), digest_size=16).hexdigest() for key in lost.get_column("of")]
    for fingerprint in events.get_column("fingerprint").drop_nulls().unique():  # one
        store.write(ANSWERS_KIND, fingerprint, conform(answers, ANSWERS, "journal"))
        store.write(ATTEMPTS_KIND, fingerprint, conform(lost.with_columns(key=pl.Series(own, dtype=pl.String)), ATTEMPTS, "journal"))
    note_spent(store, str(_FILE.fullmatch(names[0])["dataset"]), ask, _total(answers, lost))  # type: ignore[index]
    for place in places:
        storage.delete(place)


def note_spent(store: Store, dataset: str, ask: str, spent: Spent) -> None:
    """Keep what an ask took; noting the same ask again changes nothing."""
    if spent != Spent():
        key = hashlib.blake2b(ask.encode(), digest_size=16).hexdigest()
        row = {"bucket": 0, "key": key, "requests": spent.requests, "tokens": spent.tokens, "cost": spent.cost}
        store.write(SPENT_KIND, dataset, conform(pl.DataFrame([row]).cast({"bucket": pl.UInt8}), SPENT, "journal"))


def spent_so_far(store: Store, dataset: str) -> Spent:
    """What a data set's asks took, in all its runs, once `fold_left_over` has taken over those of killed ones."""
    table = pl.DataFrame(pl.from_arrow(store.read(SPENT_KIND, dataset, 0, 0, SPENT)))
    requests, tokens, cost = table.select(pl.col("requests", "tokens", "cost").sum()).row(0)
    return Spent(requests, tokens, cost)


def _total(answers: pl.DataFrame, lost: pl.DataFrame) -> Spent:
    """What all requests of an ask took: answers' rows have the number and cost of all for them, `lost` the rest."""
    tokens = pl.col("input_tokens") + pl.col("output_tokens")
    paid = answers.select(requests="attempts", tokens=tokens, cost="cost")
    requests, all_tokens, cost = pl.concat([paid, lost.select(paid.columns)], how="vertical_relaxed").sum().row(0)
    return Spent(requests, all_tokens, cost)


def _lost(events: pl.DataFrame, answers: pl.DataFrame) -> pl.DataFrame:
    """What requests that brought nothing took, by question: as they failed, or at their worst where nobody knows.

    Of a question that is answered, the number and cost of its requests and the tokens of the last one are in the answer's row.
    """
    requests = events.with_columns(of=pl.coalesce("sent", "failed")).drop_nulls("of")
    each = requests.group_by("of", "n", maintain_order=True).agg(pl.col("bucket").drop_nulls().first(), pl.col("tokens", "cost").last())
    each = each.join(answers.select(of="key", last="attempts"), on="of", how="left", maintain_order="left").drop_nulls("bucket")
    answered = pl.col("last").is_not_null()
    each = each.filter(pl.col("n").ne_missing(pl.col("last"))).with_columns(
        requests=pl.when(answered).then(0).otherwise(1), cost=pl.when(answered).then(0.0).otherwise("cost")
    )
    total = each.group_by("of", maintain_order=True).agg(pl.col("bucket").first(), pl.col("requests", "tokens", "cost").sum())
    return total.filter((pl.col("requests") > 0) | (pl.col("tokens") > 0))


def _lines(place: str) -> list[bytes]:
    """A file's whole lines: what follows the last line end was torn by a kill."""
    try:
        return storage.read_bytes(place).split(b"\n")[:-1]
    except FileNotFoundError:  # folded by another process
        return []


def _parsed(lines: list[bytes], schema: pl.Schema) -> pl.DataFrame:
    """Lines as rows; what a full disk has damaged is left out."""
    try:
        return pl.read_ndjson(b"\n".join(lines), schema=schema) if lines else schema.to_frame()
    except pl.exceptions.ComputeError:
        whole = [line for line in lines if _is_json(line)]
        if len(whole) == len(lines):
            raise
        log.warning("a journal of answers has %d damaged lines, which are left out", len(lines) - len(whole))
        return _parsed(whole, schema)


def _is_json(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
