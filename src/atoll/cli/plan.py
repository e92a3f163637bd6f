"""``atoll plan``: what a verb would do, before a byte is downloaded or anything is changed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from atoll.cli.arguments import Parser, add_machine_arguments

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.upgrade import UpgradePreview, UpgradeRequest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="what", metavar="VERB", parser_class=Parser)
    upgrade = verbs.add_parser("upgrade", help="the newest version of the image (the default)")
    rebase = verbs.add_parser("rebase", help="another image")
    rebase.add_argument("image", metavar="REF")
    rollback = verbs.add_parser("rollback", help="an older deployment")
    rollback.add_argument("which", nargs="?", metavar="WHICH")
    rollback.add_argument("--keep-etc", action="store_true")
    collection = verbs.add_parser("gc", help="what would be removed")
    collection.add_argument("--keep", type=int, metavar="N")
    add_machine_arguments(parser, upgrade, rebase, rollback, collection)


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    from atoll.machine.deployments.public_status import is_open
    from atoll.machine.deployments.sysroot import find_sysroot

    sysroot = find_sysroot(getattr(arguments, "root", None))
    as_json = getattr(arguments, "json", False)
    if not is_open(sysroot) and arguments.what in (None, "upgrade", "rebase"):
        return _plan_for_everyone(sysroot, _wish(arguments), reporter, as_json=as_json)
    if arguments.what == "rollback":
        from atoll.cli.output.upgrade import format_return, return_as_json
        from atoll.machine.rollback import preview_rollback

        found = preview_rollback(sysroot, arguments.which, keep_etc=arguments.keep_etc)
        print(json.dumps(return_as_json(found), indent=2) if as_json else format_return(found))
        return 0
    if arguments.what == "gc":
        from atoll.cli.output.upgrade import format_tidied, tidied_as_json
        from atoll.machine.gc import collect_machine

        tidied = collect_machine(sysroot, arguments.keep, reporter, dry=True)
        dry = format_tidied(tidied, dry=True)
        print(json.dumps(tidied_as_json(tidied), indent=2) if as_json else dry)
        return 0
    return _plan_upgrade(sysroot, _wish(arguments), reporter, as_json=as_json)


def _wish(arguments: argparse.Namespace) -> UpgradeRequest:
    from atoll.machine.upgrade import UpgradeRequest

    if arguments.what == "rebase":
        return UpgradeRequest(verb="rebase", image=arguments.image)
    return UpgradeRequest(verb="upgrade")


def _plan_for_everyone(
    sysroot: Sysroot, wish: UpgradeRequest, reporter: Reporter, *, as_json: bool
) -> int:
    from atoll.machine.deployments.public_status import read_public
    from atoll.machine.public_plan import preview_public_upgrade

    public = read_public()
    outlook = preview_public_upgrade(sysroot, public, wish)
    now = public.state.current
    _print(outlook, now.deployment.title if now else "", sysroot, as_json=as_json)
    if outlook.obstacle is not None:
        raise outlook.obstacle
    reporter.notice(f"at most: only root can tell exactly what is here\nnext: sudo {_next(wish)}")
    return 0


def _plan_upgrade(
    sysroot: Sysroot, wish: UpgradeRequest, reporter: Reporter, *, as_json: bool
) -> int:
    from atoll.machine.deployments.retention import require_current
    from atoll.machine.deployments.state import read_state
    from atoll.machine.upgrade import preview_upgrade

    outlook = preview_upgrade(sysroot, wish)
    now = require_current(read_state(sysroot)).deployment.title
    _print(outlook, now, sysroot, as_json=as_json)
    if outlook.obstacle is not None:
        raise outlook.obstacle
    reporter.notice(f"next: {_next(wish)}")
    return 0


def _print(outlook: UpgradePreview, now: str, sysroot: Sysroot, *, as_json: bool) -> None:
    from atoll.cli.output.upgrade import format_outlook, outlook_as_json

    if as_json:
        print(json.dumps(outlook_as_json(outlook, sysroot), indent=2))
    else:
        print(format_outlook(outlook, now, sysroot))


def _next(wish: UpgradeRequest) -> str:
    return f"atoll {wish.verb}{f' {wish.image}' if wish.image else ''}"
