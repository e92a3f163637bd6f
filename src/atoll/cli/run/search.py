"""``atoll search``: what it does; ``cli/search.py`` has its arguments."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from atoll.base.errors import NotFound
from atoll.base.text import cut, one_line
from atoll.layering.search import search_machine
from atoll.machine.deployments.sysroot import find_sysroot

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter
    from atoll.layering.search import FoundPackage

WIDTH = 80
_DAY = 86400


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    sysroot = find_sysroot(arguments.root)
    found = search_machine(sysroot, arguments.words, reporter, refresh=arguments.refresh)
    refresh = sysroot.command("search --refresh WORD")
    if found.updated is None:
        raise NotFound("there are no package lists yet", hint=f"download them: {refresh}")
    if arguments.json:
        rows = [_as_json(each) for each in found.packages]
        print(json.dumps({"updated": found.updated, "packages": rows}, indent=2))
    else:
        for each in found.packages:
            print(cut(one_line(_line(each)), WIDTH))
    age = format_age(int(time.time()) - found.updated)
    count = len(found.packages)
    reporter.notice(f"{count} found in lists that are {age} old; newer ones: {refresh}")
    if not found.packages:
        raise NotFound(f"no package matches {' '.join(arguments.words)}", hint=f"try: {refresh}")
    reporter.notice(f"next: {sysroot.command('plan add NAME')}, or: {sysroot.command('add NAME')}")
    return 0


def format_age(seconds: int) -> str:
    """``3 hours``, ``2 days``: how old something is."""
    if seconds < 2 * 3600:
        return f"{max(seconds, 0) // 60} minutes"
    if seconds < 2 * _DAY:
        return f"{seconds // 3600} hours"
    return f"{seconds // _DAY} days"


def _line(each: FoundPackage) -> str:
    mark = "*" if each.installed else " "
    return f"{mark} {each.name} {each.version} ({each.suite}): {each.description}"


def _as_json(each: FoundPackage) -> dict[str, str]:
    return {
        "name": each.name,
        "version": each.version,
        "suite": each.suite,
        "description": each.description,
        "installed": each.installed,
    }
