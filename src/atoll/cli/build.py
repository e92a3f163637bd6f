"""``atoll build``: a recipe becomes a tree in the store, and an image where one is asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import UsageError
from atoll.recipe.build import build_tree
from atoll.recipe.parse import read_recipe
from atoll.recipe.publish import publish
from atoll.registry.reference import LayoutReference, parse_reference
from atoll.store.layout import default_store_root, open_store

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", nargs="?", default=".", help="a recipe, or the folder it is in")
    parser.add_argument("--store", metavar="DIR", help="where trees are kept")
    parser.add_argument("--output", metavar="oci:DIR[:TAG]", help="write the image there, too")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    recipe = read_recipe(Path(arguments.recipe))
    root = Path(arguments.store) if arguments.store else default_store_root()
    target = _target(arguments, root, recipe.image.name)
    store = open_store(root.absolute(), create=True)
    built = build_tree(recipe, store, reporter)
    manifest = None
    if target is not None:
        manifest = publish(recipe, built, store, target, reporter)
    if arguments.json:
        print(json.dumps({"tree": built.tree, "manifest": manifest, "ref": recipe.image.name}))
        return 0
    print(built.tree)
    if target is not None:
        reporter.notice(f"image {manifest} is in oci:{target.directory}:{target.tag}")
    told = f" --store {arguments.store}" if arguments.store else ""
    reporter.notice(f"next: atoll disk store:{recipe.image.name} disk.img{told}")
    return 0


def _target(arguments: argparse.Namespace, store: Path, name: str) -> LayoutReference | None:
    """Where the image goes; ``--json`` tells its digest, so it goes beside the store at least."""
    if arguments.output is None:
        return LayoutReference(directory=str(store / "oci"), tag=name) if arguments.json else None
    target = parse_reference(arguments.output)
    if not isinstance(target, LayoutReference):
        raise UsageError(f"{arguments.output} is no place that build writes to",
                         hint="write --output oci:DIR or oci:DIR:TAG")  # fmt: skip
    return target
