"""The parser of a verb's arguments: help is 80 columns wide, and errors are ``UsageError``."""

from __future__ import annotations

import argparse
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, NoReturn

from atoll.base.errors import UsageError
from atoll.base.suggest import find_nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


IMAGE_HELP = (
    "an image: docker://HOST/NAME:TAG, oci:DIR[:TAG], oci-archive:FILE, store:NAME or a tree"
    " digest in the store"
)
TREE_HELP = (
    "an image (docker://HOST/NAME:TAG, oci:DIR[:TAG], oci-archive:FILE, store:NAME), a name or a"
    " tree digest in the store, or a deployment (its number, booted, default, fallback)"
)

ROLES = ("booted", "default", "fallback")
"""Deployments that words name, beside numbers."""


class Parser(argparse.ArgumentParser):
    """A parser with ``--quiet``; also used for sub-verbs (``tree digest``).

    Abbreviated options are refused: they would change their meaning when a version adds options.
    """

    def __init__(
        self, *, prog: str, description: str | None = None, epilog: str | None = None
    ) -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            formatter_class=_Formatter,
            allow_abbrev=False,
        )
        # No default, so that the inner parser does not overwrite a value that the outer one has
        # read.
        self.add_argument(
            "--quiet", action="store_true", default=argparse.SUPPRESS, help="print only errors"
        )

    def parse_args(  # type: ignore[override, explicit-override]
        self, args: Sequence[str], namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        parse = self.parse_known_intermixed_args if self._is_intermixed else self.parse_known_args
        found, unknown = parse(args, namespace)
        if unknown:
            near = _near_option(unknown[0], self._option_string_actions)
            message = f"unrecognized arguments: {' '.join(unknown)}"
            raise UsageError(message, hint="; ".join(filter(None, [near, self._see])))
        return found

    @property
    def _is_intermixed(self) -> bool:
        """Whether words may be missing and others come before them: ``atoll disk IMAGE [OUT]``.

        In ``IMAGE --size 8G OUT`` argparse would else take OUT for missing before it reads it.
        """
        words = [each for each in self._actions if not each.option_strings]
        may_be_missing = any(each.nargs == argparse.OPTIONAL for each in words[1:])
        return may_be_missing and not any(each.nargs == argparse.PARSER for each in words)

    def error(self, message: str) -> NoReturn:  # type: ignore[explicit-override]
        raise UsageError(message, hint=self._see)

    @property
    def _see(self) -> str:
        return f"see: {self.prog} --help"


def _near_option(word: str, options: Iterable[str]) -> str | None:
    """A hint with the option that ``word`` probably means. Dashes do not count as common
    letters."""
    if not word.startswith("--"):
        return None
    known = [option[2:] for option in options if option.startswith("--")]
    near = find_nearest(word[2:].partition("=")[0], known)
    return f"did you mean: --{near[0]}" if near else None


def add_machine_arguments(*parsers: argparse.ArgumentParser) -> None:
    """Add ``--root`` and ``--json`` to a verb and its sub-verbs; read them with ``getattr``.

    They have no defaults, so that an inner parser does not overwrite a value of the outer one.
    """
    for parser in parsers:
        parser.add_argument(
            "--root",
            type=Path,
            metavar="DIR",
            default=argparse.SUPPRESS,
            help="use the machine in this directory",
        )
        parser.add_argument(
            "--json",
            action="store_true",
            default=argparse.SUPPRESS,
            help="print the result as JSON",
        )


def add_change_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what verbs that change the machine file have in common."""
    parser.add_argument(
        "--live", action="store_true", help="make it the running system now, without a reboot"
    )
    add_confirm_argument(parser)
    parser.add_argument(
        "--root", type=Path, metavar="DIR", help="use the machine in this directory"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def add_confirm_argument(parser: argparse.ArgumentParser) -> None:
    """Read it with ``cli/confirm_time.py``."""
    parser.add_argument(
        "--confirm",
        metavar="TIME",
        help="go back by itself unless atoll confirm is run within TIME, such as 10m, of the boot"
        " or the live change",
    )


def add_store_arguments(parser: argparse.ArgumentParser, *, json: bool = True) -> None:
    parser.add_argument("--store", metavar="DIR", type=Path, help="store to use")
    parser.add_argument(
        "--root",
        metavar="DIR",
        type=Path,
        help="use the deployments of the machine in this directory",
    )
    if json:
        parser.add_argument("--json", action="store_true", help="print the result as JSON")


def add_vm_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what ``atoll vm`` and ``atoll test`` have in common."""
    parser.add_argument("--variant", metavar="NAME", help="variant of the recipe")
    parser.add_argument(
        "--memory", metavar="MIB", type=int, default=2048, help="memory in MiB (default: 2048)"
    )
    parser.add_argument(
        "--cpus", metavar="N", type=int, help="number of virtual CPUs (default: 2, without KVM 1)"
    )
    parser.add_argument("--store", metavar="DIR", type=Path, help="store to use")


def format_option(name: str, value: object) -> str:
    """An option for a command in a hint, such as `` --store DIR``; empty without a value."""
    return "" if value is None else f" {name} {quote(str(value))}"


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=80)
