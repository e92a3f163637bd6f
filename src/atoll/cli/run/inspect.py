"""``atoll inspect``: what it does; ``cli/inspect.py`` has its arguments."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from atoll.base.errors import NotFound
from atoll.base.text import one_line
from atoll.cli.output.terminal import write_result
from atoll.cli.references import ResolvedImage, opened_resolved, opened_store, require_tree_or_image
from atoll.inspect.describe import describe_tree
from atoll.inspect.tree_records import has_record, read_record
from atoll.inspect.tree_source import read_info_fields
from atoll.oci.reference import StoreReference
from atoll.oci.source import inspect_source, opened_source

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter
    from atoll.cli.references import ResolvedTree
    from atoll.inspect.tree_source import OpenTree
    from atoll.oci.image import PublishedImage
    from atoll.store.layout import Store

_PARTS = ("packages", "recipe", "lock")


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:  # noqa: ARG001
    part = next((name for name in _PARTS if getattr(arguments, name)), None)
    with opened_store(arguments.store) as store:
        resolved = require_tree_or_image(arguments.reference, store.root, arguments.root)
        found = _read_fields(resolved, store, part)
    if arguments.json:
        print(json.dumps(found, indent=2))
    elif part == "packages":
        for each in found["package_list"]:
            print(one_line(f"{each['name']} {each['version']}"))
    elif part is not None:
        write_result(found[part].encode(errors="surrogateescape"))
    else:
        print(_table(found))
    return 0


def _read_fields(
    resolved: ResolvedImage | ResolvedTree, store: Store, part: str | None
) -> dict[str, Any]:
    """The fields to print. Without ``part``, only manifest and config of an image that is not in
    the store are fetched."""
    if (
        part is None
        and isinstance(resolved, ResolvedImage)
        and not isinstance(resolved.reference, StoreReference)
    ):
        with opened_source(resolved.reference) as source:
            return _published(inspect_source(source))
    with opened_resolved(resolved, store) as tree:
        fields = _published(tree.published) if tree.published else _kept(tree)
        return fields | (_part(tree, part) if part else {})


def _part(tree: OpenTree, part: str) -> dict[str, Any]:
    if part == "packages":
        return {"package_list": _packages(tree)}
    return {part: read_record(tree, part).decode(errors="surrogateescape")}


def _packages(tree: OpenTree) -> list[dict[str, str]]:
    """The packages of the tree, or those that the image's config lists. Raises NotFound."""
    found = describe_tree(tree)
    if "packages" not in found.facets:
        raise NotFound(f"{tree.title}: {found.unknown['packages']}")
    return [
        {"name": name, "version": version}
        for name, version in sorted(found.facets["packages"].items())
    ]


def _kept(tree: OpenTree) -> dict[str, Any]:
    """The fields of a tree in the store, from its ``image.json``."""
    info = read_info_fields(tree)
    packages = describe_tree(tree).facets.get("packages")
    return {
        "name": tree.name,
        "version": tree.version,
        "kernel": info.get("kernel"),
        "packages": None if packages is None else len(packages),
        "created": tree.created,
        "architecture": info.get("architecture"),
        "tree": tree.tree,
        "carries_recipe": has_record(tree, "recipe"),
        "carries_lock": has_record(tree, "lock"),
    }


def _published(image: PublishedImage) -> dict[str, Any]:
    record = image.record
    layers = [
        {"digest": layer.digest, "diff_id": diff_id, "size": layer.size, "content": content}
        for layer, (diff_id, content) in zip(image.manifest.layers, record.layers, strict=True)
    ]
    system = record.config.system
    return {
        "name": record.config.name,
        "version": record.config.version,
        "kernel": system.kernel if system else None,
        "packages": len(system.packages) if system else None,
        "created": record.config.created,
        "architecture": record.config.architecture,
        "tree": record.tree,
        "manifest": image.digest,
        "size": sum(layer.size for layer in image.manifest.layers),
        "unpacked_size": record.unpacked_size,
        "layers": layers,
    }


def _table(fields: dict[str, Any]) -> str:
    lines = [f"{key + ':':<16}{_value(value)}" for key, value in fields.items() if key != "layers"]
    for layer in fields.get("layers", ()):
        lines.append(f"{layer['size']:>12}  {layer['digest'][:19]}  {layer['content'][:60]}")
    return "\n".join(map(one_line, lines))


def _value(value: object) -> object:
    return ("yes" if value else "no") if isinstance(value, bool) else value
