"""The operations of a live change. Each can be executed again after an interruption.

Mounts are prepared in the private mount namespace of this process, and attached in that of the
running system (``namespace``). Private mounts end with the process; those of the system stay.
"""

from __future__ import annotations

import errno
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged, MissingProgram, ProgramFailed, Refused
from atoll.host.mount_syscalls import (
    attach_beneath,
    attach_on_top,
    clone_mounts,
    detach_mount,
)
from atoll.host.run import run
from atoll.machine.boot.mounts import read_mounts, stack_at
from atoll.machine.live.mount_stack import read_stack

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.host.mount_syscalls import MountNamespace

DETACH_EVENT = "atoll.detach"
"""The audit event before each system call that exchanges a mount, for tests that stop there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MountHere:
    """Mount something in the private namespace of this process; ``target`` is made if missing."""

    target: Path
    words: tuple[str | Path, ...]
    """What mount(8) is told, without the target."""

    def describe(self) -> str:
        return f"prepare {self.target.name}"

    def execute(self) -> None:
        self.target.mkdir(parents=True, exist_ok=True)
        # fsconfig(2) limits an option to 255 bytes; mount(2) takes a page.
        environment = {**os.environ, "LIBMOUNT_FORCE_MOUNT2": "always"}
        run(["mount", *self.words, self.target], env=environment)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachBeneath:
    """Attach a copy of the prepared mount ``prepared`` below the one at ``target``.

    After an interruption it is attached again, directly below the upper one: what an earlier
    attempt left further down stays hidden, and may be of an ``/etc`` that was merged again since.
    """

    namespace: MountNamespace
    prepared: Path
    target: Path
    source: str

    def describe(self) -> str:
        return f"attach {self.source} beneath {self.target}"

    def execute(self) -> None:
        mount = clone_mounts(self.prepared)
        try:
            with self.namespace.entered():
                names = [each.source for each in read_stack(self.target)]
                if not names:
                    raise Refused(
                        f"nothing is mounted at {self.target}: a live change needs a mount there",
                        hint="reboot: systemctl reboot",
                    )
                if names[0] != self.source:
                    attach_beneath(mount, self.target)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            raise Refused(
                f"this kernel cannot mount anything beneath {self.target}",
                hint="reboot: systemctl reboot",
            ) from error
        finally:
            os.close(mount)


@dataclass(frozen=True, slots=True, kw_only=True)
class DetachUppers:
    """Detach the mounts above those that were attached beneath, one after the other.

    ``mounts`` are mount points and the sources of the mounts that then are the uppermost. Each is
    exchanged by one system call, seen by everyone at once. Nothing else is done in between: only
    for so long can a program see some of them exchanged and others not.
    """

    namespace: MountNamespace
    mounts: tuple[tuple[Path, str], ...]

    def describe(self) -> str:
        return f"detach what is above at {', '.join(str(target) for target, _ in self.mounts)}"

    def execute(self) -> None:
        with self.namespace.entered():
            for target in self._list_waiting():
                sys.audit(DETACH_EVENT, target)
                detach_mount(target)

    def _list_waiting(self) -> list[Path]:
        """The mount points that are not exchanged yet. Raises Damaged."""
        waiting, mounts = [], read_mounts()
        for target, source in self.mounts:
            names = [each.source for each in stack_at(mounts, target)]
            if names[:1] == [source]:
                continue
            if names[1:2] != [source]:
                raise Damaged(
                    f"{source} is not beneath the mount at {target}", hint="systemctl reboot"
                )
            waiting.append(target)
        return waiting


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachNew:
    """Attach a copy of ``prepared`` at ``target``, where only the new system has a mount."""

    namespace: MountNamespace
    prepared: Path
    target: Path
    source: str

    def describe(self) -> str:
        return f"attach {self.source} at {self.target}"

    def execute(self) -> None:
        mount = clone_mounts(self.prepared)
        try:
            with self.namespace.entered():
                if [each.source for each in read_stack(self.target)][:1] != [self.source]:
                    self.target.mkdir(parents=True, exist_ok=True)
                    attach_on_top(mount, self.target)
        finally:
            os.close(mount)


@dataclass(frozen=True, slots=True, kw_only=True)
class DetachOld:
    """Detach a mount of ``source``, where the new system has none."""

    namespace: MountNamespace
    target: Path
    source: str

    def describe(self) -> str:
        return f"detach {self.source} from {self.target}"

    def execute(self) -> None:
        with self.namespace.entered():
            if [each.source for each in read_stack(self.target)][:1] == [self.source]:
                detach_mount(self.target)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInSystem:
    """Run a program of the running system, as it is then. A program that is not there is left out.

    ``accepted`` are exit statuses that are no failure.
    """

    namespace: MountNamespace
    words: tuple[str, ...]
    accepted: tuple[int, ...] = ()

    def describe(self) -> str:
        return " ".join(self.words)

    def execute(self) -> None:
        with self.namespace.entered():
            try:
                run(self.words)
            except MissingProgram:
                return
            except ProgramFailed as error:
                if error.status not in self.accepted:
                    raise
