"""A repository that ``atoll new`` writes rebuilds itself: lock, check, build, test, publish."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.packages import make_packages

from .conftest import CHECKOUT, atoll

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.network]


def put_atoll_in_path(directory: Path) -> dict[str, str]:
    """The environment in which ``atoll`` is the checkout's."""
    program = directory / "bin/atoll"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m atoll "$@"\n')
    program.chmod(0o755)
    path = f"{program.parent}:{os.environ['PATH']}"
    return os.environ | {"PATH": path, "PYTHONPATH": str(CHECKOUT / "src")}


def published(folder: Path) -> dict[str, str]:
    """Which manifest each tag of the repository's layout has."""
    index = json.loads((folder / "publish/index.json").read_text())
    named = "org.opencontainers.image.ref.name"
    return {each["annotations"][named]: each["digest"] for each in index["manifests"]}


def run_all(folder: Path, *words: str, environment: dict[str, str]) -> int:
    return subprocess.run([folder / "ci.sh", *words], env=environment, check=False).returncode


@pytest.mark.long
def test_a_new_repository_publishes_what_passed(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    make_packages()
    environment = put_atoll_in_path(tmp_path) | {"ATOLL_STORE": str(tmp_path / "store")}
    folder = tmp_path / "reef"
    atoll("new", folder, "--deb", CHECKOUT / "build/atoll.deb")

    assert run_all(folder, environment=environment) == 0
    first = published(folder)
    assert list(first) == ["stable"]
    lock = (folder / "atoll.lock").read_bytes()

    assert run_all(folder, environment=environment) == 77
    assert (folder / "atoll.lock").read_bytes() == lock

    # What does not pass is not published, and its lock is not kept.
    recipe = folder / "atoll.toml"
    good = recipe.read_text()
    recipe.write_text(
        good.replace('version = "1"', 'version = "2"').replace("Etc/UTC", "Asia/Tokyo")
    )
    (folder / "tests/wrong.sh").write_text("#!/bin/sh\ncat /etc/timezone\nexit 1\n")
    (folder / "tests/wrong.sh").chmod(0o755)
    assert run_all(folder, "--force", environment=environment) == 14
    assert published(folder) == first
    assert (folder / "atoll.lock").read_bytes() == lock

    if not request.config.getoption("--long"):
        return  # a third build and a third boot
    (folder / "tests/wrong.sh").unlink()
    assert run_all(folder, environment=environment) == 0
    assert published(folder) != first
