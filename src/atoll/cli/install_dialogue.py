"""``atoll install`` at a terminal, without a target: it asks, shows the plan, and installs."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError
from atoll.base.fields import Flaw
from atoll.cli.install_disk import carry_out, measure_image
from atoll.cli.output.screens import TerminalScreens
from atoll.cli.references import fetch_word, format_image, require_image
from atoll.host.fs import replace_file
from atoll.image.bootable import read_bootable
from atoll.installer.answers.format import format_answers
from atoll.installer.apply.encryption import Encryption, check_passphrase
from atoll.installer.apply.encryption import require_programs as require_encryption
from atoll.installer.apply.install_on_disk import Installation, require_programs
from atoll.installer.devices.read_devices import read_block_devices
from atoll.installer.dialogue.dialogue import Outcome, run_dialogue
from atoll.installer.dialogue.facts import Offer, make_facts
from atoll.installer.plan.obstacles import firmware_obstacles, refuse
from atoll.installer.settings.console_keymap import keymap_kept
from atoll.installer.settings.image_contents import ImageContents
from atoll.installer.settings.install_settings import prepare_settings
from atoll.machine.boot.secure_boot import read_secure_boot
from atoll.machine.deployment import Origin
from atoll.machine.install import with_loader
from atoll.machine.secure_boot_check import find_secure_boot_notes
from atoll.machine.state_partition import check_can_open, initrd_for

if TYPE_CHECKING:
    import argparse

    from atoll.base.fields import Check
    from atoll.base.report import Reporter
    from atoll.image.bootable import BootableImage
    from atoll.installer.answers.parse import Answers
    from atoll.installer.plan.partitioning import InstallationPlan


def install_by_dialogue(arguments: argparse.Namespace, reporter: Reporter) -> int:
    """Raises KeyboardInterrupt when the person stops; nothing was written then."""
    devices = read_block_devices()
    # Before anything is fetched or asked: no image boots from a BIOS.
    refuse(firmware_obstacles(devices, None))
    image = fetch_word(arguments.image, arguments.store, reporter, follow=arguments.follow)
    bootable = with_loader(read_bootable(image.store, image.tree))
    contents = ImageContents(image.store, image.tree)
    offer = Offer(
        image=arguments.image,
        follow=image.origin.image,
        contents=contents,
        needs=measure_image(bootable),
        devices=devices,
        check_follow=_follow_check(image.store.root),
        not_encrypted=_why_not_encrypted(bootable),
        check_plan=partial(_check_plan, bootable, contents),
        notes=tuple(find_secure_boot_notes(bootable, read_secure_boot())),
    )
    screens = TerminalScreens(f"Install {offer.needs.title}")
    with keymap_kept(sys.stdin.fileno()) as try_keyboard:
        outcome = run_dialogue(screens, make_facts(offer, try_keyboard))
    answers = outcome.answers
    settings = prepare_settings(answers.settings, contents)
    installation = Installation(
        image=bootable,
        origin=Origin(image=format_image(require_image(answers.follow, image.store.root))),
        source=image.store,
        needs=offer.needs,
        settings=settings,
        encryption=_encryption(outcome),
        initrd=b"" if answers.encryption is None else initrd_for(settings.etc),
    )
    carry_out(arguments, offer.plan(answers), installation, reporter)
    if outcome.save:
        replace_file(Path(outcome.save), format_answers(answers).encode(), mode=0o600)
        reporter.notice(f"the answers are in {outcome.save}; add the hash of a password to use it")
    return 0


def _check_plan(
    image: BootableImage, contents: ImageContents, plan: InstallationPlan, answers: Answers
) -> None:
    """All that could fail after the confirmation fails before it."""
    require_programs(plan)
    settings = prepare_settings(answers.settings, contents)
    if answers.encryption is not None:
        require_encryption()
        check_can_open(image, "the volume that is made", initrd_for(settings.etc))


def _why_not_encrypted(image: BootableImage) -> str:
    try:
        require_encryption()
        check_can_open(image, "the volume that is made")
    except AtollError as error:
        return f"{error.message}; {error.hint}" if error.hint else error.message
    return ""


def _follow_check(store: Path) -> Check:
    def check(text: str) -> Flaw | None:
        try:
            require_image(text, store)
        except AtollError as error:
            return Flaw(error.message, error.hint)
        return None

    return check


def _encryption(outcome: Outcome) -> Encryption | None:
    wanted, passphrase = outcome.answers.encryption, outcome.passphrase
    if wanted is None or passphrase is None:
        return None
    return Encryption(passphrase=check_passphrase(passphrase), recovery=wanted.recovery_key)
