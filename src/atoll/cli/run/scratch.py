"""``atoll scratch``: what it does; ``cli/scratch.py`` has its arguments."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from atoll.cli.disk import parse_size
from atoll.cli.output.progress import format_amount
from atoll.machine.deployments.sysroot import find_installed
from atoll.machine.live.live import change_scratch

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    size = None if arguments.discard else parse_size(arguments.size)
    change_scratch(find_installed(None), size)
    if arguments.json:
        print(json.dumps({"scratch": size is not None, "size": size}, indent=2))
    if size is None:
        reporter.notice("/usr is the deployment's again; programs that run keep their old files")
    else:
        reporter.notice(
            f"/usr is writable until the next boot; changes take up to {format_amount(size, 'B')}"
            " of memory and reach no deployment (to discard them: atoll scratch --discard)"
        )
    return 0
