"""Find the image of the system that a report is about."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError, NotFound, UsageError
from atoll.base.text import one_line
from atoll.oci.reference import StoreReference, format_reference, parse_reference
from atoll.oci.source import inspect_source, opened_source
from atoll.store.layout import default_store_root, open_store
from atoll.store.tree_images import list_images

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from atoll.base.ids import TreeId
    from atoll.base.report import Reporter
    from atoll.machine.report.parse_report import ReportedImage
    from atoll.oci.reference import Reference


def find_reported(report: ReportedImage, store: Path | None, reporter: Reporter) -> str:
    """The word for exactly the reported tree: in the store, else where the machine got it from,
    under the tag that it follows or under its version. For a machine with a recipe of its own the
    image below that recipe's changes, which is said.

    Raises NotFound, which says what there is instead.
    """
    here = _list_here(store)
    if report.tree in here:
        return report.tree
    found: dict[str, str] = {}
    for reference in _candidates(report):
        word = format_reference(reference)
        try:
            with opened_source(reference) as source:
                tree = inspect_source(source).record.tree
        except (AtollError, OSError) as error:
            found[word] = str(error)
            continue
        if tree == report.tree:
            return word
        if tree == report.base and report.layered:
            _say_layers(reporter)
            return word
        found[word] = f"is now another system, tree {tree}"
    if report.layered and report.base in here:
        _say_layers(reporter)
        return report.base
    lines = "".join(f"\n  {one_line(word)}: {one_line(why)}" for word, why in found.items())
    newest = one_line(report.image) or "IMAGE"
    raise NotFound(
        f"{one_line(report.name)} {one_line(report.version)} of the report, tree {report.tree},"
        f" is not to be found{lines}",
        hint="pull the image with that tree into the store, then try again; for what there is now:"
        f" atoll vm {newest}",
    )


def _say_layers(reporter: Reporter) -> None:
    reporter.notice(
        "this is the image without what the machine's own recipe added: see Machine file in the"
        " report"
    )


def _list_here(store: Path | None) -> frozenset[TreeId]:
    try:
        return frozenset(list_images(open_store(store or default_store_root())))
    except (AtollError, OSError):
        return frozenset()


def _candidates(report: ReportedImage) -> Iterator[Reference]:
    if not report.image:
        return
    reference = parse_reference(report.image)
    if isinstance(reference, StoreReference):
        return
    yield reference
    try:
        # Parsed again: what a report calls a version may be no tag.
        tagged = parse_reference(format_reference(replace(reference, tag=report.version)))
    except UsageError:
        return
    if tagged != reference:
        yield tagged
