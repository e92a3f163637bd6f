"""``add`` and ``remove``: what they make of the machine file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import NotFound, NothingToDo, UsageError
from atoll.base.fields import find_near
from atoll.builder.base_image import read_installed
from atoll.debian.deb import read_control
from atoll.debian.resolve import parse_requirement
from atoll.debian.stanza import parse_stanza
from atoll.host.fs import read_regular
from atoll.layering.change_machine import Edited
from atoll.layering.edit_machine_file import add_packages, remove_packages
from atoll.machine.machine_file import FILE
from atoll.recipe.language.check_packages import (
    check_package,
    check_removed_package,
    is_local_package,
    package_name,
)
from atoll.recipe.language.parse import parse_machine_recipe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atoll.layering.change_machine import MachineBase

FOLDER = "packages"
"""Where ``add`` puts .deb files, below ``/etc/atoll``."""
_MOST = 512 << 20
"""Bytes of a .deb file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageWords:
    """What a person names, as apt takes it. ``files`` are the contents of local .deb files, by
    their paths below ``/etc/atoll``."""

    words: tuple[str, ...]
    files: dict[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the packages, as ``remove`` takes them."""
        return tuple(
            Path(word).stem if is_local_package(word) else package_name(word) for word in self.words
        )


def read_package_words(texts: Sequence[str]) -> PackageWords:
    """Check the words of ``add``, and read the .deb files among them. Raises UsageError, NotFound
    or Damaged."""
    words: list[str] = []
    files: dict[str, bytes] = {}
    for text in texts:
        flaw = check_package(text)
        if flaw:
            raise UsageError(flaw.message, hint=flaw.hint)
        if not is_local_package(text):
            words.append(text)
            continue
        path = Path(text)
        if not path.is_file():
            raise NotFound(f"there is no file {text}", hint="name a .deb file")
        # Its package's name, so that ``remove NAME`` finds it, and a newer one replaces it.
        name = f"{FOLDER}/{parse_stanza(read_control(path)).name}.deb"
        files[name] = read_regular(path, limit=_MOST)
        words.append(f"./{name}")
    return PackageWords(words=tuple(words), files=files)


def edit_for_add(text: str, words: PackageWords, machine: MachineBase) -> Edited:
    """Raises NothingToDo when all is there already."""
    packages = parse_machine_recipe(text, file=FILE).recipe.packages
    own, installed = (*packages.install, *packages.local), installed_names(machine)
    wanted, back, notes = [], [], []
    for word in words.words:
        requirement = parse_requirement(word)
        plain = not is_local_package(word) and requirement.version is None
        if plain and requirement.suite is None and requirement.name in installed:
            if requirement.name in packages.remove:
                back.append(requirement.name)
            else:
                notes.append(f"{word} is part of the image already")
        elif word in own and word.removeprefix("./") not in words.files:
            notes.append(f"{word} is in the machine file already")
        else:
            wanted.append(word)
    if not (wanted or back):
        raise NothingToDo("; ".join(notes))
    return Edited(text=add_packages(text, wanted, back=back), notes=tuple(notes))


def edit_for_remove(text: str, names: Sequence[str], machine: MachineBase) -> Edited:
    """Raises NotFound for a package that is not installed."""
    own = {package_name(word): word for word in read_own_words(text)}
    own |= {Path(word).stem: word for word in own if is_local_package(word)}
    installed = installed_names(machine)
    mine, base = [], []
    for name in names:
        flaw = check_removed_package(name)
        if flaw:
            raise UsageError(flaw.message, hint=flaw.hint)
        if name in own:
            mine.append(package_name(own[name]))
        elif name in installed:
            base.append(name)
        else:
            hint = find_near(name, {*own, *installed}) or "dpkg -l lists what is"
            raise NotFound(f"{name} is not installed", hint=hint)
    return Edited(text=remove_packages(text, (*mine, *base), base=base))


def read_own_words(text: str) -> tuple[str, ...]:
    """The words of packages.install in a machine file. Raises RecipeError."""
    packages = parse_machine_recipe(text, file=FILE).recipe.packages
    return (*packages.install, *packages.local)


def installed_names(machine: MachineBase) -> frozenset[str]:
    """The packages of the image."""
    stanzas = read_installed(machine.store, machine.base.tree).stanzas
    return frozenset(stanza.name for stanza in stanzas)
