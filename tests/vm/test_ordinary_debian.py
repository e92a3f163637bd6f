"""An ordinary Debian 13 takes Atoll's tool and starts again: it comes up with the initrd it had.

The package of version 0.1.0 made such a computer restart for ever.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.packages import copy_packages
from tests.programs.hosts import Host, host_of
from vmtest import DirectKernel, Disk, Machine, MachineSpec, Writes

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.network]

ARGUMENTS = "root=/dev/vda rw console=ttyS0 quiet panic=5"
SET_UP = """
echo /dev/vda / ext4 defaults 0 1 >/etc/fstab
echo debian >/etc/hostname
: >/etc/machine-id
"""


def make_disk(host: Host, disk: Path) -> None:
    """A file system with all of the computer; its kernel and initrd are in /boot."""
    host.shell(SET_UP)
    merged = host.place / "view"
    merged.mkdir()
    script = (
        f"mount -t overlay -o lowerdir={host.root},upperdir={host.place}/upper,"
        f"workdir={host.place}/work overlay {merged}; truncate --size=3G {disk}; "
        f"mke2fs -q -t ext4 -F -d {merged} {disk}"
    )
    subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-euc", script],
        check=True,
        capture_output=True,
    )


def read_boot(disk: Path, place: Path) -> DirectKernel:
    """What the firmware's loader would start: kernel and initrd as the disk has them now."""
    place.mkdir()
    words: list[str | Path] = ["debugfs", "-R", f"rdump /boot {place}", disk]
    subprocess.run(words, check=True, capture_output=True)
    for name in ("vmlinuz", "initrd.img"):
        found = sorted((place / "boot").glob(f"{name}-*"))
        shutil.copy(found[0], place / name)
    return DirectKernel(kernel=place / "vmlinuz", initrd=place / "initrd.img", arguments=ARGUMENTS)


def boot(disk: Path, place: Path) -> Machine:
    spec = MachineSpec(
        boot=read_boot(disk, place.with_suffix(".boot")),
        disks=(Disk(image=disk, writes=Writes.DIRECT, cache="unsafe"),),
    )
    return Machine(spec, place)


@pytest.mark.long
def test_it_comes_up_after_the_tool_was_installed(tmp_path: Path) -> None:
    host = host_of("trixie", tmp_path / "host")
    copy_packages(host.files / "debs")
    disk = tmp_path / "debian.img"
    make_disk(host, disk)
    with boot(disk, tmp_path / "first") as machine:
        machine.start()
        machine.wait_for_shell()
        before = machine.succeed("sha256sum /boot/*")
        machine.succeed(
            "apt-get install --yes --no-install-recommends /debs/atoll.deb </dev/null >&2",
            timeout=600,
        )
        assert machine.succeed("sha256sum /boot/*") == before
        machine.fail("dpkg --install /debs/atoll-system.deb >&2")
        machine.succeed("atoll --version", 'test -z "$(dpkg --audit)"')
        machine.shutdown()
    with boot(disk, tmp_path / "second") as machine:
        machine.start()
        machine.wait_for_shell()
        assert machine.succeed("sha256sum /boot/*") == before
        assert machine.succeed("systemctl is-system-running || true").strip() != "maintenance"
        machine.succeed("atoll --version", "dpkg --configure -a", "apt-get check")
