"""Read a machine and compare it with the tree of a deployment, as root or as any other user.

What a user may not read is listed, and never taken for absent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError
from atoll.debian.dpkg_database import name_of_list, parse_owners
from atoll.host.fs import OWN_LIMIT, read_regular
from atoll.image.info import parse_image_info
from atoll.image.paths import DPKG, FACTORY, IMAGE_INFO
from atoll.machine.boot.boot_entries import read_menu
from atoll.machine.boot.mounts import read_mounts, stack_at
from atoll.machine.deployments.own_var import has_own_var, own_var
from atoll.machine.deployments.public_status import may_read_machine
from atoll.machine.deployments.state import read_deployment
from atoll.machine.drift.etc_drift import EtcPair, find_etc_differences, with_owners
from atoll.machine.drift.kernel_drift import find_boot_drift, find_entry_drift
from atoll.machine.drift.local_files import find_local_drift
from atoll.machine.drift.model import Drift, Unread
from atoll.machine.drift.tree_files import ImageTree, MountedTree
from atoll.machine.etc.etc_commands import LIVE, TREE, read_machine_etc
from atoll.machine.etc.read import read_directory
from atoll.machine.etc.stage import retry_if_changed
from atoll.store.layout import open_store

if TYPE_CHECKING:
    from atoll.machine.boot.mounts import Mount
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.drift.etc_drift import EtcDifferences
    from atoll.machine.drift.model import EtcDrift, KernelDrift, LocalDrift
    from atoll.machine.drift.tree_files import TreeFiles

COMMAND_LINE = Path("/proc/cmdline")
RUNNING = {"usrlocal": Path("/var/usrlocal"), "opt": Path("/opt")}
"""Where the running machine has them. A scratch overlay on /usr may hide /usr/local."""
NEEDS_ROOT = "only root may read it"


@dataclass(slots=True)
class _Reading:
    """``runs``: the deployment is the one that runs on this very machine."""

    sysroot: Sysroot
    number: int
    runs: bool
    tree: TreeFiles
    unread: list[Unread] = field(default_factory=list)


def read_drift(sysroot: Sysroot, number: int) -> Drift:
    """What differs on a machine from deployment ``number``. Raises Damaged, NotFound or Busy."""
    runs = sysroot.is_running and number == sysroot.running
    deployment = read_deployment(sysroot, number) if may_read_machine(sysroot) else None
    tree = open_tree_files(sysroot, number)
    reading = _Reading(sysroot=sysroot, number=number, runs=runs, tree=tree)
    etc = retry_if_changed(lambda: find_etc_differences(read_etc_pair(sysroot, number)))
    return Drift(
        number=number,
        deployment=deployment,
        etc=_find_owners(reading, etc),
        units=etc.units,
        accounts=etc.accounts,
        local=tuple(_read_local(reading)),
        kernel=tuple(_read_kernel(reading)),
        scratch=find_scratch(read_mounts()) if runs else "",
        unread=(
            *(Unread(what=f"/etc/{path}", why=NEEDS_ROOT) for path in etc.unread),
            *reading.unread,
        ),
    )


def open_tree_files(sysroot: Sysroot, number: int) -> TreeFiles:
    """The files of a deployment's tree: of the one that runs as they are mounted."""
    if sysroot.is_running and number == sysroot.running:
        return MountedTree()
    return ImageTree(open_store(sysroot.atoll), read_deployment(sysroot, number).tree)


def read_etc_pair(sysroot: Sysroot, number: int) -> EtcPair:
    """The ``/etc`` of the tree and of the machine; as much as this user may read."""
    if sysroot.is_running and number == sysroot.running:
        tree, live = (read_directory(place, tolerant=True) for place in (TREE, LIVE))
        unread = tuple(sorted({*tree.unread, *live.unread}))
        return EtcPair(tree=tree.root, live=live.root, unread=unread)
    etc = read_machine_etc(sysroot, number)
    return EtcPair(tree=etc.tree, live=etc.live)


def _find_owners(reading: _Reading, etc: EtcDifferences) -> tuple[EtcDrift, ...]:
    """The changed files with the packages that ship them, by the tree's own dpkg database."""
    if not etc.files:
        return ()
    paths = {f"/etc/{each.path}" for each in etc.files}
    try:
        lists = (
            (name_of_list(name), _lines_in_etc(data))
            for name, data in reading.tree.read_all(f"{DPKG}/info", ".list")
        )
        diversions = reading.tree.read(f"{DPKG}/diversions") or b""
        owners = parse_owners(lists, diversions.decode(errors="surrogateescape"))
    except (AtollError, OSError) as error:
        reading.unread.append(Unread(what="the packages of the image", why=str(error)))
        owners = {}
    return with_owners(etc.files, {path: owners[path] for path in paths & owners.keys()})


def _lines_in_etc(data: bytes) -> str:
    lines = [line for line in data.split(b"\n") if line.startswith(b"/etc/")]
    return b"\n".join(lines).decode(errors="surrogateescape")


def _read_local(reading: _Reading) -> list[LocalDrift]:
    """Both directories belong to the machine, whichever deployment runs; after a reset the new one
    has its own for a while."""
    var = reading.sysroot.atoll / "var"
    if not reading.sysroot.is_running and has_own_var(reading.sysroot, reading.number):
        var = own_var(reading.sysroot, reading.number)
    found: list[LocalDrift] = []
    for name, shown_as in (("usrlocal", "/usr/local"), ("opt", "/opt")):
        directory = RUNNING[name] if reading.sysroot.is_running else var / name
        # Directories are a frame in which the machine has its own content.
        shipped = reading.tree.names_below(f"{FACTORY}/var/{name}", directories=False)
        if name == "opt":
            packaged = reading.tree.names_below("usr/lib/opt")
            shipped |= {path for path in packaged if "/" not in path}
        found += find_local_drift(directory, shown_as, shipped, reading.unread)
    return found


def _read_kernel(reading: _Reading) -> list[KernelDrift]:
    """The boot entry that is started for the deployment, and the command line of this boot."""
    try:
        data = reading.tree.read(IMAGE_INFO)
        arguments = parse_image_info(data, where=f"deployment {reading.number}").args
    except (AtollError, OSError) as error:
        reading.unread.append(Unread(what="kernel arguments of the image", why=str(error)))
        return []
    found = [_read_entry(reading, arguments)]
    if reading.runs:
        line = read_regular(COMMAND_LINE, limit=OWN_LIMIT).decode(errors="replace")
        found.append(find_boot_drift(line, arguments))
    return [each for each in found if each is not None]


def _read_entry(reading: _Reading, arguments: tuple[str, ...]) -> KernelDrift | None:
    sysroot, number = reading.sysroot, reading.number
    why = NEEDS_ROOT
    if may_read_machine(sysroot):
        menu = read_menu(sysroot.entries, sysroot.entry_list)
        entry = next(iter(menu.entries_of(number)), None)
        if entry is not None and entry.entry is not None:
            return find_entry_drift(entry, read_deployment(sysroot, number), arguments)
        why = "; ".join(menu.damaged) or "there is none"
    reading.unread.append(Unread(what=f"the boot entry of deployment {number}", why=why))
    return None


def find_scratch(mounts: tuple[Mount, ...]) -> str:
    """The upper directory of the writable overlay that is on top at ``/usr``; empty where there is
    none."""
    for top in stack_at(mounts, Path("/usr"))[:1]:
        for option in sorted(top.options):
            if top.kind == "overlay" and option.startswith("upperdir="):
                return option.removeprefix("upperdir=")
    return ""
