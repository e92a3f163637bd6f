"""``atoll edit``: what it does; ``cli/edit.py`` has its arguments."""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError, NothingToDo, UsageError
from atoll.host.run import find_program, running
from atoll.layering.edit_machine_file import NEW
from atoll.layering.machine_text import check_machine_text, read_text, write_text
from atoll.machine.deployments.sysroot import find_installed

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter
    from atoll.machine.deployments.sysroot import Sysroot

_EDITORS = ("sensible-editor", "nano", "vi")


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    sysroot = find_installed(arguments.root)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "this is no terminal, so no editor can be started",
            hint="write /etc/atoll/machine.toml yourself, then run: atoll apply",
        )
    before = read_text(sysroot)
    after = edit_text(sysroot, before or NEW, reporter)
    if after == before or (not before and after == NEW):
        raise NothingToDo("the machine file is as it was")
    write_text(sysroot, before, after)
    reporter.notice("the machine file is written; nothing of the system has changed yet")
    reporter.notice(f"next: {sysroot.command('plan apply')}, or: {sysroot.command('apply')}")
    return 0


def edit_text(sysroot: Sysroot, text: str, reporter: Reporter) -> str:
    """``text`` as the person leaves it, valid. Raises NothingToDo when they give up."""
    with tempfile.TemporaryDirectory(prefix="atoll-edit-") as folder:
        path = Path(folder) / "machine.toml"
        path.write_text(text)
        while True:
            with running([*_editor(), str(path)]) as editor:
                editor.wait()
            changed = path.read_text(errors="surrogateescape")
            try:
                check_machine_text(sysroot, changed)
            except AtollError as error:
                reporter.notice(f"{error.message}\n  {error.hint or ''}".rstrip())
                answer = input("Edit again? [Y/n] ").strip().lower()
                if answer in ("n", "no"):
                    raise NothingToDo("given up: the machine file is as it was") from None
                continue
            return changed


def _editor() -> list[str]:
    named = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if named:
        return shlex.split(named)
    found = next((name for name in _EDITORS if find_program(name)), None)
    if found is None:
        raise UsageError("no editor is installed", hint="name one: EDITOR=PROGRAM atoll edit")
    return [found]
