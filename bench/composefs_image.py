"""Create the composefs image of 80,000 inodes from its dump, compared with ``mkcomposefs``.

Run: ``python -m bench.composefs_image [INODES]``. Both are whole processes, including their start;
the figures are the kernel's (CPU: user and system time; memory: peak resident size). If no
``mkcomposefs`` is installed, that of the tests is used.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.programs.composefs_judge import NoJudge, find_judge

if TYPE_CHECKING:
    import resource

OURS = """
import sys
from pathlib import Path
from atoll.tree.dumpfile import parse_dump
from atoll.tree.erofs_writer import format_image
dump, image = map(Path, sys.argv[1:])
image.write_bytes(format_image(parse_dump(dump.read_bytes())))
"""
FILES_IN_A_DIRECTORY = 9
EPOCH = 1_700_000_000


def make_dump(inodes: int) -> bytes:
    """A dump with the proportions of a system: one directory per nine names, some links."""
    lines = [f"/ 0 40755 2 0 0 0 {EPOCH}.0 - - -"]
    directories = ["", "/usr", "/usr/lib", "/usr/share"]
    lines += [f"{path} 0 40755 2 0 0 0 {EPOCH}.0 - - -" for path in directories[1:]]
    made = len(lines)
    while made < inodes:
        number = made // (FILES_IN_A_DIRECTORY + 1)
        parent = directories[1 + int(_hash(number, "parent")[:8], 16) % (len(directories) - 1)]
        path = f"{parent}/directory-{number}" if parent.count("/") < 9 else f"/usr/d{number}"
        directories.append(path)
        lines.append(f"{path} 0 40755 2 0 0 0 {EPOCH}.0 - - -")
        lines += [
            _leaf(f"{path}/a-file-named-{i}.so", made + i) for i in range(FILES_IN_A_DIRECTORY)
        ]
        made += FILES_IN_A_DIRECTORY + 1
    return "\n".join(lines).encode() + b"\n"


def _leaf(path: str, number: int) -> str:
    mtime = EPOCH - int(_hash(number // 40, "time")[:6], 16)
    if number % 12 == 0:
        return f"{path} 14 120777 1 0 0 0 {mtime}.0 ../target/here - -"
    if number % 25 == 0:
        return f"{path} 6 100644 1 0 0 0 {mtime}.0 - hello\\n -"
    name = _hash(number, "content")
    return f"{path} {1000 + number} 100644 1 0 0 0 {mtime}.0 {name[:2]}/{name[2:]} - {name}"


def _hash(number: int, what: str) -> str:
    return hashlib.sha256(f"{what} {number}".encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    cpu: float
    memory_mib: float

    def row(self, name: str) -> str:
        return f"{name:12}{self.cpu:6.2f} s of CPU  {self.memory_mib:6.0f} MiB"


def measure(argv: list[str]) -> Cost:
    process = subprocess.Popen(argv)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{argv[0]} ended with {process.returncode}")
    return Cost(cpu=usage.ru_utime + usage.ru_stime, memory_mib=_mib(usage))


def _mib(usage: resource.struct_rusage) -> float:
    return usage.ru_maxrss / 1024


def main() -> None:
    inodes = int(sys.argv[1]) if len(sys.argv) > 1 else 80_000
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        dump, ours, theirs = (directory / name for name in ("dump", "ours", "theirs"))
        dump.write_bytes(make_dump(inodes))
        print(f"{inodes} inodes, a dump of {dump.stat().st_size / 1e6:.1f} MB")
        cost = measure([sys.executable, "-c", OURS, os.fspath(dump), os.fspath(ours)])
        print(cost.row("atoll"))
        options = ["--from-file", "--min-version=1", os.fspath(dump), os.fspath(theirs)]
        peer = measure([*find_mkcomposefs(), *options])
        print(peer.row("mkcomposefs"))
        print(f"ratio       {cost.cpu / peer.cpu:6.2f} {cost.memory_mib / peer.memory_mib:18.2f}")
        if ours.read_bytes() != theirs.read_bytes():
            sys.exit("the images differ")
        print("the images are the same")


def find_mkcomposefs() -> list[str]:
    installed = shutil.which("mkcomposefs")
    if installed:
        return [installed]
    try:
        return find_judge().command("mkcomposefs")
    except NoJudge as reason:
        sys.exit(f"no mkcomposefs to compare with: {reason}")


if __name__ == "__main__":
    main()
