"""Parse and check http(s) addresses with the same parser that sends the request.

If the checking and the sending code parse ``http://a\\@b/`` differently, a password goes to the
wrong host. So every address from outside (a redirect, an authentication realm) is parsed here by
httpx, which also sends the request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from atoll.base.errors import NetworkError

if TYPE_CHECKING:
    import httpx

_PORTS = {"http": 80, "https": 443}
_MAX_NAME, _MAX_LABEL = 253, 63
_MAX_SHOWN = 512
"""Characters of a path in a message: a server may send 60,000."""


class ServerOrigin(NamedTuple):
    """Scheme, host and port (RFC 6454): the same server only if all three are equal."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """``HOST``, or ``HOST:PORT`` if the port is not the scheme's default."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == _PORTS[self.scheme] else f"{name}:{self.port}"


def parse_address(text: str) -> httpx.URL:
    """Parse an http or https address. Raises NetworkError if it is not one."""
    import httpx

    try:
        url = httpx.URL(text)
        _check(url)
    except (httpx.InvalidURL, ValueError, TypeError) as error:  # UnicodeError is a ValueError
        raise NetworkError(
            f"{_short(text)} is not a valid address: {error}",
            hint="an address begins with https:// and a host name",
        ) from error
    return url


def join_address(url: httpx.URL, target: str) -> httpx.URL:
    """Resolve the redirect target ``target`` relative to ``url``.

    Raises NetworkError if the target is invalid, downgrades https to http, or contains a user name
    or password.
    """
    import httpx

    try:
        there = url.join(target)
        if there.scheme in _PORTS:
            _check(there)
    except (httpx.InvalidURL, ValueError, TypeError) as error:
        raise NetworkError(
            f"{show_address(url)} redirects to {_short(target)}, which is not a valid address",
            hint="report it to the administrator of the server",
        ) from error
    if there.scheme not in _PORTS or (url.scheme, there.scheme) == ("https", "http"):
        raise NetworkError(
            f"{show_address(url)} redirects to {_short(target)}, which is not safe",
            hint="report it to the administrator of the server",
        )
    if there.userinfo:
        raise NetworkError(
            f"{show_address(url)} redirects to an address with a user name, which is not safe",
            hint="report it to the administrator of the server",
        )
    return there


def origin_of(url: httpx.URL) -> ServerOrigin:
    """The origin of an address, with the scheme's default port filled in."""
    port = url.port or _PORTS[url.scheme]
    return ServerOrigin(url.scheme, url.raw_host.decode("ascii").lower().strip("[]"), port)


def show_address(url: httpx.URL) -> str:
    """Format an address for a message: no query, user name or password; a long path is cut."""
    path = url.raw_path.partition(b"?")[0].decode("ascii", errors="replace")
    path = path if len(path) <= _MAX_SHOWN else f"{path[:_MAX_SHOWN]}..."
    return f"{url.scheme}://{origin_of(url).authority}{path}"


def _check(url: httpx.URL) -> None:
    """Raises ValueError unless scheme, port and host name are valid (DNS length limits)."""
    name = url.raw_host.decode("ascii").strip("[]")
    if url.scheme not in _PORTS:
        raise ValueError(f"{url.scheme!r} is not http or https")
    if not name:
        raise ValueError("it has no host name")
    if url.port is not None and not 0 < url.port < 1 << 16:
        raise ValueError("its port is not valid")
    labels = name.removesuffix(".").split(".")
    if ":" not in name and (
        len(name) > _MAX_NAME or not all(0 < len(label) <= _MAX_LABEL for label in labels)
    ):
        raise ValueError("its host name is not valid")


def _short(text: str) -> str:
    """An unparsed address for a message: without query and password, line breaks escaped, cut."""
    shown = text.partition("?")[0]
    scheme, mark, rest = shown.partition("://")
    if mark:
        host, slash, path = rest.partition("/")
        shown = f"{scheme}{mark}{host.rpartition('@')[2]}{slash}{path}"
    return repr(shown[:200])
