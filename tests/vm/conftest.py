"""What the stories in virtual machines stand on: examples built once, by a person's commands."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cache import CACHE, alone
from tests.packages import make_packages
from vmtest import Disk, Display, Machine, MachineSpec, UserNetwork
from vmtest.saved import ensure_saved

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .image_registry import ImageRegistry

CHECKOUT = Path(__file__).parents[2]
STORE = CACHE / "store"
FOLLOWED = "docker://registry.example/team/hello:stable"
"""What machines of the examples follow: a name, because a registry's port differs each time."""
IDENTITY = "6f1f2c3e-31f4-4c1e-9d5a-0c5b7f1f9a10"
"""The same tree gives the same disk, so that a state saved of its machine fits the next run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """An example as ``atoll build`` and ``atoll disk`` leave it."""

    tree: str
    layout: str
    disk: Path
    lock: Path


def atoll(*words: str | Path) -> str:
    """Run the checkout's ``atoll`` as a person would; stderr goes to the test's output."""
    env = os.environ | {"PYTHONPATH": str(CHECKOUT / "src")}
    with alone("store") if STORE in words else nullcontext():
        done = subprocess.run(
            [sys.executable, "-m", "atoll", *(str(word) for word in words)],
            env=env,
            cwd=CHECKOUT,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    return str(done.stdout)


def copy_example(example: str, directory: Path, changes: Mapping[str, str] | None = None) -> Path:
    """The folder of an example below ``directory``, where its lock may be written.

    ``changes`` replace words of the recipe that must be there.
    """
    folder = directory / "recipes" / example
    shutil.copytree(
        CHECKOUT / "examples" / example,
        folder,
        ignore=shutil.ignore_patterns("*.lock"),
        dirs_exist_ok=True,
    )
    shutil.copytree(
        CHECKOUT / "examples/hardware", directory / "recipes/hardware", dirs_exist_ok=True
    )
    text = (folder / "atoll.toml").read_text()
    for before, after in (changes or {}).items():
        assert before in text, before
        text = text.replace(before, after)
    (folder / "atoll.toml").write_text(text)
    return folder


def build(
    example: str,
    directory: Path,
    *,
    variant: str | None = None,
    changes: Mapping[str, str] | None = None,
) -> Built:
    name = f"{example}-{variant}" if variant else example
    layout = f"oci:{directory / name}:1"
    recipe = copy_example(example, directory, changes)
    answer = atoll(
        "build",
        recipe,
        *(("--variant", variant) if variant else ()),
        "--store",
        STORE,
        "--output",
        layout,
        "--json",
    )
    tree = json.loads(answer)["tree"]
    disk = directory / f"{name}.img"
    atoll("disk", tree, disk, "--store", STORE, "--identity", IDENTITY, "--follow", FOLLOWED)
    return Built(tree=tree, layout=layout, disk=disk, lock=recipe / "atoll.lock")


def changes_packages(changes: Mapping[str, str]) -> bool:
    """Whether words of examples/hello, changed like this, ask for other packages."""
    example = tomllib.loads((CHECKOUT / "examples/hello/atoll.toml").read_text())
    return any(
        f'"{package}"' in words for package in example["packages"]["install"] for words in changes
    )


def build_version(
    directory: Path,
    version: str,
    *additions: str,
    name: str = "hello",
    changes: Mapping[str, str] | None = None,
    lock: Path | None = None,
) -> Built:
    """A version of examples/hello, with words of its recipe changed and ``additions``; no disk.

    Its image is in the layout ``directory/name``, with the version as its tag. With the ``lock`` of
    examples/hello nothing is resolved where the packages are the same.
    """
    text = (CHECKOUT / "examples/hello/atoll.toml").read_text()
    text = text.replace('version = "1"', f'version = "{version}"')
    text = text.replace('name = "hello"', f'name = "{name}"')
    for before, after in (changes or {}).items():
        assert before in text, before
        text = text.replace(before, after)
    recipe = directory / f"recipe-{name}-{version}"
    recipe.mkdir(parents=True)
    (recipe / "atoll.toml").write_text("\n".join([text, *additions]))
    if lock is not None and not changes_packages(changes or {}):
        shutil.copyfile(lock, recipe / "atoll.lock")
    layout = f"oci:{directory / name}:{version}"
    answer = atoll("build", recipe, "--store", STORE, "--output", layout, "--json")
    tree = json.loads(answer)["tree"]
    return Built(tree=tree, layout=layout, disk=Path(), lock=recipe / "atoll.lock")


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all workers of a run: what one has built the others find."""
    CACHE.mkdir(parents=True, exist_ok=True)
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "workshop"
    folder.mkdir(exist_ok=True)
    return folder


def build_once(example: str, workshop: Path) -> Built:
    """The example, built by the first worker that wants it."""
    record = workshop / f"{example}.json"
    with alone(f"example-{example}"):
        if not record.exists():
            built = build(example, workshop)
            paths = [str(built.disk), str(built.lock)]
            record.write_text(json.dumps([built.tree, built.layout, *paths]))
    tree, layout, disk, lock = json.loads(record.read_text())
    return Built(tree=tree, layout=layout, disk=Path(disk), lock=Path(lock))


@pytest.fixture(scope="session")
def hello(workshop: Path) -> Built:
    return build_once("hello", workshop)


@pytest.fixture(scope="session")
def live(workshop: Path) -> Built:
    return build_once("live", workshop)


@pytest.fixture(scope="session")
def desktop(workshop: Path) -> Built:
    return build_once("desktop", workshop)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A machine that has booted for the first time, is healthy and at rest: stories begin there."""

    spec: MachineSpec
    state: Path

    @contextmanager
    def machine(self, directory: Path) -> Iterator[Machine]:
        """One that begins there, in seconds; what it does then is its own."""
        with Machine(self.spec, directory / "machine") as machine:
            machine.restore(self.state)
            yield machine

    @contextmanager
    def following(self, registry: ImageRegistry, directory: Path) -> Iterator[Machine]:
        """One that follows what ``registry`` offers."""
        with self.machine(directory) as machine:
            registry.configure(machine)
            yield machine


@pytest.fixture(scope="session")
def ready(hello: Built) -> Ready:
    """hello, with as little memory as a machine has that must be able to upgrade."""
    spec = MachineSpec(
        disks=(Disk(image=hello.disk),), memory=512, display=Display.STD, network=UserNetwork()
    )

    def boot(directory: Path) -> Machine:
        machine = Machine(spec, directory)
        machine.start()
        machine.wait_for_system()
        return machine

    return Ready(spec=spec, state=ensure_saved(spec, CACHE / "states", "hello", boot))


@pytest.fixture(scope="module")
def registry(hello: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageRegistry]:
    from .image_registry import start_registry  # it builds images with what is above

    make_packages()
    with start_registry(tmp_path_factory.mktemp("registry"), hello.lock) as registry:
        yield registry


@pytest.fixture(scope="module")
def machine(
    ready: Ready, registry: ImageRegistry, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    """One that lives through all stories of a module, and follows the registry."""
    with ready.following(registry, tmp_path_factory.mktemp("machine")) as machine:
        yield machine


@pytest.fixture(scope="module")
def booted(hello: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """One machine with the hello image for the stories of a module, up from its first boot."""
    directory = tmp_path_factory.mktemp("machine")
    spec = MachineSpec(disks=(Disk(image=hello.disk),), display=Display.STD)
    with Machine(spec, directory) as machine:
        machine.start()
        machine.wait_for_system()
        yield machine
