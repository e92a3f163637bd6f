"""Exactly which packages, and where each of them comes from: what a lock says of an archive."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedArchive:
    """One suite of one repository. ``name`` is the lock's own word for it.

    ``uri`` is where it was found; paths of packages are relative to it. ``release`` is the SHA-256
    (64 hex) of the InRelease or Release file that was believed.
    """

    name: str
    uri: str
    suite: str
    components: tuple[str, ...]
    release: str


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Pin:
    """One package file. ``size`` is in bytes, ``sha256`` 64 hex.

    ``archive`` names a ``PinnedArchive``; it is empty for a local file, whose ``path`` is as the
    recipe writes it. Packages of a lower ``stage`` are installed before those of a higher one.
    ``automatic``: installed only because another one needs it.
    """

    name: str
    architecture: str
    version: str
    size: int
    sha256: str
    archive: str
    path: str
    stage: int = 1
    automatic: bool = False
