"""Root without being root: a user namespace in which the person who runs this is user 0.

::

    /etc/subuid  ann:100000:65536        inside    0   is  ann        outside
                                         inside    1   is  100000     outside
                                         inside 65536  is  165535     outside

The process stays itself and only changes where it is: from then on it and its children are root
over all that belongs to the person or to the ids set aside for them, may mount in a mount namespace
of their own, and are nobody to the rest of the machine. Files that "root" makes are the person's;
those of other users belong to a subordinate id, which the person alone can neither read nor remove
outside of such a namespace. There is no way back.
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
"""How many ids beside root a Debian system may use: 1 to 65535."""

_FIRST = 100000
"""Where Debian's useradd begins to set ids aside."""

_ALL = (0, 0, (1 << 32) - 1)
_SYSCTLS = {
    "user.max_user_namespaces": "10000",
    "kernel.unprivileged_userns_clone": "1",
    "kernel.apparmor_restrict_unprivileged_userns": "0",
}
"""What can forbid user namespaces, and the value that allows them."""

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
    """Be root from here on: because this process is, or in a namespace of its own.

    ``what`` names the work. Raises MissingPrivilege without subordinate ids, MissingProgram where
    the kernel or its administrator allows no such namespace. Needs a process of one thread.
    """
    if os.geteuid() == 0:
        return
    uid = os.geteuid()
    maps = [
        format_map(own, plan_ranges(what, path, _read(path), _name(uid), uid))
        for path, own in ((SUBUID, uid), (SUBGID, os.getegid()))
    ]
    require_program("newuidmap", package="uidmap")
    words = ["sh", "-euc", _HELPER, "map", *maps, str(os.getpid())]
    ready, say = os.pipe()
    with spawn(words, stdin=ready) as helper:
        os.close(ready)
        try:
            unshare_users()
            os.write(say, b"go\n")
        except OSError as error:
            raise explain_refusal(what, error, _read_sysctls()) from error
        finally:
            os.close(say)
        _, said = helper.communicate()
    if helper.returncode != 0:
        raise ProgramFailed(words, helper.returncode, tail(said))


def is_initial_namespace(path: Path = Path("/proc/self/uid_map")) -> bool:
    """Whether user 0 here is the machine's root, and not one of a user namespace."""
    try:
        fields = [int(word) for word in path.read_text().split()]
    except OSError:
        return True
    return tuple(fields) == _ALL


def parse_ranges(text: str, name: str, number: int) -> tuple[IdRange, ...]:
    """What a subuid(5) or subgid(5) file sets aside for a user, by name or by number."""
    found = []
    for line in text.splitlines():
        owner, _, rest = line.strip().partition(":")
        first, _, count = rest.partition(":")
        if owner in (name, str(number)) and first.isdecimal() and count.isdecimal():
            found.append(IdRange(first=int(first), count=int(count)))
    return tuple(found)


def plan_ranges(what: str, path: str, text: str, name: str, number: int) -> tuple[IdRange, ...]:
    """The ids that ``text``, the content of ``path``, sets aside; raises MissingPrivilege."""
    ranges = parse_ranges(text, name, number)
    if sum(each.count for each in ranges) >= NEEDED:
        return ranges
    free = plan_range(text)
    span = f"{free.first}-{free.first + free.count - 1}"
    both = f"--add-subgids {span}"
    options = both if path == SUBGID else f"--add-subuids {span} {both}"
    raise MissingPrivilege(
        f"{what} needs root, or {NEEDED} subordinate ids:"
        f" {path} has {'too few' if ranges else 'none'} for {name}",
        hint=f"as root: usermod {options} {name}; or try again with sudo",
    )


def format_map(own: int, ranges: Iterable[IdRange]) -> str:
    """Words for newuidmap(1): ``own`` is 0 inside, the ranges follow it as far as needed."""
    words, inside = [0, own, 1], 1
    for each in ranges:
        count = min(each.count, NEEDED + 1 - inside)
        if count > 0:
            words += [inside, each.first, count]
            inside += count
    return " ".join(str(word) for word in words)


def plan_range(text: str) -> IdRange:
    """Ids that nobody has in a subuid(5) file, enough for a system."""
    ends = [_FIRST]
    for line in text.splitlines():
        words = line.split(":")
        if len(words) == 3 and words[1].isdecimal() and words[2].strip().isdecimal():
            ends.append(int(words[1]) + int(words[2]))
    return IdRange(first=max(ends), count=NEEDED + 1)


def explain_refusal(what: str, error: OSError, sysctls: Mapping[str, str]) -> AtollError:
    """Why the kernel gives no user namespace, by its error and by what the machine is set to."""
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
