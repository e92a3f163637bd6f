"""Installing beside a Debian on a disk of files and removing it again, stopped at each operation.

Partitions, ext4 and btrfs are real. FAT cannot be mounted on every machine that runs tests, so a
stand-in for mount(8) binds a directory there; efibootmgr is a stand-in, too, whose list is a file.
Virtual machines have the real ones (tests/vm/test_install_beside.py).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from atoll.host.run import find_program
from atoll.machine.boot.boot_entries import OLD_SYSTEM, read_menu
from atoll.machine.deployments.beside import RECORD
from tests.loop_disks import ESP, attached, forget, know, make_file, write_table
from tests.unit.installer.old_debian import ETC, IMAGE, MACHINE_ID
from tests.unit.machine.small_image import FACTS, files_of, make_store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PROGRAMS = ("sfdisk", "partx", "losetup", "mkfs.vfat", "mke2fs", "mkfs.btrfs", "mcopy")
missing = [name for name in PROGRAMS if find_program(name) is None]
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(missing), reason=f"not here: {', '.join(missing)}"),
]
TOP = Path(__file__).parents[2]
STOPPED = 99
LAYOUT = (
    f'1 : start=1MiB, size=300MiB, type={ESP}, name="EFI system partition"',
    "2 : start=301MiB, size=1200MiB, name=debian",
    "3 : start=1501MiB, size=200MiB, name=home",
)
FOREIGN = {
    "EFI/debian/shimx64.efi": b"shim" * 1000,
    "EFI/debian/grubx64.efi": b"GRUB" * 9999,
    "EFI/debian/grub.cfg": b"search.fs_uuid",
    "EFI/Microsoft/Boot/bootmgfw.efi": b"Windows" * 9999,
}
FIRMWARE = (
    "BootCurrent: 0003\n"
    "Timeout: 0 seconds\n"
    "BootOrder: 0003,0000\n"
    "Boot0000* UiApp\tFvVol(x)/FvFile(y)\n"
    "Boot0003* debian\tHD(1,GPT,ESP,0x800,0x96000)/File(\\EFI\\debian\\shimx64.efi)\n"
)
MOUNT = """#!/bin/sh
if [ "$2" = vfat ]; then exec /usr/bin/mount --bind "$FAT_CONTENT" "$6"; fi
exec /usr/bin/mount "$@"
"""
EFIBOOTMGR = """#!{python}
import os, sys
place = os.environ["FIRMWARE"]
lines = open(place).read().splitlines()
words = sys.argv[1:]
value = lambda word: words[words.index(word) + 1]
at = next((n for n, line in enumerate(lines) if line.startswith("BootOrder")), None)
order = lines[at].partition(": ")[2].split(",")
if "--create-only" in words:
    path = "HD(1,GPT,ESP,0x800,0x96000)/File(" + value("--loader") + ")"
    lines.append("Boot0007* " + value("--label") + "\\t" + path)
if "--delete-bootnum" in words:
    number = value("--bootnum")
    lines = [line for line in lines if not line.startswith("Boot" + number)]
    order = [each for each in order if each != number]
if "--bootorder" in words:
    order = value("--bootorder").split(",")
lines[at] = "BootOrder: " + ",".join(order)
if "--verbose" in words:
    print("\\n".join(lines).replace("ESP", os.environ["ESP_UUID"]))
open(place, "w").write("\\n".join(lines) + "\\n")
"""
CHILD = """
import itertools, json, os, sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from atoll.base.errors import AtollError
from atoll.base.report import NullReporter
from atoll.cli.install_disk import measure_image
from atoll.host.mount import enter_private_mounts
from atoll.image.bootable import read_bootable
from atoll.installer.beside.apply_beside import BesideInstallation, apply_beside, beside_mounted
from atoll.installer.beside.carry import Item, carry_settings
from atoll.installer.beside.plan_beside import BesideRequest, plan_beside
from atoll.installer.beside.read_running import read_running_settings, read_running_system
from atoll.installer.beside.undo import apply_undo, find_esp_device
from atoll.installer.devices.block_devices import MachineFirmware
from atoll.installer.devices.read_devices import read_block_devices
from atoll.installer.settings.image_contents import ImageContents
from atoll.machine.deployment import Origin
from atoll.machine.deployments.beside import find_record
from atoll.machine.etc.etc_commands import read_etc_of_tree
from atoll.store.layout import open_store

