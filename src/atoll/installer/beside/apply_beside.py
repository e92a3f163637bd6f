"""An installation beside the system that runs: from the plan that was confirmed to a new system.

::

    lock the disks; look again: the plan must come out the same
    the record of what was there before, which --undo follows
    objects ─ deployment with what comes along ─ the old system's boot entry ─ boot loader ─ kernel
    the boot entry: the commit
    the firmware's list: from here on the new system starts first

Until the firmware's list is changed the computer starts what it always started, so a cut leaves the
older system as it was, and some files that the next run or ``--undo`` knows by the record.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError, Refused
from atoll.host.fs import OWN_LIMIT, fsync_directory, make_directory, read_regular, replace_file
from atoll.host.run import require_program
from atoll.installer.apply.firmware_entries import (
    AddFirmwareEntry,
    FirmwareList,
    read_firmware_list,
)
from atoll.installer.apply.install_on_disk import WORK, mounted
from atoll.installer.apply.machine_operations import WriteStateFile
from atoll.installer.beside.home_directories import owned, with_home_line
from atoll.installer.devices.disk_failures import naming_failed_disk
from atoll.installer.devices.disk_lock import locked_disk
from atoll.installer.settings.install_settings import EnsureDirectory, PlaceHome
from atoll.machine.boot.boot_entries import ENTRIES, OLD_SYSTEM
from atoll.machine.boot.esp import write_checked
from atoll.machine.boot.loader_files import (
    FALLBACK,
    LOADER_MARK,
    OWN,
    fallback_paths,
    firmware_path,
)
from atoll.machine.deployments.apply import apply_operations, apply_until_failure
from atoll.machine.deployments.beside import (
    HOME,
    RECORD,
    BesideRecord,
    find_record,
    format_record,
)
from atoll.machine.deployments.loader_operations import LOADER_SETTINGS
from atoll.machine.deployments.machine_lock import ESP_OPTIONS
from atoll.machine.deployments.operations import RemovePath
from atoll.machine.deployments.sysroot import Sysroot
from atoll.machine.etc.etc_tree import Entry, Kind, Node, node_at
from atoll.machine.etc.overlay_upper import plan_difference, plan_upper
from atoll.machine.etc.stage import etc_paths
from atoll.machine.install import FIRST, install, with_loader
from atoll.store.layout import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from atoll.base.report import Reporter
    from atoll.image.bootable import BootableImage, BootLoader
    from atoll.installer.beside.old_system import OldMount
    from atoll.installer.beside.plan_beside import BesidePlan
    from atoll.machine.deployment import Origin
    from atoll.machine.deployments.operations import Operation
    from atoll.store.layout import Store

TOP = WORK / "top"
ESP = WORK / "esp"
TOP_OPTIONS = "noatime,nosuid,nodev"
EARLY_BOOT_HOME = "usr/lib/dracut/modules.d/90atoll/early-boot.d/home.sh"
"""Trees with this file have an early boot that finds the home directories of an older system."""
_DIRECTORIES = ("EFI", FALLBACK, OWN, "loader", ENTRIES, "atoll")


@dataclass(frozen=True, slots=True, kw_only=True)
class BesideInstallation:
    """What is installed; ``plan_again`` looks at the machine once more. Raises Refused."""

    image: BootableImage
    origin: Origin
    source: Store
    plan_again: Callable[[], BesidePlan]
    root: Path = Path("/")
    """That of the older system."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteRecord:
    """Write down what was there before. A record that is there is from a run that was cut."""

    top: Path
    record: BesideRecord

    def describe(self) -> str:
        return "write down what was there before, for --undo"

    def execute(self) -> None:
        place = self.top / "atoll"
        make_directory(place, mode=0o700)
        if not (place / RECORD).exists():
            replace_file(place / RECORD, format_record(self.record))
        fsync_directory(self.top)


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOldEntry:
    """Let the boot menu start the loader of the older system."""

    esp: Path
    content: bytes

    def describe(self) -> str:
        return "write the boot entry of the older system"

    def execute(self) -> None:
        write_checked(self.esp / ENTRIES / OLD_SYSTEM, self.content)


def format_old_entry(title: str, loader: str) -> bytes:
    """A boot entry as systemd-boot reads it. ``atoll-old-system`` sorts behind ``atoll``, which
    is the key of all entries of Atoll's."""
    name = "".join(each for each in title if each.isprintable())
    return f"title {name}\nefi {loader}\nsort-key {OLD_SYSTEM.removesuffix('.conf')}\n".encode()


def apply_beside(
    plan: BesidePlan, installation: BesideInstallation, reporter: Reporter
) -> tuple[str, ...]:
    """Install, in the mount namespace of this process; what failed after the commit.

    Raises Refused when something has changed since the plan. After any other error the computer
    starts as before.
    """
    require_program("efibootmgr", package="efibootmgr")
    image = with_loader(installation.image)
    with naming_failed_disk(plan.expected[0].path), ExitStack() as stack:
        for disk in plan.expected:
            stack.enter_context(locked_disk(disk.path, disk.identity.number))
        sysroot = stack.enter_context(beside_mounted(plan.system.root, plan.esp))
        if installation.plan_again() != plan:
            raise Refused(
                "this computer has changed since the plan was made, and nothing was written",
                hint="start again, and look at the new plan",
            )
        record = find_record(sysroot) or make_record(plan, image.efi_name, sysroot)
        if record.esp != plan.esp_uuid:
            raise Refused(
                "an installation was begun with another ESP",
                hint="remove it first: atoll install --undo",
            )
        apply_operations((WriteRecord(top=sysroot.root, record=record),), reporter)
        install(
            image,
            installation.origin,
            sysroot,
            source=_find_source(installation, plan.system.path, sysroot.root),
            reporter=reporter,
            settings=tuple(plan_extras(plan, sysroot)),
        )
        return apply_until_failure((plan_firmware(plan, image.loader),))


