"""Set up a sandbox (namespaces, mounts, privileges) and run one program in it.

::

    this program            outside; copies the output, kills process 1 when it gets a signal
      process 1             inside, its root is an empty directory; reaps all other processes
        the program         inside, with the sandbox's root

Runs as a program of its own, in isolated Python without site packages (``-I -S``), with the
arguments that ``host.sandbox.format_arguments`` writes. It imports only Atoll's system calls, as it
starts for every program that a build runs.

pivot_root removes the host's mounts before any program of the root runs. Mounts are attached to
file descriptors that were opened inside the root, so no symbolic link in it redirects a mount.
Process 1 has no more privileges than the program, and its directory in /proc is masked: from
``/proc/1/root`` programs learn that they are in a chroot (maintainer scripts depend on this),
and nothing else.
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
    "chown": (0, "to set the owners of unpacked files"),
    "dac_override": (1, "to write files whose mode does not allow it"),
    "fowner": (3, "to set modes and times of other users' files"),
    "fsetid": (4, "to set setuid and setgid bits of other users' files"),
    "kill": (5, "scripts that stop a program they started as another user"),
    "setgid": (6, "scripts that run a program as another user: man-db, postgresql, dbus"),
    "setuid": (7, "as setgid"),
    "sys_chroot": (18, "ldconfig -r, which dracut runs on the initrd's files"),
    "setfcap": (31, "file capabilities: iputils-ping, libcap2-bin, gstreamer"),
}
"""The capabilities of programs in a sandbox: number, and why they are kept. Not kept are, among
others, device nodes (mknod), tracing, mounting, network settings, opening files by handle
(dac_read_search) and audit."""

_READ_ONLY = ("acpi", "bus", "driver", "fs", "irq", "mtrr", "sys", "sysrq-trigger", "tty")
_MASKED = (
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
"""Entries of /proc with information about the whole machine: masked by an empty file or directory
(as runc's masked paths)."""

_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = (
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
)
_ANY = os.O_PATH
_DIRECTORY = os.O_PATH | os.O_DIRECTORY
_SAFE = kernel.NO_SUID | kernel.NO_DEVICES
_CHUNK = 1 << 16
_OPEN_FILES = 1024
_NO_CORE = 1
"""Bytes of a core dump. 1 and not 0: with 1 the kernel does not start a core_pattern pipe
handler of the host either."""


class SandboxSpec:
    """The parsed arguments. ``binds`` are tuples of source, target, and whether it is writable."""

    def __init__(self) -> None:
        self.root = ""
        self.network = False
        self.binds: list[tuple[str, str, bool]] = []
        self.environment: dict[str, str] = {}
        self.argv: list[str] = []


def parse_arguments(arguments: list[str]) -> SandboxSpec:
    """Parse the command line that ``host.sandbox.format_arguments`` writes."""
    spec, rest = SandboxSpec(), iter(arguments)
    for argument in rest:
        if argument == "root":
            spec.root = next(rest)
        elif argument == "network":
            spec.network = True
        elif argument in ("bind", "bind-writable"):
            spec.binds.append((next(rest), next(rest), argument == "bind-writable"))
        elif argument == "set":
            name, _, value = next(rest).partition("=")
            spec.environment[name] = value
        else:
            spec.argv = list(rest)
    return spec


def main() -> None:
    """Run the sandbox, and exit with the program's status, or 125 if it cannot be created."""
    spec = parse_arguments(sys.argv[1:])
    try:
        status = _supervise(spec)
    except OSError as error:
        status = _print_error(f"cannot create the sandbox: {error}")
    os._exit(status)


def _supervise(spec: SandboxSpec) -> int:
    """Start process 1 in new namespaces and wait for it; returns the program's exit status.

    The program gets the caller's stdout and stderr only if they are pipes. Otherwise it gets a
    pipe, whose output this process copies: with a terminal or a file of the host a program can do
    more than write to it (TIOCSTI, ``chmod /proc/self/fd/1``).
    """
    kernel.die_with_parent(signal.SIGTERM)
    namespaces = (
        kernel.CLONE_NEWNS
        | kernel.CLONE_NEWIPC
        | kernel.CLONE_NEWUTS
        | kernel.CLONE_NEWPID
        | kernel.CLONE_NEWCGROUP
    )
    kernel.unshare(namespaces | (0 if spec.network else kernel.CLONE_NEWNET))
    captured = [number for number in (1, 2) if not _is_pipe(number)]
    output_read, output_write = os.pipe()
    # Its reading end becomes readable when this process has ended.
    liveness_read, liveness_write = os.pipe()
    handled = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    signal.pthread_sigmask(signal.SIG_BLOCK, handled)
    init = os.fork()
    if init == 0:
        try:
            os.close(liveness_write)
            _become_init(spec, captured, output_write, liveness_read)
        except OSError as error:
            _print_error(f"cannot create the sandbox: {error}")
        except BaseException as error:
            _print_error(f"cannot create the sandbox: {error!r}")
        finally:
            os._exit(125)
    stopped = _KillOnSignal(init)
    for each in handled:
        signal.signal(each, stopped)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, handled)
    os.close(output_write)
    while captured and (data := os.read(output_read, _CHUNK)):
        _write_all(captured[0], data)
    _, status = os.waitpid(init, 0)
    return 130 if stopped.received else _exit_status(status)


