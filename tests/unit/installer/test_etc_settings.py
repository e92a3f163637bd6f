"""Settings as files of /etc, judged by what they change in an image's /etc."""

from __future__ import annotations

import configparser
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from atoll.installer.settings.etc_settings import (
    format_connection,
    format_network,
    format_wifi,
    with_settings,
)
from atoll.installer.settings.settings import (
    AddressSettings,
    Settings,
    UserSettings,
    WifiSettings,
)
from atoll.machine.etc.etc_tree import Entry, Kind, Node, compare, node_at, replaced, with_content
from atoll.machine.keyboard import KeyboardLayout

ID = UUID("0f0e0d0c-0b0a-0908-0706-050403020100")
USER = UserSettings(name="ada", password="x")


def etc_of(**files: str) -> Node:
    etc = Node(Entry(kind=Kind.DIRECTORY, mode=0o755))
    for name, text in files.items():
        path = name.replace("__", "/").replace("_sh", ".sh")
        node = Node(with_content(Entry(kind=Kind.FILE, mode=0o644), text.encode()))
        etc = replaced(etc, path, node)
    return etc


def text_at(etc: Node, path: str) -> str:
    node = node_at(etc, path)
    assert node is not None
    return node.entry.read().decode()


def change(etc: Node, *, network_manager: bool = True, **settings: object) -> Node:
    made = Settings(user=USER, **settings)  # type: ignore[arg-type]
    return with_settings(etc, made, network_manager=network_manager, uuid=ID)


def test_nothing_set_changes_nothing() -> None:
    etc = etc_of(hosts="127.0.0.1 localhost\n", hostname="image\n")
    assert compare(etc, change(etc)) == ()


def test_the_host_name_and_its_line_in_hosts() -> None:
    old = "127.0.0.1\tlocalhost\n127.0.1.1\timage\n::1\tip6-localhost\n"
    etc = change(etc_of(hosts=old), hostname="reef.example.org")
    assert text_at(etc, "hostname") == "reef.example.org\n"
    assert text_at(etc, "hosts") == (
        "127.0.0.1\tlocalhost\n::1\tip6-localhost\n127.0.1.1\treef.example.org reef\n"
    )
    assert text_at(change(etc_of(), hostname="reef"), "hosts") == (
        "127.0.0.1\tlocalhost\n127.0.1.1\treef\n"
    )


def test_locale_and_time_zone() -> None:
    etc = change(etc_of(timezone="Etc/UTC\n"), locale="de_DE.UTF-8", timezone="Europe/Berlin")
    assert text_at(etc, "locale.conf") == "LANG=de_DE.UTF-8\n"
    found = node_at(etc, "default/locale")
    assert found is not None
    assert found.entry.content == "../locale.conf"
    zone = node_at(etc, "localtime")
    assert zone is not None
    assert zone.entry.content == "../usr/share/zoneinfo/Europe/Berlin"
    assert text_at(etc, "timezone") == "Europe/Berlin\n"
    assert node_at(change(etc_of(), timezone="UTC"), "timezone") is None


def test_the_keyboard_and_no_keymap_that_was_saved_for_another() -> None:
    etc = etc_of(**{"console-setup__cached_setup_keyboard_sh": "loadkeys us\n"})
    etc = change(etc, keyboard=KeyboardLayout(layout="us,ru", options="grp:caps_toggle"))
    assert text_at(etc, "default/keyboard") == (
        'XKBMODEL="pc105"\nXKBLAYOUT="us,ru"\nXKBVARIANT=""\nXKBOPTIONS="grp:caps_toggle"\n'
        'BACKSPACE="guess"\n'
    )
    assert node_at(etc, "console-setup/cached_setup_keyboard.sh") is None


def test_only_root_reads_a_passphrase() -> None:
    etc = change(etc_of(), wifi=WifiSettings(ssid="reef/5", passphrase="correct horse"))
    node = node_at(etc, "NetworkManager/system-connections/reef*5.nmconnection")
    assert node is not None
    assert (node.entry.mode, node.entry.uid, node.entry.gid) == (0o600, 0, 0)
    assert "psk=correct horse\n" in node.entry.read().decode()


