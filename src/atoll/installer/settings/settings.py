"""The settings that a person gives a new machine, as values.

The keys are those of an answers file, where docs/reference/answers.md describes them. What is not
set stays as the image has it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atoll.machine.keyboard import KeyboardLayout


@dataclass(frozen=True, slots=True, kw_only=True)
class UserSettings:
    """The person's account. ``password`` is a hash of crypt(5), never the password itself.

    ``groups`` are further groups; None: those that Debian's installer gives to the first user, as
    far as the image has them. ``shell`` empty: the default of the image.
    """

    name: str
    password: str = field(repr=False)
    gecos: str = ""
    groups: tuple[str, ...] | None = None
    shell: str = ""
    uid: int | None = None
    ssh_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WifiSettings:
    """``passphrase`` empty: an open network."""

    ssid: str
    passphrase: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressSettings:
    """A fixed address of a wired interface. ``address`` has its prefix length: 192.0.2.7/24."""

    interface: str
    address: str
    gateway: str = ""
    dns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    user: UserSettings
    hostname: str | None = None
    locale: str | None = None
    timezone: str | None = None
    keyboard: KeyboardLayout | None = None
    wifi: WifiSettings | None = None
    address: AddressSettings | None = None
