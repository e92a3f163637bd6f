"""Hints of verbs that were given ``--root``: each command in them works as it is typed."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import pytest

from atoll.cli.main import main
from atoll.machine.boot.boot_entry import EntryName, format_entry_name
from atoll.machine.deployments.flags import ROLLED_BACK, Hold, set_hold
from atoll.machine.deployments.state import read_state
from atoll.machine.deployments.sysroot import Sysroot
from tests.machines import Maker, write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.root

_VERBS = "status|plan|upgrade|rebase|rollback|cancel|pin|unpin|gc|etc|health|history"
_COMMAND = re.compile(rf"\batoll (?:{_VERBS})\b")


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path / "maker")


@pytest.fixture
def machine(maker: Maker, tmp_path: Path) -> Sysroot:
    return maker.install(tmp_path / "a machine's disk", maker.publish("1"))


def run(machine: Sysroot, words: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What a verb prints; every command in it must name the machine."""
    capsys.readouterr()
    main([*shlex.split(words), "--root", str(machine.root)])
    told = "".join(capsys.readouterr())
    root = f" --root {shlex.quote(str(machine.root))}"
    for found in _COMMAND.finditer(told):
        rest = told[found.start() :].partition("\n")[0]
        following = _COMMAND.search(rest, 1)
        command = rest[: following.start()] if following else rest
        assert root in command, f"{words}: {told}"
    return told


def next_command(machine: Sysroot, told: str) -> list[str]:
    """The words of the first command that ``told`` names, after ``atoll``."""
    root = f"--root {shlex.quote(str(machine.root))}"
    found = re.search(rf"atoll (.*? {re.escape(root)})", told)
    assert found is not None, told
    return shlex.split(found[1])


def test_every_command_of_a_whole_life_names_the_machine(
    maker: Maker, machine: Sysroot, capsys: pytest.CaptureFixture[str]
) -> None:
    write(machine.deployments / "1/etc/upper", {"motd": "mine\n"})
    maker.publish("2", {"etc/motd": "theirs\n"})
    told = run(machine, "status", capsys)
    assert main(next_command(machine, told)) == 0
    told = run(machine, "plan", capsys)
    assert "atoll upgrade --root" in told
    run(machine, "upgrade --check", capsys)
    told = run(machine, "upgrade --download-only", capsys)
    assert main(next_command(machine, told)) == 0
    run(machine, "plan", capsys)
    run(machine, "status", capsys)
    told = run(machine, "etc --deployment 2", capsys)
    assert main([*next_command(machine, told), "--json"]) == 0
    assert "no conflicts left" in capsys.readouterr().err
    run(machine, "cancel", capsys)
    for words in ("pin 1", "unpin 1", "history", "health", "gc"):
        run(machine, words, capsys)


@pytest.mark.parametrize(
    "words",
    [
        "pin 9",
        "etc --deployment 9",
        "etc reset /etc/nothing",
        "etc resolve /etc/nothing --mine",
        "rollback",
        "rollback 9",
        "rebase 1",
        "plan rebase 1",
        "plan --operations",
        "health bless --deployment 9",
        "upgrade",
        "cancel",
    ],
)
def test_errors_name_the_machine_too(
    maker: Maker, machine: Sysroot, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    maker.publish("2")
    run(machine, words, capsys)


def _damage_origin(machine: Sysroot) -> None:
    (machine.deployments / "1/origin.toml").write_text("{")


def _damage_description(machine: Sysroot) -> None:
    (machine.deployments / "1/deployment.json").write_text("{")


def _remove_kernel(machine: Sysroot) -> None:
    for path in (machine.esp / "atoll").glob("*/linux"):
        path.unlink()


def _disable(machine: Sysroot) -> None:
    """Deployment 1 booted once, was left by a rollback, and has no entry that boots."""
    (each,) = read_state(machine).menu.entries
    name = EntryName(sequence=each.name.sequence, tries_left=0, tries_used=3)
    (machine.entries / each.file).rename(machine.entries / format_entry_name(name))
    tree = read_state(machine).deployments[0].deployment.tree
    hold = Hold(deployment=1, version="1", why=ROLLED_BACK, when=1)
    set_hold(machine.state, tree, hold).execute()


@pytest.mark.parametrize(
    "spoil",
    [_damage_origin, _damage_description, _remove_kernel, _disable],
    ids=lambda it: it.__name__,
)
@pytest.mark.parametrize("words", ["status", "upgrade", "rollback 1", "rollback --keep-etc", "gc"])
def test_so_do_those_of_a_damaged_machine(
    machine: Sysroot,
    spoil: Callable[[Sysroot], None],
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoil(machine)
    run(machine, words, capsys)


def test_a_command_for_the_running_machine_needs_no_root(tmp_path: Path) -> None:
    running = Sysroot(root=tmp_path, esp=tmp_path, booted=1)
    assert running.command("gc --keep 1") == "atoll gc --keep 1"
