"""Credentials for a registry: ``auth.json`` (containers-auth.json(5)), found where podman looks.

::

    {"auths":       {"HOST[/PATH]": {"auth": base64("USER:PASSWORD")}},
     "credHelpers": {"HOST": "NAME"},     docker-credential-NAME has the password
     "credsStore":  "NAME"}               the helper for all other hosts

As in podman, a helper for the host comes first; then the longest key of ``auths`` that is a prefix
of HOST/REPOSITORY, then ``credsStore``. ``registries.conf`` can name further helpers, and its order
decides (``endpoints.read_helpers``).
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
"""The name of these files in the ``credential-helpers`` of ``registries.conf``."""

LIMIT = 1 << 20
"""Bytes of a credentials file."""


def find_credentials(
    host: str,
    repository: str,
    environment: Mapping[str, str] | None = None,
    *,
    helpers: Sequence[str] = (FILES,),
) -> Credentials | None:
    """The first credentials found; ``helpers`` gives the order of files and helpers.

    Raises Damaged for an invalid file, MissingProgram or MissingPrivilege for a helper.
    """
    for name in helpers:
        found = (
            _find_in_files(host, repository, os.environ if environment is None else environment)
            if name == FILES
            else ask_helper(name, host)
        )
        if found is not None:
            return found
    return None


def _find_in_files(
    host: str, repository: str, environment: Mapping[str, str]
) -> Credentials | None:
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
    """Paths to search, in order. REGISTRY_AUTH_FILE, if set, is the only one."""
    named = environment.get("REGISTRY_AUTH_FILE")
    if named:
        return (Path(named),)
    home = Path(environment.get("HOME") or "/root")
    run = Path(environment.get("XDG_RUNTIME_DIR") or f"/run/containers/{os.geteuid()}")
    config = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    name = "containers/auth.json" if environment.get("XDG_RUNTIME_DIR") else "auth.json"
    docker = Path(environment.get("DOCKER_CONFIG") or home / ".docker")
    return (run / name, config / "containers/auth.json", docker / "config.json")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CredentialFile:
    """One file: credentials by ``HOST`` or ``HOST/PATH``, helpers by host, the default helper."""

    logins: Mapping[str, Credentials]
    helpers: Mapping[str, str] = field(default_factory=dict)
    store: str = ""

    def find(self, host: str, repository: str) -> Credentials | None:
        """The credentials with the longest key that is a prefix of ``HOST/REPOSITORY``."""
        key = f"{host}/{repository}"
        while key:
            if key in self.logins:
                return self.logins[key]
            key = key.rpartition("/")[0]
        return None


def parse_credentials(data: bytes, *, where: str) -> CredentialFile:
    """Parse an ``auth.json``. Raises Damaged; the message never shows what the file contains."""
    try:
        fields = parse_json_object(data or b"{}", where=where)
        logins = {
            _normalize_key(name): _credentials(entry["auth"])
            for name, entry in _object_of(fields, "auths").items()
            if _is_login(entry)
        }
        helpers = {
            _normalize_key(name): _text(helper)
            for name, helper in _object_of(fields, "credHelpers").items()
        }
        store = _text(fields.get("credsStore") or "")
    except (Damaged, ValueError, TypeError, KeyError, binascii.Error):
        raise Damaged(
            f"{where} is not a valid credentials file", hint="create it again: podman login HOST"
        ) from None
    return CredentialFile(logins=logins, helpers=helpers, store=store)


def _object_of(fields: Mapping[str, object], key: str) -> dict[str, Any]:
    value = fields.get(key) or {}
    if not isinstance(value, dict):
        raise TypeError(f"{key} is not an object")
    return value


def _is_login(entry: object) -> bool:
    """Entries without ``auth`` only record that a login is kept elsewhere, by a helper."""
    if not isinstance(entry, dict):
        raise TypeError("an entry is not an object")
    return bool(entry.get("auth"))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a string")
    return value


def _normalize_key(name: str) -> str:
    """Reduce a key to ``HOST[/PATH]``; older files have URLs: ``https://HOST/v1/``."""
    bare = name.removeprefix("https://").removeprefix("http://")
    return bare.partition("/")[0] if bare != name else bare.rstrip("/")


def _credentials(text: object) -> Credentials:
    user, colon, password = base64.b64decode(_text(text), validate=True).decode().partition(":")
    if not colon:
        raise ValueError("no colon")
    return Credentials(user=user, password=password.rstrip("\0"))
