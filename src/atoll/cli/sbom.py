"""``atoll sbom REF``: write the bill of materials of an image, as SPDX."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from atoll.cli.output.terminal import write_result
from atoll.cli.references import TREE_HELP, add_store_arguments, opened_store, opened_word
from atoll.host.fs import replace_file
from atoll.inspect.sbom import format_sbom, read_inventory

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("reference", metavar="REF", help=TREE_HELP)
    parser.add_argument(
        "--output", metavar="FILE", type=Path, help="write to this file (default: stdout)"
    )
    add_store_arguments(parser, json=False)


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
