"""``atoll plan``: show what a verb would do, without downloading or changing anything."""

from __future__ import annotations

import argparse

from atoll.cli.add import add_package_argument
from atoll.cli.arguments import IMAGE_HELP, Parser, add_machine_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="what", metavar="VERB", parser_class=Parser)
    upgrade = verbs.add_parser(
        "upgrade", help="upgrade to the newest version of the image (default)"
    )
    rebase = verbs.add_parser("rebase", help="switch to another image")
    rebase.add_argument("image", metavar="REF", help=IMAGE_HELP)
    rollback = verbs.add_parser("rollback", help="go back to an older deployment")
    rollback.add_argument(
        "which", nargs="?", metavar="WHICH", help="as atoll rollback --help explains"
    )
    rollback.add_argument("--keep-etc", action="store_true", help="keep the current /etc")
    add = verbs.add_parser("add", help="add packages to this machine")
    add_package_argument(add)
    remove = verbs.add_parser("remove", help="remove packages from this machine")
    remove.add_argument("packages", nargs="+", metavar="PKG", help="the name of a package")
    apply = verbs.add_parser("apply", help="apply the machine file")
    capture = verbs.add_parser("capture", help="nothing to plan: it shows before it keeps")
    capture.add_argument("command", nargs="*", metavar="CMD", help="the program")
    collection = verbs.add_parser("gc", help="remove old deployments and unused data")
    collection.add_argument("--keep", type=int, metavar="N", help="number of deployments to keep")
    for each in (parser, upgrade, rebase, rollback, collection):
        each.add_argument(
            "--operations",
            action="store_true",
            default=argparse.SUPPRESS,
            help="list the operations that the verb would execute, in their order",
        )
    add_machine_arguments(
        parser, upgrade, rebase, rollback, collection, add, remove, apply, capture
    )
