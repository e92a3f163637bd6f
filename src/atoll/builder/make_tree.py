"""The last part of a build: the root gets the image layout and becomes a tree in the store.

::

    presets ─→ image layout ─→ records ─→ normalize ─→ objects and tree ─→ canonical form
      ─→ initrd, made from files of the tree ─→ image.json ─→ composefs image in the store

Only the initrd is cached: the rest takes seconds, and nearly every change of a recipe affects it.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import RecipeError
from atoll.builder.finish.check_recipe import check_recipe, read_contents
from atoll.builder.finish.identities import find_unknown
from atoll.builder.finish.image_layout import to_image_layout
from atoll.builder.finish.initrd import ensure_initrd, initrd_inputs
from atoll.builder.finish.normalize import normalize
from atoll.builder.finish.old_kernels import drop_old_kernels
from atoll.builder.finish.presets import write_presets
from atoll.builder.finish.var_rules import merge_rules
from atoll.builder.steps.kernel import find_kernel, kernel_arguments
from atoll.builder.steps.remap_ids import read_ids
from atoll.builder.steps.step_cache import chain_mounted
from atoll.builder.use_lock import with_ids
from atoll.debian.dpkg_database import read_owners, read_packages
from atoll.host.in_root import exists_in_root, in_root, write_text
from atoll.host.poll_progress import elapsed_reported
from atoll.image.info import BaseInfo, ImageInfo, VarRules, format_image_info
from atoll.image.packages import format_packages
from atoll.image.paths import IMAGE_INFO, INCLUDED, LOCK, MAKE_INITRD, PACKAGES, RECIPE
from atoll.lock.serialize import format_lock
from atoll.store.objects import adding_objects
from atoll.store.scan import import_directory
from atoll.store.stat_cache import StatCache
from atoll.store.tree_images import read_image, write_image
from atoll.tree.canonical import canonical
from atoll.tree.keep_times import keep_times
from atoll.tree.model import INLINE_LIMIT, Metadata, Regular
from atoll.tree.path_ops import find_node, with_node

if TYPE_CHECKING:
    from atoll.base.ids import TreeId
    from atoll.builder.base_image import BaseImage
    from atoll.builder.build_context import BuildContext
    from atoll.builder.build_inputs import BuildInputs
    from atoll.builder.steps.step_cache import Chain
    from atoll.debian.dpkg_database import Package
    from atoll.lock.model import Lock
    from atoll.recipe.model import Recipe
    from atoll.store.layout import Store
    from atoll.tree.model import Directory


def finish_tree(context: BuildContext, chain: Chain, inputs: BuildInputs) -> TreeId:
    """Turn the root that the steps gave into a tree in the store. Raises RecipeError, PackageError,
    NoSpace, or what making the initrd raises."""
    begun = time.time_ns()
    with chain_mounted(chain) as root:
        with context.reporter.step("Arranging the tree"):
            kernel = arrange_root(context, root, inputs)
        with context.reporter.step("Adding the tree to the store"):
            tree = canonical(_import(context, chain, root, begun), epoch=inputs.epoch)
            tree = keep_base_times(context.store, tree, inputs)
        info = make_image_info(inputs, kernel, initrd_inputs(tree, kernel, context.store))
        tree = write_initrd(context, root, tree, info, inputs.base)
        tree = write_file(
            context.store, tree, IMAGE_INFO, format_image_info(info).encode(), time=inputs.epoch
        )
        with context.reporter.step("Writing the tree"):
            return write_image(context.store, tree)


def keep_base_times(store: Store, tree: Directory, inputs: BuildInputs) -> Directory:
    """Give files that are equal to those of the base their modification times there. The build
    wrote some of them again, and clamped their times to another epoch."""
    base = inputs.base
    if base is None or base.info.epoch == inputs.epoch:
        return tree
    return keep_times(read_image(store, base.tree), tree, epoch=inputs.epoch)


def arrange_root(context: BuildContext, root: Path, inputs: BuildInputs) -> str:
    """Give ``root`` the image layout, write the records, and check it against the recipe; the
    version of its kernel."""
    if not exists_in_root(root, MAKE_INITRD):
        raise _without_atoll(context.recipe)
    for link in write_presets(root):
        context.reporter.notice(f"made whole by presets: {link}")
    if inputs.base:
        drop_old_kernels(root, find_kernel(root))
    inventory = read_packages(in_root(root, "var/lib/dpkg"))
    contents = read_contents(root, context.recipe)
    shipped = read_owners(in_root(root, "var/lib/dpkg")).keys()
    kernel = to_image_layout(
        root,
        homes=list_homes(context.recipe, inputs.base),
        rules=merge_rules(merge_var_rules(context.recipe, inputs.base)),
    )
    write_records(root, context.recipe, inputs.lock, inventory)
    normalize(root, inputs.epoch)
    check_recipe(root, context.recipe, contents)
    for found in find_unknown(root, shipped):
        context.reporter.notice(f"{found}: see docs/reference/identities.md")
    return kernel


def write_records(root: Path, recipe: Recipe, lock: Lock, inventory: tuple[Package, ...]) -> None:
    """Write recipe, lock and package list to /usr/lib/atoll; ``image.json`` comes later.

    The lock has no tree digest: a tree cannot contain its own.
    """
    # Recipes may have password hashes, and the content of files that only root may read.
    write_text(root, RECIPE, recipe.text, mode=0o600)
    for number, (name, text) in enumerate(recipe.sources[1:], start=1):
        write_text(root, f"{INCLUDED}/{number}-{Path(name).name}", text, mode=0o600)
    ids = read_ids(root)
    complete = with_ids(replace(lock, tree=None), users=dict(ids.users), groups=dict(ids.groups))
    write_text(root, LOCK, format_lock(complete))
    rows = ((package.name, package.version, package.architecture) for package in inventory)
    write_text(root, PACKAGES, format_packages(rows))


def make_image_info(inputs: BuildInputs, kernel: str, initrd: str) -> ImageInfo:
    """The content of ``image.json``. A derived image keeps the menu title and timeout of its base
    unless its recipe sets them."""
    recipe, base = inputs.recipe, inputs.base
    boot, debian = recipe.boot, recipe.debian
    return ImageInfo(
        name=recipe.image.name,
        version=recipe.image.version,
        kernel=kernel,
        args=kernel_arguments(recipe.kernel, base.info.args if base else ()),
        suite=debian.suite or "",
        components=debian.components or ("main",),
        architecture=inputs.lock.architecture,
        architectures=debian.architectures,
        title=boot.title or (base.info.title if base else None),
        timeout=base.info.timeout if base and boot.timeout is None else boot.timeout,
        epoch=inputs.epoch,
        homes=tuple(home for home in list_homes(recipe, base) if home.startswith("/var/")),
        var=merge_var_rules(recipe, base),
        initrd=initrd,
        base=BaseInfo(name=base.info.name, version=base.info.version, tree=base.tree)
        if base
        else None,
    )


def list_homes(recipe: Recipe, base: BaseImage | None) -> tuple[str, ...]:
    """The home directories of all users that this recipe and its bases declare."""
    homes = [*(base.info.homes if base else ()), *(user.home for user in recipe.users)]
    return tuple(dict.fromkeys(homes))


def merge_var_rules(recipe: Recipe, base: BaseImage | None) -> VarRules:
    """The recipe's rules for /var, and those of its base that it does not override."""
    if base is None:
        return recipe.var
    own = {*recipe.var.tree, *recipe.var.state, *recipe.var.drop}
    kinds = {
        kind: tuple(path for path in getattr(base.info.var, kind) if path not in own)
        for kind in ("tree", "state", "drop")
    }
    return VarRules(**{kind: (*paths, *getattr(recipe.var, kind)) for kind, paths in kinds.items()})


