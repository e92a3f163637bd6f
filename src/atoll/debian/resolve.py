"""Which packages a recipe's words mean: apt of this machine decides, and installs nothing.

apt works in a directory of its own in which nothing counts as installed, or exactly what is given:
so the answer depends on the words, the package lists and what is there already, on nothing else.
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from atoll.base.errors import PackageError, ProgramFailed
from atoll.debian.apt_errors import explain_failure
from atoll.debian.deb822 import parse_fields, split_paragraphs
from atoll.debian.dpkg_database import read_names
from atoll.debian.isolated_apt import refresh_lists
from atoll.debian.local_archive import write_flat_archive
from atoll.debian.package_lists import opened_lists, pin_archive, read_epoch, read_release
from atoll.debian.preferences import format_preferences
from atoll.debian.stanza import parse_stanza
from atoll.host.run import run

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from atoll.debian.isolated_apt import AptDirectory
    from atoll.debian.package_lists import ListedPackage, PackageLists
    from atoll.debian.pin import Pin, PinnedArchive
    from atoll.debian.stanza import Stanza

_URI = re.compile(r"^'([^']+)' \S+ \d+ \S*$", re.MULTILINE)
_REMOVED = re.compile(r"^Remv ([^\s:]+)(?::(\S+))? \[", re.MULTILINE)
_WORD = re.compile(
    r"(?P<name>[^:=/]+)(?::(?P<architecture>[^=/]+))?"
    r"(?:=(?P<version>.*)|/(?P<suite>.*))?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalDeb:
    """A .deb file of the recipe's own: its name there, and what it is."""

    name: str
    path: Path
    sha256: str
    stanza: Stanza


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageRequirement:
    """A word for apt, taken apart: ``NAME[:ARCHITECTURE][=VERSION | /SUITE]``."""

    name: str
    architecture: str | None = None
    version: str | None = None
    suite: str | None = None

    def names(self, stanza: Stanza, native: str) -> bool:
        """Whether the package could be meant: itself, or as one who provides the name."""
        kinds = (self.architecture or native, "all")
        if stanza.architecture not in kinds:
            return False
        return stanza.name == self.name or self.name in stanza.provides()


