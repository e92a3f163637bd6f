"""Resolve a recipe's package requirements with this machine's apt, which installs nothing.

apt works in an isolated directory in which nothing, or exactly what is given, counts as installed.
So the result depends only on the requirements, the package lists and what is installed already.
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
_REQUIREMENT = re.compile(
    r"(?P<name>[^:=/]+)(?::(?P<architecture>[^=/]+))?"
    r"(?:=(?P<version>.*)|/(?P<suite>.*))?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalDeb:
    """A .deb file of the recipe: its name there, its path, digest and control data."""

    name: str
    path: Path
    sha256: str
    stanza: Stanza


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageRequirement:
    """A parsed argument of apt: ``NAME[:ARCHITECTURE][=VERSION | /SUITE]``."""

    name: str
    architecture: str | None = None
    version: str | None = None
    suite: str | None = None

    def matches(self, stanza: Stanza, native: str) -> bool:
        """Whether the package has, or provides, this name for this architecture."""
        kinds = (self.architecture or native, "all")
        if stanza.architecture not in kinds:
            return False
        return stanza.name == self.name or self.name in stanza.provides()


def parse_requirement(text: str) -> PackageRequirement:
    """Parse an argument of apt; text in another form becomes the name."""
    found = _REQUIREMENT.fullmatch(text)
    return PackageRequirement(**found.groupdict()) if found else PackageRequirement(name=text)


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageRequirements:
    """The packages to resolve. With ``base`` also the essential packages and apt.

    ``versions`` and ``sources`` are as in a recipe. ``own`` are the names of Atoll's own packages
    to install; the caller of ``resolve`` adds their files to ``local``. ``implied`` are arguments
    for apt that the recipe does not contain.
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
    def arguments(self) -> tuple[str, ...]:
        """All package arguments for apt."""
        return tuple(dict.fromkeys((*self.install, *self.implied)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """What counts as installed: control data; ``automatic`` has (name, architecture) as in apt."""

    stanzas: tuple[Stanza, ...] = ()
    automatic: frozenset[tuple[str, str]] = frozenset()


NOTHING = Installed()


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """What apt would do: packages to install (all at stage 1), and to remove as (name,
    architecture).

    ``stanzas`` are the control data of ``pins``. ``epoch`` is the date of the newest Release file,
    in seconds since 1970.
    """

    pins: tuple[Pin, ...]
    stanzas: tuple[Stanza, ...]
    removed: tuple[tuple[str, str], ...]
    archives: tuple[PinnedArchive, ...]
    epoch: int


def resolve(
    apt: AptDirectory, requirements: PackageRequirements, *, installed: Installed = NOTHING
) -> Resolution:
    """Refresh the lists and resolve. Raises PackageError, NetworkError, Damaged or NoSpace."""
    _write_local_archive(apt.local, requirements.local)
    refresh_lists(apt)
    return choose(apt, requirements, installed=installed)


def choose(
    apt: AptDirectory, requirements: PackageRequirements, *, installed: Installed = NOTHING
) -> Resolution:
    """Like ``resolve``, with the lists of the last refresh."""
    _write_preferences(apt, requirements, installed)
    with opened_lists(apt) as lists:
        base = find_base(apt, lists) if requirements.base else ()
        arguments = _apt_arguments(apt, requirements, base)
        if not arguments:
            return _result(apt, requirements, base, [], ())
        output = _run_apt_get(apt, arguments, "--print-uris", recommends=requirements.recommends)
        packages = _find_packages(lists, output)
        removed: tuple[tuple[str, str], ...] = ()
        if installed.stanzas:
            simulated = _run_apt_get(
                apt, arguments, "--simulate", recommends=requirements.recommends
            )
            removed = tuple(parse_removed(simulated, apt.architectures[0]))
    return _result(apt, requirements, base, packages, removed)


def _write_preferences(
    apt: AptDirectory, requirements: PackageRequirements, installed: Installed
) -> None:
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
    """Newer versions of what is installed, as by ``apt-get dist-upgrade``; refreshes the lists."""
    _write_local_archive(apt.local, ())
    refresh_lists(apt)
    _write_preferences(apt, requirements, installed)
    with opened_lists(apt) as lists:
        output = _run_apt_get(
            apt, (), "--print-uris", verb="dist-upgrade", recommends=requirements.recommends
        )
        return _result(apt, requirements, (), _find_packages(lists, output), ()).pins


def find_base(apt: AptDirectory, lists: PackageLists) -> tuple[str, ...]:
    """The packages that are essential in their newest version, and apt."""
    names = sorted(lists.essential(apt.architectures[0]))
    if not names:
        return ("apt",)
    output = apt.run("apt-cache", "show", "--no-all-versions", "--", *names)
    stanzas = [parse_stanza(text) for text in split_paragraphs(output)]
    return tuple(sorted({stanza.name for stanza in stanzas if stanza.essential} | {"apt"}))


def parse_removed(output: str, native: str) -> Iterable[tuple[str, str]]:
    """The packages (name, architecture) in the ``Remv`` lines of ``apt-get --simulate``."""
    for match in _REMOVED.finditer(output):
        yield match.group(1), match.group(2) or native


def format_status(stanzas: Iterable[Stanza]) -> str:
    """A dpkg status file in which all these packages are installed."""
    output = "Status: install ok installed\n"
    return "".join(f"{one.text}\n{'' if 'status' in one.fields else output}\n" for one in stanzas)


def format_automatic(keys: Iterable[tuple[str, str]], native: str) -> str:
    """apt's extended_states, in which packages for all architectures count as native ones."""
    found = sorted(
        {(name, native if architecture == "all" else architecture) for name, architecture in keys}
    )
    return "".join(
        f"Package: {name}\nArchitecture: {architecture}\nAuto-Installed: 1\n\n"
        for name, architecture in found
    )


def parse_automatic(text: str) -> list[tuple[str, str]]:
    """Names and architectures of the automatic packages in apt's extended_states."""
    marks = (parse_fields(part) for part in split_paragraphs(text))
    return [
        (mark.get("package", ""), mark.get("architecture", ""))
        for mark in marks
        if mark.get("auto-installed") == "1"
    ]


def _apt_arguments(
    apt: AptDirectory, requirements: PackageRequirements, base: Sequence[str]
) -> list[str]:
    unwanted = set(requirements.remove)
    native = apt.architectures[0]
    local = [
        f"{one.stanza.name}{_suffix(one.stanza.architecture, native)}={one.stanza.version}"
        for one in requirements.local
    ]
    wanted = [name for name in base if name not in unwanted]
    return [*wanted, *requirements.arguments, *local, *(f"{name}-" for name in requirements.remove)]


def _suffix(architecture: str, native: str) -> str:
    return "" if architecture in ("all", native) else f":{architecture}"


def _run_apt_get(
    apt: AptDirectory,
    arguments: Sequence[str],
    how: str,
    *,
    recommends: bool,
    verb: str = "install",
) -> str:
    """The output of ``apt-get`` with these arguments; raises what its failure means."""
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
        *arguments,
    ]
    with tempfile.TemporaryFile() as log:
        try:
            run(argv, env=apt.environment, log=log)
        except ProgramFailed as error:
            raise explain_failure(error, suite=apt.suite, known=read_names(apt.lists)) from error
        log.seek(0)
        return log.read().decode(errors="replace")


def _find_packages(lists: PackageLists, output: str) -> list[ListedPackage]:
    found = []
    for uri in _URI.findall(output):
        package = lists.find_uri(uri)
        if package is None:
            raise PackageError(f"apt would fetch {uri}, which is in none of its package lists")
        found.append(package)
    return found


def _result(
    apt: AptDirectory,
    requirements: PackageRequirements,
    base: Sequence[str],
    packages: Sequence[ListedPackage],
    removed: tuple[tuple[str, str], ...],
) -> Resolution:
    native = apt.architectures[0]
    manual = manual_keys(
        [*base, *requirements.arguments],
        [package.stanza for package in packages],
        native,
        requirements.local,
    )
    names = {f"{number}.deb": deb.name for number, deb in enumerate(requirements.local)}
    pins = []
    for package in packages:
        pin = package.pin(stage=1, automatic=package.stanza.key not in manual)
        pins.append(pin if package.source else replace(pin, path=names[pin.path]))
    return Resolution(
        pins=tuple(sorted(pins)),
        stanzas=tuple(package.stanza for package in packages),
        removed=removed,
        archives=tuple(pin_archive(apt, one) for one in apt.sources),
        epoch=read_epoch(apt),
    )


def manual_keys(
    arguments: Iterable[str], stanzas: Sequence[Stanza], native: str, local: Iterable[LocalDeb] = ()
) -> frozenset[tuple[str, str]]:
    """The packages (name, architecture) that apt arguments select, by name or else by Provides."""
    found = {deb.stanza.key for deb in local}
    for text in arguments:
        requirement = parse_requirement(text)
        candidates = [stanza for stanza in stanzas if requirement.matches(stanza, native)]
        exact = [stanza for stanza in candidates if stanza.name == requirement.name]
        found |= {stanza.key for stanza in exact or candidates}
    return frozenset(found)


def _write_local_archive(directory: Path, debs: Sequence[LocalDeb]) -> None:
    """Write a flat archive of the recipe's own packages, which needs no signature."""
    directory.mkdir(parents=True, exist_ok=True)
    texts = [
        f"{deb.stanza.text}\nFilename: {number}.deb\nSize: {deb.path.stat().st_size}\n"
        f"SHA256: {deb.sha256}\n"
        for number, deb in enumerate(debs)
    ]
    write_flat_archive(directory, "\n".join(texts))
