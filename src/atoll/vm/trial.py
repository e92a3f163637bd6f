"""A trial: an image boots in a virtual machine, and the recipe's own test scripts run in it.

The image needs no change: systemd takes a unit from SMBIOS credentials. The unit runs ``GUEST``,
which finds the scripts on a second disk (a tar archive), and writes a report to a virtio serial
port, line by line::

    hello                                   the guest has started
    state STATE SECONDS HEALTHY             systemd's state, uptime, state of boot-complete.target
    unit NAME SIZE                          a failed unit, followed by SIZE bytes of its log
    start NUMBER                            a script begins
    done NUMBER STATUS SECONDS SIZE         it ended, followed by SIZE bytes of its output
    end                                     the report is complete
"""

from __future__ import annotations

import io
import os
import re
import tarfile
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged, NotFound, UsageError

if TYPE_CHECKING:
    from pathlib import Path

PORT = "atoll.trial"
DISK = "atoll-trial"
OUTPUT_LIMIT = 65536
"""The most bytes of a script's output in the report: its end is kept."""
SKIPPED = 77
"""The exit status of a script that was skipped, as in automake's test protocol."""
_SECTOR = 512
_SIZED = re.compile(rb"(?:unit|done) .* ([0-9]{1,9})\n")
"""A report line that is followed by bytes from a program; the group is their number."""

GUEST = r"""
exec </dev/null
modprobe -q virtio_console
port=
until [ -c "$port" ]; do
    for name in /sys/class/virtio-ports/*/name; do
        [ "$(cat "$name" 2>/dev/null)" = @PORT@ ] || continue
        port=${name%/name}
        port=/dev/${port##*/}
    done
    [ -c "$port" ] || sleep 0.2
done
exec 3>"$port"
echo hello >&3

now() { read -r up _ </proc/uptime; echo "${up%.*}"; }
send() { # LINE FILE: write LINE with the size of FILE's end, then that end
    tail -c @LIMIT@ "$2" >"$2.sent"
    echo "$1 $(stat -c %s "$2.sent")" >&3
    cat "$2.sent" >&3
}

cd "$RUNTIME_DIRECTORY" || exit 1
state=$(timeout @SECONDS@ systemctl is-system-running --wait 2>/dev/null)
echo "state ${state:-unknown} $(now) $(systemctl is-active boot-complete.target)" >&3
systemctl list-units --failed --plain --no-legend | while read -r unit _; do
    { systemctl status --no-pager --full -n 20 -- "$unit" || true; } >log 2>&1
    send "unit $unit" log
done

for disk in /sys/block/*; do
    [ "$(cat "$disk/serial" 2>/dev/null)" = @DISK@ ] || continue
    mkdir -p files
    tar --extract --file "/dev/${disk##*/}" --directory files
done
number=0
while [ -e "files/scripts/$number" ]; do
    read -r path <"files/scripts/$number"
    echo "start $number" >&3
    begun=$(now)
    case $(head -c 2 "files/tests/$path") in
    '#!') chmod +x "files/tests/$path"; set -- "./$path" ;;
    *) set -- sh "./$path" ;;
    esac
    (cd files/tests && exec timeout -k 5 @SECONDS@ "$@") >output 2>&1 3>&-
    send "done $number $? $(($(now) - begun))" output
    number=$((number + 1))
done
echo end >&3
exec 3>&-
sync
systemctl poweroff --force --force
"""

UNIT = """\
[Unit]
Description=Trial of this image
DefaultDependencies=no
After=sysinit.target
Conflicts=shutdown.target
Before=shutdown.target
ConditionPathExists=!/etc/initrd-release

[Service]
ExecStart=/bin/sh /run/credentials/@system/atoll.trial
RuntimeDirectory=atoll-trial
RuntimeDirectoryMode=0700
Environment=ATOLL_TRIAL=1 HOME=/root TERM=dumb
Environment=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin
OOMScoreAdjust=-900
StandardOutput=journal
"""
WANTED = "[Unit]\nWants=atoll-trial.service\n"


