"""A person's settings in the first deployment of a machine, before its boot entry is committed.

What may fail is done first, in a temporary directory (``prepare_settings``), so that wrong settings
are found before a disk is touched. What is left are files: the changes of ``/etc`` in the
deployment's upper directory, where a running machine would have them, and the home directory in
``/var``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

from atoll.host.fs import fsync_directory, make_directory, remove_tree
from atoll.installer.settings.check_settings import choose_groups, require_possible
from atoll.installer.settings.etc_settings import with_settings
from atoll.installer.settings.new_account import make_account
from atoll.machine.deployments.operations import RemovePath
from atoll.machine.etc.etc_commands import read_etc_of_tree
from atoll.machine.etc.overlay_upper import plan_difference, plan_upper
from atoll.machine.etc.stage import etc_paths
from atoll.machine.install import FIRST

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.installer.settings.image_contents import ImageContents
    from atoll.installer.settings.settings import Settings
    from atoll.machine.deployments.operations import Operation
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.etc.etc_tree import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedSettings:
    """``tree`` is the image's ``/etc``, ``etc`` that of the new machine."""

    user: str
    tree: Node
    etc: Node
    home: Node


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsureDirectory:
    path: Path
    mode: int = 0o755

    def describe(self) -> str:
        return f"make directory {self.path}"

    def execute(self) -> None:
        make_directory(self.path, mode=self.mode)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceHome:
    """Rename the home directory into place. One that is there stays as it is: the person keeps a
    /home from before, or an interrupted install has made it."""

    fresh: Path
    place: Path

    def describe(self) -> str:
        return f"put the home directory {self.place} in place"

    def execute(self) -> None:
        if self.place.exists() or self.place.is_symlink():
            remove_tree(self.fresh)
        else:
            self.fresh.rename(self.place)
        fsync_directory(self.place.parent)


def prepare_settings(settings: Settings, image: ImageContents) -> PreparedSettings:
    """Raises RecipeError with the key that the image cannot satisfy, MissingProgram."""
    require_possible(settings, image)
    tree = read_etc_of_tree(image.store, image.tree)
    account = make_account(settings.user, choose_groups(settings.user, image), tree)
    manager = image.has_network_manager
    etc = with_settings(account.etc, settings, network_manager=manager, uuid=uuid4())
    return PreparedSettings(user=settings.user.name, tree=tree, etc=etc, home=account.home)


def plan_settings(prepared: PreparedSettings, sysroot: Sysroot) -> tuple[Operation, ...]:
    """Write the settings into the first deployment of ``sysroot``."""
    homes = sysroot.atoll / "var" / "home"
    place = homes / prepared.user
    fresh = homes / f".{prepared.user}.new"
    return (
        *plan_upper(prepared.etc, prepared.tree, etc_paths(sysroot, FIRST).upper),
        EnsureDirectory(path=homes),
        RemovePath(path=fresh),
        *plan_difference(prepared.home, None, fresh),
        PlaceHome(fresh=fresh, place=place),
    )
