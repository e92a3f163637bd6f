"""The HTTP client: limits on size, time, redirects and retries; downloads resume.

Only transient faults are retried: no connection, a broken connection, a stall, 408, 429 and 5xx.
Every failure is a NetworkError with the address, without its query, which may hold secrets.
Credentials are sent only to the server that they are for: a redirect to another scheme, host or
port drops them, no cookies are kept, and ``trust_of`` decides which server gets a client
certificate. A redirect from https to http is refused.
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
from atoll.host.http_faults import TransientError, busy, in_our_words, too_slow, wrong_status
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
"""Bytes received since the last fault after which the count of attempts starts again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How long to wait for a server (seconds), and how often to try.

    ``timeout`` is for one read, ``answer`` for an answer up to the end of its headers, ``whole``
    for all of a small answer. A download stalls when a ``window`` brings fewer than ``least``
    bytes: at 1 KiB/s, 100 MB take a day, and no download takes for ever.
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
    """The bytes from ``start`` to ``end`` of something; ``is_part`` when it goes on after them."""

    start: int = 0
    end: int
    is_part: bool = False

    @property
    def header(self) -> str:
        """What asks for them; empty when they are all there is."""
        if self.is_part:
            return f"bytes={self.start}-{self.end - 1}"
        return f"bytes={self.start}-" if self.start else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A whole response of any status but the transient ones; names of headers in lower case."""

    url: str
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class HttpClient:
    """Connections to servers, kept while the block lasts. Safe to use from several threads.

    ``trust_of`` says, for each server that is spoken to, what proves who it is and who we are.
    """

    def __init__(
        self,
        *,
        patience: RetryPolicy | None = None,
        trust_of: Callable[[ServerOrigin], Trust] = lambda _: Trust(),
    ) -> None:
        self._patience = patience or RetryPolicy()
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
        with self._lock:
            for client in self._clients.values():
                client.close()
            self._clients.clear()

    def speaks_tls(self, url: str) -> bool:
        """Whether somebody answers at the https address ``url``, whatever they say; asked once.

        Raises NetworkError when they cannot prove who they are.
        """
        address = parse_address(url)
        try:
            with in_our_words(address):
                self._ask(address, {}).close()
        except TransientError as fault:
            if fault.is_final:
                raise NetworkError(fault.message, hint=fault.hint) from fault
            return False
        except NetworkError:
            return False
        return True

    def get(self, url: str, *, headers: Mapping[str, str] | None = None, limit: int) -> Response:
        """The whole answer, of at most ``limit`` bytes; the caller judges its status."""
        return self._patiently(lambda: self._get(url, headers or {}, limit))

    def download(
        self, url: str, *, headers: Mapping[str, str] | None = None, span: ByteRange
    ) -> Iterator[bytes]:
        """The bytes of ``url`` in ``span``, over as many breaks as it takes.

        Raises NetworkError: with a ``status`` for what is not there or not allowed, and for a part
        of what the server sends only whole.
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
        """How many bytes ``url`` has. Raises NetworkError when it is not there or does not say."""
        return self._patiently(lambda: self._size(url))

    def _size(self, url: str) -> int:
        with self._open(url, {}) as response:
            place = show_address(response.url)
            if response.status_code != 200:
                raise wrong_status(response, hint="check the address")
            announced = _announced(response)
            if announced is None:
                raise NetworkError(
                    f"{place} does not announce its size (Content-Length)",
                    hint="download the file, put it beside the recipe and set source to it",
                )
            return announced

    def _get(self, url: str, headers: Mapping[str, str], limit: int) -> Response:
        ends = time.monotonic() + self._patience.whole
        with self._open(url, headers) as response:
            place = show_address(response.url)
            body = bytearray()
            for chunk in self._chunks(response, limit):
                body += chunk
                if len(body) > limit:
                    raise NetworkError(
                        f"{place} sends more than {limit} bytes",
                        hint="this is not a valid response: report it to the administrator of"
                        " the server",
                    )
                if time.monotonic() > ends:
                    raise too_slow(place, len(body), self._patience.whole)
            return Response(
                url=str(response.url),
                status=response.status_code,
                headers=dict(response.headers),
                body=bytes(body),
            )

    def _stream(self, url: str, headers: Mapping[str, str], span: ByteRange) -> Iterator[bytes]:
        asked = span.header
        wanted = {**headers, "Range": asked} if asked else headers
        with self._open(url, wanted) as response:
            place = show_address(response.url)
            skip = _skipped(response, place, span)
            at, size = span.start - skip, span.end
            for piece in self._chunks(response, size - at):
                at += len(piece)
                if at > size:
                    raise NetworkError(
                        f"{place} sends more than the {size} bytes it should have",
                        hint="the image or its registry is damaged",
                    )
                chunk = piece[skip:]
                skip -= len(piece) - len(chunk)
                if chunk:
                    yield chunk
            if at < size:
                raise TransientError(
                    f"{place} ends after {at} of {size} bytes",
                    hint="try again; if this persists, the image in the registry is damaged",
                )

    def _chunks(self, response: httpx.Response, limit: int) -> Iterator[bytes]:
        """The body as it comes, which must be neither compressed nor announced as too long.

        Only the time that is spent waiting for the server counts for a window.
        """
        place, patience = show_address(response.url), self._patience
        if response.headers.get("content-encoding", "identity") != "identity":
            raise NetworkError(f"{place} answers with a Content-Encoding that was not requested")
        announced = _announced(response)
        if announced is not None and announced > limit:
            raise NetworkError(
                f"{place} announces {announced} bytes; at most {limit} are expected",
                hint="the image or its registry is damaged",
            )
        pieces = response.iter_raw()
        waited, seen = 0.0, 0
        while True:
            began = time.monotonic()
            with bounded(ends=began + patience.window - waited + patience.timeout):
                chunk = next(pieces, None)
            if chunk is None:
                return
            waited += time.monotonic() - began
            seen += len(chunk)
            if waited > patience.window:
                if seen < patience.least:
                    raise too_slow(place, seen, waited)
                waited, seen = 0.0, 0
            yield chunk

    @contextmanager
    def _open(self, url: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        """The response to a GET, redirects followed; faults of all kinds in our words."""
        address = parse_address(url)
        with in_our_words(address):
            response = self._send(address, headers)
        with in_our_words(response.url):
            try:
                if response.status_code in _TRANSIENT:
                    raise busy(response)
                yield response
            finally:
                response.close()

    def _send(self, url: httpx.URL, headers: Mapping[str, str]) -> httpx.Response:
        first, asked = url, dict(headers)
        for _ in range(MAX_REDIRECTS + 1):
            with in_our_words(url):
                response = self._ask(url, asked)
            target = response.headers.get("location")
            if response.status_code not in _MOVED or not target:
                return response
            response.close()
            url, asked = _redirected(url, target, asked)
        raise NetworkError(
            f"{show_address(first)}: more than {MAX_REDIRECTS} redirects",
            hint="this looks like a redirect loop: report it to the administrator of the server",
        )

    def _ask(self, url: httpx.URL, headers: Mapping[str, str]) -> httpx.Response:
        """One request, one answer, of which only the headers have come."""
        import httpx

        client = self._client(url)
        asked = {"User-Agent": "atoll", "Accept-Encoding": "identity", **headers}
        request = client.build_request("GET", url, headers=asked)
        with bounded(ends=time.monotonic() + self._patience.answer, size=MAX_HEADERS):
            return client.send(request, stream=True, auth=httpx.Auth())

    def _client(self, url: httpx.URL) -> httpx.Client:
        origin = origin_of(url)
        trust = self._trust_of(origin)
        proxy = find_proxy(origin.scheme, origin.host, origin.port)
        with self._lock:
            if (trust, proxy) not in self._clients:
                timeout = self._patience.timeout
                self._clients[trust, proxy] = open_client(trust, proxy, timeout=timeout)
            return self._clients[trust, proxy]

    def _patiently(self, attempt: Callable[[], _Result]) -> _Result:
        faults = 0
        while True:
            try:
                return attempt()
            except TransientError as fault:
                faults += 1
                self._wait_after(fault, faults)

    def _wait_after(self, fault: TransientError, faults: int) -> None:
        """Pause before the next attempt; raises the fault when it was the last one."""
        patience = self._patience
        if fault.is_final:
            raise NetworkError(fault.message, hint=fault.hint) from fault
        if faults >= patience.attempts:
            message = f"{fault.message} (tried {faults} times)"
            raise NetworkError(message, hint=fault.hint) from fault
        pause = patience.first_pause * 2 ** (faults - 1) * random.uniform(0.75, 1.25)
        time.sleep(min(max(pause, fault.pause), patience.longest_pause))


def _redirected(
    url: httpx.URL, target: str, asked: Mapping[str, str]
) -> tuple[httpx.URL, dict[str, str]]:
    """Where a redirect leads, and the headers that may be shown there."""
    there = join_address(url, target)
    same = origin_of(url) == origin_of(there)
    return there, {
        key: value for key, value in asked.items() if same or key.lower() != "authorization"
    }


def _skipped(response: httpx.Response, place: str, span: ByteRange) -> int:
    """How many bytes of the body come before those of ``span``."""
    status = response.status_code
    if status == 206 and span.header:
        found = response.headers.get("content-range", "")
        if not found.startswith(f"bytes {span.start}-"):
            raise NetworkError(f"{place} sends another range ({found!r}) than the one requested")
        return 0
    if status == 416:
        raise NetworkError(
            f"{place} is shorter than expected",
            hint="the image or its registry is damaged",
        )
    if status == 200 and span.is_part:
        raise NetworkError(f"{place} does not support range requests", status=status)
    if status != 200:
        raise wrong_status(response, hint="check the name, and whether a login is needed")
    return span.start


def _announced(response: httpx.Response) -> int | None:
    """The Content-Length; None when there is none that is a number."""
    text = response.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else None
