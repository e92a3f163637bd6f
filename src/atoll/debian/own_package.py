"""Atoll's own Debian package, as a file: every system that Atoll makes has it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError, NotFound
from atoll.host.run import run

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "atoll"
_MAKE = "`debian/make DIR` in Atoll's sources makes it"
ARCHIVES = Path("/var/cache/apt/archives")
SOURCE = Path(__file__).resolve().parents[3]
"""Where Atoll's sources are, when it runs from them."""


def find_own_package(workspace: Path) -> Path:
    """The package of the Atoll that runs, in ``workspace`` where it must be made or fetched.

    A checkout builds it; an installed Atoll finds what apt has of it. Raises NotFound.
    """
    reasons: list[str] = []
    for attempt in (_built, _kept, _fetched):
        try:
            for path in attempt(workspace):
                return path
        except AtollError as error:
            reasons.append(error.message.splitlines()[0])
    said = f" ({'; '.join(reasons)})" if reasons else ""
    raise NotFound(
        f"the package of this Atoll is not to be found{said}",
        hint="give it with --deb FILE; `debian/make DIR` in its sources makes it",
    )


def check_package(path: Path) -> None:
    """Raises NotFound unless ``path`` is a package of Atoll."""
    try:
        name = run(["dpkg-deb", "--field", path, "Package"]).decode(errors="replace").strip()
    except AtollError as error:
        raise NotFound(f"{path} is no Debian package", hint=_MAKE) from error
    if name != PACKAGE:
        raise NotFound(f"{path} is the package {name}, not Atoll's", hint=_MAKE)


def _built(workspace: Path) -> Iterator[Path]:
    make = SOURCE / "debian/make"
    if (SOURCE / "src/atoll").is_dir() and make.is_file():
        run([make, workspace])
        yield workspace / f"{PACKAGE}.deb"


def _kept(_: Path) -> Iterator[Path]:
    version = run(["dpkg-query", "--show", "--showformat=${Version}", PACKAGE]).decode().strip()
    path = ARCHIVES / f"{PACKAGE}_{version.replace(':', '%3a')}_all.deb"
    if version and path.is_file():
        yield path


def _fetched(workspace: Path) -> Iterator[Path]:
    run(["apt-get", "download", PACKAGE], cwd=workspace)
    yield from workspace.glob(f"{PACKAGE}_*.deb")
