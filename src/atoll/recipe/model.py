"""A recipe as values, all of them checked by ``recipe.language.parse``.

A recipe is read from one or more files, with at most one variant chosen; a ``Recipe`` is the merged
result. docs/reference/recipe.md describes the language.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

from atoll.image.info import NO_RULES, VarRules

SCHEMA = 1
"""The only version of the language that this Atoll reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DebianBase:
    """A Debian suite: its essential packages and apt."""

    suite: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EmptyBase:
    """No base: the recipe names all packages itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageBase:
    """A published image or one in the store; ``reference`` has the form of ``oci.reference``.

    A relative path of a layout or archive is relative to the recipe's folder.
    """

    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeBase:
    """Another recipe, built first. ``path`` is its file, ``variant`` one of its variants."""

    path: Path
    variant: str | None = None


Base: TypeAlias = DebianBase | EmptyBase | ImageBase | RecipeBase


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """Name and metadata of the image. ``version`` is a valid OCI tag; labels are sorted by name."""

    name: str
    version: str
    description: str = ""
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Debian:
    """The Debian archive. Without ``mirror`` the building machine's configuration decides.

    ``suite`` is None if the base decides it: an image or another recipe.
    ``components`` is None if not set: ``main``, or the components of the base.
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
    """An additional package repository. Its ``suites`` that end in ``/`` are flat repositories.

    ``key`` is a local file with the public key (armoured or not). ``priority`` is apt's pin
    priority for all its packages; ``keep``: the tree's own apt uses the repository too.
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
    """``install`` and ``remove`` are package arguments for apt, without options or patterns.

    ``local`` are .deb files as the recipe names them; ``Recipe.resolve`` finds them. ``versions``
    maps packages (NAME or NAME:ARCH) to a version, where a ``*`` at the end matches anything;
    ``sources`` maps packages to the name of a ``Repository`` or to a suite.
    ``debconf`` are lines for debconf-set-selections(1), including accepted licences.
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
    """``package`` is installed in addition to ``Packages.install``.

    ``args`` are in the given order; none is reserved for Atoll. ``remove_args`` are arguments of
    the base to remove. ``modules`` are loaded at each boot, ``blacklist`` never automatically;
    ``initrd_modules`` are in the initrd in addition to those that the build selects.
    """

    package: str | None = None
    args: tuple[str, ...] = ()
    remove_args: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    blacklist: tuple[str, ...] = ()
    initrd_modules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """The boot menu: timeout in seconds, and the system's title (None: the image's name)."""

    timeout: int | None = None
    title: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """None means Debian's default. ``locales`` are generated in addition to ``locale``."""

    hostname: str | None = None
    locale: str | None = None
    locales: tuple[str, ...] = ()
    timezone: str | None = None
    keymap: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """An account. ``password_hash`` is in the form of crypt(5); None locks the password.

    ``root``, which exists already, may be listed to set its keys, shell or password.
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
    """A group that no package creates."""

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

    ``inputs`` are local files and directories, visible to it at /run/atoll/inputs/NAME; it sees
    nothing else of the building machine. It has no network unless ``network`` is set.
    """

    name: str
    text: str | None = None
    source: str | None = None
    inputs: tuple[str, ...] = ()
    network: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """``dropins`` are (unit, text), sorted by unit; ``user_`` lists are for systemd --user."""

    enable: tuple[str, ...] = ()
    disable: tuple[str, ...] = ()
    mask: tuple[str, ...] = ()
    user_enable: tuple[str, ...] = ()
    user_disable: tuple[str, ...] = ()
    user_mask: tuple[str, ...] = ()
    dropins: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """How machines follow this image, unless their owner decides otherwise.

    ``auto`` is ``none``, ``check``, ``download``, ``stage`` or ``reboot``; ``window`` and
    ``reboot_window`` are calendar expressions (systemd.time(7)); ``delay`` is the maximum random
    delay of each machine, in seconds. ``layers`` is ``hold`` or ``drop``: what an upgrade does with
    a package of the machine file that no longer fits. ``metered`` and ``battery`` allow updates
    there; ``reserve`` is the space that they leave free, in megabytes.
    """

    follow: str | None = None
    auto: str = "none"
    window: str = "daily"
    delay: int = 3600
    layers: str = "hold"
    reboot_window: str | None = None
    metered: bool = False
    battery: bool = False
    reserve: int = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """A program (text for /bin/sh, or a local file) that decides whether a boot is good."""

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
    """The destination (an image reference without a tag), and tags in addition to the version."""

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

    ``key`` is the key that names it (``file.source``). ``row`` is the name or path of the table if
    the key is in a list of tables, and otherwise empty.
    """

    key: str
    name: str
    row: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """``file`` is the path of the recipe, ``text`` its exact content.

    ``variant`` is the chosen one, ``variants`` are all. ``etc`` has (pattern, winner) as in the
    machine file. ``keep`` is the number of deployments that a machine keeps, None if not set.
    ``sources`` are all files that it was read from, ``file`` first, with their texts; their names
    are relative to the recipe's folder, so that they do not reveal where that is. ``local_files``
    are all local files and folders that the tables name, packages included.
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
        """The path of a local file that the recipe names relative to its own folder.

        Names in included files are made relative to this recipe's folder when they are read.
        """
        return Path(self.file).parent / name


MACHINE_TABLES = frozenset({"schema", "keep", "etc", "update"})
"""Keys of a machine file that concern the machine alone. All others make it a tree of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineRecipe:
    """A machine file. ``tables`` are the names of the keys at its top that are not empty. The name
    and version of ``recipe.image`` are empty where the file does not set them."""

    recipe: Recipe
    tables: frozenset[str]

    @property
    def makes_tree(self) -> bool:
        """Whether it changes the tree, so that one must be built from the image."""
        return bool(self.tables - MACHINE_TABLES)
