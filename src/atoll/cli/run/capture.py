"""``atoll capture``: what it does; ``cli/capture.py`` has its arguments."""

from __future__ import annotations

import json
import re
import sys
from pathlib import PurePath
from shlex import quote
from typing import TYPE_CHECKING

from atoll.base.errors import NothingToDo, ProgramFailed, UsageError
from atoll.base.text import one_line
from atoll.cli.confirm_time import read_confirm_time
from atoll.cli.output.capture import captured_as_json, format_captured
from atoll.cli.run_change import run_change
from atoll.host.fs import require_root
from atoll.layering.capture.keep import (
    find_obstacles,
    keep_as_layer,
    keep_as_script,
    make_removal,
    require_keepable,
)
from atoll.layering.capture.record import find_free_name, script_name
from atoll.layering.capture.run_captured import CaptureRequest, captured
from atoll.machine.deployments.sysroot import find_installed
from atoll.machine.live.live import require_ready
from atoll.recipe.language.check_values import check_script_name

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from atoll.base.report import Reporter
    from atoll.layering.capture.run_captured import CapturedChanges

_ANSWERS = {"l": "layer", "layer": "layer", "s": "script", "script": "script"}
_LONGEST_NAME = 40


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    _check_usage(arguments)
    read_confirm_time(arguments)
    sysroot = find_installed(arguments.root)
    if arguments.live:
        require_ready(sysroot)
    if sysroot.is_running:
        require_root("capturing what a program does")
    if arguments.remove is not None:
        return run_change(arguments, make_removal(sysroot, arguments.remove), reporter)
    request = CaptureRequest(
        words=tuple(arguments.command),
        inputs=tuple(arguments.input),
        network=arguments.network,
        name=arguments.name,
    )
    reporter.notice(f"running in a sandbox: {one_line(' '.join(arguments.command))}")
    with captured(sysroot, request, reporter, _print_line) as found:
        name = choose_name(arguments, found)
        answer = _decide(arguments, found, name, reporter)
        more = captured_as_json(found, name, answer)
        if answer == "nothing":
            if arguments.json:
                print(json.dumps(more, indent=2))
            return _throw_away(found, reporter)
        change = (keep_as_layer if answer == "layer" else keep_as_script)(found, name)
    return run_change(
        arguments, change, reporter, undo=f"capture --remove {quote(name)}", more=more
    )


def _check_usage(arguments: argparse.Namespace) -> None:
    if arguments.remove is not None:
        if arguments.command or arguments.keep or arguments.name or arguments.network:
            raise UsageError("--remove goes with no command", hint="see: atoll capture --help")
        return
    if not arguments.command:
        raise UsageError(
            "there is no command to run", hint="for example: atoll capture -- sh ./install.sh"
        )
    if arguments.live and arguments.keep == "nothing":
        raise UsageError("--live does not go with --keep nothing")
    if arguments.name is not None and (flaw := check_script_name(script_name(arguments.name))):
        raise UsageError(f"--name: {flaw.message}", hint=flaw.hint)


def choose_name(arguments: argparse.Namespace, found: CapturedChanges) -> str:
    """The name that was asked for, or one from the command, with a number where an earlier layer
    has left its files under it."""
    name = arguments.name or suggest_name(tuple(arguments.command))
    return find_free_name(name, {*found.layers, *found.taken})


def suggest_name(words: tuple[str, ...]) -> str:
    """A name from the first word that is a path, else from the program."""
    word = next((each for each in words if "/" in each and " " not in each), words[0])
    name = re.sub(r"[^A-Za-z0-9]+", "-", PurePath(word).stem).strip("-").lower()
    return name[:_LONGEST_NAME].strip("-") or "captured"


def _print_line(line: str) -> None:
    print(f"  | {line}", file=sys.stderr, flush=True)


def _decide(
    arguments: argparse.Namespace, found: CapturedChanges, name: str, reporter: Reporter
) -> str:
    """What is kept: ``layer``, ``script`` or ``nothing``. Raises NothingToDo."""
    if found.is_empty and not found.run.status:
        raise NothingToDo("it changed nothing")
    if not arguments.json:
        print("\n".join(map(one_line, format_captured(found, name))))
        sys.stdout.flush()
    if arguments.keep is not None:
        return str(arguments.keep)
    obstacles = find_obstacles(found)
    if found.is_empty or all(obstacles.values()):
        return "nothing"
    for kind, obstacle in obstacles.items():
        if obstacle:
            reporter.notice(f"it cannot be kept as a {kind}: {one_line(obstacle)}")
    if arguments.json or not sys.stdin.isatty():
        why = "--json asks nothing" if arguments.json else "there is no terminal to ask on"
        reporter.notice(f"{why}; to keep it: --keep layer or --keep script")
        return "nothing"
    return ask(obstacles, found.run.status)


def ask(obstacles: Mapping[str, str], status: int) -> str:
    """The answer of the person at the terminal; the question goes to stderr."""
    words = [
        *(["l to keep it as a layer"] if not obstacles["layer"] else []),
        *(["s to keep it as a script that runs at each build"] if not obstacles["script"] else []),
    ]
    failed = f"It ended with status {status}. " if status else ""
    question = f"{failed}Type {', '.join(words)}, anything else to throw it away: "
    print(question, end="", file=sys.stderr, flush=True)
    answer = _ANSWERS.get(sys.stdin.readline().strip().lower(), "nothing")
    return "nothing" if obstacles.get(answer) else answer


def _throw_away(found: CapturedChanges, reporter: Reporter) -> int:
    """Raises ProgramFailed when the command failed, Refused when it could not be kept."""
    if found.run.status:
        raise ProgramFailed(found.run.words, found.run.status, "", hint=_hint_for(found.run.status))
    require_keepable(found)
    reporter.notice("nothing was kept, and nothing of this machine was changed")
    return 0


def _hint_for(status: int) -> str:
    if status == 127:
        return (
            "programs and files of this machine are not in the sandbox: see --input and --network"
        )
    if status == 126:
        return "it cannot be executed; for a script: atoll capture -- sh ./FILE"
    return "what it printed is above; nothing was kept, and nothing of this machine was changed"
