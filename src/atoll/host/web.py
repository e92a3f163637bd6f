"""The one door to HTTP: bounded in size, time, redirects and patience, and a download resumes.

Only faults that may pass are tried again: no connection, a break, a stall, 408, 429 and 5xx. All
that goes wrong is a NetworkError that names the address (without its query, where secrets are).
Credentials go to the server they are for and to no other; a redirect never leaves https for http.
"""

from __future__ import annotations

import random
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urljoin, urlsplit

from atoll.base.errors import NetworkError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    import httpx

_Result = TypeVar("_Result")
MAX_REDIRECTS = 5
_TRANSIENT = frozenset((408, 429, 500, 502, 503, 504))
_MOVED = frozenset((301, 302, 303, 307, 308))
_WORDS = {"ReadTimeout": "no answer in time", "ConnectTimeout": "no connection in time"}
_ENOUGH = 1 << 20
"""A download that brought this much since its last fault may fail as often again."""


class _Fault(Exception):
    """What may be gone at the next attempt; ``pause`` is what the server asks for, in seconds."""

    def __init__(self, message: str, *, hint: str, pause: float = 0.0) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.pause = pause


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait for a server (seconds), and how often to try.

    A download stalls when a whole ``window`` brings fewer than ``least`` bytes.
    """

    attempts: int = 4
    first_pause: float = 0.5
    longest_pause: float = 20.0
    timeout: float = 30.0
    window: float = 60.0
    least: int = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
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
class Answer:
    """A whole response of any status but the transient ones; names of headers in lower case."""

    url: str
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class Web:
    """Connections to servers, kept while the block lasts. Safe to use from several threads.

    ``authority`` is a file of certificates to trust besides the system's; ``unverified`` trusts
    any, which a person has to ask for by name of the server.
    """

    def __init__(
        self,
        *,
        patience: Patience | None = None,
        authority: Path | None = None,
        unverified: bool = False,
    ) -> None:
        self._patience = patience or Patience()
        self._authority = authority
        self._unverified = unverified
        self._opened: httpx.Client | None = None

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
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def get(self, url: str, *, headers: Mapping[str, str] | None = None, limit: int) -> Answer:
        """The whole answer, of at most ``limit`` bytes; the caller judges its status."""
        return self._patiently(lambda: self._get(url, headers or {}, limit))

    def download(
        self, url: str, *, headers: Mapping[str, str] | None = None, span: Span
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
            except _Fault as fault:
                faults = 1 if since >= _ENOUGH else faults + 1
                since = 0
                self._wait_after(fault, faults)

    def size(self, url: str) -> int:
        """How many bytes ``url`` has. Raises NetworkError when it is not there or does not say."""
        return self._patiently(lambda: self._size(url))

    def _size(self, url: str) -> int:
        with self._open(url, {}) as response:
            place = _place(str(response.url))
            if response.status_code != 200:
                status = response.status_code
                raise NetworkError(
                    f"{place} answers with status {status}", status=status, hint="check the address"
                )
            announced = response.headers.get("content-length", "")
            if not announced.isdecimal():
                raise NetworkError(
                    f"{place} does not say how long it is",
                    hint="put the file beside the recipe, and name it as source",
                )
            return int(announced)

    def _get(self, url: str, headers: Mapping[str, str], limit: int) -> Answer:
        with self._open(url, headers) as response:
            place = _place(str(response.url))
            body = bytearray()
            for chunk in self._chunks(response, limit):
                body += chunk
                if len(body) > limit:
                    raise NetworkError(
                        f"{place} sends more than {limit} bytes",
                        hint="this is no proper answer: report it to its owner",
                    )
            return Answer(
                url=str(response.url),
                status=response.status_code,
                headers=dict(response.headers),
                body=bytes(body),
            )

    def _stream(self, url: str, headers: Mapping[str, str], span: Span) -> Iterator[bytes]:
        asked = span.header
        wanted = {**headers, "Range": asked} if asked else headers
        with self._open(url, wanted) as response:
            place = _place(str(response.url))
            skip = _skipped(response, place, span)
            at, size = span.start - skip, span.end
            for piece in self._chunks(response, size - at):
                at += len(piece)
                if at > size:
                    raise NetworkError(f"{place} sends more than the {size} bytes it should have",
                                       hint="the image or its registry is damaged")  # fmt: skip
                chunk = piece[skip:]
                skip -= len(piece) - len(chunk)
                if chunk:
                    yield chunk
            if at < size:
                raise _Fault(
                    f"{place} ends after {at} of {size} bytes",
                    hint="try again; if it stays so, the image is damaged there",
                )

    def _chunks(self, response: httpx.Response, limit: int) -> Iterator[bytes]:
        """The body as it comes, which must be neither compressed nor announced as too long."""
        place = _place(str(response.url))
        if response.headers.get("content-encoding", "identity") != "identity":
            raise NetworkError(f"{place} answers in an encoding that was not asked for")
        announced = response.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > limit:
            raise NetworkError(f"{place} announces {announced} bytes, where {limit} can be",
                               hint="the image or its registry is damaged")  # fmt: skip
        ends, seen = time.monotonic() + self._patience.window, 0
        for chunk in response.iter_raw():
            seen += len(chunk)
            if time.monotonic() > ends:
                if seen < self._patience.least:
                    raise _Fault(f"{place} sends next to nothing", hint="try again later")
                ends, seen = time.monotonic() + self._patience.window, 0
            yield chunk

    @contextmanager
    def _open(self, url: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        """The response to a GET, redirects followed; faults of all kinds in our words."""
        import httpx

        place = _place(url)
        try:
            response = self._send(url, headers)
            place = _place(str(response.url))
            try:
                if response.status_code in _TRANSIENT:
                    raise _busy(response, place)
                yield response
            finally:
                response.close()
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError) as error:
            raise NetworkError(f"{place} cannot be asked: {error}") from error
        except httpx.HTTPError as error:
            raise _fault(error, place) from error

    def _send(self, url: str, headers: Mapping[str, str]) -> httpx.Response:
        import httpx

        asked = {"User-Agent": "atoll", "Accept-Encoding": "identity", **headers}
        for _ in range(MAX_REDIRECTS + 1):
            request = self._client().build_request("GET", url, headers=asked)
            response = self._client().send(request, stream=True, auth=httpx.Auth())
            target = response.headers.get("location")
            if response.status_code not in _MOVED or not target:
                return response
            response.close()
            url, asked = _redirected(url, target, asked)
        raise NetworkError(
            f"{_place(url)}: more than {MAX_REDIRECTS} redirects",
            hint="the server sends around in a circle: report it to its owner",
        )

    def _client(self) -> httpx.Client:
        if self._opened is None:
            import ssl

            import httpx

            context = ssl.create_default_context()
            if self._authority is not None:
                context.load_verify_locations(self._authority)
            if self._unverified:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            self._opened = httpx.Client(verify=context, timeout=self._patience.timeout)
        return self._opened

    def _patiently(self, attempt: Callable[[], _Result]) -> _Result:
        faults = 0
        while True:
            try:
                return attempt()
            except _Fault as fault:
                faults += 1
                self._wait_after(fault, faults)

    def _wait_after(self, fault: _Fault, faults: int) -> None:
        """Pause before the next attempt; raises the fault when it was the last one."""
        patience = self._patience
        if faults >= patience.attempts:
            message = f"{fault.message} (tried {faults} times)"
            raise NetworkError(message, hint=fault.hint) from fault
        pause = patience.first_pause * 2 ** (faults - 1) * random.uniform(0.75, 1.25)
        time.sleep(min(max(pause, fault.pause), patience.longest_pause))


def _redirected(url: str, target: str, asked: dict[str, str]) -> tuple[str, dict[str, str]]:
    """Where a redirect leads, and the headers that may be shown there."""
    try:
        there = urljoin(url, target)
    except ValueError as error:
        raise NetworkError(f"{_place(url)} redirects to {target!r}, which is no address") from error
    old, new = urlsplit(url), urlsplit(there)
    if new.scheme not in ("http", "https") or (old.scheme, new.scheme) == ("https", "http"):
        raise NetworkError(f"{_place(url)} redirects to {_place(there)}, which is not safe",
                           hint="report it to the owner of the server")  # fmt: skip
    if (old.scheme, old.netloc) != (new.scheme, new.netloc):
        asked = {key: value for key, value in asked.items() if key.lower() != "authorization"}
    return there, asked


def _skipped(response: httpx.Response, place: str, span: Span) -> int:
    """How many bytes of the body come before those of ``span``."""
    status = response.status_code
    if status == 206 and span.header:
        found = response.headers.get("content-range", "")
        if not found.startswith(f"bytes {span.start}-"):
            raise NetworkError(f"{place} sends another part ({found!r}) than was asked for")
        return 0
    if status == 416:
        raise NetworkError(f"{place} has fewer bytes than it should have",
                           hint="the image or its registry is damaged")  # fmt: skip
    if status == 200 and span.is_part:
        raise NetworkError(f"{place} sends no parts", status=status)
    if status != 200:
        raise NetworkError(f"{place} answers with status {status}",
                        status=status, headers=dict(response.headers),
                        hint="check the name, and whether a login is needed")  # fmt: skip
    return span.start


def _busy(response: httpx.Response, place: str) -> _Fault:
    asked = response.headers.get("retry-after", "")
    return _Fault(
        f"{place} answers with status {response.status_code}",
        hint="the server has a problem or is busy: try again later",
        pause=float(asked) if asked.isdecimal() and len(asked) < 6 else 0.0,
    )


def _place(url: str) -> str:
    """An address as a person is shown it: without its query and without a password."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise NetworkError(f"{url!r} is no address: {error}") from error
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _fault(error: httpx.HTTPError, place: str) -> NetworkError | _Fault:
    """A fault in our words; that a server cannot prove who it is does not pass by waiting."""
    text = str(error).strip()
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return NetworkError(
            f"{place}: the server cannot prove who it is: {text}",
            hint="if you trust it, put the certificate of its authority where containers look:"
            " /etc/containers/certs.d/HOST/ca.crt",
        )
    words = text or _WORDS.get(type(error).__name__, type(error).__name__)
    hint = "check the network and the name of the server, then try again"
    return _Fault(f"{place}: {words}", hint=hint)
