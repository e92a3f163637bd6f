"""The possible targets as a list of choices; an impossible one says why. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError
from atoll.installer.answers.parse import TargetAnswer
from atoll.installer.devices.describe_devices import describe_disk, describe_partition, format_bytes
from atoll.installer.devices.read_devices import follow_links
from atoll.installer.dialogue.pages import Choice
from atoll.installer.plan.free_space import largest_gap
from atoll.installer.plan.partitioning import Target, TargetKind
from atoll.installer.plan.plan_installation import plan_installation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atoll.installer.devices.block_devices import BlockDevices, Disk
    from atoll.installer.plan.partitioning import ImageNeeds

_LEAST_GAP = 64 << 20
"""Bytes; smaller gaps between partitions are not worth a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskChoices:
    devices: BlockDevices
    needs: ImageNeeds

    def list_disks(self) -> tuple[Choice, ...]:
        """One line for each disk. A disk where nothing is possible says why."""
        return tuple(self._disk(disk) for disk in self.devices.disks)

    def list_parts(self, name: str) -> tuple[tuple[Choice, TargetAnswer], ...]:
        """What can be done with a disk, what erases least first: its free space, one partition, or
        all of it."""
        disk = self.devices.find_disk(Path(name))
        return () if disk is None else tuple(self._parts(disk))

    def _disk(self, disk: Disk) -> Choice:
        parts = [choice for choice, _ in self._parts(disk)]
        possible = any(not choice.why_not for choice in parts)
        # Why not all of it: the reason that concerns the disk itself.
        why_not = "" if possible else parts[-1].why_not
        return Choice(value=str(disk.path), title=describe_disk(disk), why_not=why_not)

    def _parts(self, disk: Disk) -> Iterator[tuple[Choice, TargetAnswer]]:
        if disk.partitions and disk.table is not None:
            start, end = largest_gap(disk.table, disk.table.partitions)
            if end - start >= _LEAST_GAP:
                title = f"free space ({format_bytes(end - start)}): nothing is erased"
                yield self._choice("free_space", disk.path, title)
            for part in disk.partitions:
                what = describe_partition(part.kind, part.name, part.signature)
                title = f"only {part.path.name} ({format_bytes(part.size)}, {what}): it is erased"
                yield self._choice("partition", part.path, title)
        content = "everything on it is erased" if disk.partitions else "it has no partitions"
        yield self._choice("disk", disk.path, f"the whole disk: {content}")

    def _choice(self, kind: str, device: Path, title: str) -> tuple[Choice, TargetAnswer]:
        answer = TargetAnswer(kind=kind, device=str(device))
        why_not = ""
        try:
            plan_installation(target_of(answer), self.devices, self.needs, encrypted=False)
        except AtollError as error:
            why_not = _first_reason(error.message)
        return Choice(value=f"{kind} {device}", title=title, why_not=why_not), answer


def target_of(answer: TargetAnswer) -> Target:
    """As the planner takes it; links such as those in /dev/disk/by-id are followed."""
    return Target(
        kind=TargetKind(answer.kind),
        device=follow_links(Path(answer.device)),
        esp=follow_links(Path(answer.esp)) if answer.esp else None,
        home=follow_links(Path(answer.home)) if answer.home else None,
    )


def _first_reason(message: str) -> str:
    """Of several reasons the first: each is on an indented line below the first one."""
    lines = message.splitlines()
    return lines[1].strip() if len(lines) > 1 and lines[1].startswith("  ") else lines[0]
