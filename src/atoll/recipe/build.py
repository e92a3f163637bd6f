"""A recipe becomes a tree in the store: the steps, in order, each reusing what it gave before.

::

    archive today ─→ first root ─→ packages ─→ what the recipe says ─→ shape ─→ initrd
                     (kept)        (kept)                                       (kept)
      ─→ normalised ─→ objects + tree ─→ canonical ─→ image in the store
                                                      (kept: which inputs gave it)

Everything a step does happens in an overlay over the steps before it, inside a mount namespace that
ends with this process; until the image has its name in the store, nothing of a build is to be seen.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll import __version__
from atoll.base.errors import ProgramFailed, RecipeError, UsageError
from atoll.base.ids import TreeId, parse_tree_id
from atoll.debian.bootstrap import ensure_root, root_id
from atoll.debian.install import Wishes, check_local, install_packages, room
from atoll.debian.inventory import read_packages
from atoll.debian.sources import Archive, read_architecture, refresh_sources
from atoll.host.files import need_root
from atoll.host.mount import enter_private_mounts
from atoll.recipe.cache import digest_file, make_id, opened_cache, step_mounted
from atoll.recipe.configure import configure, read_content
from atoll.recipe.normalize import normalize
from atoll.recipe.presets import write_presets
from atoll.recipe.shape import ATOLL, shape_root
from atoll.store.images import write_image
from atoll.store.refs import Ref, write_ref
from atoll.store.scan import import_directory
from atoll.tree.canonical import canonical

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.base.report import Reporter
    from atoll.debian.sources import Sources
    from atoll.recipe.cache import Cache
    from atoll.recipe.model import Recipe
    from atoll.store.layout import Store

MAKE_INITRD = "/usr/lib/atoll/make-initrd"
_FORM = f"build 1 {__version__}"
"""Changes when the same recipe and packages give another tree."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What a build gave. ``reused``: an earlier build of the same inputs had made it."""

    tree: TreeId
    epoch: int
    architecture: str
    reused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """One build: what it is asked, and what it may use."""

    recipe: Recipe
    store: Store
    cache: Cache
    sources: Sources
    epoch: int
    reporter: Reporter


def build_tree(recipe: Recipe, store: Store, reporter: Reporter) -> Built:
    """Make the tree of ``recipe`` and name it in ``store`` after the recipe's image.

    Raises MissingPrivilege, RecipeError, PackageError, NetworkError, NoSpace, Busy.
    """
    need_root("building a tree")
    enter_private_mounts()
    with opened_cache(store.root / "cache") as cache:
        with reporter.step(f"Looking at what {recipe.debian.suite} offers"):
            sources = refresh_sources(_archive(recipe), cache.root)
        epoch = read_epoch(sources)
        job = _Job(recipe=recipe, store=store, cache=cache, sources=sources,
                   epoch=epoch, reporter=reporter)  # fmt: skip
        packages = packages_id(job)
        result = result_id(job, packages)
        tree = find_result(job, result)
        reused = tree is not None
        if tree is None:
            tree = _make_tree(job, packages)
            keep_result(job, result, tree)
    image = recipe.image
    write_ref(store, image.name, Ref(tree=tree, name=image.name, version=image.version,
                                     created=epoch))  # fmt: skip
    return Built(tree=tree, epoch=epoch, architecture=sources.archive.architecture, reused=reused)


def _make_tree(job: _Job, packages: str) -> TreeId:
    with job.reporter.step("Making the first root"):
        first = ensure_root(job.sources, job.cache.root)
    with job.reporter.step("Installing packages"):
        changes = ensure_packages(job, first, packages)
    with step_mounted(job.cache, (changes, first)) as (root, _):
        with job.reporter.step("Setting up what the recipe says"):
            if not (root / MAKE_INITRD[1:]).exists():
                raise _without_atoll(job.recipe)
            configure(root, job.recipe, job.cache.root)
            for link in write_presets(root):
                job.reporter.notice(f"made whole by presets: {link}")
        with job.reporter.step("Giving the tree its shape"):
            inventory = read_packages(root / "var/lib/dpkg")
            kernel = shape_root(root, homes=[user.home for user in job.recipe.users])
        with job.reporter.step("Making the initrd"):
            ensure_initrd(job, root, kernel, packages)
        write_records(job, root, kernel, [[p.name, p.version, p.architecture] for p in inventory])
        normalize(root, job.epoch)
        with job.reporter.step("Putting the tree into the store"):
            tree = canonical(import_directory(job.store, root, job.reporter), epoch=job.epoch)
            return write_image(job.store, tree)


def packages_id(job: _Job) -> str:
    """Covers everything that decides what is installed."""
    wishes = job.recipe.packages
    local = [job.recipe.resolve(name) for name in wishes.local]
    for path in local:
        check_local(path)
    return make_id(
        "packages 1", root_id(job.sources), *sorted(wishes.install), "-", *sorted(wishes.remove),
        "local", *(digest_file(path) for path in local),
    )  # fmt: skip


