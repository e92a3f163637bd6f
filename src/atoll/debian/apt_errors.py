"""Translate failures of apt, dpkg and mmdebstrap, by their output, into Atoll's errors."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from atoll.base.errors import (
    ArchiveError,
    AtollError,
    Damaged,
    NetworkError,
    NoSpace,
    PackageError,
    ProgramFailed,
)
from atoll.base.suggest import find_nearest
from atoll.host.run import tail

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_NO_NETWORK = re.compile(
    r"Temporary failure resolving|Could not resolve|Could not connect|Unable to connect"
    r"|Connection (?:failed|timed out|refused)|Network is unreachable|Failed to fetch"
    r"|Undetermined Error|Cannot initiate the connection"
)
_NO_SUITE = re.compile(r"does not have a Release file|404\s+Not Found")
_NAMED_SUITE = re.compile(r"The repository '\S+ (\S+) Release' does not have a Release file")
_NO_SPACE = re.compile(r"No space left on device|don't have enough free space")
_UNKNOWN = re.compile(
    r"E: Unable to locate package (\S+)"
    r"|E: Package '?([^'\s]+)'? has no installation candidate"
    r"|E: Couldn't find any package by \w+ '([^']+)'"
    r"|E: Version '[^']*' for '([^']+)' was not found"
    r"|E: Release '[^']*' for '([^']+)' was not found"
)
_NO_KEY = re.compile(
    r"(\S+ \S+) (?:In)?Release: The following signatures (?:couldn't|could not) be verified"
    r"|The repository '(?:\S+ )?([^']+)' is not signed"
)
_EXPIRED_KEY = re.compile(
    r"(\S+ \S+) (?:In)?Release: The following signatures were invalid: EXPKEYSIG \w+ (.*)"
)
_NOT_YET = re.compile(
    r"(?:In)?Release file for (\S+) is not valid yet \(invalid for another ([^)]+)\)"
)
_EXPIRED = re.compile(r"(?:In)?Release file for (\S+) is expired \(invalid since ([^)]+)\)")
_WRONG_BYTES = re.compile(r"Hash Sum mismatch|File has unexpected size")
_BROKEN = re.compile(r"dpkg: error processing (?:package|archive) (\S+)")
_UNMET = re.compile(r"unmet dependencies|held broken packages|Unsatisfied dependencies")


def explain_failure(
    error: ProgramFailed, *, suite: str, log: Path | None = None, known: Iterable[str] = ()
) -> AtollError:
    """The error to raise instead of ``error``.

    ``suite`` is named in messages, ``log`` has the full output. ``known`` are the names of all
    packages, for suggestions; it is iterated only if a package is unknown.
    """
    output = error.stderr_tail
    if log is not None:
        output = log.read_text(errors="replace")
    where = f"\n  full output: {log}" if log else ""
    if _NO_SPACE.search(output):
        return NoSpace(
            f"no space left for packages{where}", hint="see: df -h, or choose another --store"
        )
    untrusted = _explain_key(output, where) or _explain_date(output, where)
    if untrusted:
        return untrusted
    unknown = sorted({next(filter(None, match.groups())) for match in _UNKNOWN.finditer(output)})
    if unknown:
        return _explain_unknown(unknown, suite, known)
    if _WRONG_BYTES.search(output):
        return Damaged(
            f"a download does not match the mirror's Release file{_quote(_first_error(output))}",
            hint="the mirror may be updating or damaged: try again later, or use another mirror",
        )
    if _NO_SUITE.search(output) and "E: " in output:
        named = _NAMED_SUITE.search(output)
        missing = named[1] if named else suite
        # Another suite than the base's is there for certain packages.
        kind = ArchiveError if missing == suite else PackageError
        return kind(
            f"the mirror does not have the suite {missing} or a component of it{where}",
            hint="check `from`, [debian] and the suites of packages in the recipe",
        )
    if _NO_NETWORK.search(output):
        return NetworkError(
            f"the package mirror cannot be reached: {_first_error(output)}",
            hint="check the network, and [debian] mirror in the recipe when it is set",
        )
    broken = sorted(set(_BROKEN.findall(output)))
    if broken:
        return PackageError(f"{', '.join(broken)} failed to install{_quote(output)}{where}")
    if _UNMET.search(output):
        return PackageError(f"the packages cannot be installed together{_quote(output)}{where}")
    return PackageError(f"{_program(error)} failed{_quote(output)}{where}")


def _explain_key(output: str, where: str) -> ArchiveError | None:
    expired = _EXPIRED_KEY.search(output)
    if expired:
        return ArchiveError(
            f"the key of the repository {expired[1]} has expired: {expired[2].strip()}{where}",
            hint="update the package debian-archive-keyring, or key in [[repo]]; or check the clock"
            " (date, timedatectl)",
        )
    unsigned = _NO_KEY.search(output)
    if not unsigned:
        return None
    return ArchiveError(
        f"the repository {unsigned.group(1) or unsigned.group(2)} is not signed by a trusted "
        f"key{_quote(_first_error(output))}{where}",
        hint="set its public key: key in [[repo]]; Debian's own keys are in the package"
        " debian-archive-keyring",
    )


def _explain_date(output: str, where: str) -> ArchiveError | None:
    """An error for a Release file that is expired or not valid yet (Date, Valid-Until)."""
    found = _NOT_YET.search(output)
    if found:
        return ArchiveError(
            f"the mirror's {found[1]} becomes valid only in {found[2]}: the clock of this computer"
            f" is slow, or the mirror's clock was fast{where}",
            hint="check the clock (date, timedatectl), or use another mirror",
        )
    found = _EXPIRED.search(output)
    if found:
        return ArchiveError(
            f"the mirror's {found[1]} expired {found[2]} ago: the mirror is no longer"
            f" updated, or the clock of this computer is fast{where}",
            hint="check the clock (date, timedatectl), or use another mirror",
        )
    return None


def is_hash_mismatch(output: str) -> bool:
    """Whether apt reports a download that does not match its digest or size."""
    return _WRONG_BYTES.search(output) is not None


def _explain_unknown(unknown: list[str], suite: str, known: Iterable[str]) -> PackageError:
    names = list(known)
    nearest = sorted({hit for name in unknown for hit in find_nearest(name, names, most=3)})
    plural = "packages" if len(unknown) > 1 else "package"
    return PackageError(
        f"{suite} has no {plural} {', '.join(unknown)}",
        hint=f"did you mean {' or '.join(nearest)}?" if nearest else "check the name in [packages]",
    )


def _first_error(output: str) -> str:
    """The first error line, or else the first warning."""
    lines = [line.strip() for line in output.splitlines()]
    found = (line for kind in ("E:", "Err:", "W:") for line in lines if line.startswith(kind))
    return next(found, "no answer")


def _quote(output: str) -> str:
    return "".join(f"\n    {line}" for line in tail(output.encode()).splitlines())


def _program(error: ProgramFailed) -> str:
    known = ("mmdebstrap", "apt-get", "dpkg")
    return next((word for word in error.argv if word in known), error.argv[0])
