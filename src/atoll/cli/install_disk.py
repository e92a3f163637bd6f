"""``atoll install`` onto a disk: the words for the target, the plan that is shown, and its
confirmation."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import UsageError
from atoll.cli.references import fetch_word
from atoll.cli.typed_confirmation import ask_passphrase, confirm_disk
from atoll.image.bootable import read_bootable
from atoll.installer.answers.parse import read_passphrase
from atoll.installer.apply.encryption import Encryption, check_passphrase
from atoll.installer.apply.encryption import require_programs as require_encryption
from atoll.installer.apply.install_on_disk import Installation, apply_installation, require_programs
from atoll.installer.devices.read_devices import follow_links, read_block_devices
from atoll.installer.plan.describe_plan import format_plan
from atoll.installer.plan.obstacles import firmware_obstacles, refuse
from atoll.installer.plan.partitioning import FirmwareEntry, ImageNeeds, Target, TargetKind
from atoll.installer.plan.plan_installation import plan_installation
from atoll.installer.settings.check_settings import find_notes
from atoll.installer.settings.image_contents import ImageContents
from atoll.installer.settings.install_settings import prepare_settings
from atoll.machine.boot.secure_boot import read_secure_boot
from atoll.machine.disk import content_size
from atoll.machine.etc.etc_commands import read_etc_of_tree
from atoll.machine.install import with_loader
from atoll.machine.secure_boot_check import find_secure_boot_notes
from atoll.machine.state_partition import check_can_open, initrd_for

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter
    from atoll.image.bootable import BootableImage
    from atoll.installer.answers.parse import Answers
    from atoll.installer.apply.install_on_disk import InstallResult
    from atoll.installer.plan.partitioning import InstallationPlan

_PAIR_SPARE = 128 << 10
"""Bytes: directories, partly filled clusters, and the machine's own small initrd."""


def add_disk_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--disk", type=Path, metavar="DEV", help="erase this disk and install on all of it"
    )
    parser.add_argument(
        "--partition", type=Path, metavar="DEV", help="format this partition only, and use its ESP"
    )
    parser.add_argument(
        "--free-space",
        type=Path,
        metavar="DEV",
        help="install in the largest free space of this disk, beside what is there",
    )
    parser.add_argument(
        "--esp", type=Path, metavar="DEV", help="EFI system partition to use (default: the disk's)"
    )
    parser.add_argument(
        "--home", type=Path, metavar="DEV", help="partition to mount at /home; it is kept"
    )
    parser.add_argument(
        "--encrypt",
        action="store_true",
        help="encrypt the system: asks for a passphrase, and shows a recovery key at the end",
    )
    parser.add_argument(
        "--firmware-entry",
        choices=[str(each) for each in FirmwareEntry],
        help="where to put the system in the firmware's list (default: none on a disk of its own,"
        " last beside another system)",
    )
    parser.add_argument(
        "--yes-erase", metavar="NAME", help="confirm the plan for the disk NAME without a question"
    )


def find_target(arguments: argparse.Namespace, answers: Answers | None) -> Target | None:
    """The target that the command line or the answers name; None for a directory. Raises
    UsageError for words that do not go together."""
    named = {kind: getattr(arguments, kind) for kind in TargetKind}
    words = {kind: device for kind, device in named.items() if device is not None}
    answered = None if answers is None else answers.target
    if len(words) + (answered is not None) + (arguments.root is not None) > 1:
        raise UsageError(
            "the target is named more than once",
            hint="choose one: --disk, --partition, --free-space, --root, or the answers' [target]",
        )
    firmware = None if arguments.firmware_entry is None else FirmwareEntry(arguments.firmware_entry)
    esp, home = arguments.esp, arguments.home
    if answered is not None:
        words = {TargetKind(answered.kind): Path(answered.device)}
        esp = esp or (Path(answered.esp) if answered.esp else None)
        home = home or (Path(answered.home) if answered.home else None)
    for kind, device in words.items():
        return Target(
            kind=kind,
            device=follow_links(device),
            esp=None if esp is None else follow_links(esp),
            home=None if home is None else follow_links(home),
            firmware=firmware,
        )
    for word in ("esp", "home", "encrypt", "firmware_entry", "yes_erase"):
        if getattr(arguments, word) not in (None, False):
            raise UsageError(
                f"--{word.replace('_', '-')} goes with --disk, --partition or --free-space",
                hint="atoll install IMAGE --partition DEV --esp DEV",
            )
    return None


