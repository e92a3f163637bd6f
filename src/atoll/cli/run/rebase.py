"""``atoll rebase``: what it does; ``cli/rebase.py`` has its arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.cli.confirm_time import read_confirm_time
from atoll.cli.references import format_image, require_image
from atoll.cli.run.upgrade import run_upgrade
from atoll.machine.deployments.sysroot import find_installed
from atoll.machine.upgrade import UpgradeRequest

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    sysroot = find_installed(arguments.root)
    request = UpgradeRequest(
        verb="rebase",
        image=format_image(require_image(arguments.image, sysroot.atoll, sysroot)),
        even_held=arguments.even_held,
        download_only=arguments.download_only,
        confirm=read_confirm_time(arguments),
    )
    return run_upgrade(arguments, request, reporter)
