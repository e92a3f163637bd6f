"""Early boot's own shell on directories: mounts are stood in for, and a cut comes where it is told.

Every other program that the text runs is the real one. After each of them the power may fail: the
whole process group is killed, as a test says by counting.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

SYSTEM = Path(__file__).parents[2] / "system/usr/lib"
MODULE = SYSTEM / "dracut/modules.d/90atoll"
SHELLS = {"dash": ("/usr/bin/dash",), "busybox": ("/usr/bin/busybox", "sh")}
TREE = "ab" * 32
NEVER = 1 << 20
KILLED = -9

REAL = ("cat", "chmod", "cp", "env", "mkdir", "mv", "rm", "rmdir", "sed", "tr")
STAND_INS = {
    "mount": """
kind='' options=''
while [ $# -gt 2 ]; do
    case $1 in
    -t) kind=$2; shift ;;
    -o) options=$2; shift ;;
    --bind) kind=bind ;;
    esac
    shift
done
case $kind:$options:$1 in
:ro,noatime,noload:*) /usr/bin/rm -rf "$2"; /usr/bin/ln -s PLACE/disk "$2" ; exit ;;
:rw,noatime:UUID=3-4)
    [ -d PLACE/changes ] || exit 1
    /usr/bin/rm -rf "$2"
    /usr/bin/ln -s PLACE/changes "$2"
    exit
    ;;
esac
case $kind:$options in
overlay:*upperdir=*)
    lower=${options#lowerdir=} upper=${options#*upperdir=}
    /usr/bin/rm -rf "$2"
    /usr/bin/cp -a "${lower%%,*}" "$2"
    /usr/bin/cp -a "${upper%%,*}/." "$2/"
    ;;
overlay:*) /usr/bin/rm -rf "$2"; /usr/bin/cp -a PLACE/tree "$2" ;;
bind:*)
    case $2 in
    "$1" | */sysroot/sysroot) ;;
    */tree-etc) /usr/bin/rm -rf "$2"; /usr/bin/cp -a "$1" "$2" ;;
    *) /usr/bin/rm -rf "$2"; /usr/bin/ln -s "$1" "$2" ;;
    esac
    ;;
:rw,noatime) /usr/bin/rm -rf "$2"; /usr/bin/ln -s PLACE/disk "$2" ;;
esac
""",
    "umount": """
case $1 in
*/sysroot/etc) /usr/bin/rm -rf "$1"; /usr/bin/cp -a PLACE/tree/etc "$1" ;;
esac
""",
    "chroot": "exit 0",
    "e2fsck": "[ ! -e PLACE/bad ] || exit 4",
    "fsverity": f"echo {TREE}",
    "modprobe": "exit 0",
    "mountpoint": "exit 1",
    "print_to_consoles": "printf '%s\\n' \"$*\" >> PLACE/screen",
    "sleep": "exit 0",
    "sync": "exit 0",
    "systemctl": 'echo "$@" >> PLACE/asked',
    "timeout": "exit 0",
}
# Functions in the shell that runs the text: busybox prefers its own applets to what PATH has, and a
# program for each would be slow.
FUNCTION = """
NAME() {
BEFORE
stand_status=0
(
BODY
) || stand_status=$?
AFTER
echo NAME >> PLACE/ran
read -r stand_left < PLACE/left
stand_left=$((stand_left - 1))
echo $stand_left > PLACE/left
[ $stand_left -gt 0 ] || kill -KILL 0
return $stand_status
}
"""
HALF = """
read -r stand_left < PLACE/left
if [ $stand_left = 1 ] && [ -e PLACE/half ]; then
    for stand_last; do :; done
    /usr/bin/find "$stand_last" -depth 2> /dev/null | /usr/bin/sort |
        while read -r stand_one && read -r stand_other; do
            [ -d "$stand_one" ] || /usr/bin/rm -f "$stand_one"
        done
    kill -KILL 0
