"""``atoll gc``: what it does; ``cli/gc.py`` has its arguments."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from atoll.base.errors import UsageError
from atoll.cli.output.upgrade import cleanup_as_json, format_cleanup
from atoll.machine.deployments.sysroot import find_installed
from atoll.machine.gc import collect_garbage

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    if arguments.keep is not None and arguments.keep < 1:
        raise UsageError("--keep must be at least 1", hint="the booted deployment is always kept")
    sysroot = find_installed(arguments.root)
    result = collect_garbage(
        sysroot, arguments.keep, reporter, dry=arguments.dry_run, damaged=arguments.damaged
    )
    if arguments.json:
        print(json.dumps(cleanup_as_json(result), indent=2))
    else:
        print(format_cleanup(result, dry=arguments.dry_run))
    if result.warning:
        reporter.notice(f"warning: {result.warning}")
    return 0
