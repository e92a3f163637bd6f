"""Per-path rules: whose version of a path in ``/etc`` wins when the image changes.

A pattern is a path below ``/etc``, with or without ``/etc/`` before it: ``*`` and ``?`` stand for
anything but a slash, ``**`` for anything. What it matches, it matches with everything below. The
first rule that matches counts; where none does, changes are merged.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum

from atoll.base.errors import UsageError
from atoll.tree.identities import LOCAL_IN_ETC


class Winner(StrEnum):
    IMAGE = "image"
    """Exactly what the image has; changes made here are dropped."""
    LOCAL = "local"
    """What is here, and the image's only where the path never was on this machine."""
    MERGE = "merge"


@dataclass(frozen=True, slots=True)
class EtcRule:
    pattern: str
    winner: Winner
    expression: re.Pattern[str] = field(compare=False, repr=False)


Rules = tuple[EtcRule, ...]


def parse_rule(pattern: str, winner: str) -> EtcRule:
    """Raises UsageError when the pattern leaves ``/etc`` or ``winner`` is no Winner."""
    path = pattern.removeprefix("/etc/")
    if path.startswith("/") or not path or ".." in path.split("/"):
        raise UsageError(
            f"{pattern!r} is not a path below /etc", hint='write it as "/etc/NAME" or "NAME"'
        )
    try:
        wins = Winner(winner)
    except ValueError:
        known = ", ".join(Winner)
        raise UsageError(f"{pattern}: {winner!r} is not one of: {known}") from None
    return EtcRule(pattern, wins, re.compile(_expression(path.rstrip("/")), re.DOTALL))


def winner(rules: Rules, path: str) -> Winner:
    for rule in rules:
        if rule.expression.fullmatch(path):
            return rule.winner
    return Winner.MERGE


def with_defaults(rules: Rules) -> Rules:
    """``rules`` between what no rule changes and what holds where no rule says otherwise."""
    return (*_ALWAYS, *rules, *_DEFAULTS)


def _expression(path: str) -> str:
    parts = {"**": ".*", "*": "[^/]*", "?": "[^/]"}
    words = re.split(r"(\*\*|\*|\?)", path)
    return "".join(parts.get(word, re.escape(word)) for word in words) + "(/.*)?"


_ALWAYS = tuple(parse_rule(pattern, "local") for pattern in ("machine-id", *LOCAL_IN_ETC))
"""Once made, they are the machine's."""

_DEFAULTS = (
    # Backups and locks of the programs that edit users: the last edit is the machine's own.
    *(
        parse_rule(f"{name}-", "local")
        for name in ("passwd", "group", "shadow", "gshadow", "subuid", "subgid")
    ),
    parse_rule(".pwd.lock", "local"),
    # Describes the libraries in /usr, which is the image's.
    parse_rule("ld.so.cache", "image"),
)

_MADE = tuple(
    parse_rule(path, "local")
    for path in ("ssh/ssh_host_*", ".updated", "adjtime", "resolv.conf", "mtab")
)
"""What programs write by themselves on every machine."""


def is_machine_made(path: str) -> bool:
    """Whether a change of ``path`` below ``/etc`` is the machine's own doing, and no person's."""
    rules = (*_ALWAYS, *_DEFAULTS, *_MADE)
    return any(rule.expression.fullmatch(path) for rule in rules)