class _KillOnSignal:
    """A signal handler: kills process 1, and with it every process of the sandbox."""

    def __init__(self, init: int) -> None:
        self.init = init
        self.received = False

    def __call__(self, *_: object) -> None:
        self.received = True
        os.kill(self.init, signal.SIGKILL)


def _become_init(
    spec: SandboxSpec, captured: list[int], output_write: int, liveness_read: int
) -> None:
    """As process 1: set up the sandbox, start the program, and end when it ends."""
    kernel.die_with_parent(signal.SIGKILL)
    if select.select([liveness_read], [], [], 0)[0]:
        # The parent ended before PR_SET_PDEATHSIG was set, so no signal will come.
        os._exit(125)
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(each, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in captured:
        os.dup2(output_write, number)
    os.umask(0o022)
    kernel.set_host_name(b"localhost", b"(none)")
    if not spec.network:
        kernel.start_loopback()
    root = _make_root(spec)
    if not _is_pipe(0):
        os.dup2(kernel.open_inside(root, "dev/null", os.O_RDONLY), 0)
    os.fchdir(root)
    os.closerange(3, _OPEN_FILES)
    _drop_privileges(spec)
    program = os.fork()
    if program == 0:
        _execute(spec)
    # The supervisor reads the pipe until its last writer has ended: do not be one.
    for number in (0, 1, 2):
        os.close(number)
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == program:
            os._exit(_exit_status(status))


def _execute(spec: SandboxSpec) -> None:
    os.chroot(".")
    os.setsid()
    name, failed = spec.argv[0], OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    directories = [""] if "/" in name else spec.environment["PATH"].split(":")
    for directory in directories:
        try:
            os.execve(os.path.join(directory, name), spec.argv, spec.environment)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                failed = error
    _print_error(f"{name}: {failed.strerror}")
    os._exit(127 if failed.errno == errno.ENOENT else 126)


def _drop_privileges(spec: SandboxSpec) -> None:
    """Drop privileges irrevocably, for this process and all that it starts.

    The filter comes last: it forbids some of the system calls used before.
    """
    hard = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 1 << 20)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_OPEN_FILES, hard), hard))
    resource.setrlimit(resource.RLIMIT_CORE, (_NO_CORE, _NO_CORE))
    kernel.hide_memory()
    sys.path.clear()
    os.setgroups([])
    os.setresgid(0, 0, 0)
    program = plan_filter(os.uname().machine)
    kernel.give_up_new_privileges()
    if spec.network:
        _try_optional(kernel.hide_abstract_sockets)
    with open("/root/proc/sys/kernel/cap_last_cap") as file:
        last = int(file.read())
    kernel.keep_capabilities(sum(1 << number for number, _ in CAPABILITIES.values()), last)
    if program is not None:
        kernel.filter_calls(program)


