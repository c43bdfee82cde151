"""EDGE: batch files as providers take and give them, one JSON object a line, and the note of what was handed in.

In: custom_id, method, url, body. Out, in an output file and an error file, in any order: custom_id, response (status_code, body), error.
"""

import io
import json
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from pipeline import storage
from pipeline.config import EndpointConfig
from pipeline.llm import wire
from pipeline.llm.failures import AttemptFailed, of_status
from pipeline.llm.sending import Question
from pipeline.llm.usage import Spent, cost_of
from pipeline.store import Store

URL: Final = "/v1" + wire.PATH
EXPIRED, CANCELLED, FAILED, LOST = "batch_expired", "batch_cancelled", "batch_failed", "batch_lost"  # FAILURES.reason


def line(head: bytes, question: Question) -> bytes:
    """One question of an input file.

    Args:
        head: of the body, `Dialect.head`.
        question: its key is the line's custom_id.
    """
    start = json.dumps({"custom_id": question.key, "method": "POST", "url": URL}).encode()
    return start[:-1] + b', "body": ' + wire.body(head, question.messages) + b"}\n"


@dataclass
class Handed:
    """What was handed in as one file; kept on disk from before it is handed in until its answers are in the store.

    Attributes:
        fingerprint: of the answers.
        server: address and model.
        max_output_tokens: of the form.
        questions: bucket, key, most tokens of input.
        token: names it, here and in the batch's metadata: a run that was killed while it handed in a file finds its batch by that.
        file: id of the uploaded file, for people.
        batch: id of the batch; null: not known to be there.
    """

    fingerprint: str
    server: str
    max_output_tokens: int
    questions: list[tuple[int, str, int]]
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    file: str | None = None
    batch: str | None = None

    def worst(self, endpoint: EndpointConfig, most_input: int) -> Spent:
        """The most that one of its requests can take."""
        return Spent(1, most_input + self.max_output_tokens, cost_of(endpoint, most_input, self.max_output_tokens))

    def all_worst(self, endpoint: EndpointConfig) -> Spent:
        """The most that all can take."""
        return sum((self.worst(endpoint, most) for _, _, most in self.questions), Spent())


@dataclass(frozen=True)
class Notes:
    """Where notes of what was handed in lie: `<store>/answers/batches/<dataset>.<token>.json`."""

    store: Store
    dataset: str

    @property
    def folder(self) -> str:
        """Of all datasets."""
        return storage.join(self.store.root, "answers", "batches")

    def keep(self, handed: Handed) -> None:
        """Write a note, as a whole."""
        storage.write_json(self.place(handed.token), asdict(handed))

    def drop(self, token: str) -> None:
        """Delete a note."""
        storage.delete(self.place(token))

    def read(self, token: str) -> Handed | None:
        """A note, if it is still there."""
        try:
            told = storage.read_json(self.place(token))
        except FileNotFoundError:
            return None
        return Handed(**(told | {"questions": [tuple(one) for one in told["questions"]]}))

    def all(self) -> list[Handed]:
        """The dataset's notes, by name."""
        names = sorted(storage.children(self.folder)) if storage.exists(self.folder) else []
        mine = [parts[1] for name in names if len(parts := name.rsplit(".", 2)) == 3 and parts[0] == self.dataset]
        return [note for token in mine if (note := self.read(token)) is not None]

    def place(self, token: str) -> str:
        """Of a note."""
        return storage.join(self.folder, f"{self.dataset}.{token}.json")


def ends(handed: Handed, contents: Iterable[bytes], otherwise: AttemptFailed) -> Iterator[tuple[str, int, int, bytes | AttemptFailed]]:
    """What became of each question, once each.

    Args:
        handed: the questions.
        contents: of the output file and the error file.
        otherwise: why a question is in neither.

    Returns:
        Key, bucket, most tokens of input, and the body of an answer or why there is none.
    """
    left = {key: (bucket, most) for bucket, key, most in handed.questions}
    for content in contents:
        for text in io.BytesIO(content):  # a line ends in a line feed alone: JSON may hold what else ends lines
            told = read_line(text)
            if told is not None and told[0] in left:
                yield told[0], *left.pop(told[0]), told[1]
    yield from ((key, bucket, most, otherwise) for key, (bucket, most) in left.items())


def read_line(text: bytes) -> tuple[str, bytes | AttemptFailed] | None:
    """One line of an output or error file: custom_id, and the body of an answer or why there is none.

    Returns:
        None for a line that is not whole or names no question.
    """
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return None
    key = told.get("custom_id") if isinstance(told, dict) else None
    if not isinstance(key, str):
        return None
    response, error = (told.get(name) if isinstance(told.get(name), dict) else {} for name in ("response", "error"))
    status, body = response.get("status_code"), json.dumps(response.get("body")).encode()
    if status == 200:
        return key, body
    if isinstance(status, int):
        return key, of_status(status, body, {})
    return key, _without_response(error)


def _without_response(error: dict[str, Any]) -> AttemptFailed:
    code, said = str(error.get("code") or ""), str(error.get("message") or error.get("code") or "no message")
    if code in (EXPIRED, CANCELLED):  # not executed, so not paid
        return AttemptFailed(code, said)
    if code == "request_timeout":
        return AttemptFailed("timeout", said, again=True, charged=True)
    return of_status(400, json.dumps({"error": error}).encode(), {})


def unanswered(status: str, errors: list[dict[str, Any]]) -> AttemptFailed:
    """Why a question is in neither file.

    Args:
        status: of the batch, in its end.
        errors: of the batch: code, message.
    """
    said = "; ".join(sorted({f"{error.get('message') or error.get('code')}" for error in errors})) or "no message"
    if status == "failed":  # checked and refused as a whole: nothing was executed
        known = [of_status(400, json.dumps({"error": error}).encode(), {}) for error in errors]
        if todo := next((one for one in known if one.todo or one.refused), None):
            return todo
        full = any(error.get("code") == "token_limit_exceeded" for error in errors)  # until other batches are through
        return AttemptFailed(FAILED, f"the provider refused the batch: {said}", again=full)
    if status == "expired":
        return AttemptFailed(EXPIRED, "the batch expired before this question was answered")
    if status == "cancelled":
        return AttemptFailed(CANCELLED, "the batch was cancelled before this question was answered")
    return AttemptFailed(LOST, f"the batch is {status}, and neither of its files has this question", charged=True)
