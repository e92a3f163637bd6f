"""``atoll sbom``: what it does; ``cli/sbom.py`` has its arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.cli.output.terminal import write_result
from atoll.cli.references import opened_store, opened_word
from atoll.host.fs import replace_file
from atoll.inspect.sbom import format_sbom, read_inventory

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    with (
        reporter.step(f"Reading {arguments.reference}"),
        opened_store(arguments.store) as store,
        opened_word(arguments.reference, store, arguments.root) as tree,
    ):
        inventory = read_inventory(tree)
    data = format_sbom(inventory)
    if arguments.output is None:
        write_result(data)
        return 0
    replace_file(arguments.output, data)
    unknown = len(inventory.packages) - len(inventory.licences)
    reporter.notice(
        f"{arguments.output}: {len(inventory.packages)} packages,"
        f" {unknown} without a machine-readable licence"
    )
    return 0
