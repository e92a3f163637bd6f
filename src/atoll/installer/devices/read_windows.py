"""Whether the Windows on an NTFS volume is hibernated, asked without mounting the volume.

Fast start, Windows' way to shut down since Windows 8, hibernates its kernel: it keeps what it knows
of the disk, the partition table too, and writes it back when it starts. ntfs-3g's programs open the
volume read-only; ``hiberfil.sys`` begins with a mark while an image in it is valid.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from atoll.base.errors import ProgramFailed
from atoll.host.run import find_program, run, spawn
from atoll.installer.devices.block_devices import WindowsState

if TYPE_CHECKING:
    from pathlib import Path

_MARK = b"hibr"
_DIRTY = 0x0001
_FLAGS = re.compile(rb"Volume Flags:\s*0x([0-9A-Fa-f]+)")
_ABSENT = b"No such file"


def read_windows_state(volume: Path) -> WindowsState:
    """UNKNOWN where ntfs-3g is not installed; DIRTY also for a volume that it does not understand:
    Windows is to check that first."""
    info, cat = find_program("ntfsinfo"), find_program("ntfscat")
    if info is None or cat is None:
        return WindowsState.UNKNOWN
    with spawn([cat, volume, "hiberfil.sys"]) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        begin = process.stdout.read(len(_MARK))
        # The file has the size of the memory: its reader ends when nobody reads on.
        process.stdout.close()
        said = process.stderr.read()
    if begin.lower() == _MARK:
        return WindowsState.HIBERNATED
    if not begin and process.returncode != 0 and _ABSENT not in said:
        return WindowsState.DIRTY
    return _read_flags(info, volume)


def _read_flags(info: str, volume: Path) -> WindowsState:
    try:
        found = _FLAGS.search(run([info, "--mft", volume]))
    except ProgramFailed:
        return WindowsState.DIRTY
    is_clean = found is not None and not int(found[1], 16) & _DIRTY
    return WindowsState.CLEAN if is_clean else WindowsState.DIRTY
