"""Pulling from a well-behaved registry: only missing data is downloaded, and the tree is equal."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import NoSpace
from atoll.base.report import NullReporter
from atoll.host.http import RetryPolicy
from atoll.oci.pull import apply_pull, pull_image
from atoll.oci.pull_plan import plan_pull
from atoll.oci.reference import parse_reference
from atoll.oci.source import opened_source
from atoll.store.check import check_store
from atoll.store.layout import open_store
from atoll.store.tree_images import list_images, read_image
from tests.fake_registry import FakeRegistry, Reply, fake_registry
from tests.images import MadeImage, publish

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from atoll.oci.pull_plan import PullPlan
    from atoll.store.layout import Store

QUICK = RetryPolicy(attempts=3, first_pause=0.001, longest_pause=0.002, timeout=5.0)
FILES = {
    "/usr/bash/bash": b"bash" * 5000,
    "/usr/python/python": bytes(range(256)) * 300,
    "/usr/python/small": b"s",
    "/usr/zlib/zlib": b"zlib" * 70_001,
    "/etc/motd": b"An atoll.\n",
    "/var/empty": b"",
}


@pytest.fixture
def image(tmp_path: Path) -> MadeImage:
    return publish(tmp_path, FILES)


@pytest.fixture
def registry(image: MadeImage, tmp_path: Path) -> Iterator[FakeRegistry]:
    assert image
    with fake_registry(tmp_path / "layout") as found:
        yield found


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store", create=True)


def pull(text: str, store: Store) -> PullPlan:
    with opened_source(parse_reference(text), retry=QUICK) as source:
        plan = plan_pull(source, store)
        apply_pull(plan, source, store, NullReporter())
    return plan


def test_the_same_tree_arrives(registry: FakeRegistry, image: MadeImage, store: Store) -> None:
    plan = pull(registry.reference(), store)
    assert plan.image.record.tree == image.tree
    assert plan.image.digest == image.digest
    read_image(store, image.tree)
    assert check_store(store, NullReporter()) == ()
    assert not list((store.root / "downloads").iterdir())
    assert not list(store.staging.iterdir())


def test_a_layout_gives_the_same_tree(image: MadeImage, store: Store) -> None:
    pull(f"oci:{image.layout.directory}:one", store)
    read_image(store, image.tree)
    assert check_store(store, NullReporter()) == ()


def test_what_is_here_is_not_fetched(registry: FakeRegistry, store: Store) -> None:
    pull(registry.reference(), store)
    registry.asked.clear()
    plan = pull(registry.reference(), store)
    assert plan.is_here
    assert (plan.fetch, plan.space, plan.missing) == (0, 0, ())
    assert len(registry.blobs_asked) == 1, "only the config"


def test_only_the_changed_layers_come(registry: FakeRegistry, store: Store, tmp_path: Path) -> None:
    pull(registry.reference(), store)
    second = publish(tmp_path, FILES | {"/usr/bash/bash": b"BASH" * 5000}, tag="two")
    registry.asked.clear()
    plan = pull(registry.reference("two"), store)
    assert [each.title for each in plan.missing] == ["bash"]
    manifest = plan.image.manifest
    assert registry.blobs_asked == [
        manifest.config.digest,
        manifest.layers[-1].digest,
        plan.missing[0].blob.digest,
    ]
    assert plan.looked_up == manifest.layers[-1].size
    read_image(store, second.tree)
    assert check_store(store, NullReporter()) == ()


def test_a_layer_whose_objects_went_is_fetched_again(
    registry: FakeRegistry, image: MadeImage, store: Store
) -> None:
    first = pull(registry.reference(), store)
    for path in [*store.objects.rglob("*/*"), store.image_path(image.tree)]:
        path.unlink()
    plan = pull(registry.reference(), store)
    # A layer of small files has no objects, so its record stays valid.
    assert {each.title for each in plan.missing} < {each.title for each in first.layers}
    assert "bash" in {each.title for each in plan.missing}
    assert check_store(store, NullReporter()) == ()


def test_one_missing_object_is_healed(
    registry: FakeRegistry, image: MadeImage, store: Store
) -> None:
    pull(registry.reference(), store)
    lost = next(store.objects.rglob("*/*"))
    lost.unlink()
    plan = pull(registry.reference(), store)
    assert not plan.is_here
    assert len(plan.missing) == 1
    assert lost.exists()
    read_image(store, image.tree)


def test_without_contents_whole_layers_come(
    registry: FakeRegistry, image: MadeImage, store: Store, tmp_path: Path
) -> None:
    other = publish(tmp_path, FILES, tag="bare", contents=False)
    assert (other.tree, pull(registry.reference("bare"), store).parts) == (image.tree, None)
    changed = FILES | {"/usr/bash/bash": b"BASH" * 5000}
    second = publish(tmp_path, changed, tag="bare2", contents=False)
    registry.asked.clear()
    plan = pull(registry.reference("bare2"), store)
    assert [each.title for each in plan.missing] == ["bash"]
    assert registry.blobs_asked == [plan.image.manifest.config.digest, plan.missing[0].blob.digest]
    read_image(store, second.tree)
    assert check_store(store, NullReporter()) == ()


def test_only_the_changed_file_of_a_layer_comes(
    registry: FakeRegistry, store: Store, tmp_path: Path
) -> None:
    files = {f"/usr/bash/{number}": os.urandom(300_000) for number in range(9)}
    publish(tmp_path, files)
    pull(registry.reference(), store)
    second = publish(tmp_path, files | {"/usr/bash/4": os.urandom(300_000)}, tag="two")
    plan = pull(registry.reference("two"), store)
    assert 300_000 < plan.fetch < 310_000
    read_image(store, second.tree)
    assert check_store(store, NullReporter()) == ()


def test_a_registry_without_parts_sends_whole_layers(
    registry: FakeRegistry, image: MadeImage, store: Store, tmp_path: Path
) -> None:
    registry.bend = lambda asked, reply: whole(reply, tmp_path, asked.blob)
    pull(registry.reference(), store)
    second = publish(tmp_path, FILES | {"/usr/python/other": bytes(9999)}, tag="two")
    pull(registry.reference("two"), store)
    assert {image.tree, second.tree} <= set(list_images(store))
    assert check_store(store, NullReporter()) == ()


def whole(reply: Reply, where: Path, blob: str | None) -> Reply:
    """The response of a server without support for ranges."""
    if reply.status != 206 or blob is None:
        return reply
    path = where / "layout" / "blobs" / "sha256" / blob.removeprefix("sha256:")
    return Reply(body=path.read_bytes())


def test_a_damaged_record_is_no_record(
    registry: FakeRegistry, store: Store, tmp_path: Path
) -> None:
    publish(tmp_path, FILES, contents=False)
    pull(registry.reference(), store)
    records = list((store.root / "layers").iterdir())
    assert records
    for path in records:
        path.write_bytes(path.read_bytes()[:-7])
    for path in store.images.iterdir():
        path.unlink()
    plan = pull(registry.reference(), store)
    assert len(plan.missing) == len(plan.layers)


def test_a_digest_decides(registry: FakeRegistry, image: MadeImage, store: Store) -> None:
    text = registry.reference("no-such-tag") + f"@{image.digest}"
    assert pull(text, store).image.digest == image.digest


def test_space_is_asked_for_first(
    registry: FakeRegistry, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened_source(parse_reference(registry.reference()), retry=QUICK) as source:
        plan = plan_pull(source, store)
        assert plan.space > plan.fetch > 0
        registry.asked.clear()
        monkeypatch.setattr(type(plan), "space", 1 << 70)
        with pytest.raises(NoSpace, match="bytes on the file system"):
            apply_pull(plan, source, store, NullReporter())
    assert not registry.asked


def test_pull_image_is_plan_and_apply(registry: FakeRegistry, store: Store) -> None:
    with opened_source(parse_reference(registry.reference()), retry=QUICK) as source:
        published = pull_image(source, store, NullReporter())
    assert store.image_path(published.record.tree).exists()
