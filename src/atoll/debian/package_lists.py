"""Search the package lists that apt has downloaded, without parsing them as a whole."""

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
    from collections.abc import Iterator, Sequence

    from atoll.debian.isolated_apt import AptDirectory
    from atoll.debian.sources import AptSource

_PATH = re.compile(rb"^Filename: (?:\./)?(.*)$", re.MULTILINE)
_TITLE = re.compile(rb"^Package: (.*)$|^Description: (.*)$", re.MULTILINE)
_ESSENTIAL = re.compile(rb"^Essential: yes$", re.MULTILINE)
_DATE = re.compile(r"^Date:", re.MULTILINE)
_FORMAT = "$(CREATED_BY)\t$(REPO_URI)\t$(RELEASE)\t$(FILENAME)"
_LOCAL_SCHEMES = ("file", "copy")
_URI_PREFIX = re.compile(r"[a-z0-9+.-]+:(?://)?(?:[^/@]*@)?")
_ENCODED = re.compile(r"""[^!-~]|[\\|{}[\]<>"^~_=!@#$%&*]""")
"""Characters that apt percent-encodes in the names of list files."""
_SIGNED = "-----BEGIN PGP SIGNED MESSAGE-----"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedPackage:
    """A package in a list. ``source`` is None for one of the recipe's own files."""

    source: AptSource | None
    stanza: Stanza

    @property
    def path(self) -> str:
        """The path of the .deb, relative to the repository's URI."""
        return self.stanza.fields.get("filename", "").removeprefix("./")

    def pin(self, *, stage: int, automatic: bool) -> Pin:
        """A pin of this package. Raises PackageError if the archive does not give its SHA-256."""
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
    """One Packages file, mapped into memory; an index of paths is built on first use.

    ``base`` is the repository's URI as apt writes it before the paths of packages.
    """

    source: AptSource | None
    base: str
    text: mmap.mmap | bytes
    paths: dict[bytes, int] = field(default_factory=dict)

    def find(self, path: bytes) -> Stanza | None:
        if not self.paths:
            self.paths = {match.group(1): match.start() for match in _PATH.finditer(self.text)}
        position = self.paths.get(path)
        return None if position is None else self.stanza_at(position)

    def stanza_at(self, position: int) -> Stanza:
        before = self.text.rfind(b"\n\n", 0, position)
        start = before + 2 if before >= 0 else 0
        end = self.text.find(b"\n\n", position)
        part = self.text[start : end if end >= 0 else len(self.text)]
        return parse_stanza(part.decode(errors="replace"))


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageLists:
    """All package lists that an apt directory has."""

    lists: tuple[_List, ...]

    def find_uri(self, uri: str) -> ListedPackage | None:
        """The package that apt would download from ``uri``; None if no list has it."""
        for one in self.lists:
            if uri.startswith(one.base):
                # apt writes the base as the source does, and encodes the path
                path = unquote(uri[len(one.base) :], errors="surrogateescape").removeprefix("./")
                stanza = one.find(path.encode(errors="surrogateescape"))
                if stanza is not None:
                    return ListedPackage(source=one.source, stanza=stanza)
        return None

    def find_words(self, words: Sequence[str]) -> Iterator[ListedPackage]:
        """The packages with all ``words`` in their name or their short description."""
        wanted = [word.lower().encode() for word in words]
        for one in self.lists:
            name = b""
            for match in _TITLE.finditer(one.text):
                if match.group(1) is not None:
                    name = match.group(1)
                elif all(word in name or word in match.group(2).lower() for word in wanted):
                    yield ListedPackage(source=one.source, stanza=one.stanza_at(match.start()))

    def essential(self, architecture: str) -> frozenset[str]:
        """Names of packages of which some version for ``architecture`` is essential."""
        stanzas = (
            one.stanza_at(match.start())
            for one in self.lists
            for match in _ESSENTIAL.finditer(one.text)
        )
        return frozenset(
            stanza.name for stanza in stanzas if stanza.architecture in (architecture, "all")
        )


@contextmanager
def opened_lists(apt: AptDirectory) -> Iterator[PackageLists]:
    """Open the current lists; they are closed when the block ends."""
    found = []
    for created, uri, suite, name in _targets(apt):
        if created != "Packages" or not Path(name).exists():
            continue
        source = _find_source(apt, uri, suite)
        if source is None and _normalize_uri(uri) != _normalize_uri(f"file:{apt.local}"):
            continue
        found.append(_List(source=source, base=f"{uri.rstrip('/')}/", text=_map_file(Path(name))))
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


def _find_source(apt: AptDirectory, uri: str, suite: str) -> AptSource | None:
    wanted = _normalize_uri(uri), suite.rstrip("/")
    return next(
        (one for one in apt.sources if (_normalize_uri(one.uri), one.suite.rstrip("/")) == wanted),
        None,
    )


def _normalize_uri(uri: str) -> str:
    """``uri`` in a canonical form: apt writes ``file:///x`` as ``file:/x``."""
    scheme, _, rest = uri.rstrip("/").partition(":")
    if scheme.lower() in _LOCAL_SCHEMES:
        rest = f"/{rest.lstrip('/')}"
    return f"{scheme.lower()}:{rest}"


def _map_file(path: Path) -> mmap.mmap | bytes:
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            return b""
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def release_path(apt: AptDirectory, source: AptSource) -> Path | None:
    """The InRelease or Release file of a source, which authenticates its lists; None if missing."""
    suite = source.suite.lstrip("/") if source.suite.endswith("/") else f"dists/{source.suite}/"
    paths = (
        apt.lists / list_name(f"{_normalize_uri(source.uri)}/{suite}{kind}")
        for kind in ("InRelease", "Release")
    )
    return next((path for path in paths if path.exists()), None)


def list_name(uri: str) -> str:
    """The name of the file in which apt stores the content of ``uri``."""
    path = _URI_PREFIX.sub("", uri, count=1)
    encoded = _ENCODED.sub(lambda found: f"%{ord(found.group()):02x}", path)
    return encoded.replace("/", "_")


def read_release(apt: AptDirectory, source: AptSource) -> str:
    """The text of a source's Release file without its signature; empty if it has none."""
    path = release_path(apt, source)
    if path is None:
        return ""
    text = path.read_text(errors="replace")
    return text.partition("\n\n")[2] if text.startswith(_SIGNED) else text


def pin_archive(apt: AptDirectory, source: AptSource) -> PinnedArchive:
    """A pin of the source's current Release file."""
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
    """The date of the newest Release file, in seconds since 1970; 0 if none has a date."""
    texts = (read_release(apt, source) for source in apt.sources)
    return max((parse_release_date(text) for text in texts if _DATE.search(text)), default=0)
