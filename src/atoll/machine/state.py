"""What is on a machine: its deployments, their entries, which one runs and which one boots next.

A sysroot is a directory (``/sysroot`` on a running machine) with, besides the store's own files::

    atoll/deployments/<n>/     deployment.json  origin.toml  atoll.toml  etc/{upper,work}
    atoll/state/entries.json   which entry boots which deployment, for who may not read the ESP
    atoll/state/pinned/<n>     the deployment is never removed by policy
    atoll/state/held/<tree>    automatic updates do not take this tree again
    atoll/var/                 the one shared /var
    esp/                       the EFI system partition (on a running machine it is at /boot)
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from atoll.base.errors import Damaged, NotFound
from atoll.machine.bootentry import (
    EntryName,
    format_entry_name,
    loader_order,
    parse_entry,
    parse_entry_name,
)
from atoll.machine.deployment import Deployment, parse_deployment

BOOTED = Path("/run/atoll/booted")
RUNNING_SYSROOT = Path("/sysroot")
RUNNING_ESP = Path("/boot")
ENTRIES = "loader/entries"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sysroot:
    """Where a machine is: its state partition, its ESP, and which deployment of it runs, if any."""

    root: Path
    esp: Path
    booted: int | None = None

    @property
    def atoll(self) -> Path:
        return self.root / "atoll"

    @property
    def deployments(self) -> Path:
        return self.atoll / "deployments"

    @property
    def state(self) -> Path:
        return self.atoll / "state"

    @property
    def entries(self) -> Path:
        return self.esp / ENTRIES


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """An entry on the ESP: its name, and the deployment that it boots."""

    name: EntryName
    deployment: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentState:
    """A deployment with all that is true of it now."""

    deployment: Deployment
    booted: bool
    default: bool
    staged: bool
    pinned: bool
    held: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineState:
    """Newest deployment first."""

    deployments: tuple[DeploymentState, ...]


def find_sysroot(root: Path | None) -> Sysroot:
    """The machine in directory ``root``, or the running one; raises NotFound when there is none."""
    if root is None:
        if not BOOTED.exists():
            raise NotFound("this machine does not run a system of Atoll's",
                           hint="say which one with --root DIR")  # fmt: skip
        booted = parse_booted(BOOTED.read_bytes())
        return Sysroot(root=RUNNING_SYSROOT, esp=RUNNING_ESP, booted=booted)
    sysroot = Sysroot(root=root, esp=root / "esp")
    if not sysroot.deployments.is_dir():
        raise NotFound(f"there is no system of Atoll's in {root}",
                       hint=f"put one there with: atoll install IMAGE --root {root}")  # fmt: skip
    return sysroot


def parse_booted(data: bytes) -> int:
    """The number of the deployment that runs, from what early boot wrote."""
    try:
        number = json.loads(data)["deployment"]
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{BOOTED} does not say which deployment runs") from error
    if type(number) is not int:
        raise Damaged(f"{BOOTED} does not say which deployment runs")
    return number


def read_state(sysroot: Sysroot) -> MachineState:
    default = find_default(read_entries(sysroot))
    found = []
    for number in sorted(deployment_numbers(sysroot), reverse=True):
        deployment = read_deployment(sysroot, number)
        found.append(
            DeploymentState(
                deployment=deployment,
                booted=number == sysroot.booted,
                default=number == default,
                staged=number == default and sysroot.booted not in (None, number),
                pinned=(sysroot.state / "pinned" / str(number)).exists(),
                held=(sysroot.state / "held" / deployment.tree).exists(),
            )
        )
    return MachineState(deployments=tuple(found))


def find_default(entries: tuple[Placed, ...]) -> int | None:
    """The deployment of the entry that the loader takes by itself."""
    order = loader_order([entry.name for entry in entries])
    return next((entry.deployment for entry in entries if entry.name == order[0]), None)


def deployment_numbers(sysroot: Sysroot) -> list[int]:
    """Which deployments are there; a name that is no number is a leftover and not one of them."""
    names = (
        [path.name for path in sysroot.deployments.iterdir()]
        if sysroot.deployments.is_dir()
        else []
    )
    return sorted(int(name) for name in names if name.isdecimal())


def read_deployment(sysroot: Sysroot, number: int) -> Deployment:
    path = sysroot.deployments / str(number) / "deployment.json"
    try:
        deployment = parse_deployment(path.read_bytes(), where=str(path))
    except FileNotFoundError as error:
        raise Damaged(f"deployment {number} has no {path}") from error
    if deployment.number != number:
        raise Damaged(f"{path} is of deployment {deployment.number}")
    return deployment


def read_entries(sysroot: Sysroot) -> tuple[Placed, ...]:
    """The entries that can boot; who may not read the ESP gets what Atoll noted of them."""
    try:
        names = [path.name for path in sysroot.entries.iterdir()]
    except PermissionError:
        return _read_noted(sysroot)
    except FileNotFoundError:
        return ()
    placed = []
    for text in sorted(names):
        name = parse_entry_name(text)
        if name is None:
            continue
        entry = parse_entry(name, (sysroot.entries / text).read_text(errors="replace"))
        if entry is not None and entry.deployment is not None:
            placed.append(Placed(name=name, deployment=entry.deployment))
    return tuple(placed)


def format_noted(entries: tuple[Placed, ...]) -> bytes:
    document = [
        {"entry": format_entry_name(entry.name), "deployment": entry.deployment}
        for entry in entries
    ]
    return json.dumps(document, indent=1).encode() + b"\n"


def parse_noted(data: bytes) -> tuple[Placed, ...]:
    """Raises Damaged."""
    try:
        found = [
            (parse_entry_name(entry["entry"]), int(entry["deployment"]))
            for entry in json.loads(data)
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged("what is noted of the boot entries cannot be read") from error
    return tuple(Placed(name=name, deployment=number) for name, number in found if name)


def _read_noted(sysroot: Sysroot) -> tuple[Placed, ...]:
    try:
        return parse_noted((sysroot.state / "entries.json").read_bytes())
    except FileNotFoundError:
        return ()
