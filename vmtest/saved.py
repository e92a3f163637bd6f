"""A machine's state in a folder, to begin from in seconds: ``Machine.save`` and ``restore``.

    memory.zst          QEMU's migration stream: memory, processors, devices
    diskN.qcow2         what the machine had written to its disks
    uefi-variables.fd   with UEFI firmware
    console.log         what it had said
    boot-id             the kernel's

Nothing in it is written again: each machine that begins there gets copies of the disks. A state
fits one spec, one QEMU and one content of the disk images only; ``state_key`` names these.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import shlex
import shutil
import subprocess
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.vm.qemu import PROGRAM
from vmtest.clock import Deadline
from vmtest.errors import MachineError
from vmtest.qemu import (
    Wiring,
    find_firmware,
    find_program,
    overlay_path,
    plan_command,
    probe_kvm,
    variables_path,
)
from vmtest.spec import DirectKernel, MachineSpec, Uefi, Writes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vmtest.emulator import Emulator
    from vmtest.machine import Machine

FORMAT = 1
MEMORY, BOOT_ID, CONSOLE = "memory.zst", "boot-id", "console.log"
PACKING = "memory.part"
TRANSFER_SECONDS = 300.0
POLL_SECONDS = 0.05
UNLIMITED = 1 << 40
"""Bytes per second: by default QEMU spares a network of 128 MiB/s."""
KEPT = 4
"""How many states ``ensure_saved`` leaves in its folder: those used last."""
BLOCK = 1 << 16


# One machine


def check_savable(spec: MachineSpec) -> None:
    """Raise MachineError when a disk is written in place: it would change under the state."""
    for disk in spec.disks:
        if disk.writes is not Writes.OVERLAY:
            raise MachineError(f"{disk.image} is written in place: its machine cannot be saved")


def write_state(emulator: Emulator, directory: Path, place: Path) -> None:
    """Pause the machine of ``directory``, write its state into the new folder ``place``, end it.

    The folder appears whole or not at all.
    """
    part = place.with_name(f".{place.name}.part{os.getpid()}")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        emulator.qmp.execute("stop")
        emulator.qmp.execute("migrate-set-parameters", **{"max-bandwidth": UNLIMITED})
        # Every QEMU knows "exec:"; "file:" came with 8.2.
        # The packer may still write when QEMU has sent everything: the name says that it is done.
        packing, memory = (shlex.quote(os.fspath(part / name)) for name in (PACKING, MEMORY))
        pack = f"{_zstd()} -1 -q >{packing} && mv {packing} {memory}"
        emulator.qmp.execute("migrate", uri=f"exec:{pack}")
        _wait_for_migration(emulator)
        _wait_for_file(part / MEMORY)
        (part / BOOT_ID).write_text(emulator.channel.boot_id or "")
        # The disks are flushed: a migrated machine's are for its successor to write.
        emulator.kill()
        for name in _files_of(directory):
            shutil.copyfile(directory / name, part / name)
        part.rename(place)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def lay_out_state(spec: MachineSpec, place: Path, directory: Path) -> None:
    """Copy what a machine writes to into its directory, its disks over the images of ``spec``."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in _files_of(place):
        shutil.copyfile(place / name, directory / name)
    program = find_program("qemu-img", package="qemu-utils")
    for number, disk in enumerate(spec.disks):
        image = os.fspath(disk.image.resolve())
        argv = [
            program,
            "rebase",
            "-q",
            "-u",
            "-f",
            "qcow2",
            "-F",
            disk.format,
            "-b",
            image,
            os.fspath(overlay_path(directory, number)),
        ]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise MachineError(f"no saved disk over {disk.image}: {done.stderr.strip()}")


def resume_state(emulator: Emulator, place: Path) -> None:
    """Read memory and devices into a QEMU that was started with ``-incoming defer``; let it run."""
    unpack = f"{_zstd()} -d -q <{shlex.quote(os.fspath(place / MEMORY))}"
    emulator.qmp.execute("migrate-incoming", uri=f"exec:{unpack}")
    _wait_for_migration(emulator)
    emulator.qmp.execute("cont")
    emulator.channel.boot_id = (place / BOOT_ID).read_text()


def _zstd() -> str:
    return shlex.quote(find_program("zstd", package="zstd"))


