"""The initrd: made by dracut of the root itself, and again only when its inputs changed.

dracut does not tell its inputs before it has run, so they are overestimated: all files in the
places that dracut searches as a whole (drivers, firmware, its own modules, rules and settings), all
libraries in the default search path, and every other file whose name occurs anywhere in dracut's
own scripts. A program that these scripts do not name cannot come in. A new file with such a name
changes the digest too, so that missing files count.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from atoll.base.errors import ProgramFailed
from atoll.builder.cache import make_id
from atoll.debian.install import package_sandbox
from atoll.host.in_root import read_bytes
from atoll.image.paths import FACTORY, MAKE_INITRD, TREE_VAR
from atoll.store.objects import read_object
from atoll.tree.model import Directory, Regular, Symlink, walk
from atoll.tree.path_ops import find_node

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from atoll.builder.cache import Cache
    from atoll.store.layout import Store
    from atoll.tree.model import Node

_TEXTS = (
    b"/usr/lib/dracut/",
    b"/etc/dracut.conf",
    b"/usr/bin/dracut",
    f"/{MAKE_INITRD}".encode(),
)
"""dracut's own files: every word in them may name a file that comes in."""

_ALWAYS = (
    *_TEXTS,
    b"/usr/lib/firmware/",
    b"/usr/lib/udev/",
    b"/etc/udev/",
    b"/usr/lib/modprobe.d/",
    b"/etc/modprobe.d/",
    b"/usr/lib/modules-load.d/",
    b"/etc/modules-load.d/",
    b"/usr/lib/sysctl.d/",
    b"/etc/sysctl.d/",
    b"/usr/lib/sysusers.d/",
    b"/etc/ld.so.conf",
    b"/usr/share/keymaps/",
    b"/usr/share/consolefonts/",
    b"/usr/share/consoletrans/",
    b"/usr/share/plymouth/",
    b"/etc/plymouth/",
    b"/etc/cmdline.d/",
)
_NEVER = (
    b"/usr/share/doc/",
    b"/usr/share/man/",
    b"/usr/share/info/",
    b"/usr/share/locale/",
    b"/usr/share/icons/",
    b"/usr/share/bash-completion/",
    b"/usr/share/lintian/",
    b"/usr/share/bug/",
    b"/usr/include/",
    b"/usr/src/",
    f"/{TREE_VAR}/".encode(),
    f"/{FACTORY}/".encode(),
)
_SYSTEMD = b"/usr/lib/systemd/"
_BY_NAME_IN_SYSTEMD = (
    b"system/",
    b"user/",
    b"system-preset/",
    b"user-preset/",
    b"system-generators/",
    b"user-generators/",
    b"system-environment-generators/",
    b"user-environment-generators/",
    b"catalog/",
    b"system-sleep/",
    b"system-shutdown/",
)
_LIBRARY = re.compile(rb"\.so(\.[0-9.]+)?$")
_LIBRARIES = re.compile(rb"/usr/lib(32|64)?(/[a-z0-9_]+-linux-[a-z0-9]+)?")
_WORD = re.compile(rb"[A-Za-z0-9_.@+:-]+")
_CLOCK = "usr/lib/dracut/dracut-functions.sh"
"""dracut clamps times in the initrd to the mtime of this file, so later times make no
difference."""


def initrd_inputs(tree: Directory, kernel: str, store: Store) -> str:
    """The digest (32 hex digits) of everything that decides the initrd of ``kernel`` in a canonical
    tree: paths, content, modes, owners, and times up to dracut's clamp."""
    clock = find_node(tree, _CLOCK)
    latest = clock.metadata.mtime if clock else 0
    modules = f"/usr/lib/modules/{kernel}/".encode()
    nodes = list(walk(tree))
    words = _words(nodes, store)
    initrd = modules + b"initrd"
    matters = _decider(modules, words)
    total = hashlib.sha256(f"{kernel} {_time_of_kernel(tree, kernel)}\n".encode())
    for path, node in nodes:
        if matters(path) and path != initrd and not isinstance(node, Directory):
            total.update(_line(path, node, latest))
    return total.hexdigest()[:32]


def ensure_initrd(cache: Cache, root: Path, kernel: str, inputs: str, time: int) -> Path:
    """The cached initrd of ``kernel``, made in ``root`` if the cache has none for ``inputs``.

    ``time`` is the mtime of the kernel, in seconds: the SOURCE_DATE_EPOCH of dracut. Raises
    ProgramFailed.
    """
    name = make_id("initrd 2", inputs)
    kept = cache.find("initrds", name)
    if kept is None:
        target = f"usr/lib/modules/{kernel}/initrd"
        _make(cache, root, [f"SOURCE_DATE_EPOCH={time}", f"/{MAKE_INITRD}", kernel, f"/{target}"])
        kept = cache.keep_bytes(read_bytes(root, target), "initrds", name)
    return kept


def _make(cache: Cache, root: Path, words: list[str]) -> None:
    log_path = cache.logs / "initrd.log"
    with log_path.open("w+b") as log:
        try:
            package_sandbox(root).run(["env", *words], log=log)
        except ProgramFailed as error:
            raise ProgramFailed(
                error.argv,
                error.status,
                error.stderr_tail,
                hint=f"the whole output is in {log_path}",
            ) from error


def _words(nodes: list[tuple[bytes, Node]], store: Store) -> frozenset[bytes]:
    """All words in dracut's own files; any of them may be the name of a file that comes in."""
    found: set[bytes] = set()
    for path, node in nodes:
        if path.startswith(_TEXTS) and isinstance(node, Regular):
            data = read_object(store, node.object, verify=False) if node.object else node.inline
            for word in _WORD.findall(data or b""):
                found.update((word, word.rstrip(b".:")))
    return frozenset(found - {b""})


def _decider(modules: bytes, words: frozenset[bytes]) -> Callable[[bytes], bool]:
    """A function that tells whether a path may be an input of the initrd."""
    always = (*_ALWAYS, modules)

    def matters(path: bytes) -> bool:
        if path.startswith(_NEVER):
            return False
        folder, _, name = path.rpartition(b"/")
        if path.startswith(always) or name in words:
            return True
        if path.startswith(_SYSTEMD):
            return not path[len(_SYSTEMD) :].startswith(_BY_NAME_IN_SYSTEMD) or _names_unit(
                folder.rpartition(b"/")[2], words
            )
        if not _LIBRARY.search(name):
            return False
        return _LIBRARIES.fullmatch(folder) is not None or folder.rpartition(b"/")[2] in words

    return matters


def _names_unit(folder: bytes, words: frozenset[bytes]) -> bool:
    """Whether a directory such as ``sysinit.target.wants`` belongs to a unit that may come in."""
    return folder.rpartition(b".")[0] in words


def _time_of_kernel(tree: Directory, kernel: str) -> int:
    node = find_node(tree, f"usr/lib/modules/{kernel}/vmlinuz")
    return node.metadata.mtime if node else 0


def _line(path: bytes, node: Node, latest: int) -> bytes:
    metadata = node.metadata
    what: object = type(node).__name__
    if isinstance(node, Regular):
        what = node.object or (node.inline or b"").hex()
    elif isinstance(node, Symlink):
        what = node.target.hex()
    words = (
        path.hex(),
        what,
        metadata.mode,
        metadata.uid,
        metadata.gid,
        min(metadata.mtime, latest),
    )
    return " ".join(map(str, words)).encode() + b"\n"
