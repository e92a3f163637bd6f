"""The command ``atoll``: it finds the verb, runs it, and turns the result or error into an exit
code.

A verb is the module of its name in this package, with ``add_arguments(parser)`` and
``run(arguments, reporter) -> exit code``. Only the module of the used verb is imported. A verb that
imports much has its ``run`` in the module of its name in ``cli/run/``, so that ``--help`` stays
fast. ``VERBS`` lists all verbs.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NamedTuple

from atoll import __version__

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from types import ModuleType

    from atoll.base.report import Reporter

BOOTED = "/run/atoll/booted"
"""Early boot writes it: if it exists, this machine runs an Atoll system."""
UMASK = 0o022
"""Set for every verb, so that the caller's umask does not change the modes of what Atoll writes.
Private files are created with their own mode from the start."""


class Verb(NamedTuple):
    name: str
    who: str
    help: str
    example: str


VERBS = (
    Verb("status", "daily use", "show what runs and what boots next", "atoll status"),
    Verb("plan", "daily use", "show what an upgrade would do", "atoll plan"),
    Verb("upgrade", "daily use", "upgrade to the newest version of the image", "atoll upgrade"),
    Verb("add", "daily use", "add packages to this machine", "atoll add htop"),
    Verb("remove", "daily use", "remove packages from this machine", "atoll remove htop"),
    Verb("search", "daily use", "find packages by name or description", "atoll search editor"),
    Verb("rollback", "daily use", "go back to an older deployment", "atoll rollback"),
    Verb(
        "rebase", "daily use", "switch to another image", "atoll rebase oci:/media/usb/kde:stable"
    ),
    Verb("confirm", "daily use", "keep a version that must be confirmed", "atoll confirm"),
    Verb("auto", "daily use", "show when and how the machine updates itself", "atoll auto"),
    Verb(
        "install",
        "machine administration",
        "install an image on a disk, a partition or in free space",
        "atoll install store:hello --disk /dev/sdX",
    ),
    Verb(
        "edit",
        "machine administration",
        "edit the machine file: what this machine adds to its image",
        "atoll edit",
    ),
    Verb("apply", "machine administration", "apply the machine file", "atoll apply"),
    Verb(
        "capture",
        "machine administration",
        "run an installer in a sandbox, and keep what it did",
        "atoll capture -- sh ./install.sh",
    ),
    Verb(
        "kargs",
        "machine administration",
        "show, add or remove kernel arguments",
        "atoll kargs add quiet",
    ),
    Verb(
        "etc",
        "machine administration",
        "show changes in /etc, resolve conflicts, reset files",
        "atoll etc diff",
    ),
    Verb(
        "drift",
        "machine administration",
        "show what differs on this machine from its image",
        "atoll drift",
    ),
    Verb(
        "health",
        "machine administration",
        "show the health of this boot and earlier ones",
        "atoll health",
    ),
    Verb(
        "report",
        "machine administration",
        "describe this machine for a bug report, without secrets",
        "atoll report > report.md",
    ),
    Verb(
        "reset",
        "machine administration",
        "make this machine as it was first installed",
        "atoll reset --keep-home",
    ),
    Verb("pin", "machine administration", "protect a deployment from removal", "atoll pin 3"),
    Verb("unpin", "machine administration", "let a deployment be removed again", "atoll unpin 3"),
    Verb(
        "history", "machine administration", "show what was done to this machine", "atoll history"
    ),
    Verb(
        "cancel", "machine administration", "discard a staged or downloaded upgrade", "atoll cancel"
    ),
    Verb(
        "scratch",
        "machine administration",
        "make /usr writable until the next boot",
        "atoll scratch",
    ),
    Verb("gc", "machine administration", "remove old deployments and unused data", "atoll gc"),
    Verb("check", "building images", "check a recipe for errors", "atoll check examples/hello"),
    Verb(
        "new",
        "building images",
        "create a repository with a new recipe",
        "atoll new reef --template server",
    ),
    Verb(
        "explain",
        "building images",
        "explain a key, a lint, an error or an exit code",
        "atoll explain packages.install",
    ),
    Verb(
        "lock",
        "building images",
        "lock every package of a recipe to a version",
        "atoll lock examples/hello --update",
    ),
    Verb(
        "build",
        "building images",
        "build the system that a recipe describes",
        "atoll build examples/hello",
    ),
    Verb(
        "diff",
        "building images",
        "show what changed between two systems",
        "atoll diff store:hello oci:out:2",
    ),
    Verb(
        "sbom",
        "building images",
        "write the bill of materials of an image (SPDX)",
        "atoll sbom store:hello",
    ),
    Verb("inspect", "building images", "show what is in an image", "atoll inspect oci:hello:1"),
    Verb(
        "disk",
        "building images",
        "create a bootable disk image",
        "atoll disk store:hello hello.img",
    ),
    Verb("vm", "building images", "run an image in a virtual machine", "atoll vm store:hello"),
    Verb(
        "test",
        "building images",
        "boot an image and run its tests in it",
        "atoll test examples/hello",
    ),
    Verb("pull", "building images", "fetch an image into the store", "atoll pull oci:hello:1"),
    Verb("tree", "plumbing", "digest, dump, convert or list a tree", "atoll tree digest ."),
    Verb("live", "plumbing", "carry out a live change", "atoll live finish"),
    Verb("store", "plumbing", "list, check and remove images in the store", "atoll store list"),
)

_WHO = ("daily use", "machine administration", "building images", "plumbing")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code. All errors are printed here."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        from atoll.cli.output.terminal import safe_streams
        from atoll.host.signals import interrupt_on_signals

        interrupt_on_signals()
        before = os.umask(UMASK)
        try:
            with safe_streams():
                return _run_safely(words)
        finally:
            os.umask(before)
    except BaseException as error:
        return _print_failure(error, words)


def _run_safely(words: list[str]) -> int:
    """Run the verb, and print an error while stdout and stderr still escape what they print."""
    try:
        code = _run(words)
        sys.stdout.flush()
    except BaseException as error:
        return _print_failure(error, words)
    return code


def _print_failure(error: BaseException, words: list[str]) -> int:
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
    parser = verb_parser(verb)
    try:
        arguments = parser.parse_args(words[1:])
    except SystemExit as end:
        return int(end.code or 0)
    from atoll.cli.output.progress import reporter_for

    quiet = getattr(arguments, "quiet", False)
    return int(find_run(verb)(arguments, reporter_for(sys.stderr, quiet=quiet)))


def _module(verb: Verb) -> ModuleType:
    from importlib import import_module

    return import_module(f"atoll.cli.{verb.name}")


def find_run(verb: Verb) -> Callable[[argparse.Namespace, Reporter], int]:
    """The verb's ``run``, from its module or from ``cli/run/``."""
    from importlib import import_module

    module = _module(verb)
    if not hasattr(module, "run"):
        module = import_module(f"atoll.cli.run.{verb.name}")
    run: Callable[[argparse.Namespace, Reporter], int] = module.run
    return run


def verb_parser(verb: Verb) -> argparse.ArgumentParser:
    """The parser of the words after a verb."""
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
    print(f"Atoll {__version__} builds and runs image-based Linux systems from Debian packages.")
    print("This machine does not run such a system.\n")
    print("To create one:")
    print("  atoll new reef          create a recipe: a file that describes a system")
    print("  atoll check reef        check it for errors")
    print("  sudo atoll build reef   build the system")
    print("  sudo atoll vm reef      run it in a virtual machine")
    print("\nAll verbs: atoll --help")
    return 0


def format_help() -> str:
    """The list of all verbs, grouped by their users, at most 80 columns wide."""
    lines = ["usage: atoll VERB …", ""]
    lines += ["Build and run image-based Linux systems from Debian packages."]
    for who in _WHO:
        lines += ["", f"{who}:"] if any(verb.who == who for verb in VERBS) else []
        for verb in VERBS:
            if verb.who == who:
                lines += [f"  {verb.name:<10} {verb.help}", f"  {'':<10}   {verb.example}"]
    lines += [
        "",
        "  atoll VERB --help   show the arguments of a verb",
        "  atoll --version     show the version",
    ]
    return "".join(f"{line}\n" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
