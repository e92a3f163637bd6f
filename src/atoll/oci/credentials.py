"""Who a person is at a registry: containers' ``auth.json``, found where podman looks for it.

::

    {"auths":       {"HOST[/PATH]": {"auth": base64("USER:PASSWORD")}},
     "credHelpers": {"HOST": "NAME"},     docker-credential-NAME knows the password (``helpers``)
     "credsStore":  "NAME"}               it knows those of all other hosts

A helper for the host comes first, as podman has it; then the longest entry that HOST/NAME begins
with, then ``credsStore``. After the files come the helpers that ``registries.conf`` names.
"""

from __future__ import annotations

import base64
import binascii
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atoll.base.errors import Damaged
from atoll.base.json import parse_json_object
from atoll.host.fs import read_regular
from atoll.oci.credential_helpers import ask_helper
from atoll.oci.login import Credentials

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FILES = "containers-auth.json"
"""What ``credential-helpers`` calls the files."""

LIMIT = 1 << 20
"""Bytes of a file of credentials."""


def find_credentials(
    host: str,
    repository: str,
    environment: Mapping[str, str] | None = None,
    *,
    helpers: Sequence[str] = (FILES,),
) -> Credentials | None:
    """What the first that knows this place says: files and helpers in the order of ``helpers``.

    Raises Damaged for a file that is broken, MissingProgram or MissingPrivilege for a helper.
    """
    for name in helpers:
        found = (
            _ask_files(host, repository, os.environ if environment is None else environment)
            if name == FILES
            else ask_helper(name, host)
        )
        if found is not None:
            return found
    return None


def _ask_files(host: str, repository: str, environment: Mapping[str, str]) -> Credentials | None:
    for path in credential_files(environment):
        try:
            data = read_regular(path, limit=LIMIT, follow=True)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise Damaged(f"{path}: {error.strerror}") from error
        file = parse_credentials(data, where=str(path))
        if host in file.helpers:
            found = ask_helper(file.helpers[host], host)
        else:
            found = file.find(host, repository)
            if found is None and file.store:
                found = ask_helper(file.store, host)
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
    """What one file knows, by place (``HOST`` or ``HOST/PATH``), and which helper knows more."""

    places: Mapping[str, Credentials]
    helpers: Mapping[str, str] = field(default_factory=dict)
    store: str = ""

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
        fields = parse_json_object(data or b"{}", where=where)
        places = {
            _place(name): _credentials(entry["auth"])
            for name, entry in _table(fields, "auths").items()
            if _is_login(entry)
        }
        helpers = {
            _place(name): _text(helper) for name, helper in _table(fields, "credHelpers").items()
        }
        store = _text(fields.get("credsStore") or "")
    except (Damaged, ValueError, TypeError, KeyError, binascii.Error):
        raise Damaged(
            f"{where} is not a valid credentials file", hint="create it again: podman login HOST"
        ) from None
    return CredentialFile(places=places, helpers=helpers, store=store)


def _table(fields: Mapping[str, object], key: str) -> dict[str, Any]:
    value = fields.get(key) or {}
    if not isinstance(value, dict):
        raise TypeError(f"{key} is not an object")
    return value


def _is_login(entry: object) -> bool:
    """Entries without ``auth`` only remember that somebody has logged in, elsewhere."""
    if not isinstance(entry, dict):
        raise TypeError("an entry is not an object")
    return bool(entry.get("auth"))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a string")
    return value


def _place(name: str) -> str:
    """Older files have addresses: ``https://HOST/v1/``."""
    bare = name.removeprefix("https://").removeprefix("http://")
    return bare.partition("/")[0] if bare != name else bare.rstrip("/")


def _credentials(text: object) -> Credentials:
    user, colon, password = base64.b64decode(_text(text), validate=True).decode().partition(":")
    if not colon:
        raise ValueError("no colon")
    return Credentials(user=user, password=password.rstrip("\0"))
