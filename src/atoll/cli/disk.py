"""``atoll disk``: an image becomes a disk image that boots."""

from __future__ import annotations

import json
import re
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from atoll.base.errors import Refused, UsageError
from atoll.cli.arguments import IMAGE_HELP
from atoll.cli.references import fetch_word
from atoll.image.bootable import read_bootable
from atoll.machine.disk import DiskFormat, DiskSpec, LiveSpec, make_disk
from atoll.machine.disk_layout import derive_identity

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", metavar="IMAGE", help=IMAGE_HELP)
    parser.add_argument("out", type=Path, metavar="OUT", help="file to write, such as NAME.img")
    parser.add_argument(
        "--overwrite", "--force", action="store_true", help="replace OUT if it exists"
    )
    parser.add_argument(
        "--size", metavar="N", help="size of the disk, such as 8G (default: as needed)"
    )
    parser.add_argument(
        "--format",
        choices=[each.value for each in DiskFormat],
        help="format of OUT (default: what its suffix names, else raw)",
    )
    parser.add_argument(
        "--live",
        action="store_true",
        help="create a live system for a USB stick: the stick is never changed, and can install",
    )
    parser.add_argument(
        "--persistence",
        metavar="N",
        help="with --live: keep changes on a partition of this size, such as 4G"
        " (default: in memory, until shutdown)",
    )
    parser.add_argument("--store", type=Path, metavar="DIR", help="store to use")
    parser.add_argument(
        "--identity",
        metavar="UUID",
        help="derive all UUIDs of the disk from this one (default: random)",
    )
    parser.add_argument(
        "--follow", metavar="REF", help="image that upgrades will use (default: IMAGE)"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    spec = parse_spec(arguments)
    check_out(arguments.out, arguments.image, overwrite=arguments.overwrite)
    image = fetch_word(arguments.image, arguments.store, reporter, follow=arguments.follow)
    made = make_disk(
        read_bootable(image.store, image.tree),
        image.origin,
        arguments.out,
        source=image.store,
        spec=spec,
        reporter=reporter,
    )
    if arguments.json:
        result = {
            "tree": image.tree,
            "disk": str(arguments.out),
            "size": made,
            "format": spec.format,
        }
        print(json.dumps(result, indent=2))
    _tell_next(arguments, spec, reporter)
    return 0


def _tell_next(arguments: argparse.Namespace, spec: DiskSpec, reporter: Reporter) -> None:
    if spec.format is not DiskFormat.RAW:
        reporter.notice("next: give it to a virtual machine with UEFI firmware as its disk")
        return
    reporter.notice("next: try it in a virtual machine, or write it to a disk")
    reporter.notice(f"  {try_command(arguments.image, arguments.store, live=arguments.live)}")
    reporter.notice(f"  {write_command(arguments.out)}")
    reporter.notice("  lsblk lists disks; all data on /dev/sdX will be lost")


def check_out(out: Path, image: str, *, overwrite: bool) -> None:
    """Raises UsageError for what is no file, and Refused for one that is there already."""
    if out.is_block_device() or out.parts[:2] == ("/", "dev"):
        raise UsageError(
            f"{out} is a device; atoll disk writes a file", hint=onto_device(image, str(out))
        )
    if out.is_dir():
        raise UsageError(
            f"{out} is a directory", hint=f"name a file in it, such as {out / 'system.img'}"
        )
    if out.exists() and not overwrite:
        hint = "choose another name, or replace it with --overwrite"
        raise Refused(f"{out} already exists", hint=hint)


def onto_device(image: str, device: str) -> str:
    """The commands that put ``image`` onto a disk."""
    return (
        "write a disk image to it (lsblk lists disks; its data will be lost):\n"
        f"    atoll disk {quote(image)} system.img\n"
        f"    {write_command(Path('system.img'), quote(device))}"
    )


def write_command(out: Path, device: str = "/dev/sdX") -> str:
    return f"sudo dd if={quote(str(out))} of={device} bs=4M conv=fsync status=progress"


def try_command(image: str, store: Path | None, *, live: bool) -> str:
    words = f"{' --live' if live else ''}{f' --store {quote(str(store))}' if store else ''}"
    return f"atoll vm {quote(image)}{words}"


def parse_spec(arguments: argparse.Namespace) -> DiskSpec:
    """Raises UsageError."""
    identity = derive_identity(parse_identity(arguments.identity))
    kind = choose_format(arguments.format, arguments.out)
    if not arguments.live:
        if arguments.persistence is not None:
            raise UsageError("--persistence is for live systems", hint="add --live")
        size = None if arguments.size is None else parse_size(arguments.size)
        return DiskSpec(size=size, identity=identity, format=kind)
    if arguments.size is not None:
        hint = "space for changes is set with --persistence N"
        raise UsageError("a live system is as large as its content: --size has no use", hint=hint)
    persistence = 0 if arguments.persistence is None else parse_size(arguments.persistence)
    live = LiveSpec(persistence=persistence)
    return DiskSpec(size=None, identity=identity, live=live, format=kind)


def choose_format(wanted: str | None, out: Path) -> DiskFormat:
    """What is asked for, or what the name of the file says."""
    suffix = out.suffix.removeprefix(".").lower()
    known = {each.value for each in DiskFormat}
    return DiskFormat(wanted or (suffix if suffix in known else DiskFormat.RAW))


def parse_size(text: str) -> int:
    """Bytes from ``8G`` and its like; raises UsageError."""
    found = re.fullmatch(r"([1-9][0-9]{0,14})([KMGT]?)(?:i?B)?", text, re.IGNORECASE)
    if found is None:
        raise UsageError(f"{text!r} is not a size", hint="write for example 8G or 8192M")
    return int(found[1]) * _UNITS[found[2].upper()]


def parse_identity(text: str | None) -> UUID:
    if text is None:
        return uuid4()
    try:
        return UUID(text)
    except ValueError:
        raise UsageError(f"{text!r} is not a UUID", hint="uuidgen creates one") from None
