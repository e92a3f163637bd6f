"""What is on a machine: its deployments, their entries, which one runs and which one boots next.

A sysroot is a directory (``/sysroot`` on a running machine) with, besides the store's own files::

    atoll/deployments/<n>/     deployment.json  origin.toml  atoll.toml  etc/{upper,work}
    atoll/state/               marks (``marks``), conflicts of /etc, the history, the machine's id
    atoll/state/entries.json   which entry boots which deployment, for who may not read the ESP
    atoll/state/lock           flock: held by whoever changes the machine
    atoll/var/                 the one shared /var
    esp/                       the EFI system partition (on a running machine it is at /boot)
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError, Damaged, NotFound
from atoll.machine.deployment import Deployment, Origin, parse_deployment, parse_origin
from atoll.machine.marks import Hold, Marks, Numbers, read_marks, read_numbers
from atoll.machine.menu import ENTRIES, Menu, read_menu

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atoll.base.ids import TreeId

BOOTED = Path("/run/atoll/booted")
RUNNING_SYSROOT = Path("/sysroot")
RUNNING_ESP = Path("/boot")
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


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

    @property
    def noted(self) -> Path:
        return self.state / "entries.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentState:
    """A deployment with all that is true of it now.

    ``staged``: it boots next and is not the one that runs. ``fallback``: it boots when the default
    does not come up.
    """

    deployment: Deployment
    booted: bool = False
    default: bool = False
    staged: bool = False
    pinned: bool = False
    blessed: bool = False
    fallback: bool = False
    hold: Hold | None = None

    @property
    def number(self) -> int:
        return self.deployment.number

    @property
    def held(self) -> bool:
        return self.hold is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineState:
    """Newest deployment first; ``damaged`` says which could not be read, and why."""

    deployments: tuple[DeploymentState, ...]
    menu: Menu
    damaged: tuple[str, ...] = ()
    damaged_numbers: frozenset[int] = frozenset()
    booted: int | None = None
    held: Mapping[TreeId, Hold] = field(default_factory=dict)
    """Also of trees that no deployment has."""

    def find(self, number: int | None) -> DeploymentState | None:
        return next((each for each in self.deployments if each.number == number), None)

    @property
    def default(self) -> DeploymentState | None:
        return next((each for each in self.deployments if each.default), None)

    @property
    def current(self) -> DeploymentState | None:
        """The one that runs; of a machine in a directory, the one that boots next."""
        return self.find(self.booted) if self.booted is not None else self.default


def find_sysroot(root: Path | None) -> Sysroot:
    """The machine in directory ``root``, or the running one; raises NotFound when there is none."""
    if root is None:
        if not BOOTED.exists():
            raise NotFound(
                "this computer does not run a system that Atoll made",
                hint="to make one: atoll new DIR; one that is mounted at DIR: --root DIR",
            )
        booted = parse_booted(BOOTED.read_bytes())
        return Sysroot(root=RUNNING_SYSROOT, esp=RUNNING_ESP, booted=booted)
    sysroot = Sysroot(root=root, esp=root / "esp")
    if not sysroot.deployments.is_dir():
        raise NotFound(
            f"there is no system of Atoll's in {root}",
            hint="is the machine's state partition mounted there? lsblk shows what is",
        )
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
    """All that is known of a machine; what is damaged is told in it, not raised."""
    menu = read_menu(sysroot.entries, sysroot.noted)
    deployments, damaged, numbers = [], [], set()
    for number in sorted(deployment_numbers(sysroot), reverse=True):
        try:
            deployments.append(read_deployment(sysroot, number))
        except (AtollError, OSError) as error:
            damaged.append(str(error))
            numbers.add(number)
    return make_state(tuple(deployments), menu, read_marks(sysroot.state), booted=sysroot.booted,
                      damaged=(tuple(damaged), frozenset(numbers)))  # fmt: skip


def make_state(
    deployments: tuple[Deployment, ...],
    menu: Menu,
    marks: Marks,
    *,
    booted: int | None = None,
    damaged: tuple[tuple[str, ...], frozenset[int]] = ((), frozenset()),
) -> MachineState:
    """Put together what was read. A deployment is blessed that has an entry without a counter."""
    blessed = marks.blessed | {
        each.deployment for each in menu.entries if each.name.tries_left is None
    }
    trees = {each.number: each.tree for each in deployments}
    default = next((each.deployment for each in menu.entries if each.deployment in trees), None)
    fallback = next(
        (
            each.deployment
            for each in menu.entries
            if each.deployment in trees
            and each.deployment != default
            and each.deployment in blessed
            and not each.name.is_used_up
            and trees[each.deployment] not in marks.held
        ),
        None,
    )
    return MachineState(
        deployments=tuple(
            DeploymentState(
                deployment=each,
                booted=each.number == booted,
                default=each.number == default,
                staged=each.number == default and booted not in (None, each.number),
                pinned=each.number in marks.pinned,
                blessed=each.number in blessed,
                fallback=each.number == fallback,
                hold=marks.held.get(each.tree),
            )
            for each in deployments
        ),
        menu=menu,
        damaged=(*damaged[0], *menu.damaged),
        damaged_numbers=damaged[1],
        booted=booted,
        held=marks.held,
    )


def deployment_numbers(sysroot: Sysroot) -> list[int]:
    """Which deployments are there; a name that is no number is a leftover and not one of them."""
    names = (
        [path.name for path in sysroot.deployments.iterdir()]
        if sysroot.deployments.is_dir()
        else []
    )
    return sorted(int(name) for name in names if _NUMBER.fullmatch(name))


def read_deployment(sysroot: Sysroot, number: int) -> Deployment:
    path = sysroot.deployments / str(number) / "deployment.json"
    try:
        deployment = parse_deployment(path.read_bytes(), where=str(path))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Damaged(f"deployment {number} has no {path}") from error
    if deployment.number != number:
        raise Damaged(f"{path} is of deployment {deployment.number}")
    return deployment


def read_origin(sysroot: Sysroot, number: int) -> Origin:
    """Where a deployment came from; raises Damaged."""
    path = sysroot.deployments / str(number) / "origin.toml"
    try:
        return parse_origin(path.read_bytes(), where=str(path))
    except FileNotFoundError as error:
        raise Damaged(f"deployment {number} has no {path}") from error


def next_numbers(sysroot: Sysroot, menu: Menu) -> Numbers:
    """The numbers that the next deployment and the next entry get."""
    last = read_numbers(sysroot.state)
    return Numbers(
        deployment=max([last.deployment, *deployment_numbers(sysroot)]) + 1,
        sequence=max(last.sequence, menu.last_sequence) + 1,
    )