class TrialEnd(StrEnum):
    """How the machine ended."""

    FINISHED = "finished"
    DIED = "ended before the tests did"
    PANIC = "its kernel panicked"
    FROZEN = "its systemd gave up"
    TIMEOUT = "took too long"
    NO_START = "QEMU did not start it"


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedUnit:
    """A failed systemd unit, and the end of its status output."""

    name: str
    log: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptResult:
    """The result of a script. ``status`` is None if it did not finish."""

    name: str
    status: int | None = None
    seconds: int = 0
    output: str = ""

    @property
    def passed(self) -> bool:
        """Whether the script succeeded or was skipped."""
        return self.status in (0, SKIPPED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """The result of a trial.

    ``state`` is that of ``systemctl is-system-running``, None if the report does not have it;
    ``seconds`` is the uptime at that moment. ``healthy``: boot-complete.target was reached.
    """

    ending: TrialEnd
    state: str | None = None
    seconds: int = 0
    healthy: bool = False
    failed_units: tuple[FailedUnit, ...] = ()
    scripts: tuple[ScriptResult, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the boot was healthy, no unit failed, and no script failed."""
        return (
            self.ending is TrialEnd.FINISHED
            and self.state == "running"
            and self.healthy
            and all(script.passed for script in self.scripts)
        )


def find_scripts(directory: Path) -> tuple[Path, ...]:
    """The scripts of a recipe in ``directory``: ``tests/*.sh``, sorted by name."""
    return tuple(sorted((directory / "tests").glob("*.sh")))


def check_scripts(scripts: tuple[Path, ...]) -> None:
    """Raises NotFound for a missing script, UsageError for two with the same name."""
    names = [script.name for script in scripts]
    for script in scripts:
        if not script.is_file():
            raise NotFound(f"there is no script {script}", hint="check the path")
        if names.count(script.name) > 1:
            raise UsageError(f"two scripts are called {script.name}", hint="rename one of them")


def write_payload(scripts: tuple[Path, ...], out: Path) -> None:
    """Write the guest's second disk, a tar archive padded to whole sectors.

    It has the scripts and, for scripts in a directory ``tests``, everything else in it.
    """
    taken: set[str] = set()
    with tarfile.open(out, "w", format=tarfile.PAX_FORMAT) as archive:
        for number, script in enumerate(scripts):
            _add_text(archive, f"scripts/{number}", f"{script.name}\n")
        for script in scripts:
            archive.add(script, f"tests/{script.name}", filter=_as_root)
            taken.add(script.name)
        for folder in dict.fromkeys(script.parent for script in scripts):
            for path in sorted(folder.iterdir()) if folder.name == "tests" else ():
                if path.name not in taken:
                    archive.add(path, f"tests/{path.name}", filter=_as_root)
    with out.open("ab") as file:
        file.truncate(-(-file.tell() // _SECTOR) * _SECTOR)


def guest_credentials(seconds: int) -> tuple[tuple[str, bytes], ...]:
    """The credentials (name, value) that make a machine run ``GUEST``.

    ``seconds`` limits the boot, and each script.
    """
    script = GUEST
    for placeholder, value in (
        ("PORT", PORT),
        ("DISK", DISK),
        ("LIMIT", OUTPUT_LIMIT),
        ("SECONDS", seconds),
    ):
        script = script.replace(f"@{placeholder}@", str(value))
    return (
        ("atoll.trial", script.encode()),
        ("systemd.extra-unit.atoll-trial.service", UNIT.encode()),
        ("systemd.unit-dropin.basic.target", WANTED.encode()),
    )


def is_finished(report: bytes) -> bool:
    """Whether the report is complete. Skips output of programs, which may contain an ``end``."""
    stream = io.BytesIO(report)
    while line := stream.readline():
        if line == b"end\n":
            return True
        if sized := _SIZED.fullmatch(line):
            stream.seek(min(int(sized[1]), OUTPUT_LIMIT), os.SEEK_CUR)
    return False


def parse_trial(report: bytes, names: tuple[str, ...], ending: TrialEnd) -> Trial:
    """Parse a report, which may be cut off anywhere. Raises Damaged for invalid lines.

    ``names`` are the scripts in the order in which they run.
    """
    stream = io.BytesIO(report)
    trial = Trial(ending=ending)
    scripts: dict[int, ScriptResult] = {}
    units: list[FailedUnit] = []
    while line := stream.readline():
        match line.decode(errors="replace").split():
            case ["hello"] | ["end"]:
                pass
            case ["state", state, seconds, healthy]:
                trial = replace(
                    trial, state=state, seconds=_number(seconds), healthy=healthy == "active"
                )
            case ["unit", name, size]:
                units.append(FailedUnit(name=name, log=_text(stream, size)))
            case ["start", number]:
                scripts[_index(number, names)] = ScriptResult(name=names[_index(number, names)])
            case ["done", number, status, seconds, size]:
                index = _index(number, names)
                scripts[index] = ScriptResult(
                    name=names[index],
                    status=_number(status),
                    seconds=_number(seconds),
                    output=_text(stream, size),
                )
            case _ if not line.endswith(b"\n"):
                break
            case _:
                raise Damaged(f"the machine under test sent an invalid report line: {line[:60]!r}")
    not_started = tuple(ScriptResult(name=name) for name in names[len(scripts) :])
    started = tuple(scripts[number] for number in sorted(scripts))
    return replace(trial, failed_units=tuple(units), scripts=(*started, *not_started))


def find_end(console: str) -> TrialEnd | None:
    """A fatal end that the console shows: a kernel panic, or that systemd gave up."""
    if "Kernel panic - not syncing" in console:
        return TrialEnd.PANIC
    if re.search(r"systemd\[1\]: Freezing execution", console):
        return TrialEnd.FROZEN
    return None


def _text(stream: io.BytesIO, size: str) -> str:
    return stream.read(min(_number(size), OUTPUT_LIMIT)).decode(errors="replace")


def _index(text: str, names: tuple[str, ...]) -> int:
    number = _number(text)
    if number >= len(names):
        raise Damaged(f"the machine under test reported script {number}, which does not exist")
    return number


def _number(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise Damaged(f"the machine under test sent {text[:60]!r}, which is not a number")
    return int(text)


def _add_text(archive: tarfile.TarFile, name: str, text: str) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(text.encode())
    archive.addfile(info, io.BytesIO(text.encode()))


def _as_root(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = "root"
    return info
