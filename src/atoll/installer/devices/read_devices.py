"""Reading what disks a machine has, by lsblk, sfdisk and blkid; nothing is written or mounted.

lsblk knows what the kernel knows: devices, mounts, swap, what is made of them. Partition tables and
signatures are read from the disks themselves, so an udev that is not there, or is late, changes
nothing.
"""

from __future__ import annotations

import os
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError, Damaged, MissingPrivilege, NotFound, ProgramFailed
from atoll.base.fields import parse_json_fields
from atoll.host.run import require_program, run
from atoll.installer.devices.block_devices import (
    INSTALLING,
    NO_SIGNATURE,
    BlockDevices,
    DeviceIdentity,
    Disk,
    DiskPartition,
    MachineFirmware,
    PartitionTable,
    Signature,
    TableFlaw,
    Use,
    UseKind,
    partition_path,
)
from atoll.installer.devices.disk_lock import is_in_use
from atoll.installer.devices.read_esp import read_esp_content
from atoll.installer.devices.read_windows import read_windows_state
from atoll.machine.disk_layout import ESP_TYPE, XBOOTLDR_TYPE
from atoll.tree.gpt import ENTRY, has_spare_place, parse_header, parse_table

if TYPE_CHECKING:
    from atoll.base.fields import Fields
    from atoll.tree.gpt import GptTable

FIRMWARE = Path("/sys/firmware/efi")
STARTED_FROM = "efivars/LoaderDevicePartUUID-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
PROGRAMS = (("lsblk", "util-linux"), ("blkid", "util-linux"), ("sfdisk", "fdisk"))
_COLUMNS = "PATH,TYPE,MAJ:MIN,SIZE,START,LOG-SEC,RO,RM,HOTPLUG,SERIAL,WWN,MODEL,TRAN,MOUNTPOINTS"
_KERNEL_SECTOR = 512
"""What the kernel counts a partition's start in, whatever the disk's sectors are."""
_DISKS = ("disk", "loop")
_PROTECTIVE = "EE"
"""Type of the MBR partition that stands for a GPT."""
SEVERAL = "several signatures"
"""The kind of what several programs could take for theirs."""
_NO_TABLE, _NOTHING_FOUND, _AMBIGUOUS = 1, 2, 8


def read_block_devices(firmware: Path = FIRMWARE) -> BlockDevices:
    """All disks of the machine. Raises MissingProgram, before any of them is read."""
    for name, package in PROGRAMS:
        require_program(name, package=package)
    listed = run(
        [
            require_program("lsblk", package="util-linux"),
            *("--json", "--bytes", "--tree", "--output", _COLUMNS),
        ]
    )
    devices = parse_json_fields(listed, file="the output of lsblk").each("blockdevices")
    disks = tuple(read_disk(each) for each in devices if _is_disk(each))
    found = [
        part for disk in disks for part in disk.partitions if part.kind in (ESP_TYPE, XBOOTLDR_TYPE)
    ]
    return BlockDevices(
        disks=disks,
        firmware=read_firmware(firmware),
        started_from=_started_from(firmware),
        esps=tuple(read_esp_content(part.path, part.size) for part in found),
    )


def follow_links(device: Path) -> Path:
    """The device that a name such as those in /dev/disk/by-id leads to. Raises NotFound."""
    try:
        return device.resolve(strict=device.is_symlink())
    except (OSError, RuntimeError) as error:  # the latter of a loop, until Python 3.13
        raise NotFound(
            f"the links of {device} lead nowhere: {error}", hint="lsblk lists disks"
        ) from error


def read_firmware(firmware: Path = FIRMWARE) -> MachineFirmware:
    try:
        return MachineFirmware(bits=int((firmware / "fw_platform_size").read_text()))
    except (OSError, ValueError):
        # Kernels before 4.0 do not say; UEFI of 32 bits is rare.
        return MachineFirmware(bits=64 if firmware.is_dir() else None)


def _started_from(firmware: Path) -> str:
    try:
        data = (firmware / STARTED_FROM).read_bytes()
    except OSError:
        return ""
    # Four bytes of attributes, then UTF-16 with a zero at its end.
    return data[4:].decode("utf-16-le", errors="replace").rstrip("\0").lower()


def _is_disk(device: Fields) -> bool:
    name = Path(device.string("path")).name
    return (
        device.string("type") in _DISKS
        and _number(device, "size") > 0
        and not name.startswith(("zram", "ram"))
    )


