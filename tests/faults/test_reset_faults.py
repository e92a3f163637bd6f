"""A reset, cut before any one of its effects: the machine is as before, or new, and never between.

What a deployment finds in /var, /home and /root is asked of early boot's own shell.
"""

from __future__ import annotations

import itertools
import shutil
import subprocess
from pathlib import Path

import pytest

from atoll.machine.cleanup import clean_up
from atoll.machine.deployments.own_var import has_own_var
from atoll.machine.deployments.state import read_state
from atoll.machine.deployments.sysroot import Sysroot
from atoll.machine.gc import collect_garbage
from atoll.machine.health.bless import bless
from atoll.machine.reset import EARLY_BOOT_RESET, finish_reset, reset
from tests.faults.test_machine_faults import CUT, DONE, QUIET, check_bootable, cut, run_child
from tests.machines import PASSWD, Maker, check_machine, write

pytestmark = pytest.mark.root

PART = Path(__file__).parents[2] / "system" / EARLY_BOOT_RESET
SHELL = """
partition=$1 deployment=$2 var=$3
. "$4"
find_var
var=$var_source
echo "$var_source"
for name in home root; do find_in_var $name; echo "$found"; done
"""
BEFORE = {"lib/x": "old", "home/ada/letter": "mine", "root/notes": "mine", "opt/tool/x": "old"}
ADA = "ada:x:1000:1000:Ada:/home/ada:/bin/bash\n"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A machine that a person has lived on, with two deployments."""
    place = tmp_path_factory.mktemp("prepared")
    maker = Maker(place / "maker")
    files = {EARLY_BOOT_RESET: PART.read_text(), "etc/skel/.profile": "welcome\n"}
    machine = maker.install(place / "machine", maker.publish("1", files))
    mine = {
        "motd": "mine\n",
        "hostname": "reef\n",
        "atoll/machine.toml": "schema = 1\n[keep]\ndeployments = 5\n",
        "passwd": PASSWD + ADA,
        "shadow": "root:*:1::::::\nada:$y$hash:1:0:99999:7:::\n",
    }
    write(machine.deployments / "1/etc/upper", mine)
    write(machine.atoll / "var", BEFORE)
    return place


def fresh(prepared: Path, into: Path) -> Sysroot:
    shutil.rmtree(into, ignore_errors=True)
    shutil.copytree(prepared / "machine", into, symlinks=True)
    return Sysroot(root=into, esp=into / "esp")


def seen(machine: Sysroot, number: int) -> dict[str, str]:
    """What deployment ``number`` has in /var, /home and /root, by early boot's shell."""
    done = subprocess.run(
        ["sh", "-eu", "-c", SHELL, "sh", machine.root, str(number), "-", PART],
        check=True,
        capture_output=True,
        text=True,
    )
    var, home, root = map(Path, done.stdout.split())
    found = {}
    for shown_as, folder in (("var", var), ("home", home), ("root", root)):
        for path in folder.rglob("*"):
            name = path.relative_to(folder)
            inside = shown_as == "var" and name.parts[0] in ("home", "root")
            if path.is_file() and not inside and path.name != ".atoll-fresh":
                found[f"{shown_as}/{name}"] = path.read_text()
    return found


OLD = {
    "var/lib/x": "old",
    "var/opt/tool/x": "old",
    "home/ada/letter": "mine",
    "root/notes": "mine",
}


def new_content(*, keep_home: bool) -> dict[str, str]:
    if keep_home:
        return {name: text for name, text in OLD.items() if not name.startswith("var")}
    return {"home/ada/.profile": "welcome\n"}


def default_of(machine: Sysroot) -> int:
    default = read_state(machine).default
    assert default is not None
    return default.number


@pytest.fixture
def step(request: pytest.FixtureRequest) -> int:
    """Each cut takes a second: without --long only some are tried."""
    return 1 if request.config.getoption("--long") else 17


