"""``atoll rebase REF``: let the machine run, and from then on follow, another image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.cli.upgrade import add_upgrade_arguments, run_upgrade

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "image",
        metavar="REF",
        help="docker://HOST/NAME:TAG, oci:DIR[:TAG], or what the machine's store has:"
        " store:NAME, a tree digest",
    )
    add_upgrade_arguments(parser)


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    from atoll.machine.upgrade import UpgradeRequest

    request = UpgradeRequest(
        verb="rebase",
        image=arguments.image,
        even_held=arguments.even_held,
        download_only=arguments.download_only,
    )
    return run_upgrade(arguments, request, reporter)
