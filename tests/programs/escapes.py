"""Programs that try to get out of a sandbox, and the place that they try to reach.

Run as a program of its own (``python -m tests.programs.escapes FOLDER``), as root or as a person
with subordinate ids: every attempt is made once in a real sandbox, whose root has this machine's
programs, and what came of each is printed as JSON. An attempt that gets somewhere says ESCAPED.
"""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import socket
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError, ProgramFailed
from atoll.host.mount import enter_private_mounts
from atoll.host.sandbox import Bind, Sandbox
from atoll.host.userns import become_root

if TYPE_CHECKING:
    from collections.abc import Iterator

CALL = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *words):
    result = libc.syscall(number, *[ctypes.c_long(w) if isinstance(w, int) else w for w in words])
    return 0 if result >= 0 else ctypes.get_errno()
REFUSED = (1, 38)  # EPERM, ENOSYS
"""
"""Numbers of system calls are those of x86-64."""

NOT_REFUSED = (
    CALL
    + """
error = call({})
if error not in REFUSED: print("ESCAPED: the kernel answered", os.strerror(error))
"""
)


BY_INT_80 = """
import ctypes, struct
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
page = libc.mmap(None, ctypes.c_size_t(4096), 7, 0x62, -1, ctypes.c_long(0))  # below 4 GiB
def call_32(number, first, *words):
    # socketcall has its words in memory
    ctypes.memmove(page + 2048, struct.pack("3I", *words[:3]), 12)
    second, third = (page + 2048, 0) if number == 102 else words[:2]
    code = bytes.fromhex("53b8") + struct.pack("I", number)
    code += b"\\xbb" + struct.pack("I", first) + b"\\xb9" + struct.pack("I", second)
    code += b"\\xba" + struct.pack("I", third) + bytes.fromhex("cd805bc3")
    ctypes.memmove(page, code, len(code))
    return ctypes.CFUNCTYPE(ctypes.c_int)(page)()
