"""A deadline and a byte limit over many reads of a connection.

httpx limits the time of a single read only. A server that sends one byte now and then, or
endless ``103 Early Hints`` responses, never reaches that limit. Inside ``bounded``, all reads of
this thread count against one deadline and one byte limit.
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
    """Limit what this thread reads from guarded connections inside the block.

    ``ends`` is a point in time of ``time.monotonic``, ``size`` a number of bytes. Past the deadline
    reads raise httpcore.ReadTimeout, past the byte limit httpcore.RemoteProtocolError; httpx passes
    them on as its own errors of the same names.
    """
    before = getattr(_NOW, "limits", None)
    _NOW.limits = _Limits(ends, size)
    try:
        yield
    finally:
        _NOW.limits = before


def guard(transport: httpx.HTTPTransport) -> httpx.HTTPTransport:
    """Make the connections of ``transport`` obey ``bounded``; returns the same transport.

    httpx has no public option for the network backend; httpcore has. The private attributes are
    read before they are replaced, so a release that renames them raises AttributeError instead of
    silently dropping the limit.
    """
    pool = transport._pool
    pool._network_backend = _Backend(pool._network_backend)  # type: ignore[assignment]
    return transport


class _Backend:
    """An httpcore network backend that opens guarded connections."""

    def __init__(self, inner: NetworkBackend) -> None:
        self._inner = inner

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, **options: object
    ) -> _Stream:
        connected = self._inner.connect_tcp(
            host,
            port,
            timeout=_clipped(timeout),
            **options,  # type: ignore[arg-type]
        )
        return _Stream(connected)

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


class _Stream:
    """An httpcore network stream that obeys ``bounded``."""

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
    """``timeout`` in seconds, but not longer than until this thread's deadline.

    Raises httpcore.ReadTimeout when the deadline has passed.
    """
    import httpcore

    limits: _Limits | None = getattr(_NOW, "limits", None)
    if limits is None:
        return timeout
    left = limits.ends - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("it answers too slowly")
    return left if timeout is None else min(timeout, left)


def _count(size: int) -> None:
    """Subtract ``size`` bytes from this thread's limit; raises when it is exceeded."""
    import httpcore

    limits: _Limits | None = getattr(_NOW, "limits", None)
    if limits is not None and limits.left is not None:
        limits.left -= size
        if limits.left < 0:
            raise httpcore.RemoteProtocolError("the headers of its answer do not end")
