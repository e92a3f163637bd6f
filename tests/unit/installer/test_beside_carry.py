"""What comes along from an older system, and what stays behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.installer.beside.accounts import carry_accounts, read_records
from atoll.installer.beside.carry import Carried, Item, OldSettings, carry_settings
from atoll.installer.beside.network import parse_interfaces
from atoll.installer.settings.image_contents import ImageContents
from atoll.machine.etc.etc_commands import read_etc_of_tree
from atoll.machine.etc.etc_tree import Node, node_at
from tests.unit.installer.old_debian import IMAGE, MACHINE_ID, etc_node, old_settings
from tests.unit.machine.small_image import make_store

if TYPE_CHECKING:
    from pathlib import Path


def text_of(etc: Node, path: str) -> str:
    node = node_at(etc, path)
    return "" if node is None else node.entry.read().decode()


class Machine:
    def __init__(self, folder: Path, **files: bytes) -> None:
        changed = {name.replace("__", "/"): content for name, content in files.items()}
        store, tree = make_store(folder, IMAGE | changed)
        self.contents = ImageContents(store, tree)
        self.etc = read_etc_of_tree(store, tree)

    def carry(self, old: OldSettings | None = None, *without: Item) -> Carried:
        return carry_settings(old or old_settings(), self.etc, self.contents, without)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def details(carried: Carried) -> dict[str, str]:
    return {str(each.item): each.detail for each in carried.items}


def test_all_of_it_is_named_and_no_secret_is(machine: Machine) -> None:
    carried = machine.carry()
    assert details(carried) == {
        "users": "ada (1000), bob (1001)",
        "root": "a password, 1 ssh key",
        "hostname": "reef",
        "machine-id": MACHINE_ID,
        "ssh-keys": "ed25519",
        "network": "ens4 192.0.2.7/24",
        "timezone": "Europe/Berlin",
        "locale": "C.UTF-8",
        "keyboard": "de nodeadkeys",
    }
    assert carried.conflicts == ()
    shown = repr(carried)
    for secret in ("$y$", "private key", "AAAA"):
        assert secret not in shown


def test_accounts_keep_ids_passwords_and_groups(machine: Machine) -> None:
    etc = machine.carry().etc
    assert "ada:x:1000:1000:Ada,,,:/home/ada:/bin/bash\n" in text_of(etc, "passwd")
    assert "bob:x:1001:100::/home/bob:/bin/bash\n" in text_of(etc, "passwd")
    assert "daemon" not in text_of(etc, "passwd") and "nobody" not in text_of(etc, "passwd")
    assert "ada:$y$ada:20000:0:99999:7:::\n" in text_of(etc, "shadow")
    assert "root:$y$root:1:0:99999:7:::\n" in text_of(etc, "shadow")
    assert "sshd:!:1::::::\n" in text_of(etc, "shadow")
    groups = {each[0]: each[2:] for each in read_records(etc, "group")}
    assert groups["sudo"] == ["27", "ada"]
    # The image's id of a group of the system, and people as its members.
    assert groups["kvm"] == ["991", "ada,bob"]
    assert groups["work"] == ["1500", "ada,bob"]
    assert "ada:100000:65536\n" in text_of(etc, "subuid")
    assert "kvm:!::ada,bob\n" in text_of(etc, "gshadow")


def test_what_the_image_lacks_is_named(machine: Machine) -> None:
    notes = machine.carry().notes
    assert "ada gets /bin/bash: the image has no /bin/zsh" in notes
    assert "the image has no group libvirt" in notes


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (b"ada:x:1003:1003::/home/ada:/bin/sh\n", "the image has account ada (id 1003) already"),
        (
            b"user:x:1000:1000::/home/user:/bin/sh\n",
            "the id 1000 of account ada belongs to user in the image",
        ),
    ],
)
def test_ids_of_people_are_never_given_to_others(tmp_path: Path, record: bytes, said: str) -> None:
    machine = Machine(tmp_path, etc__passwd=IMAGE["etc/passwd"] + record)
    carried = machine.carry()
    assert carried.conflicts == (said,)
    assert "users" not in details(carried)
    assert machine.carry(None, Item.USERS).conflicts == ()


@pytest.mark.parametrize("item", [each for each in Item if each is not Item.HOME])
def test_each_can_be_left_out(machine: Machine, item: Item) -> None:
    assert details(machine.carry()).keys() - details(machine.carry(None, item)).keys() == {item}


def test_without_anything_the_etc_is_that_of_the_image(machine: Machine) -> None:
    carried = machine.carry(None, *Item)
    assert carried.etc == machine.etc
    assert (carried.items, carried.machine_id, carried.root_keys) == ((), None, b"")


def test_host_keys_keep_mode_and_content(machine: Machine) -> None:
    etc = machine.carry().etc
    key = node_at(etc, "ssh/ssh_host_ed25519_key")
    assert key is not None
    assert (key.entry.mode, key.entry.read()) == (0o600, b"the private key\n")
    assert node_at(etc, "ssh/sshd_config") is None


def test_an_image_without_a_server_gets_no_host_keys(tmp_path: Path) -> None:
    files = {name: content for name, content in IMAGE.items() if name != "usr/sbin/sshd"}
    store, tree = make_store(tmp_path, files)
    etc = read_etc_of_tree(store, tree)
    carried = carry_settings(old_settings(), etc, ImageContents(store, tree))
    assert "host keys of ssh: the image has no ssh server" in carried.notes
    assert node_at(carried.etc, "ssh/ssh_host_ed25519_key") is None


def test_host_name_zone_and_keyboard_are_written_as_by_the_installer(machine: Machine) -> None:
    etc = machine.carry().etc
    assert text_of(etc, "hostname") == "reef\n"
    assert "127.0.1.1\treef\n" in text_of(etc, "hosts")
    zone = node_at(etc, "localtime")
    assert zone is not None and zone.entry.content == "../usr/share/zoneinfo/Europe/Berlin"
    assert 'XKBLAYOUT="de"' in text_of(etc, "default/keyboard")
    assert text_of(etc, "locale.conf") == "LANG=C.UTF-8\n"


def test_locale_zone_and_layout_that_the_image_lacks_stay_behind(machine: Machine) -> None:
    old = old_settings(
        default__locale="LANG=de_DE.UTF-8\n",
        default__keyboard="XKBLAYOUT=fr\n",
        timezone="Mars/Olympus\n",
    )
    carried = machine.carry(old)
    assert "locale: the image has no de_DE.UTF-8" in carried.notes
    assert "keyboard: the image has no layout fr" in carried.notes


def test_a_fixed_address_becomes_a_file_of_networkd(machine: Machine) -> None:
    text = text_of(machine.carry().etc, "systemd/network/10-ens4.network")
    assert text == (
        "[Match]\nName=ens4\n\n[Network]\nAddress=192.0.2.7/24\nGateway=192.0.2.1\nDNS=192.0.2.53\n"
    )


def test_bridges_and_wifi_stay_behind_by_name(machine: Machine) -> None:
    interfaces = (
        "iface br0 inet static\n  address 192.0.2.9/24\n  bridge_ports ens3\n"
        "iface wlan0 inet dhcp\n  wpa-psk geheim\n"
        "iface ens3 inet dhcp\n"
    )
    notes = machine.carry(old_settings(network__interfaces=interfaces)).notes
    assert any(each.startswith("network: br0: ") for each in notes)
    assert any(each.startswith("network: wlan0: ") for each in notes)
    assert not any("ens3:" in each or "geheim" in each for each in notes)


def test_connections_need_the_program_that_reads_them(tmp_path: Path, machine: Machine) -> None:
    name = "NetworkManager__system-connections__home.nmconnection"
    old = old_settings(**{name: "[wifi-security]\npsk=geheim\n"})
    notes = machine.carry(old).notes
    assert "network: connections of NetworkManager, which the image does not have" in notes
    manager = Machine(tmp_path / "manager", usr__sbin__NetworkManager=b"")
    carried = manager.carry(old)
    assert "home.nmconnection" in details(carried)["network"]
    path = "NetworkManager/system-connections/home.nmconnection"
    assert "psk=geheim" in text_of(carried.etc, path)
    assert "geheim" not in repr(carried)


def test_a_damaged_machine_id_stays_behind(machine: Machine) -> None:
    for text in ("", "uninitialized\n", "0123\n", MACHINE_ID.upper()):
        assert machine.carry(old_settings(**{"machine-id": text})).machine_id is None


def test_rules_of_sudo_are_named(machine: Machine) -> None:
    notes = machine.carry(old_settings(**{"sudoers.d__90-cloud": "ada ALL=(ALL) ALL\n"})).notes
    assert "rules of sudo: /etc/sudoers.d/90-cloud" in notes


def test_interfaces_are_read_with_continued_lines_and_comments() -> None:
    text = "# iface x inet dhcp\niface en0 inet \\\n static\n  address 192.0.2.1/24\nauto en0\n"
    (stanza,) = parse_interfaces(text)
    assert (stanza.interface, stanza.family, stanza.method) == ("en0", "inet", "static")
    assert stanza.words == {"address": "192.0.2.1/24"}


names = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=3)
ids = st.integers(995, 1005)
accounts = st.lists(st.tuples(names, ids, ids), unique_by=(lambda a: a[0], lambda a: a[1]))
damage = st.sampled_from(["", "ada", "a:b:c", "# a:x:1000:1000:::", "+::::::", "a:x::::/:"])


def passwd(people: list[tuple[str, int, int]], more: str = "") -> str:
    lines = [f"{name}:x:{uid}:{gid}::/home/{name}:/bin/bash" for name, uid, gid in people]
    return "\n".join([*lines, more]) + "\n"


@given(old=accounts, image=accounts, more=damage)
def test_whatever_the_files_are_no_id_or_name_has_two_owners(
    old: list[tuple[str, int, int]], image: list[tuple[str, int, int]], more: str
) -> None:
    """Either all people come along as they are, or nobody and it is said why."""
    files = {"passwd": passwd(old, more), "group": "", "shadow": ""}
    etc = etc_node({"passwd": passwd(image), "group": "root:x:0:\n", "shadow": "root:*:::::::\n"})
    found = carry_accounts(etc_node(files), etc, bool)
    after = [(each[0], each[2]) for each in read_records(found.etc, "passwd")]
    people = [(name, str(uid)) for name, uid, _ in old if uid >= 1000]
    assert [pair for pair in after if pair in [(n, str(u)) for n, u, _ in image]] == [
        (n, str(u)) for n, u, _ in image
    ]
    if found.conflicts:
        assert found.etc == etc and found.people == ()
        return
    assert after == [*((n, str(u)) for n, u, _ in image), *people]
    assert len({uid for _, uid in after}) == len({name for name, _ in after}) == len(after)
