"""Run without root: enter a user namespace in which the calling user is mapped to root.

::

    /etc/subuid  ann:100000:65536        inside    0   is  ann        outside
                                         inside    1   is  100000     outside
                                         inside 65536  is  165535     outside

The process and its later children have root's rights over files of the user and of the user's
subordinate ids, and can mount in a mount namespace of their own. Towards the rest of the machine
they have no more rights than before. Files of root inside belong to the user outside; files of
other users belong to subordinate ids, so outside of such a namespace the user may be unable to read
or remove them. A process cannot leave the namespace again.
"""

from __future__ import annotations

import errno
import os
import pwd
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError, MissingPrivilege, MissingProgram, ProgramFailed
from atoll.host.run import require_program, spawn, tail
from atoll.host.syscalls import unshare_users

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SUBUID = "/etc/subuid"
SUBGID = "/etc/subgid"
NEEDED = 65535
"""The number of subordinate ids needed: a Debian system may use ids 1 to 65535 beside root."""

_FIRST = 100000
"""The first subordinate id that Debian's useradd assigns (SUB_UID_MIN in login.defs)."""

_IDENTITY_MAP = (0, 0, (1 << 32) - 1)
"""The uid_map of the initial user namespace."""

_SYSCTLS = {
    "user.max_user_namespaces": "10000",
    "kernel.unprivileged_userns_clone": "1",
    "kernel.apparmor_restrict_unprivileged_userns": "0",
}
"""Settings that can forbid user namespaces, with the value that allows them."""

# Waits for a line on stdin: the maps can be written only after unshare, and by a process outside.
_HELPER = """
read -r go
uid=$1 gid=$2 pid=$3
newuidmap "$pid" $uid
newgidmap "$pid" $gid
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdRange:
    """``count`` subordinate ids from ``first`` on."""

    first: int
    count: int


def become_root(what: str) -> None:
    """Enter a user namespace as root; does nothing if this process is root already.

    ``what`` names the operation in messages. The process must have one thread. Raises
    MissingPrivilege without enough subordinate ids, and MissingProgram without newuidmap or if the
    kernel or its settings forbid user namespaces.
    """
    if os.geteuid() == 0:
        return
    uid = os.geteuid()
    maps = [
        format_map(own, plan_ranges(what, path, _read(path), _name(uid), uid))
        for path, own in ((SUBUID, uid), (SUBGID, os.getegid()))
    ]
    require_program("newuidmap", package="uidmap")
    command = ["sh", "-euc", _HELPER, "map", *maps, str(os.getpid())]
    reader, writer = os.pipe()
    with spawn(command, stdin=reader) as helper:
        os.close(reader)
        try:
            unshare_users()
            os.write(writer, b"go\n")
        except OSError as error:
            raise explain_refusal(what, error, _read_sysctls()) from error
        finally:
            os.close(writer)
        _, stderr = helper.communicate()
    if helper.returncode != 0:
        raise ProgramFailed(command, helper.returncode, tail(stderr))


def is_initial_namespace(path: Path = Path("/proc/self/uid_map")) -> bool:
    """Whether this process is in the initial user namespace; also true if the kernel has none."""
    try:
        fields = [int(field) for field in path.read_text().split()]
    except OSError:
        return True
    return tuple(fields) == _IDENTITY_MAP


def parse_ranges(text: str, name: str, number: int) -> tuple[IdRange, ...]:
    """Parse a subuid(5) or subgid(5) file: the ranges of a user, given by name or by number.

    Malformed lines are skipped.
    """
    found = []
    for line in text.splitlines():
        owner, _, rest = line.strip().partition(":")
        first, _, count = rest.partition(":")
        if owner in (name, str(number)) and first.isdecimal() and count.isdecimal():
            found.append(IdRange(first=int(first), count=int(count)))
    return tuple(found)


def plan_ranges(what: str, path: str, text: str, name: str, number: int) -> tuple[IdRange, ...]:
    """The user's ranges in ``text``, the content of ``path``.

    Raises MissingPrivilege if they have fewer than ``NEEDED`` ids; its hint is the usermod command
    that adds a free range.
    """
    ranges = parse_ranges(text, name, number)
    if sum(each.count for each in ranges) >= NEEDED:
        return ranges
    free = plan_range(text)
    span = f"{free.first}-{free.first + free.count - 1}"
    group_option = f"--add-subgids {span}"
    options = group_option if path == SUBGID else f"--add-subuids {span} {group_option}"
    raise MissingPrivilege(
        f"{what} needs root, or {NEEDED} subordinate ids:"
        f" {path} has {'too few' if ranges else 'none'} for {name}",
        hint=f"as root: usermod {options} {name}; or try again with sudo",
    )


def format_map(own: int, ranges: Iterable[IdRange]) -> str:
    """The arguments of newuidmap(1): triples of inside id, outside id, and count.

    ``own`` is mapped to 0, the ranges to 1 and above until 65535.
    """
    numbers, inside = [0, own, 1], 1
    for each in ranges:
        count = min(each.count, NEEDED + 1 - inside)
        if count > 0:
            numbers += [inside, each.first, count]
            inside += count
    return " ".join(str(number) for number in numbers)


def plan_range(text: str) -> IdRange:
    """A range of 65536 ids that no line of a subuid(5) file uses: after the highest one."""
    ends = [_FIRST]
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) == 3 and fields[1].isdecimal() and fields[2].strip().isdecimal():
            ends.append(int(fields[1]) + int(fields[2]))
    return IdRange(first=max(ends), count=NEEDED + 1)


def explain_refusal(what: str, error: OSError, sysctls: Mapping[str, str]) -> AtollError:
    """The error for a failed unshare(2), by its errno and the machine's ``sysctls`` (by name)."""
    message = f"{what} without root needs user namespaces, which this machine does not allow"
    for name, good in _SYSCTLS.items():
        if sysctls.get(name) == ("1" if good == "0" else "0"):
            return MissingProgram(
                f"{message}: {name} is {sysctls[name]}",
                hint=f"as root: sysctl {name}={good}; or try again with sudo",
            )
    if error.errno == errno.EINVAL:
        message = f"{what} without root cannot start: this process already has threads"
    return MissingProgram(f"{message}: {error.strerror}", hint="try again with sudo")


def _read_sysctls() -> dict[str, str]:
    found = {}
    for name in _SYSCTLS:
        path = Path("/proc/sys", *name.split("."))
        if path.exists():
            found[name] = path.read_text().strip()
    return found


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except FileNotFoundError:
        return ""


def _name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
