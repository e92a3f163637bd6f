"""Real programs judge the images: podman runs one made of a Debian root, skopeo moves it.

podman gets a mount namespace of its own with a plain cgroup2, so that it works on hosts (and in
containers) where the usual hierarchy is not what it wants.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from typing import TYPE_CHECKING

import pytest

from atoll.base.report import NullReporter
from atoll.oci.config import ImageConfig
from atoll.oci.fetch import fetch_image
from atoll.oci.layout import inspect_layout
from atoll.oci.layout_writer import NewImage, write_layout
from atoll.oci.reference import LayoutReference
from atoll.store.layout import open_store
from atoll.store.scan import import_directory
from atoll.store.tree_images import write_image
from atoll.tree.canonical import canonical

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EPOCH = 1_788_000_000
LIMITS = "--cgroups=disabled --ulimit nofile=1024:1024 --ulimit nproc=1000:1000 --net=none"

pytestmark = [pytest.mark.root, pytest.mark.network]


def need(*programs: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")


def run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{shlex.join(argv)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> LayoutReference:
    """A small Debian as an image: every package has its layer, as a build would say."""
    need("mmdebstrap")
    place = tmp_path_factory.mktemp("debian")
    root = place / "root"
    run("mmdebstrap", "--variant=apt", "--quiet", "trixie", str(root))
    (root / "usr/bin/elevated").write_bytes(b"#!/bin/sh\n" + b"#" * 100)
    (root / "usr/bin/elevated").chmod(0o4755)
    (root / ("long" * 40)).mkdir()
    os.mknod(root / "usr/null", 0o20666, os.makedev(1, 3))
    store = open_store(place / "store", create=True)
    tree = canonical(import_directory(store, root, NullReporter()), epoch=EPOCH)
    image = NewImage(
        tree=write_image(store, tree),
        config=ImageConfig(name="small", version="1", created=EPOCH, architecture="amd64"),
        owner_of=read_owners(root),
    )
    target = LayoutReference(directory=str(place / "image"), tag="latest")
    write_layout(store, image, target, NullReporter())
    return target


def read_owners(root: Path) -> dict[bytes, str]:
    owners = {}
    for path in (root / "var/lib/dpkg/info").glob("*.list"):
        for line in path.read_bytes().splitlines():
            owners[line] = path.stem.partition(":")[0]
    return owners


def test_skopeo_reads_it(debian: LayoutReference) -> None:
    need("skopeo")
    said = run("skopeo", "inspect", f"oci:{debian.directory}:latest")
    assert inspect_layout(debian).record.tree in said


def test_skopeo_moves_it_and_the_tree_stays(debian: LayoutReference, tmp_path: Path) -> None:
    need("skopeo")
    moved = LayoutReference(directory=str(tmp_path / "moved"), tag="other")
    run("skopeo", "copy", f"oci:{debian.directory}:latest", f"oci:{moved.directory}:other")
    store = open_store(tmp_path / "store", create=True)
    assert (
        fetch_image(moved, lambda: store, NullReporter()).tree == inspect_layout(debian).record.tree
    )


@pytest.fixture
def containers() -> Iterator[str]:
    """A place for podman with a short name: it takes at most 50 bytes."""
    with tempfile.TemporaryDirectory(prefix="atoll-", dir="/tmp") as place:
        yield place


def test_podman_runs_it(debian: LayoutReference, containers: str) -> None:
    need("podman", "unshare")
    inside = (
        "cat /etc/debian_version; dpkg --verify; stat -c '%a %U' /usr/bin/elevated /tmp; "
        "stat -c '%t %T' /usr/null; test -d /longlonglong*"
    )
    keep = f"--root {containers}/root --runroot {containers}/run"
    image = f"oci:{debian.directory}:latest"
    script = (
        "mount -t cgroup2 none /sys/fs/cgroup && "
        f"podman {keep} run --rm {LIMITS} {shlex.quote(image)} /bin/sh -c {shlex.quote(inside)}; "
        f"code=$?; podman {keep} system reset --force >/dev/null 2>&1; exit $code"
    )
    said = run("unshare", "--mount", "sh", "-c", script).splitlines()
    assert said[0].startswith("13")
    assert said[-3:] == ["4755 root", "1777 root", "1 3"]
    assert len(said) == 4, "dpkg --verify has complaints"
