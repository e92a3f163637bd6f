"""A time limit on all that a connection reads, and not only on each single read.

httpx limits how long one read may take. A server that sends one byte now and then, or ``103``
without end, never reaches that limit. Here every read of this thread, inside ``bounded``, counts
against one deadline and one number of bytes.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    import httpx
    from httpcore import NetworkBackend, NetworkStream

_NOW = threading.local()


@dataclass(slots=True)
class _Limits:
    ends: float
    left: int | None


@contextmanager
def bounded(*, ends: float, size: int | None = None) -> Iterator[None]:
    """What this thread reads from guarded connections in the block ends at ``ends`` (as
    ``time.monotonic`` has it), after ``size`` bytes at most. Beyond them reads raise httpcore's
    ReadTimeout and RemoteProtocolError, which reach the caller as httpx's.
    """
    before = getattr(_NOW, "limits", None)
    _NOW.limits = _Limits(ends, size)
    try:
        yield
    finally:
        _NOW.limits = before


def guard(transport: httpx.HTTPTransport) -> httpx.HTTPTransport:
    """The same transport; its connections obey ``bounded``.

    httpx has no public way to the network below a transport; httpcore has. So that a new release
    cannot silently drop the limit, this raises AttributeError where the pool has another form.
    """
    pool = transport._pool
    pool._network_backend = _Backend(pool._network_backend)  # type: ignore[assignment]
    return transport


class _Backend:
    """A httpcore network backend that makes guarded connections."""

    def __init__(self, inner: NetworkBackend) -> None:
        self._inner = inner

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, **words: object
    ) -> _Stream:
        connected = self._inner.connect_tcp(
            host,
            port,
            timeout=_clipped(timeout),
            **words,  # type: ignore[arg-type]
        )
        return _Stream(connected)

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


class _Stream:
    """A httpcore network stream that obeys ``bounded``."""

    def __init__(self, inner: NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data = self._inner.read(max_bytes, timeout=_clipped(timeout))
        _count(len(data))
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, timeout=_clipped(timeout))

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> _Stream:
        inner = self._inner.start_tls(ssl_context, server_hostname, timeout=_clipped(timeout))
        return _Stream(inner)

    def close(self) -> None:
        self._inner.close()

    def get_extra_info(self, info: str) -> object:
        return self._inner.get_extra_info(info)


def _clipped(timeout: float | None) -> float | None:
    """``timeout``, shortened to what is left of this thread's time."""
    import httpcore

    limits: _Limits | None = getattr(_NOW, "limits", None)
    if limits is None:
        return timeout
    left = limits.ends - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("it answers too slowly")
    return left if timeout is None else min(timeout, left)


def _count(size: int) -> None:
    import httpcore

    limits: _Limits | None = getattr(_NOW, "limits", None)
    if limits is not None and limits.left is not None:
        limits.left -= size
        if limits.left < 0:
            raise httpcore.RemoteProtocolError("the headers of its answer do not end")
