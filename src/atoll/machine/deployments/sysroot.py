"""Where a machine is: its state partition, its ESP, and the deployment that runs.

A sysroot is a directory (``/sysroot`` on a running machine) with, besides the store's own files::

    atoll/deployments/<n>/     deployment.json  origin.toml  atoll.toml  etc/{upper,work}
    atoll/state/               flags (``flags``), conflicts of /etc, the history, the machine's id
    atoll/state/entries.json   which entry boots which deployment; readable without the ESP
    atoll/state/lock           flock, held while the machine is changed
    atoll/state/boot-partition where kernels and boot entries are, if not on the ESP
    atoll/var/                 the one shared /var
    esp/                       the EFI system partition (on a running machine it is at /boot)
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from shlex import quote

from atoll.base.errors import Damaged, NotFound, Refused
from atoll.base.json import parse_json_object
from atoll.host.fs import OWN_LIMIT, read_if_there, read_regular
from atoll.machine.boot.boot_entries import ENTRIES
from atoll.machine.deployment import is_number

BOOTED = Path("/run/atoll/booted")
RUNNING = Path("/run/atoll/running")
"""After a live change: the deployment whose ``/usr`` and ``/etc`` run (``machine/live``)."""
LIVE = Path("/run/atoll/live")
BOOT_PARTITION = "boot-partition"
"""In ``atoll/state``: the UUID, in the partition table, of the partition with kernels and boot
entries where that is not the ESP (an XBOOTLDR partition). Everywhere else it is called the ESP."""
RUNNING_SYSROOT = Path("/sysroot")
RUNNING_ESP = Path("/boot")
RUNNING_LOADER = Path("/efi")
"""The ESP of a machine with a boot partition of its own."""


class LiveChanges(StrEnum):
    """Where a live system keeps changes."""

    MEMORY = "memory"
    PERSISTENCE = "persistence"
    """On a partition of its stick."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sysroot:
    """Where a machine is: its state partition, its ESP, and which deployment of it runs, if any.

    ``live`` is set on a live system: its stick is never changed. ``applied`` is the deployment
    whose ``/usr`` and ``/etc`` a live change made the running ones. ``loader`` is where the ESP is
    when kernels and boot entries have a partition of their own; ``esp`` is that partition then.
    """

    root: Path
    esp: Path
    booted: int | None = None
    live: LiveChanges | None = None
    applied: int | None = None
    loader: Path | None = None

    @property
    def loader_esp(self) -> Path:
        """The ESP with systemd-boot and its settings."""
        return self.loader or self.esp

    @property
    def running(self) -> int | None:
        """The deployment whose ``/usr`` and ``/etc`` run."""
        return self.booted if self.applied is None else self.applied

    @property
    def is_running(self) -> bool:
        """Whether it is this very machine, and not one in a directory."""
        return self.root == RUNNING_SYSROOT

    def command(self, words: str) -> str:
        """The command ``atoll WORDS`` for this machine, to be typed as a hint shows it."""
        root = "" if self.booted is not None else f" --root {quote(str(self.root))}"
        return f"atoll {words}{root}"

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
    def entry_list(self) -> Path:
        return self.state / "entries.json"


def find_sysroot(root: Path | None) -> Sysroot:
    """The machine in directory ``root``, or the running one; raises NotFound when there is none."""
    if root is None:
        if not BOOTED.exists():
            raise NotFound(
                "this computer does not run an Atoll system",
                hint="to create one: atoll new DIR; for one that is mounted at DIR: --root DIR",
            )
        booted = parse_booted(read_regular(BOOTED, limit=OWN_LIMIT))
        live = parse_live(read_if_there(LIVE))
        other = read_if_there(RUNNING)
        applied = None if other is None else parse_booted(other, where=RUNNING)
        return Sysroot(
            root=RUNNING_SYSROOT,
            esp=RUNNING_ESP,
            booted=booted,
            live=live,
            applied=applied,
            loader=_find_loader(RUNNING_SYSROOT),
        )
    sysroot = Sysroot(root=root, esp=root / "esp")
    if not sysroot.deployments.is_dir():
        raise NotFound(
            f"there is no Atoll system in {root}",
            hint="is the machine's state partition mounted there? lsblk shows what is",
        )
    return sysroot


def _find_loader(root: Path) -> Path | None:
    """Where the ESP is mounted, when kernels are elsewhere. Only root can see that."""
    try:
        (root / "atoll/state" / BOOT_PARTITION).lstat()
    except OSError:
        return None
    return RUNNING_LOADER


def find_installed(root: Path | None) -> Sysroot:
    """As ``find_sysroot``, for what changes which deployments there are or what boots; raises
    Refused on a live system."""
    sysroot = find_sysroot(root)
    if sysroot.live is not None:
        raise Refused(
            "this is a live system: its stick is never changed",
            hint="install it on a disk with atoll install, and change it there",
        )
    return sysroot


def is_live() -> bool:
    """Whether a live system runs."""
    return LIVE.exists()


def parse_live(data: bytes | None) -> LiveChanges | None:
    """What early boot wrote of a live system; None on an installed one. Raises Damaged."""
    if data is None:
        return None
    try:
        return LiveChanges(data.decode().rstrip("\n"))
    except ValueError:
        raise Damaged(f"{LIVE} does not say where changes go") from None


def parse_booted(data: bytes, *, where: Path = BOOTED) -> int:
    """The number of the deployment that runs, from what early boot wrote, or a live change. Raises
    Damaged.

    The shell scripts on machines read the same line (``read_booted`` in ``formats.sh``).
    """
    number = parse_json_object(data, where=str(where)).get("deployment")
    if type(number) is not int or not is_number(str(number)):
        raise Damaged(f"{where} does not say which deployment runs")
    return number
