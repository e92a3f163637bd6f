"""``atoll sbom REF``: what an image is made of, for those who look for flaws and licences."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from atoll.cli.output.terminal import write_result
from atoll.cli.subjects import HELP, add_place_arguments, opened_store, opened_subject

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("reference", metavar="REF", help=HELP)
    parser.add_argument(
        "--output", metavar="FILE", type=Path, help="write to this file (default: stdout)"
    )
    add_place_arguments(parser, json=False)


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    from atoll.host.fs import replace_file
    from atoll.inspect.sbom import format_sbom, read_inventory

    with (
        reporter.step(f"Reading {arguments.reference}"),
        opened_store(arguments.store) as store,
        opened_subject(arguments.reference, store, arguments.root) as tree,
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
