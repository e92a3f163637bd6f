"""A machine in a directory, with real packages: add, upgrade, remove, and the way back.

The image is the small system that other tests build too; packages are made here, so that their
versions can move.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from atoll.base.ids import TreeId
from tests.programs import standin
from tests.programs.layered_machine import TOP, LayeredMachine, atoll, make_machine

if TYPE_CHECKING:
    from tests.programs.test_build import System

pytestmark = [pytest.mark.root, pytest.mark.network]


@dataclass(frozen=True, slots=True, kw_only=True)
class Publisher:
    """Builds versions of one image, derived from the small system, into a layout."""

    folder: Path
    store: Path

    @property
    def reference(self) -> str:
        return f"oci:{self.folder / 'layout'}:stable"

    def publish(self, version: str, more: str = "") -> TreeId:
        """The tree of the new version."""
        recipe = self.folder / version
        recipe.mkdir(parents=True)
        head = 'schema = 1\nfrom = "store:small"\n'
        image = f'[image]\nname = "reef"\nversion = "{version}"\n'
        file = f'[[file]]\npath = "/etc/reef-version"\ntext = "{version}\\n"\n'
        (recipe / "atoll.toml").write_text(head + image + file + more)
        done = atoll("build", recipe, "--store", self.store, "--output", self.reference, "--json")
        return TreeId(json.loads(done.stdout)["tree"])


@pytest.fixture
def publisher(system: System, tmp_path: Path) -> Publisher:
    return Publisher(folder=tmp_path / "images", store=system.store)


@pytest.fixture
def machine(system: System, tmp_path: Path) -> LayeredMachine:
    return make_machine(system, tmp_path / "machine")


def test_add_and_remove(machine: LayeredMachine, tmp_path: Path) -> None:
    """What is added is in the next tree and in the machine file; removed, all is as before."""
    first = machine.newest
    tool = standin.write_deb(tmp_path, "reef-tool", {"usr/bin/reef-tool": "#!/bin/sh\n"})
    shown = machine.run("plan", "add", str(tool), "--json").stdout
    assert [each["name"] for each in json.loads(shown)["added"]] == ["reef-tool"]
    assert machine.newest == first and machine.etc("atoll/machine.toml") is None
    done = machine.run("add", str(tool))
    assert "atoll remove reef-tool" in done.stderr
    assert machine.node("usr/bin/reef-tool") is not None
    assert 'install = ["./packages/reef-tool.deb"]' in (machine.etc("atoll/machine.toml") or "")
    second = machine.newest
    assert second["tree"] != first["tree"] and second["name"] == first["name"]
    assert "nothing changes" in machine.run("apply", code=77).stderr
    assert "part of the image" in machine.run("add", "base-files", code=77).stderr
    assert "not installed" in machine.run("remove", "reef-toll", code=7).stderr
    assert machine.newest == second

    assert "the image itself boots next" in machine.run("plan", "remove", "reef-tool").stdout
    assert machine.newest == second
    machine.run("remove", "reef-tool")
    assert machine.newest["tree"] == first["tree"]
    assert machine.node("usr/bin/reef-tool") is None
    assert "reef-tool" not in (machine.etc("atoll/machine.toml") or "")


def test_layers_go_along(
    machine: LayeredMachine, publisher: Publisher, system: System, tmp_path: Path
) -> None:
    """An upgrade builds the layers on the new image; anywhere else the same tree comes of them. A
    layer that does not fit holds the upgrade, or is left out."""
    publisher.publish("1")
    machine.run("rebase", publisher.reference)
    tool = standin.write_deb(
        tmp_path, "reef-tool", {"usr/bin/reef-tool": "#!/bin/sh\n"}, more="Conflicts: reef-new"
    )
    machine.run("add", str(tool))

    second = publisher.publish("2")
    assert "removed" not in machine.run("plan").stdout
    machine.run("upgrade")
    upgraded = machine.newest
    assert upgraded["version"] == "2" and upgraded["tree"] != second
    assert machine.node("usr/bin/reef-tool") is not None
    assert "and so are the packages" in machine.run("upgrade", code=77).stderr
    copy = tmp_path / "copy"
    shutil.copytree(machine.upper / "atoll", copy)
    done = atoll("build", copy, "--from-machine", "--store", system.store, "--json")
    assert json.loads(done.stdout)["tree"] == upgraded["tree"]

    new = standin.write_deb(tmp_path, "reef-new", {"usr/bin/reef-new": "#!/bin/sh\n"})
    third = publisher.publish("3", f'[packages]\ninstall = ["{new}"]\n')
    refused = machine.run("upgrade", code=11).stderr
    assert "does not fit reef 3, so nothing changed" in refused
    assert "does not go together with packages of the base: reef-new" in refused
    assert machine.newest == upgraded
    told = machine.run("status").stderr
    assert "UPGRADES ARE HELD: the machine file does not fit reef 3" in told
    assert "  ./packages/reef-tool.deb: " in told
    text = (machine.upper / "atoll/machine.toml").read_text()
    (machine.upper / "atoll/machine.toml").write_text(f'{text}\n[update]\nlayers = "drop"\n')
    assert "left out: ./packages/reef-tool.deb" in machine.run("upgrade").stderr
    assert machine.newest["tree"] == third
    assert "reef-tool" not in (machine.etc("atoll/machine.toml") or "")


@pytest.mark.long
def test_a_captured_layer_goes_along(
    machine: LayeredMachine, publisher: Publisher, system: System, tmp_path: Path
) -> None:
    """As packages do: it is built on each new image, and where it fails it holds the upgrade, or is
    left out."""
    account = '[[user]]\nname = "reef"\nsystem = true\n'
    publisher.publish("1", account)
    machine.run("rebase", publisher.reference)
    script = "echo 1 > /opt/reef-tool; chown reef: /opt/reef-tool"
    machine.run("capture", "--name", "tool", "--keep", "layer", "--", "sh", "-c", script)

    publisher.publish("2", account)
    machine.run("upgrade")
    upgraded = machine.newest
    assert upgraded["version"] == "2" and "[script] captured-tool" in str(upgraded["layers"])
    assert machine.node("usr/lib/opt/reef-tool") is not None
    copy = tmp_path / "copy"
    shutil.copytree(machine.upper / "atoll", copy)
    done = atoll("build", copy, "--from-machine", "--store", system.store, "--json")
    assert json.loads(done.stdout)["tree"] == upgraded["tree"]

    third = publisher.publish("3")
    refused = machine.run("upgrade", code=11).stderr
    assert "does not fit reef 3, so nothing changed" in refused
    assert "atoll capture --remove tool" in refused
    assert machine.newest == upgraded
    text = (machine.upper / "atoll/machine.toml").read_text()
    (machine.upper / "atoll/machine.toml").write_text(f'{text}\n[update]\nlayers = "drop"\n')
    assert "left out: captured layer tool: " in machine.run("upgrade").stderr
    assert machine.newest["tree"] == third


def test_kernel_arguments(machine: LayeredMachine, publisher: Publisher) -> None:
    """They are those of the boot entry; what the image sets can be removed and set again."""
    publisher.publish("1", '[kernel]\nargs = ["console=ttyS7", "nomodeset"]\n')
    machine.run("rebase", publisher.reference)

    def arguments() -> dict[str, str]:
        found = json.loads(machine.run("kargs", "--json").stdout)["arguments"]
        return {each["argument"]: each["set_by"] for each in found}

    def entry() -> list[str]:
        entries = (machine.root / "esp/loader/entries").glob("*.conf")
        newest = next(
            text
            for text in map(Path.read_text, entries)
            if f"atoll.deployment={machine.newest['number']}" in text
        )
        return next(line for line in newest.splitlines() if line.startswith("options")).split()

    assert arguments()["nomodeset"] == "image"
    assert next(who for what, who in arguments().items() if "atoll.state" in what) == "Atoll"
    machine.run("kargs", "add", "reef.one=1", "reef.two")
    assert arguments()["reef.one=1"] == "machine"
    assert {"reef.one=1", "reef.two", "nomodeset"} <= set(entry())
    assert "set already" in machine.run("kargs", "add", "reef.two", "nomodeset", code=77).stderr

    machine.run("kargs", "remove", "reef.one=1", "console")
    assert not {"reef.one=1", "console=ttyS7"} & set(entry())
    assert (
        "no kernel argument reef.thre" in machine.run("kargs", "remove", "reef.thre", code=7).stderr
    )
    assert "no kernel argument console" in machine.run("kargs", "remove", "console", code=7).stderr
    machine.run("kargs", "add", "console=ttyS7")
    assert entry().count("console=ttyS7") == 1
    before = machine.newest
    assert "Atoll's own" in machine.run("kargs", "add", "atoll.deployment=1", code=2).stderr
    assert "not one argument" in machine.run("kargs", "add", "a b", code=2).stderr
    assert machine.newest == before


def test_edit(machine: LayeredMachine, tmp_path: Path) -> None:
    """The editor comes back until the file is valid, or the person gives up."""
    (tmp_path / "1").write_text("schema = 1\n[kernel]\nargz = []\n")
    (tmp_path / "2").write_text('# mine\nschema = 1\n[kernel]\nargs = ["reef.edited"]\n')
    editor = tmp_path / "editor"
    editor.write_text(
        f"#!/bin/sh\ncd {tmp_path}\nfor n in 1 2; do\n"
        f'  if [ -e $n ]; then cat $n > "$1"; rm $n; exit; fi\ndone\n'
    )
    editor.chmod(0o755)

    def edit(typed: str, *, code: int) -> str:
        """What the person sees."""
        master, slave = os.openpty()
        os.write(master, typed.encode())
        words = (sys.executable, "-B", "-m", "atoll", "edit", "--root", machine.root)
        done = subprocess.run(
            words,
            env=os.environ | {"PYTHONPATH": str(TOP / "src"), "EDITOR": str(editor)},
            stdin=slave,
            stdout=slave,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        os.close(slave)
        os.close(master)
        assert done.returncode == code, done.stderr
        return done.stderr

    shutil.copy(tmp_path / "1", tmp_path / "wrong")
    assert "argz" in edit("n\n", code=77)
    assert machine.etc("atoll/machine.toml") is None
    shutil.copy(tmp_path / "wrong", tmp_path / "1")
    seen = edit("\n", code=0)
    assert "machine.toml" in seen and "argz" in seen and "next: atoll plan apply" in seen
    assert (machine.etc("atoll/machine.toml") or "").startswith("# mine\n")
    assert "as it was" in edit("", code=77)
    assert "this is no terminal" in machine.run("edit", code=2).stderr
    machine.run("apply")
    assert machine.newest["layers"] == ["[kernel]"]


def test_search(machine: LayeredMachine) -> None:
    """In the lists that are there; the real ones are downloaded when they are asked for."""
    assert "search --refresh" in machine.run("search", "hello", code=7).stderr
    shown = machine.run("search", "--refresh", "hello").stdout.splitlines()
    assert shown[0].startswith("  hello ") and all(len(line) <= 80 for line in shown)
    found = json.loads(machine.run("search", "essential", "base-files", "--json", code=7).stdout)
    assert found["packages"] == []
    found = json.loads(machine.run("search", "base-files", "--json").stdout)["packages"]
    assert found[0]["name"] == "base-files" and found[0]["installed"]
    assert machine.etc("atoll/machine.toml") is None


STOPPED = 99
STOP_THERE = """
import itertools, os, sys
from atoll.cli.main import main

