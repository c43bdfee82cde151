"""An answer is on disk before it counts: whatever a kill interrupts, nothing that was answered is asked again."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipeline import storage
from pipeline.config import BudgetConfig, EndpointConfig
from pipeline.llm import journal
from pipeline.llm.budget import Budget
from pipeline.llm.client import LanguageModel
from pipeline.llm.usage import Spent
from pipeline.store import Store
from tests.llm.asking import FORM, ask, language_model, many, server_counts
from tests.llm.scripted import CHECKOUT, Server

Scripted = Callable[..., Server]
AT_ONCE = 8
ASK = f"""
import sys
from pathlib import Path
from tests.llm.asking import ask, language_model, many
with language_model(sys.argv[1], Path(sys.argv[2]), concurrency={AT_ONCE}) as model:
    ask(model, many(300))
"""


def journals(folder: Path) -> list[str]:
    return storage.children(journal.folder(Store(str(folder))))


def test_after_a_kill_only_what_was_under_way_is_asked_again(scripted: Scripted, tmp_path: Path) -> None:
    server, asked, budget = scripted(latency_ms=30), many(300), Budget(BudgetConfig())
    process = subprocess.Popen([sys.executable, "-c", ASK, server.url, str(tmp_path)], cwd=CHECKOUT)
    deadline = time.monotonic() + 60
    while len(server.log()) < 60 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = len(server.log())
    assert 60 <= before < 300
    assert len(journals(tmp_path)) == 1

    with language_model(server.url, tmp_path, budget) as model:  # takes over what is there
        assert journals(tmp_path) == []
        found, spent = model.answers(FORM, asked), model.spent_before(FORM, asked)
        told = ask(model, asked)
        rows = model.answers(FORM, asked)
        worst = model.worst_case(FORM, asked.head(1))["tokens"].item()
    counts = server.counts()
    assert before - AT_ONCE <= found.height <= before
    assert told.sent == 300 - found.height
    assert set(counts.values()) <= {1, 2}
    assert sum(counts.values()) - 300 == before - found.height <= AT_ONCE  # they were in flight
    # What was in flight counts as if it had cost the most.
    assert spent.requests == before
    assert spent.tokens >= (found["input_tokens"] + found["output_tokens"]).sum() + (before - found.height) * (worst - 20)

    undisturbed = tmp_path / "undisturbed"
    with language_model(server.url, undisturbed) as model:
        ask(model, asked)
        assert_frame_equal(rows.drop("latency_ms"), model.answers(FORM, asked).drop("latency_ms"))


def test_several_threads_ask_at_once_through_one_limit(scripted: Scripted, tmp_path: Path) -> None:
    server, asked, errors = scripted(latency_ms=20), many(200), list[BaseException]()
    with language_model(server.url, tmp_path, concurrency=5) as model:

        def part(number: int) -> None:
            try:
                assert ask(model, asked[number::4]).answered == 50
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=part, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert model.missing(FORM, asked).is_empty()
        assert [one.name for one in threading.enumerate()].count("prefine-local") == 1
    assert server.counts() == Counter(server_counts(asked))
    assert max(row["open"] for row in server.log()) == 5
    assert journals(tmp_path) == []


def test_answers_go_to_an_object_store_too(scripted: Scripted) -> None:
    server, asked, root = scripted(), many(30), f"memory://{uuid.uuid4().hex}/store"
    for sent in (30, 0):
        model = LanguageModel(
            EndpointConfig(name="local", base_url=server.url, model="scripted"), Store(root), "demo", Budget(BudgetConfig())
        )
        assert ask(model, asked).sent == sent
        model.close()
    assert storage.children(journal.folder(Store(root))) == []
    assert len(server.log()) == 30


def test_a_line_written_while_others_are_put_is_there_before_it_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    store, put = Store(f"memory://{uuid.uuid4().hex}/store"), storage.write_bytes

    def slow(place: str, content: bytes) -> None:
        time.sleep(0.2)
        put(place, content)

    monkeypatch.setattr(journal, "_APART_SECONDS", 0.0)
    monkeypatch.setattr(storage, "write_bytes", slow)

    async def two(written: journal.Journal) -> list[bool]:
        async def one(key: str) -> bool:
            await written.answered({"bucket": 1, "key": key})
            files = storage.children(written.folder)
            return any(key.encode() in storage.read_bytes(storage.join(written.folder, name)) for name in files)

        first = asyncio.create_task(one("a" * 32))
        await asyncio.sleep(0.1)  # the first is being put
        return [await one("b" * 32), await first]

    assert asyncio.run(two(journal._RemoteJournal(store, "demo", "print"))) == [True, True]


def test_another_process_that_still_asks_is_left_alone(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    with journal.open_journal(store, "demo", "print") as written:
        written.sent(1, "k" * 32, 1, Spent(1, 10, 0.5))
        assert journal.fold_left_over(store, "demo") == 0
        code = "import sys; from pipeline.llm import journal; from pipeline.store import Store; "
        code += f"print(journal.fold_left_over(Store({str(tmp_path)!r}), 'demo'))"
        done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True)
        assert done.stdout == "0\n"
        assert len(journals(tmp_path)) == 1
    assert journals(tmp_path) == []


def left_over(folder: Path, *lines: str) -> Store:
    store = Store(str(folder))
    place = Path(journal.folder(store))
    place.mkdir(parents=True)
    (place / f"demo.{'0' * 32}.jsonl").write_bytes("\n".join(lines).encode())
    return store


SENT = '{"sent": "%s", "bucket": 7, "n": 1, "tokens": 90, "cost": 0.5}' % ("a" * 32)
ANSWER = (
    '{"bucket": 7, "key": "%s", "text": "x", "finish_reason": "stop", "refusal": null, "input_tokens": 5, "output_tokens": 2, '
    '"usage_stated": true, "attempts": 1, "cost": 0.1, "latency_ms": 3, "raw": "{}"}' % ("a" * 32)
)


def attempts(store: Store) -> pl.DataFrame:
    frame = pl.from_arrow(store.read(journal.ATTEMPTS_KIND, "print", 0, 255, journal.ATTEMPTS))
    assert isinstance(frame, pl.DataFrame)
    return frame


def test_a_torn_last_line_was_never_answered_and_its_request_counts_at_its_most(tmp_path: Path) -> None:
    store = left_over(tmp_path, '{"fingerprint": "print"}', SENT, ANSWER[:-9])
    assert journal.fold_left_over(store, "demo") == 1
    assert store.keys(journal.ANSWERS_KIND, "print", 0, 255).num_rows == 0
    assert attempts(store).select("of", "requests", "tokens", "cost").rows() == [("a" * 32, 1, 90, 0.5)]


def test_a_damaged_line_loses_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = left_over(tmp_path, '{"fingerprint": "print"}', SENT[:20] + "\x00\x00", ANSWER, "")
    assert journal.fold_left_over(store, "demo") == 1
    assert store.keys(journal.ANSWERS_KIND, "print", 0, 255).num_rows == 1
    assert "damaged" in caplog.text


def test_folding_twice_is_folding_once(tmp_path: Path) -> None:
    store = left_over(tmp_path, '{"fingerprint": "print"}', SENT, "")
    name = journals(tmp_path)[0]
    content = storage.read_bytes(storage.join(journal.folder(store), name))
    journal.fold_left_over(store, "demo")
    storage.write_bytes(storage.join(journal.folder(store), name), content)  # killed after the store had it, before it was deleted
    journal.fold_left_over(store, "demo")
    assert attempts(store).height == 1
