"""Choose which of Atoll's own packages a recipe gets by default, and find those that a lock pins.

::

    from a suite or from nothing    both packages of the running Atoll, named in the recipe or not
    from an image or a recipe       those of the base; both of the running Atoll if "atoll" is named
    a file, version or suite        what the recipe says; none are added automatically

A lock pins their contents like those of all packages. A build takes exactly these files, from its
cache or from the running Atoll, and fails if neither has them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.base.errors import AtollError, RecipeError
from atoll.debian.atoll_package import (
    PACKAGES,
    SYSTEM,
    TOOL,
    find_own_packages,
    is_checkout,
    is_own,
    own_path,
)
from atoll.debian.deb import read_control
from atoll.debian.resolve import LocalDeb, parse_requirement
from atoll.debian.stanza import parse_stanza
from atoll.host.fs import digest_file
from atoll.lock.path import lock_path
from atoll.recipe.model import DebianBase, EmptyBase

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from atoll.base.report import Reporter
    from atoll.debian.pin import Pin
    from atoll.recipe.model import Recipe

_COMMAND = "atoll lock --update atoll atoll-system"


def own_names(recipe: Recipe, files: Iterable[str]) -> tuple[str, ...]:
    """The own packages to add automatically; ``files`` are names of packages given as files."""
    packages = recipe.packages
    requirements = [parse_requirement(requirement) for requirement in packages.install]
    elsewhere = {
        requirement.name for requirement in requirements if requirement.version or requirement.suite
    }
    elsewhere |= {name for name, _ in (*packages.versions, *packages.sources)}
    if {TOOL, SYSTEM} & {*files, *elsewhere, *packages.remove}:
        return ()
    named = {TOOL, SYSTEM} & {requirement.name for requirement in requirements}
    return PACKAGES if named or isinstance(recipe.base, DebianBase | EmptyBase) else ()


def own_directory(cache: Path) -> Path:
    """The directory in a cache for the packages of the running Atoll."""
    return cache / "own"


def read_own(names: Iterable[str], cache: Path) -> tuple[LocalDeb, ...]:
    """The packages ``names`` of the running Atoll. Raises NotFound or Damaged."""
    names = tuple(names)
    if not names:
        return ()
    files = find_own_packages(own_directory(cache))
    return tuple(
        LocalDeb(
            name=own_path(name),
            path=files[name],
            sha256=digest_file(files[name]),
            stanza=parse_stanza(read_control(files[name])),
        )
        for name in names
    )


def implied_packages(local: Iterable[LocalDeb]) -> tuple[str, ...]:
    """The packages that a system with ``atoll-system`` needs besides.

    ``atoll-system`` only suggests the programs for its initrd. If it depended on them, apt would
    install them on computers where it then refuses the package itself.
    """
    texts = (deb.stanza.fields.get("suggests", "") for deb in local if deb.stanza.name == SYSTEM)
    return tuple(
        requirement.strip()
        for text in texts
        for requirement in text.split(",")
        if requirement.strip()
    )


def find_own(recipe: Recipe, pin: Pin, cache: Path) -> Path:
    """The file of a pinned own package that the cache of packages does not have.

    Raises RecipeError if the running Atoll has other files, NotFound if it has none.
    """
    (own,) = read_own((pin.name,), cache)
    if own.sha256 == pin.sha256:
        return own.path
    raise RecipeError(
        f"the lock was made by another Atoll: it pins {pin.name} {pin.version} (SHA-256 "
        f"{pin.sha256[:12]}…), this Atoll has {own.stanza.version} ({own.sha256[:12]}…)",
        file=lock_path(recipe),
        hint=f"take this one: {_COMMAND}; or build with the Atoll that made the lock",
    )


def report_other_own(pins: Iterable[Pin], cache: Path, reporter: Reporter) -> None:
    """Report if the lock pins own packages that differ from this checkout's."""
    pinned = {pin.name: pin.sha256 for pin in pins if is_own(pin.path)}
    if not pinned or not is_checkout():
        return
    try:
        other = [
            one.stanza.name
            for one in read_own(pinned, cache)
            if one.sha256 != pinned[one.stanza.name]
        ]
    except AtollError:
        return
    if other:
        reporter.notice(
            f"the lock pins another build of {', '.join(other)} than this checkout's; "
            f"to take that: {_COMMAND}"
        )
