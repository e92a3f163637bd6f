"""``atoll kargs``: what it does; ``cli/kargs.py`` has its arguments."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from atoll.base.text import one_line
from atoll.cli.run_change import run_change
from atoll.layering.change_machine import ChangeRequest
from atoll.layering.kernel_arguments import (
    edit_for_add,
    edit_for_remove,
    read_kernel_arguments,
)
from atoll.machine.deployments.sysroot import find_sysroot

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from atoll.base.report import Reporter


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    if arguments.what in ("add", "remove"):
        request = make_request(arguments.what, arguments.arguments)
        return run_change(arguments, request, reporter)
    found = read_kernel_arguments(find_sysroot(getattr(arguments, "root", None)))
    if getattr(arguments, "json", False):
        rows = [{"argument": each.text, "set_by": each.setter} for each in found]
        print(json.dumps({"arguments": rows}, indent=2))
        return 0
    width = max((len(each.setter) for each in found), default=0)
    for each in found:
        print(one_line(f"{each.setter:<{width}}  {each.text}"))
    reporter.notice("next: atoll kargs add ARG, or atoll kargs remove ARG")
    return 0


def make_request(what: str, texts: Sequence[str]) -> ChangeRequest:
    edit = edit_for_add if what == "add" else edit_for_remove
    return ChangeRequest(
        verb=f"kargs {what}", edit=lambda text, machine: edit(text, texts, machine)
    )
