"""A recipe becomes a tree in the store: the steps, in order, each reusing what it gave before.

::

    base, lock ─→ packages ─→ what the recipe says, step by step ─→ finish: shape, tree, initrd,
                   (kept)      (each kept)                              records (kept: which inputs
                                                                        gave which tree)

Everything a step does happens in an overlay over the steps before it, inside a mount namespace that
ends with this process; until the image has its name in the store, nothing of a build is to be seen.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from atoll import __version__
from atoll.base.fields import parse_json_fields
from atoll.base.ids import TreeId, parse_tree_id
from atoll.build.base_image import base_root_name, ensure_checkout, read_tree_ids
from atoll.build.build_context import BuildContext
from atoll.build.build_inputs import find_build_inputs, find_ground_lock
from atoll.build.cache import make_id, opened_cache
from atoll.build.finish.normalize import check_clock
from atoll.build.make_tree import TreeOrigin, finish_tree
from atoll.build.steps.ids import AccountIds
from atoll.build.steps.kernel import kernel_arguments
from atoll.build.steps.packages import Supply, make_start, plan_packages, start_id
from atoll.build.steps.plan_steps import Means, plan_settings
from atoll.build.steps.step_cache import Chain, Start, chain_id, run_steps
from atoll.build.use_lock import FREELY, check_tree, complete_lock
from atoll.host.fs import umask
from atoll.host.mount import enter_private_mounts
from atoll.host.userns import become_root
from atoll.store.refs import Ref, write_ref

if TYPE_CHECKING:
    from atoll.base.report import Reporter
    from atoll.build.build_inputs import BuildInputs
    from atoll.build.steps.step import Step
    from atoll.build.use_lock import Rules
    from atoll.lock.model import Lock, LockedBase
    from atoll.recipe.model import Recipe
    from atoll.store.layout import Store

_FORM = f"build 5 {__version__}"
"""Changes when the same steps give another tree."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What a build gave. ``reused``: an earlier build of the same inputs had made it."""

    tree: TreeId
    epoch: int
    architecture: str
    reused: bool
    base: LockedBase | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildPlan:
    """All that a build will do. ``name`` covers everything that decides the tree."""

    origin: TreeOrigin
    start: Start
    steps: tuple[Step, ...]
    name: str


def build_tree(recipe: Recipe, store: Store, reporter: Reporter, rules: Rules = FREELY) -> Built:
    """Make the tree of ``recipe`` and name it in ``store`` after the recipe's image.

    Raises MissingPrivilege, RecipeError, PackageError, NetworkError, NoSpace, Busy.
    """
    become_root("building a tree")
    enter_private_mounts()
    with opened_cache(store.root / "cache") as cache:
        job = BuildContext(recipe=recipe, store=store, cache=cache, reporter=reporter, rules=rules)
        return build_job(job)


@umask(0o022)
def build_job(job: BuildContext) -> Built:
    """The same, for a cache that is open already."""
    ground = find_build_inputs(job, lambda other: build_job(other).tree)
    lock = find_ground_lock(job, ground)
    plan = plan_build(job, ground, lock)
    check_clock(plan.origin.epoch)
    tree = find_result(job, plan.name)
    reused = tree is not None
    if tree is None:
        chain = Chain(cache=job.cache, id=plan.start.id, layers=(plan.start.make(),))
        tree = finish_tree(job, run_steps(chain, plan.steps, job.reporter), plan.origin)
        keep_result(job, plan.name, tree)
    check_tree(lock, tree, job.rules, job.reporter)
    update_lock(job, ground, lock, tree)
    image, origin = job.recipe.image, plan.origin
    write_ref(
        job.store,
        image.name,
        Ref(tree=tree, name=image.name, version=image.version, created=origin.epoch),
    )
    return Built(
        tree=tree,
        epoch=origin.epoch,
        architecture=origin.architecture,
        reused=reused,
        base=origin.base.locked if origin.base else None,
    )