fi
"""


_SOURCED = re.compile(r"^\. (\S+)$", re.MULTILINE)


def read_whole(path: Path) -> str:
    """A program's text with that of the files that it sources."""

    def content(line: re.Match[str]) -> str:
        name = line[1].replace("$parts", "/usr/lib/atoll/early-boot.d")
        folder = MODULE if "/early-boot.d/" in name else SYSTEM
        return (
            folder
            / name.removeprefix("/usr/lib/").removeprefix("atoll/" if folder == MODULE else "")
        ).read_text()

    return _SOURCED.sub(content, path.read_text())


def read_early_boot() -> str:
    return read_whole(MODULE / "early-boot.sh")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """A machine in a directory: ``disk`` is its state partition, ``tree`` the tree as built."""

    place: Path
    shell: str
    more: str = ""
    """More words of the kernel command line."""

    def __post_init__(self) -> None:
        for name in ("run/atoll", "sysroot", "tree", "disk"):
            (self.place / name).mkdir(parents=True)

    def _stand_ins(self) -> str:
        bodies = {name: f'exec /usr/bin/{name} "$@"' for name in REAL} | STAND_INS
        texts = []
        for name, body in bodies.items():
            before, after = HALF if name == "rm" else "", HALF if name == "cp" else ""
            text = FUNCTION.replace("BEFORE", before).replace("AFTER", after)
            texts.append(text.replace("BODY", body).replace("NAME", name))
        return "".join(texts).replace("PLACE", str(self.place))

    @property
    def etc(self) -> Path:
        return self.place / "disk/atoll/deployments/1/etc"

    @property
    def state(self) -> Path:
        return self.place / "disk/atoll/state"

    def run(
        self, text: str, *, cut: int = NEVER, half: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """The text of a script; the power goes after (or ``half`` way through) command ``cut``."""
        (self.place / "left").write_text(f"{cut}\n")
        (self.place / "half").unlink(missing_ok=True)
        (self.place / "ran").unlink(missing_ok=True)
        if half:
            (self.place / "half").touch()
        for name in ("run", "sysroot"):
            shutil.rmtree(self.place / name)
            (self.place / name).mkdir()
        (self.place / "run/atoll").mkdir()
        (self.place / "run/atoll/booted").write_text(f'{{"deployment": 1, "tree": "{TREE}"}}\n')
        script = self.place / "script"
        script.write_text(self._stand_ins() + text)
        return subprocess.run(
            [*SHELLS[self.shell], script],
            env={"PATH": "/nonexistent"},
            text=True,
            capture_output=True,
            start_new_session=True,
            check=False,
            timeout=60,
        )

    def programs_run(self) -> list[str]:
        """The programs that the last run has started, in their order."""
        return (self.place / "ran").read_text().split()

    def early_boot(self, call: str = "main") -> str:
        """Early boot's text with this machine's places, which ends by ``call``."""
        (self.place / "cmdline").write_text(
            f"initrd=\\atoll\\initrd composefs={TREE} atoll.state=UUID=1-2 atoll.deployment=1"
            f"{self.more}\n"
        )
        functions, last = read_early_boot().rstrip("\n").rsplit("\n", 1)
        assert last == "main"
        return self._with_places(f"{functions}\n{call}\n")

    def script(self, name: str) -> str:
        """A program of ``/usr/lib/atoll`` with this machine's places."""
        text = read_whole(SYSTEM / "atoll" / name).replace("exec systemctl", "systemctl")
        return self._with_places(text)

    def _with_places(self, text: str) -> str:
        for before, after in (
            ("/usr/lib/atoll/print-to-consoles", "print_to_consoles"),
            ("/proc/cmdline", f"{self.place}/cmdline"),
            ("/sys/firmware/efi", f"{self.place}/efi"),
            ("/run/atoll", f"{self.place}/run/atoll"),
            ("/run/motd.d", f"{self.place}/run/motd.d"),
            ("/run/issue.d", f"{self.place}/run/issue.d"),
            ("root=/sysroot", f"root={self.place}/sysroot"),
            ("=/sysroot/atoll", f"={self.place}/disk/atoll"),
        ):
            text = text.replace(before, after)
        return text
