"""Whatever changes a machine is stopped before any one of its effects: the old or the new, never a
third; the next operation clears up, and the same one can be done again.

A child process does the work with an audit hook, which sees every effect before it happens, and
ends the process there, as a power cut would, or raises what Ctrl-C or a full disk raises.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import AtollError, NothingToDo
from atoll.base.report import NullReporter
from atoll.machine.cancel import cancel
from atoll.machine.cleanup import trees_of
from atoll.machine.deployments.state import read_state
from atoll.machine.deployments.sysroot import Sysroot
from atoll.machine.etc.etc_commands import read_machine_etc
from atoll.machine.etc.etc_tree import node_at
from atoll.machine.gc import collect_garbage
from atoll.machine.pin import set_pin
from atoll.machine.rollback import rollback
from atoll.machine.upgrade import UpgradeRequest, upgrade
from tests.faults.effects import is_effect
from tests.machines import Maker, check_contents, check_machine, write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.root

CUT, INTERRUPTED, REFUSED, DONE = 77, 130, 6, 0
QUIET = NullReporter()


def run_child(work: Callable[[], object], number: int, stop: Callable[[], None]) -> int:
    """Do ``work`` in a child that stops before its effect ``number``."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    numbers = itertools.count()

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if is_effect(event, arguments) and next(numbers) == number:
            stop()

    try:
        sys.addaudithook(hook)
        work()
        os._exit(DONE)
    except KeyboardInterrupt:
        os._exit(INTERRUPTED)
    except (AtollError, OSError) as error:
        told = getattr(error, "exit_code", error.errno if isinstance(error, OSError) else 1)
        os._exit(REFUSED if told in (REFUSED, errno.ENOSPC) else 1)
    except BaseException as error:
        os.write(2, repr(error).encode())
        os._exit(1)


def cut() -> None:
    os._exit(CUT)


def interrupt() -> None:
    raise KeyboardInterrupt