verb, store_path, tree, root, without, stop = sys.argv[1:]
store, root = open_store(Path(store_path)), Path(root)
image = read_bootable(store, tree)
items = frozenset(Item(word) for word in without.split(",") if word)
count = itertools.count(1)
seen = []

def stop_there(event, arguments):
    if event == "atoll.operation":
        if next(count) == int(stop):
            os._exit(99)
        seen.append(arguments[0])

def devices():
    return replace(read_block_devices(), firmware=MachineFirmware(bits=64))

def plan():
    etc = read_etc_of_tree(store, tree)
    carried = carry_settings(read_running_settings(root), etc, ImageContents(store, tree), items)
    request = BesideRequest(carried=carried, home=Item.HOME not in items)
    return plan_beside(read_running_system(root), devices(), measure_image(image), request)

try:
    enter_private_mounts()
    if verb == "install":
        installation = BesideInstallation(
            image=image,
            origin=Origin(image="store:hello"),
            source=store,
            plan_again=plan,
            root=root,
        )
        made = plan()
        sys.addaudithook(stop_there)
        warnings = apply_beside(made, installation, NullReporter())
    else:
        system = read_running_system(root)
        with beside_mounted(system.root, None) as sysroot:
            record = find_record(sysroot)
        if record is None:
            sys.exit("nothing to do")
        sys.addaudithook(stop_there)
        with beside_mounted(system.root, find_esp_device(record, devices())) as sysroot:
            warnings = apply_undo(record, sysroot, NullReporter())
except AtollError as error:
    sys.exit(f"{error.message}: {error.hint}")
