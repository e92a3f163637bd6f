"""Rules for the merge of /etc: whose version of a path wins when the image changes.

A pattern is a path below ``/etc``, with or without the prefix ``/etc/``. ``*`` and ``?`` match
anything but a slash, ``**`` matches anything. A pattern also matches everything below a matched
directory. The first matching rule applies; without one, changes are merged.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum

from atoll.base.errors import UsageError
from atoll.tree.identities import LOCAL_IN_ETC


class Winner(StrEnum):
    """Whose version of a path wins."""

    IMAGE = "image"
    """The image's version; local changes are dropped."""
    LOCAL = "local"
    """The machine's version; the image's only if the path never existed on this machine."""
    MERGE = "merge"
    """A three-way merge."""


@dataclass(frozen=True, slots=True)
class EtcRule:
    """A rule; ``expression`` is the compiled pattern, for paths relative to /etc."""

    pattern: str
    winner: Winner
    expression: re.Pattern[str] = field(compare=False, repr=False)


Rules = tuple[EtcRule, ...]


def parse_rule(pattern: str, winner: str) -> EtcRule:
    """Parse a rule. Raises UsageError if the pattern leaves ``/etc`` or ``winner`` is unknown."""
    path = pattern.removeprefix("/etc/")
    if path.startswith("/") or not path or ".." in path.split("/"):
        raise UsageError(
            f"{pattern!r} is not a path below /etc", hint='write it as "/etc/NAME" or "NAME"'
        )
    try:
        parsed = Winner(winner)
    except ValueError:
        known = ", ".join(Winner)
        raise UsageError(f"{pattern}: {winner!r} is not one of: {known}") from None
    return EtcRule(pattern, parsed, re.compile(_expression(path.rstrip("/")), re.DOTALL))


def winner(rules: Rules, path: str) -> Winner:
    """The winner for ``path``, relative to ``/etc``."""
    for rule in rules:
        if rule.expression.fullmatch(path):
            return rule.winner
    return Winner.MERGE


def with_defaults(rules: Rules) -> Rules:
    """``rules`` between those that no rule overrides and the defaults."""
    return (*_ALWAYS, *rules, *_DEFAULTS)


def _expression(path: str) -> str:
    parts = {"**": ".*", "*": "[^/]*", "?": "[^/]"}
    tokens = re.split(r"(\*\*|\*|\?)", path)
    return "".join(parts.get(token, re.escape(token)) for token in tokens) + "(/.*)?"


_ALWAYS = tuple(parse_rule(pattern, "local") for pattern in ("machine-id", *LOCAL_IN_ETC))
"""The machine's identity: once created, it is never replaced by an image."""

_DEFAULTS = (
    # Backup and lock files of shadow's tools: they belong to the machine's last edit.
    *(
        parse_rule(f"{name}-", "local")
        for name in ("passwd", "group", "shadow", "gshadow", "subuid", "subgid")
    ),
    parse_rule(".pwd.lock", "local"),
    # The cache of the libraries in /usr, which comes from the image.
    parse_rule("ld.so.cache", "image"),
)

_GENERATED = tuple(
    parse_rule(path, "local")
    for path in ("ssh/ssh_host_*", ".updated", "adjtime", "resolv.conf", "mtab")
)
"""Files that programs write without a person's doing on every machine."""


def is_machine_made(path: str) -> bool:
    """Whether programs, and not a person, change ``path`` (relative to ``/etc``)."""
    rules = (*_ALWAYS, *_DEFAULTS, *_GENERATED)
    return any(rule.expression.fullmatch(path) for rule in rules)
