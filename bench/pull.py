"""``atoll pull`` beside ``ostree pull``: the same two trees, over HTTP, from one nginx on loopback.

Run: ``python -m bench.pull TREE``. TREE is published as version 1; version 2 has other contents in
every twentieth directory. Each pull is a whole process with an empty place to pull to (version 1),
then the same place again (version 2). ostree has to check files out to deploy, which is measured as
a checkout of hard links; the image of a tree, which ours ends with, is all that a deployment needs.
CPU is user and system time, memory the peak resident size. ostree takes no device nodes and pulls
as a plain user would (``bare-user-only``), unflushed.
"""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from multiprocessing import Process
from pathlib import Path

from atoll.base.report import NullReporter
from atoll.registry.layout import NewImage, write_layout
from atoll.registry.manifest import ImageConfig
from atoll.registry.reference import LayoutReference
from atoll.store.images import read_image, write_image
from atoll.store.layout import open_store
from atoll.store.scan import import_directory
from atoll.tree.canonical import canonical
from atoll.tree.model import walk
from bench.import_tree import measure

EPOCH = 1_788_000_000
SERVER = """
daemon off; worker_processes 1; pid {here}/nginx.pid; error_log {here}/log;
events {{}}
http {{ access_log off; keepalive_requests 1000000; sendfile on;
  client_body_temp_path {here}/t1; proxy_temp_path {here}/t2; fastcgi_temp_path {here}/t3;
  uwsgi_temp_path {here}/t4; scgi_temp_path {here}/t5;
  server {{ listen 127.0.0.1:{port}; root {here};
    rewrite ^/v2/x/manifests/(v[12])$ /tags/$1 break;
    rewrite ^/v2/x/blobs/sha256:(.*)$ /layout/blobs/sha256/$1 break; }} }}
"""


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="bench-pull-") as name:
        here = Path(name)
        here.chmod(0o755)
        root = here / "root"
        subprocess.run(["cp", "-a", "--reflink=auto", sys.argv[1], root], check=True)
        ostree(here, "init", "--mode=archive")
        for version in ("v1", "v2"):
            if version == "v2":
                change_some(root)
            # A process of its own: what it needed would count as memory of all that start later.
            maker = Process(target=publish, args=(here, root, version))
            maker.start()
            maker.join()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        (here / "conf").write_text(SERVER.format(here=here, port=port))
        argv = [
            shutil.which("nginx") or "/usr/sbin/nginx",
            "-e",
            f"{here}/log",
            "-c",
            f"{here}/conf",
        ]
        server = subprocess.Popen(argv)
        try:
            compare(here, port)
        finally:
            server.terminate()
            server.wait()


def change_some(root: Path) -> None:
    """Give every twentieth directory of files other contents, as if its package was upgraded."""
    number = 0
    for folder, _, names in sorted(os.walk(root)):
        paths = [Path(folder, name) for name in names]
        files = [path for path in paths if stat.S_ISREG(path.lstat().st_mode)]
        number += bool(files)
        if number % 20 == 0:
            for path in files:
                with path.open("ab") as file:
                    file.write(b"version 2")


def publish(here: Path, root: Path, version: str) -> None:
    store = open_store(here / "maker", create=True)
    tree = canonical(import_directory(store, root, NullReporter()), epoch=EPOCH)
    config = ImageConfig(name="x", version=version, created=EPOCH, architecture="amd64")
    made = write_image(store, tree)
    owners = {path: "/".join(os.fsdecode(path).split("/")[1:5]) for path, _ in walk(tree)}
    target = LayoutReference(directory=str(here / "layout"), tag=version)
    image = NewImage(tree=made, config=config, owner_of=owners)
    digest = write_layout(store, image, target, NullReporter())
    (here / "tags").mkdir(exist_ok=True)
    blob = here / "layout" / "blobs" / "sha256" / digest.removeprefix("sha256:")
    shutil.copyfile(blob, here / "tags" / version)
    print(f"{version}: {sum(1 for _ in walk(read_image(store, made)))} names")
    ostree(here, "commit", f"--branch={version}", "--skip-if-unchanged", "--canonical-permissions",
           "--fsync=false", f"--tree=dir={root}")  # fmt: skip
    ostree(here, "summary", "-u")


def ostree(here: Path, *words: str) -> None:
    argv = ["ostree", f"--repo={here}/repo", *words]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)


def compare(here: Path, port: int) -> None:
    theirs = f"--repo={here}/theirs"
    subprocess.run(["ostree", theirs, "init", "--mode=bare-user-only"], check=True)
    subprocess.run(["ostree", theirs, "config", "set", "core.fsync", "false"], check=True)
    remote = ["remote", "add", "--no-gpg-verify", "o", f"http://127.0.0.1:{port}/repo"]
    subprocess.run(["ostree", theirs, *remote], check=True)
    pull = [sys.executable, "-m", "atoll.cli.main", "pull", "--quiet", "--store", f"{here}/ours"]
    os.environ["PYTHONPATH"] = "src"
    for version in ("v1", "v2"):
        ours = measure([*pull, f"docker://127.0.0.1:{port}/x:{version}"])
        peer = measure(["ostree", theirs, "pull", "o", version])
        checkout = ["checkout", "--user-mode", "--require-hardlinks", version, f"{here}/{version}"]
        deploy = measure(["ostree", theirs, *checkout])
        for name, cost in (("atoll", ours), ("ostree", peer), ("checkout", deploy)):
            figures = f"{cost.wall:6.1f} s  {cost.cpu:6.1f} s CPU  {cost.memory_mib:5.0f} MiB"
            print(f"{version} {name:8} {figures}")
        print(f"{version} ratio    {ours.wall / (peer.wall + deploy.wall):6.2f}")


if __name__ == "__main__":
    main()
