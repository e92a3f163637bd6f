"""``upgrade --soft-reboot``: user space starts anew as a staged deployment, and the kernel runs on.

::

    check      same kernel, initrd and arguments; both systemd know soft reboots
    prepare    prepare-soft-reboot: the whole root, mounted as early boot does it, where nobody
               sees it
    attach     a copy at /run/nextroot, by one system call
    start      systemctl soft-reboot: systemd stops everything, and starts from there

The boot menu is not touched: what was staged is its first entry already, with its tries. The new
system is on trial as after a reboot: its marks are in ``/run/atoll``, health checks bless it. When
it fails, the machine reboots, and the loader counts: it tries the new deployment, then the older.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError, Damaged, NothingToDo, ProgramFailed, Refused
from atoll.host.fs import read_if_there, replace_file, require_root
from atoll.host.mount_syscalls import MountNamespace, detach_mount, open_namespace
from atoll.host.run import run
from atoll.host.signals import signals_deferred
from atoll.image.paths import PREPARE_SOFT_REBOOT
from atoll.machine.boot.boot_entry import format_entry_name
from atoll.machine.deployments.announcement import drop_announcement
from atoll.machine.deployments.apply import apply_operations
from atoll.machine.deployments.machine_lock import locked_machine
from atoll.machine.deployments.state import read_deployment, read_state
from atoll.machine.etc.stage import etc_paths
from atoll.machine.live.check import kernel_reasons, major_version
from atoll.machine.live.describe import read_facts, read_loaded_modules
from atoll.machine.live.live import PLACES, require_ready, require_running
from atoll.machine.live.mount_stack import read_stack, tree_source
from atoll.machine.live.operations import AttachNew

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atoll.base.report import Reporter
    from atoll.machine.deployments.sysroot import Sysroot

LEAST_SYSTEMD = 254
"""The first version of systemd with soft reboots."""
ROOT_SOURCE = tree_source(0, 0)
"""How the tree's mount is named that early boot makes, and ``prepare-soft-reboot``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftRebootPlaces:
    """``run`` is ``/run``; ``script`` is the program that mounts the next system,
    ``systemctl`` tells systemd to start it."""

    run: Path = Path("/run")
    script: Path = Path("/", PREPARE_SOFT_REBOOT)
    systemctl: Path = Path("/usr/bin/systemctl")

    @property
    def marks(self) -> Path:
        """What the program mounts the next system's directory of this name on."""
        return self.run / "atoll"

    @property
    def prepared(self) -> Path:
        return self.marks / "root"

    @property
    def next_root(self) -> Path:
        return self.run / "nextroot"


def check_soft_reboot(sysroot: Sysroot, number: int) -> tuple[str, ...]:
    """Why deployment ``number`` needs a full reboot; empty when it does not. Raises Damaged, and
    Refused for a machine that does not run."""
    running = require_running(sysroot)
    assert sysroot.booted is not None, "it runs"
    loaded = read_loaded_modules()
    booted, target = (read_facts(sysroot, each, loaded) for each in (sysroot.booted, number))
    now = booted.packages if running == sysroot.booted else read_packages(sysroot, running)
    return (
        *(("it is live already, so its /etc is in use",) if number == running else ()),
        *kernel_reasons(booted, target, loaded),
        *systemd_reasons(now, target.packages),
    )


def read_packages(sysroot: Sysroot, number: int) -> Mapping[str, str] | None:
    return read_facts(sysroot, number, frozenset()).packages


def systemd_reasons(
    running: Mapping[str, str] | None, target: Mapping[str, str] | None
) -> tuple[str, ...]:
    """Both versions of systemd take part in a soft reboot."""
    for whose, packages in (("the running", running), ("the new", target)):
        version = (packages or {}).get("systemd", "")
        if major_version(version) < LEAST_SYSTEMD:
            known = f"systemd {version}" if version else "no known systemd"
            return (f"{whose} system has {known}, and soft reboots need {LEAST_SYSTEMD}",)
    return ()


