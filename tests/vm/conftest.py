"""What the stories in virtual machines stand on: examples built once, by a person's commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from vmtest import Disk, Display, Machine, MachineSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("ATOLL_TEST_CACHE", Path.home() / ".cache" / "atoll-tests"))
STORE = CACHE / "store"


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """An example as ``atoll build`` and ``atoll disk`` leave it."""

    tree: str
    layout: str
    disk: Path


def atoll(*words: str | Path) -> str:
    """Run the checkout's ``atoll`` as a person would; stderr goes to the test's output."""
    env = os.environ | {"PYTHONPATH": str(CHECKOUT / "src")}
    done = subprocess.run(
        [sys.executable, "-m", "atoll", *(str(word) for word in words)],
        env=env, cwd=CHECKOUT, check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    return str(done.stdout)


def make_package() -> None:
    """Atoll's own Debian package, where the examples expect it."""
    subprocess.run([CHECKOUT / "debian" / "make", CHECKOUT / "build"], cwd=CHECKOUT, check=True)


def build(example: str, directory: Path) -> Built:
    make_package()
    layout = f"oci:{directory / example}:1"
    answer = atoll(
        "build", f"examples/{example}", "--store", STORE, "--output", layout, "--json"
    )  # fmt: skip
    tree = json.loads(answer)["tree"]
    disk = directory / f"{example}.img"
    atoll("disk", tree, disk, "--store", STORE)
    return Built(tree=tree, layout=layout, disk=disk)


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    CACHE.mkdir(parents=True, exist_ok=True)
    return tmp_path_factory.mktemp("vm")


@pytest.fixture(scope="session")
def hello(workshop: Path) -> Built:
    return build("hello", workshop)


@pytest.fixture(scope="session")
def desktop(workshop: Path) -> Built:
    return build("desktop", workshop)


@pytest.fixture(scope="module")
def booted(hello: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """One machine with the hello image for the stories of a module, up and settled."""
    directory = tmp_path_factory.mktemp("machine")
    spec = MachineSpec(disks=(Disk(image=hello.disk),), display=Display.STD)
    with Machine(spec, directory) as machine:
        machine.start()
        machine.wait_for_system()
        yield machine