def _make_root(spec: SandboxSpec) -> int:
    """Replace the host's mounts by those of the sandbox; returns a descriptor of its root.

    All sources are cloned while the host is still visible, and attached after pivot_root.
    """
    _try_optional(kernel.join_new_keyring)
    kernel.make_mounts_private()
    tree = kernel.clone_mount(spec.root)
    devices = [(name, kernel.clone_mount(f"/dev/{name}")) for name in _DEVICES]
    sources = [kernel.clone_mount(source) for source, _, _ in spec.binds]
    proc = kernel.new_mount("proc", _SAFE | kernel.NO_EXEC)
    kernel.set_attributes(tree, add=_SAFE, clear=kernel.NO_SYMLINKS_FOLLOWED)

    # If Atoll itself runs in a chroot, mounts above it would survive pivot_root: setns to the own
    # namespace leaves the chroot.
    here = os.open("/proc/self/ns/mnt", os.O_RDONLY)
    kernel.enter_mount_namespace(here)
    base = kernel.new_mount("tmpfs", _SAFE | kernel.NO_EXEC, mode="0755", size="64k")
    os.mkdir("root", dir_fd=base)
    _attach_at_root(base)
    kernel.change_root(base)
    kernel.attach_mount(tree, os.open("/root", _DIRECTORY))
    root = os.open("/root", _DIRECTORY)

    _mount_system(root, proc, devices)
    for source, (_, target, writable) in zip(sources, spec.binds, strict=True):
        read_only = 0 if writable else kernel.READ_ONLY
        kernel.set_attributes(source, add=_SAFE | read_only, clear=kernel.NO_SYMLINKS_FOLLOWED)
        is_directory = stat.S_ISDIR(os.fstat(source).st_mode)
        kernel.attach_mount(
            source, _make_mount_point(root, target.strip("/"), is_directory=is_directory)
        )
    kernel.set_attributes(base, add=kernel.READ_ONLY)
    return root


def _attach_at_root(mount: int) -> None:
    mount_point = os.open("/", _DIRECTORY)
    kernel.attach_mount(mount, mount_point)
    os.close(mount_point)


def _mount_system(root: int, proc: int, devices: list[tuple[str, int]]) -> None:
    """Mount /proc, /dev, /run, /tmp, and an empty /sys."""
    kernel.attach_mount(proc, _open_directory(root, "proc"))
    dev = kernel.new_mount("tmpfs", kernel.NO_SUID | kernel.NO_EXEC, mode="0755")
    kernel.attach_mount(dev, _open_directory(root, "dev"))
    for name, device in devices:
        # Read-only, as chmod and chown would change the host's device. Writing to it still works.
        kernel.set_attributes(device, add=kernel.READ_ONLY | kernel.NO_SUID | kernel.NO_EXEC)
        os.close(os.open(name, os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=dev))
        kernel.attach_mount(device, os.open(name, _ANY, dir_fd=dev))
    for target, name in _LINKS:
        os.symlink(target, name, dir_fd=dev)
    os.mkdir("shm", dir_fd=dev)
    shm = kernel.new_mount("tmpfs", _SAFE, mode="1777")
    kernel.attach_mount(shm, os.open("shm", _DIRECTORY, dir_fd=dev))
    os.mkdir("pts", dir_fd=dev)
    pts = kernel.new_mount(
        "devpts",
        kernel.NO_SUID | kernel.NO_EXEC,
        newinstance="",
        ptmxmode="0666",
        mode="620",
        gid="5",
    )
    kernel.attach_mount(pts, os.open("pts", _DIRECTORY, dir_fd=dev))

    empty = kernel.new_mount("tmpfs", _SAFE | kernel.NO_EXEC, mode="0755", size="64k")
    kernel.set_attributes(empty, add=kernel.READ_ONLY)
    kernel.attach_mount(empty, _open_directory(root, "sys"))
    run = kernel.new_mount("tmpfs", _SAFE, mode="0755")
    kernel.attach_mount(run, _open_directory(root, "run"))
    os.mkdir("lock", dir_fd=run)
    os.chmod("lock", 0o1777, dir_fd=run)
    tmp = kernel.new_mount("tmpfs", _SAFE, mode="1777")
    kernel.attach_mount(tmp, _open_directory(root, "tmp"))
    _mask_proc(os.open("/root/proc", _DIRECTORY), os.open("/root/sys", _DIRECTORY))


