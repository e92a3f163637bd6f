"""A graphical system: the desktop example boots to its greeter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from atoll.tree.dumpfile import parse_dump
from atoll.tree.erofs_writer import tree_digest
from atoll.tree.verity import verity_digest
from tests.programs.composefs_judge import NoJudge, find_judge
from vmtest import Disk, Display, Machine, MachineSpec

from .conftest import STORE, atoll

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Built

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.network, pytest.mark.long]


def test_its_digest_is_the_one_mkcomposefs_computes(desktop: Built) -> None:
    """A Debian root of more than 60,000 files, in both formats."""
    try:
        judge = find_judge()
    except NoJudge as reason:
        pytest.skip(str(reason))
    dump = atoll("tree", "dump", STORE / "images" / desktop.tree).encode()
    assert sum(line.split()[2].startswith(b"100") for line in dump.splitlines()) > 60_000
    for version in (0, 1):
        theirs = str(verity_digest(judge.make_image(dump, version=version)))
        assert str(tree_digest(parse_dump(dump), version)) == theirs
    assert tree_digest(parse_dump(dump)) == desktop.tree


def test_boots_to_its_greeter(desktop: Built, tmp_path: Path) -> None:
    spec = MachineSpec(disks=(Disk(image=desktop.disk),), memory=2048, display=Display.STD)
    with Machine(spec, tmp_path / "machine") as machine:
        machine.start()
        machine.wait_until_succeeds("systemctl is-active graphical.target", timeout=600)
        machine.wait_until_succeeds("pgrep -f greeter", timeout=300)
        machine.wait_for_screen(colours=300, timeout=300)
        machine.screenshot(tmp_path / "greeter.png")
        assert machine.succeed("systemctl --failed --no-legend").strip() == ""
