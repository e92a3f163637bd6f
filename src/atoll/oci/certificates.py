"""TLS certificates for one registry, as in containers-certs.d(5): directories ``HOST[:PORT]``.

::

    ~/.config/containers/certs.d/HOST:PORT/     only the first of these directories
    /etc/containers/certs.d/HOST:PORT/          that exists is used
    /etc/docker/certs.d/HOST:PORT/
        *.crt           certificate authorities to trust, besides the system's
        *.cert, *.key   a client certificate and its key, with the same stem
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged
from atoll.host.address import origin_of, parse_address
from atoll.host.tls import Trust

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from atoll.host.address import ServerOrigin

SYSTEM = (Path("/etc/containers/certs.d"), Path("/etc/docker/certs.d"))


def trust_for(address: str, *, insecure: bool) -> Callable[[ServerOrigin], Trust]:
    """The TLS settings for each server contacted while pulling from the registry ``HOST[:PORT]``.

    As in docker, the registry's certificate authorities are also trusted for the servers that it
    redirects to. Its client certificate is for the registry alone; ``insecure`` covers its host.
    Raises Damaged for an unreadable directory or a client certificate without its key.
    """
    registry = origin_of(parse_address(f"https://{address}"))
    own = find_certificates(address)

    def trust_of(origin: ServerOrigin) -> Trust:
        if origin == registry:
            return Trust(
                authorities=own.authorities, identities=own.identities, unverified=insecure
            )
        other = find_certificates(origin.authority)
        return Trust(
            authorities=(*own.authorities, *other.authorities),
            unverified=insecure and origin.host == registry.host,
        )

    return trust_of


def find_certificates(host: str, environment: Mapping[str, str] | None = None) -> Trust:
    """The certificates for ``HOST`` or ``HOST:PORT``. Raises Damaged."""
    if "/" in host or host in ("", ".", ".."):
        return Trust()
    for parent in _search_path(os.environ if environment is None else environment):
        folder = parent / host
        try:
            names = sorted(each.name for each in folder.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise Damaged(f"{folder}: {error.strerror}", hint="check its permissions") from error
        return _classify(folder, names)
    return Trust()


def _search_path(environment: Mapping[str, str]) -> tuple[Path, ...]:
    home = Path(environment.get("HOME") or "/root")
    own = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    return (own / "containers/certs.d", *SYSTEM)


def _classify(folder: Path, names: list[str]) -> Trust:
    identities = []
    for name in names:
        stem, dot, kind = name.rpartition(".")
        if dot and kind in ("cert", "key"):
            other = f"{stem}.{'key' if kind == 'cert' else 'cert'}"
            if other not in names:
                raise Damaged(
                    f"{folder / name} has no matching {other}",
                    hint="a client certificate needs two files: NAME.cert and NAME.key",
                )
            if kind == "cert":
                identities.append((folder / name, folder / other))
    authorities = tuple(folder / name for name in names if name.endswith(".crt"))
    return Trust(authorities=authorities, identities=tuple(identities))
