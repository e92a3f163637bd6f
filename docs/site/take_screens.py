"""Takes the pictures in ``docs/images`` from running systems: ``python docs/site/take_screens.py``.

    python docs/site/take_screens.py EXAMPLE DISK

``DISK`` is what ``atoll disk`` makes of ``examples/EXAMPLE``: hello, desktop or sway. Run it in the
checkout with ``PYTHONPATH=.:src`` after the look of an example has changed.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from vmtest import Disk, Display, Machine, MachineSpec

IMAGES = Path(__file__).resolve().parents[1] / "images"
SECONDS = 1800
TEXT = 200
"""A screen with smooth letters on it has more colours than this."""


def main() -> None:
    example, disk = sys.argv[1:]
    memory = 1024 if example == "hello" else 3072
    spec = MachineSpec(disks=(Disk(image=Path(disk)),), memory=memory, display=Display.STD)
    with tempfile.TemporaryDirectory() as place, Machine(spec, Path(place), tell=print) as machine:
        machine.start()
        machine.wait_for_system(timeout=SECONDS)
        {"hello": take_console, "desktop": take_desktop, "sway": take_sway}[example](machine)
        machine.shutdown()


def take_console(machine: Machine) -> None:
    """What somebody sees who logs in at the screen and asks for the status."""
    machine.send_chars("atoll\n")
    machine.wait_until_succeeds("pgrep -f 'login -- atoll' || pgrep -x login", timeout=SECONDS)
    machine.wait_for_screen(timeout=SECONDS)
    machine.send_chars("atoll\n")
    machine.wait_until_succeeds("pgrep -u atoll -x bash", timeout=SECONDS)
    machine.send_chars("clear; atoll status; touch /usr/bin/mine\n")
    machine.wait_for_screen(steady=20, timeout=SECONDS)
    machine.screenshot(IMAGES / "hello.png")


def take_desktop(machine: Machine) -> None:
    machine.wait_until_succeeds("pgrep -f lightdm-gtk-greeter", timeout=SECONDS)
    machine.wait_for_screen(colours=TEXT, timeout=SECONDS)
    machine.screenshot(IMAGES / "desktop-greeter.png")
    machine.send_chars("atoll\n")
    machine.wait_for_screen(colours=TEXT, steady=10, timeout=SECONDS)
    machine.send_chars("atoll\n")
    machine.wait_until_succeeds("pgrep -u atoll -x xfce4-panel", timeout=SECONDS)
    machine.wait_until_succeeds("pgrep -u atoll -x xfdesktop", timeout=SECONDS)
    machine.wait_for_screen(colours=TEXT, steady=30, timeout=SECONDS)
    machine.screenshot(IMAGES / "desktop.png")


def take_sway(machine: Machine) -> None:
    """The steps of ``test_sway`` in tests/vm/test_examples.py, and a command in the terminal."""
    machine.wait_until_succeeds("pgrep -u _greetd -x gtkgreet", timeout=SECONDS)
    machine.wait_for_screen(colours=TEXT, timeout=SECONDS)
    machine.screenshot(IMAGES / "sway-greeter.png")
    machine.send_chars("atoll\n")
    machine.wait_for_screen(colours=TEXT, steady=10, timeout=SECONDS)
    machine.send_chars("atoll\n")
    machine.wait_until_succeeds("pgrep -u atoll -x sway && pgrep -u atoll waybar", timeout=SECONDS)
    machine.wait_for_screen(colours=TEXT, timeout=SECONDS)
    machine.send_key("meta_l-ret")
    machine.wait_until_succeeds("pgrep -u atoll -x foot", timeout=SECONDS)
    machine.wait_for_screen(colours=TEXT, timeout=SECONDS)
    machine.send_chars("atoll status\n")
    machine.wait_for_screen(colours=TEXT, steady=20, timeout=SECONDS)
    machine.screenshot(IMAGES / "sway.png")


if __name__ == "__main__":
    main()
