"""From Debian's layout of a root to the image layout (docs/ARCHITECTURE.md, "The layout of a
tree").

All functions change the directory ``root`` in place: the mount of an overlay, or a plain directory.
Moves keep owners, modes, extended attributes and hard links. A file that moves but stays known to
dpkg is diverted (dpkg-divert) before the database moves, so that ``dpkg --verify`` finds no
differences in the running system.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from atoll.base.errors import PackageError, RecipeError
from atoll.builder.finish.factory import FACTORY, format_seeds, plan_seeds
from atoll.builder.finish.identities import drop_clusters
from atoll.builder.finish.tmpfiles import Declared, parse_declared
from atoll.builder.finish.var_rules import (
    MARKS,
    RULES,
    VarAction,
    is_tree_owned_root,
    match_var_rule,
)
from atoll.builder.steps.kernel import find_kernel
from atoll.debian.dpkg_database import read_owners
from atoll.host.fs import remove_tree
from atoll.host.in_root import (
    exists_in_root,
    glob_in_root,
    in_root,
    make_directories,
    read_text,
    write_text,
)
from atoll.host.run import run
from atoll.host.sandbox import Sandbox
from atoll.image.paths import ATOLL, TREE_OWNED, TREE_VAR
from atoll.image.tree_owned import format_tree_owned

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

SEEDS = "usr/lib/tmpfiles.d/atoll-factory.conf"
FIRST_SEEDS = "usr/lib/tmpfiles.d/000-atoll-factory.conf"
"""Lines that must come before a package's own line for the same path."""
MARKS_CONF = "etc/apt/apt.conf.d/60atoll-marks"
STATES = PurePosixPath("var/lib/apt/extended_states")
"""Where apt keeps its marks by default."""
MOUNT_POINTS = (
    "boot",
    "efi",
    "dev",
    "proc",
    "run",
    "sys",
    "sysroot",
    "tmp",
    "var",
    "home",
    "root",
    "srv",
    "mnt",
    "media",
    "opt",
    "usr/local",
)
BOUND = {
    "home": "home",
    "root": "root",
    "srv": "srv",
    "mnt": "mnt",
    "media": "media",
    "opt": "opt",
    "usr/local": "usrlocal",
}
"""Directories of the root, each with the directory below ``/var`` that early boot binds there."""

_KERNEL_FILES = ("vmlinuz", "config", "System.map")


def to_image_layout(
    root: Path, *, homes: Iterable[str] = (), rules: Mapping[str, VarAction] = RULES
) -> str:
    """Give ``root`` the image layout; the version of its kernel. Raises RecipeError, PackageError.

    ``homes`` are state, wherever they are; ``rules`` decide the rest of /var.
    """
    check_folders(root)
    owners = read_owners(in_root(root, "var/lib/dpkg"))
    version = find_kernel(root)
    check_local(root)
    move_kernel(root, version)
    move_opt(root)
    move_marks(root)
    check_var(root, owners, tuple(homes), rules)
    drop_clusters(root, rules)
    # dropped paths may be inside tree-owned directories, so they go before those move
    drop_var(root, rules)
    tree_owned = move_tree_var(root, rules)
    move_state(root)
    write_seeds(root, tree_owned)
    make_mount_points(root)
    return version


def check_folders(root: Path) -> None:
    """Raises PackageError when a symbolic link is where every system needs a directory."""
    for name in (*MOUNT_POINTS, "usr", "usr/lib", "usr/share", "etc", ATOLL):
        if in_root(root, name, follow=False).is_symlink():
            raise PackageError(f"/{name} is a symbolic link, but has to be a directory")


def move_kernel(root: Path, version: str) -> None:
    """Divert the kernel files to the directory of its modules, and remove the rest of /boot."""
    target = f"/usr/lib/modules/{version}"
    for name in _KERNEL_FILES:
        source = f"/boot/{name}-{version}"
        if exists_in_root(root, source):
            Sandbox(root=root).run(
                ["dpkg-divert", "--quiet", "--divert", f"{target}/{name}", "--rename", source]
            )
    for name in ("vmlinuz", "vmlinuz.old", "initrd.img", "initrd.img.old"):
        (root / name).unlink(missing_ok=True)
    _empty(root / "boot")


def check_local(root: Path) -> None:
    """Raises PackageError when there are files in /usr/local, which is the administrator's."""
    local = in_root(root, "usr/local")
    for directory, _, names in os.walk(local):
        files = [str((Path(directory) / name).relative_to(root)) for name in names]
        files = [file for file in files if not in_root(root, file).is_dir()]
        if files:
            path = f"/{files[0]}"
            raise PackageError(
                f"{path} is in the way: /usr/local belongs to the machine, not to the tree",
                hint="put it elsewhere, or do not install its package",
            )


def move_opt(root: Path) -> None:
    """Move what packages have in /opt to /usr/lib/opt; early boot binds it back."""
    source, target = in_root(root, "opt"), in_root(root, "usr/lib/opt")
    for path in sorted(source.iterdir()) if source.is_dir() else ():
        target.mkdir(exist_ok=True)
        _move(path, target / path.name)


def move_marks(root: Path) -> None:
    """Move apt's marks to a directory of their own, which is tree-owned: the rest of /var/lib/apt
    belongs to the machine."""
    marks = make_directories(root, MARKS)
    states = in_root(root, STATES, follow=False)
    if os.path.lexists(states):
        _move(states, marks / states.name)
    write_text(root, MARKS_CONF, f'Dir::State::extended_states "{MARKS}/extended_states";\n')


