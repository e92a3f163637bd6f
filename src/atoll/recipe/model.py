"""A recipe as values. ``recipe.language.parse`` has checked every value of a ``Recipe``.

A recipe is read from one or more files, with one variant or none chosen; what is here is the sum.
Nothing here says how a recipe is written; the language is in docs/reference/recipe.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

from atoll.image.info import NO_RULES, VarRules

SCHEMA = 1
"""The one version of the language that this Atoll reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DebianBase:
    """The smallest Debian of a suite: its essential packages, and apt."""

    suite: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EmptyBase:
    """Nothing at all: the recipe names every package itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageBase:
    """A published image or one in the store, as ``registry.reference`` writes it.

    A layout or archive with a relative path is relative to the recipe's folder.
    """

    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeBase:
    """The tree that another recipe gives. ``path`` leads to its file; ``variant`` is one of its."""

    path: Path
    variant: str | None = None


Base: TypeAlias = DebianBase | EmptyBase | ImageBase | RecipeBase


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What the tree is called. ``version`` fits an OCI tag; labels are sorted by name."""

    name: str
    version: str
    description: str = ""
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Debian:
    """Where the packages come from. Without ``mirror`` the building machine decides.

    ``suite`` is None where the base decides it: an image, another recipe, or nothing at all.
    ``components`` is None where nothing was said: ``main``, or what the base has.
    ``architectures`` are foreign ones, beside the machine's. ``snapshot`` is a time in UTC
    (``20260820T000000Z``) that replaces ``{snapshot}`` in ``mirror`` and ``security_mirror``.
    ``security`` and ``updates``: whether the suites SUITE-security and SUITE-updates are used.
    """

    suite: str | None = None
    components: tuple[str, ...] | None = None
    architectures: tuple[str, ...] = ()
    mirror: str | None = None
    security_mirror: str | None = None
    snapshot: str | None = None
    security: bool = True
    updates: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """One more repository of packages. ``suites`` that end in ``/`` are flat ones.

    ``key`` is a local file with the public key (armoured or not). ``priority`` is apt's pin
    priority for all that is in it; ``keep``: the tree's own apt knows the repository, too.
    """

    name: str
    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    key: str = ""
    priority: int | None = None
    keep: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Packages:
    """``install`` and ``remove`` are words for apt, none of them an option or a pattern.

    ``local`` are .deb files as the recipe names them; ``Recipe.resolve`` finds them. ``versions``
    holds packages (NAME or NAME:ARCH) at a version, in which ``*`` at the end stands for any rest;
    ``sources`` takes packages from a ``Repository`` by its name, or from a suite.
    ``debconf`` are lines for debconf-set-selections(1), licences accepted there included.
    """

    install: tuple[str, ...] = ()
    local: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    versions: tuple[tuple[str, str], ...] = ()
    sources: tuple[tuple[str, str], ...] = ()
    recommends: bool = False
    debconf: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """``package`` is installed beside ``Packages.install``. ``args`` are in the order given, none
    of them one that Atoll sets itself; ``remove_args`` are the base's. ``modules`` are loaded at
    each boot, ``blacklist`` never by themselves; ``initrd_modules`` are in the initrd whatever the
    build finds.
    """

    package: str | None = None
    args: tuple[str, ...] = ()
    remove_args: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    blacklist: tuple[str, ...] = ()
    initrd_modules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """The menu: how many seconds it shows; what it calls the system (None: the image's name)."""

    timeout: int | None = None
    title: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """None: Debian's own default stays. ``locales`` are made beside ``locale``."""

    hostname: str | None = None
    locale: str | None = None
    locales: tuple[str, ...] = ()
    timezone: str | None = None
    keymap: str | None = None


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
    system: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    name: str
    gid: int | None = None
    system: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of the tree: exactly one of ``text``, ``source``, ``url`` and ``link`` is not None.

    ``sha256`` (64 hex) belongs to ``url``; ``link`` makes a symbolic link to its value.
    """

    path: str
    text: str | None = None
    source: str | None = None
    url: str | None = None
    sha256: str | None = None
    link: str | None = None
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A program that changes the root: exactly one of ``text`` (for /bin/sh) and ``source`` is set.

    ``inputs`` are local files and directories that it sees at /run/atoll/inputs/NAME; nothing else
    of the maker's machine is there. Without ``network`` it has none.
    """

    name: str
    text: str | None = None
    source: str | None = None
    inputs: tuple[str, ...] = ()
    network: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """``dropins`` are (unit, text), sorted by unit; the ``user_`` lists are of users' managers."""

    enable: tuple[str, ...] = ()
    disable: tuple[str, ...] = ()
    mask: tuple[str, ...] = ()
    user_enable: tuple[str, ...] = ()
    user_disable: tuple[str, ...] = ()
    user_mask: tuple[str, ...] = ()
    dropins: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """How machines follow this image unless their owner says otherwise.

    ``auto`` is ``none``, ``check``, ``download`` or ``stage``; ``window`` a calendar expression as
    in systemd.time(7); ``delay`` seconds at most that each machine waits at random.
    """

    follow: str | None = None
    auto: str = "none"
    window: str = "daily"
    delay: int = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """A program (text for /bin/sh, or a local file) that says whether a boot is good."""

    name: str
    text: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """``units`` must be active for a boot to be good; ``checks`` must succeed."""

    units: tuple[str, ...] = ()
    checks: tuple[HealthCheck, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """Where the image goes (an image reference without tag), and under which tags beside its
    version."""

    to: str | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Flatpak:
    """Checked and carried in the image."""

    remotes: tuple[tuple[str, str], ...] = ()
    install: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """Checked and carried in the image."""

    name: str
    image: str
    packages: tuple[str, ...] = ()
    home: bool = True


class LocalReference(NamedTuple):
    """A local file or folder that a recipe names, relative to its folder.

    ``key`` is the key that names it (``file.source``); ``row`` is which table of a list has the
    key, by its name or path, and empty elsewhere.
    """

    key: str
    name: str
    row: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """``file`` is where it was read, ``text`` exactly what stood there.

    ``variant`` is the chosen one; ``variants`` are all that there are. ``etc`` holds (pattern,
    winner) as in the machine file; ``keep`` is how many deployments a machine keeps, None where the
    recipe does not say. ``sources`` are all files that it was read from, ``file`` first, with their
    texts; they are named relative to the recipe's folder, so that no name tells where that is.
    ``local_files`` are all local files and folders that the tables name, packages included.
    """

    file: str
    text: str
    base: Base
    image: Image
    debian: Debian
    packages: Packages
    variant: str | None = None
    variants: tuple[str, ...] = ()
    sources: tuple[tuple[str, str], ...] = ()
    repositories: tuple[Repository, ...] = ()
    kernel: Kernel = Kernel()
    boot: Boot = Boot()
    system: System = System()
    users: tuple[User, ...] = ()
    groups: tuple[Group, ...] = ()
    files: tuple[File, ...] = ()
    scripts: tuple[Script, ...] = ()
    units: Units = Units()
    etc: tuple[tuple[str, str], ...] = ()
    var: VarRules = NO_RULES
    update: Update = Update()
    health: Health = Health()
    keep: int | None = None
    publish: Publish = Publish()
    flatpak: Flatpak = Flatpak()
    boxes: tuple[Box, ...] = ()
    local_files: tuple[LocalReference, ...] = ()

    def resolve(self, name: str) -> Path:
        """Where a local file is that the recipe names relative to its own folder.

        Names in included files are made relative to this recipe's folder when they are read.
        """
        return Path(self.file).parent / name
