"""``atoll disk``: an image becomes a disk image that boots."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from atoll.base.errors import Refused, UsageError
from atoll.cli.arguments import IMAGE_HELP
from atoll.cli.references import fetch_word
from atoll.image.bootable import read_bootable
from atoll.machine.disk import DiskFormat, DiskSpec, LiveSpec, make_disk
from atoll.machine.disk_layout import SECTOR, SECTORS, SMALLEST_PERSISTENCE, derive_identity
from atoll.machine.install import with_loader

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter
    from atoll.cli.references import LocalImage

REST = "rest"
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", metavar="IMAGE", help=IMAGE_HELP)
    parser.add_argument(
        "out", type=Path, nargs="?", metavar="OUT", help="file to write, such as NAME.img"
    )
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
        "--sector-size",
        type=int,
        choices=SECTORS,
        metavar="BYTES",
        help="logical sectors of the disk that OUT will be written to: 512 (default) or 4096",
    )
    _add_live_arguments(parser)
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


def _add_live_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--live",
        action="store_true",
        help="create a live system for a USB stick: the stick is never changed, and can install",
    )
    parser.add_argument(
        "--persistence",
        metavar="N",
        help="with --live: keep changes on a partition of this size, such as 4G"
        " (default: in memory, until shutdown); rest: all space that the stick has left",
    )
    parser.add_argument(
        "--usb",
        type=Path,
        metavar="DEV",
        help="with --live: write it to this USB stick instead of a file, and read it back;"
        " asks for the name of the stick",
    )
    parser.add_argument(
        "--yes-erase", metavar="NAME", help="with --usb: confirm that the disk NAME is erased"
    )


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    check_words(arguments)
    if arguments.usb is not None:
        return _run_usb(arguments, reporter)
    spec = parse_spec(arguments)
    check_out(arguments.out, arguments.image, overwrite=arguments.overwrite, live=arguments.live)
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
        _print_result(image, arguments.out, made, spec)
    _tell_next(arguments, spec, reporter)
    return 0


def _run_usb(arguments: argparse.Namespace, reporter: Reporter) -> int:
    from atoll.cli import stick

    spec = parse_spec(arguments)
    target = stick.require_stick(arguments.usb)
    spec = replace(spec, sector=target.disk.identity.sector)
    image = fetch_word(arguments.image, arguments.store, reporter, follow=arguments.follow)
    bootable = with_loader(read_bootable(image.store, image.tree))
    if arguments.persistence == REST:
        spec = stick.fill_with_persistence(target, bootable, spec)
    stick.check_and_confirm(target, bootable, spec, arguments.yes_erase)
    made = stick.put_on_stick(target, bootable, image, spec, reporter)
    if arguments.json:
        _print_result(image, target.disk.path, made, spec)
    reporter.notice(f"{bootable.name} {bootable.version} is on {target.disk.path}")
    reporter.notice("next: unplug it, and start a computer with UEFI from it")
    return 0


def check_words(arguments: argparse.Namespace) -> None:
    """Raises UsageError for words that do not go together."""
    if arguments.usb is None:
        if arguments.out is None:
            hint = f"atoll disk {quote(arguments.image)} system.img"
            raise UsageError("OUT is missing: the file to write", hint=hint)
        if arguments.yes_erase is not None:
            raise UsageError("--yes-erase goes with --usb", hint="a file is replaced: --overwrite")
        return
    if arguments.out is not None:
        hint = "leave out one of them"
        raise UsageError(f"both OUT ({arguments.out}) and --usb are given", hint=hint)
    if not arguments.live:
        raise UsageError(
            "--usb is for live systems",
            hint="add --live; to install on a disk: atoll install",
        )
    if arguments.sector_size is not None:
        raise UsageError("a stick says what sectors it has", hint="leave out --sector-size")
    if arguments.format not in (None, DiskFormat.RAW):
        raise UsageError("a stick has no --format", hint="leave it out")


def _print_result(image: LocalImage, where: Path, size: int, spec: DiskSpec) -> None:
    result = {
        "tree": image.tree,
        "disk": str(where),
        "size": size,
        "format": spec.format,
        "sector_size": spec.sector,
    }
    print(json.dumps(result, indent=2))


def _tell_next(arguments: argparse.Namespace, spec: DiskSpec, reporter: Reporter) -> None:
    if spec.format is not DiskFormat.RAW:
        reporter.notice("next: give it to a virtual machine with UEFI firmware as its disk")
        return
    what = "stick" if arguments.live else "disk"
    reporter.notice(f"next: try it in a virtual machine, or write it to a {what}")
    reporter.notice(f"  {try_command(arguments.image, arguments.store, live=arguments.live)}")
    reporter.notice(f"  {write_command(arguments.out)}")
    reporter.notice("  lsblk lists disks; all data on /dev/sdX will be lost")
    if spec.sector == SECTOR:
        words = "for one with sectors of 4096 bytes, make it with --sector-size 4096"
    else:
        words = f"it starts only from one with sectors of {spec.sector} bytes"
    reporter.notice(f"  {words}: lsblk -o NAME,LOG-SEC")


def check_out(out: Path, image: str, *, overwrite: bool, live: bool) -> None:
    """Raises UsageError for what is no file, and Refused for one that is there already."""
    if out.is_block_device() or out.parts[:2] == ("/", "dev"):
        usb = f"to write it to a stick: atoll disk --live {quote(image)} --usb {quote(str(out))}"
        hint = usb if live else onto_device(image, str(out))
        raise UsageError(f"{out} is a device; OUT is a file", hint=hint)
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
    sector = arguments.sector_size or SECTOR
    if not arguments.live:
        if arguments.persistence is not None:
            raise UsageError("--persistence is for live systems", hint="add --live")
        size = None if arguments.size is None else parse_size(arguments.size)
        return DiskSpec(size=size, identity=identity, format=kind, sector=sector)
    if arguments.size is not None:
        hint = "space for changes is set with --persistence N"
        raise UsageError("a live system is as large as its content: --size has no use", hint=hint)
    live = parse_persistence(arguments.persistence)
    return DiskSpec(size=None, identity=identity, live=live, format=kind, sector=sector)


def parse_persistence(text: str | None) -> LiveSpec:
    """A file does not know how large its stick is: there ``rest`` grows at the first start."""
    if text == REST:
        return LiveSpec(persistence=SMALLEST_PERSISTENCE, growing=True)
    return LiveSpec(persistence=0 if text is None else parse_size(text))


def choose_format(wanted: str | None, out: Path | None) -> DiskFormat:
    """What is asked for, or what the name of the file says."""
    suffix = (out or Path()).suffix.removeprefix(".").lower()
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
