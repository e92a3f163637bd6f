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

import os
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError, Damaged, NotFound
from atoll.base.json import parse_json_object
from atoll.host.files import is_absent, names_in, read_if_there
from atoll.machine.deployment import (
    Deployment,
    Origin,
    is_number,
    parse_deployment,
    parse_origin,
)
from atoll.machine.glance import find_flaws
from atoll.machine.history import read_history
from atoll.machine.marks import MOST, UNKNOWN, Hold, Marks, Numbers, read_marks, read_numbers
from atoll.machine.menu import ENTRIES, Menu, read_menu

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atoll.base.ids import TreeId

BOOTED = Path("/run/atoll/booted")
RUNNING_SYSROOT = Path("/sysroot")
RUNNING_ESP = Path("/boot")
LEAP = 100
"""How many sequence numbers are left out when nobody knows which were given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sysroot:
    """Where a machine is: its state partition, its ESP, and which deployment of it runs, if any."""

    root: Path
    esp: Path
    booted: int | None = None

    @property
    def is_running(self) -> bool:
        """Whether it is this very machine, and not one in a directory."""
        return self.root == RUNNING_SYSROOT

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
    does not come up. ``hold`` names this deployment; ``flaw`` says why it cannot boot, empty when
    nothing speaks against it (``soundness``).
    """

    deployment: Deployment
    booted: bool = False
    default: bool = False
    staged: bool = False
    pinned: bool = False
    blessed: bool = False
    fallback: bool = False
    hold: Hold | None = None
    flaw: str = ""

    @property
    def number(self) -> int:
        return self.deployment.number

    @property
    def held(self) -> bool:
        return self.hold is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineState:
    """Newest deployment first; ``damaged`` says what could not be read, and why.

    ``damaged_numbers`` are deployments of which nobody can tell what they are. ``unreadable`` are
    the marks that could not be read, so that nobody can tell what is pinned or blessed.
    ``way_back`` is the deployment that stays whatever goes (``wayback``), once it was looked for.
    """

    deployments: tuple[DeploymentState, ...]
    menu: Menu
    damaged: tuple[str, ...] = ()
    damaged_numbers: frozenset[int] = frozenset()
    booted: int | None = None
    held: Mapping[TreeId, Hold] = field(default_factory=dict)
    """Also of trees that no deployment has."""
    unreadable: tuple[str, ...] = ()
    pinned: frozenset[int] = frozenset()
    """Also of deployments that cannot be read."""
    way_back: int | None = None

    def find(self, number: int | None) -> DeploymentState | None:
        return next((each for each in self.deployments if each.number == number), None)

    @property
    def default(self) -> DeploymentState | None:
        return next((each for each in self.deployments if each.default), None)

    @property
    def current(self) -> DeploymentState | None:
        """The one that runs; of a machine in a directory, the one that boots next.

        When that cannot be read, the first one in the loader's order that can.
        """
        wanted = self.booted if self.booted is not None else self.menu.default
        order = (wanted, *(each.deployment for each in self.menu.entries))
        return next((found for number in order if (found := self.find(number))), None)


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
    number = parse_json_object(data, where=str(BOOTED)).get("deployment")
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
    try:
        read_numbers(sysroot.state)
    except (Damaged, OSError) as error:
        damaged.append(f"{error}; numbers go on from what is there")
    return make_state(tuple(deployments), menu, read_marks(sysroot.state), booted=sysroot.booted,
                      damaged=(tuple(damaged), frozenset(numbers)),
                      flaws=find_flaws(sysroot, deployments, menu))  # fmt: skip


