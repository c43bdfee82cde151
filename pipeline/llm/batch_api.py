"""EDGE: the batch API of a provider: upload a file, make a batch of it once, look until it has ended, fetch its files."""

import itertools
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NoReturn, TypeVar

import openai
from openai.types import Batch

from pipeline.config import EndpointConfig
from pipeline.llm.batch_files import LOST
from pipeline.llm.failures import AttemptFailed, of_status

_ENDS: Final = ("completed", "failed", "expired", "cancelled")
_LONGEST_WAIT_SECONDS: Final = 60.0
_TOKEN: Final = "prefine"  # in a batch's metadata
_LISTED: Final = 1000  # batches among which one that may have been made is looked for
_T = TypeVar("_T")

log = logging.getLogger("prefine.llm")


@dataclass(frozen=True)
class Limits:
    """What a provider takes: OpenAI's limits, and how often to look.

    Attributes:
        questions: of a file.
        file_bytes: of a file.
        poll_seconds: between the first two looks; each wait is half as long again as the one before, up to a minute.
    """

    questions: int = 50_000
    file_bytes: int = 200_000_000
    poll_seconds: float = 1.0


class BatchApi:
    """Every method raises AttemptFailed when it does not work, for all retries."""

    def __init__(self, endpoint: EndpointConfig, key: str | None, limits: Limits) -> None:
        """Connect to nothing yet; arguments as of `batch.BatchClient`."""
        self._endpoint, self._key, self._limits = endpoint, key, limits
        self._api = openai.OpenAI(
            base_url=endpoint.base_url, api_key=key or "none", timeout=endpoint.timeout_seconds, max_retries=endpoint.retries
        )

    def close(self) -> None:
        """Close all connections."""
        self._api.close()

    def upload(self, content: bytes) -> str:
        """Hand over an input file. Returns its id."""
        return self._call(lambda: self._api.files.create(file=("questions.jsonl", content), purpose="batch").id)

    def fetch(self, file: str) -> bytes:
        """A file's content; nothing, where the provider has it no more."""
        return self._call(lambda: self._api.files.content(file).content, gone=lambda: b"")

    def make(self, file: str, token: str) -> str:
        """Make a batch once, however often it has to be tried: one whose making was not confirmed is looked for first."""
        api = self._api.with_options(max_retries=0)
        number = 0
        while True:
            try:
                return self._call(
                    lambda: (
                        api.batches.create(
                            input_file_id=file, endpoint="/v1/chat/completions", completion_window="24h", metadata={_TOKEN: token}
                        ).id
                    )
                )
            except AttemptFailed as failed:
                if not failed.again:
                    raise
                if (found := self.find(token)) is not None:
                    return found
                if number == self._endpoint.retries:
                    raise
            time.sleep(min(self._limits.poll_seconds * 1.5**number, _LONGEST_WAIT_SECONDS))
            number += 1

    def find(self, token: str) -> str | None:
        """The batch that bears a token, if the provider has it and tells."""

        def look() -> str | None:
            batches = itertools.islice(self._api.batches.list(limit=100), _LISTED)
            return next((batch.id for batch in batches if (batch.metadata or {}).get(_TOKEN) == token), None)

        return self._call(look, gone=lambda: None)

    def wait(self, batch_id: str, note: str) -> Batch:
        """Look until a batch has ended; `note` is the place of the file that knows of it."""
        wait, shown = self._limits.poll_seconds, ""
        gone = f"the server does not know batch {batch_id}"
        todo = f"Use the account that made it; if it is gone for good, delete {note} and run again."
        while True:
            batch = self._call(lambda: self._api.batches.retrieve(batch_id), gone=lambda: _raise(AttemptFailed(LOST, gone, todo=todo)))
            counts = batch.request_counts
            told = f"{batch.status}, {counts.completed:,} of {counts.total:,} answered" if counts else str(batch.status)
            if told != shown:
                log.info("batch %s: %s", batch_id, told)
                shown = told
            if str(batch.status).lower() in _ENDS:
                return batch
            time.sleep(wait)
            wait = min(wait * 1.5, _LONGEST_WAIT_SECONDS)

    def _call(self, what: Callable[[], _T], gone: Callable[[], _T] | None = None) -> _T:
        """Call the API; `gone` says what follows when it does not know the place.

        Raises:
            AttemptFailed: it did not work, for all the SDK's retries.
        """
        try:
            return what()
        except openai.APIStatusError as error:
            if gone is not None and error.status_code in (404, 405):
                return gone()
            failed = of_status(error.status_code, error.response.content, error.response.headers)
            failed.detail = self.without_key(failed.detail)
        except openai.APITimeoutError:
            failed = AttemptFailed("timeout", f"no answer within {self._endpoint.timeout_seconds:g} s", again=True, charged=True)
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            failed = AttemptFailed("connection", f"no connection: {type(cause).__name__}", again=True, charged=True)
            failed.todo = "Check that the server runs and that base_url is right."
        except (openai.OpenAIError, ValueError) as error:
            failed = AttemptFailed("bad_body", f"not what a batch API answers: {type(error).__name__}")
        raise failed

    def without_key(self, text: str) -> str:
        """A server may send the key back, in an error or in an echo."""
        return text.replace(self._key, "[key]") if self._key and self._key in text else text


def _raise(error: AttemptFailed) -> NoReturn:
    raise error
