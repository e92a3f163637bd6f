"""The parser of a verb's arguments: help at 80 columns, and mistakes as ``UsageError``."""

from __future__ import annotations

import argparse
from typing import NoReturn

from atoll.base.errors import UsageError


class Parser(argparse.ArgumentParser):
    """Options are never abbreviated: a shortened one would change meaning when more come."""

    def __init__(self, *, prog: str, description: str, epilog: str) -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            formatter_class=_Formatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:  # type: ignore[explicit-override]
        raise UsageError(message, hint=f"see: {self.prog} --help")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=80)
