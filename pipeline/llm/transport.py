"""One request over HTTP, and what its failure means.

aiohttp itself and not the `openai` SDK, for two reasons. It tells what the budget has to know: whether a request was sent before it
failed. And answers of 50 ms in 64 slots are 1,280 requests a second: the SDK takes 2.2 ms of processor time a request, 0.75 ms with its
aiohttp transport and answers not parsed, so that one core is full before anything is kept; all of this client takes 0.3 ms
(tests/benchmarks/bench_llm.py).
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp.client_exceptions import ClientConnectorCertificateError, ClientConnectorSSLError

from pipeline.config import EndpointConfig
from pipeline.llm import wire
from pipeline.llm.failures import AttemptFailed, of_status

_MOST_BYTES: Final = 64 << 20  # of a body; no answer is as long
_CONNECT_SECONDS: Final = 15.0
_KEEP_SECONDS: Final = 4.0  # an idle connection: servers drop theirs after 5 s and more, and a request on it would be lost
_TLS: Final = "Check base_url (http or https?) and the server's certificate; SSL_CERT_FILE may name one to trust."
_URL: Final = "Check that the server runs and that base_url is right."


@dataclass(frozen=True)
class Reply:
    """A body that came with HTTP 200, and how long it took."""

    body: bytes
    latency_ms: int


class Transport:
    """Connections to one endpoint; belongs to one event loop."""

    def __init__(self, endpoint: EndpointConfig, key: str | None) -> None:
        """Open nothing yet.

        Args:
            endpoint: where.
            key: sent as a bearer token, and to nobody else: redirects are not followed.
        """
        self._base = endpoint.base_url.rstrip("/")
        self._url = self._base + wire.PATH
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_SECONDS),  # whoever sends limits the number
            timeout=aiohttp.ClientTimeout(total=endpoint.timeout_seconds, sock_connect=min(_CONNECT_SECONDS, endpoint.timeout_seconds)),
            headers={"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "prefine"}
            | ({} if key is None else {"Authorization": f"Bearer {key}"}),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._proxy = _proxy(self._url)

    async def post(self, body: bytes) -> Reply:
        """Ask one question and read the whole answer.

        Raises:
            AttemptFailed: no HTTP 200, or no whole body.
        """
        return await self._request("POST", self._url, body)

    async def models(self) -> Reply:
        """What the server lists under /models, which costs nothing.

        Raises:
            AttemptFailed: no HTTP 200, or no whole body.
        """
        return await self._request("GET", self._base + wire.MODELS, None)

    async def _request(self, method: str, url: str, body: bytes | None) -> Reply:
        began = time.monotonic()
        try:
            async with self._session.request(method, url, data=body, proxy=self._proxy, allow_redirects=False) as response:
                content = bytearray()
                async for chunk in response.content.iter_any():
                    content += chunk
                    if len(content) > _MOST_BYTES:
                        raise AttemptFailed("bad_body", f"the body is longer than {_MOST_BYTES:,} bytes", charged=True)
                if response.status != 200:
                    raise of_status(response.status, bytes(content), response.headers)
                return Reply(bytes(content), round((time.monotonic() - began) * 1000))
        except (ClientConnectorCertificateError, ClientConnectorSSLError) as error:
            raise AttemptFailed("connection", f"no TLS connection: {_plain(error)}", todo=_TLS) from None
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise AttemptFailed("connection", f"no connection: {_plain(error)}", again=True) from None
        except TimeoutError:
            raise AttemptFailed("timeout", f"no answer within {self._session.timeout.total:g} s", again=True, charged=True) from None
        except aiohttp.ClientPayloadError as error:
            raise AttemptFailed("bad_body", f"the body was cut off: {_plain(error)}", again=True, charged=True) from None
        except aiohttp.InvalidURL as error:
            raise AttemptFailed("connection", f"not a URL: {type(error).__name__}", todo=_URL) from None
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as error:
            raise AttemptFailed("connection", f"the connection was lost: {_plain(error)}", again=True, charged=True) from None

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()


def _proxy(url: str) -> str | None:
    """The proxy that the environment names. aiohttp's `trust_env` reads a file in another thread before each request."""
    parts = urlsplit(url)
    return None if proxy_bypass(parts.netloc.rpartition("@")[2]) else getproxies().get(parts.scheme)


def _plain(error: Exception) -> str:
    """What happened, without addresses: the user knows the URL, and it is said elsewhere."""
    inner = getattr(error, "os_error", None) or getattr(error, "certificate_error", None) or error
    return f"{type(inner).__name__}: {getattr(inner, 'strerror', None) or getattr(inner, 'verify_message', None) or inner}"
