"""Who a person is at a registry: containers' ``auth.json``, found where podman looks for it.

::

    {"auths": {"HOST[/PATH]": {"auth": base64("USER:PASSWORD")}}}

The longest entry that HOST/NAME begins with is used. Credential helpers are not started.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Credentials:
    """Has no repr, so that no log shows it."""

    user: str
    password: str

    @property
    def basic(self) -> str:
        """The value of an ``Authorization`` header."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


def find_credentials(
    host: str, repository: str, environment: Mapping[str, str] | None = None
) -> Credentials | None:
    """What the first file that knows this place says; raises Damaged for a file that is broken."""
    for path in credential_files(os.environ if environment is None else environment):
        try:
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise Damaged(f"{path} cannot be read: {error.strerror}") from error
        found = parse_credentials(data, where=str(path)).find(host, repository)
        if found is not None:
            return found
    return None


def credential_files(environment: Mapping[str, str]) -> tuple[Path, ...]:
    """Where to look, best first. REGISTRY_AUTH_FILE, when set, is the only place."""
    named = environment.get("REGISTRY_AUTH_FILE")
    if named:
        return (Path(named),)
    home = Path(environment.get("HOME") or "/root")
    run = Path(environment.get("XDG_RUNTIME_DIR") or f"/run/containers/{os.geteuid()}")
    config = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    below = "containers/auth.json" if environment.get("XDG_RUNTIME_DIR") else "auth.json"
    docker = Path(environment.get("DOCKER_CONFIG") or home / ".docker")
    return (run / below, config / "containers/auth.json", docker / "config.json")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CredentialFile:
    """What one file knows, by place (``HOST`` or ``HOST/PATH``)."""

    places: Mapping[str, Credentials]

    def find(self, host: str, repository: str) -> Credentials | None:
        place = f"{host}/{repository}"
        while place:
            if place in self.places:
                return self.places[place]
            place = place.rpartition("/")[0]
        return None


def parse_credentials(data: bytes, *, where: str) -> CredentialFile:
    """Raises Damaged; the message never shows what the file holds."""
    try:
        entries = json.loads(data or b"{}").get("auths") or {}
        places = {
            _place(name): _credentials(entry["auth"])
            for name, entry in entries.items()
            if entry.get("auth")
        }
    except (ValueError, AttributeError, TypeError, binascii.Error, RecursionError):
        raise Damaged(f"{where} is not a file of credentials",
                      hint="make it again: podman login HOST") from None  # fmt: skip
    return CredentialFile(places=places)


def _place(name: str) -> str:
    """Older files have addresses: ``https://HOST/v1/``."""
    bare = name.removeprefix("https://").removeprefix("http://")
    return bare.partition("/")[0] if bare != name else bare.rstrip("/")


def _credentials(text: str) -> Credentials:
    user, colon, password = base64.b64decode(text, validate=True).decode().partition(":")
    if not colon:
        raise ValueError("no colon")
    return Credentials(user=user, password=password.rstrip("\0"))
