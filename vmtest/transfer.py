"""Files into and out of a machine, in pieces through its shell."""

from __future__ import annotations

import io
import shlex
import tarfile
import tempfile
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

PIECE = 1 << 20


class Run(Protocol):
    """Runs a command that must succeed in the machine; its stdout."""

    def __call__(self, command: str, stdin: bytes = b"") -> bytes: ...


def copy_to(run: Run, source: Path, destination: str) -> None:
    """A file arrives whole or not at all, with its mode; a directory adds to what is there."""
    final = shlex.quote(destination)
    part = shlex.quote(destination.rstrip("/") + ".vmtest-part")
    if source.is_dir():
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            archive.add(source, arcname=".")
        packed.seek(0)
        run(f'mkdir -p "$(dirname {part})"')
        _send(run, packed, part)
        run(f"mkdir -p {final} && tar -xf {part} -C {final} && rm {part}")
        return
    run(f'mkdir -p "$(dirname {part})"')
    with source.open("rb") as file:
        _send(run, file, part)
    mode = source.stat().st_mode & 0o7777
    run(f"chmod {mode:o} {part} && mv -T {part} {final}")


def _send(run: Run, file: BinaryIO, part: str) -> None:
    run(f": >{part}")
    while piece := file.read(PIECE):
        run(f"cat >>{part}", piece)


def copy_from(run: Run, source: str, destination: Path) -> None:
    """A file, or the content of a directory, into ``destination``."""
    name = shlex.quote(source)
    kind = run(f"if [ -d {name} ]; then echo directory; else stat -L -c %s {name}; fi").strip()
    if kind != b"directory":
        with destination.open("wb") as file:
            _fetch(run, name, int(kind), file)
        return
    packed = run('mktemp -p "$RUNTIME_DIRECTORY"').decode().strip()
    size = int(run(f"tar -cf {packed} -C {name} . && stat -c %s {packed}"))
    with tempfile.TemporaryFile() as file:
        _fetch(run, packed, size, file)
        file.seek(0)
        with tarfile.open(fileobj=file) as archive:
            # Python 3.11.2, Debian 12's, has no filters yet; the machine is the test's own.
            if hasattr(tarfile, "data_filter"):
                archive.extraction_filter = tarfile.data_filter
            archive.extractall(destination)
    run(f"rm {packed}")


def _fetch(run: Run, name: str, size: int, file: BinaryIO) -> None:
    for start in range(0, size, PIECE):
        file.write(run(f"dd if={name} bs={PIECE} skip={start // PIECE} count=1 status=none"))
