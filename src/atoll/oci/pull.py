"""Pull an image into a store. Only missing data is downloaded, and all of it is verified.

::

    manifest, config ─→ the plan (``pull_plan``): what is missing, bytes to fetch, space needed
    table of contents ─→ the tree, compared with its digest; ranges of layers with missing objects
                        (``ranges``), each object compared with its digest
    without one      ─→ whole layers, from which the tree is built (``full_pull``)
    when complete    ─→ objects get their names, then layer records, then the tree image

Nothing gets a name in the store before it is verified. After an interruption, objects that already
have a name stay, and the next run reuses them. The caller writes the ref, last.
"""

from __future__ import annotations

from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged, Interrupted, NetworkError, NoSpace
from atoll.host.fs import space_errors
from atoll.oci.downloads import clear_downloads, opened_downloads
from atoll.oci.full_pull import FullPull
from atoll.oci.pull_plan import plan_layers, plan_pull
from atoll.oci.ranges import RangeFetcher
from atoll.store.layers import keep_layers
from atoll.store.lock import adding
from atoll.store.objects import adding_objects, staging_directory
from atoll.store.tree_images import write_image_bytes
from atoll.tree.erofs_reader import parse_image

if TYPE_CHECKING:
    from atoll.base.report import Reporter
    from atoll.oci.image import PublishedImage
    from atoll.oci.pull_plan import PlannedParts, PullPlan
    from atoll.oci.source import ImageSource
    from atoll.store.layout import Store

_RESUMED = (NetworkError, Interrupted, KeyboardInterrupt)
"""After these errors the next run resumes where this one stopped."""


def pull_image(source: ImageSource, store: Store, reporter: Reporter) -> PublishedImage:
    """Pull the image into ``store``. On return its tree is complete and durable.

    Raises what ``plan_pull`` and ``apply_pull`` raise.
    """
    plan = plan_pull(source, store)
    apply_pull(plan, source, store, reporter)
    return plan.image


def apply_pull(plan: PullPlan, source: ImageSource, store: Store, reporter: Reporter) -> None:
    """Apply the plan. After an error no part of the image has a name in the store, except objects
    that the next run reuses after an interruption.

    Raises NoSpace before any download; NetworkError, Damaged, Refused or Busy.
    """
    if plan.is_here:
        clear_downloads(store)
        return
    if plan.space > plan.free:
        raise NoSpace(
            f"{plan.name} needs {plan.space} bytes on the file system of {store.root};"
            f" {plan.free} are free",
            hint=f"see: df -h {store.root}",
        )
    if plan.parts is None:
        _apply_layers(plan, source, store, reporter)
        return
    try:
        _apply_parts(plan, plan.parts, source, store, reporter)
    except (Damaged, NetworkError) as error:
        if isinstance(error, NetworkError) and error.status is None:
            raise
        reporter.notice(f"{error.message}: falling back to a full pull")
        layers = plan_layers(plan.image, store, is_here=False)
        apply_pull(replace(plan, parts=None, layers=layers), source, store, reporter)


def _apply_parts(
    plan: PullPlan, planned: PlannedParts, source: ImageSource, store: Store, reporter: Reporter
) -> None:
    _check_tree(plan, planned.contents.image)
    meter = _Meter(reporter, plan.fetch)
    wanted = frozenset(each.blob.digest for each in plan.layers)
    with (
        space_errors(store.root),
        adding(store),
        opened_downloads(store, wanted, meter.add),
    ):
        with (
            reporter.step(f"Fetching {plan.name}"),
            adding_objects(store, keep_after=_RESUMED) as writer,
        ):
            fetcher = RangeFetcher(
                contents=planned.contents,
                blobs=plan.image.manifest.layers,
                source=source,
                sink=writer,
                on_bytes=meter.add,
            )
            fetcher.fetch(planned.parts)
        with reporter.step("Writing the tree"):
            write_image_bytes(store, planned.contents.image)


def _check_tree(plan: PullPlan, image: bytearray) -> None:
    """Raise Damaged if the bytes, whose digest is right, are not a valid tree image."""
    try:
        parse_image(image)
    except Damaged as error:
        raise Damaged(
            f"{plan.name}: its tree {plan.image.record.tree} is not a valid tree: {error.message}",
            hint="the image is damaged: report it to its publisher",
        ) from error


def _apply_layers(plan: PullPlan, source: ImageSource, store: Store, reporter: Reporter) -> None:
    meter = _Meter(reporter, sum(each.blob.size for each in plan.missing))
    wanted = frozenset(each.blob.digest for each in plan.missing)
    with (
        space_errors(store.root),
        adding(store),
        opened_downloads(store, wanted, meter.add) as downloads,
        staging_directory(store) as records,
    ):
        with reporter.step(f"Fetching {plan.name}"), adding_objects(store) as writer:
            full_pull = FullPull(plan=plan, store=store, sink=writer, records=records)
            image = full_pull.run(source, downloads)
        with reporter.step("Writing the tree"):
            keep_layers(store, full_pull.written)
            write_image_bytes(store, image)


class _Meter:
    def __init__(self, reporter: Reporter, total: int) -> None:
        self._reporter = reporter
        self._total = total
        self._done = 0
        self._lock = Lock()

    def add(self, count: int) -> None:
        """Called from every thread that fetches."""
        with self._lock:
            self._done += count
            self._reporter.progress(min(self._done, self._total), self._total, unit="B")
