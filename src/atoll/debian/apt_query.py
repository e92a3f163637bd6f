"""Queries to apt: which packages the lists have, and what apt would install. Nothing is changed.

Nothing is downloaded: apt answers from the lists of the last update.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

from atoll.base.errors import PackageError, ProgramFailed
from atoll.debian.dpkg_database import Package
from atoll.host.run import run

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from atoll.debian.isolated_apt import AptDirectory

_ROW = re.compile(r"^ *(\S+) \| +(\S+) \| +\S+ (\S+?)/(\S+) (\S+) Packages$")
_FLAT_ROW = re.compile(r"^ *(\S+) \| +(\S+) \| +\S+ +(\S+) +Packages$")
_INSTALLS = re.compile(r"^Inst (\S+?)(?::\S+)? (?:\[[^]]*\] )?\((\S+) .*\[(\S+)\]\)")
_SUITE = re.compile(r"^(?:Suite|Codename): (\S+)$", re.MULTILINE)
_UNMET = re.compile(r"^ (\S+) : (.*)|^ {2,}((?:Pre)?Depends|Conflicts|Breaks|Recommends): (.*)")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class AvailablePackage:
    """A package in the lists. ``suite`` and ``component`` are as the archive's path has them;
    ``component`` and ``architecture`` are empty where the repository is a flat one."""

    name: str
    version: str
    suite: str
    component: str
    architecture: str


def find_offered(apt: AptDirectory, names: Iterable[str]) -> tuple[AvailablePackage, ...]:
    """Every version of ``names`` (NAME or NAME:ARCH) that the lists have."""
    wanted = sorted(set(names))
    if not wanted:
        return ()
    return parse_offered(_ask(apt, "madison", *wanted))


def parse_offered(text: str) -> tuple[AvailablePackage, ...]:
    """What ``apt-cache madison`` prints."""
    found = []
    for line in text.splitlines():
        if row := _ROW.match(line):
            name, version, suite, component, architecture = row.groups()
        elif row := _FLAT_ROW.match(line):
            name, version, suite = row.groups()
            component = architecture = ""
        else:
            continue
        found.append(
            AvailablePackage(
                name=name.partition(":")[0],
                version=version,
                suite=suite,
                component=component,
                architecture=architecture,
            )
        )
    return tuple(sorted(set(found)))


def read_suites(lists: Path) -> frozenset[str]:
    """The suites and code names in the Release files of package lists."""
    return frozenset(
        found[1]
        for path in (*lists.glob("*InRelease"), *lists.glob("*_Release"))
        for found in _SUITE.finditer(path.read_text(errors="replace"))
    )


def find_providers(apt: AptDirectory, name: str) -> tuple[str, ...]:
    """Packages that provide the virtual package ``name``."""
    _, mark, rest = _ask(apt, "showpkg", name).partition("Reverse Provides: \n")
    lines = rest.splitlines() if mark else []
    return tuple(sorted({line.split()[0].partition(":")[0] for line in lines if line.strip()}))


def simulate_install(
    apt: AptDirectory, words: Sequence[str], *, recommends: bool = False
) -> tuple[Package, ...]:
    """The packages that apt would install into an empty root for these arguments.

    Raises PackageError with apt's reasons when they cannot be installed together.
    """
    recommends_option = f"APT::Install-Recommends={'true' if recommends else 'false'}"
    argv = [
        "apt-get",
        "--simulate",
        "--allow-downgrades",
        "-o",
        "Debug::NoLocking=true",
        "-o",
        recommends_option,
        "install",
        "--",
        *words,
    ]
    # apt says what is wrong on stderr and why on stdout
    with TemporaryFile() as log:
        try:
            run(argv, env=apt.environment, log=log)
        except ProgramFailed as error:
            log.seek(0)
            reasons = parse_unmet(log.read().decode(errors="replace"))
            raise PackageError("; ".join(reasons)) from error
        log.seek(0)
        return parse_simulation(log.read().decode(errors="replace"))


def parse_simulation(text: str) -> tuple[Package, ...]:
    """The packages of ``Inst`` lines, sorted."""
    rows = (_INSTALLS.match(line) for line in text.splitlines())
    found = {
        Package(name=row[1].partition(":")[0], version=row[2], architecture=row[3])
        for row in rows
        if row is not None
    }
    return tuple(sorted(found))


def parse_unmet(text: str) -> list[str]:
    """The reasons that apt gives, or its error."""
    lines = text.splitlines()
    unmet = [" ".join(line.split()) for line in lines if _UNMET.match(line)]
    errors = [line.removeprefix("E: ") for line in lines if line.startswith("E: ")]
    return unmet or errors or [text.strip() or "apt gives no reason"]


def _ask(apt: AptDirectory, verb: str, *names: str) -> str:
    # Debian's container images disable this cache (docker-clean); without it every query is slow.
    kept = ("-o", "Dir::Cache::pkgcache=pkgcache.bin")
    try:
        return apt.run("apt-cache", *kept, verb, "--", *names)
    except ProgramFailed:
        # apt-cache exits with an error when it knows none of the names.
        return ""
