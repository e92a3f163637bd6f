"""The last question before something is written: the name of the disk, typed or named before, or
yes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from atoll.base.errors import Refused, UsageError

if TYPE_CHECKING:
    from pathlib import Path


def confirm_disk(disk: Path, yes_erase: str | None) -> None:
    """Return when a person types the name of ``disk``, or gave it in ``--yes-erase``.

    What is lost was printed before. The question goes to stderr, because stdout may be JSON.
    Raises UsageError for the name of another disk, or Refused.
    """
    names = (disk.name, str(disk))
    if yes_erase is not None:
        if yes_erase not in names:
            raise UsageError(
                f"--yes-erase names {yes_erase}, and the disk is {disk.name}",
                hint="look at what is lost, above, then name the disk",
            )
        return
    if not sys.stdin.isatty():
        raise Refused(
            "nothing is written to a disk without a confirmation, and there is no terminal",
            hint=f"look at what is lost, above, then add: --yes-erase {disk.name}",
        )
    question = f"Type {disk.name} to go on, anything else to stop: "
    print(question, end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() not in names:
        raise Refused("not confirmed: nothing was changed", hint="start again when you are sure")


def ask_passphrase() -> str:
    """A new passphrase, typed twice without being shown. Raises UsageError without a terminal, or
    when both differ."""
    if not sys.stdin.isatty():
        raise UsageError(
            "there is no terminal on which to type a passphrase",
            hint="name a file that has it: [encryption] passphrase_file in an answers file",
        )
    from getpass import getpass

    first = getpass("Passphrase that will open the disk: ", stream=sys.stderr)
    if getpass("Once more: ", stream=sys.stderr) != first:
        raise UsageError("the two passphrases differ", hint="start again")
    return first


def confirm_change(what: str, *, yes: bool, word: str = "yes") -> None:
    """Return when a person types ``word``, or gave ``--yes``. What is done was printed before.

    The question goes to stderr, because stdout may be JSON. Raises Refused.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise Refused(
            "nothing is changed without a confirmation, and there is no terminal",
            hint="look at the plan, above, then add: --yes",
        )
    print(f"Type {word} to {what}, anything else to stop: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != word:
        raise Refused("not confirmed: nothing was changed", hint="start again when you are sure")
