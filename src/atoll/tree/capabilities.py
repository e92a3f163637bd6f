"""Programs that run with more rights than who starts them: setuid, setgid, file capabilities.

The value of ``security.capability`` is little-endian: a word with the revision in its highest byte
and "effective" in its lowest bit, then permitted and inheritable, 32 bits each; revision 2 has both
twice, the lower half first; revision 3 has the id of a namespace's root behind them.
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
"""Of each revision: how many words permitted and inheritable have, and the size of all in bytes."""
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
    """Every such program by its path: ``setuid 4755 0:0``, ``cap_net_raw=ep 0755 0:0``."""
    found = {}
    for path, node in walk(tree):
        if isinstance(node, Regular):
            data = node.metadata
            words = [
                name
                for bit, name in ((stat.S_ISUID, "setuid"), (stat.S_ISGID, "setgid"))
                if data.mode & bit
            ]
            words += [
                format_capabilities(value) for name, value in data.xattrs if name == CAPABILITY
            ]
            if words:
                found[path] = " ".join([*words, f"{data.mode:04o}", f"{data.uid}:{data.gid}"])
    return found


def format_capabilities(value: bytes) -> str:
    """As getcap(8) writes them: ``cap_net_raw,cap_sys_nice=ep``; else the value in hex."""
    revision = value[3] if len(value) > 3 else 0
    count, size = _FORMS.get(revision, (0, 0))
    if not count or len(value) != size:
        return f"capabilities:{value.hex() or 'none'}"
    words = struct.unpack_from(f"<{1 + 2 * count}I", value)
    permitted = sum(word << (32 * place) for place, word in enumerate(words[1::2]))
    inheritable = sum(word << (32 * place) for place, word in enumerate(words[2::2]))
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
