"""A recipe becomes a tree in the store: the steps of a build, in order, with their caches.

::

    base, lock ─→ packages ─→ settings, step by step ─→ layout, tree, initrd, records
                  (cached)    (each cached)             (cached: the tree digest, by all inputs)

Each step works in an overlay on top of the previous steps, in a mount namespace that ends with this
process. The image gets its ref in the store last, so an interrupted build leaves none.
"""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from atoll import __version__
from atoll.base.fields import parse_json_fields
from atoll.base.ids import TreeId, parse_tree_id
from atoll.builder.base_image import base_root_name, ensure_checkout, read_tree_ids
from atoll.builder.build_context import BuildContext, ChosenBase
from atoll.builder.build_inputs import find_build_inputs
from atoll.builder.cache import KEPT, KEPT_ON_MACHINE, make_id, opened_cache
from atoll.builder.finish.normalize import check_clock
from atoll.builder.make_tree import finish_tree
from atoll.builder.steps.packages import LockedPackages, make_start, plan_packages, start_id
from atoll.builder.steps.plan_steps import plan_settings
from atoll.builder.steps.step_cache import Chain, chain_id, run_steps
from atoll.builder.use_lock import check_tree, complete_lock
from atoll.host.fs import umask
from atoll.host.mount import enter_private_mounts
from atoll.host.sandbox import keeping_free
from atoll.host.userns import become_root
from atoll.store.refs import Ref, write_ref

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.base.report import Reporter
    from atoll.builder.build_inputs import BuildInputs
    from atoll.builder.steps.step import Step
    from atoll.lock.model import LockedBase
    from atoll.recipe.model import Recipe
    from atoll.store.layout import Store

_FORM = f"build 5 {__version__}"
"""Increase the number when the same steps give another tree: cached results are then ignored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """The result of a build. ``epoch`` is in seconds. ``reused``: the tree was in the cache,
    because an earlier build had the same inputs."""

    tree: TreeId
    epoch: int
    architecture: str
    reused: bool
    base: LockedBase | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildPlan:
    """The steps of a build. ``start`` is the id of the root that they start from; ``result`` is an
    id of everything that decides the tree."""

    start: str
    steps: tuple[Step, ...]
    result: str


def build_tree(
    recipe: Recipe,
    store: Store,
    reporter: Reporter,
    *,
    locked: bool = False,
    offline: bool = False,
    base: ChosenBase | None = None,
) -> Built:
    """Build the tree of ``recipe`` and give it a ref in ``store`` named after the image.

    ``locked``: there must be a lock, and the build must give its tree. ``offline``: do not use the
    network. ``base``: as in BuildContext. Raises MissingPrivilege, RecipeError, PackageError,
    NetworkError, NoSpace, Busy, and NotFound or Refused with ``locked`` or ``offline``.
    """
    become_root("building a tree")
    enter_private_mounts()
    limits = KEPT if base is None else KEPT_ON_MACHINE
    space = nullcontext() if base is None else keeping_free(store.root)
    with opened_cache(store.root / "cache", limits) as cache, space:
        return build_in(
            BuildContext(
                recipe=recipe,
                store=store,
                cache=cache,
                reporter=reporter,
                locked=locked,
                offline=offline,
                base=base,
            )
        )


@umask(0o022)
def build_in(context: BuildContext) -> Built:
    """``build_tree`` with a cache that is already open."""
    inputs = find_build_inputs(context, lambda other: build_in(other).tree)
    plan = plan_build(context, inputs)
    check_clock(inputs.epoch)
    tree = find_result(context, plan.result)
    reused = tree is not None
    if tree is None:
        layers = (ensure_start(context, inputs),)
        chain = Chain(cache=context.cache, id=plan.start, layers=layers)
        tree = finish_tree(context, run_steps(chain, plan.steps, context.reporter), inputs)
        keep_result(context, plan.result, tree)
    check_tree(inputs.lock, tree, context.reporter, locked=context.locked)
    update_lock(context, inputs, tree)
    image = inputs.recipe.image
    write_ref(
        context.store,
        context.base.ref if context.base else image.name,
        Ref(tree=tree, name=image.name, version=image.version, created=inputs.epoch),
    )
    return Built(
        tree=tree,
        epoch=inputs.epoch,
        architecture=inputs.lock.architecture,
        reused=reused,
        base=inputs.base.locked if inputs.base else None,
    )


def plan_build(context: BuildContext, inputs: BuildInputs) -> BuildPlan:
    """The steps of a build, without executing them. Raises RecipeError."""
    recipe, base = inputs.recipe, inputs.base
    packages = locked_packages(context, inputs)
    start = base_root_name(base.tree) if base else start_id(packages)
    # steps may depend on the epoch, so their ids must cover it
    start = make_id("start 1", start, inputs.epoch)
    settings = plan_settings(
        recipe,
        context.cache,
        ids=inputs.ids,
        epoch=inputs.epoch,
        offline=context.offline,
        derived=base is not None,
    )
    steps = (*plan_packages(packages), *settings)
    return BuildPlan(start=start, steps=steps, result=result_id(inputs, chain_id(start, steps)))


def locked_packages(context: BuildContext, inputs: BuildInputs) -> LockedPackages:
    return LockedPackages(
        recipe=inputs.recipe,
        lock=inputs.lock,
        cache=context.cache,
        reporter=context.reporter,
        offline=context.offline,
    )


def ensure_start(context: BuildContext, inputs: BuildInputs) -> Path:
    """The root that the steps start from: the base, or the first packages."""
    if inputs.base:
        return ensure_checkout(context, inputs.base)
    return make_start(locked_packages(context, inputs))


def update_lock(context: BuildContext, inputs: BuildInputs, tree: TreeId) -> None:
    """Record in the lock what only a build can know: ids and the tree. The completed lock has
    another result id, so the tree is cached under that id too."""
    ids = read_tree_ids(context.store, tree)
    lock = complete_lock(
        context.recipe, inputs.lock, users=dict(ids.users), groups=dict(ids.groups), tree=tree
    )
    keep_result(context, plan_build(context, replace(inputs, lock=lock)).result, tree)


def result_id(inputs: BuildInputs, steps: str) -> str:
    """An id of everything that decides the tree: the steps, and what its records say."""
    recipe = inputs.recipe
    texts = recipe.sources or ((recipe.file, recipe.text),)
    return make_id(
        _FORM,
        steps,
        inputs.base.tree if inputs.base else None,
        inputs.epoch,
        recipe.variant,
        repr(replace(inputs.lock, tree=None)),
        recipe.text,
        *(text for _, text in texts),
    )


def find_result(context: BuildContext, name: str) -> TreeId | None:
    """The tree that an earlier build of the same inputs gave, if the store still has it."""
    path = context.cache.find("results", f"{name}.json")
    if path is None:
        return None
    tree = parse_tree_id(parse_json_fields(path.read_bytes(), file=str(path)).string("tree"))
    return tree if context.store.image_path(tree).exists() else None


def keep_result(context: BuildContext, name: str, tree: TreeId) -> None:
    if find_result(context, name) != tree:
        text = json.dumps({"tree": tree}) + "\n"
        context.cache.keep_bytes(text.encode(), "results", f"{name}.json")
