"""A machine gets newer versions while it runs: a program appears, a service restarts behind its
socket, and it all goes back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from .conftest import build_version
from .image_registry import ImageRegistry, deployments

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmtest import Machine

    from .conftest import Built, Ready

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.network, pytest.mark.long]

SERVICE = """
[[file]]
path = "/usr/lib/systemd/system/word.socket"
text = '''
[Socket]
ListenStream=/run/word
[Install]
WantedBy=sockets.target
'''

[[file]]
path = "/usr/lib/systemd/system/word.service"
text = '''
[Service]
ExecStart=/usr/bin/python3 /usr/lib/word
'''

[[file]]
path = "/usr/lib/word"
text = '''
import socket
listener = socket.socket(fileno=3)
while True:
    connection, _ = listener.accept()
    connection.sendall(b"WORD")
    connection.close()
'''

[[file]]
path = "/etc/word.conf"
text = "WORD\\n"
"""
ASK = (
    'python3 -c \'import socket; s = socket.socket(socket.AF_UNIX); s.connect("/run/word");'
    " print(s.recv(9).decode())'"
)
MORE = {'    "nano",\n': '    "nano",\n    "busybox",\n', "enable = [": 'enable = ["word.socket", '}


@pytest.fixture(scope="module")
def versions(registry: ImageRegistry, hello: Built) -> dict[str, Built]:
    def version(number: str, word: str, **more: str) -> Built:
        changes = {**MORE, **more}
        return build_version(
            registry.folder, number, SERVICE.replace("WORD", word), changes=changes
        )

    return {
        "1": hello,
        "2": version("2", "two"),
        "3": version("3", "three"),
        "4": version("4", "four", **{'args = ["': 'args = ["nosmt", "'}),
    }


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


def marks(machine: Machine) -> dict[str, set[str]]:
    names = ("booted", "running", "default", "staged")
    return {
        str(each["version"]): {name for name in names if each[name]}
        for each in deployments(machine)
    }


def go_live(machine: Machine) -> dict[str, Any]:
    done: dict[str, Any] = json.loads(
        machine.succeed("atoll upgrade --live --json 2>/dev/null", timeout=900)
    )
    assert done["live"]["warnings"] == [] and done["reboot"] is False
    assert machine.succeed("systemctl --failed --no-legend").strip() == ""
    return done


def test_a_plan_says_that_no_reboot_is_needed(
    machine: Machine, registry: ImageRegistry, versions: dict[str, Built]
) -> None:
    registry.offer(versions["2"])
    told = machine.succeed("atoll plan")
    assert told.splitlines()[-1] == "  reboot     not needed with: atoll upgrade --live"


def test_the_new_version_is_there_without_a_reboot(machine: Machine) -> None:
    machine.fail("command -v busybox")
    machine.succeed("echo kept > /etc/mine.conf", "echo local > /usr/local/mine")
    boot = machine.succeed("cat /proc/sys/kernel/random/boot_id")
    old = "systemd-run --unit=old --quiet sh -c 'exec 3< /usr/bin/less; exec sleep infinity'"
    machine.succeed(old)
    done = go_live(machine)
    assert "word.socket" in done["live"]["start"]
    assert machine.succeed(ASK) == "two\n"
    machine.succeed("busybox true", "dpkg -s busybox", "test -s /proc/$(pidof sleep)/fd/3")
    assert machine.succeed("cat /etc/mine.conf /usr/local/mine /etc/word.conf") == (
        "kept\nlocal\ntwo\n"
    )
    assert boot == machine.succeed("cat /proc/sys/kernel/random/boot_id")
    assert marks(machine) == {"1": {"booted"}, "2": {"running", "default", "staged"}}
    assert "changed live" in machine.succeed("atoll status")
    machine.fail("touch /usr/x")
    assert machine.execute("atoll upgrade --live")[0] == 77


def test_a_protected_service_still_cannot_write_to_etc(machine: Machine) -> None:
    process = machine.succeed("systemctl show systemd-resolved -p MainPID --value").strip()
    inside = f"nsenter --mount=/proc/{process}/ns/mnt"
    assert machine.succeed(f"{inside} cat /etc/word.conf") == "two\n"
    assert "Read-only" in machine.fail(f"{inside} touch /etc/x 2>&1")


def test_a_service_restarts_and_keeps_its_socket(
    machine: Machine, registry: ImageRegistry, versions: dict[str, Built]
) -> None:
    registry.offer(versions["3"])
    inode = machine.succeed("stat -c %i /run/word")
    done = go_live(machine)
    assert done["live"]["restart"] == ["word.service"] and done["live"]["start"] == []
    assert machine.succeed(ASK) == "three\n"
    assert inode == machine.succeed("stat -c %i /run/word")
    assert marks(machine)["1"] == {"booted"} and "running" in marks(machine)["3"]
    assert machine.succeed("cat /etc/mine.conf /etc/word.conf") == "kept\nthree\n"


def test_a_scratch_overlay_is_thrown_away_again(machine: Machine) -> None:
    machine.succeed("atoll scratch --size 64M", "echo true > /usr/bin/mine; chmod +x /usr/bin/mine")
    machine.succeed("mine")
    assert json.loads(machine.succeed("atoll status --json"))["scratch"] is True
    status, told = machine.execute("atoll upgrade --live 2>&1")
    assert status == 11 and "scratch overlay" in told
    machine.succeed("atoll scratch --discard")
    machine.fail("command -v mine")
    machine.fail("touch /usr/x")


def test_what_needs_a_reboot_is_staged_and_says_why(
    machine: Machine, registry: ImageRegistry, versions: dict[str, Built]
) -> None:
    registry.offer(versions["4"])
    told = machine.succeed("atoll plan")
    assert told.splitlines()[-1] == "  reboot     needed: other kernel arguments: nosmt"
    status, told = machine.execute("atoll upgrade --live 2>&1", timeout=900)
    assert status == 11 and "other kernel arguments: nosmt" in told
    assert machine.succeed(ASK) == "three\n"
    found = marks(machine)
    assert found["4"] == {"default", "staged"} and found["3"] == {"running"}


def test_cancel_takes_all_of_it_back(machine: Machine) -> None:
    machine.succeed("echo later > /etc/mine.conf", "atoll cancel")
    machine.fail("command -v busybox")
    machine.fail("systemctl is-active word.socket")
    assert machine.succeed("cat /etc/mine.conf") == "later\n"
    machine.fail("test -e /etc/word.conf")
    assert marks(machine)["1"] == {"booted", "default"}
    assert not any("running" in each for each in marks(machine).values())
    assert machine.succeed("systemctl --failed --no-legend").strip() == ""


def test_after_a_reboot_it_is_the_version_that_was_live(
    machine: Machine, registry: ImageRegistry, versions: dict[str, Built]
) -> None:
    registry.offer(versions["3"])
    go_live(machine)
    machine.succeed("echo last > /etc/mine.conf")
    machine.reboot()
    machine.wait_for_system()
    assert marks(machine)["3"] == {"booted", "default"}
    assert machine.succeed("cat /etc/mine.conf") == "last\n"
    assert machine.succeed(ASK) == "three\n"
    assert machine.succeed("systemctl --failed --no-legend").strip() == ""
    assert versions["3"].tree in machine.succeed("cat /run/atoll/booted")