"""


def refused(*words: object) -> str:
    """Only a call that is refused before its arguments are looked at gives these errors."""
    return NOT_REFUSED.format(", ".join(map(repr, words)))


SHELL = {
    # the machine's files, by what /proc leads to
    "proc-1-root": "cat /proc/1/root$HOST/secret && echo ESCAPED",
    "proc-any-root": 'for at in /proc/*/root /proc/*/task/*/root; do cat "$at$HOST/secret"'
    " && echo ESCAPED; done",
    "proc-cwd": 'for at in /proc/*/cwd; do cat "$at$HOST/secret" "$at/../../../../$HOST/secret"'
    " && echo ESCAPED; done",
    "proc-fd": 'for at in /proc/*/fd/*; do [ -d "$at/$HOST" ] && echo ESCAPED; done',
    "proc-1-exe": "chmod 0755 /proc/1/exe && echo ESCAPED; head -c 4 /proc/1/exe && echo ESCAPED",
    "proc-1-memory": "head -c 1 /proc/1/maps | grep -q . && echo ESCAPED;"
    " exec 3<>/proc/1/mem && echo ESCAPED",
    "proc-1-words": "tr '\\0' '\\n' </proc/1/cmdline | grep -e atoll -e / && echo ESCAPED;"
    " grep -q . /proc/1/environ && echo ESCAPED",
    "proc-cover-lifted": "umount -l /proc/1; umount -l /proc/keys; umount -l /proc/sys;"
    " cat /proc/1/root$HOST/secret && echo ESCAPED",
    # namespaces
    "nsenter-mounts": "nsenter -t 1 -m cat $HOST/secret && echo ESCAPED",
    "nsenter-all": "nsenter -t 1 -a true && echo ESCAPED",
    "unshare-user": "unshare --user --map-root-user --mount true && echo ESCAPED",
    "unshare-mounts": "unshare --mount true && echo ESCAPED",
    "unshare-network": "unshare --net true && echo ESCAPED",
    # mounts
    "mount-tmpfs": "mkdir /tmp/m && mount -t tmpfs m /tmp/m && echo ESCAPED",
    "mount-proc": "mkdir /tmp/m && mount -t proc m /tmp/m && echo ESCAPED",
    "mount-sysfs": "mkdir /tmp/m && mount -t sysfs m /tmp/m && echo ESCAPED",
    "mount-bind": "mkdir /tmp/m && mount --bind / /tmp/m && echo ESCAPED",
    "remount-read-only-bind": "mount -o remount,bind,rw /usr && echo ESCAPED",
    "mounts-told": "grep -v -e ' / ' -e ' /usr ' -e ' /proc' -e ' /dev' -e ' /sys ' -e ' /run '"
    " -e ' /tmp ' /proc/self/mountinfo && echo ESCAPED",
    # devices
    "mknod-disk": "mknod /tmp/d b $DISK && echo ESCAPED; mknod /d b $DISK && echo ESCAPED",
    "mknod-memory": "mknod /tmp/d c 1 1 && echo ESCAPED",
    "mknod-loop-control": "mknod /tmp/d c 10 237 && echo ESCAPED",
    "device-left-in-the-root": "head -c 1 /left/zero >/tmp/read && echo ESCAPED",
    "device-modes": "chmod 0777 /dev/null && echo ESCAPED; chmod 0666 /dev/zero && echo ESCAPED;"
    " touch -d @1 /dev/full && echo ESCAPED",
    "stdin-is-no-device-of-the-machine": "chmod 0777 /proc/self/fd/0 && echo ESCAPED",
    # the kernel's settings and secrets
    "sysctl": "exec 3>/proc/sys/kernel/printk_ratelimit && echo ESCAPED",
    "core-pattern": "exec 3>/proc/sys/kernel/core_pattern && echo ESCAPED",
    "binfmt": "mount -t binfmt_misc b /proc/sys/fs/binfmt_misc && echo ESCAPED",
    "sysrq": "exec 3>/proc/sysrq-trigger && echo ESCAPED",
    "kcore": "head -c 4 /proc/kcore | grep -q ELF && echo ESCAPED",
    "keys-listed": "grep -q . /proc/keys && echo ESCAPED;"
    " grep -q . /proc/key-users && echo ESCAPED",
    "kernel-log": "dmesg | grep -q . && echo ESCAPED;"
    " head -c 1 /proc/kmsg | grep -q . && echo ESCAPED",
    "sys-is-empty": '[ -n "$(ls -A /sys)" ] && echo ESCAPED',
    "cgroups": "mkdir /sys/fs/cgroup/x && echo ESCAPED; grep -v '/$' /proc/self/cgroup"
    " && echo ESCAPED",
    # rights
    "setuid": 'cp /usr/bin/id /tmp/id && chmod 4755 /tmp/id && [ "$(setpriv --reuid 65534'
    ' /tmp/id -u)" = 0 ] && echo ESCAPED',
    "capabilities": "[ \"$(sed -n 's/CapBnd:.*0000//p' /proc/self/status)\" = 800400fb ]"
    " || echo ESCAPED; grep -q 'NoNewPrivs:.1' /proc/self/status || echo ESCAPED",
    "host-name": "hostname escaped && echo ESCAPED",
    "host-name-told": '[ "$(cat /proc/sys/kernel/hostname)" = localhost ] || echo ESCAPED;'
    " [ \"$(cat /proc/sys/kernel/domainname)\" = '(none)' ] || echo ESCAPED",
    "core-dumps": '[ "$(ulimit -Hc)" = 0 ] || echo ESCAPED',
    # what others run
    "signal": "kill -9 $PROCESS && echo ESCAPED; kill -9 -1; true",
    "environment": "env | grep -q ^CANARY && echo ESCAPED",
    "terminal": "exec 3<>/dev/tty && echo ESCAPED",
    "network-settings": "ip link set lo mtu 65536 && echo ESCAPED",
}

PYTHON = {
    "chroot-climb": """
import os
os.mkdir("/tmp/x"); os.chroot("/tmp/x")
for _ in range(64): os.chdir("..")
os.chroot(".")
print(open(os.environ["HOST"] + "/secret").read(), "ESCAPED")
""",
    "chroot-by-handle": """
import os
top = os.open("/", os.O_RDONLY)
os.mkdir("/tmp/x"); os.chroot("/tmp/x"); os.fchdir(top)
for _ in range(64): os.chdir("..")
print(open("./" + os.environ["HOST"] + "/secret").read(), "ESCAPED")
""",
    "handles-inherited": """
import os
extra = [n for n in range(3, 1024) if os.path.exists(f"/proc/self/fd/{n}")]
if extra: print("ESCAPED", [os.readlink(f"/proc/self/fd/{n}") for n in extra])
""",
    "log-file": """
import os
for number in (1, 2):
    os.fchmod(number, 0o4777)
    if os.path.exists(os.environ["HOST"]): print("ESCAPED")
    if not os.readlink(f"/proc/self/fd/{number}").startswith("pipe:"): print("ESCAPED")
""",
    "trace-process-1": CALL
    + """
if call(101, 0x4206, 1, 0, 0) == 0: print("ESCAPED")
""",
    "handles-of-process-1": CALL
    + """
one = libc.syscall(434, 1, 0)
for number in range(64):
    if one >= 0 and libc.syscall(438, one, number, 0) >= 0: print("ESCAPED", number)
""",
    "memory-of-process-1-by-call": CALL
    + """
