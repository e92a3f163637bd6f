"""The container layer: programs find the package database, and the tree does not change."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING

import pytest
import zstandard

from atoll.base.report import NullReporter
from atoll.oci.container_layer import TITLE
from atoll.oci.fetch import fetch_image
from atoll.oci.layout import inspect_layout, measure_layout
from atoll.oci.pull import apply_pull
from atoll.oci.pull_plan import plan_pull
from atoll.oci.source import opened_source
from atoll.store.check import check_store
from atoll.store.layout import open_store
from atoll.store.tree_images import list_images, read_image
from atoll.tree.path_ops import find_node
from tests.images import MadeImage, publish

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.oci.reference import LayoutReference

STATUS = b"Package: bash\nStatus: install ok installed\n" * 20
FILES = {
    "/usr/bash/bash": b"bash" * 5000,
    "/usr/lib/atoll/tree-owned": b"/var/lib/dpkg\n/var/lib/pam\n/var/lib/systemd/catalog\n",
    "/usr/lib/atoll/var/lib/dpkg/status": STATUS,
    "/usr/lib/atoll/var/lib/dpkg/info/bash.list": b"/bin/bash\n",
    "/usr/lib/atoll/var/lib/pam/auth": b"auth\n",
    "/usr/lib/atoll/var/lib/systemd/catalog/database": b"catalog\n",
}


def members(layout: LayoutReference) -> dict[str, tuple[str, str]]:
    """The content of the layer: kind and target of each name."""
    published = inspect_layout(layout)
    titles = [title for _, title in published.record.layers]
    blob = published.manifest.layers[titles.index(TITLE)].digest.replace(":", "/")
    with (
        open(f"{layout.directory}/blobs/{blob}", "rb") as file,
        zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) as plain,
        tarfile.open(fileobj=plain, mode="r|") as tar,
    ):
        return {member.name.strip("./"): (kind(member), member.linkname) for member in tar}


def kind(member: tarfile.TarInfo) -> str:
    return "link" if member.issym() else "folder" if member.isdir() else "file"


def test_the_database_is_where_programs_look_for_it(tmp_path: Path) -> None:
    image = publish(tmp_path, FILES)
    found = members(image.layout)
    assert found.pop("var/lib/dpkg/status.link")  # another file that such trees have
    assert found == {
        "": ("folder", ""),
        "var": ("folder", ""),
        "var/lib": ("folder", ""),
        "var/lib/dpkg": ("folder", ""),
        "var/lib/dpkg/info": ("link", "../../../usr/lib/atoll/var/lib/dpkg/info"),
        "var/lib/dpkg/status": ("file", ""),
        "var/lib/pam": ("link", "../../usr/lib/atoll/var/lib/pam"),
        "var/lib/systemd": ("folder", ""),
        "var/lib/systemd/catalog": ("link", "../../../usr/lib/atoll/var/lib/systemd/catalog"),
    }


@pytest.mark.parametrize("contents", [True, False])
def test_a_pull_takes_the_tree_without_it(tmp_path: Path, contents: bool) -> None:
    image = publish(tmp_path, FILES, contents=contents)
    store = open_store(tmp_path / "store", create=True)
    with opened_source(image.layout) as source:
        apply_pull(plan_pull(source, store), source, store, NullReporter())
    taken_without_it(tmp_path / "store", image)


def taken_without_it(place: Path, image: MadeImage) -> None:
    store = open_store(place)
    assert set(list_images(store)) == {image.tree}
    assert find_node(read_image(store, image.tree), "var") is None
    assert check_store(store, NullReporter()) == ()


def test_a_layout_is_read_without_it(tmp_path: Path) -> None:
    image = publish(tmp_path, FILES)
    assert find_node(measure_layout(image.layout), "var") is None
    store = open_store(tmp_path / "store", create=True)
    assert fetch_image(image.layout, lambda: store, NullReporter()).tree == image.tree
    taken_without_it(tmp_path / "store", image)


@pytest.mark.parametrize(
    "listed",
    [
        b"",
        b"/etc\n",
        b"/var/../etc\n",
        b"/var/nothing\n",
        b"/var/lib/dpkg/status\n",
    ],
)
def test_only_directories_below_var_are_shown_there(tmp_path: Path, listed: bytes) -> None:
    image = publish(tmp_path, FILES | {"/usr/lib/atoll/tree-owned": listed})
    assert inspect_layout(image.layout).record.container is None


def test_a_root_in_debians_shape_needs_none(tmp_path: Path) -> None:
    image = publish(tmp_path, FILES | {"/var/lib/dpkg/status": STATUS})
    assert inspect_layout(image.layout).record.container is None