@contextmanager
def beside_mounted(root: OldMount, esp: Path | None) -> Iterator[Sysroot]:
    """The file system of the older system as early boot mounts it, and the ESP, if one is given."""
    with ExitStack() as stack:
        stack.enter_context(mounted(root.device, TOP, root.kind, TOP_OPTIONS))
        if esp is not None:
            stack.enter_context(mounted(esp, ESP, "vfat", ESP_OPTIONS))
        yield Sysroot(root=TOP, esp=ESP)


def _find_source(installation: BesideInstallation, path: str | None, top: Path) -> Store:
    """The store of the image as it is seen below ``top``, so that its objects can be linked: they
    cannot be between two mounts of one file system. Where it is elsewhere, it is as it was."""
    store, root = installation.source, installation.root
    if path is not None and store.root.is_relative_to(root):
        place = top / path / store.root.relative_to(root)
        with suppress(OSError):
            if place.samefile(store.root):
                return open_store(place)
    return store


def plan_firmware(plan: BesidePlan, loader: BootLoader) -> AddFirmwareEntry:
    return AddFirmwareEntry(
        disk=plan.esp_disk,
        number=plan.esp_number,
        esp=plan.esp,
        loader=firmware_path(loader),
        first=True,
    )


def make_record(plan: BesidePlan, efi_name: str, sysroot: Sysroot) -> BesideRecord:
    """What is there now. Raises Refused for a boot loader that the installation would replace."""
    top, esp = sysroot.root, sysroot.esp
    fallback = fallback_paths(efi_name)
    for path in fallback:
        if (esp / path).exists() and LOADER_MARK in read_regular(esp / path, limit=OWN_LIMIT):
            raise Refused(
                f"the ESP has a systemd-boot at {path}, which this installation would replace",
                hint="remove it if nothing uses it; see: bootctl status",
            )
    files = (*fallback, LOADER_SETTINGS)
    there = [path for path in _DIRECTORIES if (esp / path).is_dir()]
    absent = [path for path in (*_DIRECTORIES, *files) if not (esp / path).exists()]
    firmware = _read_firmware()
    return BesideRecord(
        system=plan.system.title,
        esp=plan.esp_uuid,
        absent=tuple(absent),
        times={path: (esp / path).stat().st_mtime_ns for path in there},
        top_time=top.stat().st_mtime_ns,
        order=firmware.order,
        entries=tuple(sorted(firmware.entries)),
    )


def _read_firmware() -> FirmwareList:
    """Empty where the firmware's variables cannot be read: then none are changed either."""
    try:
        return read_firmware_list(require_program("efibootmgr", package="efibootmgr"))
    except (AtollError, OSError):
        return FirmwareList(order=(), entries={})


def plan_extras(plan: BesidePlan, sysroot: Sysroot) -> Iterator[Operation]:
    """What comes along, and the boot entry of the older system."""
    carried, home, etc = plan.carried, plan.home, plan.carried.etc
    if home is not None and home.line:
        etc = with_home_line(etc, home.line)
    root = sysroot.atoll / "var" / "root"
    keys = root / ".ssh" / "authorized_keys"
    # A run that was cut may have carried more.
    for path in (sysroot.state / "machine-id", sysroot.state / HOME, keys):
        yield RemovePath(path=path)
    yield from plan_upper(etc, carried.tree, etc_paths(sysroot, FIRST).upper)
    if carried.machine_id is not None:
        content = f"{carried.machine_id}\n".encode()
        yield WriteStateFile(path=sysroot.state / "machine-id", content=content)
    if home is not None and home.shared:
        yield WriteStateFile(path=sysroot.state / HOME, content=f"{home.shared}\n".encode())
    if home is None:
        yield from _plan_homes(plan, sysroot)
    if carried.root_keys:
        yield EnsureDirectory(path=root, mode=0o700)
        yield EnsureDirectory(path=keys.parent, mode=0o700)
        yield WriteStateFile(path=keys, content=carried.root_keys, mode=0o600)
    content = format_old_entry(plan.system.title, plan.loader)
    yield WriteOldEntry(esp=sysroot.esp, content=content)


def _plan_homes(plan: BesidePlan, sysroot: Sysroot) -> Iterator[Operation]:
    """Empty home directories, as the image makes them for new accounts."""
    homes = sysroot.atoll / "var" / "home"
    skeleton = node_at(plan.carried.tree, "skel") or Node(Entry(kind=Kind.DIRECTORY, mode=0o755))
    yield EnsureDirectory(path=homes)
    for name, uid, gid in plan.carried.people:
        fresh = homes / f".{name}.new"
        yield RemovePath(path=fresh)
        yield from plan_difference(owned(skeleton, uid, gid, mode=0o700), None, fresh)
        yield PlaceHome(fresh=fresh, place=homes / name)
