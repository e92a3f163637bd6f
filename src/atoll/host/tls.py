"""What proves who a server is, and who we are to it: certificates, on each connection."""

from __future__ import annotations

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
    """``authorities`` are files of certificates to believe besides the system's; ``identities``
    are files of a client certificate and its key, shown to a server that asks. ``unverified``
    believes any server, which a person has to ask for by its name.
    """

    authorities: tuple[Path, ...] = ()
    identities: tuple[tuple[Path, Path], ...] = ()
    unverified: bool = False


def open_client(trust: Trust, proxy: str | None, *, timeout: float) -> httpx.Client:
    """Connections for one kind of trust, which keep no cookies and read no environment.

    Raises Damaged for a file of certificates that is none.
    """
    import httpx

    transport = httpx.HTTPTransport(
        verify=_context(trust),
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


def _context(trust: Trust) -> ssl.SSLContext:
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
