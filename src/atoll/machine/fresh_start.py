"""A machine that starts anew: which settings stay, and the /var that it starts with.

What stays is what the machine needs to be reached and to be used: who it is, its network, its
disks, its keyboard and language, and the accounts with their passwords. All else in ``/etc`` is
the image's again. docs/reference/reset.md has the list.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from atoll.base.errors import Refused
from atoll.machine.deployments.own_var import MakeOwnVar, has_own_var, own_var
from atoll.machine.etc.etc_operations import MakeDirectory, WriteLeaf
from atoll.machine.etc.etc_tree import (
    Entry,
    Kind,
    Node,
    children_of,
    is_directory,
    is_file,
    node_at,
    replaced,
    walk,
    with_content,
)
from atoll.machine.etc.keyed_files import KEYED, merge_keyed
from atoll.tree.etc_rules import parse_rule
from atoll.tree.identities import LOCAL_IN_ETC

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atoll.machine.deployments.operations import Operation
    from atoll.machine.deployments.sysroot import Sysroot

KEPT_PATHS = (
    "machine-id",
    *LOCAL_IN_ETC,
    # its name and network
    "hostname",
    "hosts",
    "resolv.conf",
    "NetworkManager/system-connections/**",
    "network/interfaces",
    "network/interfaces.d/**",
    "systemd/network/**",
    "netplan/**",
    "wpa_supplicant/**",
    "iwd/**",
    # how it is reached
    "systemd/system/*.wants/ssh.*",
    "systemd/system/sshd.service",
    "systemd/system/*.wants/NetworkManager*",
    "systemd/system/*.wants/systemd-networkd*",
    "systemd/system/*.wants/networking.service",
    "systemd/system/*.wants/wpa_supplicant*",
    "systemd/system/*.wants/iwd.service",
    "systemd/system/dbus-org.freedesktop.network1.service",
    # its disks
    "fstab",
    "crypttab",
    # keyboard, language, time
    "default/keyboard",
    "vconsole.conf",
    "locale.conf",
    "locale.gen",
    "default/locale",
    "localtime",
    "timezone",
    "adjtime",
)
"""Patterns below /etc; accounts (``KEYED``) are kept besides."""
_RULES = tuple(parse_rule(pattern, "local") for pattern in KEPT_PATHS)
_PEOPLE = range(1000, 60000)
_HOME_MODE = 0o700


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshStart:
    """``homes`` are home directories that the image makes itself, such as ``/home/ada``."""

    keep_home: bool
    homes: frozenset[str] = frozenset()


def is_kept_setting(path: str) -> bool:
    """Whether a path, relative to ``/etc``, stays at a reset."""
    return path in KEYED or any(rule.expression.fullmatch(path) for rule in _RULES)


def keep_settings(live: Node, new: Node) -> Node:
    """The ``/etc`` of the image, ``new``, with what stays of ``live``."""
    result = new
    for path, entry in walk(live):
        if entry.kind is Kind.DIRECTORY or not is_kept_setting(path):
            continue
        theirs = node_at(new, path)
        if path in KEYED and entry.kind is Kind.FILE and theirs is not None and is_file(theirs):
            merged = merge_keyed(path, b"", entry.read(), theirs.entry.read())
            entry = with_content(entry, merged.content)
        result = replaced(result, path, Node(entry), parents=live)
    return result


def plan_fresh_var(
    sysroot: Sysroot, number: int, etc: Node, fresh: FreshStart
) -> Iterator[Operation]:
    """The new /var of deployment ``number``; ``etc`` is what it will have. Its people get home
    directories with the files of ``/etc/skel``, where the image does not make them."""
    yield MakeOwnVar(sysroot=sysroot, number=number, keep_home=fresh.keep_home)
    if fresh.keep_home:
        return
    homes = own_var(sysroot, number) / "home"
    yield MakeDirectory(path=homes, entry=Entry(kind=Kind.DIRECTORY, mode=0o755))
    skeleton = node_at(etc, "skel")
    for name, uid, gid in list_people(etc):
        if f"/home/{name}" in fresh.homes:
            continue
        home = Entry(kind=Kind.DIRECTORY, mode=_HOME_MODE, uid=uid, gid=gid)
        yield MakeDirectory(path=homes / name, entry=home)
        for path, entry in walk(Node(home, children_of(skeleton))):
            if not path:
                continue
            own = replace(entry, uid=uid, gid=gid)
            make = MakeDirectory if is_directory(Node(entry)) else WriteLeaf
            yield make(path=homes / name / path, entry=own)


def list_people(etc: Node) -> Iterator[tuple[str, int, int]]:
    """Name, uid and gid of the people who have a directory in /home, by ``passwd``."""
    for row in _rows(etc, "passwd"):
        name = row[0]
        usual = len(row) == 7 and row[5] == f"/home/{name}" and "/" not in name and name
        if usual and row[2].isdecimal() and row[3].isdecimal() and int(row[2]) in _PEOPLE:
            yield name, int(row[2]), int(row[3])


def can_anyone_log_in(etc: Node) -> bool:
    """Whether root or a person has a password."""
    people = {"root", *(name for name, _, _ in list_people(etc))}
    return any(
        row[0] in people and len(row) > 1 and row[1][:1] not in ("!", "*")
        for row in _rows(etc, "shadow")
    )


def check_reset_finished(sysroot: Sysroot, number: int) -> None:
    """Raises Refused while the deployment that runs has a /var of its own: another one made from it
    would find that of before the reset."""
    if has_own_var(sysroot, number):
        raise Refused(
            "this machine was reset, and has not been healthy since",
            hint="wait until atoll health says that this boot is healthy; to go back:"
            f" {sysroot.command('rollback')}",
        )


def _rows(etc: Node, file: str) -> list[list[str]]:
    node = node_at(etc, file)
    if node is None or not is_file(node):
        return []
    text = node.entry.read().decode(errors="surrogateescape")
    return [line.split(":") for line in text.split("\n") if line]