def _files_of(place: Path) -> list[str]:
    disks = sorted(path.name for path in place.glob("disk*.qcow2"))
    others = [variables_path(place).name, CONSOLE]
    return [*disks, *(name for name in others if (place / name).exists())]


def _wait_for_migration(emulator: Emulator) -> None:
    deadline = Deadline(TRANSFER_SECONDS)
    while True:
        answer = emulator.qmp.execute("query-migrate")
        assert isinstance(answer, dict)
        match answer.get("status"):
            case "completed":
                return
            case "failed" | "cancelled":
                raise MachineError(f"the state was not transferred: {answer.get('error-desc')}")
        if deadline.is_over():
            raise MachineError(f"waited {deadline.seconds:.0f} s for the transfer of the state")
        time.sleep(POLL_SECONDS)


def _wait_for_file(path: Path) -> None:
    deadline = Deadline(TRANSFER_SECONDS)
    while not path.exists():
        if deadline.is_over():
            raise MachineError(f"waited {deadline.seconds:.0f} s for {path.name} to be written")
        time.sleep(POLL_SECONDS)


# A folder of states


def ensure_saved(
    spec: MachineSpec,
    folder: Path,
    name: str,
    make: Callable[[Path], Machine],
) -> Path:
    """The state ``name`` of a machine of ``spec``, in ``folder``.

    When there is none for this very content, ``make`` gets a directory and returns a machine that
    has come as far as the state shall be; processes that ask at the same time wait for each other.
    """
    check_savable(spec)
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"{name}-{state_key(spec)}"
    with _alone(folder / f"{name}.lock"):
        if not place.is_dir():
            directory = place.with_name(f".{place.name}.machine")
            shutil.rmtree(directory, ignore_errors=True)
            try:
                with make(directory) as machine:
                    machine.save(place)
            finally:
                shutil.rmtree(directory, ignore_errors=True)
        os.utime(place)
        _drop_old(folder)
    return place


def state_key(spec: MachineSpec) -> str:
    """Names all that a state depends on: QEMU, its words, the contents of its files, and the day.

    The day, because a machine that wakes up after a day does at once what was to be done daily.
    """
    network = replace(spec.network, ssh_port=None) if spec.network else None
    wiring = Wiring(directory=Path("/"), monitor=0, channel=0, kvm=probe_kvm())
    words = "\0".join(plan_command(replace(spec, network=network), wiring))
    for path in _files_read(spec):
        words = words.replace(os.fspath(path), digest_file(path, _stamp(path)))
    images = [digest_file(disk.image, _stamp(disk.image)) for disk in spec.disks]
    everything = repr((FORMAT, _version(), words, images, _today())).encode()
    return hashlib.sha256(everything).hexdigest()[:20]


def _files_read(spec: MachineSpec) -> list[Path]:
    match spec.boot:
        case Uefi() as uefi:
            return list(find_firmware(uefi))
        case DirectKernel(kernel=kernel, initrd=initrd):
            return [kernel] if initrd is None else [kernel, initrd]


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


@functools.cache
def digest_file(path: Path, stamp: tuple[int, int]) -> str:
    """Of a file's content; holes cost nothing and count like zeros. ``stamp``: size and time."""
    digest, zeros = hashlib.blake2b(str(stamp[0]).encode(), digest_size=20), bytes(BLOCK)
    with path.open("rb", buffering=0) as file:
        position = 0
        while True:
            try:
                data = file.seek(position, os.SEEK_DATA)
            except OSError:  # only a hole is left
                return digest.hexdigest()
            end = file.seek(data, os.SEEK_HOLE)
            # Whole blocks at whole places: how a file is cut into extents makes no difference.
            position = file.seek(max(position, data // BLOCK * BLOCK))
            while position < end:
                block = file.read(BLOCK)
                if block != zeros[: len(block)]:
                    digest.update(f"{position} ".encode() + block)
                position += BLOCK


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def _version() -> str:
    program = find_program(PROGRAM, package="qemu-system-x86")
    return subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _drop_old(folder: Path) -> None:
    states = [path for path in folder.iterdir() if path.is_dir() and path.name[0] != "."]
    for path in sorted(states, key=lambda each: each.stat().st_mtime)[:-KEPT]:
        shutil.rmtree(path, ignore_errors=True)
