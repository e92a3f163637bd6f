"""Write the public status of the running machine (``public_status``), and what logins tell."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError
from atoll.base.ids import is_hex_digest
from atoll.host.fs import replace_file
from atoll.machine.boot.luks import read_key_slots
from atoll.machine.boot.secure_boot import Signatures, read_signatures
from atoll.machine.deployments.announcement import drop_stale_announcement
from atoll.machine.deployments.beside import find_older_system
from atoll.machine.deployments.boot_check import verifier
from atoll.machine.deployments.layer_report import update_login_notice
from atoll.machine.deployments.public_status import STATUS_FILE, PublicState, format_public_status
from atoll.machine.deployments.state import read_origin, read_state
from atoll.machine.deployments.way_back import explain_no_way_back

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.machine.deployments.state import MachineState
    from atoll.machine.deployments.sysroot import Sysroot


def write_status(sysroot: Sysroot, *, when: int, place: Path = STATUS_FILE) -> None:
    """Raises OSError."""
    state = read_state(sysroot)
    default = state.default or state.current
    follows = ""
    if default is not None:
        with suppress(AtollError, OSError):
            follows = read_origin(sysroot, default.number).image
    layers: list[str] = []
    with suppress(FileNotFoundError):
        names = (path.name for path in (sysroot.atoll / "layers").iterdir())
        layers = [name for name in names if is_hex_digest(name)]
    public = PublicState(
        when=when,
        state=state,
        follows=follows,
        layers=frozenset(layers),
        no_way_back=explain_no_way_back(state, verifier(sysroot)),
        beside=find_older_system(sysroot),
        key_slots=read_key_slots(sysroot.root),
        signatures=_read_signatures(sysroot, state),
    )
    replace_file(place, format_public_status(public))
    if sysroot.is_running:
        drop_stale_announcement(state)
        update_login_notice(sysroot.state)


def _read_signatures(sysroot: Sysroot, state: MachineState) -> Signatures:
    running = next((each for each in state.deployments if each.booted), None)
    if running is None:
        return Signatures()
    kernel = sysroot.esp / "atoll" / running.deployment.pair / "linux"
    return read_signatures(sysroot.loader_esp, kernel)


def publish_or_forget(sysroot: Sysroot, *, when: int, place: Path = STATUS_FILE) -> None:
    """After an operation: a status that cannot be written must not stay as it was before."""
    try:
        write_status(sysroot, when=when, place=place)
    except (AtollError, OSError):
        with suppress(OSError):
            place.unlink(missing_ok=True)
