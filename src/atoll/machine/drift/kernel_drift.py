"""Kernel arguments that a person changed in the boot entry, or for one boot in the boot menu."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from atoll.base.ids import TreeId
from atoll.machine.boot.new_entry import LUKS_NAME, LiveState, StatePartition, boot_options
from atoll.machine.deployment import Deployment, is_number
from atoll.machine.drift.model import KernelDrift
from atoll.tree.cmdline import split_arguments, value_of

if TYPE_CHECKING:
    from atoll.machine.boot.boot_entries import MenuEntry

THIS_BOOT = "this boot"
_LOADERS = ("initrd", "BOOT_IMAGE")
"""Arguments that boot loaders add by themselves."""


def find_entry_drift(
    found: MenuEntry, deployment: Deployment, arguments: tuple[str, ...]
) -> KernelDrift | None:
    """``arguments`` are those of the image; None where the entry says the same, or is not known."""
    if found.entry is None:
        return None
    options = found.entry.options
    wanted = boot_options(deployment, _state_partition(options), arguments)
    return _compare(found.file, wanted, options)


def find_boot_drift(command_line: str, arguments: tuple[str, ...]) -> KernelDrift | None:
    """``command_line`` is that of /proc/cmdline, ``arguments`` are those of the image. None where
    they agree."""
    words = tuple(
        word for word in split_arguments(command_line) if word.partition("=")[0] not in _LOADERS
    )
    number = value_of(words, "atoll.deployment") or ""
    runs = Deployment(
        number=int(number) if is_number(number) else 0,
        tree=TreeId(value_of(words, "composefs") or ""),
        name="",
        version="",
        kernel="",
        pair="",
    )
    return _compare(THIS_BOOT, boot_options(runs, _state_partition(words), arguments), words)


def _state_partition(options: tuple[str, ...]) -> StatePartition:
    """What Atoll's own arguments in ``options`` say of the state partition."""
    opened = (value_of(options, LUKS_NAME) or "").partition("=")
    persistence = (value_of(options, "atoll.persistence") or "").removeprefix("UUID=")
    live = LiveState(persistence=persistence or None)
    return StatePartition(
        uuid=(value_of(options, "atoll.state") or "").removeprefix("UUID="),
        verity="atoll.verity=require" in options,
        live=live if "atoll.live=1" in options else None,
        luks=opened[0] if opened[2] == "atoll" else None,
    )


def _compare(where: str, wanted: tuple[str, ...], found: tuple[str, ...]) -> KernelDrift | None:
    if wanted == found:
        return None
    here, there = Counter(found), Counter(wanted)
    added, removed = here - there, there - here
    return KernelDrift(
        where=where,
        added=_in_order(found, added),
        removed=_in_order(wanted, removed),
        reordered=not (added or removed),
    )


def _in_order(words: tuple[str, ...], chosen: Counter[str]) -> tuple[str, ...]:
    left = chosen.copy()
    kept = []
    for word in reversed(words):
        if left[word] > 0:
            left[word] -= 1
            kept.append(word)
    return tuple(reversed(kept))
