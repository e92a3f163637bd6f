"""Drives virtual machines for tests. Imports nothing of Atoll.

A test says what a machine is (``MachineSpec``), starts it and talks to it (``Machine``); the pytest
plugin (``vmtest.plugin``) hands out machines and ends them. The image under test is never changed:
disks are overlays, and the shell that runs commands is handed in by the firmware.
"""

from vmtest.errors import MachineError, RequestFailed
from vmtest.machine import Machine
from vmtest.spec import (
    DirectKernel,
    Disk,
    Display,
    Interface,
    MachineSpec,
    Uefi,
    UserNetwork,
    Writes,
)

__all__ = [
    "DirectKernel",
    "Disk",
    "Display",
    "Interface",
    "Machine",
    "MachineError",
    "MachineSpec",
    "RequestFailed",
    "Uefi",
    "UserNetwork",
    "Writes",
]
