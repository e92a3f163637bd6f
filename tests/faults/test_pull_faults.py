"""A pull that stops before any one of its effects leaves the old image valid, and goes on later.

A child process pulls with an audit hook, which sees every effect before it happens, and there ends
the process (as a power cut would), or raises what Ctrl-C or a full disk raises.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import NetworkError, NoSpace
from atoll.base.report import NullReporter
from atoll.host.http import RetryPolicy
from atoll.oci.pull import apply_pull
from atoll.oci.pull_plan import plan_pull
from atoll.oci.reference import parse_reference
from atoll.oci.source import opened_source
from atoll.store.check import check_store
from atoll.store.layout import open_store
from atoll.store.refs import Ref, read_ref, write_ref
from atoll.store.tree_images import list_images, read_image
from tests.fake_registry import Asked, FakeRegistry, Reply, fake_registry
from tests.faults.effects import is_effect, makes_something
from tests.images import MadeImage, publish, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from atoll.oci.pull_plan import PullPlan
    from atoll.store.layout import Store
    from tests.faults.effects import IsEffect

MOST = 400
CUT, INTERRUPTED, SURVIVED, DONE = 77, 130, 78, 0
QUICK = RetryPolicy(attempts=2, first_pause=0.001, longest_pause=0.002, timeout=5.0)
FILES = {"/usr/bash/bash": os.urandom(3000) * 70, "/usr/zlib/zlib": b"zlib" * 70, "/etc/m": b"m"}


def pull(reference: str, store: Store) -> PullPlan:
    with opened_source(parse_reference(reference), retry=QUICK) as source:
        plan = plan_pull(source, store)
        apply_pull(plan, source, store, NullReporter())
    record = plan.image.record
    ref = Ref(tree=record.tree, name="it", version=record.config.version, created=0)
    write_ref(store, "it", ref)
    return plan


def run_child(
    reference: str,
    store: Store,
    number: int,
    stop: Callable[[], None],
    counts: IsEffect = is_effect,
) -> int:
    """Pull in a child, with ``stop`` before the effect ``number``; DONE when there is none such."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    seen = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        seen += counts(event, arguments)
        if seen == number and counts(event, arguments):
            stop()

    try:
        import httpx  # noqa: F401  # what importing does is no effect of a pull

        sys.addaudithook(hook)
        pull(reference, store)
        os._exit(SURVIVED if seen >= number else DONE)
    except KeyboardInterrupt:
        os._exit(INTERRUPTED)
    except (NoSpace, NetworkError) as error:
        os._exit(error.exit_code)
    finally:
        os._exit(1)


@pytest.fixture
def images(tmp_path: Path) -> tuple[MadeImage, MadeImage]:
    old = publish(tmp_path, FILES)
    return old, publish(tmp_path, FILES | {"/usr/bash/bash": b"new" * 9999}, tag="two", version="2")


@pytest.fixture
def registry(images: tuple[MadeImage, MadeImage], tmp_path: Path) -> Iterator[FakeRegistry]:
    assert images
    with fake_registry(tmp_path / "layout") as found:
        yield found


@pytest.fixture
def before(registry: FakeRegistry, tmp_path: Path) -> Path:
    """A store with the old image."""
    path = tmp_path / "before"
    pull(registry.reference("one"), open_store(path, create=True))
    return path


def copies(before: Path) -> Iterator[tuple[int, Store]]:
    """A store like ``before`` for every number, until the test has enough."""
    for number in range(1, MOST):
        path = before.parent / "store"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(before, path, symlinks=True)
        yield number, open_store(path)
    raise AssertionError(f"a pull has more than {MOST} effects")


def check_old_or_new(store: Store, images: tuple[MadeImage, MadeImage]) -> None:
    assert check_store(store, NullReporter()) == ()
    old, new = images
    assert read_ref(store, "it").tree in (old.tree, new.tree)
    assert old.tree in list_images(store)
    for tree in list_images(store):
        read_image(store, tree)


def test_a_cut_anywhere(
    registry: FakeRegistry, images: tuple[MadeImage, MadeImage], before: Path
) -> None:
    for number, store in copies(before):
        ended = run_child(registry.reference("two"), store, number, lambda: os._exit(CUT))
        check_old_or_new(store, images)
        if ended == DONE:
            break
        assert ended == CUT
        pull(registry.reference("two"), store)
        assert read_ref(store, "it").tree == images[1].tree
        check_old_or_new(store, images)
        assert not list(store.staging.iterdir())
        assert not list((store.root / "downloads").iterdir())
    assert number > 20


