"""The network of an older system, as files for the programs of an image. Pure.

====================  ============================================================
the older system has  the new one gets
====================  ============================================================
NetworkManager        its connections, where the image has NetworkManager
systemd-networkd      its ``.network``, ``.netdev`` and ``.link`` files, where the
                      image has an enabled systemd-networkd
ifupdown              fixed addresses of wired interfaces, written for the program
                      that the image has; automatic ones need nothing
====================  ============================================================

Everything else (bridges, bonds, VLANs, Wi-Fi of ifupdown, hooks) is named as left behind.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_interface
from typing import TYPE_CHECKING
from uuid import NAMESPACE_DNS, uuid5

from atoll.installer.settings.etc_settings import with_address
from atoll.installer.settings.settings import AddressSettings
from atoll.machine.etc.etc_tree import children_of, is_file, node_at, replaced

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atoll.machine.etc.etc_tree import Node

CONNECTIONS = "NetworkManager/system-connections"
NETWORKD = "systemd/network"
INTERFACES = "network/interfaces"
_NETWORKD_SUFFIXES = (".network", ".netdev", ".link")
_OWN_WORDS = ("address", "netmask", "gateway", "dns-nameservers", "network", "broadcast")
_AUTOMATIC = ("dhcp", "auto", "manual")
_WIRED = ("eth", "en")


@dataclass(frozen=True, slots=True, kw_only=True)
class CarriedNetwork:
    """``etc`` with the network; ``carried`` and ``left`` name what came along and what did not."""

    etc: Node
    carried: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


@dataclass(slots=True)
class InterfaceStanza:
    """``iface NAME FAMILY METHOD`` of interfaces(5), with the words of its lines."""

    interface: str
    family: str
    method: str
    words: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPrograms:
    """What an image has."""

    manager: bool
    networkd: bool


def carry_network(old: Node, etc: Node, programs: NetworkPrograms) -> CarriedNetwork:
    carried: list[str] = []
    left: list[str] = []
    for folder, name, can in (
        (CONNECTIONS, "NetworkManager", programs.manager),
        (NETWORKD, "systemd-networkd", programs.networkd),
    ):
        found = _files(old, folder)
        if not found:
            continue
        if not can:
            left.append(f"connections of {name}, which the image does not have")
            continue
        for path, node in found.items():
            etc = replaced(etc, path, node, parents=old)
            carried.append(path.rpartition("/")[2])
    for stanza in parse_interfaces(_interfaces(old)):
        address, why = _address_of(stanza)
        if address is not None and (programs.manager or programs.networkd):
            etc = with_address(
                etc,
                address,
                network_manager=programs.manager,
                uuid=uuid5(NAMESPACE_DNS, f"{address.interface} {address.address}"),
            )
            carried.append(f"{address.interface} {address.address}")
        elif address is not None:
            left.append(f"{address.interface}: the image has no program for it")
        elif why:
            left.append(f"{stanza.interface}: {why}")
    return CarriedNetwork(etc=etc, carried=tuple(carried), left=tuple(dict.fromkeys(left)))


def parse_interfaces(text: str) -> tuple[InterfaceStanza, ...]:
    """interfaces(5), without what it includes: the caller has put that into ``text``."""
    stanzas: list[InterfaceStanza] = []
    inside = False
    for line in text.replace("\\\n", " ").splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] == "iface" and len(words) >= 4:
            stanzas.append(InterfaceStanza(words[1], words[2], words[3]))
            inside = True
        elif words[0] in ("iface", "mapping", "source", "source-directory", "rename") or words[
            0
        ].startswith(("auto", "allow-", "no-")):
            inside = False
        elif inside:
            stanzas[-1].words[words[0]] = " ".join(words[1:])
    return tuple(stanzas)


def _files(old: Node, folder: str) -> dict[str, Node]:
    names = children_of(node_at(old, folder))
    return {
        f"{folder}/{name}": node
        for name, node in sorted(names.items())
        if is_file(node) and (folder == CONNECTIONS or name.endswith(_NETWORKD_SUFFIXES))
    }


def _interfaces(old: Node) -> str:
    """``/etc/network/interfaces`` with the files of ``interfaces.d``, which Debian includes."""
    return "\n".join(_texts(old))


def _texts(old: Node) -> Iterator[str]:
    below = children_of(node_at(old, f"{INTERFACES}.d"))
    for node in (node_at(old, INTERFACES), *(below[name] for name in sorted(below))):
        if node is not None and is_file(node):
            yield node.entry.read().decode(errors="replace")


def _address_of(stanza: InterfaceStanza) -> tuple[AddressSettings | None, str]:
    """A fixed address; else why the stanza is left behind, empty where nothing is lost."""
    if stanza.method in ("loopback", *_AUTOMATIC) and not (
        stanza.words.keys() - set(_OWN_WORDS) or not _is_plain(stanza)
    ):
        return None, ""
    unknown = sorted(stanza.words.keys() - set(_OWN_WORDS))
    if unknown or stanza.method != "static" or not _is_plain(stanza):
        what = ", ".join(unknown) or f"{stanza.family} {stanza.method}"
        return None, f"only plain addresses of wired interfaces come along, not {what}"
    words = stanza.words
    text = words.get("address", "")
    if "/" not in text:
        text = f"{text}/{words.get('netmask', '64' if ':' in text else '24')}"
    try:
        address = ip_interface(text)
    except ValueError:
        return None, f"the address {text} is not understood"
    return (
        AddressSettings(
            interface=stanza.interface,
            address=address.with_prefixlen,
            gateway=words.get("gateway", ""),
            dns=tuple(words.get("dns-nameservers", "").split()),
        ),
        "",
    )


def _is_plain(stanza: InterfaceStanza) -> bool:
    """Whether it is a wired interface itself: no alias, VLAN or bridge."""
    name = stanza.interface
    return name == "lo" or (name.startswith(_WIRED) and "." not in name and ":" not in name)
