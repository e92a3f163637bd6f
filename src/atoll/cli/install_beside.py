"""``atoll install --beside`` and ``--undo``: a system beside the Debian that runs."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import NothingToDo, Refused, UsageError
from atoll.cli.install_disk import measure_image
from atoll.cli.references import fetch_word
from atoll.cli.typed_confirmation import confirm_change
from atoll.host.fs import require_root, temporary_directory
from atoll.host.mount import enter_private_mounts
from atoll.host.run import require_program
from atoll.image.bootable import read_bootable
from atoll.installer.beside.apply_beside import (
    EARLY_BOOT_HOME,
    BesideInstallation,
    apply_beside,
    beside_mounted,
)
from atoll.installer.beside.carry import ITEMS, Item, carry_settings
from atoll.installer.beside.describe_beside import beside_as_json, format_beside
from atoll.installer.beside.obstacles import system_obstacles
from atoll.installer.beside.plan_beside import BesidePlan, BesideRequest, plan_beside
from atoll.installer.beside.read_running import read_running_settings, read_running_system
from atoll.installer.beside.undo import RemoveRecord, apply_undo, find_esp_device
from atoll.installer.devices.read_devices import follow_links, read_block_devices
from atoll.installer.plan.obstacles import firmware_obstacles, refuse
from atoll.installer.settings.image_contents import ImageContents
from atoll.machine.boot.secure_boot import read_secure_boot
from atoll.machine.deployments.apply import apply_operations
from atoll.machine.deployments.beside import find_record
from atoll.machine.deployments.sysroot import BOOTED
from atoll.machine.etc.etc_commands import read_etc_of_tree
from atoll.machine.install import with_loader
from atoll.machine.secure_boot_check import find_secure_boot_notes

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from atoll.base.report import Reporter
    from atoll.cli.references import LocalImage
    from atoll.image.bootable import BootableImage
    from atoll.installer.beside.old_system import OldSystem
    from atoll.machine.deployments.beside import BesideRecord

STORES = Path("/var/tmp")
"""Where an image is fetched to when no store is named; it is removed again."""


def add_beside_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--beside",
        action="store_true",
        help="install beside the Debian that runs, which stays, in the free space of its partition",
    )
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        metavar="NAME",
        help=f"with --beside: do not take over NAME: {', '.join(ITEMS)}",
    )
    parser.add_argument(
        "--undo",
        action="store_true",
        help="remove the system that --beside has installed",
    )
    parser.add_argument(
        "--yes", action="store_true", help="confirm --beside or --undo without a question"
    )


def check_words(arguments: argparse.Namespace) -> bool:
    """Whether one of the two is asked for. Raises UsageError for words that do not go together."""
    chosen = arguments.beside or arguments.undo
    if not chosen:
        for word in ("without", "yes"):
            if getattr(arguments, word):
                raise UsageError(
                    f"--{word} goes with --beside", hint="atoll install IMAGE --beside"
                )
        return False
    others = ("disk", "partition", "free_space", "root", "home", "answers", "firmware_entry")
    for word in (*others, "encrypt", "yes_erase", "device", "into_directory", "check"):
        if getattr(arguments, word) not in (None, False):
            name = "--" + word.replace("_", "-")
            raise UsageError(
                f"{name} does not go with {'--beside' if arguments.beside else '--undo'}",
                hint="atoll install IMAGE --beside",
            )
    if arguments.undo and (arguments.beside or arguments.image or arguments.without):
        raise UsageError("--undo takes no other words", hint="atoll install --undo")
    return True


def run_beside(arguments: argparse.Namespace, reporter: Reporter) -> int:
    """Plan, show, confirm, install or remove."""
    if BOOTED.exists():
        word = "--undo" if arguments.undo else "--beside"
        raise Refused(
            f"this computer runs an Atoll system, and {word} works in the older one",
            hint="restart, and choose the older system in the boot menu",
        )
    require_root("installing a system" if arguments.beside else "removing a system")
    require_program("efibootmgr", package="efibootmgr")
    enter_private_mounts()
    return _undo(arguments, reporter) if arguments.undo else _install(arguments, reporter)


def parse_items(words: list[str]) -> frozenset[Item]:
    """Raises UsageError for a word that is no item."""
    found = set()
    for word in (each for text in words for each in text.split(",")):
        if word not in ITEMS:
            raise UsageError(f"there is no {word} to leave out", hint=f"one of: {', '.join(ITEMS)}")
        found.add(Item(word))
    return frozenset(found)


def _install(arguments: argparse.Namespace, reporter: Reporter) -> int:
    if arguments.image is None:
        raise UsageError("no image is named", hint="atoll install IMAGE --beside")
    without = parse_items(arguments.without)
    devices = read_block_devices()
    # Before anything is fetched: no image helps against these.
    refuse(
        (
            *firmware_obstacles(devices, None),
            *system_obstacles(read_running_system(), devices),
        )
    )
    with _store(arguments.store) as store:
        image = fetch_word(arguments.image, store, reporter, follow=arguments.follow)
        bootable = with_loader(read_bootable(image.store, image.tree))
        contents = ImageContents(image.store, image.tree)
        if not contents.has(EARLY_BOOT_HOME):
            raise Refused(
                f"{bootable.name} {bootable.version} was built before Atoll could be installed"
                " beside another system",
                hint="build it again",
            )
        make_plan = partial(_plan, arguments.esp, without, bootable, contents)
        plan = make_plan()
        print(format_beside(plan), file=sys.stderr if arguments.json else sys.stdout, flush=True)
        for note in find_secure_boot_notes(bootable, read_secure_boot()):
            reporter.notice(f"note: {note}")
        confirm_change("install it", yes=arguments.yes)
        installation = BesideInstallation(
            image=bootable, origin=image.origin, source=image.store, plan_again=make_plan
        )
        warnings = apply_beside(plan, installation, reporter)
    if arguments.json:
        print(json.dumps(_result_as_json(plan, image, warnings), indent=2))
    for warning in warnings:
        reporter.notice(f"warning: {warning}")
    reporter.notice(f"{bootable.name} {bootable.version} is installed beside {plan.system.title}")
    reporter.notice("next: restart; to remove it again, from here: atoll install --undo")
    return 0


def _plan(
    esp: Path | None, without: frozenset[Item], image: BootableImage, contents: ImageContents
) -> BesidePlan:
    """The plan for the machine as it is now."""
    tree = read_etc_of_tree(contents.store, contents.tree)
    carried = carry_settings(read_running_settings(), tree, contents, without)
    request = BesideRequest(
        carried=carried,
        esp=None if esp is None else follow_links(esp),
        home=Item.HOME not in without,
    )
    return plan_beside(read_running_system(), read_block_devices(), measure_image(image), request)


def _result_as_json(
    plan: BesidePlan, image: LocalImage, warnings: tuple[str, ...]
) -> dict[str, object]:
    result: dict[str, object] = {"deployment": 1, "tree": image.tree}
    return {**result, **beside_as_json(plan), "warnings": list(warnings)}


@contextmanager
def _store(named: Path | None) -> Iterator[Path]:
    """The store that is named, else one that is removed at the end: nothing of the image stays in
    the older system."""
    if named is not None:
        yield named
        return
    with temporary_directory(STORES, prefix="atoll-install-") as place:
        yield place / "store"


def _find_record(system: OldSystem) -> BesideRecord | None:
    """Also removes the empty directory that an interrupted --undo has left."""
    with beside_mounted(system.root, None) as sysroot:
        record = find_record(sysroot)
        if record is None and not system.foreign and sysroot.atoll.is_dir():
            apply_operations((RemoveRecord(top=sysroot.root, time=None),))
        return record


def _undo(arguments: argparse.Namespace, reporter: Reporter) -> int:
    system = read_running_system()
    record = _find_record(system) if system.path is not None else None
    if record is None:
        raise NothingToDo("no Atoll system was installed beside this one")
    esp = find_esp_device(record, read_block_devices())
    print(
        f"The Atoll system on {system.root.device} is removed with its settings and its /var;"
        " home directories stay.",
        file=sys.stderr if arguments.json else sys.stdout,
        flush=True,
    )
    confirm_change("remove it", yes=arguments.yes)
    with beside_mounted(system.root, esp) as sysroot:
        warnings = apply_undo(record, sysroot, reporter)
    if arguments.json:
        print(json.dumps({"removed": str(system.root.device), "warnings": [*warnings]}, indent=2))
    for warning in warnings:
        reporter.notice(f"warning: {warning}")
    reporter.notice(f"{system.title} is as it was before")
    return 0
