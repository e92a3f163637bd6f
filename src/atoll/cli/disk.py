"""``atoll disk``: an image becomes a disk image that boots."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from atoll.base.errors import UsageError
from atoll.machine.disk import derive_identity, make_disk
from atoll.machine.image import find_image, read_bootable
from atoll.machine.target import origin_of
from atoll.store.layout import default_store_root, open_store

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", help="store:NAME, oci:DIR[:TAG] or a tree digest")
    parser.add_argument("out", type=Path, metavar="OUT", help="the disk image to write")
    parser.add_argument("--size", metavar="N", help="of the disk, for example 8G (default: enough)")
    parser.add_argument("--store", type=Path, metavar="DIR", help="the maker's store")
    parser.add_argument(
        "--identity",
        metavar="UUID",
        help="derive the disk's ids from this one, to get the same again (default: random)",
    )
    parser.add_argument(
        "--follow", metavar="REF", help="the image that upgrades take (default: IMAGE)"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    size = None if arguments.size is None else parse_size(arguments.size)
    identity = derive_identity(parse_identity(arguments.identity))
    store = open_store(arguments.store or default_store_root())
    tree = find_image(arguments.image, store, reporter)
    image = read_bootable(store, tree)
    made = make_disk(
        image,
        origin_of(arguments.follow or arguments.image),
        arguments.out,
        source=store,
        shape=(size, identity),
        reporter=reporter,
    )
    if arguments.json:
        result = {"tree": tree, "disk": str(arguments.out), "size": made}
        print(json.dumps(result, indent=2))
    reporter.notice(
        f"next: write {arguments.out} to a disk, or start it in QEMU with UEFI firmware (OVMF)"
    )
    return 0


def parse_size(text: str) -> int:
    """Bytes from ``8G`` and its like; raises UsageError."""
    found = re.fullmatch(r"([1-9][0-9]{0,14})([KMGT]?)(?:i?B)?", text, re.IGNORECASE)
    if found is None:
        raise UsageError(f"{text!r} is no size", hint="write it like 8G or 8192M")
    return int(found[1]) * _UNITS[found[2].upper()]


def parse_identity(text: str | None) -> UUID:
    if text is None:
        return uuid4()
    try:
        return UUID(text)
    except ValueError:
        raise UsageError(f"{text!r} is no UUID", hint="uuidgen makes one") from None