count = itertools.count(1)

def stop_there(event, arguments):
    if event == "atoll.operation" and next(count) == int(sys.argv[1]):
        os._exit(99)

sys.addaudithook(stop_there)
sys.exit(main(sys.argv[2:]))
"""


def test_stopped_anywhere_file_and_system_agree(
    machine: LayeredMachine, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Before the commit it is the old system, after it the new one; each has its machine file."""
    tool = standin.write_deb(tmp_path, "reef-tool", {"usr/bin/reef-tool": "#!/bin/sh\n"})
    first = machine.newest
    stops = range(1, 60) if request.config.getoption("--long") else (2, 9, 14)
    for stop in stops:
        done = subprocess.run(
            [
                *(sys.executable, "-B", "-c", STOP_THERE, str(stop)),
                *("add", tool, "--root", machine.root),
            ],
            env=os.environ | {"PYTHONPATH": str(TOP / "src")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in (0, STOPPED), done.stderr
        newest = machine.newest
        if newest["tree"] == first["tree"]:
            assert newest["layers"] == []
            assert machine.node("usr/bin/reef-tool") is None
        else:
            assert newest["layers"] == ["./packages/reef-tool.deb"]
            assert machine.node("usr/bin/reef-tool") is not None
            assert "reef-tool" in (machine.etc("atoll/machine.toml") or "")
            assert (machine.upper / "atoll/packages/reef-tool.deb").exists()
            assert "nothing changes" in machine.run("apply", code=77).stderr
            machine.run("remove", "reef-tool")
            first = machine.newest
        machine.run("gc")
        assert not list((machine.root / "atoll/state").glob(".machine.*"))
        if done.returncode == 0:
            return
