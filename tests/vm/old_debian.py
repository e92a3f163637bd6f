"""A disk with an ordinary Debian as its installer leaves it: an ESP with GRUB, a root, and files of
a person; made of the roots that other tests keep (tests/programs/hosts.py)."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.loop_disks import ESP, attached, forget, know, make_file, write_table
from tests.packages import copy_packages
from tests.programs.hosts import host_of
from vmtest.guest import OPEN, SERVE, UNIT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.programs.hosts import Host

MIB = 1 << 20
PASSWORD = "correct horse"  # of a machine that lives for one test
ROOT_UUID = "11111111-2222-4333-8444-555555555555"
HOME_UUID = "66666666-7777-4888-9999-aaaaaaaaaaaa"
ESP_SERIAL = "ABCD1234"
PACKAGES = "efibootmgr fdisk dosfstools openssh-server btrfs-progs e2fsprogs passwd login kmod"
MODULES = (
    "part_gpt fat ext2 btrfs normal linux search search_fs_uuid configfile echo serial terminal"
)
SET_UP = """
apt-get -q update
apt-get -q install --yes --no-install-recommends {packages} /debs/atoll.deb
apt-get clean
rm -r /var/lib/apt/lists/* /debs
useradd --create-home --shell /bin/bash --groups sudo ada
echo 'ada:{password}' | chpasswd
echo 'years of work' >/home/ada/thesis
chown ada:ada /home/ada/thesis
echo reef >/etc/hostname
rm -f /etc/machine-id
systemd-machine-id-setup
mkdir -p /boot/efi
cat >/etc/fstab <<'END'
{fstab}
END
"""
GRUB = """
set timeout=0
search --no-floppy --fs-uuid --set=root {uuid}
linux {boot}/{kernel} root=UUID={uuid} {flags} console=ttyS0 quiet
initrd {boot}/{initrd}
boot
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class OldDebian:
    """``kind`` of the root file system; ``home``: on a partition of its own."""

    suite: str
    kind: str = "ext4"
    home: bool = False

    @property
    def flags(self) -> str:
        """What Debian's installer writes for its kernel."""
        return "ro rootflags=subvol=@rootfs" if self.kind == "btrfs" else "ro"

    @property
    def fstab(self) -> str:
        options = "subvol=@rootfs" if self.kind == "btrfs" else "errors=remount-ro"
        lines = [
            f"UUID={ROOT_UUID} / {self.kind} {options} 0 1",
            f"UUID={ESP_SERIAL[:4]}-{ESP_SERIAL[4:]} /boot/efi vfat umask=0077 0 1",
        ]
        return "\n".join([*lines, *([f"UUID={HOME_UUID} /home ext4 defaults 0 2"] * self.home)])


def make_debian(old: OldDebian, folder: Path, carried: Path) -> Path:
    """A disk of 6 GB; the directory ``carried`` is at /srv/image of the system on it."""
    host = host_of(old.suite, folder / "host")
    copy_packages(host.files / "debs")
    shutil.copytree(carried, host.files / "srv/image")
    put_shell(host)
    text = SET_UP.format(packages=PACKAGES, password=PASSWORD, fstab=old.fstab)
    host.shell(text)
    disk = make_file(folder / "debian.img", 6000 * MIB)
    with ExitStack() as stack:
        device = stack.enter_context(attached(disk))
        write_table(
            device,
            f'1 : start=1MiB, size=512MiB, type={ESP}, name="EFI System Partition"',
            "2 : start=513MiB, size=4900MiB",
            "3 : start=5413MiB, size=500MiB",
        )
        know(device)
        stack.callback(forget, device)
        root = folder / "root"
        root.mkdir()
        make_file_systems(old, f"{device}p", root)
        stack.callback(run, "umount", "--recursive", root)
        copy_root(host, root)
        write_esp(old, root, folder, f"{device}p1")
    return disk


def put_shell(host: Host) -> None:
    """The shell of the test as files, for a systemd that takes no units from the firmware."""
    for name, text in (
        ("usr/local/lib/vmtest.shell", SERVE + OPEN),
        (
            "etc/systemd/system/vmtest.service",
            UNIT.replace("/run/credentials/@system/vmtest.shell", "/usr/local/lib/vmtest.shell"),
        ),
    ):
        path = host.files / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    wants = host.files / "etc/systemd/system/basic.target.wants"
    wants.mkdir()
    (wants / "vmtest.service").symlink_to("../vmtest.service")


def make_file_systems(old: OldDebian, partition: str, root: Path) -> None:
    """Make and mount them, as the older system does."""
    device = f"{partition}2"
    if old.kind == "btrfs":
        run("mkfs.btrfs", "-q", "-U", ROOT_UUID, device)
        run("mount", "-t", "btrfs", device, root)
        run("btrfs", "-q", "subvolume", "create", root / "@rootfs")
        run("umount", root)
        run("mount", "-t", "btrfs", "-o", "subvol=@rootfs", device, root)
    else:
        run("mke2fs", "-q", "-t", "ext4", "-U", ROOT_UUID, device)
        run("mount", "-t", "ext4", device, root)
    if old.home:
        run("mke2fs", "-q", "-t", "ext4", "-U", HOME_UUID, f"{partition}3")
        (root / "home").mkdir()
        run("mount", "-t", "ext4", f"{partition}3", root / "home")


def copy_root(host: Host, root: Path) -> None:
    """All of the computer, as one overlay shows it."""
    merged = host.place / "view"
    merged.mkdir()
    script = (
        f"mount -t overlay -o lowerdir={host.root},upperdir={host.place}/upper,"
        f"workdir={host.place}/work overlay {merged}; cp -a {merged}/. {root}/"
    )
    run("unshare", "--mount", "--propagation", "private", "sh", "-euc", script)


def write_esp(old: OldDebian, root: Path, folder: Path, device: str) -> None:
    """GRUB at Debian's place, and where firmware without a list looks."""
    run("mkfs.vfat", "-F", "32", "-i", ESP_SERIAL, "-n", "ESP", device)
    esp = folder / "esp"
    (esp / "EFI/debian").mkdir(parents=True)
    (esp / "EFI/BOOT").mkdir()
    grub = esp / "EFI/debian/grubx64.efi"
    run("grub-mkimage", "-O", "x86_64-efi", "-o", grub, "-p", "/EFI/debian", *MODULES.split())
    shutil.copy(grub, esp / "EFI/BOOT/BOOTX64.EFI")
    (esp / "EFI/debian/grub.cfg").write_text(
        GRUB.format(
            uuid=ROOT_UUID,
            boot="/@rootfs/boot" if old.kind == "btrfs" else "/boot",
            flags=old.flags,
            kernel=next(path.name for path in (root / "boot").glob("vmlinuz-*")),
            initrd=next(path.name for path in (root / "boot").glob("initrd.img-*")),
        )
    )
    run("mcopy", "-s", "-m", "-i", device, esp / "EFI", "::")


def run(*words: str | Path) -> None:
    subprocess.run([*map(str, words)], check=True, capture_output=True)