def read_disk(device: Fields) -> Disk:
    """A disk of lsblk's list, with its table."""
    path = Path(device.string("path"))
    identity = DeviceIdentity(
        number=device.string("maj:min"),
        size=_number(device, "size"),
        sector=_number(device, "log-sec"),
        serial=_text(device, "serial"),
        wwn=_text(device, "wwn"),
        model=_text(device, "model"),
    )
    try:
        return _read_content(device, Disk(path=path, identity=identity, table=None))
    except (AtollError, OSError) as error:
        # One that fails must not keep a person from installing on another one.
        return Disk(path=path, identity=identity, table=None, unreadable=str(error))


def _read_content(device: Fields, disk: Disk) -> Disk:
    path = disk.path
    kernels = {
        Path(each.string("path")): each
        for each in _children(device)
        if each.string("type") == "part"
    }
    holders = [each for each in _children(device) if each.string("type") != "part"]
    table = read_table(path, disk.identity, kernels)
    if table is not None and table.label == "dos" and not kernels and read_signature(path).kind:
        # The boot sector of a volume over the whole disk, such as NTFS, ends as an MBR does.
        table = None
    uses = (*_mounts(device), *map(_holder, holders))
    if not uses and not kernels and is_in_use(path):
        uses = (Use(kind=UseKind.OPEN),)
    return replace(
        disk,
        table=table,
        signature=read_signature(path) if table is None else NO_SIGNATURE,
        uses=uses,
        read_only=device.boolean("ro"),
        removable=device.boolean("rm") or device.boolean("hotplug"),
        transport=_text(device, "tran"),
    )


def read_table(
    path: Path, identity: DeviceIdentity, kernels: dict[Path, Fields]
) -> PartitionTable | None:
    """The partition table of a disk; ``kernels`` are the partitions that the kernel knows."""
    try:
        found = run([require_program("sfdisk", package="fdisk"), "--json", path])
    except ProgramFailed as error:
        if error.status == _NO_TABLE:
            _read(path, 0, identity.sector)
            return None
        raise
    table = parse_json_fields(found, file="the output of sfdisk").within("partitiontable")
    unit = identity.sector
    parts = sorted(
        (_partition(path, each, unit, kernels) for each in table.each("partitions")),
        key=lambda part: part.start,
    )
    is_gpt = table.string("label") == "gpt"
    if not is_gpt and any(part.kind == _PROTECTIVE for part in parts):
        # sfdisk found no GPT that is whole, and went on to what protects it.
        return _damaged_table(identity, found)
    ends = identity.size // unit - 1
    flaws, headers = _gpt_flaws(path, identity) if is_gpt else ((), b"")
    if any(_is_stale(part, kernels.get(part.path)) for part in parts):
        flaws = (*flaws, TableFlaw.STALE)
    return PartitionTable(
        label=table.string("label"),
        uuid=table.string("id", ""),
        first=table.integer("firstlba", 1) * unit,
        end=(table.integer("lastlba", ends) + 1) * unit,
        partitions=tuple(parts),
        flaws=flaws,
        digest=sha256(found + headers).hexdigest(),
    )


def _damaged_table(identity: DeviceIdentity, found: bytes) -> PartitionTable:
    return PartitionTable(
        label="gpt",
        uuid="",
        first=0,
        end=identity.size,
        partitions=(),
        flaws=(TableFlaw.BOTH_DAMAGED,),
        digest=sha256(found).hexdigest(),
    )


def _partition(disk: Path, listed: Fields, unit: int, kernels: dict[Path, Fields]) -> DiskPartition:
    number = _number_of(disk, listed.string("node"))
    path = partition_path(disk, number)
    device = kernels.get(path)
    start, size = listed.integer("start") * unit, listed.integer("size") * unit
    if device is not None:
        signature = read_signature(path)
    else:
        signature = read_signature(disk, "--offset", str(start), "--size", str(size))
    part = DiskPartition(
        path=path,
        number=number,
        start=start,
        size=size,
        kind=listed.string("type").upper(),
        uuid=listed.string("uuid", ""),
        name=listed.string("name", ""),
        flags=listed.string("attrs", ""),
        signature=signature,
    )
    if device is None:
        return part
    holders = [_holder(each) for each in _children(device)]
    uses = (*_mounts(device), *holders)
    if not uses and is_in_use(path):
        uses = (Use(kind=UseKind.OPEN),)
    return replace(
        part,
        uses=uses,
        windows=read_windows_state(path) if signature.kind == "ntfs" else None,
    )


def _number_of(disk: Path, node: str) -> int:
    digits = node.removeprefix(str(disk)).removeprefix("p")
    if not digits.isdecimal():
        raise Damaged(f"sfdisk names a partition of {disk} that is none: {node}")
    return int(digits)