def parse_requirement(text: str) -> PackageRequirement:
    found = _WORD.fullmatch(text)
    return PackageRequirement(**found.groupdict()) if found else PackageRequirement(name=text)


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageRequirements:
    """What to choose. ``base``: the essential packages and apt are wanted, too.

    ``versions`` and ``sources`` are as in a recipe. ``own`` are packages of Atoll's own that are
    wanted besides; whoever resolves adds them to ``local``. ``implied`` are words for apt that the
    recipe does not say.
    """

    base: bool = True
    install: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    local: tuple[LocalDeb, ...] = ()
    own: tuple[str, ...] = ()
    implied: tuple[str, ...] = ()
    versions: tuple[tuple[str, str], ...] = ()
    sources: tuple[tuple[str, str], ...] = ()
    recommends: bool = False

    @property
    def words(self) -> tuple[str, ...]:
        """All words for apt."""
        return tuple(dict.fromkeys((*self.install, *self.implied)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """What counts as installed: control data, and which of it (name, architecture) as automatic."""

    stanzas: tuple[Stanza, ...] = ()
    automatic: frozenset[tuple[str, str]] = frozenset()


NOTHING = Installed()


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """What apt would do: packages that it takes (all at stage 1), and those that go, as (name,
    architecture).

    ``stanzas`` are the control data of what it takes. ``epoch`` is the date of the newest list.
    """

    pins: tuple[Pin, ...]
    stanzas: tuple[Stanza, ...]
    removed: tuple[tuple[str, str], ...]
    archives: tuple[PinnedArchive, ...]
    epoch: int


def resolve(
    apt: AptDirectory, requirements: PackageRequirements, *, installed: Installed = NOTHING
) -> Resolution:
    """Choose packages by the newest lists; raises PackageError, NetworkError, Damaged, NoSpace."""
    _write_local_archive(apt.local, requirements.local)
    refresh_lists(apt)
    return choose(apt, requirements, installed=installed)


def choose(
    apt: AptDirectory, requirements: PackageRequirements, *, installed: Installed = NOTHING
) -> Resolution:
    """``resolve`` by the lists that are there."""
    _prefer(apt, requirements, installed)
    with opened_lists(apt) as lists:
        base = find_base(apt, lists) if requirements.base else ()
        words = _words(apt, requirements, base)
        if not words:
            return _result(apt, requirements, base, [], ())
        output = _ask(apt, words, "--print-uris", recommends=requirements.recommends)
        offers = _offers(lists, output)
        removed: tuple[tuple[str, str], ...] = ()
        if installed.stanzas:
            simulated = _ask(apt, words, "--simulate", recommends=requirements.recommends)
            removed = tuple(parse_removed(simulated, apt.architectures[0]))
    return _result(apt, requirements, base, offers, removed)


def _prefer(apt: AptDirectory, requirements: PackageRequirements, installed: Installed) -> None:
    releases = {source.name: read_release(apt, source) for source in apt.sources}
    apt.write_state(
        status=format_status(installed.stanzas),
        automatic=format_automatic(installed.automatic, apt.architectures[0]),
        preferences=format_preferences(
            apt.sources,
            releases,
            versions=requirements.versions,
            taken=requirements.sources,
            local=[(deb.stanza.name, deb.stanza.version) for deb in requirements.local],
        ),
    )


def find_newer(
    apt: AptDirectory, requirements: PackageRequirements, *, installed: Installed
) -> tuple[Pin, ...]:
    """Newer versions of what is installed, as far as they fit together; by the newest lists."""
    _write_local_archive(apt.local, ())
    refresh_lists(apt)
    _prefer(apt, requirements, installed)
    with opened_lists(apt) as lists:
        output = _ask(
            apt, (), "--print-uris", verb="dist-upgrade", recommends=requirements.recommends
        )
        return _result(apt, requirements, (), _offers(lists, output), ()).pins


def find_base(apt: AptDirectory, lists: PackageLists) -> tuple[str, ...]:
    """The essential packages as the newest versions say it, and apt."""
    names = sorted(lists.essential(apt.architectures[0]))
    if not names:
        return ("apt",)
    shown = apt.run("apt-cache", "show", "--no-all-versions", "--", *names)
    stanzas = [parse_stanza(text) for text in split_paragraphs(shown)]
    return tuple(sorted({stanza.name for stanza in stanzas if stanza.essential} | {"apt"}))


def parse_removed(output: str, native: str) -> Iterable[tuple[str, str]]:
    """The packages (name, architecture) that a simulation says it removes."""
    for match in _REMOVED.finditer(output):
        yield match.group(1), match.group(2) or native


def format_status(stanzas: Iterable[Stanza]) -> str:
    """A dpkg status file in which all of them are installed."""
    output = "Status: install ok installed\n"
    return "".join(f"{one.text}\n{'' if 'status' in one.fields else output}\n" for one in stanzas)


def format_automatic(keys: Iterable[tuple[str, str]], native: str) -> str:
    """apt's extended_states; there, packages for all machines count as the native ones."""
    found = sorted({(name, native if kind == "all" else kind) for name, kind in keys})
    return "".join(
        f"Package: {name}\nArchitecture: {kind}\nAuto-Installed: 1\n\n" for name, kind in found
    )


def parse_automatic(text: str) -> list[tuple[str, str]]:
    """Names and architectures of the automatic packages in apt's extended_states."""
    marks = (parse_fields(part) for part in split_paragraphs(text))
    return [
        (mark.get("package", ""), mark.get("architecture", ""))
        for mark in marks
        if mark.get("auto-installed") == "1"
    ]


def _words(apt: AptDirectory, requirements: PackageRequirements, base: Sequence[str]) -> list[str]:
    unwanted = set(requirements.remove)
    native = apt.architectures[0]
    local = [
        f"{one.stanza.name}{_suffix(one.stanza.architecture, native)}={one.stanza.version}"
        for one in requirements.local
    ]
    wanted = [name for name in base if name not in unwanted]
    return [*wanted, *requirements.words, *local, *(f"{name}-" for name in requirements.remove)]


def _suffix(architecture: str, native: str) -> str:
    return "" if architecture in ("all", native) else f":{architecture}"


def _ask(
    apt: AptDirectory, words: Sequence[str], how: str, *, recommends: bool, verb: str = "install"
) -> str:
    """What apt says to a verb with these words; raises what its failure means."""
    argv = [
        "apt-get",
        how,
        "--yes",
        "--quiet",
        "-o",
        "Debug::NoLocking=true",
        "-o",
        f"APT::Install-Recommends={'true' if recommends else 'false'}",
        "--allow-downgrades",
        "--allow-change-held-packages",
        "--allow-remove-essential",
        verb,
        "--",
        *words,
    ]
    with tempfile.TemporaryFile() as log:
        try:
            run(argv, env=apt.environment, log=log)
        except ProgramFailed as error:
            raise explain_failure(error, suite=apt.suite, known=read_names(apt.lists)) from error
        log.seek(0)
        return log.read().decode(errors="replace")


def _offers(lists: PackageLists, output: str) -> list[ListedPackage]:
    found = []
    for uri in _URI.findall(output):
        offer = lists.find_uri(uri)
        if offer is None:
            raise PackageError(f"apt would fetch {uri}, which is in none of its package lists")
        found.append(offer)
    return found


def _result(
    apt: AptDirectory,
    requirements: PackageRequirements,
    base: Sequence[str],
    offers: Sequence[ListedPackage],
    removed: tuple[tuple[str, str], ...],
) -> Resolution:
    native = apt.architectures[0]
    asked = manual_keys(
        [*base, *requirements.words], [offer.stanza for offer in offers], native, requirements.local
    )
    names = {f"{number}.deb": deb.name for number, deb in enumerate(requirements.local)}
    pins = []
    for offer in offers:
        pin = offer.pin(stage=1, automatic=offer.stanza.key not in asked)
        pins.append(pin if offer.source else replace(pin, path=names[pin.path]))
    return Resolution(
        pins=tuple(sorted(pins)),
        stanzas=tuple(offer.stanza for offer in offers),
        removed=removed,
        archives=tuple(pin_archive(apt, one) for one in apt.sources),
        epoch=read_epoch(apt),
    )


def manual_keys(
    words: Iterable[str], stanzas: Sequence[Stanza], native: str, local: Iterable[LocalDeb] = ()
) -> frozenset[tuple[str, str]]:
    """The packages (name, architecture) that words ask for: by name, else as who provides it."""
    found = {deb.stanza.key for deb in local}
    for text in words:
        word = parse_requirement(text)
        near = [stanza for stanza in stanzas if word.names(stanza, native)]
        exact = [stanza for stanza in near if stanza.name == word.name]
        found |= {stanza.key for stanza in exact or near}
    return frozenset(found)


def _write_local_archive(place: Path, debs: Sequence[LocalDeb]) -> None:
    """A flat archive of the recipe's own packages, which apt believes without a signature."""
    place.mkdir(parents=True, exist_ok=True)
    texts = [
        f"{deb.stanza.text}\nFilename: {number}.deb\nSize: {deb.path.stat().st_size}\n"
        f"SHA256: {deb.sha256}\n"
        for number, deb in enumerate(debs)
    ]
    write_flat_archive(place, "\n".join(texts))
