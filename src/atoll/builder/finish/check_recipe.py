"""Check a finished root against its recipe: units, files, accounts, and the copies that fill /var.

Later steps, programs of packages and the image layout can undo what a step did. Any difference ends
the build, and the error names the key and the line of the recipe.
"""

from __future__ import annotations

import hashlib
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from atoll.base.errors import RecipeError
from atoll.builder.finish.check_seeds import SeededPaths
from atoll.builder.finish.paths import path_in_tree
from atoll.builder.steps.remap_ids import read_accounts
from atoll.builder.steps.unit_links import UnitLinks, full_name
from atoll.builder.steps.units import ALWAYS_MASKED
from atoll.host.in_root import read_text
from atoll.recipe.language.locations import find_value_location

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from atoll.builder.steps.ids import AccountFiles
    from atoll.recipe.model import File, Recipe, User

_GENERATED = {"serial-getty@": "systemd-getty-generator"}
"""Prefixes of units that a generator starts at boot, even if no link enables them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """A difference from the recipe: the root is not as ``value`` of the key ``key`` says."""

    key: str
    value: object
    message: str
    hint: str | None = None


Contents: TypeAlias = "Mapping[str, str]"
"""For each ``[[file]]`` path that exists: the target of a link, or the SHA-256 of the content."""


def read_contents(root: Path, recipe: Recipe) -> Contents:
    """What is at the paths of the recipe's ``[[file]]`` tables. ``root`` may have Debian's layout
    or the image layout."""
    found = {}
    for file in recipe.files:
        path = root / path_in_tree(root, file.path)[1:]
        if path.is_symlink():
            found[file.path] = str(path.readlink())
        elif path.is_file():
            with path.open("rb") as opened:
                found[file.path] = hashlib.file_digest(opened, "sha256").hexdigest()
    return found


def check_recipe(root: Path, recipe: Recipe, before: Contents) -> None:
    """Raises RecipeError at the first difference; the message lists the others too.

    ``root`` has the image layout; ``before`` is what its files were in Debian's layout.
    """
    found = list(find_differences(root, recipe, before))
    if not found:
        return
    first = found[0]
    sources = [(str(recipe.resolve(name)), text) for name, text in recipe.sources]
    location = find_value_location(sources or [(recipe.file, recipe.text)], first.key, first.value)
    file, line = location or (recipe.file, None)
    more = "".join(f"\n    {each.key}: {each.message}" for each in found[1:])
    raise RecipeError(
        f"{first.message}{more}", file=file, line=line, key=first.key, hint=first.hint
    )


def find_differences(root: Path, recipe: Recipe, before: Contents) -> Iterator[Mismatch]:
    units = recipe.units
    system, user = UnitLinks(root, "system"), UnitLinks(root, "user")
    yield from check_enabled(system, "units.enable", units.enable)
    yield from check_enabled(user, "units.user.enable", units.user_enable)
    yield from check_disabled(system, "units.disable", units.disable, units.enable)
    yield from check_disabled(user, "units.user.disable", units.user_disable, units.user_enable)
    yield from check_masked(system, "units.mask", units.mask)
    yield from check_masked(user, "units.user.mask", units.user_mask)
    accounts = read_accounts(root)
    yield from check_users(root, recipe, accounts)
    groups = {line[0]: line[2] for line in accounts.group}
    for group in recipe.groups:
        if groups.get(group.name) != str(group.gid or groups.get(group.name)):
            yield Mismatch(
                key="group.name",
                value=group.name,
                message=f"the group {group.name}"
                f" has the id {groups.get(group.name)}, not {group.gid}",
            )
    yield from check_files(root, recipe, accounts, before)


def check_enabled(links: UnitLinks, key: str, names: Iterable[str]) -> Iterator[Mismatch]:
    for name in names:
        unit = full_name(name)
        if links.is_enabled(unit) or any(map(links.is_enabled, links.also(unit))):
            continue
        if unit in ALWAYS_MASKED:
            why, hint = (
                "Atoll masks it: the packages of an image do not change on a machine",
                "leave it out",
            )
        elif links.is_masked(unit):
            why, hint = "it is masked", "find what masks it: a [[script]] or a package"
        else:
            why = "it has no [Install] section that would start it"
            hint = (
                "leave it out if another unit, D-Bus or udev starts it; otherwise add an [Install]"
                " section with [units.dropin]"
            )
        yield Mismatch(key=key, value=name, message=f"{name} is not enabled: {why}", hint=hint)


def check_disabled(
    links: UnitLinks, key: str, names: Iterable[str], enabled: Iterable[str]
) -> Iterator[Mismatch]:
    kept = {full_name(name) for name in enabled}
    for name in names:
        unit = full_name(name)
        if links.is_masked(unit):
            continue
        starts = [link for link in links.etc_links(unit) if link.name not in kept]
        starts += links.vendor_links(unit)
        by = [f"/{link.relative_to(links.root)}" for link in starts]
        by += [name for start, name in _GENERATED.items() if unit.startswith(start)]
        if by:
            yield Mismatch(
                key=key,
                value=name,
                message=f"{name} still starts, because of {by[0]}",
                hint="mask it, so that nothing can start it",
            )


def check_masked(links: UnitLinks, key: str, names: Iterable[str]) -> Iterator[Mismatch]:
    for name in names:
        if not links.is_masked(full_name(name)):
            yield Mismatch(
                key=key,
                value=name,
                message=f"{name} is not masked",
                hint="find what unmasks it: a [[script]] or a package",
            )


def check_users(root: Path, recipe: Recipe, accounts: AccountFiles) -> Iterator[Mismatch]:
    """Check accounts, passwords and ssh keys, and that machines get the keys in the user's home."""
    lines = {line[0]: line for line in accounts.passwd}
    hashes = {line[0]: line[1] for line in accounts.shadow}
    seeded = SeededPaths.read(root)
    for user in recipe.users:
        line = lines.get(user.name)
        if line is None:
            yield Mismatch(
                key="user.name", value=user.name, message=f"there is no account {user.name}"
            )
            continue
        for key, wanted, there in _account_values(user, line, accounts, hashes):
            if wanted != there:
                actual = "another one" if key == "password" else f"{there}, not {wanted}"
                yield Mismatch(
                    key="user.name",
                    value=user.name,
                    message=f"the {key} of {user.name} is {actual}",
                    hint="find the [[script]] that changes it",
                )
        keys = f"{line[5]}/.ssh/authorized_keys"
        if user.ssh_keys and not _has_keys(root, keys, user.ssh_keys):
            yield Mismatch(
                key="user.ssh_keys",
                value=user.ssh_keys[0],
                message=f"{keys} lacks a key of {user.name}",
                hint="find the [[script]] that changes it",
            )
        elif user.ssh_keys and not seeded.covers(path_in_tree(root, keys)):
            yield Mismatch(
                key="user.home",
                value=user.home,
                message=f"no machine gets {keys}: nothing creates it in /var",
                hint="choose a home below /home, /srv or /var/lib",
            )


