"""A vendor's package with its own archive, on a machine in a directory: it goes along with upgrades
and a rebase, and removed nothing of it is left."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from atoll.image.read_file import read_image_file
from atoll.store.layout import open_store
from atoll.store.tree_images import read_image_bytes
from atoll.tree.model import Directory, Regular, Symlink
from tests.archive import Archive, make_key, serve

from .test_layering import machine, publisher
from .test_layering import pytestmark as marks
from .vendor_package import NAME, RECIPE, add_vendor_package

if TYPE_CHECKING:
    from pathlib import Path

    from .layered_machine import LayeredMachine
    from .test_layering import Publisher

pytestmark = [*marks, pytest.mark.long]
__all__ = ["machine", "publisher"]


def text_of(machine: LayeredMachine, path: str) -> str:
    store = open_store(machine.root / "atoll")
    image = read_image_bytes(store, str(machine.newest["tree"]))  # type: ignore[arg-type]
    return (read_image_file(store, image, path) or b"").decode()


def account(machine: LayeredMachine) -> str | None:
    rows = text_of(machine, "etc/passwd").splitlines()
    return next((row.split(":")[2] for row in rows if row.startswith("reefvpn:")), None)


def check_installed(machine: LayeredMachine, version: str) -> None:
    assert f"echo {version}" in text_of(machine, "usr/lib/opt/reef-vpn/bin/reefvpn")
    helper = machine.node("usr/lib/opt/reef-vpn/sbin/helper")
    assert isinstance(helper, Regular)
    assert helper.metadata.mode & 0o7777 == 0o4750
    assert str(helper.metadata.gid) == account(machine)
    for link in ("usr/bin/reefvpn", "etc/alternatives/vpn"):
        assert isinstance(machine.node(link), Symlink)
    wants = "etc/systemd/system/multi-user.target.wants/reef-vpn.service"
    assert isinstance(machine.node(wants), Symlink)
    assert "reefvpn 4750" in text_of(machine, "usr/lib/atoll/var/lib/dpkg/statoverride")
    assert "d /var/lib/reef-vpn 0755" in text_of(machine, "usr/lib/tmpfiles.d/atoll-factory.conf")


def test_it_is_as_on_debian_goes_along_and_goes(
    machine: LayeredMachine, publisher: Publisher, tmp_path: Path
) -> None:
    key = make_key(tmp_path / "keys", "reef")
    archive = Archive(root=tmp_path / "archive", key=key, origin="Reef")
    add_vendor_package(archive, "1.0")
    archive.publish()
    publisher.publish("1")
    machine.run("rebase", publisher.reference)
    folder = machine.upper / "atoll"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy2(key.public, folder / "reef.asc")
    with serve(archive.root) as address:
        (folder / "machine.toml").write_text(RECIPE.format(address=address))
        assert "reef-vpn.service" in machine.run("apply").stdout
        check_installed(machine, "1.0")
        uid = account(machine)

        add_vendor_package(archive, "1.1")
        archive.publish()
        publisher.publish("2")
        machine.run("upgrade")
        check_installed(machine, "1.1")
        # Ids never change on a machine.
        assert machine.newest["version"] == "2" and account(machine) == uid

        machine.run("remove", NAME)
    key.end()
    for path in ("usr/lib/opt/reef-vpn", "usr/bin/reefvpn", "etc/alternatives/vpn"):
        assert machine.node(path) is None, path
    wants = machine.node("etc/systemd/system/multi-user.target.wants")
    assert not isinstance(wants, Directory) or b"reef-vpn.service" not in wants.entries
    assert account(machine) is None