@pytest.mark.parametrize("keep_home", [False, True])
def test_staging_a_reset_touches_nothing_that_was_there(
    prepared: Path, tmp_path: Path, keep_home: bool, step: int
) -> None:
    for number in itertools.count(0, step):
        machine = fresh(prepared, tmp_path / "machine")
        code = run_child(lambda: stage(tmp_path / "machine", keep_home), number, cut)
        assert code in (CUT, DONE), number
        assert seen(machine, 1) == OLD, number
        check_bootable(machine)
        if default_of(machine) == 2:
            assert seen(machine, 2) == new_content(keep_home=keep_home), number
            upper = machine.deployments / "2/etc/upper"
            assert (upper / "hostname").read_text() == "reef\n"
            assert ADA in (upper / "passwd").read_text()
            assert not (upper / "motd").exists() and not (upper / "atoll").exists()
            assert not (machine.deployments / "2/etc/merged-from").exists()
        else:
            assert code == CUT
            collect_garbage(machine, 3, QUIET)
            check_machine(machine)
        if code == DONE:
            break
    assert number > 20


def stage(root: Path, keep_home: bool) -> None:
    reset(Sysroot(root=root, esp=root / "esp"), keep_home=keep_home, reporter=QUIET)


def staged(prepared: Path, into: Path, *, keep_home: bool) -> Sysroot:
    """The machine in its first boot after the reset: the new system has written to its /var."""
    machine = fresh(prepared, into)
    reset(machine, keep_home=keep_home, reporter=QUIET)
    write(machine.deployments / "2/var", {"lib/x": "new", "home/.trash/x": "placeholder"})
    if not keep_home:
        shutil.rmtree(machine.deployments / "2/var/home/.trash")
    return machine


def finish(root: Path) -> None:
    machine = Sysroot(root=root, esp=root / "esp")
    bless(machine, 2, QUIET)
    finish_reset(machine, QUIET)


@pytest.mark.parametrize("keep_home", [False, True])
def test_taking_over_the_new_state_is_never_between(
    prepared: Path, tmp_path: Path, keep_home: bool, step: int
) -> None:
    expected = {"var/lib/x": "new", **new_content(keep_home=keep_home)}
    staged(prepared, tmp_path / "staged", keep_home=keep_home)
    for number in itertools.count(0, step):
        shutil.rmtree(tmp_path / "machine", ignore_errors=True)
        shutil.copytree(tmp_path / "staged", tmp_path / "machine", symlinks=True)
        machine = Sysroot(root=tmp_path / "machine", esp=tmp_path / "machine/esp")
        assert seen(machine, 2) == expected
        code = run_child(lambda: finish(tmp_path / "machine"), number, cut)
        assert code in (CUT, DONE), number
        assert default_of(machine) == 2
        assert seen(machine, 2) == expected, number
        if read_state(machine).find(1) and not read_state(machine).find(2).blessed:  # type: ignore[union-attr]
            assert seen(machine, 1) == OLD, "until the new state was healthy"
        # The next boot does it again, to the end; else the next operation.
        finish(tmp_path / "machine")
        clean_up(machine, QUIET)
        assert seen(machine, 2) == expected, number
        assert [each.number for each in read_state(machine).deployments] == [2]
        assert not has_own_var(machine, 2)
        assert not (machine.atoll / "removed-var").exists()
        check_machine(machine)
        if code == DONE:
            break
    assert number > 20


def test_a_system_that_fails_takes_its_new_state_with_it(prepared: Path, tmp_path: Path) -> None:
    machine = staged(prepared, tmp_path / "machine", keep_home=False)
    shutil.move(machine.entries / "atoll-2+3.conf", machine.entries / "atoll-2+0-3.conf")
    assert default_of(machine) == 1
    assert seen(machine, 1) == OLD
    collect_garbage(machine, 2, QUIET)
    assert seen(machine, 1) == OLD
