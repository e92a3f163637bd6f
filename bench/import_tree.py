"""Import a directory into a store, compared with ``ostree commit`` and ``mkcomposefs``.

Run: ``python -m bench.import_tree TREE [ROUNDS]``. Each is a whole process that writes the contents
of TREE into a new directory in the directory for temporary files (mkcomposefs: ``--digest-store``).
Atoll also creates the tree's image, as mkcomposefs does, and syncs, which ostree does not here
(``--fsync=false``). CPU is user and system time of the process, memory its peak resident size.
Before each run the disk is synced and TREE is read once, so all have the same cache. ostree does
not support device nodes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.programs.composefs_judge import NoJudge, find_judge

OURS = """
import sys
from pathlib import Path
from atoll.base.report import NullReporter
from atoll.store.tree_images import write_image
from atoll.store.layout import open_store
from atoll.store.scan import import_directory
store = open_store(Path(sys.argv[2]), create=True)
write_image(store, import_directory(store, Path(sys.argv[1]), NullReporter()))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    wall: float
    cpu: float
    memory_mib: float


def measure(command: list[str]) -> Cost:
    """Run a program to its end and measure it."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[0]} ended with {process.returncode}")
    return Cost(wall=wall, cpu=usage.ru_utime + usage.ru_stime, memory_mib=usage.ru_maxrss / 1024)


def commands(tree: Path, directory: Path) -> dict[str, list[str]]:
    """The compared commands by name, each with an output directory of its own."""
    found = {"atoll": [sys.executable, "-c", OURS, str(tree), str(directory / "atoll")]}
    if shutil.which("ostree"):
        repo = str(directory / "ostree")
        subprocess.run(["ostree", f"--repo={repo}", "init", "--mode=bare"], check=True)
        found["ostree"] = [
            "ostree",
            f"--repo={repo}",
            "commit",
            "--branch=x",
            "--fsync=false",
            str(tree),
        ]
    try:
        program = find_judge().command("mkcomposefs")
        objects = str(directory / "objects")
        found["mkcomposefs"] = [
            *program,
            "--min-version=1",
            f"--digest-store={objects}",
            str(tree),
            str(directory / "image"),
        ]
    except NoJudge as reason:
        print(f"no mkcomposefs: {reason}")
    return found


def read_all(tree: Path) -> int:
    """Read every file once; returns their number."""
    count = 0
    for folder, _, names in os.walk(tree):
        for name in names:
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink():
                count += 1
                with path.open("rb") as file:
                    while file.read(1 << 20):
                        pass
    return count


def main() -> None:
    if len(sys.argv) not in (2, 3):
        raise SystemExit(__doc__)
    tree = Path(sys.argv[1])
    rounds = int(sys.argv[2]) if len(sys.argv) == 3 else 1
    costs: dict[str, list[Cost]] = {}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="import-tree-") as directory:
            for name, command in commands(tree, Path(directory)).items():
                files = read_all(tree)
                os.sync()
                costs.setdefault(name, []).append(measure(command))
    print(f"{files} files; the best of {rounds}")
    best = {name: min(found, key=lambda cost: cost.wall) for name, found in costs.items()}
    ours = best["atoll"]
    print(f"{'':12} {'wall s':>8} {'CPU s':>8} {'MiB':>8}   ours / theirs: wall, CPU")
    for name, cost in best.items():
        ratio = f"{ours.wall / cost.wall:6.2f} {ours.cpu / cost.cpu:6.2f}"
        print(f"{name:12} {cost.wall:8.2f} {cost.cpu:8.2f} {cost.memory_mib:8.1f}   {ratio}")


if __name__ == "__main__":
    main()
