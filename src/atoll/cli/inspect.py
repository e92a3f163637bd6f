"""``atoll inspect REF``: what an image is: name, version, tree, and the layers it travels in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter
    from atoll.registry.layout import PublishedImage
    from atoll.store.refs import Ref


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("reference", metavar="REF", help="an image: oci:DIR[:TAG] or store:NAME")
    parser.add_argument("--store", metavar="DIR", type=Path, help="the store to use")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:  # noqa: ARG001
    from atoll.registry.layout import inspect_layout
    from atoll.registry.reference import LayoutReference, StoreReference, parse_reference

    reference = parse_reference(arguments.reference)
    match reference:
        case LayoutReference():
            fields = _published(inspect_layout(reference))
        case StoreReference():
            from atoll.store.layout import default_store_root, open_store
            from atoll.store.refs import read_ref

            store = open_store(arguments.store or default_store_root())
            fields = _kept(read_ref(store, reference.name))
        case _:
            raise out_of_reach(arguments.reference)
    print(json.dumps(fields, indent=2) if arguments.json else _table(fields))
    return 0


def out_of_reach(text: str) -> Exception:
    """For references of a kind that can be named, but not used yet."""
    from atoll.base.errors import Refused

    return Refused(
        f"{text}: this version of Atoll reads images from oci:DIR and store:NAME only",
        hint=f"bring it here first: skopeo copy {text} oci:DIR:TAG",
    )


def _kept(ref: Ref) -> dict[str, Any]:
    return {
        "name": ref.name,
        "version": ref.version,
        "created": ref.created,
        "tree": ref.tree,
    }


def _published(image: PublishedImage) -> dict[str, Any]:
    record = image.record
    layers = [
        {"digest": layer.digest, "diff_id": diff_id, "size": layer.size, "content": content}
        for layer, (diff_id, content) in zip(image.manifest.layers, record.layers, strict=True)
    ]
    return {
        "name": record.config.name,
        "version": record.config.version,
        "created": record.config.created,
        "architecture": record.config.architecture,
        "tree": record.tree,
        "manifest": image.digest,
        "size": sum(layer.size for layer in image.manifest.layers),
        "unpacked_size": record.unpacked_size,
        "layers": layers,
    }


def _table(fields: dict[str, Any]) -> str:
    lines = [f"{key + ':':<15}{value}" for key, value in fields.items() if key != "layers"]
    for layer in fields.get("layers", ()):
        lines.append(f"{layer['size']:>12}  {layer['digest'][:19]}  {layer['content'][:60]}")
    return "\n".join(map(_printable, lines))


def _printable(line: str) -> str:
    """What an image says of itself must not steer the terminal."""
    return "".join(each if each.isprintable() else "?" for each in line)