def plan_build(job: BuildContext, ground: BuildInputs, lock: Lock) -> BuildPlan:
    recipe = ground.recipe
    supply = Supply(
        recipe=recipe, lock=lock, cache=job.cache, reporter=job.reporter, offline=job.rules.offline
    )
    origin = find_origin(ground, lock)
    start = plan_start(job, origin, supply)
    steps = (*plan_packages(supply), *plan_settings(recipe, step_context(job, ground, origin)))
    name = result_id(recipe, origin, chain_id(start.id, steps))
    return BuildPlan(origin=origin, start=start, steps=steps, name=name)


def find_origin(ground: BuildInputs, lock: Lock) -> TreeOrigin:
    """What the recipe does not say is as in its base. Raises RecipeError."""
    debian, base = ground.recipe.debian, ground.base
    return TreeOrigin(
        base=base,
        lock=lock,
        suite=debian.suite or "",
        components=debian.components or ("main",),
        architecture=lock.architecture,
        architectures=debian.architectures,
        args=kernel_arguments(ground.recipe.kernel, base.said.args if base else ()),
        epoch=max(lock.epoch, base.said.epoch) if base else lock.epoch,
    )


def plan_start(job: BuildContext, origin: TreeOrigin, supply: Supply) -> Start:
    """Where the steps begin. What they do may depend on the epoch, so its id covers that."""
    base, epoch = origin.base, origin.epoch
    if base:
        return Start(
            id=make_id("start 1", base_root_name(base.tree), epoch),
            make=lambda: ensure_checkout(job, base),
        )
    return Start(id=make_id("start 1", start_id(supply), epoch), make=lambda: make_start(supply))


def step_context(job: BuildContext, ground: BuildInputs, origin: TreeOrigin) -> Means:
    """What the steps work with. Ids that the base gave stay, whatever else is said."""
    lock = origin.lock
    return Means(
        locked=AccountIds(
            users=_over(lock.users, ground.ids.users), groups=_over(lock.groups, ground.ids.groups)
        ),
        epoch=origin.epoch,
        logs=job.cache.logs,
        downloads=job.cache.root / "files",
        offline=job.rules.offline,
        derived=ground.base is not None,
    )


def update_lock(job: BuildContext, ground: BuildInputs, lock: Lock, tree: TreeId) -> None:
    """Write into the lock what only a build could tell; it then names the same result."""
    ids = read_tree_ids(job.store, tree)
    whole = complete_lock(
        job.recipe, lock, users=dict(ids.users), groups=dict(ids.groups), tree=tree
    )
    keep_result(job, plan_build(job, ground, whole).name, tree)


def result_id(recipe: Recipe, origin: TreeOrigin, steps: str) -> str:
    """Covers everything that decides the tree: the steps, and what it says of itself."""
    texts = recipe.sources or ((recipe.file, recipe.text),)
    base = origin.base.tree if origin.base else None
    lock = replace(origin.lock, tree=None)
    return make_id(
        _FORM,
        steps,
        base,
        origin.epoch,
        recipe.variant,
        repr(lock),
        recipe.text,
        *(text for _, text in texts),
    )


def find_result(job: BuildContext, name: str) -> TreeId | None:
    """The tree that these inputs gave before, while the store still has it."""
    path = job.cache.find("results", f"{name}.json")
    if path is None:
        return None
    tree = parse_tree_id(parse_json_fields(path.read_bytes(), file=str(path)).string("tree"))
    return tree if job.store.image_path(tree).exists() else None


def keep_result(job: BuildContext, name: str, tree: TreeId) -> None:
    if find_result(job, name) != tree:
        text = json.dumps({"tree": tree}) + "\n"
        job.cache.keep_bytes(text.encode(), "results", f"{name}.json")


def _over(
    pairs: tuple[tuple[str, int], ...], others: tuple[tuple[str, int], ...]
) -> tuple[tuple[str, int], ...]:
    return tuple(sorted({**dict(pairs), **dict(others)}.items()))
