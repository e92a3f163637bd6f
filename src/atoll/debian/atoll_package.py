"""Atoll's own two Debian packages, as files: every system that Atoll makes has them.

``atoll`` is the tool, and harmless on any computer. ``atoll-system`` is what only such systems
carry: early boot, units, hooks. The two are of one version and are found together.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError, NotFound
from atoll.host.run import run

if TYPE_CHECKING:
    from collections.abc import Mapping

TOOL = "atoll"
SYSTEM = "atoll-system"
PACKAGES = (TOOL, SYSTEM)
_OWN = "atoll:"
MAKE = "`debian/make DIR` in Atoll's sources makes both packages"
ARCHIVES = Path("/var/cache/apt/archives")
SOURCE = Path(__file__).resolve().parents[3]
"""Where Atoll's sources are, when it runs from them."""


def own_path(name: str) -> str:
    """The path of Atoll's own package ``name`` in a lock: it is not a file of the recipe."""
    return f"{_OWN}{name}.deb"


def is_own(path: str) -> bool:
    """Whether a pin's path is one of Atoll's own packages."""
    return path.startswith(_OWN)


def find_own_packages(place: Path) -> Mapping[str, Path]:
    """Both packages of the running version of Atoll, by name, built or downloaded in ``place``.

    A source checkout builds them; an installed Atoll takes them from apt. Raises NotFound.
    """
    place.mkdir(parents=True, exist_ok=True)
    reasons: list[str] = []
    for attempt in (_built, _kept, _fetched):
        try:
            found = attempt(place)
        except AtollError as error:
            reasons.append(error.message.splitlines()[0])
            continue
        if all(path.is_file() for path in found.values()) and found:
            return found
    said = f" ({'; '.join(dict.fromkeys(reasons))})" if reasons else ""
    raise NotFound(f"cannot find the packages of this version of Atoll{said}", hint=_where_to_put())


def _where_to_put() -> str:
    """The hint: apt does not record the file that a package was installed from."""
    named = 'put them beside the recipe: install = ["./atoll.deb", "./atoll-system.deb"]'
    if is_checkout():
        return f"{MAKE}; {named}"
    try:
        kept = _kept(ARCHIVES)
    except AtollError:
        return f"{MAKE}; {named}"
    copies = "".join(f"\n    sudo cp {name}.deb {path}" for name, path in kept.items())
    return f"if Atoll was installed from files, copy both to apt's cache:{copies}\n  or {named}"


def find_system_beside(tool: Path) -> Path | None:
    """The file of ``atoll-system`` that lies beside that of ``atoll``, called the same way."""
    beside = tool.with_name(tool.name.replace(TOOL, SYSTEM, 1))
    return beside if beside != tool and beside.is_file() else None


def check_package(path: Path) -> None:
    """Raises NotFound unless ``path`` is the package ``atoll``."""
    try:
        name = run(["dpkg-deb", "--field", path, "Package"]).decode(errors="replace").strip()
    except AtollError as error:
        raise NotFound(f"{path} is not a Debian package", hint=MAKE) from error
    if name != TOOL:
        raise NotFound(f"{path} is the package {name}, not atoll", hint=MAKE)


def is_checkout() -> bool:
    """Whether this Atoll runs from its sources."""
    return (SOURCE / "src/atoll").is_dir() and (SOURCE / "debian/make").is_file()


def _built(place: Path) -> dict[str, Path]:
    if not is_checkout():
        return {}
    run([SOURCE / "debian/make", place])
    return {name: place / f"{name}.deb" for name in PACKAGES}


def _kept(_: Path) -> dict[str, Path]:
    version = _installed_version().replace(":", "%3a")
    return {name: ARCHIVES / f"{name}_{version}_all.deb" for name in PACKAGES}


def _fetched(place: Path) -> dict[str, Path]:
    version = _installed_version()
    found = {name: place / f"{name}_{version.replace(':', '%3a')}_all.deb" for name in PACKAGES}
    missing = [name for name, path in found.items() if not path.is_file()]
    if missing:
        run(["apt-get", "download", *(f"{name}={version}" for name in missing)], cwd=place)
    return found


def _installed_version() -> str:
    return run(["dpkg-query", "--show", "--showformat=${Version}", TOOL]).decode().strip()
