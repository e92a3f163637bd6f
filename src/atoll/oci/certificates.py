"""The certificates for one registry, where containers keep them: folders named ``HOST[:PORT]``.

::

    ~/.config/containers/certs.d/HOST:PORT/     the first of these folders that is there
    /etc/containers/certs.d/HOST:PORT/          is the only one that counts
    /etc/docker/certs.d/HOST:PORT/
        *.crt           authorities to believe, besides the system's
        *.cert, *.key   a client certificate and its key, of one name
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
    """What is believed, and shown, while the registry at ``HOST[:PORT]`` is spoken to.

    Its authorities count for the servers that it sends to as well, as docker has it. A client
    certificate is for the registry itself only; leave to believe anybody, for its host.
    """
    registry = origin_of(parse_address(f"https://{address}"))
    own = find_certificates(address)

    def trust_of(origin: ServerOrigin) -> Trust:
        if origin == registry:
            return Trust(
                authorities=own.authorities, identities=own.identities, unverified=insecure
            )
        other = find_certificates(origin.place)
        return Trust(
            authorities=(*own.authorities, *other.authorities),
            unverified=insecure and origin.host == registry.host,
        )

    return trust_of


def find_certificates(place: str, environment: Mapping[str, str] | None = None) -> Trust:
    """What the folder for ``HOST`` or ``HOST:PORT`` holds. Raises Damaged."""
    if "/" in place or place in ("", ".", ".."):
        return Trust()
    for parent in _parents(os.environ if environment is None else environment):
        folder = parent / place
        try:
            names = sorted(each.name for each in folder.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise Damaged(f"{folder}: {error.strerror}", hint="check its permissions") from error
        return _sort(folder, names)
    return Trust()


def _parents(environment: Mapping[str, str]) -> tuple[Path, ...]:
    home = Path(environment.get("HOME") or "/root")
    own = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    return (own / "containers/certs.d", *SYSTEM)


def _sort(folder: Path, names: list[str]) -> Trust:
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
