"""Questions to system services over D-Bus, asked with ``busctl`` of systemd.

Its JSON has a type and data for each value: ``{"type": "u", "data": [4]}``. No service is started
for a question: one that does not run has no answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.base.errors import AtollError, Damaged, ProgramFailed
from atoll.base.json import parse_json_object
from atoll.host.run import run

if TYPE_CHECKING:
    from collections.abc import Sequence

SECONDS = 10
"""How long a service may take to answer."""
PROPERTIES = "org.freedesktop.DBus.Properties"


def is_running(service: str) -> bool:
    """Whether ``service`` has its name on the bus; raises as ``call`` does."""
    bus = "org.freedesktop.DBus"
    return call(bus, "/org/freedesktop/DBus", bus, "NameHasOwner", "s", service) == [True]


def call(service: str, path: str, interface: str, member: str, *arguments: str) -> list[object]:
    """The values that a method of ``service`` returns; ``arguments`` are a signature and values.

    Raises AtollError with a message of one line when it does not answer.
    """
    argv = ["busctl", "--system", "--json=short", "--auto-start=no", f"--timeout={SECONDS}"]
    try:
        answer = run([*argv, "call", service, path, interface, member, *arguments])
    except ProgramFailed as error:
        lines = error.stderr_tail.strip().splitlines() or [f"busctl ended with {error.status}"]
        raise AtollError(f"{service} does not answer: {lines[-1]}") from error
    data = parse_json_object(answer, where=f"the answer of {service}").get("data")
    if not isinstance(data, list):
        raise Damaged(f"the answer of {service} to {member} has no values")
    return data


def read_property(service: str, path: str, interface: str, name: str) -> object:
    """A property of an object; raises as ``call`` does."""
    found = call(service, path, PROPERTIES, "Get", "ss", interface, name)
    return unwrap(found[0] if found else None)


def read_properties(service: str, path: str, interface: str) -> dict[str, object]:
    """All properties of an object; raises as ``call`` does."""
    found = call(service, path, PROPERTIES, "GetAll", "s", interface)
    table = found[0] if found else None
    if not isinstance(table, dict):
        raise Damaged(f"the answer of {service} has no properties")
    return {name: unwrap(value) for name, value in table.items()}


def unwrap(value: object) -> object:
    """The value in a variant."""
    return value.get("data") if isinstance(value, dict) else value


def rows(values: Sequence[object], width: int) -> list[list[object]]:
    """The rows of the list that a method returned, those of at least ``width`` values."""
    table = values[0] if values else []
    if not isinstance(table, list):
        return []
    return [row for row in table if isinstance(row, list) and len(row) >= width]
