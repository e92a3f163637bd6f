"""Verbs that change what a machine is made of, stopped before any one of their effects.

Power fails, a person presses Ctrl-C, the disk is full, the disk fails. Afterwards machine file,
lock and system agree, everything that the loader may take is whole, and the same verb once more
comes to its end and leaves nothing behind. The builder is the real one, on a tiny system.
"""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import AtollError
from atoll.base.report import NullReporter
from atoll.layering.machine_text import read_text, write_text
from atoll.machine.auto.decide import MEGABYTE, AutoFacts
from atoll.machine.auto.run import update_machine
from atoll.machine.confirm import confirm
from atoll.machine.deployments.state import read_state
from atoll.machine.deployments.sysroot import Sysroot
from atoll.machine.gc import collect_garbage
from atoll.machine.health.bless import bless
from atoll.machine.health.checks import HealthResult
from atoll.machine.reset import EARLY_BOOT_RESET
from atoll.machine.upgrade import UpgradeRequest, upgrade
from atoll.recipe.model import Update
from tests.faults.effects import is_effect
from tests.faults.test_machine_faults import check_bootable, names_below
from tests.life import RIVAL, Wanted, format_wanted, parse_lock, parse_wanted
from tests.machines import check_machine
from tests.tiny_system import Done, TinyWorld, run_in_child, run_verb, tiny_world

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.root

CUT, BUG, INTERRUPTED, NO_SPACE, NOTHING_TO_DO = 99, 70, 130, 6, 77
MISSING, NOT_FOUND = 4, 7
QUIET = NullReporter()
RUNS = 2
"""The deployment that runs: the image with a package and a kernel argument."""
FACTS = AutoFacts(free=10_000 * MEGABYTE)


def stop_by_cut(_path: str) -> None:
    os._exit(CUT)


def stop_by_interrupt(_path: str) -> None:
    raise KeyboardInterrupt


def stop_by_full_disk(path: str) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)


def stop_by_bad_disk(path: str) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO), path)


