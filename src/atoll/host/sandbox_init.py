"""The program that a sandbox runs in: it makes the namespaces and mounts, then starts the program.

::

    this program            outside; passes on what is said, and kills process 1 when it is told to
      process 1             inside, with an empty directory as its root; waits for all others
        the program         inside, with the sandbox's root

Run with a plain Python that sees none of the machine's settings (``-I -S``), with the words that
``host.sandbox.format_words`` writes. Nothing of Atoll but its system calls is imported: it starts
for every program that a build runs.

The mounts of the machine are taken away by pivot_root before anything of the root runs. What is
mounted is attached to file handles that were found inside of the root, so no symbolic link in it
leads a mount elsewhere. Process 1 keeps no more rights than the program has, and its place in /proc
is covered: programs learn from ``/proc/1/root`` that they are in a chroot, and nothing else.
"""

from __future__ import annotations

import errno
import os
import resource
import select
import signal
import stat
import sys

from atoll.host import sandbox_syscalls as kernel
from atoll.host.seccomp import plan_filter

CAPABILITIES = {
    "chown": (0, "owners of what is unpacked"),
    "dac_override": (1, "files that root may write though their modes say otherwise"),
    "fowner": (3, "modes and times of files that belong to others"),
    "fsetid": (4, "setuid and setgid bits of files that belong to others"),
    "kill": (5, "scripts that stop a program they started as another user"),
    "setgid": (6, "scripts that run a program as another user: man-db, postgresql, dbus"),
    "setuid": (7, "the same"),
    "sys_chroot": (18, "ldconfig -r, which dracut runs on what becomes the initrd"),
    "setfcap": (31, "file capabilities: iputils-ping, libcap2-bin, gstreamer"),
}
"""All that programs in a sandbox keep, by number, and why. Not among them: making device nodes
(mknod), tracing, mounting, the network's settings, opening by handle (dac_read_search), audit."""

_READ_ONLY = ("acpi", "bus", "driver", "fs", "irq", "mtrr", "sys", "sysrq-trigger", "tty")
_COVERED = (
    "asound",
    "config.gz",
    "interrupts",
    "iomem",
    "ioports",
    "kallsyms",
    "kcore",
    "key-users",
    "keys",
    "kmsg",
    "kpagecgroup",
    "kpagecount",
    "kpageflags",
    "latency_stats",
    "modules",
    "pagetypeinfo",
    "pressure",
    "sched_debug",
    "scsi",
    "slabinfo",
    "swaps",
    "timer_list",
    "timer_stats",
    "vmallocinfo",
    "vmstat",
    "zoneinfo",
)
"""What of /proc tells of the machine as a whole: covered by something empty."""

_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = (
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
)
_PLACE = os.O_PATH
_FOLDER = os.O_PATH | os.O_DIRECTORY
_SAFE = kernel.NO_SUID | kernel.NO_DEVICES
_CHUNK = 1 << 16
_OPEN_FILES = 1024
_NO_CORE = 1
"""Nothing is written, and the machine's handler of crashes is not started either."""


class SandboxSpec:
    """What the words say. ``binds`` are a source, a target, and whether it may be written."""

    def __init__(self) -> None:
        self.root = ""
        self.network = False
        self.binds: list[tuple[str, str, bool]] = []
        self.environment: dict[str, str] = {}
        self.argv: list[str] = []


def parse_words(words: list[str]) -> SandboxSpec:
    plan, rest = SandboxSpec(), iter(words)
    for word in rest:
        if word == "root":
            plan.root = next(rest)
        elif word == "network":
            plan.network = True
        elif word in ("bind", "bind-writable"):
            plan.binds.append((next(rest), next(rest), word == "bind-writable"))
        elif word == "set":
            name, _, value = next(rest).partition("=")
            plan.environment[name] = value
        else:
            plan.argv = list(rest)
    return plan


