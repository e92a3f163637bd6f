"""Install an update: ``atoll upgrade``, compared with ``ostree pull`` and ``ostree admin deploy``.

Run as root: ``python -m bench.upgrade ROOT WORKDIR [ROUNDS]``. ROOT is a Debian root directory, as
mmdebstrap creates it; WORKDIR is a directory on a disk with space for six of it. Its content is
reused by the next run. Two versions of one tree are made from ROOT: in the second one, the kernel,
firefox-esr and CHANGED other packages have new contents in all their files, and the initrd and the
package database are new.

Both tools fetch over HTTP from one nginx on loopback, write to the same file system, and sync as
they do by default. The first version is pulled into an empty store, compared with ostree's pull and
deploy. The second one is an upgrade of a machine in a directory, from the request to the registry
to the boot entry, including the removal of old data. Then both return to the first version, which
is still present, and to the second one again. Before each step the disk is synced. CPU is user and
system time, memory the peak of the whole process tree, bytes the bodies that nginx sent.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from http.client import HTTPConnection
from multiprocessing import Process
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.report import NullReporter
from atoll.debian.dpkg_database import read_owners
from atoll.oci.config import ImageConfig
from atoll.oci.layout import inspect_layout
from atoll.oci.layout_writer import NewImage, write_layout
from atoll.oci.reference import LayoutReference
from atoll.oci.system_label import read_system_label
from atoll.store.layout import open_store
from atoll.store.scan import import_directory
from atoll.store.tree_images import write_image
from atoll.tree.canonical import canonical
from atoll.tree.model import Directory
from vmtest.service import free_port, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

CHANGED = 73
EPOCH = 1_788_000_000
DATABASE = "usr/lib/dpkg-database"
MARKER = "/the-last-one"
LOG_SECONDS = 10.0
SERVER = """
daemon off; worker_processes 1; pid {workdir}/nginx.pid; error_log {workdir}/log;
events {{}}
http {{ log_format sent '$uri $body_bytes_sent'; access_log {workdir}/sent sent;
  keepalive_requests 1000000; sendfile on;
  client_body_temp_path {workdir}/t1; proxy_temp_path {workdir}/t2; fastcgi_temp_path {workdir}/t3;
  uwsgi_temp_path {workdir}/t4; scgi_temp_path {workdir}/t5;
  server {{ listen 127.0.0.1:{port}; root {workdir};
    rewrite ^/v2/x/manifests/(v[12])$ /tags/$1 break;
    rewrite ^/v2/x/blobs/sha256:(.*)$ /layout/blobs/sha256/$1 break; }} }}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    wall: float
    cpu: float
    memory_mib: float
    sent: int = 0
    requests: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            wall=self.wall + other.wall,
            cpu=self.cpu + other.cpu,
            memory_mib=max(self.memory_mib, other.memory_mib),
            sent=self.sent + other.sent,
            requests=self.requests + other.requests,
        )


def main() -> None:
    if len(sys.argv) not in (3, 4):
        raise SystemExit(__doc__)
    source, workdir = Path(sys.argv[1]), Path(sys.argv[2]).absolute()
    rounds = int(sys.argv[3]) if len(sys.argv) == 4 else 1
    workdir.mkdir(exist_ok=True)
    workdir.chmod(0o755)
    prepare_ostree(source, workdir)
    if not (workdir / "layout" / "index.json").exists():
        prepare_atoll(workdir)
    with serving_versions(workdir) as port:
        for number in range(rounds):
            print(f"round {number + 1}")
            compare(workdir, port)


# ---------------------------------------------------------------- two versions, published


def prepare_ostree(source: Path, workdir: Path) -> None:
    """The two versions as directories, and as commits."""
    if (workdir / "v2").exists():
        return
    shutil.rmtree(workdir / "v1", ignore_errors=True)
    shutil.rmtree(workdir / "repo", ignore_errors=True)
    run("cp", "-a", "--reflink=auto", f"{source}", f"{workdir}/v1")
    prepare_root(workdir / "v1")
    run("cp", "-a", "--reflink=auto", f"{workdir}/v1", f"{workdir}/new")
    change(workdir / "new")
    run("ostree", f"--repo={workdir}/repo", "init", "--mode=archive")
    for version, folder in (("v1", "v1"), ("v2", "new")):
        run(
            "ostree",
            f"--repo={workdir}/repo",
            "commit",
            f"--branch={version}",
            "--fsync=false",
            f"--tree=dir={workdir}/{folder}",
        )
    run("ostree", f"--repo={workdir}/repo", "summary", "-u")
    (workdir / "new").rename(workdir / "v2")


