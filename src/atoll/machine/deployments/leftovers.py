"""What an interrupted operation may leave on the state partition: the one list of names.

::

    atoll/deployments/new-<n>, gone-<n>        a deployment that is being made or removed
    atoll/deployments/<n>/.NAME.XXXXXXXX       a file that is being replaced (``host.fs``),
    atoll/deployments/<n>/etc/.NAME.XXXXXXXX     here and in each directory below
    atoll/state/**/.NAME.XXXXXXXX
    atoll/refs/**/.NAME.json.XXXXXXXX
    atoll/deployments/<n>/etc/upper.new        settings that are being written
    atoll/state/conflicts/<n>.new              conflicts that are being written
    atoll/removed-var                          the /var of before a reset
    atoll/staging/*                            contents that are being written: the store's own

Only an operation that holds the machine's lock may remove them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from atoll.host.fs import list_names
from atoll.machine.deployment import is_number
from atoll.machine.deployments.flags import BLESSED, HELD, PINNED

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.machine.deployments.sysroot import Sysroot

_REPLACED = re.compile(r"\..+\.[a-z0-9_]{8}")
"""The temporary names of ``replace_file``."""
_HALF_MADE = re.compile(r"(?:new|gone)-[1-9][0-9]{0,8}")
REMOVED_VAR = "removed-var"
_CONFLICTS = re.compile(r"[1-9][0-9]{0,8}\.new")


def list_leftovers(sysroot: Sysroot) -> tuple[Path, ...]:
    """The existing leftovers; never a file of the user."""
    deployments, state = sysroot.deployments, sysroot.state
    numbered = [deployments / name for name in _list_names(deployments) if is_number(name)]
    tries = [state / "tries" / name for name in _list_names(state / "tries")]
    conflicts = [state / "conflicts" / name for name in _list_names(state / "conflicts")]
    flags = [state / kind for kind in (PINNED, BLESSED, HELD)]
    found = _matching([deployments], _HALF_MADE)
    found += [sysroot.atoll / REMOVED_VAR] if _has(sysroot.atoll, REMOVED_VAR) else []
    found += _matching([state / "conflicts"], _CONFLICTS)
    found += [each / "etc/upper.new" for each in numbered if _has(each / "etc", "upper.new")]
    places = [state, *flags, *tries, *conflicts, *numbered, *(each / "etc" for each in numbered)]
    return tuple(found + _matching([*places, *_ref_folders(sysroot.atoll / "refs")], _REPLACED))


def _matching(folders: list[Path], pattern: re.Pattern[str]) -> list[Path]:
    return [
        folder / name
        for folder in folders
        for name in _list_names(folder)
        if pattern.fullmatch(name)
    ]


def _has(folder: Path, name: str) -> bool:
    return name in _list_names(folder)


def _ref_folders(refs: Path) -> list[Path]:
    found, waiting = [], [refs]
    while waiting:
        folder = waiting.pop()
        found.append(folder)
        waiting += [folder / name for name in _list_names(folder) if (folder / name).is_dir()]
    return found


def _list_names(folder: Path) -> list[str]:
    """The names in ``folder``; none if it cannot be read: leftovers there stay, and block
    nothing."""
    try:
        return list_names(folder)
    except OSError:
        return []