def _mask_proc(proc: int, empty: int) -> None:
    """Make host settings in /proc read-only, mask host information, and mask process 1.

    Process 1 was started outside: its /proc entry would lead to the host's Python and arguments.
    """
    null = os.open("/root/dev/null", _ANY)
    for name in _READ_ONLY:
        if (mount_point := _open_if_there(proc, name)) is not None:
            clone = kernel.clone_mount_at(mount_point)
            kernel.set_attributes(clone, add=kernel.READ_ONLY)
            kernel.attach_mount(clone, mount_point)
    for name in _MASKED:
        if (mount_point := _open_if_there(proc, name)) is not None:
            is_directory = stat.S_ISDIR(os.fstat(mount_point).st_mode)
            kernel.attach_mount(kernel.clone_mount_at(empty if is_directory else null), mount_point)
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
    kernel.attach_mount(one, os.open("1", _DIRECTORY, dir_fd=proc))


def _open_directory(root: int, name: str) -> int:
    """Open the directory ``name`` of the root as a mount point; created if missing.

    Raises OSError if it is a symbolic link or not a directory.
    """
    try:
        return kernel.open_inside(root, name, _DIRECTORY, how=kernel.IN_ROOT | kernel.NO_SYMLINKS)
    except FileNotFoundError:
        os.mkdir(name, 0o755, dir_fd=root)
        return os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=root)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise OSError(error.errno, "it is not a directory in the root", f"/{name}") from None
        raise


def _make_mount_point(root: int, target: str, *, is_directory: bool) -> int:
    """Open the mount point ``target``, created if missing; no link in it leads out of the root."""
    names = target.split("/")
    for number, name in enumerate(names, start=1):
        path = "/".join(names[:number])
        last = number == len(names) and not is_directory
        try:
            handle = kernel.open_inside(root, path, _ANY if last else _DIRECTORY)
        except FileNotFoundError:
            above = kernel.open_inside(root, "/".join(names[: number - 1]) or ".", _DIRECTORY)
            if last:
                os.close(os.open(name, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o644, dir_fd=above))
            else:
                os.mkdir(name, 0o755, dir_fd=above)
            os.close(above)
            handle = kernel.open_inside(root, path, _ANY if last else _DIRECTORY)
        if number < len(names):
            os.close(handle)
    return handle


def _open_if_there(directory: int, name: str) -> int | None:
    try:
        return os.open(name, _ANY, dir_fd=directory)
    except FileNotFoundError:
        return None


def _try_optional(call: object) -> None:
    """Call something that not every kernel has. It is one of several defences, so continue."""
    try:
        call()  # type: ignore[operator]
    except OSError:
        return


def _is_pipe(number: int) -> bool:
    return stat.S_ISFIFO(os.fstat(number).st_mode)


def _exit_status(status: int) -> int:
    """The exit status as in a shell: 128 + signal number for a program that was killed."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _write_all(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]


def _print_error(text: str) -> int:
    _write_all(2, f"{text}\n".encode(errors="replace"))
    return 125


if __name__ == "__main__":
    main()
