"""What a report shows of the machine file: no contents of files, no passwords, no keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.base.toml import parse_toml

if TYPE_CHECKING:
    from atoll.machine.report.redact import Json

LEFT_OUT = "(left out)"
_SHOWN = frozenset(("schema", "from", "packages", "kernel", "units", "keep", "etc", "update"))
"""Tables whose values are shown. Of all others only what names and places things."""
_PLAIN = frozenset(
    ("path", "name", "mode", "owner", "group", "uid", "gid", "system", "groups", "link", "network")
)
_NEVER = frozenset(("dropin", "debconf"))


def show_machine_file(text: str) -> Json:
    """The machine file as a document in which values that may be secret are replaced. A text that
    is no TOML is left out as a whole."""
    try:
        table = parse_toml(text)
    except ValueError:
        return LEFT_OUT
    return {key: _show(value, plain=key in _SHOWN) for key, value in table.items()}


def _show(value: object, *, plain: bool) -> Json:
    match value:
        case dict():
            return {
                key: LEFT_OUT
                if key in _NEVER or not (plain or key in _PLAIN)
                else _show(each, plain=True)
                for key, each in value.items()
            }
        case list():
            return [_show(each, plain=plain) for each in value]
        case bool() | int() | float() | str() if plain:
            return value
    return LEFT_OUT
