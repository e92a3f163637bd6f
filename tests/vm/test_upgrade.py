"""A machine follows an image through versions, from a registry, and back: as a person does it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.registry_server import run

from .conftest import build_version
from .image_registry import ImageRegistry, deployments

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmtest import Machine

    from .conftest import Built, Ready

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.network]

UNIT = """
[[file]]
path = "/usr/lib/systemd/system/two.service"
text = '''
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
[Install]
WantedBy=multi-user.target
'''

[[file]]
path = "/etc/two.conf"
text = "two\\n"
"""


@pytest.fixture(scope="module")
def versions(registry: ImageRegistry, hello: Built) -> dict[str, Built]:
    enabled = {"enable = [": 'enable = ["two.service", '}
    return {
        "1": hello,
        "2": build_version(registry.folder, "2", UNIT, changes=enabled, lock=hello.lock),
    }


@pytest.fixture(scope="module")
def other(registry: ImageRegistry) -> Built:
    packages = {'    "nano",\n': '    "vim-tiny",\n    "busybox",\n'}
    return build_version(registry.folder, "7", name="other", changes=packages)


@pytest.fixture(scope="module")
def machine(
    registry: ImageRegistry,
    versions: dict[str, Built],
    ready: Ready,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Machine]:
    registry.offer(versions["1"])
    with ready.following(registry, tmp_path_factory.mktemp("machine")) as machine:
        yield machine


def state(machine: Machine) -> dict[int, dict[str, object]]:
    return {each["number"]: each for each in deployments(machine)}


def test_nothing_new_is_said_at_once(machine: Machine) -> None:
    status, _ = machine.execute("atoll upgrade")
    assert status == 77
    assert machine.execute("atoll plan")[0] == 77


def test_a_plan_says_what_comes(
    machine: Machine, registry: ImageRegistry, versions: dict[str, Built]
) -> None:
    registry.offer(versions["2"])
    planned = json.loads(machine.succeed("atoll plan --json"))
    assert planned["version"] == "2" and planned["tree"] == versions["2"].tree
    assert planned["fetch"] > 0 and planned["obstacle"] is None
    assert list(state(machine)) == [1]


def test_an_upgrade_is_staged_while_the_machine_runs(
    machine: Machine, versions: dict[str, Built]
) -> None:
    machine.succeed("echo kept > /home/atoll/note", "systemctl disable ssh.service")
    machine.succeed("atoll upgrade", timeout=600)
    found = state(machine)
    assert found[2]["tree"] == versions["2"].tree
    assert found[2]["staged"] and found[1]["booted"]
    assert "atoll-3+3.conf" in machine.succeed("bootctl list --no-pager")
    for path in ("/sysroot/mine", "/boot/mine"):
        assert "Read-only file system" in machine.fail(f"touch {path} 2>&1"), path


def test_the_new_version_runs_with_what_was_the_persons(
    machine: Machine, versions: dict[str, Built]
) -> None:
    machine.reboot()
    machine.wait_for_system()
    found = state(machine)
    assert found[2]["booted"] and found[2]["default"]
    assert machine.succeed("cat /home/atoll/note /etc/two.conf") == "kept\ntwo\n"
    assert machine.execute("systemctl is-enabled ssh.service")[1].strip() == "disabled"
    assert machine.succeed("systemctl is-active two.service").strip() == "active"
    assert machine.succeed("systemctl --failed --no-legend").strip() == ""
    tree = versions["2"].tree
    assert tree in machine.succeed(f"fsverity measure /sysroot/atoll/images/{tree}")


def test_going_back_takes_one_command_and_a_reboot(machine: Machine) -> None:
    machine.succeed("atoll rollback 1")
    machine.reboot()
    machine.wait_for_system()
    found = state(machine)
    assert found[1]["booted"] and found[2]["held"]
    machine.fail("test -e /etc/two.conf")
    assert machine.succeed("cat /home/atoll/note") == "kept\n"
    assert machine.execute("atoll upgrade")[0] == 11
    machine.succeed("atoll rollback 2")
    assert state(machine)[2]["default"]
    machine.succeed("atoll cancel")
    assert state(machine)[1]["default"]


@pytest.mark.long
def test_another_image_takes_over_and_leaves_what_is_the_persons(
    machine: Machine, other: Built
) -> None:
    layout = Path(other.layout.split(":")[1])
    run("tar", "-C", str(layout.parent), "-cf", f"{layout}.tar", layout.name)
    machine.copy_to(layout.with_suffix(".tar"), "/var/tmp/other.tar")
    machine.succeed("cd /var/tmp && tar xf other.tar", "echo mine > /etc/mine.conf")
    machine.succeed("atoll rebase oci:/var/tmp/other:7", timeout=600)
    machine.reboot()
    machine.wait_for_system()
    booted = next(each for each in state(machine).values() if each["booted"])
    assert (booted["name"], booted["tree"]) == ("other", other.tree)
    machine.succeed("command -v busybox", "test -e /etc/mine.conf")
    machine.fail("command -v nano || test -e /etc/two.conf")
    assert machine.succeed("cat /home/atoll/note") == "kept\n"
    assert machine.execute("systemctl is-enabled ssh.service")[1].strip() == "disabled"
    changed = json.loads(machine.succeed("atoll etc --json"))["changes"]
    assert not [each for each in changed if "nano" in each["path"] or "two" in each["path"]]
    assert machine.succeed("systemctl --failed --no-legend").strip() == ""


def test_an_nvram_override_is_told_and_cleared(machine: Machine) -> None:
    machine.succeed("bootctl set-default atoll-2.conf")
    told = machine.succeed("atoll status 2>&1")
    assert "atoll-2.conf" in told and "cleared" in told
    assert "atoll-2.conf" not in machine.succeed("atoll status 2>&1 >/dev/null")
