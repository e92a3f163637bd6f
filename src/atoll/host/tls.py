"""TLS settings per server: trusted authorities and client certificates."""

from __future__ import annotations

import functools
import os
import ssl
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged
from atoll.host.deadline import guard

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

_CONNECTIONS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """How to verify a server, and what to present to it.

    ``authorities`` are CA certificate files to trust besides the system's; ``identities`` are pairs
    of a client certificate file and its key file, for servers that request one. ``unverified``
    skips the verification of the server.
    """

    authorities: tuple[Path, ...] = ()
    identities: tuple[tuple[Path, Path], ...] = ()
    unverified: bool = False


def open_client(trust: Trust, proxy: str | None, *, timeout: float) -> httpx.Client:
    """An httpx client for one ``Trust``; it keeps no cookies and ignores the environment.

    ``timeout`` is in seconds. Raises Damaged for an invalid certificate or key file.
    """
    import httpx

    transport = httpx.HTTPTransport(
        verify=_context(trust, *map(os.environ.get, ("SSL_CERT_FILE", "SSL_CERT_DIR"))),
        limits=httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS),
        proxy=None if proxy is None else httpx.Proxy(proxy),
        trust_env=False,
    )
    return httpx.Client(
        transport=guard(transport),
        timeout=timeout,
        cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=[])),
        trust_env=False,
    )


@functools.lru_cache(maxsize=8)
def _context(trust: Trust, *_system: str | None) -> ssl.SSLContext:
    """Clients share it: to read the authorities of the system takes 25 ms. ``_system`` is where
    OpenSSL is told to find them."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not trust.unverified:
        context.load_default_certs()
    for authority in trust.authorities:
        try:
            context.load_verify_locations(authority)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise Damaged(
                f"{authority} is not a valid certificate file: {error}",
                hint="it must contain certificates in PEM format: fix or remove it",
            ) from error
    for certificate, key in trust.identities:
        try:
            # Without this callback OpenSSL asks for the passphrase of an encrypted key on the tty.
            context.load_cert_chain(certificate, key, password=lambda: "")
        except (OSError, ValueError) as error:
            raise Damaged(
                f"{certificate} and {key} are not a valid certificate and key: {error}",
                hint="both must be in PEM format, the key without a passphrase",
            ) from error
    if trust.unverified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
