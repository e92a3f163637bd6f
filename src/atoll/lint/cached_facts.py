"""Facts from the cache of earlier builds: the files of packages, and the accounts they create.

This reads only dpkg's file lists in cached roots, which is cheap. A list counts only if the package
has the version that will be installed now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.base.errors import AtollError
from atoll.debian.dpkg_database import name_of_list, read_packages
from atoll.host.run import run
from atoll.lint.model import KnownAccounts, ShippedPaths
from atoll.lint.names import merged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from atoll.debian.dpkg_database import Package
    from atoll.lock.model import Lock

_DPKG = "var/lib/dpkg"
_INFO = f"{_DPKG}/info"


def find_layers(cache: Path) -> tuple[Path, ...]:
    """Cached roots, and overlay layers of build steps, that have dpkg's database; newest first."""
    found = [
        path
        for kind in ("steps", "roots")
        for path in (cache / kind).glob("*")
        if (path / _DPKG / "status").is_file()
    ]
    return tuple(sorted(found, key=lambda path: path.stat().st_mtime, reverse=True))


def read_contents(cache: Path, plan: Iterable[Package], debs: Mapping[str, Path]) -> ShippedPaths:
    """The known files of the packages in ``plan``; ``debs`` are packages that are local files."""
    layers = find_layers(cache)
    wanted = {package.name: package.version for package in plan}
    owners: dict[str, str] = {}
    known: set[str] = set()
    for layer in layers:
        versions = {found.name: found.version for found in read_packages(layer / _DPKG)}
        # the packages of a first root are installed in any case, but not part of the plan
        expected = versions | wanted if layer.parent.name == "roots" else wanted
        for path in filter(_is_plain, (layer / _INFO).glob("*.list")):
            name = name_of_list(path.name)
            is_expected = name in expected and versions.get(name) == expected[name]
            if is_expected and name not in known and name not in debs:
                known.add(name)
                text = path.read_text(errors="surrogateescape")
                owners |= dict.fromkeys(_paths(text, layers), name)
    for name, deb in debs.items():
        known.add(name)
        owners |= dict.fromkeys(_paths_in_deb(deb), name)
    return ShippedPaths(owners=owners, whole=wanted.keys() <= known)


def read_accounts(
    cache: Path, lock: Lock | None, plan: Iterable[Package] | None
) -> KnownAccounts | None:
    """The accounts of the lock; without one, those of a cached build with all packages of ``plan``.

    The cache also has builds of other recipes, whose packages create other accounts.
    """
    if lock is not None and lock.users:
        return KnownAccounts(users=dict(lock.users), groups=dict(lock.groups))
    if plan is None:
        return None
    wanted = {(package.name, package.version) for package in plan}
    for layer in find_layers(cache):
        files = layer / "etc/passwd", layer / "etc/group"
        if not all(path.is_file() for path in files):
            continue
        if wanted <= {(found.name, found.version) for found in read_packages(layer / _DPKG)}:
            users, groups = (parse_ids(path.read_text(errors="replace")) for path in files)
            return KnownAccounts(users=users, groups=groups)
    return None


def parse_ids(text: str) -> dict[str, int]:
    """Parse passwd(5) or group(5): name to id."""
    rows = (line.split(":") for line in text.splitlines())
    return {row[0]: int(row[2]) for row in rows if len(row) > 2 and row[2].isdecimal()}


def parse_listing(text: str) -> Iterator[str]:
    """Parse the output of ``dpkg-deb --contents``: absolute paths of files and links."""
    for line in text.splitlines():
        columns = line.split(maxsplit=5)
        if len(columns) == 6 and not line.startswith("d"):
            path = columns[5].partition(" -> ")[0].partition(" link to ")[0]
            yield merged("/" + path.removeprefix("./"))


def _is_plain(path: Path) -> bool:
    """Whether it is a regular file, and not an overlay whiteout of a removed list."""
    return path.is_file() and not path.is_symlink()


def _paths(text: str, layers: Iterable[Path]) -> Iterator[str]:
    """The paths of a dpkg file list, without directories below /var.

    The list does not mark directories, so they are looked up in the layers.
    """
    for path in text.splitlines():
        below_var = path.startswith("/var/")
        if not below_var or not any((layer / path[1:]).is_dir() for layer in layers):
            yield merged(path)


def _paths_in_deb(deb: Path) -> Iterator[str]:
    try:
        text = run(["dpkg-deb", "--contents", deb]).decode(errors="surrogateescape")
    except AtollError:
        return
    yield from parse_listing(text)
