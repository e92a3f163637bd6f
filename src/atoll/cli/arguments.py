"""The parser of a verb's arguments: help at 80 columns, and mistakes as ``UsageError``."""

from __future__ import annotations

import argparse
from typing import NoReturn

from atoll.base.errors import UsageError


class Parser(argparse.ArgumentParser):
    """Takes ``--quiet``, as do the parsers of the verbs within a verb (``tree digest``).

    Options are never abbreviated: a shortened one would change its meaning when more come.
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
        # Without a default, so that the inner parser does not undo what the outer one has read.
        self.add_argument(
            "--quiet", action="store_true", default=argparse.SUPPRESS, help="say nothing but errors"
        )

    def error(self, message: str) -> NoReturn:  # type: ignore[explicit-override]
        raise UsageError(message, hint=f"see: {self.prog} --help")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=80)
