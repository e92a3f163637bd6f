"""A person's settings described in 80 columns, shown with the plan. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.base.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from atoll.installer.settings.settings import Settings


def format_settings(settings: Settings, *, follow: str, notes: Iterable[str] = ()) -> str:
    """One line for each setting, none for what stays as the image has it."""
    lines = [f"  {name:<10}{value}" for name, value in _rows(settings, follow)]
    return "\n".join(("The new machine", *lines, *(f"Note: {note}" for note in notes), ""))


def _rows(settings: Settings, follow: str) -> Iterator[tuple[str, str]]:
    user = settings.user
    yield "user", f"{user.name} ({one_line(user.gecos)})" if user.gecos else user.name
    plain = (
        ("host name", settings.hostname),
        ("locale", settings.locale),
        ("time zone", settings.timezone),
    )
    yield from ((name, value) for name, value in plain if value)
    if settings.keyboard:
        keyboard = settings.keyboard
        yield "keyboard", " ".join(filter(None, (keyboard.layout, keyboard.variant)))
    if settings.wifi:
        secured = "" if settings.wifi.passphrase else ", open"
        yield "Wi-Fi", f"{one_line(settings.wifi.ssid)}{secured}"
    if settings.address:
        yield "address", f"{settings.address.address} on {settings.address.interface}"
    yield "upgrades", one_line(follow)