def prepare_root(root: Path) -> None:
    """Bring a root into the layout that both tools deploy: the kernel beside its modules, an empty
    /var, no devices. /etc is at /usr/etc, as ostree needs it; ``publish`` moves it back."""
    (modules,) = (root / "usr/lib/modules").iterdir()
    facts = {
        "name": "x",
        "version": "1",
        "kernel": modules.name,
        "args": [],
        "suite": "trixie",
        "architecture": "amd64",
        "epoch": EPOCH,
    }
    (root / "usr/lib/atoll").mkdir()
    (root / "usr/lib/atoll/image.json").write_text(json.dumps(facts))
    (root / "usr/lib/atoll/packages.json").write_text("[]")
    (root / "boot" / f"vmlinuz-{modules.name}").rename(modules / "vmlinuz")
    (root / "boot" / f"initrd.img-{modules.name}").rename(modules / "initramfs.img")
    os.link(modules / "initramfs.img", modules / "initrd")
    (root / "var/lib/dpkg").rename(root / DATABASE)
    for name in ("boot", "dev", "run", "tmp", "var"):
        shutil.rmtree(root / name)
        (root / name).mkdir()
    (root / "etc").rename(root / "usr/etc")
    (root / "sysroot").mkdir()
    for link in [*root.glob("vmlinuz*"), *root.glob("initrd*")]:
        link.unlink()


def owners(root: Path) -> dict[bytes, str]:
    """Path in the tree to the package that ships it."""
    found = {}
    for path, package in read_owners(root / DATABASE).items():
        for old in ("/bin/", "/sbin/", "/lib/", "/lib64/"):
            if path.startswith(old):
                path = "/usr" + path
        found[os.fsencode(path)] = package
    return found


def change(root: Path) -> None:
    """Make version 2 of version 1."""
    found = owners(root)
    others = sorted(set(found.values()), key=lambda name: sha256(name.encode()).digest())
    kernels = [name for name in others if name.startswith("linux-image-")]
    packages = {*others[:CHANGED], *kernels, "firefox-esr"}
    paths = [
        Path(f"{root}{os.fsdecode(path)}")
        for path, package in found.items()
        if package in packages and not path.startswith(b"/etc/")
    ]
    (modules,) = (root / "usr/lib/modules").iterdir()
    paths += [modules / "vmlinuz", modules / "initramfs.img", root / DATABASE / "status"]
    size = 0
    for path in paths:
        if path.is_file() and not path.is_symlink():
            size += path.stat().st_size
            with path.open("ab") as file:
                file.write(b"version 2")
    print(f"changed: {len(packages)} of {len(others)} packages, {size / 1e6:.0f} MB")


def prepare_atoll(workdir: Path) -> None:
    for version in ("v1", "v2"):
        # In a process of its own: its memory would count for all processes forked later.
        maker = Process(target=publish, args=(workdir, version))
        maker.start()
        maker.join()


def publish(workdir: Path, version: str) -> None:
    store = open_store(workdir / "maker", create=True)
    tree = canonical(
        with_etc(import_directory(store, workdir / version, NullReporter())), epoch=EPOCH
    )
    written = write_image(store, tree)
    config = ImageConfig(
        name="x",
        version=version,
        created=EPOCH,
        architecture="amd64",
        system=read_system_label(store, written),
    )
    image = NewImage(tree=written, config=config, owner_of=owners(workdir / version))
    target = LayoutReference(directory=str(workdir / "layout"), tag=version)
    start = time.monotonic(), time.process_time()
    digest = write_layout(store, image, target, NullReporter())
    wall, cpu = time.monotonic() - start[0], time.process_time() - start[1]
    (workdir / "tags").mkdir(exist_ok=True)
    blob = workdir / "layout" / "blobs" / "sha256" / digest.removeprefix("sha256:")
    shutil.copyfile(blob, workdir / "tags" / version)
    layers = inspect_layout(target).manifest.layers
    size = sum(each.size for each in layers) / 1e6
    print(
        f"{version}: {len(layers)} layers of {size:.1f} MB, {wall:.1f} s ({cpu:.1f} CPU) to write"
    )


def with_etc(tree: Directory) -> Directory:
    """The tree with ``/usr/etc`` moved to ``/etc``."""
    usr = tree.entries[b"usr"]
    assert isinstance(usr, Directory)
    rest = {name: node for name, node in usr.entries.items() if name != b"etc"}
    entries = {**tree.entries, b"usr": replace(usr, entries=rest), b"etc": usr.entries[b"etc"]}
    return replace(tree, entries=entries)


# ---------------------------------------------------------------- served, and fetched


def read_sent(workdir: Path) -> list[int]:
    """The body sizes of all responses so far.

    nginx logs a response after the client has received it, one after the other, so this sends a
    marker request and waits until it is in the log.
    """
    connection = HTTPConnection("127.0.0.1", int((workdir / "port").read_text()), timeout=10)
    connection.request("GET", MARKER)
    connection.getresponse().read()
    connection.close()
    deadline = time.monotonic() + LOG_SECONDS
    while time.monotonic() < deadline:
        rows = [line.split() for line in (workdir / "sent").read_text().splitlines()]
        if rows and rows[-1][0] == MARKER:
            return [int(sent) for _, sent in rows[:-1]]
        time.sleep(0.01)
    raise SystemExit(f"nginx does not log its responses; its error log: {workdir / 'log'}")


