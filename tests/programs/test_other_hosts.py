"""Atoll on a computer of another Debian: it finds packages there, and gives the same tree.

The computers are entered so that ``ischroot`` says no: programs of Debian 13 refuse root outside of
a chroot what they let it do inside. They have the kernel of this one, and their own Python, apt,
dpkg and mount.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.programs import standin
from tests.programs.hosts import SUITES, Host, host_of
from tests.programs.test_build import SOURCE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.programs.test_build import System

pytestmark = [pytest.mark.root, pytest.mark.network]

RECIPE = """
schema = 1
from = "debian:trixie"
image = { name = "other", version = "1" }

[packages]
install = ["linux-image-cloud-amd64", "systemd-sysv", "./atoll.deb"]
"""
SOURCES = """
from pathlib import Path
from atoll.debian.sources import read_default_sources
for one in read_default_sources("trixie", ("main",), "amd64", Path("/tmp")):
    print(one.suite)
"""


@pytest.fixture(params=SUITES)
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Host:
    found = host_of(request.param, tmp_path / "host")
    shutil.copytree(SOURCE, found.files / "code", ignore=shutil.ignore_patterns("__pycache__"))
    return found


def atoll(*words: str) -> tuple[str, ...]:
    return ("env", "PYTHONPATH=/code", "python3", "-B", "-m", "atoll", *words)


@pytest.mark.parametrize("user", ["0", "65534"])
def test_it_knows_where_packages_are_from_by_default(host: Host, user: str) -> None:
    """mmdebstrap of Debian 13 refused root to say it, and `check` swallowed that."""
    assert host.attempt("ischroot").returncode == 1
    who = ("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups")
    said = host.run(*who, "env", "PYTHONPATH=/code", "python3", "-B", "-c", SOURCES)
    assert said.split() == ["trixie", "trixie-updates", "trixie-security"]


def test_check_sees_everything_and_a_lock_is_made(host: Host) -> None:
    (host.files / "recipe").mkdir()
    (host.files / "recipe/atoll.toml").write_text(RECIPE)
    standin.write_atoll(host.files / "recipe")
    said = host.run(*atoll("check", "/recipe", "--store", "/store", "--json", "--quiet"))
    expected = {"lock-missing", "no-way-in", "network-missing", "login-missing"}
    assert {row["lint"] for row in json.loads(said)["problems"]} == expected
    host.run(*atoll("lock", "/recipe", "--store", "/store"))
    assert "linux-image-" in (host.files / "recipe/atoll.lock").read_text()


@pytest.mark.long
def test_another_debian_gives_the_same_tree(host: Host, system: System) -> None:
    (host.files / "recipe").mkdir()
    for name in ("atoll.toml", "atoll.lock", "atoll.deb", "trap.deb"):
        shutil.copy(system.folder / name, host.files / "recipe")
    shutil.copytree(system.store / "cache/debs", host.store / "cache/debs")
    said = host.run(
        *atoll("build", "/recipe", "--store", "/store", "--locked", "--offline", "--json")
    )
    assert json.loads(said)["tree"] == system.tree