def main() -> None:
    plan = parse_words(sys.argv[1:])
    try:
        status = _watch(plan)
    except OSError as error:
        status = _say(f"cannot create the sandbox: {error}")
    os._exit(status)


def _watch(plan: SandboxSpec) -> int:
    """Start process 1 and wait for it; the status that the program ended with."""
    kernel.die_with_parent(signal.SIGTERM)
    namespaces = (
        kernel.CLONE_NEWNS
        | kernel.CLONE_NEWIPC
        | kernel.CLONE_NEWUTS
        | kernel.CLONE_NEWPID
        | kernel.CLONE_NEWCGROUP
    )
    kernel.unshare(namespaces | (0 if plan.network else kernel.CLONE_NEWNET))
    outputs = [number for number in (1, 2) if not _is_pipe(number)]
    heard, said = os.pipe()
    alive, dead = os.pipe()
    ours = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    signal.pthread_sigmask(signal.SIG_BLOCK, ours)
    inner = os.fork()
    if inner == 0:
        try:
            os.close(dead)
            _become_init(plan, outputs, said, alive)
        except OSError as error:
            _say(f"cannot create the sandbox: {error}")
        except BaseException as error:
            _say(f"cannot create the sandbox: {error!r}")
        finally:
            os._exit(125)
    stopped = _Stopped(inner)
    for each in ours:
        signal.signal(each, stopped)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ours)
    os.close(said)
    while outputs and (data := os.read(heard, _CHUNK)):
        _write_all(outputs[0], data)
    _, status = os.waitpid(inner, 0)
    return 130 if stopped.was else _exit_status(status)


class _Stopped:
    """Kills process 1, and with it every process of the sandbox."""

    def __init__(self, inner: int) -> None:
        self.inner = inner
        self.was = False

    def __call__(self, *_: object) -> None:
        self.was = True
        os.kill(self.inner, signal.SIGKILL)


def _become_init(plan: SandboxSpec, outputs: list[int], said: int, alive: int) -> None:
    """Process 1: make the sandbox, start the program in it, end with it."""
    kernel.die_with_parent(signal.SIGKILL)
    if select.select([alive], [], [], 0)[0]:
        os._exit(125)  # the parent has ended before it could be known
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(each, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in outputs:
        os.dup2(said, number)
    os.umask(0o022)
    kernel.set_host_name(b"localhost", b"(none)")
    if not plan.network:
        kernel.start_loopback()
    root = _make_root(plan)
    if not _is_pipe(0):
        os.dup2(kernel.open_inside(root, "dev/null", os.O_RDONLY), 0)
    os.fchdir(root)
    os.closerange(3, _OPEN_FILES)
    _give_up_rights(plan)
    program = os.fork()
    if program == 0:
        _run(plan)
    # What the watcher would read has to end when the last program does.
    for number in (0, 1, 2):
        os.close(number)
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == program:
            os._exit(_exit_status(status))


def _run(plan: SandboxSpec) -> None:
    os.chroot(".")
    os.setsid()
    name, failed = plan.argv[0], OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    folders = [""] if "/" in name else plan.environment["PATH"].split(":")
    for folder in folders:
        try:
            os.execve(os.path.join(folder, name), plan.argv, plan.environment)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                failed = error
    _say(f"{name}: {failed.strerror}")
    os._exit(127 if failed.errno == errno.ENOENT else 126)


def _give_up_rights(plan: SandboxSpec) -> None:
    """For good, and for all that are started from here."""
    hard = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 1 << 20)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_OPEN_FILES, hard), hard))
    resource.setrlimit(resource.RLIMIT_CORE, (_NO_CORE, _NO_CORE))
    kernel.hide_memory()
    sys.path.clear()
    os.setgroups([])
    os.setresgid(0, 0, 0)
    program = plan_filter(os.uname().machine)
    kernel.give_up_new_privileges()
    if plan.network:
        _try(kernel.hide_abstract_sockets)
    with open("/root/proc/sys/kernel/cap_last_cap") as file:
        last = int(file.read())
    kernel.keep_capabilities(sum(1 << number for number, _ in CAPABILITIES.values()), last)
    if program is not None:
        kernel.filter_calls(program)


