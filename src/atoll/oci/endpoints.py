"""Which servers an image is fetched from: containers-registries.conf(5), mirrors first.

Supported keys of version 2 of the file: ``[[registry]]`` with ``prefix``, ``location``,
``insecure``, ``blocked``, ``mirror-by-digest-only`` and ``[[registry.mirror]]`` with ``location``,
``insecure``, ``pull-from-mirror``; and ``credential-helpers``. Short names are not resolved: a
reference must include its registry.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atoll.base.errors import Damaged, Refused
from atoll.base.toml import parse_toml
from atoll.host.fs import read_regular
from atoll.oci.credentials import FILES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from atoll.oci.reference import RegistryReference

SYSTEM = Path("/etc/containers")
LIMIT = 1 << 20
"""Bytes of one ``registries.conf`` or drop-in."""

_INVALID = (ValueError, TypeError, AttributeError, KeyError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A server and repository that may have an image.

    ``insecure`` accepts unverified TLS and plain http; None if ``registries.conf`` does not set it.
    """

    host: str
    repository: str
    insecure: bool | None = None

    @property
    def allows_http(self) -> bool:
        """Whether to fall back to http if the server does not speak TLS.

        Only if it is insecure, or on the loopback interface and not explicitly secure.
        """
        return bool(self.insecure) or (self.insecure is None and self.is_loopback)

    @property
    def address(self) -> str:
        """The host to connect to; that of Docker Hub differs from its name in references."""
        return "registry-1.docker.io" if self.host == "docker.io" else self.host

    @property
    def is_loopback(self) -> bool:
        """Whether the host is ``localhost`` or a loopback address."""
        if self.host.startswith("["):
            return self.host.partition("]")[0] == "[::1"
        name = self.host.partition(":")[0]
        try:
            return name == "localhost" or ip_address(name).is_loopback
        except ValueError:
            return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """One ``[[registry.mirror]]``: used for references by digest, by tag, or both."""

    location: str
    insecure: bool | None = None
    by_digest: bool = True
    by_tag: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryRule:
    """One ``[[registry]]``: applies to all names ``HOST/REPOSITORY`` that begin with ``prefix``."""

    prefix: str
    location: str
    insecure: bool | None = None
    blocked: bool = False
    mirrors: tuple[Mirror, ...] = ()

    def remainder(self, name: str) -> str | None:
        """The part of ``HOST/REPOSITORY`` after the prefix; None if the rule does not match."""
        if self.prefix.startswith("*."):
            host, slash, path = name.partition("/")
            return slash + path if host.endswith(self.prefix[1:]) else None
        rest = name.removeprefix(self.prefix)
        return rest if name.startswith(self.prefix) and rest[:1] in ("", "/") else None


def find_endpoints(
    reference: RegistryReference, rules: Iterable[RegistryRule]
) -> tuple[Endpoint, ...]:
    """The endpoints to try, in order: mirrors, then the registry itself.

    The rule with the longest matching prefix applies. Raises Refused for a blocked registry,
    Damaged for a rule that does not give an image name.
    """
    name = f"{reference.host}/{reference.repository}"
    matching = [(len(rule.prefix), rule) for rule in rules if rule.remainder(name) is not None]
    if not matching:
        return (Endpoint(host=reference.host, repository=reference.repository),)
    rule = max(matching, key=lambda each: each[0])[1]
    if rule.blocked:
        raise Refused(f"{name}: registries.conf blocks {rule.prefix}")
    rest = rule.remainder(name) or ""
    mirrors = [
        _endpoint(mirror.location + rest, insecure=mirror.insecure)
        for mirror in rule.mirrors
        if (mirror.by_digest if reference.digest else mirror.by_tag)
    ]
    own = name if rule.location.startswith("*.") else rule.location + rest
    return (*mirrors, _endpoint(own, insecure=rule.insecure))


def read_rules(environment: Mapping[str, str] | None = None) -> tuple[RegistryRule, ...]:
    """All rules of the system and the user; a later one with the same prefix replaces an earlier.

    Raises Damaged.
    """
    rules: dict[str, RegistryRule] = {}
    for path, data in _read_files(environment):
        rules.update((rule.prefix, rule) for rule in parse_rules(data, where=str(path)))
    return tuple(rules.values())