WIFI = r"""[connection]
id=my; net\\x
uuid=0f0e0d0c-0b0a-0908-0706-050403020100
type=wifi

[wifi]
mode=infrastructure
ssid=my\\; net\\x

[wifi-security]
key-mgmt=wpa-psk
psk=\sa\\b;c  dd

[ipv4]
method=auto

[ipv6]
addr-gen-mode=default
method=auto

[proxy]
"""
WIRED = """[connection]
id=lan0
uuid=0f0e0d0c-0b0a-0908-0706-050403020100
type=ethernet
interface-name=lan0

[ethernet]

[ipv4]
address1=192.0.2.7/24
dns=192.0.2.2;192.0.2.3;
gateway=192.0.2.1
method=manual

[ipv6]
addr-gen-mode=default
method=auto

[proxy]
"""


def test_connections_are_as_nmcli_writes_them() -> None:
    """Recorded from ``nmcli --offline connection add`` of NetworkManager 1.52.1; uuid is ours."""
    assert format_wifi(WifiSettings(ssid=r"my; net\x", passphrase=r" a\b;c  dd"), ID) == WIFI
    address = AddressSettings(
        interface="lan0",
        address="192.0.2.7/24",
        gateway="192.0.2.1",
        dns=("192.0.2.2", "192.0.2.3"),
    )
    assert format_connection(address, ID) == WIRED


def test_an_open_network_has_no_security() -> None:
    assert "security" not in format_wifi(WifiSettings(ssid="reef"), ID)


def test_an_address_by_what_the_image_has() -> None:
    address = AddressSettings(
        interface="enp3s0", address="192.0.2.7/24", gateway="192.0.2.1", dns=("192.0.2.2",)
    )
    etc = change(etc_of(), network_manager=False, address=address)
    assert text_at(etc, "systemd/network/10-enp3s0.network") == (
        "[Match]\nName=enp3s0\n\n"
        "[Network]\nAddress=192.0.2.7/24\nGateway=192.0.2.1\nDNS=192.0.2.2\n"
    )
    etc = change(etc_of(), address=address)
    path = "NetworkManager/system-connections/enp3s0.nmconnection"
    found = configparser.ConfigParser()
    found.read_string(text_at(etc, path))
    assert dict(found["ipv4"]) == {
        "address1": "192.0.2.7/24",
        "gateway": "192.0.2.1",
        "dns": "192.0.2.2;",
        "method": "manual",
    }
    assert found["ipv6"]["method"] == "auto"
    node = node_at(etc, path)
    assert node is not None
    assert node.entry.mode == 0o600


def test_an_address_of_the_other_kind() -> None:
    address = AddressSettings(interface="lan", address="2001:db8::7/64", dns=("2001:db8::1",))
    assert "Address=2001:db8::7/64\nDNS=2001:db8::1\n" in format_network(address)
    etc = change(etc_of(), address=address)
    found = configparser.ConfigParser()
    found.read_string(text_at(etc, "NetworkManager/system-connections/lan.nmconnection"))
    assert found["ipv4"]["method"] == "auto"
    assert found["ipv6"]["address1"] == "2001:db8::7/64"


@given(st.text(st.characters(blacklist_categories=["Cc", "Cs"]), min_size=1, max_size=32))
def test_no_name_of_a_network_makes_a_line_of_its_own(ssid: str) -> None:
    """It is chosen by whoever runs the network."""
    text = format_wifi(WifiSettings(ssid=ssid, passphrase="correct horse"), ID)
    assert [line for line in text.split("\n") if line.startswith("[")] == [
        "[connection]",
        "[wifi]",
        "[wifi-security]",
        "[ipv4]",
        "[ipv6]",
        "[proxy]",
    ]
    etc = change(etc_of(), wifi=WifiSettings(ssid=ssid))
    directory = node_at(etc, "NetworkManager/system-connections")
    assert directory is not None
    assert len(directory.children) == 1
