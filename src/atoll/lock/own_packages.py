"""Which of Atoll's own packages a recipe gets by itself, and which ones a lock means.

::

    from a suite, from nothing      both, of the Atoll that makes the lock, whether named or not
    from an image, from a recipe    those of the base; both of this Atoll where "atoll" is named
    a file, a version or a suite    what the recipe says; none come by themselves

A lock pins their contents like those of all packages. A build goes by the lock: it takes them from
its cache or from the Atoll that runs, and refuses where neither has these very files.
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

_HOW = "atoll lock --update atoll atoll-system"


def own_names(recipe: Recipe, files: Iterable[str]) -> tuple[str, ...]:
    """The packages that come by themselves; ``files`` are packages that the recipe has as files."""
    packages = recipe.packages
    words = [parse_requirement(word) for word in packages.install]
    elsewhere = {word.name for word in words if word.version or word.suite}
    elsewhere |= {name for name, _ in (*packages.versions, *packages.sources)}
    if {TOOL, SYSTEM} & {*files, *elsewhere, *packages.remove}:
        return ()
    named = {TOOL, SYSTEM} & {word.name for word in words}
    return PACKAGES if named or isinstance(recipe.base, DebianBase | EmptyBase) else ()


def own_place(cache: Path) -> Path:
    """Where the packages of the Atoll that runs are made or fetched, in a cache."""
    return cache / "own"


def read_own(names: Iterable[str], cache: Path) -> tuple[LocalDeb, ...]:
    """The packages ``names`` of the Atoll that runs; raises NotFound or Damaged."""
    names = tuple(names)
    if not names:
        return ()
    files = find_own_packages(own_place(cache))
    return tuple(
        LocalDeb(
            name=own_path(name),
            path=files[name],
            sha256=digest_file(files[name]),
            stanza=parse_stanza(read_control(files[name])),
        )
        for name in names
    )


def implied_words(local: Iterable[LocalDeb]) -> tuple[str, ...]:
    """What goes with ``atoll-system`` into a system: it only suggests the programs for its initrd,
    lest apt put them onto a computer that then refuses the package itself."""
    texts = (deb.stanza.fields.get("suggests", "") for deb in local if deb.stanza.name == SYSTEM)
    return tuple(word.strip() for text in texts for word in text.split(",") if word.strip())


def find_own(recipe: Recipe, pin: Pin, cache: Path) -> Path:
    """The file of a pinned own package, which the cache of packages does not have.

    Raises RecipeError where the Atoll that runs has another one, NotFound where it has none.
    """
    (ours,) = read_own((pin.name,), cache)
    if ours.sha256 == pin.sha256:
        return ours.path
    raise RecipeError(
        f"the lock was made by another Atoll: it pins {pin.name} {pin.version} (SHA-256 "
        f"{pin.sha256[:12]}…), this Atoll has {ours.stanza.version} ({ours.sha256[:12]}…)",
        file=lock_path(recipe),
        hint=f"take this one: {_HOW}; or build with the Atoll that made the lock",
    )


def notice_other_own(pins: Iterable[Pin], cache: Path, reporter: Reporter) -> None:
    """Tell where a lock pins other own packages than a checkout's: its changes are not built in."""
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
            f"to take that: {_HOW}"
        )
