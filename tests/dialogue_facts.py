"""What the dialogue asks about in tests: an image of a few files, and two disks.

Run as a program, it asks on its terminal and writes the outcome: ``dialogue_facts.py WORK OUT``.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from atoll.base.fields import Flaw
from atoll.host.signals import interrupt_on_signals
from atoll.installer.answers.format import format_answers
from atoll.installer.dialogue.dialogue import run_dialogue
from atoll.installer.dialogue.facts import Offer, make_facts
from atoll.installer.settings.image_contents import ImageContents
from tests.unit.installer.made_devices import (
    GIB,
    NEEDS,
    make_devices,
    make_disk,
    windows_disk,
)
from tests.unit.machine.small_image import FACTS, files_of, make_store

LAYOUTS = """! model
  pc105           Generic 105-key PC
! layout
  us              English (US)
  de              German
  fr              French
! variant
  nodeadkeys      de: German (no dead keys)
  neo             de: German (Neo 2)
"""
CITIES = ("Africa/Cairo", "America/New_York", "Europe/Berlin", "Europe/Paris", "US/Eastern")


def make_contents(work: Path, *, network_manager: bool = True) -> ImageContents:
    files = files_of(FACTS) | {
        "etc/passwd": b"root:x:0:0::/root:/bin/bash\ndaemon:x:1:1::/:/bin/false\n",
        "etc/shadow": b"root:*:20000:0:99999:7:::\ndaemon:*:20000:0:99999:7:::\n",
        "etc/group": b"root:x:0:\nsudo:x:27:\naudio:x:29:\n",
        "etc/locale.conf": b"LANG=en_US.UTF-8\n",
        "usr/lib/locale/C.utf8/LC_CTYPE": b"x",
        "usr/lib/locale/en_US.utf8/LC_CTYPE": b"x",
        "usr/lib/locale/de_DE.utf8/LC_CTYPE": b"x",
        "usr/share/X11/xkb/rules/base.lst": LAYOUTS.encode(),
        "usr/share/zoneinfo/UTC": b"TZif",
        **{f"usr/share/zoneinfo/{city}": b"TZif" for city in CITIES},
    }
    if network_manager:
        files["usr/sbin/NetworkManager"] = b"a program"
    return ImageContents(*make_store(work / "store", files))


def make_offer(work: Path, *, network_manager: bool = True) -> Offer:
    disk = windows_disk(path=Path("/dev/nvme0n1"))
    stick = replace(make_disk(size=15 * GIB, path=Path("/dev/sda")), read_only=True)
    return Offer(
        image="store:hello",
        follow="docker://registry.example/hello:stable",
        contents=make_contents(work, network_manager=network_manager),
        needs=replace(NEEDS, title="hello 1.2"),
        devices=make_devices(disk, stick),
        check_follow=lambda text: None if text else Flaw("is empty"),
        not_encrypted="",
        check_plan=lambda _plan, _answers: None,
    )


def main() -> None:
    from atoll.cli.output.screens import TerminalScreens

    interrupt_on_signals()
    work, out = (Path(word) for word in sys.argv[1:])
    facts = make_facts(make_offer(work), lambda _: None)
    outcome = run_dialogue(TerminalScreens(f"Install {facts.title}"), facts)
    secret = f"{outcome.answers.settings.user.password}\n{outcome.passphrase}\n"
    out.write_text(f"{format_answers(outcome.answers)}{secret}")


if __name__ == "__main__":
    main()
