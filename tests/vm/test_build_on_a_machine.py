"""A derived recipe gives the same tree on a machine that runs Atoll as where images are made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.cache import alone
from tests.packages import make_packages
from tests.registry_server import registry, run
from vmtest import Disk, Machine, MachineSpec, UserNetwork

from .conftest import CHECKOUT, STORE, atoll, build_version

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.network, pytest.mark.long]

RECIPE = """
schema = 1
from = "docker://registry.example/team/hello:1"

[image]
name = "mine"
version = "1"

[kernel]
args = ["quiet"]

[[user]]
name = "ann"

[units]
disable = ["ssh.service"]
mask = ["apt-daily.timer"]

[[file]]
path = "/etc/motd"
text = "This one is mine.\\n"

[[file]]
path = "/etc/dracut.conf.d/mine.conf"
text = "# so that the initrd is made again\\n"
"""
REGISTRIES = """[[registry]]
prefix = "registry.example"
location = "%s"
insecure = true
"""


def test_the_tree_is_the_same(tmp_path: Path) -> None:
    make_packages()
    recipe = tmp_path / "mine"
    recipe.mkdir()
    (recipe / "atoll.toml").write_text(RECIPE)
    with registry(tmp_path) as address:
        base = build_version(tmp_path, "1")
        run(
            "skopeo",
            "copy",
            "--quiet",
            "--dest-tls-verify=false",
            base.layout,
            f"docker://{address}/team/hello:1",
        )
        tree = build_here(recipe, tmp_path / "registries.conf", address)
        disk = tmp_path / "hello.img"
        atoll("disk", base.tree, disk, "--store", STORE)
        spec = MachineSpec(disks=(Disk(image=disk),), network=UserNetwork())
        with Machine(spec, tmp_path / "machine") as machine:
            machine.start()
            machine.wait_for_system()
            port = address.rpartition(":")[2]
            (tmp_path / "test.conf").write_text(REGISTRIES % f"10.0.2.2:{port}")
            machine.succeed("mkdir -p /etc/containers/registries.conf.d /root/mine")
            machine.copy_to(tmp_path / "test.conf", "/etc/containers/registries.conf.d/test.conf")
            for name in ("atoll.toml", "atoll.lock"):
                machine.copy_to(recipe / name, f"/root/mine/{name}")
            said = machine.succeed("atoll build --locked --json --quiet /root/mine", timeout=1800)
    assert json.loads(said)["tree"] == tree


def build_here(recipe: Path, registries: Path, address: str) -> str:
    """Build it as a laptop would, and write its lock."""
    registries.write_text(REGISTRIES % address)
    environment = {"CONTAINERS_REGISTRIES_CONF": str(registries), "PYTHONPATH": "src"}
    with alone("store"):
        done = subprocess.run(
            [sys.executable, "-m", "atoll", "build", recipe, "--store", STORE, "--json"],
            env=os.environ | environment,
            cwd=CHECKOUT,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    return str(json.loads(done.stdout)["tree"])