def write_initrd(
    context: BuildContext, root: Path, tree: Directory, info: ImageInfo, base: BaseImage | None
) -> Directory:
    """``tree`` with the initrd of its kernel. The initrd of the base stays if its inputs are
    equal."""
    path = f"usr/lib/modules/{info.kernel}/initrd"
    if base and base.info.initrd == info.initrd and find_node(tree, path):
        return tree
    kernel = find_node(tree, f"usr/lib/modules/{info.kernel}/vmlinuz")
    time = kernel.metadata.mtime if kernel else info.epoch
    with context.reporter.step("Making the initrd"), elapsed_reported(context.reporter):
        initrd = ensure_initrd(context.cache, root, info.kernel, info.initrd, time)
        return write_file(context.store, tree, path, initrd.read_bytes(), time=time)


def write_file(store: Store, tree: Directory, path: str, content: bytes, *, time: int) -> Directory:
    """``tree`` with a file at ``path``, owned by root, with mode 0644; ``time`` is in seconds."""
    metadata = Metadata(mode=0o644, mtime=time)
    size = len(content)
    if size <= INLINE_LIMIT:
        return with_node(tree, path, Regular(metadata, size, None, content or None))
    with adding_objects(store) as writer:
        name = writer.put_bytes(content)
    return with_node(tree, path, Regular(metadata, size, name))


def _import(context: BuildContext, chain: Chain, root: Path, begun: int) -> Directory:
    """Import ``root`` into the store as a tree. Files that an earlier build imported, and that did
    not change since, are not read again."""
    saved = context.cache.path("known", chain.layers[-1].name)
    known = StatCache(context.store, device=context.cache.root.stat().st_dev, begun=begun)
    known.load(saved)
    tree = import_directory(context.store, root, context.reporter, known)
    known.save(saved)
    context.cache.find("known", saved.name)  # it counts as used
    return tree


def _without_atoll(recipe: Recipe) -> RecipeError:
    return RecipeError(
        "the system cannot boot: the package atoll-system is not installed",
        file=recipe.file,
        key="packages.install",
        hint="name no file, version or suite for atoll: Atoll adds it and atoll-system itself; "
        "or name the .deb files of both",
    )
