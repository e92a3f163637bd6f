"""A computer is installed by an answers file, and by the dialogue; then its person logs in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from atoll.host.password_hash import hash_password
from examples.install_tour import ASKS_PASSWORD
from vmtest import Disk, Display, Interface, Machine, MachineSpec, Writes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.vm.conftest import Built

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.network, pytest.mark.long]

GIB = 1 << 30
PASSWORD = "correct horse"
ANSWERS = """schema = 1

[target]
disk = "/dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_answers"
erase = true

[user]
name = "ada"
gecos = "Ada Lovelace"
password = "{password}"

[system]
hostname = "reef"
timezone = "Europe/Berlin"

[keyboard]
layout = "de"

[network.address]
interface = "lan0"
address = "192.0.2.7/24"
"""
DIALOGUE = """
import os, pty, re, select, sys, time

STEPS = [
    ("Which layout", "ger\\r"), ("Which variant", "\\r"), ("Which disk", "vdb\\r"),
    ("How much", "\\r"), ("do not encrypt", "do not\\r"), ("Full name", "Ada Lovelace\\r"),
    ("Login name", "\\r"), ("Password", "correct horse\\r"), ("once more", "correct horse\\r"),
    ("Host name", "\\x15shore\\r"), ("The city", "berl\\r"), ("Which image", "\\r"),
    ("can be saved in a file", "/root/saved.toml\\r"), ("The plan", "\\r"),
    ("Name of the disk", "vdb\\r"),
]
PAGE = "\\x1b[?1049h"
# Each page opens the alternate screen anew, and the terminal is in raw mode by then.

pid, handle = pty.fork()
if pid == 0:
    os.environ["TERM"] = "vt220"
    os.execvp("atoll", ["atoll", "install", "booted"])
seen = ""
for text, keys in STEPS:
    ends = time.monotonic() + 1200
    while text not in re.sub(r"\\x1b\\[[0-9;?]*[A-Za-z]", "", seen.partition(PAGE)[2]):
        assert select.select([handle], [], [], max(ends - time.monotonic(), 0))[0], (text, seen)
        seen += os.read(handle, 65536).decode(errors="replace")
    seen = ""
    os.write(handle, keys.encode())
try:
    while os.read(handle, 65536):
        pass
except OSError:
    pass
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("disks")
    for name in ("answers", "dialogue"):
        with (folder / name).open("wb") as file:
            file.truncate(8 * GIB)
    return folder / "answers", folder / "dialogue"


@pytest.fixture(scope="module")
def installer(
    live: Built, disks: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    spec = MachineSpec(
        disks=(
            Disk(image=live.disk),
            Disk(
                image=disks[0],
                writes=Writes.DIRECT,
                interface=Interface.NVME,
                serial="answers",
            ),
            Disk(image=disks[1], writes=Writes.DIRECT),
        ),
        memory=1536,
    )
    with Machine(spec, tmp_path_factory.mktemp("machine"), name="installer") as machine:
        machine.start()
        machine.wait_for_system()
        yield machine


def test_by_an_answers_file(installer: Machine, live: Built) -> None:
    hashed = hash_password(PASSWORD)
    wrong = ANSWERS.format(password=hashed).replace("Europe/Berlin", "Europe/Berln")
    installer.succeed(f"cat > /root/answers.toml <<'END'\n{wrong}\nEND")
    said = installer.fail("atoll install booted --answers /root/answers.toml 2>&1")
    assert "did you mean: Europe/Berlin" in said
    installer.fail("blkid -p /dev/nvme0n1")
    installer.succeed("sed -i s/Berln/Berlin/ /root/answers.toml")
    installer.succeed("atoll install --answers /root/answers.toml --check")
    shown = installer.succeed(
        "atoll install booted --answers /root/answers.toml --json", timeout=1800
    )
    assert json.loads(shown)["tree"] == live.tree
    assert hashed not in installer.succeed("journalctl --boot --output=cat")


def test_by_the_dialogue_in_a_terminal_of_the_machine(installer: Machine) -> None:
    installer.succeed(f"cat > /root/dialogue.py <<'END'\n{DIALOGUE}\nEND")
    installer.succeed("python3 /root/dialogue.py", timeout=2400)
    saved = installer.succeed("cat /root/saved.toml")
    assert 'hostname = "shore"' in saved
    assert 'disk = "/dev/vdb"' in saved
    assert "$" not in saved
    installer.succeed("sfdisk --verify /dev/vdb", "blkid -p /dev/vdb2")
    installer.shutdown()


def test_the_person_logs_in(installer: Machine, disks: tuple[Path, Path], tmp_path: Path) -> None:
    installer.kill()
    disk = Disk(image=disks[0], interface=Interface.NVME, serial="answers")
    spec = MachineSpec(disks=(disk,), display=Display.STD)
    with Machine(spec, tmp_path / "machine", name="installed") as machine:
        machine.start()
        assert machine.wait_for_system() == "running"
        assert machine.succeed("hostnamectl hostname").strip() == "reef"
        assert machine.succeed("timedatectl show --property=Timezone --value") == "Europe/Berlin\n"
        assert "X11 Layout: de" in machine.succeed("localectl")
        assert machine.succeed("getent passwd ada").startswith("ada:x:1001:1001:Ada Lovelace:")
        assert machine.succeed("stat --format=%U:%a /home/ada").strip() == "ada:700"
        assert machine.succeed("passwd --status root").split()[1] == "L"
        machine.succeed("test -e /etc/systemd/network/10-lan0.network")
        # With the password, as another user who is asked for it.
        ask = "runuser -u nobody -- su ada --command 'id --name --groups'"
        assert "sudo" in machine.succeed(f"echo {PASSWORD!r} | {ask}").split()
        machine.fail(f"echo wrong | {ask}")
        machine.succeed(f"echo {PASSWORD!r} | runuser -u ada -- sudo --stdin true")
        # At the console, on the American keys that the emulator has under a German layout.
        machine.send_chars("ada\n")
        machine.wait_until_succeeds(ASKS_PASSWORD, timeout=600)
        machine.send_chars(f"{PASSWORD}\n")
        machine.wait_until_succeeds("loginctl list-users | grep --silent ada", timeout=600)
        changes = machine.succeed("atoll etc diff")
        assert "added         /etc/systemd/network/10-lan0.network" in changes
        assert "conflict" not in changes
