"""From Atoll's shape back to Debian's, so that apt and dpkg work on a tree that was built before.

The inverse of ``image_layout``, part by part and in the opposite order: shaping what this gives
makes the same tree again. What a build writes anew goes away: the seeds, the list of tree-owned
directories, apt's word about its marks, what the tree said of itself, and the presets, by which a
unit of a package that is added would be disabled. The kernel stays where its diversions have it,
and dpkg finds it there.
"""

from __future__ import annotations

import os
from pathlib import Path

from atoll.base.errors import Damaged
from atoll.builder.finish.factory import FACTORY
from atoll.builder.finish.image_layout import (
    BOUND,
    FIRST_SEEDS,
    MARKS_CONF,
    SEEDS,
    STATES,
    check_folders,
)
from atoll.builder.finish.presets import PRESET, PRESETS
from atoll.builder.finish.var_rules import MARKS
from atoll.host.fs import remove_tree
from atoll.host.in_root import in_root
from atoll.image.paths import ATOLL, INCLUDED, TREE_OWNED, TREE_VAR
from atoll.image.tree_owned import parse_tree_owned

RECORDS = ("image.json", "packages.json", "recipe.toml", "lock.toml")


def unshape_root(root: Path) -> None:
    """Give ``root`` Debian's shape. Raises Damaged when it does not have Atoll's, PackageError
    where a link is in the place of a directory."""
    check_folders(root)
    for name in _written_anew():
        in_root(root, name, follow=False).unlink(missing_ok=True)
    remove_tree(in_root(root, INCLUDED, follow=False))
    restore_state(root)
    restore_tree_var(root)
    restore_marks(root)
    restore_opt(root)


def _written_anew() -> tuple[str, ...]:
    presets = (PRESET.format(kind) for kind, _ in PRESETS)
    return (SEEDS, FIRST_SEEDS, *presets, *(f"{ATOLL}/{record}" for record in RECORDS))


def restore_state(root: Path) -> None:
    """Factory copies are /var again, and what is bound from there lies in its own place."""
    factory = in_root(root, FACTORY)
    if (factory / "var").is_symlink() or not (factory / "var").is_dir():
        raise _other_shape(f"{FACTORY}/var")
    (root / "var").rmdir()
    (factory / "var").rename(root / "var")
    factory.rmdir()
    for name, place in BOUND.items():
        source, target = root / "var" / place, root / name
        # what packages have in /var/opt is not theirs in /opt
        if place != "opt" and source.is_dir() and not source.is_symlink():
            target.rmdir()
            source.rename(target)


def restore_tree_var(root: Path) -> None:
    listing = in_root(root, TREE_OWNED)
    try:
        paths = parse_tree_owned(listing.read_text())
    except FileNotFoundError:
        raise _other_shape(f"/{TREE_OWNED}") from None
    for path in paths:
        target = in_root(root, path, follow=False)
        target.parent.mkdir(parents=True, exist_ok=True)
        in_root(root, f"{ATOLL}/{path}", follow=False).rename(target)
    for directory, _, _ in os.walk(in_root(root, TREE_VAR), topdown=False):
        Path(directory).rmdir()
    listing.unlink()


def restore_marks(root: Path) -> None:
    """apt finds its marks without being told where."""
    marks = in_root(root, MARKS)
    if os.path.lexists(marks / STATES.name):
        (marks / STATES.name).rename(in_root(root, STATES, follow=False))
    if marks.is_dir():
        marks.rmdir()
    in_root(root, MARKS_CONF, follow=False).unlink(missing_ok=True)


def restore_opt(root: Path) -> None:
    source = in_root(root, "usr/lib/opt")
    for path in sorted(source.iterdir()) if source.is_dir() else ():
        path.rename(root / "opt" / path.name)
    if source.is_dir():
        source.rmdir()


def _other_shape(path: str) -> Damaged:
    return Damaged(
        f"the base has no {path}, so Atoll did not build it",
        hint="a recipe can only be derived from an image that Atoll built",
    )
