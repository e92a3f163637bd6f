"""A Debian takes itself over while it runs: the new system has its accounts, keys and files, the
older one still starts, and ``atoll install --undo`` gives the machine back byte for byte."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.vm.conftest import build_version
from tests.vm.old_debian import PASSWORD, OldDebian, make_debian
from vmtest import Disk, Machine, MachineSpec, Writes

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.network, pytest.mark.long]

KINDS = (
    OldDebian(suite="trixie"),
    OldDebian(suite="trixie", kind="btrfs"),
    OldDebian(suite="bookworm", home=True),
)
USER = """[[user]]
name = "atoll"
gecos = "Atoll"
groups = ["sudo"]
password = "$6$atollsalt$63sz5ZWHaI6weVaGaRahah.lscoU4EEdeaU/iCdNT27wx4GSyB/\
ezVgmrAlk1bS64OxA.Br59jvMSUYl0wr/Y0"
"""
INSTALL = "atoll install oci:/srv/image:1 --beside"
SNAPSHOT = r"""
import hashlib, json, os, stat, sys
found = {}
# What every boot of a Debian changes.
LEFT_OUT = {"/proc", "/sys", "/dev", "/run", "/tmp", "/var/tmp", "/var/log", "/var/lib/systemd"}

def look(path):
    if path in LEFT_OUT:
        return
    status = os.lstat(path)
    content = ""
    if stat.S_ISREG(status.st_mode):
        with open(path, "rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
    elif stat.S_ISLNK(status.st_mode):
        content = os.readlink(path)
    xattrs = {name: os.getxattr(path, name, follow_symlinks=False).hex()
              for name in os.listxattr(path, follow_symlinks=False)}
    # The root of a FAT volume has no time.
    time = 0 if path == "/boot/efi" else status.st_mtime_ns
    found[path] = [content, status.st_mode, status.st_uid, status.st_gid, status.st_nlink,
                   time, xattrs]
    if stat.S_ISDIR(status.st_mode):
        for name in sorted(os.listdir(path)):
            look(os.path.join(path, name))

look("/")
json.dump(found, sys.stdout)
"""


@pytest.fixture(scope="module", params=KINDS, ids=lambda old: f"{old.suite}-{old.kind}")
def old(request: pytest.FixtureRequest) -> OldDebian:
    assert isinstance(request.param, OldDebian)
    return request.param


@pytest.fixture(scope="module")
def machine(old: OldDebian, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    folder = tmp_path_factory.mktemp("beside")
    built = build_version(folder, "1", name="beside", changes={USER: ""})
    assert built.tree
    disk = make_debian(old, folder, folder / "beside")
    spec = MachineSpec(disks=(Disk(image=disk, writes=Writes.DIRECT, cache="unsafe"),), memory=1536)
    with Machine(spec, tmp_path_factory.mktemp("machine"), name="debian") as machine:
        machine.start()
        machine.wait_for_system("running", "degraded")
        machine.succeed(
            r"efibootmgr --quiet --create --disk /dev/vda --part 1 --label debian"
            r" --loader '\EFI\debian\grubx64.efi'"
        )
        yield machine


def snapshot(machine: Machine) -> dict[str, object]:
    machine.succeed("sync")
    found = machine.run("python3 -", stdin=SNAPSHOT.encode(), timeout=1800)
    assert found.status == 0, found.errors.decode()
    return dict(json.loads(found.output))


def changed(before: dict[str, object], after: dict[str, object]) -> dict[str, object]:
    return {
        path: (before.get(path), after.get(path))
        for path in before.keys() | after.keys()
        if before.get(path) != after.get(path)
    }


def firmware(machine: Machine) -> list[str]:
    """Entries and order, without what the firmware sets at each start."""
    lines = machine.succeed("efibootmgr --verbose").splitlines()
    return [line for line in lines if line.startswith(("Boot0", "BootOrder"))]


def restart(machine: Machine) -> None:
    machine.shutdown()
    machine.start()
    machine.wait_for_system("running", "degraded")


def test_a_debian_is_taken_over_and_given_back(machine: Machine, old: OldDebian) -> None:
    before, listed = snapshot(machine), firmware(machine)
    identity = machine.succeed("cat /etc/machine-id")
    keys = machine.succeed("cut -d' ' -f1,2 /etc/ssh/ssh_host_*_key.pub | sort")
    check_plan(machine)
    assert changed(before, snapshot(machine)) == {}

    said = machine.succeed(f"{INSTALL} --yes 2>&1", timeout=1800)
    assert "is installed beside Debian" in said, said
    if old == OldDebian(suite="trixie"):
        check_fallback(machine)
    restart(machine)
    assert machine.succeed("cat /etc/machine-id") == identity
    check_new_system(machine, old, keys)

    machine.succeed("bootctl set-oneshot atoll-old-system.conf")
    restart(machine)
    machine.fail("test -e /run/atoll/booted")
    assert machine.succeed("cat /home/ada/new") == "written\n"
    machine.succeed("rm /home/ada/new")
    give_back_time(machine, "/home/ada", before)
    assert "removed" in machine.succeed("atoll install --undo --yes --json 2>&1", timeout=900)
    assert firmware(machine) == listed
    machine.fail("test -e /atoll")
    assert changed(before, snapshot(machine)) == {}
    assert machine.execute("atoll install --undo --yes")[0] == 77


def give_back_time(machine: Machine, path: str, before: dict[str, object]) -> None:
    """The time of a directory that a person has worked in."""
    facts = before[path]
    assert isinstance(facts, list)
    machine.succeed(f"python3 -c 'import os; os.utime(\"{path}\", ns=(0, {facts[5]}))'")


def check_plan(machine: Machine) -> None:
    """Without a confirmation nothing is written, not even the image that was fetched."""
    said = machine.fail(f"{INSTALL} < /dev/null 2>&1", timeout=1800)
    assert "add: --yes" in said, said
    for words in ("users with their passwords: ada (1000)", "host name: reef", "machine id:"):
        assert words in said
    machine.fail("test -e /atoll")


def check_fallback(machine: Machine) -> None:
    """When the tries of the new system are used up, the older one starts by itself."""
    entries = "/boot/efi/loader/entries"
    machine.succeed(f"mv {entries}/atoll-1+3.conf {entries}/atoll-1+0-3.conf", "sync")
    restart(machine)
    machine.fail("test -e /run/atoll/booted")
    assert machine.boot_entry() == "atoll-old-system.conf"
    machine.succeed(f"mv {entries}/atoll-1+0-3.conf {entries}/atoll-1+3.conf", "sync")


def check_new_system(machine: Machine, old: OldDebian, keys: str) -> None:
    """It is the same computer for everyone who knows it."""
    assert machine.boot_entry().startswith("atoll-")
    status = json.loads(machine.succeed("atoll status --json"))
    assert status["beside"].startswith("Debian GNU/Linux")
    (there,) = status["deployments"]
    assert there["booted"] and there["blessed"]
    assert "files on the ESP that are not Atoll's" not in machine.succeed("atoll status 2>&1")
    assert "beside Debian" in machine.succeed("su ada -c 'atoll status'")
    assert machine.succeed("hostname").strip() == "reef"
    assert machine.succeed("cut -d' ' -f1,2 /etc/ssh/ssh_host_*_key.pub | sort") == keys
    machine.succeed(f"printf '#!/bin/sh\\necho {PASSWORD}\\n' > /run/ask; chmod 755 /run/ask")
    ssh = (
        "SSH_ASKPASS=/run/ask SSH_ASKPASS_REQUIRE=force ssh -o StrictHostKeyChecking=no"
        " -o UserKnownHostsFile=/dev/null ada@localhost"
    )
    machine.wait_for_unit("ssh.service")
    assert machine.succeed(f"{ssh} 'id -u; cat thesis; echo written > new'").splitlines() == [
        "1000",
        "years of work",
    ]
    place = machine.succeed("findmnt -n -o SOURCE --target /home").strip()
    assert place.startswith("/dev/vda3" if old.home else "/dev/vda2"), place
    machine.fail("touch /sysroot/etc/hostname")
    refused = machine.fail("atoll install --undo --yes 2>&1")
    assert "runs an Atoll system" in refused
    assert machine.succeed("systemctl --failed --no-legend").strip() == ""
