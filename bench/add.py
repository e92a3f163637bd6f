"""Add a package to a machine: ``atoll add``, compared with ``apt-get install`` and with a build.

Run as root: ``python -m bench.add STORE NAME WORKDIR [PACKAGE] [ROUNDS]``. STORE has the image
NAME; WORKDIR is a directory on a disk with space for four of it. Package lists and .deb files are
in the caches of all three before anything is measured:

- ``atoll add`` on a machine in a directory, from the machine file to the boot entry
- ``apt-get install`` in a chroot of the same image, which it changes in place
- ``atoll build`` of a recipe derived from the image, into an empty cache, as without layers

CPU is user and system time of the process and its children, memory the peak of the largest one.
Before each run the disk is synced.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from multiprocessing import Process
from pathlib import Path

from atoll.base.report import NullReporter
from atoll.builder.finish.debian_layout import to_debian_layout
from atoll.image.bootable import read_bootable
from atoll.machine.deployment import Origin
from atoll.machine.deployments.sysroot import Sysroot
from atoll.machine.install import install
from atoll.store.checkout import check_out
from atoll.store.layout import open_store
from atoll.store.refs import read_ref, write_ref
from atoll.store.tree_images import read_image

ATOLL = (sys.executable, "-B", "-m", "atoll")
CHROOT = """
mount --bind "$1" "$1"
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
rm -f "$1/etc/resolv.conf"
cp /etc/resolv.conf "$1/etc/resolv.conf"
printf '#!/bin/sh\\nexit 101\\n' > "$1/usr/sbin/policy-rc.d"
chmod +x "$1/usr/sbin/policy-rc.d"
shift_root=$1
shift
exec chroot "$shift_root" /usr/bin/env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 "$@"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    wall: float
    cpu: float
    memory_mib: float

    def format(self) -> str:
        return f"{self.wall:6.1f} s  {self.cpu:6.1f} s CPU  {self.memory_mib:6.0f} MiB"


def measure(words: list[str]) -> Cost:
    """Run a program in a process of its own, whose children are counted, too."""
    subprocess.run(["sync"], check=True)
    before = time.monotonic()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    told = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - before
    if status:
        sys.exit(f"{' '.join(words)}:\n{told.decode(errors='replace')}")
    return Cost(wall=wall, cpu=usage.ru_utime + usage.ru_stime, memory_mib=usage.ru_maxrss / 1024)


def make_machine(store: Path, name: str, root: Path) -> None:
    """Its store is also one in which the image has its name."""

    def make() -> None:
        sysroot = Sysroot(root=root, esp=root / "esp")
        sysroot.esp.mkdir(parents=True)
        source = open_store(store)
        image = read_bootable(source, read_ref(source, name).tree)
        origin = Origin(image=f"store:{name}")
        install(image, origin, sysroot, source=source, reporter=NullReporter())
        write_ref(open_store(sysroot.atoll), name, read_ref(source, name))

    _in_child(make)


def make_chroot(store: Path, name: str, root: Path) -> None:
    def make() -> None:
        source = open_store(store)
        tree = read_image(source, read_ref(source, name).tree)
        check_out(source, tree, root, NullReporter())
        to_debian_layout(root)

    _in_child(make)


def _in_child(work: object) -> None:
    process = Process(target=work)  # type: ignore[arg-type]
    process.start()
    process.join()
    if process.exitcode:
        sys.exit(process.exitcode)


def main(store: Path, name: str, workdir: Path, package: str, rounds: int) -> None:
    shutil.rmtree(workdir, ignore_errors=True)
    machine, chroot, recipe = workdir / "machine", workdir / "chroot", workdir / "recipe"
    make_machine(store, name, machine)
    make_machine(store, name, workdir / "builder")
    builder = workdir / "builder/atoll"
    make_chroot(store, name, chroot)
    recipe.mkdir()
    (recipe / "atoll.toml").write_text(
        f'schema = 1\nfrom = "store:{name}"\n[image]\nname = "bench-add"\nversion = "1"\n'
        f'[packages]\ninstall = ["{package}"]\n'
    )
    in_chroot = ["unshare", "--mount", "sh", "-ec", CHROOT, "sh", str(chroot)]
    root = ["--root", str(machine)]
    # Everything once, so that lists and packages are in the caches.
    measure([*ATOLL, "add", package, *root])
    measure([*ATOLL, "remove", package, *root])
    measure([*in_chroot, "apt-get", "--quiet", "update"])
    measure([*in_chroot, "apt-get", "--quiet", "--yes", "--download-only", "install", package])
    measure([*ATOLL, "lock", str(recipe), "--store", str(builder)])
    inodes = sum(len(folders) + len(files) for _, folders, files in os.walk(chroot))
    print(f"{name}: {inodes} inodes; {package}; best of {rounds}")
    costs: dict[str, list[Cost]] = {"atoll add": [], "apt-get install": [], "atoll build": []}
    for _ in range(rounds):
        shutil.rmtree(machine / "atoll/cache/results", ignore_errors=True)
        costs["atoll add"].append(measure([*ATOLL, "add", package, *root]))
        measure([*ATOLL, "remove", package, *root])
        words = ["apt-get", "--quiet", "--yes", "--no-install-recommends", "install", package]
        costs["apt-get install"].append(measure([*in_chroot, *words]))
        measure([*in_chroot, "apt-get", "--quiet", "--yes", "--autoremove", "purge", package])
        for kind in ("roots", "steps", "results", "known"):
            shutil.rmtree(builder / "cache" / kind, ignore_errors=True)
        costs["atoll build"].append(
            measure([*ATOLL, "build", str(recipe), "--store", str(builder)])
        )
    best = {kind: min(found, key=lambda cost: cost.wall) for kind, found in costs.items()}
    for kind, cost in best.items():
        ratio = best["atoll add"].wall / cost.wall
        print(f"{kind:<16} {cost.format()}   atoll add takes {ratio:.2f} of it")


if __name__ == "__main__":
    main(
        Path(sys.argv[1]).absolute(),
        sys.argv[2],
        Path(sys.argv[3]).absolute(),
        sys.argv[4] if len(sys.argv) > 4 else "htop",
        int(sys.argv[5]) if len(sys.argv) > 5 else 3,
    )