def read_helpers(environment: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Where to look for credentials, in order; the last file that sets it wins. Raises Damaged."""
    helpers: tuple[str, ...] = (FILES,)
    for path, data in _read_files(environment):
        helpers = parse_helpers(data, where=str(path)) or helpers
    return helpers


def parse_rules(data: bytes, *, where: str) -> tuple[RegistryRule, ...]:
    """Parse the ``[[registry]]`` tables of one file. Raises Damaged; ``where`` names the file."""
    try:
        return tuple(_rule(each) for each in _load(data).get("registry", []))
    except _INVALID as error:
        raise _invalid(where, error) from error


def parse_helpers(data: bytes, *, where: str) -> tuple[str, ...]:
    """Parse the key ``credential-helpers`` of one file. Raises Damaged."""
    try:
        found = _load(data).get("credential-helpers", [])
        if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
            raise TypeError("credential-helpers is not a list of names")
        return tuple(found)
    except _INVALID as error:
        raise _invalid(where, error) from error


def _load(data: bytes) -> dict[str, Any]:
    return parse_toml(data.decode())


def _invalid(where: str, error: Exception) -> Damaged:
    return Damaged(
        f"{where} is not a valid registries.conf: {error}",
        hint="see: man 5 containers-registries.conf",
    )


def _read_files(environment: Mapping[str, str] | None) -> Iterator[tuple[Path, bytes]]:
    for path in _rule_files(os.environ if environment is None else environment):
        try:
            yield path, read_regular(path, limit=LIMIT, follow=True)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise Damaged(f"{path}: {error.strerror}") from error


def _rule_files(environment: Mapping[str, str]) -> list[Path]:
    named = environment.get("CONTAINERS_REGISTRIES_CONF")
    if named:
        return [Path(named)]
    home = Path(environment.get("HOME") or "/root")
    own = Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "containers"
    main = own if (own / "registries.conf").exists() else SYSTEM
    drop_ins = [
        *sorted((SYSTEM / "registries.conf.d").glob("*.conf")),
        *sorted((own / "registries.conf.d").glob("*.conf")),
    ]
    return [main / "registries.conf", *drop_ins]


def _rule(fields: dict[str, Any]) -> RegistryRule:
    location = _text(fields, "location") or _text(fields, "prefix")
    if not location:
        raise ValueError("a [[registry]] has neither location nor prefix")
    digest_only = _flag(fields, "mirror-by-digest-only")
    return RegistryRule(
        prefix=_text(fields, "prefix") or location,
        location=location,
        insecure=_flag(fields, "insecure") if "insecure" in fields else None,
        blocked=_flag(fields, "blocked"),
        mirrors=tuple(_mirror(each, digest_only) for each in fields.get("mirror", [])),
    )


def _mirror(fields: dict[str, Any], digest_only: bool) -> Mirror:
    kind = _text(fields, "pull-from-mirror") or ("digest-only" if digest_only else "all")
    return Mirror(
        location=_text(fields, "location"),
        insecure=_flag(fields, "insecure") if "insecure" in fields else None,
        by_digest=kind in ("all", "digest-only"),
        by_tag=kind in ("all", "tag-only"),
    )


def _endpoint(name: str, *, insecure: bool | None) -> Endpoint:
    host, slash, repository = name.partition("/")
    if not host or not slash or not repository:
        raise Damaged(f"registries.conf maps it to {name!r}, which is not an image name")
    return Endpoint(host=host, repository=repository, insecure=insecure)


def _text(fields: dict[str, Any], key: str) -> str:
    value = fields.get(key, "")
    if not isinstance(value, str):
        raise TypeError(f"{key} is not a string")
    return value.rstrip("/")


def _flag(fields: dict[str, Any], key: str) -> bool:
    value = fields.get(key, False)
    if not isinstance(value, bool):
        raise TypeError(f"{key} is not true or false")
    return value