def check_var(
    root: Path,
    owners: dict[str, str],
    homes: tuple[str, ...],
    rules: Mapping[str, VarAction] = RULES,
) -> None:
    """Raises PackageError for files below /var that no rule covers; ``owners`` names packages."""
    in_homes = tuple(f"{home}/" for home in homes)
    uncovered = [
        path
        for path in _leaves(root, "/var")
        if match_var_rule(path, rules) is None and not path.startswith(in_homes)
    ]
    if uncovered:
        names = sorted({_owner(path, owners) for path in uncovered})
        shown = "".join(f"\n    {path}" for path in uncovered[:10])
        raise PackageError(
            f"no rule says whether these belong to the tree or to the machine:{shown}",
            hint=f"add a rule to [var] in the recipe (tree, state or drop), or leave out"
            f" {' and '.join(names)}; docs/reference/var.md lists the rules",
        )


def move_tree_var(root: Path, rules: Mapping[str, VarAction] = RULES) -> list[str]:
    """Move the tree-owned directories to ``TREE_VAR``; writes the list of them, and returns it."""
    moved = []
    for path in sorted(rules):
        source = in_root(root, path, follow=False)
        if not is_tree_owned_root(path, rules):
            continue
        if source.is_symlink() or source.is_file():
            raise RecipeError(
                f"{path} is not a directory, so it cannot belong to the tree",
                key="var.tree",
                hint="name the directory that contains it",
            )
        if source.is_dir():
            target = in_root(root, f"{TREE_VAR}/{path.removeprefix('/var/')}", follow=False)
            target.parent.mkdir(parents=True, exist_ok=True)
            _move(source, target)
            moved.append(path)
    write_text(root, TREE_OWNED, format_tree_owned(moved))
    return moved


def drop_var(root: Path, rules: Mapping[str, VarAction] = RULES) -> None:
    """Remove the files that the rules drop; directories stay."""
    for path in list(_leaves(root, "/var")):
        if match_var_rule(path, rules) is VarAction.DROP:
            (root / path[1:]).unlink()


def move_state(root: Path) -> None:
    """Move the rest of /var, and the content of the bound directories, to the factory."""
    factory = in_root(root, f"{FACTORY}/var", follow=False)
    factory.parent.mkdir(parents=True, exist_ok=True)
    _move(root / "var", factory)
    for name, in_var in BOUND.items():
        source = root / name
        if source.is_dir() and not source.is_symlink():
            _move(source, factory / in_var)
    for name in ("log", "cache", "tmp"):
        _prune(factory / name)


def write_seeds(root: Path, tree_owned: list[str]) -> None:
    """Write the tmpfiles.d files that copy the factory to /var on a machine."""
    factory = in_root(root, f"{FACTORY}/var")
    seeds = list(plan_seeds(factory, tree_owned, read_declared(root)))
    write_text(root, SEEDS, format_seeds([seed for seed in seeds if not seed.first]))
    first = [seed for seed in seeds if seed.first]
    if first:
        write_text(root, FIRST_SEEDS, format_seeds(first))


def read_declared(root: Path) -> dict[str, Declared]:
    """The paths that tmpfiles.d files of the root create, each with its first line. A file in /etc
    replaces the one of the same name in /usr/lib."""
    files = {
        path.name: f"{directory}/{path.name}"
        for directory in ("usr/lib/tmpfiles.d", "etc/tmpfiles.d")
        for path in glob_in_root(root, directory, "*.conf")
    }
    found: dict[str, Declared] = {}
    for _, path in sorted(files.items()):
        if exists_in_root(root, path):
            for created, line in parse_declared(read_text(root, path, missing="")):
                found.setdefault(created, line)
    return found


def make_mount_points(root: Path) -> None:
    """Create the mount points as empty directories, with fixed modes, owned by root."""
    for name in MOUNT_POINTS:
        path = in_root(root, name)
        path.mkdir(exist_ok=True)
        _empty(path)
        os.chown(path, 0, 0)
        path.chmod({"tmp": 0o1777, "root": 0o700}.get(name, 0o755))


def _owner(path: str, owners: dict[str, str]) -> str:
    while path not in owners and path != "/var":
        path = path.rpartition("/")[0]
    return owners.get(path, "the package that made them")


def _leaves(root: Path, path: str) -> Iterator[str]:
    """Everything below ``path`` that is not a directory, in order."""
    for entry in sorted(os.scandir(root / path[1:]), key=lambda entry: entry.name):
        inner = f"{path}/{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            yield from _leaves(root, inner)
        else:
            yield inner


def _prune(directory: Path) -> None:
    """Remove files; keep directories."""
    for path in directory.iterdir() if _is_folder(directory) else ():
        if path.is_dir() and not path.is_symlink():
            _prune(path)
        else:
            path.unlink()


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _empty(directory: Path) -> None:
    for path in directory.iterdir() if _is_folder(directory) else ():
        if path.is_dir() and not path.is_symlink():
            remove_tree(path)
        else:
            path.unlink()


def _move(source: Path, target: Path) -> None:
    """Rename, or copy and remove: a directory from a lower layer of an overlay cannot be
    renamed."""
    try:
        source.rename(target)
    except OSError:
        run(["cp", "--archive", "--no-target-directory", source, target])
        remove_tree(source)