def _make_root(plan: SandboxSpec) -> int:
    """Put the sandbox's mounts in the place of the machine's; a handle of the root."""
    _try(kernel.join_new_keyring)
    kernel.make_mounts_private()
    tree = kernel.clone_mount(plan.root)
    devices = [(name, kernel.clone_mount(f"/dev/{name}")) for name in _DEVICES]
    sources = [kernel.clone_mount(source) for source, _, _ in plan.binds]
    proc = kernel.new_mount("proc", _SAFE | kernel.NO_EXEC)
    kernel.set_attributes(tree, add=_SAFE, clear=kernel.NO_SYMLINKS_FOLLOWED)

    # A machine in a chroot has mounts above it, which would come along.
    here = os.open("/proc/self/ns/mnt", os.O_RDONLY)
    kernel.enter_mount_namespace(here)
    base = kernel.new_mount("tmpfs", _SAFE | kernel.NO_EXEC, mode="0755", size="64k")
    os.mkdir("root", dir_fd=base)
    _attach_at_root(base)
    kernel.change_root(base)
    kernel.attach_mount(tree, os.open("/root", _FOLDER))
    root = os.open("/root", _FOLDER)

    _mount_system(root, proc, devices)
    for source, (_, target, writable) in zip(sources, plan.binds, strict=True):
        read_only = 0 if writable else kernel.READ_ONLY
        kernel.set_attributes(source, add=_SAFE | read_only, clear=kernel.NO_SYMLINKS_FOLLOWED)
        is_folder = stat.S_ISDIR(os.fstat(source).st_mode)
        kernel.attach_mount(source, _make_place(root, target.strip("/"), is_folder=is_folder))
    kernel.set_attributes(base, add=kernel.READ_ONLY)
    return root


def _attach_at_root(mount: int) -> None:
    place = os.open("/", _FOLDER)
    kernel.attach_mount(mount, place)
    os.close(place)


def _mount_system(root: int, proc: int, devices: list[tuple[str, int]]) -> None:
    """/proc, /dev, /run, /tmp, and a /sys in which there is nothing."""
    kernel.attach_mount(proc, _find(root, "proc"))
    dev = kernel.new_mount("tmpfs", kernel.NO_SUID | kernel.NO_EXEC, mode="0755")
    kernel.attach_mount(dev, _find(root, "dev"))
    for name, device in devices:
        # Without this, a change of mode or owner would be one of the machine's device.
        kernel.set_attributes(device, add=kernel.READ_ONLY | kernel.NO_SUID | kernel.NO_EXEC)
        os.close(os.open(name, os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=dev))
        kernel.attach_mount(device, os.open(name, _PLACE, dir_fd=dev))
    for target, name in _LINKS:
        os.symlink(target, name, dir_fd=dev)
    os.mkdir("shm", dir_fd=dev)
    shm = kernel.new_mount("tmpfs", _SAFE, mode="1777")
    kernel.attach_mount(shm, os.open("shm", _FOLDER, dir_fd=dev))
    os.mkdir("pts", dir_fd=dev)
    pts = kernel.new_mount(
        "devpts",
        kernel.NO_SUID | kernel.NO_EXEC,
        newinstance="",
        ptmxmode="0666",
        mode="620",
        gid="5",
    )
    kernel.attach_mount(pts, os.open("pts", _FOLDER, dir_fd=dev))

    empty = kernel.new_mount("tmpfs", _SAFE | kernel.NO_EXEC, mode="0755", size="64k")
    kernel.set_attributes(empty, add=kernel.READ_ONLY)
    kernel.attach_mount(empty, _find(root, "sys"))
    run = kernel.new_mount("tmpfs", _SAFE, mode="0755")
    kernel.attach_mount(run, _find(root, "run"))
    os.mkdir("lock", dir_fd=run)
    os.chmod("lock", 0o1777, dir_fd=run)
    tmp = kernel.new_mount("tmpfs", _SAFE, mode="1777")
    kernel.attach_mount(tmp, _find(root, "tmp"))
    _cover(os.open("/root/proc", _FOLDER), os.open("/root/sys", _FOLDER))