def _is_stale(part: DiskPartition, kernel: Fields | None) -> bool:
    if kernel is None:
        # An installation that was stopped before it told the kernel is no obstacle to the next.
        return part.name != INSTALLING
    start = _number(kernel, "start") * _KERNEL_SECTOR
    # Of an extended MBR partition the kernel shows two sectors only.
    sized = part.size == _number(kernel, "size") or part.kind in ("5", "F", "85")
    return start != part.start or not sized


def _gpt_flaws(path: Path, identity: DeviceIdentity) -> tuple[tuple[TableFlaw, ...], bytes]:
    """What is wrong with the two copies of a GPT, and the blocks that say where their entries are.

    Programs use the copy that is whole, and rewrite the other one with the next change.
    """
    block, last = identity.sector, identity.size // identity.sector - 1
    mbr, first = _read(path, 0, block), _read(path, block, block)
    second = _read(path, last * block, block)
    flaws = []
    other = None
    table = _whole_table(path, first, 1, block)
    if table is None:
        flaws.append(TableFlaw.FIRST_DAMAGED)
    else:
        other = table.header.alternate_lba
        if not has_spare_place(table):
            flaws.append(TableFlaw.CROWDED)
    if other is not None and other != last:
        flaws.append(TableFlaw.SECOND_ELSEWHERE)
    elif _whole_table(path, second, last, block) is None:
        flaws.append(TableFlaw.SECOND_DAMAGED)
    if any(kind not in (0, 0xEE) for kind in (mbr[450], mbr[466], mbr[482], mbr[498])):
        flaws.append(TableFlaw.HYBRID)
    return tuple(flaws), mbr + first + second


def _whole_table(path: Path, data: bytes, lba: int, block: int) -> GptTable | None:
    """The table of which ``data`` is the header; None when it is damaged."""
    try:
        header = parse_header(data, lba=lba)
        entries = _read(path, header.entries_lba * block, header.count * ENTRY)
        return parse_table(header, entries, block=block)
    except Damaged:
        return None


def read_signature(path: Path, *place: str) -> Signature:
    """What a device holds by its signature, or a ``place`` of it in blkid's words. Raises Damaged
    when its begin cannot be read."""
    _read(path, 0, 512)
    try:
        found = run(
            [
                require_program("blkid", package="util-linux"),
                *("--probe", "--output", "export", *place),
                path,
            ]
        )
    except ProgramFailed as error:
        if error.status == _NOTHING_FOUND:
            return NO_SIGNATURE
        if error.status == _AMBIGUOUS:
            return Signature(kind=_find_member(path) if not place else SEVERAL)
        raise
    words = dict(line.split("=", 1) for line in found.decode(errors="replace").splitlines())
    return Signature(
        kind=words.get("TYPE", ""),
        label=words.get("LABEL", ""),
        uuid=words.get("UUID", ""),
        version=words.get("VERSION", ""),
    )


def _find_member(path: Path) -> str:
    """Of several signatures the one of a set, such as ZFS over an older ext4: that is in use."""
    words = ("--no-act", "--noheadings", "--output", "TYPE", path)
    found = run([require_program("wipefs", package="util-linux"), *words]).decode().split()
    return next((kind for kind in found if kind.endswith("_member")), SEVERAL)


def _read(path: Path, offset: int, size: int) -> bytes:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError as error:
        raise MissingPrivilege(f"{path} may not be read", hint="try again with sudo") from error
    except OSError as error:
        raise Damaged(f"{path} cannot be opened: {error.strerror}") from error
    try:
        data = os.pread(handle, size, offset)
    except OSError as error:
        raise Damaged(
            f"{path} cannot be read at byte {offset}: {error.strerror}",
            hint="the disk may be failing; see: journalctl -k",
        ) from error
    finally:
        os.close(handle)
    if len(data) < size:
        # It was unplugged, or is another device now than lsblk listed.
        raise Damaged(
            f"{path} ends at byte {offset + len(data)}, and was larger before",
            hint="start again when no disk is being changed",
        )
    return data


def _children(device: Fields) -> tuple[Fields, ...]:
    return device.each("children") if device.has("children") else ()


def _mounts(device: Fields) -> tuple[Use, ...]:
    points = device.table.get("mountpoints")
    names = [each for each in points if isinstance(each, str)] if isinstance(points, list) else []
    return tuple(
        Use(kind=UseKind.SWAP) if name == "[SWAP]" else Use(kind=UseKind.MOUNTED, name=name)
        for name in names
    )


def _holder(device: Fields) -> Use:
    return Use(kind=UseKind.HOLDER, name=device.string("path"), detail=device.string("type"))


def _text(device: Fields, name: str) -> str:
    value = device.table.get(name)
    return " ".join(value.split()) if isinstance(value, str) else ""


def _number(device: Fields, name: str) -> int:
    value = device.table.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
