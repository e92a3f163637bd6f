"""``atoll unpin N``: let a deployment be removed again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.cli import pin

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    pin.add_arguments(parser)


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    return pin.run_pin(arguments, reporter, pinned=False)
