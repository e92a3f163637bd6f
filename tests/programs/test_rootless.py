"""A person who is not root builds the tree that root builds, and keeps all of the store's verbs.

An account is made for the tests, with ids set aside for it, and removed afterwards.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cache import alone
from tests.programs.test_build import PLAIN, SOURCE, build, leftovers, write_recipe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.programs.test_build import System

pytestmark = [pytest.mark.root, pytest.mark.network]

NAME = "atoll-test-maker"
FIRST = 1 << 30
"""Ids that nobody else is likely to have."""


@dataclass(frozen=True)
class Maker:
    """An account; ``home`` is below a place that everybody can reach."""

    home: Path
    uid: int
    python: str = sys.executable

    def run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"HOME": str(self.home), "PYTHONPATH": str(self.home / "src")}
        around = ["setpriv", "--reuid", str(self.uid), "--regid", str(self.uid), "--init-groups"]
        return subprocess.run(
            [*around, *words],
            cwd=self.home,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def atoll(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        return self.run(self.python, "-m", "atoll.cli.main", *words)


@pytest.fixture(scope="module")
def maker() -> Iterator[Maker]:
    with made_maker(NAME, FIRST) as maker:
        yield maker


@contextmanager
def made_maker(name: str, first: int) -> Iterator[Maker]:
    """An account, with 65,536 ids from ``first`` on set aside for it."""
    for program in ("useradd", "usermod", "newuidmap", "setpriv"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place:
        Path(place).chmod(0o755)
        home = Path(place) / "home"
        with alone("accounts"):
            # A run that was killed has left the account behind.
            subprocess.run(["userdel", name], check=False, capture_output=True)
            subprocess.run(["useradd", "--create-home", "--home-dir", home, name], check=True)
        try:
            with alone("accounts"):
                _set_ids_aside(name, first)
            shutil.copytree(SOURCE, home / "src")
            uid = home.stat().st_uid
            shutil.chown(home / "src", uid, uid)
            maker = Maker(home, uid, _find_python(Maker(home, uid)))
            _need_namespaces(maker)
            yield maker
        finally:
            with alone("accounts"):
                subprocess.run(["userdel", name], check=True)


def _set_ids_aside(name: str, first: int) -> None:
    span = f"{first}-{first + 65535}"
    for kind in ("subuid", "subgid"):
        lines = Path("/etc", kind).read_text().splitlines() if Path("/etc", kind).exists() else []
        for line in lines:
            owner, begin, count = line.split(":")
            if owner == name:
                end = int(begin) + int(count) - 1
                subprocess.run(["usermod", f"--del-{kind}s", f"{begin}-{end}", name], check=True)
        subprocess.run(["usermod", f"--add-{kind}s", span, name], check=True)


def _find_python(maker: Maker) -> str:
    """This Python, or Debian's where another user cannot run this one: a checkout of root's."""
    for python in (sys.executable, "/usr/bin/python3"):
        # A shell starts it: setpriv still has root's rights when it starts a program.
        words = ("sh", "-c", 'exec "$0" -c "import httpx, zstandard"', python)
        if maker.run(*words).returncode == 0:
            return python
    pytest.skip("another user can run no Python here that has httpx and zstandard")


def _need_namespaces(maker: Maker) -> None:
    done = maker.run("unshare", "--user", "--mount", "--map-root-user", "true")
    if done.returncode != 0:
        pytest.skip(f"no user namespaces here: {done.stderr.strip()}")


def test_a_person_builds_the_same_image_as_root(system: System, maker: Maker) -> None:
    folder, store = maker.home / "recipe", maker.home / "store"
    folder.mkdir()
    for file in ("atoll.toml", "atoll.lock", "atoll.deb", "trap.deb"):
        shutil.copy(system.folder / file, folder)
    shutil.copytree(system.store / "cache/debs", store / "cache/debs")
    subprocess.run(["chown", "-R", f"{maker.uid}:{maker.uid}", store, folder], check=True)

    done = maker.atoll("build", folder, "--store", store, "--locked", "--offline", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["tree"], result["manifest"]) == (system.tree, system.manifest)
    assert leftovers(store) == []
    owners = {path.lstat().st_uid for path in (store / "cache/steps").rglob("*")}
    assert maker.uid in owners
    assert any(FIRST <= owner < FIRST + 65536 for owner in owners)
    assert owners <= {maker.uid, *range(FIRST, FIRST + 65536)}
    _look_after_the_store(maker, store, folder, system.tree)


def _look_after_the_store(maker: Maker, store: Path, folder: Path, tree: str) -> None:
    """What needed no root before needs none after such a build; nobody else's cache is taken."""
    done = maker.atoll("store", "list", "--store", store)
    assert tree in done.stdout, done.stderr
    done = maker.atoll("store", "check", "--store", store)
    assert done.returncode == 0, done.stderr
    done = maker.atoll("build", folder, "--store", store, "--json")
    assert done.returncode == 0, done.stderr
    assert "Installing packages" not in done.stderr
    done = build(folder, store)
    assert done.returncode == 11, done.stderr
    assert "belongs to another user" in done.stderr
    done = maker.run("unshare", "--map-root-user", "--map-auto", "rm", "-r", store)
    assert done.returncode == 0, done.stderr
    assert not store.exists()


def test_without_ids_the_command_that_sets_them_aside_is_named(maker: Maker) -> None:
    folder = write_recipe(maker.home / "other", PLAIN % '"tzdata"')
    last = FIRST + 65535
    subprocess.run(["usermod", "--del-subuids", f"{FIRST}-{last}", NAME], check=True)
    try:
        done = maker.atoll("build", folder, "--store", maker.home / "none")
    finally:
        subprocess.run(["usermod", "--add-subuids", f"{FIRST}-{last}", NAME], check=True)
    assert done.returncode == 3
    assert f"/etc/subuid has none for {NAME}" in done.stderr
    assert "as root: usermod --add-subuids " in done.stderr
