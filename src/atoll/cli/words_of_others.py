"""Words that people bring from other tools: never obeyed, always answered with ours."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from atoll.base.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

OURS = {
    "update": "upgrade",
    "dist-upgrade": "upgrade",
    "full-upgrade": "upgrade",
    "switch": "rebase",
    "undo": "rollback",
    "revert": "rollback",
    "list": "status",
    "ls": "status",
    "generations": "history",
    "log": "history",
    "deploy": "install",
    "uninstall": "remove",
    "purge": "remove",
    "erase": "remove",
    "find": "search",
    "clean": "gc",
    "autoremove": "gc",
    "cleanup": "gc",
    "init": "new",
    "create": "new",
    "lint": "check",
    "validate": "check",
    "make": "build",
    "compose": "build",
    "layer": "add",
    "run": "vm",
    "show": "inspect",
    "info": "inspect",
}
"""What other tools call it: what Atoll calls it."""

_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")


def unknown_verb(words: Sequence[str], verbs: Sequence[str]) -> UsageError:
    """What to tell somebody whose first word is none of ``verbs``."""
    import difflib

    word = words[0]
    if word.startswith("-"):
        return UsageError(f"the verb comes first, then {word}", hint="see: atoll --help")
    if word in OURS:
        ours = OURS[word]
        if ours in verbs:
            return UsageError(f"there is no {word}; in Atoll it is: {ours}", hint=_help(ours))
        message = f"there is no {word}; in Atoll it is {ours}, which this version does not have"
        return UsageError(message, hint="see: atoll --help")
    near = difflib.get_close_matches(word, verbs, n=1)
    hint = f"did you mean: atoll {near[0]}" if near else "see: atoll --help"
    return UsageError(f"there is no verb {word!r}", hint=hint)


def refuse_package_names(words: Sequence[str], verbs: Sequence[str]) -> None:
    """``install htop`` means a package elsewhere; ours puts a system onto a disk."""
    given = words[1:]
    if words[0] != "install" or not given:
        return
    if any(not _PACKAGE.fullmatch(word) or os.access(word, os.F_OK) for word in given):
        return
    hint = f"for the machine: atoll add {' '.join(given)}"
    if "add" not in verbs:
        hint = f"put {', '.join(given)} into [packages] install of the recipe, and build it"
    raise UsageError("atoll install puts a system onto a disk; it takes no packages", hint=hint)


def _help(verb: str) -> str:
    return f"see: atoll {verb} --help"
