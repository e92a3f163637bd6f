"""The person's account, made by Debian's ``useradd`` in a copy of the image's ``/etc``.

``useradd --prefix`` follows the image's own login.defs, and writes what it would write on the
running machine: the record in each of the account files, subordinate ids, and the home directory.
It needs no mount and no chroot, and reads nothing of this computer: also ``--skel`` is the image's.

Debian 12 has no ``chpasswd --prefix``, and ``useradd --password`` would show the hash to everybody
who lists processes; so the hash is put into its field of shadow here.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import ProgramFailed, RecipeError
from atoll.host.fs import temporary_directory
from atoll.host.run import require_program, run
from atoll.machine.deployments.apply import apply_operations
from atoll.machine.etc.etc_tree import Entry, Kind, Node, node_at, replaced, with_content
from atoll.machine.etc.overlay_upper import plan_difference
from atoll.machine.etc.read import read_directory

if TYPE_CHECKING:
    from atoll.installer.settings.settings import UserSettings

_NEEDED = (
    "default/useradd",
    "group",
    "gshadow",
    "login.defs",
    "passwd",
    "shadow",
    "skel",
    "subgid",
    "subuid",
)
_KEYS = ".ssh/authorized_keys"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAccount:
    """``etc`` is the whole ``/etc`` with the account, ``home`` its home directory."""

    etc: Node
    home: Node


def make_account(user: UserSettings, groups: tuple[str, ...], etc: Node) -> NewAccount:
    """``etc`` is that of the image. Raises RecipeError with what useradd said, MissingProgram."""
    program = require_program("useradd", package="passwd")
    with temporary_directory(Path(tempfile.gettempdir()), prefix="atoll-account-") as root:
        apply_operations(plan_difference(_needed(etc), None, root / "etc"))
        (root / "home").mkdir()
        try:
            run([program, *_arguments(user, groups, root)])
        except ProgramFailed as error:
            last = error.stderr_tail.strip().splitlines()[-1:] or [f"status {error.status}"]
            raise RecipeError(
                f"the account {user.name} cannot be made: {last[0]}", key="user"
            ) from error
        made = _in_memory(read_directory(root / "etc").root)
        home = _in_memory(read_directory(root / "home" / user.name).root)
    for name, node in made.children.items():
        if name not in ("default", "login.defs", "skel"):
            etc = replaced(etc, name, node)
    return NewAccount(etc=with_password(etc, user), home=with_ssh_keys(home, user))


def with_password(etc: Node, user: UserSettings) -> Node:
    """The hash in the record of the account, which useradd has made without one."""
    node = node_at(etc, "shadow")
    assert node is not None, "useradd has written it"
    lines = node.entry.read().splitlines(keepends=True)
    name = user.name.encode()
    changed = [
        b":".join((name, user.password.encode(), line.split(b":", 2)[2]))
        if line.split(b":")[0] == name
        else line
        for line in lines
    ]
    return replaced(etc, "shadow", Node(with_content(node.entry, b"".join(changed))))


def with_ssh_keys(home: Node, user: UserSettings) -> Node:
    if not user.ssh_keys:
        return home
    uid, gid = home.entry.uid, home.entry.gid
    text = "".join(f"{key}\n" for key in user.ssh_keys).encode()
    empty = Entry(kind=Kind.FILE, mode=0o600, uid=uid, gid=gid)
    directory = Entry(kind=Kind.DIRECTORY, mode=0o700, uid=uid, gid=gid)
    home = replaced(home, _KEYS.partition("/")[0], Node(directory))
    return replaced(home, _KEYS, Node(with_content(empty, text)))


def _arguments(user: UserSettings, groups: tuple[str, ...], root: Path) -> list[str | Path]:
    words: list[str | Path] = ["--prefix", root, "--create-home", "--skel", root / "etc/skel"]
    words += ["--shell", user.shell or "/bin/bash"]
    words += ["--home-dir", f"/home/{user.name}"]
    if user.gecos:
        words += ["--comment", user.gecos]
    if groups:
        words += ["--groups", ",".join(groups)]
    if user.uid is not None:
        words += ["--uid", str(user.uid)]
    return [*words, "--", user.name]


def _needed(etc: Node) -> Node:
    """Only what useradd reads and writes; an empty /etc/skel when the image has none."""
    kept = Node(Entry(kind=Kind.DIRECTORY, mode=0o755))
    for path in _NEEDED:
        node = node_at(etc, path)
        if node is not None:
            kept = replaced(kept, path, node)
    if node_at(kept, "skel") is None:
        kept = replaced(kept, "skel", Node(Entry(kind=Kind.DIRECTORY, mode=0o755)))
    return kept


def _in_memory(node: Node) -> Node:
    """The same without the files that it was read from, and without their times."""
    entry = node.entry
    if entry.kind is Kind.FILE:
        entry = with_content(entry, entry.read())
    return Node(entry, {name: _in_memory(child) for name, child in node.children.items()})
