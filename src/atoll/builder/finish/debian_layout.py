"""From the image layout back to Debian's, so that apt and dpkg work on the tree of a base.

This is the inverse of ``image_layout``, part by part in the opposite order: ``image_layout`` turns
the result into the same tree again. It removes what each build writes: the tmpfiles.d lines of the
factory, the list of tree-owned directories, apt's setting for its marks, the records, and the
preset files, whose ``disable *`` would disable units of packages that are added. The kernel stays
where its dpkg diversions have it.
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


def to_debian_layout(root: Path) -> None:
    """Give ``root`` Debian's layout. Raises Damaged when it does not have the image layout, and
    PackageError when a symbolic link is where a directory must be."""
    check_folders(root)
    for name in _written_by_each_build():
        in_root(root, name, follow=False).unlink(missing_ok=True)
    remove_tree(in_root(root, INCLUDED, follow=False))
    restore_state(root)
    restore_tree_var(root)
    restore_marks(root)
    restore_opt(root)


def _written_by_each_build() -> tuple[str, ...]:
    presets = (PRESET.format(kind) for kind, _ in PRESETS)
    return (SEEDS, FIRST_SEEDS, *presets, *(f"{ATOLL}/{record}" for record in RECORDS))


def restore_state(root: Path) -> None:
    """Move the factory back to /var, and from there the content of /home, /root, /srv and so on."""
    factory = in_root(root, FACTORY)
    if (factory / "var").is_symlink() or not (factory / "var").is_dir():
        raise _not_built_by_atoll(f"{FACTORY}/var")
    (root / "var").rmdir()
    (factory / "var").rename(root / "var")
    factory.rmdir()
    for name, in_var in BOUND.items():
        source, target = root / "var" / in_var, root / name
        # packages may have files in /var/opt itself; those in /opt come from /usr/lib/opt
        if in_var != "opt" and source.is_dir() and not source.is_symlink():
            target.rmdir()
            source.rename(target)


def restore_tree_var(root: Path) -> None:
    """Move the tree-owned directories back to /var. Raises Damaged without a list of them."""
    listing = in_root(root, TREE_OWNED)
    try:
        paths = parse_tree_owned(listing.read_text())
    except FileNotFoundError:
        raise _not_built_by_atoll(f"/{TREE_OWNED}") from None
    for path in paths:
        target = in_root(root, path, follow=False)
        target.parent.mkdir(parents=True, exist_ok=True)
        in_root(root, f"{ATOLL}/{path}", follow=False).rename(target)
    for directory, _, _ in os.walk(in_root(root, TREE_VAR), topdown=False):
        Path(directory).rmdir()
    listing.unlink()


def restore_marks(root: Path) -> None:
    """Move apt's marks back to where apt keeps them by default."""
    marks = in_root(root, MARKS)
    if os.path.lexists(marks / STATES.name):
        (marks / STATES.name).rename(in_root(root, STATES, follow=False))
    if marks.is_dir():
        marks.rmdir()
    in_root(root, MARKS_CONF, follow=False).unlink(missing_ok=True)


def restore_opt(root: Path) -> None:
    """Move the content of /usr/lib/opt back to /opt."""
    source = in_root(root, "usr/lib/opt")
    for path in sorted(source.iterdir()) if source.is_dir() else ():
        path.rename(root / "opt" / path.name)
    if source.is_dir():
        source.rmdir()


def _not_built_by_atoll(path: str) -> Damaged:
    return Damaged(
        f"the base has no {path}, so Atoll did not build it",
        hint="a recipe can only be derived from an image that Atoll built",
    )
