"""``atoll install``: an image becomes the first system of a machine in a directory."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from atoll.base.errors import Refused, UsageError
from atoll.cli.disk import onto_device
from atoll.cli.references import IMAGE_HELP, fetch_word
from atoll.host.fs import require_root
from atoll.image.bootable import read_bootable
from atoll.machine.install import install

if TYPE_CHECKING:
    from atoll.base.report import Reporter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", metavar="IMAGE", help=IMAGE_HELP)
    parser.add_argument("device", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument(
        "--root",
        type=Path,
        metavar="DIR",
        help="mount point of the state partition; the ESP is at DIR/esp",
    )
    parser.add_argument(
        "--into-directory",
        action="store_true",
        help="install to a new or empty directory instead of a disk",
    )
    parser.add_argument("--store", type=Path, metavar="DIR", help="store to use")
    parser.add_argument(
        "--follow", metavar="REF", help="image that upgrades will use (default: IMAGE)"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    root = _root(arguments)
    require_root("installing a system")
    (check_directory if arguments.into_directory else check_mounted)(root)
    image = fetch_word(arguments.image, arguments.store, reporter, follow=arguments.follow)
    install(
        read_bootable(image.store, image.tree),
        image.origin,
        root,
        source=image.store,
        reporter=reporter,
    )
    if arguments.json:
        print(json.dumps({"deployment": 1, "tree": image.tree, "root": str(root)}, indent=2))
    reporter.notice(f"next: atoll status --root {quote(str(root))}")
    return 0


def _root(arguments: argparse.Namespace) -> Path:
    """Raises UsageError that says how an image gets onto a disk today."""
    target: str | None = arguments.device
    if target is not None:
        if target.startswith("/dev/"):
            raise UsageError(
                "atoll install does not partition disks yet",
                hint=onto_device(arguments.image, target),
            )
        hint = f"atoll install {quote(arguments.image)} --root {quote(target)}"
        raise UsageError(f"unexpected argument {target}: --root is missing", hint=hint)
    if arguments.root is None:
        raise UsageError(
            "no target: --root DIR is missing",
            hint=onto_device(arguments.image, "/dev/sdX"),
        )
    return Path(arguments.root)


def check_mounted(root: Path) -> None:
    """Raises Refused where the system would fill the disk that this computer runs from."""
    for place, what in ((root, "state partition"), (root / "esp", "ESP")):
        if not os.path.ismount(place):
            raise Refused(
                f"{place} is not a mount point: the {what} is not mounted there",
                hint="mount it first, or install to a plain directory with --into-directory",
            )


def check_directory(root: Path) -> None:
    """Raises Refused for a directory with files of another kind; a cut install is no obstacle."""
    if root.is_dir():
        others = sorted({each.name for each in root.iterdir()} - {"atoll", "esp", "lost+found"})
        if others:
            raise Refused(
                f"{root} is not empty: it contains {others[0]}",
                hint="choose a new or empty directory",
            )
