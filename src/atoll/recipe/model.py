"""A recipe as values. Whoever holds a ``Recipe`` may rely on what ``recipe.parse`` has checked.

Nothing here says how a recipe is written; the language is in docs/reference/recipe.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SCHEMA = 1
"""The one version of the language that this Atoll reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What the tree is called. ``version`` fits an OCI tag."""

    name: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Debian:
    """Where the packages come from. Without ``mirror`` the building machine decides."""

    suite: str
    mirror: str | None = None
    components: tuple[str, ...] = ("main",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Packages:
    """``install`` and ``remove`` are words for apt, none of them an option or a pattern.

    ``local`` are .deb files as the recipe names them; ``Recipe.resolve`` finds them.
    """

    install: tuple[str, ...] = ()
    local: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """Arguments in the order given; none that Atoll sets itself."""

    args: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """None: Debian's own default stays."""

    hostname: str | None = None
    locale: str | None = None
    timezone: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """An account. ``password_hash`` is crypt(5)'s; None locks the password.

    ``root`` may be among them, to give it keys, a shell or a password; the account exists already.
    """

    name: str
    home: str
    uid: int | None = None
    gecos: str = ""
    shell: str = "/bin/bash"
    groups: tuple[str, ...] = ()
    ssh_keys: tuple[str, ...] = ()
    password_hash: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of the tree: exactly one of ``text`` and ``source`` is not None."""

    path: str
    text: str | None = None
    source: str | None = None
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    enable: tuple[str, ...] = ()
    disable: tuple[str, ...] = ()
    mask: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """``file`` is where it was read, ``text`` exactly what stood there."""

    file: str
    text: str
    image: Image
    debian: Debian
    packages: Packages
    kernel: Kernel
    system: System
    users: tuple[User, ...]
    files: tuple[File, ...]
    units: Units

    def resolve(self, name: str) -> Path:
        """Where a local file is that the recipe names relative to its own folder."""
        return Path(self.file).parent / name