def fill() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A machine with two versions of which the newer one runs, and a third one published."""
    place = tmp_path_factory.mktemp("prepared")
    maker = Maker(place / "maker")
    machine = maker.install(place / "machine", maker.publish("1"))
    write(machine.deployments / "1/etc/upper", {"mine.conf": "mine\n"})
    maker.publish("2", {"etc/two.conf": "two\n"}, kernel="6.13-two")
    upgrade(machine, UpgradeRequest(verb="upgrade"), QUIET)
    (machine.entries / "atoll-2+3.conf").rename(machine.entries / "atoll-2.conf")
    # With two to keep, an upgrade has one to remove.
    keep = "schema = 1\n[keep]\ndeployments = 2\n"
    mine = {"ssh/sshd_config": "Port 2222\n", "atoll/machine.toml": keep}
    write(machine.deployments / "2/etc/upper", mine)
    maker.publish("3", {"etc/three.conf": "three\n"}, kernel="6.14-three")
    maker.publish("4", name="other", kernel="6.15-four")
    return place


WORKS: dict[str, Callable[[Sysroot], object]] = {
    "upgrade": lambda machine: upgrade(machine, UpgradeRequest(verb="upgrade"), QUIET),
    "rebase": lambda machine: upgrade(
        machine, UpgradeRequest(verb="rebase", image=other_image(machine)), QUIET
    ),
    "rollback": lambda machine: rollback(machine, "1", QUIET, keep_etc=False),
    "rollback with today's /etc": lambda machine: rollback(machine, "1", QUIET, keep_etc=True),
    "cancel": lambda machine: cancel(machine, QUIET),
    "pin": lambda machine: set_pin(machine, 1, pinned=True),
    "gc": lambda machine: collect_garbage(machine, 2, QUIET),
}


def other_image(machine: Sysroot) -> str:
    from atoll.machine.deployments.state import read_origin

    current = read_state(machine).current
    assert current is not None
    return read_origin(machine, current.number).image.replace(":hello", ":other")


def fresh(prepared: Path, work: str, into: Path) -> Sysroot:
    shutil.rmtree(into, ignore_errors=True)
    shutil.copytree(prepared / "machine", into, symlinks=True)
    machine = Sysroot(root=into, esp=into / "esp")
    if work == "gc":
        # Else the upgrades before it leave it nothing to remove.
        many = {"atoll/machine.toml": "schema = 1\n[keep]\ndeployments = 9\n"}
        write(machine.deployments / "2/etc/upper", many)
    if work in ("cancel", "gc"):
        upgrade(machine, UpgradeRequest(verb="upgrade"), QUIET)
    if work == "gc":
        (machine.entries / "atoll-3+3.conf").rename(machine.entries / "atoll-3.conf")
        upgrade(machine, UpgradeRequest(verb="rebase", image=other_image(machine)), QUIET)
        (machine.entries / "atoll-4+3.conf").rename(machine.entries / "atoll-4.conf")
    return machine


@pytest.mark.parametrize("work", WORKS)
def test_cut_before_any_effect_it_is_the_old_or_the_new(
    prepared: Path, tmp_path: Path, work: str
) -> None:
    machine = fresh(prepared, work, tmp_path / "machine")
    old, before = picture(machine), len(read_state(machine).deployments)
    WORKS[work](machine)
    new, after = picture(machine), len(read_state(machine).deployments)
    assert work != "gc" or after < before
    for number in itertools.count():
        machine = fresh(prepared, work, tmp_path / "machine")
        code = run_child(lambda machine=machine: WORKS[work](machine), number, cut)  # type: ignore[misc]
        assert code in (CUT, DONE), number
        found = picture(machine)
        assert found in (old, new), f"{work} cut before effect {number}"
        check_bootable(machine)
        # The next one clears up, whatever it is.
        collect_garbage(machine, 3, QUIET)
        check_machine(machine)
        assert picture(machine) == found, f"{work} cut before effect {number}, then gc"
        if code == DONE:
            break
        try:
            WORKS[work](machine)
        except NothingToDo:
            assert found == new
        check_machine(machine)
        assert picture(machine)[1:] == new[1:]
    assert number > 2


@pytest.mark.parametrize(("stop", "ended"), [(interrupt, INTERRUPTED), (fill, REFUSED)])
def test_an_upgrade_that_is_stopped_says_so_and_can_be_done_again(
    prepared: Path, tmp_path: Path, stop: Callable[[], None], ended: int
) -> None:
    machine = fresh(prepared, "upgrade", tmp_path / "machine")
    old = picture(machine)
    WORKS["upgrade"](machine)
    new = picture(machine)
    codes = []
    for number in itertools.count(0, 3):
        machine = fresh(prepared, "upgrade", tmp_path / "machine")
        code = run_child(lambda machine=machine: WORKS["upgrade"](machine), number, stop)  # type: ignore[misc]
        codes.append(code)
        found = picture(machine)
        assert found in (old, new), number
        # What goes wrong after the commit is told, and is no failure of the upgrade.
        assert code == ended or (found == new and code == DONE), (number, code)
        check_bootable(machine)
        if found == new and code == DONE and number > 400:
            break
        collect_garbage(machine, 3, QUIET)
        check_machine(machine)
        if code == DONE and found == new and not stopped(number, prepared, tmp_path):
            break
    assert codes.count(ended) > 5, "the effects were not seen"


def stopped(number: int, prepared: Path, tmp_path: Path) -> bool:
    """Whether an upgrade has an effect with that number at all."""
    machine = fresh(prepared, "upgrade", tmp_path / "count")
    return run_child(lambda: WORKS["upgrade"](machine), number, cut) == CUT


def picture(machine: Sysroot) -> tuple[object, ...]:
    """What a person would say the machine is: what boots next, with which settings."""
    state = read_state(machine)
    default = state.default
    assert default is not None
    etc = read_machine_etc(machine, default.number)
    names = ("mine.conf", "two.conf", "three.conf", "ssh/sshd_config")
    found = [node_at(etc.live, name) for name in names]
    pinned = frozenset(each.number for each in state.deployments if each.pinned)
    contents = tuple(None if node is None else node.entry.read() for node in found)
    return (default.number, default.deployment.tree, contents, pinned)


def check_bootable(machine: Sysroot) -> None:
    """Everything that the loader may take is complete."""
    state = read_state(machine)
    for placed in state.menu.entries:
        assert placed.entry is not None
        for path in (placed.entry.linux, placed.entry.initrd):
            assert (machine.esp / path.lstrip("/")).stat().st_size > 5000
        assert state.find(placed.deployment) is not None
        assert (machine.deployments / str(placed.deployment) / "etc/upper").is_dir()
    check_contents(machine, trees_of(state))


@pytest.mark.parametrize("work", ["upgrade", "rollback", "cancel", "rollback with today's /etc"])
def test_whatever_a_cut_leaves_is_found_by_the_next_one(
    prepared: Path, tmp_path: Path, work: str
) -> None:
    """No name is there afterwards that a machine without a cut does not have."""
    machine = fresh(prepared, work, tmp_path / "machine")
    WORKS[work](machine)
    collect_garbage(machine, 3, QUIET)
    known = names_below(machine) | names_below(fresh(prepared, work, tmp_path / "old"))
    known |= {"atoll/refs/downloaded.json"}  # what was fetched is not fetched again
    for number in itertools.count(1, 2):
        machine = fresh(prepared, work, tmp_path / "machine")
        code = run_child(lambda machine=machine: WORKS[work](machine), number, cut)  # type: ignore[misc]
        collect_garbage(machine, 3, QUIET)
        assert names_below(machine) <= known, f"{work} cut before effect {number}"
        if code == DONE:
            break


def names_below(machine: Sysroot) -> set[str]:
    """Every name on both partitions; numbers that a cut makes go on, as one."""
    places = (
        machine.root / name
        for name in ("atoll/state", "atoll/refs", "atoll/deployments", "atoll/staging", "esp")
    )
    paths = (path for place in places for path in place.rglob("*") if "etc/upper/" not in str(path))
    return {
        re.sub(r"(?<![0-9a-f])[0-9]+(?![0-9a-f])", "N", str(path.relative_to(machine.root)))
        for path in paths
    }
