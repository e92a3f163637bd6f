"""What ./try shows: examples/hello becomes a tree, an image, a disk and a machine, step by step.

Each step is a command that a person could type; the tour prints it before it runs it. The machine
is driven by ``vmtest``, as in the tests.
"""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from vmtest import Disk, Machine, MachineError, MachineSpec, RequestFailed, Uefi
from vmtest.qemu import find_firmware

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

HERE = Path(__file__).resolve().parent.parent
BUILD = HERE / "build"
WORK = BUILD / "try"
STORE = WORK / "store"
LAYOUT = WORK / "hello"
DISK = WORK / "hello.img"
ATOLL = (sys.executable, "-B", "-m", "atoll")
STEPS = 5


class StepFailed(Exception):
    """A command of the tour did not do what the tour is about."""


def main() -> int:
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    keep = "--keep" in sys.argv[1:]
    WORK.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    try:
        tree = build()
        show_image(tree)
        make_disk()
        look_inside(tree)
    except KeyboardInterrupt:
        print("\ntry: stopped; nothing is left running or mounted", file=sys.stderr)
        return 130
    except (StepFailed, MachineError, RequestFailed) as error:
        print(f"\ntry: {error}", file=sys.stderr)
        return 1
    finally:
        if not keep:
            DISK.unlink(missing_ok=True)
    summary(tree, time.monotonic() - started, keep=keep)
    return 0


def build() -> str:
    with step(1, "Build examples/hello into a tree, and write it as an OCI image"):
        run(["debian/make", BUILD])
        answer = atoll(
            "build",
            "examples/hello",
            "--store",
            str(STORE),
            "--output",
            f"oci:{LAYOUT}:1",
            "--json",
        )
        return str(json.loads(answer)["tree"])


def show_image(tree: str) -> None:
    with step(2, "The same image in the store, for skopeo and for podman"):
        digest = atoll("tree", "digest", f"oci:{LAYOUT}:1").strip()
        expect(digest == tree, f"the layout holds tree {digest}, not {tree}")
        said = json.loads(run(["skopeo", "inspect", f"oci:{LAYOUT}:1"]))
        print(f"  skopeo: {len(said['Layers'])} layers, {said['Os']}/{said['Architecture']}")
        release = run(podman(["run", "--rm", "--network=none", *PODMAN_LIMITS,
                              f"oci:{LAYOUT}:1", "cat", "/etc/os-release"]))  # fmt: skip
        print("  podman: " + release.splitlines()[0])


def make_disk() -> None:
    with step(3, "Make a bootable disk image, without loop devices"):
        DISK.unlink(missing_ok=True)
        atoll("disk", "store:hello", str(DISK), "--store", str(STORE))
        print(f"  {DISK.relative_to(HERE)}: {DISK.stat().st_blocks * 512 / 1e6:.0f} MB on disk")


def look_inside(tree: str) -> None:
    directory = WORK / "machine"
    shutil.rmtree(directory, ignore_errors=True)
    spec = MachineSpec(disks=(Disk(image=DISK),), memory=1024)
    with Machine(spec, directory, tell=lambda _: None) as machine:
        with step(4, "Boot it: firmware, systemd-boot, a verified tree, a login"):
            machine.start()
            machine.wait_for_login_prompt()
            machine.wait_for_system()
            show(machine, "systemctl --failed --no-legend | wc -l", "0")
        with step(5, "Look inside, write where one may, and reboot"):
            print(indent(machine.succeed("atoll status")))
            show(machine, "atoll tree digest /run/atoll/tree", tree)
            print(indent("$ touch /usr/bin/mine\n" + machine.fail("touch /usr/bin/mine 2>&1")))
            machine.succeed(
                "echo kept > /home/atoll/note; echo atoll-rebooted > /etc/hostname; sync"
            )
            machine.reboot()
            machine.wait_for_system()
            show(machine, "cat /home/atoll/note /etc/hostname", "kept\natoll-rebooted")
            machine.shutdown()


def summary(tree: str, seconds: float, *, keep: bool) -> None:
    print(f"\nDone in {seconds:.0f} s: one text file became tree {tree[:16]}…, and that tree ran.")
    if not keep:
        print("Look around yourself: ./try --keep leaves the disk image and says how to boot it.")
        return
    print(f"The disk image is {DISK.relative_to(HERE)}. Boot it with:\n")
    print("  " + shlex.join(by_hand(DISK)))
    print("\nLog in as atoll, password atoll; leave QEMU with Ctrl-A X. Then, for example:")
    print("  atoll status · findmnt · sudo touch /usr/x · sudo apt install hello")


def by_hand(disk: Path) -> list[str]:
    """QEMU's command line for a person: the disk's own console on this terminal."""
    code, variables = find_firmware(Uefi())
    own = WORK / "variables.fd"
    shutil.copyfile(variables, own)
    return [
        "qemu-system-x86_64", "-machine", "q35,smm=off", "-accel", "tcg,thread=multi",
        "-cpu", "max,-cx16", "-smp", "2", "-m", "1024", "-display", "none", "-serial", "mon:stdio",
        "-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={code}",
        "-drive", f"if=pflash,format=raw,unit=1,file={own}",
        "-drive", f"if=virtio,format=raw,file={disk}",
    ]  # fmt: skip


PODMAN_LIMITS = ("--cgroups=disabled", "--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000")


def podman(words: list[str]) -> list[str | Path]:
    """A podman command; it needs control groups as systemd mounts them today."""
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        return ["podman", *words]
    inner = shlex.join(["podman", *words])
    return ["unshare", "-m", "sh", "-c", f"mount -t cgroup2 none /sys/fs/cgroup && exec {inner}"]


def show(machine: Machine, command: str, expected: str) -> None:
    """Run a command in the machine, print both, and insist on what it says."""
    said = machine.succeed(command, timeout=600).strip()
    print(indent(f"# {command}\n{said}"))
    expect(said == expected, f"{command} says {said!r}, not {expected!r}")


def expect(truth: bool, otherwise: str) -> None:
    if not truth:
        raise StepFailed(otherwise)


def atoll(*words: str) -> str:
    print("  $ atoll " + shlex.join(words).replace(f"{HERE}/", ""), flush=True)
    return run([*ATOLL, *words], shows=True)


def run(argv: Sequence[str | Path], *, shows: bool = False) -> str:
    """Run a command to its end; ``shows`` lets its story (stderr) through to the person."""
    process = subprocess.Popen(
        argv, cwd=HERE, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=None if shows else subprocess.PIPE,
    )  # fmt: skip
    try:
        out, err = process.communicate()
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise
    if process.returncode:
        words = shlex.join(str(word) for word in argv)
        raise StepFailed(f"this failed with status {process.returncode}:\n  {words}\n{err or ''}")
    return out


@contextmanager
def step(number: int, title: str) -> Iterator[None]:
    print(f"\n[{number}/{STEPS}] {title}", flush=True)
    started = time.monotonic()
    yield
    print(f"  done in {time.monotonic() - started:.1f} s", flush=True)


def indent(text: str) -> str:
    return "\n".join("    " + line for line in text.strip().splitlines())


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
