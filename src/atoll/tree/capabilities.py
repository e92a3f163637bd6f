"""Find privileged programs: setuid, setgid and file capabilities.

The value of ``security.capability`` (``struct vfs_cap_data``, ``linux/capability.h``) is
little-endian: a 32-bit word with the revision in its highest byte and the "effective" flag in its
lowest bit, then the permitted and inheritable sets of 32 bits. Revision 2 has this pair twice,
lower half first. Revision 3 adds the uid of a user namespace's root.
"""

from __future__ import annotations

import stat
import struct
from typing import TYPE_CHECKING

from atoll.tree.model import Regular, walk

if TYPE_CHECKING:
    from atoll.tree.model import Directory

CAPABILITY = b"security.capability"
_FORMS = {1: (1, 12), 2: (2, 20), 3: (2, 24)}
"""By revision: the number of 32-bit words per set, and the size of the whole value in bytes."""
_NAMES = (
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
)


def find_privileged(tree: Directory) -> dict[bytes, str]:
    """All privileged programs by path, as ``setuid 4755 0:0`` or ``cap_net_raw=ep 0755 0:0``."""
    found = {}
    for path, node in walk(tree):
        if isinstance(node, Regular):
            data = node.metadata
            privileges = [
                name
                for bit, name in ((stat.S_ISUID, "setuid"), (stat.S_ISGID, "setgid"))
                if data.mode & bit
            ]
            privileges += [
                format_capabilities(value) for name, value in data.xattrs if name == CAPABILITY
            ]
            if privileges:
                owner = f"{data.uid}:{data.gid}"
                found[path] = " ".join([*privileges, f"{data.mode:04o}", owner])
    return found


def format_capabilities(value: bytes) -> str:
    """Format a value as getcap(8) does: ``cap_net_raw,cap_sys_nice=ep``; in hex if malformed."""
    revision = value[3] if len(value) > 3 else 0
    count, size = _FORMS.get(revision, (0, 0))
    if not count or len(value) != size:
        return f"capabilities:{value.hex() or 'none'}"
    words = struct.unpack_from(f"<{1 + 2 * count}I", value)
    permitted = sum(word << (32 * half) for half, word in enumerate(words[1::2]))
    inheritable = sum(word << (32 * half) for half, word in enumerate(words[2::2]))
    groups: dict[str, list[str]] = {}
    for number in range(64):
        letters = "".join(
            letter
            for letter, has in (
                ("e", words[0] & 1 and (permitted | inheritable) >> number & 1),
                ("i", inheritable >> number & 1),
                ("p", permitted >> number & 1),
            )
            if has
        )
        if letters:
            groups.setdefault(letters, []).append(_name(number))
    root = f" [root {int.from_bytes(value[20:], 'little')}]" if revision == 3 else ""
    return " ".join(f"{','.join(names)}={letters}" for letters, names in groups.items()) + root


def _name(number: int) -> str:
    return f"cap_{_NAMES[number]}" if number < len(_NAMES) else f"cap_{number}"
