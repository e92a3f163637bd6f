"""Bootstrap the first root: essential packages and apt, configured by the suite's own dpkg.

::

    <cache>/roots/<id>/       a root directory; never changed once it has this name

The packages are extracted first. Then their own dpkg unpacks them again inside the root and runs
their scripts. So the build machine contributes only its kernel, and the root depends on nothing but
the packages.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import PackageError
from atoll.debian.install import install_by_dpkg
from atoll.debian.local_archive import deb_path
from atoll.debian.stanza import closure
from atoll.host.fs import temporary_directory
from atoll.host.in_root import in_root
from atoll.host.run import require_program, run
from atoll.host.sandbox import Bind, Sandbox

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atoll.debian.install import InstallBatch
    from atoll.debian.pin import Pin
    from atoll.debian.stanza import Stanza

_EXTRACT = 'for deb; do dpkg-deb --extract "$deb" /made; done'
_FORMAT = "root 3"
"""Changed whenever this module makes another root from the same packages."""
_FIRST = ("base-files", "base-passwd")
"""Packages to install first: directories and links that others unpack into, and accounts that
others' scripts need."""


def first_packages(entries: Sequence[tuple[Pin, Stanza]]) -> tuple[tuple[Pin, Stanza], ...]:
    """The packages of the first root: the essential ones, apt, and their dependencies.

    All packages if apt is not among them. The result is in the order of installation. Raises
    PackageError if there is no dpkg.
    """
    stanzas = [stanza for _, stanza in entries]
    names = {stanza.name for stanza in stanzas}
    if "dpkg" not in names:
        raise PackageError(
            "the packages do not include dpkg, which installs them",
            hint='add dpkg to packages.install, or start from a suite: from = "debian:SUITE"',
        )
    roots = [one.key for one in stanzas if one.essential or one.name in ("apt", "dpkg")]
    wanted = closure(stanzas, roots) if "apt" in names else {one.key for one in stanzas}
    found = [entry for entry in entries if entry[1].key in wanted]
    return tuple(sorted(found, key=lambda entry: _sort_key(entry[0])))


def _sort_key(pin: Pin) -> tuple[int, str, str]:
    position = _FIRST.index(pin.name) if pin.name in _FIRST else len(_FIRST)
    return position, pin.name, pin.architecture


def root_id(first: Sequence[tuple[Pin, Stanza]]) -> str:
    """The id of the first root: a digest of its packages in their order."""
    parts = (_FORMAT, *(pin.sha256 for pin, _ in first))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def ensure_root(batch: InstallBatch, cache: Path) -> Path:
    """The first root of these packages, made if the cache does not have it.

    Raises PackageError, NoSpace or MissingProgram.
    """
    root = cache / "roots" / root_id(batch.entries)
    if not root.exists():
        root.parent.mkdir(parents=True, exist_ok=True)
        with temporary_directory(root.parent, prefix=".new-") as temporary:
            made = temporary / "root"
            make_root(batch, made)
            run(["sync", "--file-system", made])
            made.rename(root)
    return root


def make_root(batch: InstallBatch, made: Path) -> None:
    """Create the directory ``made`` and install the packages in it."""
    require_program("dpkg-deb", package="dpkg")
    made.mkdir()
    made.chmod(0o755)
    _extract(batch, made)
    status = in_root(made, "var/lib/dpkg/status")
    if not status.is_file():
        status.touch()
    install_by_dpkg(made, batch)


def _extract(batch: InstallBatch, made: Path) -> None:
    """Unpack all packages in a sandbox that sees this machine's programs and can write only to
    ``made``, so that a symbolic link in a package cannot redirect a file."""
    with temporary_directory(made.parent, prefix="unpack-") as sandbox_root:
        for name in ("etc", "usr", "made", "debs"):
            (sandbox_root / name).mkdir()
        for name in ("bin", "sbin", "lib", "lib64"):
            (sandbox_root / name).symlink_to(f"usr/{name}")
        binds = (
            Bind(source=Path("/usr"), target="/usr"),
            Bind(source=batch.debs.resolve(), target="/debs"),
            Bind(source=made, target="/made", writable=True),
        )
        names = [deb_path(Path("/debs"), pin) for pin, _ in batch.entries]
        Sandbox(root=sandbox_root, binds=binds).run(
            ["sh", "-euc", _EXTRACT, "extract", *map(str, names)]
        )
