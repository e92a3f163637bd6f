"""What a deployment's tree was built from on this machine: its machine file and lock.

::

    atoll/deployments/<n>/machine.toml    the machine file, 0600: it may have password hashes
    atoll/deployments/<n>/machine.lock    its lock

``MakeDeployment`` writes both. A deployment without them has the tree of its image.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError
from atoll.base.toml import parse_toml
from atoll.host.fs import read_if_there
from atoll.machine.deployment import MACHINE_LOCK, MACHINE_TEXT, MachineFiles

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from atoll.machine.deployments.sysroot import Sysroot

_OF_THE_MACHINE = ("schema", "from", "keep", "etc", "update", "packages")


def read_machine_files(sysroot: Sysroot, number: int) -> MachineFiles | None:
    """None without. Raises Damaged or OSError."""
    place = sysroot.deployments / str(number)
    text, lock = read_if_there(place / MACHINE_TEXT), read_if_there(place / MACHINE_LOCK)
    return None if text is None else MachineFiles(text=text, lock=lock or b"")


def list_layers(sysroot: Sysroot, number: int) -> tuple[str, ...]:
    """A word for each change: the packages that are added, ``-NAME`` for those that are removed,
    ``[script] NAME`` for a script, ``[TABLE]`` for the rest. What cannot be read is not listed: it
    is only for people to see."""
    with suppress(AtollError, OSError, ValueError):
        files = read_machine_files(sysroot, number)
        if files is not None:
            return tuple(_words(parse_toml(files.text.decode())))
    return ()


def _words(table: Mapping[str, object]) -> Iterator[str]:
    packages = table.get("packages")
    if isinstance(packages, dict):
        for name, sign in (("install", ""), ("remove", "-")):
            words = packages.get(name)
            for word in words if isinstance(words, list) else ():
                yield f"{sign}{word}"
    scripts = table.get("script")
    for row in scripts if isinstance(scripts, list) else ():
        if isinstance(row, dict):
            yield f"[script] {row.get('name')}"
    for name in table:
        if name not in (*_OF_THE_MACHINE, "script"):
            yield f"[{name}]"
