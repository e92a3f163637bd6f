"""A machine in a directory that has the small system, for tests of what it adds to its image."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.ids import TreeId
from atoll.base.report import NullReporter
from atoll.image.bootable import read_bootable
from atoll.machine.deployment import Origin
from atoll.machine.deployments.sysroot import Sysroot
from atoll.machine.install import install
from atoll.store.layout import open_store
from atoll.store.tree_images import read_below

if TYPE_CHECKING:
    from collections.abc import Callable

    from atoll.tree.model import Node
    from tests.programs.test_build import System

TOP = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayeredMachine:
    root: Path

    def run(self, verb: str, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """The machine is named after all words, or before a command that is among them."""
        at = words.index("--") if "--" in words else len(words)
        return atoll(verb, *words[:at], "--root", self.root, *words[at:], code=code)

    @property
    def newest(self) -> dict[str, object]:
        document = json.loads(self.run("status", "--json").stdout)
        found = next(each for each in document["deployments"] if each["default"])
        assert isinstance(found, dict)
        return found

    def node(self, path: str) -> Node | None:
        return self.reader()(path)

    def reader(self) -> Callable[[str], Node | None]:
        """Reads nodes of the tree that boots next now: to look for it takes a whole command."""
        store, tree = open_store(self.root / "atoll"), TreeId(str(self.newest["tree"]))
        return lambda path: read_below(store, tree, path)

    @property
    def upper(self) -> Path:
        return self.root / f"atoll/deployments/{self.newest['number']}/etc/upper"

    def etc(self, path: str) -> str | None:
        found = self.upper / path
        return found.read_text() if found.exists() else None


def atoll(*words: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-B", "-m", "atoll", *map(str, words)],
        env=os.environ | {"PYTHONPATH": str(TOP / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def make_machine(system: System, root: Path) -> LayeredMachine:
    """The small system, installed in ``root``."""
    (root / "esp").mkdir(parents=True)
    store = open_store(system.store)
    image = read_bootable(store, TreeId(system.tree))
    sysroot = Sysroot(root=root, esp=root / "esp")
    install(image, Origin(image="store:small"), sysroot, source=store, reporter=NullReporter())
    return LayeredMachine(root=root)
