"""Translate errors of httpx: TransientError for what may pass, NetworkError for the rest."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from atoll.base.errors import NetworkError
from atoll.host.address import origin_of, show_address
from atoll.host.proxy import find_proxy, show_proxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

_WRONG_TIME = ("certificate is not yet valid", "certificate has expired")
_TEXTS = {"ReadTimeout": "no answer in time", "ConnectTimeout": "no connection in time"}


class TransientError(Exception):
    """An error that may pass at the next attempt.

    ``pause`` is the server's Retry-After in seconds. ``is_final`` marks an error that is not
    retried: the server's certificate cannot be verified.
    """

    def __init__(
        self, message: str, *, hint: str, pause: float = 0.0, is_final: bool = False
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.pause = pause
        self.is_final = is_final


@contextmanager
def network_errors(url: httpx.URL) -> Iterator[None]:
    """Turn errors of httpx, and of invalid host names, into TransientError or NetworkError."""
    import httpx

    try:
        yield
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError) as error:
        raise NetworkError(f"{show_address(url)} cannot be requested: {error}") from error
    except UnicodeError as error:
        raise NetworkError(
            f"{show_address(url)}: the host name is not valid", hint="check the address"
        ) from error
    except httpx.HTTPError as error:
        raise _explained(error, url) from error


def wrong_status(response: httpx.Response, *, hint: str) -> NetworkError:
    """The error for an unexpected status, with status, headers and address of the response."""
    status = response.status_code
    return NetworkError(
        f"{show_address(response.url)} answers with status {status}",
        status=status,
        headers=dict(response.headers),
        url=str(response.url),
        hint=hint,
    )


def busy(response: httpx.Response) -> TransientError:
    """The error for a transient status; honours Retry-After in seconds."""
    retry_after = response.headers.get("retry-after", "")
    known = retry_after.isascii() and retry_after.isdecimal() and len(retry_after) < 6
    return TransientError(
        f"{show_address(response.url)} answers with status {response.status_code}",
        hint="the server has a problem or is busy: try again later",
        pause=float(retry_after) if known else 0.0,
    )


def too_slow(address: str, seen: int, seconds: float) -> TransientError:
    """The error for a stalled transfer, in which ``seen`` bytes came in ``seconds``."""
    return TransientError(
        f"{address}: the transfer stalled: {seen} bytes in {seconds:.0f} s",
        hint="check the network, or try again later",
    )


def _explained(error: httpx.HTTPError, url: httpx.URL) -> TransientError:
    text = str(error).strip()
    address = show_address(url)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        hint = (
            "if you trust it, put the certificate of its authority where containers look:"
            f" /etc/containers/certs.d/{origin_of(url).authority}/ca.crt"
        )
        if any(reason in text for reason in _WRONG_TIME):
            today = time.strftime("%Y-%m-%d")
            hint = f"for this computer today is {today}; if it is not: timedatectl set-time"
        return TransientError(
            f"{address}: the server's certificate cannot be verified: {text}",
            is_final=True,
            hint=hint,
        )
    reason = text or _TEXTS.get(type(error).__name__, type(error).__name__)
    origin = origin_of(url)
    proxy = find_proxy(origin.scheme, origin.host, origin.port)
    if proxy:
        return TransientError(
            f"{address}, through the proxy {show_proxy(proxy)}: {reason}",
            hint="check the proxy (https_proxy, http_proxy, no_proxy) and the network",
        )
    hint = "check the network and the name of the server, then try again"
    return TransientError(f"{address}: {reason}", hint=hint)
