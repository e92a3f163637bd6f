"""What ./try --install shows: a live stick installs itself, encrypted and unattended, on a computer
with an empty disk, and that disk boots without the stick.

The computer has no network: the stick brings the image that is installed.
"""

from __future__ import annotations

import re
import shutil
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from examples.tour_steps import (
    STORE,
    WORK,
    StepFailed,
    Tour,
    atoll,
    build_example,
    expect,
    indent,
    run_tour,
    say_how_to_boot,
    show,
    tell_waiting,
)
from vmtest import Disk, Display, Interface, Machine, MachineSpec, Writes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DISK_SIZE = 8 << 30
MEMORY = 1536
PASSPHRASE = "seven quiet herons"
PASSWORD = "atoll"
HASHED = (
    "$6$atollsalt$63sz5ZWHaI6weVaGaRahah.lscoU4EEdeaU/iCdNT27wx4GSyB/"
    "ezVgmrAlk1bS64OxA.Br59jvMSUYl0wr/Y0"
)
"""Of ``PASSWORD``."""
ANSWERS = """\
schema = 1

[target]
disk = "/dev/nvme0n1"
erase = true

[encryption]
passphrase_file = "passphrase"
recovery_key = true

[user]
name = "ada"
password = "{hashed}"

[system]
hostname = "reef"
"""
FOLDER = "/run/answers"
LOG = "/run/install.log"
INSTALL = (
    "systemd-run --quiet --unit=install --remain-after-exit --property=UMask=0077"
    f" --property=StandardOutput=append:{LOG} --property=StandardError=append:{LOG}"
    f" atoll install --answers {FOLDER}/answers.toml"
)
ASKS_PASSWORD = (
    "grep --silent '^login$' /proc/[0-9]*/comm && stty --file=/dev/tty1 --all | grep -w -e -echo"
)
"""Whether login has taken over from getty and waits for the password: what was typed before it
switched the echo off is dropped."""
PAUSE = 2.0
PROMPT = "please enter passphrase[^:]* for disk atoll"
RECOVERY_KEY = re.compile(r"^(?:[cbdefghijklnrtuv]{8}-){7}[cbdefghijklnrtuv]{8}$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the tour works: a store, and a folder that it fills again each time."""

    store: Path
    work: Path

    @property
    def stick(self) -> Path:
        return self.work / "stick.img"

    @property
    def disk(self) -> Path:
        return self.work / "installed.img"


def main() -> int:
    keep = "--keep" in sys.argv[1:]
    place = Place(store=STORE, work=WORK)
    place.work.mkdir(parents=True, exist_ok=True)
    try:
        status = run_tour(tour := new_tour(), lambda: show_install(tour, place))
    finally:
        place.stick.unlink(missing_ok=True)
        if not keep:
            place.disk.unlink(missing_ok=True)
    if status == 0:
        say_next(place, keep=keep)
    return status


def new_tour() -> Tour:
    return Tour(steps=6)


def show_install(tour: Tour, place: Place) -> None:
    install_from_stick(tour, place, make_stick(tour, place))


def install_from_stick(tour: Tour, place: Place, tree: str) -> None:
    """``tree`` is the one that the stick was made of."""
    with place.disk.open("wb") as file:
        file.truncate(DISK_SIZE)
    disk = Disk(image=place.disk, interface=Interface.NVME, writes=Writes.DIRECT)
    stick = Disk(image=place.stick, interface=Interface.USB)
    folder = place.work / "machine"
    shutil.rmtree(folder, ignore_errors=True)
    spec = MachineSpec(disks=(stick, disk), memory=MEMORY)
    with Machine(spec, folder / "stick", name="laptop", tell=tell_waiting) as machine:
        start_stick(tour, machine)
        key = install(tour, machine)
        machine.shutdown()
    spec = MachineSpec(disks=(disk,), memory=MEMORY, display=Display.STD)
    with Machine(spec, folder / "disk", name="laptop", tell=tell_waiting) as machine:
        start_disk(tour, machine)
        look_around(tour, machine, tree, key)
        machine.shutdown()


def make_stick(tour: Tour, place: Place) -> str:
    with tour.step("Build examples/live", "one tree"):
        tree = build_example("examples/live", place.store)
    with tour.step("Make a live stick of it", "a file that dd writes to a stick"):
        place.stick.unlink(missing_ok=True)
        atoll("disk", "--live", tree, str(place.stick), "--store", str(place.store))
        size = place.stick.stat().st_size
        print(f"  {place.stick.name}: {size / 1e6:.0f} MB")
    return tree


def start_stick(tour: Tour, machine: Machine) -> None:
    with tour.step("Start a computer from the stick", "a live system, nothing failed"):
        print("  The computer has an empty disk and no network.")
        machine.start()
        machine.wait_for_system()
        print(indent(machine.succeed("atoll status 2>&1 | sed -n 1p; lsblk --nodeps")))


def install(tour: Tour, machine: Machine) -> str:
    """The recovery key."""
    with tour.step("Install, unattended and encrypted", "recovery key shown, once"):
        machine.succeed(
            f"install -d -m 700 {FOLDER}",
            f"cat > {FOLDER}/answers.toml <<'END'\n{ANSWERS.format(hashed=HASHED)}END",
            f"echo {PASSPHRASE!r} > {FOLDER}/passphrase",
        )
        print(indent("# cat answers.toml\n" + ANSWERS.format(hashed=f"{HASHED[:24]}…")))
        print(indent("# atoll install --answers answers.toml"), flush=True)
        machine.succeed(INSTALL)
        words = ""
        for line in follow(machine):
            print(f"    {line}", flush=True)
            words += f"{line}\n"
        return find_recovery_key(words)


class Asked(Protocol):
    """What runs a command and returns its output: a machine."""

    def succeed(self, command: str, /) -> str: ...


def follow(machine: Asked) -> Iterator[str]:
    """The lines of the installation, as they come. Raises StepFailed when it fails."""
    seen = 0
    while True:
        state = machine.succeed("systemctl show -P SubState install.service").strip()
        said = machine.succeed(f"tail --bytes=+{seen + 1} {LOG}")
        whole = said if state != "running" else said[: said.rfind("\n") + 1]
        seen += len(whole.encode())
        yield from whole.splitlines()
        if state == "exited":
            return
        if state != "running":
            raise StepFailed(f"the installation ended: {state}")
        time.sleep(PAUSE)


def find_recovery_key(words: str) -> str:
    """Raises StepFailed when none was shown."""
    found = RECOVERY_KEY.search(words)
    if found is None:
        raise StepFailed("the installation showed no recovery key")
    return found.group()


def start_disk(tour: Tour, machine: Machine) -> None:
    with tour.step("Take the stick out, start from the disk", "passphrase, login as ada"):
        machine.start()
        machine.wait_for_console_text(f"(?is){PROMPT}")
        # The serial console is asked first; what is typed before the screen asks is dropped.
        machine.wait_for_screen()
        print("  It asks for the passphrase: typed on its keyboard.", flush=True)
        machine.send_chars(f"{PASSPHRASE}\n")
        machine.wait_for_system()
        machine.wait_for_console_text("reef login: ")
        machine.send_chars("ada\n")
        machine.wait_until_succeeds(ASKS_PASSWORD, timeout=600)
        machine.send_chars(f"{PASSWORD}\n")
        machine.wait_until_succeeds("loginctl list-users | grep --silent ada", timeout=600)
        print("  It asks who logs in: ada, with her password.")
        show(machine, "systemctl --failed --no-legend | wc -l", "0")


def look_around(tour: Tour, machine: Machine, tree: str, key: str) -> None:
    with tour.step("Look at what was installed", "encrypted; the same tree as the stick's"):
        status = machine.succeed("runuser -u ada -- atoll status 2>&1")
        print(indent("$ atoll status\n" + status))
        expect("encrypted (LUKS2)" in status, "atoll status does not say that it is encrypted")
        show(machine, "atoll tree digest /run/atoll/tree", tree)
        # Whether the key opens the disk, without another start.
        test = "cryptsetup open --test-passphrase --key-file=- /dev/nvme0n1p2"
        machine.succeed(f"printf %s {key} | {test}")
        print("  The recovery key opens the disk as well.")


def say_next(place: Place, *, keep: bool) -> None:
    print("\nSeen: the stick started and installed itself without a network, the recovery key was")
    print("shown, the disk starts with its passphrase, ada logs in, atoll status says: encrypted.")
    if not keep:
        print("\nTo look around yourself: ./try --install --keep leaves the disk.")
        return
    say_how_to_boot(place.disk)
    print(f"\nThe passphrase is: {PASSPHRASE}")
    print(f"Log in as ada, password {PASSWORD}; leave QEMU with Ctrl-A X.")


if __name__ == "__main__":
    sys.exit(main())
