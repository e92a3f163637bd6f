"""The package lists of an archive: what apt has fetched, searched without reading it as a whole."""

from __future__ import annotations

import hashlib
import mmap
import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from atoll.base.errors import PackageError
from atoll.debian.pin import Pin, PinnedArchive
from atoll.debian.sources import parse_release_date
from atoll.debian.stanza import Stanza, parse_stanza

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atoll.debian.isolated_apt import AptDirectory
    from atoll.debian.sources import AptSource

_PATH = re.compile(rb"^Filename: (?:\./)?(.*)$", re.MULTILINE)
_ESSENTIAL = re.compile(rb"^Essential: yes$", re.MULTILINE)
_DATE = re.compile(r"^Date:", re.MULTILINE)
_FORMAT = "$(CREATED_BY)\t$(REPO_URI)\t$(RELEASE)\t$(FILENAME)"
_LOCAL_SCHEMES = ("file", "copy")
_BEFORE_PLACE = re.compile(r"[a-z0-9+.-]+:(?://)?(?:[^/@]*@)?")
_QUOTED = re.compile(r"""[^!-~]|[\\|{}[\]<>"^~_=!@#$%&*]""")
"""What apt spells out in the name of a file."""
_SIGNED = "-----BEGIN PGP SIGNED MESSAGE-----"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedPackage:
    """A package that an archive has. ``source`` is None for one of the recipe's own files."""

    source: AptSource | None
    stanza: Stanza

    @property
    def path(self) -> str:
        return self.stanza.fields.get("filename", "").removeprefix("./")

    def pin(self, *, stage: int, automatic: bool) -> Pin:
        """Raises PackageError where the archive does not say enough to pin it."""
        fields = self.stanza.fields
        if not fields.get("sha256") or not fields.get("size", "").isdigit():
            where = self.source.uri if self.source else "a local file"
            raise PackageError(f"{where} has no SHA-256 of {self.stanza.name}")
        return Pin(
            name=self.stanza.name,
            architecture=self.stanza.architecture,
            version=self.stanza.version,
            size=int(fields["size"]),
            sha256=fields["sha256"],
            archive=self.source.name if self.source else "",
            path=self.path,
            stage=stage,
            automatic=automatic,
        )


@dataclass(slots=True, kw_only=True)
class _List:
    """One Packages file, mapped into memory; what is asked often is indexed when first asked.

    ``base`` is the repository's address as apt writes it before the paths of packages.
    """

    source: AptSource | None
    base: str
    text: mmap.mmap | bytes
    paths: dict[bytes, int] = field(default_factory=dict)

    def find(self, path: bytes) -> Stanza | None:
        if not self.paths:
            self.paths = {match.group(1): match.start() for match in _PATH.finditer(self.text)}
        place = self.paths.get(path)
        return None if place is None else self.around(place)

    def around(self, place: int) -> Stanza:
        before = self.text.rfind(b"\n\n", 0, place)
        start = before + 2 if before >= 0 else 0
        end = self.text.find(b"\n\n", place)
        part = self.text[start : end if end >= 0 else len(self.text)]
        return parse_stanza(part.decode(errors="replace"))


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageLists:
    """All package lists that an apt directory has."""

    lists: tuple[_List, ...]

    def find_uri(self, uri: str) -> ListedPackage | None:
        """The package that apt would fetch from ``uri``; None when no list has it."""
        for one in self.lists:
            if uri.startswith(one.base):
                # apt writes the base as the source does, and encodes the path
                path = unquote(uri[len(one.base) :], errors="surrogateescape").removeprefix("./")
                stanza = one.find(path.encode(errors="surrogateescape"))
                if stanza is not None:
                    return ListedPackage(source=one.source, stanza=stanza)
        return None

    def essential(self, architecture: str) -> frozenset[str]:
        """Names that are essential in some version of ``architecture``."""
        stanzas = (
            one.around(match.start())
            for one in self.lists
            for match in _ESSENTIAL.finditer(one.text)
        )
        return frozenset(
            stanza.name for stanza in stanzas if stanza.architecture in (architecture, "all")
        )


@contextmanager
def opened_lists(apt: AptDirectory) -> Iterator[PackageLists]:
    """The lists as they are now; closed with the context."""
    found = []
    for created, uri, suite, name in _targets(apt):
        if created != "Packages" or not Path(name).exists():
            continue
        source = _source_of(apt, uri, suite)
        if source is None and _plain_uri(uri) != _plain_uri(f"file:{apt.local}"):
            continue
        found.append(_List(source=source, base=f"{uri.rstrip('/')}/", text=_mapped(Path(name))))
    try:
        yield PackageLists(lists=tuple(found))
    finally:
        for one in found:
            if isinstance(one.text, mmap.mmap):
                one.text.close()


def _targets(apt: AptDirectory) -> Iterator[tuple[str, str, str, str]]:
    for line in apt.run("apt-get", "indextargets", "--format", _FORMAT).splitlines():
        created, uri, suite, name = line.split("\t")
        yield created, uri, suite, name


def _source_of(apt: AptDirectory, uri: str, suite: str) -> AptSource | None:
    wanted = _plain_uri(uri), suite.rstrip("/")
    return next(
        (one for one in apt.sources if (_plain_uri(one.uri), one.suite.rstrip("/")) == wanted), None
    )


def _plain_uri(uri: str) -> str:
    """``uri`` in one form: apt writes ``file:///x`` as ``file:/x``."""
    scheme, _, rest = uri.rstrip("/").partition(":")
    if scheme.lower() in _LOCAL_SCHEMES:
        rest = f"/{rest.lstrip('/')}"
    return f"{scheme.lower()}:{rest}"


def _mapped(path: Path) -> mmap.mmap | bytes:
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            return b""
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def release_path(apt: AptDirectory, source: AptSource) -> Path | None:
    """The file that a source's lists are believed by, as apt names it."""
    suite = source.suite.lstrip("/") if source.suite.endswith("/") else f"dists/{source.suite}/"
    paths = (
        apt.lists / list_name(f"{_plain_uri(source.uri)}/{suite}{kind}")
        for kind in ("InRelease", "Release")
    )
    return next((path for path in paths if path.exists()), None)


def list_name(uri: str) -> str:
    """The name of the file in which apt keeps what ``uri`` gives."""
    place = _BEFORE_PLACE.sub("", uri, count=1)
    quoted = _QUOTED.sub(lambda found: f"%{ord(found.group()):02x}", place)
    return quoted.replace("/", "_")


def read_release(apt: AptDirectory, source: AptSource) -> str:
    """The text of a source's Release file without its signature; empty when it has none."""
    path = release_path(apt, source)
    if path is None:
        return ""
    text = path.read_text(errors="replace")
    return text.partition("\n\n")[2] if text.startswith(_SIGNED) else text


def pin_archive(apt: AptDirectory, source: AptSource) -> PinnedArchive:
    path = release_path(apt, source)
    digest = hashlib.sha256(path.read_bytes() if path else b"").hexdigest()
    return PinnedArchive(
        name=source.name,
        uri=source.uri,
        suite=source.suite,
        components=source.components,
        release=digest,
    )


def read_epoch(apt: AptDirectory) -> int:
    """The date of the newest Release file, in seconds; those without a date do not count."""
    texts = (read_release(apt, source) for source in apt.sources)
    return max((parse_release_date(text) for text in texts if _DATE.search(text)), default=0)
