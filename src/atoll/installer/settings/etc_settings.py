"""A person's settings as files of ``/etc``: what the usual programs would write. Pure.

==============  ===========================================  =======================
setting         file                                         as written by
==============  ===========================================  =======================
host name       hostname, and its line in hosts              hostnamectl, Debian's installer
locale          locale.conf, to which default/locale leads   localectl
time zone       localtime, and timezone where it is          timedatectl
keyboard        default/keyboard, vconsole.conf leads there  keyboard-configuration
Wi-Fi, address  NetworkManager/system-connections/…          nmcli
address         systemd/network/…, without NetworkManager    (networkd has no such program)
==============  ===========================================  =======================
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_interface
from typing import TYPE_CHECKING

from atoll.machine.etc.etc_tree import Entry, Kind, Node, is_file, node_at, replaced, with_content

if TYPE_CHECKING:
    from uuid import UUID

    from atoll.installer.settings.settings import AddressSettings, Settings, WifiSettings
    from atoll.machine.keyboard import KeyboardLayout

_HOSTS = b"127.0.0.1\tlocalhost\n"
_CONNECTIONS = "NetworkManager/system-connections"
_KEYBOARD_CACHE = "console-setup/cached_setup_keyboard.sh"
"""Loads the keymap that setupcon has saved for the old keyboard. Without it the boot asks setupcon,
which reads default/keyboard and saves a new one."""


def with_settings(etc: Node, settings: Settings, *, network_manager: bool, uuid: UUID) -> Node:
    """``etc`` with all settings but the account's. ``uuid`` is that of a new connection."""
    if settings.hostname is not None:
        etc = with_hostname(etc, settings.hostname)
    if settings.locale is not None:
        etc = _with_file(etc, "locale.conf", f"LANG={settings.locale}\n")
        etc = _with_link(etc, "default/locale", "../locale.conf")
    if settings.timezone is not None:
        etc = with_timezone(etc, settings.timezone)
    if settings.keyboard is not None:
        etc = with_keyboard(etc, settings.keyboard)
    if settings.wifi is not None:
        name = settings.wifi.ssid.replace("/", "*")
        text = format_wifi(settings.wifi, uuid)
        etc = _with_file(etc, f"{_CONNECTIONS}/{name}.nmconnection", text, mode=0o600)
    if settings.address is not None:
        etc = with_address(etc, settings.address, network_manager=network_manager, uuid=uuid)
    return etc


def with_hostname(etc: Node, name: str) -> Node:
    hosts = node_at(etc, "hosts")
    old = hosts.entry.read() if hosts is not None and is_file(hosts) else _HOSTS
    kept = [line for line in old.decode(errors="surrogateescape").splitlines() if not _is_own(line)]
    short = name.partition(".")[0]
    names = name if short == name else f"{name} {short}"
    etc = _with_file(etc, "hostname", f"{name}\n")
    return _with_file(etc, "hosts", "\n".join([*kept, f"127.0.1.1\t{names}"]) + "\n")


def with_timezone(etc: Node, name: str) -> Node:
    etc = _with_link(etc, "localtime", f"../usr/share/zoneinfo/{name}")
    return _with_file(etc, "timezone", f"{name}\n") if node_at(etc, "timezone") else etc


def with_keyboard(etc: Node, keyboard: KeyboardLayout) -> Node:
    etc = _with_file(etc, "default/keyboard", format_keyboard(keyboard))
    etc = _with_link(etc, "vconsole.conf", "default/keyboard")
    return replaced(etc, _KEYBOARD_CACHE, None) if node_at(etc, _KEYBOARD_CACHE) else etc


def with_address(etc: Node, address: AddressSettings, *, network_manager: bool, uuid: UUID) -> Node:
    if network_manager:
        path = f"{_CONNECTIONS}/{address.interface}.nmconnection"
        return _with_file(etc, path, format_connection(address, uuid), mode=0o600)
    path = f"systemd/network/10-{address.interface}.network"
    return _with_file(etc, path, format_network(address))


