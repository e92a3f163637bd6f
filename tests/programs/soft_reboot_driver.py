"""Runs in a mount namespace in which early boot has mounted a machine: the next system beside it.

``python3 soft_reboot_driver.py PLACE SCRIPT``; prints one line of JSON. ``sys.path`` has the
checkout.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from atoll.base.errors import AtollError
from atoll.base.report import NullReporter
from atoll.host.mount import enter_private_mounts
from atoll.host.mount_syscalls import MountNamespace, open_namespace
from atoll.host.run import run
from atoll.host.signals import interrupt_on_signals
from atoll.machine.boot.mounts import read_mounts
from atoll.machine.deployments.sysroot import Sysroot
from atoll.machine.soft_reboot import SoftRebootPlaces, start_next_root

INTERRUPTED = 130


def prepare(place: Path, script: Path) -> int:
    """In a process of its own, as the verb does it; the next system stays when it ends."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    machine = Sysroot(root=place / "sysroot/sysroot", esp=place / "esp", booted=1)
    places = SoftRebootPlaces(run=place / "run", script=script, systemctl=place / "systemctl")
    interrupt_on_signals()
    try:
        namespace = MountNamespace(outer=open_namespace())
        enter_private_mounts()
        run(["mount", "-o", "remount,bind,rw", machine.root])
        start_next_root(machine, 2, namespace, places, NullReporter())
    except AtollError as error:
        sys.stderr.write(f"{error}\n")
        os._exit(error.exit_code)
    except KeyboardInterrupt:
        os._exit(INTERRUPTED)
    except BaseException:
        import traceback

        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def picture(root: Path, marks: Path) -> dict[str, object]:
    def text(path: Path) -> str:
        try:
            return path.read_text().strip()
        except OSError as error:
            return error.strerror or ""

    return {
        "version": text(root / "usr/lib/version")[:7],
        "motd": text(root / "etc/motd"),
        "mine": text(root / "etc/mine.conf"),
        "var": text(root / "var/x"),
        "home": text(root / "home/x"),
        "local": text(root / "usr/local/x"),
        "dpkg": text(root / "var/lib/dpkg/status"),
        "opt": text(root / "opt/chrome/version"),
        "sysroot": (root / "sysroot/atoll/deployments").is_dir(),
        "read-only": [
            name
            for name in ("", "usr", "etc", "var", "sysroot", "var/lib/dpkg")
            if (root / name).is_dir() and os.statvfs(root / name).f_flag & os.ST_RDONLY
        ],
        "booted": text(marks / "booted")[:16],
        "tree": text(marks / "tree/usr/lib/version")[:7],
        "tree-etc": text(marks / "tree-etc/motd"),
        "marks": sorted(path.name for path in marks.iterdir() if path.is_file()),
    }


def main() -> None:
    subprocess.run(["mount", "--make-rshared", "/"], check=True)
    place, script = Path(sys.argv[1]), Path(sys.argv[2])
    root, run_directory = place / "sysroot", place / "run"
    for name in ("etc/mine.conf", "var/x", "home/x", "usr/local/x"):
        (root / name).write_text("mine\n")
    code = prepare(place, script)
    following = run_directory / "nextroot"
    found: dict[str, object] = {"code": code, "now": picture(root, run_directory / "atoll")}
    if following.is_dir():
        found["next"] = picture(following, following / "run/atoll")
        # What systemd unmounts of the old system stays in the new one.
        subprocess.run(["umount", root / "var/lib/dpkg"], check=True)
        found["still"] = (following / "var/lib/dpkg/status").exists()
        subprocess.run(["umount", "-l", following], check=True)
        following.rmdir()
    mounts = [each.point for each in read_mounts()]
    found["left"] = [str(each) for each in mounts if "/nextroot" in str(each)]
    found["directories"] = sorted(path.name.partition(".")[0] for path in run_directory.iterdir())
    found["record"] = (root / "sysroot/atoll/deployments/2/etc/merged-from").exists()
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
