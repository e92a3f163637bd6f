"""``atoll install``: an image becomes the first system of a machine in a directory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.host.files import need_root
from atoll.machine.image import find_image, read_bootable
from atoll.machine.install import install
from atoll.machine.target import origin_of
from atoll.store.layout import default_store_root, open_store

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", help="store:NAME, oci:DIR[:TAG] or a tree digest")
    parser.add_argument(
        "--root",
        type=Path,
        required=True,
        metavar="DIR",
        help="the machine's state partition, with its ESP at DIR/esp",
    )
    parser.add_argument("--store", type=Path, metavar="DIR", help="the maker's store")
    parser.add_argument(
        "--follow", metavar="REF", help="the image that upgrades take (default: IMAGE)"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    need_root("installing a system")
    store = open_store(arguments.store or default_store_root())
    tree = find_image(arguments.image, store, reporter)
    image = read_bootable(store, tree)
    install(
        image,
        origin_of(arguments.follow or arguments.image),
        arguments.root,
        source=store,
        reporter=reporter,
    )
    if arguments.json:
        print(json.dumps({"deployment": 1, "tree": tree, "root": str(arguments.root)}, indent=2))
    reporter.notice(f"next: atoll status --root {arguments.root}")
    return 0