def ensure_packages(job: _Job, first: Path, name: str) -> Path:
    """What installing the recipe's packages changes in the first root."""
    kept = job.cache.find("steps", name)
    if kept is not None:
        return kept
    wishes = Wishes(
        install=job.recipe.packages.install,
        local=tuple(job.recipe.resolve(path) for path in job.recipe.packages.local),
        remove=job.recipe.packages.remove,
    )
    with step_mounted(job.cache, (first,)) as (root, upper):
        install_packages(root, wishes, sources=job.sources, debs=job.cache.debs,
                         log_path=job.cache.logs / "packages.log")  # fmt: skip
        return job.cache.keep(upper, "steps", name)


def ensure_initrd(job: _Job, root: Path, kernel: str, packages: str) -> None:
    """Put the initrd beside its kernel. Its own time is the kernel's, so it changes with its
    inputs only."""
    recipe = job.recipe
    name = make_id("initrd 1", packages, kernel, recipe.system.__repr__(), *_file_parts(recipe))
    target = root / "usr/lib/modules" / kernel / "initrd"
    kept = job.cache.find("initrds", name)
    if kept is None:
        time = int((target.parent / "vmlinuz").stat().st_mtime)
        sandbox = room(root)
        words = [
            "env",
            f"SOURCE_DATE_EPOCH={time}",
            MAKE_INITRD,
            kernel,
            f"/{target.relative_to(root)}",
        ]
        log_path = job.cache.logs / "initrd.log"
        with log_path.open("w+b") as log:
            try:
                sandbox.run(words, log=log)
            except ProgramFailed as error:
                raise ProgramFailed(error.argv, error.status, error.stderr_tail,
                                    hint=f"all it said is in {log_path}") from error  # fmt: skip
        made = job.cache.root / f".new-initrd-{name}"
        made.write_bytes(target.read_bytes())
        job.cache.keep(made, "initrds", name)
    else:
        target.write_bytes(kept.read_bytes())
    target.chmod(0o644)


def write_records(job: _Job, root: Path, kernel: str, inventory: list[list[str]]) -> None:
    """What the tree says of itself, in /usr/lib/atoll."""
    recipe = job.recipe
    image = {
        "name": recipe.image.name,
        "version": recipe.image.version,
        "kernel": kernel,
        "args": list(recipe.kernel.args),
        "suite": recipe.debian.suite,
        "architecture": job.sources.archive.architecture,
        "epoch": job.epoch,
    }
    records = root / ATOLL
    (records / "image.json").write_text(json.dumps(image, indent=1) + "\n")
    (records / "recipe.toml").write_text(recipe.text)
    lines = ",\n".join(f" {json.dumps(package)}" for package in inventory)
    (records / "packages.json").write_text(f"[\n{lines}\n]\n")


def result_id(job: _Job, packages: str) -> str:
    """Covers everything that decides the tree."""
    return make_id(_FORM, packages, job.epoch, job.recipe.text, *_file_parts(job.recipe))


def find_result(job: _Job, name: str) -> TreeId | None:
    """The tree that these inputs gave before, while the store still has it."""
    path = job.cache.find("results", f"{name}.json")
    if path is None:
        return None
    tree = parse_tree_id(json.loads(path.read_text())["tree"])
    return tree if job.store.image_path(tree).exists() else None


def keep_result(job: _Job, name: str, tree: TreeId) -> None:
    made = job.cache.root / f".new-result-{name}"
    made.write_text(json.dumps({"tree": tree}) + "\n")
    job.cache.keep(made, "results", f"{name}.json")


def read_epoch(sources: Sources) -> int:
    """No time in the tree is later: SOURCE_DATE_EPOCH, or the date of the newest Release file."""
    text = os.environ.get("SOURCE_DATE_EPOCH")
    if text is None:
        return sources.epoch
    if not text.isdigit():
        raise UsageError(f"SOURCE_DATE_EPOCH is {text!r}, which is no number of seconds")
    return int(text)


def _archive(recipe: Recipe) -> Archive:
    debian = recipe.debian
    return Archive(suite=debian.suite, components=debian.components,
                   architecture=read_architecture(), mirror=debian.mirror)  # fmt: skip


def _file_parts(recipe: Recipe) -> list[str]:
    """Every file of the recipe as text that changes when the file does."""
    return [
        make_id(repr(file), read_content(recipe, file).decode(errors="surrogateescape"))
        for file in recipe.files
    ]


def _without_atoll(recipe: Recipe) -> RecipeError:
    return RecipeError(
        "the root cannot boot: Atoll's own package is not in it",
        file=recipe.file,
        key="packages.install",
        hint='add "atoll" to packages.install, or its file: install = ["./atoll.deb"]',
    )
