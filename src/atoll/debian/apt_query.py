"""Query apt: which packages the lists have, and what apt would install. Changes nothing.

Downloads nothing: apt answers from the lists of the last update.
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
    """A package in the lists.

    ``suite`` and ``component`` are as in the path of the archive. ``component`` and
    ``architecture`` are empty in a flat repository.
    """

    name: str
    version: str
    suite: str
    component: str
    architecture: str


def find_offered(apt: AptDirectory, names: Iterable[str]) -> tuple[AvailablePackage, ...]:
    """Every version of ``names`` (NAME or NAME:ARCH) in the lists, sorted."""
    wanted = sorted(set(names))
    if not wanted:
        return ()
    return parse_offered(_run_apt_cache(apt, "madison", *wanted))


def parse_offered(text: str) -> tuple[AvailablePackage, ...]:
    """Parse the output of ``apt-cache madison``."""
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
    _, separator, rest = _run_apt_cache(apt, "showpkg", name).partition("Reverse Provides: \n")
    lines = rest.splitlines() if separator else []
    return tuple(sorted({line.split()[0].partition(":")[0] for line in lines if line.strip()}))


def simulate_install(
    apt: AptDirectory, arguments: Sequence[str], *, recommends: bool = False
) -> tuple[Package, ...]:
    """The packages that apt would install into an empty root for these arguments.

    Raises PackageError with apt's reasons if they cannot be installed together.
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
        *arguments,
    ]
    # apt prints what is wrong on stderr, and the reasons on stdout.
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
    """The packages in the ``Inst`` lines of ``apt-get --simulate``, sorted."""
    rows = (_INSTALLS.match(line) for line in text.splitlines())
    found = {
        Package(name=row[1].partition(":")[0], version=row[2], architecture=row[3])
        for row in rows
        if row is not None
    }
    return tuple(sorted(found))


def parse_unmet(text: str) -> list[str]:
    """The reasons that apt gives for unmet dependencies, or else its errors."""
    lines = text.splitlines()
    unmet = [" ".join(line.split()) for line in lines if _UNMET.match(line)]
    errors = [line.removeprefix("E: ") for line in lines if line.startswith("E: ")]
    return unmet or errors or [text.strip() or "apt gives no reason"]


def _run_apt_cache(apt: AptDirectory, verb: str, *names: str) -> str:
    # Debian's container images disable this cache (docker-clean); every query is slow without it.
    cache_option = ("-o", "Dir::Cache::pkgcache=pkgcache.bin")
    try:
        return apt.run("apt-cache", *cache_option, verb, "--", *names)
    except ProgramFailed:
        # apt-cache exits with an error if it knows none of the names.
        return ""