place = (ctypes.c_ulong * 2)(0x400000, 8)
for number in (310, 311):  # process_vm_readv, process_vm_writev
    if call(number, 1, ctypes.byref(place), 1, ctypes.byref(place), 1, 0) not in (*REFUSED, 3):
        print("ESCAPED", number)
""",
    "memory-of-what-runs-beside": """
import os
for pid in filter(str.isdigit, os.listdir("/proc")):
    if int(pid) == os.getpid(): continue
    for name in ("mem", "environ", "maps", "auxv"):
        try:
            with open(f"/proc/{pid}/{name}", "rb") as file:
                if file.read(1) and int(pid) == 1: print("ESCAPED", pid, name)
        except OSError: pass
""",
    "out-of-memory-score": """
import os
with open("/proc/self/oom_score_adj", "w") as file: file.write("-1000")
print("ESCAPED: it is killed after everything else of the machine")
""",
    "real-time": """
import os
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
print("ESCAPED: it can take a processor for itself")
""",
    "priority": """
import os
os.setpriority(os.PRIO_PROCESS, 0, -20)
print("ESCAPED: it takes precedence over the machine")
""",
    "other-kinds-of-sockets": CALL
    + """
for family in range(3, 64):  # AF_ALG, AF_PACKET, AF_XDP … even before a capability is asked for
    if family in (10, 16): continue
    for kind in (1, 2, 3, 5):
        if call(41, family, kind, 0) != 97: print("ESCAPED", family, kind)
for family, protocol in ((1, 0), (2, 0), (10, 0), (16, 0)):
    if call(41, family, 3 if family == 16 else 1, protocol): print("ESCAPED: not this one", family)
""",
    "terminal-input": """
import fcntl, os, pty
_, child = pty.openpty()
os.setsid() if os.getpid() != os.getsid(0) else None
fcntl.ioctl(child, 0x540E, 0)
fcntl.ioctl(child, 0x5412, b"x")
print("ESCAPED")
""",
    "abstract-socket": """
import os, socket
socket.socket(socket.AF_UNIX).connect("\\0" + os.environ["SOCKET"])
print("ESCAPED")
""",
    "loopback-of-the-machine": """
import os, socket
socket.create_connection(("127.0.0.1", int(os.environ["PORT"])), timeout=2)
print("ESCAPED")
""",
    "shared-memory": CALL
    + """
if call(29, int(os.environ["SEGMENT"]), 8, 0) == 0: print("ESCAPED")
""",
    "session-key": CALL
    + """
key = libc.syscall(250, 10, -3, b"user", os.environ["SOCKET"].encode(), 0)
if key >= 0: print("ESCAPED")
""",
    "keyring": refused(250, 0, -3, 1),
    "add-key": refused(248, 0, 0, 0, 0, -3),
    "open-by-handle": refused(304, -1, 0, 0),
    "bpf": refused(321, 0, 0, 0),
    "perf": refused(298, 0, 0, -1, -1, 0),
    "userfaultfd": refused(323, 0xFFFF),
    "io-uring": refused(425, 1, 0),
    "kexec": refused(246, 0, 0, 0, 0),
    "module": refused(313, -1, b"", 0),
    "clock": refused(227, 0, 0),
    "clone3": refused(435, 0, 0),
    "clone-new-user": CALL
    + """
child = libc.syscall(56, ctypes.c_long(0x10000000 | 17), 0, 0, 0, 0)
if child == 0: os._exit(0)
if child > 0: print("ESCAPED")
""",
    "mount-by-handle": refused(428, -100, b"/", 1),
    "unshare-by-a-32-bit-call": """
import ctypes, mmap
code = bytes.fromhex("53b836010000bb00000010cd805bc3")  # unshare(CLONE_NEWUSER) by int 0x80
page = mmap.mmap(-1, 4096, prot=7); page.write(code)
at = ctypes.addressof(ctypes.c_char.from_buffer(page))
if ctypes.CFUNCTYPE(ctypes.c_int)(at)() == 0: print("ESCAPED")
""",
    "socket-by-a-32-bit-call": BY_INT_80
    + """
for family, kind, protocol in ((40, 1, 0), (16, 3, 9)):  # AF_VSOCK, the kernel's audit
    if call_32(102, 1, family, kind, protocol) >= 0: print("ESCAPED")
    if call_32(359, family, kind, protocol, 0) >= 0: print("ESCAPED")
if call_32(1000, 0, 0, 0, 0) != -38: print("ESCAPED: no call of 32 bits was tried")
""",
    "socket-by-an-x32-call": refused((1 << 30) + 41, 40, 1, 0),
    "unshare-by-an-x32-call": refused((1 << 30) + 272, 0x10000000),
    "machine-beside": """
import socket
socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
print("ESCAPED")
""",
    "raw-packets": """
