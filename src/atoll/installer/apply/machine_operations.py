"""Operations that write the settings of a new machine: boot partition, /home, old entries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import Refused
from atoll.host.fs import fsync_directory, replace_file
from atoll.installer.plan.plan_installation import plan_installation
from atoll.machine.boot.boot_entries import ENTRIES
from atoll.machine.boot.boot_entry import parse_entry_name
from atoll.machine.boot.esp_check import check_esp
from atoll.machine.cleanup import list_pairs
from atoll.machine.deployments.operations import RemoveFromEsp
from atoll.machine.deployments.sysroot import BOOT_PARTITION, Sysroot
from atoll.machine.etc.stage import etc_paths
from atoll.machine.install import FIRST

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from atoll.installer.devices.block_devices import BlockDevices, Signature
    from atoll.installer.plan.partitioning import ImageNeeds, InstallationPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckUnchanged:
    """Look at all disks once more: the plan must come out the same. Raises Refused."""

    plan: InstallationPlan
    needs: ImageNeeds
    read: Callable[[], BlockDevices]

    def describe(self) -> str:
        return f"check that {self.plan.device} is as it was planned for"

    def execute(self) -> None:
        plan = self.plan
        again = plan_installation(plan.target, self.read(), self.needs, encrypted=plan.encrypted)
        if again != plan:
            raise Refused(
                f"{plan.device} has changed since the plan was made, and nothing was written",
                hint="start again, and look at the new plan",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveReplaced:
    """Remove boot entries, then kernels, of the system whose partition gets formatted."""

    esp: Path

    def describe(self) -> str:
        return f"remove the replaced system's boot entries and kernels from {self.esp}"

    def execute(self) -> None:
        folder = self.esp / ENTRIES
        if folder.is_dir():
            entries = [path for path in sorted(folder.iterdir()) if parse_entry_name(path.name)]
            check = check_esp(self.esp, entries)
            for path in entries:
                check.require_safe(path)
                path.unlink()
                fsync_directory(folder)
        for name in list_pairs(Sysroot(root=self.esp, esp=self.esp)):
            RemoveFromEsp(esp=self.esp, path=self.esp / "atoll" / name).execute()


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteStateFile:
    """Write a small file of the new machine's own, whole or not at all."""

    path: Path
    content: bytes
    mode: int = 0o644

    def describe(self) -> str:
        return f"write {self.path}"

    def execute(self) -> None:
        replace_file(self.path, self.content, mode=self.mode)


def plan_boot_partition(sysroot: Sysroot, uuid: str) -> WriteStateFile:
    """Let the machine find its kernels on a partition of their own; ``uuid`` is in the table."""
    content = f"{uuid.lower()}\n".encode()
    return WriteStateFile(path=sysroot.state / BOOT_PARTITION, content=content)


def plan_home_mount(sysroot: Sysroot, fstab: bytes, line: str) -> WriteStateFile:
    """Let the new system mount an existing file system at /home; ``fstab`` is the image's."""
    place = etc_paths(sysroot, FIRST).upper / "fstab"
    return WriteStateFile(path=place, content=with_fstab_line(fstab, line))


def with_fstab_line(fstab: bytes, line: str) -> bytes:
    """``fstab`` with one more line, in place of another one for the same mount point."""
    point = line.split()[1].encode()
    kept = [each for each in fstab.splitlines() if each.split()[1:2] != [point]]
    return b"".join(each + b"\n" for each in kept) + line.encode()


def format_home_line(signature: Signature) -> str:
    """A disk that is missing delays a boot by half a minute, and does not fail it; nobody logs in
    before it is mounted."""
    options = "nofail,x-systemd.device-timeout=30s,x-systemd.before=systemd-user-sessions.service"
    return f"UUID={signature.uuid} /home {signature.kind} defaults,{options} 0 2\n"