def format_keyboard(keyboard: KeyboardLayout) -> str:
    """keyboard(5)."""
    return (
        f'XKBMODEL="{keyboard.model}"\nXKBLAYOUT="{keyboard.layout}"\n'
        f'XKBVARIANT="{keyboard.variant}"\nXKBOPTIONS="{keyboard.options}"\nBACKSPACE="guess"\n'
    )


def format_wifi(wifi: WifiSettings, uuid: UUID) -> str:
    """A connection that NetworkManager makes whenever the network is there."""
    name = _escape(wifi.ssid)
    # Here a semicolon would end an item of a list.
    ssid = _escape(wifi.ssid.replace(";", r"\;"))
    # wpa-psk is WPA2 and WPA3 Personal.
    security = (
        f"\n[wifi-security]\nkey-mgmt=wpa-psk\npsk={_escape(wifi.passphrase)}\n"
        if wifi.passphrase
        else ""
    )
    return (
        f"[connection]\nid={name}\nuuid={uuid}\ntype=wifi\n\n"
        f"[wifi]\nmode=infrastructure\nssid={ssid}\n{security}\n"
        "[ipv4]\nmethod=auto\n\n[ipv6]\naddr-gen-mode=default\nmethod=auto\n\n[proxy]\n"
    )


def format_connection(address: AddressSettings, uuid: UUID) -> str:
    """A wired connection of NetworkManager. The other kind of addresses stays automatic."""
    version = ip_interface(address.address).version
    # Each kind has its own list of name servers.
    servers = [each for each in address.dns if ip_address(each).version == version]
    lines = [f"address1={address.address}"]
    lines += [f"dns={';'.join(servers)};"] if servers else []
    lines += [f"gateway={address.gateway}"] if address.gateway else []
    fixed = "".join(f"{line}\n" for line in [*lines, "method=manual"])
    automatic = "method=auto\n"
    sections = {
        "ipv4": fixed if version == 4 else automatic,
        "ipv6": "addr-gen-mode=default\n" + (fixed if version == 6 else automatic),
    }
    return (
        f"[connection]\nid={address.interface}\nuuid={uuid}\ntype=ethernet\n"
        f"interface-name={address.interface}\n\n[ethernet]\n\n"
        f"[ipv4]\n{sections['ipv4']}\n[ipv6]\n{sections['ipv6']}\n[proxy]\n"
    )


def format_network(address: AddressSettings) -> str:
    """systemd.network(5)."""
    gateway = f"Gateway={address.gateway}\n" if address.gateway else ""
    servers = "".join(f"DNS={each}\n" for each in address.dns)
    return (
        f"[Match]\nName={address.interface}\n\n"
        f"[Network]\nAddress={address.address}\n{gateway}{servers}"
    )


def _is_own(line: str) -> bool:
    return line.split()[:1] == ["127.0.1.1"]


def _escape(text: str) -> str:
    """A value of GLib's key files, where leading blanks and backslashes are escaped."""
    text = text.replace("\\", "\\\\")
    blanks = len(text) - len(text.lstrip(" "))
    return "\\s" * blanks + text[blanks:]


def _with_file(etc: Node, path: str, text: str, *, mode: int = 0o644) -> Node:
    """A file that is there keeps its owner and mode."""
    node = node_at(etc, path)
    old = Entry(kind=Kind.FILE, mode=mode)
    if node is not None and is_file(node):
        old = replace(node.entry, mode=min(node.entry.mode, mode) if mode == 0o600 else mode)
    content = text.encode(errors="surrogateescape")
    return replaced(etc, path, Node(with_content(old, content)))


def _with_link(etc: Node, path: str, target: str) -> Node:
    return replaced(etc, path, Node(Entry(kind=Kind.SYMLINK, mode=0o777, content=target)))
