"""``atoll pull REF``: take an image into the store, every byte checked, under a name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("reference", metavar="REF", help="the image: oci:DIR[:TAG]")
    parser.add_argument("--name", help="what to call it in the store (default: its own name)")
    parser.add_argument("--store", metavar="DIR", type=Path, help="the store to use")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    from atoll.cli.inspect import out_of_reach
    from atoll.registry.layout import inspect_layout, read_layout
    from atoll.registry.reference import LayoutReference, parse_reference
    from atoll.store.layout import default_store_root, open_store
    from atoll.store.refs import Ref, check_ref_name, write_ref

    reference = parse_reference(arguments.reference)
    if not isinstance(reference, LayoutReference):
        raise out_of_reach(arguments.reference)
    name = check_ref_name(arguments.name or inspect_layout(reference).record.config.name)
    store = open_store(arguments.store or default_store_root(), create=True)
    record = read_layout(reference, store, reporter)
    ref = Ref(
        tree=record.tree,
        name=record.config.name,
        version=record.config.version,
        created=record.config.created,
    )
    write_ref(store, name, ref)
    if arguments.json:
        print(json.dumps({"ref": name, "tree": record.tree}))
    else:
        print(record.tree)
    reporter.notice(f"next: atoll inspect store:{name}")
    return 0