def install_on_disk(
    arguments: argparse.Namespace, answers: Answers | None, target: Target, reporter: Reporter
) -> int:
    """Plan, show, confirm, install."""
    devices = read_block_devices()
    # Before anything is fetched: no image boots from a BIOS.
    refuse(firmware_obstacles(devices, None))
    encryption = _read_encryption(arguments, answers)
    image = fetch_word(arguments.image, arguments.store, reporter, follow=arguments.follow)
    bootable = with_loader(read_bootable(image.store, image.tree))
    contents = ImageContents(image.store, image.tree)
    settings = None if answers is None else prepare_settings(answers.settings, contents)
    initrd = b""
    if encryption is not None:
        etc = read_etc_of_tree(image.store, image.tree) if settings is None else settings.etc
        initrd = initrd_for(etc)
        check_can_open(bootable, "the volume that is made", initrd)
    needs = measure_image(bootable)
    plan = plan_installation(target, devices, needs, encrypted=encryption is not None)
    require_programs(plan)
    print(format_plan(plan), file=sys.stderr if arguments.json else sys.stdout, flush=True)
    notes = () if answers is None else find_notes(answers.settings, contents)
    for note in (*find_secure_boot_notes(bootable, read_secure_boot()), *notes):
        reporter.notice(f"note: {note}")
    named = answers is not None and answers.target is not None
    confirm(plan, arguments.yes_erase, named=named)
    installation = Installation(
        image=bootable,
        origin=image.origin,
        source=image.store,
        needs=needs,
        settings=settings,
        encryption=encryption,
        initrd=initrd,
    )
    carry_out(arguments, plan, installation, reporter)
    return 0


def carry_out(
    arguments: argparse.Namespace,
    plan: InstallationPlan,
    installation: Installation,
    reporter: Reporter,
) -> None:
    """Install what was confirmed, and print what came of it."""
    bootable = installation.image
    installed = apply_installation(plan, installation, reporter)
    _print_result(arguments, plan, bootable, installed)
    for warning in installed.warnings:
        reporter.notice(f"warning: {warning}")
    reporter.notice(f"{bootable.name} {bootable.version} is installed on {plan.device}")
    reporter.notice("next: remove the installation medium and restart")


def measure_image(image: BootableImage) -> ImageNeeds:
    """What an image with a boot loader takes on a disk."""
    pair = image.kernel_pair
    return ImageNeeds(
        title=f"{image.name} {image.version}",
        content=content_size(image),
        pair=pair.linux_size + pair.initrd_size + _PAIR_SPARE,
        loader=image.loader.size,
        efi_name=image.efi_name,
    )


def confirm(plan: InstallationPlan, yes_erase: str | None, *, named: bool) -> None:
    """Raises UsageError or Refused unless a person confirms the plan; an answers file that names
    the disk (``named``) has done so."""
    if not named or yes_erase is not None:
        confirm_disk(plan.device, yes_erase)


def _read_encryption(arguments: argparse.Namespace, answers: Answers | None) -> Encryption | None:
    answered = answers is not None and answers.encryption is not None
    if arguments.encrypt and answered:
        raise UsageError(
            "encryption is asked for twice",
            hint="leave out --encrypt, or the answers' [encryption]",
        )
    if arguments.encrypt:
        require_encryption()
        return Encryption(passphrase=check_passphrase(ask_passphrase()))
    if answers is None or answers.encryption is None:
        return None
    require_encryption()
    passphrase = read_passphrase(arguments.answers, answers)
    assert passphrase is not None, "the answers ask for encryption"
    return Encryption(
        passphrase=check_passphrase(passphrase), recovery=answers.encryption.recovery_key
    )


def _print_result(
    arguments: argparse.Namespace,
    plan: InstallationPlan,
    image: BootableImage,
    installed: InstallResult,
) -> None:
    key = installed.recovery_key
    if arguments.json:
        result: dict[str, object] = {
            "deployment": 1,
            "tree": image.tree,
            "disk": str(plan.device),
            "state": str(plan.state),
            "esp": str(plan.esp),
            "kernels": str(plan.boot or plan.esp),
            "home": None if plan.home is None else str(plan.home),
            "erased": list(plan.erased),
            "warnings": list(installed.warnings),
        }
        if key is not None:
            result["recovery_key"] = key.text
        print(json.dumps(result, indent=2))
    elif key is not None:
        print("\n".join(("Recovery key, shown this once; write it down:", key.text, *key.qr_code)))