def test_ctrl_c_anywhere(
    registry: FakeRegistry, images: tuple[MadeImage, MadeImage], before: Path
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    for number, store in copies(before):
        ended = run_child(registry.reference("two"), store, number, interrupt)
        check_old_or_new(store, images)
        if ended == DONE:
            break
        assert ended == INTERRUPTED
    assert number > 20


def test_a_full_disk_anywhere(
    registry: FakeRegistry, images: tuple[MadeImage, MadeImage], before: Path
) -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for number, store in copies(before):
        ended = run_child(registry.reference("two"), store, number, full, makes_something)
        check_old_or_new(store, images)
        if ended == DONE:
            break
        assert ended in (NoSpace.exit_code, SURVIVED)
        assert not list(store.staging.iterdir())
    assert number > 20


def test_a_broken_download_goes_on_where_it_stopped(registry: FakeRegistry, before: Path) -> None:
    store = open_store(before.parent / "bare", create=True)
    publish(before.parent, FILES, tag="bare", contents=False)
    pull(registry.reference("bare"), store)
    half = 5000

    def breaking(asked: Asked, reply: Reply) -> Reply:
        if not asked.blob or reply.body.startswith(b"{"):
            return reply
        if len(registry.blobs_asked) > 2:
            return Reply(status=503)
        return Reply(body=reply.body[:half], claimed=len(reply.body))

    changed = FILES | {"/usr/bash/bash": os.urandom(9000)}
    publish(before.parent, changed, tag="big", contents=False)
    registry.bend = breaking
    registry.asked.clear()
    state = snapshot(store.root)
    with pytest.raises(NetworkError):
        pull(registry.reference("big"), store)
    assert [len(path.read_bytes()) for path in (store.root / "downloads").iterdir()] == [half]
    assert {k: v for k, v in snapshot(store.root).items() if k[:3] != "dow"} == state
    registry.bend = lambda _, reply: reply
    registry.asked.clear()
    plan = pull(registry.reference("big"), store)
    assert plan.missing[0].downloaded == half
    assert registry.asked[-1].headers["range"] == f"bytes={half}-"
    assert check_store(store, NullReporter()) == ()
    assert not list((store.root / "downloads").iterdir())


def test_a_broken_fetch_of_parts_goes_on_where_it_stopped(
    registry: FakeRegistry, before: Path
) -> None:
    store = open_store(before)
    files = {f"/usr/bash/{number}": os.urandom(1 << 20) for number in range(5)}
    new = publish(before.parent, FILES | files, tag="big")
    half = 3 << 20
    broken: list[Asked] = []

    def breaking(asked: Asked, reply: Reply) -> Reply:
        if broken:
            return Reply(status=503)
        if not asked.blob or len(reply.body) < half:
            return reply
        broken.append(asked)
        return Reply(
            status=reply.status,
            headers=reply.headers,
            body=reply.body[:half],
            claimed=len(reply.body),
        )

    registry.bend = breaking
    registry.asked.clear()
    images = list_images(store)
    with pytest.raises(NetworkError):
        pull(registry.reference("big"), store)
    assert list_images(store) == images
    assert check_store(store, NullReporter()) == ()
    assert not list(store.staging.iterdir())
    registry.bend = lambda _, reply: reply
    plan = pull(registry.reference("big"), store)
    assert plan.fetch < half + (1 << 19), "two of five files had come"
    assert new.tree in list_images(store)
    assert check_store(store, NullReporter()) == ()


def test_a_cut_anywhere_without_contents(
    registry: FakeRegistry, images: tuple[MadeImage, MadeImage], before: Path
) -> None:
    changed = FILES | {"/usr/bash/bash": b"new" * 9999}
    publish(before.parent, changed, tag="bare", version="2", contents=False)
    for number, store in copies(before):
        ended = run_child(registry.reference("bare"), store, number, lambda: os._exit(CUT))
        check_old_or_new(store, images)
        if ended == DONE:
            break
        pull(registry.reference("bare"), store)
        check_old_or_new(store, images)
        assert not list((store.root / "downloads").iterdir())
    assert number > 20


def test_a_spoiled_download_is_begun_again(
    registry: FakeRegistry, images: tuple[MadeImage, MadeImage], before: Path
) -> None:
    store = open_store(before)
    with opened_source(parse_reference(registry.reference("two")), retry=QUICK) as source:
        blob = plan_pull(source, store).missing[0].blob
    (store.root / "downloads" / blob.digest.removeprefix("sha256:")).write_bytes(bytes(30))
    pull(registry.reference("two"), store)
    assert read_ref(store, "it").tree == images[1].tree
    check_old_or_new(store, images)
