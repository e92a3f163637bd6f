"""Whether an upgrade could go live, for ``plan``: as far as it is known before the download."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.base.errors import AtollError
from atoll.image.bootable import require_bootable
from atoll.machine.live.check import plan_live
from atoll.machine.live.describe import facts_of_image, read_facts, read_machine_facts
from atoll.machine.live.live import PLACES
from atoll.store.tree_images import read_image_bytes

if TYPE_CHECKING:
    from atoll.machine.candidate import Candidate
    from atoll.machine.deployments.state import DeploymentState
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.store.layout import Store


def preview_live(
    candidate: Candidate,
    sysroot: Sysroot,
    store: Store,
    current: DeploymentState,
    image_json: bytes | None,
) -> tuple[str, ...] | None:
    """Why it needs a reboot; empty when it can go live, as far as that is known. None when nothing
    is known: the image has no table of contents, or the machine does not run.

    Kernel modules are compared once the image is here, and conflicts once it is staged.
    """
    image = _find_image(candidate, store)
    if not sysroot.is_running or image is None or image_json is None:
        return None
    try:
        machine = read_machine_facts(sysroot, PLACES, current.number)
        info = require_bootable(image_json, candidate.tree)
        packages = candidate.facts.packages if candidate.facts else None
        target = facts_of_image(image, info, packages)
        return plan_live(read_facts(sysroot, current.number, frozenset()), target, machine)
    except (AtollError, OSError):
        return None


def _find_image(candidate: Candidate, store: Store) -> bytes | bytearray | memoryview | None:
    if candidate.is_here:
        return read_image_bytes(store, candidate.tree)
    if candidate.pull is None or candidate.pull.parts is None:
        return None
    return candidate.pull.parts.contents.image
