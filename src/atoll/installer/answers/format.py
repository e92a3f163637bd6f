"""Formatting answers as an answers file, to install the next machine in the same way.

No secret is written: in place of the password's hash stands what to put there, and a passphrase is
asked for in a file of its own.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from atoll.installer.answers.schema import SCHEMA, TOP

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from atoll.installer.answers.parse import Answers
    from atoll.recipe.language.schema_model import TableRule

_PASSWORD = ("user", "password")


def format_answers(answers: Answers) -> str:
    """In the order of the schema; what is not set is left out."""
    return "".join(f"{line}\n" for line in _lines(TOP, _values(answers), ()))


def _values(answers: Answers) -> dict[str, object]:
    target, settings, encryption = answers.target, answers.settings, answers.encryption
    system = {name: getattr(settings, name) for name in ("hostname", "locale", "timezone")}
    network: dict[str, object] = {}
    if settings.wifi is not None:
        file = answers.wifi_passphrase_file
        network["wifi"] = {"ssid": settings.wifi.ssid, "passphrase_file": file}
    if settings.address is not None:
        network["address"] = asdict(settings.address)
    return {
        "schema": SCHEMA,
        "image": answers.image,
        "follow": answers.follow,
        "target": {
            target.kind: target.device,
            "esp": target.esp,
            "home": target.home,
            "erase": target.kind != "free_space",
        }
        if target
        else {},
        "encryption": asdict(encryption) if encryption else {},
        "user": asdict(settings.user),
        "system": system,
        "keyboard": asdict(settings.keyboard) if settings.keyboard else {},
        "network": network,
    }


def _lines(rule: TableRule, values: Mapping[str, object], path: tuple[str, ...]) -> Iterator[str]:
    lines = []
    for key in rule.keys:
        value = values.get(key.name)
        if (*path, key.name) == _PASSWORD:
            lines.append("# add: password = what mkpasswd prints, in quotes")
        elif value not in (None, "", (), False, key.default):
            lines.append(f"{key.name} = {json.dumps(value, ensure_ascii=False)}")
    if lines and path:
        yield from ("", f"[{'.'.join(path)}]")
    yield from lines
    for inner in rule.tables:
        below = values.get(inner.name)
        if isinstance(below, dict) and below:
            yield from _lines(inner, below, (*path, inner.name))