import socket
socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3)
print("ESCAPED")
""",
}

WITH_NETWORK = (
    "abstract-socket",
    "network-settings",
    "raw-packets",
    "machine-beside",
    "proc-1-root",
    "nsenter-all",
)
"""Tried once more where the sandbox has the machine's network."""

ROOT_ONLY = ("device-left-in-the-root",)


@dataclass(frozen=True)
class Host:
    """What is to be reached on the machine."""

    folder: Path
    environment: dict[str, str]

    def changed(self) -> list[str]:
        """What an attempt may not have changed, and has."""
        found = []
        if (self.folder / "secret").read_text() != "canary":
            found.append("the file was written")
        if not Path("/proc", self.environment["PROCESS"]).exists():
            found.append("the process was killed")
        if (self.folder / "log").stat().st_mode & 0o7000:
            found.append("the log file has another mode")
        if Path("/dev/null").stat().st_mode & 0o7777 != 0o666:
            found.append("/dev/null has another mode")
        return found


@contextmanager
def host_ready(folder: Path) -> Iterator[Host]:
    """A secret file, a process, sockets, shared memory and a key that nobody in a sandbox sees."""
    libc = ctypes.CDLL(None, use_errno=True)
    (folder / "secret").write_text("canary")
    (folder / "secret").chmod(0o600)
    (folder / "log").touch()
    (folder / "log").chmod(0o600)
    name = f"atoll-canary-{secrets.token_hex(8)}"
    device = Path("/").stat().st_dev
    segment = secrets.randbits(30)
    with ExitStack() as stack:
        process = stack.enter_context(subprocess.Popen(["sleep", "600"]))
        stack.callback(process.kill)
        unix = stack.enter_context(socket.socket(socket.AF_UNIX))
        unix.bind("\0" + name)
        unix.listen()
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        made = libc.shmget(segment, 8, 0o1666)
        stack.callback(libc.shmctl, made, 0, None)
        libc.syscall(248, b"user", name.encode(), b"canary", 6, -3)
        inherited = os.open(folder, os.O_RDONLY)
        os.set_inheritable(inherited, True)
        stack.callback(os.close, inherited)
        os.environ["CANARY"] = "canary"
        yield Host(
            folder,
            {
                "HOST": str(folder),
                "DISK": f"{os.major(device)} {os.minor(device)}",
                "PROCESS": str(process.pid),
                "SOCKET": name,
                "PORT": str(tcp.getsockname()[1]),
                "SEGMENT": str(segment),
            },
        )


def make_root(folder: Path, *, privileged: bool) -> tuple[Path, tuple[Bind, ...]]:
    """A root that has this machine's programs."""
    root = folder / "root"
    for name in ("proc", "sys", "dev", "run", "tmp", "usr", "etc", "left"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    if privileged:
        os.mknod(root / "left/zero", 0o20666, os.makedev(1, 5))
    return root, (Bind(source=Path("/usr"), target="/usr"),)


def attempt(sandbox: Sandbox, words: list[str], log: Path) -> str:
    """All that it said."""
    with log.open("w+b") as file:
        try:
            sandbox.run(words, log=file)
        except ProgramFailed as error:
            if error.status == 125:
                raise
        except AtollError as error:
            return f"ESCAPED: {error}"
    return log.read_text(errors="replace")


def scopes_sockets() -> bool:
    """Whether Landlock keeps sandboxes with the network from abstract sockets (Linux 6.12)."""
    libc = ctypes.CDLL(None)
    return int(libc.syscall(444, None, ctypes.c_long(0), 1)) >= 6


def main(folder: Path) -> dict[str, str]:
    become_root("this test")
    enter_private_mounts()
    results = {}
    with host_ready(folder) as host:
        privileged = Path("/proc/self/uid_map").read_text().split()[2] == "4294967295"
        root, binds = make_root(folder, privileged=privileged)
        words = {name: ["sh", "-c", text] for name, text in SHELL.items()}
        words |= {name: ["/usr/bin/python3", "-c", text] for name, text in PYTHON.items()}
        for name, argv in words.items():
            if name in ROOT_ONLY and not privileged:
                continue
            for network in (False, True):
                if network and (
                    name not in WITH_NETWORK or (name == "abstract-socket" and not scopes_sockets())
                ):
                    continue
                sandbox = Sandbox(
                    root=root, binds=binds, environment=host.environment, network=network
                )
                said = attempt(sandbox, argv, folder / "log")
                changed = host.changed()
                (folder / "log").chmod(0o600)
                if "/dev/null has another mode" in changed:
                    Path("/dev/null").chmod(0o666)
                escaped = "ESCAPED" in said or "canary\n" in said or changed
                key = f"{name} with the network" if network else name
                results[key] = f"{changed} {said}" if escaped else ""
    return results


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]))))
