"""Checks for paths: only what can be in a tree, in canonical form. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.base.fields import Flaw
from atoll.tree.identities import find_identity

if TYPE_CHECKING:
    from atoll.tree.identities import Identity

_STATE = "for state, name it in a file of /usr/lib/tmpfiles.d: each machine then makes its own"
_RECREATED = "it is created at each boot"
_RESERVED = {
    "/var": _STATE,
    "/home": "home directories belong to users; put files for new ones into /etc/skel",
    "/root": "root's home belongs to the machine; put settings for everyone into /etc",
    "/srv": _STATE,
    "/mnt": "it is for mounts",
    "/media": "it is for mounts",
    "/opt": "put it into /usr/lib/opt; it then shows at /opt",
    "/usr/local": "it belongs to the machine; put it into /usr",
    "/boot": "Atoll writes it; for kernel arguments: [kernel] args",
    "/efi": "Atoll writes it",
    "/dev": _RECREATED,
    "/proc": _RECREATED,
    "/run": _RECREATED,
    "/sys": _RECREATED,
    "/tmp": _RECREATED,
    "/sysroot": "Atoll keeps trees there",
    "/usr/lib/atoll": "it is reserved for Atoll",
    "/bin": "put it into /usr/bin",
    "/sbin": "put it into /usr/sbin",
    "/lib": "put it into /usr/lib",
    "/lib64": "put it into /usr/lib64",
}
"""Directories that a recipe cannot write to, with the reason or the right place."""

_GENERATED = {
    "/etc/passwd": "use [[user]]",
    "/etc/shadow": "use [[user]]",
    "/etc/group": "use [[user]]",
    "/etc/gshadow": "use [[user]]",
    "/etc/subuid": "use [[user]]",
    "/etc/subgid": "use [[user]]",
    "/etc/hostname": "use [system] hostname",
    "/etc/localtime": "use [system] timezone",
    "/etc/locale.gen": "use [system] locale",
    "/etc/machine-id": "each machine makes its own",
    "/etc/resolv.conf": "each machine makes its own",
    "/etc/fstab": "Atoll mounts what it boots; for more, write a .mount unit",
}
"""Files that are created by other means than ``[[file]]``."""


def check_absolute(path: str) -> Flaw | None:
    """An absolute path in canonical form."""
    if "\0" in path or "\n" in path:
        return Flaw("has a NUL character or a line break in it")
    if not path.startswith("/"):
        return Flaw(f"{path!r} is not an absolute path", "it begins with /")
    parts = path[1:].split("/")
    if ".." in parts:
        return Flaw(f"{path!r} has .. in it", "write the resulting path")
    if parts[-1] == "":
        return Flaw(f"{path!r} names a directory; this is for files")
    if "" in parts or "." in parts:
        canonical = "/" + "/".join(part for part in parts if part not in ("", "."))
        return Flaw(f"{path!r} has an empty part or . in it", f"write: {canonical}")
    if len(path.encode()) > 4095 or any(len(part.encode()) > 255 for part in parts):
        return Flaw("is longer than a path can be")
    return None


def check_file_path(path: str) -> Flaw | None:
    """A path of a file in the tree."""
    flaw = check_absolute(path)
    if flaw:
        return flaw
    if path in _GENERATED:
        return Flaw(f"{path} cannot be written by a recipe", _GENERATED[path])
    identity = find_identity(path)
    if identity is not None:
        return Flaw(
            f"{path} belongs to each machine: if two share it, {identity.why}", _own_hint(identity)
        )
    for directory, hint in _RESERVED.items():
        if path == directory or path.startswith(directory + "/"):
            return Flaw(f"{path} cannot be in a tree", hint)
    return None


def _own_hint(identity: Identity) -> str:
    if identity.made == "nobody":
        return "leave it out"
    return (
        "leave it out, and each machine makes it at its first boot"
        f" (package {identity.package}); a shared one belongs at another path, which the program's"
        " configuration then names"
    )


def check_home(path: str) -> Flaw | None:
    """A home directory: state, so it must be in a place that machines keep."""
    flaw = check_absolute(path)
    if flaw:
        return flaw
    if path in ("/root", "/nonexistent") or path.startswith(("/home/", "/var/", "/srv/")):
        return None
    return Flaw(f"{path} cannot be a home: trees are read-only", "choose one below /home")
