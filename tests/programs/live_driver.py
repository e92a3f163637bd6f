"""Runs in a mount namespace in which early boot has mounted a machine: live changes, cut anywhere.

``python3 live_driver.py PLACE WORDS…``; prints one line of JSON. ``sys.path`` has the checkout.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError
from atoll.base.report import NullReporter
from atoll.host.fs import replace_file
from atoll.host.mount import enter_private_mounts
from atoll.host.mount_syscalls import MountNamespace, open_namespace
from atoll.host.run import run
from atoll.machine.deployments.apply import AUDIT_EVENT
from atoll.machine.deployments.sysroot import Sysroot, parse_booted
from atoll.machine.live.change import LiveJob, continue_change
from atoll.machine.live.operations import DETACH_EVENT
from atoll.machine.live.record import LiveChange, LivePlaces, format_change, read_change
from atoll.machine.live.scratch import discard_scratch, make_scratch

if TYPE_CHECKING:
    from collections.abc import Callable

CUT = 99


class Driver:
    def __init__(self, place: Path) -> None:
        self.root = place / "sysroot"
        self.places = LivePlaces(root=self.root, run=place / "run/atoll")
        self.sysroot = Sysroot(root=self.root / "sysroot", esp=place / "esp", booted=1)

    @property
    def applied(self) -> int | None:
        running = self.places.running
        return parse_booted(running.read_bytes()) if running.exists() else None

    def ask(self, target: int) -> None:
        change = LiveChange(source=self.applied or 1, target=target)
        replace_file(self.places.change, format_change(change))

    def in_child(self, work: Callable[[Sysroot, MountNamespace], object], cut: int = -1) -> int:
        """Work in a process of its own with private mounts; it ends before operation ``cut``."""
        child = os.fork()
        if child:
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        numbers = itertools.count()

        def hook(event: str, _: tuple[object, ...]) -> None:
            if event in (AUDIT_EVENT, DETACH_EVENT) and next(numbers) == cut:
                os._exit(CUT)

        try:
            sys.addaudithook(hook)
            namespace = MountNamespace(outer=open_namespace())
            enter_private_mounts()
            run(["mount", "-o", "remount,bind,rw", self.sysroot.root])
            work(replace(self.sysroot, applied=self.applied), namespace)
        except AtollError as error:
            sys.stderr.write(f"{error.message}\n")
            os._exit(error.exit_code)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)

    def carry_out(self, cut: int = -1) -> int:
        def work(machine: Sysroot, namespace: MountNamespace) -> None:
            change = read_change(self.places)
            assert change is not None
            job = LiveJob(
                machine=machine,
                places=self.places,
                namespace=namespace,
                read_rules=lambda _: (),
                reporter=NullReporter(),
            )
            result = continue_change(job, change)
            sys.stderr.writelines(f"{each}\n" for each in result.warnings)

        return self.in_child(work, cut)

    def picture(self) -> dict[str, object]:
        def text(path: str) -> str:
            try:
                return (self.root / path).read_text().strip()
            except OSError as error:
                return error.strerror or ""

        return {
            "usr": text("usr/lib/version")[:7],
            "etc": text("etc/motd"),
            "mine": text("etc/mine.conf"),
            "tree": (self.places.run / "tree/usr/lib/version").read_text()[:7],
            "tree-etc": (self.places.run / "tree-etc/motd").read_text().strip(),
            "dpkg": text("var/lib/dpkg/status"),
            "apt": text("var/lib/apt/status"),
            "opt": text("opt/chrome/version"),
            "local": text("usr/local/mine"),
            "applied": self.applied,
            "record": (self.sysroot.deployments / "2/etc/merged-from").exists(),
        }


def go(driver: Driver) -> object:
    """There, with a setting changed in between, and back."""
    old = (driver.root / "usr/lib/version").open()
    before = driver.picture()
    (driver.root / "usr/local/mine").write_text("local\n")
    (driver.root / "etc/mine.conf").write_text("mine\n")
    driver.ask(2)
    codes = [driver.carry_out()]
    there = driver.picture()
    (driver.root / "etc/mine.conf").write_text("later\n")
    usr = os.statvfs(driver.root / "usr").f_flag & os.ST_RDONLY
    driver.ask(1)
    codes.append(driver.carry_out())
    return {
        "codes": codes,
        "before": before,
        "there": there,
        "back": driver.picture(),
        "old": old.read()[:7],
        "read-only": bool(usr),
        "left": [path.name for path in driver.places.run.iterdir() if path.is_file()],
    }


def cuts(driver: Driver, first: str, step: str) -> object:
    """A cut before an operation, then the change is continued; then back."""
    wrong = []
    count = 0
    for number in range(int(first), 10_000, int(step)):
        driver.ask(2)
        code = driver.carry_out(number)
        cut = driver.picture()
        if code == 0:
            break
        count += 1
        if code != CUT or driver.carry_out() != 0 or driver.picture()["usr"] != "hello 2":
            wrong.append([number, code, cut])
        new = driver.picture()
        if [new[key] for key in ("etc", "tree", "tree-etc", "dpkg", "opt", "applied")] != [
            "two",
            "hello 2",
            "two",
            "2",
            "2",
            2,
        ]:
            wrong.append([number, code, new])
        driver.ask(1)
        if driver.carry_out() != 0 or driver.picture()["usr"] != "hello 1":
            wrong.append([number, "back", driver.picture()])
    return {"wrong": wrong, "cuts": count}


def others(driver: Driver) -> object:
    """Another namespace, as a service has one, follows; one with mounts of its own stays."""
    mine = driver.root / "etc/mine.conf"
    mine.write_text("mine\n")
    waits = "read x"
    follows = f"mount -o remount,bind,ro {driver.root}/etc; echo ready; {waits}"
    keeps = f"mount --bind /dev/null {mine}; echo ready; {waits}"
    started = []
    for script in (follows, keeps):
        started.append(
            subprocess.Popen(
                ["unshare", "--mount", "--propagation", "slave", "sh", "-c", script],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        )
        assert started[-1].stdout is not None
        started[-1].stdout.readline()
    driver.ask(2)
    code = driver.carry_out()
    found = []
    for each in started:
        words = ["nsenter", f"--mount=/proc/{each.pid}/ns/mnt", "sh", "-c"]
        script = f"cat {driver.root}/etc/motd; (: > {driver.root}/etc/x) 2>&1 || echo refused"
        done = subprocess.run([*words, script], capture_output=True, text=True, check=False)
        found.append([done.stdout.split("\n")[0], "refused" in done.stdout])
        each.communicate(b"\n")
    return {"code": code, "found": found}


def scratch(driver: Driver) -> object:
    """Written to, gone again, and in the way of a live change."""

    def make(_: Sysroot, namespace: MountNamespace) -> None:
        make_scratch(driver.places, namespace, 1 << 20)

    def discard(_: Sysroot, namespace: MountNamespace) -> None:
        discard_scratch(driver.sysroot, driver.places, namespace)

    codes = [driver.in_child(make)]
    (driver.root / "usr/lib/version").write_text("mine\n")
    (driver.root / "usr/local/mine").write_text("local\n")
    inside = driver.picture()
    try:
        (driver.root / "usr/large").write_bytes(bytes(2 << 20))
        full = ""
    except OSError as error:
        full = error.strerror or ""
    driver.ask(2)
    codes += [driver.carry_out(), driver.in_child(make), driver.in_child(discard)]
    return {"codes": codes, "inside": inside, "full": full, "after": driver.picture()}


def main() -> None:
    subprocess.run(["mount", "--make-rshared", "/"], check=True)
    driver = Driver(Path(sys.argv[1]))
    work = {"go": go, "cuts": cuts, "others": others, "scratch": scratch}[sys.argv[2]]
    sys.stdout.write(json.dumps(work(driver, *sys.argv[3:])) + "\n")  # type: ignore[operator]


if __name__ == "__main__":
    main()