def _account_values(
    user: User, line: tuple[str, ...], accounts: AccountFiles, hashes: dict[str, str]
) -> Iterator[tuple[str, str, str]]:
    yield "shell", user.shell, line[6]
    if user.name != "root":
        yield "home", user.home, line[5]
        yield "uid", line[2] if user.uid is None else str(user.uid), line[2]
    yield "full name", user.gecos or line[4], line[4]
    if user.password_hash is not None:
        yield "password", user.password_hash, hashes.get(user.name, "")
    members = {each[0]: each[3].split(",") for each in accounts.group}
    primary = {each[0] for each in accounts.group if each[2] == line[3]}
    for group in user.groups:
        yield (
            f"group {group}",
            "there",
            ("there" if user.name in members.get(group, ()) or group in primary else "not there"),
        )


def _has_keys(root: Path, path: str, keys: Iterable[str]) -> bool:
    file = root / path_in_tree(root, path)[1:]
    lines = read_text(root, str(file.relative_to(root)), missing="").splitlines()
    return all(key in lines for key in keys)


def check_files(
    root: Path, recipe: Recipe, accounts: AccountFiles, before: Contents
) -> Iterator[Mismatch]:
    """Scripts may change the content of files, and remove them; whatever runs later may not."""
    users = {line[0]: int(line[2]) for line in accounts.passwd}
    groups = {line[0]: int(line[2]) for line in accounts.group}
    seeded, after = SeededPaths.read(root), read_contents(root, recipe)
    for file in {file.path: file for file in recipe.files}.values():
        path = path_in_tree(root, file.path)
        owner = users.get(file.owner, file.owner), groups.get(file.group, file.group)
        why = None
        if before.get(file.path) != after.get(file.path):
            why = "is not in the tree" if file.path not in after else "has another content"
        elif file.path in after:
            why = _difference(root / path[1:], file, owner)
            if why is None and not seeded.covers(path):
                why = "does not reach any machine: nothing creates it in /var"
        elif not recipe.scripts:
            why = "is not in the tree"
        if why is not None:
            yield Mismatch(
                key="file.path",
                value=file.path,
                message=f"{file.path} {why}",
                hint="a later part of the build changes it: a [[script]], [units], or"
                " what Atoll writes into every image; change it there, or leave the file"
                " out",
            )


def _difference(path: Path, file: File, owner: tuple[object, object]) -> str | None:
    status = path.lstat()
    if (file.link is not None) != path.is_symlink():
        return "is a link" if path.is_symlink() else "is not a link"
    if file.link is not None:
        target = str(path.readlink())
        return None if target == file.link else f"links to {target}, not to {file.link}"
    if stat.S_IMODE(status.st_mode) != file.mode:
        return f"has the mode {stat.S_IMODE(status.st_mode):04o}, not {file.mode:04o}"
    if (status.st_uid, status.st_gid) != owner:
        return f"belongs to {status.st_uid}:{status.st_gid}, not to {file.owner}:{file.group}"
    return None