def _cover(proc: int, empty: int) -> None:
    """Take from /proc what is the machine's, and hide process 1, which has begun outside."""
    null = os.open("/root/dev/null", _PLACE)
    for name in _READ_ONLY:
        if (place := _open_if_there(proc, name)) is not None:
            clone = kernel.clone_mount_at(place)
            kernel.set_attributes(clone, add=kernel.READ_ONLY)
            kernel.attach_mount(clone, place)
    for name in _COVERED:
        if (place := _open_if_there(proc, name)) is not None:
            is_folder = stat.S_ISDIR(os.fstat(place).st_mode)
            kernel.attach_mount(kernel.clone_mount_at(empty if is_folder else null), place)
    one = kernel.new_mount("tmpfs", _SAFE | kernel.NO_EXEC, mode="0555", size="64k")
    os.mkdir("root", dir_fd=one)
    for name, text in (
        ("cmdline", b"init\0"),
        ("comm", b"init\n"),
        ("environ", b""),
        ("mountinfo", b"1 1 0:1 / / ro - tmpfs none ro\n"),
    ):
        handle = os.open(name, os.O_CREAT | os.O_WRONLY, 0o444, dir_fd=one)
        os.write(handle, text)
        os.close(handle)
    kernel.set_attributes(one, add=kernel.READ_ONLY)
    kernel.attach_mount(one, os.open("1", _FOLDER, dir_fd=proc))


def _find(root: int, name: str) -> int:
    """A directory of the root that something is mounted on; one that is missing is made."""
    try:
        return kernel.open_inside(root, name, _FOLDER, how=kernel.IN_ROOT | kernel.NO_SYMLINKS)
    except FileNotFoundError:
        os.mkdir(name, 0o755, dir_fd=root)
        return os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=root)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise OSError(error.errno, "it is not a directory in the root", f"/{name}") from None
        raise


def _make_place(root: int, target: str, *, is_folder: bool) -> int:
    """Where a bind goes, made if it is not there; no link leads out of the root."""
    names = target.split("/")
    for number, name in enumerate(names, start=1):
        path = "/".join(names[:number])
        last = number == len(names) and not is_folder
        try:
            kernel_handle = kernel.open_inside(root, path, _PLACE if last else _FOLDER)
        except FileNotFoundError:
            above = kernel.open_inside(root, "/".join(names[: number - 1]) or ".", _FOLDER)
            if last:
                os.close(os.open(name, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o644, dir_fd=above))
            else:
                os.mkdir(name, 0o755, dir_fd=above)
            os.close(above)
            kernel_handle = kernel.open_inside(root, path, _PLACE if last else _FOLDER)
        if number < len(names):
            os.close(kernel_handle)
    return kernel_handle


def _open_if_there(folder: int, name: str) -> int | None:
    try:
        return os.open(name, _PLACE, dir_fd=folder)
    except FileNotFoundError:
        return None


def _try(call: object) -> None:
    """What is only one wall of several, and not in every kernel."""
    try:
        call()  # type: ignore[operator]
    except OSError:
        return


def _is_pipe(number: int) -> bool:
    return stat.S_ISFIFO(os.fstat(number).st_mode)


def _exit_status(status: int) -> int:
    """As a shell says it: 128 and the signal for a program that was killed."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _write_all(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]


def _say(text: str) -> int:
    _write_all(2, f"{text}\n".encode(errors="replace"))
    return 125


if __name__ == "__main__":
    main()
