"""A live system on a USB stick: it boots, keeps its changes in memory or on its persistence
partition, never writes to the rest of the stick, and installs itself without a network."""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.vm.conftest import STORE, atoll
from vmtest import Disk, Interface, Machine, MachineSpec, Writes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.vm.conftest import Built

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.network]

GIB = 1 << 30
LARGER = 8 * GIB
"""A stick is larger than the image on it, so the second partition table is not at its end."""
MEMORY = 2048
INSTALL = "atoll install --disk /dev/vda --yes-erase vda"
LOOK = "mkdir /run/target; mount -o ro /dev/vda2 /run/target"


def make_stick(live: Built, out: Path, *words: str) -> Path:
    atoll("disk", "--live", *words, live.tree, out, "--store", STORE)
    with out.open("r+b") as file:
        file.truncate(LARGER)
    return out


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def spec_of(stick: Path, *disks: Disk, sector: int = 512) -> MachineSpec:
    disk = Disk(image=stick, interface=Interface.USB, writes=Writes.DIRECT, sector=sector)
    return MachineSpec(disks=(disk, *disks), memory=MEMORY)


@pytest.fixture(scope="module")
def stick(live: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_stick(live, tmp_path_factory.mktemp("stick") / "live.img")


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("target") / "target.img"
    with path.open("wb") as file:
        file.truncate(8 * GIB)
    return path


@pytest.fixture(scope="module")
def before(stick: Path) -> str:
    return digest(stick)


@pytest.fixture(scope="module")
def machine(
    stick: Path, before: str, target: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    """A machine without a network, with the stick and an empty disk."""
    assert before
    own = Disk(image=target, writes=Writes.DIRECT)
    with Machine(spec_of(stick, own), tmp_path_factory.mktemp("machine"), name="live") as machine:
        machine.start()
        assert machine.wait_for_system() == "running"
        yield machine


def test_a_live_system_is_ready_to_use(machine: Machine) -> None:
    assert machine.succeed("systemctl --failed --no-legend").strip() == ""
    # Logged in without a password, as the recipe says, and told what this is.
    machine.wait_for_console_text(r"atoll@live")
    assert "changes are lost at shutdown" in machine.console.text()
    machine.succeed("su atoll -c 'sudo -n true'")
    machine.succeed("touch /var/x /etc/x /home/x")
    assert machine.succeed("findmnt -n -o FSTYPE --target /var").strip() == "tmpfs"
    # Half of the memory, and most of the other half is free.
    size = int(machine.succeed("df --block-size=1M --output=size /var | tail -1"))
    left = int(machine.succeed("grep MemAvailable /proc/meminfo").split()[1]) // 1024
    assert MEMORY * 0.4 < size < MEMORY * 0.5
    assert left > MEMORY * 0.5


def test_a_live_system_says_what_it_is_and_what_it_does_not_do(
    machine: Machine, live: Built
) -> None:
    status = json.loads(machine.succeed("atoll status --json"))
    assert (status["live"], [each["tree"] for each in status["deployments"]]) == (
        "memory",
        [live.tree],
    )
    assert machine.succeed("atoll status").startswith("live system, changes are lost at shutdown\n")
    said = machine.succeed("su atoll -c 'atoll status 2>&1'")
    assert "lost at shutdown" in said and "atoll install" in said
    assert "NO WAY BACK" not in said and "no fallback" not in said
    for words in ("upgrade", "rollback", "gc", "pin 1", "cancel", "plan", "rebase oci:/x:1"):
        assert "this is a live system" in machine.fail(f"atoll {words} 2>&1"), words
    # There is no partition to grow.
    assert machine.succeed("systemctl show -P Result atoll-grow.service").strip() in (
        "exec-condition",
        "success",
    )
    assert "grew" not in machine.succeed("journalctl -b -u atoll-grow.service")


def test_a_live_system_installs_itself_without_a_network(machine: Machine, live: Built) -> None:
    assert "is installed on /dev/vda" in machine.succeed(f"{INSTALL} 2>&1", timeout=1200)
    machine.succeed(LOOK)
    (there,) = json.loads(machine.succeed("atoll status --root /run/target --json"))["deployments"]
    assert there["tree"] == live.tree
    # The disk that the system runs from is never taken.
    refused = machine.fail("atoll install --disk /dev/sda --yes-erase sda 2>&1")
    assert "started from /dev/sda1" in refused or "runs from /dev/sda2" in refused
    machine.succeed("umount /run/target")


@pytest.mark.long
def test_the_live_system_is_the_tree_that_was_built(machine: Machine, live: Built) -> None:
    assert machine.succeed("atoll tree digest /run/atoll/tree", timeout=900).strip() == live.tree


def test_the_stick_is_as_it_was(machine: Machine, stick: Path, before: str) -> None:
    machine.shutdown()
    assert digest(stick) == before


@pytest.mark.long
def test_what_was_installed_is_the_same_system(
    machine: Machine, target: Path, live: Built, tmp_path: Path
) -> None:
    machine.kill()
    with Machine(MachineSpec(disks=(Disk(image=target),)), tmp_path, name="installed") as installed:
        installed.start()
        assert installed.wait_for_system() == "running"
        status = json.loads(installed.succeed("atoll status --json"))
        assert status["live"] is None
        assert [each["tree"] for each in status["deployments"]] == [live.tree]
        installed.fail("test -e /var/x || test -e /etc/x")
        installed.wait_for_console_text(r"live login: ")
        # Nobody is logged in without a password there.
        assert "atoll@live" not in installed.console.text()


@pytest.mark.long
@pytest.mark.parametrize("sector", [512, 4096])
def test_changes_survive_on_a_persistence_partition(
    live: Built, tmp_path: Path, sector: int
) -> None:
    words = ("--persistence", "rest", "--sector-size", str(sector))
    stick = make_stick(live, tmp_path / "live.img", *words)
    with Machine(spec_of(stick, sector=sector), tmp_path / "machine", name="persistent") as machine:
        machine.start()
        machine.wait_for_system()
        machine.succeed("echo kept > /var/x", "echo kept > /etc/x", "su atoll -c 'touch ~/x'")
        identity = machine.succeed("cat /etc/machine-id")
        machine.shutdown()
        machine.start()
        assert machine.wait_for_system() == "running"
        assert machine.succeed("cat /var/x /etc/x") == "kept\nkept\n"
        machine.succeed("test -e /home/atoll/x")
        assert machine.succeed("cat /etc/machine-id") == identity
        assert "changes are kept on its stick" in machine.succeed("atoll status")
        # The partition of the image had 256 MiB; once it has grown, starting this does nothing.
        machine.succeed("systemctl start atoll-grow.service")
        size = int(machine.succeed("df --block-size=1M --output=size /var | tail -1"))
        assert size > 0.9 * (LARGER - (2 << 30)) / (1 << 20)
    shutil.rmtree(tmp_path / "machine")
