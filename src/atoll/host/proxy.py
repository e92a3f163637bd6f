"""Find the proxy for a server from the environment, by the same rules as curl.

``https_proxy`` or ``http_proxy`` (by the scheme of the server), else ``all_proxy``; each also in
upper case, except ``http_proxy``. ``no_proxy`` lists exceptions: ``*``, host names (which include
their subdomains), addresses and networks (``10.0.0.0/8``), each with or without a port. Loopback
addresses are never reached through a proxy.
"""

from __future__ import annotations

import ipaddress
import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from atoll.base.errors import NetworkError

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMES = ("http", "https")
"""Supported schemes of proxies."""

_PORTS = {"http": 80, "https": 443}


def find_proxy(
    scheme: str, host: str, port: int | None, environment: Mapping[str, str] | None = None
) -> str | None:
    """The address of the proxy; None for a direct connection.

    ``host`` is in lower case, an IPv6 address without brackets. Raises NetworkError if the proxy's
    address is invalid or its scheme not supported.
    """
    given = os.environ if environment is None else environment
    names = [f"{scheme}_proxy", "all_proxy"]
    found = next(((name, value) for name in names if (value := _value(given, name))), None)
    if found is None or is_this_machine(host):
        return None
    if _is_excepted(host, port or _PORTS.get(scheme), _value(given, "no_proxy")):
        return None
    return _checked(*found)


def is_this_machine(host: str) -> bool:
    """Whether ``host`` is ``localhost``, a name below it, or a loopback address."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = _address(name)
    return address is not None and address.is_loopback


def show_proxy(proxy: str) -> str:
    """A proxy's address for a message: without user name and password."""
    parts = urlsplit(proxy)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _value(environment: Mapping[str, str], name: str) -> str:
    """The variable ``name``, also in upper case. Not so for http_proxy: in a CGI program,
    HTTP_PROXY comes from the client's Proxy header."""
    upper = "" if name == "http_proxy" else environment.get(name.upper(), "")
    return (environment.get(name) or upper).strip()


def _checked(name: str, value: str) -> str:
    proxy = value if "://" in value else f"http://{value}"
    try:
        parts = urlsplit(proxy)
        good = bool(parts.hostname) and parts.port != 0 and proxy.isascii() and proxy.isprintable()
    except ValueError:
        good = False
        parts = urlsplit("")
    if good and parts.scheme not in SCHEMES:
        raise NetworkError(
            f"{name} is set to a {parts.scheme}:// proxy, which Atoll does not support",
            hint="Atoll supports http:// and https:// proxies: set https_proxy and http_proxy,"
            f" or unset {name}",
        )
    if not good:
        raise NetworkError(
            f"{name} is not a valid proxy address", hint="write it as http://HOST:PORT, or unset it"
        )
    return proxy


def _is_excepted(host: str, port: int | None, text: str) -> bool:
    return any(_matches(host, port, pattern) for pattern in text.replace(",", " ").split())


def _matches(host: str, port: int | None, pattern: str) -> bool:
    """Whether one entry of no_proxy applies to the server."""
    if pattern == "*":
        return True
    name, wanted = _split_port(pattern.lower())
    if wanted is not None and wanted != port:
        return False
    address = _address(host)
    if address is not None:
        try:
            return address in ipaddress.ip_network(name, strict=False)
        except ValueError:
            return False
    bare, name = host.rstrip("."), name.removeprefix("*").strip(".")
    return bool(name) and (bare == name or bare.endswith(f".{name}"))


def _split_port(text: str) -> tuple[str, int | None]:
    """Split ``HOST:PORT``; an IPv6 address with a port is in brackets."""
    if text.startswith("["):
        name, _, rest = text[1:].partition("]")
        digits = rest.removeprefix(":")
    elif text.count(":") == 1:
        name, _, digits = text.partition(":")
    else:
        name, digits = text, ""
    return name, int(digits) if digits.isascii() and digits.isdecimal() and len(
        digits
    ) < 6 else None


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
