"""Pinned packages and archives, as a lock records them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedArchive:
    """One suite of one repository. ``name`` identifies it in the lock.

    ``uri`` is the repository's; paths of packages are relative to it. ``release`` is the SHA-256
    (64 hex digits) of the InRelease or Release file that was verified.
    """

    name: str
    uri: str
    suite: str
    components: tuple[str, ...]
    release: str


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Pin:
    """One package file. ``size`` is in bytes, ``sha256`` has 64 hex digits.

    ``archive`` names a ``PinnedArchive``; it is empty for a local file, whose ``path`` is as in the
    recipe. Packages of a lower ``stage`` are installed before those of a higher one. ``automatic``:
    installed only as a dependency, as in apt.
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