def make_state(
    deployments: tuple[Deployment, ...],
    menu: Menu,
    marks: Marks,
    *,
    booted: int | None = None,
    damaged: tuple[tuple[str, ...], frozenset[int]] = ((), frozenset()),
    flaws: Mapping[int, str] = MappingProxyType({}),
) -> MachineState:
    """Put together what was read. A deployment is blessed that has an entry without a counter."""
    blessed = marks.blessed | {
        each.deployment for each in menu.entries if each.name.tries_left is None
    }
    trees = {each.number: each.tree for each in deployments}
    default = menu.default if menu.default in trees else None
    holds = {number: marks.hold_of(number, tree) for number, tree in trees.items()}
    fallback = _find_fallback(menu, default, blessed, holds, flaws)
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
                hold=holds[each.number],
                flaw=flaws.get(each.number, ""),
            )
            for each in deployments
        ),
        menu=menu,
        damaged=(*damaged[0], *menu.damaged, *marks.unreadable),
        damaged_numbers=damaged[1],
        booted=booted,
        held=marks.held,
        unreadable=marks.unreadable,
        pinned=marks.pinned,
    )


def _find_fallback(
    menu: Menu, default: int | None, blessed: frozenset[int],
    holds: Mapping[int, Hold | None], flaws: Mapping[int, str],
) -> int | None:  # fmt: skip
    """``holds`` has each deployment that can be read."""
    return next(
        (
            each.deployment
            for each in menu.entries
            if each.deployment in holds
            and each.deployment != default
            and each.deployment in blessed
            and not each.name.is_used_up
            and not speaks_against(holds[each.deployment])
            and not flaws.get(each.deployment)
        ),
        None,
    )


def speaks_against(hold: Hold | None) -> bool:
    """Whether a hold keeps a deployment from being a fallback; one that cannot be read does not."""
    return hold is not None and hold.deployment != UNKNOWN


def deployment_numbers(sysroot: Sysroot) -> list[int]:
    """Which deployments are there; a name that is no number is a leftover and not one of them."""
    return sorted(int(name) for name in names_in(sysroot.deployments) if is_number(name))


def read_deployment(sysroot: Sysroot, number: int) -> Deployment:
    path = sysroot.deployments / str(number) / "deployment.json"
    data = read_if_there(path)
    if data is None:
        raise Damaged(f"deployment {number} has no {path}")
    deployment = parse_deployment(data, where=str(path))
    if deployment.number != number:
        raise Damaged(f"{path} is of deployment {deployment.number}")
    return deployment


def read_origin(sysroot: Sysroot, number: int) -> Origin:
    """Where a deployment came from; raises Damaged."""
    path = sysroot.deployments / str(number) / "origin.toml"
    data = read_if_there(path)
    if data is None:
        raise Damaged(f"deployment {number} has no {path}")
    return parse_origin(data, where=str(path))


def may_need_something(sysroot: Sysroot, number: int) -> bool:
    """Whether what is called deployment ``number``, and cannot be read, may need a tree: not what
    is certain to be no directory, or to have no description, for a deployment is never without."""
    place = sysroot.deployments / str(number)
    try:
        os.lstat(place / "deployment.json")
    except OSError as error:
        return not is_absent(error)
    return True


def next_numbers(sysroot: Sysroot, menu: Menu) -> Numbers:
    """The numbers that the next deployment and the next entry get.

    When the note of the last ones is damaged, they are found in what is left of every deployment.
    """
    try:
        last = read_numbers(sysroot.state)
    except Damaged:
        last = Numbers(deployment=max(_numbers_left(sysroot), default=0),
                       sequence=menu.last_sequence + LEAP)  # fmt: skip
    return Numbers(
        deployment=max(last.deployment, *filter(is_given, deployment_numbers(sysroot)), 0) + 1,
        sequence=max(last.sequence, menu.last_sequence) + 1,
    )


def _numbers_left(sysroot: Sysroot) -> list[int]:
    """Numbers of deployments that are gone, as far as anything still names them."""
    state = sysroot.state
    names = [name for kind in ("pinned", "blessed", "tries", "conflicts")
             for name in names_in(state / kind)]  # fmt: skip
    names += [name.rpartition("-")[2] for name in names_in(sysroot.deployments)]
    told = [each.deployment or 0 for each in read_history(state)]
    return list(filter(is_given, [*told, *(int(name) for name in names if is_number(name))]))


def is_given(number: int) -> bool:
    """Whether a deployment can have got ``number``: not when a person made up a huge one."""
    return 0 < number < MOST
