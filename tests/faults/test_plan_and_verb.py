"""``plan`` never promises what the verb refuses: for machines with every kind of obstacle both
answer alike, and where both say yes the upgrade comes to its end. Rooms are real file systems."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from atoll.cli.main import main
from atoll.machine.deployments.state import read_state
from tests.faults.test_machine_faults import check_bootable
from tests.machines import PASSWD, Maker, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from atoll.machine.deployments.sysroot import Sysroot

pytestmark = pytest.mark.root

MB = 1 << 20
DOCKER = "root:x:0:\ndocker:x:990:\n"


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    made = Maker(tmp_path_factory.mktemp("maker"))
    made.publish("1")
    theirs = {"etc/group": DOCKER, "etc/many/x": "x\n"}
    theirs |= {f"usr/share/many/{number}": f"{number}\n" * 400 for number in range(300)}
    made.publish("2", theirs, kernel="6.13-two")
    return made


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Callable[[int, int], Path]]:
    """Makes a file system of so many bytes and inodes; it is gone afterwards."""
    mounted: list[Path] = []

    def make(size: int, inodes: int) -> Path:
        place, image = tmp_path / f"room{len(mounted)}", tmp_path / f"image{len(mounted)}"
        place.mkdir()
        with image.open("wb") as file:
            file.truncate(size)
        options = ["-q", "-m", "0", "-N", str(inodes), "-O", "verity", "-b", "4096"]
        subprocess.run(["mkfs.ext4", *options, image], check=True)
        subprocess.run(["mount", "-o", "loop", image, place], check=True)
        mounted.append(place)
        return place

    yield make
    for place in mounted:
        subprocess.run(["umount", place], check=True)


def answers(machine: Sysroot, *words: str) -> tuple[int, int]:
    """The exit codes of ``plan`` and of the verb."""
    root = ["--root", str(machine.root)]
    planned = main(["plan", *words, *root])
    return planned, main([*words, *root])


def fill(place: Path, blocks: int, inodes: int) -> None:
    """Leave so many free blocks and inodes."""
    for number in range(10**6):
        found = os.statvfs(place)
        if found.f_favail <= inodes + 1:
            break
        (place / f"inode{number}").touch()
    found = os.statvfs(place)
    with (place / "filler").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(found.f_bavail - blocks, 1) * found.f_frsize)


@pytest.mark.parametrize("seed", range(12))
def test_plan_and_verb_agree_on_a_full_disk(
    maker: Maker, room: Callable[[int, int], Path], seed: int
) -> None:
    draw = random.Random(seed)  # a test, no secret
    place = room(160 * MB, 4000)
    image = maker.publish("1")
    machine = maker.install(place / "machine", image, follow=maker.follow())
    upper = machine.deployments / "1/etc/upper"
    if seed % 3 == 0:
        write(upper, {f"mine/{number}": "x" * draw.randrange(9000) for number in range(300)})
    if seed % 4 == 0:
        (upper / "large").write_bytes(os.urandom(draw.choice([5, 30]) * MB))
    maker.publish("2", kernel="6.13-two")
    blocks = draw.choice([500, 5000, 9000, 9700, 10500, 12000, 14000, 18000, 25000])
    fill(place, blocks, draw.choice([20, 200, 500, 800, 1500, 3000]))
    planned, done = answers(machine, "upgrade")
    assert planned == done and planned in (0, 6), (blocks, planned, done)
    check_bootable(machine)


OBSTACLES: dict[str, Callable[[Sysroot], object]] = {
    "nothing": lambda _: None,
    "a group docker made by hand": lambda machine: write(
        machine.deployments / "1/etc/upper", {"group": "root:x:0:\nother:x:990:\n"}
    ),
    "a user with an id of the image": lambda machine: write(
        machine.deployments / "1/etc/upper",
        {"passwd": f"{PASSWD}me:x:102:102::/:/bin/sh\n", "group": DOCKER.replace("990", "991")},
    ),
    "a wrong machine file": lambda machine: write(
        machine.deployments / "1/etc/upper", {"atoll/machine.toml": "schema = 7\n"}
    ),
    "no entry": lambda machine: remove(machine.entries.iterdir()),
    "a damaged description": lambda machine: (machine.deployments / "1/deployment.json").write_text(
        "{"
    ),
    "no origin": lambda machine: (machine.deployments / "1/origin.toml").unlink(),
    "no tree": lambda machine: remove((machine.atoll / "images").iterdir()),
    "a flipped tree": lambda machine: remove((machine.atoll / "images").iterdir(), "x" * 9000),
    "no objects": lambda machine: remove((machine.atoll / "objects").glob("*/*")),
    "no kernel": lambda machine: shutil.rmtree(machine.esp / "atoll"),
    "garbage among the numbers": lambda machine: (machine.state / "numbers.json").write_text("x"),
    "a tree that is held": lambda machine: hold_all(machine),
}


def remove(paths: Iterable[Path], instead: str = "") -> None:
    for path in [*paths]:
        path.unlink()
        if instead:
            path.write_text(instead)


def hold_all(machine: Sysroot) -> None:
    from atoll.base.errors import NothingToDo
    from atoll.machine.upgrade import UpgradeRequest, check_upgrade

    try:
        tree = check_upgrade(machine, UpgradeRequest(verb="upgrade")).tree
    except NothingToDo:
        tree = read_state(machine).deployments[0].deployment.tree
    (machine.state / "held").mkdir(parents=True, exist_ok=True)
    (machine.state / "held" / tree).write_text("garbage")


@pytest.mark.parametrize("obstacle", OBSTACLES)
@pytest.mark.parametrize("verb", ["upgrade", "rollback", "rollback 1", "rollback 1 --keep-etc"])
def test_plan_and_verb_agree_on_every_obstacle(
    maker: Maker, tmp_path: Path, obstacle: str, verb: str
) -> None:
    machine = maker.install(tmp_path / "machine", maker.publish("1"))
    maker.publish("2", {"etc/group": DOCKER}, kernel="6.13-two")
    if verb != "upgrade":
        assert main(["upgrade", "--root", str(machine.root)]) == 0
    OBSTACLES[obstacle](machine)
    planned, done = answers(machine, *verb.split())
    assert planned == done != 70
    cured = ("no tree", "a flipped tree", "no kernel", "garbage among the numbers", "nothing")
    if verb == "upgrade" and obstacle in cured:
        assert done == 0, "an upgrade is the cure"
        assert read_state(machine).deployments[0].number == 2
