"""Download pinned packages into the cache with apt-helper, and verify each one.

If a mirror no longer has a package, the URIs of a snapshot service for the same archive are tried.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

from atoll.base.errors import Damaged, NetworkError, NotFound, ProgramFailed
from atoll.debian.apt_errors import is_hash_mismatch
from atoll.debian.isolated_apt import written_configuration
from atoll.debian.local_archive import deb_path
from atoll.host.fs import space_errors, temporary_directory
from atoll.host.run import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from atoll.base.report import Reporter
    from atoll.debian.pin import Pin, PinnedArchive

HELPER = "/usr/lib/apt/apt-helper"
_AT_ONCE = 200
"""Packages that one run of apt-helper fetches."""
_NAMED = 10
"""Missing packages that an error message names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origins:
    """Where to find packages.

    ``archives`` are matched by name. ``fallbacks`` maps an archive's name to URIs to try in turn if
    its own does not have a package. ``local`` finds the file of a pin without an archive.
    """

    archives: tuple[PinnedArchive, ...]
    local: Callable[[Pin], Path]
    fallbacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def uris(self, pin: Pin) -> tuple[str, ...]:
        """The URIs of a package, in the order to try them."""
        found = [one.uri for one in self.archives if one.name == pin.archive]
        found += self.fallbacks.get(pin.archive, ())
        path = quote(pin.path, safe="/~:+")
        return tuple(f"{uri.rstrip('/')}/{path}" for uri in found)


def fetch_pins(
    pins: Iterable[Pin], origins: Origins, debs: Path, *, offline: bool, reporter: Reporter
) -> None:
    """Make every package available in ``debs``.

    Raises NotFound (only if ``offline``), NetworkError, Damaged or NoSpace.
    """
    debs.mkdir(parents=True, exist_ok=True)
    missing = find_missing(pins, debs)
    if not missing:
        return
    with space_errors(debs), temporary_directory(debs, prefix=".new-") as temporary:
        for pin in missing:
            if not pin.archive:
                _copy_to_cache(pin, origins.local(pin), debs)
        missing = find_missing(missing, debs)
        if missing and offline:
            raise NotFound(
                f"{_count(missing)} not in the cache: {_name_pins(missing)}",
                hint="run it once without --offline",
            )
        errors = ""
        for turn in range(max((len(origins.uris(pin)) for pin in missing), default=0)):
            errors = _fetch(missing, origins, turn, temporary, reporter=reporter) or errors
            for pin in missing:
                _move_to_cache(pin, temporary / pin.sha256, debs)
            missing = find_missing(missing, debs)
    if missing and is_hash_mismatch(errors):
        raise Damaged(
            f"{_count(missing)} not the ones that the lock pins: {_name_pins(missing)}\n  {errors}",
            hint="the mirror is damaged or serves other packages: use another mirror",
        )
    if missing:
        raise NetworkError(
            f"{_count(missing)} no longer available: {_name_pins(missing)}\n  {errors}".rstrip(),
            hint="a mirror with {snapshot} in its address keeps old packages; "
            "or update the lock: atoll lock --update",
        )


def find_missing(pins: Iterable[Pin], debs: Path) -> list[Pin]:
    """The pins without a file of the right size in ``debs``; one pin for each digest."""
    found = {pin.sha256: pin for pin in pins if _size(deb_path(debs, pin)) != pin.size}
    return list(found.values())


def verify_pin(pin: Pin, path: Path, *, what: str) -> None:
    """Raise Damaged unless size and SHA-256 of the file are those of the pin."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if (size, digest) != (pin.size, pin.sha256):
        raise Damaged(
            f"{what} is not the package {pin.name} {pin.version} that the lock pins: "
            f"it has {size} bytes and SHA-256 {digest}, not {pin.size} and {pin.sha256}"
        )


def _fetch(
    pins: Sequence[Pin], origins: Origins, turn: int, temporary: Path, *, reporter: Reporter
) -> str:
    """Try the ``turn``-th URI of each package; returns the last error, or an empty text."""
    wanted = [(uris[turn], pin) for pin in pins if len(uris := origins.uris(pin)) > turn]
    errors = ""
    total, done = sum(pin.size for _, pin in wanted), 0
    with written_configuration(temporary) as environment:
        for start in range(0, len(wanted), _AT_ONCE):
            batch = wanted[start : start + _AT_ONCE]
            reporter.progress(done, total, unit="B")
            argv: list[str | Path] = [HELPER, "download-file"]
            for uri, pin in batch:
                # apt's method "file" would create a link instead of a copy.
                uri = "copy:" + uri[5:] if uri.startswith("file:") else uri
                argv += [uri, temporary / pin.sha256, f"SHA256:{pin.sha256}"]
            try:
                run(argv, env=environment)
            except ProgramFailed as error:
                lines = [line for line in error.stderr_tail.splitlines() if line.startswith("E:")]
                errors = lines[0] if lines else error.stderr_tail
            done += sum(pin.size for _, pin in batch)
    return errors


def _move_to_cache(pin: Pin, fetched: Path, debs: Path) -> None:
    if fetched.is_file():
        verify_pin(pin, fetched, what=f"what was fetched as {pin.path}")
        fetched.chmod(0o644)
        fetched.replace(deb_path(debs, pin))


def _copy_to_cache(pin: Pin, path: Path, debs: Path) -> None:
    """Cache a local file, so that the lock can still be built after the file has changed."""
    if not path.is_file():
        return
    with suppress(Damaged):  # a different build of the package is reported as missing
        verify_pin(pin, path, what=str(path))
        new = debs / f".new-{pin.sha256}"
        new.write_bytes(path.read_bytes())
        new.replace(deb_path(debs, pin))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def _count(pins: Sequence[Pin]) -> str:
    return "1 package is" if len(pins) == 1 else f"{len(pins)} packages are"


def _name_pins(pins: Sequence[Pin]) -> str:
    named = [f"{pin.name} {pin.version}" for pin in pins[:_NAMED]]
    return ", ".join(named) + (" …" if len(pins) > _NAMED else "")
