"""``atoll build``: what it does; ``cli/build.py`` has its arguments."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import NotFound, Unrepeatable, UsageError
from atoll.builder.base_image import read_image_info
from atoll.builder.build import build_tree
from atoll.builder.publish import publish
from atoll.builder.verify import verify_build
from atoll.cli.arguments import format_option
from atoll.cli.output.verify import format_verification, verification_as_json
from atoll.lock.serialize import read_lock
from atoll.oci.reference import LayoutReference, parse_reference
from atoll.recipe.language.parse import read_machine_recipe, read_recipe
from atoll.store.layout import default_store_root, open_store

if TYPE_CHECKING:
    import argparse

    from atoll.base.ids import TreeId
    from atoll.base.report import Reporter
    from atoll.builder.verify import Verification
    from atoll.recipe.model import Recipe
    from atoll.store.layout import Store

_MACHINE = "machine"


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    recipe = _read_recipe(arguments)
    root = Path(arguments.store) if arguments.store else default_store_root()
    target = _target(arguments, root, recipe.image.name or _MACHINE)
    store = open_store(root.absolute(), create=True)
    offline = arguments.offline
    built = build_tree(recipe, store, reporter, locked=arguments.locked, offline=offline)
    recipe = with_image_name(recipe, store, built.tree)
    manifest = None
    if target is not None:
        manifest = publish(recipe, built, store, target, reporter)
    ref = recipe.image.name
    result: dict[str, object] = {"tree": built.tree, "manifest": manifest, "ref": ref}
    if arguments.verify and target is not None:
        found = verify_build(recipe, built, (store, target), reporter, offline=offline)
        return _print_verified(found, recipe.image.name, result if arguments.json else None)
    if arguments.json:
        print(json.dumps(result))
        return 0
    print(built.tree)
    if target is not None:
        reporter.notice(f"wrote image oci:{target.directory}:{target.tag}, manifest")
        reporter.notice(f"  {manifest}")
    store_option = format_option("--store", arguments.store)
    reporter.notice(f"next: atoll disk store:{recipe.image.name} disk.img{store_option}")
    return 0


def _read_recipe(arguments: argparse.Namespace) -> Recipe:
    path = Path(arguments.recipe)
    if not arguments.from_machine:
        return read_recipe(path, arguments.variant)
    if arguments.variant:
        raise UsageError("a machine file has no variants", hint="leave out --variant")
    file = path / f"{_MACHINE}.toml" if path.is_dir() else path
    lock = file.with_suffix(".lock")
    if not lock.exists():
        raise NotFound(
            f"there is no {lock}, which names the image that the machine file was applied to",
            hint="copy both files of the machine: /etc/atoll/machine.toml and machine.lock",
        )
    base = read_lock(lock).base
    return read_machine_recipe(file, base=base.reference if base else "").recipe


def with_image_name(recipe: Recipe, store: Store, tree: TreeId) -> Recipe:
    """A machine file with the name and version of its base, as its tree has them."""
    info, image = read_image_info(store, tree), recipe.image
    return replace(recipe, image=replace(image, name=info.name, version=info.version))


def _print_verified(found: Verification, name: str, result: dict[str, object] | None) -> int:
    """Print how the second build went: as text, or with ``result`` as a JSON document that has
    both. Raises Unrepeatable when the builds differ."""
    if result is not None:
        print(json.dumps(result | {"verify": verification_as_json(found)}, indent=2))
    else:
        print(format_verification(found))
    if found.identical:
        return 0
    raise Unrepeatable(
        f"two builds of {name} differ",
        hint="docs/explanation/bit-for-bit.md lists common causes",
    )


def _target(arguments: argparse.Namespace, store: Path, name: str) -> LayoutReference | None:
    """The layout to write the image to. ``--json`` and ``--verify`` need a manifest's digest, so
    without ``--output`` they write one into the store's directory."""
    if arguments.output is None:
        needed = arguments.json or arguments.verify
        return LayoutReference(directory=str(store / "oci"), tag=name) if needed else None
    target = parse_reference(arguments.output)
    if not isinstance(target, LayoutReference):
        raise UsageError(
            f"build cannot write to {arguments.output}",
            hint="use --output oci:DIR or oci:DIR:TAG",
        )
    return target
