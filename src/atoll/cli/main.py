"""The command ``atoll``: finds the verb, runs it, and turns every way to end into an exit code.

A verb is the module of its name in this package, with ``add_arguments(parser)`` and
``run(arguments, reporter) -> exit code``; it is imported when it is used, so that the others cost
nothing. ``VERBS`` names them all, a line each.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NamedTuple

from atoll import __version__

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from types import ModuleType

BOOTED = "/run/atoll/booted"
"""Early boot writes it; where it is, the machine runs a tree of Atoll's."""
UMASK = 0o022
"""Of every verb, whatever the caller's is: modes of what Atoll makes are Atoll's decision alone.
What only some may read is made with its own mode from the start."""


class Verb(NamedTuple):
    name: str
    who: str
    help: str
    example: str


VERBS = (
    Verb("status", "every day", "show what runs and what boots next", "atoll status"),
    Verb("plan", "every day", "show what an upgrade would do", "atoll plan"),
    Verb("upgrade", "every day", "take the newest version of the image", "atoll upgrade"),
    Verb("rollback", "every day", "go back to an older deployment", "atoll rollback"),
    Verb(
        "rebase", "every day", "switch to another image", "atoll rebase oci:/media/usb/kde:stable"
    ),
    Verb(
        "install",
        "machine",
        "install an image onto mounted partitions",
        "atoll install store:hello --root DIR",
    ),
    Verb("etc", "machine", "list changes in /etc, resolve conflicts, reset", "atoll etc diff"),
    Verb("health", "machine", "show how this boot and earlier ones went", "atoll health"),
    Verb("pin", "machine", "keep a deployment, whatever policy says", "atoll pin 3"),
    Verb("unpin", "machine", "let a deployment be removed again", "atoll unpin 3"),
    Verb("history", "machine", "show what was done to this machine", "atoll history"),
    Verb("cancel", "machine", "drop what is staged or downloaded", "atoll cancel"),
    Verb("gc", "machine", "remove what is no longer needed", "atoll gc"),
    Verb("check", "maker", "find the mistakes in a recipe", "atoll check examples/hello"),
    Verb(
        "new",
        "maker",
        "begin a recipe, with all that belongs to it",
        "atoll new reef --template server",
    ),
    Verb(
        "explain",
        "maker",
        "explain a key, a lint, an error or an exit code",
        "atoll explain packages.install",
    ),
    Verb("lock", "maker", "pin every package of a recipe", "atoll lock examples/hello --update"),
    Verb(
        "build", "maker", "build the system that a recipe describes", "atoll build examples/hello"
    ),
    Verb(
        "diff", "maker", "show what changed between two systems", "atoll diff store:hello oci:out:2"
    ),
    Verb("sbom", "maker", "list what an image is made of (SPDX)", "atoll sbom store:hello"),
    Verb("inspect", "maker", "show what is in an image", "atoll inspect oci:hello:1"),
    Verb("disk", "maker", "make a disk image that boots", "atoll disk store:hello hello.img"),
    Verb("vm", "maker", "run an image in a virtual machine", "atoll vm store:hello"),
    Verb("test", "maker", "boot an image and run its tests in it", "atoll test examples/hello"),
    Verb("pull", "maker", "fetch an image into the store", "atoll pull oci:hello:1"),
    Verb("tree", "plumbing", "digest, dump, image or list a tree", "atoll tree digest ."),
    Verb("store", "plumbing", "list and check what the store keeps", "atoll store list"),
)

_WHO = ("every day", "machine", "maker", "plumbing")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code. Everything that goes wrong is told here."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        from atoll.cli.output.terminal import safe_streams
        from atoll.host.signals import interrupt_on_signals

        interrupt_on_signals()
        before = os.umask(UMASK)
        try:
            with safe_streams():
                return _run_and_tell(words)
        finally:
            os.umask(before)
    except BaseException as error:
        return _tell(error, words)


def _run_and_tell(words: list[str]) -> int:
    try:
        code = _run(words)
        sys.stdout.flush()
    except BaseException as error:
        return _tell(error, words)
    return code


def _tell(error: BaseException, words: list[str]) -> int:
    from atoll.cli.output.errors import print_failure

    return print_failure(error, words)


def _run(words: list[str]) -> int:
    if not words:
        return _show_state()
    if words[0] in ("-h", "--help") or words == ["help"]:
        print(format_help(), end="")
        return 0
    if words[0] in ("-V", "--version") or words in (["-v"], ["version"]):
        print(f"atoll {__version__}")
        return 0
    if words[0] == "help":
        words = [words[1], "--help"]
    return _run_verb(words)


def _run_verb(words: list[str]) -> int:
    from atoll.cli import foreign_verbs

    names = tuple(verb.name for verb in VERBS)
    foreign_verbs.refuse_package_names(words)
    verb = next((verb for verb in VERBS if verb.name == words[0]), None)
    if verb is None:
        raise foreign_verbs.unknown_verb(words, names)
    module = _module(verb)
    parser = verb_parser(verb)
    try:
        arguments = parser.parse_args(words[1:])
    except SystemExit as end:
        return int(end.code or 0)
    from atoll.cli.output.progress import reporter_for

    quiet = getattr(arguments, "quiet", False)
    return int(module.run(arguments, reporter_for(sys.stderr, quiet=quiet)))


def _module(verb: Verb) -> ModuleType:
    from importlib import import_module

    return import_module(f"atoll.cli.{verb.name}")


def verb_parser(verb: Verb) -> argparse.ArgumentParser:
    """What reads the words after a verb."""
    from atoll.cli.arguments import Parser

    parser = Parser(
        prog=f"atoll {verb.name}",
        description=f"{verb.help[0].upper()}{verb.help[1:]}.",
        epilog=f"example:\n  {verb.example}",
    )
    _module(verb).add_arguments(parser)
    return parser


def _show_state() -> int:
    if os.access(BOOTED, os.F_OK) and any(verb.name == "status" for verb in VERBS):
        return _run_verb(["status"])
    print(f"Atoll {__version__} makes and runs image-based Linux systems from Debian packages.")
    print("This machine does not run one of them.\n")
    print("To make one:")
    print("  atoll new reef          begin a recipe: a file that describes a system")
    print("  atoll check reef        find its mistakes")
    print("  sudo atoll build reef   build the system")
    print("  sudo atoll vm reef      run it in a virtual machine")
    print("\nAll verbs: atoll --help")
    return 0


def format_help() -> str:
    """All verbs, by who uses them; at most 80 columns wide."""
    lines = ["usage: atoll VERB …", ""]
    lines += ["Makes and runs image-based Linux systems from Debian packages."]
    for who in _WHO:
        lines += ["", f"{who}:"] if any(verb.who == who for verb in VERBS) else []
        for verb in VERBS:
            if verb.who == who:
                lines += [f"  {verb.name:<10} {verb.help}", f"  {'':<10}   {verb.example}"]
    lines += ["", "  atoll VERB --help   what a verb takes", "  atoll --version"]
    return "".join(f"{line}\n" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
