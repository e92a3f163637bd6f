"""Find the files of Atoll's own two Debian packages, which every system built by Atoll contains.

``atoll`` is the tool, and harmless on any computer. ``atoll-system`` is only for such systems:
early boot, units, hooks. Both have the same version and are searched for together.
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
"""The directory of Atoll's sources, if it runs from a checkout."""


def own_path(name: str) -> str:
    """The path of Atoll's own package ``name`` in a lock: ``atoll:NAME.deb``."""
    return f"{_OWN}{name}.deb"


def is_own(path: str) -> bool:
    """Whether a pin's path names one of Atoll's own packages."""
    return path.startswith(_OWN)


def find_own_packages(directory: Path) -> Mapping[str, Path]:
    """Both packages of the running Atoll by name, built or downloaded into ``directory``.

    A source checkout builds them. An installed Atoll takes them from apt's cache or downloads them.
    Raises NotFound.
    """
    directory.mkdir(parents=True, exist_ok=True)
    reasons: list[str] = []
    for attempt in (_build, _find_in_apt_cache, _download):
        try:
            found = attempt(directory)
        except AtollError as error:
            reasons.append(error.message.splitlines()[0])
            continue
        if all(path.is_file() for path in found.values()) and found:
            return found
    details = f" ({'; '.join(dict.fromkeys(reasons))})" if reasons else ""
    raise NotFound(
        f"cannot find the packages of this version of Atoll{details}", hint=_placement_hint()
    )


def _placement_hint() -> str:
    """The hint where to put the files: apt does not record the file of an installed package."""
    advice = 'put them beside the recipe: install = ["./atoll.deb", "./atoll-system.deb"]'
    if is_checkout():
        return f"{MAKE}; {advice}"
    try:
        cached = _find_in_apt_cache(ARCHIVES)
    except AtollError:
        return f"{MAKE}; {advice}"
    copies = "".join(f"\n    sudo cp {name}.deb {path}" for name, path in cached.items())
    return f"if Atoll was installed from files, copy both to apt's cache:{copies}\n  or {advice}"


def find_system_beside(tool: Path) -> Path | None:
    """The file of ``atoll-system`` beside that of ``atoll``, with the same version in its name."""
    sibling = tool.with_name(tool.name.replace(TOOL, SYSTEM, 1))
    return sibling if sibling != tool and sibling.is_file() else None


def check_package(path: Path) -> None:
    """Raise NotFound unless ``path`` is a file of the package ``atoll``."""
    try:
        name = run(["dpkg-deb", "--field", path, "Package"]).decode(errors="replace").strip()
    except AtollError as error:
        raise NotFound(f"{path} is not a Debian package", hint=MAKE) from error
    if name != TOOL:
        raise NotFound(f"{path} is the package {name}, not atoll", hint=MAKE)


def is_checkout() -> bool:
    """Whether this Atoll runs from its sources."""
    return (SOURCE / "src/atoll").is_dir() and (SOURCE / "debian/make").is_file()


def _build(directory: Path) -> dict[str, Path]:
    if not is_checkout():
        return {}
    run([SOURCE / "debian/make", directory])
    return {name: directory / f"{name}.deb" for name in PACKAGES}


def _find_in_apt_cache(_: Path) -> dict[str, Path]:
    version = _installed_version().replace(":", "%3a")
    return {name: ARCHIVES / f"{name}_{version}_all.deb" for name in PACKAGES}


def _download(directory: Path) -> dict[str, Path]:
    version = _installed_version()
    found = {name: directory / f"{name}_{version.replace(':', '%3a')}_all.deb" for name in PACKAGES}
    missing = [name for name, path in found.items() if not path.is_file()]
    if missing:
        run(["apt-get", "download", *(f"{name}={version}" for name in missing)], cwd=directory)
    return found


def _installed_version() -> str:
    return run(["dpkg-query", "--show", "--showformat=${Version}", TOOL]).decode().strip()
