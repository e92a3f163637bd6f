"""Installing on disks of files, stopped after each operation; all else stays byte for byte.

Partitions, tables and ext4 are real. FAT cannot be mounted on every machine that runs tests, so a
stand-in for mount(8) binds a directory there, which is copied to and from the real volume by mtools
before and after each run. Virtual machines mount it (tests/vm/test_install_on_disk.py).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from atoll.host.run import find_program
from atoll.installer.devices.block_devices import INSTALLING
from atoll.installer.devices.read_esp import read_esp_content
from atoll.machine.boot.boot_entries import read_menu
from atoll.machine.disk_layout import XBOOTLDR_TYPE
from tests.cache import alone
from tests.loop_disks import ESP, attached, forget, know, make_file, write_table
from tests.unit.machine.small_image import make_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PROGRAMS = ("sfdisk", "sgdisk", "partx", "losetup", "mkfs.vfat", "mke2fs", "mcopy", "e2fsck")
missing = [name for name in PROGRAMS if find_program(name) is None]
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(missing), reason=f"not here: {', '.join(missing)}"),
]
TOP = Path(__file__).parents[2]
MIB = 1 << 20
SIZE = 3 << 30
STOPPED = 99
FOREIGN = {
    "EFI/BOOT/BOOTX64.EFI": b"the loader of another system" * 1000,
    "EFI/Microsoft/Boot/bootmgfw.efi": b"Windows" * 9999,
}
LAYOUT = (
    f'1 : start=1MiB, size=300MiB, type={ESP}, name="EFI system partition"',
    "2 : start=301MiB, size=100MiB, name=data",
    "3 : start=900MiB, size=500MiB, name=old",
)
"""With a free space of 1.6 GiB behind it, and a small one before partition 3."""
MOUNT = """#!/bin/sh
if [ "$2" = vfat ]; then
    volume=$(blkid --probe --match-tag UUID --output value "$5")
    if [ "$(cat "$FAT_CONTENT/${5##*/}.volume" 2> /dev/null)" != "$volume" ]; then
        rm -rf "$FAT_CONTENT/${5##*/}"
        echo "$volume" > "$FAT_CONTENT/${5##*/}.volume"
    fi
    mkdir -p "$FAT_CONTENT/${5##*/}"
    exec /usr/bin/mount --bind "$FAT_CONTENT/${5##*/}" "$6"
fi
exec /usr/bin/mount "$@"
"""
FULL_FIRMWARE = """#!/bin/sh
echo "$*" >> {calls}
case "$*" in
*--create-only*)
    echo "Could not prepare Boot variable: No space left on device" >&2
    exit 5 ;;
esac
echo "BootOrder: 0001"
"""
CHILD = """
import itertools, json, os, sys
from dataclasses import replace
from pathlib import Path
from atoll.base.errors import AtollError
from atoll.base.report import NullReporter
from atoll.cli.install_disk import measure_image
from atoll.image.bootable import read_bootable
from atoll.installer.devices.block_devices import MachineFirmware
from atoll.installer.apply.install_on_disk import Installation, apply_installation
from atoll.installer.plan.partitioning import FirmwareEntry, Target, TargetKind
from atoll.installer.plan.plan_installation import plan_installation
from atoll.installer.devices.read_devices import read_block_devices
from atoll.machine.deployment import Origin
from atoll.store.layout import open_store

store_path, tree, kind, device, home, firmware, stop = sys.argv[1:]

def read():
    return replace(read_block_devices(), firmware=MachineFirmware(bits=64))

store = open_store(Path(store_path))
image = read_bootable(store, tree)
needs = measure_image(image)
target = Target(
    kind=TargetKind(kind),
    device=Path(device),
    home=Path(home) if home else None,
    firmware=FirmwareEntry(firmware) if firmware else None,
)
count = itertools.count(1)
seen = []

def stop_there(event, arguments):
    if event == "atoll.operation":
        if next(count) == int(stop):
            os._exit(99)
        seen.append(arguments[0])

try:
    plan = plan_installation(target, read(), needs, encrypted=False)
    installation = Installation(
        image=image, origin=Origin(image="store:hello"), source=store, needs=needs, read=read
    )
    sys.addaudithook(stop_there)
    result = apply_installation(plan, installation, NullReporter())
except AtollError as error:
    sys.exit(f"{error.message}: {error.hint}")
print(json.dumps({"operations": seen, "warnings": list(result.warnings)}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Computer:
    """Two disks, the second of which is never named; an image to install."""

    folder: Path
    disk: Path
    file: Path
    other: Path
    store: Path
    tree: str

    def partition(self, number: int) -> Path:
        return Path(f"{self.disk}p{number}")

    def install(
        self,
        kind: str,
        device: Path,
        *,
        home: Path | None = None,
        firmware: str = "none",
        stop: int = 0,
        script: str = CHILD,
        repair: Callable[[], None] = lambda: None,
    ) -> subprocess.CompletedProcess[str]:
        """Install in a process of its own, which runs ``script`` and is stopped before operation
        ``stop``; ``firmware`` empty: the plan decides whether the firmware's list gets an entry.
        ``repair`` makes a disk usable again that failed meanwhile."""
        content = self.folder / "fat"
        self._read_fats(content)
        environment = os.environ | {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}:/usr/sbin:/sbin",
            "PYTHONPATH": f"{TOP / 'src'}",
            "FAT_CONTENT": str(content),
        }
        words = (
            str(self.store),
            self.tree,
            kind,
            str(device),
            str(home or ""),
            firmware,
            str(stop),
        )
        done = subprocess.run(
            [sys.executable, "-c", script, *words],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        repair()
        self._write_fats(content)
        return done

    def fats(self) -> list[Path]:
        paths = (Path("/dev") / each.name for each in Path("/sys/class/block").iterdir())
        return [
            path
            for path in paths
            if path.name.startswith(f"{self.disk.name}p") and _tag(path, "TYPE") == "vfat"
        ]

    def _read_fats(self, content: Path) -> None:
        shutil.rmtree(content, ignore_errors=True)
        content.mkdir()
        for device in self.fats():
            place = content / device.name
            place.mkdir(parents=True)
            (content / f"{device.name}.volume").write_text(f"{_tag(device, 'UUID')}\n")
            if _names(device):
                subprocess.run(["mcopy", "-s", "-n", "-m", "-i", device, "::*", place], check=True)

    def _write_fats(self, content: Path) -> None:
        for device in self.fats():
            known = _read(content / f"{device.name}.volume")
            if not known or _tag(device, "UUID") != known:
                continue  # made in this run, and not mounted
            names = [f"::{name}" for name in _names(device)]
            if names:
                subprocess.run(["mdeltree", "-i", device, *names], check=True)
            below = (
                sorted((content / device.name).iterdir())
                if (content / device.name).is_dir()
                else []
            )
            if below:
                subprocess.run(["mcopy", "-s", "-m", "-i", device, *below, "::"], check=True)
            subprocess.run(["fsck.fat", "-n", device], capture_output=True, check=True)

    def fat_files(self, number: int) -> dict[str, bytes]:
        """What is on a FAT volume, as files by path."""
        place = self.folder / "look"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        device = self.partition(number)
        if _names(device):
            subprocess.run(["mcopy", "-s", "-n", "-i", device, "::*", place], check=True)
        return {
            path.relative_to(place).as_posix(): path.read_bytes()
            for path in place.rglob("*")
            if path.is_file()
        }

    def entries(self, number: int) -> list[str]:
        """The boot entries that a loader would start, of the volume on a partition."""
        self.fat_files(number)
        menu = read_menu(self.folder / "look/loader/entries", self.folder / "none")
        return [each.file for each in menu.entries]

    def table(self) -> dict[int, dict[str, object]]:
        done = subprocess.run(
            ["/usr/sbin/sfdisk", "--json", self.disk], capture_output=True, text=True, check=True
        )
        assert done.stderr == ""
        rows = json.loads(done.stdout)["partitiontable"]["partitions"]
        return {int(str(each["node"]).rpartition("p")[2]): each for each in rows}

    def digest(self, number: int) -> str:
        return _digest(self.partition(number))

    def judge(self) -> None:
        words: list[str | Path] = ["/usr/sbin/sgdisk", "--verify", self.disk]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        assert "No problems found" in done.stdout


def _tag(device: Path, name: str) -> str:
    """What blkid says of a device, such as its TYPE."""
    done = subprocess.run(
        ["blkid", "--probe", "--match-tag", name, "--output", "value", device],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip()


def _read(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""


def _names(device: Path) -> list[str]:
    """What is in the root of a FAT volume."""
    done = subprocess.run(
        ["mdir", "-b", "-a", "-i", device, "::"], capture_output=True, text=True, check=False
    )
    return [line.removeprefix("::/").rstrip("/") for line in done.stdout.split("\n") if line]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def computer(
    folder: Path,
    *,
    sector: int = 512,
    esp_size: int = 300,
    layout: tuple[str, ...] = LAYOUT,
    disks: Path | None = None,
) -> Iterator[Computer]:
    """``disks`` is where the file of the disk is, if not in ``folder``."""
    store, tree = make_store(folder / "store")
    (folder / "bin").mkdir()
    (folder / "bin/mount").write_text(MOUNT)
    (folder / "bin/mount").chmod(0o755)
    (folder / "foreign").mkdir()
    with ExitStack() as stack:
        # A plan reads all disks: those of another test, which come and go, would change it.
        stack.enter_context(alone("loop-disks"))
        file = make_file((disks or folder) / "disk.img", SIZE)
        disk = stack.enter_context(attached(file, sector=sector))
        other = make_file(folder / "other.img", 64 * MIB)
        with other.open("r+b") as raw:
            raw.write(os.urandom(MIB))
        stack.enter_context(attached(other))
        write_table(disk, *(line.replace("size=300MiB", f"size={esp_size}MiB") for line in layout))
        know(disk)
        found = Computer(
            folder=folder, disk=disk, file=file, other=other, store=store.root, tree=tree
        )
        subprocess.run(
            [
                "mkfs.vfat",
                *(("-F", "32") if esp_size > 100 else ()),
                "-n",
                "SYSTEM",
                found.partition(1),
            ],
            check=True,
            capture_output=True,
        )
        for name, content in FOREIGN.items():
            path = folder / "foreign" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        subprocess.run(
            ["mcopy", "-s", "-i", found.partition(1), folder / "foreign/EFI", "::"], check=True
        )
        for number, label in ((2, "data"), (3, "old")):
            subprocess.run(
                ["mke2fs", "-q", "-t", "ext4", "-L", label, found.partition(number)], check=True
            )
        yield found
        forget(disk)


def foreign_files(machine: Computer) -> dict[str, bytes]:
    return {name: machine.fat_files(1).get(name, b"") for name in FOREIGN}


def result(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["warnings"] == []
    return list(found["operations"])


@pytest.mark.parametrize("sector", [512, 4096])
def test_a_whole_disk(tmp_path: Path, sector: int) -> None:
    with computer(tmp_path, sector=sector) as machine:
        other = _digest(machine.other)
        result(machine.install("disk", machine.disk))
        machine.judge()
        esp, state = machine.table().values()
        assert (esp["name"], state["name"], state["attrs"]) == ("esp", "atoll", "GUID:59,63")
        assert machine.entries(1) == ["atoll-1+3.conf"]
        assert "EFI/BOOT/BOOTX64.EFI" in machine.fat_files(1)
        assert not FOREIGN.keys() - {"EFI/BOOT/BOOTX64.EFI"} & machine.fat_files(1).keys()
        subprocess.run(["e2fsck", "-fn", machine.partition(2)], check=True, capture_output=True)
        assert _digest(machine.other) == other


def test_a_partition_with_the_home_of_another_system(tmp_path: Path) -> None:
    with computer(tmp_path) as machine:
        before, table = machine.digest(2), machine.table()
        result(machine.install("partition", machine.partition(3), home=machine.partition(2)))
        machine.judge()
        after = machine.table()
        assert after[1] == table[1] and after[2] == table[2]
        assert after[3]["name"] == "old" and after[3]["uuid"] == table[3]["uuid"]
        assert foreign_files(machine) == FOREIGN
        assert machine.entries(1) == ["atoll-1+3.conf"]
        shown = subprocess.run(
            ["debugfs", "-R", "cat /atoll/deployments/1/etc/upper/fstab", machine.partition(3)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert " /home ext4 " in shown
        assert machine.digest(2) == before


def test_kernels_go_beside_a_small_esp(tmp_path: Path) -> None:
    with computer(tmp_path, esp_size=36) as machine:
        before = {number: machine.digest(number) for number in (2, 3)}
        fill_esp(machine, 700_000)
        result(machine.install("free_space", machine.disk))
        machine.judge()
        table = machine.table()
        assert [each["name"] for each in table.values()] == [
            "EFI system partition",
            "data",
            "old",
            "atoll-boot",
            "atoll",
        ]
        assert machine.entries(1) == []
        assert machine.entries(4) == ["atoll-1+3.conf"]
        files = machine.fat_files(1)
        assert "default atoll-*" in files["loader/loader.conf"].decode()
        assert "EFI/systemd/systemd-bootx64.efi" in files
        assert {name: files[name] for name in FOREIGN} == FOREIGN
        assert {number: machine.digest(number) for number in (2, 3)} == before
        written = subprocess.run(
            ["debugfs", "-R", "cat /atoll/state/boot-partition", machine.partition(5)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert written == f"{str(table[4]['uuid']).lower()}\n"


def fill_esp(machine: Computer, left: int) -> None:
    """Leave ``left`` bytes free on the ESP."""
    free = read_esp_content(machine.partition(1), 36 * MIB).free
    filler = make_file(machine.folder / "filler", free - left)
    subprocess.run(["mcopy", "-i", machine.partition(1), filler, "::"], check=True)


def test_beside_one_partition_that_is_formatted_kernels_get_one_of_their_own(
    tmp_path: Path,
) -> None:
    """A second run over the system finds its entries there, and replaces them."""
    with computer(tmp_path, esp_size=36) as machine:
        before, table = machine.digest(2), machine.table()
        fill_esp(machine, 700_000)
        result(machine.install("partition", machine.partition(3)))
        machine.judge()
        after = machine.table()
        assert {number: after[number] for number in (1, 2)} == {1: table[1], 2: table[2]}
        assert (after[4]["name"], after[4]["type"]) == ("atoll-boot", XBOOTLDR_TYPE)
        assert machine.entries(4) == ["atoll-1+3.conf"]
        first = machine.fat_files(4)
        older = tmp_path / ("0" * 64)
        older.mkdir()
        (older / "linux").write_bytes(b"of an older version")
        mcopy: list[str | Path] = ["mcopy", "-s", "-i", machine.partition(4), older, "::atoll"]
        subprocess.run(mcopy, check=True)
        result(machine.install("partition", machine.partition(3)))
        machine.judge()
        assert machine.table() == after
        assert machine.entries(4) == ["atoll-1+3.conf"]
        second = machine.fat_files(4)
        (entry,) = [name for name in second if name.endswith(".conf")]
        assert second[entry] != first[entry]
        assert second.keys() == first.keys()
        assert foreign_files(machine) == FOREIGN
        assert machine.digest(2) == before


def test_a_boot_partition_of_another_system_is_shared(tmp_path: Path) -> None:
    boot = f"4 : start=1500MiB, size=512MiB, type={XBOOTLDR_TYPE}, name=boot"
    with computer(tmp_path, esp_size=36, layout=(*LAYOUT, boot)) as machine:
        words: list[str | Path] = ["mkfs.vfat", "-F", "32", machine.partition(4)]
        subprocess.run(words, check=True, capture_output=True)
        foreign = tmp_path / "vmlinuz"
        foreign.write_bytes(os.urandom(MIB))
        subprocess.run(["mcopy", "-i", machine.partition(4), foreign, "::"], check=True)
        table = machine.table()
        fill_esp(machine, 700_000)
        result(machine.install("free_space", machine.disk))
        machine.judge()
        after = machine.table()
        assert {number: after[number] for number in table} == table
        assert after[5]["name"] == "atoll"
        files = machine.fat_files(4)
        assert files.pop("vmlinuz") == foreign.read_bytes()
        assert {name.partition("/")[0] for name in files} == {"atoll", "loader"}
        assert machine.entries(4) == ["atoll-1+3.conf"]
        assert "EFI/systemd/systemd-bootx64.efi" in machine.fat_files(1)
        assert foreign_files(machine) == FOREIGN


def put_full_firmware(machine: Computer) -> Path:
    """A stand-in for efibootmgr whose memory is full; the file with what it was called with."""
    calls, program = machine.folder / "calls", machine.folder / "bin/efibootmgr"
    calls.write_text("")
    program.write_text(FULL_FIRMWARE.format(calls=calls))
    program.chmod(0o755)
    return calls


def test_a_disk_of_its_own_asks_nothing_of_the_firmware(tmp_path: Path) -> None:
    """Neither its list of systems nor another disk is touched unless somebody asks for it."""
    with computer(tmp_path) as machine:
        calls, other = put_full_firmware(machine), _digest(machine.other)
        result(machine.install("disk", machine.disk, firmware=""))
        assert calls.read_text() == ""
        assert _digest(machine.other) == other


def test_firmware_without_space_for_an_entry_does_not_fail_an_installation(tmp_path: Path) -> None:
    """The system is complete, and the warning says how it starts."""
    with computer(tmp_path) as machine:
        calls = put_full_firmware(machine)
        done = machine.install("partition", machine.partition(3), firmware="")
        assert done.returncode == 0, done.stderr
        (warning,) = json.loads(done.stdout)["warnings"]
        assert "memory for its variables is full" in warning
        assert f"choose {machine.disk} in the firmware's boot menu" in warning
        assert "--create-only" in calls.read_text()
        assert machine.entries(1) == ["atoll-1+3.conf"]
        assert foreign_files(machine) == FOREIGN


KINDS = ("disk", "partition", "free_space")


def stops(request: pytest.FixtureRequest) -> Sequence[int]:
    """Before each operation with --long; else around the table, and now and then."""
    return range(2, 60) if request.config.getoption("--long") else (3, 4, 8, 13, 15)


@pytest.mark.parametrize("kind", KINDS)
def test_stopped_anywhere_it_harms_nothing_and_starts_again(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    """Before the commit nothing new boots, after it the new system; and a second run works."""
    for stop in stops(request):
        folder = tmp_path / str(stop)
        folder.mkdir()
        with computer(folder) as machine:
            target = machine.partition(3) if kind == "partition" else machine.disk
            kept = {"disk": (), "partition": (2,), "free_space": (2, 3)}[kind]
            before = {number: machine.digest(number) for number in kept}
            done = machine.install(kind, target, stop=stop)
            if done.returncode == 0:
                shutil.rmtree(folder)
                return
            assert done.returncode == STOPPED, done.stderr
            committed = boots(machine)
            if kept:
                assert foreign_files(machine) == FOREIGN
            assert {number: machine.digest(number) for number in kept} == before
            again = machine.install(kind, target)
            if committed and kind == "free_space":
                # What boots is not taken away, and there is no more space.
                assert "boot entries of an Atoll system" in again.stderr
            elif committed and kind == "partition":
                assert again.returncode == 0, again.stderr
            else:
                assert again.returncode == 0, again.stderr
                machine.judge()
                assert INSTALLING not in {each["name"] for each in machine.table().values()}
                assert len(boots(machine)) == 1
            if kept:
                assert foreign_files(machine) == FOREIGN
            assert {number: machine.digest(number) for number in kept} == before
        shutil.rmtree(folder)


def boots(machine: Computer) -> list[str]:
    """The entries that a loader on the disk would start."""
    return [
        entry
        for device in machine.fats()
        for entry in machine.entries(int(device.name.rpartition("p")[2]))
    ]


def test_a_disk_that_changed_since_the_plan_is_left_alone(tmp_path: Path) -> None:
    script = CHILD.replace(
        "    sys.addaudithook(stop_there)",
        "    os.system(f'mount {device}p2 /mnt'); os.system(f'sfdisk -q --no-reread"
        " --no-tell-kernel --part-label {device} 2 other')",
    )
    with computer(tmp_path) as machine:
        before = machine.digest(3)
        done = subprocess.run(
            [
                *("unshare", "--mount", sys.executable, "-c", script),
                *(
                    str(machine.store),
                    machine.tree,
                    "free_space",
                    str(machine.disk),
                    "",
                    "none",
                    "0",
                ),
            ],
            env=os.environ | {"PYTHONPATH": f"{TOP / 'src'}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert "has changed since the plan" in done.stderr
        assert machine.digest(3) == before
        assert len(machine.table()) == 3
        assert foreign_files(machine) == FOREIGN
