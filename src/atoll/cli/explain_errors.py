"""The part of ``atoll explain`` that says what an error or an exit code means."""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, NamedTuple

from atoll.base import errors
from atoll.cli.output.errors import BROKEN_PIPE, UNEXPECTED

if TYPE_CHECKING:
    from collections.abc import Sequence


class ErrorHelp(NamedTuple):
    name: str | None
    code: int
    doc: str


_WITHOUT_CLASS = (
    ErrorHelp(None, 0, "Success."),
    ErrorHelp(None, UNEXPECTED, "A bug in Atoll; ATOLL_DEBUG=1 shows where."),
    ErrorHelp(None, BROKEN_PIPE, "The reader of the output closed it (broken pipe)."),
)


def find_errors(word: str) -> tuple[ErrorHelp, ...]:
    """The errors of that name, or all with that exit code; none where it is neither."""
    known = (*_classes(), *_WITHOUT_CLASS)
    if word.isdecimal():
        found = tuple(told for told in known if str(told.code) == word)
        if not found:
            codes = ", ".join(str(code) for code in sorted({told.code for told in known}))
            raise errors.UsageError(f"Atoll has no exit code {word}", hint=f"exit codes: {codes}")
        return found
    return tuple(told for told in known if told.name and told.name.lower() == word.lower())


def tell(found: Sequence[ErrorHelp], *, as_json: bool) -> None:
    if as_json:
        listed = [{"name": told.name, "exit_code": told.code, "doc": told.doc} for told in found]
        print(json.dumps({"errors": listed}, indent=2))
        return
    for told in found:
        print(
            f"{told.name or 'exit code'}{':' if told.name else ''} "
            f"{f'exit code {told.code}' if told.name else told.code}"
        )
        for line in told.doc.splitlines():
            print(f"  {line}".rstrip())


def _classes() -> tuple[ErrorHelp, ...]:
    kinds = [
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.AtollError)
    ]
    kinds.sort(key=lambda kind: kind.exit_code)
    return tuple(
        ErrorHelp(kind.__name__, kind.exit_code, inspect.getdoc(kind) or "") for kind in kinds
    )
