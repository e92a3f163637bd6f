"""The cache of pinned packages, and archives for apt that contain exactly these packages.

::

    <cache>/debs/<sha256>.deb        every package ever fetched, by its content
    <cache>/debs/<sha256>.control    its control data

``write_archive`` writes Packages and Release of a flat archive. Its packages are below ``debs``,
where a sandbox bind-mounts the cache. apt cannot choose any other package from it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged
from atoll.debian.deb import read_control
from atoll.debian.stanza import Stanza, parse_stanza

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from atoll.debian.pin import Pin

ARCHIVE = "/run/atoll/archive"
"""The path of the archive in a sandbox."""


def deb_path(debs: Path, pin: Pin) -> Path:
    """The file of a pinned package in the cache ``debs``."""
    return debs / f"{pin.sha256}.deb"


def read_stanza(debs: Path, pin: Pin) -> Stanza:
    """The control data of a package in ``debs``. Raises Damaged if it is not the pinned package."""
    kept = debs / f"{pin.sha256}.control"
    try:
        stanza = parse_stanza(kept.read_text())
    except FileNotFoundError:
        stanza = parse_stanza(read_control(deb_path(debs, pin)))
        new = kept.with_suffix(".new")
        new.write_text(stanza.text + "\n")
        new.replace(kept)
    if (stanza.name, stanza.architecture, stanza.version) != (
        pin.name,
        pin.architecture,
        pin.version,
    ):
        raise Damaged(
            f"the package {pin.sha256}.deb is {stanza.name} {stanza.version} "
            f"({stanza.architecture}), but the lock pins {pin.name} {pin.version} "
            f"({pin.architecture})",
            hint="the lock was edited by hand or is damaged: create it again with atoll lock",
        )
    return stanza


def format_packages(entries: Iterable[tuple[Pin, Stanza]]) -> str:
    """The text of a Packages file, sorted by name."""
    return "\n".join(
        f"{stanza.text}\nFilename: debs/{pin.sha256}.deb\nSize: {pin.size}\nSHA256: {pin.sha256}\n"
        for pin, stanza in sorted(entries, key=lambda entry: (entry[0].name, entry[0].architecture))
    )


def write_archive(directory: Path, entries: Iterable[tuple[Pin, Stanza]]) -> None:
    """Write Packages and Release to ``directory``, and create ``debs`` as a mount point."""
    (directory / "debs").mkdir(parents=True, exist_ok=True)
    write_flat_archive(directory, format_packages(entries))


def write_flat_archive(directory: Path, packages: str) -> None:
    """Write Packages and Release, which make ``directory`` a flat archive for apt."""
    # apt 2.6 does not always find the last package of a list that ends without an empty line.
    content = packages.encode() + b"\n" * bool(packages)
    (directory / "Packages").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    (directory / "Release").write_text(f"SHA256:\n {digest} {len(content)} Packages\n")
