"""A year on one machine: upgrades with layers, rebases, rollbacks, and what a person does between.

Every step is compared with an independent model (``tests.life``). The real builder works on a
system of a few megabytes, with an archive made here.
"""

from __future__ import annotations

import os
import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from atoll.machine.reset import measure
from tests.life import LAYERS, RIVAL, Image, Life, Wanted
from tests.tiny_system import BASE_PACKAGES, tiny_world

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.tiny_system import TinyWorld

pytestmark = pytest.mark.root


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyWorld]:
    # The path of an agent's socket must be short.
    with tiny_world(tmp_path_factory.mktemp("y")) as world:
        yield world


@pytest.fixture
def life(world: TinyWorld, tmp_path: Path) -> Life:
    packages = dict.fromkeys(BASE_PACKAGES, "1")
    first = world.publish("1", packages)
    world.maker.install(tmp_path / "machine", first)
    image = Image(name="reef", version="1", packages=packages)
    life = Life(world=world, root=tmp_path / "machine", image=image)
    for name in ("lib", *LAYERS):
        life.offer(name, "1")
    return life


def test_some_weeks(life: Life, tmp_path: Path) -> None:
    """Packages of the image go and come back, packages are added, versions move and go back."""
    life.write_setting("mine\n")
    steps: list[Callable[[], object]] = [
        lambda: life.remove("nano"),
        lambda: life.add("tool"),
        life.reboot,
        lambda: life.add("extra"),
        life.cancel,
        life.apply,
    ]
    for step in steps:
        step()
        life.check()
    life.publish("reef", "2")
    life.offer("tool", "2")
    life.upgrade()
    life.check()
    life.check_digest(tmp_path / "copy")
    life.reboot(good=False)
    life.check()
    life.apply()
    life.add("nano")
    life.check()


def live_one_month(life: Life, month: int) -> None:
    """Two upgrades, and in some months more."""
    for half in ("a", "b"):
        version = f"{month}{half}"
        if half == "b":
            life.offer(LAYERS[month % 3], version)
        followed = life.built[life.default].image.name
        life.publish(followed, version, *((RIVAL,) if month == 6 else ()))
        life.write_setting(f"in {version}\n")
        life.upgrade()
        life.check()
        life.reboot()
        life.check()


def live_in(life: Life, month: int) -> None:
    """What happens once in a year."""
    if month == 1:
        life.add("extra")
        life.add("tool")
        life.add("big")
    elif month in (3, 7):
        other = "atoll" if month == 3 else "reef"
        life.publish(other, f"other{month}")
        life.upgrade(other)
        life.reboot()
    elif month in (2, 5, 8):
        life.pin()
        life.rollback(keep_etc=month == 5)
        life.check()
        life.reboot()
        life.check()
        life.apply()
    elif month == 4:
        life.remove("nano")
    elif month == 6:
        life.add("clash")
        life.write_by_hand(replace(life.live.wanted or Wanted(), layers="drop"))
    elif month == 9:
        life.unpin()
        life.add("nano")
    elif month == 10:
        life.add_argument("reef.year=1")
        life.reboot(good=False)
        life.check()
        life.write_nonsense()


@pytest.mark.long
def test_a_year(life: Life, tmp_path: Path) -> None:
    """Twenty upgrades with three layers, two rebases, three rollbacks."""
    sizes = []
    for month in range(1, 11):
        live_in(life, month)
        life.check()
        live_one_month(life, month)
        life.check_digest(tmp_path / "copy")
        life.collect()
        sizes.append(measure_deployments(life))
    assert life.log.count("upgrade --even-held -> 0") == 20
    assert life.live.wanted is not None
    assert {*life.live.wanted.install} == {"extra", "tool", "big"}
    # The machine keeps a few deployments, not the year; what is built has a cache with a limit.
    assert sizes[-1] < 2 * sizes[1], sizes


def measure_deployments(life: Life) -> int:
    """Bytes of all but the cache."""
    store = life.root / "atoll"
    return sum(measure(path, "").size for path in store.iterdir() if path.name != "cache")


STEPS: tuple[tuple[str, Callable[[Life, random.Random], object]], ...] = (
    ("add", lambda life, draw: life.add(draw.choice([*LAYERS, "nano"]))),
    ("remove", lambda life, draw: life.remove(draw.choice([*LAYERS, "nano"]))),
    ("argument", lambda life, draw: life.add_argument(draw.choice(["reef.a", "reef.b=1"]))),
    ("argument", lambda life, draw: life.remove_argument(draw.choice(["reef.a", "reef.b=1"]))),
    ("apply", lambda life, _: life.apply()),
    ("upgrade", lambda life, _: life.upgrade()),
    ("rebase", lambda life, draw: life.upgrade(draw.choice([*life.channels]))),
    ("rollback", lambda life, draw: life.rollback(keep_etc=draw.random() < 0.4)),
    ("cancel", lambda life, _: life.cancel()),
    ("by hand", lambda life, draw: life.write_by_hand(draw_wanted(life, draw))),
    ("nonsense", lambda life, _: life.write_nonsense()),
    ("setting", lambda life, draw: life.write_setting(f"{draw.random()}\n")),
    ("boot", lambda life, _: life.reboot()),
    ("boot", lambda life, _: life.reboot()),
    ("fallback", lambda life, _: life.reboot(good=False)),
    ("pin", lambda life, _: life.pin()),
    ("unpin", lambda life, _: life.unpin()),
    ("gc", lambda life, _: life.collect()),
    ("image", lambda life, draw: publish_some(life, draw)),
    ("package", lambda life, draw: life.offer(draw.choice(LAYERS), f"{len(life.log)}")),
)


def draw_wanted(life: Life, draw: random.Random) -> Wanted:
    install = tuple(draw.sample(LAYERS[:3], draw.randrange(3)))
    now = life.live.wanted or Wanted()
    return replace(now, install=install, layers=draw.choice(["hold", "drop"]))


def publish_some(life: Life, draw: random.Random) -> None:
    name = draw.choice(["reef", "reef", "atoll"])
    life.publish(name, f"{len(life.log)}", *draw.choice([(), (), (RIVAL,), ("tool",)]))


def live(life: Life, seed: int, steps: int) -> None:
    draw = random.Random(seed)  # a history, not a secret
    life.log.append(f"seed {seed}")
    for _ in range(steps):
        name, step = draw.choice(STEPS)
        life.log.append(f"{name}:")
        if life.is_followed or name in ("boot", "cancel", "setting", "image", "package", "pin"):
            step(life, draw)
            life.check()


def test_a_short_random_life(life: Life) -> None:
    live(life, 4, 8)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(int(os.environ.get("ATOLL_LIVES", "20"))))
def test_random_lives(life: Life, tmp_path: Path, seed: int) -> None:
    for part in range(4):
        live(life, 1000 + 4 * seed + part, 15)
        life.check_digest(tmp_path / "copy")
