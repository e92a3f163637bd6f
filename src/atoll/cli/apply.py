"""``atoll apply``: make the machine file real."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.cli.arguments import add_change_arguments

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_change_arguments(parser)
