"""The way back, over random histories: verbs, boots, damage, each with cuts and faults.

After every step an independent checker (``tests.wayback_checker``) looks at the disk. No verb, cut
or fault of a call ever takes the last way back; where damage did, ``status`` says so.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import AtollError
from atoll.base.report import NullReporter
from atoll.machine.cancel import cancel
from atoll.machine.deployments.boot_check import verifier
from atoll.machine.deployments.state import read_state
from atoll.machine.deployments.sysroot import Sysroot
from atoll.machine.deployments.way_back import explain_no_way_back
from atoll.machine.gc import collect_garbage
from atoll.machine.health.bless import bless
from atoll.machine.health.boot_failure_report import (
    apply_report,
    decide_failed,
    plan_report,
)
from atoll.machine.pin import set_pin
from atoll.machine.rollback import rollback
from atoll.machine.upgrade import UpgradeRequest, upgrade
from tests.faults.effects import is_effect
from tests.faults.test_machine_faults import CUT
from tests.machines import Maker
from tests.wayback_checker import Choice, loader_entries, ways_back, why_not

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.root

QUIET = NullReporter()
IMAGES, STEPS, LENGTH = 6, 90, 30
LONG = int(os.environ.get("ATOLL_WAY_BACK_STEPS", "13000"))
FAULTS = (errno.EIO, errno.EMFILE, errno.EACCES, errno.ENOMEM, errno.ENOSPC)
READS = {"open", "os.listdir", "os.scandir"}


@dataclass
class History:
    """One machine and what happens to it, by one seed."""

    seed: int
    root: Path
    images: list[str]
    log: list[str] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    booted: int | None = None

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)  # a history, not a secret

    @property
    def machine(self) -> Sysroot:
        return Sysroot(root=self.root, esp=self.root / "esp", booted=self.booted)

    def step(self) -> None:
        pick = self.random.random()
        if pick < 0.70:
            self._verb()
        elif pick < 0.92:
            self._boot()
        else:
            self._damage()

    # A verb, alone or with a fault.

    def _verb(self) -> None:
        name, work = self._choose_verb()
        before, kept = ways_back(self.root), self._untouchable()
        kind = self.random.choice(["", "", "cut", "effect", "read", "path"])
        code, told = self._call(work, kind)
        self.log.append(f"{name} {kind} -> {code} {told}")
        self.done[f"{name.split()[0]} {kind}".strip()] += 1
        assert not told.startswith("bug"), self._story()
        after = ways_back(self.root)
        assert after or not before, f"{name} took the last way back\n{self._story()}"
        assert all(self._path(number).exists() for number in kept), (
            f"{name} removed what stays\n{self._story()}"
        )
        if name.startswith("rollback") and code == 0:
            top = loader_entries(self.root / "esp")[0]
            assert not why_not(self.root, top), f"went to what cannot boot\n{self._story()}"
        self._check_status()

    def _choose_verb(self) -> tuple[str, Callable[[], object]]:
        machine, draw = self.machine, self.random
        numbers = sorted(
            int(path.name) for path in machine.deployments.iterdir() if path.name.isdecimal()
        )
        number = draw.choice(numbers)
        image, keep = draw.choice(self.images), draw.randint(1, 4)
        which = draw.choice([None, str(number), f"number:{number}", "yesterday"])
        keep_etc, held, pinned = (draw.random() < 0.5 for _ in range(3))
        rebase = UpgradeRequest(verb="rebase", image=image, even_held=held)
        verbs: list[tuple[str, Callable[[], object]]] = [
            (f"upgrade to {image[-8:]}", lambda: upgrade(machine, rebase, QUIET)),
            (
                f"rollback {which} keep_etc={keep_etc}",
                lambda: rollback(machine, which, QUIET, keep_etc=keep_etc),
            ),
            ("cancel", lambda: cancel(machine, QUIET)),
            (f"pin {number} {pinned}", lambda: set_pin(machine, number, pinned=pinned)),
            (f"gc {keep}", lambda: collect_garbage(machine, keep, QUIET, damaged=held and pinned)),
        ]
        return draw.choices(verbs, weights=[35, 35, 8, 7, 15])[0]

    def _call(self, work: Callable[[], object], kind: str) -> tuple[int, str]:
        """In a child, which ends as a power cut ends it, or gets an error from the system."""
        number, error = int(self.random.expovariate(1 / 40)), self.random.choice(FAULTS)
        parts = ("deployment.json", "images/", "loader/entries", "state/", "numbers", "/linux")
        part = self.random.choice(parts)
        reader, writer = os.pipe()
        child = os.fork()
        if child:
            os.close(writer)
            with os.fdopen(reader, "rb") as file:
                told = file.read().decode(errors="replace")
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), told
        count = 0

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal count
            path = str(arguments[0]) if arguments else ""
            if kind == "path":
                if event in READS and part in path and path.startswith(str(self.root)):
                    raise OSError(error, os.strerror(error), path)
                return
            hit = (
                is_effect(event, arguments)
                if kind != "read"
                else (event in READS and path.startswith(str(self.root)))
            )
            if not hit:
                return
            count += 1
            if count - 1 == number:
                if kind == "cut":
                    os._exit(CUT)
                raise OSError(error, os.strerror(error), path)

        try:
            if kind:
                sys.addaudithook(hook)
            work()
            os._exit(0)
        except (AtollError, OSError) as failed:
            os.write(writer, repr(failed)[:300].encode())
            os._exit(1)
        except BaseException as failed:
            import traceback

            os.write(writer, f"bug: {failed!r} {traceback.format_exc()[-1500:]}".encode())
            os._exit(70)

    # What the loader and the firmware do.

    def _boot(self) -> None:
        self.done["boot"] += 1
        menu = self.random.random() < 0.2
        for _ in range(9):
            entries = loader_entries(self.root / "esp")
            if not entries:
                self.log.append("boot: the menu is empty")
                return
            choice = self.random.choice(entries) if menu else entries[0]
            menu = False
            choice = self._count(choice)
            good = hash((self.seed, choice.deployment)) % 3 or choice.left is None
            if not why_not(self.root, choice) and (good or choice.left == 0):
                self._came_up(choice)
                return
            self._failed(choice)
        self.log.append("boot: nothing comes up")

    def _count(self, choice: Choice) -> Choice:
        """As systemd-boot does before it starts a counted entry."""
        if not choice.left:
            return choice
        left, used = choice.left - 1, choice.used + 1
        stem = choice.path.name.partition("+")[0]
        path = choice.path.rename(choice.path.with_name(f"{stem}+{left}-{used}.conf"))
        return replace(choice, path=path, left=left, used=used)

    def _came_up(self, choice: Choice) -> None:
        self.booted = int(choice.deployment)
        self.log.append(f"boot: {choice.path.name} came up as {self.booted}")
        state = read_state(self.machine)
        given_up = decide_failed(self.machine, state, ())
        apply_report(self.machine, plan_report(self.machine, state, given_up, now=1))
        if choice.left is None:
            return
        before = ways_back(self.root)
        machine, number = self.machine, self.booted
        code, told = self._call(
            lambda: bless(machine, number, QUIET), self.random.choice(["", "", "cut", "effect"])
        )
        self.log.append(f"bless -> {code} {told}")
        assert ways_back(self.root) or not before, f"bless took it\n{self._story()}"

    def _failed(self, choice: Choice) -> None:
        self.log.append(f"boot: {choice.path.name} failed")
        notes = self.root / "atoll/state/tries" / choice.deployment
        if self.random.random() < 0.7:
            notes.mkdir(parents=True, exist_ok=True)
            (notes / f"{choice.used or 1}-started").write_text(choice.path.name)
            (notes / f"{choice.used or 1}-failed").write_text("it did not come up")

    # What disks and people do.

    def _damage(self) -> None:
        draw, root = self.random, self.root
        files = {
            "kernel": [*root.glob("esp/atoll/*/*")],
            "tree": [*root.glob("atoll/images/*")],
            "entry": [*root.glob("esp/loader/entries/*")],
            "description": [*root.glob("atoll/deployments/*/deployment.json")],
            "numbers": [*root.glob("atoll/state/numbers.json")],
        }
        kind = draw.choice([*files, "stray"])
        self.done[f"damage {kind}"] += 1
        if kind == "stray":
            place = draw.choice([*root.glob("esp/atoll/*"), root / "atoll/deployments/77"])
            (place / "stray").mkdir(parents=True, exist_ok=True)
            self.log.append(f"damage: a directory in {place.name}")
            return
        if not files[kind]:
            return
        path = draw.choice(files[kind])
        how = draw.choice(["gone", "flipped", "empty"])
        if kind == "description" and how == "empty":
            path.write_text(path.read_text().replace('"format": 1', '"format": 2'))
        elif path.is_dir():
            return
        elif how == "gone":
            path.unlink()
        elif how == "empty":
            path.write_bytes(b"")
        else:
            data = bytearray(path.read_bytes() or b"x")
            data[draw.randrange(len(data))] ^= 0x55
            path.unlink()
            path.write_bytes(data)
        self.log.append(f"damage: {kind} {path.relative_to(root)} {how}")
        self._check_status()

    # What must hold.

    def _path(self, number: int) -> Path:
        return self.root / "atoll/deployments" / str(number)

    def _untouchable(self) -> set[int]:
        """Deployments that no verb removes: what runs, what is pinned, what cannot be read."""
        deployments = self.root / "atoll/deployments"
        there = {int(path.name) for path in deployments.iterdir() if path.name.isdecimal()}
        pinned = {
            int(path.name)
            for path in (self.root / "atoll/state/pinned").glob("*")
            if path.name.isdecimal()
        }
        return {number for number in there if number == self.booted or number in pinned}

    def _check_status(self) -> None:
        """Where there is none, status says so."""
        state = read_state(self.machine)
        told = explain_no_way_back(state, verifier(self.machine))
        if not ways_back(self.root):
            assert told or not state.deployments, f"status is silent\n{self._story()}"

    def _story(self) -> str:
        entries = [
            f"{each.path.name} boots {each.deployment}: {why_not(self.root, each) or 'fine'}"
            for each in loader_entries(self.root / "esp")
        ]
        return "\n".join([f"seed {self.seed}", *self.log[-60:], *entries])


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[str]]]:
    place = tmp_path_factory.mktemp("way-back")
    maker = Maker(place / "maker")
    images = [maker.publish(f"v{number}", kernel=f"6.{number // 2}-x") for number in range(IMAGES)]
    maker.install(place / "machine", images[0])
    yield place / "machine", [each.reference for each in images]


def live(start: tuple[Path, list[str]], seed: int, root: Path, steps: int) -> Counter[str]:
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(start[0], root, symlinks=True)
    history = History(seed=seed, root=root, images=start[1])
    for _ in range(steps):
        history.step()
    return history.done


@pytest.mark.parametrize("seed", range(STEPS // LENGTH))
def test_no_history_takes_the_way_back(
    start: tuple[Path, list[str]], tmp_path: Path, seed: int
) -> None:
    assert sum(live(start, seed, tmp_path / "machine", LENGTH).values()) == LENGTH


@pytest.mark.long
def test_no_long_history_takes_the_way_back(start: tuple[Path, list[str]], tmp_path: Path) -> None:
    done: Counter[str] = Counter()
    first = int(os.environ.get("ATOLL_WAY_BACK_SEED", "1000"))
    for number in range(LONG // LENGTH):
        done += live(start, first + number, tmp_path / "machine", LENGTH)
    sys.stderr.write(f"\n{sum(done.values())} steps: {dict(sorted(done.items()))}\n")
    assert sum(done.values()) >= LONG - LENGTH