STOPS = {
    "cut": stop_by_cut,
    "interrupt": stop_by_interrupt,
    "full disk": stop_by_full_disk,
    "bad disk": stop_by_bad_disk,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """``words`` of the command line, or ``work`` where it does not take a machine in a directory.
    ``prepare`` is done before. ``codes`` are those of its end without a fault."""

    words: tuple[str, ...] = ()
    work: Callable[[Sysroot], object] | None = None
    prepare: Callable[[Sysroot], object] = lambda _: None
    codes: tuple[int, ...] = (0,)


def write_wanted(machine: Sysroot, **changes: object) -> None:
    path = upper_of(machine, RUNS) / "atoll/machine.toml"
    wanted = parse_wanted(path)
    assert wanted is not None
    path.write_text(format_wanted(replace(wanted, **changes)))  # type: ignore[arg-type]


def upper_of(machine: Sysroot, number: int) -> Path:
    return machine.deployments / str(number) / "etc/upper"


def stage_to_be_confirmed(machine: Sysroot) -> None:
    """Another deployment came up, and waits to be confirmed; the machine file has no part in it."""
    write_wanted(machine, install=(), args=frozenset())
    upgrade(machine, UpgradeRequest(verb="upgrade", confirm=600), QUIET)


def confirm_it(machine: Sysroot) -> None:
    healthy = HealthResult(when=1, checks=())
    confirm(replace(machine, booted=3), healthy, QUIET)


def edit(machine: Sysroot) -> None:
    before = read_text(machine)
    write_text(machine, before, f"{before}# edited\n")


VERBS = {
    "add": Verb(words=("add", "extra")),
    "remove": Verb(words=("remove", "tool")),
    "remove from the image": Verb(words=("remove", "nano")),
    "apply": Verb(
        words=("apply",), prepare=lambda machine: write_wanted(machine, args=frozenset({"reef.b"}))
    ),
    "edit": Verb(work=edit),
    "kargs add": Verb(words=("kargs", "add", "reef.c")),
    "kargs remove": Verb(words=("kargs", "remove", "reef.a")),
    "upgrade": Verb(words=("upgrade",)),
    "upgrade, held": Verb(
        words=("upgrade",),
        prepare=lambda machine: write_wanted(machine, install=("tool", "clash")),
        codes=(11,),
    ),
    "upgrade, dropped": Verb(
        words=("upgrade",),
        prepare=lambda machine: write_wanted(machine, install=("tool", "clash"), layers="drop"),
    ),
    "upgrade --confirm": Verb(words=("upgrade", "--confirm", "10m")),
    "confirm": Verb(work=confirm_it, prepare=stage_to_be_confirmed),
    "rebase": Verb(words=("rebase", "other")),
    "rollback": Verb(words=("rollback", "1")),
    "drift --adopt": Verb(words=("drift", "--adopt", "--yes")),
    "reset": Verb(words=("reset", "--keep-home", "--yes")),
    "auto": Verb(work=lambda machine: update_machine(machine, FACTS, Update(auto="stage"), QUIET)),
    "search --refresh": Verb(words=("search", "--refresh", "tool")),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    world: TinyWorld
    folder: Path

    @property
    def machine(self) -> Sysroot:
        root = self.folder / "machine"
        return Sysroot(root=root, esp=root / "esp", booted=RUNS)

    def make(self, template: str = "template") -> Sysroot:
        shutil.rmtree(self.folder / "machine", ignore_errors=True)
        subprocess.run(["cp", "-a", self.folder / template, self.folder / "machine"], check=True)
        return self.machine

    def run(self, name: str, before: Callable[[], object] = lambda: None) -> Done:
        verb, machine = VERBS[name], self.machine
        words = [
            self.world.maker.follow("other") if word == "other" else word for word in verb.words
        ]
        if verb.work is None:
            return run_verb(self.world, machine.root, *words, booted=RUNS, before=before)
        work = verb.work

        def act() -> int:
            before()
            try:
                work(machine)
            except KeyboardInterrupt:
                return INTERRUPTED
            except AtollError as error:
                return error.exit_code
            except OSError as error:
                # What the command line makes of it.
                return NO_SPACE if error.errno == errno.ENOSPC else 1
            return 0

        return run_in_child(self.world, act)

    def warm(self, name: str) -> None:
        """A template in which what the verb builds is in the cache: its effects are then those on
        the machine, which are tried one by one."""
        machine = self.make()
        VERBS[name].prepare(machine)
        shutil.rmtree(self.folder / "warm", ignore_errors=True)
        subprocess.run(["cp", "-a", machine.root, self.folder / "warm"], check=True)
        assert self.run(name).code in VERBS[name].codes
        shutil.rmtree(self.folder / "warm/atoll/cache", ignore_errors=True)
        cache = self.folder / "warm/atoll/cache"
        subprocess.run(["cp", "-a", machine.atoll / "cache", cache], check=True)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    """A machine with a layer that runs, and a newer image and package that it can have."""
    folder = tmp_path_factory.mktemp("v")
    with tiny_world(tmp_path_factory.mktemp("w")) as world:
        (folder / "files").mkdir()
        world.offer(("lib", "1", {}), ("tool", "1", {"depends": "lib"}), ("extra", "1", {}))
        world.offer(("clash", "1", {"conflicts": RIVAL}))
        (world.folder / "tiny" / EARLY_BOOT_RESET).parent.mkdir(parents=True)
        (world.folder / "tiny" / EARLY_BOOT_RESET).write_text("# it knows a /var of its own\n")
        first = world.publish("1")
        machine = world.maker.install(folder / "template", first, follow=world.maker.follow("reef"))
        (upper_of(machine, 1) / "atoll").mkdir(parents=True)
        mine = format_wanted(Wanted(install=("tool",), args=frozenset({"reef.a"})))
        (upper_of(machine, 1) / "atoll/machine.toml").write_text(mine)
        (upper_of(machine, 1) / "mine.conf").write_text("mine\n")
        done = run_verb(world, machine.root, "apply", booted=1)
        assert done.code == 0, done.told
        (machine.deployments / f"{RUNS}/etc/merged-from").unlink()
        bless(replace(machine, booted=RUNS), RUNS, QUIET)
        (machine.atoll / "var/home").mkdir(parents=True, exist_ok=True)
        world.offer(("tool", "2", {"depends": "lib"}))
        world.publish("2", {RIVAL: "1"})
        world.publish("1", name="other")
        yield Prepared(world=world, folder=folder)


def stop_at(number: int, stop: Callable[[str], None]) -> Callable[[], None]:
    """Installs a hook that stops before effect ``number``; devices are not on the disk."""
    numbers = itertools.count()

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        path = str(arguments[0]) if arguments else ""
        counts = is_effect(event, arguments) and not path.startswith("/dev/")
        if counts and next(numbers) == number:
            stop(path)

    return lambda: sys.addaudithook(hook)


def picture(machine: Sysroot) -> tuple[object, ...]:
    """What boots next, of what, with which settings."""
    state = read_state(machine)
    assert state.default is not None and state.damaged == ()
    upper = upper_of(machine, state.default.number)
    file = upper / "atoll/machine.toml"
    text = file.read_text() if file.is_file() else None
    mine = upper / "mine.conf"
    tree = state.default.deployment.tree
    return (tree, text, parse_lock(upper / "atoll/machine.lock"), mine.exists())


def check_agreement(machine: Sysroot, before: tuple[object, ...]) -> None:
    """The machine file of what boots next is the one that it was built from, unless a person wrote
    another one before."""
    state = read_state(machine)
    assert state.default is not None
    number = state.default.number
    own, upper = machine.deployments / str(number), upper_of(machine, number)
    if number == RUNS and picture(machine) == before:
        return
    if (own / "machine.toml").exists():
        assert parse_wanted(own / "machine.toml") == parse_wanted(upper / "atoll/machine.toml")
        assert parse_lock(own / "machine.lock") == parse_lock(upper / "atoll/machine.lock")


def try_stop(prepared: Prepared, name: str, kind: str, number: int, seen: Seen) -> int:
    """Stop once, look, and finish; the code of the run that was stopped."""
    machine = prepared.make("warm")
    done = prepared.run(name, stop_at(number, STOPS[kind]))
    where = f"{name}: {kind} before effect {number}: {done.code}\n{done.told}"
    expected = {
        "cut": (CUT,),
        "interrupt": (INTERRUPTED,),
        # The C library is loaded for system calls: what fails so may be a mount namespace.
        "full disk": (NO_SPACE, MISSING),
        "bad disk": (*range(1, BUG), NOTHING_TO_DO),
    }[kind]
    assert done.code in (*expected, *VERBS[name].codes), where
    assert "Traceback" not in done.told, where
    found = picture(machine)
    assert found in (seen.old, seen.new), where
    check_agreement(machine, seen.old)
    check_bootable(machine)
    if name != "confirm":
        again = prepared.run(name)
        # What is done already: nothing to do, or there is nothing to remove.
        already = (NOTHING_TO_DO, NOT_FOUND) if found == seen.new else ()
        assert again.code in (*VERBS[name].codes, *already), f"{where}\n{again.told}"
        assert picture(machine) == seen.new, where
    collect_garbage(machine, 3, QUIET)
    check_machine(replace(machine, booted=None))
    assert names_below(machine) <= seen.names, f"{where}\n{names_below(machine) - seen.names}"
    left = [*machine.atoll.glob("cache/*/.new-*"), *machine.state.glob(".machine.*")]
    assert left == [], where
    return done.code


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the machine is before the verb and after it, and all names that it may have then."""

    old: tuple[object, ...]
    new: tuple[object, ...]
    names: set[str]
    effects: int


def look(prepared: Prepared, name: str) -> Seen:
    prepared.warm(name)
    machine = prepared.make("warm")
    old, names = picture(machine), names_below(machine)
    count = itertools.count()
    counted = prepared.folder / "counted"

    def counting() -> None:
        counted.write_bytes(b"")
        file = os.open(counted, os.O_WRONLY | os.O_APPEND)

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            path = str(arguments[0]) if arguments else ""
            if is_effect(event, arguments) and not path.startswith("/dev/"):
                next(count)
                os.write(file, b".")

        sys.addaudithook(hook)

    done = prepared.run(name, counting)
    assert done.code in VERBS[name].codes, done.told
    names |= names_below(machine)
    new = picture(machine)
    collect_garbage(machine, 3, QUIET)
    known = names | names_below(machine) | {"atoll/refs/downloaded.json", "atoll/state/layers.json"}
    return Seen(old=old, new=new, names=known, effects=counted.stat().st_size)


@pytest.mark.parametrize(
    ("name", "kinds"), [("add", ("cut", "interrupt")), ("upgrade", ("full disk", "bad disk"))]
)
def test_stopped_somewhere(prepared: Prepared, name: str, kinds: tuple[str, ...]) -> None:
    seen = look(prepared, name)
    for part, kind in enumerate(kinds, start=1):
        try_stop(prepared, name, kind, seen.effects * part // 3, seen)


STRIDE = int(os.environ.get("ATOLL_FAULT_STRIDE", "1"))


@pytest.mark.long
@pytest.mark.parametrize("kind", STOPS)
@pytest.mark.parametrize("name", VERBS)
def test_stopped_anywhere(prepared: Prepared, name: str, kind: str) -> None:
    seen = look(prepared, name)
    assert seen.effects > 5
    codes = {
        try_stop(prepared, name, kind, number, seen) for number in range(0, seen.effects, STRIDE)
    }
    assert codes - {*VERBS[name].codes}, "the effects were not seen"
