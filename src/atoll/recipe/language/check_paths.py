"""Which paths a recipe may name: only what can be part of a tree, written one way. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.base.fields import Flaw
from atoll.tree.identities import find_identity

if TYPE_CHECKING:
    from atoll.tree.identities import Identity

_STATE = "for state, name it in a file of /usr/lib/tmpfiles.d: each machine then makes its own"
_MADE = "it is made anew at each boot"
_PLACES = {
    "/var": _STATE,
    "/home": "homes are people's; what every new home begins with goes into /etc/skel",
    "/root": "root's home is the machine's; settings for all go into /etc",
    "/srv": _STATE,
    "/mnt": "it is where people mount things",
    "/media": "it is where people mount things",
    "/opt": "put it into /usr/lib/opt; it then shows at /opt",
    "/usr/local": "it is the machine's own; put it into /usr",
    "/boot": "Atoll puts there what boots; for kernel arguments: [kernel] args",
    "/efi": "Atoll puts there what boots",
    "/dev": _MADE,
    "/proc": _MADE,
    "/run": _MADE,
    "/sys": _MADE,
    "/tmp": _MADE,
    "/sysroot": "it is where Atoll keeps trees",
    "/usr/lib/atoll": "it is Atoll's",
    "/bin": "put it into /usr/bin",
    "/sbin": "put it into /usr/sbin",
    "/lib": "put it into /usr/lib",
    "/lib64": "put it into /usr/lib64",
}
"""Directories that no file of a recipe can be in: the reason or the right place."""

_OWNED = {
    "/etc/passwd": "say it with [[user]]",
    "/etc/shadow": "say it with [[user]]",
    "/etc/group": "say it with [[user]]",
    "/etc/gshadow": "say it with [[user]]",
    "/etc/subuid": "say it with [[user]]",
    "/etc/subgid": "say it with [[user]]",
    "/etc/hostname": "say it with [system] hostname",
    "/etc/localtime": "say it with [system] timezone",
    "/etc/locale.gen": "say it with [system] locale",
    "/etc/machine-id": "each machine makes its own",
    "/etc/resolv.conf": "each machine makes its own",
    "/etc/fstab": "Atoll mounts what it boots; for more, write a .mount unit",
}
"""Files that something else than ``[[file]]`` makes."""


def check_absolute(path: str) -> Flaw | None:
    """An absolute path in the one form it has."""
    if "\0" in path or "\n" in path:
        return Flaw("has a NUL character or a line break in it")
    if not path.startswith("/"):
        return Flaw(f"{path!r} is not an absolute path", "it begins with /")
    parts = path[1:].split("/")
    if ".." in parts:
        return Flaw(f"{path!r} has .. in it", "write the path that is meant")
    if parts[-1] == "":
        return Flaw(f"{path!r} names a directory; this is for files")
    if "" in parts or "." in parts:
        plain = "/" + "/".join(part for part in parts if part not in ("", "."))
        return Flaw(f"{path!r} has an empty part or . in it", f"write: {plain}")
    if len(path.encode()) > 4095 or any(len(part.encode()) > 255 for part in parts):
        return Flaw("is longer than a path can be")
    return None


def check_file_path(path: str) -> Flaw | None:
    """A path of a file in the tree."""
    flaw = check_absolute(path)
    if flaw:
        return flaw
    if path in _OWNED:
        return Flaw(f"{path} cannot be written by a recipe", _OWNED[path])
    identity = find_identity(path)
    if identity is not None:
        return Flaw(
            f"{path} is each machine's own: where two share it, {identity.why}", _own_hint(identity)
        )
    for place, hint in _PLACES.items():
        if path == place or path.startswith(place + "/"):
            return Flaw(f"{path} cannot be in a tree", hint)
    return None


def _own_hint(identity: Identity) -> str:
    if identity.made == "nobody":
        return "leave it out"
    return (
        f"leave it out, and each machine makes it at its first boot (of {identity.package}); one"
        " that all shall share goes to another path, which the program's settings then name"
    )


def check_home(path: str) -> Flaw | None:
    """A home directory: state, so in one of the places that machines keep."""
    flaw = check_absolute(path)
    if flaw:
        return flaw
    if path in ("/root", "/nonexistent") or path.startswith(("/home/", "/var/", "/srv/")):
        return None
    return Flaw(f"{path} cannot be a home: trees are read-only", "choose one below /home")
