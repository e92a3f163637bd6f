"""``atoll reset``: the machine as it was first installed.

The image of what runs is staged once more as a new deployment, with the image's ``/etc`` and a /var
of its own (``deployments/own_var``). What was there before is used by all older deployments until
the new one was healthy once; then both the older ones and their state are removed (``cleanup``).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import NotFound, Refused
from atoll.host.fs import list_names
from atoll.image.info import parse_image_info
from atoll.image.paths import IMAGE_INFO
from atoll.image.read_file import read_image_file
from atoll.machine.cleanup import clean_up, prune
from atoll.machine.deployment import Origin
from atoll.machine.deployments.beside import find_older_system
from atoll.machine.deployments.machine_lock import locked_machine
from atoll.machine.deployments.retention import require_current
from atoll.machine.deployments.state import read_origin, read_state
from atoll.machine.etc.damaged_tree import read_source_etc
from atoll.machine.etc.etc_commands import read_etc_of_tree
from atoll.machine.etc.etc_tree import compare
from atoll.machine.fresh_start import (
    FreshStart,
    can_anyone_log_in,
    check_reset_finished,
    is_kept_setting,
    keep_settings,
)
from atoll.machine.stage_image import stage_image
from atoll.machine.staging import StageRequest
from atoll.store.layout import open_store
from atoll.store.tree_images import read_image_bytes
from atoll.tree.etc_rules import is_machine_made

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.base.ids import TreeId
    from atoll.base.report import Reporter
    from atoll.image.info import ImageInfo
    from atoll.machine.deployments.state import DeploymentState
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.stage_image import StageResult

EARLY_BOOT_RESET = "usr/lib/dracut/modules.d/90atoll/early-boot.d/reset.sh"
"""Trees with this file have an early boot that knows a /var of a deployment's own."""
VERB = "reset"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What is in a directory, whole: its files, links included, and their bytes."""

    path: str
    files: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetPreview:
    """What a reset removes. ``etc`` are paths below /etc that become the image's, ``kept`` those
    that stay. ``removed`` and ``deployments`` go once the machine was healthy. ``image`` is what
    the machine will run."""

    image: str
    etc: tuple[str, ...]
    kept: tuple[str, ...]
    removed: tuple[Contents, ...]
    deployments: tuple[str, ...]
    shared_home: str
    """The older system whose home directories this machine uses; they are never removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    tree: TreeId
    origin: Origin
    info: ImageInfo


def preview_reset(sysroot: Sysroot, *, keep_home: bool) -> ResetPreview:
    """Raises Refused where a reset is not possible, Damaged or NotFound."""
    state = read_state(sysroot)
    current = require_current(state)
    target = _find_target(sysroot, current)
    check_reset_finished(sysroot, current.number)
    new = read_etc_of_tree(open_store(sysroot.atoll), target.tree)
    live = read_source_etc(sysroot, current.number, new)[0].live
    kept = keep_settings(live, new)
    if not (keep_home or can_anyone_log_in(kept)):
        raise Refused(
            "nobody could log in afterwards: no account has a password, and ssh keys in home"
            " directories would be gone",
            hint="set a password, or keep the home directories: --keep-home",
        )
    changed = [path for path, _ in compare(new, live) if path and not is_machine_made(path)]
    return ResetPreview(
        image=f"{target.info.name} {target.info.version}",
        etc=tuple(path for path in changed if not is_kept_setting(path)),
        kept=tuple(path for path in changed if is_kept_setting(path)),
        removed=tuple(_measure_var(sysroot.atoll / "var", keep_home=keep_home)),
        deployments=tuple(each.deployment.title for each in state.deployments),
        shared_home=find_older_system(sysroot),
    )


def reset(sysroot: Sysroot, *, keep_home: bool, reporter: Reporter) -> StageResult:
    """Stage the machine as it was first installed. Raises Refused, NoSpace, Damaged or Busy; the
    machine is then as it was."""
    with locked_machine(sysroot) as machine:
        state = clean_up(machine, reporter)
        current = require_current(state)
        target = _find_target(machine, current)
        homes = frozenset(path.replace("/var/home/", "/home/", 1) for path in target.info.homes)
        request = StageRequest(
            verb=VERB,
            tree=target.tree,
            origin=target.origin,
            fresh=FreshStart(keep_home=keep_home, homes=homes),
        )
        return stage_image(machine, state, request, reporter)


def finish_reset(sysroot: Sysroot, reporter: Reporter) -> None:
    """After a healthy boot of the deployment that a reset made, which has a /var of its own: remove
    what was there before."""
    with locked_machine(sysroot) as machine:
        clean_up(machine, reporter)
        prune(machine, 1, reporter)


def _find_target(sysroot: Sysroot, current: DeploymentState) -> _Target:
    """The image that the machine follows, without what its own recipe added."""
    store = open_store(sysroot.atoll)
    origin = read_origin(sysroot, current.number)
    tree = origin.base or current.deployment.tree
    try:
        image = read_image_bytes(store, tree)
    except NotFound as error:
        raise Refused(
            f"the image below this machine's own recipe is not here: tree {tree}",
            hint=f"fetch it first: {sysroot.command('upgrade')}",
        ) from error
    if read_image_file(store, image, EARLY_BOOT_RESET) is None:
        raise Refused(
            "this image was built by a version of Atoll that cannot reset machines",
            hint=f"upgrade first: {sysroot.command('upgrade')}",
        )
    info = parse_image_info(read_image_file(store, image, IMAGE_INFO), where=f"tree {tree}")
    return _Target(tree=tree, origin=Origin(image=origin.image), info=info)


def _measure_var(var: Path, *, keep_home: bool) -> list[Contents]:
    """What is in the directories of /var that a reset empties."""
    names = {"home": "/home", "root": "/root", "srv": "/srv", "opt": "/opt"}
    names["usrlocal"] = "/usr/local"
    found = []
    rest = Contents(path="/var", files=0, size=0)
    for name in list_names(var):
        shown = names.get(name)
        if keep_home and name in ("home", "root"):
            continue
        one = measure(var / name, shown or "/var")
        if shown is None:
            rest = Contents(path="/var", files=rest.files + one.files, size=rest.size + one.size)
        elif one.files:
            found.append(one)
    return [*found, rest]


def measure(directory: Path, shown_as: str) -> Contents:
    files = size = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            try:
                size += os.lstat(f"{folder}/{name}").st_size
                files += 1
            except FileNotFoundError:
                continue
    return Contents(path=shown_as, files=files, size=size)
