"""Read dpkg's database: installed packages, and the package that owns a path."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged
from atoll.debian.deb822 import parse_fields, split_paragraphs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_SOURCE = re.compile(r"(\S+)(?:\s+\((\S+)\))?")
_NAME = re.compile(rb"^Package: (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Package:
    """An installed package."""

    name: str
    version: str
    architecture: str


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class DescribedPackage:
    """An installed package with details.

    ``size`` is Installed-Size in bytes, None if the status file has none. ``source`` and
    ``source_version`` are those of the source package. Missing texts are empty.
    """

    name: str
    version: str
    architecture: str
    source: str
    source_version: str
    size: int | None = None
    maintainer: str = ""
    homepage: str = ""


def parse_status(text: str) -> tuple[Package, ...]:
    """The installed packages of a dpkg status file, sorted. Raises Damaged."""
    found = []
    for fields in _installed(text):
        values = [fields.get(key, "") for key in ("package", "version", "architecture")]
        if not all(values):
            named = f"package {fields['package']}" if fields.get("package") else "a package"
            raise Damaged(
                f"dpkg's status file: {named} has no name, version or architecture",
                hint="build or pull the image again",
            )
        name, version, architecture = values
        found.append(Package(name=name, version=version, architecture=architecture))
    return tuple(sorted(found))


def parse_package_details(text: str) -> tuple[DescribedPackage, ...]:
    """The installed packages of a dpkg status file, sorted; those without a version are skipped."""
    found = [
        _parse_details(fields)
        for fields in _installed(text)
        if fields.keys() >= {"package", "version", "architecture"}
    ]
    return tuple(sorted(found, key=lambda each: (each.name, each.architecture, each.version)))


def _parse_details(fields: dict[str, str]) -> DescribedPackage:
    source = _SOURCE.fullmatch(fields.get("source", ""))
    size = fields.get("installed-size", "")
    version = fields["version"]
    return DescribedPackage(
        name=fields["package"],
        version=version,
        architecture=fields["architecture"],
        source=source.group(1) if source else fields["package"],
        source_version=(source.group(2) if source else None) or version,
        size=int(size) * 1024 if size.isascii() and size.isdigit() and len(size) < 16 else None,
        maintainer=fields.get("maintainer", ""),
        homepage=fields.get("homepage", ""),
    )


def _installed(text: str) -> Iterator[dict[str, str]]:
    """The fields of each installed package of a dpkg status file."""
    for paragraph in split_paragraphs(text):
        fields = parse_fields(paragraph)
        if fields.get("status", "").endswith(" installed"):
            yield fields


def read_packages(database: Path) -> tuple[Package, ...]:
    """The installed packages of the dpkg database in directory ``database``. Raises Damaged."""
    return parse_status((database / "status").read_text(errors="replace"))


def read_owners(database: Path) -> dict[str, str]:
    """The owner of each path, by the dpkg database in directory ``database``. Raises Damaged."""
    lists = (
        (name_of_list(path.name), path.read_text(errors="surrogateescape"))
        for path in sorted((database / "info").glob("*.list"))
    )
    diversions = database / "diversions"
    text = diversions.read_text(errors="surrogateescape") if diversions.exists() else ""
    return parse_owners(lists, text)


def name_of_list(file_name: str) -> str:
    """The package of a file ``NAME[:ARCHITECTURE].list``."""
    return file_name.removesuffix(".list").partition(":")[0]


def read_names(lists: Path) -> Iterator[str]:
    """Yield the names of all packages in the package lists of an archive."""
    for path in lists.glob("*_Packages"):
        for match in _NAME.finditer(path.read_bytes()):
            yield match.group(1).decode(errors="replace")


def parse_owners(lists: Iterable[tuple[str, str]], diversions: str) -> dict[str, str]:
    """Path → package that ships it, from (package, its .list file) and dpkg's diversions.

    A diverted file is listed at the path where it really is. A directory that several packages ship
    is listed for the last one.
    """
    diverted = dict(parse_diversions(diversions))
    owners: dict[str, str] = {}
    for package, text in lists:
        for line in text.splitlines():
            target, keeper = diverted.get(line, (line, None))
            owners[line if keeper == package else target] = package
    owners.pop("/.", None)
    return owners


def parse_diversions(text: str) -> Iterator[tuple[str, tuple[str, str | None]]]:
    """Yield every diversion: the original path, then its target and the package that keeps the
    original path (None for a local diversion).

    Raises Damaged.
    """
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    if len(lines) % 3:
        raise Damaged(
            "dpkg's diversions file is truncated",
            hint="build or pull the image again",
        )
    for original, target, package in zip(lines[::3], lines[1::3], lines[2::3], strict=True):
        yield original, (target, None if package == ":" else package)
