"""Image references: ``oci:DIR[:TAG]``, ``oci-archive:FILE[:TAG]``, ``store:NAME``,
``docker://HOST/NAME[:TAG][@DIGEST]``, or ``HOST/NAME:TAG``, which means ``docker://`` too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import assert_never

from atoll.base.errors import Damaged, UsageError
from atoll.base.ids import BlobDigest, parse_blob_digest

FORMS = "oci:DIR[:TAG], oci-archive:FILE, store:NAME or docker://HOST/NAME:TAG"

_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_HOST = re.compile(
    r"(localhost|[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9-]+)+"
    r"|[A-Za-z0-9.-]+(?=:)|\[[0-9A-Fa-f:]+\])(:[0-9]{1,5})?"
)
_REPOSITORY = re.compile(
    r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*)*"
)
_LOGIN = re.compile(r"((?:^|//))[^/@:]*:[^/@]*@")
"""``USER:PASSWORD@`` before a host, which is removed from messages."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutReference:
    """An image in an OCI layout directory. Without a tag it is the only image there."""

    directory: str
    tag: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveReference:
    """An image in an OCI archive: a layout in one tar file."""

    file: str
    tag: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryReference:
    """An image in a registry; ``digest``, that of its manifest, takes precedence over the tag."""

    host: str
    repository: str
    tag: str | None = None
    digest: BlobDigest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreReference:
    """A ref in the store that the command works on."""

    name: str


Reference = LayoutReference | ArchiveReference | RegistryReference | StoreReference


def parse_reference(text: str) -> Reference:
    """Parse a reference. Raises UsageError with the reason and the valid forms."""
    if _CONTROL.search(text) or text.startswith("-"):
        raise _invalid(text, "it contains control characters or begins with -")
    kind, colon, rest = text.partition(":")
    if colon and kind in ("oci", "oci-archive", "store"):
        if not rest:
            raise _invalid(text, f"nothing follows {kind}:")
        if kind == "store":
            return StoreReference(name=rest)
        path, tag = _split_path(text, rest)
        if kind == "oci":
            return LayoutReference(directory=path, tag=tag)
        return ArchiveReference(file=path, tag=tag)
    if text.startswith("docker://"):
        return _parse_registry(text, text.removeprefix("docker://"))
    if "://" in text:
        raise _invalid(text, f"{text.partition('://')[0]}:// is not a supported transport")
    return _parse_registry(text, text)


def format_reference(reference: Reference) -> str:
    """The inverse of ``parse_reference``."""
    match reference:
        case StoreReference():
            return f"store:{reference.name}"
        case LayoutReference():
            return f"oci:{reference.directory}{_suffix(':', reference.tag)}"
        case ArchiveReference():
            return f"oci-archive:{reference.file}{_suffix(':', reference.tag)}"
        case RegistryReference():
            name = f"docker://{reference.host}/{reference.repository}"
            return name + _suffix(":", reference.tag) + _suffix("@", reference.digest)
    assert_never(reference)


def check_tag(tag: str) -> str:
    """Return ``tag`` if it is valid; raises UsageError."""
    if not _TAG.fullmatch(tag):
        raise UsageError(
            f"{tag!r} is not a valid tag",
            hint="a tag has up to 128 letters, digits and . _ -, and does not begin with . or -",
        )
    return tag


def _split_path(text: str, rest: str) -> tuple[str, str | None]:
    """Split ``PATH[:TAG]``: as in skopeo, the last ``:WORD`` is a tag."""
    path, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        return rest, None
    if not path:
        raise _invalid(text, "it has no path")
    return path, check_tag(tag)


def _parse_registry(text: str, rest: str) -> RegistryReference:
    name, at, digest = rest.partition("@")
    host, slash, repository = name.partition("/")
    if not slash or not _HOST.fullmatch(host):
        raise _invalid(text, "it does not begin with a registry host name")
    repository, colon, tag = repository.partition(":")
    if colon:
        check_tag(tag)
    if not _REPOSITORY.fullmatch(repository):
        raise _invalid(text, f"{repository!r} is not a valid repository name")
    try:
        checked = parse_blob_digest(digest) if at else None
    except Damaged as error:
        raise _invalid(text, error.message) from error
    return RegistryReference(host=host, repository=repository, tag=tag or None, digest=checked)


def _suffix(separator: str, value: str | None) -> str:
    return separator + value if value else ""


def _invalid(text: str, why: str) -> UsageError:
    redacted = _LOGIN.sub(r"\1", text)
    hint = f"write {FORMS}"
    if redacted != text:
        hint += "; a login belongs into auth.json: podman login HOST, or skopeo login HOST"
    return UsageError(f"{redacted!r} does not name an image: {why}", hint=hint)
