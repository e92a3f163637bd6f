"""What dpkg's database says of each installed package: where it comes from, how large it is."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SOURCE = re.compile(r"(\S+)(?:\s+\((\S+)\))?")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class DescribedPackage:
    """``size`` is what dpkg expects it to take on disk, in bytes; None where it does not say.

    ``source`` and ``source_version`` name the source package, which is often called the same.
    Texts that are not there are empty.
    """

    name: str
    version: str
    architecture: str
    source: str
    source_version: str
    size: int | None = None
    maintainer: str = ""
    homepage: str = ""


def parse_described(text: str) -> tuple[DescribedPackage, ...]:
    """The installed packages of a dpkg status file, sorted. A stanza that lacks a field is none."""
    found = []
    for stanza in re.split(r"\n\n+", text):
        fields = _fields(stanza)
        installed = fields.get("Status", "").endswith(" installed")
        if installed and fields.keys() >= {"Package", "Version", "Architecture"}:
            found.append(_package(fields))
    return tuple(sorted(found, key=lambda each: (each.name, each.architecture, each.version)))


def _package(fields: dict[str, str]) -> DescribedPackage:
    source = _SOURCE.fullmatch(fields.get("Source", ""))
    size = fields.get("Installed-Size", "")
    version = fields["Version"]
    return DescribedPackage(
        name=fields["Package"],
        version=version,
        architecture=fields["Architecture"],
        source=source.group(1) if source else fields["Package"],
        source_version=(source.group(2) if source else None) or version,
        size=int(size) * 1024 if size.isascii() and size.isdigit() and len(size) < 16 else None,
        maintainer=fields.get("Maintainer", ""),
        homepage=fields.get("Homepage", ""),
    )


def _fields(stanza: str) -> dict[str, str]:
    """The fields of a stanza that have one line; what goes on in the next lines is left out."""
    lines = (line.partition(":") for line in stanza.split("\n") if line and line[0] not in " \t")
    return {name: value.strip() for name, colon, value in lines if colon}
