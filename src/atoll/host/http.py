"""The HTTP client: limits on size, time, redirects and retries; downloads resume.

Only transient errors are retried: no connection, a broken connection, a stall, and the status
codes 408, 429, 500, 502, 503 and 504. Every failure is a NetworkError with the address but without
its query, which may contain secrets. Credentials go only to the server that they are for: a
redirect to another scheme, host or port drops the Authorization header, cookies are not kept, and
``trust_of`` decides which server gets a client certificate. A redirect from https to http is
refused.
"""

from __future__ import annotations

import random
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from atoll.base.errors import NetworkError
from atoll.host.address import join_address, origin_of, parse_address, show_address
from atoll.host.deadline import bounded
from atoll.host.http_faults import TransientError, busy, network_errors, too_slow, wrong_status
from atoll.host.proxy import find_proxy
from atoll.host.tls import Trust, open_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType
    from typing import Self

    import httpx

    from atoll.host.address import ServerOrigin

_Result = TypeVar("_Result")
MAX_REDIRECTS = 5
MAX_HEADERS = 1 << 20
"""Bytes of response headers, including those of informational (1xx) responses."""

_TRANSIENT = frozenset((408, 429, 500, 502, 503, 504))
_MOVED = frozenset((301, 302, 303, 307, 308))
_ENOUGH = 1 << 20
"""After this many bytes without an error, the count of attempts starts again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How long to wait for a server (in seconds), and how often to try.

    ``timeout`` limits one read, ``answer`` a response up to the end of its headers, ``whole`` a
    complete small response. A download is stalled when fewer than ``least`` bytes arrive in
    ``window`` seconds. At that minimum of 1 KiB/s, 100 MB take a day: slow, but bounded.

    ``attempts`` counts the first one. Pauses between them double from ``first_pause`` up to
    ``longest_pause``.
    """

    attempts: int = 4
    first_pause: float = 0.5
    longest_pause: float = 20.0
    timeout: float = 30.0
    answer: float = 60.0
    whole: float = 300.0
    window: float = 60.0
    least: int = 60 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteRange:
    """Bytes ``start`` to ``end`` (exclusive) of a resource; ``is_part`` if more follow ``end``."""

    start: int = 0
    end: int
    is_part: bool = False

    @property
    def header(self) -> str:
        """The value of the Range header; empty when the range is the whole resource."""
        if self.is_part:
            return f"bytes={self.start}-{self.end - 1}"
        return f"bytes={self.start}-" if self.start else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A complete response with any but a transient status; header names are in lower case."""

    url: str
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class HttpClient:
    """Connections to servers, kept open inside the ``with`` block. Thread-safe.

    ``trust_of`` returns the certificates to verify a server with, and to present to it.
    """

    def __init__(
        self,
        *,
        retry: RetryPolicy | None = None,
        trust_of: Callable[[ServerOrigin], Trust] = lambda _: Trust(),
    ) -> None:
        self._retry = retry or RetryPolicy()
        self._trust_of = trust_of
        self._clients: dict[tuple[Trust, str | None], httpx.Client] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            for client in self._clients.values():
                client.close()
            self._clients.clear()

    def speaks_tls(self, url: str) -> bool:
        """Whether a server answers at the https address ``url``, with any status. Tried once.

        Raises NetworkError if its certificate cannot be verified.
        """
        address = parse_address(url)
        try:
            with network_errors(address):
                self._ask(address, {}).close()
        except TransientError as fault:
            if fault.is_final:
                raise NetworkError(fault.message, hint=fault.hint) from fault
            return False
        except NetworkError:
            return False
        return True

    def get(self, url: str, *, headers: Mapping[str, str] | None = None, limit: int) -> Response:
        """The complete response, whose body has at most ``limit`` bytes. Raises NetworkError.

        The caller checks the status.
        """
        return self._with_retries(lambda: self._get(url, headers or {}, limit))

    def download(
        self, url: str, *, headers: Mapping[str, str] | None = None, span: ByteRange
    ) -> Iterator[bytes]:
        """Download the range ``span`` of ``url`` in chunks, resuming after broken connections.

        Raises NetworkError. Its ``status`` is set if the server answered with an error, and is 200
        if it does not support range requests and ``span`` is a part.
        """
        faults, since, offset = 0, 0, span.start
        while offset < span.end:
            try:
                for chunk in self._stream(url, headers or {}, replace(span, start=offset)):
                    offset += len(chunk)
                    since += len(chunk)
                    yield chunk
            except TransientError as fault:
                faults = 1 if since >= _ENOUGH else faults + 1
                since = 0
                self._wait_after(fault, faults)

    def size(self, url: str) -> int:
        """The size of ``url`` in bytes. Raises NetworkError if it is missing or has no size."""
        return self._with_retries(lambda: self._size(url))

    def _size(self, url: str) -> int:
        with self._open(url, {}) as response:
            address = show_address(response.url)
            if response.status_code != 200:
                raise wrong_status(response, hint="check the address")
            announced = _announced(response)
            if announced is None:
                raise NetworkError(
                    f"{address} does not announce its size (Content-Length)",
                    hint="download the file, put it beside the recipe and set source to it",
                )
            return announced

    def _get(self, url: str, headers: Mapping[str, str], limit: int) -> Response:
        ends = time.monotonic() + self._retry.whole
        with self._open(url, headers) as response:
            address = show_address(response.url)
            body = bytearray()
            for chunk in self._chunks(response, limit):
                body += chunk
                if len(body) > limit:
                    raise NetworkError(
                        f"{address} sends more than {limit} bytes",
                        hint="this is not a valid response: report it to the administrator of"
                        " the server",
                    )
                if time.monotonic() > ends:
                    raise too_slow(address, len(body), self._retry.whole)
            return Response(
                url=str(response.url),
                status=response.status_code,
                headers=dict(response.headers),
                body=bytes(body),
            )

    def _stream(self, url: str, headers: Mapping[str, str], span: ByteRange) -> Iterator[bytes]:
        range_header = span.header
        wanted = {**headers, "Range": range_header} if range_header else headers
        with self._open(url, wanted) as response:
            address = show_address(response.url)
            skip = _skipped(response, address, span)
            at, size = span.start - skip, span.end
            for piece in self._chunks(response, size - at):
                at += len(piece)
                if at > size:
                    raise NetworkError(
                        f"{address} sends more than the {size} bytes it should have",
                        hint="the image or its registry is damaged",
                    )
                chunk = piece[skip:]
                skip -= len(piece) - len(chunk)
                if chunk:
                    yield chunk
            if at < size:
                raise TransientError(
                    f"{address} ends after {at} of {size} bytes",
                    hint="try again; if this persists, the image in the registry is damaged",
                )

    def _chunks(self, response: httpx.Response, limit: int) -> Iterator[bytes]:
        """The body in chunks. Raises if it is compressed, announced as too long, or stalls.

        Only time spent waiting for the server counts, not the time that the consumer of the chunks
        takes, which may write to a slow disk.
        """
        address, retry = show_address(response.url), self._retry
        if response.headers.get("content-encoding", "identity") != "identity":
            raise NetworkError(f"{address} answers with a Content-Encoding that was not requested")
        announced = _announced(response)
        if announced is not None and announced > limit:
            raise NetworkError(
                f"{address} announces {announced} bytes; at most {limit} are expected",
                hint="the image or its registry is damaged",
            )
        pieces = response.iter_raw()
        waited, seen = 0.0, 0
        while True:
            began = time.monotonic()
            with bounded(ends=began + retry.window - waited + retry.timeout):
                chunk = next(pieces, None)
            if chunk is None:
                return
            waited += time.monotonic() - began
            seen += len(chunk)
            if waited > retry.window:
                if seen < retry.least:
                    raise too_slow(address, seen, waited)
                waited, seen = 0.0, 0
            yield chunk

    @contextmanager
    def _open(self, url: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        """The response to a GET request; follows redirects.

        Raises TransientError or NetworkError instead of httpx's errors, also inside the block.
        """
        address = parse_address(url)
        with network_errors(address):
            response = self._send(address, headers)
        with network_errors(response.url):
            try:
                if response.status_code in _TRANSIENT:
                    raise busy(response)
                yield response
            finally:
                response.close()

    def _send(self, url: httpx.URL, headers: Mapping[str, str]) -> httpx.Response:
        first, sent = url, dict(headers)
        for _ in range(MAX_REDIRECTS + 1):
            with network_errors(url):
                response = self._ask(url, sent)
            target = response.headers.get("location")
            if response.status_code not in _MOVED or not target:
                return response
            response.close()
            url, sent = _redirected(url, target, sent)
        raise NetworkError(
            f"{show_address(first)}: more than {MAX_REDIRECTS} redirects",
            hint="this looks like a redirect loop: report it to the administrator of the server",
        )

    def _ask(self, url: httpx.URL, headers: Mapping[str, str]) -> httpx.Response:
        """Send one request; returns when the headers of the response have arrived."""
        import httpx

        client = self._client(url)
        sent = {"User-Agent": "atoll", "Accept-Encoding": "identity", **headers}
        request = client.build_request("GET", url, headers=sent)
        with bounded(ends=time.monotonic() + self._retry.answer, size=MAX_HEADERS):
            return client.send(request, stream=True, auth=httpx.Auth())

    def _client(self, url: httpx.URL) -> httpx.Client:
        origin = origin_of(url)
        trust = self._trust_of(origin)
        proxy = find_proxy(origin.scheme, origin.host, origin.port)
        with self._lock:
            if (trust, proxy) not in self._clients:
                timeout = self._retry.timeout
                self._clients[trust, proxy] = open_client(trust, proxy, timeout=timeout)
            return self._clients[trust, proxy]

    def _with_retries(self, attempt: Callable[[], _Result]) -> _Result:
        faults = 0
        while True:
            try:
                return attempt()
            except TransientError as fault:
                faults += 1
                self._wait_after(fault, faults)

    def _wait_after(self, fault: TransientError, faults: int) -> None:
        """Pause before the next attempt; raises NetworkError after the last one.

        The pause is random by ±25 %, so that clients that failed together do not retry together.
        """
        retry = self._retry
        if fault.is_final:
            raise NetworkError(fault.message, hint=fault.hint) from fault
        if faults >= retry.attempts:
            message = f"{fault.message} (tried {faults} times)"
            raise NetworkError(message, hint=fault.hint) from fault
        pause = retry.first_pause * 2 ** (faults - 1) * random.uniform(0.75, 1.25)
        time.sleep(min(max(pause, fault.pause), retry.longest_pause))


def _redirected(
    url: httpx.URL, target: str, sent: Mapping[str, str]
) -> tuple[httpx.URL, dict[str, str]]:
    """The target of a redirect, and the headers that may be sent to it."""
    there = join_address(url, target)
    same = origin_of(url) == origin_of(there)
    return there, {
        key: value for key, value in sent.items() if same or key.lower() != "authorization"
    }


def _skipped(response: httpx.Response, address: str, span: ByteRange) -> int:
    """How many bytes of the body precede ``span``: 0, or all before it if the server ignored
    the Range header. Raises NetworkError for an error status or another range."""
    status = response.status_code
    if status == 206 and span.header:
        found = response.headers.get("content-range", "")
        if not found.startswith(f"bytes {span.start}-"):
            raise NetworkError(f"{address} sends another range ({found!r}) than the one requested")
        return 0
    if status == 416:
        raise NetworkError(
            f"{address} is shorter than expected",
            hint="the image or its registry is damaged",
        )
    if status == 200 and span.is_part:
        raise NetworkError(f"{address} does not support range requests", status=status)
    if status != 200:
        raise wrong_status(response, hint="check the name, and whether a login is needed")
    return span.start


def _announced(response: httpx.Response) -> int | None:
    """The Content-Length in bytes; None when it is missing or not a number."""
    text = response.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else None
