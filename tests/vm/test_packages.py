"""Packages that reach far into a system: added, through an upgrade and a rebase, and removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.archive import Archive, make_key, serve
from tests.programs.vendor_package import RECIPE, add_vendor_package

from .conftest import build_version
from .image_registry import HOST, deployments

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from vmtest import Machine

    from .conftest import Ready
    from .image_registry import ImageRegistry

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.network, pytest.mark.long]

REAL = "tlp cups printer-driver-brlaser chrony"
PATIENCE = 3600
"""Seconds; a machine without KVM resolves and installs packages slowly."""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """The vendor's, with its key."""
    folder: Path = tmp_path_factory.mktemp("vendor")
    key = make_key(folder / "keys", "reef")
    archive = Archive(root=folder / "archive", key=key, origin="Reef")
    add_vendor_package(archive, "1.0")
    archive.publish()
    yield archive
    key.end()


@pytest.fixture(scope="module")
def machine(
    ready: Ready,
    registry: ImageRegistry,
    archive: Archive,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Machine]:
    place: Path = tmp_path_factory.mktemp("machine")
    assert archive.key is not None
    with serve(archive.root) as address, ready.following(registry, place) as machine:
        machine.succeed("mkdir -p /etc/atoll")
        machine.copy_to(archive.key.public, "/etc/atoll/reef.asc")
        text = RECIPE.format(address=address.replace("127.0.0.1", HOST))
        assert machine.run("cat > /etc/atoll/machine.toml", stdin=text.encode()).status == 0
        machine.succeed("atoll apply", timeout=PATIENCE)
        machine.succeed(f"atoll add {REAL}", timeout=PATIENCE)
        machine.reboot()
        machine.wait_for_system()
        yield machine


def check_vendor(machine: Machine, version: str) -> str:
    """The uid of its user."""
    assert machine.succeed("reefvpn") == f"{version}\n"
    assert machine.succeed("vpn") == f"{version}\n"
    machine.succeed("systemctl is-active reef-vpn.service")
    user = machine.succeed("systemctl show -P MainPID reef-vpn.service").strip()
    assert machine.succeed(f"stat -c %U /proc/{user}") == "reefvpn\n"
    mode = machine.succeed("stat -c '%U %G %a' /opt/reef-vpn/sbin/helper")
    assert mode == "root reefvpn 4750\n"
    assert machine.succeed("stat -c %U /var/lib/reef-vpn") == "reefvpn\n"
    return machine.succeed("id -u reefvpn")


def check_real(machine: Machine) -> None:
    for unit in ("tlp.service", "cups.service", "chrony.service"):
        machine.succeed(f"systemctl is-enabled {unit}", f"systemctl is-active {unit}")
    machine.succeed(
        "lpinfo -m | grep -qi brother", "test -d /var/lib/chrony", "getent passwd _chrony"
    )
    assert machine.succeed("systemctl --failed --no-legend").strip() == ""


def test_they_work_as_on_debian(machine: Machine) -> None:
    check_vendor(machine, "1.0")
    check_real(machine)


def test_an_upgrade_takes_them_along(
    machine: Machine, registry: ImageRegistry, archive: Archive
) -> None:
    uid = machine.succeed("id -u reefvpn")
    machine.succeed("runuser -u reefvpn -- touch /var/lib/reef-vpn/mine")
    add_vendor_package(archive, "1.1")
    archive.publish()
    registry.build("2")
    machine.succeed("atoll upgrade", timeout=PATIENCE)
    machine.reboot()
    machine.wait_for_system()
    assert check_vendor(machine, "1.1") == uid
    assert machine.succeed("stat -c %U /var/lib/reef-vpn/mine") == "reefvpn\n"
    check_real(machine)


def test_a_rebase_takes_them_along(machine: Machine, registry: ImageRegistry) -> None:
    uid = machine.succeed("id -u reefvpn")
    registry.offer(build_version(registry.folder, "1", name="other"))
    machine.succeed("atoll upgrade", timeout=PATIENCE)
    machine.reboot()
    machine.wait_for_system()
    (booted,) = [each for each in deployments(machine) if each["booted"]]
    assert booted["name"] == "other"
    assert check_vendor(machine, "1.1") == uid
    check_real(machine)


def test_removed_they_are_gone(machine: Machine) -> None:
    machine.succeed(f"atoll remove reef-vpn {REAL}", timeout=PATIENCE)
    machine.reboot()
    machine.wait_for_system()
    for unit in ("reef-vpn", "tlp", "cups", "chrony"):
        machine.fail(f"systemctl is-active {unit}.service")
    for path in ("/opt/reef-vpn/bin", "/usr/bin/reefvpn", "/usr/sbin/tlp", "/usr/sbin/cupsd"):
        machine.fail(f"test -e {path}")
    assert machine.succeed("systemctl --failed --no-legend").strip() == ""
