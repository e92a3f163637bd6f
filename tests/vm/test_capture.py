"""A vendor's installer is captured on a running machine, goes along with an upgrade, and is removed
again."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest

from .image_registry import TWO, deployments

if TYPE_CHECKING:
    from vmtest import Machine

    from .image_registry import ImageRegistry

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.network, pytest.mark.long]

PATIENCE = 1800
"""Seconds; a machine without KVM builds slowly."""
INSTALLER = """\
set -eu
useradd --system --user-group --home-dir /nonexistent --shell /usr/sbin/nologin vendor
mkdir -p /opt/vendor /usr/local/bin /var/lib/vendor
printf '#!/bin/sh\\necho I am $(id -un)\\n' > /usr/local/bin/vendor-tool
chmod 0755 /usr/local/bin/vendor-tool
echo 1 > /opt/vendor/data
echo port=1 > /etc/vendor.conf
chown vendor:vendor /etc/vendor.conf /var/lib/vendor
cat > /etc/systemd/system/vendor.service <<UNIT
[Service]
Type=oneshot
RemainAfterExit=yes
User=vendor
ExecStart=/bin/sh -c '/usr/local/bin/vendor-tool > /var/lib/vendor/said'
[Install]
WantedBy=multi-user.target
UNIT
systemctl enable vendor.service
"""


@pytest.fixture(scope="module")
def machine(machine: Machine) -> Machine:
    machine.succeed(f"printf %s {shlex.quote(INSTALLER)} > /root/install.sh")
    return machine


def check_there(machine: Machine) -> None:
    assert machine.succeed("cat /opt/vendor/data") == "1\n"
    assert machine.succeed("stat -c %U:%G /etc/vendor.conf") == "vendor:vendor\n"
    assert machine.succeed("vendor-tool") == "I am root\n"
    machine.succeed("systemctl is-active vendor.service")
    assert machine.succeed("cat /var/lib/vendor/said") == "I am vendor\n"
    assert machine.succeed("systemctl --failed --no-legend").strip() == ""
    (found,) = [each for each in deployments(machine) if each["booted"]]
    assert found["layers"] == ["[script] captured-install", "[user]", "[units]", "[var]"]


def test_thrown_away_nothing_is_there(machine: Machine) -> None:
    shown = machine.succeed("atoll capture -- sh /root/install.sh 2>&1", timeout=PATIENCE)
    assert "enabled     vendor.service" in shown and "/usr/local/bin/vendor-tool" in shown
    assert "nothing of this machine was changed" in shown
    machine.fail("ls /opt/vendor /etc/vendor.conf /usr/local/bin/vendor-tool")
    machine.fail("id vendor")
    machine.fail("ls /etc/atoll/machine.toml")


def test_kept_it_is_there_after_a_reboot(machine: Machine) -> None:
    told = machine.succeed(
        "atoll capture --keep layer -- sh /root/install.sh 2>&1", timeout=PATIENCE
    )
    assert "to take it back later: atoll capture --remove install" in told
    machine.reboot()
    machine.wait_for_system()
    check_there(machine)
    assert "/usr/local/bin/vendor-tool" not in machine.succeed("atoll drift || true")


def test_it_goes_along_with_an_upgrade(machine: Machine, registry: ImageRegistry) -> None:
    registry.build("2", TWO)
    machine.succeed("atoll upgrade", timeout=PATIENCE)
    machine.reboot()
    machine.wait_for_system()
    assert machine.succeed("cat /etc/two.conf") == "two\n"
    check_there(machine)


def test_removed_it_is_gone_but_for_its_state(machine: Machine) -> None:
    machine.succeed("atoll capture --remove install", timeout=PATIENCE)
    machine.reboot()
    machine.wait_for_system()
    machine.fail("ls /opt/vendor/data")
    machine.fail("ls /etc/vendor.conf")
    machine.fail("ls -d /usr/local/bin/vendor-tool")
    machine.fail("id vendor")
    machine.succeed("ls /var/lib/vendor/said")
    (found,) = [each for each in deployments(machine) if each["booted"]]
    assert found["layers"] == []
