"""``atoll add``: what it does; ``cli/add.py`` has its arguments."""

from __future__ import annotations

from shlex import join
from typing import TYPE_CHECKING

from atoll.cli.run_change import run_change
from atoll.layering.change_machine import ChangeRequest
from atoll.layering.change_packages import edit_for_add, read_package_words

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter
    from atoll.layering.change_packages import PackageWords


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    words = read_package_words(arguments.packages)
    undo = f"remove {join(words.names)}"
    return run_change(arguments, make_request(words), reporter, undo=undo)


def make_request(words: PackageWords) -> ChangeRequest:
    return ChangeRequest(
        verb="add",
        edit=lambda text, machine: edit_for_add(text, words, machine),
        files=words.files,
    )
