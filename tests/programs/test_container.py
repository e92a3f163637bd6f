"""A finished image in a container shows its packages: Debian's own tools see all of them."""

from __future__ import annotations

import json
import shlex
import tarfile
from typing import TYPE_CHECKING

import pytest
import zstandard

from atoll.base.ids import parse_tree_id
from atoll.base.report import NullReporter
from atoll.debian.dpkg_database import parse_status
from atoll.oci.config import ImageConfig
from atoll.oci.container_layer import TITLE
from atoll.oci.fetch import fetch_image
from atoll.oci.layout import inspect_layout
from atoll.oci.layout_writer import NewImage, write_layout
from atoll.oci.reference import LayoutReference
from atoll.store.layout import open_store
from tests.programs.test_oci_layout import LIMITS, containers, need, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.programs.test_build import System

__all__ = ["containers"]
pytestmark = [pytest.mark.root, pytest.mark.network]

ASK = (
    "dpkg -l | grep -c ^ii; apt list --installed 2>/dev/null | grep -c /; "
    "dpkg-query -W | wc -l; dpkg -L dpkg | grep -c /; dpkg -S /usr/bin/dpkg; dpkg --audit; "
    "apt-get --simulate --quiet=2 install dpkg && echo apt works"
)


@pytest.fixture(scope="module")
def image(system: System, tmp_path_factory: pytest.TempPathFactory) -> LayoutReference:
    epoch = json.loads(system.read("/usr/lib/atoll/image.json"))["epoch"]
    target = LayoutReference(directory=str(tmp_path_factory.mktemp("image") / "oci"), tag="1")
    new = NewImage(
        tree=parse_tree_id(system.tree),
        config=ImageConfig(name="small", version="1", created=epoch, architecture="amd64"),
        owner_of={},
    )
    write_layout(open_store(system.store), new, target, NullReporter())
    return target


def test_debians_tools_list_all_packages_in_a_container(
    system: System, image: LayoutReference, containers: str
) -> None:
    need("podman", "unshare")
    packages = len(parse_status(system.read("/usr/lib/atoll/var/lib/dpkg/status")))
    keep = f"--root {containers}/root --runroot {containers}/run"
    name = f"oci:{image.directory}:1"
    script = (
        "mount -t cgroup2 none /sys/fs/cgroup && "
        f"podman {keep} run --rm {LIMITS} {shlex.quote(name)} /bin/sh -c {shlex.quote(ASK)}; "
        f"code=$?; podman {keep} system reset --force >/dev/null 2>&1; exit $code"
    )
    said = run("unshare", "--mount", "sh", "-c", script).splitlines()
    assert [int(word) for word in said[:3]] == [packages] * 3
    assert int(said[3]) > 100
    assert said[4] == "dpkg: /usr/bin/dpkg"
    assert said[5:] == ["apt works"]


def test_a_scanner_finds_the_status_as_a_file_in_a_layer(
    system: System, image: LayoutReference
) -> None:
    """Some follow no link from layer to layer."""
    published = inspect_layout(image)
    titles = [title for _, title in published.record.layers]
    blob = published.manifest.layers[titles.index(TITLE)].digest.replace(":", "/")
    with (
        open(f"{image.directory}/blobs/{blob}", "rb") as file,
        zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) as plain,
        tarfile.open(fileobj=plain, mode="r|") as tar,
    ):
        found = {member.name: member for member in tar if member.name.endswith("dpkg/status")}
    assert [member.isreg() for member in found.values()] == [True]
    status = system.read("/usr/lib/atoll/var/lib/dpkg/status")
    assert len(status.encode()) == found.popitem()[1].size


def test_whoever_takes_the_image_gets_the_tree_without_that(
    system: System, image: LayoutReference, tmp_path: Path
) -> None:
    store = open_store(tmp_path / "store", create=True)
    assert fetch_image(image, lambda: store, NullReporter()).tree == system.tree
