"""Which proxy a server is reached through: what the environment says, as curl understands it.

``https_proxy`` and ``http_proxy`` (by the scheme of the server), else ``all_proxy``; in lower or,
but for ``http_proxy``, upper case. ``no_proxy`` lists what is reached directly: ``*``, names (with
all below them), addresses, networks (``10.0.0.0/8``), each with a port or without. This machine
itself is never reached through a proxy.
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
"""Of proxies that can be spoken to."""

_PORTS = {"http": 80, "https": 443}


def find_proxy(
    scheme: str, host: str, port: int | None, environment: Mapping[str, str] | None = None
) -> str | None:
    """The proxy's address; None when the server is reached directly.

    ``host`` is in lower case, an IPv6 address without brackets. Raises NetworkError for a proxy of
    a kind that is not supported.
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
    """Whether a host name or address is the loopback interface's."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = _address(name)
    return address is not None and address.is_loopback


def show_proxy(proxy: str) -> str:
    """A proxy's address as a person is shown it: without user and password."""
    parts = urlsplit(proxy)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _value(environment: Mapping[str, str], name: str) -> str:
    """Upper case counts too, but for http_proxy: a web server sets HTTP_PROXY from a header."""
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
    return any(_fits(host, port, word) for word in text.replace(",", " ").split())


def _fits(host: str, port: int | None, word: str) -> bool:
    if word == "*":
        return True
    name, wanted = _split_port(word.lower())
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


def _split_port(word: str) -> tuple[str, int | None]:
    """``HOST:PORT`` in its parts; an IPv6 address with a port is in brackets."""
    if word.startswith("["):
        name, _, rest = word[1:].partition("]")
        digits = rest.removeprefix(":")
    elif word.count(":") == 1:
        name, _, digits = word.partition(":")
    else:
        name, digits = word, ""
    return name, int(digits) if digits.isascii() and digits.isdecimal() and len(
        digits
    ) < 6 else None


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