print(json.dumps({"operations": seen, "warnings": list(warnings)}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Debian:
    """A computer with a Debian, mounted at ``root``, and an image to install beside it."""

    folder: Path
    disk: Path
    root: Path
    kind: str
    store: Path
    tree: str

    @property
    def esp(self) -> Path:
        """What is on the ESP."""
        return self.folder / "fat"

    @property
    def partition(self) -> Path:
        return Path(f"{self.disk}p2")

    def run(
        self, verb: str, *, without: str = "", stop: int = 0
    ) -> subprocess.CompletedProcess[str]:
        """Install or undo in a process of its own, stopped before operation ``stop``."""
        environment = os.environ | {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}:/usr/sbin:/sbin",
            "PYTHONPATH": f"{TOP / 'src'}",
            "FAT_CONTENT": str(self.esp),
            "FIRMWARE": str(self.folder / "firmware"),
            "ESP_UUID": tag(Path(f"{self.disk}p1"), "PART_ENTRY_UUID"),
        }
        words = (verb, str(self.store), self.tree, str(self.root), without, str(stop))
        done = subprocess.run(
            [sys.executable, "-c", CHILD, *words],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        self.write_fat()
        return done

    def write_fat(self) -> None:
        """Put what is on the ESP onto the device, from which it is read while planning."""
        device = Path(f"{self.disk}p1")
        subprocess.run(["mkfs.vfat", "-F", "32", device], check=True, capture_output=True)
        files = sorted(self.esp.iterdir())
        if files:
            subprocess.run(["mcopy", "-s", "-m", "-i", device, *files, "::"], check=True)

    @contextmanager
    def top(self) -> Iterator[Path]:
        """The file system as early boot mounts it."""
        place = self.folder / "top"
        place.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", self.kind, self.partition, place], check=True)
        try:
            yield place
        finally:
            subprocess.run(["umount", place], check=True)

    def entries(self) -> list[str]:
        return [
            each.file for each in read_menu(self.esp / "loader/entries", self.folder / "no").entries
        ]

    def firmware_order(self) -> str:
        lines = (self.folder / "firmware").read_text().splitlines()
        return next(line for line in lines if line.startswith("BootOrder")).partition(": ")[2]


def tag(device: Path, name: str) -> str:
    words: list[str | Path] = ["blkid", "--probe", "--match-tag", name, "--output", "value", device]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()


def snapshot(place: Path) -> dict[str, object]:
    """All that a file system keeps of files: content, type, mode, owner, time, xattrs and links."""
    found: dict[str, object] = {}
    for path in (place, *sorted(place.rglob("*"))):
        status = path.lstat()
        content = ""
        if stat.S_ISREG(status.st_mode):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        elif stat.S_ISLNK(status.st_mode):
            content = str(path.readlink())
        xattrs = {
            name: os.getxattr(path, name, follow_symlinks=False)
            for name in os.listxattr(path, follow_symlinks=False)
        }
        found[str(path.relative_to(place))] = (
            content,
            status.st_mode,
            (status.st_uid, status.st_gid, status.st_nlink),
            status.st_mtime_ns,
            xattrs,
        )
    return found


def files_of_esp(machine: Debian) -> dict[str, object]:
    """All on the ESP; the root of a FAT volume has no time."""
    return {name: found for name, found in snapshot(machine.esp).items() if name != "."}


def image_files() -> dict[str, bytes]:
    files = files_of(FACTS) | IMAGE
    files["usr/lib/dracut/modules.d/90atoll/early-boot.d/home.sh"] = b"#\n"
    return files


def fill(root: Path) -> None:
    """The files of the older system."""
    for name, text in ETC.items():
        path = root / "etc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "etc/localtime").symlink_to("/usr/share/zoneinfo/Europe/Berlin")
    (root / "etc/os-release").write_text('PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nID=debian\n')
    for name in ("ssh/ssh_host_ed25519_key", "shadow"):
        (root / "etc" / name).chmod(0o600)
    for name in ("home/ada", "root/.ssh", "usr/bin", "var/lib/dpkg", "boot/efi", "tmp"):
        (root / name).mkdir(parents=True)
    (root / "home/ada/thesis").write_text("years of work\n")
    os.chown(root / "home/ada", 1000, 1000)
    (root / "root/.ssh/authorized_keys").write_text("ssh-ed25519 AAAA root@elsewhere\n")
    (root / "usr/bin/ls").write_bytes(os.urandom(100_000))
    os.setxattr(root / "usr/bin/ls", "user.note", b"kept")
    os.link(root / "usr/bin/ls", root / "usr/bin/dir")
    for path in (root, *root.rglob("*")):
        os.utime(path, ns=(0, 1_600_000_000_123_456_789), follow_symlinks=False)


@contextmanager
def debian(folder: Path, *, kind: str = "ext4", home: bool = False) -> Iterator[Debian]:
    """``home``: on a partition of its own."""
    store, tree = make_store(folder / "store", image_files())
    with ExitStack() as stack:
        disk = stack.enter_context(attached(make_file(folder / "disk.img", 1800 << 20)))
        write_table(disk, *LAYOUT)
        know(disk)
        stack.callback(forget, disk)
        root = folder / "old"
        root.mkdir()
        make_root(Path(f"{disk}p2"), kind, root)
        stack.callback(unmount, root)
        fill(root)
        if home:
            subprocess.run(["mke2fs", "-q", "-t", "ext4", f"{disk}p3"], check=True)
            subprocess.run(["mount", f"{disk}p3", root / "home"], check=True)
        for name, content in FOREIGN.items():
            path = folder / "fat" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        for path in (folder / "fat").rglob("*"):
            os.utime(path, ns=(0, 1_500_000_000_000_000_000))
        (folder / "firmware").write_text(FIRMWARE)
        (folder / "bin").mkdir()
        for name, text in (("mount", MOUNT), ("efibootmgr", EFIBOOTMGR)):
            program = folder / "bin" / name
            program.write_text(text.replace("{python}", sys.executable))
            program.chmod(0o755)
        found = Debian(folder=folder, disk=disk, root=root, kind=kind, store=store.root, tree=tree)
        found.write_fat()
        yield found


def unmount(root: Path) -> None:
    subprocess.run(["umount", "--recursive", root], check=True)


def make_root(device: Path, kind: str, root: Path) -> None:
    """As Debian's installer makes and mounts it: btrfs with the subvolume @rootfs."""
    if kind == "ext4":
        subprocess.run(["mke2fs", "-q", "-t", "ext4", device], check=True)
        subprocess.run(["mount", "-t", "ext4", device, root], check=True)
        return
    subprocess.run(["mkfs.btrfs", "-q", device], check=True)
    subprocess.run(["mount", "-t", "btrfs", device, root], check=True)
    volume = root / "@rootfs"
    subprocess.run(["btrfs", "-q", "subvolume", "create", volume], check=True)
    subprocess.run(["umount", root], check=True)
    subprocess.run(["mount", "-t", "btrfs", "-o", "subvol=@rootfs", device, root], check=True)


def result(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["warnings"] == []
    return list(found["operations"])


kinds = pytest.mark.parametrize("kind", ["ext4", "btrfs"])
stopped_kinds = pytest.mark.parametrize(
    "kind", ["ext4", pytest.param("btrfs", marks=pytest.mark.long)]
)


@kinds
def test_it_comes_and_goes_without_a_trace(tmp_path: Path, kind: str) -> None:
    with debian(tmp_path, kind=kind) as machine:
        before, esp = snapshot(machine.root), files_of_esp(machine)
        with machine.top() as top:
            all_before = snapshot(top)
        operations = result(machine.run("install"))
        assert machine.entries() == ["atoll-1+3.conf"]
        assert machine.firmware_order() == "0007,0003,0000"
        # Nothing is written before the record, and the firmware's list is the last.
        assert operations[0].startswith("write down what was there before")
        assert operations[-1].startswith("add Atoll to the firmware's list")
        after = {name: found for name, found in snapshot(machine.root).items() if name != "."}
        assert {name: found for name, found in after.items() if "atoll" not in name} == {
            name: found for name, found in before.items() if name != "."
        }
        with machine.top() as top:
            check_system(machine, top)
        text = (machine.esp / "loader/entries" / OLD_SYSTEM).read_text()
        assert "efi /EFI/debian/shimx64.efi\n" in text
        assert "title Debian GNU/Linux 13 (trixie)\n" in text
        result(machine.run("undo"))
        assert snapshot(machine.root) == before
        assert files_of_esp(machine) == esp
        with machine.top() as top:
            assert snapshot(top) == all_before
        assert (tmp_path / "firmware").read_text() == FIRMWARE
        assert machine.run("undo").stderr.strip() == "nothing to do"


def check_system(machine: Debian, top: Path) -> None:
    """What the new system has taken over."""
    state, upper = top / "atoll/state", top / "atoll/deployments/1/etc/upper"
    assert stat.S_IMODE((top / "atoll").stat().st_mode) == 0o700
    assert (state / "machine-id").read_text() == f"{MACHINE_ID}\n"
    assert (state / "home").read_text() == (
        "home\n" if machine.kind == "ext4" else "@rootfs/home\n"
    )
    assert (top / "atoll/var/root/.ssh/authorized_keys").read_text().startswith("ssh-ed25519")
    key = upper / "ssh/ssh_host_ed25519_key"
    assert (key.read_text(), stat.S_IMODE(key.stat().st_mode)) == ("the private key\n", 0o600)
    assert "ada:$y$ada:" in (upper / "shadow").read_text()
    assert (upper / "hostname").read_text() == "reef\n"
    entry = (machine.esp / "loader/entries/atoll-1+3.conf").read_text()
    assert f"atoll.state=UUID={tag(machine.partition, 'UUID')}" in entry


def test_objects_of_a_store_on_the_same_file_system_are_linked_and_stay(tmp_path: Path) -> None:
    """There are two mounts of it, between which nothing can be linked."""
    with debian(tmp_path) as machine:
        shutil.copytree(machine.store, machine.root / "var/tmp/store")
        inside = replace(machine, store=machine.root / "var/tmp/store")
        before = snapshot(machine.root)
        result(inside.run("install"))
        with machine.top() as top:
            linked = [path for path in (top / "atoll/objects").rglob("*") if path.is_file()]
            assert linked and {path.stat().st_nlink for path in linked} == {2}
        result(inside.run("undo"))
        assert snapshot(machine.root) == before


def test_a_home_on_its_own_partition_is_mounted_by_fstab(tmp_path: Path) -> None:
    with debian(tmp_path, home=True) as machine:
        before = snapshot(machine.root)
        result(machine.run("install"))
        with machine.top() as top:
            assert not (top / "atoll/state/home").exists()
            fstab = (top / "atoll/deployments/1/etc/upper/fstab").read_text()
        uuid = tag(Path(f"{machine.disk}p3"), "UUID")
        assert fstab.startswith(f"# nothing\nUUID={uuid} /home ext4 defaults,nofail")
        result(machine.run("undo"))
        assert snapshot(machine.root) == before


def test_what_is_left_out_is_not_there(tmp_path: Path) -> None:
    with debian(tmp_path) as machine:
        result(machine.run("install", without="home,machine-id,root,ssh-keys"))
        with machine.top() as top:
            state, upper = top / "atoll/state", top / "atoll/deployments/1/etc/upper"
            assert not (state / "home").exists() and not (state / "machine-id").exists()
            assert not (upper / "ssh").exists()
            assert not (top / "atoll/var/root").exists()
            homes = top / "atoll/var/home"
            assert sorted(each.name for each in homes.iterdir()) == ["ada", "bob"]
            made = (homes / "ada").stat()
            assert (made.st_uid, made.st_gid, stat.S_IMODE(made.st_mode)) == (1000, 1000, 0o700)
            assert (homes / "ada/.profile").stat().st_uid == 1000


def stops(request: pytest.FixtureRequest) -> Sequence[int]:
    """Before each operation with --long; else here and there."""
    return range(1, 200) if request.config.getoption("--long") else (1, 30, 60)


@stopped_kinds
def test_stopped_anywhere_the_older_system_starts_and_all_can_be_removed(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    with debian(tmp_path, kind=kind) as machine:
        before, esp = snapshot(machine.root), files_of_esp(machine)
        for stop in stops(request):
            done = machine.run("install", stop=stop)
            if done.returncode == 0:
                return
            assert done.returncode == STOPPED, done.stderr
            assert machine.firmware_order() == "0003,0000"
            begun = stop > 1
            assert (machine.run("undo").returncode == 0) == begun
            assert snapshot(machine.root) == before
            assert files_of_esp(machine) == esp
            assert (tmp_path / "firmware").read_text() == FIRMWARE


@stopped_kinds
def test_a_second_run_finishes_what_was_stopped(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    numbers = (9, 40) if not request.config.getoption("--long") else range(2, 60, 4)
    with debian(tmp_path, kind=kind) as machine:
        before, esp = snapshot(machine.root), files_of_esp(machine)
        for stop in numbers:
            if machine.run("install", stop=stop).returncode == 0:
                result(machine.run("undo"))
                return
            if machine.entries():
                assert "is installed beside Debian" in machine.run("install").stderr
            else:
                result(machine.run("install"))
                assert machine.entries() == ["atoll-1+3.conf"]
            result(machine.run("undo"))
            assert snapshot(machine.root) == before
            assert files_of_esp(machine) == esp


def test_an_undo_that_is_stopped_goes_on(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    numbers = (4, 15) if not request.config.getoption("--long") else range(1, 40)
    with debian(tmp_path) as machine:
        before, esp = snapshot(machine.root), files_of_esp(machine)
        for stop in numbers:
            result(machine.run("install"))
            stopped = machine.run("undo", stop=stop)
            with machine.top() as top:
                is_done = not (top / "atoll" / RECORD).exists()
            if stopped.returncode == STOPPED and not is_done:
                result(machine.run("undo"))
            assert snapshot(machine.root) == before
            assert files_of_esp(machine) == esp
            assert (tmp_path / "firmware").read_text() == FIRMWARE
            if stopped.returncode == 0:
                return


def test_a_change_after_the_plan_is_noticed(tmp_path: Path) -> None:
    with debian(tmp_path) as machine:
        script = CHILD.replace(
            "    sys.addaudithook(stop_there)\n        warnings = apply_beside",
            "    (root / 'etc/hostname').write_text('other')\n        warnings = apply_beside",
        )
        assert script != CHILD
        shutil.copytree(machine.esp, tmp_path / "esp-before")
        environment = os.environ | {
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}:/usr/sbin:/sbin",
            "PYTHONPATH": f"{TOP / 'src'}",
            "FAT_CONTENT": str(machine.esp),
            "FIRMWARE": str(tmp_path / "firmware"),
            "ESP_UUID": "",
        }
        words = ("install", str(machine.store), machine.tree, str(machine.root), "", "0")
        done = subprocess.run(
            [sys.executable, "-c", script, *words],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "has changed since the plan" in done.stderr
        assert not (machine.root / "atoll").exists()
        assert sorted(p.name for p in machine.esp.rglob("*")) == sorted(
            p.name for p in (tmp_path / "esp-before").rglob("*")
        )