def soft_reboot(sysroot: Sysroot, number: int, reporter: Reporter) -> None:
    """Start deployment ``number``, which is staged, without a new kernel.

    Raises NothingToDo when it was booted, Refused when it needs a full reboot, or when the system
    cannot be mounted; then the running one goes on as it was. When it returns, systemd is stopping
    services, this program's session too.
    """
    require_root("restarting the system")
    require_ready(sysroot)
    if number == sysroot.booted:
        raise NothingToDo(f"deployment {number} is the one that was booted")
    reasons = check_soft_reboot(sysroot, number)
    if reasons:
        raise Refused(f"this needs a full reboot: {'; '.join(reasons)}", hint="systemctl reboot")
    # That of systemd: this process has left it already when it staged the deployment itself.
    namespace = MountNamespace(outer=open_namespace("1"))
    with locked_machine(sysroot) as machine:
        start_next_root(machine, number, namespace, SoftRebootPlaces(), reporter)
    drop_announcement()


def start_next_root(
    machine: Sysroot,
    number: int,
    namespace: MountNamespace,
    places: SoftRebootPlaces,
    reporter: Reporter,
) -> None:
    """Mount deployment ``number`` at ``/run/nextroot``, and have systemd start it.

    ``machine`` is locked, and writable in this process's own mount namespace; ``namespace`` is that
    of the running system. After an error all is
    as it was. Once systemd has begun, it ends this process, and nothing is taken back: without a
    next root it would start the old one again, from which it has unmounted nearly everything.
    """
    record = etc_paths(machine, number).record
    before = read_if_there(record)
    marks = Path(tempfile.mkdtemp(prefix="atoll-boot.", dir=places.run))
    marks.chmod(0o755)
    with signals_deferred():
        try:
            with reporter.step("Mounting the next system"):
                _prepare(machine, number, marks, namespace, places)
            _tell_systemd(places)
        except (AtollError, OSError):
            _remove_next_root(marks, namespace, places)
            # The merge of /etc removed it. The boot that comes merges what changes until then.
            if before is not None:
                replace_file(record, before)
            raise


def _tell_systemd(places: SoftRebootPlaces) -> None:
    """Raises ProgramFailed or MissingProgram when systemd has not begun.

    It begins before it answers, and ends this session with its systemctl, so that a failure of
    systemctl alone says nothing.
    """
    try:
        run([places.systemctl, "soft-reboot"])
    except ProgramFailed as error:
        if error.status >= 0 and not _is_stopping(places):
            raise


def _is_stopping(places: SoftRebootPlaces) -> bool:
    try:
        return run([places.systemctl, "show", "-P", "SystemState"]).strip() == b"stopping"
    except ProgramFailed as error:
        return error.status < 0


def _remove_next_root(marks: Path, namespace: MountNamespace, places: SoftRebootPlaces) -> None:
    """While it is there, systemd makes a soft reboot of every reboot."""
    with namespace.entered():
        if read_stack(places.next_root):
            detach_mount(places.next_root)
        if places.next_root.is_dir():
            places.next_root.rmdir()
    shutil.rmtree(marks, ignore_errors=True)


def _prepare(
    machine: Sysroot, number: int, marks: Path, namespace: MountNamespace, places: SoftRebootPlaces
) -> None:
    state = read_state(machine)
    entry = next(iter(state.menu.entries_of(number)), None)
    if entry is None:
        raise Damaged(f"deployment {number} has no boot entry", hint="see: atoll status")
    verity = "verity=require" in read_stack(PLACES.root)[0].options
    words = (str(number), read_deployment(machine, number).tree, "require" if verity else "")
    before = len(read_stack(places.marks))
    try:
        run([places.script, marks, *words, format_entry_name(entry.name)])
        attach = AttachNew(
            namespace=namespace,
            prepared=places.prepared,
            target=places.next_root,
            source=ROOT_SOURCE,
        )
        apply_operations((attach,))
    finally:
        # In this namespace alone: what is attached is a copy.
        if len(read_stack(places.marks)) > before:
            detach_mount(places.marks)
