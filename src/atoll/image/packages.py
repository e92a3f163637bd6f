"""The packages of a tree in ``/usr/lib/atoll/packages.json``: ``[name, version, architecture]``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged
from atoll.base.json import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterable


def format_packages(rows: Iterable[tuple[str, str, str]]) -> str:
    """One package per line; ``rows`` are names, versions and architectures."""
    lines = ",\n".join(f" {json.dumps(row)}" for row in rows)
    return f"[\n{lines}\n]\n"


def parse_package_list(data: bytes, *, native: str | None, where: str) -> dict[str, str]:
    """Versions by name; names of foreign packages include the architecture. Raises Damaged."""
    rows = parse_json(data, where=where)
    packages: dict[str, str] = {}
    for row in rows if isinstance(rows, list) else [None]:
        match row:
            case [str(name), str(version), str(architecture)]:
                packages[package_name(name, architecture, native)] = version
            case _:
                raise Damaged(f"{where} is not a list of packages")
    return packages


def package_name(name: str, architecture: str, native: str | None) -> str:
    """The name for people: ``libc6``, or ``libc6:i386`` for a foreign architecture."""
    return name if architecture in (native, "all") else f"{name}:{architecture}"
