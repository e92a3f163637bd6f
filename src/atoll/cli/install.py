"""``atoll install``: install an image as the first system of a machine."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from atoll.base.errors import Refused, UsageError
from atoll.base.ids import is_hex_digest
from atoll.cli.arguments import IMAGE_HELP
from atoll.cli.install_beside import add_beside_arguments, check_words, run_beside
from atoll.cli.install_disk import add_disk_arguments, find_target, install_on_disk
from atoll.cli.output.terminal import has_terminal
from atoll.cli.references import fetch_word, live_image
from atoll.host.fs import require_root
from atoll.image.bootable import read_bootable
from atoll.installer.answers.parse import read_answers, read_passphrase
from atoll.installer.settings.check_settings import find_notes, require_possible
from atoll.installer.settings.image_contents import ImageContents
from atoll.installer.settings.install_settings import plan_settings, prepare_settings
from atoll.machine.install import install, sysroot_in

if TYPE_CHECKING:
    from atoll.base.report import Reporter
    from atoll.cli.references import LocalImage
    from atoll.installer.answers.parse import Answers
    from atoll.machine.deployments.operations import Operation


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "image", nargs="?", metavar="IMAGE", help=f"{IMAGE_HELP}; an answers file can name it"
    )
    parser.add_argument("device", nargs="?", help=argparse.SUPPRESS)
    add_disk_arguments(parser)
    add_beside_arguments(parser)
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
    parser.add_argument(
        "--answers",
        type=Path,
        metavar="FILE",
        help="take the user, host name and all other settings from this file, and ask nothing",
    )
    parser.add_argument(
        "--check", action="store_true", help="check the answers file and do nothing else"
    )
    parser.add_argument("--store", type=Path, metavar="DIR", help="store to use")
    parser.add_argument(
        "--follow", metavar="REF", help="image that upgrades will use (default: IMAGE)"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    if check_words(arguments):
        return run_beside(arguments, reporter)
    answers = None if arguments.answers is None else read_answers(arguments.answers)
    if answers is not None:
        arguments.image = arguments.image or answers.image or None
        arguments.follow = arguments.follow or answers.follow or None
    if arguments.check:
        return _check(arguments, answers, reporter)
    arguments.image = arguments.image or live_image()
    if arguments.image is None:
        raise UsageError("no image is named", hint=f"name {IMAGE_HELP}")
    target = find_target(arguments, answers)
    if target is not None:
        require_root("installing a system")
        return install_on_disk(arguments, answers, target, reporter)
    if answers is None and arguments.root is None and arguments.device is None and has_terminal():
        require_root("installing a system")
        # prompt_toolkit is needed for nothing else.
        from atoll.cli.install_dialogue import install_by_dialogue

        return install_by_dialogue(arguments, reporter)
    root = _root(arguments)
    require_root("installing a system")
    (check_directory if arguments.into_directory else check_mounted)(root)
    image = fetch_word(arguments.image, arguments.store, reporter, follow=arguments.follow)
    install(
        read_bootable(image.store, image.tree),
        image.origin,
        sysroot_in(root),
        source=image.store,
        reporter=reporter,
        settings=_plan_settings(answers, image, root, reporter),
    )
    if arguments.json:
        print(json.dumps({"deployment": 1, "tree": image.tree, "root": str(root)}, indent=2))
    reporter.notice(f"next: atoll status --root {quote(str(root))}")
    return 0


def _check(arguments: argparse.Namespace, answers: Answers | None, reporter: Reporter) -> int:
    """Judge the answers, their secrets, and whether an image that is here can do what they ask."""
    if answers is None:
        raise UsageError("--check checks an answers file", hint="add --answers FILE")
    read_passphrase(arguments.answers, answers)
    word = arguments.image or ""
    checked = word.startswith("store:") or is_hex_digest(word)
    if checked:
        image = fetch_word(word, arguments.store, reporter, follow=arguments.follow)
        require_possible(answers.settings, ImageContents(image.store, image.tree))
    reporter.notice(f"{arguments.answers} is complete and right")
    if not checked:
        reporter.notice(
            "the image itself was not looked at; to check against one in the store:"
            " --check store:NAME"
        )
    return 0


def _plan_settings(
    answers: Answers | None, image: LocalImage, root: Path, reporter: Reporter
) -> tuple[Operation, ...]:
    if answers is None:
        return ()
    contents = ImageContents(image.store, image.tree)
    prepared = prepare_settings(answers.settings, contents)
    for note in find_notes(answers.settings, contents):
        reporter.notice(f"note: {note}")
    return plan_settings(prepared, sysroot_in(root))


def _root(arguments: argparse.Namespace) -> Path:
    """Raises UsageError that says how an image gets onto a disk."""
    place: str | None = arguments.device
    if place is not None:
        word = "--disk" if place.startswith("/dev/") else "--root"
        raise UsageError(
            f"unexpected argument {place}",
            hint=f"atoll install {quote(arguments.image)} {word} {quote(place)}",
        )
    if arguments.root is None:
        raise UsageError(
            "no target is named",
            hint=f"atoll install {quote(arguments.image)} --disk /dev/sdX; lsblk lists disks; at a"
            " terminal, atoll install asks for everything",
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
