"""``atoll pin N``: keep a deployment whatever policy says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.cli.pinning import add_pin_arguments, run_pin

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_pin_arguments(parser)


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    return run_pin(arguments, reporter, pinned=True)
