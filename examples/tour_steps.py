"""What all forms of ./try share: numbered steps with their times, commands that are printed before
they run, and the table at the end."""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vmtest import MachineError, RequestFailed, Uefi
from vmtest.patience import WAITS
from vmtest.qemu import find_firmware

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    from vmtest import Machine

HERE = Path(__file__).resolve().parent.parent
WORK = HERE / "build/try"
STORE = WORK / "store"
ATOLL = (sys.executable, "-B", "-m", "atoll")


class StepFailed(Exception):
    """A command of the tour did not do what the tour is about."""


@dataclass(slots=True)
class Tour:
    """What is shown, step by step, and what came of it."""

    steps: int
    done: list[tuple[str, str, float]] = field(default_factory=list)

    @contextmanager
    def step(self, title: str, outcome: str) -> Iterator[None]:
        """A numbered step; ``outcome`` is what its line in the last table says."""
        print(f"\n[{len(self.done) + 1}/{self.steps}] {title}", flush=True)
        started = time.monotonic()
        yield
        seconds = time.monotonic() - started
        self.done.append((title, outcome, seconds))
        print(f"  done in {seconds:.1f} s", flush=True)

    def print_table(self) -> None:
        width = max(len(title) for title, _, _ in self.done)
        print(f"\n{'what':<{width}}  {'seconds':>7}  outcome")
        for title, outcome, seconds in self.done:
            print(f"{title:<{width}}  {seconds:7.0f}  {outcome}")
        print(f"{'':<{width}}  {sum(seconds for _, _, seconds in self.done):7.0f}")


def run_tour(tour: Tour, body: Callable[[], None]) -> int:
    """Run ``body`` and print the table of its steps; the exit status of ./try."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    try:
        body()
    except KeyboardInterrupt:
        print("\ntry: stopped; nothing is left running or mounted", file=sys.stderr)
        return 130
    except (StepFailed, MachineError, RequestFailed) as error:
        print(f"\ntry: {error}", file=sys.stderr)
        return 1
    tour.print_table()
    return 0


def build_example(where: str | Path, store: Path, *words: str) -> str:
    """Build a recipe; its tree. Of a lock of an earlier tour all stays but Atoll itself, which is
    that of this checkout."""
    # 77: that is the same, too.
    update = ("--update", "atoll", "atoll-system")
    atoll("lock", str(where), *update, "--store", str(store), fine=(0, 77))
    answer = atoll("build", str(where), "--store", str(store), *words, "--json")
    return str(json.loads(answer)["tree"])


def tell_waiting(line: str) -> None:
    """Of all that the machine's driver tells: what it waits for, when that takes long."""
    _, _, words = line.partition(": ")
    if words.startswith(WAITS):
        print(f"  {words}", flush=True)


def say_how_to_boot(disk: Path) -> None:
    """QEMU's command line for a person."""
    print(f"\nThe disk image is {disk.relative_to(HERE)}. Boot it with:\n")
    print("  " + shlex.join(by_hand(disk)))


def by_hand(disk: Path) -> list[str]:
    """QEMU's command line for a person: the disk's own console on this terminal."""
    code, variables = find_firmware(Uefi())
    own = WORK / "variables.fd"
    shutil.copyfile(variables, own)
    return [
        "qemu-system-x86_64",
        "-machine",
        "q35,smm=off",
        "-accel",
        "tcg,thread=multi",
        "-cpu",
        "max,-cx16,-avx,-avx2,-f16c,-fma,-erms",
        "-smp",
        "2",
        "-m",
        "1024",
        "-display",
        "none",
        "-serial",
        "mon:stdio",
        "-drive",
        f"if=pflash,format=raw,unit=0,readonly=on,file={code}",
        "-drive",
        f"if=pflash,format=raw,unit=1,file={own}",
        "-drive",
        f"if=virtio,format=raw,file={disk}",
    ]


def show(machine: Machine, command: str, expected: str) -> None:
    """Run a command in the machine, print both, and insist on what it says."""
    said = machine.succeed(command, timeout=600).strip()
    print(indent(f"# {command}\n{said}"))
    expect(said == expected, f"{command} says {said!r}, not {expected!r}")


def expect(truth: bool, otherwise: str) -> None:
    if not truth:
        raise StepFailed(otherwise)


def atoll(*words: str, fine: tuple[int, ...] = (0,)) -> str:
    print("  $ atoll " + shlex.join(words).replace(f"{HERE}/", ""), flush=True)
    return run([*ATOLL, *words], shows=True, fine=fine)


def run(argv: Sequence[str | Path], *, shows: bool = False, fine: tuple[int, ...] = (0,)) -> str:
    """Run a command to its end; ``shows`` lets its story (stderr) through to the person, ``fine``
    are the exit codes of a success."""
    process = subprocess.Popen(
        argv,
        cwd=HERE,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=None if shows else subprocess.PIPE,
    )
    try:
        out, err = process.communicate()
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise
    if process.returncode not in fine:
        words = shlex.join(str(word) for word in argv)
        raise StepFailed(f"this failed with status {process.returncode}:\n  {words}\n{err or ''}")
    return out


def indent(text: str) -> str:
    return "\n".join("    " + line for line in text.strip().splitlines())


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