@contextmanager
def serving_versions(workdir: Path) -> Iterator[int]:
    port = free_port()
    (workdir / "port").write_text(str(port))
    (workdir / "conf").write_text(SERVER.format(workdir=workdir, port=port))
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    argv = [program, "-e", f"{workdir}/log", "-c", f"{workdir}/conf"]
    with serving(argv, port=port, log=workdir / "output"):
        yield port


def compare(workdir: Path, port: int) -> None:
    sysroot = workdir / "sysroot"
    remove(sysroot)
    remove(workdir / "ours")
    sysroot.mkdir()
    run("ostree", "admin", "init-fs", f"{sysroot}")
    run("ostree", "admin", "os-init", f"--sysroot={sysroot}", "x")
    repo = f"--repo={sysroot}/ostree/repo"
    run("ostree", repo, "remote", "add", "--no-gpg-verify", "o", f"http://127.0.0.1:{port}/repo")
    os.environ["PYTHONPATH"] = "src"
    atoll = [sys.executable, "-m", "atoll.cli.main"]
    image = f"docker://127.0.0.1:{port}/x"
    deploy = ["ostree", "admin", "deploy", f"--sysroot={sysroot}", "--os=x", "--no-prune"]
    machine = workdir / "ours"

    def theirs(version: str) -> tuple[Cost, Cost]:
        return (
            measure(workdir, ["ostree", repo, "pull", "o", version]),
            measure(workdir, [*deploy, f"o:{version}"]),
        )

    store = workdir / "store"
    remove(store)
    pull = [*atoll, "pull", "--quiet", "--store", f"{store}", f"{image}:v1"]
    print_step("v1", {"atoll pull": measure(workdir, pull)}, *theirs("v1"))
    install = ["install", "store:x", "--store", f"{store}", "--follow", f"{image}:v2"]
    run(*atoll, *install, "--quiet", "--root", f"{machine}", "--into-directory")
    remove(store)

    def change(*arguments: str) -> Cost:
        return measure(workdir, [*atoll, *arguments, "--quiet", "--root", f"{machine}"])

    upgraded = change("upgrade")
    print_step("v2", {"atoll upgrade": upgraded}, *theirs("v2"))
    nothing = measure(workdir, [*atoll, "plan", "--quiet", "--root", f"{machine}"], code=77)
    print(f"plan with nothing to do: {nothing.wall:.2f} s")
    back = change("rollback", "1")
    print_step("back", {"atoll rollback": back}, None, measure(workdir, [*deploy, "o:v1"]))
    again = change("rebase", "--even-held", f"{image}:v2")
    print_step("again", {"atoll rebase": again}, None, measure(workdir, [*deploy, "o:v2"]))


def print_step(title: str, ours: dict[str, Cost], pulled: Cost | None, deployed: Cost) -> None:
    """Print the figures of one step, and the ratios of Atoll to ostree."""
    rows = {**ours, **({"ostree pull": pulled} if pulled else {}), "ostree deploy": deployed}
    for name, cost in rows.items():
        print(
            f"{title:6}{name:15}{cost.wall:7.2f} s {cost.cpu:7.2f} s CPU "
            f"{cost.memory_mib:6.1f} MiB {cost.sent / 1e6:9.2f} MB {cost.requests:6} requests"
        )
    (one,) = ours.values()
    both = pulled + deployed if pulled else deployed
    sent = f", bytes {one.sent / both.sent:.2f}" if both.sent else ""
    print(f"{title:6}ratio: wall {one.wall / both.wall:.2f}, CPU {one.cpu / both.cpu:.2f}{sent}")


def measure(workdir: Path, command: list[str], *, code: int = 0) -> Cost:
    """Run a program, which must end with ``code``; returns its cost including its children's."""
    os.sync()
    (workdir / "sent").write_bytes(b"")
    start = time.monotonic()
    silent = subprocess.DEVNULL if code else None
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=silent)
    peak = [0]
    ended = threading.Event()
    watcher = threading.Thread(target=watch, args=(process.pid, peak, ended))
    watcher.start()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - start
    ended.set()
    watcher.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != code:
        raise SystemExit(f"{command} ended with {process.returncode}")
    sent = read_sent(workdir)
    return Cost(
        wall=wall,
        cpu=usage.ru_utime + usage.ru_stime,
        # not usage.ru_maxrss: after fork it includes the memory of this process
        memory_mib=peak[0] / 1024,
        sent=sum(sent),
        requests=len(sent),
    )


def watch(root: int, peak: list[int], ended: threading.Event) -> None:
    """Record the peak resident memory of a process and its children, in KiB."""
    while not ended.wait(0.02):
        peak[0] = max(peak[0], sum(map(most_resident, family(root))))


def family(root: int) -> list[int]:
    found = [root]
    for process in found:
        try:
            for task in Path(f"/proc/{process}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
        except OSError:
            continue  # it has ended
    return found


def most_resident(process: int) -> int:
    try:
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    except OSError:
        pass  # it has ended
    return 0


def remove(workdir: Path) -> None:
    """Remove a directory, also if ostree has made files in it immutable."""
    if workdir.exists():
        subprocess.run(["chattr", "-R", "-f", "-i", f"{workdir}"], check=False)
        shutil.rmtree(workdir)


def run(*argv: str) -> None:
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
